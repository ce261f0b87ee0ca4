"""
quantised_test.py - --type q8_0 and q4_0: strips against their definition, which tensors have which type, refusals.

The definition is written from weights/FORMAT.md, number by number; src/base/strips.c is held against the same by
tests/e2e/quantize_test.py.
"""
import os
import random
import unittest

import numpy as np

from harness import Folder  # first: it sets the path to the converter
import gguf_reader
import quantised
import synthetic as made


def strips_by_hand(values, dtype):
    """The bytes of the strips of float32 [rows, cols], one number after the other."""
    rows, cols = values.shape
    out = bytearray()
    for first in range(0, rows, 16):
        for column in range(0, cols, 64):
            scales, numbers = np.zeros((2, 16), "<f2"), np.zeros((16, 64), int)
            for row in range(min(16, rows - first)):
                for group in range(2):
                    x = values[first + row, column + 32 * group:column + 32 * group + 32]
                    if not x.size:
                        continue
                    top = x[np.abs(x).argmax()]
                    scale = np.float16(np.abs(top) / np.float32(127) if dtype == "Q8_R16" else top / np.float32(-8))
                    scales[group, row] = scale
                    for i, number in enumerate(x):
                        n = int(np.rint(number / np.float32(scale))) if scale else 0
                        numbers[row, 32 * group + i] = max(-127, min(127, n)) if dtype == "Q8_R16" else max(-8, min(7, n))
            out += scales.tobytes()
            if dtype == "Q8_R16":
                out += bytes(int(numbers[row, 4 * quad + i]) + 128 for quad in range(16) for row in range(16) for i in range(4))
            else:
                out += bytes((int(numbers[row, at]) + 8) | (int(numbers[row, at + 16]) + 8) << 4
                             for group in range(2) for quad in range(4) for row in range(16)
                             for at in range(32 * group + 4 * quad, 32 * group + 4 * quad + 4))
    return bytes(out)


class Strips(unittest.TestCase):
    def test_against_the_definition(self):
        seed = int(os.environ.get("VIDRUN_SEED") or random.randrange(1 << 31))
        rng = np.random.default_rng(seed)
        for rows, cols in ((16, 64), (1, 1), (17, 33), (5, 100), (48, 96)):
            for kind in ("normal", "zero", "tiny", "tied"):
                values = rng.standard_normal((rows, cols)).astype("<f4")
                if kind == "zero":
                    values[:] = 0
                elif kind == "tiny":
                    values *= np.float32(1e-7)
                elif kind == "tied":  # the largest with both signs: the first one counts
                    values = np.sign(values).astype("<f4")
                for dtype in quantised.BLOCK_BYTES:
                    packed = quantised.pack(values, dtype).tobytes()
                    self.assertEqual(len(packed), quantised.n_bytes(dtype, rows, cols))
                    self.assertEqual(packed, strips_by_hand(values, dtype), f"{dtype} {rows}x{cols} {kind}, seed {seed}")

    def test_blocks_cut_anywhere(self):
        values = np.random.default_rng(5).standard_normal((70, 40)).astype("<f4")
        for cut in (1, 39, 640, 641, 2800):
            flat = values.reshape(-1)
            blocks = [flat[i:i + cut] for i in range(0, flat.size, cut)]
            whole = b"".join(part.tobytes() for part in quantised.strips(blocks, 40, "Q8_R16"))
            self.assertEqual(whole, quantised.pack(values, "Q8_R16").tobytes(), cut)


class Files(Folder):
    def types(self, *options):
        self.converted(*options)
        return {name: kind for name, (kind, _, _) in self.tensors.items()}

    def test_which_tensors(self):
        made.write(self.root, made.parts())
        plain = self.types("--type", "f16")
        q4, q8 = self.types("--type", "q4_0"), self.types("--type", "q8_0", "--towers", "bf16")
        all8 = self.types("--type", "q8_0", "--towers", "q8_0")
        self.assertEqual(set(plain), set(q4))
        for name, kind in plain.items():
            table = name in ("token_embd.weight", "output.weight")
            decoder = table or (name.startswith("blk.") and kind == 1)
            self.assertEqual(q4[name], kind if kind == 0 else 1008 if table else 1004 if decoder else 1, name)
            self.assertEqual(q8[name], kind if kind == 0 else 1008 if decoder else 30, name)
            self.assertEqual(all8[name], 0 if kind == 0 else 1008, name)
        self.assertEqual(sum(kind == 1004 for kind in q4.values()) % 7, 0)  # q, k, v, o, gate, up, down of every block

    def test_the_numbers(self):
        made.write(self.root, made.parts())
        self.types("--type", "f32")
        exact = gguf_reader.array(self.tensors["blk.0.attn_q.weight"])
        self.types("--type", "q8_0")
        self.assertEqual(self.tensors["blk.0.attn_q.weight"][2], quantised.pack(exact, "Q8_R16").tobytes())

    def test_refusals(self):
        made.write(self.root, made.parts())
        self.refused("--towers", options=("--type", "f16", "--towers", "bf16"))
        self.refused("q5_0", options=("--type", "q5_0"), code=2)
        tensors = made.parts()
        tensors["llm"]["lm_head.weight"][0, 0] = np.inf
        made.write(self.root, tensors)
        self.refused("lm_head.weight", "holds NaN or infinity", options=("--type", "q8_0"))


if __name__ == "__main__":
    unittest.main()
