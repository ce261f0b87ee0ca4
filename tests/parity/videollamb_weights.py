"""
videollamb_weights.py - random weights of a small VideoLLaMB in the released folders.

  sizes + seed -> LanguageBind_Video_merge/, LanguageBind_Image/ (A) or clip-vit-large-patch14-336/ (B), model/ (decoder, bridge,
                  tokenizer), each with config.json

Queries and keys are large (attention looks somewhere), biases and norms are random, so that a mistake shows. Surplus tensors of
the published files, the model's copies of the towers among them, hold huge values: whoever reads one of them is seen at once.

Ref:   names and shapes: spec 6.
Trap:  inside the model's files LanguageBind's towers have no vision_model. in their names, CLIP's have.
"""

import json

import checkpoint
from case_weights import Random, bf16_or_same, llama

SIDES = {"a": 224, "b": 336}
TOWERS = {
    "a": {"video": "LanguageBind_Video_merge", "image": "LanguageBind_Image"},
    "b": {"clip": "clip-vit-large-patch14-336"},
}
MEMORY, POSITIONS, REACHED = 32, 1024, 8


def layer(r, width, hidden, temporal):
    parts = [r.norm("layer_norm1", width), r.norm("layer_norm2", width)]
    parts += [r.linear("mlp.fc1", hidden, width), r.linear("mlp.fc2", width, hidden, 0.3)]
    for name in ("self_attn",) + (("temporal_attn",) if temporal else ()):
        parts += [r.linear(f"{name}.{part}_proj", width, width, 1.7) for part in "qk"]
        parts += [r.linear(f"{name}.v_proj", width, width), r.linear(f"{name}.out_proj", width, width)]
    if temporal:
        parts += [r.norm("temporal_layer_norm1", width), {"temporal_embedding": r.normal(1, 8, width, std=0.3)}]
    return {name: x for part in parts for name, x in part.items()}


def tower(r, size, name):
    """Tensors without the prefix of a folder; the last block is surplus."""
    width, patch, side = size["width"], size["patch"], SIDES[size["kind"]]
    state = {
        "embeddings.class_embedding": r.normal(width, std=0.1),
        "embeddings.patch_embedding.weight": r.normal(width, 3, patch, patch, std=1.5 / (3 * patch * patch) ** 0.5),
        "embeddings.position_embedding.weight": r.normal(1 + (side // patch) ** 2, width, std=0.1),
    }
    for i in range(size["tower_depth"]):
        here = layer(r, width, size[f"{name}_hidden"], name == "video")
        if i == size["tower_depth"] - 1:
            here = {name: r.poison(*x.shape) for name, x in here.items()}
        state |= {f"encoder.layers.{i}.{name}": x for name, x in here.items()}
    state |= r.norm("pre_layrnorm", width)
    return state | {"post_layernorm.weight": r.poison(width), "post_layernorm.bias": r.poison(width)}


def attention(r, name, width, gain):
    """Post-norm; the rows behind a norm are about one."""
    state = r.linear(f"{name}.q_proj", width, width, gain) | r.linear(f"{name}.k_proj", width, width, gain)
    state |= r.linear(f"{name}.v_proj", width, width) | r.linear(f"{name}.residual.dense", width, width)
    return state | r.norm(f"{name}.residual.layernorm", width)


def poisoned(r, state):
    return {name: r.poison(*x.shape) for name, x in state.items()}


def connector(r, size):
    width, hidden = size["width"], size["bridge_hidden"]
    state = {
        "projector.read_memory_emb": r.normal(MEMORY, width),
        "projector.memory_tokens": r.poison(MEMORY, width),
    }
    for i in range(size["bridge_depth"]):
        name = f"projector.layers.{i}"
        state |= attention(r, f"{name}.selfattention", width, 1.5) | r.linear(f"{name}.mlp.0", hidden, width)
        state |= poisoned(r, attention(r, f"{name}.crossattention", width, 1.5))
        state |= r.linear(f"{name}.residual.dense", width, hidden) | r.norm(f"{name}.residual.layernorm", width)
    name = "retrieval.layers.0"
    state |= attention(r, f"{name}.crossattention", width, 1.5)
    state |= poisoned(r, attention(r, f"{name}.selfattention", width, 1.5))
    state |= r.linear("projector.proj.0", size["llama_width"], width, 0.3)
    if size["kind"] == "b" or size["stray_position"]:
        table = r.normal(POSITIONS, width, std=0.5)
        table[REACHED if size["kind"] == "b" else 0 :] = 1e4
        state["abs_vid_pe.weight"] = table
    return {f"model.mm_projector.{name}": x for name, x in state.items()}


def config(size):
    towers = TOWERS[size["kind"]]
    video, image = (f"./checkpoints/{towers.get(name, towers.get('clip'))}" for name in ("video", "image"))
    return {
        "architectures": ["LlavaLlamaForCausalLM"],
        "model_type": "llava_llama",
        "X": ["VIDEO", "IMAGE"],
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
        "mm_hidden_act": "gelu",
        "mm_hidden_size": size["width"],
        "mm_image_tower": image,
        "mm_intermediate_size": size["bridge_hidden"],
        "mm_layer_norm_eps": size["bridge_eps"],
        "mm_num_attention_heads": size["bridge_heads"],
        "mm_patch_merge_type": "flat",
        "mm_projector_type": f"rmt_r_transformer{size['bridge_depth']}x",
        "mm_use_x_patch_token": False,
        "mm_use_x_start_end": False,
        "mm_video_tower": video,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "num_frames": 16,
        "tokenizer_model_max_length": 2048,
        "tokenizer_padding_side": "right",
    }


def tower_config(size, name):
    kind = {"video": "LanguageBindVideo", "image": "LanguageBindImage", "clip": "clip"}[name]
    vision = {
        "hidden_act": size["tower_act"],
        "hidden_size": size["width"],
        "image_size": SIDES[size["kind"]],
        "intermediate_size": size[f"{name}_hidden"],
        "layer_norm_eps": size["tower_eps"],
        "num_attention_heads": size["tower_heads"],
        "num_hidden_layers": size["tower_depth"],
        "patch_size": size["patch"],
    }
    if name != "clip":
        vision |= {"add_time_attn": name == "video", "lora_r": 16 if name == "video" else 0, "num_frames": 8}
    return {"model_type": kind, "vision_config": vision}


def towers_of(size, seed):
    return {name: tower(Random(seed, i), size, name) for i, name in enumerate(TOWERS[size["kind"]])}


def write_towers(folder, seed, size):
    for name, state in towers_of(size, seed).items():
        place, r = folder / TOWERS[size["kind"]][name], Random(seed, 7)
        place.mkdir()
        state = {f"vision_model.{key}": x for key, x in state.items()}
        state |= {"text_model.embeddings.token_embedding.weight": r.poison(9, 8), "logit_scale": r.poison(1)}
        state |= {"text_projection.weight": r.poison(8, 8), "visual_projection.weight": r.poison(8, size["width"])}
        checkpoint.write_pth(place / "pytorch_model.bin", state)
        (place / "config.json").write_text(json.dumps(tower_config(size, name), indent=1))


def copies(size, seed):
    """The model's own towers, all of it wrong."""
    r, inner, state = Random(seed, 8), "vision_model." if size["kind"] == "b" else "", {}
    kept = towers_of(size, seed)
    for role in ("video", "image"):
        prefix = f"model.{role}_tower.{role}_tower.{inner}"
        state |= {prefix + name: r.poison(*x.shape) for name, x in kept.get(role, kept.get("clip")).items()}
    return {name: checkpoint.narrow_bf16(x) for name, x in state.items()}


def write_model(folder, seed, decoder_seed, size, tokenizer_files):
    """The decoder has a seed of its own, so that another one can be tried."""
    folder.mkdir(exist_ok=True)
    state = {**connector(Random(seed, 2), size), **copies(size, seed)}
    state |= {name: bf16_or_same(x) for name, x in llama(Random(decoder_seed, 6), size).items()}
    if size["layout"] == "safetensors":
        checkpoint.write_safetensors(folder / "model.safetensors", state)
    else:
        checkpoint.write_pth(folder / "pytorch_model.bin", state)
    (folder / "config.json").write_text(json.dumps(config(size), indent=1))
    generation = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "top_p": 0.6, "temperature": 0.9}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=1))
    for name, raw in tokenizer_files.items():
        (folder / name).write_bytes(raw)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text()) | {"legacy": size["legacy"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=1))
