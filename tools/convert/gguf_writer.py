"""
gguf_writer.py - writes the flat weight file of weights/FORMAT.md.

    header | keys | tensor infos | zeros to 64 | data, each tensor at a multiple of 64

The header is written first with placeholders for the SHA-256 of the tensors; the tensors pass through once, block by block;
then the digests, which have a fixed length, are written over the placeholders. The file appears under its name only when it is
whole and on the disk: it is written to a temporary file beside it, which is removed on any failure, an interrupt included.
Ref:   ggml docs/gguf.md (version 3).
Trap:  dims are stored fastest first; offsets count from the start of the data section, not of the file.
"""
import hashlib
import os
import shutil
import struct
import tempfile

import quantised
from errors import ConvertError
from tensor import all_finite, encode, to_f32

ALIGNMENT = 64
TENSOR_TYPE = {"F32": 0, "F16": 1, "BF16": 30, "Q8_R16": 1008, "Q4_R16": 1004}
ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
DIGEST_KEY = "vidrun.tensor_sha256"


class Output:
    """A tensor of the file: parts are Tensors or counts of zeros, one behind the other, together of this shape."""

    def __init__(self, name, shape, dtype, parts):
        self.name, self.shape, self.dtype, self.parts = name, tuple(shape), dtype, parts
        if dtype in quantised.BLOCK_BYTES:
            self.n_bytes = quantised.n_bytes(dtype, *shape)
        else:
            self.n_bytes = ITEM_BYTES[dtype]
            for size in shape:
                self.n_bytes *= size
        assert len(name.encode()) <= 128 and 1 <= len(shape) <= 4 and self.n_bytes > 0


def string(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


SCALAR = {
    "u32": (4, lambda v: struct.pack("<I", v)), "i32": (5, lambda v: struct.pack("<i", v)),
    "f32": (6, lambda v: struct.pack("<f", v)), "bool": (7, lambda v: struct.pack("<B", bool(v))), "string": (8, string),
}


def value(kind, content):
    if kind.startswith("["):
        number, pack = SCALAR[kind[1:-1]]
        return struct.pack("<IIQ", 9, number, len(content)) + b"".join(pack(item) for item in content)
    number, pack = SCALAR[kind]
    return struct.pack("<I", number) + pack(content)


def padding(position):
    return bytes(-position % ALIGNMENT)


def layout(keys, outputs):
    """-> (header bytes, position of the digests in it). keys: (name, kind, content); the digests' content is ignored."""
    out, digests_at = [b"GGUF", struct.pack("<IQQ", 3, len(outputs), len(keys))], None
    for name, kind, content in keys:
        if name == DIGEST_KEY:
            content = ["0" * 64] * len(outputs)
            digests_at = sum(map(len, out)) + len(string(name)) + 4 + 4 + 8
        out.append(string(name) + value(kind, content))
    offset = 0
    for tensor in outputs:
        dims = tensor.shape[::-1]
        out.append(string(tensor.name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, TENSOR_TYPE[tensor.dtype], offset))
        offset += tensor.n_bytes + -tensor.n_bytes % ALIGNMENT
    head = b"".join(out)
    return head + padding(len(head)), digests_at


def total_bytes(outputs):
    return sum(tensor.n_bytes + -tensor.n_bytes % ALIGNMENT for tensor in outputs)


def write(path, keys, outputs, report):
    """Write the whole file; -> its size."""
    head, digests_at = layout(keys, outputs)
    total = len(head) + total_bytes(outputs)
    folder = os.path.dirname(path)
    free = shutil.disk_usage(folder).free
    if total > free:
        raise ConvertError(f"{path}: needs {total / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB left")
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)[:200]}.", suffix=".part", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(head)
            digests = [write_tensor(file, tensor, report) for tensor in outputs]
            file.seek(digests_at)
            file.write(b"".join(string(digest) for digest in digests))
            file.flush()
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(file.fileno(), 0o666 & ~mask)  # mkstemp gives 0600
            os.fsync(file.fileno())
            # what small pieces have left in memory are small pages: whoever maps the file reads it anew, in large ones
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        raise
    sync_folder(folder)
    return total


def write_tensor(file, tensor, report):
    """Convert and write one tensor and its padding; -> SHA-256 of its data."""
    digest, done = hashlib.sha256(), 0
    for data in tensor_bytes(tensor, report):
        digest.update(data)
        file.write(data)
        done += len(data)
        report.progress(len(data), tensor.name)
    assert done == tensor.n_bytes, tensor.name
    file.write(padding(done))
    return digest.hexdigest()


def tensor_bytes(tensor, report):
    if tensor.dtype in quantised.BLOCK_BYTES:
        yield from quantised.strips((values for part in tensor.parts for values in finite_values(part)), tensor.shape[1],
                                    tensor.dtype)
        return
    for part in tensor.parts:
        yield from part_bytes(part, tensor, report)


def finite_values(part):
    for block in part.blocks():
        if not all_finite(block, part.dtype):
            raise ConvertError(f"{part.label}: tensor {part.name} holds NaN or infinity, which a quantised type cannot; "
                               "use --type f16, bf16 or f32")
        yield to_f32(block, part.dtype)


def part_bytes(part, tensor, report):
    if isinstance(part, int):
        yield bytes(part * ITEM_BYTES[tensor.dtype])
        return
    finite = True
    for block in part.blocks():
        data, block_finite, overflow = encode(block, part.dtype, tensor.dtype)
        if overflow:
            raise ConvertError(f"{part.label}: tensor {part.name} has numbers too large for {tensor.dtype}; "
                               "use --type bf16 or f32")
        finite = finite and block_finite
        yield data.view("u1")
    if not finite:
        report.warn(f"{part.label}: tensor {part.name} holds NaN or infinity")


def sync_folder(folder):
    """The new name too should survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
