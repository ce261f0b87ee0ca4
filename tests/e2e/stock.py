"""
stock.py - stock text models made of our weight files: GGUF as llama.cpp's converter writes it.

    weight file (f32) -> keys under stock names, q and k in adjacent pairs (llama) or as they are (qwen2) -> stock file

Written from the documentation of the format (ggml docs/gguf.md): nothing of tools/convert or src is used but gguf_reader, the
tests' own reader of our files.
"""
import struct
import sys

import numpy as np

import material

sys.path.insert(0, str(material.ROOT / "tests/convert"))
import gguf_reader  # noqa: E402 - found through the path above

ALIGNMENT = 32
Q8_0 = 8
COPIED = ("tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type",
          "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.unknown_token_id",
          "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.pre", "tokenizer.ggml.merges")
ELEMENT = {"tokenizer.ggml.tokens": 8, "tokenizer.ggml.scores": 6, "tokenizer.ggml.token_type": 5, "tokenizer.ggml.merges": 8}


def string(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def value(kind, content):
    if kind == 8:
        return string(content)
    return struct.pack({4: "<I", 5: "<i", 6: "<f", 7: "<B"}[kind], content)


def key(name, kind, content):
    if isinstance(content, list):
        return string(name) + struct.pack("<IIQ", 9, kind, len(content)) + b"".join(value(kind, item) for item in content)
    return string(name) + struct.pack("<I", kind) + value(kind, content)


def adjacent(rows, heads):
    """Rows of q or k from halves to adjacent pairs."""
    n, width = rows.shape
    return rows.reshape(heads, 2, n // heads // 2, width).swapaxes(1, 2).reshape(n, width)


def q8_0(rows):
    """Blocks of 32 numbers: scale f16, 32 bytes."""
    groups = rows.reshape(-1, 32)
    scale = (np.abs(groups).max(axis=1) / np.float32(127)).astype("<f2")
    numbers = np.clip(np.rint(groups / scale.astype("<f4")[:, None]), -127, 127).astype("i1")
    return b"".join(s.tobytes() + n.tobytes() for s, n in zip(scale, numbers))


def made_for(source):
    """Positions that the decoder of one of our files was made for."""
    return gguf_reader.read(source)[0]["llama.context_length"][1]


def make(source, name, arch="llama", quantised=False, left_out=(), more=()):
    """Stock file of the decoder of one of our f32 files; more: keys added, left_out: keys of it left out. -> path"""
    keys, tensors = gguf_reader.read(source)
    told = {key: content for key, (_, content) in keys.items()}
    heads, heads_kv = told["llama.attention.head_count"], told["llama.attention.head_count_kv"]
    out = [("general.architecture", 8, arch), ("general.name", 8, "a decoder")]
    for stem, kind in (("block_count", 4), ("embedding_length", 4), ("feed_forward_length", 4), ("context_length", 4),
                       ("attention.head_count", 4), ("attention.head_count_kv", 4),
                       ("attention.layer_norm_rms_epsilon", 6), ("rope.freq_base", 6)):
        out.append((f"{arch}.{stem}", kind, told[f"llama.{stem}"]))
    out += [(name, ELEMENT.get(name, keys[name][0]), told[name]) for name in COPIED if name in told]
    out = [entry for entry in out if entry[0] not in left_out] + list(more)
    infos, data = [], b""
    for tensor, (_, shape, content) in tensors.items():
        if not tensor.startswith(("blk.", "token_embd.", "output")):
            continue
        rows, kind = np.frombuffer(content, "<f4").reshape(shape), 0
        if arch == "llama" and tensor.endswith(("attn_q.weight", "attn_k.weight")):
            rows = adjacent(rows, heads if "attn_q" in tensor else heads_kv)
        if quantised and len(shape) == 2 and shape[1] % 32 == 0:
            kind, content = Q8_0, q8_0(rows)
        else:
            content = rows.tobytes()
        infos.append(string(tensor) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, len(data)))
        data += content + bytes(-len(content) % ALIGNMENT)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(out)) + b"".join(key(*entry) for entry in out) + b"".join(infos)
    return material.written(name, head + bytes(-len(head) % ALIGNMENT) + data)
