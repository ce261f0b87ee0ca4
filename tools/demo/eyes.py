"""
eyes.py - training stage "eyes": image tower and frame Q-Former on single pictures, every query told what it has to hold.

  pool of pictures (drawn; a share through H.264) -> ViT -> dense losses per patch -> Q-Former -> losses per query

Query c < 8: the object of colour c (there or not, shape, size, place, radius); query 8: the background; query 9: not of this
world. The heads are dropped afterwards. What each loss is for was measured: the mask two blocks before the end and the
attention mass make shapes learnable at all, supervised queries keep the Q-Former from collapsing.
"""
import random
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import draw
import scene as world
from codec import frames_through_h264
from common import Stage
from model import PATCH, SIDE, VIT, WIDTH, VideoLlama

GRID = SIDE // PATCH
FINE = 56  # side of the picture of labels
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
CODEC_SIZES = ((160, 120), (120, 160), (176, 144), (160, 160), (240, 136), (136, 240), (320, 180), (320, 240))


def pixels_of(pictures):
    """uint8 [n,112,112,3] -> normalised [n,3,112,112]"""
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def labels_of(scene, u):
    """-> (map of colours 1..8 [56,56] uint8, table [8,6]: there, shape, size, x, y, radius; (background, foreign))"""
    fine, table = np.zeros((FINE, FINE), np.uint8), np.zeros((8, 6), np.float32)
    if scene.foreign:
        return fine, table, (0, 1)
    for thing, where in scene.at(u):
        if where is None:
            continue
        x, y, radius = where
        c = world.COLOURS.index(thing.colour)
        size = 0 if radius < 0.125 else 1 if radius > 0.165 else 2
        table[c] = 1, world.SHAPES.index(thing.shape), size, x / scene.x_max, y / scene.y_max, radius
        px = (np.arange(FINE) + 0.5) / FINE
        u_, v_ = (px * scene.x_max - x) / radius, (px * scene.y_max - y) / radius
        columns, rows = np.flatnonzero(abs(u_) < 1.5), np.flatnonzero(abs(v_) < 1.5)
        if columns.size and rows.size:
            box = np.ix_(rows, columns)
            fine[box] = np.where(draw.inside(thing, u_[columns][None, :], v_[rows][:, None]), c + 1, fine[box])
    return fine, table, (world.BACKGROUNDS.index(scene.background), 0)


class Pool:
    """The last pictures with their labels; some are replaced every step."""

    def __init__(self, size, seed):
        self.r, self.rng = random.Random(seed), np.random.default_rng(seed)
        self.pictures = np.zeros((size, SIDE, SIDE, 3), np.uint8)
        self.fine, self.table = np.zeros((size, FINE, FINE), np.uint8), np.zeros((size, 8, 6), np.float32)
        self.flags = np.zeros((size, 2), np.int64)
        self.filled, self.next = 0, 0

    def scene(self, size=None):
        r = self.r
        kind = r.random()
        if kind < 0.07:
            s = world.Scene(*(size or world.choose_size(r)))
            s.foreign = (r.choice(draw.FOREIGN), r.randrange(1 << 30))
        elif kind < 0.45:
            s = world.choose_dense(r, size)
        else:
            s = world.choose_scene(r, size=size)
        return s, r.randrange(8) / 8

    def put(self, picture, labels):
        i = self.next
        self.pictures[i], (self.fine[i], self.table[i], self.flags[i]) = picture, labels
        self.next = (i + 1) % len(self.pictures)
        self.filled = max(self.filled, i + 1)

    def add(self, n):
        for _ in range(n):
            s, u = self.scene()
            self.put(draw.frame(s, u, SIDE, SIDE, self.rng), labels_of(s, u))

    def add_coded(self, n):
        size = self.r.choice(CODEC_SIZES)
        drawn = [self.scene(size) for _ in range(n)]
        frames = np.stack([draw.frame(s, u, size[1], size[0], self.rng) for s, u in drawn])
        back = frames_through_h264(frames, SIDE, self.r.choice((18, 23, 23, 28, 32)),
                                   self.r.choice(("ultrafast", "veryfast", "medium")))
        for picture, (s, u) in zip(back, drawn):
            self.put(picture, labels_of(s, u))

    def batch(self, n):
        i = self.rng.integers(0, self.filled, n)
        return pixels_of(self.pictures[i]), torch.from_numpy(self.fine[i]).long(), torch.from_numpy(
            self.table[i]), torch.from_numpy(self.flags[i])


class Heads(nn.Module):

    def __init__(self):
        super().__init__()
        self.colour, self.shape, self.size, self.place = nn.Linear(VIT, 9), nn.Linear(VIT, 4), nn.Linear(VIT,
                                                                                                         2), nn.Linear(VIT, 3)
        self.mask = nn.Linear(VIT, 49)
        self.there, self.q_shape, self.q_size, self.q_place = nn.Linear(WIDTH,
                                                                        1), nn.Linear(WIDTH,
                                                                                      4), nn.Linear(WIDTH,
                                                                                                    2), nn.Linear(WIDTH, 3)
        self.background, self.foreign = nn.Linear(WIDTH, 9), nn.Linear(WIDTH, 1)
        self.register_buffer("colour_weight", torch.tensor([0.15] + [1.0] * 8))


def known_size(logits, sizes, keep):
    keep = keep & (sizes < 2)
    return F.cross_entropy(logits[keep], sizes[keep]) if keep.any() else logits.sum() * 0


def dense_losses(heads, ln_vision, rows, tapped, fine, table):
    """Losses of the patches: what each holds, and an early mask of the object."""
    n = fine.shape[0]
    patches = ln_vision(rows)[:, 1:]
    blocks = fine.view(n, GRID, 7, GRID, 7).permute(0, 1, 3, 2, 4).reshape(n, GRID * GRID, 49)
    counts = F.one_hot(blocks, 9).sum(2)
    best = counts[..., 1:].argmax(-1)
    colour = torch.where(counts[..., 1:].amax(-1) >= 6, best + 1, torch.zeros_like(best))
    on = colour > 0
    loss = F.cross_entropy(heads.colour(patches).flatten(0, 1), colour.flatten(), heads.colour_weight)
    if on.any():
        own = table[torch.arange(n)[:, None].expand_as(colour)[on], colour[on] - 1]
        grid = (torch.arange(GRID) + 0.5) / GRID
        centre = torch.stack([grid.repeat(GRID), grid.repeat_interleave(GRID)], -1).expand(n, -1, -1)[on]
        p = patches[on]
        loss = loss + 2.5 * F.cross_entropy(heads.shape(p), own[:, 1].long()) + 0.5 * known_size(
            heads.size(p), own[:, 2].long(), own[:, 0] > 0)
        loss = loss + 4 * (heads.place(p) - torch.cat([own[:, 3:5] - centre, own[:, 5:6]], 1)).abs().mean()
    mask = heads.mask(ln_vision(tapped)[:, 1:])
    loss = loss + 3 * F.binary_cross_entropy_with_logits(mask, (blocks > 0).float(), pos_weight=torch.tensor(4.0))
    return loss, counts


def query_losses(heads, x, weights, counts, table, flags):
    there, ours = table[..., 0] > 0, flags[:, 1] == 0
    slots = x[:, :8]
    seen = heads.there(slots)[..., 0]
    loss = 4 * F.binary_cross_entropy_with_logits(seen, there.float())
    s, own = slots[there], table[there]
    shape = heads.q_shape(s)
    loss = loss + 2 * F.cross_entropy(shape, own[:, 1].long()) + known_size(heads.q_size(s), own[:, 2].long(), own[:, 0] > 0)
    place = (heads.q_place(s) - own[:, 3:6]).abs().mean()
    loss = loss + 4 * place
    ground = heads.background(x[:, 8])
    loss = loss + F.cross_entropy(ground[ours], flags[ours, 0]) + F.binary_cross_entropy_with_logits(
        heads.foreign(x[:, 9])[:, 0], flags[:, 1].float())
    # attention of query c (mean over heads) on the patches that its object covers
    on = (counts[..., 1:] > 5).float().transpose(1, 2)
    mass = (weights.mean(1)[:, :8, 1:] * on).sum(-1)
    use = there & (on.sum(-1) > 0)
    loss = loss - 0.3 * (mass[use] + 1e-4).log().mean()
    with torch.no_grad():
        figures = {
            "there": ((seen > 0) == there).float().mean(), "shape": (shape.argmax(-1) == own[:, 1]).float().mean(),
            "place": place, "mass": mass[use].mean(), "ground": (ground.argmax(-1) == flags[:, 0])[ours].float().mean(),
            "foreign": ((heads.foreign(x[:, 9])[:, 0] > 0) == (flags[:, 1] > 0)).float().mean()
        }
    return loss, figures


def run(options):
    torch.manual_seed(1)
    net, heads = VideoLlama(), Heads()
    nn.init.normal_(net.query_tokens, std=1.0)
    modules = {
        "visual_encoder": net.visual_encoder, "ln_vision": net.ln_vision, "query_tokens": net.query_tokens,
        "Qformer": net.Qformer, "heads": heads
    }
    stage = Stage(options.work, "eyes", modules, 6e-4, options.steps or 12500, tail=options.tail or 4500)
    pool = Pool(7000, seed=int(time.time()) if stage.now else 11)
    pool.add(300)
    pool.add_coded(150)
    for step in stage:
        pool.add(2)
        if step % 100 == 99:
            pool.add_coded(160)
        pixels, fine, table, flags = pool.batch(options.batch or 20)
        rows, tapped = net.visual_encoder(pixels, tap=3)
        loss, counts = dense_losses(heads, net.ln_vision, rows, tapped, fine, table)
        x, weights = net.Qformer(net.query_tokens, net.ln_vision(rows))
        more, figures = query_losses(heads, x, weights, counts, table, flags)
        stage.step(loss + more, **figures)
