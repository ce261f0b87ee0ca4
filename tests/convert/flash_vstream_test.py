"""
flash_vstream_test.py - Flash-VStream on LLaVA: tensors, keys, prompt; what is missing, surplus or cannot be.
"""
import os
import pathlib
import shutil

import numpy as np

from harness import CONVERT, Folder, golden_checkpoint  # first: it sets the path to the converter
import gguf_reader
import synthetic as made
import synthetic_flash_vstream as small


class Flash(Folder):
    def numbers(self, name):
        return gguf_reader.array(self.tensors[name])

    def same(self, new, want):
        got = self.numbers(new)
        self.assertEqual(got.shape, want.shape, new)
        self.assertTrue((got == want).all(), new)

    def test_tensors(self):
        tensors = small.llava_parts()
        small.write_llava(self.root, tensors)
        run = self.converted("--type", "f32")
        self.assertNotIn("warning", run.stderr)
        model, clip = tensors["model"], tensors["clip"]
        for end in ("weight", "bias"):
            for name in "qk":
                self.same(f"abstract.{name}.{end}", model[f"model.attention_model.{name}_proj.{end}"])
            self.same(f"project.video.fc1.{end}", model[f"model.mm_projector.0.{end}"])
            self.same(f"project.video.fc2.{end}", model[f"model.mm_projector.2.{end}"])
            self.same(f"vit.input_norm.{end}", clip[f"vision_model.pre_layrnorm.{end}"])
            for i in range(small.CLIP_BLOCKS - 1):
                layer = f"vision_model.encoder.layers.{i}"
                self.same(f"vit.blk.{i}.qkv.{end}", np.concatenate([clip[f"{layer}.self_attn.{n}_proj.{end}"] for n in "qkv"]))
                self.same(f"vit.blk.{i}.norm2.{end}", clip[f"{layer}.layer_norm2.{end}"])
                self.same(f"vit.blk.{i}.fc2.{end}", clip[f"{layer}.mlp.fc2.{end}"])
        self.same("vit.patch.weight", clip["vision_model.embeddings.patch_embedding.weight"].reshape(small.D, -1))
        self.same("vit.class", clip["vision_model.embeddings.class_embedding"])
        self.same("vit.position", clip["vision_model.embeddings.position_embedding.weight"])
        self.same("token_embd.weight", model["model.embed_tokens.weight"])
        self.same("output.weight", model["lm_head.weight"])
        self.same("blk.1.attn_output.weight", model["model.layers.1.self_attn.o_proj.weight"])
        self.assertEqual(len(self.tensors), 5 + 12 * (small.CLIP_BLOCKS - 1) + 4 + 4 + 3 + 9 * 2)

    def test_nothing_that_is_not_read_is_taken(self):
        """The model's copy of the tower, the last block, what stands behind the attention's weights: all NaN."""
        small.write_llava(self.root)
        self.converted("--type", "bf16")
        for name in self.tensors:
            self.assertTrue(np.isfinite(self.numbers(name)).all(), name)
        self.assertNotIn(f"vit.blk.{small.CLIP_BLOCKS - 1}.norm1.weight", self.tensors)

    def test_keys(self):
        small.write_llava(self.root)
        self.converted()
        for name, want in (
                ("vidrun.system", "flash-vstream"), ("general.name", "Flash-VStream-7b, clip-vit-large-patch14"),
                ("video.sampling", "fps"), ("video.fps", 1), ("video.resize", "clip"), ("image.resize", "clip"),
                ("vit.image_size", 32), ("vit.patch_size", 2), ("vit.block_count", 3), ("vit.embedding_length", small.D),
                ("vit.head_count", 2), ("vit.feed_forward_length", small.F), ("vit.activation", "gelu_quick"),
                ("memory.pool_side", 8), ("memory.temporal_side", 4), ("memory.abstract_side", 1),
                ("memory.spatial_length", 2), ("memory.temporal_length", 24), ("memory.abstract_length", 23),
                ("memory.retrieved_length", 3), ("memory.abstract_ratio", 0.25), ("llama.context_length", 4096),
                ("llama.rope.freq_base", 10000), ("prompt.rows_max", 2048), ("prompt.context", 3072),
                ("tokenizer.ggml.bos_token_id", 1), ("tokenizer.ggml.eos_token_id", 2), ("tokenizer.skip_special", 1),
                ("tokenizer.clean_spaces", 0), ("sampling.top_k", 50), ("sampling.repetition_penalty", 1),
                ("sampling.predict", 512)):
            self.assertEqual(self.key(name), want, name)
        for name, want in (("vit.norm_epsilon", 1e-5), ("sampling.temperature", 0.2), ("sampling.top_p", 0.6)):
            self.assertEqual(np.float32(self.key(name)), np.float32(want), name)
        self.assertEqual([np.float32(n) for n in self.key("pixel.mean")],
                         [np.float32(n) for n in (0.48145466, 0.4578275, 0.40821073)])
        for absent in ("vit.output_norm_epsilon", "tokenizer.eos_ids", "llama.rope.sections"):
            self.assertNotIn(absent, self.keys)

    def test_every_key_is_in_the_format(self):
        text = (CONVERT.parents[2] / "weights" / "FORMAT.md").read_text()
        small.write_llava(self.root)
        self.converted()
        for name in self.keys:
            self.assertIn(name.split(".")[-1], text, name)

    def test_types(self):
        small.write_llava(self.root)
        for option, number in (("f16", 1), ("bf16", 30), ("f32", 0)):
            self.converted("--type", option)
            for name, (kind, shape, _) in self.tensors.items():
                exact = name.endswith((".bias", "norm.weight", "norm1.weight", "norm2.weight", ".position", ".class"))
                self.assertEqual(kind, 0 if exact else number, name)

    def test_keys_that_the_configuration_leaves_out(self):
        """Specification A6: the values that hold then."""
        sides = ("compress_size", "compress_long_memory_size", "compress_Turing_memory_size")
        lengths = ("video_long_memory_length", "video_Turing_memory_length", "video_current_memory_length")
        names = [f"memory.{n}" for n in ("pool_side", "temporal_side", "abstract_side", "temporal_length", "abstract_length",
                                         "spatial_length")]
        small.write_llava(self.root, change={key: None for key in (*sides, *lengths)})
        self.converted()
        self.assertEqual([self.key(name) for name in names], [1, 1, 1, 10, 10, 1])
        small.write_llava(self.root, change={"compress_type": None})
        self.converted()
        self.assertEqual([self.key(name) for name in names], [16, 16, 16, 24, 23, 2])
        small.write_llava(self.root, change={"tokenizer_model_max_length": None, "compress_Turing_update_ratio": None,
                                             "mm_hidden_size": None}, generation={})
        self.converted()
        self.assertNotIn("prompt.rows_max", self.keys)
        self.assertEqual((self.key("prompt.context"), self.key("sampling.top_p")), (4096, 1))
        self.assertEqual(np.float32(self.key("memory.abstract_ratio")), np.float32(0.2))
        self.assertEqual(self.key("tokenizer.ggml.eos_token_id"), 2)  # of config.json then

    def test_configurations_that_cannot_be(self):
        for change, *texts in (
                ({"video_sample_type": None}, "video_sample_type is None"), ({"video_sample_type": "kmeans"}, "'kmeans'"),
                ({"mm_projector_type": None}, "mm_projector_type is 'linear'"), ({"mm_projector_type": "identity"}, "identity"),
                ({"mm_vision_select_layer": -1}, "mm_vision_select_layer is -1"),
                ({"mm_vision_select_feature": "cls_patch"}, "cls_patch"),
                ({"mm_use_4_vision_tokens": True}, "mm_use_4_vision_tokens is True"),
                ({"mm_use_im_start_end": True}, "mm_use_im_start_end"),
                ({"mm_use_im_patch_token": None}, "mm_use_im_patch_token is True"),
                ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
                ({"compress_type": "max"}, "compress_type is 'max'"), ({"compress_size": 17}, "compress_size is 17"),
                ({"compress_size": 6}, "compress_size is 6"), ({"compress_size": 0}, "compress_size is 0"),
                ({"compress_long_memory_size": 9}, "compress_long_memory_size is 9"),
                ({"compress_Turing_memory_size": 3}, "compress_Turing_memory_size is 3"),
                ({"video_long_memory_length": 0}, "video_long_memory_length is 0"),
                ({"video_Turing_memory_length": "x"}, "video_Turing_memory_length is 'x'"),
                ({"compress_Turing_update_ratio": 0}, "compress_Turing_update_ratio is 0"),
                ({"tokenizer_model_max_length": 0}, "tokenizer_model_max_length is 0"),
                ({"mm_hidden_size": 8}, "mm_hidden_size is 8"), ({"hidden_size": 64}, "mm_projector.0.weight"),
                ({"vocab_size": 9}, "vocab_size is 9")):
            small.write_llava(self.root, change=change)
            with self.subTest(change=change):
                self.refused("Flash-VStream-7b", *texts)

    def test_other_towers(self):
        vision = small.CLIP_CONFIG["vision_config"]
        for change, text in (({"model_type": "siglip"}, "expected clip"), ({"vision_config": 3}, "vision_config"),
                             ({"vision_config": {**vision, "num_hidden_layers": 6}}, "encoder.layers.4"),
                             ({"vision_config": {**vision, "num_hidden_layers": 3}}, "encoder.layers.3"),
                             ({"vision_config": {**vision, "num_attention_heads": 3}}, "heads"),
                             ({"vision_config": {**vision, "hidden_act": "relu"}}, "hidden_act")):
            small.write_llava(self.root)
            made.write_json(self.path(small.CLIP, "config.json"), {**small.CLIP_CONFIG, **change})
            with self.subTest(change=change):
                self.refused(text)
        small.write_llava(self.root)
        made.write_json(self.path(small.CLIP, "config.json"), {**vision, "model_type": "clip_vision_model"})
        self.converted()  # a tower saved on its own

    def test_pixels(self):
        small.write_llava(self.root)
        right = {"crop_size": {"height": 32, "width": 32}, "size": {"shortest_edge": 32}, "resample": 3,
                 "image_mean": [0.5, 0.25, 0.125], "image_std": [1, 2, 4]}
        for told in (right, {**right, "crop_size": 32, "size": 32}):
            made.write_json(self.path(small.CLIP, "preprocessor_config.json"), told)
            self.converted()
            self.assertEqual((self.key("pixel.mean"), self.key("pixel.std")), ([0.5, 0.25, 0.125], [1, 2, 4]))
        for change, text in (({"crop_size": 30}, "crop_size is 30"), ({"size": {"shortest_edge": 33}}, "shortest_edge"),
                             ({"resample": 2}, "resample is 2"), ({"image_std": [1, 1, 0]}, "image_std")):
            made.write_json(self.path(small.CLIP, "preprocessor_config.json"), {**right, **change})
            with self.subTest(change=change):
                self.refused("preprocessor_config.json", text)

    def test_missing_and_surplus_tensors(self):
        for part, name in (("model", "model.attention_model.q_proj.weight"), ("model", "model.attention_model.k_proj.bias"),
                           ("model", "model.mm_projector.2.weight"), ("model", "model.layers.1.mlp.up_proj.weight"),
                           ("model", "lm_head.weight"), ("clip", "vision_model.pre_layrnorm.bias"),
                           ("clip", "vision_model.encoder.layers.2.mlp.fc2.weight"),
                           ("clip", "vision_model.embeddings.class_embedding")):
            tensors = small.llava_parts()
            del tensors[part][name]
            small.write_llava(self.root, tensors)
            with self.subTest(name=name):
                self.refused("missing tensor", name)
        for part, name in (("model", "model.attention_model.gate.weight"), ("model", "model.mm_projector.4.weight"),
                           ("model", "model.layers.2.mlp.up_proj.weight"), ("model", "model.layers.0.self_attn.q_proj.bias"),
                           ("clip", "vision_model.embeddings.patch_embedding.bias"),
                           ("clip", "vision_model.encoder.layers.4.mlp.fc1.bias")):
            tensors = small.llava_parts()
            tensors[part][name] = np.zeros(3, "<f4")
            small.write_llava(self.root, tensors)
            with self.subTest(name=name):
                self.refused(name, "not known")

    def test_shapes(self):
        for part, name, shape in (("model", "model.attention_model.k_proj.weight", (5, small.D)),
                                  ("model", "model.attention_model.q_proj.weight", (small.ATTENTION, small.H)),
                                  ("model", "model.mm_projector.0.weight", (small.H, small.H)),
                                  ("clip", "vision_model.embeddings.position_embedding.weight", (256, small.D)),
                                  ("clip", "vision_model.embeddings.patch_embedding.weight", (small.D, 3, 2, 3))):
            tensors = small.llava_parts()
            tensors[part][name] = np.zeros(shape, "<f4")
            small.write_llava(self.root, tensors)
            with self.subTest(name=name):
                self.refused(name)

    def test_folders(self):
        small.write_llava(self.root)
        shutil.rmtree(self.path(small.CLIP))
        self.refused("no file of the checkpoint holds the CLIP tower (openai/clip-vit-large-patch14)")
        small.write_llava(self.root)
        shutil.copytree(self.path(small.CLIP), self.path("copy"))
        self.refused("both hold the CLIP tower", "copy")
        shutil.rmtree(self.path("copy"))
        os.mkdir(self.path("other"))
        made.save_safetensors(self.path("other", "model.safetensors"), {"conv.weight": np.zeros(3, "<f4")})
        self.refused("other", "not a part of Flash-VStream", "conv.weight")
        shutil.rmtree(self.path("other"))
        shutil.rmtree(self.path(small.MODEL))
        self.refused("no file of the checkpoint holds Flash-VStream's decoder", options=("--system", "flash-vstream"))

    def test_tower_inside_the_model_s_folder(self):
        folder = small.write_llava(self.root)
        os.rename(self.path(small.CLIP), os.path.join(folder, "clip"))
        self.converted()
        self.assertEqual(self.key("vit.head_count"), 2)

    def test_shards(self):
        tensors = small.llava_parts()
        folder = small.write_llava(self.root, tensors)
        self.converted()
        whole = pathlib.Path(self.out).read_bytes()
        os.remove(os.path.join(folder, "pytorch_model.bin"))
        names = sorted(tensors["model"])
        for n, half in enumerate((names[:9], names[9:])):  # the second one begins behind the attention's tensors
            path = os.path.join(folder, f"pytorch_model-0000{n + 1}-of-00002.bin")
            made.save_zip(path, {name: tensors["model"][name] for name in half})
        self.converted()
        self.assertEqual(pathlib.Path(self.out).read_bytes(), whole)

    def test_prompt(self):
        small.write_llava(self.root, tokenizer={"legacy": False, "clean_up_tokenization_spaces": True})
        self.converted("--template", "vicuna_v1")
        part = {name: self.key(f"template.vicuna_v1.{name}") for name in ("first", "next", "open", "answer")}
        said = self.key("prompt.video").replace("{video}", "<image>") + self.key("prompt.separator") + "Who is it?"
        first = part["first"].replace("{system}", self.key("prompt.system.video")).replace("{text}", said)
        start = ("A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
                 "detailed, and polite answers to the user's questions. USER: <image>\nWho is it? ")
        self.assertEqual(first + part["open"], f"{start}ASSISTANT:")
        self.assertEqual(first + part["answer"].replace("{text}", "A dog.") + part["next"].replace("{text}", "Sure?"),
                         f"{start}ASSISTANT: A dog.</s>USER: Sure? ")
        self.assertEqual(self.key("template.vicuna_v1.stop"), ["</s>"])
        self.assertEqual([self.key(f"template.vicuna_v1.{n}") for n in ("cut", "after", "trim")], ["</s>", "", 0])
        self.assertEqual(self.key("prompt.image"), self.key("prompt.video"))
        self.assertEqual((self.key("tokenizer.clean_spaces"), self.key("tokenizer.legacy")), (1, 0))
        self.refused("vicuna_v1", options=("--template", "vicuna"))

    def test_several_ends(self):
        small.write_llava(self.root, generation={**small.LLAVA_GENERATION, "eos_token_id": [2, 7]})
        self.converted()
        self.assertEqual((self.key("tokenizer.ggml.eos_token_id"), self.key("tokenizer.eos_ids")), (2, [7]))
        small.write_llava(self.root, generation={**small.LLAVA_GENERATION, "eos_token_id": [2, len(made.PIECES)]})
        self.refused("eos_token_id", "beyond")


class Golden(Folder):
    def test_class_row(self):
        """The class row at its position behind the first norm is the same in every frame."""
        shared = golden_checkpoint("flash-vstream-a", self.root)
        self.converted("--type", "f32")
        get = {name: gguf_reader.array(tensor).astype("f8") for name, tensor in self.tensors.items()}
        self.assertTrue(all(np.isfinite(values).all() for values in get.values()))
        row = get["vit.class"] + get["vit.position"][0]
        row = (row - row.mean()) / np.sqrt(row.var() + self.key("vit.norm_epsilon"))
        row = row * get["vit.input_norm.weight"] + get["vit.input_norm.bias"]
        want = np.load(shared / "stages" / "vision.embed.npy")[0, 0]
        self.assertLess(np.linalg.norm(row - want) / np.linalg.norm(want), 1e-6)
        names = ("temporal_length", "abstract_length", "spatial_length")
        self.assertEqual([self.key(f"memory.{name}") for name in names], [25, 25, 1])
