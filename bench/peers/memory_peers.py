"""memory_peers.py - k-means of frames, the update of a stream and scene tiling as their papers' code does them, for peers.py.

Written from descriptions (Flash-VStream arXiv:2406.08085, VideoLLaMB arXiv:2409.01071): distances to centroids are explicit
differences [T, K, D], in every round anew; a stream clusters its 26 rows from nothing at every frame.
"""
import math

import numpy
try:
    import torch
except ImportError:
    torch = None

CASES = ("kmeans", "memory_update", "scene_tiling")
ROUNDS, LEAST_MOVE, KEYS = 10, 1e-4, 3
ALPHA, MOST = 0.5, 15
MASK = (1 << 64) - 1


class Draws:
    """The generator of the program, so that both cluster alike."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = self.state + 0x9e3779b97f4a7c15 & MASK
        z = self.state
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9 & MASK
        z = (z ^ z >> 27) * 0x94d049bb133111eb & MASK
        return ((z ^ z >> 31) >> 32) * n >> 32

    def permutation(self, n):
        p = list(range(n))
        for i in range(n - 1):
            j = i + self.below(n - i)
            p[i], p[j] = p[j], p[i]
        return p


def kmeans_torch(x, k, draws):
    c = x[draws.permutation(len(x))[:k]]
    for _ in range(ROUNDS):
        labels = ((x[:, None] - c[None]) ** 2).sum(dim=2).sqrt().argmin(dim=1)
        n = torch.zeros(k).index_add_(0, labels, torch.ones(len(x)))
        new = torch.zeros_like(c).index_add_(0, labels, x) / n[:, None]
        for j in range(k):
            if n[j] == 0:
                new[j] = x[draws.below(len(x))]
        if (c - new).norm(dim=1).sum() < LEAST_MOVE:
            break
        c = new
    return c, n, labels


def kmeans_numpy(x, k, draws):
    c = x[draws.permutation(len(x))[:k]]
    for _ in range(ROUNDS):
        labels = numpy.sqrt(((x[:, None] - c[None]) ** 2).sum(axis=2)).argmin(axis=1)
        n = numpy.bincount(labels, minlength=k).astype(numpy.float32)
        new = numpy.zeros_like(c)
        numpy.add.at(new, labels, x)
        with numpy.errstate(invalid="ignore"):
            new /= n[:, None]
        for j in range(k):
            if n[j] == 0:
                new[j] = x[draws.below(len(x))]
        if numpy.linalg.norm(c - new, axis=1).sum() < LEAST_MOVE:
            break
        c = new
    return c, n, labels


class Stream:
    """A memory of k rows, filled; update() is one frame."""

    def __init__(self, frames, k, seed, cluster, library):
        self.frames, self.k, self.cluster, self.library = frames, k, cluster, library
        self.rows, self.next, self.draws = frames[:k], k, Draws(seed)

    def update(self):
        at = self.next % len(self.frames)
        self.next += 1
        if self.library is torch:
            rows = torch.cat([self.rows, self.frames[at:at + 1]])
        else:
            rows = numpy.concatenate([self.rows, self.frames[at:at + 1]])
        self.rows, n, _ = self.cluster(rows, self.k, self.draws)
        order = torch.argsort(n, descending=True) if self.library is torch else numpy.argsort(-n)
        keys = rows[order[:KEYS]]
        squares = ((rows[:, None] - keys[None]) ** 2).reshape(len(rows), KEYS, 16, -1)
        return int((squares.sum(-1).sum(-1) ** 0.5).argmin(0).sum())


def scene_ends(similarity):
    depth = []
    for i, s in enumerate(similarity):
        left = right = s
        for j in range(i - 1, -1, -1):
            if similarity[j] < left:
                break
            left = similarity[j]
        for j in range(i + 1, len(similarity)):
            if similarity[j] < right:
                break
            right = similarity[j]
        depth.append(left + right - 2 * s)
    mean = sum(depth) / len(depth)
    least = mean + ALPHA * math.sqrt(sum((d - mean) ** 2 for d in depth) / (len(depth) - 1))
    ends = [i for i, d in enumerate(depth) if d > least]
    if len(ends) > MOST:
        ends = sorted(sorted(range(len(depth)), key=lambda i: -depth[i])[:MOST])
    return ends + [len(similarity)]


def similarity_numpy(x):
    unit = x / numpy.maximum(numpy.linalg.norm(x, axis=1, keepdims=True), 1e-8)
    return (unit[:-1] * unit[1:]).sum(axis=1).tolist()


def make_case(what, x, k, seed):
    t = torch and torch.from_numpy(x)
    if what == "kmeans":
        return {"torch": lambda: int(kmeans_torch(t, k, Draws(seed))[2].sum()),
                "numpy": lambda: int(kmeans_numpy(x, k, Draws(seed))[2].sum())}
    if what == "memory_update":
        return {"torch": torch and Stream(t, k, seed, kmeans_torch, torch).update,
                "numpy": Stream(x, k, seed, kmeans_numpy, numpy).update}
    return {"torch": lambda: sum(scene_ends(torch.cosine_similarity(t[:-1], t[1:], dim=1, eps=1e-8).tolist())),
            "numpy": lambda: sum(scene_ends(similarity_numpy(x)))}
