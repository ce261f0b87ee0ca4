"""
flash_vstream_qwen_weights.py - random weights of a small Flash-VStream (Qwen2-VL) in one folder, as released.

  sizes + seed -> shards of safetensors with an index (tower, merger, decoder), config.json, generation_config.json, tokenizer

Queries and keys are large (attention looks somewhere), biases and norms are random, so that a mistake shows. The token table is
longer than the tokenizer. The memory has no weights.

Ref:   names and shapes: spec B6.
Trap:  everything is exact in bf16. The tokenizer is the small one of Qwen2 with the marks that it lacks behind its own.
"""

import json

import checkpoint
from case_weights import Random

PATCH = 14
MARKS = ("object_ref_start", "object_ref_end", "box_start", "box_end", "quad_start", "quad_end")
MARKS += ("vision_start", "vision_end", "vision_pad", "image_pad", "video_pad")


def tokenizer_files(folder):
    """The files of the folder with the marks of Qwen2-VL added. -> {name: bytes}"""
    files = {name: json.loads((folder / name).read_text()) for name in ("tokenizer.json", "tokenizer_config.json")}
    added = files["tokenizer.json"]["added_tokens"]
    for mark in MARKS:
        added.append(added[-1] | {"id": added[-1]["id"] + 1, "content": f"<|{mark}|>"})
    keys = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    files["tokenizer_config.json"]["added_tokens_decoder"] = {str(t["id"]): {k: t[k] for k in keys} for t in added}
    return {name: json.dumps(content, ensure_ascii=False, indent=1).encode() for name, content in files.items()}


def ids(files):
    """-> {mark or piece: id} of the added tokens"""
    return {t["content"]: t["id"] for t in json.loads(files["tokenizer.json"])["added_tokens"]}


def tower(r, size):
    width, hidden, group = size["vit_width"], size["vit_hidden"], 4 * size["vit_width"]
    kernel = r.normal(width, 3, 2, PATCH, PATCH, std=1.0 / (6 * PATCH * PATCH) ** 0.5)
    state = {"patch_embed.proj.weight": kernel}
    for i in range(size["vit_depth"]):
        parts = [r.norm("norm1", width), r.norm("norm2", width), r.linear("attn.qkv", 3 * width, width, 1.7)]
        parts += [r.linear("attn.proj", width, width, 0.3)]
        parts += [r.linear("mlp.fc1", hidden, width), r.linear("mlp.fc2", width, hidden, 0.3)]
        state |= {f"blocks.{i}.{name}": x for part in parts for name, x in part.items()}
    state |= r.norm("merger.ln_q", width) | r.linear("merger.mlp.0", group, group)
    state |= r.linear("merger.mlp.2", size["width"], group, 0.1)
    return {f"visual.{name}": x for name, x in state.items()}


def decoder(r, size):
    width, hidden, head = size["width"], size["hidden"], 2 * sum(size["sections"])
    state = {"model.embed_tokens.weight": r.normal(size["vocab"], width, std=0.05)}
    for i in range(size["depth"]):
        shapes = {"q": (size["heads"] * head, 1.7), "k": (size["kv_heads"] * head, 1.7), "v": (size["kv_heads"] * head, 1.0)}
        parts = [r.linear(f"self_attn.{name}_proj", rows, width, gain) for name, (rows, gain) in shapes.items()]
        parts += [{"self_attn.o_proj.weight": r.matrix(width, size["heads"] * head, 0.3)}]
        parts += [{f"mlp.{name}_proj.weight": r.matrix(hidden, width)} for name in ("gate", "up")]
        parts += [{"mlp.down_proj.weight": r.matrix(width, hidden, 0.3)}]
        norms = ("input_layernorm", "post_attention_layernorm")
        parts += [{f"{name}.weight": r.normal(width, std=0.2, mean=1.0)} for name in norms]
        state |= {f"model.layers.{i}.{name}": x for part in parts for name, x in part.items()}
    head = r.matrix(size["vocab"], width, 2.0)
    head[size["tokens"] - len(MARKS) - 3 :] *= 0.01  # marks are not answered
    return state | {"model.norm.weight": r.normal(width, std=0.2, mean=1.0), "lm_head.weight": head}


def config(size, mark):
    memory = {
        "flash_memory_temporal_length": 2 * size["slots"],
        "flash_memory_temporal_method": "kmeans_ordered",
        "flash_memory_temporal_poolsize": 2,
        "flash_memory_temporal_pca_dim": 32,
        "flash_memory_spatial_length": 2 * size["shown"],
        "flash_memory_spatial_method": "klarge_retrieve",
    }
    vision = {
        "depth": size["vit_depth"],
        "embed_dim": size["vit_width"],
        "hidden_act": "quick_gelu",
        "hidden_size": size["width"],
        "mlp_ratio": size["vit_hidden"] / size["vit_width"],
        "model_type": "qwen2_vl",
        "num_heads": size["vit_heads"],
        "patch_size": PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    return {
        "architectures": ["FlashVStreamQwen2VLModel"],
        "bos_token_id": mark["<|endoftext|>"],
        "eos_token_id": mark["<|im_end|>"],
        "hidden_act": "silu",
        "hidden_size": size["width"],
        "image_token_id": mark["<|image_pad|>"],
        "intermediate_size": size["hidden"],
        "max_position_embeddings": 32768,
        "model_type": "flash_vstream_qwen2_vl",
        "num_attention_heads": size["heads"],
        "num_hidden_layers": size["depth"],
        "num_key_value_heads": size["kv_heads"],
        "rms_norm_eps": size["eps"],
        "rope_scaling": {"mrope_section": list(size["sections"]), "type": "mrope"},
        "rope_theta": size["theta"],
        "sliding_window": 4096,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "video_token_id": mark["<|video_pad|>"],
        "vision_config": vision | {"flash_memory_config": memory},
        "vision_end_token_id": mark["<|vision_end|>"],
        "vision_start_token_id": mark["<|vision_start|>"],
        "vision_token_id": mark["<|vision_pad|>"],
        "vocab_size": size["vocab"],
    }


def write_shards(folder, shards):
    index = {}
    for i, state in enumerate(shards):
        name = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        checkpoint.write_safetensors(folder / name, {key: checkpoint.narrow_bf16(x) for key, x in state.items()})
        index |= dict.fromkeys(state, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}, indent=1))


def write(folder, seed, decoder_seed, size, files):
    """The decoder has a seed of its own, so that another one can be tried."""
    mark = ids(files)
    write_shards(folder, [tower(Random(seed, 1), size), decoder(Random(decoder_seed, 2), size)])
    (folder / "config.json").write_text(json.dumps(config(size, mark), indent=1))
    generation = {"bos_token_id": mark["<|endoftext|>"], "do_sample": True, "temperature": 0.01, "top_k": 1, "top_p": 0.001}
    generation |= {"eos_token_id": [mark["<|im_end|>"], mark["<|endoftext|>"]], "repetition_penalty": size["penalty"]}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=1))
    pixels = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
    pixels |= {"min_pixels": 3136, "max_pixels": 12845056, "patch_size": PATCH, "temporal_patch_size": 2, "merge_size": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels, indent=1))
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
