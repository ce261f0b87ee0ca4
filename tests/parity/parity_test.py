#!/usr/bin/python3
"""
parity_test.py - parity.py must fail when it should: a stand-in for vidrun writes good stages, then each kind of bad ones.

  temporary root: tools/convert/{convert,video_llama}.py, build/vidrun (copies stages, then spoils them as $SPOIL says)
  temporary case: two float stages (one kept in rows), one of integers -> parity.py -> exit status and reason

Needs neither the engine nor ffmpeg.
"""
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import unittest

import numpy as np

PARITY = pathlib.Path(__file__).resolve().parent / "parity.py"
VIDRUN = """#!/usr/bin/python3
import os, pathlib, sys
import numpy as np
dump = pathlib.Path(sys.argv[sys.argv.index("--dump-stages") + 1])
dump.mkdir()
stages = dict(np.load(os.environ["STAGES"]))
answer, status, threads = "a plain answer", 0, sys.argv[sys.argv.index("--threads") + 1]
exec(os.environ.get("SPOIL", ""))
for name, x in stages.items():
    np.save(dump / (name + ".npy"), x)
print(answer)
sys.exit(status)
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
        (convert / "convert.py").write_text("import os, sys\nopen(sys.argv[3], 'w').close()\nsys.exit(int(os.environ.get('CONVERT', 0)))\n")
        (build / "vidrun").write_text(VIDRUN)
        (build / "vidrun").chmod(0o755)
        rng = np.random.default_rng(5)
        stages = {"vision.out": rng.standard_normal((4, 3, 2)).astype("<f4"), "logits": rng.standard_normal(7).astype("<f4"),
                  "answer.ids": np.arange(5, dtype="<i4")}
        np.savez(self.root / "stages.npz", **stages)
        entries = [self.entry(case, "vision.out", stages["vision.out"], [0, 3], 2e-5), self.entry(case, "logits", stages["logits"], None, 2e-5),
                   self.entry(case, "answer.ids", stages["answer.ids"], None, 0)]
        self.case = {"system": "video-llama", "video": "input.mkv", "prompt": "?", "arguments": [], "answer": "a plain answer", "stages": entries}
        (case / "case.json").write_text(json.dumps(self.case))
        with tarfile.open(case / "checkpoint.tar.xz", "w:xz") as tar:
            tar.add(PARITY.parent / "parity_test.py", "checkpoint/file")

    @staticmethod
    def entry(case, name, x, rows, rtol):
        kept = x if rows is None else x[rows]
        np.save(case / f"stages/{name}.npy", kept)
        return {"name": name, "file": f"stages/{name}.npy", "shape": list(kept.shape), "dtype": "i32" if x.dtype.kind == "i" else "f32",
                "where": "test", "rows": rows, "rtol": rtol} | ({} if rows is None else {"full_shape": list(x.shape)})

    def parity(self, spoil="", *extra, **env):
        """-> (exit status, output)"""
        threads = "1,2" if "threads" in spoil else "1"
        command = [sys.executable, str(PARITY), "--root", str(self.root), "--levels", "c", "--threads", threads, "--record-file",
                   str(self.root / "record.json"), *extra, str(self.root / "cases")]
        done = subprocess.run(command, capture_output=True, text=True,
                              env=dict(os.environ, STAGES=str(self.root / "stages.npz"), SPOIL=spoil, **env))
        return done.returncode, done.stdout + done.stderr

    def fails(self, spoil, reason, **env):
        status, text = self.parity(spoil, **env)
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
            ("answer = 'another answer'", "answer 'another answer', expected"),
            ("answer = ''", "answer ''"),
            ("status = 3", "exit status 3"),
            ("os.kill(os.getpid(), 11)", "exit status -11"),
            ("stages['logits'][2] *= 1.001 if threads == '2' else 1", "2 threads: logits: error")):
            with self.subTest(spoil):
                self.fails(spoil, reason)

    def test_convert_fails(self):
        self.fails("", "convert.py: exit status 2", CONVERT="2")

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
        self.assertEqual(self.parity("answer = 'first\\n\\nsecond'")[0], 0)
        self.fails("answer = 'second first'", "'second' is not printed, or not in its turn")

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
