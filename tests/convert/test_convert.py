#!/usr/bin/env python3
"""
test_convert.py - the converter on small checkpoints made here, and on the golden ones where they are.

    readers (zip, legacy, safetensors, shards) - hostile and damaged files - numbers - mapping - vocabulary - prompts - the written file

Run from the project's root: /usr/bin/python3 tests/convert/test_convert.py. VIDRUN_SHARED (default ../shared) leads to the golden cases.
"""
import contextlib
import hashlib
import io
import json
import os
import pathlib
import resource
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import types
import unittest
import zipfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
CONVERT = HERE.parent.parent / "tools" / "convert" / "convert.py"
sys.path[:0] = [str(HERE), str(CONVERT.parent)]

import convert  # noqa: E402
import gguf_reader  # noqa: E402
import pickle_reader  # noqa: E402
import safetensors_reader  # noqa: E402
import sentencepiece_model  # noqa: E402
import synthetic as made  # noqa: E402
import tensor as tensor_module  # noqa: E402
import video_llama  # noqa: E402
from errors import ConvertError  # noqa: E402


class Folder(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.dir = place.name
        self.root = os.path.join(self.dir, "checkpoint")
        os.mkdir(self.root)
        self.out = os.path.join(self.dir, "weights.bin")

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def convert(self, *options):
        """In this process: starting a Python for each of some hundred runs would take most of the time."""
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        with contextlib.redirect_stderr(io.StringIO()) as error, contextlib.redirect_stdout(io.StringIO()) as out:
            try:
                code = convert.main([self.root, "-o", self.out, *options])
            except SystemExit as end:
                code = end.code
        for number, handler in handlers.items():
            signal.signal(number, handler)
        return types.SimpleNamespace(returncode=code, stderr=error.getvalue(), stdout=out.getvalue())

    def program(self, **kwargs):
        return subprocess.run([sys.executable, str(CONVERT), self.root, "-o", self.out], capture_output=True, text=True, check=False,
                              timeout=300, **kwargs)

    def converted(self, *options):
        run = self.convert(*options)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.keys, self.tensors = gguf_reader.read(self.out)
        return run

    def key(self, name):
        return self.keys[name][1]

    def refused(self, *texts, options=(), code=1):
        run = self.convert(*options)
        self.assertEqual(run.returncode, code, run.stderr)
        for text in texts:
            self.assertIn(text, run.stderr)
        self.assertNotIn("Traceback", run.stderr)
        self.assertEqual(run.stdout, "")
        if not os.path.exists(self.out):
            self.assertEqual([name for name in os.listdir(self.dir) if name != "checkpoint"], [])
        return run


class Readers(Folder):
    arrays = {"a": np.arange(12, dtype="<f4").reshape(3, 4), "b.c": np.array(2.5, "<f2"), "d": made.bf16(np.ones((2, 1, 3))),
              "e": np.arange(5, dtype="<i8")}

    def check(self, tensors, arrays=None):
        arrays = self.arrays if arrays is None else arrays
        self.assertEqual(sorted(tensors), sorted(arrays))
        for name, array in arrays.items():
            self.assertEqual(tensors[name].shape, array.shape)
            data = b"".join(block.tobytes() for block in tensors[name].blocks())
            self.assertEqual(data, array.tobytes(), name)

    def test_zip(self):
        made.save_zip(self.path("x.pth"), self.arrays)
        self.check(pickle_reader.read(self.path("x.pth"), "x.pth"))

    def test_zip_model_beside_optimizer(self):
        content = {"model": self.arrays, "optimizer": {"state": {0: {"exp_avg": np.zeros(4, "<f4")}}, "param_groups": [{"lr": 1e-4}]},
                   "epoch": 3, "config": {"run": {"amp": True, "none": None}}}
        made.save_zip(self.path("x.pth"), content)
        self.check(pickle_reader.read(self.path("x.pth"), "x.pth"))

    def test_legacy(self):
        made.save_legacy(self.path("x.pth"), {"state_dict": self.arrays, "epoch": 1})
        self.check(pickle_reader.read(self.path("x.pth"), "x.pth"))

    def test_views_of_one_storage(self):
        base = np.arange(24, dtype="<f4")
        views = {"slice": made.View(base, 4, (2, 3), (3, 1)), "transposed": made.View(base, 0, (4, 6), (1, 4)),
                 "repeated": made.View(base, 7, (5,), (0,))}
        made.save_zip(self.path("x.pth"), views)
        self.check(pickle_reader.read(self.path("x.pth"), "x.pth"),
                   {"slice": base[4:10].reshape(2, 3), "transposed": base.reshape(6, 4).T.copy(), "repeated": np.full(5, 7, "<f4")})

    def test_blocks_cut_large_tensors(self):
        array = np.arange(1000, dtype="<f4").reshape(50, 20)
        base = array.T.copy().reshape(-1)
        made.save_zip(self.path("x.pth"), {"plain": array, "turned": made.View(base, 0, (50, 20), (1, 50))})
        whole, tensor_module.BLOCK_BYTES = tensor_module.BLOCK_BYTES, 300
        self.addCleanup(setattr, tensor_module, "BLOCK_BYTES", whole)
        tensors = pickle_reader.read(self.path("x.pth"), "x.pth")
        self.assertGreater(len(list(tensors["plain"].blocks())), 10)
        self.check(tensors, {"plain": array, "turned": array})

    def test_safetensors(self):
        made.save_safetensors(self.path("x.safetensors"), self.arrays)
        self.check(safetensors_reader.read(self.path("x.safetensors"), "x"))

    def test_safetensors_damage(self):
        def short(table):
            table["a"]["data_offsets"][1] -= 4

        def beyond(table):
            table["e"]["data_offsets"] = [10**6, 10**6 + 40]

        def negative(table):
            table["a"]["shape"] = [-3, -4]

        def unknown(table):
            table["a"]["dtype"] = "F8_E4M3"

        def nothing(table):
            table["a"] = 5
        path = self.path("x.safetensors")
        for change, text in ((short, "tensor a"), (beyond, "tensor e"), (negative, "tensor a"), (unknown, "F8_E4M3"), (nothing, "tensor a")):
            with self.subTest(change=change.__name__):
                made.save_safetensors(path, self.arrays, change)
                with self.assertRaisesRegex(ConvertError, text):
                    safetensors_reader.read(path, "x")
        for data in (b"", b"abc", struct.pack("<Q", 10**12) + b"{}", struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 5) + b"{\"a\":",
                     struct.pack("<Q", 16) + b'{"a":{},"a":{} }'):
            with self.subTest(data=data), self.assertRaises(ConvertError):
                pathlib.Path(path).write_bytes(data)
                safetensors_reader.read(path, "x")

    def test_every_truncation_is_refused(self):
        for name, save, read in (("z.pth", made.save_zip, pickle_reader.read), ("l.pth", made.save_legacy, pickle_reader.read),
                                 ("s.safetensors", made.save_safetensors, safetensors_reader.read)):
            path = self.path(name)
            save(path, self.arrays)
            whole = pathlib.Path(path).read_bytes()
            for size in list(range(0, len(whole) - 1, 7)) + [len(whole) - 1]:
                pathlib.Path(path).write_bytes(whole[:size])
                with self.subTest(name=name, size=size), self.assertRaises(ConvertError):
                    read(path, name)

    def test_changed_bytes_never_crash(self):
        seed = 20240607
        print(f"seed {seed}", file=sys.stderr)
        random = np.random.default_rng(seed)
        for name, save, read in (("z.pth", made.save_zip, pickle_reader.read), ("l.pth", made.save_legacy, pickle_reader.read),
                                 ("s.safetensors", made.save_safetensors, safetensors_reader.read)):
            path = self.path(name)
            save(path, self.arrays)
            whole = bytearray(pathlib.Path(path).read_bytes())
            for _ in range(300):
                data = bytearray(whole)
                for at in random.integers(0, len(data), random.integers(1, 4)):
                    data[at] = random.integers(0, 256)
                pathlib.Path(path).write_bytes(data)
                with contextlib.suppress(ConvertError):
                    for tensor in read(path, name).values():
                        if tensor.size < 10**6:
                            list(tensor.blocks())


class Hostile(Folder):
    def refuse(self, pickle, text):
        made.save_zip(self.path("x.pth"), {}, pickle=pickle)
        with self.assertRaisesRegex(ConvertError, text):
            pickle_reader.read(self.path("x.pth"), "x.pth")
        with open(self.path("l.pth"), "wb") as file:  # the same as the objects of a legacy file
            for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
                file.write(made.Pickle().finish(head))
            file.write(pickle)
        with self.assertRaisesRegex(ConvertError, text):
            pickle_reader.read(self.path("l.pth"), "l.pth")

    def test_globals(self):
        witness = os.path.join(self.dir, "witness")
        command = f"touch {witness}".encode()
        for module, name in (("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"), ("builtins", "eval"),
                             ("builtins", "exec"), ("builtins", "getattr"), ("__builtin__", "eval"), ("builtins", "__import__"),
                             ("torch", "load"), ("torch.hub", "load"), ("operator", "attrgetter"), ("functools", "partial"),
                             ("collections", "OrderedDict.__init__"), ("numpy", "load"), ("runpy", "_run_code"), ("pickle", "loads"),
                             ("torch._utils", "_import_dotted_name"), ("torch", "serialization.load"), ("webbrowser", "open")):
            full = f"{module}.{name}"
            with self.subTest(full=full):
                line = f"{module}\n{name}\n".encode()
                self.refuse(b"\x80\x02c" + line + b"X" + struct.pack("<I", len(command)) + command + b"\x85R.", full)
                texts = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name))
                self.refuse(b"\x80\x04" + texts + b"\x93\x8c" + bytes([len(command)]) + command + b"\x85R.", full)
        self.assertFalse(os.path.exists(witness))

    def test_opcodes_that_build_objects(self):
        self.refuse(b"\x80\x02(ios\nsystem\nX\x02\0\0\0lso.", "INST")
        self.refuse(b"\x80\x02(cos\nsystem\nX\x02\0\0\0lso.", "os.system")
        self.refuse(b"\x80\x02(ccollections\nOrderedDict\no.", "OBJ")
        self.refuse(b"\x80\x02\x82\x01.", "EXT1")
        self.refuse(b"\x80\x02P1\n.", "PERSID")
        self.refuse(b"\x80\x04ccollections\nOrderedDict\n)}\x92.", "NEWOBJ_EX")

    def test_calls_of_what_is_not_a_function(self):
        self.refuse(b"\x80\x02}X\x01\0\0\0a\x85R.", "calls dict")
        self.refuse(b"\x80\x02ctorch\nFloatStorage\n)R.", "torch.FloatStorage")
        self.refuse(b"\x80\x02ccollections\nOrderedDict\n}X\x01\0\0\0aX\x01\0\0\0bsb.", "sets attributes of a Global")

    def test_damaged_pickles(self):
        for pickle in (b"", b"\x80\x02", b".", b"\x80\x02}", b"\x80\x02t.", b"\x80\x02(.", b"\x80\x02h\x05.", b"\x80\x02R.", b"\x80\x02NQ.",
                       b"\x80\x02}(Ku.", b"\x80\x02\x86.", b"\x80\x02](]e}(h\0h\0u.", b"\x80\x02X\xff\xff\xff\x7fabc.",
                       b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", b"\x80\x02I" + b"9" * 6000 + b"\n.",
                       b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\0))\x89}tR."):
            with self.subTest(pickle=pickle[:40]):
                self.refuse(pickle, "x.pth|l.pth")

    def test_deep_nesting_as_a_key(self):
        self.refuse(b"\x80\x02})" + b"\x85" * 3_000_000 + b"Ns.", "key")

    def test_tensor_beyond_its_storage(self):
        base = np.arange(6, dtype="<f4")
        for view in (made.View(base, 0, (7,), (1,)), made.View(base, 5, (2,), (1,)), made.View(base, 0, (2, 2), (5, 1)),
                     made.View(base, -1, (2,), (1,)), made.View(base, 0, (2,), (-1,)), made.View(base, 0, (-2,), (1,))):
            made.save_zip(self.path("x.pth"), {"t": view})
            with self.assertRaises(ConvertError):
                pickle_reader.read(self.path("x.pth"), "x.pth")

    def test_zip_members(self):
        array = {"t": np.zeros(4, "<f4")}
        made.save_zip(self.path("x.pth"), array, compression=zipfile.ZIP_DEFLATED)
        with self.assertRaisesRegex(ConvertError, "compressed"):
            pickle_reader.read(self.path("x.pth"), "x.pth")
        made.save_zip(self.path("x.pth"), array, extra=[("byteorder", "big")])
        with self.assertRaisesRegex(ConvertError, "big-endian"):
            pickle_reader.read(self.path("x.pth"), "x.pth")
        with contextlib.redirect_stderr(io.StringIO()):
            with self.assertWarns(UserWarning):
                made.save_zip(self.path("x.pth"), array, extra=[("data/0", b"\0" * 16)])
        with self.assertRaisesRegex(ConvertError, "twice"):
            pickle_reader.read(self.path("x.pth"), "x.pth")
        with zipfile.ZipFile(self.path("x.pth"), "w") as archive:
            archive.writestr("x/data.pkl", made.Pickle().finish(array))
        with self.assertRaisesRegex(ConvertError, "data/0 is missing"):
            pickle_reader.read(self.path("x.pth"), "x.pth")
        with zipfile.ZipFile(self.path("x.pth"), "w") as archive:
            archive.writestr("readme", "hello")
        with self.assertRaisesRegex(ConvertError, "data.pkl"):
            pickle_reader.read(self.path("x.pth"), "x.pth")

    def test_not_a_checkpoint(self):
        for data in (b"", b"hello", b"GIF89a", b"PK\3\4", b"\x80\x02N."):
            pathlib.Path(self.path("x.pth")).write_bytes(data)
            with self.subTest(data=data), self.assertRaises(ConvertError):
                pickle_reader.read(self.path("x.pth"), "x.pth")


class Numbers(unittest.TestCase):
    def test_bf16_rounds_to_nearest_even(self):
        bits = np.array([0x3F800000, 0x3F807FFF, 0x3F808000, 0x3F808001, 0x3F818000, 0x3F817FFF, 0x80008000, 0x00018000, 0xFF7F7FFF], "<u4")
        want = np.array([0x3F80, 0x3F80, 0x3F80, 0x3F81, 0x3F82, 0x3F81, 0x8000, 0x0002, 0xFF7F], "<u2")
        out, finite, overflow = tensor_module.encode(bits.view("<f4"), "F32", "BF16")
        self.assertEqual(out.tolist(), want.tolist())
        self.assertTrue(finite and not overflow)

    def test_bf16_keeps_nan_and_infinity(self):
        bits = np.array([0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF, 0x7FC00000], "<u4")
        out, finite, overflow = tensor_module.encode(bits.view("<f4"), "F32", "BF16")
        self.assertEqual(out[:2].tolist(), [0x7F80, 0xFF80])
        self.assertTrue(np.isnan(tensor_module.to_f32(out[2:], "BF16")).all())
        self.assertFalse(finite or overflow)

    def test_f16(self):
        values = np.array([1 + 2**-11, 1 + 3 * 2**-11, 65519.0, 2**-25, 3 * 2**-26, -0.0], "<f4")
        out, finite, overflow = tensor_module.encode(values, "F32", "F16")
        self.assertEqual(out.view("<u2").tolist(), [0x3C00, 0x3C02, 0x7BFF, 0, 1, 0x8000])
        self.assertTrue(finite and not overflow)
        for values in ([65520.0], [1.0, np.nan, -1e6]):
            self.assertTrue(tensor_module.encode(np.array(values, "<f4"), "F32", "F16")[2])
        self.assertFalse(tensor_module.encode(np.array([np.inf, np.nan], "<f4"), "F32", "F16")[2])

    def test_overflow_of_other_types(self):
        self.assertTrue(tensor_module.encode(np.array([3.4e38], "<f4"), "F32", "BF16")[2])
        self.assertTrue(tensor_module.encode(np.array([1e300], "<f8"), "F64", "F32")[2])
        self.assertTrue(tensor_module.encode(made.bf16([1e30]), "BF16", "F16")[2])

    def test_every_f16_and_bf16_value(self):
        every = np.arange(65536, dtype="<u4").astype("<u2")
        halves = every.view("<f2")
        finite = np.isfinite(halves)
        out = tensor_module.encode(halves, "F16", "F32")[0]
        self.assertTrue((out[finite] == halves[finite].astype("<f4")).all())
        self.assertTrue((tensor_module.encode(out[finite], "F32", "F16")[0].view("<u2") == every[finite]).all())
        wide = tensor_module.encode(every, "BF16", "F32")[0]
        fine = np.isfinite(wide)
        self.assertTrue((tensor_module.encode(wide[fine], "F32", "BF16")[0] == every[fine]).all())
        self.assertTrue((tensor_module.encode(every, "BF16", "BF16")[0] == every).all())


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
        self.assertTrue((bias[:88] == flat["blocks.1.attn.q_bias"]).all() and (bias[176:] == flat["blocks.1.attn.v_bias"]).all())
        self.assertFalse(bias[88:176].any())
        same("vit.output_norm.bias", "ln_vision.bias")
        same("qformer.query", "query_tokens", (4, 64))
        same("qformer.blk.2.cross.k.weight", "Qformer.bert.encoder.layer.2.crossattention.self.key.weight")
        same("qformer.blk.1.fc1.weight", "Qformer.bert.encoder.layer.1.intermediate_query.dense.weight")
        same("qformer.blk.1.ffn_norm.bias", "Qformer.bert.encoder.layer.1.output_query.LayerNorm.bias")
        self.assertNotIn("qformer.blk.1.cross.k.weight", self.tensors)
        same("video_qformer.position", "video_frame_position_embedding.weight")
        same("video_qformer.blk.1.cross.norm.weight", "video_Qformer.bert.encoder.layer.1.crossattention.output.LayerNorm.weight")
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
                           ("video_qformer.cross_interval", 1), ("video_qformer.encoder_length", 64), ("audio_qformer.query_count", 3),
                           ("audio_qformer.encoder_length", 20), ("imagebind.head_count", 1), ("imagebind.output_length", 20),
                           ("audio.clips", 8), ("video.frames", 8), ("video.frames_max", 32), ("llama.vocab_size", len(made.PIECES)),
                           ("llama.attention.head_count_kv", 2), ("llama.rope.dimension_count", 16), ("llama.context_length", 128),
                           ("audio.present", 1), ("vidrun.system", "video-llama"), ("llama.rope.pairs", "halves"),
                           ("general.architecture", "vidrun"), ("general.name", "al.pth, vl.pth, imagebind_huge.pth, llm, "
                                                                "blip2_pretrained.pth, eva_vit_g.pth")):
            self.assertEqual(self.key(name), want, name)
        self.assertAlmostEqual(self.key("imagebind.output_scale"), 20.0, places=4)
        self.assertAlmostEqual(self.key("llama.attention.layer_norm_rms_epsilon"), 1e-5, places=9)

    def test_types(self):
        made.write(self.root, made.parts())
        for option, number in (("f16", 1), ("bf16", 30), ("f32", 0)):
            self.converted("--type", option)
            for name, (kind, shape, _) in self.tensors.items():
                exact = name.endswith((".bias", "norm.weight", "norm1.weight", "norm2.weight", ".position", ".query", ".class", ".extra_k",
                                       ".extra_v"))
                self.assertEqual(kind, 0 if exact else number, name)
                self.assertEqual(exact, len(shape) == 1 or name.endswith((".position", ".query")), name)

    def test_without_audio(self):
        tensors = made.parts(audio=False)
        tensors["vl"]["audio_encoder.modality_postprocessors.audio.1.log_logit_scale"] = np.array(3.0, "<f4")
        made.write(self.root, tensors)
        self.converted()
        self.assertEqual(self.key("audio.present"), 0)
        self.assertFalse([name for name in (*self.keys, *self.tensors) if name.startswith(("imagebind", "audio_q", "audio.c", "project.a"))])

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
                           ("llm", "model.layers.1.mlp.up_proj.weight"), ("llm", "lm_head.weight"), ("llm", "model.norm.weight")):
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
                                  ("vl", "llama_proj.weight", (48, 64)), ("vl", "video_frame_position_embedding.weight", (32, 63)),
                                  ("al", "audio_position_embedding.weight", (7, 20)), ("llm", "model.layers.0.input_layernorm.weight", (31,)),
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
        tensors["vit"].update({name.replace("blocks.0", "blocks.39"): np.full_like(array, np.nan) for name, array in extra.items()
                               if name.startswith("blocks")})
        tensors["vit"].update({name.replace("blocks.0", f"blocks.{i}"): array for i in range(2, 39) for name, array in extra.items()
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
                (tensors["vl"], {**tensors["al"], **other["vl"]}, other, tensors),                     # as ckpt_2 of the original
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
        made.save_zip(self.path("bert-base-uncased", "pytorch_model.bin"), {"bert.embeddings.LayerNorm.gamma": np.zeros(4, "<f4")})
        config = {"model_type": "bert", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 3, "layer_norm_eps": 1e-10}
        made.write_json(self.path("bert-base-uncased", "config.json"), config)
        self.converted()
        self.assertEqual([self.key(f"{x}qformer.head_count") for x in ("", "video_", "audio_")], [4, 4, 4])
        self.assertAlmostEqual(self.key("qformer.norm_epsilon"), 1e-10, places=15)
        made.write_json(self.path("bert-base-uncased", "config.json"), {**config, "num_hidden_layers": 4})
        self.refused("missing tensor Qformer.bert.encoder.layer.3")
        made.write_json(self.path("bert-base-uncased", "config.json"), {**config, "hidden_size": 128})
        self.refused("hidden_size 128")

    def test_configuration_mistakes(self):
        for change, text in (({"hidden_size": None}, "hidden_size is missing"), ({"num_attention_heads": 3}, "divide"),
                             ({"hidden_act": "gelu"}, "hidden_act"), ({"vocab_size": 5}, "vocab_size is 5"),
                             ({"num_hidden_layers": 3}, "layers.2"), ({"rms_norm_eps": "x"}, "rms_norm_eps"), ({"eos_token_id": 9999}, "9999")):
            made.write(self.root, made.parts(), config=change)
            with self.subTest(change=change):
                self.refused(text)
        pathlib.Path(self.path("llm", "config.json")).write_text("{")
        self.refused("config.json", "JSON")
        os.remove(self.path("llm", "config.json"))
        self.refused("config.json", "missing")

    def test_tied_head(self):
        tensors = made.parts()
        del tensors["llm"]["lm_head.weight"]
        made.write(self.root, tensors, config={"tie_word_embeddings": True})
        self.converted()
        self.assertEqual(self.tensors["output.weight"][2], self.tensors["token_embd.weight"][2])


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
        self.assertNotEqual(gguf_reader.array(self.tensors["output.weight"])[0, :8].tolist(), other["lm_head.weight"][0, :8].tolist())

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
        made.save_zip(self.path("llm", "pytorch_model-2.bin"), {"model.norm.weight": tensors["llm"]["model.norm.weight"],
                                                                 "model.embed_tokens.weight": tensors["llm"]["model.embed_tokens.weight"]})
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


class Text(Folder):
    def convert_text(self, rows=None, files=(), pieces=None):
        llm = made.write(self.root, made.parts(audio=False, rows=rows))
        for name, content in dict(files).items():
            made.write_json(os.path.join(llm, name), content)
        if pieces is not None:
            pathlib.Path(llm, "tokenizer.model").write_bytes(pieces)

    def special(self):
        return dict(zip(self.key("tokenizer.special_ids"), self.key("tokenizer.special_strip")))

    def test_plain(self):
        self.convert_text()
        self.converted()
        self.assertEqual(self.key("tokenizer.ggml.tokens"), [text for text, _, _ in made.PIECES])
        self.assertEqual(self.key("tokenizer.ggml.scores"), [score for _, score, _ in made.PIECES])
        self.assertEqual(self.key("tokenizer.ggml.token_type"), [kind for _, _, kind in made.PIECES])
        self.assertEqual([self.key(f"tokenizer.ggml.{x}_token_id") for x in ("bos", "eos", "unknown")], [1, 2, 0])
        self.assertEqual((self.special(), self.key("tokenizer.ggml.add_space_prefix")), ({0: 0, 1: 0, 2: 0}, 1))
        self.assertEqual(self.key("prompt.template"), "llama_v2")

    def test_added_tokens_and_unused_rows(self):
        n = len(made.PIECES)
        self.convert_text(rows=n + 4, files={"added_tokens.json": {"[PAD]": n + 1, "<late>": n + 9}})
        run = self.converted()
        self.assertIn("<late>", run.stderr)
        tokens, types = self.key("tokenizer.ggml.tokens"), self.key("tokenizer.ggml.token_type")
        self.assertEqual((len(tokens), len(set(tokens)), tokens[n + 1]), (n + 4, n + 4, "[PAD]"))
        self.assertEqual(types[n:], [5, 4, 5, 5])
        self.assertEqual(self.special()[n + 1], 1)
        self.assertEqual(self.key("prompt.template"), "vicuna")

    def test_strip_flags(self):
        def token(text, **flags):
            return {"content": text, "lstrip": False, "rstrip": False, "normalized": True, "single_word": False, **flags}
        self.convert_text(files={"special_tokens_map.json": {"bos_token": token("<s>"), "eos_token": "</s>",
                                                             "unk_token": token("<unk>", rstrip=True)},
                                 "tokenizer_config.json": {"bos_token": "<s>", "eos_token": token("</s>")}})
        self.converted()
        self.assertEqual(self.special(), {0: 1, 1: 0, 2: 1})

    def test_bos(self):
        for files, want, warned in (({"special_tokens_map.json": {"bos_token": "</s>"}}, 2, False),
                                    ({"special_tokens_map.json": {"bos_token": ""}}, 0, True),
                                    ({"tokenizer_config.json": {"add_bos_token": False}}, None, False)):
            self.convert_text(files=files)
            run = self.converted()
            self.assertEqual(self.keys.get("tokenizer.ggml.bos_token_id", (0, None))[1], want)
            self.assertEqual("bos token is empty" in run.stderr, warned)
            for name in files:
                os.remove(self.path("llm", name))
        self.convert_text(files={"special_tokens_map.json": {"bos_token": "<begin>"}})
        self.refused("<begin>")

    def test_eos_is_the_generation_configuration_s(self):
        self.convert_text(files={"generation_config.json": {"eos_token_id": 1}})
        self.converted()
        self.assertEqual(self.key("tokenizer.ggml.eos_token_id"), 1)

    def test_models_that_are_not_supported(self):
        for pieces, text in ((made.sentencepiece(model_type=1), "not a BPE"), (made.sentencepiece(charsmap=b"x"), "rewrites"),
                             (made.sentencepiece(keep_blanks=1), "rewrites"), (made.sentencepiece() + b"\x0a\xff", "SentencePiece"),
                             (made.sentencepiece(made.PIECES + [("a", 0.0, 1)]), "twice"), (b"", "no pieces"),
                             (made.sentencepiece(made.PIECES + [(f"x{i}", 0.0, 1) for i in range(9)]), "rows")):
            self.convert_text(pieces=pieces)
            with self.subTest(text=text):
                self.refused(text)

    def test_no_dummy_prefix(self):
        self.convert_text(pieces=made.sentencepiece(prefix=0))
        self.converted()
        self.assertEqual(self.key("tokenizer.ggml.add_space_prefix"), 0)

    def test_tokenizer_json(self):
        self.convert_text()
        os.remove(self.path("llm", "tokenizer.model"))
        self.refused("tokenizer.model")
        content = {"added_tokens": [{"id": i, "content": made.PIECES[i][0], "special": True} for i in range(3)],
                   "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"},
                                                                      {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
                   "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True,
                             "vocab": {text: i for i, (text, _, _) in enumerate(made.PIECES)},
                             "merges": ["# #", "\u2581# ##", "\u2581 a"]}}
        made.write_json(self.path("llm", "tokenizer.json"), content)
        self.converted()
        ids = {text: i for i, text in enumerate(self.key("tokenizer.ggml.tokens"))}
        scores = self.key("tokenizer.ggml.scores")
        self.assertEqual([scores[ids[text]] for text in ("##", "\u2581###", "\u2581a", "a")], [0.0, -1.0, -2.0, -3.0])
        self.assertEqual(self.key("tokenizer.ggml.token_type"), [kind for _, _, kind in made.PIECES])
        content["model"]["type"] = "Unigram"
        made.write_json(self.path("llm", "tokenizer.json"), content)
        self.refused("tokenizer.json")

    def test_sentencepiece_defaults(self):
        pieces = made.field(1, made.field(1, b"a"))
        with self.assertRaisesRegex(ConvertError, "not a BPE"):  # absent model_type is unigram
            sentencepiece_model.parse(pieces, "x")
        with self.assertRaisesRegex(ConvertError, "rewrites"):   # absent remove_extra_whitespaces is true
            sentencepiece_model.parse(pieces + made.field(2, made.field(3, 2)), "x")


class Prompts(Folder):
    """The strings that section 5.2 of the specification shows, put together from the keys as weights/FORMAT.md says."""

    SYS = ("You are able to understand the visual content that the user provides. Follow the instructions carefully and explain your "
           "answers in detail.")
    AV = ("Close your eyes, open your ears and you imagine only based on the sound that: <ImageHere>.                 Close your ears, "
          "open your eyes and you see that <Video><ImageHere></Video>.                  Now answer my question based on what you have just "
          "seen and heard.")
    TIMES = "0.0, 1.2, 2.5, 3.7, 5.0, 6.2, 7.5, 8.7"
    VIDEO = f"<Video><ImageHere></Video> The video contains 8 frames sampled at {TIMES} seconds.  What is the dog doing?"

    def first(self, template, prompt, system, question="What is the dog doing?"):
        text = self.key(f"prompt.{prompt}") + " " + question
        for name, content in (("video", "<ImageHere>"), ("audio", "<ImageHere>"), ("frames", "8"), ("times", self.TIMES)):
            text = text.replace("{" + name + "}", content)
        return self.key(f"template.{template}.first").replace("{system}", system).replace("{text}", text)

    def test_audio(self):
        made.write(self.root, made.parts())
        self.converted()
        none, system = self.key("prompt.system.video"), self.key("prompt.system.image")
        self.assertEqual((none, system), ("", self.SYS))
        question = "What is the dog doing?"
        opened = self.key("template.vicuna.open")
        self.assertEqual(self.first("vicuna", "video", none) + opened, f"###Human: {self.VIDEO}###Assistant:")
        self.assertEqual(self.first("vicuna", "audio_video", none) + opened, f"###Human: {self.AV} {question}###Assistant:")
        self.assertEqual(self.first("llama_v2", "audio_video", none), f"[INST] <<SYS>>\n\n<</SYS>>\n\n{self.AV} {question} [/INST]")
        self.assertEqual(self.first("vicuna", "image", system) + opened,
                         f"{self.SYS}###Human: <Image><ImageHere></Image>  {question}###Assistant:")

    def test_video_only(self):
        made.write(self.root, made.parts(audio=False))
        self.converted()
        system = self.key("prompt.system.video")
        self.assertEqual((system, self.key("prompt.system.image")), (self.SYS, self.SYS))
        vicuna, llama = self.first("vicuna", "video", system), self.first("llama_v2", "video", system)
        self.assertEqual(vicuna, f"{self.SYS}###Human: {self.VIDEO}###")
        self.assertEqual(llama, f"[INST] <<SYS>>\n{self.SYS}\n<</SYS>>\n\n{self.VIDEO} [/INST]")

        def second(template):
            get = {part: self.key(f"template.{template}.{part}") for part in ("answer", "next", "open")}
            return get["answer"].replace("{text}", "It runs.") + get["next"].replace("{text}", "Why?") + get["open"]
        self.assertEqual(vicuna + second("vicuna"), vicuna + "Assistant: It runs.###Human: Why?###Assistant:")
        self.assertEqual(llama + second("llama_v2"), llama + " It runs. </s><s>[INST] Why? [/INST]")
        self.assertEqual(self.key("template.vicuna.stop"), ["\u2581###", "## #"])
        self.assertEqual(self.key("template.llama_v2.stop"), ["</s>"])
        self.assertEqual([self.key(f"template.{t}.{p}") for t in ("vicuna", "llama_v2") for p in ("cut", "after")],
                         ["###", "Assistant:", "</s>", "ASSISTANT:"])
        self.assertEqual(self.key("prompt.templates"), ["vicuna", "llama_v2"])
        self.assertEqual([self.key(f"sampling.{n}") for n in ("temperature", "top_k", "repetition_penalty", "predict")], [1.0, 50, 1.0, 300])
        self.assertAlmostEqual(self.key("sampling.top_p"), 0.9, places=6)
        self.assertEqual(self.key("prompt.context"), 2000)

    def test_template_option(self):
        made.write(self.root, made.parts(audio=False))
        self.converted("--template", "vicuna")
        self.assertEqual(self.key("prompt.template"), "vicuna")
        self.refused("choose from", options=("--template", "alpaca"), code=2)


class WrittenFile(Folder):
    def test_digests_and_determinism(self):
        made.write(self.root, made.parts())
        self.converted("--type", "bf16")
        self.assertEqual(self.key("vidrun.tensor_sha256"), [hashlib.sha256(data).hexdigest() for _, _, data in self.tensors.values()])
        first = pathlib.Path(self.out).read_bytes()
        self.converted("--type", "bf16")
        self.assertEqual(first, pathlib.Path(self.out).read_bytes())

    def test_every_key_and_tensor_is_in_the_format(self):
        made.write(self.root, made.parts())
        self.converted()
        text = (CONVERT.parent.parent.parent / "weights" / "FORMAT.md").read_text()
        for name in self.keys:
            stem = name.split(".")[-1]
            self.assertIn(stem, text, name)
        for name in self.tensors:
            self.assertLessEqual(len(name), 128)

    def test_overflow_and_nan(self):
        tensors = made.parts()
        tensors["vl"]["llama_proj.weight"][3, 3] = 1e6
        tensors["vl"]["llama_proj.bias"][0] = np.nan
        made.write(self.root, tensors)
        self.refused("llama_proj.weight", "too large", "bf16")
        run = self.converted("--type", "bf16")
        self.assertIn("warning", run.stderr)
        self.assertIn("llama_proj.bias holds NaN", run.stderr)

    def test_old_file_survives_a_failure(self):
        tensors = made.parts()
        tensors["llm"]["lm_head.weight"][0, 0] = 1.0
        made.write(self.root, tensors)
        pathlib.Path(self.out).write_bytes(b"GGUF old")
        limit = 100_000  # bytes a file may have: as a disk that is full

        def small():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        run = self.program(preexec_fn=small)
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertNotIn("Traceback", run.stderr)
        self.assertEqual(pathlib.Path(self.out).read_bytes(), b"GGUF old")
        self.assertEqual(sorted(os.listdir(self.dir)), ["checkpoint", "weights.bin"])

    def test_interrupt_leaves_nothing(self):
        made.write(self.root, made.parts())
        slow = os.path.join(self.dir, "slow.py")
        pathlib.Path(slow).write_text(
            "import sys, time\nsys.path.insert(0, sys.argv[1])\nimport convert, gguf_writer\nold = gguf_writer.write_tensor\n"
            "def wait(*a):\n    time.sleep(0.2)\n    return old(*a)\ngguf_writer.write_tensor = wait\nsys.exit(convert.main(sys.argv[2:]))\n")
        for number in (signal.SIGINT, signal.SIGTERM):
            run = subprocess.Popen([sys.executable, slow, str(CONVERT.parent), self.root, "-o", self.out], stderr=subprocess.PIPE, text=True)
            for _ in range(200):
                if any(name.endswith(".part") for name in os.listdir(self.dir)):
                    break
                time.sleep(0.05)
            else:
                self.fail("no temporary file appeared")
            run.send_signal(number)
            error = run.communicate(timeout=60)[1]
            self.assertEqual(run.returncode, 130, error)
            self.assertIn("interrupted", error)
            self.assertNotIn("Traceback", error)
            self.assertEqual(sorted(os.listdir(self.dir)), ["checkpoint", "slow.py"])

    def test_paths(self):
        made.write(self.root, made.parts())
        weights = pathlib.Path(self.path("eva_vit_g.pth"))
        before = weights.read_bytes()
        for out, text in ((str(weights), "not overwritten"), (self.path("llm", "config.json"), "not overwritten"), (self.dir, "not a file"),
                          (os.path.join(self.dir, "none", "x"), "folder"), ("/dev/null", "not a file")):
            self.out = out
            with self.subTest(out=out):
                self.refused(text)
        os.symlink(weights, os.path.join(self.dir, "link"))
        self.out = os.path.join(self.dir, "link")
        self.refused("not overwritten")
        self.assertEqual(weights.read_bytes(), before)
        self.out = self.path("weights.bin")  # a new file inside the folder is fine, twice too
        self.converted()
        self.converted()
        mask = os.umask(0o027)
        self.addCleanup(os.umask, mask)
        self.converted()
        self.assertEqual(os.stat(self.out).st_mode & 0o777, 0o640)

    def test_usage(self):
        self.refused("no .pth")
        os.rmdir(self.root)
        self.refused("not a folder")
        os.mkdir(self.root)
        self.refused("--type", options=("--type", "q4"), code=2)
        self.refused("--system", options=("--system", "gpt"), code=2)
        made.save_zip(self.path("eva_vit_g.pth"), made.parts()["vit"])
        self.refused("not the checkpoint of a known system")
        self.refused("blip2", options=("--system", "video-llama"))

    def test_program(self):
        made.write(self.root, made.parts())
        run = self.program()
        self.assertEqual((run.returncode, run.stdout), (0, ""), run.stderr)
        lines = run.stderr.strip().split("\n")
        self.assertLessEqual(len(lines), 6)
        self.assertIn(self.out, lines[-1])
        self.assertIn("f16", lines[-1])
        self.assertNotIn("\r", run.stderr)


class Golden(unittest.TestCase):
    """The recorded checkpoints: every matrix there is exact in f16 and bf16, norms and tables are not."""

    def test_golden(self):
        shared = pathlib.Path(os.environ.get("VIDRUN_SHARED", "../shared"))
        for case in ("video-llama-av", "video-llama-v"):
            archive = shared / "golden" / case / "checkpoint.tar.xz"
            if not archive.exists():
                print(f"SKIP: {archive} is not there", file=sys.stderr)
                continue
            with tempfile.TemporaryDirectory() as place, tarfile.open(archive) as tar:
                tar.extractall(place, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(place)
                files = {}
                for option in ("f32", "f16", "bf16"):
                    out = os.path.join(place, option)
                    run = subprocess.run([sys.executable, str(CONVERT), os.path.join(place, "checkpoint"), "-o", out, "--type", option],
                                         capture_output=True, text=True, check=False, timeout=300)
                    self.assertEqual(run.returncode, 0, run.stderr)
                    files[option] = gguf_reader.read(out)
                keys, tensors = files["f32"]
                for option in ("f16", "bf16"):
                    for name, tensor in files[option][1].items():
                        self.assertTrue((gguf_reader.array(tensor) == gguf_reader.array(tensors[name])).all(), (option, name))
                expected = json.loads((archive.parent / "case.json").read_text())
                self.assertEqual(keys["prompt.template"][1], expected["template"])
                self.assertEqual(keys["prompt.system.video"][1], expected["system_text"])
                ids = np.load(archive.parent / "stages" / "prompt.ids.npy")
                rows = np.load(archive.parent / "stages" / "prompt.embeds.npy")
                table = gguf_reader.array(tensors["token_embd.weight"])
                self.assertTrue((table[ids[ids >= 0]] == rows[ids >= 0]).all())


if __name__ == "__main__":
    unittest.main()
