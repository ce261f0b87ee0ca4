#!/usr/bin/env python3
"""
stock_llama.py LIKE OUT [OPTION]... - a stock GGUF file of random weights.

    LIKE, a stock file of the architecture llama: its keys and its vocabulary -> OUT with other sizes (default: 1.1 B)

For timing the same file with vidrun and with llama.cpp: an answer of such a model means nothing. Norms are 1; a matrix of K
columns has numbers of about 1/sqrt(K); the same seed gives the same bytes. Head and token table are q8_0 where the type is quantised.
"""
import argparse
import struct
import sys

import numpy

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value by its GGUF type
STRING, ARRAY, U32, U64 = 8, 9, 4, 10
F32, F16, Q4_0, Q8_0 = 0, 1, 2, 8
TYPES = {"f16": F16, "q4_0": Q4_0, "q8_0": Q8_0}
ALIGNMENT = 32


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, form):
        value, = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def string(self):
        n = self.number("Q")
        self.at += n
        return self.data[self.at - n:self.at]

    def skip(self, kind):
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            element, n = self.number("I"), self.number("Q")
            if element in SIZES:
                self.at += SIZES[element] * n
            else:
                for _ in range(n):
                    self.skip(element)
        else:
            self.at += SIZES[kind]


def keys_of(data):
    """name -> (type, its bytes)"""
    r = Reader(data)
    magic, version, _, n_keys = struct.unpack_from("<4sIQQ", data)
    if magic != b"GGUF" or version != 3:
        sys.exit("stock_llama.py: LIKE is no GGUF file of version 3")
    r.at = 24
    keys = {}
    for _ in range(n_keys):
        name, kind = r.string().decode(), r.number("I")
        first = r.at
        r.skip(kind)
        keys[name] = (kind, data[first:r.at])
    return keys


def vocabulary_size(keys):
    return struct.unpack_from("<Q", keys["tokenizer.ggml.tokens"][1], 4)[0]


def replace(keys, o):
    if keys.get("general.architecture") != (STRING, struct.pack("<Q", 5) + b"llama"):
        sys.exit("stock_llama.py: LIKE is not of the architecture llama")
    sizes = {"block_count": o.blocks, "embedding_length": o.width, "feed_forward_length": o.hidden,
             "attention.head_count": o.heads, "attention.head_count_kv": o.kv_heads,
             "rope.dimension_count": o.width // o.heads, "context_length": 4096, "vocab_size": vocabulary_size(keys)}
    for name, size in sizes.items():
        keys["llama." + name] = (U32, struct.pack("<I", size))
    for name in ("llama.attention.key_length", "llama.attention.value_length", "general.alignment", "general.file_type"):
        keys.pop(name, None)


def tensors(o, vocabulary):
    """(name, rows, columns, type); rows 0: a vector"""
    kind, outer = TYPES[o.type], Q8_0 if o.type in ("q4_0", "q8_0") else F16
    kv = o.width // o.heads * o.kv_heads
    yield "token_embd.weight", vocabulary, o.width, outer
    for i in range(o.blocks):
        for name, rows, columns in (("attn_q", o.width, o.width), ("attn_k", kv, o.width), ("attn_v", kv, o.width),
                                    ("attn_output", o.width, o.width), ("ffn_gate", o.hidden, o.width),
                                    ("ffn_up", o.hidden, o.width), ("ffn_down", o.width, o.hidden)):
            yield f"blk.{i}.{name}.weight", rows, columns, kind
        yield f"blk.{i}.attn_norm.weight", 0, o.width, F32
        yield f"blk.{i}.ffn_norm.weight", 0, o.width, F32
    yield "output_norm.weight", 0, o.width, F32
    yield "output.weight", vocabulary, o.width, outer


def n_bytes(rows, columns, kind):
    numbers = (rows or 1) * columns
    return {F32: 4 * numbers, F16: 2 * numbers, Q8_0: numbers // 32 * 34, Q4_0: numbers // 32 * 18}[kind]


def content(rows, columns, kind, random):
    """Bytes of a tensor: random ones, whose scales are then set."""
    if kind == F32:
        return numpy.ones(columns, "<f4").tobytes()
    size = columns ** -0.5
    if kind == F16:
        return (random.random(rows * columns, dtype=numpy.float32) * (2 * size) - size).astype("<f2").tobytes()
    numbers = 32 if kind == Q8_0 else 16
    blocks = numpy.empty(rows * columns // 32, numpy.dtype([("scale", "<f2"), ("numbers", "u1", numbers)]))
    blocks["numbers"] = numpy.frombuffer(random.bytes(blocks.size * numbers), "u1").reshape(-1, numbers)
    blocks["scale"] = random.uniform(0.5, 1.0, blocks.size) * size / (73 if kind == Q8_0 else 4.6)
    return blocks.tobytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("like")
    parser.add_argument("out")
    parser.add_argument("--type", choices=sorted(TYPES), default="q8_0")
    parser.add_argument("--seed", type=int, default=1)
    for name, size in (("blocks", 22), ("width", 2048), ("hidden", 5632), ("heads", 32), ("kv-heads", 4)):
        parser.add_argument("--" + name, type=int, default=size)
    o = parser.parse_args()
    with open(o.like, "rb") as file:
        keys = keys_of(file.read())
    replace(keys, o)
    every = list(tensors(o, vocabulary_size(keys)))
    head = [b"GGUF" + struct.pack("<IQQ", 3, len(every), len(keys))]
    for name, (kind, value) in keys.items():
        head.append(struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + value)
    offset = 0
    for name, rows, columns, kind in every:
        dims = struct.pack("<IQQ", 2, columns, rows) if rows else struct.pack("<IQ", 1, columns)
        head.append(struct.pack("<Q", len(name)) + name.encode() + dims + struct.pack("<IQ", kind, offset))
        offset += -(-n_bytes(rows, columns, kind) // ALIGNMENT) * ALIGNMENT
    head = b"".join(head)
    random = numpy.random.default_rng(o.seed)
    with open(o.out, "wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT))
        for _, rows, columns, kind in every:
            data = content(rows, columns, kind, random)
            file.write(data + bytes(-len(data) % ALIGNMENT))


if __name__ == "__main__":
    main()
