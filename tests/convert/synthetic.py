"""
synthetic.py - small checkpoints in the released layout, written byte by byte: no torch, no safetensors, no sentencepiece.

    video_llama(folder, ...) -> {role: {name: array}}   writes the files that save_zip, save_legacy, save_safetensors and
                                                        sentencepiece() make
Opcodes and containers are written out here from their documentation, so that the readers are not tested against themselves.
"""
import io
import json
import os
import struct
import zipfile

import numpy as np

STORAGE = {"f4": "FloatStorage", "f2": "HalfStorage", "f8": "DoubleStorage", "i8": "LongStorage", "u2": "BFloat16Storage"}
SAFE = {"f4": "F32", "f2": "F16", "f8": "F64", "i8": "I64", "u2": "BF16"}


def kind(array):
    return array.dtype.str[1:]


def bf16(array):
    """Upper half of float32, cut: a uint16 array stands for bfloat16 everywhere here."""
    return (np.ascontiguousarray(array, "<f4").view("<u4") >> 16).astype("<u2")


class View:
    """A tensor that is a strided view of another array's storage."""

    def __init__(self, base, offset, shape, strides):
        self.base, self.offset, self.shape, self.strides = base, offset, shape, strides


class Pickle:
    """Protocol 2 of dictionaries, lists, numbers, strings and tensors."""

    def __init__(self, legacy=False):
        self.out, self.storages, self.legacy = io.BytesIO(), [], legacy

    def raw(self, data):
        self.out.write(data)

    def text(self, value):
        data = value.encode()
        self.raw(b"X" + struct.pack("<I", len(data)) + data)

    def put(self, value):
        if isinstance(value, dict):
            self.raw(b"ccollections\nOrderedDict\n)R(")
            for key, content in value.items():
                self.put(key)
                self.put(content)
            self.raw(b"u}")  # then the attribute that torch gives a state dictionary
            self.text("_metadata")
            self.raw(b"ccollections\nOrderedDict\n)Rsb")
        elif isinstance(value, (np.ndarray, View)):
            self.tensor(value)
        elif isinstance(value, str):
            self.text(value)
        elif isinstance(value, bool):
            self.raw(b"\x88" if value else b"\x89")
        elif isinstance(value, int):
            self.raw(b"J" + struct.pack("<i", value) if -2**31 <= value < 2**31 else b"\x8a\x0a" + value.to_bytes(10, "little"))
        elif isinstance(value, float):
            self.raw(b"G" + struct.pack(">d", value))
        elif value is None:
            self.raw(b"N")
        else:
            self.raw(b"](")
            for item in value:
                self.put(item)
            self.raw(b"e")

    def numbers(self, values):
        self.raw(b"(")
        for value in values:
            self.put(int(value))
        self.raw(b"t")

    def tensor(self, value):
        base = value.base if isinstance(value, View) else value
        key = str(len(self.storages))
        self.storages.append(base)
        self.raw(b"ctorch._utils\n_rebuild_tensor_v2\n((")
        self.text("storage")
        self.raw(b"ctorch\n" + STORAGE[kind(base)].encode() + b"\n")
        self.text(key)
        self.text("cpu")
        self.put(base.size)
        if self.legacy:
            self.raw(b"N")
        self.raw(b"tQ")
        if isinstance(value, View):
            offset, shape, strides = value.offset, value.shape, value.strides
        else:
            offset, shape = 0, value.shape
            strides = [stride // value.itemsize for stride in np.empty(shape, value.dtype).strides]
        self.put(int(offset))
        self.numbers(shape)
        self.numbers(strides)
        self.raw(b"\x89ccollections\nOrderedDict\n)RtR")

    def finish(self, value):
        self.raw(b"\x80\x02")
        self.put(value)
        self.raw(b".")
        return self.out.getvalue()


def save_zip(path, content, pickle=None, compression=zipfile.ZIP_STORED, extra=()):
    """torch.save's zip format; pickle: other bytes for data.pkl."""
    writer = Pickle()
    data = writer.finish(content)
    stem = os.path.basename(path).rsplit(".", 1)[0]
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{stem}/data.pkl", data if pickle is None else pickle)
        for key, array in enumerate(writer.storages):
            member = zipfile.ZipInfo(f"{stem}/data/{key}")
            member.extra = struct.pack("<2sH", b"FB", 5) + b"ZZZZZ"  # torch pads here, so that the data are aligned
            archive.writestr(member, array.tobytes(), compression)
        archive.writestr(f"{stem}/version", "3\n")
        for name, text in extra:
            archive.writestr(f"{stem}/{name}", text)


def save_legacy(path, content):
    writer = Pickle(legacy=True)
    data = writer.finish(content)
    with open(path, "wb") as file:
        for head in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}):
            file.write(Pickle().finish(head))
        file.write(data)
        file.write(Pickle().finish([str(i) for i in range(len(writer.storages))]))
        for array in writer.storages:
            file.write(struct.pack("<q", array.size) + array.tobytes())


def save_safetensors(path, content, header=None):
    """header: changes the table before it is written."""
    table, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in content.items():
        table[name] = {"dtype": SAFE[kind(array)], "shape": list(array.shape),
                       "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    if header:
        header(table)
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number, content):
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    if isinstance(content, float):
        return varint(number << 3 | 5) + struct.pack("<f", content)
    return varint(number << 3 | 2) + varint(len(content)) + content


PIECES = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)] + [(f"<0x{i:02X}>", 0.0, 6) for i in range(256)] + \
    [(text, -float(i), 1) for i, text in enumerate(["\u2581", "#", "##", "\u2581###", "a", "\u2581a", "\u2581the"])]


def sentencepiece(pieces=None, model_type=2, charsmap=b"", keep_blanks=0, prefix=1):
    pieces = PIECES if pieces is None else pieces
    out = b"".join(field(1, field(1, text.encode()) + field(2, score) + (field(3, sort) if sort != 1 else b""))
                   for text, score, sort in pieces)
    return out + field(2, field(3, model_type) + field(35, 1)) + \
        field(3, field(1, b"identity") + field(2, charsmap) + field(3, prefix) + field(4, keep_blanks))


class Random:
    """Arrays whose numbers are exact in float16 and in bfloat16."""

    def __init__(self, seed):
        self.generator = np.random.default_rng(seed)

    def __call__(self, *shape, dtype="<f4"):
        return (self.generator.integers(-120, 120, shape) / 64).astype(dtype)


def vit(random, width=88, blocks=2, hidden=40, grid=2):
    out = {"patch_embed.proj.weight": random(width, 3, 14, 14), "patch_embed.proj.bias": random(width),
           "cls_token": random(1, 1, width), "pos_embed": random(1, grid * grid + 1, width),
           "norm.weight": random(width), "head.bias": random(10)}
    for i in range(blocks):
        b = f"blocks.{i}"
        for name, shape in (("norm1.weight", (width,)), ("norm1.bias", (width,)), ("norm2.weight", (width,)),
                            ("norm2.bias", (width,)), ("attn.qkv.weight", (3 * width, width)), ("attn.q_bias", (width,)),
                            ("attn.v_bias", (width,)), ("attn.proj.weight", (width, width)), ("attn.proj.bias", (width,)),
                            ("mlp.fc1.weight", (hidden, width)), ("mlp.fc1.bias", (hidden,)),
                            ("mlp.fc2.weight", (width, hidden)), ("mlp.fc2.bias", (width,))):
            out[f"{b}.{name}"] = random(*shape)
    return out


def bert(random, name, width, blocks, interval, encoder, hidden=24, text=False):
    out = {f"{name}.bert.embeddings.LayerNorm.weight": random(width), f"{name}.bert.embeddings.LayerNorm.bias": random(width),
           f"{name}.bert.embeddings.position_ids": np.arange(6, dtype="<i8").reshape(1, 6)}

    def linear(where, rows, cols):
        out[f"{where}.weight"], out[f"{where}.bias"] = random(rows, cols), random(rows)

    def norm(where):
        out[f"{where}.weight"], out[f"{where}.bias"] = random(width), random(width)

    for i in range(blocks):
        b = f"{name}.bert.encoder.layer.{i}"
        for part, cols in [("attention", width)] + ([("crossattention", encoder)] if i % interval == 0 else []):
            linear(f"{b}.{part}.self.query", width, width)
            linear(f"{b}.{part}.self.key", width, cols)
            linear(f"{b}.{part}.self.value", width, cols)
            linear(f"{b}.{part}.output.dense", width, width)
            norm(f"{b}.{part}.output.LayerNorm")
        linear(f"{b}.intermediate_query.dense", hidden, width)
        linear(f"{b}.output_query.dense", width, hidden)
        norm(f"{b}.output_query.LayerNorm")
        if text:
            linear(f"{b}.intermediate.dense", hidden, width)
            linear(f"{b}.output.dense", width, hidden)
            norm(f"{b}.output.LayerNorm")
    return out


def imagebind(random, width=64, blocks=1, output=20):
    pre, head = "modality_preprocessors.audio", "modality_heads.audio"
    out = {f"{pre}.rgbt_stem.proj.weight": random(width, 1, 16, 16), f"{pre}.rgbt_stem.norm_layer.weight": random(width),
           f"{pre}.rgbt_stem.norm_layer.bias": random(width), f"{pre}.cls_token": random(1, 1, width),
           f"{pre}.pos_embedding_helper.pos_embed": random(1, 229, width), f"{head}.0.weight": random(width),
           f"{head}.0.bias": random(width), f"{head}.2.weight": random(output, width),
           "modality_postprocessors.audio.1.log_logit_scale": np.array(np.log(20.0), "<f4"),
           "modality_trunks.vision.blocks.0.attn.in_proj_weight": np.full((3, 3), np.nan, "<f4"),
           "modality_preprocessors.text.mask": random(7, 7)}
    for i in range(blocks):
        b = f"modality_trunks.audio.blocks.{i}"
        for name, shape in (("norm_1.weight", (width,)), ("norm_1.bias", (width,)), ("norm_2.weight", (width,)),
                            ("norm_2.bias", (width,)), ("attn.in_proj_weight", (3 * width, width)),
                            ("attn.in_proj_bias", (3 * width,)), ("attn.bias_k", (1, 1, width)), ("attn.bias_v", (1, 1, width)),
                            ("attn.out_proj.weight", (width, width)), ("attn.out_proj.bias", (width,)),
                            ("mlp.fc1.weight", (48, width)), ("mlp.fc1.bias", (48,)), ("mlp.fc2.weight", (width, 48)),
                            ("mlp.fc2.bias", (width,))):
            out[f"{b}.{name}"] = random(*shape)
    return out


def llama(random, rows, width=32, hidden=40, blocks=2, dtype="<f2"):
    out = {"model.embed_tokens.weight": random(rows, width, dtype=dtype)}
    for i in range(blocks):
        b = f"model.layers.{i}"
        for name, shape in (("self_attn.q_proj", (width, width)), ("self_attn.k_proj", (width, width)),
                            ("self_attn.v_proj", (width, width)), ("self_attn.o_proj", (width, width)),
                            ("mlp.gate_proj", (hidden, width)), ("mlp.up_proj", (hidden, width)),
                            ("mlp.down_proj", (width, hidden)), ("input_layernorm", (width,)),
                            ("post_attention_layernorm", (width,))):
            out[f"{b}.{name}.weight"] = random(*shape, dtype=dtype)
        out[f"{b}.self_attn.rotary_emb.inv_freq"] = random(8)
    out["model.norm.weight"] = random(width, dtype=dtype)
    out["lm_head.weight"] = random(rows, width, dtype=dtype)
    return out


def parts(seed=1, audio=True, rows=None, width=64):
    """Tensors of every file of a small checkpoint."""
    random = Random(seed)
    rows = len(PIECES) if rows is None else rows
    out = {"vit": vit(random),
           "blip2": {"query_tokens": random(1, 4, width), "ln_vision.weight": random(88), "ln_vision.bias": random(88),
                     "t5_proj.weight": random(3, 3), "Qformer.cls.predictions.bias": random(5),
                     "Qformer.bert.embeddings.word_embeddings.weight": random(5, width),
                     **bert(random, "Qformer", width, 3, 2, 88, text=True)},
           "vl": {"video_query_tokens": random(1, 4, width), "video_frame_position_embedding.weight": random(32, width),
                  "llama_proj.weight": random(32, width), "llama_proj.bias": random(32),
                  **bert(random, "video_Qformer", width, 2, 1, width),
                  "llama_model.model.layers.0.self_attn.rotary_emb.inv_freq": random(8)},
           "llm": llama(random, rows)}
    if audio:
        out["imagebind"] = imagebind(random)
        out["al"] = {"audio_query_tokens": random(1, 3, width), "audio_position_embedding.weight": random(8, 20),
                     "audio_llama_proj.weight": random(32, width), "audio_llama_proj.bias": random(32),
                     **bert(random, "audio_Qformer", width, 2, 1, 20),
                     "audio_encoder.modality_postprocessors.audio.1.log_logit_scale": np.array(np.log(20.0), "<f4")}
    return out


CONFIG = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
          "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2,
          "tie_word_embeddings": False}
FILES = {"vit": "eva_vit_g.pth", "blip2": "blip2_pretrained.pth", "vl": "trained/vl.pth", "al": "trained/al.pth",
         "imagebind": "imagebind_huge.pth"}


def write_json(path, content):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)


def write(folder, tensors, config=None, save_llm=None):
    """The files of parts() as a user has them."""
    os.makedirs(os.path.join(folder, "trained"), exist_ok=True)
    llm = os.path.join(folder, "llm")
    os.makedirs(llm, exist_ok=True)
    for name, path in FILES.items():
        if name in tensors:
            nested = name in ("blip2", "vl", "al")
            content = {"model": tensors[name], "epoch": 2, "scaler": {"scale": 65536.0}} if nested else tensors[name]
            save_zip(os.path.join(folder, path), content)
    (save_llm or (lambda where, content: save_zip(os.path.join(where, "pytorch_model.bin"), content)))(llm, tensors["llm"])
    write_json(os.path.join(llm, "config.json"), {**CONFIG, **(config or {})})
    with open(os.path.join(llm, "tokenizer.model"), "wb") as file:
        file.write(sentencepiece())
    return llm
