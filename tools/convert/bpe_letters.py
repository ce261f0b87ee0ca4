"""
bpe_letters.py - the letters that byte-level BPE vocabularies spell bytes with, and one part of a text cut into their pieces.

Ref:   openai/gpt-2 encoder.py (bytes_to_unicode).
"""
PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
OTHERS = [b for b in range(256) if b not in PRINTABLE]
LETTERS = {**{b: chr(b) for b in PRINTABLE}, **{b: chr(256 + i) for i, b in enumerate(OTHERS)}}


def spell(data):
    return "".join(LETTERS[b] for b in data)


def pieces(ids, text):
    """Ids of the pieces of a text that is one part. ids: spelling -> id, where the lower id is the earlier merge."""
    parts = list(spell(text.encode("utf-8")))
    while True:
        found = min(((ids[a + b], i) for i, (a, b) in enumerate(zip(parts, parts[1:])) if a + b in ids), default=None)
        if found is None:
            return [ids[part] for part in parts]
        parts[found[1]:found[1] + 2] = [parts[found[1]] + parts[found[1] + 1]]
