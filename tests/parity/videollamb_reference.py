"""
videollamb_reference.py - VideoLLaMB from pixels to the rows that its decoder reads, in float64 and numpy alone.

  pixels [T,3,S,S] -> tower [T,1+g*g,D] -> class rows -> tile -> ends of scenes
                                        -> pool [T,P,D] -> last_scene (A), all_memories (B), alone (B, few frames), picture (A)
                                        -> rows [R,H]

Written from the specification (2, 4), shares nothing with the engine. Every function fills `stages` with the names of the golden
cases.

Ref:   spec 2.1-2.7, 4.1-4.4, 4.6; modeling_video.py, self_segment.py, self_retriever.py, rmt_r_transformer_projector.py,
       serve/inference.py of bigai-nlco/VideoLLaMB@a885b99 and the copies in bigai-nlco/MM-NIAVH@aa18c1c.
Trap:  the temporal embedding stays in the residual, in every layer. A caches memories from before the retrieval and carries on
       those from after it. B adds a position to the patches only, and none where frames stand alone.
"""

import math

import numpy as np

from layer_reference import attention, gelu, patches

GROUP, SCENE_FRAMES, FEW = 8, 8, 3


def quick_gelu(x):
    return x / (1.0 + np.exp(-1.702 * x))


def attend(w, x, name, heads):
    """Self-attention of CLIP; x [B,T,D]"""
    q, k, v = (w.linear(x, f"{name}.{part}_proj") for part in "qkv")
    return w.linear(attention(q, k, v, heads), f"{name}.out_proj")


def over_time(w, x, heads, eps):
    """x [8,L,D]: each of the L places looks at itself in the 8 frames."""
    h = x.swapaxes(0, 1) + w["temporal_embedding"]
    h = h + attend(w, w.norm(h, "temporal_layer_norm1", eps), "temporal_attn", heads)
    return h.swapaxes(0, 1)


def tower(w, config, temporal, pixels, stages):
    """pixels [n,3,S,S] (temporal: n is 8) -> hidden_states[-2] [n,1+P,D]; w: the names under vision_model."""
    kernel, eps, heads = w["embeddings.patch_embedding.weight"], config["layer_norm_eps"], config["num_attention_heads"]
    act, side = {"gelu": gelu, "quick_gelu": quick_gelu}[config["hidden_act"]], kernel.shape[2]
    x = patches(pixels.astype(np.float64), side, side) @ kernel.reshape(len(kernel), -1).T
    first = np.broadcast_to(w["embeddings.class_embedding"], (len(x), 1, x.shape[2]))
    x = np.concatenate([first, x], axis=1) + w["embeddings.position_embedding.weight"]
    x = w.norm(x, "pre_layrnorm", eps)
    stages["vision.embed"] = x
    for i in range(config["num_hidden_layers"] - 1):
        b, name = w.at(f"encoder.layers.{i}."), f"vision.block.{i:02d}"
        if temporal:
            x = over_time(b, x, heads, eps)
            stages[f"{name}.temporal"] = x
        x = x + attend(b, b.norm(x, "layer_norm1", eps), "self_attn", heads)
        x = x + b.linear(act(b.linear(b.norm(x, "layer_norm2", eps), "mlp.fc1")), "mlp.fc2")
        stages[name] = x
        stages[f"{name}.cls"] = x[:, 0]
    return x


def windows(old, new):
    return [(i * old // new, -(-(i + 1) * old // new)) for i in range(new)]


def pool(x, side):
    """[n,g*g,D] -> [n,side*side,D]: means over windows that may overlap."""
    g = math.isqrt(x.shape[1])
    grid = x.reshape(len(x), g, g, -1)
    cells = [grid[:, a:b, c:d].mean(axis=(1, 2)) for a, b in windows(g, side) for c, d in windows(g, side)]
    return np.stack(cells, axis=1)


def similarity(rows):
    """[T,D] -> [T-1] cosines of neighbours"""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-8)
    return (unit[:-1] * unit[1:]).sum(axis=1)


def depths(s):
    out = []
    for i in range(len(s)):
        hills = []
        for walk in (range(i - 1, -1, -1), range(i + 1, len(s))):
            hill = s[i]
            for j in walk:
                if s[j] < hill:
                    break
                hill = s[j]
            hills.append(hill)
        out.append(hills[0] + hills[1] - 2 * s[i])
    return np.array(out)


def cuts(depth, rule):
    """Places of the valleys that end a scene. rule: (number of cuts, None) or (alpha, at most)"""
    deepest = lambda k: sorted(sorted(range(len(depth)), key=lambda i: -depth[i])[:k])
    if rule[1] is None:
        return deepest(rule[0])
    if len(depth) < 2:
        return []
    found = [i for i, d in enumerate(depth) if d > depth.mean() + rule[0] * depth.std(ddof=1)]
    return found if len(found) <= rule[1] else deepest(rule[1])


class Margins:
    """Whether every cut would be the same if similarities were a little different; equal ones stay equal."""

    def __init__(self, noise=3e-6):
        self.noise, self.clear = noise, True
        self.rng = np.random.default_rng(1)

    def see(self, s, rule, found):
        values, which = np.unique(np.round(s, 12), return_inverse=True)
        for _ in range(6):
            moved = (values + self.noise * self.rng.uniform(-1, 1, len(values)))[which]
            self.clear &= cuts(depths(moved), rule) == found


def tile(rows, rule, margins, stages):
    """Class rows [T,D] -> last frames of the scenes"""
    s = similarity(rows)
    depth = depths(s)
    found = cuts(depth, rule)
    margins.see(s, rule, found)
    ends = found + [len(rows) - 1]
    stages |= {"compress.similarity": s, "compress.depth": depth, "compress.boundaries": np.array(ends, np.int32)}
    return ends


def linspace(total, n):
    """numpy.linspace(0, total - 1, n, dtype=int), in double"""
    return np.linspace(0, total - 1, n, dtype=int)


class Bridge:
    """The recurrent layers and the retrieval; w: the names under model.mm_projector."""

    def __init__(self, w, config):
        self.w, self.heads, self.eps = w.at("projector."), config["mm_num_attention_heads"], config["mm_layer_norm_eps"]
        self.retrieval = w.at("retrieval.layers.0.crossattention.")
        self.depth = self.w.count("layers.%d.mlp.0.weight")
        self.initial = self.w["read_memory_emb"]

    def _attend(self, w, x, context):
        q, k, v = w.linear(x, "q_proj"), w.linear(context, "k_proj"), w.linear(context, "v_proj")
        y = attention(q[None], k[None], v[None], self.heads)[0]
        return w.norm(w.linear(y, "residual.dense") + x, "residual.layernorm", self.eps)

    def read(self, memory, rows, stages, name):
        """memory [32,D], rows [R,D] -> (memory', rows')"""
        x = np.concatenate([memory, rows])
        stages[f"{name}.in"] = x
        for i in range(self.depth):
            w = self.w.at(f"layers.{i}.")
            x = self._attend(w.at("selfattention."), x, x)
            if i == 0:
                stages[f"{name}.attn"] = x
            x = w.norm(w.linear(gelu(w.linear(x, "mlp.0")), "residual.dense") + x, "residual.layernorm", self.eps)
        stages[f"{name}.out"] = x
        return x[: len(memory)], x[len(memory) :]

    def retrieve(self, memory, cache, stages, name):
        stages[f"{name}.memory"] = memory
        stages[f"{name}.retrieved"] = self._attend(self.retrieval, memory, np.concatenate(cache))
        return stages[f"{name}.retrieved"]

    def project(self, x):
        return gelu(self.w.linear(x, "proj.0"))


def scenes(pooled, ends, stages):
    """-> name, rows of the frames that are read, for each scene"""
    first = 0
    for i, end in enumerate(ends):
        length = end - first + 1
        picked = first + linspace(length, min(length, SCENE_FRAMES))
        stages[f"compress.scene.{i:02d}.frames"] = picked.astype(np.int32)
        yield f"compress.scene.{i:02d}", pooled[picked].reshape(-1, pooled.shape[2])
        first = end + 1


def last_scene(bridge, pooled, ends, stages):
    """A: [T,P,D] -> [P * frames of the last scene, H]"""
    memory, cache, rows = bridge.initial, [], None
    for name, patch_rows in scenes(pooled, ends, stages):
        memory, out = bridge.read(memory, patch_rows, stages, name)
        rows = bridge.project(out)
        stages[f"{name}.tokens"] = rows
        cache.append(memory)
        memory = bridge.retrieve(memory, cache, stages, name)
    del stages[f"{name}.tokens"]
    stages["project.video"] = rows
    return rows


def all_memories(bridge, position, pooled, ends, stages):
    """B: [T,P,D] -> [32 * scenes, H]"""
    memory, cache, shown = bridge.initial, [], []
    for i, (name, patch_rows) in enumerate(scenes(pooled, ends, stages)):
        memory, out = bridge.read(memory, patch_rows + position[i], stages, name)
        cache.append(out)
        memory = bridge.retrieve(memory, cache, stages, name)
        shown.append(memory)
    stages["project.video"] = bridge.project(np.concatenate(shown))
    return stages["project.video"]


def alone(bridge, pooled, stages):
    """B, few frames or a picture: [T,P,D] -> [32 * T, H]"""
    shown = []
    for f, patch_rows in enumerate(pooled):
        name = f"compress.scene.{f:02d}"
        memory, out = bridge.read(bridge.initial, patch_rows, stages, name)
        shown.append(bridge.retrieve(memory, [out], stages, name))
    stages["project.video"] = bridge.project(np.concatenate(shown))
    return stages["project.video"]


def picture(bridge, pooled, stages):
    """A: [1,P,D] -> [P,H]"""
    _, out = bridge.read(bridge.initial, pooled[0], stages, "compress.scene.00")
    stages["project.video"] = bridge.project(out)
    return stages["project.video"]


class Speech:
    """When a stream is spoken of unasked, spec 4.6: step() after every frame."""

    RULE = (0.5, 15)

    def __init__(self, fps, margins):
        self.fps, self.margins, self.queries, self.pending, self.rows = fps, margins, [0.0], [], []
        self.marks, self.all_marks, self.boundaries, self.events = [0], [], [], []

    def step(self, row):
        """The class row of the next frame -> whether a caption is due"""
        i = len(self.rows)
        self.rows.append(row)
        self.pending.append(i / self.fps)
        called, due = None, False
        while self.pending and not due:
            if self.queries and self.pending[0] > self.queries[0]:
                self.queries.pop(0)
                due, queried = True, 1
                break
            now = self.pending.pop(0)
            called = tile(np.array(self.rows), self.RULE, self.margins, {})
            newest = called[-1]
            if newest not in self.marks and len(called) > 2 and now - newest < 3 and newest - self.marks[-1] > 1:
                self.marks += [b for b in called if b not in self.marks]
                due, queried = True, 0
        self.boundaries.append(called or [-1])
        if due:
            self.events.append([i, i + 1, shown(i + 1), queried])
            self.all_marks.append(list(self.marks))
        return due


def shown(total):
    """How many of the frames so far the video tower sees."""
    return max(GROUP, total - total % GROUP)


def padded(rows):
    """Lists of different lengths -> int32 matrix, filled up with -1"""
    longest = max(map(len, rows))
    return np.array([row + [-1] * (longest - len(row)) for row in rows], np.int32)
