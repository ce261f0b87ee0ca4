"""
whisper.py - OpenAI's Whisper: what it hears, for --transcribe and as the ears of other systems.

    Hugging Face   config.json, generation_config.json, tokenizer files, model*.safetensors or pytorch_model*.bin
    OpenAI         NAME.pt beside multilingual.tiktoken or gpt2.tiktoken (or tokenizer files as above)
    CTranslate2    model.bin, config.json, tokenizer.json or vocabulary.txt or vocabulary.json

Sizes come from the shapes. Heads: config.json, else width / 64 as in all released models.
Ref:   openai/whisper model.py, tokenizer.py (non_speech_tokens, special tokens), decoding.py (_get_suppress_tokens).
Trap:  keys have no bias: the fused q|k|v bias has zeros in its place. A convolution's weight is [out, in, 3]; the file's matrix
       has the taps outside, [out, 3 * in], so that its row is three neighbouring rows of the input. Special ids shift with the
       number of languages (99, 100 in large-v3) and with the English vocabulary (one piece less): they are looked up by name.
       The rows of times have no names in many files: they follow <|notimestamps|>.
"""
import base64
import json
import re

import bpe_letters
from errors import ConvertError
from gguf_writer import Output
from recipe import rank
from tensor import Computed

NAME, TITLE = "whisper", "Whisper"
TEMPLATES = ()
NORMAL, CONTROL, UNUSED = 1, 3, 5
HEAD_WIDTH = 64
MOST_TIMES = 1501  # tokens for times of OpenAI's vocabularies: 0 to 30 s

HUGGING_FACE = {
    "conv": "encoder.conv%d", "encoder": "encoder.layers.", "encoder_position": "encoder.embed_positions.weight",
    "encoder_norm": "encoder.layer_norm", "decoder": "decoder.layers.", "token": "decoder.embed_tokens.weight",
    "decoder_position": "decoder.embed_positions.weight", "decoder_norm": "decoder.layer_norm", "norm1": "self_attn_layer_norm",
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "out": "self_attn.out_proj",
    "cross_norm": "encoder_attn_layer_norm", "cross_q": ("encoder_attn.q_proj",),
    "cross_kv": ("encoder_attn.k_proj", "encoder_attn.v_proj"), "cross_out": "encoder_attn.out_proj",
    "norm2": "final_layer_norm", "fc1": "fc1", "fc2": "fc2", "ignored": ("proj_out.",),
}
OPENAI = {
    "conv": "encoder.conv%d", "encoder": "encoder.blocks.", "encoder_position": "encoder.positional_embedding",
    "encoder_norm": "encoder.ln_post", "decoder": "decoder.blocks.", "token": "decoder.token_embedding.weight",
    "decoder_position": "decoder.positional_embedding", "decoder_norm": "decoder.ln", "norm1": "attn_ln",
    "qkv": ("attn.query", "attn.key", "attn.value"), "out": "attn.out", "cross_norm": "cross_attn_ln",
    "cross_q": ("cross_attn.query",), "cross_kv": ("cross_attn.key", "cross_attn.value"), "cross_out": "cross_attn.out",
    "norm2": "mlp_ln", "fc1": "mlp.0", "fc2": "mlp.2", "ignored": ("alignment_heads",),
}
CTRANSLATE2 = {
    "conv": "encoder.conv%d", "encoder": "encoder.layer_", "encoder_position": "encoder.position_encodings.encodings",
    "encoder_norm": "encoder.layer_norm", "decoder": "decoder.layer_", "token": "decoder.embeddings.weight",
    "decoder_position": "decoder.position_encodings.encodings", "decoder_norm": "decoder.layer_norm",
    "norm1": "self_attention.layer_norm", "qkv": ("self_attention.linear_0",), "out": "self_attention.linear_1",
    "cross_norm": "attention.layer_norm", "cross_q": ("attention.linear_0",), "cross_kv": ("attention.linear_1",),
    "cross_out": "attention.linear_2", "norm2": "ffn.layer_norm", "fc1": "ffn.linear_0", "fc2": "ffn.linear_1",
    "ignored": ("decoder.activation", "decoder.alibi", "decoder.alignment", "decoder.start_from_zero_embedding",
                "decoder.scale_embeddings", "decoder.scale_alibi", "decoder.pre_norm", "decoder.projection",
                "decoder.num_heads",
                "decoder.embeddings.multiply_by_sqrt_depth", "encoder.num_heads", "encoder.activation", "encoder.pre_norm",
                "decoder.final_norm", "decoder.sliding_window", "decoder.layernorm_embedding", "encoder.scale_embeddings"),
}
LAYOUTS = (HUGGING_FACE, OPENAI, CTRANSLATE2)


def plain(name):
    return name[len("model."):] if name.startswith("model.") else name


def layout_of(tensors):
    names = {plain(name) for name in tensors}
    return next((layout for layout in LAYOUTS
                 if layout["token"] in names and layout["encoder_position"] in names and "encoder.conv1.weight" in names), None)


def recognise(sources):
    return layout_of({name for source in sources for name in source.tensors}) is not None


def build(recipe, checkpoint, template, report):
    """Fills the recipe; -> the sources used"""
    used = checkpoint.sources
    layout = layout_of({name for source in used for name in source.tensors})
    folder = used[0].folder
    recipe.tensors = {}
    for source in used:
        for name, tensor in source.tensors.items():
            if plain(name) in recipe.tensors:
                raise ConvertError(f"{source.label}: tensor {name} is in another file too; one model a folder")
            recipe.tensors[plain(name)] = tensor
    recipe.key("general.name", "string", checkpoint.title(used, (folder,)))
    heads = head_counts(recipe, checkpoint, folder, layout)
    width = build_encoder(recipe, layout, heads)
    n_rows = build_decoder(recipe, layout, width, heads)
    build_text(recipe, checkpoint, folder, n_rows)
    for prefix in layout["ignored"]:
        recipe.skip(prefix)
    return used


def head_counts(recipe, checkpoint, folder, layout):
    """Heads of encoder and decoder."""
    width = rank(recipe.find(layout["encoder_position"]), 2)[1]
    config, heads = checkpoint.json(folder, "config.json"), {}
    for part in ("encoder", "decoder"):
        told = config.get(f"{part}_attention_heads", max(width // HEAD_WIDTH, 1))
        if recipe.has(f"{part}.num_heads"):
            told = int(next(recipe.find(f"{part}.num_heads").blocks())[0])
        if type(told) is not int or told < 1 or width % told:
            raise ConvertError(f"{checkpoint.label(folder)}: {told!r} heads do not divide the width {width}")
        heads[part] = told
    if "encoder_attention_heads" not in config and recipe.has("encoder.num_heads"):
        heads["decoder"] = heads["encoder"] if not recipe.has("decoder.num_heads") else heads["decoder"]
    return heads


def convolution(recipe, new, name, out, channels):
    weight = recipe.take(f"{name}.weight", out, channels, 3)
    recipe.outputs.append(Output(f"{new}.weight", (out, 3 * channels), recipe.weight_type,
                                 [Computed(weight, lambda values: values.transpose(0, 2, 1))]))
    recipe.exact(f"{new}.bias", f"{name}.bias", out)


def fused(recipe, new, names, n, width, key=None):
    """n matrices [width, width], one below the other, from as many tensors or from one; key: which of them has no bias."""
    rows = n * width // len(names)
    recipe.weight_parts(f"{new}.weight", [f"{name}.weight" for name in names], rows, width)
    biases = [f"{name}.bias" for name in names]
    zeros = biases[key] if key is not None and len(names) > 1 and not recipe.has(biases[key]) else None
    recipe.exact_parts(f"{new}.bias", n * width, *(rows if name == zeros else recipe.take(name, rows) for name in biases))


def build_block(recipe, new, old, layout, width, hidden):
    recipe.norm(f"{new}.norm1", old + layout["norm1"], width)
    fused(recipe, f"{new}.qkv", [old + name for name in layout["qkv"]], 3, width, key=1)
    recipe.linear(f"{new}.out", old + layout["out"], width, width)
    recipe.norm(f"{new}.norm2", old + layout["norm2"], width)
    recipe.linear(f"{new}.fc1", old + layout["fc1"], hidden, width)
    recipe.linear(f"{new}.fc2", old + layout["fc2"], width, hidden)


def sizes(recipe, new, layout, part, width, heads):
    """-> (blocks, hidden width)"""
    n = recipe.blocks(layout[part])
    if n == 0:
        raise ConvertError(f"missing tensors {layout[part]}0.*: no file of the checkpoint holds them")
    hidden = rank(recipe.find(f"{layout[part]}0.{layout['fc1']}.weight"), 2)[0]
    recipe.numbers(new, block_count=n, embedding_length=width, head_count=heads[part], feed_forward_length=hidden)
    recipe.key(f"{new}.norm_epsilon", "f32", 1e-5)
    return n, hidden


def build_encoder(recipe, layout, heads):
    positions, width = rank(recipe.find(layout["encoder_position"]), 2)
    bins = rank(recipe.find("encoder.conv1.weight"), 3)[1]
    recipe.numbers("speech", mel_bins=bins, positions=positions)
    n, hidden = sizes(recipe, "speech.encoder", layout, "encoder", width, heads)
    convolution(recipe, "speech.encoder.conv1", layout["conv"] % 1, width, bins)
    convolution(recipe, "speech.encoder.conv2", layout["conv"] % 2, width, width)
    recipe.exact("speech.encoder.position", layout["encoder_position"], positions, width)
    for i in range(n):
        build_block(recipe, f"speech.encoder.blk.{i}", f"{layout['encoder']}{i}.", layout, width, hidden)
    recipe.norm("speech.encoder.output_norm", layout["encoder_norm"], width)
    return width


def build_decoder(recipe, layout, width, heads):
    context = rank(recipe.find(layout["decoder_position"]), 2)[0]
    n_rows = rank(recipe.find(layout["token"]), 2)[0]
    n, hidden = sizes(recipe, "speech.decoder", layout, "decoder", width, heads)
    recipe.numbers("speech.decoder", context_length=context, vocab_size=n_rows)
    recipe.weight("speech.decoder.token_embd.weight", layout["token"], n_rows, width)
    recipe.exact("speech.decoder.position", layout["decoder_position"], context, width)
    for i in range(n):
        new, old = f"speech.decoder.blk.{i}", f"{layout['decoder']}{i}."
        build_block(recipe, new, old, layout, width, hidden)
        recipe.norm(f"{new}.cross_norm", old + layout["cross_norm"], width)
        fused(recipe, f"{new}.cross_q", [old + name for name in layout["cross_q"]], 1, width)
        fused(recipe, f"{new}.cross_kv", [old + name for name in layout["cross_kv"]], 2, width, key=0)
        recipe.linear(f"{new}.cross_out", old + layout["cross_out"], width, width)
    recipe.norm("speech.decoder.output_norm", layout["decoder_norm"], width)
    return n_rows


# --- tokens ---

def build_text(recipe, checkpoint, folder, n_rows):
    label = checkpoint.label(folder)
    pieces = read_pieces(checkpoint, folder, n_rows)
    known = Known(pieces, label)
    times = known.id("<|notimestamps|>") + 1
    if times >= n_rows:
        raise ConvertError(f"{label}: the token table has {n_rows} rows, none is left for times behind <|notimestamps|>")
    texts, types = [], []
    for i in range(n_rows):
        text = pieces.get(i, "<|%.2f|>" % (0.02 * (i - times)) if i >= times else f"<unused_{i}>")
        texts.append(text)
        types.append(NORMAL if i < known.end and i in pieces else CONTROL if i >= known.end else UNUSED)
    recipe.key("tokenizer.ggml.model", "string", "gpt2")
    recipe.key("tokenizer.ggml.pre", "string", "gpt-2")
    recipe.key("tokenizer.ggml.tokens", "[string]", texts)
    recipe.key("tokenizer.ggml.token_type", "[i32]", types)
    recipe.key("tokenizer.ggml.merges", "[string]", [])  # nothing is encoded
    recipe.key("tokenizer.ignore_merges", "bool", False)
    recipe.key("tokenizer.nfc", "bool", False)
    recipe.key("tokenizer.ggml.eos_token_id", "u32", known.end)
    build_ids(recipe, checkpoint, folder, known, pieces, n_rows)


def build_ids(recipe, checkpoint, folder, known, pieces, n_rows):
    start, languages = known.id("<|startoftranscript|>"), []
    first = start + 1
    while re.fullmatch(r"<\|[a-z]{2,3}\|>", pieces.get(first + len(languages), "")):
        languages.append(pieces[first + len(languages)][2:-2])
    silent = known.either("<|nospeech|>", "<|nocaptions|>")
    tasks = {"transcribe": known.id("<|transcribe|>"), "translate": known.id("<|translate|>")}
    recipe.numbers("speech.token", start=start, end=known.end, previous=known.id("<|startofprev|>"), no_speech=silent,
                   transcribe=tasks["transcribe"], no_times=known.id("<|notimestamps|>"), language=first)
    recipe.key("speech.languages", "[string]", languages)
    generation, config = checkpoint.json(folder, "generation_config.json"), checkpoint.json(folder, "config.json")
    multilingual = generation.get("is_multilingual", n_rows != 51864)
    if type(multilingual) is not bool or (multilingual and not languages):
        raise ConvertError(f"{checkpoint.label(folder)}: a model of many languages without tokens for them")
    recipe.key("speech.multilingual", "bool", multilingual)
    never = generation.get("suppress_tokens") or config.get("suppress_ids") or config.get("suppress_tokens") \
        or non_speech(pieces, known.end)
    never = {*never, start, *tasks.values(), known.id("<|startoflm|>"), known.id("<|startofprev|>"), silent}
    if not all(type(i) is int and 0 <= i < n_rows for i in never - {-1}):
        raise ConvertError(f"{checkpoint.label(folder)}: the list of suppressed tokens holds what is no id")
    recipe.key("speech.suppress", "[i32]", sorted(never - {-1}))
    recipe.key("speech.suppress_first", "[i32]", sorted({known.id("\u0120"), known.end}))


class Known:
    """Ids of tokens by their spelling."""

    def __init__(self, pieces, label):
        self.ids, self.label = {text: i for i, text in pieces.items()}, label
        self.end = self.id("<|endoftext|>")

    def id(self, text):
        if text not in self.ids:
            raise ConvertError(f"{self.label}: the vocabulary has no token {text}")
        return self.ids[text]

    def either(self, a, b):
        return self.ids[a] if a in self.ids else self.id(b)


def read_pieces(checkpoint, folder, n_rows):
    """-> {id: spelling in the letters for bytes}"""
    label = checkpoint.label(folder)
    try:
        if checkpoint.has(folder, "tokenizer.json"):
            content = checkpoint.json(folder, "tokenizer.json")
            pieces = {i: text for text, i in content["model"]["vocab"].items()}
            pieces.update((token["id"], token["content"]) for token in content.get("added_tokens") or [])
        elif checkpoint.has(folder, "vocab.json"):
            pieces = {i: text for text, i in checkpoint.json(folder, "vocab.json").items()}
            pieces.update((i, text) for text, i in checkpoint.json(folder, "added_tokens.json").items())
        elif checkpoint.has(folder, "vocabulary.json"):
            pieces = dict(enumerate(json.loads(checkpoint.bytes(folder, "vocabulary.json").decode("utf-8"))))
        elif checkpoint.has(folder, "vocabulary.txt"):
            lines = checkpoint.bytes(folder, "vocabulary.txt").decode("utf-8").split("\n")
            pieces = dict(enumerate(lines[:-1] if lines[-1] == "" else lines))
        else:
            pieces = read_ranks(checkpoint, folder, n_rows)
        if not all(type(i) is int and isinstance(text, str) for i, text in pieces.items()):
            raise TypeError("an id or a spelling is none")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConvertError(f"{label}: its vocabulary is not understood: {error!r}") from None
    if min(pieces, default=0) < 0 or max(pieces, default=0) >= n_rows:
        raise ConvertError(f"{label}: the vocabulary has {max(pieces) + 1} ids, the token table {n_rows} rows")
    return pieces


# order of the tokens for languages; large-v3 has the last one too
LANGUAGES = ("en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt "
             "la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc "
             "ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue").split()


def read_ranks(checkpoint, folder, n_rows):
    """OpenAI's NAME.tiktoken and the special tokens that its code adds."""
    names = [name for name in checkpoint.folders[folder] if name.endswith(".tiktoken")]
    if len(names) != 1:
        raise ConvertError(f"{checkpoint.label(folder)}: none of tokenizer.json, vocab.json, vocabulary.json, vocabulary.txt "
                           f"lies beside the weights, and {len(names)} .tiktoken files (multilingual.tiktoken, gpt2.tiktoken)")
    pieces = {}
    for line in checkpoint.bytes(folder, names[0]).split(b"\n"):
        if line:
            token, number = line.split()
            pieces[int(number)] = bpe_letters.spell(base64.b64decode(token))
    n, n_times = len(pieces), MOST_TIMES
    n_languages = n_rows - n - 8 - n_times
    if not 0 < n_languages <= len(LANGUAGES):
        raise ConvertError(f"{checkpoint.label(folder)}/{names[0]}: {n} pieces do not go with {n_rows} rows of the token table")
    specials = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES[:n_languages]), "<|translate|>",
                "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    pieces.update(enumerate(specials, n))
    return pieces


def non_speech(pieces, end):
    """Signs that are written beside speech (brackets, notes), as the original lists them."""
    ids = {text: i for i, text in pieces.items() if i < end}
    signs = list('"#()*+/:;<=>@[\\]^_`{|}~\u300c\u300d\u300e\u300f')
    signs += "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} \u266a\u266a \u266a\u266a\u266a".split()
    notes = "\u2669\u266a\u266b\u266c\u266d\u266e\u266f"
    found = {bpe_letters.pieces(ids, " -")[0], bpe_letters.pieces(ids, " '")[0]}
    for sign in (*signs, *notes):
        for text in (sign, " " + sign):
            parts = bpe_letters.pieces(ids, text)
            if len(parts) == 1 or sign in notes:
                found.add(parts[0])
    return found
