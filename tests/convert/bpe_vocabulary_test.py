"""
bpe_vocabulary_test.py - the keys of a byte-level BPE tokenizer from its files.
"""
import os
import pathlib

from harness import Folder  # first: it sets the path to the converter
import synthetic as made
import synthetic_longvu as small


class ByteLevel(Folder):
    def json(self, family="qwen", **changes):
        """tokenizer.json with other contents at the top, in the model or in an added token"""
        content = small.tokenizer_json(family)
        for name, change in changes.items():
            if name == "model":
                content["model"].update(change)
            elif name == "token":
                content["added_tokens"][1].update(change)
            else:
                content[name] = change
        return content

    def bare(self, family="qwen", **changes):
        """A checkpoint whose tokenizer is told by tokenizer.json alone"""
        folder = small.write(self.root, family, tokenizer=self.json(family, **changes))
        made.write_json(os.path.join(folder, "tokenizer_config.json"),
                        {"bos_token": None if family == "qwen" else {"content": "<|begin_of_text|>"}})
        return folder

    def test_qwen(self):
        self.bare()
        self.converted()
        n, texts = len(small.pieces()), small.pieces() + small.SPECIALS["qwen"]
        self.assertEqual(self.key("tokenizer.ggml.tokens"), texts)
        self.assertEqual(self.key("tokenizer.ggml.token_type"), [1] * n + [3] * 3)
        self.assertEqual(self.key("tokenizer.ggml.merges"), ["h e", "t he", "Ġ the"])
        self.assertEqual([self.key(f"tokenizer.{k}") for k in ("ggml.model", "ggml.pre", "nfc", "ignore_merges")],
                         ["gpt2", "qwen2", 1, 0])
        self.assertEqual(self.key("tokenizer.special_ids"), [n, n + 1, n + 2])
        self.assertEqual(self.key("tokenizer.special_strip"), [0, 0, 0])

    def test_llama(self):
        self.bare("llama")
        self.converted()
        self.assertEqual(self.key("tokenizer.ggml.merges"), ["h e", "t he", "Ġ the"])
        self.assertEqual([self.key(f"tokenizer.{k}") for k in ("ggml.pre", "nfc", "ignore_merges")], ["llama-bpe", 0, 1])

    def test_rows_that_no_token_has(self):
        folder = self.bare("llama")
        content = self.json("llama")
        content["added_tokens"][1]["content"] = name = f"<unused_{small.rows('llama')}>"
        made.write_json(os.path.join(folder, "tokenizer.json"), content)
        random, tensors = made.Random(1), small.parts("llama")
        for table in ("model.embed_tokens.weight", "lm_head.weight"):
            tensors["longvu"][table] = random(small.rows("llama") + 2, small.H)
        made.save_safetensors(os.path.join(folder, "model.safetensors"), tensors["longvu"])
        made.write_json(os.path.join(folder, "config.json"), {**small.config("llama"), "vocab_size": small.rows("llama") + 2})
        self.converted()
        self.assertEqual(self.key("tokenizer.ggml.tokens")[-2:], [f"<{name}>", f"<unused_{small.rows('llama') + 1}>"])
        self.assertEqual(self.key("tokenizer.ggml.token_type")[-2:], [5, 5])

    def test_added_tokens(self):
        n = len(small.pieces())
        self.bare(token={"special": False, "lstrip": True, "rstrip": True})
        self.converted()
        self.assertEqual(self.key("tokenizer.ggml.token_type")[n:], [3, 4, 3])
        self.assertEqual(self.key("tokenizer.special_strip"), [0, 1, 0])
        folder = small.write(self.root, tokenizer=self.json(token={"special": False}))  # tokenizer_config.json says special
        made.write_json(os.path.join(folder, "added_tokens.json"), {"<|im_end|>": n + 2, "<tool>": n + 3, "<late>": n + 4})
        self.converted()
        self.assertEqual(self.key("tokenizer.ggml.token_type")[n:], [3, 3, 3, 4, 4])
        self.assertEqual(self.key("tokenizer.ggml.tokens")[n + 3:], ["<tool>", "<late>"])
        self.assertEqual(self.key("llama.vocab_size"), n + 5)

    def test_added_token_without_a_row(self):
        n = len(small.pieces())
        folder = small.write(self.root, "llama")
        made.write_json(os.path.join(folder, "added_tokens.json"), {"<late>": n + 6})
        self.assertIn("<late>", self.converted().stderr)
        self.assertEqual(len(self.key("tokenizer.ggml.tokens")), n + 6)
        self.assertNotIn(n + 6, self.key("tokenizer.special_ids"))

    def test_parts(self):
        folder = small.write(self.root)
        self.converted()
        whole = pathlib.Path(self.out).read_bytes()
        os.remove(os.path.join(folder, "tokenizer.json"))
        self.refused("neither tokenizer.json nor vocab.json and merges.txt")
        made.write_json(os.path.join(folder, "vocab.json"), {text: i for i, text in enumerate(small.pieces())})
        merges = pathlib.Path(folder, "merges.txt")
        merges.write_text("\n".join(["#version: 0.2", *(" ".join(merge) for merge in small.MERGES), "", ""]), encoding="utf-8")
        self.converted()
        self.assertEqual(pathlib.Path(self.out).read_bytes(), whole)
        merges.write_bytes(b"\xff\n")
        self.refused("merges.txt")
        made.write_json(os.path.join(folder, "tokenizer_config.json"), {"tokenizer_class": "GPT2Tokenizer"})
        self.refused("GPT2Tokenizer")

    def test_what_is_not_read(self):
        pieces = {text: i for i, text in enumerate(small.pieces())}
        without = {text: i for text, i in pieces.items() if text != "A"}
        split, level = self.json()["pre_tokenizer"]["pretokenizers"]

        def pre(first=split, second=level):
            return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [first, second]}}
        for changes, text in (
                ({"model": {"type": "WordPiece"}}, "byte-level BPE"), ({"model": {"byte_fallback": True}}, "byte-level BPE"),
                ({"model": {"dropout": 0.1}}, "byte-level BPE"), ({"model": {"end_of_word_suffix": "</w>"}}, "byte-level BPE"),
                ({"model": {"vocab": without}}, "no piece for byte letter 'A'"), ({"model": {"vocab": {}}}, "no piece"),
                ({"model": {"vocab": []}}, "not understood"), ({"model": {"vocab": {**pieces, "he": 0}}}, "two pieces"),
                ({"model": {"vocab": {**pieces, "": 300}}}, "empty"), ({"model": {"vocab": {**pieces, "he": "x"}}}, "no id"),
                ({"model": {"vocab": {**pieces, "a b": 300}}}, "gaps"), ({"model": {"vocab": {**pieces, "日": 262}}}, "letters"),
                ({"model": {"merges": ["h  e"]}}, "the merge"), ({"model": {"merges": ["x y"]}}, "the merge 'x y'"),
                ({"model": {"merges": [["h", "e", "t"]]}}, "the merge"), ({"model": {"merges": [3]}}, "not understood"),
                ({"model": 3}, "not understood"), ({"normalizer": {"type": "NFKC"}}, "NFKC"),
                ({"pre_tokenizer": None}, "understood"),
                (pre(first={**split, "pattern": {"Regex": r"\w+"}}), "pre_tokenizer"),
                (pre(first={**split, "invert": True}), "pre_tokenizer"),
                (pre(first={**split, "behavior": "Removed"}), "pre_tokenizer"), (pre(first=level), "pre_tokenizer"),
                (pre(second={**level, "use_regex": True}), "pre_tokenizer"),
                (pre(second={"type": "ByteLevel", "add_prefix_space": False}), "pre_tokenizer"),
                (pre(second={"type": "ByteLevel", "use_regex": False}), "pre_tokenizer"),
                (pre(second={**level, "add_prefix_space": True}), "pre_tokenizer"),
                ({"token": {"single_word": True}}, "stand alone"), ({"token": {"content": ""}}, "empty"),
                ({"token": {"content": "x" * 257}}, "too long"), ({"token": {"content": 5}}, "no content"),
                ({"token": {"lstrip": True}}, "one side"), ({"token": {"id": -1}}, "no id"), ({"token": {"id": "5"}}, "no id"),
                ({"token": {"content": "<|im_end|>"}}, "collides"), ({"token": {"id": 5}}, "collides"),
                ({"token": {"content": "\ud800"}}, "not understood"), ({"token": {"id": 4000}}, "gaps"),
                ({"token": {"content": "<other>"}}, "needs the added token <|im_start|>"),
                ({"added_tokens": 3}, "not understood")):
            if changes.get("model") == 3:
                folder = self.bare()
                made.write_json(os.path.join(folder, "tokenizer.json"), {**self.json(), "model": 3})
            else:
                self.bare(**changes)
            with self.subTest(changes=str(changes)[:80]):
                self.refused("LongVU_Qwen2_7B", text)

    def test_more_pieces_than_rows(self):
        tensors, random = small.parts(), made.Random(1)
        for table in ("model.embed_tokens.weight", "lm_head.weight"):
            tensors["longvu"][table] = random(100, small.H)
        small.write(self.root, tensors=tensors, change={"vocab_size": 100, "eos_token_id": 3})
        self.refused("only 100 rows")

    def test_bos(self):
        folder = small.write(self.root, "llama")
        for config, text in (({"bos_token": "<s>"}, "'<s>' is none"), ({}, "no bos token")):
            made.write_json(os.path.join(folder, "tokenizer_config.json"), config)
            with self.subTest(config=config):
                self.refused(text)
        made.write_json(os.path.join(folder, "special_tokens_map.json"), {"bos_token": {"content": "<|begin_of_text|>"}})
        self.converted()
        self.assertEqual(self.key("tokenizer.ggml.bos_token_id"), len(small.pieces()))
