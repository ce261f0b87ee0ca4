#!/usr/bin/env python3
"""
paired_stream_test.py - Flash-VStream (Qwen) on a stream: its first frames come in pairs, then each is a step of its own.

    the converter's small checkpoint (5 slots, 3 steps shown whole), 280 frames -> questions early, late, after the bank thins
    -> stages of each question: steps shown whole, rows, places

Ref:   Flash-VStream-Qwen/models/vstream_qwen2vl_realtime.py:531-640; src/systems/flash_vstream_qwen.md, Streams.
Trap:  a step has 576 patches at least, however small the picture.
"""
import subprocess
import sys
import unittest

import material

sys.path.append(str(material.ROOT / "tests/convert"))

SLOTS, WHOLE, BANK = 5, 3, 256  # of the checkpoint; of flash_vstream_qwen_stream.c
PAIRED = 2 * SLOTS  # frames that come in pairs
FULL = PAIRED + BANK - SLOTS  # frames that fill the bank
LINES = 12  # and columns of rows of a step shown whole: 336 pixels
GREEDY = ("--temp", "0", "-n", "3")


def weights():
    path = material.FOLDER / "paired.bin"
    if not path.exists():
        import synthetic_flash_vstream

        root = material.FOLDER / "paired"
        root.mkdir()
        synthetic_flash_vstream.write_qwen(str(root))
        convert = [material.PYTHON, material.ROOT / "tools/convert/convert.py", root, "-o", path]
        subprocess.run(convert, check=True, capture_output=True)
    return path


def clip(n):
    """n frames, one a second."""
    return material.ffmpeg(f"paired{n}.mkv", "-f", "lavfi", "-i", f"testsrc2=size=64x64:rate=1:duration={n}", "-c:v", "ffv1")


def steps(n_frames):
    return (n_frames + 1) // 2 if n_frames <= PAIRED else SLOTS + n_frames - PAIRED


class Paired(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        try:
            import numpy
        except ImportError as e:
            raise unittest.SkipTest(f"no numpy here: {e}")
        cls.np, cls.weights = numpy, weights()

    def stages(self, name, *arguments, **more):
        """-> function: name of a stage -> its array"""
        folder = material.FOLDER / name
        result = material.run(*GREEDY, "--dump-stages", folder, *arguments, **more)
        self.assertEqual(result.code, 0, result.err)
        return lambda stage: self.np.load(folder / f"{stage}.npy")

    def ask(self, name, *moments, n_frames=FULL + 20, threads=1):
        return self.stages(name, "--stream", "--ask-after", ",".join(map(str, moments)), f"-t{threads}", self.weights,
                           clip(n_frames), stdin=b"What is it?\n" * len(moments))

    def test_early_it_is_the_memory_of_a_clip(self):
        """Before the slots are full: pairs, of an odd number the last one twice, as of a clip's list."""
        moments = (4, 5, 6, 9, PAIRED)
        stream = self.ask("early", *moments, n_frames=PAIRED)
        for n in moments:
            of_clip = self.stages(f"clip{n}", "-t1", self.weights, clip(n), "What is it?")
            with self.subTest(n):
                rows, expected = stream(f"ask{n:03d}.project.video"), of_clip("project.video")
                self.assertEqual(rows.shape, expected.shape)
                norm = self.np.linalg.norm
                self.assertLess(norm(rows - expected), 1e-5 * norm(expected))
                for stage in ("compress.dam.index", "prompt.ids"):
                    self.assertEqual(stream(f"ask{n:03d}.{stage}").tolist(), of_clip(stage).tolist(), stage)

    def check_places(self, stage, n_frames):
        """Text counts rows; steps shown whole stand at their numbers, slots at places among one more than there are."""
        np, shown = self.np, stage("compress.dam.index")
        ids, places = stage("prompt.ids"), stage("prompt.positions")
        counts = np.bincount(ids)
        pads = np.flatnonzero(ids == counts.argmax())
        n_whole, n_slots = min(steps(n_frames), WHOLE), min(steps(n_frames), SLOTS)
        whole = LINES * LINES * n_whole
        self.assertEqual((len(shown), len(pads)), (n_whole, whole + LINES * LINES // 4 * n_slots))
        self.assertTrue(((0 <= shown) & (shown < steps(n_frames))).all(), shown)
        first = pads[0]
        self.assertEqual(pads.tolist(), list(range(first, first + len(pads))))
        text = np.delete(np.arange(len(ids)), pads)
        self.assertTrue((places[:, text] == text).all())
        times = places[:, first : first + whole].reshape(3, n_whole, LINES, LINES) - first
        self.assertEqual(times[0, :, 0, 0].tolist(), shown.tolist())
        slots = places[:, first + whole : first + len(pads)].reshape(3, n_slots, LINES // 2, LINES // 2) - first - whole
        at = slots[0, :, 0, 0]
        self.assertTrue((at[:-1] <= at[1:]).all() and at[0] >= 0 and at[-1] <= SLOTS, at)
        for cells, side in ((times, LINES), (slots, LINES // 2)):
            self.assertTrue((cells[0] == cells[0, :, :1, :1]).all())
            self.assertTrue((cells[1:] == np.indices((side, side))[:, None]).all())

    def test_late(self):
        moments = (1, 2, 3, PAIRED, PAIRED + 1, PAIRED + 2, 40, FULL - 1, FULL, FULL + 1, FULL + 2, FULL + 20)
        stream = self.ask("late", *moments)
        for n in moments:
            with self.subTest(n):
                self.check_places(lambda stage: stream(f"ask{n:03d}.{stage}"), n)
        np, last = self.np, FULL + 20
        self.assertTrue(np.isfinite(stream(f"ask{last:03d}.answer.logits")).all())
        self.assertFalse(np.array_equal(stream("ask040.project.video"), stream(f"ask{last:03d}.project.video")))
        alone = self.ask("alone", last, last, threads=2)  # questions and threads change nothing of the memory
        for stage in ("compress.dam.index", "prompt.positions", "answer.ids"):
            self.assertEqual(stream(f"ask{last:03d}.{stage}").tolist(), alone(f"ask{last:03d}.{stage}").tolist(), stage)
            self.assertEqual(alone(f"ask{last:03d}.{stage}").tolist(), alone(f"ask{last:03d}-2.{stage}").tolist(), stage)


if __name__ == "__main__":
    unittest.main()
