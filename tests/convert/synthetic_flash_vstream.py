"""
synthetic_flash_vstream.py - small checkpoints of Flash-VStream in the released layouts, on LLaVA and on Qwen2-VL.

    llava_parts() -> {"model" | "clip": {name: array}}     write_llava(folder, parts, ...) -> the model's folder
    qwen_parts()  -> {name: array}                         write_qwen(folder, parts, ...)

What no system reads holds NaN. Pieces and letters for bytes are those of synthetic_longvu.py.
"""
import os

import numpy as np

import synthetic as made
import synthetic_longvu as longvu
from synthetic_longvu import linear, norm

# on LLaVA: 16 x 16 patches of 2, four blocks of which three are run
D, F, CLIP_BLOCKS, GRID, ATTENTION = 16, 20, 4, 16, 6
H, HIDDEN = 32, 40
MODEL, CLIP = "IVGSZ/Flash-VStream-7b", "openai/clip-vit-large-patch14"

# on Qwen2-VL: two blocks, two heads of 8; a decoder of two heads of 16 with eight pairs each
E, MLP, BLOCKS, HEADS = 16, 28, 2, 2
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
            "<|image_pad|>", "<|video_pad|>"]


def poison(*shape):
    return np.full(shape, np.nan, "<f4")


def clip_tower(random, prefix=""):
    tower = f"{prefix}vision_model"
    out = {f"{tower}.embeddings.class_embedding": random(D), f"{tower}.embeddings.position_ids": np.arange(5, dtype="<i8"),
           f"{tower}.embeddings.patch_embedding.weight": random(D, 3, 2, 2),
           f"{tower}.embeddings.position_embedding.weight": random(GRID * GRID + 1, D)}
    norm(out, random, f"{tower}.pre_layrnorm", D)
    norm(out, poison, f"{tower}.post_layernorm", D)
    for i in range(CLIP_BLOCKS):
        block, source = f"{tower}.encoder.layers.{i}", random if i + 1 < CLIP_BLOCKS else poison
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(out, source, f"{block}.self_attn.{name}", D, D)
        norm(out, source, f"{block}.layer_norm1", D)
        norm(out, source, f"{block}.layer_norm2", D)
        linear(out, source, f"{block}.mlp.fc1", F, D)
        linear(out, source, f"{block}.mlp.fc2", D, F)
    return out


def llava_parts(seed=7):
    random = made.Random(seed)
    model = made.llama(random, len(made.PIECES), width=H, hidden=HIDDEN, dtype="<f4")
    for name in "qk":
        linear(model, random, f"model.attention_model.{name}_proj", ATTENTION, D)
    linear(model, poison, "model.attention_model.v_proj", ATTENTION, D)
    linear(model, poison, "model.attention_model.out_proj", D, ATTENTION)
    norm(model, poison, "model.attention_model.out_ln", D)
    linear(model, random, "model.mm_projector.0", H, D)
    linear(model, random, "model.mm_projector.2", H, H)
    model.update(clip_tower(poison, "model.vision_tower.vision_tower."))
    clip = {**clip_tower(random), "logit_scale": poison(), "text_projection.weight": poison(3, 3),
            "visual_projection.weight": poison(3, D), "text_model.embeddings.token_embedding.weight": poison(3, 3),
            "text_model.encoder.layers.0.mlp.fc1.bias": poison(3)}
    return {"model": model, "clip": clip}


LLAVA_CONFIG = {
    "model_type": "vstream", "hidden_size": H, "intermediate_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2, "rope_scaling": None,
    "tie_word_embeddings": False, "vocab_size": len(made.PIECES),
    "compress_type": "mean", "compress_size": 8, "compress_long_memory_size": 4, "compress_Turing_memory_size": 1,
    "compress_Turing_update_ratio": 0.25, "mm_hidden_size": D, "mm_projector_type": "mlp2x_gelu",
    "mm_use_4_vision_tokens": False, "mm_use_im_patch_token": False, "mm_use_im_start_end": False,
    "mm_vision_select_feature": "patch", "mm_vision_select_layer": -2, "mm_vision_tower": CLIP,
    "tokenizer_model_max_length": 2048, "video_sample_type": "weighted_kmeans", "video_long_memory_length": 24,
    "video_Turing_memory_length": 23, "video_current_memory_length": 2, "video_short_memory_length": 10, "video_max_frames": 26,
}
CLIP_CONFIG = {"model_type": "clip", "text_config": {"num_attention_heads": 7},
               "vision_config": {"hidden_size": D, "image_size": 32, "patch_size": 2, "num_attention_heads": 2,
                                 "num_hidden_layers": CLIP_BLOCKS, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}}
LLAVA_GENERATION = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "max_length": 4096, "temperature": 0.9,
                    "top_p": 0.6}


def told(config, change):
    """change: None values leave a key out."""
    return {key: value for key, value in {**config, **(change or {})}.items() if value is not None}


def write_llava(root, tensors=None, change=None, generation=None, tokenizer=None):
    """change: of config.json; generation, tokenizer: other files. -> folder of the model"""
    tensors = tensors or llava_parts()
    folder, tower = os.path.join(root, MODEL), os.path.join(root, CLIP)
    for where, part in ((folder, "model"), (tower, "clip")):
        os.makedirs(where, exist_ok=True)
        made.save_zip(os.path.join(where, "pytorch_model.bin"), tensors[part])
    made.write_json(os.path.join(folder, "config.json"), told(LLAVA_CONFIG, change))
    made.write_json(os.path.join(folder, "generation_config.json"), LLAVA_GENERATION if generation is None else generation)
    made.write_json(os.path.join(folder, "tokenizer_config.json"), tokenizer or {"legacy": False})
    made.write_json(os.path.join(tower, "config.json"), CLIP_CONFIG)
    with open(os.path.join(folder, "tokenizer.model"), "wb") as file:
        file.write(made.sentencepiece())
    return folder


def rows():
    """Of the token table: the tokenizer's and three more."""
    return len(longvu.pieces()) + len(SPECIALS) + 3


def special(text):
    return len(longvu.pieces()) + SPECIALS.index(text)


def qwen_parts(seed=9):
    random = made.Random(seed)
    out = made.llama(random, rows(), width=H, hidden=HIDDEN, dtype="<f4")
    out = {name: array for name, array in out.items() if not name.endswith(("inv_freq", "k_proj.weight", "v_proj.weight"))}
    for i in range(2):
        for name, n in (("q", H), ("k", H // 2), ("v", H // 2)):
            out[f"model.layers.{i}.self_attn.{name}_proj.bias"] = random(n)
            out.setdefault(f"model.layers.{i}.self_attn.{name}_proj.weight", random(n, H))
    out["visual.patch_embed.proj.weight"] = random(E, 3, 2, 14, 14)
    for i in range(BLOCKS):
        block = f"visual.blocks.{i}"
        norm(out, random, f"{block}.norm1", E)
        norm(out, random, f"{block}.norm2", E)
        linear(out, random, f"{block}.attn.qkv", 3 * E, E)
        linear(out, random, f"{block}.attn.proj", E, E)
        linear(out, random, f"{block}.mlp.fc1", MLP, E)
        linear(out, random, f"{block}.mlp.fc2", E, MLP)
    norm(out, random, "visual.merger.ln_q", E)
    linear(out, random, "visual.merger.mlp.0", 4 * E, 4 * E)
    linear(out, random, "visual.merger.mlp.2", H, 4 * E)
    return out


MEMORY = {"flash_memory_temporal_length": 10, "flash_memory_temporal_method": "kmeans_ordered",
          "flash_memory_temporal_poolsize": 2, "flash_memory_temporal_pca_dim": 32, "flash_memory_spatial_length": 6,
          "flash_memory_spatial_method": "klarge_retrieve"}
VISION = {"depth": BLOCKS, "embed_dim": E, "hidden_size": H, "num_heads": HEADS, "in_channels": 3, "patch_size": 14,
          "spatial_merge_size": 2, "temporal_patch_size": 2, "hidden_act": "quick_gelu", "mlp_ratio": 1.75}
QWEN_CONFIG = {"model_type": "flash_vstream_qwen2_vl", "hidden_size": H, "intermediate_size": HIDDEN, "num_hidden_layers": 2,
               "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
               "rope_theta": 1e6, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}, "sliding_window": 4096,
               "use_sliding_window": False, "tie_word_embeddings": False}


def qwen_added():
    return [{"id": special(text), "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": True} for text in SPECIALS]


def write_qwen(root, tensors=None, change=None, vision=None, memory=None, generation=None, added=None):
    """change, vision, memory: of config.json, its vision_config and flash_memory_config (False: there is none); added: other
    added tokens."""
    tensors, added = tensors or qwen_parts(), added or qwen_added()
    made.save_safetensors(os.path.join(root, "model.safetensors"), tensors)
    inner = told(VISION, vision)
    if memory is not False:
        inner["flash_memory_config"] = told(MEMORY, memory)
    ids = {"vocab_size": rows(), "video_token_id": special("<|video_pad|>"), "eos_token_id": special("<|im_end|>"),
           "vision_config": inner}
    made.write_json(os.path.join(root, "config.json"), told({**QWEN_CONFIG, **ids}, change))
    made.write_json(os.path.join(root, "generation_config.json"), generation or {
        "eos_token_id": [special("<|im_end|>"), special("<|endoftext|>")], "do_sample": True, "temperature": 0.01, "top_k": 1,
        "top_p": 0.001})
    made.write_json(os.path.join(root, "tokenizer.json"), {**longvu.tokenizer_json("qwen"), "added_tokens": added})
    made.write_json(os.path.join(root, "tokenizer_config.json"), {"tokenizer_class": "Qwen2Tokenizer", "bos_token": None})
