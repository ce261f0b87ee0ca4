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

    def test_context(self):
        path = stock.make(exact(), "stock.gguf")
        result = run("--json", "--temp", "0", "-n", "3", "--context", "64", "--text", path, "Who?")
        self.assertEqual(result.code, 0, result.err)
        self.assertIn("text alone, context 64", result.err)
        self.refused_like(run("--context", "8", "-n", "8", "--text", path, "Who?"), 5,
                          r"the prompt has \d+ tokens, with an answer of up to 8 the context of 8 is exceeded")
        made_for = stock.made_for(exact())
        self.refused_like(run("--context", str(made_for + 1), "--text", path, "Who?"), 2,
                          rf"--context {made_for + 1}: {re.escape(str(path))} was made for {made_for}")
        self.refused_like(run("--context", "64", "--text", self.weights, "Who?"), 2,
                          rf"--context: {re.escape(str(self.weights))} is no stock text model, .*")

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

    def test_cut_files(self):
        """Wherever a file ends too early there is one line and exit status 3."""
        whole = stock.make(exact(), "stock.gguf", quantised=True).read_bytes()
        for part in (0, 3, 8, 24, 100, 1000, 5000, len(whole) // 2, len(whole) - 1):
            path = material.written("cut.gguf", whole[:part])
            self.refused_like(run("--text", path, "Who?"), 3, f"{re.escape(str(path))}: .*")

    def test_absurd_dimensions(self):
        """Rows, columns, offsets and types of a matrix that cannot be: one line, exit status 3, at once."""
        whole = stock.make(exact(), "stock.gguf", quantised=True).read_bytes()
        name = b"blk.0.ffn_up.weight"
        at = whole.index(name) + len(name)  # u32 dimensions, u64 each, u32 type, u64 offset
        self.assertEqual(whole[at:at + 4], b"\x02\0\0\0")
        for place, size, values in ((0, 4, (0, 5, 2 ** 32 - 1)), (4, 8, (0, 31, 2 ** 31, 2 ** 40, 2 ** 63, 2 ** 64 - 1)),
                                    (12, 8, (0, 1, 2 ** 31, 2 ** 62, 2 ** 64 - 32)), (20, 4, (4, 99, 2 ** 32 - 1)),
                                    (24, 8, (1, 2 ** 40, 2 ** 64 - 32))):
            for value in values:
                data = bytearray(whole)
                data[at + place:at + place + size] = value.to_bytes(size, "little")
                path = material.written("absurd.gguf", bytes(data))
                self.refused_like(run("--text", path, "Who?"), 3, f"{re.escape(str(path))}: .*")

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
