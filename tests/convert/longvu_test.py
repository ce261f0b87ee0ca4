"""
longvu_test.py - LongVU: tensors, keys, positions, prompts; what is missing, surplus or cannot be.
"""
import json
import os
import pathlib
import shutil

import numpy as np

from harness import CONVERT, Folder, golden_checkpoint  # first: it sets the path to the converter
import gguf_reader
import synthetic as made
import synthetic_longvu as small

QUESTION = "What is the dog doing?"


def keys_cubic(d):
    """The cubic convolution kernel with a = -0.75 (Keys 1981), in double."""
    d = abs(d)
    if d <= 1:
        return 1.25 * d ** 3 - 2.25 * d ** 2 + 1
    return -0.75 * (d ** 3 - 5 * d ** 2 + 8 * d - 4) if d < 2 else 0.0


def resampling(trained, side, step):
    """[side, trained] in double: places step apart, rows beyond the edge count as the edge's."""
    matrix = np.zeros((side, trained))
    for i in range(side):
        x = step * (i + 0.5) - 0.5
        for row in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
            matrix[i, min(max(row, 0), trained - 1)] += keys_cubic(x - row)
    return matrix


class LongVU(Folder):
    def numbers(self, name):
        return gguf_reader.array(self.tensors[name])

    def same(self, new, want):
        got = self.numbers(new)
        self.assertEqual(got.shape, want.shape, new)
        self.assertTrue((got == want).all(), new)

    def test_tensors(self):
        tensors = small.parts()
        small.write(self.root, tensors=tensors)
        self.converted("--type", "f32")
        own = {name: array.astype("<f4") for part in tensors.values() for name, array in part.items()}
        rows = small.rows("qwen") - 5
        self.same("token_embd.weight", own["model.embed_tokens.weight"][:rows])
        self.same("output.weight", own["lm_head.weight"][:rows])
        self.same("blk.1.attn_k.bias", own["model.layers.1.self_attn.k_proj.bias"])
        self.same("blk.0.attn_v.weight", own["model.layers.0.self_attn.v_proj.weight"])
        self.same("image_newline", own["model.image_newline"])
        self.same("siglip.patch.weight", own["vision_model.embeddings.patch_embedding.weight"].reshape(small.D_SIGLIP, -1))
        self.same("siglip.position", own["vision_model.embeddings.position_embedding.weight"])
        layer = "vision_model.encoder.layers.1"
        for end in ("weight", "bias"):
            self.same(f"siglip.blk.1.qkv.{end}", np.concatenate([own[f"{layer}.self_attn.{n}_proj.{end}"] for n in "qkv"]))
            self.same(f"dino.blk.0.qkv.{end}", np.concatenate(
                [own[f"encoder.layer.0.attention.attention.{n}.{end}"] for n in ("query", "key", "value")]))
            self.same(f"siglip.blk.1.norm2.{end}", own[f"{layer}.layer_norm2.{end}"])
            self.same(f"dino.output_norm.{end}", own[f"layernorm.{end}"])
            self.same(f"dino.blk.1.fc1.{end}", own[f"encoder.layer.1.mlp.weights_in.{end}"])
            for new, old in (("aux_siglip.fc1", "aux_0.0"), ("aux_dino.fc2", "aux_1.2"), ("aux_dino.norm", "aux_1.3")):
                self.same(f"project.{new}.{end}", own[f"model.mm_projector_{old}.{end}"])
            self.same(f"project.video.fc2.{end}", own[f"model.mm_projector.2.{end}"])
        self.same("dino.class", own["embeddings.cls_token"].reshape(-1))
        self.same("dino.blk.1.scale1", own["encoder.layer.1.layer_scale1.lambda1"])
        self.same("dino.blk.1.scale2", own["encoder.layer.1.layer_scale2.lambda1"])
        self.same("sampler.query", own["model.vision_query"].reshape(-1))
        sampler = "model.vision_sampler_0.layers.1"
        for new, old in (("context", "proj_context"), ("in", "proj_in"), ("q", "cross_attn.q_proj.1"),
                         ("out", "cross_attn.o_proj"),
                         ("fc1", "proj_out.linear_1"), ("fc2", "proj_out.linear_2"), ("dino.k", "cross_attn.k_proj_1.1"),
                         ("siglip.v", "cross_attn.v_proj_0.1"), ("siglip.k_norm", "cross_attn.k_proj_0.0"),
                         ("q_norm", "cross_attn.q_proj.0"), ("norm", "norm")):
            self.same(f"sampler.blk.1.{new}.weight", own[f"{sampler}.{old}.weight"])
        self.same("sampler.blk.0.dino.position", own["model.vision_sampler_0.layers.0.pos_embed_1"])

    def test_keys(self):
        small.write(self.root)
        self.converted()
        rows = small.rows("qwen") - 5
        for name, want in (
                ("vidrun.system", "longvu"), ("general.name", "LongVU_Qwen2_7B, siglip-so400m-patch14-384, dinov2-giant"),
                ("video.sampling", "fps"), ("video.fps", 1), ("video.resize", "pad-pil-bicubic"),
                ("image.resize", "pad-pil-bicubic"),
                ("siglip.image_size", 384), ("siglip.patch_size", 14), ("siglip.head_count", 2), ("siglip.block_count", 2),
                ("siglip.embedding_length", small.D_SIGLIP), ("siglip.feed_forward_length", small.F_SIGLIP),
                ("siglip.activation", "gelu_tanh"), ("siglip.pixel.pad", [127, 127, 127]),
                ("siglip.pixel.mean", [0.5, 0.5, 0.5]),
                ("dino.image_size", 378), ("dino.head_count", 3), ("dino.feed_forward_length", small.F_DINO),
                ("dino.ffn", "swiglu"), ("dino.pixel.pad", [123, 116, 103]), ("sampler.block_count", 2),
                ("sampler.embedding_length", small.W), ("sampler.head_count", 16), ("longvu.tower_side", 24),
                ("longvu.query_side", 12), ("longvu.highres", 1), ("longvu.low_side", 8), ("longvu.max_length", 8192),
                ("longvu.reserve", 16), ("llama.vocab_size", rows), ("llama.attention.head_count_kv", 2),
                ("llama.rope.freq_base", 1e6), ("llama.context_length", 32768), ("prompt.context", 9216),
                ("tokenizer.ggml.eos_token_id", rows - 1)):
            self.assertEqual(self.key(name), want, name)
        for name, want in (("longvu.dino_threshold", 0.81), ("longvu.drop_threshold", 0.6), ("dino.norm_epsilon", 1e-6),
                           ("dino.output_norm_epsilon", 1e-6), ("siglip.norm_epsilon", 1e-6), ("sampler.norm_epsilon", 1e-5)):
            self.assertEqual(np.float32(self.key(name)), np.float32(want), name)
        self.assertEqual([np.float32(n) for n in self.key("dino.pixel.std")], [np.float32(n) for n in (0.229, 0.224, 0.225)])
        for absent in ("siglip.output_norm_epsilon", "tokenizer.ggml.bos_token_id", "tokenizer.eos_ids",
                       "llama.rope.scaling.type", "tokenizer.ggml.scores", "prompt.audio_video"):
            self.assertNotIn(absent, self.keys)

    def test_every_key_is_in_the_format(self):
        text = (CONVERT.parents[2] / "weights" / "FORMAT.md").read_text()
        for family in ("qwen", "llama"):
            small.write(self.root, family)
            self.converted()
            shutil.rmtree(self.root)
            os.mkdir(self.root)
            for name in self.keys:
                self.assertIn(name.split(".")[-1], text, name)

    def test_types(self):
        small.write(self.root)
        for option, number in (("f16", 1), ("bf16", 30), ("f32", 0)):
            self.converted("--type", option)
            for name, (kind, shape, _) in self.tensors.items():
                exact = name.endswith((".bias", "norm.weight", "norm1.weight", "norm2.weight", ".position", ".query", ".class",
                                       ".scale1", ".scale2", "image_newline"))
                self.assertEqual(kind, 0 if exact else number, name)
                self.assertEqual(exact, len(shape) == 1 or name.endswith(".position"), name)

    def test_llama(self):
        tensors = small.parts("llama")
        small.write(self.root, "llama", tensors, kinds=("bin", "safetensors", "bin"))
        run = self.converted("--type", "f32")
        self.assertNotIn("warning", run.stderr)
        n = len(small.pieces())
        self.assertNotIn("output.weight", self.tensors)
        self.assertFalse([name for name in self.tensors if name.startswith("blk.") and name.endswith("bias")])
        self.assertEqual(self.tensors["token_embd.weight"][1], (small.rows("llama"), small.H))
        for name, want in (("llama.rope.scaling.type", "llama3"), ("llama.rope.scaling.factor", 32),
                           ("llama.rope.scaling.low_freq_factor", 1), ("llama.rope.scaling.high_freq_factor", 4),
                           ("llama.rope.scaling.original_context_length", 8192), ("tokenizer.ggml.bos_token_id", n),
                           ("tokenizer.ggml.eos_token_id", n + 1), ("tokenizer.eos_ids", [n + 4, n + 5]),
                           ("prompt.context", 8500), ("prompt.template", "llama3")):
            self.assertEqual(self.key(name), want, name)
        tensors["longvu"]["lm_head.weight"] = tensors["longvu"]["lm_head.weight"] + 1
        small.write(self.root, "llama", tensors, kinds=("bin", "safetensors", "bin"))
        self.assertIn("lm_head.weight differs", self.converted().stderr)
        self.assertNotIn("output.weight", self.tensors)

    def test_image_stage(self):
        small.write(self.root, image=True)
        self.converted()
        self.assertEqual([self.key(f"longvu.{n}") for n in ("tower_side", "query_side", "highres")], [24, 24, 0])
        self.assertNotIn("longvu.low_side", self.keys)
        self.assertEqual(np.float32(self.key("longvu.dino_threshold")), np.float32(0.83))
        self.assertEqual(np.float32(self.key("longvu.drop_threshold")), np.float32(0.7))
        self.assertFalse([name for name in self.tensors if name.startswith("sampler") and name.endswith("position")])

    def test_positions(self):
        tensors = small.parts()
        small.write(self.root, tensors=tensors)
        self.converted()
        table = tensors["dino"]["embeddings.position_embeddings"][0].astype("f8")
        grid, got = table[1:].reshape(37, 37, -1), self.numbers("dino.position")
        self.assertTrue((got[0] == table[0]).all())

        def distance(step):
            matrix = resampling(37, 27, step)
            return np.abs(got[1:] - np.einsum("yv,xh,vhd->yxd", matrix, matrix, grid).reshape(729, -1)).max()
        self.assertLess(distance(37 / 27.1), 4e-5 * np.abs(table).max())  # places in float32 are wrong by up to 2^-19
        self.assertGreater(distance(37 / 27), 0.01)                        # what newer transformers do
        for i, weights in ((0, (0.841032, 0.179420, -0.020452)), (13, (-0.003257, 0.057792, 0.989912, -0.044448)),
                           (26, (-0.052021, 0.351564, 0.700457))):  # of the specification, equal rows added up
            row = resampling(37, 27, 37 / 27.1)[i]
            self.assertTrue(np.allclose(row[row != 0], weights, atol=2e-6), i)

    def test_other_sizes(self):
        random = made.Random(5)
        tensors = {**small.parts(), "siglip": small.siglip(random, side=4), "dino": small.dino(random, side=3)}
        change = {"mm_vision_tower_aux_token_len_list": [16, 16], "query_num_list": [4], "image_token_len": 4,
                  "lowres_token": 1}
        small.write(self.root, tensors=tensors, change=change)
        made.write_json(self.path("vidrun.json"), {"siglip_image_size": 60, "dino_image_size": 42})
        self.converted("--type", "f32")
        names = ("longvu.tower_side", "longvu.query_side", "longvu.low_side", "siglip.image_size")
        self.assertEqual([self.key(name) for name in names], [4, 2, 1, 60])
        self.same("dino.position", tensors["dino"]["embeddings.position_embeddings"][0])
        made.write_json(self.path("vidrun.json"), {"siglip_image_size": 60, "dino_image_size": 42, "vit_heads": 2})
        self.refused("vit_heads is not known")
        made.write_json(self.path("vidrun.json"), {"siglip_image_size": 60, "dino_image_size": 3})
        self.refused("dino_image_size")

    def test_missing_and_surplus_tensors(self):
        for part, name in (("longvu", "model.vision_query"), ("longvu", "model.image_newline"),
                           ("longvu", "model.mm_projector.2.bias"),
                           ("longvu", "model.mm_projector_aux_1.3.weight"), ("longvu", "model.layers.1.self_attn.v_proj.bias"),
                           ("longvu", "model.vision_sampler_0.layers.1.pos_embed_1"), ("longvu", "lm_head.weight"),
                           ("longvu", "model.vision_sampler_0.layers.1.proj_in.weight"),
                           ("siglip", "vision_model.encoder.layers.1.self_attn.k_proj.bias"),
                           ("siglip", "vision_model.embeddings.position_embedding.weight"),
                           ("dino", "encoder.layer.1.layer_scale2.lambda1"), ("dino", "embeddings.position_embeddings"),
                           ("dino", "layernorm.bias")):
            tensors = small.parts()
            del tensors[part][name]
            small.write(self.root, tensors=tensors)
            with self.subTest(name=name):
                self.refused("missing tensor", name)
        for part, name in (("longvu", "model.layers.2.mlp.up_proj.weight"), ("longvu", "model.vision_sampler_layers.0.x"),
                           ("longvu", "model.vision_tower_aux_list.0.x"), ("siglip", "vision_model.embeddings.class_embedding"),
                           ("siglip", "vision_model.encoder.layers.2.mlp.fc1.bias"), ("dino", "embeddings.register_tokens"),
                           ("longvu", "model.layers.0.self_attn.o_proj.bias")):
            tensors = small.parts()
            tensors[part][name] = np.zeros(3, "<f4")
            small.write(self.root, tensors=tensors)
            with self.subTest(name=name):
                self.refused(name, "not known")

    def test_shapes(self):
        for part, name, shape in (("longvu", "model.vision_query", (2, small.W)), ("longvu", "model.image_newline", (small.W,)),
                                  ("longvu", "model.vision_sampler_0.layers.0.pos_embed_0", (9, small.W)),
                                  ("longvu", "model.vision_sampler_0.layers.0.proj_in.weight", (small.W, small.W)),
                                  ("longvu", "model.mm_projector_aux_0.0.weight", (small.W, small.D_DINO)),
                                  ("longvu", "lm_head.weight", (1, small.rows("qwen"), small.H)),
                                  ("siglip", "vision_model.embeddings.position_embedding.weight", (576, small.D_SIGLIP)),
                                  ("siglip", "vision_model.embeddings.patch_embedding.weight", (small.D_SIGLIP, 3, 14, 16)),
                                  ("dino", "embeddings.position_embeddings", (1, 1371, small.D_DINO)),
                                  ("dino", "embeddings.position_embeddings", (1, 1, small.D_DINO)),
                                  ("dino", "encoder.layer.0.mlp.weights_in.weight", (small.F_DINO, small.D_DINO))):
            tensors = small.parts()
            tensors[part][name] = np.zeros(shape, "<f4")
            small.write(self.root, tensors=tensors)
            with self.subTest(name=name, shape=shape):
                self.refused(name)

    def test_missing_and_doubled_folders(self):
        for part, text in (("siglip", "google/siglip-so400m-patch14-384"), ("dino", "facebook/dinov2-giant")):
            shutil.rmtree(self.path(small.SIGLIP if part == "siglip" else small.DINO), ignore_errors=True)
            tensors = small.parts()
            del tensors[part]
            small.write(self.root, tensors=tensors)
            with self.subTest(part=part):
                self.refused("no file of the checkpoint holds", text)
        small.write(self.root)
        shutil.copytree(self.path(small.DINO), self.path("copy"))
        self.refused("both hold the DINOv2 tower", "copy")
        shutil.rmtree(self.path("copy"))
        os.mkdir(self.path("other"))
        made.save_safetensors(self.path("other", "model.safetensors"), {"conv.weight": np.zeros(3, "<f4")})
        self.refused("other", "not a part of LongVU", "conv.weight")
        shutil.rmtree(self.path("other"))
        shutil.rmtree(self.path(small.FOLDERS["qwen"]))
        self.refused("not the checkpoint of a known system")
        self.refused("no file of the checkpoint holds LongVU's decoder", options=("--system", "longvu"))

    def test_towers_of_bytes(self):
        small.write(self.root)
        self.converted("--type", "q8_0", "--towers", "q8_0")
        types = {name: kind for name, (kind, _, _) in self.tensors.items()}
        self.assertEqual({types[f"siglip.blk.1.{name}.weight"] for name in ("fc1", "fc2", "qkv")}, {1008})
        self.assertEqual([types[f"dino.blk.1.{name}.weight"] for name in ("fc1", "fc2")], [1, 1008])  # halves of ten rows

    def test_towers_inside_the_decoder_s_folder(self):
        folder = small.write(self.root)
        for name in (small.SIGLIP, small.DINO):
            os.rename(self.path(name), os.path.join(folder, os.path.basename(name)))
        self.converted()
        self.assertEqual(self.key("siglip.head_count"), 2)

    def test_shards(self):
        tensors = small.parts()
        folder = small.write(self.root, tensors=tensors)
        self.converted("--type", "f32")
        whole = pathlib.Path(self.out).read_bytes()
        os.remove(os.path.join(folder, "model.safetensors"))
        names = sorted(tensors["longvu"])
        halves = {"model-00001-of-00002.safetensors": names[:20], "model-00002-of-00002.safetensors": names[20:]}
        for file, half in halves.items():
            made.save_safetensors(os.path.join(folder, file), {name: tensors["longvu"][name] for name in half})
        made.write_json(os.path.join(folder, "model.safetensors.index.json"),
                        {"weight_map": {name: file for file, half in halves.items() for name in half}})
        self.converted("--type", "f32")
        self.assertEqual(pathlib.Path(self.out).read_bytes(), whole)
        made.save_safetensors(os.path.join(folder, "model-00003.safetensors"), {names[0]: tensors["longvu"][names[0]]})
        self.refused("both hold tensor", names[0])

    def test_configurations_that_cannot_be(self):
        for change, *texts in (
                ({"frame_pos": True}, "frame_pos is True"), ({"mm_projector_type": None}, "mm_projector_type is 'linear'"),
                ({"mm_projector_type": "mlp2x_gelu"}, "mlp2x_gelu"), ({"connector_only": False}, "connector_only is False"),
                ({"connector_only": None}, "connector_only is None"), ({"num_query_group": 2}, "num_query_group is 2"),
                ({"mm_use_im_start_end": True}, "mm_use_im_start_end"),
                ({"mm_use_im_patch_token": None}, "mm_use_im_patch_token is True"),
                ({"mm_vision_select_feature": "cls_patch"}, "cls_patch"), ({"use_sliding_window": True}, "use_sliding_window"),
                ({"model_type": "llava"}, "model_type is 'llava'"), ({"model_type": None}, "model_type is None"),
                ({"mm_vision_tower_aux_list": ["facebook/dinov2", "siglip"]}, "expected SigLIP and DINOv2"),
                ({"mm_vision_tower_aux_list": ["siglip"]}, "expected SigLIP and DINOv2"),
                ({"mm_vision_tower_aux_token_len_list": [576, 144]}, "2 equal numbers"),
                ({"mm_vision_tower_aux_token_len_list": [575, 575]}, "squares"), ({"query_num_list": [0]}, "squares"),
                ({"query_num_list": [144, 144]}, "1 equal number"), ({"query_num_list": None}, "query_num_list is None"),
                ({"query_num_list": [100], "image_token_len": 100}, "do not divide"),
                ({"image_token_len": 576}, "image_token_len is 576", "144"),
                ({"image_token_len": None}, "image_token_len is missing"),
                ({"query_num_list": [576], "image_token_len": 576}, "different releases"),
                ({"vision_hidden_size": 40}, "16 heads"), ({"connector_depth": None}, "connector_depth is missing"),
                ({"connector_depth": 1}, "layers.1", "not known"),
                ({"highres": 1}, "highres is 1"), ({"lowres_token": None}, "lowres_token is missing"),
                ({"lowres_token": 13}, "lowres_token is 13"), ({"dino_threshold": "x"}, "dino_threshold"),
                ({"tokenizer_model_max_length": None}, "tokenizer_model_max_length is missing"),
                ({"tokenizer_model_max_length": 16}, "tokenizer_model_max_length is 16"),
                ({"inference_max_length": -1}, "inference_max_length is -1"), ({"vocab_size": 9}, "vocab_size is 9"),
                ({"eos_token_id": small.rows("qwen") - 1}, "beyond"), ({"hidden_act": "gelu"}, "hidden_act"),
                ({"head_dim": 8}, "q_proj")):
            small.write(self.root, change=change)
            with self.subTest(change=change):
                self.refused("LongVU_Qwen2_7B", *texts)

    def test_image_stage_weights_beside_a_video_configuration(self):
        small.write(self.root, tensors=small.parts(image=True))
        self.refused("different releases", "pos_embed_0")

    def test_sampler_shorter_than_its_configuration(self):
        small.write(self.root, change={"connector_depth": 3})
        self.refused("missing tensor model.vision_sampler_0.layers.2.proj_context.weight")

    def test_scaling_of_the_rotation(self):
        right = small.config("llama")["rope_scaling"]
        for scaling, text in (({"type": "linear", "factor": 2.0}, "'linear'"), ("llama3", "rope_scaling"), ([], "rope_scaling"),
                              ({**right, "factor": None}, "factor is missing"), ({**right, "factor": 0.5}, "factor 0.5"),
                              ({**right, "low_freq_factor": 4.0}, "low_freq_factor 4.0"),
                              ({**right, "original_max_position_embeddings": 0}, "original_max_position_embeddings is 0")):
            small.write(self.root, "llama", change={"rope_scaling": scaling})
            with self.subTest(scaling=scaling):
                self.refused(text)
        small.write(self.root, "llama", change={"rope_scaling": None})
        self.converted()
        self.assertNotIn("llama.rope.scaling.type", self.keys)
        shutil.rmtree(self.root)
        os.mkdir(self.root)
        small.write(self.root, change={"rope_scaling": right})  # Qwen2's constructor drops it
        self.assertIn("rope_scaling is ignored", self.converted().stderr)
        self.assertNotIn("llama.rope.scaling.type", self.keys)

    def test_towers_that_cannot_be(self):
        vision = small.SIGLIP_CONFIG["vision_config"]
        for name, config, change, text in ((small.SIGLIP, small.SIGLIP_CONFIG, {"model_type": "clip"}, "expected siglip"),
                                           (small.SIGLIP, small.SIGLIP_CONFIG, {"vision_config": 3}, "vision_config"),
                                           (small.SIGLIP, vision, {"hidden_act": "gelu"}, "hidden_act"),
                                           (small.SIGLIP, vision, {"num_attention_heads": 3}, "divide"),
                                           (small.DINO, small.DINO_CONFIG, {"use_swiglu_ffn": False}, "use_swiglu_ffn"),
                                           (small.DINO, small.DINO_CONFIG, {"num_hidden_layers": 3}, "encoder.layer.2"),
                                           (small.DINO, small.DINO_CONFIG, {"num_hidden_layers": 1}, "encoder.layer.1"),
                                           (small.DINO, small.DINO_CONFIG, {"model_type": "siglip"}, "expected dinov2")):
            small.write(self.root)
            made.write_json(self.path(name, "config.json"), {**config, **change})
            with self.subTest(change=change):
                self.refused(text)
        small.write(self.root)
        os.remove(self.path(small.DINO, "config.json"))
        self.refused("dinov2-giant/config.json: missing")
        small.write(self.root)
        made.write_json(self.path(small.SIGLIP, "config.json"), vision)  # a tower saved on its own
        self.converted()


class Prompts(Folder):
    """The strings of sections 5.1 and 5.4 of the specification, put together from the keys as weights/FORMAT.md says."""

    def conversation(self, name):
        get = {part: self.key(f"template.{name}.{part}") for part in ("first", "answer", "next", "open")}
        first = self.key("prompt.video").replace("{video}", "<image>") + self.key("prompt.separator") + QUESTION
        first = get["first"].replace("{system}", self.key("prompt.system.video")).replace("{text}", first)
        answer, question = get["answer"].replace("{text}", "It runs."), get["next"].replace("{text}", "Why?")
        return first + get["open"], first + answer + question + get["open"]

    def test_qwen(self):
        small.write(self.root)
        self.converted()
        one, two = self.conversation("qwen")
        start = f"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<image>\n{QUESTION}<|im_end|>\n"
        self.assertEqual(one, f"{start}<|im_start|>assistant\n")
        self.assertEqual(two, f"{start}<|im_start|>assistant\nIt runs.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
                              "<|im_start|>assistant\n")
        self.assertEqual(self.key("template.qwen.stop"), ["<|im_end|>"])
        self.assertEqual([self.key(f"template.qwen.{n}") for n in ("trim", "cut", "after")], [0, "", ""])
        self.assertEqual(self.key("prompt.templates"), ["qwen"])
        self.assertEqual(self.key("prompt.image"), self.key("prompt.video"))
        self.assertEqual(self.key("prompt.system.image"), self.key("prompt.system.video"))
        names = ("temperature", "top_p", "top_k", "repetition_penalty", "predict")
        self.assertEqual([self.key(f"sampling.{name}") for name in names], [0, 1, 0, 1, 128])
        self.assertEqual(self.key("tokenizer.skip_special"), 1)

    def test_llama3(self):
        small.write(self.root, "llama")
        self.converted()
        one, two = self.conversation("llama3")
        user = "<|start_header_id|>user<|end_header_id|>\n\n"
        end = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
        start = "<|start_header_id|>system<|end_header_id|>\n\nYou are a helpful assistant.<|eot_id|>"  # behind the bos
        self.assertEqual(one, f"{start}{user}<image>\n{QUESTION}{end}")
        self.assertEqual(two, f"{start}{user}<image>\n{QUESTION}{end}It runs.<|eot_id|>{user}Why?{end}")
        self.assertEqual(self.key("template.llama3.stop"), ["<|eot_id|>"])
        self.assertEqual(self.key("template.llama3.trim"), 1)

    def test_dated_chat_template(self):
        folder = small.write(self.root, "llama")
        file = os.path.join(folder, "tokenizer_config.json")
        config = json.loads(pathlib.Path(file).read_text())
        dated = '{%- set date_string = "26 Jul 2024" %}{{- "Cutting Knowledge Date: December 2023\\n" }}' \
                '{{- "Today Date: " + date_string + "\\n\\n" }}'
        made.write_json(file, {**config, "chat_template": dated})
        self.assertIn("26 Jul 2024", self.converted().stderr)
        self.assertTrue(self.key("template.llama3.first").startswith(
            "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
            "{system}<|eot_id|>"))
        made.write_json(file, {**config, "chat_template": "Today Date: {{ now() }}"})
        self.refused("chat_template")

    def test_generation_configuration(self):
        folder = small.write(self.root)
        made.write_json(os.path.join(folder, "generation_config.json"), {
            "repetition_penalty": 1.05, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "do_sample": True,
            "eos_token_id": [small.rows("qwen") - 6, small.rows("qwen") - 8]})
        self.converted()
        self.assertEqual([round(self.key(f"sampling.{n}"), 6) for n in ("temperature", "top_p", "top_k", "repetition_penalty")],
                         [0, 0.8, 20, 1.05])
        self.assertEqual((self.key("tokenizer.ggml.eos_token_id"), self.key("tokenizer.eos_ids")),
                         (small.rows("qwen") - 6, [small.rows("qwen") - 8]))

    def test_template_option(self):
        small.write(self.root)
        self.converted("--template", "qwen")
        self.refused("has the template qwen, not llama3", options=("--template", "llama3"))
        self.refused("vicuna", options=("--template", "vicuna"))


class Golden(Folder):
    def test_positions_and_patches(self):
        """Pixels of a frame through the file's patches, class row and positions give the original's embedding."""
        for case in ("longvu-qwen", "longvu-llama"):
            with self.subTest(case):
                shared = golden_checkpoint(case, self.root)
                self.converted("--type", "f32")
                for tower in ("dino", "siglip"):
                    pixels = np.load(shared / "stages" / f"input.pixels.{tower}.npy")[0]
                    want = np.load(shared / "stages" / f"vision.{tower}.embed.npy")[0]
                    n = pixels.shape[1] // 14
                    patches = pixels[:, :14 * n, :14 * n].reshape(3, n, 14, n, 14).transpose(1, 3, 0, 2, 4).reshape(n * n, -1)
                    get = {name: gguf_reader.array(tensor).astype("f8") for name, tensor in self.tensors.items()
                           if name.startswith((f"{tower}.patch", f"{tower}.class", f"{tower}.position"))}
                    got = patches @ get[f"{tower}.patch.weight"].T + get[f"{tower}.patch.bias"]
                    if tower == "dino":
                        got = np.concatenate([get["dino.class"][None], got])
                    got = got + get[f"{tower}.position"]
                    self.assertLess(np.linalg.norm(got - want) / np.linalg.norm(want), 1e-6, (case, tower))
                shutil.rmtree(self.root)
                os.mkdir(self.root)
