#!/usr/bin/env python3
"""
picture_test.py - --picture: the sheet that is drawn, against the numbers that --json tells of the same run.

    vidrun --json --picture sheet.png -> ffmpeg -> pixels; where cell i lies: the layout of few frames (src/cli/sheet_layout.c)
"""
import json
import subprocess
import unittest

import material
from material import Program, run

GREEDY = ("--temp", "0", "-n", "4")
QUESTION = "What is in the video?"
WHITE = bytes((255, 255, 255))


class Sheet:
    """Pixels of a PNG file."""

    def __init__(self, path):
        size = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0", path],
                              check=True, capture_output=True, text=True).stdout
        self.width, self.height = map(int, size.strip().split(","))
        self.rgb = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], check=True,
                                  capture_output=True).stdout

    def pixel(self, x, y):
        at = 3 * (y * self.width + x)
        return self.rgb[at:at + 3]

    def first_line(self):
        """The first line of pixels that the border of a frame begins: 30 pixels of one colour that is not white, from the left."""
        for y in range(self.height):
            for x in range(40):
                if self.pixel(x, y) != WHITE:
                    if all(self.pixel(x + i, y) == self.pixel(x, y) for i in range(30)):
                        return x, y
                    break
        raise AssertionError("no frame was drawn")


class Pictures(Program):
    def draw(self, weights, video, *options):
        path = material.FOLDER / "sheet.png"
        path.unlink(missing_ok=True)
        result = run(*GREEDY, "--json", "--picture", path, *options, weights, video, QUESTION)
        self.assertEqual(result.code, 0, result.err)
        self.assertFalse(path.with_name("sheet.png.part").exists())
        return Sheet(path), json.loads(result.out)

    def test_eight_frames(self):
        sheet, record = self.draw(self.weights, self.clip)
        self.assertEqual(record["facts"]["frames_kept"], list(range(8)))
        self.assertEqual(len(sheet.rgb), 3 * sheet.width * sheet.height)
        self.assertLessEqual(sheet.width, 1600)
        x, y = sheet.first_line()
        self.assertEqual(sheet.pixel(x, y), bytes((60, 150, 80)))  # kept

    def test_dropped_frames_are_grey(self):
        weights = material.weights("longvu-qwen")
        video = material.ffmpeg("red.mp4", "-f", "lavfi", "-i", "color=red:size=320x240:rate=10:duration=4", "-pix_fmt", "yuv420p")
        sheet, record = self.draw(weights, video, "--frames", "36")
        kept = record["facts"]["frames_kept"]
        self.assertTrue(0 < len(kept) < 36, kept)
        self.assertEqual(record["facts"]["steps"][0], {"step": "select", "before": 36, "after": len(kept), "unit": "frames"})
        self.assertEqual(sum(record["facts"]["frame_tokens"]), record["facts"]["tokens"])
        x, y = sheet.first_line()
        for column in range(5):  # of the first line of frames
            red, green, blue = sheet.pixel(x + 40 + column * (sheet.width - x) // 8, y + 20)
            self.assertEqual(red, green)
            self.assertEqual(green, blue)
        reds = sum(1 for i in range(0, len(sheet.rgb), 3 * 17) if sheet.rgb[i] > 200 and sheet.rgb[i + 1] < 60)
        self.assertGreater(reds, 0)

    def test_a_picture_that_cannot_be_written(self):
        good = self.answer(*GREEDY, QUESTION)
        result = run(*GREEDY, "-q", "--picture", "/dev/full", self.weights, self.clip, QUESTION)
        self.assertEqual((result.code, result.out), (1, good.out))
        self.assertEqual(result.err, "vidrun: /dev/full: cannot be written: No space left on device\n")

    def test_a_picture_is_refused_before_the_work(self):
        for path, why in (("/nowhere/sheet.png", "/nowhere/sheet.png.part: cannot be written: No such file or directory"),
                          (material.FOLDER, f"{material.FOLDER}: cannot be written: Is a directory")):
            self.refused(run("--picture", path, "no-weights.bin", self.clip, QUESTION), 1, why)

    def test_a_picture_larger_than_files_may_be(self):
        path = material.FOLDER / "large.png"
        command = ["sh", "-c", 'ulimit -f 2; exec "$@"', "sh", material.PROGRAM, *GREEDY, "-q", "--picture", path]
        done = subprocess.run([*command, self.weights, self.clip, QUESTION], capture_output=True, text=True,
                              timeout=material.SECONDS)
        self.assertEqual((done.returncode, done.stderr), (1, f"vidrun: {path}: cannot be written: File too large\n"))
        self.assertEqual(list(material.FOLDER.glob("large.png*")), [])

    def test_what_is_read_is_not_overwritten(self):
        before, other = self.clip.read_bytes(), material.FOLDER / "other-name.mp4"
        other.unlink(missing_ok=True)
        other.symlink_to(self.clip)
        for options in (("--picture", other), ("--stream", "--srt", other), ("--transcribe", "--vtt", other)):
            question = (QUESTION,) if options[0] == "--picture" else ()
            self.refused(run(*options, self.weights, self.clip, *question), 2,
                         f"option {options[-2]}: '{other}' is the file of VIDEO, too")
        self.refused(run("--stream", "--srt", "/nowhere/a", "--vtt", "/nowhere/a", self.weights, self.clip), 2,
                     "option --srt: '/nowhere/a' is the file of option --vtt, too")
        self.assertEqual(self.clip.read_bytes(), before)
        self.assertTrue(other.is_symlink())

    def test_an_empty_name(self):
        self.refused(run("--picture=", self.weights, self.clip, QUESTION), 2, "option --picture: the file's name is empty")


if __name__ == "__main__":
    unittest.main()
