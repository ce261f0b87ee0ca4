"""
qformer.py - a BERT with query tokens and cross-attention (BLIP-2's Q-Former and its relatives), for every system that has one.

    NAME.bert.encoder.layer.%d.{attention, crossattention, intermediate_query, output_query}, query tokens -> X.*

Ref:   Video-LLaMA models/Qformer.py; heads and epsilon are in no checkpoint: bert-base-uncased/config.json, else heads of
       width 64.
Trap:  output_query is the half that queries use; intermediate and output are the text half and are dropped.
"""
from errors import ConvertError
from gguf_writer import Output
from recipe import rank

HEAD_WIDTH = 64


class Bert:
    """What the BERT configuration says about every Q-Former; width None: there is no such file."""

    def __init__(self, width=None, heads=None, blocks=None, epsilon=1e-12):
        self.width, self.heads, self.blocks, self.epsilon = width, heads, blocks, epsilon

    def head_count(self, width, name):
        if self.width not in (None, width):
            raise ConvertError(f"the BERT config.json has hidden_size {self.width}, {name} is {width} wide")
        heads = self.heads or width // HEAD_WIDTH
        if heads == 0 or width % heads:
            raise ConvertError(f"{name}: {heads} heads do not divide the width {width}")
        return heads


def cross_interval(recipe, old, n_blocks):
    """Blocks 0, c, 2c, ... have cross-attention; -> c"""
    looking = [i for i in range(n_blocks) if recipe.has_any(f"{old}.{i}.crossattention.")]
    interval = looking[1] if len(looking) > 1 else n_blocks
    expected = list(range(0, n_blocks, interval))
    if looking != expected:
        where = next(i for i in range(n_blocks) if (i in looking) != (i in expected))
        raise ConvertError(f"missing tensor {old}.{where}.crossattention.self.query.weight: "
                           "cross-attention has no regular interval")
    return interval


def attention(recipe, new, old, width, encoder):
    for name, full, cols in (("q", "query", width), ("k", "key", encoder), ("v", "value", encoder)):
        recipe.linear(f"{new}.{name}", f"{old}.self.{full}", width, cols)
    recipe.linear(f"{new}.out", f"{old}.output.dense", width, width)
    recipe.norm(f"{new}.norm", f"{old}.output.LayerNorm", width)


def build(recipe, new, name, query, encoder, bert, n_blocks=None, extra=None):
    """Adds X = new from name.bert.*; n_blocks: how many the system has, None: what the file has;
    extra: queries behind those of the tensor query. -> width"""
    old = f"{name}.bert.encoder.layer"
    query_tensor = recipe.find(query)
    n_queries, width = rank(query_tensor, 3)[1:]
    n_extra = rank(recipe.find(extra), 3)[1] if extra else 0
    found = recipe.blocks(f"{old}.")
    n_blocks = n_blocks or max(found, 1)
    hidden = rank(recipe.find(f"{old}.0.intermediate_query.dense.weight"), 2)[0]
    interval = cross_interval(recipe, old, n_blocks)
    recipe.numbers(new, block_count=n_blocks, embedding_length=width, head_count=bert.head_count(width, name),
                   feed_forward_length=hidden, query_count=n_queries + n_extra, encoder_length=encoder, cross_interval=interval)
    recipe.key(f"{new}.norm_epsilon", "f32", bert.epsilon)
    queries = [recipe.take(query, n_queries, width)] + ([recipe.take(extra, n_extra, width)] if extra else [])
    recipe.outputs.append(Output(f"{new}.query", (n_queries + n_extra, width), "F32", queries))
    recipe.norm(f"{new}.input_norm", f"{name}.bert.embeddings.LayerNorm", width)
    for i in range(n_blocks):
        attention(recipe, f"{new}.blk.{i}.self", f"{old}.{i}.attention", width, width)
        if i % interval == 0:
            attention(recipe, f"{new}.blk.{i}.cross", f"{old}.{i}.crossattention", width, encoder)
        recipe.linear(f"{new}.blk.{i}.fc1", f"{old}.{i}.intermediate_query.dense", hidden, width)
        recipe.linear(f"{new}.blk.{i}.fc2", f"{old}.{i}.output_query.dense", width, hidden)
        recipe.norm(f"{new}.blk.{i}.ffn_norm", f"{old}.{i}.output_query.LayerNorm", width)
    return width
