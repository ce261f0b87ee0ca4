"""
bpe_vocabulary.py - the tokenizer keys of the weight file from the files of a byte-level BPE (Qwen2, Llama 3).

    tokenizer.json: model (vocab, merges, ignore_merges), normalizer, pre_tokenizer -> tokens, merges, tokenizer.ggml.pre
                    added_tokens -> ids behind the pieces, special strings
    vocab.json, merges.txt: the same of a Qwen2 tokenizer that has no tokenizer.json
    tokenizer_config.json (added_tokens_decoder, bos), added_tokens.json, special_tokens_map.json -> more of these, bos

What this version does not read is refused: another expression, another normal form, tokens that must stand alone.
Ref:   huggingface/tokenizers serialisation of BPE, Split, ByteLevel, AddedToken; transformers 4.43 PreTrainedTokenizerFast,
       models/qwen2/tokenization_qwen2.py:186-200 (merges.txt).
Trap:  the length of the original's tokenizer is the number of its tokens, and the rows of a longer token table are cut to it
       (longvu/builder.py:230). Merges are "LEFT RIGHT" in older files and pairs in newer ones. The flags of an added token in
       tokenizer_config.json win over those in tokenizer.json. clean_up_tokenization_spaces is true where it is not said, but
       not for Qwen2 (transformers 4.43 tokenization_utils_base.py, tokenization_qwen2.py).
"""
import bpe_letters
import vocabulary
from errors import ConvertError

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
LONGEST_ADDED = 256  # bytes: VR_VOCAB_SEARCHED_BYTES

EXPRESSION = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
              r"|\s+(?!\S)|\s+")
SPLITS = {EXPRESSION % r"\p{N}": "qwen2", EXPRESSION % r"\p{N}{1,3}": "llama-bpe"}

ALPHABET = set(bpe_letters.LETTERS.values())


def read(checkpoint, folder):
    """-> Tokenizer of a folder"""
    label = checkpoint.label(folder)
    if checkpoint.has(folder, "tokenizer.json"):
        name, content = "tokenizer.json", checkpoint.json(folder, "tokenizer.json")
    elif checkpoint.has(folder, "vocab.json") and checkpoint.has(folder, "merges.txt"):
        name, content = "vocab.json", from_parts(checkpoint, folder)
    else:
        raise ConvertError(f"{label}: neither tokenizer.json nor vocab.json and merges.txt lie beside the decoder's weights")
    try:
        tokenizer = Tokenizer(content, f"{label}/{name}")
        config = checkpoint.json(folder, "tokenizer_config.json")
        for i, token in (config.get("added_tokens_decoder") or {}).items():
            tokenizer.add(int(i), token)
        qwen2 = str(config.get("tokenizer_class")).startswith("Qwen2")
        tokenizer.clean_spaces = config.get("clean_up_tokenization_spaces", not qwen2) is True
        special = {text for text, _ in vocabulary.read_specials(checkpoint, folder).values()}
        for text, i in vocabulary.read_added(checkpoint, folder).items():
            if tokenizer.find(text) != i:
                tokenizer.add(i, {"content": text, "special": text in special})
        tokenizer.close()
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConvertError(f"{label}/{name}: not understood: {error!r}") from None
    return tokenizer


def from_parts(checkpoint, folder):
    """What the tokenizer.json of a Qwen2 tokenizer would say."""
    label = checkpoint.label(folder)
    kind = checkpoint.json(folder, "tokenizer_config.json").get("tokenizer_class")
    if kind not in ("Qwen2Tokenizer", "Qwen2TokenizerFast"):
        raise ConvertError(f"{label}: vocab.json and merges.txt without a tokenizer.json are those of a {kind!r}, only Qwen2's are "
                           "supported")
    try:
        lines = checkpoint.bytes(folder, "merges.txt").decode("utf-8").split("\n")
    except ValueError as error:
        raise ConvertError(f"{label}/merges.txt: {error}") from None
    lines = lines[1:] if lines[0].startswith("#version:") else lines
    merges = [line.split() for line in lines if line.strip()]
    return {"model": {"type": "BPE", "vocab": checkpoint.json(folder, "vocab.json"), "merges": merges},
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": EXPRESSION % r"\p{N}"}, "behavior": "Isolated"},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}}


class Tokenizer:
    def __init__(self, content, label):
        self.label, model = label, content["model"]
        if model["type"] != "BPE" or any(model.get(key) for key in ("byte_fallback", "dropout", "continuing_subword_prefix",
                                                                    "end_of_word_suffix")):
            raise ConvertError(f"{label}: not a byte-level BPE vocabulary")
        self.ignore_merges = model.get("ignore_merges", False) is True
        self.merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
        self.clean_spaces = False
        self.nfc = self._normal_form(content.get("normalizer"))
        self.pre = self._split(content["pre_tokenizer"])
        self.pieces = self._pieces(model["vocab"])
        self.ids = {text: i for i, text in self.pieces.items()}
        self.added = {}  # id: (spelling, special, blanks beside it are dropped)
        for token in content.get("added_tokens") or []:
            self.add(token["id"], token)

    def add(self, i, token):
        """An added token; told a second time its flags count."""
        text, strip = token["content"], bool(token.get("lstrip"))
        if type(i) is not int or i < 0 or not isinstance(text, str):
            raise ConvertError(f"{self.label}: an added token has no id or no content")
        if not 0 < len(text.encode("utf-8")) <= LONGEST_ADDED or token.get("single_word") or strip != bool(token.get("rstrip")):
            raise ConvertError(f"{self.label}: the added token {i} is empty or too long, must stand alone or drops blanks on "
                               "one side, which is not supported")
        if self.ids.setdefault(text, i) != i or self.added.get(i, (self.pieces.get(i, text),))[0] != text:
            raise ConvertError(f"{self.label}: the added token {text!r} (id {i}) collides with another token")
        self.added[i] = (text, token.get("special") is True, strip)

    def close(self):
        """After the last add."""
        self.length = len(set(self.pieces) | set(self.added))
        if max(self.ids.values()) != self.length - 1:
            raise ConvertError(f"{self.label}: the ids of the tokens have gaps")

    def cut(self, n_rows):
        """Leaves out the added tokens without a row in a token table. -> their spellings"""
        if max(self.pieces) >= n_rows:
            raise ConvertError(f"{self.label}: the tokenizer has {len(self.pieces)} pieces, the token table only {n_rows} rows")
        late = sorted(i for i in self.added if i >= n_rows)
        return [self.added.pop(i)[0] for i in late]

    def _normal_form(self, normalizer):
        if normalizer is not None and normalizer.get("type") != "NFC":
            raise ConvertError(f"{self.label}: the normalizer {normalizer.get('type')!r} is not supported, only NFC")
        return normalizer is not None

    def _split(self, pre):
        parts = pre["pretokenizers"] if pre["type"] == "Sequence" else [pre]
        kinds = [part["type"] for part in parts]
        name = SPLITS.get(parts[0]["pattern"].get("Regex")) if kinds == ["Split", "ByteLevel"] else None
        if name is None or parts[0].get("invert") or parts[0]["behavior"] != "Isolated" or parts[1].get("use_regex", True) \
                or parts[1].get("add_prefix_space", True):
            raise ConvertError(f"{self.label}: its pre_tokenizer is neither that of Qwen2 nor that of Llama 3")
        return name

    def _pieces(self, vocab):
        pieces = {i: text for text, i in vocab.items()}
        if len(pieces) != len(vocab) or not all(type(i) is int and i >= 0 for i in pieces) or "" in vocab:
            raise ConvertError(f"{self.label}: two pieces have one id, or one is empty or has no id")
        missing = sorted(ALPHABET - set(vocab))
        if missing:
            raise ConvertError(f"{self.label}: the vocabulary has no piece for byte letter {missing[0]!r}")
        return pieces

    def keys(self, bos, eos, n_rows):
        """Keys for a token table of n_rows; eos: ids that end an answer."""
        texts, types = [], []
        for i in range(n_rows):
            added = self.added.get(i)
            texts.append(added[0] if added else self.pieces.get(i, vocabulary.unused_name(i, self.ids)))
            types.append((CONTROL if added[1] else USER_DEFINED) if added else NORMAL if i in self.pieces else UNUSED)
        self._check_normal({text for text, kind in zip(texts, types) if kind == NORMAL})
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
            ("tokenizer.clean_spaces", "bool", self.clean_spaces),
        ]
        out += [("tokenizer.ggml.bos_token_id", "u32", bos)] if bos is not None else []
        out += [("tokenizer.ggml.eos_token_id", "u32", eos[0])] if eos else []
        out += [("tokenizer.eos_ids", "[i32]", eos[1:])] if len(eos) > 1 else []
        return out

    def _check_normal(self, normal):
        foreign = min((text for text in normal if not ALPHABET.issuperset(text)), default=None)
        if foreign is not None:
            raise ConvertError(f"{self.label}: the piece {foreign!r} (id {self.ids[foreign]}) is not spelled in the letters for "
                               "bytes")
        for merge in self.merges:
            parts = merge.split(" ")
            if len(parts) != 2 or not normal.issuperset((*parts, "".join(parts))):
                raise ConvertError(f"{self.label}: the merge {merge!r} does not make a piece of two pieces")

    def find(self, text):
        """The id of an added token, or None."""
        i = self.ids.get(text)
        return i if i in self.added else None


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
