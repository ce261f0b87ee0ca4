"""
videochat_reference.py - VideoChat-Embed from pixels to the rows that its decoder reads, in float64 and numpy alone.

  pixels [T,3,S,S] -> ViT blocks [T,257,D] -> after each of the last: global row g [1,D] -> [257 T + 1, D] -> ln_vision
    -> Q-Former, query_tokens and extra_query_tokens -> llama_proj [Q,H]

Written from the specification (2.2-2.7), shares nothing with the engine: the convolution is a sum over 27 shifted volumes, keys
and values are projected for all tokens. Fills `stages` with the names of the golden cases.

Ref:   spec VideoChat 2.2-2.7; eva_vit.py:311-378 of OpenGVLab/Ask-Anything@4dd8210.
Trap:  the EVA file holds one block more than is built. Global rows never return into the frames.
"""

import numpy as np

import video_llama_reference
from layer_reference import Weights, attention, gelu


def shifted(v, t, y, x):
    """v [T,Y,X,D] moved so that out[i] = v[i + shift], zeros beyond the ends."""
    out = np.zeros_like(v)
    into, source = [], []
    for shift, n in zip((t, y, x), v.shape):
        into.append(slice(max(0, -shift), n - max(0, shift)))
        source.append(slice(max(0, shift), n - max(0, -shift)))
    out[tuple(into)] = v[tuple(source)]
    return out


def depthwise(v, weight, bias):
    """v [T,Y,X,D], weight [D,1,3,3,3]: a convolution of 3 x 3 x 3 in each channel."""
    out = np.broadcast_to(bias, v.shape).copy()
    for t in range(3):
        for y in range(3):
            for x in range(3):
                out += shifted(v, t - 1, y - 1, x - 1) * weight[:, 0, t, y, x]
    return out


def aggregate(w, g, x, name, stages):
    """One step: g [1,D], x [T,N,D] -> g"""
    frames, tokens, width = x.shape
    side = int((tokens - 1) ** 0.5)
    y = w.norm(x, "ln_3", 1e-5)
    volume = y[:, 1:].reshape(frames, side, side, width)
    y[:, 1:] += depthwise(volume, w["dpe.weight"], w["dpe.bias"]).reshape(frames, tokens - 1, width)
    y = y.reshape(-1, width)
    stages[name + ".keys"] = y
    weights, biases = np.split(w["attn.in_proj_weight"], 3), np.split(w["attn.in_proj_bias"], 3)
    q, k, v = (rows @ a.T + b for rows, a, b in zip((w.norm(g, "ln_1", 1e-5), y, y), weights, biases))
    stages[name + ".attn"] = w.linear(attention(q[None], k[None], v[None], width // 88)[0], "attn.out_proj")
    g = g + stages[name + ".attn"]
    g = g + w.linear(gelu(w.linear(w.norm(g, "ln_2", 1e-5), "mlp.c_fc")), "mlp.c_proj")
    stages[name] = g
    return g


def frames_encode(state, pixels, stages):
    """-> all rows [257 T + 1, D] behind ln_vision"""
    w = Weights(state)
    vit = w.at("visual_encoder.")
    n_blocks = min(39, vit.count("blocks.%d.norm1.weight") - 1)
    n_steps = vit.count("gmhra.%d.ln_1.weight")
    built = {name: x for name, x in state.items() if not name.startswith(f"visual_encoder.blocks.{n_blocks}.")}
    x = video_llama_reference.vit(Weights(built, "visual_encoder."), pixels.astype(np.float64), stages)
    g = vit["gmhra_cls_token"][0]
    for j in range(n_steps):
        block = stages[f"vision.block.{n_blocks - n_steps + j:02d}"]
        g = aggregate(vit.at(f"gmhra.{j}."), g, block, f"vision.gmhra.{j:02d}", stages)
    stages["vision.out"] = np.concatenate([x.reshape(-1, x.shape[2]), g])
    stages["vision.norm"] = w.norm(stages["vision.out"], "ln_vision", 1e-5)
    return stages["vision.norm"]


def qformer(w, queries, seen, stages):
    """queries [Q,D], seen [S,Dv] -> [Q,D]; w: the names under Qformer.bert."""
    x = w.norm(queries, "embeddings.LayerNorm", 1e-12)
    heads = x.shape[1] // 64
    stages["qformer.embed"] = x
    for i in range(w.count("encoder.layer.%d.attention.self.query.weight")):
        layer = w.at(f"encoder.layer.{i}.")
        for kind, source, name in (("attention", None, "self"), ("crossattention", seen, "cross")):
            if not layer.has(kind + ".self.query.weight"):
                continue
            b, source = layer.at(kind + "."), x if source is None else source
            q, k, v = b.linear(x, "self.query"), b.linear(source, "self.key"), b.linear(source, "self.value")
            y = attention(q[None], k[None], v[None], heads)[0]
            x = b.norm(b.linear(y, "output.dense") + x, "output.LayerNorm", 1e-12)
            stages[f"qformer.layer.{i:02d}.{name}"] = x
        y = layer.linear(gelu(layer.linear(x, "intermediate_query.dense")), "output_query.dense")
        x = layer.norm(y + x, "output_query.LayerNorm", 1e-12)
        stages[f"qformer.layer.{i:02d}"] = x
    stages["qformer.out"] = x
    return x


def video_rows(state, pixels, stages):
    """pixels [T,3,S,S] -> [Q,H]"""
    w = Weights(state)
    seen = frames_encode(state, pixels, stages)
    queries = np.concatenate([w["query_tokens"], w["extra_query_tokens"]], axis=1)[0]
    stages["project.video"] = w.linear(qformer(w.at("Qformer.bert."), queries, seen, stages), "llama_proj")
    return stages["project.video"]
