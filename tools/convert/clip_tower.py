"""
clip_tower.py - CLIP image towers of Hugging Face folders, for VideoLLaMB and Flash-VStream: OpenAI's CLIP and LanguageBind's.

    config.json: heads, blocks, activation; vision_model.{embeddings, pre_layrnorm, encoder.layers.%d} -> X.*

All blocks but the last are taken: the systems read the rows before it (mm_vision_select_layer -2), the class row included.
LanguageBind's tower of videos has a temporal part in front of every block: a position and an attention over 8 frames.
Ref:   transformers 4.28-4.39 models/clip/{configuration_clip, modeling_clip}.py (names, defaults of the configuration);
       VideoLLaMB languagebind/video/modeling_video.py:78-180 (temporal part), image/modeling_image.py (convert_to_lora).
Trap:  what a configuration leaves out has CLIP's defaults (quick_gelu, 1e-5), also in LanguageBind's files, which say gelu.
       Old files have a vision_config_dict beside vision_config, which wins.
       lora_r wraps the image tower only; in the video tower's file it means nothing. pre_layrnorm is spelled so.
"""
import math

from checkpoint import integer, number
from errors import ConvertError
from recipe import rank

# names below a tower's folder that no system reads; the last block is left out by build()
UNUSED = r"text_model\.|text_projection\.|visual_projection\.|logit_scale$|vision_model\.post_layernorm\.|(.*\.)?position_ids$"
BEGINNINGS = ("vision_model.", "text_model.", "visual_projection.", "text_projection.", "logit_scale")
PIXEL_MEAN, PIXEL_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
ACTIVATIONS = {"quick_gelu": "gelu_quick", "gelu": "gelu"}
TEMPORAL_FRAMES = 8  # modeling_video.py: whatever num_frames says


def configuration(checkpoint, folder):
    """-> (configuration of the vision model, its label, model_type)"""
    config, label = checkpoint.configuration(folder)
    inner = {}
    for key in ("vision_config", "vision_config_dict"):
        part = config.get(key)
        if not isinstance(part, (dict, type(None))):
            raise ConvertError(f"{label}: {key} is not an object")
        inner.update(part or {})
    return inner or config, label, config.get("model_type")


def position_grid(recipe, name, patch, config, label):
    """-> (rows of the position table, side of the pictures)"""
    table = recipe.find(name)
    rows = rank(table, 2)[0]
    side = math.isqrt(rows - 1)
    if rows < 2 or side * side != rows - 1:
        raise ConvertError(f"{table.label}: tensor {table.name} has {rows} rows, not a class row and a square of patches")
    size = integer(config, "image_size", label, default=side * patch, high=4096)
    if size // patch != side:
        raise ConvertError(f"{label}: image_size {size} is not {side} patches of {patch} wide, as the tower's positions are")
    return rows, size


def build_attention(recipe, new, old, width):
    """Matrices of the queries, keys and values become one."""
    names = [f"{old}.{name}_proj" for name in "qkv"]
    recipe.weight_parts(f"{new}.qkv.weight", [f"{name}.weight" for name in names], width, width)
    recipe.exact_parts(f"{new}.qkv.bias", 3 * width, *(recipe.take(f"{name}.bias", width) for name in names))
    recipe.linear(f"{new}.out", f"{old}.out_proj", width, width)


def build_temporal(recipe, new, old, width):
    recipe.exact(f"{new}.position", f"{old}.temporal_embedding", TEMPORAL_FRAMES, width)
    recipe.norm(f"{new}.norm", f"{old}.temporal_layer_norm1", width)
    build_attention(recipe, new, f"{old}.temporal_attn", width)


def build(recipe, config, label, tower, prefix="", temporal=False):
    """Adds the tower: keys and tensors tower.*, from the tensors prefix + vision_model.*; config, label: configuration().
    -> width"""
    model = f"{prefix}vision_model"
    embeddings, layers = f"{model}.embeddings", f"{model}.encoder.layers"
    width, _, patch, _ = rank(recipe.find(f"{embeddings}.patch_embedding.weight"), 4)
    hidden = rank(recipe.find(f"{layers}.0.mlp.fc1.weight"), 2)[0]
    blocks = integer(config, "num_hidden_layers", label, default=12, low=2, high=512)
    heads = integer(config, "num_attention_heads", label, default=12)
    if width % heads:
        raise ConvertError(f"{label}: {heads} heads do not divide the width {width} of the tower")
    activation = config.get("hidden_act", "quick_gelu")
    if activation not in ACTIVATIONS:
        raise ConvertError(f"{label}: hidden_act is {activation!r}, only {' and '.join(ACTIVATIONS)} are supported")
    positions = f"{embeddings}.position_embedding.weight"
    rows, size = position_grid(recipe, positions, patch, config, label)
    recipe.numbers(tower, image_size=size, patch_size=patch, block_count=blocks - 1, embedding_length=width, head_count=heads,
                   feed_forward_length=hidden)
    recipe.key(f"{tower}.activation", "string", ACTIVATIONS[activation])
    recipe.key(f"{tower}.norm_epsilon", "f32", number(config, "layer_norm_eps", label, default=1e-5))
    recipe.weight(f"{tower}.patch.weight", f"{embeddings}.patch_embedding.weight", width, 3, patch, patch)
    recipe.exact(f"{tower}.class", f"{embeddings}.class_embedding", width)
    recipe.exact(f"{tower}.position", positions, rows, width)
    recipe.norm(f"{tower}.input_norm", f"{model}.pre_layrnorm", width)
    for i in range(blocks - 1):
        old, new = f"{layers}.{i}", f"{tower}.blk.{i}"
        if temporal:
            build_temporal(recipe, f"{new}.temporal", old, width)
        recipe.norm(f"{new}.norm1", f"{old}.layer_norm1", width)
        build_attention(recipe, new, f"{old}.self_attn", width)
        recipe.norm(f"{new}.norm2", f"{old}.layer_norm2", width)
        recipe.linear(f"{new}.fc1", f"{old}.mlp.fc1", hidden, width)
        recipe.linear(f"{new}.fc2", f"{old}.mlp.fc2", width, hidden)
    recipe.skip(f"{layers}.{blocks - 1}.")
    return width
