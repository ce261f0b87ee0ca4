"""
longvu_weights.py - random weights of a small LongVU in the released folders.

  sizes + seed -> siglip/ (model.safetensors, text tower too), dino/ (safetensors or pytorch_model.bin), longvu/ (decoder, sampler,
                  projectors in safetensors or pytorch_model.bin; tokenizer), each with its config.json

Queries and keys are large (attention looks somewhere), biases, norms and layer scales are random, streams are small, so that a
mistake shows. Surplus tensors of the published files hold huge values: whoever reads one of them is seen at once.

Ref:   names and shapes: spec 6.3, 6.4; configs: spec 6.2.
Trap:  weights of the LongVU file are exact in bf16. Rows of Qwen2's head behind its tokenizer are loud; a tied Llama stores a head.
"""

import json

import checkpoint
from case_weights import Random

DINO_GRID, SIGLIP_GRID, PATCH = 37, 27, 14


def block(r, prefix, parts):
    return {f"{prefix}{name}": x for part in parts for name, x in part.items()}


def siglip(r, size):
    width, hidden, own = size["siglip_width"], size["siglip_hidden"], "vision_model."
    state = {
        own + "embeddings.patch_embedding.weight": r.normal(width, 3, PATCH, PATCH, std=0.02),
        own + "embeddings.patch_embedding.bias": r.normal(width, std=0.1),
        own + "embeddings.position_embedding.weight": r.normal(SIGLIP_GRID**2, width, std=0.2),
    }
    for i in range(size["siglip_depth"]):
        parts = [r.norm("layer_norm1", width), r.norm("layer_norm2", width)]
        parts += [r.linear(f"self_attn.{name}_proj", width, width, 1.7) for name in "qk"]
        parts += [r.linear("self_attn.v_proj", width, width), r.linear("self_attn.out_proj", width, width, 0.3)]
        parts += [r.linear("mlp.fc1", hidden, width), r.linear("mlp.fc2", width, hidden, 0.3)]
        state |= block(r, f"{own}encoder.layers.{i}.", parts)
    surplus = {
        own + "post_layernorm.weight": (width,),
        own + "post_layernorm.bias": (width,),
        own + "head.probe": (1, 1, width),
        "text_model.embeddings.token_embedding.weight": (10, 8),
        "logit_scale": (1,),
        "logit_bias": (1,),
    }
    return state | {name: r.poison(*shape) for name, shape in surplus.items()}


def swiglu_width(width):
    return (int(width * 4 * 2 / 3) + 7) // 8 * 8


def dino(r, size):
    width = size["dino_width"]
    hidden = swiglu_width(width)
    state = {
        "embeddings.cls_token": r.normal(1, 1, width, std=0.2),
        "embeddings.mask_token": r.poison(1, width),
        "embeddings.position_embeddings": r.normal(1, 1 + DINO_GRID**2, width, std=0.2),
        "embeddings.patch_embeddings.projection.weight": r.normal(width, 3, PATCH, PATCH, std=0.02),
        "embeddings.patch_embeddings.projection.bias": r.normal(width, std=0.1),
    }
    for i in range(size["dino_depth"]):
        parts = [r.norm("norm1", width), r.norm("norm2", width)]
        parts += [r.linear(f"attention.attention.{name}", width, width, 1.7) for name in ("query", "key")]
        parts += [r.linear("attention.attention.value", width, width), r.linear("attention.output.dense", width, width)]
        parts += [r.linear("mlp.weights_in", 2 * hidden, width), r.linear("mlp.weights_out", width, hidden)]
        parts += [{f"layer_scale{k}.lambda1": r.normal(width, std=0.1, mean=0.3) for k in (1, 2)}]
        state |= block(r, f"encoder.layer.{i}.", parts)
    return state | r.norm("layernorm", width)


def connector(r, size):
    """Sampler and projectors; positions where a query sees more than one token of a tower."""
    width, ratio = size["sampler_width"], 24 // size["query_side"]
    state = {
        "vision_query": r.normal(1, width),
        "image_newline": r.normal(size["width"], std=0.05),
        **r.linear("mm_projector.0", size["width"], width),
        **r.linear("mm_projector.2", size["width"], size["width"], 0.1),
    }
    for i, tower in enumerate(("siglip", "dino")):
        state |= r.linear(f"mm_projector_aux_{i}.0", width, size[f"{tower}_width"])
        state |= r.linear(f"mm_projector_aux_{i}.2", width, width)
        state |= r.norm(f"mm_projector_aux_{i}.3", width)
    for i in range(size["sampler_depth"]):
        names = ["proj_context", "proj_out.linear_1", "proj_out.linear_2", "cross_attn.o_proj", "cross_attn.q_proj.1"]
        parts = [{f"{name}.weight": r.matrix(width, width)} for name in names]
        parts += [{"proj_in.weight": r.matrix(width, 2 * width)}, r.norm("norm", width), r.norm("cross_attn.q_proj.0", width)]
        for tower in range(2):
            parts += [{f"pos_embed_{tower}": r.normal(ratio * ratio, width, std=0.5)}] if ratio > 1 else []
            for part, gain in (("k", 2.0), ("v", 1.0)):
                parts += [r.norm(f"cross_attn.{part}_proj_{tower}.0", width)]
                parts += [{f"cross_attn.{part}_proj_{tower}.1.weight": r.matrix(width, width, gain)}]
        state |= block(r, f"vision_sampler_0.layers.{i}.", parts)
    return {f"model.{name}": x for name, x in state.items()}


def decoder(r, size):
    width, hidden, head = size["width"], size["hidden"], size["width"] // size["heads"]
    state = {"model.embed_tokens.weight": r.normal(size["vocab"], width, std=0.05)}
    for i in range(size["depth"]):
        shapes = {"q": (width, 1.7), "k": (size["kv_heads"] * head, 1.7), "v": (size["kv_heads"] * head, 1.0)}
        parts = [{f"self_attn.{name}_proj.weight": r.matrix(rows, width, gain)} for name, (rows, gain) in shapes.items()]
        if size["family"] == "qwen":
            parts += [{f"self_attn.{name}_proj.bias": r.normal(rows, std=0.5)} for name, (rows, _) in shapes.items()]
        parts += [{"self_attn.o_proj.weight": r.matrix(width, width, 0.05)}]
        parts += [{f"mlp.{name}_proj.weight": r.matrix(hidden, width)} for name in ("gate", "up")]
        parts += [{"mlp.down_proj.weight": r.matrix(width, hidden, 0.05)}]
        norms = ("input_layernorm", "post_attention_layernorm")
        parts += [{f"{name}.weight": r.normal(width, std=0.2, mean=1.0)} for name in norms]
        state |= block(r, f"model.layers.{i}.", parts)
    head = r.poison(size["vocab"], width) if size["tied"] else r.matrix(size["vocab"], width, 2.0)
    if not size["tied"]:
        head[size["tokens"] :] *= 50
    return state | {"model.norm.weight": r.normal(width, std=0.2, mean=1.0), "lm_head.weight": head}


def longvu_config(size):
    """Published keys; lengths and thresholds are the plan's."""
    queries = size["query_side"] ** 2
    config = {
        "attention_bias": False,
        "connector_depth": size["sampler_depth"],
        "connector_only": True,
        "dino_threshold": size["dino_threshold"],
        "drop_threshold": size["drop_threshold"],
        "eos_token_id": size["eos"],
        "frame_pos": False,
        "hidden_act": "silu",
        "hidden_size": size["width"],
        "highres": size["low_side"] > 0,
        "image_token_len": queries,
        "intermediate_size": size["hidden"],
        "max_position_embeddings": 32768,
        "mm_projector_type": "sva",
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower_aux_list": ["siglip/CLIP-ViT-SO400M-14-384", "facebook/dinov2-giant-res378"],
        "mm_vision_tower_aux_token_len_list": [576, 576],
        "model_type": f"cambrian_{size['family']}",
        "num_attention_heads": size["heads"],
        "num_hidden_layers": size["depth"],
        "num_key_value_heads": size["kv_heads"],
        "num_query_group": 1,
        "query_num_list": [queries],
        "rms_norm_eps": size["eps"],
        "rope_theta": size["theta"],
        "tie_word_embeddings": size["tied"],
        "tokenizer_model_max_length": size["length"],
        "vision_hidden_size": size["sampler_width"],
        "vocab_size": size["vocab"],
    }
    if size["low_side"]:
        config["lowres_token"] = size["low_side"]
    if size["scaling"]:
        config["rope_scaling"] = size["scaling"]
    if size["reserve"] is not None:
        config["inference_max_length"] = size["reserve"]
    return config


def write_state(folder, state, layout):
    if layout == "safetensors":
        checkpoint.write_safetensors(folder / "model.safetensors", state)
    else:
        checkpoint.write_pth(folder / "pytorch_model.bin", state)


def write_towers(folder, seed, size):
    """The folders of both towers; DINOv2's in the plan's layout."""
    for tower, function in (("siglip", siglip), ("dino", dino)):
        (folder / tower).mkdir()
        layout = size["layout"] if tower == "dino" else "safetensors"
        write_state(folder / tower, function(Random(seed, 1 if tower == "siglip" else 2), size), layout)
    keys = ("hidden_size", "num_attention_heads", "num_hidden_layers")
    vision = dict(zip(keys, (size["siglip_width"], size["siglip_heads"], size["siglip_depth"])))
    vision |= {"image_size": 384, "intermediate_size": size["siglip_hidden"], "patch_size": PATCH}
    vision["model_type"] = "siglip_vision_model"
    (folder / "siglip/config.json").write_text(json.dumps({"model_type": "siglip", "vision_config": vision}, indent=1))
    config = dict(zip(keys, (size["dino_width"], size["dino_heads"], size["dino_depth"])))
    config |= {"image_size": 518, "patch_size": PATCH, "mlp_ratio": 4, "use_swiglu_ffn": True, "layer_norm_eps": 1e-6}
    config |= {"hidden_act": "gelu", "model_type": "dinov2", "num_channels": 3, "qkv_bias": True}
    (folder / "dino/config.json").write_text(json.dumps(config, indent=1))


def write_config(folder, size):
    (folder / "config.json").write_text(json.dumps(longvu_config(size), indent=1))
    if size["penalty"]:
        generation = {"do_sample": True, "eos_token_id": size["eos"], "repetition_penalty": size["penalty"], "top_k": 20}
        generation |= {"temperature": 0.7, "top_p": 0.8}
        (folder / "generation_config.json").write_text(json.dumps(generation, indent=1))


def write_longvu(folder, seed, decoder_seed, size, tokenizer):
    """The decoder's folder; tokenizer: the folder that its files are copied from."""
    folder.mkdir(exist_ok=True)
    state = connector(Random(seed, 3), size) | decoder(Random(decoder_seed, 4), size)
    write_state(folder, {name: checkpoint.narrow_bf16(x) for name, x in state.items()}, size["layout"])
    for file in tokenizer.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    write_config(folder, size)
