"""
sentencepiece_model.py - the vocabulary of a tokenizer.model (SentencePiece), its protobuf read by hand.

    ModelProto: 1 pieces { 1 piece, 2 score, 3 type }   2 trainer_spec { 3 model_type, 35 byte_fallback }
                3 normalizer_spec { 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces,
                                    5 escape_whitespaces }

Ref:   google/sentencepiece, src/sentencepiece_model.proto (proto2: fields that are absent have the defaults below).
Trap:  default of model_type is unigram, of the three booleans true; LLaMA writes remove_extra_whitespaces = false.
       Only what the engine's text/spm.c computes is accepted: BPE, no character map, blanks kept.
"""
import struct

from errors import ConvertError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # the numbers of the proto and of GGUF
MODEL_BPE = 2


class Pieces:
    """Spelling, score and type of each id, and whether a blank is put in front of a text."""

    def __init__(self, texts, scores, types, dummy_prefix):
        self.texts, self.scores, self.types, self.dummy_prefix = texts, scores, types, dummy_prefix


def varint(data, at):
    result = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("cut off inside a number")
        byte = data[at]
        at += 1
        result |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return result, at


def fields(data):
    """(number, content) of each field; content is an int or a slice of bytes."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == 0:
            content, at = varint(data, at)
        else:
            if kind == 2:
                n_bytes, at = varint(data, at)
            elif kind in (1, 5):
                n_bytes = 8 if kind == 1 else 4
            else:
                raise ValueError("unknown kind of field")
            content = data[at:at + n_bytes]
            at += n_bytes
            if at > len(data):
                raise ValueError("cut off inside a field")
        yield tag >> 3, content


def parse(data, label):
    """-> Pieces"""
    texts, scores, types = [], [], []
    trainer, normalizer = {}, {}
    try:
        for number, content in fields(data):
            if number == 1:
                piece = dict(fields(content))
                texts.append(piece[1].decode("utf-8"))
                scores.append(struct.unpack("<f", piece.get(2, b"\0\0\0\0"))[0])
                types.append(piece.get(3, NORMAL))
            elif number == 2:
                trainer = dict(fields(content))
            elif number == 3:
                normalizer = dict(fields(content))
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ConvertError(f"{label}: not a SentencePiece model: {error}") from None
    check(texts, types, trainer, normalizer, label)
    return Pieces(texts, scores, types, bool(normalizer.get(3, 1)))


def check(texts, types, trainer, normalizer, label):
    if not texts:
        raise ConvertError(f"{label}: not a SentencePiece model: it has no pieces")
    if len(set(texts)) != len(texts):
        raise ConvertError(f"{label}: a piece occurs twice")
    if not all(NORMAL <= kind <= BYTE for kind in types):
        raise ConvertError(f"{label}: a piece has an unknown type")
    if trainer.get(3, 1) != MODEL_BPE:
        raise ConvertError(f"{label}: not a BPE model (model_type {trainer.get(3, 1)}); only BPE is supported")
    if normalizer.get(2) or normalizer.get(4, 1) or not normalizer.get(5, 1):
        raise ConvertError(f"{label}: it rewrites texts (character map or blanks), which is not supported")
