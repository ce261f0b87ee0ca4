"""
flash_vstream_reference.py - Flash-VStream (LLaVA) from pixels to the rows that its decoder reads, in float64 and numpy alone.

  pixels [T,3,S,S] -> clip [T,P,D] -> pooled F [T,c*c,D] -> offline or Stream -> memory [R,D] -> project [R,H]

Written from the specification (A2, A4), shares nothing with the engine. Distances are explicit differences. Every function
fills `stages` with the names of the golden cases.

Ref:   spec A2.1-A2.4, A4.1-A4.4, A4.7; clip_encoder.py, vstream_arch.py, compress_functions.py of IVGSZ/Flash-VStream@8f6bde2.
Trap:  retrieval takes numbers of slots for those of frames. Offline the newest frame is in no cluster; streams have it in one.
       Weights start at one in every call. Ties go the way of CUDA's sort, which up to 32 numbers is not stable.
"""

import math

import numpy as np

from layer_reference import attention, gelu, patches, softmax

ROUNDS, STILL, KEYS, MASK = 10, 1e-4, 3, (1 << 64) - 1


class Generator:
    """splitmix64, spec A4.7"""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, n):
        return ((self.next() >> 32) * n) >> 32

    def permutation(self, n):
        p = list(range(n))
        for i in range(n - 1):
            j = i + self.below(n - i)
            p[i], p[j] = p[j], p[i]
        return p


def clip(w, config, pixels, stages):
    """pixels [n,3,S,S] -> [n,P,D] behind the last block but one, without the class row; w: the names under vision_model."""
    kernel, eps = w["embeddings.patch_embedding.weight"], config.get("layer_norm_eps", 1e-5)
    side = kernel.shape[2]
    x = patches(pixels.astype(np.float64), side, side) @ kernel.reshape(len(kernel), -1).T
    first = np.broadcast_to(w["embeddings.class_embedding"], (len(x), 1, x.shape[2]))
    x = np.concatenate([first, x], axis=1) + w["embeddings.position_embedding.weight"]
    x = w.norm(x, "pre_layrnorm", eps)
    stages["vision.embed"] = x
    for i in range(config["num_hidden_layers"] - 1):
        b = w.at(f"encoder.layers.{i}.")
        y = b.norm(x, "layer_norm1", eps)
        q, k, v = (b.linear(y, f"self_attn.{name}_proj") for name in "qkv")
        x = x + b.linear(attention(q, k, v, config["num_attention_heads"]), "self_attn.out_proj")
        y = b.linear(b.norm(x, "layer_norm2", eps), "mlp.fc1")
        x = x + b.linear(y / (1.0 + np.exp(-1.702 * y)), "mlp.fc2")
        stages[f"vision.block.{i:02d}"] = x
    stages["vision.out"] = x[:, 1:]
    return stages["vision.out"]


def pool(x, side):
    """[n,s*s,D] -> [n,side*side,D]: means over squares of s // side; what is left over at the edges is dropped."""
    n, rows, width = x.shape
    old = math.isqrt(rows)
    step = old // side
    grid = x.reshape(n, old, old, width)[:, : side * step, : side * step]
    return grid.reshape(n, side, step, side, step, width).mean(axis=(2, 4)).reshape(n, side * side, width)


def descending(weights):
    """torch.argsort(descending=True) on CUDA: a network of 32 inputs, above that a stable sort."""
    n = len(weights)
    if n > 32:
        return sorted(range(n), key=lambda i: -weights[i])
    items = [(weights[i], i, True) if i < n else (0, i, False) for i in range(32)]

    def exchange(a, b, direction):
        greater = (items[a][2] and items[a][0] > items[b][0]) or not items[b][2]
        if greater == direction:
            items[a], items[b] = items[b], items[a]

    for size in (2, 4, 8, 16, 32):
        stride = size // 2
        while stride:
            for t in range(16):
                at = 2 * t - (t & (stride - 1))
                exchange(at, at + stride, size < 32 and t & (size // 2) != 0)
            stride //= 2
    return [item[1] for item in items if item[2]]


def distances(a, b):
    """[n,...], [m,...] -> [n,m]"""
    return np.stack([np.sqrt(((a - row) ** 2).reshape(len(a), -1).sum(axis=1)) for row in b], axis=1)


class Margins:
    """How near the choices came to being others: the least distance between the best and the second, of the best's size."""

    def __init__(self):
        self.least = math.inf

    def see(self, d):
        """d [n,m]: the smallest of each row is chosen; equal rows are no near choice, they tie in every arithmetic."""
        if d.shape[1] > 1:
            ordered = np.sort(d, axis=1)
            gap = (ordered[:, 1] - ordered[:, 0]) / np.maximum(ordered[:, 1], 1e-30)
            self.least = min(self.least, float(gap.min()))


def weighted_kmeans(x, k, generator, margins, stages):
    """x [T,P,D] -> (slots [min(k,T),P,D], weights)"""
    n = len(x)
    if n <= k:
        return x, np.ones(n)
    flat = x.reshape(n, -1)
    drawn = generator.permutation(n)
    stages["compress.kmeans.draws"] = np.array(drawn, np.int32)
    centres = flat[drawn[:k]]
    for i in range(ROUNDS):
        d = distances(flat, centres)
        labels = d.argmin(axis=1)
        margins.see(d)
        stages[f"compress.kmeans.dist.{i:02d}"] = d
        stages[f"compress.kmeans.labels.{i:02d}"] = labels.astype(np.int32)
        weights = np.bincount(labels, minlength=k).astype(np.float64)
        moved = np.stack([flat[labels == j].mean(axis=0) if weights[j] else flat[generator.below(n)] for j in range(k)])
        if np.sqrt(((centres - moved) ** 2).sum(axis=1)).sum() < STILL:
            break
        centres = moved
    stages["compress.kmeans.weights"] = weights
    return centres.reshape(k, *x.shape[1:]), weights


def retrieve(rows, weights, margins, stages):
    """rows [n,P,D] -> numbers of the rows nearest to those that have the numbers of the heaviest slots"""
    order = descending(list(weights))
    d = distances(rows, rows[order[:KEYS]])
    margins.see(d.T)
    stages["compress.retrieve.order"] = np.array(order, np.int32)
    stages["compress.retrieve.dist"] = d
    stages["compress.retrieve.index"] = d.argmin(axis=0).astype(np.int32)
    return stages["compress.retrieve.index"]


def attend(w, memory, x, ratio):
    q, k = w.linear(memory, "q_proj"), w.linear(x, "k_proj")
    weights = ratio * softmax(q @ k.T / math.sqrt(q.shape[1]))
    return memory * (1 - weights.sum(axis=1, keepdims=True)) + weights @ x


def abstract(w, x, n, ratio, stages):
    """x [L,P,D] -> [min(n,L),P,D]; w: the names under attention_model"""
    if len(x) <= n:
        return x
    flat = lambda rows: rows.reshape(-1, x.shape[2])
    memory = flat(x[:n])
    for chunk, first in enumerate(range(n, len(x), n)):
        memory = attend(w, memory, flat(x[first : first + n]), ratio)
        stages[f"compress.abstract.{chunk:02d}"] = memory
    return memory.reshape(n, *x.shape[1:])


def concat(*parts):
    """[n,P,D] each -> [R,D]"""
    return np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts if len(part)])


def offline(w, n, frames, generator, margins, stages):
    """frames [T,c*c,D]; n: the numbers of the configuration -> memory [R,D]"""
    stages["compress.pool.frame"] = frames
    first = len(frames) - min(n["current"], len(frames))
    spatial, rest = frames[first:], frames[:first]
    if not len(rest):
        stages["compress.memory"] = concat(spatial)
        return stages["compress.memory"]
    maps, means = pool(rest, n["long_side"]), pool(rest, n["turing_side"])
    stages |= {"compress.pool.long": maps, "compress.pool.turing": means}
    slots, weights = weighted_kmeans(maps, n["long"], generator, margins, stages)
    stages["compress.temporal"] = slots
    picked = frames[retrieve(maps, weights, margins, stages)]
    summary = abstract(w.at("attention_model."), means, n["turing"], n["ratio"], stages)
    stages["compress.memory"] = concat(summary, slots, picked, spatial)
    return stages["compress.memory"]


class Stream:
    """The memory after each frame, spec A4.2."""

    def __init__(self, w, n, generator, margins):
        self.w, self.n, self.generator, self.margins = w.at("attention_model."), n, generator, margins
        self.buffer, self.temporal, self.abstract, self.count = None, None, None, 0
        self.rows = {name: [] for name in ("draws", "weights", "order", "index")}

    def add(self, frame, stages):
        """frame [c*c,D]"""
        x, n = frame[None], self.n
        maps, means, self.current = pool(x, n["long_side"]), pool(x, n["turing_side"]), x
        self.count += 1
        if self.buffer is None:
            self.buffer, self.temporal, self.abstract = x, maps, means
        else:
            self.buffer = np.concatenate([self.buffer, x])
            rows, filled = np.concatenate([self.temporal, maps]), {}
            self.temporal, weights = weighted_kmeans(rows, n["long"], self.generator, self.margins, filled)
            picked = retrieve(rows, weights, self.margins, filled)
            self.current = np.concatenate([self.buffer[picked], x])
            self.abstract = abstract(self.w, np.concatenate([self.abstract, means]), n["turing"], n["ratio"], {})
            pad = lambda values: [*values[:KEYS], *[-1] * (KEYS - len(values))]
            self.rows["order"].append(pad([int(i) for i in filled["compress.retrieve.order"]]))
            self.rows["index"].append(pad([int(i) for i in picked]))
            if "compress.kmeans.draws" in filled:
                self.rows["draws"].append(filled["compress.kmeans.draws"])
                self.rows["weights"].append(weights)
        for name, part in (("spatial", self.current), ("temporal", self.temporal), ("abstract", self.abstract)):
            stages[f"compress.stream.{name}.{self.count:03d}"] = part

    def memory(self):
        return concat(self.abstract, self.temporal, self.current)

    def finish(self, stages):
        for name, rows in self.rows.items():
            if rows:
                stages[f"compress.stream.{name}"] = np.array(rows, np.float64 if name == "weights" else np.int32)


def project(w, memory, stages):
    stages["project.video"] = w.linear(gelu(w.linear(memory, "mm_projector.0")), "mm_projector.2")
    return stages["project.video"]
