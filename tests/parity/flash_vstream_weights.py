"""
flash_vstream_weights.py - random weights of a small Flash-VStream (LLaVA) in the released folders.

  sizes + seed -> clip/ (text tower too), model/ (decoder, attention of the memory, projector, tokenizer), each with config.json

Queries and keys are large (attention looks somewhere), biases and norms are random, so that a mistake shows. Surplus tensors of
the published files, the model's copy of the tower among them, hold huge values: whoever reads one of them is seen at once.

Ref:   names and shapes: spec A6.
Trap:  the bias of k in the memory's attention moves nothing, whatever it is.
"""

import json

import checkpoint
from case_weights import Random, bf16_or_same, llama

IMAGE = 224


def tower(r, size, prefix=""):
    """Names and tensors of CLIP's folder; the last block is surplus."""
    width, hidden, patch, own = size["clip_width"], size["clip_hidden"], size["patch"], prefix + "vision_model."
    state = {
        own + "embeddings.class_embedding": r.normal(width, std=0.5),
        own + "embeddings.patch_embedding.weight": r.normal(width, 3, patch, patch, std=1.0 / (3 * patch * patch) ** 0.5),
        own + "embeddings.position_embedding.weight": r.normal(1 + (IMAGE // patch) ** 2, width, std=0.3),
    }
    surplus = {own + "post_layernorm.weight": (width,), own + "post_layernorm.bias": (width,)}
    if not prefix:
        surplus |= {"text_model.embeddings.token_embedding.weight": (9, 8), "text_projection.weight": (8, 8)}
        surplus |= {"visual_projection.weight": (8, width), "logit_scale": (1,)}
    for i in range(size["clip_depth"]):
        parts = [r.norm("layer_norm1", width), r.norm("layer_norm2", width)]
        parts += [r.linear(f"self_attn.{name}_proj", width, width, 1.7) for name in "qk"]
        parts += [r.linear("self_attn.v_proj", width, width), r.linear("self_attn.out_proj", width, width, 0.3)]
        parts += [r.linear("mlp.fc1", hidden, width), r.linear("mlp.fc2", width, hidden, 0.3)]
        state |= {f"{own}encoder.layers.{i}.{name}": x for part in parts for name, x in part.items()}
    state |= r.norm(own + "pre_layrnorm", width) | {name: r.poison(*shape) for name, shape in surplus.items()}
    last = f"{own}encoder.layers.{size['clip_depth'] - 1}."
    return {name: r.poison(*x.shape) if prefix or name.startswith(last) else x for name, x in state.items()}


def connector(r, size):
    width, inner, out = size["clip_width"], size["attention_width"], size["llama_width"]
    state = r.linear("attention_model.q_proj", inner, width, 2.0) | r.linear("attention_model.k_proj", inner, width, 2.0)
    surplus = {"v_proj.weight": (inner, width), "v_proj.bias": (inner,), "out_proj.weight": (width, inner)}
    surplus |= {"out_proj.bias": (width,), "out_ln.weight": (width,), "out_ln.bias": (width,)}
    state |= {f"attention_model.{name}": r.poison(*shape) for name, shape in surplus.items()}
    state |= r.linear("mm_projector.0", out, width) | r.linear("mm_projector.2", out, out, 0.1)
    return {f"model.{name}": x for name, x in state.items()}


def config(size):
    return {
        "model_type": "vstream",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": size["llama_width"],
        "intermediate_size": size["llama_hidden"],
        "max_position_embeddings": 4096,
        "num_attention_heads": size["llama_heads"],
        "num_hidden_layers": size["llama_depth"],
        "num_key_value_heads": size["llama_kv_heads"],
        "rms_norm_eps": size["llama_eps"],
        "rope_scaling": None,
        "tie_word_embeddings": False,
        "vocab_size": size["vocab"],
        "compress_type": "mean",
        "compress_size": size["side"],
        "compress_long_memory_size": size["long_side"],
        "compress_Turing_memory_size": size["turing_side"],
        "compress_Turing_update_ratio": size["ratio"],
        "mm_hidden_size": size["clip_width"],
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_4_vision_tokens": False,
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": "openai/clip-vit-large-patch14",
        "tokenizer_model_max_length": size["length"],
        "video_sample_type": "weighted_kmeans",
        "video_current_memory_length": size["current"],
        "video_long_memory_length": size["long"],
        "video_Turing_memory_length": size["turing"],
        "video_max_frames": 26,
    }


def write_tower(folder, seed, size):
    folder.mkdir()
    checkpoint.write_pth(folder / "pytorch_model.bin", tower(Random(seed, 1), size))
    vision = {
        "hidden_act": "quick_gelu",
        "hidden_size": size["clip_width"],
        "image_size": IMAGE,
        "intermediate_size": size["clip_hidden"],
        "layer_norm_eps": 1e-5,
        "num_attention_heads": size["clip_heads"],
        "num_hidden_layers": size["clip_depth"],
        "patch_size": size["patch"],
    }
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": vision}, indent=1))


def write_model(folder, seed, decoder_seed, size, tokenizer_files):
    """The decoder has a seed of its own, so that another one can be tried."""
    folder.mkdir(exist_ok=True)
    state = {**connector(Random(seed, 2), size), **tower(Random(seed, 3), size, "model.vision_tower.vision_tower.")}
    state |= {name: bf16_or_same(x) for name, x in llama(Random(decoder_seed, 6), size).items()}
    if size["layout"] == "safetensors":
        checkpoint.write_safetensors(folder / "model.safetensors", state)
    else:
        checkpoint.write_pth(folder / "pytorch_model.bin", state)
    (folder / "config.json").write_text(json.dumps(config(size), indent=1))
    generation = {"bos_token_id": 1, "eos_token_id": 2, "temperature": 0.9, "top_p": 0.6}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=1))
    for name, raw in tokenizer_files.items():
        (folder / name).write_bytes(raw)
