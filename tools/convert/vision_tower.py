"""
vision_tower.py - image towers of Hugging Face folders: SigLIP and DINOv2 with SwiGLU, as LongVU uses them.

    config.json: heads, blocks; vision_model.{embeddings, encoder.layers.%d} -> siglip.*
    config.json: heads, blocks; {embeddings, encoder.layer.%d, layernorm}    -> dino.*, its positions resampled
    preprocessor_config.json                                                 -> pixel.*, for Flash-VStream

Ref:   LongVU longvu/multimodal_encoder/siglip_encoder.py, dino_encoder.py (sizes of the pictures); transformers 4.43
       models/siglip/modeling_siglip.py, models/dinov2/modeling_dinov2.py (names; interpolate_pos_encoding).
Trap:  DINOv2's positions are resampled by the scale 27.1 / 37 and not to the size 27, as newer transformers do: sampled places
       differ by up to 0.13 rows at the far edge.
       SigLIP's pictures have 6 rows and columns of pixels behind the last patch.
"""
import math

import numpy as np
from checkpoint import integer, number
from errors import ConvertError
from gguf_writer import Output
from recipe import rank
from tensor import Computed

GEOMETRY = ("siglip_image_size", "dino_image_size")
IMAGE_SIZE = {"siglip": 384, "dino": 378}  # fixed in the original, whatever the towers' own files say
MODEL_TYPES = {"siglip": ("siglip", "siglip_vision_model"), "dino": ("dinov2",)}


def build_pixels(recipe, checkpoint, folder, mean, std):
    """Adds pixel.mean and pixel.std as preprocessor_config.json says; mean, std: where it says nothing."""
    config, label = checkpoint.json(folder, "preprocessor_config.json"), f"{checkpoint.label(folder)}/preprocessor_config.json"
    for key, default, low in (("mean", mean, -1e6), ("std", std, 0)):
        values = config.get(f"image_{key}", default)
        if not (isinstance(values, (list, tuple)) and len(values) == 3
                and all(type(v) in (int, float) and low < v < 1e6 for v in values)):
            raise ConvertError(f"{label}: image_{key} is {values!r}, expected three numbers{' above 0' * (low == 0)}")
        recipe.key(f"pixel.{key}", "[f32]", [float(v) for v in values])


def configuration(checkpoint, folder, tower):
    """-> (configuration of the vision model, its label)"""
    config, label = checkpoint.configuration(folder)
    if config.get("model_type") not in MODEL_TYPES[tower]:
        raise ConvertError(f"{label}: model_type is {config.get('model_type')!r}, expected {MODEL_TYPES[tower][0]}")
    inner = config.get("vision_config", config)
    if not isinstance(inner, dict):
        raise ConvertError(f"{label}: vision_config is not an object")
    return inner, label


def build_patches(recipe, tower, sizes, config, label, patch_name):
    """Keys that both towers have, and the patches. -> (width, blocks, patches a line)"""
    width, _, patch, _ = rank(recipe.find(f"{patch_name}.weight"), 4)
    heads = integer(config, "num_attention_heads", label)
    if width % heads:
        raise ConvertError(f"{label}: {heads} heads do not divide the width {width} of the tower")
    blocks = integer(config, "num_hidden_layers", label, high=512)
    size = integer(sizes, f"{tower}_image_size", "vidrun.json", default=IMAGE_SIZE[tower], low=patch, high=4096)
    recipe.numbers(tower, image_size=size, patch_size=patch, block_count=blocks, embedding_length=width, head_count=heads)
    recipe.key(f"{tower}.norm_epsilon", "f32", number(config, "layer_norm_eps", label, default=1e-6))
    recipe.weight(f"{tower}.patch.weight", f"{patch_name}.weight", width, 3, patch, patch)
    recipe.exact(f"{tower}.patch.bias", f"{patch_name}.bias", width)
    return width, blocks, size // patch


def build_attention(recipe, new, names, out, width):
    """names: of the queries', keys' and values' matrices; they become one."""
    recipe.weight_parts(f"{new}.qkv.weight", [f"{name}.weight" for name in names], width, width)
    recipe.exact_parts(f"{new}.qkv.bias", 3 * width, *(recipe.take(f"{name}.bias", width) for name in names))
    recipe.linear(f"{new}.out", out, width, width)


def build_siglip(recipe, checkpoint, folder, sizes):
    """Adds the tower siglip; sizes: Checkpoint.geometry. -> width"""
    config, label = configuration(checkpoint, folder, "siglip")
    activation = config.get("hidden_act", "gelu_pytorch_tanh")
    if activation != "gelu_pytorch_tanh":
        raise ConvertError(f"{label}: hidden_act is {activation!r}, only gelu_pytorch_tanh is supported")
    embeddings, layers = "vision_model.embeddings", "vision_model.encoder.layers"
    hidden = rank(recipe.find(f"{layers}.0.mlp.fc1.weight"), 2)[0]
    width, blocks, side = build_patches(recipe, "siglip", sizes, config, label, f"{embeddings}.patch_embedding")
    recipe.numbers("siglip", feed_forward_length=hidden)
    recipe.key("siglip.activation", "string", "gelu_tanh")
    recipe.exact("siglip.position", f"{embeddings}.position_embedding.weight", side * side, width)
    for i in range(blocks):
        old, new = f"{layers}.{i}", f"siglip.blk.{i}"
        recipe.norm(f"{new}.norm1", f"{old}.layer_norm1", width)
        build_attention(recipe, new, [f"{old}.self_attn.{name}_proj" for name in "qkv"], f"{old}.self_attn.out_proj", width)
        recipe.norm(f"{new}.norm2", f"{old}.layer_norm2", width)
        recipe.linear(f"{new}.fc1", f"{old}.mlp.fc1", hidden, width)
        recipe.linear(f"{new}.fc2", f"{old}.mlp.fc2", width, hidden)
    return width


def build_dino(recipe, checkpoint, folder, sizes):
    """Adds the tower dino. -> width"""
    config, label = configuration(checkpoint, folder, "dino")
    if config.get("use_swiglu_ffn") is not True:
        raise ConvertError(f"{label}: use_swiglu_ffn is not true, only dinov2-giant is supported")
    embeddings, layers = "embeddings", "encoder.layer"
    hidden = rank(recipe.find(f"{layers}.0.mlp.weights_out.weight"), 2)[1]
    width, blocks, side = build_patches(recipe, "dino", sizes, config, label, f"{embeddings}.patch_embeddings.projection")
    recipe.numbers("dino", feed_forward_length=hidden)
    recipe.key("dino.ffn", "string", "swiglu")
    recipe.key("dino.output_norm_epsilon", "f32", number(config, "layer_norm_eps", label, default=1e-6))
    recipe.exact("dino.class", f"{embeddings}.cls_token", width)
    build_position(recipe, f"{embeddings}.position_embeddings", side, width)
    for i in range(blocks):
        old, new = f"{layers}.{i}", f"dino.blk.{i}"
        recipe.norm(f"{new}.norm1", f"{old}.norm1", width)
        build_attention(recipe, new, [f"{old}.attention.attention.{name}" for name in ("query", "key", "value")],
                        f"{old}.attention.output.dense", width)
        recipe.exact(f"{new}.scale1", f"{old}.layer_scale1.lambda1", width)
        recipe.norm(f"{new}.norm2", f"{old}.norm2", width)
        recipe.linear(f"{new}.fc1", f"{old}.mlp.weights_in", 2 * hidden, width)
        recipe.linear(f"{new}.fc2", f"{old}.mlp.weights_out", width, hidden)
        recipe.exact(f"{new}.scale2", f"{old}.layer_scale2.lambda1", width)
    recipe.norm("dino.output_norm", "layernorm", width)
    return width


def build_position(recipe, name, side, width):
    """A class row and the grid that was trained, to a class row and the grid of the tower's pictures."""
    tensor = recipe.find(name)
    rows = rank(tensor, 3)[1]
    trained = math.isqrt(rows - 1)
    if rows < 2 or trained * trained != rows - 1:
        raise ConvertError(f"{tensor.label}: tensor {name} has {rows} rows, not a class row and a square of patches")
    table = recipe.take(name, rows, width)
    if trained != side:
        table = Computed(table, lambda values: position_table(values.reshape(rows, width), trained, side))
    recipe.outputs.append(Output("dino.position", (side * side + 1, width), "F32", [table]))


def cubic_taps(trained, side):
    """-> (rows [side, 4] that are looked at, their weights [side, 4]), in float32 as torch: A = -0.75, corners not aligned, by
    the scale factor (side + 0.1) / trained."""
    one, a = np.float32(1), np.float32(-0.75)
    x = np.float32(trained / (side + 0.1)) * (np.arange(side, dtype="<f4") + np.float32(0.5)) - np.float32(0.5)
    first = np.floor(x)
    t = x - first

    def near(d):
        return ((a + 2 * one) * d - (a + 3 * one)) * d * d + one

    def far(d):
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    weights = np.stack([far(t + one), near(t), near(one - t), far(2 * one - t)], axis=1)
    rows = np.clip(first.astype(int)[:, None] + np.arange(-1, 3), 0, trained - 1)
    return rows, weights


def position_table(table, trained, side):
    """table [1 + trained^2, D] -> [1 + side^2, D]"""
    rows, weights = cubic_taps(trained, side)
    grid = table[1:].reshape(trained, trained, -1)
    grid = np.einsum("yxkd,xk->yxd", grid[:, rows], weights)
    grid = np.einsum("ykxd,yk->yxd", grid[rows], weights)
    return np.concatenate([table[:1], grid.reshape(side * side, -1)])
