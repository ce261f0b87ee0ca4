#!/usr/bin/env python3
"""
device_limits_test.py - a GPU that takes only a part of the decoder, one that is too small, too old, or that goes away.

    device_limits_test.py [unittest arguments]        VIDRUN=build/vidrun: the program

The kernels of the GPU run on this processor (libvidrun_simt.so beside the program: tests/simt), whose memory and failures are
what the environment says: VIDRUN_SIMT_MEMORY in MB, VIDRUN_SIMT_FAIL="CALL CODE".
"""
import json
import os
import pathlib
import unittest

import material
import paired_stream_test
import speech_test
import stream_test
import videochat_clips_test
from material import Program, run

GREEDY = ("--temp", "0", "-n", "4", "--frames", "1", "--precision", "f32")
QUESTION = "What is in the video?"
SIMT = str(pathlib.Path(material.PROGRAM).resolve().parent / "libvidrun_simt.so")
MEGABYTE = 1 << 20
TOO_OLD, ECC, LOST = 35, 214, 719  # errors of CUDA


class Limits(Program):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not os.path.exists(SIMT):
            raise unittest.SkipTest("libvidrun_simt.so is not built")
        cls.told = cls.on_gpu("--estimate", "--json")
        cls.plain = run(*GREEDY, cls.weights, cls.clip, QUESTION, VIDRUN_DEVICE="cpu").out

    @classmethod
    def on_gpu(cls, *arguments, **variables):
        result = run(*GREEDY, "--device", "cuda", *arguments, cls.weights, cls.clip, QUESTION, VIDRUN_CUDA_LIBRARY=SIMT,
                     **variables)
        if "--json" not in arguments:
            return result
        if result.code != 0:
            raise AssertionError(result.err)
        return json.loads(result.out)["plan"]

    def needed(self, layers):
        """MB that the device needs for so many layers."""
        return self.on_gpu("--estimate", "--json", "--gpu-layers", str(layers))["device_bytes"] / MEGABYTE


class Layers(Limits):
    def test_all_fit(self):
        self.assertGreater(self.told["layers"], 1)
        self.assertEqual(self.told["device_layers"], self.told["layers"])
        self.assertEqual(self.told["fitting_layers"], self.told["layers"])
        self.assertIn("SIMT", self.told["device"])
        self.assertLess(self.told["device_bytes"], self.told["device_free_bytes"])
        table = self.on_gpu("--estimate").out
        self.assertRegex(table, r"on cuda:0 \(SIMT on this processor\)\ndecoder layers +\d+\nlayers there +\d+\nlayers that fit +\d+\n"
                                r"needed there +[\d.]+ MiB\nfree there +[\d.]+ MiB\n$")

    def test_every_number_of_layers_says_the_same(self):
        for layers in ("0", "1", "auto", "999"):
            result = self.on_gpu("--gpu-layers", layers)
            self.assertEqual((result.code, result.out), (0, self.plain), result.err)
            self.assertNotIn("layers fit", result.err)

    def test_more_layers_need_more(self):
        needed = [self.needed(n) for n in range(self.told["layers"] + 1)]
        self.assertEqual(needed, sorted(set(needed)))
        self.assertEqual(needed[-1], self.told["device_bytes"] / MEGABYTE)

    def test_as_many_as_fit(self):
        small = dict(VIDRUN_SIMT_MEMORY=str((self.needed(1) + self.needed(2)) / 2))
        plan = self.on_gpu("--estimate", "--json", **small)
        self.assertEqual((plan["fitting_layers"], plan["device_layers"]), (1, 1))
        result = self.on_gpu(**small)
        self.assertEqual((result.code, result.out), (0, self.plain), result.err)
        line = f"1 of the decoder's {self.told['layers']} layers fit; the processor computes the others"
        self.assertEqual(result.err.count(line), 1)

    def test_what_was_asked_for_does_not_fit(self):
        result = self.on_gpu("--gpu-layers", "2", VIDRUN_SIMT_MEMORY=str((self.needed(1) + self.needed(2)) / 2))
        self.assertEqual((result.code, result.out), (5, ""))
        self.assertIn(f"1 of the decoder's {self.told['layers']} layers would fit: --gpu-layers 1", result.err)
        self.assertNotIn("vision", result.err)

    def test_not_even_the_towers_fit(self):
        small = dict(VIDRUN_SIMT_MEMORY=str(0.9 * self.needed(0)))
        for arguments in ((), ("--gpu-layers", "0")):
            result = self.on_gpu(*arguments, **small)
            self.assertEqual((result.code, result.out), (5, ""))
            self.assertIn("--device cpu computes on the processor", result.err)

    def test_what_is_estimated_suffices(self):
        for layers in (0, 1):
            enough = self.needed(layers) + 0.01
            result = self.on_gpu("--gpu-layers", str(layers), VIDRUN_SIMT_MEMORY=str(enough))
            self.assertEqual((result.code, result.out), (0, self.plain), result.err)

    def test_a_second_clip_keeps_the_layers(self):
        other = material.silent_clip()
        lines = f"{QUESTION}\n/video {other}\n{QUESTION}\n".encode()
        both = [run(*GREEDY, *device, self.weights, self.clip, stdin=lines, VIDRUN_CUDA_LIBRARY=SIMT).out
                for device in (("--device", "cpu"), ("--device", "cuda", "--gpu-layers", "1"))]
        self.assertEqual(both[0], both[1])

    def test_graphs_and_plain_launches_say_the_same(self):
        for layers in ("1", "auto"):
            plain = self.on_gpu("--gpu-layers", layers, VIDRUN_CUDA_GRAPHS="0")
            self.assertEqual((plain.code, plain.out), (0, self.plain), plain.err)

    def test_numbers(self):
        for number in ("x", "-1", "1.5", "", "12345678"):
            result = self.on_gpu(f"--gpu-layers={number}")
            self.assertEqual((result.code, result.out), (2, ""), number)
            self.assertIn(f"option --gpu-layers: '{number}' is neither auto nor a number of layers", result.err)


class Counted(unittest.TestCase):
    """What is told before the work suffices for it, to the byte, in every system: what towers, compression and decoder take for
    themselves is counted, and what is not counted fails the run in its middle."""

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(SIMT):
            raise unittest.SkipTest("libvidrun_simt.so is not built")

    def gpu(self, arguments, n_bytes=None):
        memory = {} if n_bytes is None else dict(VIDRUN_SIMT_MEMORY=repr(n_bytes / MEGABYTE))
        return run("--device", "cuda", "--temp", "0", "-t1", *arguments, VIDRUN_CUDA_LIBRARY=SIMT, **memory)

    def check(self, *arguments):
        with self.subTest(arguments=arguments):
            arguments = ("-n", "3", "--gpu-layers", "999", *arguments)
            told = self.gpu(("--estimate", "--json", *arguments))
            self.assertEqual(told.code, 0, told.err)
            needed = json.loads(told.out.splitlines()[-1])["plan"]["device_bytes"]
            self.assertEqual(self.gpu(arguments, needed - MEGABYTE / 64).code, 5)
            enough = self.gpu(arguments, needed + 4096)
            self.assertEqual(enough.code, 0, enough.err)

    def test_systems(self):
        """Products in bf16 are slow on this processor: one frame, and the two largest models in f32."""
        clip = material.clip()
        for path in (material.weights(), stream_test.weights("flash"), paired_stream_test.weights(), videochat_clips_test.weights()):
            self.check("--frames", "1", path, clip, QUESTION)
        for frames, path in ((1, material.weights()), (1, material.weights("longvu-llama")), (8, stream_test.weights("lamb"))):
            self.check("--frames", str(frames), "--precision", "f32", path, clip, QUESTION)

    def test_streams(self):
        for path in (stream_test.weights("flash"), paired_stream_test.weights()):
            self.check("--stream", "--fps", "1", path, material.clip(), QUESTION)
        self.check("--stream", "--fps", "1", "--captions", "off", "--precision", "f32", stream_test.weights("lamb"), material.clip(),
                   QUESTION)

    def test_speech(self):
        """Here nothing tells a number: with the least memory that is not refused it must be done."""
        sound = speech_test.tones("short_tones.flac", "-t", "1.6", "-sample_fmt", "s16")
        arguments, low, high = ("--transcribe", speech_test.weights(), sound), 0, 16 * MEGABYTE
        plenty = self.gpu(arguments)
        while high - low > 65536:
            tried = self.gpu(arguments, (low + high) // 2)
            self.assertIn(tried.code, (0, 5), tried.err)
            if tried.code == 5:
                self.assertIn("of working memory are needed", tried.err)
            else:
                self.assertEqual(tried.out, plenty.out)
            low, high = (low, (low + high) // 2) if tried.code == 0 else ((low + high) // 2, high)


class Failures(Limits):
    def test_the_driver_is_too_old(self):
        fail = dict(VIDRUN_SIMT_FAIL=f"1 {TOO_OLD}")
        result = self.on_gpu(**fail)
        self.refused_like(result, 1, r"no CUDA device can be used: CUDA driver version is insufficient for CUDA runtime version "
                                     r"\(driver: CUDA 11\.4, this library: 13\.0\)")
        result = run(*GREEDY, "--device", "auto", self.weights, self.clip, QUESTION, VIDRUN_CUDA_LIBRARY=SIMT, **fail)
        self.assertEqual((result.code, result.out), (0, self.plain))
        self.assertEqual(result.err.count("computing on the processor: no CUDA device can be used: CUDA driver version"), 1)

    def test_the_device_goes_away(self):
        """At any of its calls: one line with the cause, exit 1, and nothing on standard output that is no answer."""
        for code, cause in ((LOST, "unspecified launch failure"), (ECC, "uncorrectable ECC error")):
            failed, call = 0, 2
            while True:
                result = self.on_gpu(VIDRUN_SIMT_FAIL=f"{call} {code}")
                if result.code == 0:
                    break
                self.assertEqual(result.code, 1, (call, result.err))
                self.assertRegex(result.err.splitlines()[-1], rf"^vidrun: .*{cause}", call)
                self.assertEqual(len([line for line in result.err.splitlines() if cause in line]), 1, (call, result.err))
                self.assertTrue(self.plain.startswith(result.out.rstrip("\n")), (call, result.out))
                failed, call = failed + 1, call * 3 if code == LOST else call * 9
            self.assertGreater(failed, 2)

    def test_the_device_goes_away_beside_the_processor(self):
        result = self.on_gpu("--gpu-layers", "1", VIDRUN_SIMT_FAIL=f"300 {LOST}")
        self.assertEqual((result.code, result.out), (1, ""), result.err)
        self.assertIn("unspecified launch failure", result.err)


if __name__ == "__main__":
    unittest.main()
