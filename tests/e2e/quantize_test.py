#!/usr/bin/env python3
"""
quantize_test.py - vidrun-quantize as its users meet it: the same bytes as the converter writes, refusals, nothing left behind.

    quantize_test.py [unittest arguments]        VIDRUN=build/vidrun: vidrun-quantize and vidrun-inspect lie beside it

    tests/golden/video-llama-v -> convert.py --type f32 -> vidrun-quantize --type T   =   convert.py --type T
"""
import os
import pathlib
import struct
import subprocess
import unittest

import material
from material import FOLDER, PROGRAM, PYTHON, ROOT, Gguf

CONVERT = ROOT / "tools/convert/convert.py"


def quantize(*arguments):
    program = pathlib.Path(PROGRAM).with_name("vidrun-quantize")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=material.SECONDS)
    return material.Result(done.returncode, done.stdout, done.stderr)


class Quantize(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        material.weights()  # unpacks the checkpoint
        cls.exact = cls.converted("f32")

    @classmethod
    def converted(cls, *options):
        path = FOLDER / ("video-llama-v-" + "-".join(options) + ".bin")
        if not path.exists():
            subprocess.run([PYTHON, CONVERT, FOLDER / "video-llama-v" / "checkpoint", "-o", path, "--type", *options],
                           check=True, capture_output=True)
        return path

    def setUp(self):
        self.out = FOLDER / "quantised.bin"
        self.out.unlink(missing_ok=True)

    def refused(self, result, code, message):
        self.assertEqual(result.code, code, result.err)
        self.assertEqual(result.err.splitlines()[0], f"vidrun-quantize: {message}")
        self.assertEqual([p.name for p in FOLDER.iterdir() if p.name.startswith("quantised.bin")], [])

    def test_the_bytes_of_the_converter(self):
        for options in (("f32",), ("f16",), ("bf16",), ("q8_0",), ("q4_0",), ("q4_0", "--towers", "bf16"), ("q4_0", "--towers", "q8_0")):
            result = quantize(self.exact, self.out, "--type", *options)
            self.assertEqual((result.code, result.out), (0, ""), result.err)
            self.assertTrue(self.out.read_bytes() == self.converted(*options).read_bytes(), options)
        half = self.converted("f16")  # towers are there already
        quantize(half, self.out, "--type", "q8_0")
        inspected = subprocess.run([pathlib.Path(PROGRAM).with_name("vidrun-inspect"), self.out, "--verify", "--nan"],
                                   capture_output=True, text=True, timeout=material.SECONDS)
        self.assertEqual(inspected.returncode, 0, inspected.stdout + inspected.stderr)
        self.assertIn("Q8_R16", inspected.stdout)
        self.assertIn("SHA-256: 0 of", inspected.stdout)

    def test_halves_that_would_share_a_strip(self):
        names = {"dino.blk.0.fc1.weight": 48, "dino.blk.11.fc1.weight": 64, "dino.blk.0.fc2.weight": 48}
        text = lambda s: struct.pack("<Q", len(s)) + s.encode()
        head = struct.pack("<4sIQQ", b"GGUF", 3, len(names), 2) + text("general.architecture") + struct.pack("<I", 8)
        head += text("vidrun") + text("general.alignment") + struct.pack("<II", 4, 64)
        at = 0
        for name, rows in names.items():
            head += text(name) + struct.pack("<IQQIQ", 2, 64, rows, 0, at)
            at += rows * 64 * 4
        plain = material.written("halves.bin", head + bytes(-len(head) % 64) + bytes(at))
        result = quantize(plain, self.out, "--type", "q8_0", "--towers", "q8_0")
        self.assertEqual(result.code, 0, result.err)
        tensors = Gguf(self.out.read_bytes()).tensors
        self.assertEqual([tensors[name][2][0] for name in names], [1, 1008, 1008])

    def test_an_answer_with_quantised_weights(self):
        answers = set()
        for options in (("f32",), ("q8_0",), ("q4_0",)):
            result = material.run("-q", "--temp", "0", "-n", "4", self.converted(*options), material.clip(), "What is it?")
            self.assertEqual(result.code, 0, result.err)
            answers.add(result.out)
        self.assertTrue(answers)

    def test_usage(self):
        self.refused(quantize(self.exact, self.out), 2, "--type is needed")
        self.refused(quantize(self.exact, "--type", "f16"), 2, "IN and OUT are needed")
        self.refused(quantize(self.exact, self.out, "--type", "q5_0"), 2,
                     "--type: 'q5_0' is not one of: f32 f16 bf16 q8_0 q4_0")
        self.refused(quantize(self.exact, self.out, "--type", "f16", "--towers", "f16"), 2,
                     "--towers: the towers have the type of --type unless that is q8_0 or q4_0")
        self.refused(quantize(self.exact, self.out, "--type", "q8_0", "--towers", "q4_0"), 2,
                     "--towers: 'q4_0' is not one of: f32 f16 bf16 q8_0")

    def test_the_input_is_not_overwritten(self):
        before = self.exact.read_bytes()
        link = FOLDER / "link.bin"
        os.link(self.exact, link)
        self.addCleanup(link.unlink)
        for out in (self.exact, link):
            self.refused(quantize(self.exact, out, "--type", "f16"), 2, f"{out}: is the input, it is not overwritten")
        self.assertTrue(self.exact.read_bytes() == before)

    def test_nothing_is_left_of_a_failure(self):
        self.refused(quantize(FOLDER / "nowhere.bin", self.out, "--type", "f16"), 3,
                     f"{FOLDER / 'nowhere.bin'}: cannot be opened: No such file or directory")
        data = bytearray(self.exact.read_bytes())
        layout = Gguf(bytes(data))
        alignment = 64
        base = -(-layout.at // alignment) * alignment
        struct.pack_into("<f", data, base + layout.tensors["output.weight"][2][1] + 400, float("inf"))
        bad = material.written("bad.bin", data)
        self.refused(quantize(bad, self.out, "--type", "q8_0"), 3,
                     f"{bad}: tensor \"output.weight\" holds NaN or infinity, which a quantised type cannot; "
                     "use f16, bf16 or f32")
        struct.pack_into("<f", data, base + layout.tensors["output.weight"][2][1] + 400, 1e6)
        material.written("bad.bin", data)
        self.refused(quantize(bad, self.out, "--type", "f16"), 3,
                     f"{bad}: tensor \"output.weight\" has numbers too large for F16; use bf16 or f32")


if __name__ == "__main__":
    unittest.main()
