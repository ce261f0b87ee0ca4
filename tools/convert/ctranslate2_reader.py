"""
ctranslate2_reader.py - reads the model.bin of CTranslate2: names, types and places, no numbers.

    u32 version | spec name | u32 revision | u32 n | n x (name, u8 rank, u32 dims, u8 type, u32 bytes, data) | aliases

Strings are a u16 length and bytes with a NUL at the end. Here names have points for slashes, weight and bias for gamma and
beta; aliases (tied tables) are left out. int8 matrices are Quantised: number / scale of the row, as their .weight_scale says.
Ref:   OpenNMT/CTranslate2 python/ctranslate2/specs/model_spec.py (_serialize), src/models/model.cc (versions).
Trap:  versions before 4 store sizes of elements instead of types; none of the published Whisper files does.
"""
import os
import struct

import numpy as np

from errors import ConvertError
from tensor import ITEM_BYTES, Tensor

TYPES = {0: "F32", 1: "I8", 2: "I16", 3: "I32", 4: "F16", 5: "BF16"}
VERSIONS = (4, 5, 6)
MOST_TENSORS = 1 << 16


class Quantised:
    """An int8 matrix as if it were one of F32: the parts of tensor.Tensor's interface that a recipe uses."""

    dtype = "F32"

    def __init__(self, stored, scale):
        self.name, self.label, self.shape, self.stored, self.scale = stored.name, stored.label, stored.shape, stored, scale

    def expect(self, *shape):
        self.stored.expect(*shape)
        return self

    def values(self):
        numbers = np.concatenate(list(self.stored.blocks())).astype("<f4").reshape(self.shape)
        return numbers / self.scale.values().reshape((-1,) + (1,) * (len(self.shape) - 1))

    def blocks(self):
        yield self.values().reshape(-1)


class Cursor:
    def __init__(self, file, label):
        self.file, self.label = file, label

    def take(self, form):
        size = struct.calcsize(form)
        data = self.file.read(size)
        if len(data) != size:
            raise ConvertError(f"{self.label}: ends inside its table of tensors (cut off?)")
        return struct.unpack(form, data)[0]

    def string(self):
        n_bytes = self.take("<H")
        data = self.take(f"<{n_bytes}s")
        try:
            return data.rstrip(b"\0").decode("ascii")
        except ValueError:
            raise ConvertError(f"{self.label}: a name is not ASCII") from None


def is_ctranslate2(path):
    with open(path, "rb") as file:
        head = file.read(6)
    return len(head) == 6 and struct.unpack("<I", head[:4])[0] <= 64 and 0 < struct.unpack("<H", head[4:])[0] <= 64


def read(path, label):
    """-> {name: Tensor or Quantised}"""
    with open(path, "rb") as file:
        cursor = Cursor(file, label)
        version = cursor.take("<I")
        if version not in VERSIONS:
            raise ConvertError(f"{label}: CTranslate2's format {version}, only {VERSIONS[0]} to {VERSIONS[-1]} are supported")
        spec = cursor.string()
        cursor.take("<I")
        if spec != "WhisperSpec":
            raise ConvertError(f"{label}: CTranslate2's model of the kind {spec!r}, only WhisperSpec is supported")
        n = cursor.take("<I")
        if n > MOST_TENSORS:
            raise ConvertError(f"{label}: states {n} tensors")
        stored = dict(entry(cursor, path, label) for _ in range(n))
    return {name: dequantised(name, tensor, stored) for name, tensor in stored.items() if not name.endswith("_scale")}


def entry(cursor, path, label):
    name = cursor.string().replace("/", ".").replace(".gamma", ".weight").replace(".beta", ".bias")
    shape = tuple(cursor.take("<I") for _ in range(cursor.take("<B")))
    kind, n_bytes = cursor.take("<B"), cursor.take("<I")
    dtype = TYPES.get(kind)
    offset = cursor.file.tell()
    if dtype is None:
        raise ConvertError(f"{label}: tensor {name} has the unknown type {kind}")
    tensor = Tensor(name, path, label, dtype, shape, offset)
    if len(shape) > 4 or tensor.size * ITEM_BYTES[dtype] != n_bytes or offset + n_bytes > os.path.getsize(path):
        raise ConvertError(f"{label}: tensor {name} does not fit its bytes (cut off?)")
    cursor.file.seek(n_bytes, os.SEEK_CUR)
    return name, tensor


def dequantised(name, tensor, stored):
    scale = stored.get(f"{name}_scale")
    if scale is None:
        return tensor
    if tensor.dtype != "I8" or scale.dtype != "F32" or scale.size not in (1, *tensor.shape[:1]):
        raise ConvertError(f"{tensor.label}: tensor {name} is quantised in a way that is not supported (int8 by row is)")
    return Quantised(tensor, scale)
