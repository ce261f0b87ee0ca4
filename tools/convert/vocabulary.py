"""
vocabulary.py - the tokenizer keys of the weight file, from the tokenizer files of a LLaMA folder.

    tokenizer.model  (or tokenizer.json)  -> pieces, scores, types
    added_tokens.json                     -> ids behind the pieces ([PAD])
    special_tokens_map.json, tokenizer_config.json -> spellings of bos, eos, unk, pad; whether blanks beside them are dropped
    rows of the token table               -> ids that no piece has get unused names, so that every row has a name

The rules changed with the library that a system pins (release: 28 for transformers 4.28 ...):
    from 31  legacy of tokenizer_config.json counts: false, and a text behind a special token has no blank put in front of it
    from 34  special tokens drop no blanks unless their flags say so; added_tokens_decoder of tokenizer_config.json, where it
             is there, tells all added tokens and their flags, and the other two files are not read

Ref:   transformers 4.28: tokenization_utils_base.py:1978-2040 (the map is applied after the configuration and wins),
       tokenization_utils.py tokenize (a special token that is a plain str strips both sides, an AddedToken what its flags say),
       models/llama/tokenization_llama.py:74-77 (plain strings of the configuration become AddedTokens without flags);
       convert_slow_tokenizer.py (a tokenizer.json keeps merges in the order of scores).
       4.31 models/llama/tokenization_llama.py (legacy: the blank is put in front and taken off again), 4.39 likewise (it is not
       put there) and tokenization_utils_base.py _from_pretrained (added_tokens_decoder).
Trap:  old LLaMA conversions have empty special tokens: looking up "" gives the id of the unknown piece, and that is the BOS
       they use. added_tokens.json of early Llama-2 folders has a <pad> without a row in the table: dropped.
"""
import json
import re

import sentencepiece_model as sp
from errors import ConvertError

DEFAULTS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
WRAPPED = ROLES[:4]  # those that LlamaTokenizer turns into AddedTokens when the configuration has plain strings
LEGACY_RELEASE, FLAGS_RELEASE = 31, 34
BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")


def keys(checkpoint, folder, n_rows, eos_id, report, release=28):
    """release: of transformers 4 that the original pins. -> (keys of the tokenizer, number of the tokenizer's own pieces without
    added ones)"""
    pieces, added = read_pieces(checkpoint, folder)
    label = checkpoint.label(folder)
    n_pieces = len(pieces.texts)
    if n_pieces > n_rows:
        raise ConvertError(f"{label}: the tokenizer has {n_pieces} pieces, the token table only {n_rows} rows")
    decoder = read_decoder(checkpoint, folder) if release >= FLAGS_RELEASE else {}
    added.update({text: i for text, (i, _) in decoder.items()} or read_added(checkpoint, folder))
    specials = read_specials(checkpoint, folder, release, alone=bool(decoder))
    names = {text for text, _ in specials.values()}
    texts, scores, types = list(pieces.texts), list(pieces.scores), list(pieces.types)
    ids = {text: i for i, text in enumerate(texts)}
    for text, i in sorted(added.items(), key=lambda item: item[1]):
        if ids.get(text) == i:
            continue
        if i >= n_rows:
            report.warn(f"{label}: the added token {text} (id {i}) has no row in the token table and is left out")
            continue
        if text in ids or i < len(texts):
            raise ConvertError(f"{label}: the added token {text} (id {i}) collides with a piece")
        append_unused(texts, scores, types, ids, i)
        special = release >= FLAGS_RELEASE and text in names
        append(texts, scores, types, ids, text, 0.0, sp.CONTROL if special else sp.USER_DEFINED)
    append_unused(texts, scores, types, ids, n_rows)

    unknown = types.index(sp.UNKNOWN) if sp.UNKNOWN in types else None
    bos = find_bos(checkpoint, folder, specials, ids, unknown, report)
    if eos_id is not None and eos_id >= n_rows:
        raise ConvertError(f"{label}: eos_token_id {eos_id} is beyond the {n_rows} rows of the token table")
    out = [
        ("tokenizer.ggml.model", "string", "llama"),
        ("tokenizer.ggml.tokens", "[string]", texts),
        ("tokenizer.ggml.scores", "[f32]", scores),
        ("tokenizer.ggml.token_type", "[i32]", types),
    ]
    numbers = (("bos", bos), ("eos", eos_id), ("unknown", unknown))
    out += [(f"tokenizer.ggml.{name}_token_id", "u32", i) for name, i in numbers if i is not None]
    out += prefix_keys(checkpoint, folder, pieces, release)
    return out + special_keys(find_special(specials, added, decoder, ids, release)), n_pieces


def prefix_keys(checkpoint, folder, pieces, release):
    """Whether a blank is put in front of a text, and of which."""
    config, label = checkpoint.json(folder, "tokenizer_config.json"), f"{checkpoint.label(folder)}/tokenizer_config.json"
    legacy = flag(config, "legacy", label) if release >= LEGACY_RELEASE else True
    if legacy or release < FLAGS_RELEASE:
        prefix = pieces.dummy_prefix
    else:
        prefix = flag(config, "add_prefix_space", label)
    out = [("tokenizer.ggml.add_space_prefix", "bool", prefix)]
    if release >= LEGACY_RELEASE:
        out.append(("tokenizer.legacy", "bool", legacy))
    if not legacy and release < FLAGS_RELEASE:
        out.append(("tokenizer.strip_prefix", "bool", True))
    return out


def flag(config, key, label):
    """A boolean that is true where it is missing."""
    value = config.get(key)
    if type(value) is not bool and value is not None:
        raise ConvertError(f"{label}: {key} is {value!r}, expected true or false")
    return value is not False


def find_special(specials, added, decoder, ids, release):
    """{id: (drop blanks before it, behind it)} of the spellings that are no text"""
    marked = {}
    for text, strip in specials.values():
        if text in ids:  # one spelling in two roles: the AddedToken's flags count
            before = marked.get(ids[text], (True, True))
            marked[ids[text]] = (strip[0] and before[0], strip[1] and before[1])
    both = release < FLAGS_RELEASE
    for text in added:
        if text in ids:
            marked.setdefault(ids[text], (both, both))
    marked.update({ids[text]: strip for text, (_, strip) in decoder.items() if text in ids})
    return marked


def special_keys(marked):
    """special_strip: at both sides; the two other lists only where a token drops those of one side."""
    order = sorted(marked)
    out = [("tokenizer.special_ids", "[i32]", order),
           ("tokenizer.special_strip", "[bool]", [all(marked[i]) for i in order])]
    for side, name in enumerate(("lstrip", "rstrip")):
        if any(marked[i][side] and not all(marked[i]) for i in order):
            out.append((f"tokenizer.special_{name}", "[bool]", [marked[i][side] for i in order]))
    return out


def append(texts, scores, types, ids, text, score, kind):
    ids[text] = len(texts)
    texts.append(text)
    scores.append(score)
    types.append(kind)


def append_unused(texts, scores, types, ids, end):
    while len(texts) < end:
        append(texts, scores, types, ids, unused_name(len(texts), ids), 0.0, sp.UNUSED)


def unused_name(i, ids):
    """A spelling for a row that no token has."""
    name = f"<unused_{i}>"
    while name in ids:
        name = f"<{name}>"
    return name


def read_pieces(checkpoint, folder):
    """-> (Pieces, added tokens that the file itself lists)"""
    label = checkpoint.label(folder)
    if checkpoint.has(folder, "tokenizer.model"):
        return sp.parse(checkpoint.bytes(folder, "tokenizer.model"), f"{label}/tokenizer.model"), {}
    if checkpoint.has(folder, "tokenizer.json"):
        try:
            return from_json(checkpoint.json(folder, "tokenizer.json"), f"{label}/tokenizer.json")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ConvertError(f"{label}/tokenizer.json: not understood: {error!r}") from None
    raise ConvertError(f"{label}: neither tokenizer.model nor tokenizer.json lies beside the LLaMA weights")


def from_json(content, label):
    """The pieces of a SentencePiece BPE model that was converted to the tokenizers library's format."""
    model = content["model"]
    rewrite = json.dumps(content.get("normalizer")) + json.dumps(content.get("pre_tokenizer"))
    if model.get("type") != "BPE" or not model.get("byte_fallback") or "\\u2581" not in rewrite:
        raise ConvertError(f"{label}: not a SentencePiece BPE vocabulary with byte fallback; a tokenizer.model is needed")
    added = {token["content"]: token["id"] for token in content.get("added_tokens", [])}
    special = {token["content"] for token in content.get("added_tokens", []) if token.get("special")}
    texts = [text for text, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
    if sorted(model["vocab"].values()) != list(range(len(texts))):
        raise ConvertError(f"{label}: the ids of the vocabulary have gaps")
    ranks = {}
    for rank, merge in enumerate(model["merges"]):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        ranks.setdefault(left + right, rank)
    types = [sp.UNKNOWN if text == model.get("unk_token") else sp.BYTE if BYTE_PIECE.fullmatch(text)
             else sp.CONTROL if text in special else sp.NORMAL for text in texts]
    scores = [0.0 if kind != sp.NORMAL else -float(ranks.get(text, len(ranks))) for text, kind in zip(texts, types)]
    prefix = "Prepend" in rewrite or '"prepend_scheme": "first"' in rewrite or '"prepend_scheme": "always"' in rewrite \
        or '"add_prefix_space": true' in rewrite
    return sp.Pieces(texts, scores, types, prefix), added


def read_added(checkpoint, folder):
    added = checkpoint.json(folder, "added_tokens.json")
    if not all(type(i) is int and i >= 0 for i in added.values()):
        raise ConvertError(f"{checkpoint.label(folder)}/added_tokens.json: an id is not a number")
    return added


def token_flags(entry, label):
    """An AddedToken in a JSON file. -> (spelling, (drop blanks before it, behind it))"""
    if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
        raise ConvertError(f"{label} is neither a text nor a token")
    if entry.get("single_word"):
        raise ConvertError(f"{label}: {entry['content']} counts only as a word of its own (single_word), which is not supported")
    return entry["content"], (bool(entry.get("lstrip")), bool(entry.get("rstrip")))


def read_decoder(checkpoint, folder):
    """added_tokens_decoder: {spelling: (id, strip)}; its flag special means nothing: who has a role is special"""
    label = f"{checkpoint.label(folder)}/tokenizer_config.json: added_tokens_decoder"
    content = checkpoint.json(folder, "tokenizer_config.json").get("added_tokens_decoder") or {}
    if not isinstance(content, dict) or not all(i.isascii() and i.isdigit() for i in content):
        raise ConvertError(f"{label} is not a table of ids")
    out = {}
    for i, entry in content.items():
        text, strip = token_flags(entry, f"{label}: {i}")
        out[text] = (int(i), strip)
    return out


def read_specials(checkpoint, folder, release=28, alone=False):
    """{role: (spelling, (drop blanks before it, behind it))}; the special tokens map wins over the configuration;
    alone: is not read."""
    found = {role: (text, (False, False)) for role, text in DEFAULTS.items()}
    for name in ("tokenizer_config.json",) if alone else ("tokenizer_config.json", "special_tokens_map.json"):
        content = checkpoint.json(folder, name)
        extra = content.get("additional_special_tokens")
        entries = [(role, content[role]) for role in ROLES if content.get(role) is not None]
        entries += [(f"additional {i}", entry) for i, entry in enumerate(extra if isinstance(extra, list) else [])]
        for role, entry in entries:
            if isinstance(entry, str):
                both = release < FLAGS_RELEASE and (name == "special_tokens_map.json" or role not in WRAPPED)
                found[role] = (entry, (both, both))
            else:
                found[role] = token_flags(entry, f"{checkpoint.label(folder)}/{name}: {role}")
    return found


def find_bos(checkpoint, folder, specials, ids, unknown, report):
    if checkpoint.json(folder, "tokenizer_config.json").get("add_bos_token", True) is False:
        return None
    label, text = checkpoint.label(folder), specials["bos_token"][0]
    if text in ids:
        return ids[text]
    if text == "" and unknown is not None:
        report.warn(f"{label}: the bos token is empty; the original then begins every prompt with the unknown token, "
                    "and so will vidrun")
        return unknown
    raise ConvertError(f"{label}: the bos token {text!r} is not in the vocabulary")
