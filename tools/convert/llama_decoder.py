"""
llama_decoder.py - the decoder of a LLaMA folder: config.json, generation_config.json and the tensors, for every system
that has one.

    llama_model.model.{embed_tokens, layers.%d.*, norm}, llama_model.lm_head -> token_embd, blk.%d.*, output_norm, output

Ref:   transformers 4.28 models/llama (names, defaults of the configuration).
Trap:  rows of q and k stay in Hugging Face order (rotation pairs i and i + E/2), hence llama.rope.pairs = halves.
       The end of text is the generation configuration's, which is derived from config.json where there is none.
"""
from checkpoint import integer, number
from errors import ConvertError
from recipe import rank


def end_of_text(checkpoint, folder):
    for name in ("generation_config.json", "config.json"):
        eos = checkpoint.json(folder, name).get("eos_token_id")
        if isinstance(eos, list):
            eos = eos[0] if eos else None
        if type(eos) is int:
            return eos if eos >= 0 else None
    return None


def build(recipe, checkpoint, folder, report):
    """Adds keys and tensors; -> (width, rows of the token table)"""
    label = f"{checkpoint.label(folder)}/config.json"
    if not checkpoint.has(folder, "config.json"):
        raise ConvertError(f"{label}: missing")
    config = checkpoint.json(folder, "config.json")
    width, hidden = integer(config, "hidden_size", label), integer(config, "intermediate_size", label)
    blocks, heads = integer(config, "num_hidden_layers", label, high=512), integer(config, "num_attention_heads", label)
    heads_kv = integer(config, "num_key_value_heads", label, default=heads)
    if width % heads or heads % heads_kv:
        raise ConvertError(f"{label}: {heads} heads ({heads_kv} for keys) do not divide hidden_size {width}")
    if config.get("hidden_act", "silu") != "silu":
        raise ConvertError(f"{label}: hidden_act is {config['hidden_act']!r}, only silu is supported")
    if config.get("rope_scaling"):
        report.warn(f"{label}: rope_scaling is ignored, as in the original")
    head = width // heads
    rows = rank(recipe.find("llama_model.model.embed_tokens.weight"), 2)[0]
    if integer(config, "vocab_size", label, default=rows) != rows:
        raise ConvertError(f"{label}: vocab_size is {config['vocab_size']}, the token table has {rows} rows")
    recipe.numbers("llama", block_count=blocks, embedding_length=width, feed_forward_length=hidden)
    recipe.numbers("llama.attention", head_count=heads, head_count_kv=heads_kv)
    recipe.numbers("llama", context_length=integer(config, "max_position_embeddings", label, default=2048), vocab_size=rows)
    recipe.key("llama.rope.dimension_count", "u32", head)
    recipe.key("llama.attention.layer_norm_rms_epsilon", "f32", number(config, "rms_norm_eps", label, default=1e-6))
    recipe.key("llama.rope.freq_base", "f32", number(config, "rope_theta", label, default=10000.0))
    recipe.key("llama.rope.pairs", "string", "halves")

    recipe.weight("token_embd.weight", "llama_model.model.embed_tokens.weight", rows, width)
    for i in range(blocks):
        old, new = f"llama_model.model.layers.{i}", f"blk.{i}"
        recipe.exact(f"{new}.attn_norm.weight", f"{old}.input_layernorm.weight", width)
        for name, n in (("q", heads * head), ("k", heads_kv * head), ("v", heads_kv * head)):
            recipe.weight(f"{new}.attn_{name}.weight", f"{old}.self_attn.{name}_proj.weight", n, width)
        recipe.weight(f"{new}.attn_output.weight", f"{old}.self_attn.o_proj.weight", width, heads * head)
        recipe.exact(f"{new}.ffn_norm.weight", f"{old}.post_attention_layernorm.weight", width)
        recipe.weight(f"{new}.ffn_gate.weight", f"{old}.mlp.gate_proj.weight", hidden, width)
        recipe.weight(f"{new}.ffn_up.weight", f"{old}.mlp.up_proj.weight", hidden, width)
        recipe.weight(f"{new}.ffn_down.weight", f"{old}.mlp.down_proj.weight", width, hidden)
    recipe.exact("output_norm.weight", "llama_model.model.norm.weight", width)
    tied = config.get("tie_word_embeddings") is True and not recipe.has("llama_model.lm_head.weight")
    head_name = "llama_model.model.embed_tokens.weight" if tied else "llama_model.lm_head.weight"
    recipe.weight("output.weight", head_name, rows, width)
    return width, rows
