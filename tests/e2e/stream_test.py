#!/usr/bin/env python3
"""
stream_test.py - streams as their user has them: files and pipes, questions by time and frame, captions, bad input, Ctrl-C.

    stream_test.py [unittest arguments]        VIDRUN=build/vidrun: the program

Weights are the converter's small checkpoints (tests/convert/synthetic_*.py): what they answer means nothing, when does.
"""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

import material
from terminal_test import Terminal

sys.path.append(str(material.ROOT / "tests/convert"))

GREEDY = ("--temp", "0", "-n", "4", "-t1")
PICTURES = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=10:duration=12")


def weights(name):
    """Path of a small weight file: "flash" has no captions, "lamb" has."""
    path = material.FOLDER / f"{name}.bin"
    if path.exists():
        return path
    try:
        import synthetic_flash_vstream
        import synthetic_videollamb
    except ImportError as e:
        raise unittest.SkipTest(f"no numpy here: {e}")
    root = material.FOLDER / name
    root.mkdir()
    if name == "flash":
        synthetic_flash_vstream.write_llava(str(root))
    else:
        synthetic_videollamb.write(str(root), "a")
    subprocess.run([material.PYTHON, material.ROOT / "tools/convert/convert.py", root, "-o", path], check=True,
                   capture_output=True)
    return path


def lines_of(text):
    """Answers hold characters that splitlines() takes for ends of lines."""
    return text.rstrip("\n").split("\n")


def clip():
    """120 frames in 12 s."""
    return material.ffmpeg("stream.mkv", *PICTURES, "-c:v", "mpeg4", "-g", "10")


def transport(name, size, seconds):
    return material.ffmpeg(name, "-f", "lavfi", "-i", f"testsrc=size={size}:rate=10:duration={seconds}", "-c:v", "mpeg2video",
                           "-f", "mpegts").read_bytes()


def start(*arguments, **more):
    return subprocess.Popen([material.PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


class Stream(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.weights, cls.clip = weights("flash"), clip()

    def run_stream(self, *arguments, video=None, weights=None, **more):
        return material.run(*GREEDY, "--stream", *arguments, weights or self.weights, video or self.clip, **more)

    def events(self, *arguments, **more):
        """Events of a run that must succeed: its answers and captions, its end."""
        result = self.run_stream("--json", *arguments, **more)
        self.assertEqual(result.code, 0, result.err)
        events = [json.loads(line) for line in lines_of(result.out)]
        self.assertEqual((events[0]["event"], events[-1]["event"]), ("start", "end"))
        return events[1:-1], events[-1]

    def refused(self, code, message, *arguments, **more):
        result = self.run_stream(*arguments, **more)
        self.assertEqual((result.code, result.out), (code, ""), result.err)
        self.assertIn(message, result.err.splitlines()[-1])

    def ask(self, text):
        return material.written("ask.txt", text.encode())


class File(Stream):
    def test_every_run_is_the_same(self):
        asked = ("--ask", self.ask("2\tWho?\n00:00:05.5\tWhere?\n7\tWhen?\n"))
        first, again = self.run_stream(*asked), self.run_stream(*asked, "-t2")
        self.assertEqual(first.code, 0, first.err)
        self.assertEqual(first.out, again.out)
        lines = lines_of(first.out)
        self.assertEqual([line for line in lines if line.startswith("> ")], ["> Who?", "> Where?", "> When?"])
        self.assertTrue(lines[1].startswith("[00:00:02] "), lines)
        self.assertTrue(lines[3].startswith("[00:00:05] "), lines)

    def test_questions_have_their_place(self):
        answers, end = self.events("--ask", self.ask("4\tsecond\n0\tzero\n3.999\tfirst\n4\tthird\n1:00:00\tlate\n\n"))
        self.assertEqual([(a["question"], a["frames"], a["time"]) for a in answers],
                         [("zero", 1, 0), ("first", 4, 3), ("second", 5, 4), ("third", 5, 4), ("late", 12, 11)])
        self.assertEqual((end["frames"], end["dropped"], end["answers"], end["unanswered"]), (12, 0, 5, 0))

    def test_same_instant_same_memory(self):
        """One question twice at one place is answered alike, and not as at another place."""
        answers, _ = self.events("--ask", self.ask("6\tWhat?\n6\tWhat?\n11\tWhat?\n"))
        self.assertEqual(answers[0]["answer"], answers[1]["answer"])
        self.assertEqual([a["frames"] for a in answers], [7, 7, 12])

    def test_questions_after_frames(self):
        answers, _ = self.events("--ask-after", "3,3,12", stdin=b"a?\nb?\nc?\n")
        self.assertEqual([(a["question"], a["frames"]) for a in answers], [("a?", 3), ("b?", 3), ("c?", 12)])
        answers, _ = self.events("--ask-after", "3,50", stdin=b"a?\nb?\n")
        self.assertEqual([(a["question"], a["frames"]) for a in answers], [("a?", 3), ("b?", 12)])

    def test_lines_without_a_place_come_at_the_end(self):
        answers, _ = self.events(stdin=b"What?\n\nWho?\n")
        self.assertEqual([(a["question"], a["frames"]) for a in answers], [("What?", 12), ("Who?", 12)])

    def test_prompt_is_asked_at_the_end(self):
        result = material.run(*GREEDY, "--stream", "--json", self.weights, self.clip, "What?")
        self.assertEqual([json.loads(line).get("question") for line in lines_of(result.out)], [None, "What?", None])

    def test_stages(self):
        folder = material.FOLDER / "stages"
        self.events("--ask-after", "2,2", "--dump-stages", folder, stdin=b"a?\nb?\n")
        for name in ("input.frame_indices", "ask002.prompt.ids", "ask002-2.prompt.ids", "ask002.answer.ids"):
            self.assertTrue((folder / f"{name}.npy").exists(), name)

    def test_frames_a_second(self):
        self.assertEqual(self.events("--fps", "5")[1]["frames"], 60)

    def test_estimate(self):
        result = self.run_stream("--estimate")
        self.assertEqual(result.code, 0, result.err)
        self.assertIn("scratch", result.out)


class Refusals(Stream):
    def test_options_of_streams_need_streams(self):
        for option in (("--realtime",), ("--ask", "f"), ("--ask-after", "1"), ("--captions", "off"), ("--srt", "f")):
            result = material.run(*option, self.weights, self.clip, "What?")
            self.assertEqual(result.code, 2)
            self.assertIn("needs --stream", result.err)

    def test_question_files(self):
        self.refused(2, "holds no question", "--ask", self.ask(""))
        self.refused(2, "holds no question", "--ask", self.ask("\n \n"))
        self.refused(2, "line 2: no tab", "--ask", self.ask("1\tWho?\n2 Where?\n"))
        self.refused(2, "'soon' is no time", "--ask", self.ask("soon\tWho?\n"))
        self.refused(2, "'1:75' is no time", "--ask", self.ask("1:75\tWho?\n"))
        self.refused(2, "no question", "--ask", self.ask("1\t\n"))
        self.refused(2, "a NUL byte", "--ask", self.ask("1\tWho\0?\n"))
        self.refused(2, "No such file", "--ask", material.FOLDER / "nowhere.txt")

    def test_places(self):
        for places in ("", "0", "-1", "1,", "a", "1;2", "99999999999999999999"):
            self.refused(2, "is no list", f"--ask-after={places}", stdin=b"a?\nb?\n")
        self.refused(2, "more places", "--ask-after", "1,2", stdin=b"a?\n")
        self.refused(2, "more questions", "--ask-after", "1", stdin=b"a?\nb?\n")

    def test_captions_need_a_system_that_speaks(self):
        self.refused(2, "--srt: flash-vstream says nothing unasked", "--srt", material.FOLDER / "no.srt")
        self.refused(2, "--captions: flash-vstream says nothing unasked", "--captions", "scenes")

    def test_a_system_without_streams(self):
        self.refused(2, "follows no streams", weights=material.weights())

    def test_videos(self):
        self.refused(4, "only a video", video=material.picture())
        self.refused(4, "cannot be opened", video=material.FOLDER / "nowhere.mkv")

    def test_a_question_that_is_too_long_ends_nothing(self):
        result = self.run_stream("-n", "4000", "--ask", self.ask("1\tWho?\n"))
        self.assertEqual(result.code, 5)
        self.assertIn("is exceeded", result.err)
        self.assertIn("12 frames to 00:00:11", result.err)


class Pipe(Stream):
    def piped(self, data, *arguments):
        return self.events(*arguments, video="-", stdin=data)

    def test_a_whole_clip(self):
        answers, end = self.piped(self.clip.read_bytes(), "--ask", self.ask("4\tWho?\n9\tWho?\n"))
        self.assertEqual([(a["frames"], a["time"]) for a in answers], [(5, 4), (10, 9)])
        self.assertEqual((end["frames"], end["dropped"], end["bad_packets"]), (12, 0, 0))

    def test_ends_in_the_middle_of_a_frame(self):
        data = self.clip.read_bytes()
        answers, end = self.piped(data[:len(data) * 2 // 5], "--ask", self.ask("1\tWho?\n9\tWho?\n"))
        self.assertEqual(len(answers), 2)
        self.assertIn(end["frames"], range(3, 7))

    def test_broken_packets(self):
        """Noise in the middle of a transport stream: what can be seen is seen."""
        data = bytearray(transport("whole.ts", "160x120", 6))
        for place in range(len(data) // 3, len(data) // 2, 7):
            data[place] ^= 0x5A
        _, end = self.piped(bytes(data))
        self.assertIn(end["frames"], range(3, 8))

    def test_another_resolution_and_a_clock_that_starts_anew(self):
        data = transport("small.ts", "160x120", 4) + transport("large.ts", "320x240", 4)
        answers, end = self.piped(data, "--ask", self.ask("1\tWho?\n7\tWho?\n"))
        self.assertEqual([a["question"] for a in answers], ["Who?", "Who?"])
        self.assertIn(end["frames"], range(7, 9))
        self.assertEqual(end["clock_jumps"], 1)
        self.assertTrue(7 <= end["time"] < 8, end)

    def test_no_video(self):
        for data, message in ((b"", "standard input"), (os.urandom(100000), "no video, picture or sound file"),
                              (material.sound_only().read_bytes(), "has no video")):
            self.refused(4, message, video="-", stdin=data)

    def test_a_file_as_standard_input(self):
        with open(self.clip, "rb") as file:
            done = start(*GREEDY, "--stream", "--json", self.weights, "-", stdin=file)
            out, err = done.communicate(timeout=material.SECONDS)
        self.assertEqual(done.returncode, 0, err)
        self.assertFalse(json.loads(out.splitlines()[0])["live"])

    def test_question_before_the_first_frame(self):
        fifo = material.FOLDER / "late.fifo"
        os.mkfifo(fifo)
        done = start(*GREEDY, "--stream", "--json", self.weights, fifo, stdin=subprocess.PIPE)
        done.stdin.write(b"Who?\n")
        done.stdin.close()
        time.sleep(1)
        self.assertIsNone(done.poll())
        fifo.write_bytes(self.clip.read_bytes())
        events = [json.loads(line) for line in done.stdout]
        self.assertEqual(done.wait(material.SECONDS), 0, done.stderr.read())
        self.assertEqual(events[1]["question"], "Who?")
        self.assertGreaterEqual(events[1]["frames"], 1)
        self.assertGreater(events[1]["latency"], 0.1)
        done.stdout.close()
        done.stderr.close()

    def test_a_pipe_that_stops_is_left_by_a_signal(self):
        """Questions are answered while nothing comes, by time too; then Ctrl-C."""
        done = start(*GREEDY, "--stream", "--json", "--ask", self.ask("2.5\tWho?\n"), self.weights, "-", stdin=subprocess.PIPE)
        data = self.clip.read_bytes()
        done.stdin.write(data[:len(data) // 5])
        done.stdin.flush()
        self.assertEqual(json.loads(done.stdout.readline())["event"], "start")
        answer = json.loads(done.stdout.readline())
        self.assertEqual(answer["question"], "Who?")
        done.send_signal(signal.SIGINT)
        end = json.loads(done.stdout.readline())
        self.assertEqual((end["event"], end["interrupted"]), ("end", True))
        self.assertEqual(done.wait(material.SECONDS), 130)
        for file in (done.stdin, done.stdout, done.stderr):
            file.close()


class Pace(Stream):
    def test_the_pace_of_the_video(self):
        begin = time.monotonic()
        short = material.ffmpeg("short.mkv", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=10:duration=3", "-c:v", "mpeg4")
        answers, end = self.events("--realtime", "--ask", self.ask("1.5\tWho?\n"), video=short)
        self.assertTrue(2 <= time.monotonic() - begin < 20)
        self.assertEqual((end["frames"], end["dropped"]), (3, 0))
        self.assertTrue(1.4 <= answers[0]["wall"] < 3, answers)

    def test_frames_are_dropped_and_counted(self):
        fast = material.ffmpeg("fast.mkv", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=1000:duration=1", "-c:v", "mpeg4")
        _, end = self.events("--realtime", "--fps", "1000", video=fast, VIDRUN_CPU="c")
        self.assertGreater(end["dropped"], 0)
        self.assertEqual(end["frames"] + end["dropped"], 1000)

    def test_ctrl_c_leaves_the_answer_whole(self):
        long = ("--temp", "0", "-n", "1500", "-t1", "--stream", "--realtime")
        done = start(*long, "--json", "--ask", self.ask("0\tWho?\n"), self.weights, self.clip)
        done.stdout.readline()
        time.sleep(0.3)
        done.send_signal(signal.SIGINT)
        out, err = done.communicate(timeout=material.SECONDS)
        self.assertEqual(done.returncode, 130, err)
        events = [json.loads(line) for line in out.splitlines()]
        self.assertTrue(events[-1]["interrupted"])
        for event in events[:-1]:
            self.assertNotEqual(event["stop"], "interrupted")

    def test_ctrl_c_ends_a_stream_with_its_prompt(self):
        done = start(*GREEDY, "--stream", "--realtime", "--json", self.weights, self.clip, "Who?")
        done.stdout.readline()
        time.sleep(1.3)
        done.send_signal(signal.SIGINT)
        out, err = done.communicate(timeout=material.SECONDS)
        self.assertEqual(done.returncode, 130, err)
        answer, end = map(json.loads, out.splitlines())
        self.assertEqual((answer["question"], end["interrupted"]), ("Who?", True))
        self.assertLess(end["frames"], 12)

    def test_a_reader_that_went_away(self):
        asked = self.ask("0\tWho?\n1\tWho?\n2\tWho?\n")
        done = start(*GREEDY, "--stream", "--realtime", "--ask", asked, self.weights, self.clip)
        done.stdout.close()
        self.assertEqual(done.wait(material.SECONDS), 1)
        self.assertNotIn(b"vidrun: ", done.stderr.read())
        done.stderr.close()


class Typed(Stream):
    def terminal(self, *arguments):
        return Terminal(*GREEDY, "--stream", *arguments, self.weights, self.clip)

    def test_while_frames_come(self):
        with self.terminal("--realtime") as t:
            t.expect("/help lists commands\r\n> ")
            t.type("Who?\n")
            t.expect("[00:00:0")
            t.expect("\r\n> ")
            t.type("/help\n")
            t.expect("/quit ends the stream")
            t.type("\n/quit\n")
            t.expect("0 captions, 1 answer")
            self.assertEqual(t.end(), 0)

    def test_when_all_have_come(self):
        with self.terminal() as t:
            t.expect("> ")
            time.sleep(1)
            t.type("Who?\n")
            t.expect("[00:00:11] ")
            t.expect("> ")
            t.type("\x04")
            self.assertEqual(t.end(), 0)

    def test_ctrl_c(self):
        with self.terminal("--realtime") as t:
            t.expect("> ")
            t.type("\x03")
            self.assertEqual(t.end(), 130)


class Captions(Stream):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.weights = weights("lamb")

    def test_text_and_subtitles(self):
        srt, vtt = material.FOLDER / "c.srt", material.FOLDER / "c.vtt"
        result = self.run_stream("--srt", srt, "--vtt", vtt)
        self.assertEqual(result.code, 0, result.err)
        lines = lines_of(result.out)
        self.assertGreaterEqual(len(lines), 1)
        for line in lines:
            self.assertRegex(line, r"^\[\d\d:\d\d:\d\d(\.\d\d\d)?\] ")
        self.assertTrue(srt.read_text().startswith("1\n00:00:00,000 --> "))
        self.assertTrue(vtt.read_text().startswith("WEBVTT\n\n00:00:00.000 --> "))
        self.assertEqual(srt.read_text().count(" --> "), vtt.read_text().count(" --> "))

    def test_events(self):
        captions, end = self.events("--ask-after", "4", stdin=b"Who?\n")
        self.assertEqual(captions[0]["event"], "caption")
        self.assertTrue(captions[0]["queried"])
        self.assertEqual(end["captions"], sum(c["event"] == "caption" for c in captions))
        self.assertEqual([c["frames"] for c in captions if c["event"] == "answer"], [4])

    def test_off(self):
        self.assertEqual(self.events("--captions", "off")[1]["captions"], 0)

    def test_the_prompt_is_the_query(self):
        result = material.run(*GREEDY, "--stream", "--json", self.weights, self.clip, "Who?")
        events = [json.loads(line) for line in lines_of(result.out)][1:-1]
        self.assertEqual({e["query"] for e in events}, {"Who?"})


if __name__ == "__main__":
    unittest.main()
