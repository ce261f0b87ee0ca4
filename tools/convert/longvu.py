"""
longvu.py - LongVU (Vision-CAIR): which file is what, and every tensor, key and prompt of the weight file.

    LongVU folder (decoder, sampler, projectors, tokenizer), SigLIP folder, DINOv2 folder --> {name: Tensor} --build--> recipe

Files are told apart by the tensors they hold; the three folders may lie anywhere below the checkpoint folder, each with its own
config.json. The image stage is a checkpoint of its own: 24 x 24 queries, no positions in the sampler's windows, no small grid.
Ref:   Vision-CAIR/LongVU longvu/builder.py, cambrian_arch.py, vision_sampler.py:170-401, conversation.py.
Trap:  the hub files of SigLIP hold a text tower, and the vision tower is used without its last norm and its head.
       Qwen2's token table is cut to the length of the tokenizer (builder.py:230), Llama's is not.
       vision_query is one vector, and the sampler has 16 heads whatever its width.
       The first upload of the 1B model says image_token_len 576 beside 144 queries.
"""
import math
import re

import bpe_vocabulary
import llama_decoder
import prompt
import vision_tower
from checkpoint import integer, join, number, one_folder
from errors import ConvertError

NAME = "longvu"
TITLE = "LongVU"
TEMPLATES = ("qwen", "llama3")

SAMPLER_HEADS = 16
MAX_SIDE = 32                              # of the token grid, as the engine
RESERVE = 16
CHAT_RESERVE = 1024                        # room behind max_length, for the answer

ROLES = {
    "longvu": "LongVU's decoder (Vision-CAIR/LongVU_Qwen2_7B or another of its releases)",
    "siglip": "the SigLIP tower (google/siglip-so400m-patch14-384)",
    "dino": "the DINOv2 tower (facebook/dinov2-giant)",
}
BEGINNINGS = {
    "longvu": ("model.", "lm_head."),
    "siglip": ("vision_model.", "text_model.", "logit_scale", "logit_bias"),
    "dino": ("embeddings.", "encoder.layer.", "layernorm."),
}
IGNORED = re.compile(r"text_model\.|logit_(scale|bias)$|vision_model\.(post_layernorm|head)\.|embeddings\.mask_token$"
                     r"|.*\.position_ids$|.*\.rotary_emb\.inv_freq$")

# key, what the original takes where it is missing, the only value that this converter knows
FIXED = (("mm_projector_type", "linear", "sva"), ("connector_only", None, True), ("num_query_group", None, 1),
         ("frame_pos", False, False), ("mm_use_im_start_end", False, False), ("mm_use_im_patch_token", True, False),
         ("mm_vision_select_feature", "patch", "patch"), ("use_sliding_window", False, False))

TEMPLATE_TEXT = {
    "qwen": prompt.QWEN,
    "llama3": {  # the tokenizer puts <|begin_of_text|> in front
        "first": "<|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>"
                 "<|start_header_id|>user<|end_header_id|>\n\n{text}<|eot_id|>",
        "next": "<|start_header_id|>user<|end_header_id|>\n\n{text}<|eot_id|>",
        "open": "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "answer": "<|start_header_id|>assistant<|end_header_id|>\n\n{text}<|eot_id|>", "stop": ["<|eot_id|>"], "trim": True,
    },
}


def recognise(sources):
    own = ("model.vision_query", "model.vision_sampler_0.", "model.mm_projector_aux_")
    return any(name.startswith(own) for source in sources for name in source.tensors)


# ---- which file is what

def role(names):
    """Which of ROLES a file with these tensors is a part of; None: unknown."""
    return next((what for what, beginnings in BEGINNINGS.items() if any(name.startswith(beginnings) for name in names)), None)


def sort_sources(sources):
    """{role: its sources}, all of one folder"""
    found = {what: [] for what in ROLES}
    for source in sources:
        what = role(source.tensors)
        if what is None:
            sample = min(source.tensors, default=None)
            holds = f"tensor {sample} is not known" if sample else "holds no tensors"
            raise ConvertError(f"{source.label}: not a part of {TITLE}: {holds}; move the file out of the folder")
        found[what].append(source)
    for what, name in ROLES.items():
        if not found[what]:
            raise ConvertError(f"no file of the checkpoint holds {name}")
        one_folder(found[what], name)
    return found


# ---- what config.json says

class Plan:
    """The numbers of the system that no tensor shows, checked."""

    def __init__(self, config, label):
        self.family = next((family for family in ("qwen", "llama") if family in str(config.get("model_type"))), None)
        if self.family is None:
            raise ConvertError(f"{label}: model_type is {config.get('model_type')!r}, expected cambrian_qwen or cambrian_llama")
        for key, default, only in FIXED:
            value = config.get(key, default)
            if type(value) is not type(only) or value != only:
                raise ConvertError(f"{label}: {key} is {value!r}, only {only!r} is supported")
        towers = config.get("mm_vision_tower_aux_list")
        if not (isinstance(towers, list) and len(towers) == 2 and "siglip" in str(towers[0]) and "dinov2" in str(towers[1])):
            raise ConvertError(f"{label}: mm_vision_tower_aux_list is {towers!r}, expected SigLIP and DINOv2")
        self.tower_side = grid_side(config, "mm_vision_tower_aux_token_len_list", 2, label)
        self.query_side = grid_side(config, "query_num_list", 1, label)
        if self.tower_side % self.query_side:
            raise ConvertError(f"{label}: {self.query_side} queries a line do not divide the towers' {self.tower_side} tokens")
        queries = integer(config, "image_token_len", label)
        if queries != self.query_side ** 2:
            raise ConvertError(f"{label}: image_token_len is {queries}, query_num_list says {self.query_side ** 2}; an early "
                               "upload of the 1B model had this mistake, the number of queries is right")
        self.ratio = self.tower_side // self.query_side
        self.width = integer(config, "vision_hidden_size", label)
        if self.width % SAMPLER_HEADS:
            raise ConvertError(f"{label}: vision_hidden_size {self.width} is not {SAMPLER_HEADS} heads wide")
        self.depth = integer(config, "connector_depth", label, high=512)
        self.highres = flag(config, "highres", label)
        self.low_side = integer(config, "lowres_token", label, high=self.query_side) if self.highres else None
        self.dino_threshold = number(config, "dino_threshold", label, default=0.83)
        self.drop_threshold = number(config, "drop_threshold", label, default=0.7)
        most = llama_decoder.MAX_CONTEXT
        self.reserve = integer(config, "inference_max_length", label, default=RESERVE, low=0, high=most - 1)
        self.max_length = integer(config, "tokenizer_model_max_length", label, low=self.reserve + 1, high=most)


def flag(config, key, label):
    value = config.get(key, False)
    if type(value) is not bool:
        raise ConvertError(f"{label}: {key} is {value!r}, expected true or false")
    return value


def grid_side(config, key, n, label):
    """Side of the square grid that n equal entries of a list count the tokens of."""
    counts = config.get(key)
    if not (isinstance(counts, list) and len(counts) == n and counts == counts[:1] * n and type(counts[0]) is int):
        raise ConvertError(f"{label}: {key} is {counts!r}, expected {n} equal number{'s' * (n > 1)}")
    side = math.isqrt(max(counts[0], 0))
    if side * side != counts[0] or not 1 <= side <= MAX_SIDE:
        raise ConvertError(f"{label}: {key} is {counts!r}, expected squares of 1 to {MAX_SIDE}")
    return side


# ---- sampler and projectors

def build_mlp(recipe, new, old, rows, cols):
    recipe.linear(f"{new}.fc1", f"{old}.0", rows, cols)
    recipe.linear(f"{new}.fc2", f"{old}.2", rows, rows)


def build_sampler(recipe, plan, label):
    width, towers = plan.width, ("siglip", "dino")
    recipe.numbers("sampler", block_count=plan.depth, embedding_length=width, head_count=SAMPLER_HEADS)
    recipe.key("sampler.norm_epsilon", "f32", 1e-5)
    recipe.exact("sampler.query", "model.vision_query", width)
    positions = recipe.has("model.vision_sampler_0.layers.0.pos_embed_0")
    if positions != (plan.ratio > 1):
        holds = "positions in the sampler's windows (pos_embed_0)" if positions else "no pos_embed_0, as in the image stage"
        raise ConvertError(f"{label}: query_num_list says {plan.query_side ** 2} queries, but the weights' file has {holds}: "
                           "they are of different releases")
    for i in range(plan.depth):
        old, new = f"model.vision_sampler_0.layers.{i}", f"sampler.blk.{i}"
        recipe.weight(f"{new}.context.weight", f"{old}.proj_context.weight", width, width)
        recipe.weight(f"{new}.in.weight", f"{old}.proj_in.weight", width, 2 * width)
        recipe.norm(f"{new}.q_norm", f"{old}.cross_attn.q_proj.0", width)
        recipe.weight(f"{new}.q.weight", f"{old}.cross_attn.q_proj.1.weight", width, width)
        for n, tower in enumerate(towers):
            if positions:
                recipe.exact(f"{new}.{tower}.position", f"{old}.pos_embed_{n}", plan.ratio ** 2, width)
            for part in "kv":
                recipe.norm(f"{new}.{tower}.{part}_norm", f"{old}.cross_attn.{part}_proj_{n}.0", width)
                recipe.weight(f"{new}.{tower}.{part}.weight", f"{old}.cross_attn.{part}_proj_{n}.1.weight", width, width)
        recipe.weight(f"{new}.out.weight", f"{old}.cross_attn.o_proj.weight", width, width)
        recipe.norm(f"{new}.norm", f"{old}.norm", width)
        recipe.weight(f"{new}.fc1.weight", f"{old}.proj_out.linear_1.weight", width, width)
        recipe.weight(f"{new}.fc2.weight", f"{old}.proj_out.linear_2.weight", width, width)


def build_vision(recipe, checkpoint, plan, found, label):
    sizes = checkpoint.geometry(vision_tower.GEOMETRY)
    recipe.key("video.sampling", "string", "fps")
    recipe.key("video.fps", "f32", 1.0)
    recipe.key("video.resize", "string", "pad-pil-bicubic")
    recipe.key("image.resize", "string", "pad-pil-bicubic")
    for tower, mean, std in (("siglip", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
                             ("dino", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))):
        recipe.key(f"{tower}.pixel.mean", "[f32]", mean)
        recipe.key(f"{tower}.pixel.std", "[f32]", std)
        recipe.key(f"{tower}.pixel.pad", "[i32]", [int(255 * channel) for channel in mean])
    widths = (vision_tower.build_siglip(recipe, checkpoint, found["siglip"][0].folder, sizes),
              vision_tower.build_dino(recipe, checkpoint, found["dino"][0].folder, sizes))
    for n, tower in enumerate(("siglip", "dino")):
        build_mlp(recipe, f"project.aux_{tower}", f"model.mm_projector_aux_{n}", plan.width, widths[n])
        recipe.norm(f"project.aux_{tower}.norm", f"model.mm_projector_aux_{n}.3", plan.width)
    build_sampler(recipe, plan, label)
    recipe.numbers("longvu", tower_side=plan.tower_side, query_side=plan.query_side, max_length=plan.max_length,
                   reserve=plan.reserve)
    recipe.key("longvu.highres", "bool", plan.highres)
    if plan.highres:
        recipe.numbers("longvu", low_side=plan.low_side)
    recipe.key("longvu.dino_threshold", "f32", plan.dino_threshold)
    recipe.key("longvu.drop_threshold", "f32", plan.drop_threshold)


# ---- text

def system_lines(checkpoint, folder, report):
    """What the chat template of a Llama tokenizer writes before the system text: the long one names two dates."""
    template = checkpoint.json(folder, "tokenizer_config.json").get("chat_template")
    if not isinstance(template, str) or "Today Date" not in template:
        return ""
    date = re.search(r'date_string = "([^"{}]*)"', template)
    cutting = re.search(r'"(Cutting Knowledge Date: [^"\\{}]*)\\n"', template)
    if not (date and cutting):
        raise ConvertError(f"{checkpoint.label(folder)}/tokenizer_config.json: chat_template is neither of Llama 3's")
    report.note(f"{checkpoint.label(folder)}/tokenizer_config.json: the chat template dates every prompt {date.group(1)}")
    return f"{cutting.group(1)}\nToday Date: {date.group(1)}\n\n"


def build_prompt(recipe, name, context, before_system):
    parts = dict(TEMPLATE_TEXT[name])
    parts["first"] = parts["first"].replace("{system}", before_system + "{system}")
    prompt.keys(recipe, name, parts, prompt.SYSTEM_TEXT, "{video}\n", context)


def build_decoder(recipe, checkpoint, plan, folder, report):
    """Decoder, tokenizer and prompt. -> name of the template"""
    llama = plan.family == "llama"
    name = "llama3" if llama else "qwen"
    tokenizer = bpe_vocabulary.read(checkpoint, folder)
    rows = llama_decoder.token_rows(recipe)
    rows = rows if llama else min(rows, tokenizer.length)
    for text in tokenizer.cut(rows):
        report.warn(f"{tokenizer.label}: the added token {text} has no row in the token table and is left out")
    bos = bpe_vocabulary.bos_id(checkpoint, folder, tokenizer) if llama else None
    if llama and bos is None:
        raise ConvertError(f"{tokenizer.label}: there is no bos token")
    for piece in sorted(set(re.findall(r"<\|\w+\|>", str(TEMPLATE_TEXT[name])))):
        if tokenizer.find(piece) is None:
            raise ConvertError(f"{tokenizer.label}: the template {name} needs the added token {piece}")
    width, rows = llama_decoder.build(recipe, checkpoint, folder, report, rows=rows, biases=not llama,
                                      scaling="llama3" if llama else None)
    build_mlp(recipe, "project.video", "model.mm_projector", width, plan.width)
    recipe.exact("image_newline", "model.image_newline", width)
    ends = llama_decoder.ends_of_text(checkpoint, folder, rows)
    recipe.keys += tokenizer.keys(bos, ends, rows)
    prompt.sampling(recipe, checkpoint, folder, 0.0, 128)  # the README answers greedily
    context = recipe.told("llama.context_length")
    build_prompt(recipe, name, min(context, plan.max_length + CHAT_RESERVE),
                 system_lines(checkpoint, folder, report) if llama else "")
    return name


def build(recipe, checkpoint, template, report):
    """Fills the recipe; -> the sources used"""
    found = sort_sources(checkpoint.sources)
    used = found["dino"] + found["siglip"] + found["longvu"]
    recipe.tensors = join([(source, "") for source in used], IGNORED.match, once=True)
    folder = found["longvu"][0].folder
    recipe.key("general.name", "string", checkpoint.title(used, {source.folder for source in used}))
    plan = Plan(*checkpoint.configuration(folder))
    build_vision(recipe, checkpoint, plan, found, f"{checkpoint.label(folder)}/config.json")
    name = build_decoder(recipe, checkpoint, plan, folder, report)
    if template not in (None, name):
        raise ConvertError(f"--template: the decoder of this checkpoint has the template {name}, not {template}")
    return used
