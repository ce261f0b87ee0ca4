"""
bpe_reference.py - byte-level BPE of Qwen2 and Llama 3 in Python: the second opinion on src/text.

  text -> cut at added tokens -> normal form -> words of the expression -> bytes as letters -> merges by rank -> ids
  ids -> letters -> bytes -> text, special tokens left out, blanks before marks too where the tokenizer cleans

Ref:   tokenizer.json; spec LongVU 5.2; transformers models/gpt2 bytes_to_unicode.
Trap:  ignore_merges: a whole word of the vocabulary is taken before any merge. White space is Unicode's, not Python's.
"""

import functools
import json
import re
import sys
import unicodedata

PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
REST = [b for b in range(256) if b not in PRINTABLE]
LETTERS = {b: chr(b) for b in PRINTABLE} | {b: chr(256 + i) for i, b in enumerate(REST)}
BYTES = {letter: b for b, letter in LETTERS.items()}
CLEANED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")  # one after the other
SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


@functools.cache
def category(letter):
    """The inside of a character class: all code points of a general category."""
    points = [c for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c))[0] == letter]
    out, first = "", points[0]
    for here, after in zip(points, points[1:] + [-1]):
        if after != here + 1:
            out, first = out + f"\\U{first:08x}-\\U{here:08x}", after
    return out


def expression(pattern):
    """A pattern of tokenizer.json for Python's re."""
    for name in "LN":
        pattern = re.sub(r"\[([^\]]*)\\p\{%s\}" % name, lambda m: "[" + m[1] + category(name), pattern)
        pattern = re.sub(r"\[([^\]]*)\\p\{%s\}" % name, lambda m: "[" + m[1] + category(name), pattern)
        pattern = pattern.replace(r"\p{%s}" % name, f"[{category(name)}]")
    pattern = re.sub(r"\[\^\\s", lambda m: "[^" + SPACE, pattern)
    return re.compile(pattern.replace(r"\s", f"[{SPACE}]").replace(r"\S", f"[^{SPACE}]"))


class Tokenizer:
    """tokenizer.json of a folder."""

    def __init__(self, folder):
        content = json.loads((folder / "tokenizer.json").read_text())
        model = content["model"]
        self.vocab, self.ignore_merges = model["vocab"], model.get("ignore_merges", False)
        pairs = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        self.ranks = {pair: i for i, pair in enumerate(pairs)}
        self.added = {t["content"]: t["id"] for t in content["added_tokens"]}
        self.special = {t["id"] for t in content["added_tokens"] if t["special"]}
        self.nfc = content.get("normalizer") is not None
        split = content["pre_tokenizer"]["pretokenizers"][0]
        self.words = expression(split["pattern"]["Regex"])
        self.cut = re.compile("(" + "|".join(map(re.escape, sorted(self.added, key=len, reverse=True))) + ")")
        self.pieces = {i: piece for piece, i in self.vocab.items()} | {i: piece for piece, i in self.added.items()}
        self.length = len(self.pieces)
        config = json.loads((folder / "tokenizer_config.json").read_text())
        self.cleans = config.get("clean_up_tokenization_spaces", False)

    def word(self, word):
        letters = "".join(LETTERS[b] for b in word.encode())
        if self.ignore_merges and letters in self.vocab:
            return [self.vocab[letters]]
        parts = list(letters)
        while len(parts) > 1:
            rank, i = min((self.ranks.get(pair, len(self.ranks)), i) for i, pair in enumerate(zip(parts, parts[1:])))
            if rank == len(self.ranks):
                break
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        return [self.vocab[part] for part in parts]

    def encode(self, text):
        ids = []
        for stretch in self.cut.split(text):
            if stretch in self.added:
                ids.append(self.added[stretch])
                continue
            stretch = unicodedata.normalize("NFC", stretch) if self.nfc else stretch
            for match in self.words.finditer(stretch):
                ids += self.word(match[0])
        return ids

    def text(self, ids):
        """Text of ids, or None where the bytes are not UTF-8."""
        raw = b""
        for i in ids:
            if i in self.special:
                continue
            piece = self.pieces[i]
            raw += piece.encode() if piece in self.added else bytes(BYTES[c] for c in piece)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return None
        for marked in CLEANED if self.cleans else ():
            text = text.replace(marked, marked.strip())
        return text
