"""
text_test.py - the vocabulary and the prompts in the weight file.
"""
import os
import pathlib

from harness import Folder  # first: it sets the path to the converter
import sentencepiece_model
import synthetic as made
from errors import ConvertError


class Text(Folder):
    def convert_text(self, rows=None, files=(), pieces=None):
        llm = made.write(self.root, made.parts(audio=False, rows=rows))
        for name, content in dict(files).items():
            made.write_json(os.path.join(llm, name), content)
        if pieces is not None:
            pathlib.Path(llm, "tokenizer.model").write_bytes(pieces)

    def special(self):
        return dict(zip(self.key("tokenizer.special_ids"), self.key("tokenizer.special_strip")))

    def test_plain(self):
        self.convert_text()
        self.converted()
        self.assertEqual(self.key("tokenizer.ggml.tokens"), [text for text, _, _ in made.PIECES])
        self.assertEqual(self.key("tokenizer.ggml.scores"), [score for _, score, _ in made.PIECES])
        self.assertEqual(self.key("tokenizer.ggml.token_type"), [kind for _, _, kind in made.PIECES])
        self.assertEqual([self.key(f"tokenizer.ggml.{x}_token_id") for x in ("bos", "eos", "unknown")], [1, 2, 0])
        self.assertEqual((self.special(), self.key("tokenizer.ggml.add_space_prefix")), ({0: 0, 1: 0, 2: 0}, 1))
        self.assertEqual(self.key("prompt.template"), "llama_v2")

    def test_added_tokens_and_unused_rows(self):
        n = len(made.PIECES)
        self.convert_text(rows=n + 4, files={"added_tokens.json": {"[PAD]": n + 1, "<late>": n + 9}})
        run = self.converted()
        self.assertIn("<late>", run.stderr)
        tokens, types = self.key("tokenizer.ggml.tokens"), self.key("tokenizer.ggml.token_type")
        self.assertEqual((len(tokens), len(set(tokens)), tokens[n + 1]), (n + 4, n + 4, "[PAD]"))
        self.assertEqual(types[n:], [5, 4, 5, 5])
        self.assertEqual(self.special()[n + 1], 1)
        self.assertEqual(self.key("prompt.template"), "vicuna")

    def test_strip_flags(self):
        def token(text, **flags):
            return {"content": text, "lstrip": False, "rstrip": False, "normalized": True, "single_word": False, **flags}
        self.convert_text(files={"special_tokens_map.json": {"bos_token": token("<s>"), "eos_token": "</s>",
                                                             "unk_token": token("<unk>", rstrip=True)},
                                 "tokenizer_config.json": {"bos_token": "<s>", "eos_token": token("</s>")}})
        self.converted()
        self.assertEqual(self.special(), {0: 0, 1: 0, 2: 1})
        self.assertNotIn("tokenizer.special_lstrip", self.keys)
        self.assertEqual(self.key("tokenizer.special_rstrip"), [1, 0, 1])
        self.convert_text(files={"special_tokens_map.json": {"bos_token": token("<s>", single_word=True)}})
        self.refused("special_tokens_map.json: bos_token: <s> counts only as a word")

    def test_bos(self):
        for files, want, warned in (({"special_tokens_map.json": {"bos_token": "</s>"}}, 2, False),
                                    ({"special_tokens_map.json": {"bos_token": ""}}, 0, True),
                                    ({"tokenizer_config.json": {"add_bos_token": False}}, None, False)):
            self.convert_text(files=files)
            run = self.converted()
            self.assertEqual(self.keys.get("tokenizer.ggml.bos_token_id", (0, None))[1], want)
            self.assertEqual("bos token is empty" in run.stderr, warned)
            for name in files:
                os.remove(self.path("llm", name))
        self.convert_text(files={"special_tokens_map.json": {"bos_token": "<begin>"}})
        self.refused("<begin>")

    def test_eos_is_the_generation_configuration_s(self):
        self.convert_text(files={"generation_config.json": {"eos_token_id": 1}})
        self.converted()
        self.assertEqual(self.key("tokenizer.ggml.eos_token_id"), 1)

    def test_models_that_are_not_supported(self):
        for pieces, text in ((made.sentencepiece(model_type=1), "not a BPE"), (made.sentencepiece(charsmap=b"x"), "rewrites"),
                             (made.sentencepiece(keep_blanks=1), "rewrites"),
                             (made.sentencepiece() + b"\x0a\xff", "SentencePiece"),
                             (made.sentencepiece(made.PIECES + [("a", 0.0, 1)]), "twice"), (b"", "no pieces"),
                             (made.sentencepiece(made.PIECES + [(f"x{i}", 0.0, 1) for i in range(9)]), "rows")):
            self.convert_text(pieces=pieces)
            with self.subTest(text=text):
                self.refused(text)

    def test_no_dummy_prefix(self):
        self.convert_text(pieces=made.sentencepiece(prefix=0))
        self.converted()
        self.assertEqual(self.key("tokenizer.ggml.add_space_prefix"), 0)

    def test_tokenizer_json(self):
        self.convert_text()
        os.remove(self.path("llm", "tokenizer.model"))
        self.refused("tokenizer.model")
        content = {"added_tokens": [{"id": i, "content": made.PIECES[i][0], "special": True} for i in range(3)],
                   "normalizer": {"type": "Sequence", "normalizers": [
                       {"type": "Prepend", "prepend": "\u2581"},
                       {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
                   "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True,
                             "vocab": {text: i for i, (text, _, _) in enumerate(made.PIECES)},
                             "merges": ["# #", "\u2581# ##", "\u2581 a"]}}
        made.write_json(self.path("llm", "tokenizer.json"), content)
        self.converted()
        ids = {text: i for i, text in enumerate(self.key("tokenizer.ggml.tokens"))}
        scores = self.key("tokenizer.ggml.scores")
        self.assertEqual([scores[ids[text]] for text in ("##", "\u2581###", "\u2581a", "a")], [0.0, -1.0, -2.0, -3.0])
        self.assertEqual(self.key("tokenizer.ggml.token_type"), [kind for _, _, kind in made.PIECES])
        content["model"]["type"] = "Unigram"
        made.write_json(self.path("llm", "tokenizer.json"), content)
        self.refused("tokenizer.json")

    def test_sentencepiece_defaults(self):
        pieces = made.field(1, made.field(1, b"a"))
        with self.assertRaisesRegex(ConvertError, "not a BPE"):  # absent model_type is unigram
            sentencepiece_model.parse(pieces, "x")
        with self.assertRaisesRegex(ConvertError, "rewrites"):   # absent remove_extra_whitespaces is true
            sentencepiece_model.parse(pieces + made.field(2, made.field(3, 2)), "x")


class Prompts(Folder):
    """The strings that section 5.2 of the specification shows, put together from the keys as weights/FORMAT.md says."""

    SYS = ("You are able to understand the visual content that the user provides. Follow the instructions carefully and "
           "explain your answers in detail.")
    AV = ("Close your eyes, open your ears and you imagine only based on the sound that: <ImageHere>.                 "
          "Close your ears, open your eyes and you see that <Video><ImageHere></Video>.                  "
          "Now answer my question based on what you have just seen and heard.")
    TIMES = "0.0, 1.2, 2.5, 3.7, 5.0, 6.2, 7.5, 8.7"
    VIDEO = f"<Video><ImageHere></Video> The video contains 8 frames sampled at {TIMES} seconds.  What is the dog doing?"

    def first(self, template, prompt, system, question="What is the dog doing?"):
        text = self.key(f"prompt.{prompt}") + " " + question
        for name, content in (("video", "<ImageHere>"), ("audio", "<ImageHere>"), ("frames", "8"), ("times", self.TIMES)):
            text = text.replace("{" + name + "}", content)
        return self.key(f"template.{template}.first").replace("{system}", system).replace("{text}", text)

    def test_audio(self):
        made.write(self.root, made.parts())
        self.converted()
        none, system = self.key("prompt.system.video"), self.key("prompt.system.image")
        self.assertEqual((none, system), ("", self.SYS))
        question = "What is the dog doing?"
        opened = self.key("template.vicuna.open")
        self.assertEqual(self.first("vicuna", "video", none) + opened, f"###Human: {self.VIDEO}###Assistant:")
        self.assertEqual(self.first("vicuna", "audio_video", none) + opened, f"###Human: {self.AV} {question}###Assistant:")
        self.assertEqual(self.first("llama_v2", "audio_video", none),
                         f"[INST] <<SYS>>\n\n<</SYS>>\n\n{self.AV} {question} [/INST]")
        self.assertEqual(self.first("vicuna", "image", system) + opened,
                         f"{self.SYS}###Human: <Image><ImageHere></Image>  {question}###Assistant:")

    def test_video_only(self):
        made.write(self.root, made.parts(audio=False))
        self.converted()
        system = self.key("prompt.system.video")
        self.assertEqual((system, self.key("prompt.system.image")), (self.SYS, self.SYS))
        vicuna, llama = self.first("vicuna", "video", system), self.first("llama_v2", "video", system)
        self.assertEqual(vicuna, f"{self.SYS}###Human: {self.VIDEO}###")
        self.assertEqual(llama, f"[INST] <<SYS>>\n{self.SYS}\n<</SYS>>\n\n{self.VIDEO} [/INST]")

        def second(template):
            get = {part: self.key(f"template.{template}.{part}") for part in ("answer", "next", "open")}
            return get["answer"].replace("{text}", "It runs.") + get["next"].replace("{text}", "Why?") + get["open"]
        self.assertEqual(vicuna + second("vicuna"), vicuna + "Assistant: It runs.###Human: Why?###Assistant:")
        self.assertEqual(llama + second("llama_v2"), llama + " It runs. </s><s>[INST] Why? [/INST]")
        self.assertEqual(self.key("template.vicuna.stop"), ["\u2581###", "## #"])
        self.assertEqual(self.key("template.llama_v2.stop"), ["</s>"])
        self.assertEqual([self.key(f"template.{t}.{p}") for t in ("vicuna", "llama_v2") for p in ("cut", "after")],
                         ["###", "Assistant:", "</s>", "ASSISTANT:"])
        self.assertEqual(self.key("prompt.templates"), ["vicuna", "llama_v2"])
        self.assertEqual([self.key(f"sampling.{n}") for n in ("temperature", "top_k", "repetition_penalty", "predict")],
                         [1.0, 50, 1.0, 300])
        self.assertAlmostEqual(self.key("sampling.top_p"), 0.9, places=6)
        self.assertEqual(self.key("prompt.context"), 2000)

    def test_template_option(self):
        made.write(self.root, made.parts(audio=False))
        self.converted("--template", "vicuna")
        self.assertEqual(self.key("prompt.template"), "vicuna")
        self.refused("choose from", options=("--template", "alpaca"), code=2)
