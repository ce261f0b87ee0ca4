"""
flash_vstream_qwen_reference.py - Flash-VStream (Qwen2-VL) from patches to the rows and places that its decoder reads, in
float64 and numpy alone.

  steps [t,2,3,Y,X] -> patches [t,P,1176], of half resolution [t,P/4,1176] -> vit -> X [t,P,D], x [t,P/4,D]
    x -> synopsis (CSM): slots [K,P/4,D], weights, times -> detail (DAM): steps of X -> memory [R,D] -> merge [R/4,Dl]
  ids -> places [3,N] of time, line and column, plain ones and those of the memory

Written from the specification (B2-B4), shares nothing with the engine. Distances are explicit differences. Every function fills
`stages` with the names of the golden cases.

Ref:   spec B2.1-B2.3, B4.1-B4.3; vstream_qwen2vl_model.py, compress_functions.py of IVGSZ/Flash-VStream@8f6bde2.
Trap:  steps that are alike must have features alike to the last bit, or more of them seem distinct than are. A slot of two
       steps is as far from one as from the other: Margins tells, and nothing behind it can be compared.
"""

import math

import numpy as np

from flash_vstream_reference import ROUNDS, STILL, descending
from layer_reference import attention, gelu

PATCH, GROUP, POOL, EPS = 14, 2, 2, 1e-6
SHOWN = 8  # features of a distinct step that its stage keeps


class Margins:
    """How near the choices came to being others, of the size of what is subtracted: distances are differences of squares."""

    def __init__(self):
        self.sort, self.slot, self.step = math.inf, math.inf, math.inf

    @staticmethod
    def of(squares, sizes):
        """squares [n,m]: the smallest of a row is chosen; sizes [n]. Equal to the last bit is no near choice where it is 0."""
        if squares.shape[1] < 2:
            return math.inf
        ordered = np.sort(squares, axis=1)
        gaps = np.where(ordered[:, 1] == 0, math.inf, (ordered[:, 1] - ordered[:, 0]) / sizes)
        return float(gaps.min())


def patches(steps):
    """[t,2,3,Y,X] -> [t,P,3*2*14*14]: colour, picture, line, column; the patches of a group of 2x2 stand together."""
    t, _, _, height, width = steps.shape
    rows, columns = height // PATCH, width // PATCH
    x = steps.reshape(t, 2, 3, rows // GROUP, GROUP, PATCH, columns // GROUP, GROUP, PATCH)
    return np.ascontiguousarray(x.transpose(0, 3, 6, 4, 7, 2, 1, 5, 8)).reshape(t, rows * columns, -1)


def halved(steps):
    """Means of 2x2 pixels, float32."""
    t, pair, colours, height, width = steps.shape
    squares = steps.astype(np.float64).reshape(t, pair, colours, height // POOL, POOL, width // POOL, POOL)
    return squares.mean(axis=(4, 6)).astype(np.float32)


def grouped(rows, columns):
    """Line and column of each patch of a step: [P], [P]"""
    lines, across = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    order = lambda x: x.reshape(rows // GROUP, GROUP, columns // GROUP, GROUP).transpose(0, 2, 1, 3).ravel()
    return order(lines), order(across)


def turn(x, angles, heads):
    """x [P,D], angles [P, half of a head]"""
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    a, b = np.split(x.reshape(len(x), heads, -1), 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)


class Tower:
    """The vision transformer, a step at a time."""

    def __init__(self, w, config):
        self.w, self.heads, self.depth = w, config["num_heads"], config["depth"]
        self.kernel = w["patch_embed.proj.weight"].reshape(config["embed_dim"], -1).T
        self.width = config["embed_dim"]
        width = self.width // self.heads
        powers = np.arange(0, width // 2, 2).astype(np.float32) / np.float32(width // 2)
        self.frequency = (1.0 / np.float32(10000.0) ** powers).astype(np.float32)

    def angles(self, rows, columns):
        turns = [place.astype(np.float32)[:, None] * self.frequency for place in grouped(rows, columns)]
        return np.concatenate(turns, axis=1).astype(np.float64)

    def step(self, x, angles):
        """x [P,1176] -> [embed, block 0, ...], each [P,D]"""
        x = x.astype(np.float64) @ self.kernel
        out = [x]
        for i in range(self.depth):
            b = self.w.at(f"blocks.{i}.")
            q, k, v = np.split(b.linear(b.norm(x, "norm1", EPS), "attn.qkv"), 3, axis=-1)
            q, k = turn(q, angles, self.heads), turn(k, angles, self.heads)
            x = x + b.linear(attention(q[None], k[None], v[None], self.heads)[0], "attn.proj")
            y = b.linear(b.norm(x, "norm2", EPS), "mlp.fc1")
            x = x + b.linear(y / (1.0 + np.exp(-1.702 * y)), "mlp.fc2")
            out.append(x)
        return out

    def encode(self, x, grid):
        """x [t,P,1176] -> (features float64 [t,P,D], [embed, blocks] float32 [t,P,D]); equal steps are encoded once."""
        angles, known, features, layers = self.angles(*grid), {}, [], [[] for _ in range(self.depth + 1)]
        for step in x:
            key = step.tobytes()
            if key not in known:
                known[key] = self.step(step, angles)
            features.append(known[key][-1])
            for layer, value in zip(layers, known[key]):
                layer.append(value.astype(np.float32))
        return np.stack(features), [np.stack(layer) for layer in layers]


def squares(a, b):
    """[n,F], [m,F] -> squared distances [n,m]"""
    return np.stack([((a - row) ** 2).sum(axis=1) for row in b], axis=1)


def ordered_kmeans(x, counts, k, generator, margins, stages):
    """x [t,F], t > k; counts [t]: what a row weighs -> (slots [k,F], weights, times)"""
    t, sizes = len(x), (x * x).sum(axis=1)
    distinct = np.unique(x, axis=0)
    stages["compress.csm.unique"] = distinct[:, :SHOWN]
    first = distinct[:, 0]
    if len(distinct) > 1:
        margins.sort = min(margins.sort, float(np.diff(first).min() / np.abs(first).max()))
    if len(distinct) < k:
        labels = squares(x, distinct).argmin(axis=1)
        margins.slot = min(margins.slot, Margins.of(squares(x, distinct), sizes))
        times = np.array([np.flatnonzero(labels == j).mean() for j in range(len(distinct))])
        order, missing = np.argsort(times, kind="stable"), k - len(distinct)
        return np.concatenate([x[:missing], distinct[order]]), np.ones(k), np.concatenate([np.arange(missing), times[order]])
    drawn = generator.permutation(len(distinct))
    stages["compress.kmeans.draws"] = np.array(drawn, np.int32)
    centres = distinct[drawn[:k]]
    for i in range(ROUNDS):
        d = squares(x, centres)
        margins.slot = min(margins.slot, Margins.of(d, sizes))
        labels = d.argmin(axis=1)
        stages[f"compress.kmeans.labels.{i:02d}"] = labels.astype(np.int32)
        weights = np.bincount(labels, counts, minlength=k)
        mean = lambda own: (x[own] * counts[own, None]).sum(axis=0) / counts[own].sum()
        moved = np.stack([mean(labels == j) if weights[j] else x[generator.below(t)] for j in range(k)])
        if np.sqrt(((centres - moved) ** 2).sum(axis=1)).sum() < STILL:
            break
        centres = moved
    if not weights.all():
        raise ValueError("a slot is empty in the end")
    times = np.array([np.flatnonzero(labels == j).mean() for j in range(k)])
    order = np.argsort(times, kind="stable")
    return centres[order], weights[order], times[order]


def synopsis(x, k, generator, margins, stages):
    """CSM of x [t,P/4,D] -> (slots [min(k,t),P/4,D], weights, times)"""
    t = len(x)
    slots, weights, times = x, np.ones(t), np.arange(t, dtype=np.float64)
    if t > k:
        slots, weights, times = ordered_kmeans(x.reshape(t, -1), np.ones(t), k, generator, margins, stages)
    stages |= {"compress.csm.weights": weights, "compress.csm.times": times}
    stages["compress.csm"] = slots.reshape(-1, *x.shape[1:])
    return stages["compress.csm"], weights, times


class Stream:
    """The memory step by step, spec B4.5; a step may be put in the place of the last one while no slot is made of two."""

    def __init__(self, k, generator, margins):
        self.k, self.generator, self.margins, self.bank = k, generator, margins, []

    def add(self, step, again):
        """step [P/4,D]; again: it takes the place of the last one"""
        step = step.reshape(1, -1)
        if again:
            self.bank.pop()
        self.bank.append(step)
        n = len(self.bank)
        if n <= self.k:
            self.slots, self.weights, self.times = np.concatenate(self.bank), np.ones(n), np.arange(n, dtype=np.float64)
            return
        rows, counts = np.concatenate([self.slots, step]), np.append(self.weights, 1.0)
        self.slots, self.weights, self.times = ordered_kmeans(rows, counts, self.k, self.generator, self.margins, {})


def detail(x, slots, weights, n, margins, stages):
    """DAM: numbers of the steps of x [t,P/4,D] that are shown whole."""
    t, flat = len(x), x.reshape(len(x), -1)
    if t <= n:
        picked = np.arange(t)
    else:
        order = descending(list(weights))
        stages["compress.dam.order"] = np.array(order, np.int32)
        keys = slots.reshape(len(slots), -1)[order[:n]]
        distinct, first = np.unique(flat, axis=0, return_index=True)  # equal steps: the first of them
        d = squares(keys, distinct)
        margins.step = min(margins.step, Margins.of(d, (keys * keys).sum(axis=1)))
        picked = first[d.argmin(axis=1)]
    stages["compress.dam.index"] = picked.astype(np.int32)
    return picked


def merge(w, memory, stages):
    """memory [R,D] -> rows [R/4,Dl]; w: the names under merger"""
    stages["compress.memory"] = memory
    x = w.norm(memory, "ln_q", EPS)
    x = x.reshape(len(memory) // GROUP**2, -1)
    stages["project.video"] = w.linear(gelu(w.linear(x, "mlp.0")), "mlp.2")
    return stages["project.video"]


def places(ids, pad, grid, picked, times, stream=False):
    """ids [N]; grid: of a whole step; stream: text stands behind the number of rows
    -> (plain [3,N], of the memory [3,N], the next place)"""
    rows, columns = (n // GROUP for n in grid)
    start = ids.index(pad)
    cells = lambda numbers, r, c: np.stack(np.meshgrid(numbers, np.arange(r), np.arange(c), indexing="ij")).reshape(3, -1)
    whole, slots = rows * columns * len(picked), len(times)
    own = lambda shown, when: np.concatenate(
        [start + cells(shown, rows, columns), start + whole + cells(when, rows // POOL, columns // POOL)], axis=1
    )
    behind = start + whole + max(slots, rows // POOL, columns // POOL)
    behind = start + ids.count(pad) if stream else behind
    n_text = len(ids) - start - ids.count(pad)
    before, after = (np.tile(np.arange(a, b), (3, 1)) for a, b in ((0, start), (behind, behind + n_text)))
    plain, used = own(np.arange(len(picked)), np.arange(slots)), own(picked, np.rint(times).astype(np.int64))
    assert plain.shape[1] == ids.count(pad)
    return *(np.concatenate([before, x, after], axis=1) for x in (plain, used)), behind + n_text
