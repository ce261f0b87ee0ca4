"""
safetensors_reader.py - the tensors of a .safetensors file.

    u64 n | n bytes of JSON {name: {dtype, shape, data_offsets}} | data

Ref:   github.com/huggingface/safetensors, README, "Format".
Trap:  offsets count from the end of the JSON; "__metadata__" is not a tensor. Nothing in the header is trusted: each span must
       lie in the file and have the bytes that dtype and shape ask for; a name given twice is refused.
"""
import json
import math
import os
import struct

from errors import ConvertError
from tensor import CARRIER, ITEM_BYTES, Tensor

HEADER_LIMIT = 100 << 20  # the reference implementation's own limit


def read(path, label):
    """-> {name: Tensor}"""
    total = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(8)
        n_bytes = struct.unpack("<Q", head)[0] if len(head) == 8 else None
        if n_bytes is None or n_bytes > min(HEADER_LIMIT, total - 8):
            raise ConvertError(f"{label}: not a safetensors file, or cut off inside its header")
        text = file.read(n_bytes)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique_pairs)
    except (ValueError, RecursionError) as error:
        raise ConvertError(f"{label}: damaged safetensors header: {error}") from None
    if not isinstance(header, dict):
        raise ConvertError(f"{label}: damaged safetensors header: not a table of tensors")
    header.pop("__metadata__", None)
    return {name: tensor(name, entry, 8 + n_bytes, total, path, label) for name, entry in header.items()}


def unique_pairs(pairs):
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table


def tensor(name, entry, base, total, path, label):
    try:
        dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
        well_formed = all(type(n) is int and n >= 0 for n in [*shape, first, last])
    except (KeyError, TypeError, ValueError):
        well_formed = False
    if not well_formed:
        raise ConvertError(f"{label}: damaged entry of tensor {name}")
    if dtype not in CARRIER:
        raise ConvertError(f"{label}: tensor {name} has the unknown type {dtype}")
    if last - first != math.prod(shape) * ITEM_BYTES[dtype] or base + last > total:
        raise ConvertError(f"{label}: tensor {name} does not fit its place in the file (cut off?)")
    return Tensor(name, path, label, dtype, shape, base + first)
