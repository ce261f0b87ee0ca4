"""
whisper_test.py - the converter's Whisper: three layouts give the same file, sizes and ids; what is damaged is refused.
"""
import base64
import json
import os
import unittest

import numpy as np

from harness import Folder  # first: it sets the path to the converter
import bpe_letters
import gguf_reader
import synthetic_whisper as made
import whisper


class Whisper(Folder):
    def built(self, write, *options, **more):
        write(self.root, **more)
        self.converted("--type", "f32", *options)
        return {name: gguf_reader.array(tensor) for name, tensor in self.tensors.items()}

    def test_hugging_face(self):
        state, built = made.tensors(), self.built(made.write_hugging_face)
        self.assertEqual(self.key("vidrun.system"), "whisper")
        for name, value in (("speech.mel_bins", 80), ("speech.positions", made.POSITIONS),
                            ("speech.encoder.head_count", made.HEADS), ("speech.decoder.head_count", made.HEADS),
                            ("speech.decoder.context_length", made.CONTEXT), ("speech.decoder.vocab_size", made.V),
                            ("speech.token.end", made.END), ("speech.token.start", made.END + 1),
                            ("speech.token.language", made.END + 2), ("speech.token.transcribe", made.END + 6),
                            ("speech.token.previous", made.END + 8), ("speech.token.no_speech", made.END + 9),
                            ("speech.token.no_times", made.TIMES - 1), ("speech.languages", made.LANGUAGES),
                            ("speech.multilingual", True)):
            self.assertEqual(self.key(name), value, name)
        conv = state["model.encoder.conv1.weight"]
        np.testing.assert_array_equal(built["speech.encoder.conv1.weight"].reshape(made.D, 3, 80), conv.transpose(0, 2, 1))
        layer = "model.decoder.layers.1."
        cross = built["speech.decoder.blk.1.cross_kv.weight"]
        np.testing.assert_array_equal(cross[:made.D], state[layer + "encoder_attn.k_proj.weight"])
        np.testing.assert_array_equal(cross[made.D:], state[layer + "encoder_attn.v_proj.weight"])
        bias = built["speech.decoder.blk.1.qkv.bias"].reshape(3, made.D)
        np.testing.assert_array_equal(bias[0], state[layer + "self_attn.q_proj.bias"])
        self.assertFalse(bias[1].any())
        np.testing.assert_array_equal(bias[2], state[layer + "self_attn.v_proj.bias"])

    def test_ids(self):
        self.built(made.write_hugging_face)
        never = self.key("speech.suppress")
        signs = [made.PIECES.index("["), made.PIECES.index("]")]
        self.assertEqual(never, sorted(signs + [made.END + 1, *range(made.END + 5, made.END + 10)]))
        self.assertEqual(self.key("speech.suppress_first"), [made.LETTERS.index("\u0120"), made.END])
        tokens = self.key("tokenizer.ggml.tokens")
        self.assertEqual(tokens[made.TIMES:made.TIMES + 2], ["<|0.00|>", "<|0.02|>"])
        self.assertEqual(len(tokens), made.V)
        types = self.key("tokenizer.ggml.token_type")
        self.assertEqual((set(types[:made.END]), set(types[made.END:])), ({1}, {3}))

    def test_layouts_agree(self):
        first = self.built(made.write_hugging_face)
        keys = {name: value for name, value in self.keys.items() if name.startswith(("speech.", "tokenizer."))}
        for write in (made.write_openai, made.write_ctranslate2):
            for name in os.listdir(self.root):
                os.unlink(self.path(name))
            built = self.built(write)
            self.assertEqual(sorted(built), sorted(first))
            for name, array in first.items():
                np.testing.assert_array_equal(built[name], array, name)
            ours = {name: value for name, value in self.keys.items() if name in keys}
            if write == made.write_openai:  # has no list of signs beside speech: they are worked out
                self.assertGreater(len(ours["speech.suppress"][1]), len(keys["speech.suppress"][1]))
                ours["speech.suppress"] = keys["speech.suppress"]
            self.assertEqual(ours, keys)

    def test_int8(self):
        first = self.built(made.write_hugging_face)
        for name in os.listdir(self.root):
            os.unlink(self.path(name))
        built = self.built(made.write_ctranslate2, int8=True)
        worst = 0
        for name, array in first.items():
            step = np.abs(array).max(axis=-1, keepdims=True) / 127 if array.ndim == 2 else 0
            worst = max(worst, float((np.abs(built[name] - array) - step * 0.502).max()))
        self.assertLessEqual(worst, 1e-6)
        name = "speech.decoder.blk.0.fc1.weight"
        self.assertTrue((built[name] != first[name]).any())

    def test_tiktoken(self):
        made.write_openai(self.root)
        os.unlink(self.path("vocab.json"))
        os.unlink(self.path("added_tokens.json"))
        letters = {letter: byte for byte, letter in bpe_letters.LETTERS.items()}
        lines = [base64.b64encode(bytes(letters[c] for c in text)) + b" %d\n" % i for i, text in enumerate(made.PIECES)]
        with open(self.path("multilingual.tiktoken"), "wb") as file:
            file.write(b"".join(lines))
        self.refused("pieces do not go with")  # times of a second, not of thirty
        with unittest.mock.patch.object(whisper, "MOST_TIMES", made.POSITIONS + 1):
            self.converted()
        self.assertEqual(self.key("speech.languages"), ["en", "zh", "de"])

    def test_signs_beside_speech(self):
        ids = {letter: i for i, letter in enumerate(made.LETTERS)}
        for text in (" -", " '", "((", "\u266a"):
            for n in range(2, len(bpe_letters.spell(text.encode())) + 1):
                ids.setdefault(bpe_letters.spell(text.encode())[:n], len(ids))
        found = whisper.non_speech({i: text for text, i in ids.items()}, len(ids))
        for text in (" -", " '", "((", "\u266a", "[", "{"):
            self.assertIn(ids[bpe_letters.spell(text.encode())], found, text)
        self.assertNotIn(ids["a"], found)

    def test_refusals(self):
        state = made.tensors()
        del state["model.decoder.layers.1.encoder_attn.q_proj.bias"]
        made.write_hugging_face(self.root, state)
        self.refused("missing tensor decoder.layers.1.encoder_attn.q_proj.bias")
        state = made.tensors()
        state["model.decoder.layers.0.fc1.weight"] = state["model.decoder.layers.0.fc1.weight"][:, :-1].copy()
        made.write_hugging_face(self.root, state)
        self.refused("model.decoder.layers.0.fc1.weight is [48, 31], expected [48, 32]")
        made.write_hugging_face(self.root)
        with open(self.path("tokenizer.json"), "w", encoding="utf-8") as file:
            json.dump({"model": {"vocab": {"a": 0}}}, file)
        self.refused("the vocabulary has no token <|endoftext|>")

    def test_refusals_of_ctranslate2(self):
        made.write_ctranslate2(self.root, version=3)
        self.refused("format 3")
        made.write_ctranslate2(self.root, spec="TransformerSpec")
        self.refused("'TransformerSpec'")
        made.write_ctranslate2(self.root)
        with open(self.path("model.bin"), "rb") as file:
            data = file.read()
        for n in (20, 200, len(data) // 2):
            with open(self.path("model.bin"), "wb") as file:
                file.write(data[:n])
            self.refused("model.bin", "cut off")


if __name__ == "__main__":
    unittest.main()
