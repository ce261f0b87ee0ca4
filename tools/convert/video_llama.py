"""
video_llama.py - Video-LLaMA (DAMO-NLP-SG): which file is what, and every tensor, key and prompt of the weight file.

    eva_vit_g, BLIP-2, LLaMA folder, imagebind_huge, VL, AL --full names, later wins--> {name: Tensor} --build--> recipe

Files are told apart by the tensors they hold. Two VL (or two AL) files are stage 1 and stage 2 of the training, alternatives:
refused. A file with both kinds of trained tensors may stand beside a VL file (it is then ckpt_2, read last) or beside an AL
file (ckpt).
Ref:   Video-LLaMA models/video_llama.py:82-250, 604-614 (load order), conversation/conversation_video.py (prompts),
       demo_video.py and demo_audiovideo.py (system text).
       A checkpoint of other sizes may bring a vidrun.json (weights/FORMAT.md).
Trap:  eva_vit_g.pth may carry more than the 39 blocks that are built.
       The templates of both --model_type values are written; the default is llama_v2 where the token table has exactly the
       pieces of a SentencePiece model of at most 32000 pieces (Llama-2), else vicuna: Vicuna v0 has a [PAD] row, BiLLa and Ziya
       more pieces.
"""
import re

import eva_tower
import llama_decoder
import numpy as np
import qformer
import vocabulary
from checkpoint import alone, integer, join, number, one_folder
from errors import ConvertError
from recipe import rank

NAME = "video-llama"
TITLE = "Video-LLaMA"
TEMPLATES = ("vicuna", "llama_v2")

SMALL_BLOCKS = 2       # video_llama.py:31-45, the Video and Audio Q-Former
RELEASED_BLOCKS = {("vit", eva_tower.RELEASED_WIDTH): eva_tower.BLOCKS, ("qformer", 768): 12, ("imagebind", 768): 12}  # a shorter file of these widths is cut off
GEOMETRY = ("vit_heads", "imagebind_heads", "imagebind_patch_stride", "temperature")
CLIPS, MEL_BINS, MEL_FRAMES, PATCH_STRIDE, AUDIO_HEAD_WIDTH = 8, 128, 204, 10, 64

IGNORED = re.compile(
    r"visual_encoder\.(norm|head|fc_norm)\.|visual_encoder\.blocks\.(39|[4-9]\d|\d{3,})\."
    r"|(video_|audio_)?Qformer\.(cls\.|bert\.embeddings\.(word|position)_embeddings\.)"
    r"|(video_|audio_)?Qformer\.bert\.encoder\.layer\.\d+\.(intermediate|output)\."
    r"|t5_proj\.|audio_encoder\.modality_\w+\.(?!audio\.)|.*\.position_ids$|.*\.rotary_emb\.inv_freq$")

SYSTEM_TEXT = ("You are able to understand the visual content that the user provides. Follow the instructions carefully and "
               "explain your answers in detail.")
AUDIO_VIDEO = ("Close your eyes, open your ears and you imagine only based on the sound that: {audio}." + " " * 17 +
               "Close your ears, open your eyes and you see that <Video>{video}</Video>." + " " * 18 +
               "Now answer my question based on what you have just seen and heard.")
PROMPTS = {
    "video": "<Video>{video}</Video> The video contains {frames} frames sampled at {times} seconds. ",
    "image": "<Image>{video}</Image> ",
    "audio_video": AUDIO_VIDEO,
}
TEMPLATE_TEXT = {
    "vicuna": {
        "first": "{system}###Human: {text}###", "next": "Human: {text}###", "open": "Assistant:",
        "answer": "Assistant: {text}###", "stop": ["\u2581###", "## #"], "cut": "###", "after": "Assistant:",
    },
    "llama_v2": {
        "first": "[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{text} [/INST]", "next": "<s>[INST] {text} [/INST]", "open": "",
        "answer": " {text} </s>", "stop": ["</s>"], "cut": "</s>", "after": "ASSISTANT:",
    },
}


def recognise(sources):
    return any(name.startswith(("video_Qformer.", "video_query_tokens")) for source in sources for name in source.tensors)


# ---- which file is what

def role(names):
    """Load order of a file with these tensors, and the prefix that makes its names full ones; None: unknown."""
    kept = [name for name in names if not IGNORED.match(name)]

    def begins(*prefixes):
        return any(name.startswith(prefixes) for name in kept)

    if begins("video_Qformer.", "video_query_tokens", "video_frame_position", "audio_Qformer.", "audio_query_tokens",
              "audio_position", "audio_llama_proj."):
        return "trained", ""
    if begins("modality_trunks.", "modality_preprocessors."):
        return "imagebind", "audio_encoder."
    if begins("patch_embed.", "blocks.0."):
        return "vit", "visual_encoder."
    if begins("model.layers.", "model.embed_tokens."):
        return "llm", "llama_model."
    if begins("lm_head.", "model.norm.") and not begins("bert."):
        return "llm", "llama_model."
    if begins("Qformer.", "query_tokens", "ln_vision."):
        return "blip2", ""
    if begins("llama_proj."):
        return "projection", ""
    if begins("bert."):
        return "bert", ""
    return None


def sort_sources(sources, report):
    """{role: [(source, prefix)]}, every conflict an error"""
    found = {name: [] for name in ("vit", "blip2", "llm", "projection", "imagebind", "trained", "bert")}
    for source in sources:
        known = role(source.tensors)
        if known is None:
            sample = min(source.tensors, default=None)
            holds = f"tensor {sample} is not known" if sample else "holds no tensors"
            raise ConvertError(f"{source.label}: not a part of {TITLE}: {holds}; move the file out of the folder")
        found[known[0]].append((source, known[1]))
    for name, what in (("vit", "the image tower"), ("blip2", "BLIP-2's Q-Former"), ("projection", "a projection"),
                       ("imagebind", "ImageBind")):
        alone([source for source, _ in found[name]], what)
    one_folder([source for source, _ in found["llm"]], "a LLaMA decoder")
    for source, _ in found["bert"]:
        report.note(f"{source.label}: weights of BERT, not used")
    found["trained"] = trained_order([source for source, _ in found["trained"]])
    return found


def trained_order(sources):
    """VL before both before AL; two of a kind only if they agree."""
    kinds = {"video": [], "both": [], "audio": []}
    for source in sources:
        kept = [name for name in source.tensors if not IGNORED.match(name)]
        video = any(name.startswith(("video_", "llama_proj.")) for name in kept)
        audio = any(name.startswith(("audio_Qformer.", "audio_query", "audio_position", "audio_llama_proj.")) for name in kept)
        kinds["both" if video and audio else "video" if video else "audio"].append(source)
    for what, same_kind in kinds.items():
        if len(same_kind) > 1 and not (what == "both" and agree(same_kind)):
            holds = {"video": "trained tensors of the video branch", "audio": "trained tensors of the audio branch",
                     "both": "trained tensors of both branches"}[what]
            raise ConvertError(f"{same_kind[0].label} and {same_kind[1].label} both hold {holds} (stages of the training are "
                               "alternatives); keep one of them")
    return [(source, "") for source in kinds["video"] + kinds["both"] + kinds["audio"]]


def agree(sources):
    """Whether the tensors that several files share are the same in all of them."""
    first = {name: tensor for name, tensor in sources[0].tensors.items() if not IGNORED.match(name)}
    return all(tensor.digest() == source.tensors[name].digest()
               for source in sources[1:] for name, tensor in first.items() if name in source.tensors)


def merge(found, report):
    """-> ({full name: Tensor}, sources used, whether the sound branch is there)"""
    trained = [name for source, _ in found["trained"] for name in source.tensors if not IGNORED.match(name)]
    audio = any(name.startswith(("audio_Qformer.", "audio_llama_proj.", "audio_query_tokens")) for name in trained)
    for what, name in (("vit", "the image tower (eva_vit_g.pth)"),
                       ("blip2", "BLIP-2's Q-Former (blip2_pretrained_flant5xxl.pth)"),
                       ("llm", "the LLaMA decoder (a Hugging Face folder)")):
        if not found[what]:
            raise ConvertError(f"no file of the checkpoint holds {name}")
    if audio and not found["imagebind"]:
        raise ConvertError("the audio branch needs ImageBind (imagebind_huge.pth), which no file of the checkpoint holds")
    if found["imagebind"] and not audio:
        report.note(f"{found['imagebind'][0][0].label}: no audio branch was trained for it, left out")
        found["imagebind"] = []
    def left_out(name):  # a VL file may carry a buffer of the sound tower
        return IGNORED.match(name) or (not audio and name.startswith("audio_encoder."))
    tensors, used = {}, []
    for name in ("vit", "blip2", "llm", "projection", "imagebind", "trained"):
        used += [source for source, _ in found[name]]
        tensors.update(join(found[name], left_out, once=name == "llm"))
    return tensors, used, audio


# ---- tensors and their keys

def released(part, width, found):
    """Blocks a tower has: what its file holds, but no fewer than a released one of that width."""
    return max(found, RELEASED_BLOCKS.get((part, width), 1))


def build_imagebind(recipe, config):
    audio = "audio_encoder.modality_preprocessors.audio"
    stem = recipe.find(f"{audio}.rgbt_stem.proj.weight")
    width, _, side, _ = rank(stem, 4)
    output = rank(recipe.find("audio_encoder.modality_heads.audio.2.weight"), 2)[0]
    trunk = "audio_encoder.modality_trunks.audio.blocks"
    hidden = rank(recipe.find(f"{trunk}.0.mlp.fc1.weight"), 2)[0]
    stride = integer(config, "imagebind_patch_stride", "vidrun.json", default=PATCH_STRIDE, high=MEL_BINS)
    if ("imagebind_heads" not in config and width % AUDIO_HEAD_WIDTH) or side > MEL_BINS:
        raise ConvertError(f"{stem.label}: the sound tower is {width} wide with patches of {side}: "
                           f"not heads of {AUDIO_HEAD_WIDTH} or larger than the picture of the sound")
    patches = ((MEL_BINS - side) // stride + 1) * ((MEL_FRAMES - side) // stride + 1)
    blocks = released("imagebind", width, recipe.blocks(f"{trunk}."))
    scale = recipe.take("audio_encoder.modality_postprocessors.audio.1.log_logit_scale").values()
    heads = eva_tower.head_count(config, "imagebind_heads", max(width // AUDIO_HEAD_WIDTH, 1), width, "the sound tower")
    recipe.numbers("imagebind", block_count=blocks, embedding_length=width, head_count=heads, feed_forward_length=hidden,
                   output_length=output, patch_size=side, patch_stride=stride)
    recipe.key("imagebind.norm_epsilon", "f32", 1e-6)
    recipe.key("imagebind.stem_norm_epsilon", "f32", 1e-5)
    recipe.key("imagebind.output_scale", "f32", float(min(np.exp(scale), np.float32(100))))
    recipe.weight("imagebind.patch.weight", f"{audio}.rgbt_stem.proj.weight", width, 1, side, side)
    recipe.norm("imagebind.stem_norm", f"{audio}.rgbt_stem.norm_layer", width)
    recipe.exact("imagebind.class", f"{audio}.cls_token", width)
    recipe.exact("imagebind.position", f"{audio}.pos_embedding_helper.pos_embed", patches + 1, width)
    for i in range(blocks):
        old, new = f"{trunk}.{i}", f"imagebind.blk.{i}"
        recipe.norm(f"{new}.norm1", f"{old}.norm_1", width)
        recipe.weight(f"{new}.qkv.weight", f"{old}.attn.in_proj_weight", 3 * width, width)
        recipe.exact(f"{new}.qkv.bias", f"{old}.attn.in_proj_bias", 3 * width)
        recipe.exact(f"{new}.extra_k", f"{old}.attn.bias_k", width)
        recipe.exact(f"{new}.extra_v", f"{old}.attn.bias_v", width)
        recipe.linear(f"{new}.out", f"{old}.attn.out_proj", width, width)
        recipe.norm(f"{new}.norm2", f"{old}.norm_2", width)
        recipe.linear(f"{new}.fc1", f"{old}.mlp.fc1", hidden, width)
        recipe.linear(f"{new}.fc2", f"{old}.mlp.fc2", width, hidden)
    recipe.norm("imagebind.output_norm", "audio_encoder.modality_heads.audio.0", width)
    recipe.weight("imagebind.head.weight", "audio_encoder.modality_heads.audio.2.weight", output, width)
    return output


def bert_configuration(checkpoint, width):
    """The one config.json of the kind bert; among several, the one of this width."""
    found = []
    for folder in checkpoint.folders:
        config = checkpoint.json(folder, "config.json") if checkpoint.has(folder, "config.json") else {}
        if config.get("model_type") == "bert":
            label = f"{checkpoint.label(folder)}/config.json"
            found.append(qformer.Bert(integer(config, "hidden_size", label), integer(config, "num_attention_heads", label),
                                      integer(config, "num_hidden_layers", label, high=512),
                                      number(config, "layer_norm_eps", label, default=1e-12)))
    same = [bert for bert in found if bert.width == width]
    return (same or found or [qformer.Bert()])[0]


def build_video(recipe, checkpoint, vit_width):
    width = rank(recipe.find("query_tokens"), 3)[2]
    bert = bert_configuration(checkpoint, width)
    blocks = bert.blocks or released("qformer", width, recipe.blocks("Qformer.bert.encoder.layer."))
    qformer.build(recipe, "qformer", "Qformer", "query_tokens", vit_width, bert, blocks)
    qformer.build(recipe, "video_qformer", "video_Qformer", "video_query_tokens", width, bert, SMALL_BLOCKS)
    table = recipe.find("video_frame_position_embedding.weight")
    frames = rank(table, 2)[0]
    recipe.exact("video_qformer.position", table.name, frames, width)
    return bert, frames


def build_sound(recipe, config, bert):
    recipe.key("audio.present", "bool", True)
    recipe.numbers("audio", sample_rate=16000, clips=CLIPS, clip_divisor=8, mel_bins=MEL_BINS, mel_frames=MEL_FRAMES)
    recipe.key("audio.clip_seconds", "f32", 2.0)
    recipe.key("audio.mean", "f32", -4.268)
    recipe.key("audio.std", "f32", 9.138)
    encoder = build_imagebind(recipe, config)
    width = qformer.build(recipe, "audio_qformer", "audio_Qformer", "audio_query_tokens", encoder, bert, SMALL_BLOCKS)
    recipe.exact("audio_qformer.position", "audio_position_embedding.weight", CLIPS, encoder)
    return width


# ---- text

def build_text(recipe, audio, template, temperature):
    for name, kind, content in (("temperature", "f32", temperature), ("top_k", "u32", 50), ("top_p", "f32", 0.9),
                                ("repetition_penalty", "f32", 1.0), ("predict", "u32", 300)):
        recipe.key(f"sampling.{name}", kind, content)
    recipe.key("prompt.context", "u32", 2000)
    recipe.key("prompt.template", "string", template)
    recipe.key("prompt.templates", "[string]", list(TEMPLATES))
    recipe.key("prompt.system.video", "string", "" if audio else SYSTEM_TEXT)
    recipe.key("prompt.system.image", "string", SYSTEM_TEXT)
    for name, text in PROMPTS.items():
        recipe.key(f"prompt.{name}", "string", text)
    for name in TEMPLATES:
        for part, text in TEMPLATE_TEXT[name].items():
            recipe.key(f"template.{name}.{part}", "[string]" if part == "stop" else "string", text)


def build(recipe, checkpoint, template, report):
    """Fills the recipe; -> the sources used"""
    found = sort_sources(checkpoint.sources, report)
    recipe.tensors, used, audio = merge(found, report)
    folder = found["llm"][0][0].folder
    recipe.key("general.name", "string", checkpoint.title(used, (folder,)))
    config = checkpoint.geometry(GEOMETRY)
    blocks = released("vit", rank(recipe.find("visual_encoder.patch_embed.proj.weight"), 4)[0],
                      min(recipe.blocks("visual_encoder.blocks."), eva_tower.BLOCKS))
    vit_width = eva_tower.build(recipe, config, blocks)
    bert, frames = build_video(recipe, checkpoint, vit_width)
    recipe.key("video.sampling", "string", "uniform")
    recipe.numbers("video", frames=min(8, frames), frames_max=frames)
    recipe.key("video.resize", "string", "swscale-bilinear")
    recipe.key("image.resize", "string", "pil-bicubic")
    recipe.key("pixel.mean", "[f32]", [0.48145466, 0.4578275, 0.40821073])
    recipe.key("pixel.std", "[f32]", [0.26862954, 0.26130258, 0.27577711])
    sound_width = None
    if audio:
        sound_width = build_sound(recipe, config, bert)
    else:
        recipe.key("audio.present", "bool", False)
    width = rank(recipe.find("video_query_tokens"), 3)[2]
    hidden = rank(recipe.find("llama_model.model.embed_tokens.weight"), 2)[1]
    recipe.linear("project.video", "llama_proj", hidden, width)
    if audio:
        recipe.linear("project.audio", "audio_llama_proj", hidden, sound_width)
    _, rows = llama_decoder.build(recipe, checkpoint, folder, report, prefix="llama_model.")
    eos = llama_decoder.ends_of_text(checkpoint, folder)
    keys, n_pieces = vocabulary.keys(checkpoint, folder, rows, eos[0] if eos else None, report)
    recipe.keys += keys
    temperature = config.get("temperature", 1.0)
    if type(temperature) not in (int, float) or not 0 <= temperature <= 100:
        raise ConvertError(f"vidrun.json: temperature is {temperature!r}, expected a number from 0 to 100")
    build_text(recipe, audio, template or ("llama_v2" if rows == n_pieces <= 32000 else "vicuna"), float(temperature))
    return used
