"""
text_reference.py - prompts and token ids of Video-LLaMA in Python: the second opinion on src/text.

  conversation -> render (vicuna or llama_v2) -> pieces between <ImageHere> -> split at special strings
              -> SentencePiece BPE with byte fallback, every stretch with its own dummy prefix -> ids

Ref:   spec 5.1-5.3, 5.5; SentencePiece sentencepiece_model.proto, bpe_model.cc (best score first, leftmost of equals);
       transformers 4.28 tokenization_utils.py (splitting), tokenization_llama.py.
Trap:  only the first piece gets the BOS id; runs of blanks are kept; a special string given as plain text eats the blanks
       beside it.
"""

import json
import struct

SYSTEM = (
    "You are able to understand the visual content that the user provides. Follow the instructions carefully and explain your "
    "answers in detail."
)
AUDIO_VIDEO = (
    "Close your eyes, open your ears and you imagine only based on the sound that: <ImageHere>."
    + " " * 17
    + "Close your ears, "
    "open your eyes and you see that <Video><ImageHere></Video>."
    + " " * 18
    + "Now answer my question based on what you have "
    "just seen and heard."
)
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)


def proto_fields(raw):
    """Yields (field number, value) of a protobuf message; values are ints, bytes or 4-byte words."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(raw):
        tag = varint()
        if tag & 7 == 0:
            value = varint()
        elif tag & 7 == 2:
            n = varint()
            at, value = at + n, raw[at : at + n]
        else:
            n = 4 if tag & 7 == 5 else 8
            at, value = at + n, raw[at : at + n]
        yield tag >> 3, value


class Tokenizer:
    """tokenizer.model with the added tokens of the folder it lies in."""

    def __init__(self, folder):
        self.pieces, self.scores, self.types = [], [], []
        for number, value in proto_fields((folder / "tokenizer.model").read_bytes()):
            if number == 1:
                fields = dict(proto_fields(value))
                self.pieces.append(fields[1].decode())
                self.scores.append(struct.unpack("<f", fields.get(2, b"\0\0\0\0"))[0])
                self.types.append(fields.get(3, NORMAL))
        self.bytes = {int(p[3:5], 16): i for i, (p, t) in enumerate(zip(self.pieces, self.types)) if t == BYTE}
        self.special = {
            p: (i, False) for i, (p, t) in enumerate(zip(self.pieces, self.types)) if t in (CONTROL, UNKNOWN)
        }
        added = folder / "added_tokens.json"
        for piece, i in (json.loads(added.read_text()) if added.exists() else {}).items():
            self.pieces += [""] * (i + 1 - len(self.pieces))
            self.types += [CONTROL] * (i + 1 - len(self.types))
            self.pieces[i] = piece
            self.special[piece] = (i, True)
        self.ids = {p: i for i, p in enumerate(self.pieces)}
        self.normal = {
            p: (s, self.ids[p]) for p, s, t in zip(self.pieces, self.scores, self.types) if t in (NORMAL, USER)
        }

    def stretch(self, text):
        """Ids of a text without special strings."""
        parts = list("\u2581" + text.replace(" ", "\u2581"))
        while True:
            pairs = [
                (-self.normal[a + b][0], i) for i, (a, b) in enumerate(zip(parts, parts[1:])) if a + b in self.normal
            ]
            if not pairs:
                break
            i = min(pairs)[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        ids = []
        for part in parts:
            ids += [self.normal[part][1]] if part in self.normal else [self.bytes[b] for b in part.encode()]
        return ids

    def encode(self, text):
        """Ids of a text; special strings in it become their ids, the longest at the leftmost place."""
        for at in range(len(text)):
            found = [p for p in self.special if text.startswith(p, at)]
            if found:
                piece = max(found, key=len)
                i, strip = self.special[piece]
                before, after = text[:at], text[at + len(piece) :]
                if strip:
                    before, after = before.rstrip(), after.lstrip()
                return (self.stretch(before) if before else []) + [i] + self.encode(after)
        return self.stretch(text) if text else []

    def text(self, ids):
        """Text of ids, or None where the spelling depends on more than the pieces (bytes, special tokens)."""
        if any(self.types[i] not in (NORMAL, USER) for i in ids):
            return None
        return "".join(self.pieces[i] for i in ids).replace("\u2581", " ")


def render(template, system, messages):
    """messages: [user, assistant, user, ...], ending with the user's."""
    if template == "vicuna":
        roles = ("Human", "Assistant")
        turns = "".join(f"{roles[i % 2]}: {text}###" for i, text in enumerate(messages))
        return f"{system}###{turns}Assistant:"
    out = ""
    for i, text in enumerate(messages):
        if i % 2:
            out += f" {text} </s>"
        else:
            head = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if i == 0 else ""
            out += f"<s>[INST] {head}{text} [/INST]"
    return out.lstrip("<s>")


def first_message(kind, n_frames=0, times=""):
    """kind: image, video or audio_video."""
    if kind == "image":
        return "<Image><ImageHere></Image> "
    if kind == "audio_video":
        return AUDIO_VIDEO
    return f"<Video><ImageHere></Video> The video contains {n_frames} frames sampled at {times} seconds. "


def prompt_pieces(tokenizer, prompt, bos):
    pieces = [tokenizer.encode(piece) for piece in prompt.split("<ImageHere>")]
    return [[bos] + pieces[0]] + pieces[1:]


def stop_sequences(tokenizer, template, eos):
    if template == "vicuna":
        stops = [["\u2581###"], ["##", "#"]]
    else:
        stops = [["</s>"]]
    found = [[tokenizer.ids[p] for p in stop] for stop in stops if all(p in tokenizer.ids for p in stop)]
    return found + [[i] for i in eos]


def answer_text(template, text):
    cut, after = ("###", "Assistant:") if template == "vicuna" else ("</s>", "ASSISTANT:")
    return text.split(cut)[0].split(after)[-1].strip()
