"""
mapping_test.py - checkpoints to tensors and keys: names, shapes, what is missing, surplus or doubled, shards.
"""
import json
import os
import pathlib

import numpy as np

from harness import Folder  # first: it sets the path to the converter
import gguf_reader
import synthetic as made
import video_llama


class Mapping(Folder):
    def test_whole_checkpoint(self):
        tensors = made.parts(rows=len(made.PIECES))
        made.write(self.root, tensors)
        self.converted("--type", "f32")
        flat = {name: array for part in tensors.values() for name, array in part.items()}

        def same(new, old, shape=None):
            got = gguf_reader.array(self.tensors[new])
            want = flat[old].astype("<f4")
            self.assertEqual(got.shape, shape or tuple(n for n in want.shape), new)
            self.assertTrue((got == want.reshape(got.shape)).all(), new)
        same("vit.patch.weight", "patch_embed.proj.weight", (88, 588))
        same("vit.class", "cls_token", (88,))
        same("vit.position", "pos_embed", (5, 88))
        bias = gguf_reader.array(self.tensors["vit.blk.1.qkv.bias"])
        self.assertTrue((bias[:88] == flat["blocks.1.attn.q_bias"]).all())
        self.assertTrue((bias[176:] == flat["blocks.1.attn.v_bias"]).all())
        self.assertFalse(bias[88:176].any())
        same("vit.output_norm.bias", "ln_vision.bias")
        same("qformer.query", "query_tokens", (4, 64))
        same("qformer.blk.2.cross.k.weight", "Qformer.bert.encoder.layer.2.crossattention.self.key.weight")
        same("qformer.blk.1.fc1.weight", "Qformer.bert.encoder.layer.1.intermediate_query.dense.weight")
        same("qformer.blk.1.ffn_norm.bias", "Qformer.bert.encoder.layer.1.output_query.LayerNorm.bias")
        self.assertNotIn("qformer.blk.1.cross.k.weight", self.tensors)
        same("video_qformer.position", "video_frame_position_embedding.weight")
        same("video_qformer.blk.1.cross.norm.weight",
             "video_Qformer.bert.encoder.layer.1.crossattention.output.LayerNorm.weight")
        same("audio_qformer.position", "audio_position_embedding.weight")
        same("audio_qformer.blk.0.cross.v.weight", "audio_Qformer.bert.encoder.layer.0.crossattention.self.value.weight")
        same("project.audio.weight", "audio_llama_proj.weight")
        same("imagebind.patch.weight", "modality_preprocessors.audio.rgbt_stem.proj.weight", (64, 256))
        same("imagebind.position", "modality_preprocessors.audio.pos_embedding_helper.pos_embed", (229, 64))
        same("imagebind.blk.0.extra_k", "modality_trunks.audio.blocks.0.attn.bias_k", (64,))
        same("imagebind.head.weight", "modality_heads.audio.2.weight")
        same("token_embd.weight", "model.embed_tokens.weight")
        same("blk.1.attn_output.weight", "model.layers.1.self_attn.o_proj.weight")
        same("blk.1.ffn_norm.weight", "model.layers.1.post_attention_layernorm.weight")
        same("blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight")
        same("output.weight", "lm_head.weight")
        for name, want in (("vit.image_size", 28), ("vit.patch_size", 14), ("vit.block_count", 2), ("vit.head_count", 1),
                           ("vit.feed_forward_length", 40), ("qformer.block_count", 3), ("qformer.cross_interval", 2),
                           ("qformer.head_count", 1), ("qformer.encoder_length", 88), ("qformer.query_count", 4),
                           ("video_qformer.cross_interval", 1), ("video_qformer.encoder_length", 64),
                           ("audio_qformer.query_count", 3), ("audio_qformer.encoder_length", 20), ("imagebind.head_count", 1),
                           ("imagebind.output_length", 20), ("audio.clips", 8), ("video.frames", 8), ("video.frames_max", 32),
                           ("llama.vocab_size", len(made.PIECES)), ("llama.attention.head_count_kv", 2),
                           ("llama.rope.dimension_count", 16), ("llama.context_length", 128), ("audio.present", 1),
                           ("vidrun.system", "video-llama"), ("llama.rope.pairs", "halves"), ("general.architecture", "vidrun"),
                           ("general.name",
                            "al.pth, vl.pth, imagebind_huge.pth, llm, blip2_pretrained.pth, eva_vit_g.pth")):
            self.assertEqual(self.key(name), want, name)
        self.assertAlmostEqual(self.key("imagebind.output_scale"), 20.0, places=4)
        self.assertAlmostEqual(self.key("llama.attention.layer_norm_rms_epsilon"), 1e-5, places=9)

    def test_types(self):
        made.write(self.root, made.parts())
        for option, number in (("f16", 1), ("bf16", 30), ("f32", 0)):
            self.converted("--type", option)
            for name, (kind, shape, _) in self.tensors.items():
                exact = name.endswith((".bias", "norm.weight", "norm1.weight", "norm2.weight", ".position", ".query", ".class",
                                       ".extra_k", ".extra_v"))
                self.assertEqual(kind, 0 if exact else number, name)
                self.assertEqual(exact, len(shape) == 1 or name.endswith((".position", ".query")), name)

    def test_without_audio(self):
        tensors = made.parts(audio=False)
        tensors["vl"]["audio_encoder.modality_postprocessors.audio.1.log_logit_scale"] = np.array(3.0, "<f4")
        made.write(self.root, tensors)
        self.converted()
        self.assertEqual(self.key("audio.present"), 0)
        sound = ("imagebind", "audio_q", "audio.c", "project.a")
        self.assertFalse([name for name in (*self.keys, *self.tensors) if name.startswith(sound)])

    def test_imagebind_without_audio_branch_is_left_out(self):
        tensors = made.parts()
        del tensors["al"]
        made.write(self.root, tensors)
        self.assertIn("left out", self.converted().stderr)
        self.assertEqual(self.key("audio.present"), 0)

    def test_audio_branch_without_imagebind(self):
        tensors = made.parts()
        del tensors["imagebind"]
        made.write(self.root, tensors)
        self.refused("ImageBind")

    def test_missing_tensors(self):
        for part, name in (("vit", "blocks.1.attn.q_bias"), ("vit", "pos_embed"), ("blip2", "ln_vision.bias"),
                           ("blip2", "Qformer.bert.encoder.layer.2.crossattention.self.query.weight"),
                           ("blip2", "Qformer.bert.encoder.layer.1.output_query.LayerNorm.weight"),
                           ("vl", "video_Qformer.bert.encoder.layer.1.attention.self.key.weight"), ("vl", "llama_proj.bias"),
                           ("al", "audio_query_tokens"), ("imagebind", "modality_trunks.audio.blocks.0.attn.bias_v"),
                           ("llm", "model.layers.1.mlp.up_proj.weight"), ("llm", "lm_head.weight"),
                           ("llm", "model.norm.weight")):
            tensors = made.parts()
            del tensors[part][name]
            made.write(self.root, tensors)
            with self.subTest(name=name):
                self.refused("missing tensor", name)

    def test_missing_files(self):
        for part, text in (("vit", "eva_vit_g"), ("blip2", "blip2"), ("vl", "known system")):
            tensors = made.parts()
            made.write(self.root, tensors)
            os.remove(self.path(made.FILES[part]))
            with self.subTest(part=part):
                self.refused(text)
        made.write(self.root, made.parts())
        os.remove(self.path("llm", "pytorch_model.bin"))
        self.refused("LLaMA")

    def test_surplus_tensors(self):
        for part, name, full in (("vit", "blocks.0.attn.k_bias", "visual_encoder.blocks.0.attn.k_bias"),
                                 ("vl", "video_extra.weight", "video_extra.weight"),
                                 ("llm", "model.layers.2.mlp.up_proj.weight", "model.layers.2")):
            tensors = made.parts()
            tensors[part][name] = np.zeros((3, 3), "<f4")
            made.write(self.root, tensors)
            with self.subTest(name=name):
                self.refused(full, "not known")

    def test_shapes(self):
        for part, name, shape in (("vit", "blocks.0.mlp.fc2.weight", (40, 88)), ("vit", "cls_token", (1, 2, 88)),
                                  ("vl", "llama_proj.weight", (48, 64)),
                                  ("vl", "video_frame_position_embedding.weight", (32, 63)),
                                  ("al", "audio_position_embedding.weight", (7, 20)),
                                  ("llm", "model.layers.0.input_layernorm.weight", (31,)),
                                  ("imagebind", "modality_preprocessors.audio.pos_embedding_helper.pos_embed", (1, 228, 64)),
                                  ("blip2", "ln_vision.weight", (64,)), ("vit", "pos_embed", (1, 5, 80))):
            tensors = made.parts()
            tensors[part][name] = np.zeros(shape, "<f4")
            made.write(self.root, tensors)
            with self.subTest(name=name):
                self.refused(name, str(shape[-1]))

    def test_position_rows(self):
        tensors = made.parts()
        tensors["vit"]["pos_embed"] = np.zeros((1, 6, 88), "<f4")
        made.write(self.root, tensors)
        self.refused("pos_embed has 6 rows")

    def test_cross_attention_of_irregular_blocks(self):
        tensors = made.parts()
        tensors["blip2"]["Qformer.bert.encoder.layer.1.crossattention.self.key.weight"] = np.zeros((64, 88), "<f4")
        made.write(self.root, tensors)
        self.refused("layer.1.crossattention")

    def test_decoder_of_another_size(self):
        tensors = made.parts()
        tensors["llm"] = made.llama(made.Random(3), len(made.PIECES), width=64)
        made.write(self.root, tensors, config={"hidden_size": 64})
        self.refused("llama_proj.weight is [32, 64], expected [64, 64]")

    def test_integers_are_refused(self):
        tensors = made.parts()
        tensors["vl"]["llama_proj.bias"] = np.arange(32, dtype="<i8")
        made.write(self.root, tensors)
        self.refused("llama_proj.bias", "I64")

    def test_blocks_beyond_the_tower(self):
        tensors = made.parts()
        extra = made.vit(made.Random(9), blocks=1)
        tensors["vit"].update({name.replace("blocks.0", "blocks.39"): np.full_like(array, np.nan) for name,
                               array in extra.items()
                               if name.startswith("blocks")})
        tensors["vit"].update({name.replace("blocks.0", f"blocks.{i}"): array for i in range(2, 39) for name,
                               array in extra.items()
                               if name.startswith("blocks")})
        made.write(self.root, tensors)
        self.assertNotIn("NaN", self.converted().stderr)
        self.assertEqual(self.key("vit.block_count"), 39)

    def test_released_width_needs_all_blocks(self):
        self.assertEqual(video_llama.released("vit", 1408, 38), 39)
        self.assertEqual(video_llama.released("qformer", 768, 3), 12)
        self.assertEqual(video_llama.released("vit", 88, 2), 2)

    def test_stages_of_training_together(self):
        made.write(self.root, made.parts())
        made.save_zip(self.path("stage1.pth"), {"model": made.parts(seed=2)["vl"]})
        self.refused("stage1.pth", "vl.pth", "keep one")
        os.remove(self.path("stage1.pth"))
        made.save_zip(self.path("stage1.pth"), {"model": made.parts(seed=2)["al"]})
        self.refused("stage1.pth", "al.pth", "keep one")

    def test_trained_files_with_tensors_of_both_branches(self):
        tensors, other = made.parts(), made.parts(seed=5)

        def first(name):
            return float(gguf_reader.array(self.tensors[name]).ravel()[0])

        def want(part, name):
            return float(part[name].ravel()[0])
        for vl, al, video, sound in (
                ({**tensors["vl"], **tensors["al"]}, None, tensors, tensors),                          # one file for all
                ({**tensors["vl"], **other["al"]}, tensors["al"], tensors, tensors),                   # AL is read last
                (tensors["vl"], {**tensors["al"], **other["vl"]}, other, tensors),
                                    # as ckpt_2 of the original
                ({**tensors["vl"], **tensors["al"]}, {**tensors["vl"], **tensors["al"]}, tensors, tensors)):
            made.write(self.root, {**tensors, "vl": vl, "al": al if al is not None else tensors["al"]})
            if al is None:
                os.remove(self.path("trained/al.pth"))
            self.converted("--type", "f32")
            self.assertEqual(first("project.video.bias"), want(video["vl"], "llama_proj.bias"))
            self.assertEqual(first("project.audio.bias"), want(sound["al"], "audio_llama_proj.bias"))
            os.remove(self.out)
        made.write(self.root, {**tensors, "vl": {**tensors["vl"], **tensors["al"]}, "al": {**other["vl"], **other["al"]}})
        self.refused("both branches")

    def test_unknown_and_doubled_files(self):
        made.write(self.root, made.parts())
        made.save_zip(self.path("other.pth"), {"backbone.conv.weight": np.zeros(3, "<f4")})
        self.refused("other.pth", "backbone.conv.weight")
        os.remove(self.path("other.pth"))
        made.save_zip(self.path("eva_copy.pth"), made.parts()["vit"])
        self.refused("eva_copy.pth", "eva_vit_g.pth")
        os.remove(self.path("eva_copy.pth"))
        os.mkdir(self.path("llm2"))
        made.save_zip(self.path("llm2", "pytorch_model.bin"), made.parts()["llm"])
        self.refused("llm2", "llm/", "LLaMA")

    def test_bert_folder(self):
        made.write(self.root, made.parts())
        os.mkdir(self.path("bert-base-uncased"))
        made.save_zip(self.path("bert-base-uncased", "pytorch_model.bin"),
                      {"bert.embeddings.LayerNorm.gamma": np.zeros(4, "<f4")})
        config = {"model_type": "bert", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 3,
                  "layer_norm_eps": 1e-10}
        made.write_json(self.path("bert-base-uncased", "config.json"), config)
        self.converted()
        self.assertEqual([self.key(f"{x}qformer.head_count") for x in ("", "video_", "audio_")], [4, 4, 4])
        self.assertAlmostEqual(self.key("qformer.norm_epsilon"), 1e-10, places=15)
        made.write_json(self.path("bert-base-uncased", "config.json"), {**config, "num_hidden_layers": 4})
        self.refused("missing tensor Qformer.bert.encoder.layer.3")
        made.write_json(self.path("bert-base-uncased", "config.json"), {**config, "hidden_size": 128})
        self.refused("hidden_size 128")

    def test_geometry_file(self):
        made.write(self.root, made.parts())
        made.write_json(self.path("vidrun.json"), {"vit_heads": 4, "imagebind_heads": 8, "temperature": 0})
        self.converted()
        names = ("vit.head_count", "imagebind.head_count", "sampling.temperature")
        self.assertEqual([self.key(name) for name in names], [4, 8, 0])
        self.assertEqual(self.key("imagebind.patch_stride"), 10)
        for content, text in (({"vit_heads": 5}, "vit_heads 5 does not divide"),
                              ({"imagebind_heads": 0}, "imagebind_heads is 0"),
                              ({"imagebind_patch_stride": 16}, "pos_embed"), ({"temperature": -1}, "temperature is -1"),
                              ({"heads": 4}, "heads is not known")):
            made.write_json(self.path("vidrun.json"), content)
            with self.subTest(content=content):
                self.refused(text)

    def test_configuration_mistakes(self):
        for change, text in (({"hidden_size": None}, "hidden_size is missing"), ({"num_attention_heads": 3}, "divide"),
                             ({"hidden_act": "gelu"}, "hidden_act"), ({"vocab_size": 5}, "vocab_size is 5"),
                             ({"num_hidden_layers": 3}, "layers.2"), ({"rms_norm_eps": "x"}, "rms_norm_eps"),
                             ({"eos_token_id": 9999}, "9999")):
            made.write(self.root, made.parts(), config=change)
            with self.subTest(change=change):
                self.refused(text)
        pathlib.Path(self.path("llm", "config.json")).write_text("{")
        self.refused("config.json", "JSON")
        os.remove(self.path("llm", "config.json"))
        self.refused("config.json", "missing")

    def test_tied_head(self):
        tensors = made.parts()
        made.write(self.root, tensors, config={"tie_word_embeddings": True})
        self.assertIn("lm_head.weight differs", self.converted().stderr)
        self.assertNotIn("output.weight", self.tensors)
        tensors["llm"]["lm_head.weight"] = tensors["llm"]["model.embed_tokens.weight"]
        made.write(self.root, tensors, config={"tie_word_embeddings": True})
        self.assertNotIn("warning", self.converted().stderr)
        del tensors["llm"]["lm_head.weight"]
        made.write(self.root, tensors, config={"tie_word_embeddings": True})
        self.assertNotIn("warning", self.converted().stderr)
        self.assertNotIn("output.weight", self.tensors)


class Shards(Folder):
    def shards(self, save, suffix, index):
        tensors = made.parts()

        def save_llm(folder, content):
            names = sorted(content)
            halves = (names[::2], names[1::2])
            files = [f"{index[0]}-0000{i + 1}-of-00002.{suffix}" for i in range(2)]
            for file, half in zip(files, halves):
                save(os.path.join(folder, file), {name: content[name] for name in half})
            made.write_json(os.path.join(folder, index[1]), {"weight_map": {n: f for f, h in zip(files, halves) for n in h}})
        made.write(self.root, tensors, save_llm=save_llm)
        return tensors

    def test_bin(self):
        tensors = self.shards(made.save_zip, "bin", ("pytorch_model", "pytorch_model.bin.index.json"))
        self.converted("--type", "f32")
        self.assertTrue((gguf_reader.array(self.tensors["blk.1.attn_k.weight"]) ==
                         tensors["llm"]["model.layers.1.self_attn.k_proj.weight"]).all())

    def test_legacy_bin(self):
        self.shards(made.save_legacy, "bin", ("pytorch_model", "pytorch_model.bin.index.json"))
        self.converted()

    def test_safetensors(self):
        self.shards(made.save_safetensors, "safetensors", ("model", "model.safetensors.index.json"))
        self.converted()

    def test_both_kinds(self):
        self.shards(made.save_safetensors, "safetensors", ("model", "model.safetensors.index.json"))
        other = made.parts(seed=8)["llm"]
        made.save_zip(self.path("llm", "pytorch_model.bin"), other)
        made.write_json(self.path("llm", "pytorch_model.bin.index.json"), {"weight_map": {"x": "gone.bin"}})
        self.converted()
        head = gguf_reader.array(self.tensors["output.weight"])
        self.assertNotEqual(head[0, :8].tolist(), other["lm_head.weight"][0, :8].tolist())

    def test_missing_shard(self):
        self.shards(made.save_zip, "bin", ("pytorch_model", "pytorch_model.bin.index.json"))
        os.remove(self.path("llm", "pytorch_model-00002-of-00002.bin"))
        self.refused("pytorch_model-00002-of-00002.bin is missing")

    def test_index_names_what_is_not_there(self):
        self.shards(made.save_zip, "bin", ("pytorch_model", "pytorch_model.bin.index.json"))
        index = self.path("llm", "pytorch_model.bin.index.json")
        content = json.loads(pathlib.Path(index).read_text())
        content["weight_map"]["model.ghost.weight"] = "pytorch_model-00001-of-00002.bin"
        made.write_json(index, content)
        self.refused("model.ghost.weight")

    def test_the_same_tensor_twice(self):
        tensors = made.parts()
        made.write(self.root, tensors)
        twice = {name: tensors["llm"][name] for name in ("model.norm.weight", "model.embed_tokens.weight")}
        made.save_zip(self.path("llm", "pytorch_model-2.bin"), twice)
        self.refused("both hold tensor")

    def test_links_and_hidden_folders(self):
        made.write(self.root, made.parts())
        os.rename(self.path("llm", "pytorch_model.bin"), os.path.join(self.dir, "blob"))
        os.symlink(os.path.join(self.dir, "blob"), self.path("llm", "pytorch_model.bin"))
        os.symlink(self.root, self.path("llm", "loop"))
        os.mkdir(self.path(".cache"))
        pathlib.Path(self.path(".cache", "x.pth")).write_bytes(b"no")
        self.converted()

    def test_git_lfs_pointer(self):
        made.write(self.root, made.parts())
        pathlib.Path(self.path("eva_vit_g.pth")).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
        self.refused("eva_vit_g.pth", "git-lfs")
