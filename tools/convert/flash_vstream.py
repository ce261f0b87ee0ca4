"""
flash_vstream.py - Flash-VStream on LLaVA (IVGSZ/Flash-VStream-7b): which file is what, every tensor, key and prompt.

    model folder (decoder, memory attention, projector, tokenizer), CLIP folder --> {name: Tensor} --build--> recipe

The two folders may lie anywhere below the checkpoint folder, each with its own config.json; they are told apart by tensors.
Ref:   IVGSZ/Flash-VStream Flash-VStream-LLaVA flash_vstream/model/{builder,vstream_arch,compress_functions}.py (keys of the
       configuration and what holds where one is missing), conversation.py:254-264, serve/cli_video_stream.py (sampling).
Trap:  the model's files carry a bf16 copy of the tower, model.vision_tower.*: the original loads CLIP's own file over it.
       Of the memory's attention only q_proj and k_proj are read (vstream_arch.py:34-65, 174-183).
       generation_config.json says temperature 0.9, which the program overrides, and top_p 0.6, which holds.
       Both texts around the clip are tokenised on their own: the second one begins with a blank piece and a line feed.
"""
import re

import clip_tower
import llama_decoder
import prompt
import vision_tower
import vocabulary
from checkpoint import integer, join, number, one_folder
from errors import ConvertError
from recipe import rank

NAME = "flash-vstream"
TITLE = "Flash-VStream"
TEMPLATES = ("vicuna_v1",)

ROLES = {"model": "Flash-VStream's decoder (IVGSZ/Flash-VStream-7b)",
         "clip": "the CLIP tower (openai/clip-vit-large-patch14)"}
BEGINNINGS = {"model": ("model.", "lm_head."), "clip": clip_tower.BEGINNINGS}
IGNORED = {"model": re.compile(r"model\.vision_tower\.|model\.attention_model\.(v_proj|out_proj|out_ln)\."
                               r"|.*\.rotary_emb\.inv_freq$"),
           "clip": re.compile(clip_tower.UNUSED)}

# key, what the original takes where it is missing, the only value that this converter knows
FIXED = (("video_sample_type", None, "weighted_kmeans"), ("mm_projector_type", "linear", "mlp2x_gelu"),
         ("mm_vision_select_layer", None, -2), ("mm_vision_select_feature", "patch", "patch"),
         ("mm_use_4_vision_tokens", False, False), ("mm_use_im_start_end", False, False),
         ("mm_use_im_patch_token", True, False), ("rope_scaling", None, None))
RETRIEVED = 3                    # key_length, fixed in the original
MEMORY_MAX = 4096                # slots
ANSWER = 1024                    # room behind the longest prompt: the evaluation's longest answer
PREDICT = 512
RELEASE = 31                     # of transformers 4, pinned

SYSTEM_TEXT = ("A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
               "and polite answers to the user's questions.")
TEMPLATE = {"first": "{system} USER: {text} ", "next": "USER: {text} ", "open": "ASSISTANT:", "answer": "ASSISTANT: {text}</s>",
            "stop": ["</s>"], "cut": "</s>"}


def recognise(sources):
    return any(name.startswith("model.attention_model.") for source in sources for name in source.tensors)


def sort_sources(sources):
    """{role: its sources}, all of one folder"""
    found = {role: [] for role in ROLES}
    for source in sources:
        role = next((role for role, own in BEGINNINGS.items() if any(name.startswith(own) for name in source.tensors)), None)
        if role is None:
            sample = min(source.tensors, default=None)
            holds = f"tensor {sample} is not known" if sample else "holds no tensors"
            raise ConvertError(f"{source.label}: not a part of {TITLE}: {holds}; move the file out of the folder")
        found[role].append(source)
    for role, what in ROLES.items():
        if not found[role]:
            raise ConvertError(f"no file of the checkpoint holds {what}")
        one_folder(found[role], what)
    return found


# ---- tower, memory, projector

def side_of(config, key, before, label):
    """Side of the grid that average pooling makes of one of this side."""
    side = integer(config, key, label, default=1, high=before)
    if side > 1 and before // (before // side) != side:
        raise ConvertError(f"{label}: {key} is {side}, which pooling a grid of {before} a line cannot give")
    return side


def build_memory(recipe, config, label, grid, width):
    """grid: patches a line of the tower."""
    kind = config.get("compress_type")
    if kind is not None and "mean" not in str(kind):
        raise ConvertError(f"{label}: compress_type is {kind!r}, only mean is supported")
    pool = temporal = abstract = grid  # without a compress_type nothing is pooled
    if kind is not None:
        pool = side_of(config, "compress_size", grid, label)
        temporal = side_of(config, "compress_long_memory_size", pool, label)
        abstract = side_of(config, "compress_Turing_memory_size", pool, label)
    recipe.numbers("memory", pool_side=pool, temporal_side=temporal, abstract_side=abstract, retrieved_length=RETRIEVED)
    for name, key, default in (("spatial", "current", 1), ("temporal", "long", 10), ("abstract", "Turing", 10)):
        length = integer(config, f"video_{key}_memory_length", label, default=default, high=MEMORY_MAX)
        recipe.numbers("memory", **{f"{name}_length": length})
    recipe.key("memory.abstract_ratio", "f32", number(config, "compress_Turing_update_ratio", label, default=0.2))
    hidden = rank(recipe.find("model.attention_model.q_proj.weight"), 2)[0]
    recipe.numbers("memory", abstract_width=hidden)
    for name in "qk":
        recipe.linear(f"abstract.{name}", f"model.attention_model.{name}_proj", hidden, width)


def check_pictures(checkpoint, folder, size):
    """What preprocessor_config.json says of the size of the tower's pictures, as a number or as an object, and of how they are
    resized."""
    config, label = checkpoint.json(folder, "preprocessor_config.json"), f"{checkpoint.label(folder)}/preprocessor_config.json"
    for key, known in (("size", (size, {"shortest_edge": size})), ("crop_size", (size, {"height": size, "width": size})),
                       ("resample", (3,))):
        if config.get(key, known[0]) not in known:
            raise ConvertError(f"{label}: {key} is {config[key]!r}, only {known[0]} is supported")


def build_vision(recipe, checkpoint, folder, config, label):
    """folder: of the tower; config, label: of the model."""
    recipe.key("video.sampling", "string", "fps")
    recipe.key("video.fps", "f32", 1.0)
    recipe.key("video.resize", "string", "clip")
    recipe.key("image.resize", "string", "clip")
    vision_tower.build_pixels(recipe, checkpoint, folder, clip_tower.PIXEL_MEAN, clip_tower.PIXEL_STD)
    tower, its_label, kind = clip_tower.configuration(checkpoint, folder)
    if kind not in ("clip", "clip_vision_model"):
        raise ConvertError(f"{its_label}: model_type is {kind!r}, expected clip")
    width = clip_tower.build(recipe, tower, its_label, "vit")
    check_pictures(checkpoint, folder, recipe.told("vit.image_size"))
    if integer(config, "mm_hidden_size", label, default=width) != width:
        raise ConvertError(f"{label}: mm_hidden_size is {config['mm_hidden_size']}, the tower is {width} wide")
    build_memory(recipe, config, label, recipe.told("vit.image_size") // recipe.told("vit.patch_size"), width)
    output = integer(config, "hidden_size", label)
    recipe.linear("project.video.fc1", "model.mm_projector.0", output, width)
    recipe.linear("project.video.fc2", "model.mm_projector.2", output, output)


# ---- text

def build_text(recipe, checkpoint, folder, config, label, rows, report):
    ends = llama_decoder.ends_of_text(checkpoint, folder, rows)
    keys, _ = vocabulary.keys(checkpoint, folder, rows, ends[0] if ends else None, report, RELEASE)
    tokenizer = checkpoint.json(folder, "tokenizer_config.json")
    recipe.keys += keys
    recipe.key("tokenizer.skip_special", "bool", True)
    recipe.key("tokenizer.clean_spaces", "bool", tokenizer.get("clean_up_tokenization_spaces") is True)
    if len(ends) > 1:
        recipe.key("tokenizer.eos_ids", "[i32]", ends[1:])
    prompt.sampling(recipe, checkpoint, folder, 0.2, PREDICT, top_k=50)
    context = recipe.told("llama.context_length")
    if config.get("tokenizer_model_max_length") is not None:
        longest = integer(config, "tokenizer_model_max_length", label, high=llama_decoder.MAX_CONTEXT)
        recipe.numbers("prompt", rows_max=longest)
        context = min(context, longest + ANSWER)
    prompt.keys(recipe, "vicuna_v1", TEMPLATE, SYSTEM_TEXT, "{video}\n", context)


def build(recipe, checkpoint, template, report):
    """Fills the recipe; -> the sources used"""
    found = sort_sources(checkpoint.sources)
    used = found["clip"] + found["model"]
    recipe.tensors = {}
    for role, sources in found.items():
        recipe.tensors.update(join([(source, "") for source in sources], IGNORED[role].match, once=True))
    folder = found["model"][0].folder
    recipe.key("general.name", "string", checkpoint.title(used, {source.folder for source in used}))
    config, label = checkpoint.configuration(folder)
    for key, default, only in FIXED:
        value = config.get(key, default)
        if type(value) is not type(only) or value != only:
            raise ConvertError(f"{label}: {key} is {value!r}, only {only!r} is supported")
    build_vision(recipe, checkpoint, found["clip"][0].folder, config, label)
    _, rows = llama_decoder.build(recipe, checkpoint, folder, report)
    build_text(recipe, checkpoint, folder, config, label, rows, report)
    return used
