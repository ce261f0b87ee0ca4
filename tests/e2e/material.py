"""
material.py - what the tests of the program need: weight files, broken weight files, clips, and a way to run it.

    tests/golden/<case>/checkpoint.tar.xz -> convert.py -> v.bin -> broken(): the same file with one number changed
    ffmpeg                                -> clips
    run(arguments) -> Result(code, out, err)

Everything lies in one temporary folder that goes away at the end. Environment: VIDRUN (program, default build/vidrun), PYTHON
(one with numpy, for the converter), VIDRUN_SHARED (golden cases that are not in the tree), VIDRUN_SECONDS (longest run).

Ref:   weights/FORMAT.md for the bytes that broken() changes.
"""
import atexit
import os
import pathlib
import re
import shutil
import struct
import subprocess
import tarfile
import tempfile
import unittest
from collections import namedtuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.path.abspath(os.environ.get("VIDRUN", ROOT / "build/vidrun"))
PYTHON = os.environ.get("PYTHON") or "/usr/bin/python3"
SHARED = pathlib.Path(os.environ.get("VIDRUN_SHARED", ROOT / "../shared"))
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="vidrun-e2e-"))
SECONDS = int(os.environ.get("VIDRUN_SECONDS", 120))  # longest run; a hang is a failure
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

Result = namedtuple("Result", "code out err")


def run(*arguments, stdin=b"", stdout=subprocess.PIPE, cwd=None, **variables):
    """Run vidrun in the project's root (or cwd) with more environment variables."""
    done = subprocess.run([PROGRAM, *map(str, arguments)], input=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=SECONDS,
                          cwd=cwd or ROOT, env={**os.environ, **variables})
    return Result(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())


class Program(unittest.TestCase):
    """A test that runs the program on the small vision model and the small clip."""

    @classmethod
    def setUpClass(cls):
        cls.weights, cls.clip = weights(), clip()

    def answer(self, *arguments, **more):
        """Run that must succeed, with weights and clip."""
        result = run(self.weights, self.clip, *arguments, **more)
        self.assertEqual(result.code, 0, result.err)
        return result

    def refused(self, result, code, message):
        """Nothing on stdout; the last line on stderr is the error in full, and the only one."""
        self.refused_like(result, code, re.escape(message))

    def refused_like(self, result, code, pattern):
        self.assertEqual((result.code, result.out), (code, ""), result.err)
        lines = [line for line in result.err.splitlines() if line.startswith("vidrun: ") and "vidrun: warning: " not in line]
        self.assertEqual(lines, result.err.splitlines()[-1:])
        self.assertRegex(lines[0], rf"^vidrun: {pattern}$")


def weights(case="video-llama-v"):
    """Path of the converted weight file of a golden case; SkipTest where the case is nowhere."""
    path = FOLDER / f"{case}.bin"
    if not path.exists():
        archives = (folder / case / "checkpoint.tar.xz" for folder in (ROOT / "tests/golden", SHARED / "golden"))
        archive = next((a for a in archives if a.exists()), None)
        if archive is None:
            raise unittest.SkipTest(f"no golden case {case}")
        with tarfile.open(archive) as tar:
            tar.extractall(FOLDER / case)
        subprocess.run([PYTHON, ROOT / "tools/convert/convert.py", FOLDER / case / "checkpoint", "-o", path], check=True,
                       capture_output=True)
    return path


def ffmpeg(name, *arguments):
    path = FOLDER / name
    if not path.exists():
        subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments), path], check=True)
    return path


PICTURES = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=10:duration=2")
TONE = ("-f", "lavfi", "-i", "sine=frequency=440:duration=2")


def clip():
    """20 frames in 2 s, with sound."""
    return ffmpeg("clip.mp4", *PICTURES, *TONE, "-c:v", "mpeg4", "-c:a", "aac", "-shortest")


def silent_clip():
    return ffmpeg("silent.mp4", *PICTURES, "-c:v", "mpeg4")


def sound_only():
    return ffmpeg("sound.wav", *TONE)


def one_frame():
    return ffmpeg("one.mp4", *PICTURES, "-frames:v", "1", "-c:v", "mpeg4")


def picture():
    return ffmpeg("picture.png", *PICTURES, "-frames:v", "1")


def cut(name, source, part):
    """The first part (0..1) of a file."""
    data = source.read_bytes()
    return written(name, data[:int(len(data) * part)])


def written(name, data):
    path = FOLDER / name
    path.write_bytes(data)
    return path


class Gguf:
    """Places of numbers in a weight file.

    keys: name -> type, place of the value; tensors: name -> place of n_dims, dims, (type, offset, place of these two).
    """

    SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def __init__(self, data):
        self.data, self.at = data, 0
        self.take("<4sI")
        n_tensors, n_keys = self.take("<QQ")
        self.keys = {self.text(): self.value() for _ in range(n_keys)}
        self.tensors = dict(self.tensor() for _ in range(n_tensors))

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values

    def text(self):
        n = self.take("<Q")[0]
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def value(self):
        kind = self.take("<I")[0]
        place = self.at
        self.skip(kind)
        return kind, place

    def skip(self, kind):
        if kind == 8:
            self.text()
        elif kind == 9:
            element, count = self.take("<IQ")
            for _ in range(count):
                self.skip(element)
        else:
            self.at += self.SIZES[kind]

    def tensor(self):
        name, place = self.text(), self.at
        n_dims = self.take("<I")[0]
        dims = self.take(f"<{n_dims}Q")
        kind, offset = self.take("<IQ")
        return name, (place, dims, (kind, offset, self.at - 12))


def broken(name, *changes):
    """A weight file with bytes replaced: changes are (place, struct format, value)."""
    data = bytearray(weights().read_bytes())
    for place, form, value in changes:
        struct.pack_into(form, data, place, value)
    return written(name, data)


def layout():
    return Gguf(weights().read_bytes())
