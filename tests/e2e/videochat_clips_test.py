#!/usr/bin/env python3
"""
videochat_clips_test.py - VideoChat in the program: frames, real clips, a clip as text (--mode text).

  tests/parity/videochat_weights.py -> small random checkpoint -> convert.py -> weights
"""
import json
import pathlib
import subprocess
import sys
import unittest

import material
from material import ROOT, run

sys.path.insert(0, str(ROOT / "tests/parity"))

GREEDY = ("--temp", "0", "-n", "8", "-t1")


def weights():
    path = material.FOLDER / "videochat.bin"
    if path.exists():
        return path
    import case_weights
    import make_case
    import text_reference
    import videochat_plans
    import videochat_weights
    folder, size = material.FOLDER / "videochat", dict(videochat_plans.check_plans()[0]["size"])
    folder.mkdir()
    videochat_weights.write(folder, 1, size)
    files = make_case.tokenizer_files("vicuna")
    (folder / "llm").mkdir()
    for name, raw in files.items():
        (folder / "llm" / name).write_bytes(raw)
    types = text_reference.Tokenizer(folder / "llm").types
    size |= {"vocab": len(types), "unlikely": [i for i, t in enumerate(types) if t != text_reference.NORMAL]}
    case_weights.write_llama(folder / "llm", 1, size, files, "bin", 2)
    subprocess.run([material.PYTHON, ROOT / "tools/convert/convert.py", folder, "-o", path], check=True, capture_output=True)
    return path


def long_clip():
    """130 s, a second a frame."""
    return material.ffmpeg("long.mp4", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=1:duration=130", "-c:v", "mpeg4")


class VideoChat(material.Program):
    @classmethod
    def setUpClass(cls):
        cls.weights, cls.clip = weights(), material.clip()

    def turns(self, *arguments, clip=None, questions=("What?",)):
        """JSON of the turns, and what was told."""
        lines = "".join(question + "\n" for question in questions).encode()
        result = run(*GREEDY, "--json", *arguments, self.weights, clip or self.clip, stdin=lines)
        self.assertEqual(result.code, 0, result.err)
        return [json.loads(line) for line in result.out.splitlines()], result.err

    def told(self, *arguments, clip):
        """Turns and lines of the text."""
        turns, err = self.turns("--mode=text", "--show-text", *arguments, clip=clip, questions=("What?", "Why?"))
        return turns, [line for line in err.splitlines() if "second:" in line]


class Frames(VideoChat):
    def test_numbers_of_frames(self):
        """Always as many as asked for; the rows stay 96."""
        for n in (1, 8, 64, 256):
            with self.subTest(n=n):
                (turn,), _ = self.turns("--frames", n)
                plan = turn["plan"]
                self.assertEqual((plan["frames"], plan["video_rows"], len(plan["frame_indices"])), (n, 96, n))
        self.refused(run(*GREEDY, "--frames=257", self.weights, self.clip, "What?"), 2,
                     f"option --frames: 257 is more than the 256 that {self.weights} takes")

    def test_memory_is_planned(self):
        """The plan of 64 frames holds: nothing is taken that was not counted."""
        result = run("--estimate", "--json", "--frames=64", self.weights, self.clip, "What?")
        small = run("--estimate", "--json", self.weights, self.clip, "What?")
        self.assertGreater(json.loads(result.out)["plan"]["scratch_bytes"], json.loads(small.out)["plan"]["scratch_bytes"])

    def test_real_clips(self):
        folder = material.SHARED / "media"
        clips = sorted(folder.glob("*.mp4")) if folder.is_dir() else []
        if not clips:
            self.skipTest(f"no clips in {folder}")
        for clip in clips:
            with self.subTest(clip=clip.name):
                (turn,), _ = self.turns(clip=clip)
                self.assertGreater(turn["ids"]["answer"], 0)


class Text(VideoChat):
    def test_pieces_of_a_minute_at_most(self):
        turns, lines = self.told(clip=long_clip())
        self.assertEqual([line.split(":")[0] for line in lines], ["0-43second", "43-86second", "86-130second"])
        self.assertGreater(turns[1]["ids"]["reused"], turns[0]["ids"]["prompt"] - 10)  # the text is not read again
        self.assertEqual(turns[0]["ids"]["dropped"], 0)

    def test_a_short_clip_is_one_piece(self):
        turns, lines = self.told(clip=self.clip)
        self.assertEqual(len(lines), 1)
        self.assertTrue(lines[0].startswith("0-2second: "))
        self.assertEqual(turns, [turn | {"timings": mine["timings"]} for turn, mine in zip(self.told(clip=self.clip)[0], turns)])

    def test_the_text_is_the_same_whatever_is_drawn(self):
        texts = [self.told("--temp=1.5", f"--seed={seed}", clip=long_clip())[1] for seed in (1, 2)]
        self.assertEqual(*texts)
        self.assertEqual(texts[0], self.told("-t2", clip=long_clip())[1])

    def test_a_text_that_is_too_long_is_summarised(self):
        whole, _ = self.told(clip=long_clip())
        result = run("--mode=text", "-v", "--json", "--temp=0", "-t1", "-n1530", self.weights, long_clip(), "What?")
        self.assertEqual(result.code, 0, result.err)
        turn = json.loads(result.out)
        self.assertLess(turn["ids"]["prompt"], whole[0]["ids"]["prompt"])
        self.assertLessEqual(turn["ids"]["prompt"] + 1530, turn["plan"]["context"])

    def test_no_room(self):
        self.refused_like(run("--mode=text", "--temp=0", "-n1840", self.weights, long_clip(), "What?"), 5,
                          r"the context leaves \d+ tokens for a description, \d+ are needed")

    def test_speech(self):
        """What --transcribe hears stands in the text, in the form of the original's branch."""
        import speech_test
        whisper = speech_test.weights()
        clip = material.ffmpeg("spoken.mkv", *speech_test.PICTURES, "-f", "lavfi", "-i", speech_test.TONES, "-c:v", "mpeg4", "-c:a",
                               "flac", "-shortest")
        heard = json.loads(run("--transcribe", "--json", "-t1", whisper, clip).out)["segments"]
        self.assertTrue(heard)
        result = run(*GREEDY, "--mode=text", "--show-text", f"--speech={whisper}", self.weights, clip, "What?")
        self.assertEqual(result.code, 0, result.err)
        head, found = "The subtitile of the video is:\n", heard[0]
        told = result.err[result.err.index(head) + len(head):]
        self.assertTrue(told.startswith(f"{int(found['start'])}-{int(found['end'])}second: "), told[:80])

    def test_a_clip_without_sound(self):
        import speech_test
        result = run(*GREEDY, "--mode=text", f"--speech={speech_test.weights()}", self.weights, material.silent_clip(), "What?")
        self.assertEqual(result.code, 0, result.err)
        self.assertIn("nothing is heard: ", result.err)

    def test_refusals(self):
        other = material.weights()
        for arguments, code, message in (
                (("--show-text", self.weights, self.clip, "?"), 2, "option --show-text needs --mode text"),
                (("--speech=x", self.weights, self.clip, "?"), 2, "option --speech needs --mode text"),
                (("--mode=text", "--image", self.weights, self.clip, "?"), 2, "options --mode and --image exclude each other"),
                (("--mode=text", "--stream", self.weights, self.clip, "?"), 2, "options --mode and --stream exclude each other"),
                (("--mode=text", self.weights, material.picture(), "?"), 2, "a picture is looked at, not told as text"),
                (("--mode=text", other, self.clip, "?"), 2,
                 f"option --mode: {other} is of the system video-llama, which cannot tell a video as text")):
            with self.subTest(message=message):
                self.refused(run(*arguments), code, message)
        self.refused_like(run("--mode=text", "--speech=nowhere.bin", self.weights, self.clip, "?"), 3, r"nowhere\.bin: .*")
        self.refused_like(run("--mode=text", f"--speech={self.weights}", self.weights, self.clip, "?"), 3, ".*")


if __name__ == "__main__":
    unittest.main()
