"""
bpe_vocabulary.py - the tokenizer keys of the weight file from a tokenizer.json of a byte-level BPE (Qwen2, Llama 3).

    tokenizer.json: model (vocab, merges, ignore_merges), normalizer, pre_tokenizer -> tokens, merges, tokenizer.ggml.pre
                    added_tokens -> ids behind the pieces, special strings
    tokenizer_config.json, special_tokens_map.json -> bos

What this version does not read is refused: another expression, another normal form, tokens that must stand alone.
Ref:   huggingface/tokenizers serialisation of BPE, Split, ByteLevel, AddedToken; transformers 4.43 PreTrainedTokenizerFast.
Trap:  the length of the original's tokenizer is the number of its tokens, and the rows of a longer token table are cut to it
       (longvu/builder.py:230). Merges are "LEFT RIGHT" in older files and pairs in newer ones.
"""
from checkpoint import integer
from errors import ConvertError

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5

EXPRESSION = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
              r"|\s+(?!\S)|\s+")
SPLITS = {EXPRESSION % r"\p{N}": "qwen2", EXPRESSION % r"\p{N}{1,3}": "llama-bpe"}

PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
ALPHABET = {chr(c) for c in PRINTABLE} | {chr(256 + i) for i in range(256 - len(PRINTABLE))}


def read(checkpoint, folder):
    """-> Tokenizer of the folder's tokenizer.json"""
    label = f"{checkpoint.label(folder)}/tokenizer.json"
    if not checkpoint.has(folder, "tokenizer.json"):
        raise ConvertError(f"{label}: missing")
    content = checkpoint.json(folder, "tokenizer.json")
    try:
        return Tokenizer(content, label)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConvertError(f"{label}: not understood: {error!r}") from None


class Tokenizer:
    def __init__(self, content, label):
        self.label, model = label, content["model"]
        if model["type"] != "BPE" or model.get("byte_fallback") or model.get("dropout"):
            raise ConvertError(f"{label}: not a byte-level BPE vocabulary")
        self.ignore_merges = model.get("ignore_merges", False) is True
        self.merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
        self.nfc = self._normal_form(content.get("normalizer"))
        self.pre = self._split(content["pre_tokenizer"])
        self.pieces = self._pieces(model["vocab"])
        self.added = self._added(content.get("added_tokens") or [])
        self.length = len(set(self.pieces) | set(self.added))
        if max(set(self.pieces) | set(self.added)) != self.length - 1:
            raise ConvertError(f"{label}: the ids of the tokens have gaps")

    def _normal_form(self, normalizer):
        if normalizer is not None and normalizer.get("type") != "NFC":
            raise ConvertError(f"{self.label}: the normalizer {normalizer.get('type')!r} is not supported, only NFC")
        return normalizer is not None

    def _split(self, pre):
        parts = pre["pretokenizers"] if pre["type"] == "Sequence" else [pre]
        kinds = [part["type"] for part in parts]
        name = SPLITS.get(parts[0]["pattern"].get("Regex")) if kinds == ["Split", "ByteLevel"] else None
        if name is None or parts[0].get("invert") or parts[0]["behavior"] != "Isolated" or parts[1].get("use_regex"):
            raise ConvertError(f"{self.label}: its pre_tokenizer is neither that of Qwen2 nor that of Llama 3")
        return name

    def _pieces(self, vocab):
        pieces = {i: text for text, i in vocab.items()}
        if len(pieces) != len(vocab) or not all(type(i) is int and i >= 0 for i in pieces):
            raise ConvertError(f"{self.label}: two pieces have one id")
        missing = sorted(ALPHABET - set(vocab))
        if missing:
            raise ConvertError(f"{self.label}: the vocabulary has no piece for byte letter {missing[0]!r}")
        return pieces

    def _added(self, tokens):
        """{id: (spelling, special, drop blanks beside it)}"""
        added = {}
        for token in tokens:
            i = integer(token, "id", self.label, low=0)
            if token.get("single_word") or not token["content"]:
                raise ConvertError(f"{self.label}: the added token {i} must stand alone or is empty, which is not supported")
            added[i] = (token["content"], token.get("special") is True, bool(token.get("lstrip") or token.get("rstrip")))
        return added

    def keys(self, bos, eos, n_rows):
        """Keys for a token table of n_rows; eos: ids that end an answer."""
        texts, types = [], []
        for i in range(n_rows):
            added = self.added.get(i)
            texts.append(added[0] if added else self.pieces.get(i, f"<unused_{i}>"))
            types.append((CONTROL if added[1] else USER_DEFINED) if added else NORMAL if i in self.pieces else UNUSED)
        wrong = next((i for i, kind in enumerate(types) if kind == NORMAL and not set(texts[i]) <= ALPHABET), None)
        if wrong is not None:
            raise ConvertError(f"{self.label}: the piece {texts[wrong]!r} (id {wrong}) is not spelled in the letters for bytes")
        special = sorted(self.added)
        out = [
            ("tokenizer.ggml.model", "string", "gpt2"),
            ("tokenizer.ggml.pre", "string", self.pre),
            ("tokenizer.ggml.tokens", "[string]", texts),
            ("tokenizer.ggml.token_type", "[i32]", types),
            ("tokenizer.ggml.merges", "[string]", self.merges),
            ("tokenizer.ignore_merges", "bool", self.ignore_merges),
            ("tokenizer.nfc", "bool", self.nfc),
            ("tokenizer.special_ids", "[i32]", special),
            ("tokenizer.special_strip", "[bool]", [self.added[i][2] for i in special]),
            ("tokenizer.skip_special", "bool", True),
        ]
        out += [("tokenizer.ggml.bos_token_id", "u32", bos)] if bos is not None else []
        out += [("tokenizer.ggml.eos_token_id", "u32", eos[0])] if eos else []
        out += [("tokenizer.eos_ids", "[i32]", eos[1:])] if len(eos) > 1 else []
        return out

    def find(self, text):
        """The id of an added token, or None."""
        return next((i for i, (content, _, _) in self.added.items() if content == text), None)


def bos_id(checkpoint, folder, tokenizer):
    """The token that a text begins with, None where there is none."""
    text = None
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        entry = checkpoint.json(folder, name).get("bos_token", text)
        text = entry.get("content") if isinstance(entry, dict) else entry
    if text is None:
        return None
    found = tokenizer.find(text)
    if found is None:
        raise ConvertError(f"{tokenizer.label}: the bos token {text!r} is none of its added tokens")
    return found
