#!/usr/bin/python3
"""
parity_test.py - parity.py must fail when it should: a stand-in for vidrun writes good stages, then each kind of bad ones.

  temporary root: tools/convert/{convert,video_llama}.py, build/vidrun (copies stages that were spoiled before)
  temporary case: two float stages (one kept in rows), one of integers -> parity.py -> exit status and reason

Needs neither the engine nor ffmpeg.
"""

import contextlib
import io
import json
import os
import pathlib
import shutil
import sys
import tarfile
import tempfile
import unittest
from unittest import mock

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import parity

VIDRUN = """#!/bin/sh
threads= dump=
while [ $# -gt 0 ]; do
    case $1 in
    --threads) threads=$2 ;;
    --dump-stages) dump=$2 ;;
    esac
    shift
done
cp -r "$STAGES/$threads" "$dump"
printf '%s\\n' "$ANSWER"
eval "$END"
"""


class ParityTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.root = pathlib.Path(holder.name)
        convert, build, case = (self.root / name for name in ("tools/convert", "build", "cases/one"))
        for folder in (convert, build, case / "stages"):
            folder.mkdir(parents=True)
        (convert / "video_llama.py").touch()
        (convert / "convert.py").write_text(
            "import os, sys\nopen(sys.argv[3], 'w').close()\nsys.exit(int(os.environ.get('CONVERT', 0)))\n"
        )
        (build / "vidrun").write_text(VIDRUN)
        (build / "vidrun").chmod(0o755)
        rng = np.random.default_rng(5)
        stages = {
            "vision.out": rng.standard_normal((4, 3, 2)).astype("<f4"),
            "logits": rng.standard_normal(7).astype("<f4"),
            "answer.ids": np.arange(5, dtype="<i4"),
        }
        self.stages = stages
        entries = [
            self.entry(case, "vision.out", stages["vision.out"], [0, 3], 2e-5),
            self.entry(case, "logits", stages["logits"], None, 2e-5),
            self.entry(case, "answer.ids", stages["answer.ids"], None, 0),
        ]
        self.case = {
            "system": "video-llama",
            "video": "input.mkv",
            "prompt": "?",
            "arguments": [],
            "answer": "a plain answer",
            "stages": entries,
        }
        (case / "case.json").write_text(json.dumps(self.case))
        with tarfile.open(case / "checkpoint.tar.xz", "w:xz") as tar:
            tar.add(__file__, "checkpoint/file")

    @staticmethod
    def entry(case, name, x, rows, rtol):
        kept = x if rows is None else x[rows]
        np.save(case / f"stages/{name}.npy", kept)
        return {
            "name": name,
            "file": f"stages/{name}.npy",
            "shape": list(kept.shape),
            "dtype": "i32" if x.dtype.kind == "i" else "f32",
            "where": "test",
            "rows": rows,
            "rtol": rtol,
        } | ({} if rows is None else {"full_shape": list(x.shape)})

    def parity(self, spoil="", *extra, answer="a plain answer", end="", convert="0"):
        """-> (exit status, output). spoil: Python that changes the dictionary `stages` for a number of `threads`."""
        for threads in (1, 2):
            folder = self.root / f"out/{threads}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            stages = {name: x.copy() for name, x in self.stages.items()}
            exec(spoil, {"stages": stages, "threads": threads, "np": np})
            for name, x in stages.items():
                np.save(folder / (name + ".npy"), x)
        command = [
            "parity.py",
            "--root",
            str(self.root),
            "--levels",
            "c",
            "--record-file",
            str(self.root / "record.json"),
            *extra,
            str(self.root / "cases"),
        ]
        env = {"STAGES": str(self.root / "out"), "ANSWER": answer, "END": end, "CONVERT": convert}
        out = io.StringIO()
        with mock.patch.dict(os.environ, env), mock.patch.object(sys, "argv", command), contextlib.redirect_stdout(out):
            return parity.main(), out.getvalue()

    def fails(self, spoil, reason, **run):
        status, text = self.parity(spoil, **run)
        self.assertEqual(status, 1, text)
        self.assertIn(reason, text)
        self.assertIn("0 passed, 1 failed, 0 skipped", text)

    def test_good(self):
        status, text = self.parity()
        self.assertEqual(status, 0, text)
        self.assertIn("1 passed, 0 failed, 0 skipped", text)

    def test_each_defect(self):
        for spoil, reason in (
            ("del stages['logits']", "logits is missing"),
            ("stages['logits'][2] *= 1.001", "logits: error"),
            ("stages['logits'] = stages['logits'].astype('<f8')", "type <f8"),
            ("stages['answer.ids'] = stages['answer.ids'].astype('<i8')", "type <i8"),
            ("stages['answer.ids'][1] = 9", "1 of 5 differ"),
            ("stages['logits'] = stages['logits'].reshape(7, 1)", "shape [7, 1], expected [7]"),
            ("stages['vision.out'] = stages['vision.out'].reshape(4, 2, 3)", "shape"),
            ("stages['vision.out'] = stages['vision.out'][:3]", "shape"),
            ("stages['vision.out'] = np.asfortranarray(stages['vision.out'])", "not in C order"),
            ("stages['vision.out'][1, 0, 0] = np.nan", "1 values are not finite"),
            ("stages['logits'][0] = np.inf", "not finite"),
            ("stages['logits'][2] *= 1.001 if threads == 2 else 1", "2 threads: logits: error"),
        ):
            with self.subTest(spoil):
                self.fails(spoil, reason)

    def test_programs_fail(self):
        self.fails("", "answer 'another answer', expected", answer="another answer")
        self.fails("", "answer ''", answer="")
        self.fails("", "exit status 3", end="exit 3")
        self.fails("", "exit status -11", end="kill -SEGV $$")
        self.fails("", "convert.py: exit status 2", convert="2")

    def test_ratchet(self):
        small = "stages['logits'] *= np.float32(1 + 3e-6)"
        self.assertEqual(self.parity(small, "--record")[0], 0)
        self.assertEqual(self.parity(small)[0], 0)
        larger = "stages['logits'] *= np.float32(1 + 9e-6)"
        self.fails(larger, "more than 2 times the recorded")
        self.assertEqual(self.parity(larger, "--record")[0], 0)
        self.assertEqual(self.parity(larger)[0], 0)

    def test_below_the_floor(self):
        self.assertEqual(self.parity("", "--record")[0], 0)
        self.assertEqual(self.parity("stages['logits'] *= np.float32(1 + 1.2e-7)")[0], 0)

    def test_turns(self):
        self.case |= {"prompt": ["?", "!"], "answer": ["first", "second"]}
        (self.root / "cases/one/case.json").write_text(json.dumps(self.case))
        self.assertEqual(self.parity(answer="first\n\nsecond")[0], 0)
        self.fails("", "'second' is not printed, or not in its turn", answer="second first")

    def test_skips(self):
        (self.root / "tools/convert/video_llama.py").unlink()
        status, text = self.parity()
        self.assertEqual(status, 1, text)  # nothing was proven
        self.assertIn("SKIP system video-llama has no converter", text)
        self.assertIn("0 passed, 0 failed, 1 skipped", text)

    def test_unknown_level(self):
        other = "neon" if os.uname().machine == "x86_64" else "avx2"
        status, text = self.parity("", "--levels", f"{other},c")
        self.assertEqual(status, 0, text)
        self.assertIn(f"level {other}: SKIP", text)
        self.assertIn("1 passed, 0 failed, 1 skipped", text)


if __name__ == "__main__":
    unittest.main()
