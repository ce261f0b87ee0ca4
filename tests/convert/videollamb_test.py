"""
videollamb_test.py - VideoLLaMB: tensors, keys, prompts of both checkpoints; what is missing, surplus or cannot be.
"""
import json
import os
import shutil

import numpy as np

from harness import CONVERT, Folder, golden_checkpoint  # first: it sets the path to the converter
import gguf_reader
import synthetic as made
import synthetic_videollamb as small

HUMAN = ("A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, and "
         "polite answers to the human's questions.")


class Lamb(Folder):
    def numbers(self, name):
        return gguf_reader.array(self.tensors[name])

    def same(self, new, want):
        got = self.numbers(new)
        self.assertEqual(got.shape, want.shape, new)
        self.assertTrue((got == want).all(), new)

    def clear(self):
        shutil.rmtree(self.root)
        os.mkdir(self.root)


class Tensors(Lamb):
    def tower(self, new, own, temporal):
        for end in ("weight", "bias"):
            self.same(f"{new}.input_norm.{end}", own[f"vision_model.pre_layrnorm.{end}"])
            for i in range(small.CLIP_BLOCKS - 1):
                block, layer = f"{new}.blk.{i}", f"vision_model.encoder.layers.{i}"

                def qkv(attention):
                    return np.concatenate([own[f"{layer}.{attention}.{n}_proj.{end}"] for n in "qkv"])
                self.same(f"{block}.qkv.{end}", qkv("self_attn"))
                self.same(f"{block}.out.{end}", own[f"{layer}.self_attn.out_proj.{end}"])
                self.same(f"{block}.norm1.{end}", own[f"{layer}.layer_norm1.{end}"])
                self.same(f"{block}.norm2.{end}", own[f"{layer}.layer_norm2.{end}"])
                self.same(f"{block}.fc1.{end}", own[f"{layer}.mlp.fc1.{end}"])
                self.same(f"{block}.fc2.{end}", own[f"{layer}.mlp.fc2.{end}"])
                if temporal:
                    self.same(f"{block}.temporal.position", own[f"{layer}.temporal_embedding"][0])
                    self.same(f"{block}.temporal.qkv.{end}", qkv("temporal_attn"))
                    self.same(f"{block}.temporal.out.{end}", own[f"{layer}.temporal_attn.out_proj.{end}"])
                    self.same(f"{block}.temporal.norm.{end}", own[f"{layer}.temporal_layer_norm1.{end}"])
        self.same(f"{new}.patch.weight", own["vision_model.embeddings.patch_embedding.weight"].reshape(small.D, -1))
        self.same(f"{new}.class", own["vision_model.embeddings.class_embedding"])
        self.same(f"{new}.position", own["vision_model.embeddings.position_embedding.weight"])

    def bridge(self, own):
        self.same("bridge.memory", own["model.mm_projector.projector.read_memory_emb"])
        layer, retrieval = "model.mm_projector.projector.layers.0", "model.mm_projector.retrieval.layers.0.crossattention"
        for end in ("weight", "bias"):
            for new, old in (("bridge.blk.0.self", f"{layer}.selfattention"), ("retrieval.cross", retrieval)):
                for n in "qkv":
                    self.same(f"{new}.{n}.{end}", own[f"{old}.{n}_proj.{end}"])
                self.same(f"{new}.out.{end}", own[f"{old}.residual.dense.{end}"])
                self.same(f"{new}.norm.{end}", own[f"{old}.residual.layernorm.{end}"])
            self.same(f"bridge.blk.0.fc1.{end}", own[f"{layer}.mlp.0.{end}"])
            self.same(f"bridge.blk.0.fc2.{end}", own[f"{layer}.residual.dense.{end}"])
            self.same(f"bridge.blk.0.ffn_norm.{end}", own[f"{layer}.residual.layernorm.{end}"])
            self.same(f"project.video.{end}", own[f"model.mm_projector.projector.proj.0.{end}"])
        self.same("token_embd.weight", own["model.embed_tokens.weight"])
        self.same("output.weight", own["lm_head.weight"])
        self.same("blk.1.attn_output.weight", own["model.layers.1.self_attn.o_proj.weight"])

    def test_a(self):
        tensors = small.parts("a")
        small.write(self.root, "a", tensors)
        run = self.converted("--type", "f32")
        self.assertNotIn("warning", run.stderr)
        self.tower("vit", tensors["video"], True)
        self.tower("image_vit", tensors["image"], False)
        self.bridge(tensors["model"])
        blocks = small.CLIP_BLOCKS - 1
        self.assertEqual(len(self.tensors), 5 + 19 * blocks + 5 + 12 * blocks + 1 + 10 + 6 + 10 + 2 + 3 + 9 * 2)

    def test_b(self):
        tensors = small.parts("b")
        small.write(self.root, "b", tensors)
        self.converted("--type", "f32")
        self.tower("vit", tensors["clip"], False)
        self.bridge(tensors["model"])
        self.same("bridge.scene_position", tensors["model"]["model.mm_projector.abs_vid_pe.weight"][:8])
        self.assertFalse([name for name in self.tensors if name.startswith("image_vit")])

    def test_nothing_that_is_not_read_is_taken(self):
        """Copies of the towers, last blocks, memory_tokens, crossattention, the retrieval's selfattention: all NaN."""
        for kind in "ab":
            tensors = small.parts(kind)
            if kind == "a":
                tensors["model"]["model.mm_projector.abs_vid_pe.weight"] = small.poison(9, small.D)
            small.write(self.root, kind, tensors)
            self.converted("--type", "bf16")
            for name in self.tensors:
                self.assertTrue(np.isfinite(self.numbers(name)).all(), name)
            self.clear()

    def test_types(self):
        small.write(self.root, "a")
        for option, number in (("f16", 1), ("bf16", 30), ("f32", 0)):
            self.converted("--type", option)
            for name, (kind, shape, _) in self.tensors.items():
                exact = len(shape) == 1 or name.endswith((".position", "bridge.memory"))
                self.assertEqual(kind, 0 if exact else number, name)


class Keys(Lamb):
    def test_a(self):
        small.write(self.root, "a")
        self.converted()
        for name, want in (
                ("vidrun.system", "videollamb"), ("video.sampling", "linspace"), ("video.frames", 8), ("video.frames_max", 512),
                ("general.name", "videollamb-llava-1.5-7b, LanguageBind_Image, LanguageBind_Video_merge"),
                ("video.frames_multiple", 8), ("video.fps", 1), ("video.resize", "normalise-bilinear"),
                ("image.resize", "tensor-bicubic"), ("vit.image_size", 32), ("vit.patch_size", 2),
                ("vit.block_count", small.CLIP_BLOCKS - 1), ("vit.head_count", 2), ("vit.activation", "gelu"),
                ("vit.temporal_frames", 8), ("image_vit.activation", "gelu"), ("image_vit.block_count", small.CLIP_BLOCKS - 1),
                ("bridge.memory_count", small.MEMORY), ("bridge.head_count", small.HEADS), ("bridge.block_count", 1),
                ("bridge.feed_forward_length", small.F), ("bridge.pool_side", 12), ("bridge.cache", "memory"),
                ("bridge.output", "last_scene"), ("scene.count", 4), ("scene.frames_max", 8), ("stream.scene_alpha", 0.5),
                ("stream.boundaries_max", 15), ("stream.query", "Describe the video in one sentence."),
                ("tokenizer.legacy", 0), ("tokenizer.skip_special", 1), ("tokenizer.clean_spaces", 0),
                ("tokenizer.special_strip", [0, 0, 0]), ("prompt.context", 3072), ("prompt.template", "llava_v0"),
                ("sampling.top_k", 50), ("sampling.top_p", 1), ("sampling.predict", 1024),
                ("sampling.repetition_penalty", 1), ("template.llava_v0.stop", ["\u2581###"]),
                ("template.llava_v1.stop", ["</s>"])):
            self.assertEqual(self.key(name), want, name)
        for name, want in (("bridge.norm_epsilon", 1e-12), ("vit.norm_epsilon", 1e-5), ("sampling.temperature", 0.2)):
            self.assertEqual(np.float32(self.key(name)), np.float32(want), name)
        for absent in ("scene.alpha", "scene.boundaries_max", "prompt.rows_max", "tokenizer.strip_prefix", "tokenizer.eos_ids"):
            self.assertNotIn(absent, self.keys)

    def test_b(self):
        small.write(self.root, "b", generation={"eos_token_id": [2, 1], "top_p": 0.6, "top_k": 9, "temperature": 0.9})
        self.converted()
        for name, want in (
                ("video.frames_max", 512), ("video.frames_multiple", 1), ("video.fps", 1), ("video.resize", "clip"),
                ("image.resize", "clip"), ("vit.activation", "gelu_quick"), ("vit.temporal_frames", 0),
                ("bridge.pool_side", 14), ("bridge.cache", "patches"), ("bridge.output", "memory"), ("scene.alpha", 0.5),
                ("scene.boundaries_max", 7), ("prompt.context", 2560), ("prompt.template", "llava_v1"),
                ("sampling.predict", 512), ("sampling.top_k", 9), ("tokenizer.eos_ids", [1])):
            self.assertEqual(self.key(name), want, name)
        self.assertEqual([np.float32(self.key(f"sampling.{n}")) for n in ("temperature", "top_p")],
                         [np.float32(n) for n in (0.2, 0.6)])
        for absent in ("video.frames", "scene.count", "stream.query", "stream.scene_alpha", "image_vit.block_count"):
            self.assertNotIn(absent, self.keys)

    def test_every_key_is_in_the_format(self):
        text = (CONVERT.parents[2] / "weights" / "FORMAT.md").read_text()
        for kind in "ab":
            small.write(self.root, kind)
            self.converted()
            self.clear()
            for name in self.keys:
                self.assertIn(name.split(".")[-1], text, name)

    def test_configurations_that_say_little(self):
        """CLIP's own file leaves out what its class has by default; old ones say it twice."""
        small.write(self.root, "b", towers={"clip": {"hidden_act": None, "layer_norm_eps": None, "image_size": None}})
        self.converted()
        self.assertEqual((self.key("vit.activation"), self.key("vit.image_size")), ("gelu_quick", 32))
        file = self.path(small.FOLDERS["clip"], "config.json")
        whole = small.tower_config("clip")
        made.write_json(file, {**whole, "vision_config_dict": {"layer_norm_eps": 2e-5}})
        self.converted()
        self.assertEqual(np.float32(self.key("vit.norm_epsilon")), np.float32(2e-5))

    def test_legacy(self):
        small.write(self.root, "b", tokenizer={"legacy": True, "clean_up_tokenization_spaces": True})
        self.converted()
        self.assertEqual((self.key("tokenizer.legacy"), self.key("tokenizer.clean_spaces")), (1, 1))
        small.write(self.root, "b", tokenizer={"bos_token": "<s>"})
        self.converted()
        self.assertEqual(self.key("tokenizer.legacy"), 1)
        small.write(self.root, "b", tokenizer={"legacy": "no"})
        self.refused("legacy is 'no'")

    def test_added_tokens(self):
        n = len(made.PIECES)

        def token(text, **flags):
            return {"content": text, "lstrip": False, "rstrip": False, "single_word": False, "special": True, **flags}
        added = {"0": token("<unk>"), "2": token("</s>", rstrip=True), str(n): token("<a>", lstrip=True, rstrip=True),
                 str(n + 1): token("[PAD]"), str(n + 5): token("<far>")}
        tensors = small.parts("b")
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            tensors["model"][name] = made.Random(1)(n + 2, small.H)
        small.write(self.root, "b", tensors, {"vocab_size": n + 2}, tokenizer={
            "legacy": False, "add_prefix_space": False, "added_tokens_decoder": added, "pad_token": "[PAD]"})
        made.write_json(self.path(small.FOLDERS["b"], "special_tokens_map.json"), {"eos_token": "<a>"})  # is not read then
        self.assertIn("<far>", self.converted().stderr)
        self.assertEqual(self.key("tokenizer.ggml.tokens")[n:], ["<a>", "[PAD]"])
        self.assertEqual(self.key("tokenizer.ggml.token_type")[n:], [4, 3])
        self.assertEqual(self.key("tokenizer.ggml.add_space_prefix"), 0)
        self.assertEqual(self.key("tokenizer.special_ids"), [0, 1, 2, n, n + 1])
        self.assertEqual(self.key("tokenizer.special_strip"), [0, 0, 0, 1, 0])
        self.assertEqual(self.key("tokenizer.special_rstrip"), [0, 0, 1, 1, 0])
        for decoder, text in (({"x": token("<a>")}, "not a table of ids"), ({"0": "<unk>"}, "neither a text nor a token"),
                              ({"0": token("<unk>", single_word=True)}, "single_word"), ({"5": token("<a>")}, "collides")):
            small.write(self.root, "b", tensors, {"vocab_size": n + 2}, tokenizer={"added_tokens_decoder": decoder})
            self.refused(text)


class Prompts(Lamb):
    def conversation(self, name, questions, answers, media):
        """As weights/FORMAT.md says."""
        part = {key: self.key(f"template.{name}.{key}") for key in ("first", "next", "open", "answer")}
        system = self.keys.get(f"template.{name}.system", (0, self.key(f"prompt.system.{media}")))[1]
        said = self.key(f"prompt.{media}").replace("{video}", f"<{media}>") + self.key("prompt.separator")
        text = part["first"].replace("{system}", system).replace("{text}", said + questions[0])
        for question, answer in zip(questions[1:], answers):
            text += part["answer"].replace("{text}", answer) + part["next"].replace("{text}", question)
        return text + part["open"]

    def test_templates(self):
        small.write(self.root, "a")
        self.converted()
        asked, answers = ["What is\nit?", "Why?"], ["A dog."]
        self.assertEqual(self.conversation("llava_v0", asked, answers, "video"),
                         f"{HUMAN}###Human: <video>\nWhat is\nit?###Assistant: A dog.###Human: Why?###Assistant:")
        for name, system in (("llava_v1", HUMAN), ("vicuna_v1", HUMAN.replace("human", "user"))):
            self.assertEqual(self.conversation(name, asked, answers, "video"),
                             f"{system} USER: <video>\nWhat is\nit? ASSISTANT: A dog.</s>USER: Why? ASSISTANT:")
            self.assertEqual(self.conversation(name, asked[1:], [], "image"), f"{system} USER: <image>\nWhy? ASSISTANT:")
        self.assertEqual(self.key("prompt.templates"), ["llava_v0", "llava_v1", "vicuna_v1"])
        self.converted("--template", "vicuna_v1")
        self.assertEqual(self.key("prompt.template"), "vicuna_v1")
        self.refused("vicuna", options=("--template", "vicuna"))

    def test_recorded_prompts(self):
        """What the original rendered, of one and of two turns; its own program keeps no answers, which vidrun does."""
        for case, more in (("videollamb-a", ("videollamb-image", "videollamb-stream")),
                           ("videollamb-b", ("videollamb-b-short",))):
            with self.subTest(case):
                shared = golden_checkpoint(case, self.root)
                self.converted()
                for name in self.tensors:  # what must not be read is all 3
                    self.assertFalse((self.numbers(name) == 3).all(), name)
                for name in (case, *more):
                    self.compare(json.loads((shared.parent / name / "case.json").read_text()))
                self.clear()

    def compare(self, content):
        media = "image" if "--image" in content["arguments"] else "video"
        self.assertEqual(self.conversation(content["template"], [content["prompt"]], [], media), content["rendered_prompt"])
        for other in content.get("other_prompts", []):
            if other["answers"] is not None or len(other["questions"]) == 1:
                self.assertEqual(self.conversation(other["template"], other["questions"], other["answers"] or [],
                                                   other["modality"].lower()), other["rendered_prompt"])


class Refusals(Lamb):
    def test_missing_and_surplus_tensors(self):
        for kind, part, name in (
                ("a", "model", "model.mm_projector.projector.layers.0.selfattention.residual.layernorm.bias"),
                ("a", "model", "model.mm_projector.retrieval.layers.0.crossattention.k_proj.weight"),
                ("a", "model", "model.mm_projector.projector.proj.0.bias"), ("a", "model", "lm_head.weight"),
                ("a", "video", "vision_model.encoder.layers.1.temporal_embedding"),
                ("a", "video", "vision_model.encoder.layers.0.temporal_attn.v_proj.bias"),
                ("a", "image", "vision_model.pre_layrnorm.weight"), ("b", "clip", "vision_model.embeddings.class_embedding"),
                ("b", "model", "model.mm_projector.abs_vid_pe.weight")):
            tensors = small.parts(kind)
            del tensors[part][name]
            small.write(self.root, kind, tensors)
            with self.subTest(name=name):
                self.refused("missing tensor", name)
            self.clear()
        for kind, part, name in (("a", "model", "model.mm_projector.retrieval.layers.1.crossattention.k_proj.weight"),
                                 ("a", "model", "model.mm_projector.projector.layers.1.mlp.0.bias"),
                                 ("a", "model", "model.layers.2.mlp.up_proj.weight"),
                                 ("a", "image", "vision_model.encoder.layers.4.mlp.fc1.bias"),
                                 ("b", "clip", "vision_model.embeddings.patch_embedding.bias"),
                                 ("b", "model", "model.image_newline")):
            tensors = small.parts(kind)
            tensors[part][name] = np.zeros(3, "<f4")
            small.write(self.root, kind, tensors)
            with self.subTest(name=name):
                self.refused(name, "not known")
            self.clear()

    def test_shapes(self):
        for kind, part, name, shape in (
                ("a", "model", "model.mm_projector.projector.read_memory_emb", (small.MEMORY, small.D + 1)),
                ("a", "model", "model.mm_projector.projector.read_memory_emb", (small.D,)),
                ("a", "model", "model.mm_projector.projector.layers.0.mlp.0.weight", (small.F + 1, small.D)),
                ("a", "video", "vision_model.encoder.layers.0.temporal_embedding", (1, 16, small.D)),
                ("a", "image", "vision_model.embeddings.position_embedding.weight", (256, small.D)),
                ("b", "model", "model.mm_projector.abs_vid_pe.weight", (7, small.D)),
                ("b", "clip", "vision_model.embeddings.position_embedding.weight", (1, small.D))):
            tensors = small.parts(kind)
            tensors[part][name] = np.zeros(shape, "<f4")
            small.write(self.root, kind, tensors)
            with self.subTest(name=name, shape=shape):
                self.refused(name)
            self.clear()

    def test_missing_and_doubled_folders(self):
        for kind, part, text in (("a", "video", "LanguageBind/LanguageBind_Video_merge"), ("a", "image", "LanguageBind_Image"),
                                 ("b", "clip", "openai/clip-vit-large-patch14-336")):
            tensors = small.parts(kind)
            del tensors[part]
            small.write(self.root, kind, tensors)
            with self.subTest(part=part):
                self.refused("no file of the checkpoint holds", text, "copies")
            self.clear()
        small.write(self.root, "a")
        shutil.copytree(self.path(small.FOLDERS["image"]), self.path("copy"))
        self.refused("both hold the tower of pictures", "copy")
        shutil.rmtree(self.path("copy"))
        os.mkdir(self.path("other"))
        made.save_safetensors(self.path("other", "model.safetensors"), {"conv.weight": np.zeros(3, "<f4")})
        self.refused("other", "not a part of VideoLLaMB", "conv.weight")
        shutil.rmtree(self.path("other"))
        shutil.rmtree(self.path(small.FOLDERS["a"]))
        self.refused("not the checkpoint of a known system")
        self.refused("no file of the checkpoint holds VideoLLaMB's decoder", options=("--system", "videollamb"))

    def test_towers_of_the_other_checkpoint(self):
        small.write(self.root, "a", change={"mm_video_tower": "clip", "mm_image_tower": "clip"})
        self.refused("LanguageBind_Video_merge", "a tower over time")
        self.clear()
        tensors = {**small.parts("a"), "clip": small.parts("b")["clip"]}
        del tensors["image"]
        small.write(self.root, "a", tensors)
        self.refused("model_type is 'clip'", "LanguageBind_Video_merge")
        self.clear()
        tensors = {**small.parts("b"), "image": small.parts("a")["image"]}
        del tensors["clip"]
        small.write(self.root, "b", tensors)
        self.refused("model_type is 'LanguageBindImage'")

    def test_configurations_that_cannot_be(self):
        for change, *texts in (
                ({"mm_projector_type": "rmt_transformer1x"}, "mm_projector_type is 'rmt_transformer1x'"),
                ({"mm_projector_type": None}, "mm_projector_type is None"),
                ({"mm_projector_type": "rmt_r_transformer0x"}, "rmt_r_transformer0x"),
                ({"mm_projector_type": "rmt_r_transformer2x"}, "missing tensor", "layers.1"),
                ({"mm_vision_select_layer": -1}, "mm_vision_select_layer is -1"),
                ({"mm_vision_select_feature": "cls_patch"}, "cls_patch"),
                ({"mm_hidden_act": "relu"}, "mm_hidden_act is 'relu'"), ({"mm_use_x_start_end": True}, "mm_use_x_start_end"),
                ({"mm_use_x_patch_token": True}, "mm_use_x_patch_token"),
                ({"model_type": "llava_mistral"}, "llava_mistral"), ({"X": ["IMAGE"]}, "X is ['IMAGE']"),
                ({"mm_video_tower": "./checkpoints/RMTLanguageBind_Video_merge"}, "RMTLanguageBind_Video_merge"),
                ({"mm_image_tower": "./checkpoints/clip-vit-large-patch14-336"}, "expected LanguageBind_Video_merge"),
                ({"mm_video_tower": None}, "mm_video_tower"), ({"mm_num_attention_heads": 3}, "does not divide"),
                ({"mm_hidden_size": small.D * 2}, "mm_hidden_size is 32", "16 wide"),
                ({"mm_layer_norm_eps": 0}, "mm_layer_norm_eps"),
                ({"mm_intermediate_size": None}, "mm_intermediate_size is missing"),
                ({"tokenizer_model_max_length": None}, "tokenizer_model_max_length is missing"),
                ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
                ({"tie_word_embeddings": True}, "tie_word"),
                ({"vocab_size": 7}, "vocab_size is 7")):
            small.write(self.root, "a", change=change)
            with self.subTest(change=change):
                self.refused(*texts)
        for towers, *texts in (({"image": {"lora_r": 2}}, "LanguageBind_Image", "lora_r is 2"),
                               ({"image": {"add_time_attn": True}}, "LanguageBind_Image", "add_time_attn is True"),
                               ({"video": {"add_time_attn": None}}, "LanguageBind_Video_merge", "add_time_attn is None"),
                               ({"video": {"hidden_act": "relu"}}, "hidden_act is 'relu'"),
                               ({"video": {"image_size": 64}}, "image_size 64"),
                               ({"video": {"num_attention_heads": 3}}, "3 heads do not divide")):
            small.write(self.root, "a", towers=towers)
            with self.subTest(towers=towers):
                self.refused(*texts)
        small.write(self.root, "a")
        made.write_json(self.path("vidrun.json"), {"vit_heads": 2})
        self.refused("vit_heads is not known")
