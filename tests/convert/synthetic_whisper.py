"""
synthetic_whisper.py - small Whisper checkpoints in the three published layouts, with random weights, but sure of themselves.

    tensors(seed) -> {Hugging Face name: array}
    write_hugging_face(folder), write_openai(folder), write_ctranslate2(folder, int8=False)

Windows are 1 s (50 positions) in place of 30 s; the vocabulary has the letters for bytes, a few words, three languages and
times. The token table is scaled so that the likeliest token is mostly far ahead: greedy text is then the same at every level.
The last norm has weights of both signs, so that no token calls for itself through the tied head.
"""
import os
import struct

import numpy as np

import synthetic as made

D, HEADS, HIDDEN, BLOCKS, LAYERS, POSITIONS, CONTEXT, BINS = 32, 2, 48, 2, 2, 50, 40, 80
WORDS = ["\u0120a", "\u0120the", "\u0120cat", "ing", "\u0120-", "\u0120'"]
LANGUAGES = ["en", "de", "fr"]
PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
LETTERS = [chr(c) for c in PRINTABLE] + [chr(256 + i) for i in range(256 - len(PRINTABLE))]
SPECIALS = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES), "<|translate|>", "<|transcribe|>",
            "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
PIECES = LETTERS + WORDS
END = len(PIECES)
TIMES = END + len(SPECIALS)
V = TIMES + POSITIONS + 1


def tensors(seed=3, sure=1.2):
    random = np.random.default_rng(seed)
    out = {}

    def normal(name, *shape, scale=None):
        out[name] = (random.standard_normal(shape) * (scale or shape[-1] ** -0.5)).astype("<f4")

    def linear(name, rows, columns, bias=True):
        normal(f"{name}.weight", rows, columns)
        if bias:
            normal(f"{name}.bias", rows, scale=0.1)

    def norm(name):
        out[f"{name}.weight"] = (1 + 0.2 * random.standard_normal(D)).astype("<f4")
        normal(f"{name}.bias", D, scale=0.1)

    def attention(name):
        for part in "qkv":
            linear(f"{name}.{part}_proj", D, D, bias=part != "k")
        linear(f"{name}.out_proj", D, D)

    for i, channels in ((1, BINS), (2, D)):
        normal(f"model.encoder.conv{i}.weight", D, channels, 3, scale=(3 * channels) ** -0.5)
        normal(f"model.encoder.conv{i}.bias", D, scale=0.1)
    for part, n in (("encoder", BLOCKS), ("decoder", LAYERS)):
        for i in range(n):
            layer = f"model.{part}.layers.{i}"
            attention(f"{layer}.self_attn")
            norm(f"{layer}.self_attn_layer_norm")
            if part == "decoder":
                attention(f"{layer}.encoder_attn")
                norm(f"{layer}.encoder_attn_layer_norm")
            linear(f"{layer}.fc1", HIDDEN, D)
            linear(f"{layer}.fc2", D, HIDDEN)
            norm(f"{layer}.final_layer_norm")
        norm(f"model.{part}.layer_norm")
    normal("model.decoder.layer_norm.weight", D, scale=1.5)
    normal("model.encoder.embed_positions.weight", POSITIONS, D, scale=0.5)
    normal("model.decoder.embed_positions.weight", CONTEXT, D, scale=0.7)
    normal("model.decoder.embed_tokens.weight", V, D, scale=sure)
    return out


def tokenizer():
    return {"model": {"type": "BPE", "vocab": {text: i for i, text in enumerate(PIECES)}, "merges": []},
            "added_tokens": [{"id": END + i, "content": text, "special": True} for i, text in enumerate(SPECIALS)]}


def write_hugging_face(folder, state=None):
    config = {"model_type": "whisper", "encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS, "d_model": D}
    made.save_safetensors(os.path.join(folder, "model.safetensors"), state or tensors())
    made.write_json(os.path.join(folder, "config.json"), config)
    made.write_json(os.path.join(folder, "generation_config.json"),
                    {"is_multilingual": True, "suppress_tokens": [PIECES.index("["), PIECES.index("]")]})
    made.write_json(os.path.join(folder, "tokenizer.json"), tokenizer())


OPENAI = (("model.", ""), ("layers.", "blocks."), ("self_attn_layer_norm", "attn_ln"),
          ("encoder_attn_layer_norm", "cross_attn_ln"), ("encoder_attn.", "cross_attn."), ("self_attn.", "attn."),
          ("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"), ("fc1", "mlp.0"), ("fc2", "mlp.2"),
          ("final_layer_norm", "mlp_ln"), ("encoder.layer_norm", "encoder.ln_post"), ("decoder.layer_norm", "decoder.ln"),
          ("embed_tokens", "token_embedding"), ("embed_positions.weight", "positional_embedding"))


def write_openai(folder, state=None):
    renamed = {}
    for name, array in (state or tensors()).items():
        for old, new in OPENAI:
            name = name.replace(old, new)
        renamed[name] = array
    dims = {"n_mels": BINS, "n_audio_ctx": POSITIONS, "n_audio_state": D, "n_audio_head": HEADS, "n_vocab": V}
    made.save_zip(os.path.join(folder, "tiny.pt"), {"dims": dims, "model_state_dict": renamed})
    made.write_json(os.path.join(folder, "config.json"), {"encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS})
    made.write_json(os.path.join(folder, "vocab.json"), {text: i for i, text in enumerate(PIECES)})
    made.write_json(os.path.join(folder, "added_tokens.json"), {text: END + i for i, text in enumerate(SPECIALS)})


def ctranslate2(state):
    """The same tensors under CTranslate2's names: q, k and v in one, keys with a bias of zeros."""
    out = {}
    state = {name[len("model."):]: array for name, array in state.items()}

    def norm(new, old):
        out[f"{new}/gamma"], out[f"{new}/beta"] = state[f"{old}.weight"], state[f"{old}.bias"]

    def linear(new, *old):
        out[f"{new}/weight"] = np.concatenate([state[f"{name}.weight"] for name in old])
        out[f"{new}/bias"] = np.concatenate([state.get(f"{name}.bias", np.zeros(D, "<f4")) for name in old])

    for i in (1, 2):
        linear(f"encoder/conv{i}", f"encoder.conv{i}")
    for part, n in (("encoder", BLOCKS), ("decoder", LAYERS)):
        out[f"{part}/position_encodings/encodings"] = state[f"{part}.embed_positions.weight"]
        norm(f"{part}/layer_norm", f"{part}.layer_norm")
        for i in range(n):
            new, old = f"{part}/layer_{i}", f"{part}.layers.{i}"
            linear(f"{new}/self_attention/linear_0", *(f"{old}.self_attn.{p}_proj" for p in "qkv"))
            linear(f"{new}/self_attention/linear_1", f"{old}.self_attn.out_proj")
            norm(f"{new}/self_attention/layer_norm", f"{old}.self_attn_layer_norm")
            if part == "decoder":
                linear(f"{new}/attention/linear_0", f"{old}.encoder_attn.q_proj")
                linear(f"{new}/attention/linear_1", *(f"{old}.encoder_attn.{p}_proj" for p in "kv"))
                linear(f"{new}/attention/linear_2", f"{old}.encoder_attn.out_proj")
                norm(f"{new}/attention/layer_norm", f"{old}.encoder_attn_layer_norm")
            linear(f"{new}/ffn/linear_0", f"{old}.fc1")
            linear(f"{new}/ffn/linear_1", f"{old}.fc2")
            norm(f"{new}/ffn/layer_norm", f"{old}.final_layer_norm")
    out["decoder/embeddings/weight"] = state["decoder.embed_tokens.weight"]
    out["encoder/num_heads"] = out["decoder/num_heads"] = np.array(HEADS, "<i2")
    out["decoder/activation"] = np.array(1, "i1")
    return out


def quantise(arrays):
    """Matrices as int8 with a scale for every row: number = round(value * scale)."""
    out = {}
    for name, array in arrays.items():
        if array.ndim != 2 or not name.endswith("weight") or "conv" in name:
            out[name] = array
            continue
        scale = (127 / np.abs(array).max(axis=1)).astype("<f4")
        out[name], out[f"{name}_scale"] = np.rint(array * scale[:, None]).astype("i1"), scale
    return out


NUMBERS = {"f4": 0, "i1": 1, "i2": 2, "f2": 4}


def write_ctranslate2(folder, state=None, int8=False, version=6, spec="WhisperSpec"):
    def text(value):
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    arrays = ctranslate2(state or tensors())
    arrays = quantise(arrays) if int8 else arrays
    out = [struct.pack("<I", version), text(spec), struct.pack("<I", 3), struct.pack("<I", len(arrays))]
    for name, array in sorted(arrays.items()):
        out += [text(name), struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape),
                struct.pack("<BI", NUMBERS[made.kind(array)], array.nbytes), array.tobytes()]
    out += [struct.pack("<I", 1), text("decoder/projection/weight"), text("decoder/embeddings/weight")]
    with open(os.path.join(folder, "model.bin"), "wb") as file:
        file.write(b"".join(out))
    made.write_json(os.path.join(folder, "config.json"), {"suppress_ids": [PIECES.index("["), PIECES.index("]")]})
    names = PIECES + SPECIALS + ["<|%.2f|>" % (0.02 * i) for i in range(POSITIONS + 1)]
    with open(os.path.join(folder, "vocabulary.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(names) + "\n")
