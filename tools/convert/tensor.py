"""
tensor.py - a tensor that still lies in its file, and the conversions of its numbers.

    file bytes --blocks--> numpy blocks of the stored type --encode--> F32 | F16 | BF16 bytes

Nothing is read before blocks() is walked; one block is BLOCK_BYTES, so a table of any size passes in constant memory.
numpy has no bfloat16: such blocks are uint16 holding the upper half of a float32.
Ref:   IEEE 754 round to nearest, ties to even, for every narrowing.
Trap:  F64 -> BF16/F16 goes through F32 (rounded twice); no published checkpoint holds F64 weights.
"""
import hashlib
import math

import numpy as np

from errors import ConvertError, shape_text

BLOCK_BYTES = 16 << 20

# stored type -> (numpy carrier, bytes of one element); integers occur as buffers and are never converted
CARRIER = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "u1",
}
ITEM_BYTES = {name: np.dtype(carrier).itemsize for name, carrier in CARRIER.items()}


class Tensor:
    """Where and how a tensor is stored. strides are in elements; None means C order without gaps."""

    __slots__ = ("name", "path", "label", "dtype", "shape", "offset", "strides")

    def __init__(self, name, path, label, dtype, shape, offset, strides=None):
        self.name, self.path, self.label, self.dtype = name, path, label, dtype
        self.shape, self.offset = tuple(shape), offset
        self.strides = None if strides is None or contiguous(self.shape, strides) else tuple(strides)

    @property
    def size(self):
        return math.prod(self.shape)

    def expect(self, *shape):
        """The tensor itself if it has this shape, up to axes of length 1 in front ([1, 32, 768] is a [32, 768])."""
        own = self.shape
        while len(own) > len(shape) and own[0] == 1:
            own = own[1:]
        if own != shape:
            raise ConvertError(f"{self.label}: tensor {self.name} is {shape_text(self.shape)}, expected {shape_text(shape)}")
        return self

    def blocks(self):
        """Its elements in C order as flat arrays of the carrier type."""
        if self.size == 0:
            return
        yield from self._runs() if self.strides is None else self._gathered()

    def _runs(self):
        dtype, left = np.dtype(CARRIER[self.dtype]), self.size
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            while left:
                count = min(left, BLOCK_BYTES // dtype.itemsize)
                data = file.read(count * dtype.itemsize)
                if len(data) != count * dtype.itemsize:
                    raise ConvertError(f"{self.label}: the file ends inside tensor {self.name}")
                yield np.frombuffer(data, dtype)
                left -= count

    def _gathered(self):
        dtype = np.dtype(CARRIER[self.dtype])
        mapped = np.memmap(self.path, dtype="u1", mode="r", offset=0)
        last = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides))
        span = mapped[self.offset:self.offset + (last + 1) * dtype.itemsize]
        view = np.ndarray(self.shape, dtype, span, strides=tuple(stride * dtype.itemsize for stride in self.strides))
        rows = max(1, BLOCK_BYTES // max(1, dtype.itemsize * math.prod(self.shape[1:])))
        for first in range(0, self.shape[0], rows):
            yield np.ascontiguousarray(view[first:first + rows]).reshape(-1)

    def values(self):
        """All elements as float32, for small tensors."""
        parts = [to_f32(block, self.dtype) for block in self.blocks()]
        return np.concatenate(parts).reshape(self.shape) if parts else np.zeros(self.shape, "<f4")

    def first_rows(self, n):
        """The tensor cut to n steps of its first axis."""
        return self.rows(0, n)

    def rows(self, first, n):
        """n steps of its first axis, from first on."""
        assert 0 <= first and 0 < n and first + n <= self.shape[0]
        step = self.strides[0] if self.strides else math.prod(self.shape[1:])
        offset = self.offset + first * step * ITEM_BYTES[self.dtype]
        return Tensor(self.name, self.path, self.label, self.dtype, (n, *self.shape[1:]), offset, self.strides)

    def digest(self):
        """The same for two tensors that hold the same numbers as the same type."""
        total = hashlib.sha256(repr((self.dtype, self.shape)).encode())
        for block in self.blocks():
            total.update(block)
        return total.digest()


class Computed:
    """Numbers worked out from a small tensor when they are written: compute(values) is a float32 array."""

    dtype = "F32"

    def __init__(self, source, compute):
        self.name, self.label, self.source, self.compute = source.name, source.label, source, compute

    def blocks(self):
        yield np.ascontiguousarray(self.compute(self.source.values()), "<f4").reshape(-1)


def contiguous(shape, strides):
    step = 1
    for size, stride in zip(reversed(shape), reversed(tuple(strides))):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def to_f32(block, dtype):
    if dtype == "BF16":
        return (block.astype("<u4") << 16).view("<f4")
    if dtype not in ("F64", "F32", "F16"):
        raise ConvertError(f"cannot convert {dtype} to floating point")
    with np.errstate(over="ignore"):
        return block.astype("<f4", copy=False)


def all_finite(block, dtype):
    if dtype == "BF16":
        return not bool(np.any((block & 0x7F80) == 0x7F80))
    if dtype == "F16":  # on the bits: numpy's isfinite converts float16 element by element
        return not bool(np.any((block.view("<u2") & 0x7C00) == 0x7C00))
    return bool(np.isfinite(block).all())


def f32_to_bf16(values):
    bits = np.ascontiguousarray(values).view("<u4")
    rounded = (bits + ((bits >> 16 & 1) + np.uint32(0x7FFF)) >> 16).astype("<u2")
    nan = (bits & 0x7FFFFFFF) > 0x7F800000  # rounding could carry a NaN into infinity: cut it and keep it quiet
    if nan.any():
        rounded[nan] = (bits[nan] >> 16).astype("<u2") | np.uint16(0x40)
    return rounded


def encode(block, dtype, target):
    """Block as target ('F32', 'F16', 'BF16'). -> (array, finite before, finite values became infinite)."""
    finite = all_finite(block, dtype)
    if dtype == target:
        return block, finite, False
    values = to_f32(block, dtype)
    if target == "F32":
        out = values
    elif target == "F16":
        with np.errstate(over="ignore"):
            out = values.astype("<f2")
    else:
        out = f32_to_bf16(values)
    overflow = not all_finite(out, target)
    if overflow and not finite:  # both kinds in one block: compare element by element
        source = np.isfinite(block) if dtype in ("F64", "F32", "F16") else np.isfinite(values)
        overflow = bool(np.any(source & ~np.isfinite(to_f32(out, target))))
    return out, finite, overflow
