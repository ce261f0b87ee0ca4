#!/usr/bin/env python3
"""
device_test.py - --device: a GPU where there is one, else the processor and one line that says why.

    device_test.py [unittest arguments]        VIDRUN=build/vidrun: the program

The kernels of the GPU run on this processor (libvidrun_simt.so beside the program: tests/simt).
"""
import json
import os
import pathlib
import unittest

import material
import speech_test
import videochat_clips_test
from material import Program, run

GREEDY = ("--temp", "0", "-n", "4", "--frames", "1", "--precision", "f32")
QUESTION = "What is in the video?"
SIMT = str(pathlib.Path(material.PROGRAM).resolve().parent / "libvidrun_simt.so")


class Devices(Program):
    def test_the_kernels_of_a_gpu_say_the_same(self):
        if not os.path.exists(SIMT):
            self.skipTest("libvidrun_simt.so is not built")
        result = self.answer(*GREEDY, "--device", "cuda", "-v", QUESTION, VIDRUN_CUDA_LIBRARY=SIMT)
        self.assertIn("products at level cuda:0 (SIMT on this processor)", result.err)
        self.assertEqual(result.out, self.answer(*GREEDY, "--device", "cpu", QUESTION).out)

    def compare(self, *arguments, **more):
        """stdout of a run by the kernels of a GPU, whose memory the host cannot reach, and by the processor."""
        if not os.path.exists(SIMT):
            self.skipTest("libvidrun_simt.so is not built")
        gpu = run("--device", "cuda", *arguments, VIDRUN_CUDA_LIBRARY=SIMT, VIDRUN_SIMT_GUARD="1", **more)
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
