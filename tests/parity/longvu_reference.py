"""
longvu_reference.py - LongVU from pixels to the rows that its decoder reads, in float64 and numpy alone.

  pixD [n_in,3,378,378] -> dino [n_in,576,Dd] -> select -> kept
  pixS [n,3,384,384]    -> siglip [n,576,Ds] -> aux -> context, windows --+-> sampler [n,q*q,W] -> visual: full, mixed or pruned
                           dino of the kept  -> aux -> windows -----------+                         tokens [v,H]

Written from the specification (sections 2 and 4), shares nothing with the engine. Every function fills `stages` with the names of
the golden cases.

Ref:   spec 2.1-2.6, 4.1-4.8; cambrian_arch.py, vision_sampler.py, siglip_encoder.py, dino_encoder.py of Vision-CAIR/LongVU@1b0be5c.
Trap:  a video's size pair is (height, width) where the code reads (width, height); DINOv2's positions are resampled by 37/27.1;
       SigLIP's last norm is not used; the residual around the sampler's MLP is the layer's input.
"""

import math

import numpy as np

from layer_reference import attention, gelu, layer_norm, patches, softmax

TOWER_SIDE, HEADS, WINDOW, CHUNK, MOST = 24, 16, 16, 8, 400
FULL, MIX, STC = range(3)


def cubic_weights(t):
    """Of the four taps around a place t behind the second; a = -0.75."""
    a = -0.75
    far = lambda x: ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    near = lambda x: ((a + 2) * x - (a + 3)) * x * x + 1
    return np.array([far(t + 1), near(t), near(1 - t), far(2 - t)])


def dino_positions(table, side):
    """[1+37*37,D] -> [1+side*side,D]: the class row, and the grid resampled as transformers 4.44 does."""
    old = math.isqrt(table.shape[0] - 1)
    step, matrix = np.float32(1.0 / ((side + 0.1) / old)), np.zeros((side, old))
    for i in range(side):
        x = float(step * np.float32(i + 0.5) - np.float32(0.5))
        first = math.floor(x)
        for k, weight in enumerate(cubic_weights(x - first)):
            matrix[i, min(max(first - 1 + k, 0), old - 1)] += weight
    grid = np.einsum("yr,xc,rcd->yxd", matrix, matrix, table[1:].reshape(old, old, -1))
    return np.concatenate([table[:1], grid.reshape(side * side, -1)])


def resize_grid(x, side):
    """[n,m*m,D] -> [n,side*side,D], bilinear between centres."""
    old = math.isqrt(x.shape[1])
    matrix = np.zeros((side, old))
    for i in range(side):
        at = max(old / side * (i + 0.5) - 0.5, 0.0)
        first = int(at)
        matrix[i, first] += 1 - (at - first)
        matrix[i, min(first + 1, old - 1)] += at - first
    grid = np.einsum("yr,xc,nrcd->nyxd", matrix, matrix, x.reshape(len(x), old, old, -1), optimize=True)
    return grid.reshape(len(x), side * side, -1)


def patch_rows(pixels, w, name):
    kernel = w[name + ".weight"]
    side = kernel.shape[2]
    return patches(pixels.astype(np.float64), side, side) @ kernel.reshape(len(kernel), -1).T + w[name + ".bias"]


def siglip(w, config, pixels, stages):
    """pixels [n,3,384,384] -> [n,576,D]; w: the names under vision_model."""
    gelu_tanh = lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    x = patch_rows(pixels, w, "embeddings.patch_embedding") + w["embeddings.position_embedding.weight"]
    stages["vision.siglip.embed"] = x
    for i in range(config["num_hidden_layers"]):
        b = w.at(f"encoder.layers.{i}.")
        y = b.norm(x, "layer_norm1", 1e-6)
        q, k, v = (b.linear(y, f"self_attn.{name}_proj") for name in "qkv")
        x = x + b.linear(attention(q, k, v, config["num_attention_heads"]), "self_attn.out_proj")
        x = x + b.linear(gelu_tanh(b.linear(b.norm(x, "layer_norm2", 1e-6), "mlp.fc1")), "mlp.fc2")
        stages[f"vision.siglip.block.{i:02d}"] = x
    stages["vision.siglip.out"] = resize_grid(x, TOWER_SIDE)
    return stages["vision.siglip.out"]


def dino(w, config, pixels, stages):
    """pixels [n,3,378,378] -> [n,576,D]"""
    x = patch_rows(pixels, w, "embeddings.patch_embeddings.projection")
    positions = dino_positions(w["embeddings.position_embeddings"][0], math.isqrt(x.shape[1]))
    x = np.concatenate([np.broadcast_to(w["embeddings.cls_token"], (len(x), 1, x.shape[2])), x], axis=1) + positions
    stages["vision.dino.embed"] = x
    for i in range(config["num_hidden_layers"]):
        b = w.at(f"encoder.layer.{i}.")
        y = b.norm(x, "norm1", 1e-6)
        q, k, v = (b.linear(y, f"attention.attention.{name}") for name in ("query", "key", "value"))
        y = b.linear(attention(q, k, v, config["num_attention_heads"]), "attention.output.dense")
        x = x + b["layer_scale1.lambda1"] * y
        gate, value = np.split(b.linear(b.norm(x, "norm2", 1e-6), "mlp.weights_in"), 2, axis=-1)
        x = x + b["layer_scale2.lambda1"] * b.linear(gate / (1 + np.exp(-gate)) * value, "mlp.weights_out")
        stages[f"vision.dino.block.{i:02d}"] = x
    stages["vision.dino.out"] = resize_grid(w.norm(x, "layernorm", 1e-6)[:, 1:], TOWER_SIDE)
    return stages["vision.dino.out"]


def select(features, cap, threshold, stages):
    """features [n_in,576,D] -> positions kept; spec 4.3"""
    n_in, kept = len(features), []
    if n_in < cap:
        return list(range(n_in))
    for first in range(0, n_in, WINDOW):
        v = features[first : first + WINDOW].reshape(min(WINDOW, n_in - first), -1)
        v = v / np.linalg.norm(v, axis=1, keepdims=True)
        similarity = (v @ v.T).mean(axis=1)
        similarity = (v @ v.T).mean(axis=1)
        stages[f"compress.dino.similarity.{first // WINDOW:02d}"] = similarity.copy()
        similarity[len(v) // 2] = 0
        kept += [first + j for j in range(len(v)) if similarity[j] < threshold]
    if n_in >= WINDOW and len(kept) > MOST:
        step = len(kept) / MOST
        kept = [kept[int(step * i)] for i in range(MOST)]
    return kept


def open_range(side, a, b):
    """-> (row first, row end, column first, column end) of a size pair as stored"""
    if a / b > 1.0:
        p = (side - int(b * (side / a))) // 2
        return p, side - p, 0, side
    p = (side - int(a * (side / b))) // 2
    return 0, side, p, side - p


def windows(x, query_side):
    """[n,24*24,W] -> [n,q*q,r*r,W]"""
    n, r = len(x), TOWER_SIDE // query_side
    return x.reshape(n, query_side, r, query_side, r, -1).swapaxes(2, 3).reshape(n, query_side**2, r * r, -1)


def window_mask(query_side, pair):
    """bool [q*q, r*r]: tokens that are seen; a window of none sees all."""
    top, bottom, left, right = open_range(TOWER_SIDE, *pair)
    mask = np.zeros((1, TOWER_SIDE, TOWER_SIDE))
    mask[:, top:bottom, left:right] = 1
    mask = windows(mask.reshape(1, -1, 1), query_side)[0, :, :, 0] > 0
    return mask | ~mask.any(axis=1, keepdims=True)


def aux(w, x):
    return w.norm(w.linear(gelu(w.linear(x, "0")), "2"), "3", 1e-5)


def sampler_layer(b, query, context, grids, mask):
    """query [n,Q,W], context [n,1,W], grids: two of [n,Q,r*r,W], mask [Q,r*r]"""
    a = b.at("cross_attn.")
    context = np.broadcast_to(context @ b["proj_context.weight"].T, query.shape)
    h = np.concatenate([query, context], axis=2) @ b["proj_in.weight"].T
    q = a.norm(h, "q_proj.0", 1e-5) @ a["q_proj.1.weight"].T
    keys, values = [], []
    for i, grid in enumerate(grids):
        if b.has(f"pos_embed_{i}"):
            grid = grid + b[f"pos_embed_{i}"]
        keys.append(a.norm(grid, f"k_proj_{i}.0", 1e-5) @ a[f"k_proj_{i}.1.weight"].T)
        values.append(a.norm(grid, f"v_proj_{i}.0", 1e-5) @ a[f"v_proj_{i}.1.weight"].T)
    heads = lambda x: x.reshape(*x.shape[:-1], HEADS, -1)
    q, k, v = heads(q), heads(np.concatenate(keys, axis=2)), heads(np.concatenate(values, axis=2))
    scores = np.einsum("nqhd,nqkhd->nqhk", q, k) / math.sqrt(q.shape[-1])
    hidden = np.where(np.concatenate([mask, mask], axis=1), 0.0, -np.inf)
    y = np.einsum("nqhk,nqkhd->nqhd", softmax(scores + hidden[None, :, None, :]), v).reshape(query.shape)
    h = layer_norm(h + y @ a["o_proj.weight"].T, b["norm.weight"], b["norm.bias"], 1e-5)
    return gelu(h @ b["proj_out.linear_1.weight"].T) @ b["proj_out.linear_2.weight"].T + query


def sample(w, features, pair, query_side, stages):
    """features: SigLIP's and DINOv2's [n,576,D] -> [n,q*q,W]; w: the names under model."""
    projected = [aux(w.at(f"mm_projector_aux_{i}."), x) for i, x in enumerate(features)]
    context, mask = projected[0].mean(axis=1), window_mask(query_side, pair)
    stages |= {"project.aux.siglip": projected[0], "project.aux.dino": projected[1], "project.context": context}
    stages["sampler.mask"] = mask.astype(np.int32)
    grids = [windows(x, query_side) for x in projected]
    query = np.broadcast_to(w["vision_query"], (len(context), query_side**2, context.shape[1]))
    for i in range(w.count("vision_sampler_0.layers.%d.norm.weight")):
        query = sampler_layer(w.at(f"vision_sampler_0.layers.{i}."), query, context[:, None], grids, mask)
        stages[f"sampler.layer.{i:02d}"] = query
    return query


def project(w, x):
    return w.linear(gelu(w.linear(x, "mm_projector.0")), "mm_projector.2")


def cropped(x, pair, newline):
    """[n,side*side,H] -> [n,tokens,H]: the crop, a newline behind every line"""
    n, side = len(x), math.isqrt(x.shape[1])
    top, bottom, left, right = open_range(side, *pair)
    if top >= bottom or left >= right:
        top, bottom, left, right = 0, side, 0, side
    x = x.reshape(n, side, side, -1)[:, top:bottom, left:right]
    lines = np.broadcast_to(newline, (n, x.shape[1], 1, x.shape[3]))
    return np.concatenate([x, lines], axis=2).reshape(n, -1, x.shape[3])


def low_pair(pair, query_side, low_side):
    return tuple(int(size / (query_side / low_side)) for size in pair)


def prune(frames, threshold, room, stages):
    """frames [n,P,H] -> rows [v,H]; spec 4.6"""
    n, tokens = frames.shape[:2]
    unit = frames / np.maximum(np.linalg.norm(frames, axis=2, keepdims=True), 1e-8)
    kept, chunks = np.ones((n, tokens), np.int32), []
    for first in range(0, n, CHUNK):
        end = min(first + CHUNK, n)
        if end - first > 1:
            cosine = (unit[first + 1 : end] * unit[first]).sum(axis=2)
            stages[f"compress.stc.cosine.{first // CHUNK:02d}"] = cosine
            kept[first + 1 : end] = cosine < threshold
        chunks.append(first * tokens + np.flatnonzero(kept[first:end]))
    lengths = [len(chunk) for chunk in chunks]
    remove = math.ceil((sum(lengths) - room) / len(chunks)) if sum(lengths) > room else 0
    if remove:
        chunks = [chunk[: max(len(chunk) - remove, 0)] for chunk in chunks]
    index = np.concatenate(chunks)[:room]
    stages |= {
        "compress.stc.kept": kept,
        "compress.stc.chunk_lengths": np.array(lengths, np.int32),
        "compress.stc.removed_per_chunk": np.array([remove], np.int32),
        "compress.visual.index": index.astype(np.int32),
    }
    return frames.reshape(n * tokens, -1)[index]


def mix(high, low, k, text, stages):
    """Low frames, the k that the question likes best high; spec 4.5"""
    score = low.mean(axis=1) @ text.mean(axis=0)
    chosen = np.sort(np.argsort(-score, kind="stable")[:k])
    parts = [high[f] if f in chosen else low[f] for f in range(len(low))]
    stages |= {
        "compress.mix.score": score,
        "compress.mix.chosen": chosen.astype(np.int32),
        "compress.mix.frame_tokens": np.array([len(part) for part in parts], np.int32),
    }
    return np.concatenate(parts)


def visual(w, config, grids, pair, budget, text, n_in, stages):
    """grids [n,q*q,W] of a video -> rows [v,H]; text: embeddings behind the clip."""
    n, query_side, low_side = len(grids), math.isqrt(grids.shape[1]), config["low_side"]
    regime = FULL if n < budget["n_full"] else STC if n > budget["n_low"] else MIX
    high = project(w, grids)
    stages["project.video"] = high
    high = frames = cropped(high, pair, w["image_newline"])
    n_low, k = 0, 0
    if regime == MIX and low_side:
        low = project(w, resize_grid(grids, low_side))
        stages["project.video.low"] = low
        low = frames = cropped(low, low_pair(pair, query_side, low_side), w["image_newline"])
        n_low = low.shape[1]
        if query_side > low_side and budget["R"] > n * n_low:
            k = min((budget["R"] - n * n_low) // (high.shape[1] - n_low), n)
    vis = n * frames.shape[1]
    if k >= 1:
        rows = mix(high, low, k, text, stages)
    elif budget["R"] < vis:
        rows = prune(frames, config["drop_threshold"], budget["R"], stages)
    else:
        rows = frames.reshape(vis, -1)
    numbers = [budget[key] for key in ("L", "B", "R", "cap", "n_full", "n_low")]
    stages["compress.regime"] = np.array([n_in, n, *numbers, regime, high.shape[1], n_low, vis, k, len(rows)], np.int32)
    return rows


def picture(w, config, grids, pair, stages):
    """The one grid [1,q*q,W] of a picture -> rows [v,H]; spec 4.7"""
    low_side, query_side = config["low_side"], math.isqrt(grids.shape[1])
    if low_side:
        grids, pair = resize_grid(grids, low_side), low_pair(pair, query_side, low_side)
    x = project(w, grids)
    stages["project.video.low" if low_side else "project.video"] = x
    return cropped(x, pair, w["image_newline"])[0]
