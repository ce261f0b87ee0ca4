"""
readers_test.py - the readers of the converter: whole, shared, damaged and hostile files; the conversions of numbers.
"""
import contextlib
import io
import os
import pathlib
import struct
import sys
import unittest
import zipfile

import numpy as np

from harness import Folder  # first: it sets the path to the converter
import pickle_reader
import safetensors_reader
import synthetic as made
import tensor as tensor_module
from errors import ConvertError


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
        content = {"model": self.arrays,
                   "optimizer": {"state": {0: {"exp_avg": np.zeros(4, "<f4")}}, "param_groups": [{"lr": 1e-4}]}, "epoch": 3,
                   "config": {"run": {"amp": True, "none": None}}}
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
                   {"slice": base[4:10].reshape(2, 3), "transposed": base.reshape(6, 4).T.copy(),
                    "repeated": np.full(5, 7, "<f4")})

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
        for change, text in ((short, "tensor a"), (beyond, "tensor e"), (negative, "tensor a"), (unknown, "F8_E4M3"),
                             (nothing, "tensor a")):
            with self.subTest(change=change.__name__):
                made.save_safetensors(path, self.arrays, change)
                with self.assertRaisesRegex(ConvertError, text):
                    safetensors_reader.read(path, "x")
        for data in (b"", b"abc", struct.pack("<Q", 10**12) + b"{}", struct.pack("<Q", 2) + b"[]",
                     struct.pack("<Q", 5) + b"{\"a\":", struct.pack("<Q", 16) + b'{"a":{},"a":{} }'):
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
        for module, name in (("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"),
                             ("builtins", "eval"), ("builtins", "exec"), ("builtins", "getattr"), ("__builtin__", "eval"),
                             ("builtins", "__import__"), ("torch", "load"), ("torch.hub", "load"), ("operator", "attrgetter"),
                             ("functools", "partial"), ("collections", "OrderedDict.__init__"), ("numpy", "load"),
                             ("runpy", "_run_code"), ("pickle", "loads"), ("torch._utils", "_import_dotted_name"),
                             ("torch", "serialization.load"), ("webbrowser", "open")):
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
        for pickle in (b"", b"\x80\x02", b".", b"\x80\x02}", b"\x80\x02t.", b"\x80\x02(.", b"\x80\x02h\x05.", b"\x80\x02R.",
                       b"\x80\x02NQ.", b"\x80\x02}(Ku.", b"\x80\x02\x86.", b"\x80\x02](]e}(h\0h\0u.",
                       b"\x80\x02X\xff\xff\xff\x7fabc.", b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
                       b"\x80\x02I" + b"9" * 6000 + b"\n.", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\0))\x89}tR."):
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
        bits = np.array([0x3F800000, 0x3F807FFF, 0x3F808000, 0x3F808001, 0x3F818000, 0x3F817FFF, 0x80008000, 0x00018000,
                         0xFF7F7FFF], "<u4")
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
