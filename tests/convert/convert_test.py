"""
convert_test.py - the program and the file it writes; run as a program it runs every test of this folder.

    /usr/bin/python3 tests/convert/convert_test.py     from the project's root; VIDRUN_SHARED (default ../shared) leads to the
    golden cases
"""
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time
import unittest

import numpy as np

from harness import CONVERT, HERE, Folder, golden_checkpoint  # first: it sets the path to the converter
import gguf_reader
import synthetic as made


class WrittenFile(Folder):
    def test_digests_and_determinism(self):
        made.write(self.root, made.parts())
        self.converted("--type", "bf16")
        self.assertEqual(self.key("vidrun.tensor_sha256"),
                         [hashlib.sha256(data).hexdigest() for _, _, data in self.tensors.values()])
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
            "def wait(*a):\n    time.sleep(0.2)\n    return old(*a)\ngguf_writer.write_tensor = wait\n"
            "sys.exit(convert.main(sys.argv[2:]))\n")
        for number in (signal.SIGINT, signal.SIGTERM):
            run = subprocess.Popen([sys.executable, slow, str(CONVERT.parent), self.root, "-o", self.out],
                                   stderr=subprocess.PIPE, text=True,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # ignored in the background
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
        for out, text in ((str(weights), "not overwritten"), (self.path("llm", "config.json"), "not overwritten"),
                          (self.dir, "not a file"), (os.path.join(self.dir, "none", "x"), "folder"),
                          ("/dev/null", "not a file")):
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


class Golden(Folder):
    """The recorded checkpoints: every matrix there is exact in f16 and bf16, norms and tables are not."""

    def test_golden(self):
        for case in ("video-llama-av", "video-llama-v", "longvu-qwen", "longvu-llama", "longvu-image"):
            with self.subTest(case):
                folder = golden_checkpoint(case, self.root)
                files = {}
                for option in ("f16", "bf16", "f32"):
                    self.converted("--type", option)
                    files[option] = self.tensors
                for option in ("f16", "bf16"):
                    for name, tensor in files[option].items():
                        self.assertTrue((gguf_reader.array(tensor) == gguf_reader.array(self.tensors[name])).all(), (option, name))
                expected = json.loads((folder / "case.json").read_text())
                if "template" in expected:
                    self.assertEqual(self.key("prompt.template"), expected["template"])
                    self.assertEqual(self.key("prompt.system.video"), expected["system_text"])
                ids = np.load(folder / "stages" / "prompt.ids.npy")
                rows = np.load(folder / "stages" / "prompt.embeds.npy")
                table = gguf_reader.array(self.tensors["token_embd.weight"])
                n = int(np.argmin(ids)) if ids.min() < 0 else len(ids)  # before the rows of the towers
                self.assertTrue((table[ids[:n]] == rows[:n]).all())
                shutil.rmtree(self.root)
                os.mkdir(self.root)


if __name__ == "__main__":
    unittest.main(module=None, argv=[sys.argv[0], "discover", "-s", str(HERE), "-p", "*_test.py", *sys.argv[1:]])
