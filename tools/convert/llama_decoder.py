"""
llama_decoder.py - the decoder of a LLaMA folder: config.json, generation_config.json and the tensors, for every system
that has one.

    PREFIX model.{embed_tokens, layers.%d.*, norm}, PREFIX lm_head -> token_embd, blk.%d.*, output_norm, output

Serves LLaMA (prefix llama_model.), Llama 3.2, Qwen2 and Qwen2-VL (no prefix): grouped heads, biases, scaled rotation, rotation
by three positions, tied heads, a token table that is longer than the tokenizer.
Ref:   transformers 4.28 models/llama, 4.43 models/qwen2 and modeling_rope_utils.py, 4.45 models/qwen2_vl (names, defaults of
       the configuration).
Trap:  rows of q and k stay in Hugging Face order (rotation pairs i and i + E/2), hence llama.rope.pairs = halves.
       The end of text is the generation configuration's, which is derived from config.json where there is none.
       Tying makes the token table the head, whatever lm_head a file holds: such a file has no output.weight.
       Qwen2 has biases on q, k and v whatever its attention_bias says.
"""
from checkpoint import integer, number
from errors import ConvertError
from recipe import rank

MAX_CONTEXT = 1 << 20  # VR_MAX_CONTEXT


def ends_of_text(checkpoint, folder, rows=None):
    """The ids that end an answer, the first of them first; rows: of the token table, all must have one."""
    for name in ("generation_config.json", "config.json"):
        eos = checkpoint.json(folder, name).get("eos_token_id")
        eos = eos if isinstance(eos, list) else [eos]
        if eos and all(type(i) is int for i in eos):
            if rows is not None and max(eos) >= rows:
                raise ConvertError(f"{checkpoint.label(folder)}/{name}: eos_token_id {max(eos)} is beyond the {rows} rows of "
                                   "the token table")
            return [i for i in dict.fromkeys(eos) if i >= 0]
    return []


def token_rows(recipe, prefix=""):
    """Rows of the token table."""
    return rank(recipe.find(f"{prefix}model.embed_tokens.weight"), 2)[0]


def build(recipe, checkpoint, folder, report, prefix="", rows=None, biases=False, scaling=None):
    """Adds keys and tensors; rows: how many of the token table are kept, None: all; scaling: what rope_scaling may say: llama3,
    mrope, None: it is ignored. -> (width, rows of the token table)"""
    config, label = checkpoint.configuration(folder)
    width, hidden = integer(config, "hidden_size", label), integer(config, "intermediate_size", label)
    blocks, heads = integer(config, "num_hidden_layers", label, high=512), integer(config, "num_attention_heads", label)
    heads_kv = integer(config, "num_key_value_heads", label, default=heads)
    if width % heads or heads % heads_kv:
        raise ConvertError(f"{label}: {heads} heads ({heads_kv} for keys) do not divide hidden_size {width}")
    head = integer(config, "head_dim", label, default=width // heads)
    if config.get("hidden_act", "silu") != "silu":
        raise ConvertError(f"{label}: hidden_act is {config['hidden_act']!r}, only silu is supported")
    stored = token_rows(recipe, prefix)
    if integer(config, "vocab_size", label, default=stored) != stored:
        raise ConvertError(f"{label}: vocab_size is {config['vocab_size']}, the token table has {stored} rows")
    rows = rows or stored
    recipe.numbers("llama", block_count=blocks, embedding_length=width, feed_forward_length=hidden)
    recipe.numbers("llama.attention", head_count=heads, head_count_kv=heads_kv)
    context = integer(config, "max_position_embeddings", label, default=2048, high=MAX_CONTEXT)
    recipe.numbers("llama", context_length=context, vocab_size=rows)
    recipe.key("llama.rope.dimension_count", "u32", head)
    recipe.key("llama.attention.layer_norm_rms_epsilon", "f32", number(config, "rms_norm_eps", label, default=1e-6))
    recipe.key("llama.rope.freq_base", "f32", number(config, "rope_theta", label, default=10000.0))
    recipe.key("llama.rope.pairs", "string", "halves")
    if scaling == "llama3":
        build_scaling(recipe, config.get("rope_scaling"), f"{label}: rope_scaling")
    elif scaling == "mrope":
        build_sections(recipe, config.get("rope_scaling"), head, f"{label}: rope_scaling")
    elif config.get("rope_scaling"):
        report.warn(f"{label}: rope_scaling is ignored, as in the original")

    recipe.weight_rows("token_embd.weight", f"{prefix}model.embed_tokens.weight", rows, stored, width)
    for i in range(blocks):
        build_block(recipe, f"blk.{i}", f"{prefix}model.layers.{i}", width, hidden, (heads * head, heads_kv * head), biases)
    recipe.exact("output_norm.weight", f"{prefix}model.norm.weight", width)
    if config.get("tie_word_embeddings") is True:
        compare_tied(recipe, prefix, report)
    else:
        recipe.weight_rows("output.weight", f"{prefix}lm_head.weight", rows, stored, width)
    return width, rows


def build_scaling(recipe, scaling, label):
    if scaling is None:
        return
    kind = scaling.get("rope_type", scaling.get("type")) if isinstance(scaling, dict) else None
    if kind != "llama3":
        raise ConvertError(f"{label} is of the kind {kind!r}, only llama3 is supported")
    factor = number(scaling, "factor", label)
    low, high = number(scaling, "low_freq_factor", label), number(scaling, "high_freq_factor", label)
    if factor < 1 or low >= high:
        raise ConvertError(f"{label} cannot have factor {factor}, low_freq_factor {low} and high_freq_factor {high}")
    original = integer(scaling, "original_max_position_embeddings", label, high=MAX_CONTEXT)
    recipe.key("llama.rope.scaling.type", "string", "llama3")
    for name, content in (("factor", factor), ("low_freq_factor", low), ("high_freq_factor", high)):
        recipe.key(f"llama.rope.scaling.{name}", "f32", content)
    recipe.key("llama.rope.scaling.original_context_length", "u32", original)


def build_sections(recipe, scaling, head, label):
    """Which pairs of a head turn by time, by row and by column; nothing is scaled."""
    kind = scaling.get("rope_type", scaling.get("type")) if isinstance(scaling, dict) else None
    if kind not in ("mrope", "default"):  # transformers writes the second for the first from 4.45 on
        raise ConvertError(f"{label} is of the kind {kind!r}, only mrope is supported")
    sections = scaling.get("mrope_section")
    if not (isinstance(sections, list) and len(sections) == 3 and all(type(n) is int and n > 0 for n in sections)
            and 2 * sum(sections) == head):
        raise ConvertError(f"{label}: mrope_section is {sections!r}, expected three counts of a head's {head // 2} pairs")
    recipe.key("llama.rope.sections", "[i32]", sections)


def build_block(recipe, new, old, width, hidden, attended, biases):
    """attended: widths of the queries, of the keys and values"""
    queries, keys = attended
    recipe.exact(f"{new}.attn_norm.weight", f"{old}.input_layernorm.weight", width)
    for name, n in (("q", queries), ("k", keys), ("v", keys)):
        recipe.weight(f"{new}.attn_{name}.weight", f"{old}.self_attn.{name}_proj.weight", n, width)
        if biases:
            recipe.exact(f"{new}.attn_{name}.bias", f"{old}.self_attn.{name}_proj.bias", n)
    recipe.weight(f"{new}.attn_output.weight", f"{old}.self_attn.o_proj.weight", width, queries)
    recipe.exact(f"{new}.ffn_norm.weight", f"{old}.post_attention_layernorm.weight", width)
    recipe.weight(f"{new}.ffn_gate.weight", f"{old}.mlp.gate_proj.weight", hidden, width)
    recipe.weight(f"{new}.ffn_up.weight", f"{old}.mlp.up_proj.weight", hidden, width)
    recipe.weight(f"{new}.ffn_down.weight", f"{old}.mlp.down_proj.weight", width, hidden)


def compare_tied(recipe, prefix, report):
    """A file may hold the head beside the token table that it is tied to."""
    if recipe.has(f"{prefix}lm_head.weight"):
        head = recipe.find(f"{prefix}lm_head.weight")
        if head.digest() != recipe.find(f"{prefix}model.embed_tokens.weight").digest():
            report.warn(f"{head.label}: lm_head.weight differs from the token table that config.json ties it to; the table "
                        "counts, as in the original")
