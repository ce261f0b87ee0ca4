"""
flash_vstream_qwen.py - Flash-VStream on Qwen2-VL: every tensor, key and prompt of the weight file.

    one folder (visual.*, model.*, lm_head; config.json with vision_config.flash_memory_config; tokenizer) --build--> recipe

The memory has no tensors: what tells this checkpoint from a Qwen2-VL is its model_type. Lengths of the memory are frames in the
configuration and grid steps, pairs of frames, in the file.
Ref:   IVGSZ/Flash-VStream Flash-VStream-Qwen models/flash_memory_constants.py, vstream_qwen2vl_model.py:79-428,
       scripts/inference_mcq_vqa.py (prompt, pixels, greedy answers); transformers 4.45 models/qwen2_vl (names, defaults).
Trap:  rope_scaling is of the kind mrope here, which scales nothing: its sections say which position turns which pairs.
       The token table is longer than the tokenizer and stays whole. A multiple-choice run puts a prefix behind
       template.qwen.open, as in "Best option: ("; the file has none.
"""
import re

import bpe_vocabulary
import llama_decoder
import prompt
import vision_tower
from checkpoint import integer, join, one_folder
from clip_tower import PIXEL_MEAN, PIXEL_STD
from errors import ConvertError
from recipe import rank

NAME = "flash-vstream-qwen"
TITLE = "Flash-VStream (Qwen)"
TEMPLATES = ("qwen",)

WHAT = "a Flash-VStream-Qwen (zhang9302002/Flash-VStream-Qwen-7b)"
BEGINNINGS = ("visual.", "model.", "lm_head.")
IGNORED = re.compile(r".*\.(rotary_emb|rotary_pos_emb)\.inv_freq$")
MODEL_TYPE = "flash_vstream_qwen2_vl"
FIXED = (("patch_size", 14), ("temporal_patch_size", 2), ("spatial_merge_size", 2))  # literals in the original's reshapes
MEMORY = {"flash_memory_temporal_length": 120, "flash_memory_temporal_method": "kmeans_ordered",
          "flash_memory_temporal_poolsize": 2, "flash_memory_spatial_length": 60,
          "flash_memory_spatial_method": "klarge_retrieve"}
METHODS = (("flash_memory_temporal_method", ("kmeans_ordered", "fast_kmeans_ordered")),  # the second one tells the time
           ("flash_memory_spatial_method", ("klarge_retrieve",)))
FRAMES_MAX, PIXELS_MIN, PIXELS_MAX = 240, 128 * 28 * 28, 256 * 28 * 28
MEMORY_MAX = 4096  # frames
CONTEXT = 16384  # the longest memory within PIXELS_MAX has 15120 rows (112 x 2352 pixels); 11520 of a square, 10800 of 16:9
PREDICT = 128
MEDIA = "<|vision_start|>{video}<|vision_end|>"


def recognise(sources):
    return any(name.startswith("visual.merger.") for source in sources for name in source.tensors)


def check_sources(sources):
    """All shards of one model. -> its folder"""
    for source in sources:
        foreign = min((name for name in source.tensors if not name.startswith(BEGINNINGS)), default=None)
        if foreign or not source.tensors:
            holds = f"tensor {foreign} is not known" if foreign else "holds no tensors"
            raise ConvertError(f"{source.label}: not a part of {TITLE}: {holds}; move the file out of the folder")
    one_folder(sources, WHAT)
    if not sources:
        raise ConvertError(f"no file of the checkpoint holds {WHAT}")
    return sources[0].folder


# ---- tower, merger, memory

def section(config, key, label):
    """An object in a configuration; an empty one where it is missing."""
    part = config.get(key)
    if not isinstance(part, (dict, type(None))):
        raise ConvertError(f"{label}: {key} is not an object")
    return part or {}


def build_tower(recipe, config, label):
    """config: vision_config. -> width"""
    for key, only in FIXED:
        if integer(config, key, label, default=only) != only:
            raise ConvertError(f"{label}: {key} is {config[key]}, only {only} is supported")
    activation = config.get("hidden_act", "quick_gelu")
    if activation != "quick_gelu":
        raise ConvertError(f"{label}: hidden_act is {activation!r}, only quick_gelu is supported")
    width = rank(recipe.find("visual.patch_embed.proj.weight"), 5)[0]
    hidden = rank(recipe.find("visual.blocks.0.mlp.fc1.weight"), 2)[0]
    blocks, heads = integer(config, "depth", label, default=32, high=512), integer(config, "num_heads", label, default=16)
    if width % heads or width // heads % 4:
        raise ConvertError(f"{label}: {heads} heads do not divide the tower's width {width} into heads of a multiple of 4")
    recipe.numbers("vit", patch_size=FIXED[0][1], temporal_patch_size=FIXED[1][1], merge_size=FIXED[2][1], block_count=blocks,
                   embedding_length=width, head_count=heads, feed_forward_length=hidden)
    recipe.key("vit.activation", "string", "gelu_quick")
    recipe.key("vit.norm_epsilon", "f32", 1e-6)
    recipe.key("vit.rope.freq_base", "f32", 10000.0)
    recipe.weight("vit.patch.weight", "visual.patch_embed.proj.weight", width, 3, FIXED[1][1], FIXED[0][1], FIXED[0][1])
    for i in range(blocks):
        old, new = f"visual.blocks.{i}", f"vit.blk.{i}"
        recipe.norm(f"{new}.norm1", f"{old}.norm1", width)
        recipe.linear(f"{new}.qkv", f"{old}.attn.qkv", 3 * width, width)
        recipe.linear(f"{new}.out", f"{old}.attn.proj", width, width)
        recipe.norm(f"{new}.norm2", f"{old}.norm2", width)
        recipe.linear(f"{new}.fc1", f"{old}.mlp.fc1", hidden, width)
        recipe.linear(f"{new}.fc2", f"{old}.mlp.fc2", width, hidden)
    return width


def build_merger(recipe, width, output):
    group = FIXED[2][1] ** 2 * width
    recipe.key("merger.norm_epsilon", "f32", 1e-6)
    recipe.norm("merger.norm", "visual.merger.ln_q", width)
    recipe.linear("merger.fc1", "visual.merger.mlp.0", group, group)
    recipe.linear("merger.fc2", "visual.merger.mlp.2", output, group)


def build_memory(recipe, config, label):
    """config: flash_memory_config, maybe with keys left out."""
    config = {**MEMORY, **config}
    for key, known in METHODS:
        if config[key] not in known:
            raise ConvertError(f"{label}: {key} is {config[key]!r}, only {known[0]} is supported")
    pool, temporal, spatial = (integer(config, f"flash_memory_{key}", label, low=2, high=MEMORY_MAX)
                               for key in ("temporal_poolsize", "temporal_length", "spatial_length"))
    if pool != 2:
        raise ConvertError(f"{label}: flash_memory_temporal_poolsize is {pool}, only 2 is supported")
    if temporal % 2 or spatial % 2 or spatial > temporal:
        raise ConvertError(f"{label}: flash_memory_temporal_length {temporal} and flash_memory_spatial_length {spatial} are "
                           "not even, or the second is the greater one")
    recipe.numbers("memory", temporal_length=temporal // 2, spatial_length=spatial // 2, pool_size=pool)


def build_vision(recipe, checkpoint, folder, config, label):
    recipe.key("video.sampling", "string", "qwen-list")
    recipe.key("video.fps", "f32", 1.0)
    recipe.numbers("video", frames_max=FRAMES_MAX, pixels_min=PIXELS_MIN, pixels_max=PIXELS_MAX)
    recipe.key("video.resize", "string", "qwen-twice")
    recipe.key("image.resize", "string", "qwen-twice")
    vision_tower.build_pixels(recipe, checkpoint, folder, PIXEL_MEAN, PIXEL_STD)
    vision, inside = section(config, "vision_config", label), f"{label}: vision_config"
    width = build_tower(recipe, vision, inside)
    build_memory(recipe, section(vision, "flash_memory_config", inside), inside)
    build_merger(recipe, width, integer(config, "hidden_size", label))


# ---- text

def build_decoder(recipe, checkpoint, folder, config, label, report):
    tokenizer = bpe_vocabulary.read(checkpoint, folder)
    for text in tokenizer.cut(llama_decoder.token_rows(recipe)):
        report.warn(f"{tokenizer.label}: the added token {text} has no row in the token table and is left out")
    for piece in sorted(set(re.findall(r"<\|\w+\|>", f"{prompt.QWEN}{MEDIA}<|video_pad|>"))):
        if tokenizer.find(piece) is None:
            raise ConvertError(f"{tokenizer.label}: the template qwen needs the added token {piece}")
    pad = tokenizer.find("<|video_pad|>")
    if integer(config, "video_token_id", label, default=pad, low=0) != pad:
        raise ConvertError(f"{label}: video_token_id is {config['video_token_id']}, the tokenizer's <|video_pad|> is {pad}")
    _, rows = llama_decoder.build(recipe, checkpoint, folder, report, biases=True, scaling="mrope")
    ends = llama_decoder.ends_of_text(checkpoint, folder, rows)
    recipe.keys += tokenizer.keys(None, ends, rows)
    prompt.sampling(recipe, checkpoint, folder, 0.0, PREDICT)
    context = recipe.told("llama.context_length")
    prompt.keys(recipe, "qwen", prompt.QWEN, prompt.SYSTEM_TEXT, MEDIA, min(context, CONTEXT))


def build(recipe, checkpoint, template, report):
    """Fills the recipe; -> the sources used"""
    used = list(checkpoint.sources)
    folder = check_sources(used)
    recipe.tensors = join([(source, "") for source in used], IGNORED.match, once=True)
    recipe.key("general.name", "string", checkpoint.title(used, {folder}))
    config, label = checkpoint.configuration(folder)
    if config.get("model_type") != MODEL_TYPE:
        raise ConvertError(f"{label}: model_type is {config.get('model_type')!r}, expected {MODEL_TYPE}")
    if config.get("use_sliding_window", False) is not False:
        raise ConvertError(f"{label}: use_sliding_window is {config['use_sliding_window']!r}, only False is supported")
    build_vision(recipe, checkpoint, folder, config, label)
    build_decoder(recipe, checkpoint, folder, config, label, report)
    return used
