"""
harness.py - what the tests of the converter share: a folder to work in, the converter called in this process, its file read
back.
"""
import contextlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import tempfile
import types
import unittest
import unittest.mock

HERE = pathlib.Path(__file__).resolve().parent
CONVERT = HERE.parent.parent / "tools" / "convert" / "convert.py"
sys.path[:0] = [str(HERE), str(CONVERT.parent)]

import convert  # noqa: E402 - found through the path above
import gguf_reader  # noqa: E402


def golden_checkpoint(case, root):
    """Unpacks the checkpoint of a golden case to root, which is named checkpoint; -> the case's folder. SkipTest: not there"""
    folder = pathlib.Path(os.environ.get("VIDRUN_SHARED", "../shared"), "golden", case)
    archive = folder / "checkpoint.tar.xz"
    if not archive.exists():
        print(f"SKIP: {archive} is not there", file=sys.stderr)
        raise unittest.SkipTest(f"{archive} is not there")
    base = json.loads((folder / "case.json").read_text()).get("checkpoint_of")
    if base:
        golden_checkpoint(pathlib.PurePath(base).name, root)
    with tarfile.open(archive) as tar:
        place = os.path.dirname(root)
        tar.extractall(place, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(place)
    return folder


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
        """In this process and without waiting for the disk: a hundred runs; program() is the real thing."""
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        with contextlib.redirect_stderr(io.StringIO()) as error, contextlib.redirect_stdout(io.StringIO()) as out, \
                unittest.mock.patch("os.fsync"):
            try:
                code = convert.main([self.root, "-o", self.out, *options])
            except SystemExit as end:
                code = end.code
        for number, handler in handlers.items():
            signal.signal(number, handler)
        return types.SimpleNamespace(returncode=code, stderr=error.getvalue(), stdout=out.getvalue())

    def program(self, **kwargs):
        return subprocess.run([sys.executable, str(CONVERT), self.root, "-o", self.out], capture_output=True, text=True,
                              check=False, timeout=300, **kwargs)

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
