"""
videochat_weights.py - random weights of a small VideoChat-Embed in the released files.

  sizes + seed -> eva_vit_g.pth, blip2_pretrained_flant5xxl.pth, videochat_7b.pth, decoder's folder (case_weights.py)

Surplus tensors hold huge values: the EVA file's last block, BLIP-2's ln_vision (VideoChat's counts), buffers.

Ref:   names and shapes: spec VideoChat 6.3.
Trap:  the bias of k in a step's attention moves nothing, whatever it is.
"""

import numpy as np

import checkpoint
from case_weights import Random, blip2, trained, vit


def step(r, size):
    width, hidden = size["vit_width"], size["step_hidden"]
    parts = [r.norm(f"ln_{i}", width) for i in (1, 2, 3)]
    parts += [r.linear("attn.out_proj", width, width, 0.5), r.linear("mlp.c_fc", hidden, width)]
    parts += [r.linear("mlp.c_proj", width, hidden, 0.3)]
    parts += [{"dpe.weight": r.normal(width, 1, 3, 3, 3, std=0.3), "dpe.bias": r.normal(width, std=0.3)}]
    qkv = [r.matrix(width, width, 1.7), r.matrix(width, width, 1.7), r.matrix(width, width)]
    parts += [{"attn.in_proj_weight": np.concatenate(qkv), "attn.in_proj_bias": r.normal(3 * width, std=0.3)}]
    return {name: x for part in parts for name, x in part.items()}


def trained_parts(r, size):
    width, q = size["vit_width"], size["qformer_width"]
    state = {"extra_query_tokens": r.normal(1, size["extra_queries"], q, std=0.02)}
    state["visual_encoder.gmhra_cls_token"] = r.normal(1, 1, width, std=0.3)
    for j in range(size["steps"]):
        state |= {f"visual_encoder.gmhra.{j}.{name}": x for name, x in step(r, size).items()}
    state |= r.norm("ln_vision", width) | r.linear("llama_proj", size["llama_width"], q, 2.0)
    state |= {"llama_model.model.layers.0.self_attn.rotary_emb.inv_freq": r.poison(16)}
    state |= {"Qformer.bert.embeddings.position_ids": np.arange(24, dtype=np.int64)[None]}
    return trained(state)


def files(seed, size):
    """name -> what torch.load gives; the decoder's folder is apart."""
    eva = vit(Random(seed, 1), size | {"vit_depth": size["vit_depth"] + 1})
    r = Random(seed, 7)
    last = f"blocks.{size['vit_depth']}."
    eva = {name: r.poison(*x.shape).astype(np.float16) if name.startswith(last) else x for name, x in eva.items()}
    bridge = blip2(Random(seed, 2), size)
    bridge["model"] |= {name: r.poison(size["vit_width"]) for name in ("ln_vision.weight", "ln_vision.bias")}
    return {
        "eva_vit_g.pth": eva,
        "blip2_pretrained_flant5xxl.pth": bridge,
        "videochat_7b.pth": trained_parts(Random(seed, 3), size),
    }


def write(folder, seed, size, share=False):
    for name, value in files(seed, size).items():
        checkpoint.write_pth(folder / name, value, share)
