"""
synthetic_videollamb.py - small checkpoints of VideoLLaMB in the released layouts: A with LanguageBind's towers, B (Mem) with
CLIP's.

    parts("a" | "b") -> {"model", "video", "image" | "clip": {name: array}}
    write(folder, kind, parts, ...) -> the model's folder

What no system reads holds NaN. Towers are those of synthetic_flash_vstream.py.
"""
import os

import synthetic as made
import synthetic_flash_vstream as flash
from synthetic_flash_vstream import CLIP_BLOCKS, D, poison, told
from synthetic_longvu import linear, norm

MEMORY, F, HEADS = 5, 28, 2      # rows of the memory, hidden width and heads of the bridge
H, HIDDEN = 32, 40
FOLDERS = {"a": "videollamb-llava-1.5-7b", "b": "videollamb-mem-llava-1.5-7b", "video": "LanguageBind_Video_merge",
           "image": "LanguageBind_Image", "clip": "clip-vit-large-patch14-336"}


def temporal(random):
    """A tower of videos: another part in front of every block, poisoned in the last one."""
    out = flash.clip_tower(random)
    for i in range(CLIP_BLOCKS):
        block, source = f"vision_model.encoder.layers.{i}", random if i + 1 < CLIP_BLOCKS else poison
        out[f"{block}.temporal_embedding"] = source(1, 8, D)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(out, source, f"{block}.temporal_attn.{name}", D, D)
        norm(out, source, f"{block}.temporal_layer_norm1", D)
    return out


def attention(out, random, name):
    for part in "qkv":
        linear(out, random, f"{name}.{part}_proj", D, D)
    linear(out, random, f"{name}.residual.dense", D, D)
    norm(out, random, f"{name}.residual.layernorm", D)


def bridge(out, random):
    projector, retrieval = "model.mm_projector.projector", "model.mm_projector.retrieval.layers.0"
    out[f"{projector}.read_memory_emb"], out[f"{projector}.memory_tokens"] = random(MEMORY, D), poison(MEMORY, D)
    attention(out, random, f"{projector}.layers.0.selfattention")
    attention(out, poison, f"{projector}.layers.0.crossattention")
    linear(out, random, f"{projector}.layers.0.mlp.0", F, D)
    linear(out, random, f"{projector}.layers.0.residual.dense", D, F)
    norm(out, random, f"{projector}.layers.0.residual.layernorm", D)
    linear(out, random, f"{projector}.proj.0", H, D)
    attention(out, random, f"{retrieval}.crossattention")
    attention(out, poison, f"{retrieval}.selfattention")


def parts(kind, seed=11):
    random = made.Random(seed)
    model = made.llama(random, len(made.PIECES), width=H, hidden=HIDDEN, dtype="<f4")
    bridge(model, random)
    for tower in ("video_tower.video_tower", "image_tower.image_tower"):
        model.update(flash.clip_tower(poison, f"model.{tower}."))
    unread = {"logit_scale": poison(), "text_projection.weight": poison(3, 3), "visual_projection.weight": poison(3, D),
              "text_model.encoder.layers.0.mlp.fc1.bias": poison(3)}
    if kind == "a":
        return {"model": model, "video": {**temporal(random), **unread}, "image": {**flash.clip_tower(random), **unread}}
    model["model.mm_projector.abs_vid_pe.weight"] = random(9, D)
    return {"model": model, "clip": {**flash.clip_tower(random), **unread}}


def config(kind):
    towers = ("LanguageBind_Video_merge", "LanguageBind_Image") if kind == "a" else ("clip-vit-large-patch14-336",) * 2
    return {
        "model_type": "llava_llama", "X": ["VIDEO", "IMAGE"], "hidden_size": H, "intermediate_size": HIDDEN,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
        "bos_token_id": 1, "eos_token_id": 2, "rope_scaling": None, "tie_word_embeddings": False,
        "vocab_size": len(made.PIECES), "mm_hidden_size": D, "mm_intermediate_size": F, "mm_num_attention_heads": HEADS,
        "mm_hidden_act": "gelu", "mm_layer_norm_eps": 1e-12, "mm_projector_type": "rmt_r_transformer1x",
        "mm_video_tower": f"./checkpoints/{towers[0]}", "mm_image_tower": f"./checkpoints/{towers[1]}",
        "mm_use_x_patch_token": False, "mm_use_x_start_end": False, "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2, "num_frames": 16, "tokenizer_model_max_length": 2048,
    }


def tower_config(part):
    vision = {**flash.CLIP_CONFIG["vision_config"]}
    if part != "clip":
        vision.update(hidden_act="gelu", add_time_attn=part == "video", lora_r=16 if part == "video" else 0, num_frames=8)
    name = {"video": "LanguageBindVideo", "image": "LanguageBindImage", "clip": "clip"}[part]
    return {"model_type": name, "text_config": {"num_attention_heads": 7}, "vision_config": vision}


def write(root, kind, tensors=None, change=None, towers=None, generation=None, tokenizer=None):
    """change: of config.json; towers: {part: change of its vision_config}; generation, tokenizer: other files, None leaves them
    out. -> folder of the model"""
    tensors, towers = tensors or parts(kind), towers or {}
    model = os.path.join(root, FOLDERS[kind])
    for part, content in tensors.items():
        where = model if part == "model" else os.path.join(root, FOLDERS[part])
        os.makedirs(where, exist_ok=True)
        if part == "model":
            narrow = {name: made.bf16(array) if array.dtype == "<f4" else array for name, array in content.items()}
            made.save_safetensors(os.path.join(where, "model.safetensors"), narrow)
            made.write_json(os.path.join(where, "config.json"), told(config(kind), change))
        else:
            made.save_zip(os.path.join(where, "pytorch_model.bin"), content)
            whole = tower_config(part)
            made.write_json(os.path.join(where, "config.json"),
                            {**whole, "vision_config": told(whole["vision_config"], towers.get(part))})
    made.write_json(os.path.join(model, "tokenizer_config.json"), tokenizer or {"legacy": False})
    if generation:
        made.write_json(os.path.join(model, "generation_config.json"), generation)
    with open(os.path.join(model, "tokenizer.model"), "wb") as file:
        file.write(made.sentencepiece())
    return model
