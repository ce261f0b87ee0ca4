"""
videochat.py - VideoChat-Embed (OpenGVLab/Ask-Anything, video_chat): which file is what, and every tensor, key and prompt.

    eva_vit_g, BLIP-2, VideoChat, LLaMA folder --full names, later wins--> {name: Tensor} --build--> recipe

Files are told apart by the tensors they hold; only ln_vision lies in two of them, and VideoChat's counts.
Ref:   Ask-Anything video_chat/models/videochat.py:17-176 (load order), conversation.py:26-173 (prompt).
       A checkpoint of other sizes may bring a vidrun.json (weights/FORMAT.md).
Trap:  of the EVA file's blocks the last is not built. The aggregators (gmhra) belong to the last blocks that are.
       Vicuna v0 folders may say that token 1 ends an answer: token 2 ends it as well.
"""
import re

import eva_tower
import llama_decoder
import qformer
import vocabulary
from checkpoint import alone, integer, join, one_folder
from errors import ConvertError
from gguf_writer import Output
from recipe import rank
from tensor import Computed

NAME = "videochat"
TITLE = "VideoChat"
TEMPLATES = ("videochat",)
GEOMETRY = ("vit_heads",)
TAPS = 27  # of a 3 x 3 x 3 convolution
END_OF_TEXT = "</s>"

IGNORED = re.compile(
    r"visual_encoder\.(norm|head|fc_norm)\.|Qformer\.(cls\.|bert\.embeddings\.(word|position)_embeddings\.)"
    r"|Qformer\.bert\.encoder\.layer\.\d+\.(intermediate|output)\.|t5_proj\.|.*\.position_ids$|.*\.rotary_emb\.inv_freq$")

# what the recipe computes of the switches of config.json (videochat.py:17-55)
SWITCHES = {"temporal_downsample": False, "no_lmhra": True}

FIRST = "###Human: {text}\n###"
TEMPLATE_TEXT = {"first": "{system}" + FIRST, "next": "Human: {text}\n###", "open": "Assistant:", "answer": "Assistant: {text}###",
                 "stop": ["\u2581###", "## #"], "cut": "###", "after": "Assistant:"}
PROMPTS = {
    "video": "<Video>{video}</Video> The video contains {frames} frames sampled at {numpy_times} seconds.",
    "image": "<Image>{video}</Image>",
    "separator": "\n###Human: ",
}


def recognise(sources):
    return any(name.startswith(("extra_query_tokens", "visual_encoder.gmhra"))
               for source in sources for name in source.tensors)


def role(names):
    """Load order of a file with these tensors, and the prefix that makes its names full ones; None: unknown."""
    def begins(*prefixes):
        return any(name.startswith(prefixes) for name in names)

    if begins("extra_query_tokens", "visual_encoder.gmhra"):
        return "trained", ""
    if begins("patch_embed.", "blocks.0."):
        return "vit", "visual_encoder."
    if begins("model.layers.", "model.embed_tokens.", "lm_head.", "model.norm."):
        return "llm", "llama_model."
    if begins("Qformer.", "query_tokens", "ln_vision."):
        return "blip2", ""
    return None


def merge(sources):
    """-> ({full name: Tensor}, sources used, the decoder's folder)"""
    found = {name: [] for name in ("vit", "blip2", "trained", "llm")}
    for source in sources:
        known = role(source.tensors)
        if known is None:
            sample = min(source.tensors, default=None)
            holds = f"tensor {sample} is not known" if sample else "holds no tensors"
            raise ConvertError(f"{source.label}: not a part of {TITLE}: {holds}; move the file out of the folder")
        found[known[0]].append((source, known[1]))
    for name, what in (("vit", "the image tower (eva_vit_g.pth)"),
                       ("blip2", "BLIP-2's Q-Former (blip2_pretrained_flant5xxl.pth)"),
                       ("trained", "the trained parts of VideoChat"),
                       ("llm", "the LLaMA decoder (a Hugging Face folder)")):
        if not found[name]:
            raise ConvertError(f"no file of the checkpoint holds {what}")
        if name == "llm":
            one_folder([source for source, _ in found[name]], "a LLaMA decoder")
        else:
            alone([source for source, _ in found[name]], what)
    tensors, used = {}, []
    for name, entries in found.items():
        used += [source for source, _ in entries]
        tensors.update(join(entries, IGNORED.match, once=name == "llm"))
    return tensors, used, found["llm"][0][0].folder


def check_config(checkpoint, n_steps):
    """config.json of the original beside the files, where it is there."""
    config = checkpoint.json(checkpoint.root, "config.json").get("model", {})
    for key, expected in SWITCHES.items():
        if config.get(key, expected) is not expected:
            raise ConvertError(f"config.json: {key} is {config[key]!r}, only {expected} is supported")
    if config and integer(config, "gmhra_layers", "config.json", default=n_steps) != n_steps:
        raise ConvertError(f"config.json: gmhra_layers is {config['gmhra_layers']}, the checkpoint has {n_steps}")


def built_blocks(recipe):
    """The file's blocks but the last; the rest of the file is taken as not used."""
    found = recipe.blocks("visual_encoder.blocks.")
    blocks = min(found, eva_tower.BLOCKS) if found >= eva_tower.BLOCKS else max(found - 1, 1)
    for name in list(recipe.tensors):
        match = re.match(r"visual_encoder\.blocks\.(\d+)\.", name)
        if match and int(match.group(1)) >= blocks:
            del recipe.tensors[name]
    return blocks


def build_aggregator(recipe, width):
    old = "visual_encoder.gmhra."
    n_steps = recipe.blocks(old)
    hidden = rank(recipe.find(f"{old}0.mlp.c_fc.weight"), 2)[0]
    recipe.numbers("aggregator", block_count=n_steps, feed_forward_length=hidden)
    recipe.key("aggregator.norm_epsilon", "f32", 1e-5)
    recipe.exact("aggregator.class", "visual_encoder.gmhra_cls_token", width)
    for j in range(n_steps):
        step, new = f"{old}{j}", f"aggregator.blk.{j}"
        for i in (1, 2, 3):
            recipe.norm(f"{new}.norm{i}", f"{step}.ln_{i}", width)
        taps = recipe.take(f"{step}.dpe.weight", width, 1, 3, 3, 3)
        recipe.outputs.append(Output(f"{new}.conv.weight", (TAPS, width), "F32",
                                     [Computed(taps, lambda values: values.reshape(-1, TAPS).T)]))
        recipe.exact(f"{new}.conv.bias", f"{step}.dpe.bias", width)
        weight = recipe.take(f"{step}.attn.in_proj_weight", 3 * width, width)
        bias = recipe.take(f"{step}.attn.in_proj_bias", 3 * width)
        for i, name in enumerate("qkv"):
            recipe.outputs.append(Output(f"{new}.{name}.weight", (width, width), recipe.weight_type,
                                         [weight.rows(i * width, width)]))
            recipe.outputs.append(Output(f"{new}.{name}.bias", (width,), "F32", [bias.rows(i * width, width)]))
        recipe.linear(f"{new}.out", f"{step}.attn.out_proj", width, width)
        recipe.linear(f"{new}.fc1", f"{step}.mlp.c_fc", hidden, width)
        recipe.linear(f"{new}.fc2", f"{step}.mlp.c_proj", width, hidden)
    return n_steps


def build_text(recipe, context):
    for name, kind, content in (("temperature", "f32", 1.0), ("top_k", "u32", 50), ("top_p", "f32", 0.9),
                                ("repetition_penalty", "f32", 1.0), ("predict", "u32", 1000)):
        recipe.key(f"sampling.{name}", kind, content)
    recipe.key("prompt.context", "u32", context)
    recipe.key("prompt.template", "string", TEMPLATES[0])
    recipe.key("prompt.templates", "[string]", list(TEMPLATES))
    for name in ("video", "image"):
        recipe.key(f"prompt.system.{name}", "string", "")
    for name, text in PROMPTS.items():
        recipe.key(f"prompt.{name}", "string", text)
    for part, text in TEMPLATE_TEXT.items():
        recipe.key(f"template.{TEMPLATES[0]}.{part}", "[string]" if part == "stop" else "string", text)


def build(recipe, checkpoint, template, report):
    """Fills the recipe; -> the sources used"""
    recipe.tensors, used, folder = merge(checkpoint.sources)
    recipe.key("general.name", "string", checkpoint.title(used, (folder,)))
    blocks = built_blocks(recipe)
    width = eva_tower.build(recipe, checkpoint.geometry(GEOMETRY), blocks)
    n_steps = build_aggregator(recipe, width)
    check_config(checkpoint, n_steps)
    if n_steps > blocks:
        raise ConvertError(f"{n_steps} aggregators (gmhra), but only {blocks} blocks of the image tower")
    rows = qformer.build(recipe, "qformer", "Qformer", "query_tokens", width, qformer.Bert(), extra="extra_query_tokens")
    recipe.key("video.sampling", "string", "middles")
    recipe.numbers("video", frames=8, frames_max=256)
    recipe.key("video.resize", "string", "clip-even")
    recipe.key("image.resize", "string", "pil-bicubic")
    recipe.key("pixel.mean", "[f32]", [0.48145466, 0.4578275, 0.40821073])
    recipe.key("pixel.std", "[f32]", [0.26862954, 0.26130258, 0.27577711])
    hidden = rank(recipe.find("llama_model.model.embed_tokens.weight"), 2)[1]
    recipe.linear("project.video", "llama_proj", hidden, rows)
    _, n_rows = llama_decoder.build(recipe, checkpoint, folder, report, prefix="llama_model.")
    ends = llama_decoder.ends_of_text(checkpoint, folder)
    keys, _ = vocabulary.keys(checkpoint, folder, n_rows, ends[0] if ends else None, report)
    recipe.keys += keys
    end = next(content for name, _, content in keys if name == "tokenizer.ggml.tokens").index(END_OF_TEXT)
    if end not in ends[:1]:
        report.warn(f"{checkpoint.label(folder)}: token {ends[0] if ends else None} ends an answer there; {END_OF_TEXT} does too")
        recipe.key("tokenizer.eos_ids", "[i32]", [end])
    build_text(recipe, 2048)
    return used
