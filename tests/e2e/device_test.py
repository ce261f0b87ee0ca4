#!/usr/bin/env python3
"""
device_test.py - --device: a GPU where there is one, else the processor and one line that says why.

    device_test.py [unittest arguments]        VIDRUN=build/vidrun: the program

The kernels of the GPU run on this processor (libvidrun_simt.so beside the program: tests/simt), or where VIDRUN_CUDA_LIBRARY says.
"""
import csv
import json
import os
import pathlib
import subprocess
import unittest

import material
import speech_test
import stock
import text_model_test
import videochat_clips_test
from material import ROOT, Program, run

GREEDY = ("--temp", "0", "-n", "4", "--frames", "1", "--precision", "f32")
QUESTION = "What is in the video?"
SIMT = str(pathlib.Path(material.PROGRAM).resolve().parent / "libvidrun_simt.so")
GPU = os.environ.get("VIDRUN_CUDA_LIBRARY") or SIMT


# A library of this build, or of another, whose driver fails as one that is too old does.
LIBRARY = """#include <stdio.h>
#include "kernels/cuda/library.h"
unsigned vr_cuda_library_version(void)
{
    return VR_CUDA_VERSION + ANOTHER;
}
int vr_cuda_library_open(vr_backend **out, const vr_cuda_options *options, vr_err *e)
{
    (void)out, (void)options;
    e->code = VR_ERR_USAGE;
    snprintf(e->text, sizeof e->text, "no CUDA device can be used: CUDA driver version is insufficient");
    return e->code;
}
"""


def library(another):
    path = material.FOLDER / f"library{another}.so"
    source = material.written("library.c", LIBRARY.encode())
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, "-shared", "-fPIC", "-std=c11", "-D_POSIX_C_SOURCE=200809L", f"-DANOTHER={another}", f"-I{ROOT}",
                    f"-I{ROOT}/src", source, "-o", path], check=True)
    return dict(VIDRUN_CUDA_LIBRARY=str(path))


class Plain(Program):
    """The program itself knows nothing of CUDA."""

    def test_libraries_and_size(self):
        sections = subprocess.run(["readelf", "-dW", material.PROGRAM], capture_output=True, text=True, check=True).stdout
        needed = [line.split("[")[1].rstrip("]") for line in sections.splitlines() if "(NEEDED)" in line]
        self.assertIn("libc.so.6", needed)
        self.assertEqual([name for name in needed if any(part in name for part in ("cuda", "cublas", "nv", "stdc++"))], [])
        if any("asan" in name or "tsan" in name for name in needed):
            return
        text = subprocess.run(["size", material.PROGRAM], capture_output=True, text=True, check=True).stdout.splitlines()[1]
        self.assertLess(int(text.split()[0]), 2 << 20)  # 1.1 MB of code and tables

    def test_a_driver_that_fails(self):
        why = "no CUDA device can be used: CUDA driver version is insufficient"
        broken = library(0)
        result = self.answer(*GREEDY, "--device", "auto", QUESTION, **broken)
        self.assertEqual(result.err.count(f"computing on the processor: {why}"), 1)
        self.assertEqual(result.out, self.answer(*GREEDY, "--device", "cpu", QUESTION).out)
        self.refused_like(run(*GREEDY, "--device", "cuda", self.weights, self.clip, QUESTION, **broken), 2, why)

    def test_a_library_of_another_build(self):
        self.refused_like(run(*GREEDY, "--device", "cuda", self.weights, self.clip, QUESTION, **library(1)), 2,
                          ".*library1.so belongs to another build of this program")


class Bench(Program):
    """vidrun-bench --device cuda."""

    def bench(self, *arguments, **variables):
        program = pathlib.Path(material.PROGRAM).parent / "vidrun-bench"
        if not program.exists():
            self.skipTest("vidrun-bench is not built")
        done = subprocess.run([program, "--device", "cuda", *map(str, arguments)], capture_output=True, text=True,
                              timeout=material.SECONDS, env={**os.environ, **variables})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def test_every_line(self):
        """Over the shim: all of it runs, and no line could be taken for a measurement."""
        if not os.path.exists(SIMT):
            self.skipTest("libvidrun_simt.so is not built")
        done = self.bench("--csv", "--rounds", 1, "--seconds", 100, "--weights", self.weights, VIDRUN_CUDA_LIBRARY=SIMT)
        lines = list(csv.DictReader(done.stdout.splitlines()))
        families = {line["bench"] for line in lines}
        self.assertEqual(families, {"linear", "attention", "rms_norm", "layer_norm", "prune", "gram", "best", "prefill", "decode"})
        self.assertEqual({line["level"] for line in lines}, {"simt"})
        for line in lines:
            self.assertGreater(float(line["ms"]), 0, line)
            self.assertGreater(float(line["floor_ms"]), 0, line)
        self.assertGreater(float(lines[-1]["units_s"]), 0)
        self.assertIn("small sizes, no measurement", done.stderr)

    def test_no_device(self):
        done = self.bench(VIDRUN_CUDA_LIBRARY="/nowhere/libvidrun_cuda.so")
        self.assertEqual(done.stdout, "")
        self.assertIn("SKIP device: the CUDA backend cannot be loaded: /nowhere/libvidrun_cuda.so", done.stderr)


class Devices(Program):
    def test_the_kernels_of_a_gpu_say_the_same(self):
        if not os.path.exists(GPU):
            self.skipTest(f"{GPU} is not built")
        result = self.answer(*GREEDY, "--device", "cuda", "-v", QUESTION, VIDRUN_CUDA_LIBRARY=GPU)
        self.assertRegex(result.err, r"products at level cuda:0 \(.+\)")
        self.assertEqual(result.out, self.answer(*GREEDY, "--device", "cpu", QUESTION).out)

    def compare(self, *arguments, **more):
        """stdout of a run by the kernels of a GPU, whose memory the host cannot reach, and by the processor."""
        if not os.path.exists(GPU):
            self.skipTest(f"{GPU} is not built")
        gpu = run("--device", "cuda", *arguments, VIDRUN_CUDA_LIBRARY=GPU, VIDRUN_SIMT_GUARD="1", **more)
        cpu = run("--device", "cpu", *arguments, **more)
        self.assertEqual((gpu.code, cpu.code), (0, 0), gpu.err + cpu.err)
        return gpu, cpu

    def test_tokens_are_drawn_the_same(self):
        """From the few best logits, from all of them, and where neither is enough by itself."""
        for options in (("--temp=0.7", "--top-k=20"), ("--temp=1", "--top-k=0", "--top-p=0.9"), ("--temp=1", "--top-k=63"),
                        ("--temp=0", "--repetition-penalty=1.3")):
            with self.subTest(options):
                gpu, cpu = self.compare("-n4", "-s5", "--frames=1", "--precision=f32", *options, self.weights, self.clip, QUESTION)
                self.assertEqual(gpu.out, cpu.out)

    def test_a_stock_text_model(self):
        """Whole numbers and blocks of stock types."""
        for quantised in (False, True):
            path = stock.make(text_model_test.exact(), f"text{int(quantised)}.gguf", quantised=quantised)
            gpu, cpu = self.compare("--text", "--temp=0", "-n4", "--precision=f32", path, "The cat sat.")
            self.assertEqual(gpu.out, cpu.out)

    def test_speech(self):
        """Language, ids and times of what is heard."""
        weights, sound = speech_test.weights(), speech_test.tones("short_tones.flac", "-t", "1.6", "-sample_fmt", "s16")
        for precision in ("f32", "auto"):
            results = self.compare("--transcribe", "--json", "-t1", "--precision", precision, weights, sound)
            gpu, cpu = (json.loads(result.out) for result in results)
            self.assertEqual(gpu["language"], cpu["language"])
            self.assertEqual(*([(s["ids"], s["start"], s["end"], s["temperature"]) for s in r["segments"]] for r in (gpu, cpu)))
            self.assertGreater(len(cpu["segments"]), 1)

    def test_a_video_as_text(self):
        """Captions, speech and two answers from the text."""
        results = self.compare("--mode=text", "--show-text", "--speech", speech_test.weights(), "--temp", "0", "-n", "4", "-t1",
                               "--precision", "f32", "--json", videochat_clips_test.weights(), material.clip(),
                               stdin=b"What?\nWhy?\n")
        turns = [[json.loads(line) for line in result.out.splitlines()] for result in results]
        self.assertEqual(*([(t["answer"], t["ids"]) for t in r] for r in turns))
        told = [[line for line in result.err.splitlines() if "second:" in line] for result in results]
        self.assertEqual(*told)
        self.assertGreater(len(told[0]), 1)

    def test_too_little_memory_is_told_before_the_work(self):
        if not os.path.exists(SIMT):
            self.skipTest("libvidrun_simt.so is not built")
        result = run(*GREEDY, "--device", "cuda", self.weights, self.clip, QUESTION, VIDRUN_CUDA_LIBRARY=SIMT,
                     VIDRUN_SIMT_MEMORY="1")
        self.assertEqual((result.code, result.out), (5, ""))
        self.assertRegex(result.err, r"cuda:0 .*: \d+ MB of weights and \d+ MB of working memory are needed, 1 of 1 MB are free")
        self.assertNotIn("vision", result.err)

    def test_no_library(self):
        missing = dict(VIDRUN_CUDA_LIBRARY="/nowhere/libvidrun_cuda.so")
        result = run(*GREEDY, "--device", "cuda", self.weights, self.clip, QUESTION, **missing)
        self.assertEqual((result.code, result.out), (2, ""))
        self.assertIn("the CUDA backend cannot be loaded: /nowhere/libvidrun_cuda.so", result.err)
        plain = self.answer(*GREEDY, "--device", "cpu", QUESTION)
        self.assertEqual(self.answer(*GREEDY, "--device", "auto", QUESTION, **missing).out, plain.out)

    def test_a_broken_library_takes_one_line(self):
        broken = dict(VIDRUN_CUDA_LIBRARY=str(material.written("broken.so", b"no library")))
        result = self.answer(*GREEDY, "--device", "auto", QUESTION, **broken)
        self.assertEqual(result.err.count("computing on the processor: the CUDA backend cannot be loaded"), 1)
        self.assertEqual(result.out, self.answer(*GREEDY, "--device", "cpu", QUESTION).out)

    def test_names(self):
        for name in ("gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:123456", "CUDA"):
            result = run("--device", name, self.weights, self.clip, QUESTION)
            self.assertEqual((result.code, result.out), (2, ""), name)
            self.assertIn(f"'{name}' is none of auto, cpu, cuda, cuda:N", result.err)


if __name__ == "__main__":
    unittest.main()
