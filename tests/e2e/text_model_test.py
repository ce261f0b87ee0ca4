#!/usr/bin/env python3
"""
text_model_test.py - stock text models: --text, --perplexity, chat templates, files that are refused.

    text_model_test.py [unittest arguments]        VIDRUN=build/vidrun: the program

The same decoder as one of our files and as a stock file (stock.py) must foretell a text equally well: names of keys, order of
rows, tokenizer and blocks of stock types are in it. Real weights: tests/real.
"""
import json
import re
import unittest

import material
import stock
from material import FOLDER, PYTHON, ROOT, Program, run

TEXT = material.written("text.txt", 60 *
                        b"The cat sat on the mat, and 12 dogs looked at it for 3.5 hours. \"Why?\" asked nobody.\n")
CHATML = "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>'}}{% endfor %}"


def exact(case="video-llama-v"):
    """The f32 weight file of a golden case."""
    path = FOLDER / f"{case}-exact.bin"
    if not path.exists():
        material.weights(case)
        material.subprocess.run([PYTHON, ROOT / "tools/convert/convert.py", FOLDER / case / "checkpoint", "-o", path, "--type",
                                 "f32"], check=True, capture_output=True)
    return path


def perplexity(path, *options, **variables):
    result = run("--json", "--perplexity", TEXT, path, *options, **variables)
    assert result.code == 0, result.err
    return json.loads(result.out)


class Perplexity(unittest.TestCase):
    def test_equal_to_our_file(self):
        ours = perplexity(exact(), "--precision", "f32")
        self.assertGreater(ours["perplexity"], 1)
        self.assertEqual(ours["counted"], ours["tokens"] // ours["piece"] * (ours["piece"] - ours["piece"] // 2 - 1))
        same = perplexity(stock.make(exact(), "stock.gguf"), "--precision", "f32")
        self.assertEqual(same["tokens"], ours["tokens"])
        self.assertEqual(same["system"], "text")
        self.assertAlmostEqual(same["perplexity"] / ours["perplexity"], 1, delta=1e-5)

    def test_defaults_of_old_files(self):
        """What a file need not say: it is what ours says here."""
        whole = perplexity(stock.make(exact(), "stock.gguf"))
        left = ("llama.rope.freq_base", "llama.attention.head_count_kv", "general.name", "tokenizer.ggml.add_space_prefix")
        self.assertEqual(perplexity(stock.make(exact(), "old.gguf", left_out=left))["perplexity"], whole["perplexity"])

    def test_quantised_blocks(self):
        path = stock.make(exact(), "stock8.gguf", quantised=True)
        whole = perplexity(stock.make(exact(), "stock.gguf"), "--precision", "f32")["perplexity"]
        values = {perplexity(path, "--precision", p, VIDRUN_CPU=level)["perplexity"]
                  for p, level in (("f32", "c"), ("int8", "c"), ("auto", "c"), ("auto", "best"))}
        for value in values:
            self.assertAlmostEqual(value / whole, 1, delta=0.02)
        self.assertGreater(len(values), 1)

    def test_the_other_architecture(self):
        ours = perplexity(exact("longvu-qwen"), "--precision", "f32")
        same = perplexity(stock.make(exact("longvu-qwen"), "qwen.gguf", "qwen2"), "--precision", "f32")
        self.assertEqual(same["tokens"], ours["tokens"])
        self.assertAlmostEqual(same["perplexity"] / ours["perplexity"], 1, delta=1e-5)

    def test_scaled_rotation_changes_it(self):
        plain = perplexity(stock.make(exact(), "stock.gguf"))["perplexity"]
        more = (("llama.rope.scaling.type", 8, "linear"), ("llama.rope.scaling.factor", 6, 4.0))
        scaled = perplexity(stock.make(exact(), "scaled.gguf", more=more))["perplexity"]
        old = perplexity(stock.make(exact(), "scaled_old.gguf", more=(("llama.rope.scale_linear", 6, 4.0),)))["perplexity"]
        self.assertNotEqual(plain, scaled)
        self.assertEqual(scaled, old)
        none = stock.make(exact(), "none.gguf", more=(("llama.rope.scaling.type", 8, "none"),))
        self.assertEqual(perplexity(none)["perplexity"], plain)

    def test_a_line(self):
        result = run("--perplexity", TEXT, exact())
        self.assertRegex(result.out, r"^perplexity \d+\.\d{4} \+- \d+\.\d{4}, \d+ of \d+ tokens\n$")

    def test_a_text_that_is_too_short(self):
        short = material.written("short.txt", b"Hello.\n")
        result = run("--perplexity", short, exact())
        self.assertEqual((result.code, result.out), (5, ""))
        self.assertRegex(result.err, r"vidrun: the text has \d+ tokens; twice 512 are needed for a perplexity\n$")
        self.assertEqual(run("--perplexity", "nowhere.txt", exact()).code, 2)


class Text(Program):
    def told(self, path, *arguments, **more):
        result = run("-q", "--temp", "0", "-n", "5", "--text", *arguments, path, **more)
        self.assertEqual(result.code, 0, result.err)
        return result.out

    def prompt_ids(self, path, question, *options):
        folder = FOLDER / "stages"
        self.told(path, "--dump-stages", folder, *options, "--prompt-file", material.written("question.txt", question.encode()))
        return stock.np.load(folder / "prompt.ids.npy").tolist()

    def test_an_answer_is_the_same_again_and_at_every_level(self):
        path = stock.make(exact(), "stock.gguf")
        answers = {run("-q", "--temp", "0", "-n", "5", "--precision", "f32", "--text", path, "Who?", VIDRUN_CPU=level).out
                   for level in ("c", "best")}
        self.assertEqual(len(answers), 1)

    def test_a_conversation(self):
        path = stock.make(exact(), "stock.gguf")
        result = run("--json", "--temp", "0", "-n", "3", "--text", path, stdin=b"Who?\nWhy?\n")
        turns = [json.loads(line) for line in result.out.splitlines()]
        self.assertEqual([turn["turn"] for turn in turns], [1, 2])
        self.assertGreater(turns[1]["ids"]["prompt"], turns[0]["ids"]["prompt"])
        self.assertGreater(turns[1]["ids"]["reused"], 0)
        self.assertEqual(turns[0]["plan"]["video_rows"], 0)
        self.assertIn("text alone, context", result.err)

    def test_a_template_is_recognised_and_may_be_chosen(self):
        plain = stock.make(exact(), "stock.gguf")
        chat = stock.make(exact(), "chat.gguf", more=(("tokenizer.chat_template", 8, CHATML),))
        short, long = self.prompt_ids(plain, "Who?"), self.prompt_ids(chat, "Who?")
        self.assertGreater(len(long), len(short))
        self.assertEqual(self.prompt_ids(plain, "Who?", "--template", "chatml"), long)
        self.assertEqual(self.prompt_ids(chat, "Who?", "--template", "plain"), short)
        self.assertGreater(len(self.prompt_ids(chat, "Who?", "--system", "Be brief.")), len(long))

    def test_an_unknown_template(self):
        path = stock.make(exact(), "odd.gguf", more=(("tokenizer.chat_template", 8, "<|wolf|>\x1b{{ messages }}"),))
        self.refused_like(run("--text", path, "Who?"), 3,
                          re.escape(f"{path}: tokenizer.chat_template is of no known form "
                                    "(\"<|wolf|>\\x1b{{ messages }}...\"); choose one with --template: "
                                    "chatml llama3 llama2 mistral zephyr vicuna plain"))
        self.assertIsInstance(self.told(path, "--template", "plain", "--", stdin=b"Who?\n"), str)

    def test_what_is_no_text_model(self):
        path = stock.make(exact(), "stock.gguf")
        self.refused_like(run("--text", self.weights, "Who?"), 2, r".*: it needs a video")
        self.refused_like(run(path, self.clip, "Who?"), 2, rf"{re.escape(str(path))} is a text model: it takes no video")
        self.refused_like(run("--stream", path, self.clip), 2, ".*")

    def test_files_that_are_refused(self):
        for name, message, options in (
                ("arch", r"general.architecture is \"phi3\"; this version reads .*", {"arch": "phi3"}),
                ("yarn", r"llama.rope.scaling.type is \"yarn\", .*", {"more": (("llama.rope.scaling.type", 8, "yarn"),)}),
                ("moe", r"a mixture of 8 experts, .*", {"more": (("llama.expert_count", 4, 8),)}),
                ("heads", r"key \"llama.attention.head_count\" is missing", {"left_out": ("llama.attention.head_count",)}),
                ("wide", r"llama.attention.key_length is 3, .*", {"more": (("llama.attention.key_length", 4, 3),)}),
                ("tokens", r"key \"tokenizer.ggml.token_type\" is missing", {"left_out": ("tokenizer.ggml.token_type",)})):
            path = stock.make(exact(), f"{name}.gguf", **options)
            self.refused_like(run("--text", path, "Who?"), 3, f"{re.escape(str(path))}: {message}")


if __name__ == "__main__":
    unittest.main()
