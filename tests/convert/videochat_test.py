"""
videochat_test.py - VideoChat-Embed: tensors, keys, prompt; what is missing, surplus or cannot be.

What is not read (the EVA file's last block, its norm and head, BLIP-2's ln_vision, buffers) is NaN.
"""
import json
import os
import pathlib

import numpy as np

from harness import CONVERT, Folder, golden_checkpoint  # first: it sets the path to the converter
import gguf_reader
import synthetic as made

D, BLOCKS, STEPS, HIDDEN = 88, 2, 2, 24


def nan(array):
    return np.full(array.shape, np.nan, array.dtype)


def parts(seed=1, eva_blocks=BLOCKS + 1):
    random = made.Random(seed)
    out = made.parts(seed, audio=False)
    out["vit"] = {name: nan(x) if name.startswith((f"blocks.{BLOCKS}.", "norm.", "head.")) else x
                  for name, x in made.vit(random, blocks=eva_blocks).items()}
    out["blip2"] |= {name: nan(out["blip2"][name]) for name in out["blip2"] if name.startswith(("ln_vision", "t5_proj"))}
    trained = {"extra_query_tokens": random(1, 6, 64), "visual_encoder.gmhra_cls_token": random(1, 1, D),
               "ln_vision.weight": random(D), "ln_vision.bias": random(D), "llama_proj.weight": random(32, 64),
               "llama_proj.bias": random(32), "Qformer.bert.embeddings.position_ids": np.zeros((1, 6), "<i8"),
               "llama_model.model.layers.0.self_attn.rotary_emb.inv_freq": np.full(8, np.nan, "<f4")}
    for j in range(STEPS):
        for name, shape in (("dpe.weight", (D, 1, 3, 3, 3)), ("dpe.bias", (D,)), ("attn.in_proj_weight", (3 * D, D)),
                            ("attn.in_proj_bias", (3 * D,)), ("attn.out_proj.weight", (D, D)), ("attn.out_proj.bias", (D,)),
                            ("ln_1.weight", (D,)), ("ln_1.bias", (D,)), ("ln_2.weight", (D,)), ("ln_2.bias", (D,)),
                            ("ln_3.weight", (D,)), ("ln_3.bias", (D,)), ("mlp.c_fc.weight", (HIDDEN, D)),
                            ("mlp.c_fc.bias", (HIDDEN,)), ("mlp.c_proj.weight", (D, HIDDEN)), ("mlp.c_proj.bias", (D,))):
            trained[f"visual_encoder.gmhra.{j}.{name}"] = random(*shape)
    return out | {"vl": trained}


class VideoChat(Folder):
    def write(self, tensors=None, **more):
        return made.write(self.root, tensors or parts(), **more)

    def numbers(self, name):
        return gguf_reader.array(self.tensors[name])

    def same(self, new, want):
        got = self.numbers(new)
        self.assertEqual(got.shape, want.shape, new)
        self.assertTrue((got == want).all(), new)

    def test_tensors(self):
        tensors = parts()
        self.write(tensors)
        self.converted("--type", "f32")
        eva, blip2, trained = (tensors[name] for name in ("vit", "blip2", "vl"))
        self.same("vit.patch.weight", eva["patch_embed.proj.weight"].reshape(D, -1))
        for i in range(BLOCKS):
            self.same(f"vit.blk.{i}.fc1.weight", eva[f"blocks.{i}.mlp.fc1.weight"])
            zero = np.zeros(D, "<f4")
            self.same(f"vit.blk.{i}.qkv.bias", np.concatenate([eva[f"blocks.{i}.attn.q_bias"], zero,
                                                               eva[f"blocks.{i}.attn.v_bias"]]))
        self.assertNotIn(f"vit.blk.{BLOCKS}.fc1.weight", self.tensors)
        self.same("aggregator.class", trained["visual_encoder.gmhra_cls_token"].reshape(D))
        for j in range(STEPS):
            step = f"visual_encoder.gmhra.{j}"
            self.same(f"aggregator.blk.{j}.conv.weight", trained[f"{step}.dpe.weight"].reshape(D, 27).T)
            self.same(f"aggregator.blk.{j}.conv.bias", trained[f"{step}.dpe.bias"])
            for i, name in enumerate("qkv"):
                self.same(f"aggregator.blk.{j}.{name}.weight", trained[f"{step}.attn.in_proj_weight"][i * D:(i + 1) * D])
                self.same(f"aggregator.blk.{j}.{name}.bias", trained[f"{step}.attn.in_proj_bias"][i * D:(i + 1) * D])
            for new, old in (("out", "attn.out_proj"), ("fc1", "mlp.c_fc"), ("fc2", "mlp.c_proj"), ("norm1", "ln_1"),
                             ("norm2", "ln_2"), ("norm3", "ln_3")):
                for end in ("weight", "bias"):
                    self.same(f"aggregator.blk.{j}.{new}.{end}", trained[f"{step}.{old}.{end}"])
        self.same("vit.output_norm.weight", trained["ln_vision.weight"])
        self.same("project.video.weight", trained["llama_proj.weight"])
        both = np.concatenate([blip2["query_tokens"], trained["extra_query_tokens"]], axis=1)[0]
        self.assertTrue(any(x.shape == both.shape and (x == both).all()
                            for x in map(self.numbers, self.tensors)), "queries are not one after the other")

    def test_nothing_that_is_not_read_is_taken(self):
        self.write()
        self.converted("--type", "f32")
        for name in self.tensors:
            self.assertTrue(np.isfinite(self.numbers(name)).all(), name)

    def test_keys(self):
        self.write()
        self.converted()
        for name, want in (("vidrun.system", "videochat"), ("vit.block_count", BLOCKS), ("aggregator.block_count", STEPS),
                           ("aggregator.feed_forward_length", HIDDEN), ("video.sampling", "middles"), ("video.frames", 8),
                           ("video.frames_max", 256), ("video.resize", "clip-even"), ("image.resize", "pil-bicubic"),
                           ("sampling.top_k", 50), ("sampling.temperature", 1.0), ("sampling.predict", 1000),
                           ("prompt.template", "videochat"), ("prompt.separator", "\n###Human: "),
                           ("prompt.system.video", ""), ("prompt.image", "<Image>{video}</Image>"),
                           ("template.videochat.stop", ["\u2581###", "## #"]), ("prompt.context", 2048)):
            self.assertEqual(self.key(name), want, name)
        self.assertEqual(np.float32(self.key("aggregator.norm_epsilon")), np.float32(1e-5))
        self.assertEqual(np.float32(self.key("vit.output_norm_epsilon")), np.float32(1e-5))
        self.assertEqual(self.key("prompt.video"),
                         "<Video>{video}</Video> The video contains {frames} frames sampled at {numpy_times} seconds.")

    def test_every_key_is_in_the_format(self):
        text = (CONVERT.parents[2] / "weights" / "FORMAT.md").read_text()
        self.write()
        self.converted()
        for name in self.keys:
            self.assertIn(name.split(".")[-1], text, name)

    def test_missing_tensors(self):
        for part, name in (("vit", "blocks.1.attn.q_bias"), ("blip2", "query_tokens"), ("vl", "extra_query_tokens"),
                           ("vl", "visual_encoder.gmhra_cls_token"), ("vl", "visual_encoder.gmhra.1.dpe.weight"),
                           ("vl", "visual_encoder.gmhra.0.attn.in_proj_bias"), ("vl", "visual_encoder.gmhra.0.ln_3.bias"),
                           ("vl", "llama_proj.bias"), ("llm", "model.norm.weight"),
                           ("blip2", "Qformer.bert.encoder.layer.1.output_query.LayerNorm.weight")):
            tensors = parts()
            del tensors[part][name]
            self.write(tensors)
            with self.subTest(name=name):
                self.refused("missing tensor", name)

    def test_missing_files(self):
        for part, text in (("vit", "eva_vit_g.pth"), ("blip2", "blip2_pretrained")):
            self.write()
            os.remove(self.path(made.FILES[part]))
            with self.subTest(part=part):
                self.refused(text)
        self.write()
        os.remove(self.path("llm", "pytorch_model.bin"))
        self.refused("LLaMA")

    def test_files_twice(self):
        self.write()
        made.save_zip(self.path("videochat_7b_stage1.pth"), {"model": parts()["vl"]})
        self.refused("stage1", "vl.pth")

    def test_surplus_tensors(self):
        for name in ("visual_encoder.blocks.0.lmhra1.pos_embed.1.weight", "visual_encoder.gmhra.0.extra", "video_query_tokens"):
            tensors = parts()
            tensors["vl"][name] = np.zeros((3, 3), "<f4")
            self.write(tensors)
            with self.subTest(name=name):
                self.refused(name)

    def test_shapes(self):
        for part, name, shape in (("vl", "visual_encoder.gmhra.0.dpe.weight", (D, 1, 1, 3, 3)),
                                  ("vl", "visual_encoder.gmhra.1.attn.in_proj_weight", (D, D)),
                                  ("vl", "visual_encoder.gmhra_cls_token", (1, 1, D + 1)),
                                  ("vl", "extra_query_tokens", (1, 6, 32)), ("vl", "llama_proj.weight", (48, 64)),
                                  ("vl", "visual_encoder.gmhra.0.mlp.c_proj.weight", (D, HIDDEN + 1))):
            tensors = parts()
            tensors[part][name] = np.zeros(shape, "<f4")
            self.write(tensors)
            with self.subTest(name=name):
                self.refused(name)

    def test_more_steps_than_blocks(self):
        self.write(parts(eva_blocks=2))  # one of them is built
        self.refused("2 aggregators", "1 blocks")

    def test_configuration(self):
        """Switches that the recipe does not compute."""
        for change, text in (({"temporal_downsample": True}, "temporal_downsample"), ({"no_lmhra": False}, "no_lmhra"),
                             ({"gmhra_layers": 8}, "gmhra_layers is 8, the checkpoint has 2")):
            self.write()
            made.write_json(self.path("config.json"), {"model": {"gmhra_layers": STEPS} | change})
            with self.subTest(text=text):
                self.refused(text)
        made.write_json(self.path("config.json"), {"model": {"gmhra_layers": STEPS, "no_lmhra": True, "max_txt_len": 32}})
        self.converted()

    def test_end_of_text_of_early_vicuna(self):
        self.write(config={"eos_token_id": 1, "bos_token_id": 0})
        run = self.converted()
        self.assertIn("warning", run.stderr)
        self.assertEqual(self.key("tokenizer.ggml.eos_token_id"), 1)
        self.assertEqual(self.key("tokenizer.eos_ids"), [2])
        self.write()
        self.converted()
        self.assertNotIn("tokenizer.eos_ids", self.keys)

    def test_golden(self):
        folder = golden_checkpoint("videochat-embed", self.root)
        self.converted("--type", "f32")
        model = json.loads(pathlib.Path(folder, "case.json").read_text())["model"]
        self.assertEqual(self.key("vit.block_count"), model["vit"]["blocks"])
        self.assertEqual(self.key("aggregator.block_count"), model["vit"]["gmhra"])


if __name__ == "__main__":
    import unittest
    unittest.main()
