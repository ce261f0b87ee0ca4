"""
flash_vstream_qwen_test.py - Flash-VStream on Qwen2-VL: tensors, keys, prompt; what is missing, surplus or cannot be.
"""
import os
import pathlib
import shutil

import numpy as np

from harness import CONVERT, Folder, golden_checkpoint  # first: it sets the path to the converter
import gguf_reader
import synthetic as made
import synthetic_flash_vstream as small
import synthetic_longvu as longvu


class FlashQwen(Folder):
    def same(self, new, want):
        got = gguf_reader.array(self.tensors[new])
        self.assertEqual(got.shape, want.shape, new)
        self.assertTrue((got == want).all(), new)

    def test_tensors(self):
        own = small.qwen_parts()
        small.write_qwen(self.root, own)
        self.assertNotIn("warning", self.converted("--type", "f32").stderr)
        self.same("vit.patch.weight", own["visual.patch_embed.proj.weight"].reshape(small.E, -1))
        for end in ("weight", "bias"):
            for i in range(small.BLOCKS):
                for new, old in (("norm1", "norm1"), ("qkv", "attn.qkv"), ("out", "attn.proj"), ("norm2", "norm2"),
                                 ("fc1", "mlp.fc1"), ("fc2", "mlp.fc2")):
                    self.same(f"vit.blk.{i}.{new}.{end}", own[f"visual.blocks.{i}.{old}.{end}"])
            for new, old in (("norm", "ln_q"), ("fc1", "mlp.0"), ("fc2", "mlp.2")):
                self.same(f"merger.{new}.{end}", own[f"visual.merger.{old}.{end}"])
            for name in "qkv":
                self.same(f"blk.1.attn_{name}.{end}", own[f"model.layers.1.self_attn.{name}_proj.{end}"])
        self.same("token_embd.weight", own["model.embed_tokens.weight"])  # whole, longer than the tokenizer
        self.same("output.weight", own["lm_head.weight"])
        self.assertEqual(len(self.tensors), 1 + 12 * small.BLOCKS + 6 + 3 + 12 * 2)

    def test_keys(self):
        small.write_qwen(self.root)
        self.converted()
        for name, want in (
                ("vidrun.system", "flash-vstream-qwen"), ("video.sampling", "qwen-list"), ("video.fps", 1),
                ("video.frames_max", 240), ("video.pixels_min", 100352), ("video.pixels_max", 200704),
                ("video.resize", "qwen-twice"), ("image.resize", "qwen-twice"),
                ("vit.patch_size", 14), ("vit.temporal_patch_size", 2), ("vit.merge_size", 2),
                ("vit.block_count", small.BLOCKS), ("vit.embedding_length", small.E), ("vit.head_count", small.HEADS),
                ("vit.feed_forward_length", small.MLP),
                ("vit.activation", "gelu_quick"), ("vit.rope.freq_base", 10000),
                ("memory.temporal_length", 5), ("memory.spatial_length", 3), ("memory.pool_size", 2),
                ("llama.vocab_size", small.rows()), ("llama.context_length", 32768), ("llama.rope.sections", [2, 3, 3]),
                ("llama.rope.freq_base", 1e6), ("llama.attention.head_count_kv", 1), ("prompt.context", 16384),
                ("tokenizer.ggml.eos_token_id", small.special("<|im_end|>")),
                ("tokenizer.eos_ids", [small.special("<|endoftext|>")]), ("tokenizer.skip_special", 1),
                ("tokenizer.clean_spaces", 0), ("sampling.temperature", 0), ("sampling.top_k", 1),
                ("sampling.repetition_penalty", 1), ("sampling.predict", 128)):
            self.assertEqual(self.key(name), want, name)
        for name, want in (("vit.norm_epsilon", 1e-6), ("merger.norm_epsilon", 1e-6), ("sampling.top_p", 0.001)):
            self.assertEqual(np.float32(self.key(name)), np.float32(want), name)
        self.assertEqual([np.float32(n) for n in self.key("pixel.std")],
                         [np.float32(n) for n in (0.26862954, 0.26130258, 0.27577711)])
        for absent in ("tokenizer.ggml.bos_token_id", "llama.rope.scaling.type", "prompt.rows_max", "vit.image_size"):
            self.assertNotIn(absent, self.keys)

    def test_every_key_is_in_the_format(self):
        text = (CONVERT.parents[2] / "weights" / "FORMAT.md").read_text()
        small.write_qwen(self.root)
        self.converted()
        for name in self.keys:
            self.assertIn(name.split(".")[-1], text, name)

    def test_types(self):
        small.write_qwen(self.root)
        for option, number in (("f16", 1), ("bf16", 30), ("f32", 0)):
            self.converted("--type", option)
            for name, (kind, _, _) in self.tensors.items():
                exact = name.endswith((".bias", "norm.weight", "norm1.weight", "norm2.weight"))
                self.assertEqual(kind, 0 if exact else number, name)

    def test_memory(self):
        """What the configuration leaves out has the values of flash_memory_constants.py; lengths are pairs of frames."""
        for memory, want in ((False, [60, 30, 2]), ({name: None for name in small.MEMORY}, [60, 30, 2]),
                             ({"flash_memory_spatial_length": None, "flash_memory_temporal_length": 80}, [40, 30, 2]),
                             ({"flash_memory_temporal_method": "fast_kmeans_ordered"}, [5, 3, 2]),
                             ({"flash_memory_spatial_length": 10}, [5, 5, 2])):
            small.write_qwen(self.root, memory=memory)
            with self.subTest(memory=memory):
                self.converted()
                self.assertEqual([self.key(f"memory.{n}") for n in ("temporal_length", "spatial_length", "pool_size")], want)
        for memory, *texts in (({"flash_memory_temporal_method": "sample"}, "flash_memory_temporal_method", "'sample'"),
                               ({"flash_memory_spatial_method": "klarge_retrieve_cos"}, "klarge_retrieve_cos"),
                               ({"flash_memory_temporal_poolsize": 4}, "flash_memory_temporal_poolsize is 4"),
                               ({"flash_memory_temporal_length": 9}, "flash_memory_temporal_length 9"),
                               ({"flash_memory_spatial_length": 5}, "flash_memory_spatial_length 5"),
                               ({"flash_memory_spatial_length": 12}, "greater"),
                               ({"flash_memory_temporal_length": 0}, "flash_memory_temporal_length is 0"),
                               ({"flash_memory_temporal_length": "60"}, "flash_memory_temporal_length is '60'")):
            small.write_qwen(self.root, memory=memory)
            with self.subTest(memory=memory):
                self.refused("config.json: vision_config", *texts)
        small.write_qwen(self.root, vision={"flash_memory_config": 3}, memory=False)
        self.refused("flash_memory_config is not an object")

    def test_configurations_that_cannot_be(self):
        mrope = small.QWEN_CONFIG["rope_scaling"]
        for change, *texts in (
                ({"model_type": "qwen2_vl"}, "model_type is 'qwen2_vl'"), ({"model_type": None}, "model_type is None"),
                ({"use_sliding_window": True}, "use_sliding_window is True"), ({"vision_config": 3}, "vision_config"),
                ({"rope_scaling": None}, "rope_scaling", "mrope"), ({"rope_scaling": {"type": "yarn"}}, "'yarn'"),
                ({"rope_scaling": {"type": "mrope"}}, "mrope_section is None"),
                ({"rope_scaling": {**mrope, "mrope_section": [2, 3, 4]}}, "mrope_section is [2, 3, 4]", "8 pairs"),
                ({"rope_scaling": {**mrope, "mrope_section": [4, 4]}}, "mrope_section is [4, 4]"),
                ({"rope_scaling": {**mrope, "mrope_section": [5, 3, 0]}}, "mrope_section"),
                ({"video_token_id": 3}, "video_token_id is 3"), ({"vocab_size": 9}, "vocab_size is 9"),
                ({"hidden_size": 64}, "merger"), ({"hidden_act": "gelu"}, "hidden_act")):
            small.write_qwen(self.root, change=change)
            with self.subTest(change=change):
                self.refused("config.json" if "merger" not in texts else "", *texts)
        newer = {"rope_type": "default", "type": "default", "mrope_section": [2, 3, 3]}
        small.write_qwen(self.root, change={"rope_scaling": newer, "video_token_id": None})
        self.converted()  # as newer versions of transformers save it
        self.assertEqual(self.key("llama.rope.sections"), [2, 3, 3])
        small.write_qwen(self.root, generation={"eos_token_id": [2, small.rows()]})
        self.refused("generation_config.json", "beyond")
        small.write_qwen(self.root, change={"max_position_embeddings": 900})
        self.converted()
        self.assertEqual(self.key("prompt.context"), 900)

    def test_towers_that_cannot_be(self):
        for vision, text in (({"patch_size": 16}, "patch_size is 16"), ({"temporal_patch_size": 1}, "temporal_patch_size is 1"),
                             ({"spatial_merge_size": 4}, "spatial_merge_size is 4"), ({"num_heads": 3}, "3 heads"),
                             ({"num_heads": 8}, "multiple of 4"), ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
                             ({"depth": 3}, "visual.blocks.2"), ({"depth": 1}, "visual.blocks.1"),
                             ({"depth": None}, "visual.blocks.2")):
            small.write_qwen(self.root, vision=vision)
            with self.subTest(vision=vision):
                self.refused(text)

    def test_pixels(self):
        small.write_qwen(self.root)
        made.write_json(self.path("preprocessor_config.json"), {"image_mean": [0.5, 0.25, 0.125], "image_std": [1, 2, 4]})
        self.converted()
        self.assertEqual((self.key("pixel.mean"), self.key("pixel.std")), ([0.5, 0.25, 0.125], [1, 2, 4]))
        made.write_json(self.path("preprocessor_config.json"), {"image_mean": [0.5, 0.25]})
        self.refused("preprocessor_config.json: image_mean")
        made.write_json(self.path("preprocessor_config.json"), {"image_std": [1, 0, 1]})
        self.refused("preprocessor_config.json: image_std")

    def test_missing_and_surplus_tensors(self):
        for name in ("visual.patch_embed.proj.weight", "visual.blocks.1.attn.qkv.bias", "visual.merger.ln_q.bias",
                     "visual.merger.mlp.2.weight", "model.layers.0.self_attn.k_proj.bias", "lm_head.weight"):
            tensors = small.qwen_parts()
            del tensors[name]
            small.write_qwen(self.root, tensors)
            with self.subTest(name=name):
                self.refused("missing tensor", name)
        for name in ("visual.patch_embed.proj.bias", "visual.merger.mlp.4.bias", "visual.blocks.2.norm1.weight",
                     "model.layers.0.self_attn.o_proj.bias", "model.mm_projector.0.weight"):
            tensors = small.qwen_parts()
            tensors[name] = np.zeros(3, "<f4")
            small.write_qwen(self.root, tensors)
            with self.subTest(name=name):
                self.refused(name, "not known")
        for name, shape in (("visual.patch_embed.proj.weight", (small.E, 3, 1, 14, 14)),
                            ("visual.patch_embed.proj.weight", (small.E, 3, 14, 14)),
                            ("visual.merger.mlp.0.weight", (4 * small.E, small.E)),
                            ("model.layers.0.self_attn.k_proj.weight", (small.H, small.H))):
            tensors = small.qwen_parts()
            tensors[name] = np.zeros(shape, "<f4")
            small.write_qwen(self.root, tensors)
            with self.subTest(name=name, shape=shape):
                self.refused(name)

    def test_folders(self):
        small.write_qwen(self.root)
        os.mkdir(self.path("lora"))
        made.save_safetensors(self.path("lora", "adapter_model.safetensors"),
                              {"base_model.model.lm_head.weight": np.zeros(3, "<f4")})
        self.refused("lora", "not a part of Flash-VStream (Qwen)", "base_model")
        shutil.rmtree(self.path("lora"))
        os.mkdir(self.path("copy"))
        shutil.copy(self.path("model.safetensors"), self.path("copy"))
        self.refused("both hold a Flash-VStream-Qwen", "copy")
        shutil.rmtree(self.path("copy"))
        os.remove(self.path("config.json"))
        self.refused("config.json: missing")
        os.remove(self.path("model.safetensors"))
        self.refused("no file of the checkpoint holds a Flash-VStream-Qwen", options=("--system", "flash-vstream-qwen"))

    def test_tokenizer_files(self):
        """vocab.json and merges.txt with the added tokens in the configuration give the same file."""
        small.write_qwen(self.root)
        self.converted()
        whole = pathlib.Path(self.out).read_bytes()
        os.remove(self.path("tokenizer.json"))
        made.write_json(self.path("vocab.json"), {text: i for i, text in enumerate(longvu.pieces())})
        self.path_text("merges.txt", "#version: 0.2\n" + "".join(" ".join(merge) + "\n" for merge in longvu.MERGES))
        made.write_json(self.path("tokenizer_config.json"), {
            "tokenizer_class": "Qwen2Tokenizer", "bos_token": None,
            "added_tokens_decoder": {str(token["id"]): token for token in small.qwen_added()}})
        self.converted()
        self.assertEqual(pathlib.Path(self.out).read_bytes(), whole)
        added = [{**token, "content": token["content"].replace("vision_end", "vision_over")} for token in small.qwen_added()]
        small.write_qwen(self.root, added=added)
        self.refused("needs the added token <|vision_end|>")

    def path_text(self, name, text):
        pathlib.Path(self.path(name)).write_text(text, encoding="utf-8")

    def test_prompt(self):
        small.write_qwen(self.root)
        self.converted("--template", "qwen")
        part = {name: self.key(f"template.qwen.{name}") for name in ("first", "next", "open", "answer")}
        said = self.key("prompt.video").replace("{video}", "<|video_pad|>") + self.key("prompt.separator") + "Who is it?"
        first = part["first"].replace("{system}", self.key("prompt.system.video")).replace("{text}", said)
        start = ("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|><|video_pad|>"
                 "<|vision_end|>Who is it?<|im_end|>\n<|im_start|>assistant\n")
        self.assertEqual(first + part["open"], start)
        self.assertEqual(first + part["answer"].replace("{text}", "A dog.") + part["next"].replace("{text}", "Sure?") +
                         part["open"],
                         f"{start}A dog.<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\n")
        self.assertEqual(self.key("template.qwen.stop"), ["<|im_end|>"])
        self.assertEqual([self.key(f"template.qwen.{n}") for n in ("cut", "after", "trim")], ["", "", 0])
        self.assertEqual(self.key("prompt.image"), self.key("prompt.video"))
        self.refused("llama3", options=("--template", "llama3"))


class Golden(Folder):
    def test_patch(self):
        """Pixels of a pair of frames through the file's patches give the original's embedding."""
        shared = golden_checkpoint("flash-vstream-qwen", self.root)
        self.converted("--type", "f32")
        pixels, want = (np.load(shared / "stages" / f"{name}.npy")[0] for name in ("input.pixels", "vision.embed"))
        got = gguf_reader.array(self.tensors["vit.patch.weight"]).astype("f8") @ pixels
        self.assertLess(np.linalg.norm(got - want) / np.linalg.norm(want), 1e-6)
        self.assertEqual([self.key(f"memory.{n}") for n in ("temporal_length", "spatial_length")], [5, 3])
        self.assertEqual(self.key("llama.rope.sections"), [16, 24, 24])
