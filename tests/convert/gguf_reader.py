"""
gguf_reader.py - reads a flat weight file back, written from weights/FORMAT.md and not from the converter's code.

    read(path) -> (keys: {name: (kind, content)}, tensors: {name: (type number, shape, bytes)}, checked facts of the layout)

Raises AssertionError where the file breaks the layout.
"""
import struct

import numpy as np

SCALARS = {4: "<I", 5: "<i", 6: "<f", 7: "<B"}
ITEM_BYTES = {0: 4, 1: 2, 30: 2}
BLOCK_BYTES = {1008: 1088, 1004: 576}  # strips: of 16 rows and 64 columns


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values[0]

    def string(self):
        n_bytes = self.take("<Q")
        self.at += n_bytes
        return self.data[self.at - n_bytes:self.at].decode("utf-8")

    def value(self, kind):
        if kind == 9:
            inner, count = self.take("<I"), self.take("<Q")
            return [self.value(inner) for _ in range(count)]
        return self.string() if kind == 8 else self.take(SCALARS[kind])


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    cursor = Cursor(data)
    assert data[:4] == b"GGUF"
    cursor.at = 4
    assert cursor.take("<I") == 3
    n_tensors, n_keys = cursor.take("<Q"), cursor.take("<Q")
    keys = {}
    for _ in range(n_keys):
        name, kind = cursor.string(), cursor.take("<I")
        assert name not in keys, name
        keys[name] = (kind, cursor.value(kind))
    infos = []
    for _ in range(n_tensors):
        name = cursor.string()
        dims = [cursor.take("<Q") for _ in range(cursor.take("<I"))]
        infos.append((name, tuple(reversed(dims)), cursor.take("<I"), cursor.take("<Q")))
    alignment = keys["general.alignment"][1]
    base = (cursor.at + alignment - 1) // alignment * alignment
    assert not any(data[cursor.at:base])
    tensors, end = {}, base
    for name, shape, kind, offset in infos:
        assert name not in tensors and offset % alignment == 0
        start = base + offset
        if kind in BLOCK_BYTES:
            n_bytes = -(-shape[0] // 16) * -(-shape[1] // 64) * BLOCK_BYTES[kind]
        else:
            n_bytes = int(np.prod(shape)) * ITEM_BYTES[kind]
        assert start >= end and start - end < alignment and not any(data[end:start])
        end = start + n_bytes
        assert end <= len(data)
        tensors[name] = (kind, shape, data[start:end])
    assert len(data) - end < alignment and not any(data[end:])
    return keys, tensors


def array(tensor):
    """Numbers of a tensor as float32."""
    kind, shape, data = tensor
    if kind == 30:
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    return np.frombuffer(data, {0: "<f4", 1: "<f2"}[kind]).astype("<f4").reshape(shape)
