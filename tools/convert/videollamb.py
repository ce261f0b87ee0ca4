"""
videollamb.py - VideoLLaMB (bigai-nlco): which file is what, and every tensor, key and prompt of the weight file.

    model folder (decoder, bridge, tokenizer), LanguageBind_Video_merge and LanguageBind_Image, or CLIP-336 --> {name: Tensor}
    --build--> recipe

Two checkpoints: A (VideoLLaMB-7B) reads with LanguageBind's towers and shows the decoder the last scene; B (Mem) reads with
CLIP and shows the memories of all scenes. mm_video_tower tells which; the folders may lie anywhere below the checkpoint folder,
each with its own config.json, and are told apart by their tensors.
Ref:   bigai-nlco/VideoLLaMB llava/model/builder.py, llava_arch.py, multimodal_projector/rmt_r_transformer_projector.py,
       self_retriever.py, conversation.py, serve/cli.py (A); bigai-nlco/MM-NIAVH needlehaystack/baselines/llava (B).
Trap:  the model's files carry bf16 copies of the towers; the original loads the towers' own float32 files over them.
       memory_tokens, the bridge's crossattention and the retrieval's selfattention are trained and never read. A later copy of
       the class gives A an abs_vid_pe too, which A does not read; of B's 1024 rows only those of a scene can be reached.
       The bridge's epsilon is 1e-12; its output has a GELU behind one linear layer.
       llava_v0, the template of the program for A, is not the one of the training (vicuna_v1); B's program takes llava_v1.
"""
import re

import clip_tower
import llama_decoder
import prompt
import vocabulary
from checkpoint import integer, join, number, one_folder
from errors import ConvertError
from gguf_writer import Output
from recipe import rank

NAME = "videollamb"
TITLE = "VideoLLaMB"
TEMPLATES = ("llava_v0", "llava_v1", "vicuna_v1")

TRANSFORMERS = 39                # the release of transformers 4 that is pinned
MODEL = "VideoLLaMB's decoder and bridge (ColorfulAI/VideoLLaMB or ColorfulAI/VideoLLaMB_Mem)"
TOWERS = {
    "video": "the tower of videos (LanguageBind/LanguageBind_Video_merge)",
    "image": "the tower of pictures (LanguageBind/LanguageBind_Image)",
    "clip": "the CLIP tower (openai/clip-vit-large-patch14-336)",
}
BEGINNINGS = ("model.", "lm_head.")
MODEL_UNUSED = (r"model\.(video|image)_tower\.|model\.mm_projector\.projector\.memory_tokens$"
                r"|model\.mm_projector\.projector\.layers\.\d+\.crossattention\."
                r"|model\.mm_projector\.retrieval\.layers\.\d+\.selfattention\."
                r"|.*\.rotary_emb\.inv_freq$|.*\.position_ids$")
IGNORED = re.compile(rf"{MODEL_UNUSED}|(video|image)_tower\.({clip_tower.UNUSED})")
SCENE_POSITION = "model.mm_projector.abs_vid_pe.weight"

# key, what the original takes where it is missing, the only value that this converter knows
FIXED = (("model_type", None, "llava_llama"), ("mm_vision_select_layer", None, -2),
         ("mm_vision_select_feature", "patch", "patch"), ("mm_hidden_act", None, "gelu"), ("mm_use_x_start_end", False, False),
         ("mm_use_x_patch_token", False, False), ("tie_word_embeddings", False, False), ("rope_scaling", None, None))
SCENE_FRAMES = 8
BOUNDARIES = 7                   # of B's scenes, at most
FRAMES_MAX = 512

HUMAN = ("A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, and "
         "polite answers to the human's questions.")
USER = HUMAN.replace("human", "user")
TWO = {"first": "{system} USER: {text} ", "next": "USER: {text} ", "open": "ASSISTANT:", "answer": "ASSISTANT: {text}</s>",
       "stop": ["</s>"], "cut": "</s>"}
TEMPLATE_TEXT = {
    "llava_v0": {"first": "{system}###Human: {text}###", "next": "Human: {text}###", "open": "Assistant:",
                 "answer": "Assistant: {text}###", "stop": ["\u2581###"], "cut": "###"},
    "llava_v1": TWO,
    "vicuna_v1": {**TWO, "system": USER},
}


def recognise(sources):
    own = ("model.mm_projector.projector.read_memory_emb", "model.mm_projector.retrieval.")
    return any(name.startswith(own) for source in sources for name in source.tensors)


# ---- which file is what

def sort_sources(sources):
    """{role: its sources}: model, towers over time, other towers"""
    found = {"model": [], "temporal": [], "plain": []}
    for source in sources:
        names = source.tensors
        if any(name.startswith(BEGINNINGS) for name in names):
            role = "model"
        elif any(name.startswith(clip_tower.BEGINNINGS) for name in names):
            role = "temporal" if any(".temporal_embedding" in name for name in names) else "plain"
        else:
            sample = min(names, default=None)
            holds = f"tensor {sample} is not known" if sample else "holds no tensors"
            raise ConvertError(f"{source.label}: not a part of {TITLE}: {holds}; move the file out of the folder")
        found[role].append(source)
    if not found["model"]:
        raise ConvertError(f"no file of the checkpoint holds {MODEL}")
    one_folder(found["model"], MODEL)
    return found


def choose_towers(found, plan):
    """-> {vit, image_vit: its sources}, image_vit only where pictures have a tower of their own"""
    wanted = {"vit": ("temporal", "video"), "image_vit": ("plain", "image")} if plan.temporal else {"vit": ("plain", "clip")}
    for kind in ("temporal", "plain"):
        if found[kind] and all(kind != taken for taken, _ in wanted.values()):
            raise ConvertError(f"{found[kind][0].label}: a tower over time, but {plan.label} names {plan.tower}; move the file "
                               "out of the folder")
    towers = {}
    for tower, (kind, name) in wanted.items():
        if not found[kind]:
            raise ConvertError(f"no file of the checkpoint holds {TOWERS[name]}; the copies inside the model's files are less "
                               "exact and not used")
        one_folder(found[kind], TOWERS[name])
        towers[tower] = found[kind]
    return towers


# ---- what config.json says

class Plan:
    """The numbers of the system that no tensor shows, checked."""

    def __init__(self, config, label):
        self.label = label
        for key, default, only in FIXED:
            value = config.get(key, default)
            if type(value) is not type(only) or value != only:
                raise ConvertError(f"{label}: {key} is {value!r}, only {only!r} is supported")
        inputs = config.get("X", ["VIDEO", "IMAGE"])
        if not isinstance(inputs, list) or not {"VIDEO", "IMAGE"} <= set(map(str, inputs)):
            raise ConvertError(f"{label}: X is {inputs!r}, expected VIDEO and IMAGE")
        kind = re.fullmatch(r"rmt_r_transformer([1-9]\d?)x", str(config.get("mm_projector_type")))
        if not kind:
            raise ConvertError(f"{label}: mm_projector_type is {config.get('mm_projector_type')!r}, only rmt_r_transformer1x "
                               "is supported")
        self.depth = int(kind.group(1))
        self.tower = str(config.get("mm_video_tower"))
        image = str(config.get("mm_image_tower"))
        self.temporal = re.search(r"(?<!RMT)LanguageBind_Video_merge", self.tower) is not None
        if not ("LanguageBind_Image" in image if self.temporal else "clip" in self.tower and "clip" in image):
            raise ConvertError(f"{label}: mm_video_tower and mm_image_tower are {self.tower!r} and {image!r}, expected "
                               "LanguageBind_Video_merge and LanguageBind_Image, or CLIP in both")
        self.width = integer(config, "mm_hidden_size", label)
        self.hidden = integer(config, "mm_intermediate_size", label)
        self.heads = integer(config, "mm_num_attention_heads", label)
        if self.width % self.heads:
            raise ConvertError(f"{label}: mm_num_attention_heads {self.heads} does not divide mm_hidden_size {self.width}")
        self.epsilon = number(config, "mm_layer_norm_eps", label)
        self.output = integer(config, "hidden_size", label)
        self.max_length = integer(config, "tokenizer_model_max_length", label, high=llama_decoder.MAX_CONTEXT)
        self.predict = 1024 if self.temporal else 512


# ---- towers

def build_tower(recipe, checkpoint, plan, tower, folder):
    config, label, kind = clip_tower.configuration(checkpoint, folder)
    temporal = plan.temporal and tower == "vit"
    if (kind in ("clip", "clip_vision_model")) == plan.temporal:
        raise ConvertError(f"{label}: model_type is {kind!r}, but {plan.label} names {plan.tower}")
    if config.get("add_time_attn", False) is not temporal:
        raise ConvertError(f"{label}: add_time_attn is {config.get('add_time_attn')!r}, expected {temporal!r}")
    if plan.temporal and not temporal and config.get("lora_r", 0) != 0:
        raise ConvertError(f"{label}: lora_r is {config['lora_r']!r}, only 0 is supported: the tower without LoRA")
    prefix = "image_tower." if tower == "image_vit" else "video_tower."
    width = clip_tower.build(recipe, config, label, tower, prefix, temporal)
    if width != plan.width:
        raise ConvertError(f"{plan.label}: mm_hidden_size is {plan.width}, but the tower of {label} is {width} wide")


def build_vision(recipe, checkpoint, plan, towers):
    recipe.key("video.sampling", "string", "linspace")
    if plan.temporal:
        recipe.numbers("video", frames=clip_tower.TEMPORAL_FRAMES)
    recipe.numbers("video", frames_max=FRAMES_MAX, frames_multiple=clip_tower.TEMPORAL_FRAMES if plan.temporal else 1)
    recipe.key("video.fps", "f32", 1.0)
    recipe.key("video.resize", "string", "normalise-bilinear" if plan.temporal else "clip")
    recipe.key("image.resize", "string", "tensor-bicubic" if plan.temporal else "clip")
    recipe.key("pixel.mean", "[f32]", clip_tower.PIXEL_MEAN)
    recipe.key("pixel.std", "[f32]", clip_tower.PIXEL_STD)
    for tower, sources in towers.items():
        build_tower(recipe, checkpoint, plan, tower, sources[0].folder)
    recipe.numbers("vit", temporal_frames=clip_tower.TEMPORAL_FRAMES if plan.temporal else 0)


# ---- bridge, scenes

def build_attention(recipe, new, old, width):
    for name in "qkv":
        recipe.linear(f"{new}.{name}", f"{old}.{name}_proj", width, width)
    recipe.linear(f"{new}.out", f"{old}.residual.dense", width, width)
    recipe.norm(f"{new}.norm", f"{old}.residual.layernorm", width)


def build_bridge(recipe, plan):
    bridge, retrieval, width = "model.mm_projector.projector", "model.mm_projector.retrieval", plan.width
    memory = rank(recipe.find(f"{bridge}.read_memory_emb"), 2)[0]
    recipe.numbers("bridge", memory_count=memory, head_count=plan.heads, feed_forward_length=plan.hidden,
                   block_count=plan.depth, pool_side=12 if plan.temporal else 14)
    recipe.key("bridge.norm_epsilon", "f32", plan.epsilon)
    recipe.key("bridge.cache", "string", "memory" if plan.temporal else "patches")
    recipe.key("bridge.output", "string", "last_scene" if plan.temporal else "memory")
    recipe.exact("bridge.memory", f"{bridge}.read_memory_emb", memory, width)
    for i in range(plan.depth):
        old, new = f"{bridge}.layers.{i}", f"bridge.blk.{i}"
        build_attention(recipe, f"{new}.self", f"{old}.selfattention", width)
        recipe.linear(f"{new}.fc1", f"{old}.mlp.0", plan.hidden, width)
        recipe.linear(f"{new}.fc2", f"{old}.residual.dense", width, plan.hidden)
        recipe.norm(f"{new}.ffn_norm", f"{old}.residual.layernorm", width)
    build_attention(recipe, "retrieval.cross", f"{retrieval}.layers.0.crossattention", width)
    recipe.linear("project.video", f"{bridge}.proj.0", plan.output, width)


def build_scenes(recipe, plan):
    recipe.numbers("scene", frames_max=SCENE_FRAMES)
    if plan.temporal:
        recipe.skip(SCENE_POSITION)
        recipe.numbers("scene", count=4)
        recipe.key("stream.scene_alpha", "f32", 0.5)
        recipe.numbers("stream", boundaries_max=15)
        recipe.key("stream.query", "string", "Describe the video in one sentence.")
        return
    if not recipe.has(SCENE_POSITION):
        raise ConvertError(f"missing tensor {SCENE_POSITION}: {plan.label} names {plan.tower}, which only the Mem checkpoint "
                           "reads with, and that has this tensor")
    recipe.key("scene.alpha", "f32", 0.5)
    recipe.numbers("scene", boundaries_max=BOUNDARIES)
    rows = rank(recipe.find(SCENE_POSITION), 2)[0]
    if rows <= BOUNDARIES:
        raise ConvertError(f"{recipe.find(SCENE_POSITION).label}: tensor {SCENE_POSITION} has {rows} rows, fewer than scenes")
    table = recipe.take(SCENE_POSITION, rows, plan.width).first_rows(BOUNDARIES + 1)
    recipe.outputs.append(Output("bridge.scene_position", (BOUNDARIES + 1, plan.width), "F32", [table]))


# ---- text

def build_text(recipe, checkpoint, plan, folder, rows, template, report):
    ends = llama_decoder.ends_of_text(checkpoint, folder)
    keys, _ = vocabulary.keys(checkpoint, folder, rows, ends[0] if ends else None, report, release=TRANSFORMERS)
    tokenizer = checkpoint.json(folder, "tokenizer_config.json")
    recipe.keys += keys
    recipe.key("tokenizer.skip_special", "bool", True)
    recipe.key("tokenizer.clean_spaces", "bool", tokenizer.get("clean_up_tokenization_spaces") is True)
    if len(ends) > 1:
        recipe.key("tokenizer.eos_ids", "[i32]", ends[1:])
    prompt.sampling(recipe, checkpoint, folder, 0.2, plan.predict, top_k=50)
    context = min(recipe.told("llama.context_length"), plan.max_length + plan.predict)
    name = template or ("llava_v0" if plan.temporal else "llava_v1")
    others = {other: parts for other, parts in TEMPLATE_TEXT.items() if other != name}
    prompt.keys(recipe, name, TEMPLATE_TEXT[name], HUMAN, "{video}\n", context, others)


def build(recipe, checkpoint, template, report):
    """Fills the recipe; -> the sources used"""
    found = sort_sources(checkpoint.sources)
    checkpoint.geometry(())
    folder = found["model"][0].folder
    plan = Plan(*checkpoint.configuration(folder))
    towers = choose_towers(found, plan)
    entries = [(source, "image_tower." if tower == "image_vit" else "video_tower.")
               for tower, sources in towers.items() for source in sources]
    entries += [(source, "") for source in found["model"]]
    used = [source for source, _ in entries]
    recipe.tensors = join(entries, IGNORED.match, once=True)
    recipe.key("general.name", "string", checkpoint.title(used, {source.folder for source in used}))
    build_vision(recipe, checkpoint, plan, towers)
    build_bridge(recipe, plan)
    build_scenes(recipe, plan)
    _, rows = llama_decoder.build(recipe, checkpoint, folder, report)
    build_text(recipe, checkpoint, plan, folder, rows, template, report)
    return used
