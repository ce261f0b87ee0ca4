#!/usr/bin/env python3
"""
cli_test.py - the program as a user meets it: what comes on which stream, with which exit status.

    cli_test.py [unittest arguments]        VIDRUN=build/vidrun: the program

Files that are refused: refusal_test.py. Terminals: terminal_test.py.
"""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import material
from material import Program, run

GREEDY = ("--temp", "0", "-n", "12")
STAGES = (("scan", "frames"), ("frames", "frames"), ("vision", "frames"), ("prompt", "tokens"), ("answer", "tokens"))
QUESTION = "What is in the video?"


class Streams(Program):
    def test_only_the_answer_on_stdout(self):
        result = self.answer(*GREEDY, QUESTION)
        self.assertTrue(result.out.endswith("\n") and result.out.strip())
        self.assertRegex(result.err, r"(?m)^decoding 8 of 20 frames, no audio, \d+ video tokens, context \d+$")
        for stage, unit in STAGES:
            self.assertRegex(result.err, rf"(?m)^{stage} +\d+ {unit} +\d+\.\d\d s +\d+\.\d {unit}/s$")
            self.assertNotIn(f"\n{stage} ", result.out)
        self.assertNotIn("\r", result.err)
        self.assertNotIn("\033", result.err)

    def test_quiet_leaves_the_answer_alone(self):
        loud, quiet = self.answer(*GREEDY, QUESTION), self.answer(*GREEDY, "--quiet", QUESTION)
        self.assertEqual(quiet.err, "")
        self.assertEqual(quiet.out, loud.out)

    def test_quiet_errors_are_told(self):
        self.refused(run("-q", self.weights, "nowhere.mp4", QUESTION), 4,
                     "nowhere.mp4: cannot be opened: No such file or directory")

    def test_a_plain_processor_says_the_same(self):
        options = (*GREEDY, "--frames=2", QUESTION)
        self.assertEqual(self.answer(*options, VIDRUN_CPU="c").out, self.answer(*options).out)

    def test_an_unknown_processor_level(self):
        result = run(self.weights, self.clip, QUESTION, VIDRUN_CPU="sse9")
        self.assertEqual(result.code, 2)
        self.assertIn("sse9", result.err)

    def test_texts_on_stdout(self):
        for option, words in (("--help", "Usage: vidrun"), ("--version", "FFmpeg"), ("--print-man", ".TH VIDRUN 1"),
                              ("--print-completion=bash", "complete"), ("--print-completion=zsh", "#compdef vidrun"),
                              ("--print-completion=fish", "complete -c vidrun")):
            result = run(option)
            self.assertEqual((result.code, result.err), (0, ""), option)
            self.assertIn(words, result.out)

    def test_version_names_what_it_is_made_of(self):
        lines = dict(line.split(" ", 1) for line in run("--version").out.splitlines())
        self.assertEqual(set(lines), {"vidrun", "compiler:", "FFmpeg:", "OpenBLAS:", "processor:"})

    def test_bash_reads_the_completion(self):
        script = run("--print-completion=bash").out
        words = 'COMP_WORDS=(vidrun --te); COMP_CWORD=1; _vidrun; echo "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", script + words], capture_output=True, text=True)
        self.assertEqual((done.stdout, done.stderr), ("--template --text --temp\n", ""))

    def test_self_test(self):
        result = run("--self-test")
        self.assertEqual((result.code, result.err), (0, ""))
        self.assertGreater(len(result.out.splitlines()), 1)


class Answers(Program):
    def test_the_recorded_answer_of_the_original(self):
        case = material.ROOT / "tests/golden/video-llama-v"
        wanted = json.loads((case / "case.json").read_text())
        result = run(*wanted["arguments"], self.weights, case / wanted["video"], wanted["prompt"])
        self.assertEqual((result.code, result.out), (0, wanted["answer"] + "\n"), result.err)

    def test_the_same_seed_gives_the_same_answer(self):
        def drawn(seed):
            return self.answer("--temp=1.5", "--top-p=1", "-n24", "-s", seed, QUESTION).out
        self.assertEqual(drawn(7), drawn(7))
        self.assertNotEqual(drawn(7), drawn(8))

    def test_a_seed_that_is_not_given_is_shown(self):
        options = ("--temp", "1.5", "-n", "24", QUESTION)
        first = self.answer(*options)
        self.assertRegex(first.err, r"(?m)^decoding .*, context \d+, seed \d+$")
        seed = first.err.split(", seed ")[1].split()[0]
        self.assertEqual(self.answer(*options, "--seed", seed).out, first.out)

    def test_a_cut_answer_is_told(self):
        result = self.answer("--temp", "0", "-n", "2", QUESTION)
        self.assertIn("the answer was cut after 2 tokens (--predict)\n", result.err)

    def test_gemm_of_openblas(self):
        self.assertEqual(self.answer(*GREEDY, "--gemm", "openblas", QUESTION).out, self.answer(*GREEDY, QUESTION).out)

    def test_threads_change_nothing(self):
        self.assertEqual(self.answer(*GREEDY, "-t1", QUESTION).out, self.answer(*GREEDY, "-t3", QUESTION).out)

    def test_a_prompt_from_a_file(self):
        path = material.written("prompt.txt", QUESTION.encode() + b"\n")
        self.assertEqual(self.answer(*GREEDY, "--prompt-file", path).out, self.answer(*GREEDY, QUESTION).out)

    def test_a_video_on_stdin(self):
        result = run(*GREEDY, self.weights, "-", QUESTION, stdin=self.clip.read_bytes())
        self.assertEqual((result.code, result.out), (0, self.answer(*GREEDY, QUESTION).out), result.err)

    def test_frames(self):
        self.assertRegex(self.answer(*GREEDY, "--frames=3", QUESTION).err, r"(?m)^decoding 3 of 20 frames, ")

    def test_one_frame_only(self):
        result = run(*GREEDY, self.weights, material.one_frame(), QUESTION)
        self.assertEqual(result.code, 0, result.err)
        self.assertRegex(result.err, r"(?m)^decoding 1 of 1 frame, ")

    def test_a_video_without_sound(self):
        result = run(*GREEDY, self.weights, material.silent_clip(), QUESTION)
        self.assertEqual(result.code, 0, result.err)
        self.assertRegex(result.err, r"(?m)^decoding 8 of 20 frames, no audio, ")

    def test_a_picture(self):
        result = run(*GREEDY, self.weights, material.picture(), QUESTION)
        self.assertEqual(result.code, 0, result.err)
        same = run(*GREEDY, "--image", self.weights, material.picture(), QUESTION)
        self.assertEqual((same.code, same.out), (0, result.out), same.err)

    def test_the_end_of_a_video_is_missing(self):
        path = material.cut("no-end.mkv", material.ffmpeg("whole.mkv", *material.PICTURES, "-c:v", "mpeg4", "-g", "1"), 0.6)
        result = run(*GREEDY, self.weights, path, QUESTION)
        self.assertEqual(result.code, 0, result.err)
        self.assertRegex(result.err, r"(?m)^decoding 8 of 1\d frames, ")

    def test_stages_are_written(self):
        folder = material.FOLDER / "stages"
        self.answer(*GREEDY, "--dump-stages", folder, QUESTION)
        self.assertIn("answer.ids.npy", os.listdir(folder))
        self.assertEqual((folder / "answer.ids.npy").read_bytes()[:6], b"\x93NUMPY")
        result = run(*GREEDY, "--dump-stages", material.FOLDER / "turns", self.weights, self.clip, stdin=b"One?\nTwo?\n")
        self.assertEqual(result.code, 0, result.err)
        self.assertLess({"turn1.answer.ids.npy", "turn2.answer.ids.npy"}, set(os.listdir(material.FOLDER / "turns")))

    def test_the_system_text_and_the_template_matter(self):
        plain = json.loads(self.answer(*GREEDY, "--json", QUESTION).out)["ids"]["prompt"]
        for options in (("--system", "Answer in one word."), ("--template", "llama_v2")):
            self.assertNotEqual(json.loads(self.answer(*GREEDY, "--json", *options, QUESTION).out)["ids"]["prompt"], plain)


class Sound(Program):
    @classmethod
    def setUpClass(cls):
        cls.weights, cls.clip = material.weights("video-llama-av"), material.clip()

    def test_sound_is_heard(self):
        result = self.answer(*GREEDY, QUESTION)
        self.assertRegex(result.err, r"(?m)^decoding 8 of 20 frames, audio 8 clips, \d+ video tokens, ")
        self.assertRegex(result.err, r"(?m)^audio +8 clips ")

    def test_or_not(self):
        self.assertRegex(self.answer(*GREEDY, "--no-audio", QUESTION).err, r"(?m)^decoding 8 of 20 frames, no audio, ")

    def test_a_video_without_sound(self):
        result = run(*GREEDY, self.weights, material.silent_clip(), QUESTION)
        self.assertEqual(result.code, 0, result.err)
        self.assertRegex(result.err, r"(?m)^decoding 8 of 20 frames, no audio, ")


class Questions(Program):
    """Prompts on standard input."""

    def lines(self, data, *arguments):
        return run(*GREEDY, "--json", *arguments, self.weights, self.clip, stdin=data)

    def test_a_turn_a_line(self):
        result = self.lines(b"\nOne?\r\n  \n\nTwo?\nThree?")
        self.assertEqual(result.code, 0, result.err)
        turns = [json.loads(line) for line in result.out.splitlines()]
        self.assertEqual([(t["turn"], t["question"]) for t in turns], [(1, "One?"), (2, "Two?"), (3, "Three?")])
        prompts = [t["ids"]["prompt"] for t in turns]
        self.assertEqual(prompts, sorted(set(prompts)))
        self.assertEqual(turns[0]["ids"]["reused"], 0)
        self.assertGreater(turns[2]["ids"]["reused"], turns[1]["ids"]["reused"])

    def test_answers_follow_each_other(self):
        one = self.answer(*GREEDY, "One?").out
        both = run(*GREEDY, self.weights, self.clip, stdin=b"One?\nTwo?\n")
        self.assertEqual(both.code, 0, both.err)
        self.assertTrue(both.out.startswith(one) and len(both.out) > len(one))

    def test_none(self):
        for data in (b"", b"\n \n"):
            self.refused(self.lines(data), 2, "no question: PROMPT is not given and standard input holds none")

    def test_a_nul_byte(self):
        self.refused(self.lines(b"a\0b\n"), 2, "standard input, line 1: a NUL byte in the prompt")
        result = self.lines(b"One?\na\0b\n")
        self.assertEqual((result.code, len(result.out.splitlines())), (2, 1))
        self.assertTrue(result.err.endswith("vidrun: standard input, line 2: a NUL byte in the prompt\n"))

    def test_a_line_over_the_limit(self):
        self.refused(self.lines(b"a" * ((1 << 20) + 1)), 5, "standard input, line 1: the prompt is longer than 1048576 bytes")

    def test_video_and_questions_cannot_share_stdin(self):
        self.refused(run(self.weights, "-", stdin=b"One?\n"), 2,
                     "VIDEO is standard input, so that prompts cannot be read from it: give PROMPT")

    def test_a_question_longer_than_the_context(self):
        for result in (run(*GREEDY, self.weights, self.clip, "word " * 3000), self.lines(b"word " * 3000)):
            self.assertEqual((result.code, result.out), (5, ""))
            self.assertRegex(result.err, r"vidrun: the prompt has \d+ tokens, .* context of \d+ is exceeded\n$")
            self.assertNotIn("decoding", result.err)


class Json(Program):
    def test_the_object(self):
        question = 'What "is"\t\\ it?\x01\u00e9\U0001F600'
        result = self.answer(*GREEDY, "--seed=5", "--json", question)
        self.assertEqual(result.out.count("\n"), 1)
        turn = json.loads(result.out)
        self.assertEqual(turn["question"], question)
        self.assertEqual(set(turn), {"turn", "question", "answer", "stop", "ids", "sampling", "plan", "timings", "version",
                                     "system", "weights", "cpu", "precision", "kv", "facts"})
        self.assertIn(turn["stop"], ("end", "length"))
        self.assertEqual(turn["sampling"]["seed"], 5)
        self.assertEqual(turn["system"], "video-llama")
        plan = turn["plan"]
        self.assertEqual((plan["frames_total"], plan["frames"], plan["audio_clips"]), (20, 8, 0))
        self.assertEqual(plan["frame_indices"], [i * 20 // 8 for i in range(8)])
        self.assertEqual(len(plan["frame_seconds"]), 8)
        self.assertLessEqual({stage for stage, _ in STAGES}, {t["stage"] for t in turn["timings"]})
        self.assertTrue(0 < turn["ids"]["answer"] <= 12)

    def test_the_answer_is_that_of_the_plain_run(self):
        self.assertEqual(json.loads(self.answer(*GREEDY, "--json", QUESTION).out)["answer"].rstrip(),
                         self.answer(*GREEDY, QUESTION).out.rstrip())

    def test_errors_stay_on_stderr(self):
        self.refused(run("--json", self.weights, "nowhere.mp4", QUESTION), 4,
                     "nowhere.mp4: cannot be opened: No such file or directory")


class Estimate(Program):
    def test_the_table(self):
        result = self.answer("--estimate", QUESTION)
        rows = {line[:20].strip(): line[20:].split() for line in result.out.splitlines()}
        self.assertEqual(rows["frames of the video"], ["20"])
        self.assertEqual(rows["frames decoded"], ["8"])
        self.assertGreater(int(rows["prompt rows"][0]), int(rows["video rows"][0]))
        parts = [float(rows[name][0]) for name in ("weights (mapped)", "scratch", "cache", "rows")]
        self.assertAlmostEqual(sum(parts), float(rows["total"][0]), delta=0.2)
        self.assertAlmostEqual(parts[0], os.path.getsize(self.weights) / 2**20, delta=0.06)
        self.assertNotIn("decoding", result.err)
        self.assertNotIn("vision", result.err)

    def test_as_json(self):
        plan = json.loads(self.answer("--estimate", "--json", QUESTION).out)["plan"]
        table = self.answer("--estimate", QUESTION).out
        self.assertIn(f"{plan['prompt_rows']}\n", table)

    def test_what_does_not_fit(self):
        result = run("--estimate", self.weights, self.clip, "word " * 3000)
        self.assertEqual((result.code, result.out), (5, ""))
        self.assertIn("is exceeded", result.err)


class KeysAndValues(Program):
    def cache(self, *options):
        turn = json.loads(self.answer("--estimate", "--json", *options, QUESTION).out)
        return turn["kv"], turn["plan"]["cache_bytes"]

    def test_fewer_bytes(self):
        wide, half, bytes_ = (self.cache("--kv", kv) for kv in ("f32", "f16", "q8_0"))
        self.assertEqual([wide[0], half[0], bytes_[0]], ["f32", "f16", "q8_0"])
        self.assertAlmostEqual(half[1] / wide[1], 1 / 2, 2)
        self.assertTrue(1 / 4 < bytes_[1] / wide[1] < 1 / 3, bytes_[1] / wide[1])

    def test_the_default_goes_with_the_precision(self):
        self.assertEqual(self.cache(), self.cache("--kv", "f16"))
        self.assertEqual(self.cache("--precision", "f32"), self.cache("--kv", "f32"))
        self.assertEqual(self.cache("--precision", "f32", "--kv", "q8_0"), self.cache("--kv", "q8_0"))

    def test_every_type_answers(self):
        for kv in ("f32", "f16", "q8_0"):
            results = {self.answer(*GREEDY, "--json", "--kv", kv, "-t", threads, QUESTION).out.split('"timings"')[0]
                       for threads in ("1", "2")}
            self.assertEqual(len(results), 1, kv)


class Outputs(Program):
    def test_a_closed_reader(self):
        for options in (GREEDY, (*GREEDY, "--json")):
            reader, writer = os.pipe()
            os.close(reader)
            result = run(*options, self.weights, self.clip, QUESTION, stdout=writer)
            os.close(writer)
            self.assertEqual(result.code, 1)
            self.assertNotIn("vidrun:", result.err)

    def test_a_full_disk(self):
        for options, noun in ((GREEDY, "the answer"), ((*GREEDY, "--json"), "the answer"), (("--estimate",), "the estimate")):
            with open("/dev/full", "wb") as full:
                result = run(*options, self.weights, self.clip, QUESTION, stdout=full)
            self.refused(result, 1, f"cannot write {noun}: No space left on device")

    def test_stages_on_a_full_disk(self):
        with tempfile.TemporaryDirectory() as folder:
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True)
            if mounted.returncode:
                self.skipTest("no tmpfs can be mounted here")
            try:
                result = run(*GREEDY, "--dump-stages", folder, self.weights, self.clip, QUESTION)
            finally:
                subprocess.run(["umount", folder], check=True)
        self.assertEqual(result.code, 1)
        self.assertRegex(result.err, r"vidrun: .*: No space left on device\n$")

    def test_stages_on_a_disk_to_be_read(self):
        with tempfile.TemporaryDirectory() as folder:
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "none", folder], capture_output=True)
            if mounted.returncode:
                self.skipTest("no tmpfs can be mounted here")
            try:
                result = run(*GREEDY, "-q", "--dump-stages", folder, self.weights, self.clip, QUESTION)
            finally:
                subprocess.run(["umount", folder], check=True)
        self.refused(result, 1, f"{folder}: dumps cannot be written there: Read-only file system")

    def test_stages_where_nothing_can_be_written(self):
        result = run(*GREEDY, "--dump-stages", "/proc/nothing", self.weights, self.clip, QUESTION)
        self.assertEqual((result.code, result.out), (1, ""))
        self.assertRegex(result.err, r"vidrun: .*/proc/nothing.*\n$")

    def test_stdout_is_not_there(self):
        """What the program opens would take its place, and the answer with it."""
        command = ["sh", "-c", 'exec "$@" <&- >&-', "sh", material.PROGRAM, *GREEDY]
        done = subprocess.run([*command, self.weights, self.clip, QUESTION], capture_output=True, text=True,
                              timeout=material.SECONDS)
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.endswith("vidrun: cannot write the answer: Bad file descriptor\n"), done.stderr)


class Interrupts(Program):
    def interrupted(self, arguments, sign):
        """Ctrl-C as soon as the sign appears on stderr; scalar code and one thread make it last. What came after it."""
        process = subprocess.Popen([material.PROGRAM, "-t1", *arguments, self.weights, self.clip, QUESTION], text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env={**os.environ, "VIDRUN_CPU": "c"})
        try:
            for line in process.stderr:
                if line.startswith(sign):
                    break
            time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=material.SECONDS)
        finally:
            process.kill()
        self.assertEqual(process.returncode, 130, err)
        self.assertNotIn("vidrun:", err)
        return out, err

    def test_while_encoding(self):
        out, err = self.interrupted(("--frames=12",), "decoding")
        self.assertEqual(out, "")
        self.assertNotIn("vision", err)

    def test_while_answering(self):
        out, err = self.interrupted(("--frames=1", "--temp=1.5", "--top-p=1", "-s1", "-n1500"), "prompt")
        self.assertTrue(out.endswith("\n"))
        self.assertLess(int(err.split()[1]), 1500, err)


class Demo(Program):
    def test_of_the_working_folder(self):
        folder = material.FOLDER / "tree"
        (folder / "weights").mkdir(parents=True, exist_ok=True)
        shutil.copy(self.weights, folder / "weights/demo.bin")
        result = run(*GREEDY, "demo", self.clip, QUESTION, cwd=folder)
        self.assertEqual((result.code, result.out), (0, self.answer(*GREEDY, QUESTION).out), result.err)

    def test_missing(self):
        folder = material.FOLDER / "bare/bin"
        folder.mkdir(parents=True, exist_ok=True)
        program = shutil.copy(material.PROGRAM, folder)
        done = subprocess.run([program, "demo", self.clip, QUESTION], cwd=folder, capture_output=True, text=True)
        if done.returncode == 0:
            self.skipTest("a demo model is installed")
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertRegex(done.stderr, r"^vidrun: the demo model is not there; tried weights/demo\.bin, "
                                      rf"{folder}/\.\./weights/demo\.bin, {folder}/\.\./share/vidrun/demo\.bin, "
                                      r"/.*/vidrun/demo\.bin ")


if __name__ == "__main__":
    unittest.main()
