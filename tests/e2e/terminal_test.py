#!/usr/bin/env python3
"""
terminal_test.py - the program on a terminal: progress bar, conversation, Ctrl-C, control characters.

    terminal_test.py [unittest arguments]        VIDRUN=build/vidrun: the program

  test -> pseudo terminal -> vidrun: what a person would type and see. The terminal echoes what is typed.
"""
import ctypes
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import termios
import time
import unittest

import material
from material import ROOT, Program

GREEDY = ("--temp", "0", "-n", "6", "-t1")
ERASE = "\r\033[K"


class Terminal:
    """A program on a pseudo terminal; screen: everything it wrote there."""

    def __init__(self, *arguments, columns=80, answer=None, **variables):
        self.screen, self.seen = "", 0
        self.edits = variables.get("TERM") != "dumb" and "--quiet" not in arguments
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            if answer is not None:
                os.dup2(os.open(answer, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            os.environ.update({"TERM": "xterm", **variables})
            fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
            os.execv(material.PROGRAM, [material.PROGRAM, *map(str, arguments)])

    def read(self, deadline):
        """More of the screen; False at the end."""
        if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
            raise AssertionError(f"nothing came; the screen: {self.screen!r}")
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: the program has ended
            data = b""
        self.screen += data.decode(errors="replace")
        return bool(data)

    def expect(self, text):
        """Wait until text is on the screen, behind what was expected before."""
        deadline = time.monotonic() + material.SECONDS
        while text not in self.screen[self.seen:]:
            if not self.read(deadline):
                raise AssertionError(f"{text!r} did not come; the screen: {self.screen!r}")
        self.seen = self.screen.index(text, self.seen) + len(text)
        if text.endswith("> ") and self.edits:
            self.wait_for_editor()

    def wait_for_editor(self):
        """The editor shows its prompt before it takes the terminal over; what is typed in between would be read as a line."""
        deadline = time.monotonic() + 1
        while termios.tcgetattr(self.fd)[3] & termios.ICANON and time.monotonic() < deadline:
            time.sleep(0.001)

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        """Exit status, once it has ended."""
        deadline = time.monotonic() + material.SECONDS
        while self.read(deadline):
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def visible(screen):
    """What is left on the screen when bars were drawn and erased: per line, what stands after the last erasure."""
    return "\n".join(line.split(ERASE)[-1].rstrip("\r") for line in screen.split("\n"))


class Progress(Program):
    def test_a_bar_that_is_erased(self):
        with Terminal("--frames=4", *GREEDY, self.weights, self.clip, "What?", VIDRUN_CPU="c") as t:
            self.assertEqual(t.end(), 0)
        self.assertRegex(t.screen, r"\rvision  \[=* *\]  \d+ of 4  \d+ s left\033\[K")
        self.assertNotIn(" left", visible(t.screen))
        self.assertRegex(visible(t.screen), r"(?m)^vision +4 frames ")

    def test_a_narrow_terminal(self):
        with Terminal("--frames=4", *GREEDY, self.weights, self.clip, "What?", columns=30, VIDRUN_CPU="c") as t:
            self.assertEqual(t.end(), 0)
        bars = re.findall(r"\r([a-z]+ +\[[^\033\r]*)\033\[K", t.screen)
        self.assertTrue(bars)
        self.assertLess(max(map(len, bars)), 30)

    def test_no_bar_where_none_is_wanted(self):
        for options, variables in ((("--quiet",), {}), ((), {"TERM": "dumb"})):
            with Terminal(*options, "--frames=4", *GREEDY, self.weights, self.clip, "What?", VIDRUN_CPU="c", **variables) as t:
                self.assertEqual(t.end(), 0)
            self.assertNotIn("\033", t.screen)
            self.assertNotIn(" left", t.screen)

    def test_ctrl_c_leaves_a_clean_line(self):
        with Terminal("--frames=12", *GREEDY, self.weights, self.clip, "What?", VIDRUN_CPU="c") as t:
            t.expect("vision  [")
            t.type("\x03")
            self.assertEqual(t.end(), 130)
        self.assertNotIn(" left", visible(t.screen))


class Answers(Program):
    def test_timings_come_after_the_answer(self):
        with Terminal(*GREEDY, self.weights, self.clip, "What?") as t:
            self.assertEqual(t.end(), 0)
        answer = self.answer(*GREEDY, "-q", "What?").out.replace("\n", "\r\n")
        self.assertIn(f"\n{answer}answer ", visible(t.screen).replace("\n", "\r\n"))

    def test_control_characters_are_shown_not_sent(self):
        """The tiny model answers with any piece; some draw holds a control character."""
        found = False
        for seed in range(40):
            options = ("--temp=30", "--top-p=1", "--top-k=0", "-n100", "-q", "-t1", "-s", seed)
            raw = self.answer(*options, "What?").out
            with Terminal(*options, self.weights, self.clip, "What?") as t:
                self.assertEqual(t.end(), 0)
            self.assertNotRegex(t.screen.replace("\r\n", "\n"), "[\0-\x08\x0b-\x1f\x7f-\x9f]")
            found = found or re.search("[\0-\x08\x0b-\x1f\x7f]", raw)
            if found and re.search(r"\^[@-_?]", t.screen):
                return
        self.assertTrue(found, "no draw held a control character")

    def test_names_of_files(self):
        with Terminal(self.weights, "\033[2Jx\n.mp4", "What?") as t:
            self.assertEqual(t.end(), 4)
        self.assertIn("vidrun: ^[[2Jx^J.mp4: cannot be opened", t.screen)


class Conversation(Program):
    def start(self, *arguments, **more):
        return Terminal(*GREEDY, *arguments, self.weights, self.clip, **more)

    def test_turns(self):
        path = material.FOLDER / "answers.jsonl"
        with self.start("--json", answer=path) as t:
            t.expect("ask about the clip; /help lists commands\r\n> ")
            t.type("One?\n")
            t.expect("\n> ")
            t.type("\n")
            t.expect("\n> ")
            t.type("Two?\n")
            t.expect("\n> ")
            t.type("/reset\n")
            t.expect("the conversation begins anew; the clip is kept\r\n> ")
            t.type("One?\n")
            t.expect("\n> ")
            t.type("/quit\n")
            self.assertEqual(t.end(), 0)
        turns = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual([turn["question"] for turn in turns], ["One?", "Two?", "One?"])
        self.assertEqual([turn["turn"] for turn in turns], [1, 2, 3])
        self.assertGreater(turns[1]["ids"]["prompt"], turns[0]["ids"]["prompt"])
        self.assertEqual(turns[2]["ids"]["prompt"], turns[0]["ids"]["prompt"])
        self.assertEqual(turns[2]["answer"], turns[0]["answer"])

    def test_the_plain_answer(self):
        with self.start() as t:
            t.expect("\n> ")
            t.type("One?\n")
            t.expect("\n> ")
            t.type("\x04")
            self.assertEqual(t.end(), 0)
        answer = self.answer(*GREEDY, "-q", "One?").out.replace("\n", "\r\n")
        self.assertIn(f"\n{answer}answer ", visible(t.screen).replace("\n", "\r\n"))

    def test_commands(self):
        with self.start() as t:
            t.expect("\n> ")
            for command, reply in (("/help", "/reset              forgets the conversation"), ("/dance", "unknown command /dance"),
                                   ("/save", "/save needs the name of a file"), ("/reset now", "/reset takes nothing")):
                t.type(command + "\n")
                t.expect(reply)
                t.expect("\n> ")
            t.type("/quit\n")
            self.assertEqual(t.end(), 0)

    def test_ctrl_c_at_the_prompt(self):
        with self.start() as t:
            t.expect("\n> ")
            t.type("half a ques\x03")
            t.expect("Ctrl-C again or Ctrl-D leaves\r\n> ")
            t.type("One?\n")
            t.expect("\n> ")
            t.type("\x03")
            t.expect("Ctrl-C again or Ctrl-D leaves\r\n> ")
            t.type("\x03")
            self.assertEqual(t.end(), 0)

    def test_ctrl_c_stops_an_answer(self):
        options = ("--frames=1", "--temp=1.5", "--top-p=1", "-s1", "-n1500", "-t1")
        with Terminal(*options, self.weights, self.clip, VIDRUN_CPU="c") as t:
            t.expect("\n> ")
            for _ in range(2):
                t.type("What?\n")
                t.expect("tokens/s")
                t.type("\x03")
                t.expect("\nanswer ")
                t.expect("\n> ")
            t.type("\x04")
            self.assertEqual(t.end(), 0)
        self.assertNotIn("Ctrl-C again", t.screen)

    def test_what_a_conversation_survives(self):
        with self.start(TERM="dumb") as t:
            t.expect("\n> ")
            t.type("a\0b\n")
            t.expect("standard input, line 1: a NUL byte in the prompt\r\n> ")
            t.type("\u16a0" * 1000 + "\n")  # three byte tokens each; the longest line of a terminal is 4,095 bytes
            t.expect("is exceeded\r\n> ")
            t.type("One?\n")
            t.expect("\nanswer ")
            t.expect("\n> ")
            t.type("\x04")
            self.assertEqual(t.end(), 0)
        self.assertEqual(t.screen.count("\nanswer "), 1)

    def test_without_an_editor(self):
        with self.start(TERM="dumb") as t:
            t.expect("\n> ")
            t.type("One?\n")
            t.expect("\nanswer ")
            t.expect("\n> ")
            t.type("/quit\n")
            self.assertEqual(t.end(), 0)
        self.assertNotIn("\033", t.screen)

    def test_lines_are_edited(self):
        """Backspace, a letter of two bytes, and the line before once more."""
        try:
            ctypes.CDLL("libedit.so.2")
        except OSError:
            self.skipTest("no libedit")
        path = material.FOLDER / "edited.jsonl"
        with self.start("--json", answer=path, LC_ALL="C") as t:
            t.expect("\n> ")
            for keys in ("On\u00e9x\x7f?\n", "\033[A!\n", "ab\x01c\x05d\n"):
                t.type(keys)
                t.expect("\nanswer ")
                t.expect("> ")
            t.type("\x04")
            self.assertEqual(t.end(), 0)
        turns = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual([turn["question"] for turn in turns], ["On\u00e9?", "On\u00e9?!", "cabd"])

    def test_quiet(self):
        with self.start("--quiet") as t:
            t.type("One?\n\x04")
            self.assertEqual(t.end(), 0)
        screen = t.screen.replace("\r\n", "\n").replace("^D\b\b", "")
        self.assertEqual(screen, "One?\n" + self.answer(*GREEDY, "-q", "One?").out)

    def test_a_video_on_the_terminal(self):
        with Terminal(self.weights, "-") as t:
            self.assertEqual(t.end(), 2)
        self.assertIn("vidrun: VIDEO is standard input", t.screen)


class Kept(Program):
    """What a conversation keeps and forgets: history, files, clips, the context."""

    def talk(self, name, lines, *options, weights=None, clip=None):
        """Type lines; (screen, turns). A line is a question, a command, or a pair: what is typed, what is then told."""
        path = material.FOLDER / f"{name}.jsonl"
        with Terminal(*(options or GREEDY), "--json", weights or self.weights, clip or self.clip, answer=path) as t:
            t.expect("\n> ")
            for line in lines:
                typed, told = line if isinstance(line, tuple) else (line, None)
                t.type(typed + "\n")
                t.expect(told or ("\n" if typed.startswith("/") else "\nanswer "))
                t.expect("> ")
            t.type("/quit\n")
            self.assertEqual(t.end(), 0)
        return t.screen.replace("\r\n", "\n"), [json.loads(line) for line in path.read_text().splitlines()]

    def test_three_turns_saved_and_loaded(self):
        file = material.FOLDER / "talk.json"
        screen, turns = self.talk("kept", ["One?", "Two?", (f"/save {file}", "2 turns saved to"), "Three?", ("/history", "> Three?"), "/reset",
                                           (f"/load {file}", "2 turns loaded from"), "Three?"])
        self.assertEqual(turns[3]["ids"]["prompt"], turns[2]["ids"]["prompt"])
        self.assertEqual(turns[3]["answer"], turns[2]["answer"])
        self.assertEqual([turn["ids"]["dropped_turns"] for turn in turns], [0, 0, 0, 0])
        told = screen[screen.index("/history"):screen.index("/reset")]
        for turn in turns[:3]:
            self.assertIn("> " + turn["question"] + "\n", told)
        saved = json.loads(file.read_text())
        self.assertEqual((saved["vidrun"], saved["format"], saved["clip"]), ("conversation", 1, str(self.clip)))
        self.assertEqual([turn["question"] for turn in saved["turns"]], ["One?", "Two?"])
        self.assertEqual([turn["answer"] for turn in saved["turns"]], [turn["answer"] for turn in turns[:2]])

    def test_files_that_are_not_ours(self):
        good = {"vidrun": "conversation", "format": 1, "turns": [{"question": "q", "answer": "a"}]}
        bad = ["", "{", "[]", "null", '{"turns":[]}', json.dumps(good)[:-1], json.dumps(good) + "x",
               json.dumps(good | {"format": 2}), json.dumps(good | {"vidrun": "weights"}),
               json.dumps(good | {"turns": [{"question": "q"}]}), json.dumps(good | {"turns": [{"question": "q", "answer": 1}]}),
               json.dumps(good).replace('"q"', '"\\u0000"'), json.dumps(good).replace('"q"', '"\\ud800"'),
               '{"a":' + "[" * 100000]
        lines = ["One?"]
        for i, text in enumerate(bad):
            file = material.written(f"bad{i}.json", text.encode())
            lines.append((f"/load {file}", "not a conversation that vidrun has saved"))
        lines.append((f"/load {material.written('bytes.json', bytes(range(256)))}", "not a conversation"))
        lines += [(f"/load {material.FOLDER / 'nowhere.json'}", "No such file"), (f"/load {material.FOLDER}", "directory"),
                  (f"/save {self.clip}", "ends in .json"), (f"/save {material.FOLDER}/no/where.json", "No such file"), "Two?"]
        before = self.clip.read_bytes()
        _, turns = self.talk("bad", lines)
        self.assertEqual(self.clip.read_bytes(), before)
        self.assertGreater(turns[1]["ids"]["reused"], turns[0]["ids"]["prompt"] - 20)  # the first turn is still there

    def test_a_file_with_more_in_it(self):
        """Keys that a later release may add are skipped; escapes are understood."""
        text = ('{ "later" : {"a":[1,-2.5e3,true,null,"x"]}, "format":1,"vidrun":"conversation",\n"turns" : ['
                '{"question":"a\\u00e9\\n\\ud83d\\ude00","mood":[],"answer":"\\"\\/b"} ] }')
        file, again = material.written("more.json", text.encode()), material.FOLDER / "again.json"
        self.talk("more", [(f"/load {file}", "1 turn loaded"), (f"/save {again}", "1 turn saved")])
        self.assertEqual(json.loads(again.read_text())["turns"], [{"question": "a\u00e9\n\U0001f600", "answer": '"/b'}])

    def test_another_clip(self):
        other = material.silent_clip()
        lines = ["One?", (f"/video {material.FOLDER / 'nowhere.mp4'}", "nowhere.mp4: "), "Two?",
                 (f"/video {other}", f"about {other} now"), "One?"]
        _, turns = self.talk("clips", lines)
        _, alone = self.talk("alone", ["One?"], clip=other)
        self.assertGreater(turns[1]["ids"]["prompt"], turns[0]["ids"]["prompt"])  # a clip that is not there changes nothing
        self.assertEqual(turns[2]["answer"], alone[0]["answer"])
        self.assertEqual(turns[2]["ids"]["reused"], 0)

    def test_the_oldest_turns_go_first(self):
        long = "What is it, is it a dog, or what? " * 8
        screen, turns = self.talk("full", [long] * 5, "--temp", "0", "-n", "900", "-t1")
        dropped = [turn["ids"]["dropped_turns"] for turn in turns]
        self.assertEqual(dropped[0], 0)
        self.assertEqual(dropped, sorted(dropped))
        self.assertGreater(dropped[-1], 0)
        self.assertLess(dropped[-1], 5)
        self.assertEqual([turn["ids"]["dropped"] for turn in turns], [0] * 5)
        for turn in turns:
            self.assertLessEqual(turn["ids"]["prompt"] + 900, turn["plan"]["context"])
        self.assertRegex(screen, r"the conversation exceeds the context of 2000 tokens: the oldest \d of \d turns are no longer read")
        self.assertEqual(len(re.findall("are no longer read", screen)), len(set(dropped)) - 1)

    def first_token(self, turn):
        return sum(t["seconds"] for t in turn["timings"] if t["stage"] != "answer")

    def test_the_second_answer_comes_soon(self):
        """Neither the clip nor the rows of the turn before are read again."""
        models = [self.weights] + [ROOT / "weights/demo.bin"] * (ROOT / "weights/demo.bin").exists()
        for weights in models:
            _, turns = self.talk("soon", ["What is it?", "Why?"], weights=weights)
            self.assertGreaterEqual(turns[1]["ids"]["reused"], turns[0]["ids"]["prompt"])
            self.assertLess(self.first_token(turns[1]), 0.2 * self.first_token(turns[0]), turns)


if __name__ == "__main__":
    unittest.main()
