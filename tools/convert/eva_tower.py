"""
eva_tower.py - the image tower EVA-CLIP-g as BLIP-2 and its relatives use it, with BLIP-2's norm behind it.

    visual_encoder.{patch_embed, cls_token, pos_embed, blocks.%d}, ln_vision -> vit.*

Ref:   Video-LLaMA models/eva_vit.py:246-351, 415-442; Ask-Anything video_chat/models/eva_vit.py:88-240.
Trap:  the qkv bias is q_bias, zeros, v_bias. The file holds one block more than is built.
"""
from checkpoint import integer
from errors import ConvertError
from recipe import rank

BLOCKS = 39            # of the released file's 40 (eva_vit.py:424)
RELEASED_WIDTH = 1408
HEAD_WIDTH = 88
HEADS = 16             # for widths that 88 does not divide


def head_count(config, key, released_heads, width, what):
    """Heads of a tower: what vidrun.json says, else as released."""
    heads = integer(config, key, "vidrun.json", default=released_heads)
    if width % heads:
        raise ConvertError(f"vidrun.json: {key} {heads} does not divide {what}'s width {width}")
    return heads


def build(recipe, config, blocks):
    """Adds vit.*; config: Checkpoint.geometry; blocks: how many are built. -> width"""
    width, _, patch, _ = rank(recipe.find("visual_encoder.patch_embed.proj.weight"), 4)
    hidden = rank(recipe.find("visual_encoder.blocks.0.mlp.fc1.weight"), 2)[0]
    position = recipe.find("visual_encoder.pos_embed")
    rows = rank(position, 3)[1]
    grid = round((rows - 1) ** 0.5)
    if rows < 2 or grid * grid != rows - 1:
        raise ConvertError(f"{position.label}: tensor {position.name} has {rows} rows, not a class row and a square of patches")
    if width % HEAD_WIDTH and width % HEADS and "vit_heads" not in config:
        raise ConvertError(f"{position.label}: the image tower is {width} wide, which neither heads of {HEAD_WIDTH} nor "
                           f"{HEADS} heads divide")
    released_heads = HEADS if width % HEAD_WIDTH else width // HEAD_WIDTH
    heads = head_count(config, "vit_heads", released_heads, width, "the image tower")
    recipe.numbers("vit", image_size=grid * patch, patch_size=patch, block_count=blocks, embedding_length=width,
                   head_count=heads, feed_forward_length=hidden)
    recipe.key("vit.activation", "string", "gelu")
    recipe.key("vit.norm_epsilon", "f32", 1e-6)
    recipe.key("vit.output_norm_epsilon", "f32", 1e-5)
    recipe.weight("vit.patch.weight", "visual_encoder.patch_embed.proj.weight", width, 3, patch, patch)
    recipe.exact("vit.patch.bias", "visual_encoder.patch_embed.proj.bias", width)
    recipe.exact("vit.class", "visual_encoder.cls_token", width)
    recipe.exact("vit.position", "visual_encoder.pos_embed", rows, width)
    for i in range(blocks):
        old, new = f"visual_encoder.blocks.{i}", f"vit.blk.{i}"
        recipe.norm(f"{new}.norm1", f"{old}.norm1", width)
        recipe.weight(f"{new}.qkv.weight", f"{old}.attn.qkv.weight", 3 * width, width)
        recipe.exact_parts(f"{new}.qkv.bias", 3 * width, recipe.take(f"{old}.attn.q_bias", width), width,
                           recipe.take(f"{old}.attn.v_bias", width))
        recipe.linear(f"{new}.out", f"{old}.attn.proj", width, width)
        recipe.norm(f"{new}.norm2", f"{old}.norm2", width)
        recipe.linear(f"{new}.fc1", f"{old}.mlp.fc1", hidden, width)
        recipe.linear(f"{new}.fc2", f"{old}.mlp.fc2", width, hidden)
    recipe.norm("vit.output_norm", "ln_vision", width)
    return width
