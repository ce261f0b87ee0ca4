"""
checkpoint.py - the released checkpoint layout of Video-LLaMA, read and written without torch.

  folder -> every .pth/.bin (zip pickle) and .safetensors, every config.json
         -> recognised by what they hold, never by their name
         -> one state dict with the names of VideoLLAMA.state_dict(), later files winning
  dict of arrays -> write_pth: zip with data.pkl (opcodes by hand), data/N, version

Independent of tools/convert on purpose: it is one side of the comparison.

Ref:   torch/serialization.py (zip layout: torch 1.6 and later); load order and names: Video-LLaMA
       video_llama.py:82-250,604-614.
Trap:  a tensor is a view (offset, strides) of a storage that others may share.
       blocks.39 of EVA-g is never built by the original (eva_vit.py:415-442).
Owner: arrays keep the file's precision; bfloat16 becomes float32.
"""

import io
import json
import pathlib
import pickle
import struct
import zipfile

import numpy as np

STORAGES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "BFloat16Storage": "<u2",
}
SAFETENSORS = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8", "I32": "<i4", "BF16": "<u2"}


def widen_bf16(x):
    """uint16 holding bfloat16 bits -> float32."""
    return (x.astype("<u4") << 16).view("<f4")


def narrow_bf16(x):
    """float32 -> uint16 holding bfloat16 bits, to the nearest, ties to even."""
    bits = np.ascontiguousarray(x, "<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


class Storage:
    """Bytes of data/N together with the name of torch's storage class."""

    def __init__(self, raw, kind):
        self.bf16 = kind == "BFloat16Storage"
        self.flat = np.frombuffer(raw, STORAGES[kind])

    def view(self, offset, size, strides):
        flat = self.flat[offset:]
        need = 1 + sum((n - 1) * s for n, s in zip(size, strides))
        if 0 in size:
            x = np.zeros(size, flat.dtype)
        elif need > flat.size:
            raise ValueError(f"tensor {size} reaches beyond its storage")
        else:
            x = np.lib.stride_tricks.as_strided(flat, size, [s * flat.itemsize for s in strides]).copy()
        return widen_bf16(x) if self.bf16 else x


class Unpickler(pickle.Unpickler):
    """Knows the few globals of a state dict and refuses every other one."""

    def __init__(self, raw, archive, folder):
        super().__init__(io.BytesIO(raw))
        self.archive, self.folder = archive, folder

    def find_class(self, module, name):
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, strides, *rest: storage.view(offset, size, strides)
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch" and name in STORAGES:
            return name
        raise pickle.UnpicklingError(f"global {module}.{name} is not part of a state dict")

    def persistent_load(self, key):
        return Storage(self.archive.read(f"{self.folder}/data/{key[2]}"), key[1])


def read_pth(path):
    """-> what torch.load(path) returns, tensors as arrays."""
    with zipfile.ZipFile(path) as archive:
        entry = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
        return Unpickler(archive.read(entry), archive, entry[: -len("/data.pkl")]).load()


def read_safetensors(path):
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    tensors = {}
    for name, info in json.loads(raw[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + o for o in info["data_offsets"])
        x = np.frombuffer(raw[begin:end], SAFETENSORS[info["dtype"]]).reshape(info["shape"])
        tensors[name] = widen_bf16(x) if info["dtype"] == "BF16" else x
    return tensors


def role_of(state):
    """Which of the published files a flat state dict is -> (order of loading, prefix of its names), or None."""
    if (
        "model.embed_tokens.weight" in state
        or any(n.startswith("model.layers.") for n in state)
        or "lm_head.weight" in state
    ):
        return 2, "llama_model."
    if "patch_embed.proj.weight" in state and "pos_embed" in state:
        return 0, "visual_encoder."
    if any(n.startswith("modality_trunks.audio.") for n in state):
        return 3, "audio_encoder."
    if "ln_vision.weight" in state:
        return 1, ""
    if "video_query_tokens" in state:
        return 4, ""
    if "audio_query_tokens" in state:
        return 5, ""
    return None


def load(folder):
    """-> (state dict, bert config, llama folder) of a checkpoint folder, searched with its sub-folders."""
    folder = pathlib.Path(folder)
    parts, bert, llama = [], None, None
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.suffix in (".pth", ".bin"):
            state = read_pth(path)
        elif path.suffix == ".safetensors":
            state = read_safetensors(path)
        else:
            if path.name == "config.json":
                config = json.loads(path.read_text())
                if config.get("model_type") == "llama":
                    llama = path.parent
                elif config.get("model_type") == "bert":
                    bert = config
            continue
        state = state.get("model", state)
        role = role_of(state)
        if role is None:
            raise ValueError(f"{path}: not a file of Video-LLaMA")
        parts.append((*role, state))
    merged = {}
    for _, prefix, state in sorted(parts, key=lambda part: part[0]):
        merged.update({prefix + name: x for name, x in state.items() if isinstance(x, np.ndarray)})
    return merged, bert, llama


class Pickle:
    """Pickle opcodes (protocol 2) of dicts, lists, text, numbers and arrays, as torch.save writes them."""

    KINDS = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage", "uint16": "BFloat16Storage"}

    def __init__(self, share):
        self.out, self.storages, self.share, self.shared = bytearray(b"\x80\x02"), [], share, {}

    def text(self, s):
        raw = s.encode()
        self.out += b"X" + struct.pack("<I", len(raw)) + raw

    def integer(self, n):
        self.out += b"J" + struct.pack("<i", n)

    def integers(self, numbers):
        self.out += b"("
        for n in numbers:
            self.integer(n)
        self.out += b"t"

    def place(self, x):
        """Puts the elements of x into a storage -> (its key, offset in elements). share: one storage for each dtype."""
        if not self.share:
            self.storages.append([x])
            return len(self.storages) - 1, 0
        key = self.shared.setdefault(x.dtype.name, len(self.storages))
        if key == len(self.storages):
            self.storages.append([])
        offset = sum(part.size for part in self.storages[key])
        self.storages[key].append(x)
        return key, offset

    def tensor(self, x):
        key, offset = self.place(x)
        self.out += b"ctorch._utils\n_rebuild_tensor_v2\n(("
        self.text("storage")
        self.out += b"ctorch\n" + self.KINDS[x.dtype.name].encode() + b"\n"
        self.text(str(key))
        self.text("cpu")
        self.integer(offset + x.size)
        self.out += b"tQ"
        self.integer(offset)
        self.integers(x.shape)
        self.integers(s // x.itemsize for s in np.empty(x.shape, x.dtype).strides)
        self.out += b"\x89ccollections\nOrderedDict\n)RtR"

    def value(self, v):
        if isinstance(v, np.ndarray):
            self.tensor(v)
        elif isinstance(v, dict):
            self.out += b"}("
            for key, item in v.items():
                self.value(key)
                self.value(item)
            self.out += b"u"
        elif isinstance(v, list):
            self.out += b"]("
            for item in v:
                self.value(item)
            self.out += b"e"
        elif isinstance(v, str):
            self.text(v)
        elif isinstance(v, float):
            self.out += b"G" + struct.pack(">d", v)
        else:
            self.integer(v)


def write_pth(path, value, share=False):
    """torch.save of nested dicts, lists, numbers, text and arrays; uint16 is bfloat16. share: tensors share storages."""
    p = Pickle(share)
    p.value(value)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{path.stem}/data.pkl", bytes(p.out + b"."))
        for key, arrays in enumerate(p.storages):
            archive.writestr(f"{path.stem}/data/{key}", b"".join(np.ascontiguousarray(x).tobytes() for x in arrays))
        archive.writestr(f"{path.stem}/version", "3\n")


def write_safetensors(path, tensors):
    names = {"float32": "F32", "float16": "F16", "int64": "I64", "uint16": "BF16"}
    header, data = {"__metadata__": {"format": "pt"}}, bytearray()
    for name, x in tensors.items():
        raw = np.ascontiguousarray(x).tobytes()
        header[name] = {
            "dtype": names[x.dtype.name],
            "shape": list(x.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))
