"""
ears.py - training stage "ears": the sound tower on single windows of two seconds.

  pool of windows (a share through AAC) -> tower -> losses per column of the mel picture after blocks 3 and 4 -> losses of its
      vector

Rows averaged over the mel axis say what sounds in each column of 0.16 s; every row counts the onsets up to its column; the
vector holds the kind, the number of onsets, and per eighth of a second whether something begins and whether something sounds.
The heads are dropped afterwards.
"""
import random
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import tones
from codec import sound_through_aac
from common import Stage
from facts import SOUNDS
from mel import BINS, CLIP, COLUMNS, RATE, log_mel, starts, windows_of
from model import AUDIO, AUDIO_OUT, MEL_COLUMNS, MEL_ROWS, VideoLlama

COLUMN = 0.16
NOTHING = SOUNDS.index("silence")


def labels_of(track, begin, length):
    """-> (kind per column [12], onset per half column [24], running number per column [12], (kind, number, pitch),
    onset and activity bits [32])"""
    columns, halves, bits = np.full(MEL_COLUMNS, NOTHING), np.zeros(2 * MEL_COLUMNS, np.float32), np.zeros(32, np.float32)
    running = np.zeros(MEL_COLUMNS, np.int64)
    kind, seen = SOUNDS.index(track.kind), 0
    if track.kind == "unknown":
        columns[:] = kind
    for a, b in track.parts:
        a, b = a - begin, min(b - begin, length)
        if b < 0.02 or a > length - 0.03 or a > 1.9:
            continue
        seen += 1
        first, last = max(0, int(a / COLUMN)), min(MEL_COLUMNS - 1, int(b / COLUMN))
        columns[first:last + 1] = kind
        bits[16 + max(0, int(8 * a)):16 + min(16, int(8 * b) + 1)] = 1
        if a > -0.02:
            halves[min(23, max(0, int(2 * a / COLUMN)))] = 1
            running[first:] += 1
            bits[max(0, min(15, int(8 * a)))] = 1
    whole = kind if seen or track.kind in ("unknown", "silence") else NOTHING
    return columns, halves, np.minimum(running, 5), np.array(
        [whole, min(int(bits[:16].sum()), 5), track.pitch if whole in (1, 2) else 0]), bits


class Pool:

    def __init__(self, size, seed):
        self.r, self.rng = random.Random(seed), np.random.default_rng(seed)
        self.mel = np.zeros((size, BINS, COLUMNS), np.float16)
        self.labels = [None] * size
        self.filled, self.next = 0, 0

    def track(self):
        duration = self.r.choice((self.r.uniform(1.6, 3), self.r.uniform(2, 10), self.r.choice((2, 3, 4, 4, 5, 6, 8))))
        return tones.choose_track(self.r, duration)

    def put(self, track, samples, n):
        pictures, begins = windows_of(log_mel(samples), samples.size), starts(samples.size)
        for k in self.r.sample(range(8), n):
            i, length = self.next, min(CLIP, samples.size - begins[k])
            self.mel[i], self.labels[i] = pictures[k], labels_of(track, begins[k] / RATE, length / RATE)
            self.next = (i + 1) % len(self.labels)
            self.filled = max(self.filled, i + 1)

    def add(self, n):
        for _ in range(n):
            track = self.track()
            self.put(track, track.samples, 3)

    def add_coded(self, n):
        tracks = [self.track() for _ in range(n)]
        gap = np.zeros(3200, np.float32)
        whole = np.concatenate([part for t in tracks for part in (t.samples, gap)])
        back, at = sound_through_aac(whole, self.r.choice((24000, 32000, 48000, 64000, 96000, 128000))), 0
        for track in tracks:
            self.put(track, back[at:at + track.samples.size], 3)
            at += track.samples.size + gap.size

    def batch(self, n):
        chosen = self.rng.integers(0, self.filled, n)
        labels = [torch.from_numpy(np.stack([self.labels[i][k] for i in chosen])) for k in range(5)]
        return torch.from_numpy(self.mel[chosen].astype(np.float32)), labels


class Heads(nn.Module):

    def __init__(self):
        super().__init__()
        self.column_kind, self.column_onset, self.running = nn.Linear(AUDIO, 8), nn.Linear(AUDIO, 2), nn.Linear(AUDIO, 6)
        self.kind, self.number, self.bits, self.pitch = nn.Linear(AUDIO_OUT,
                                                                  8), nn.Linear(AUDIO_OUT,
                                                                                6), nn.Linear(AUDIO_OUT,
                                                                                              32), nn.Linear(AUDIO_OUT, 3)


def losses(heads, z, tapped, labels):
    columns, halves, running, whole, bits = labels
    n = z.shape[0]
    early = tapped[3][:, 1:].view(n, MEL_ROWS, MEL_COLUMNS, AUDIO).mean(1)
    late = tapped[4][:, 1:].view(n, MEL_ROWS, MEL_COLUMNS, AUDIO)
    loss = F.cross_entropy(heads.column_kind(early).flatten(0, 1), columns.flatten())
    onset = heads.column_onset(early).flatten(1)
    loss = loss + 4 * F.binary_cross_entropy_with_logits(onset, halves)
    loss = loss + F.cross_entropy(heads.running(late).flatten(0, 2), running[:, None].expand(-1, MEL_ROWS, -1).flatten())
    v = z / 3
    kind, number, bit, pitch = heads.kind(v), heads.number(v), heads.bits(v), heads.pitch(v)
    loss = loss + F.cross_entropy(kind, whole[:, 0]) + 2 * F.cross_entropy(number, whole[:, 1]) + F.cross_entropy(
        pitch, whole[:, 2])
    loss = loss + 6 * F.binary_cross_entropy_with_logits(bit, bits)
    with torch.no_grad():
        beeps = whole[:, 0] == 1
        figures = {
            "kind": (kind.argmax(-1) == whole[:, 0]).float().mean(), "pitch": (pitch.argmax(-1) == whole[:, 2]).float().mean(),
            "number": (number.argmax(-1) == whole[:, 1]).float().mean(),
            "beeps": (number.argmax(-1) == whole[:, 1])[beeps].float().mean() if beeps.any() else 1.0,
            "code": ((bit > 0) == (bits > 0)).all(1)[beeps].float().mean() if beeps.any() else 1.0
        }
    return loss, figures


def run(options):
    torch.manual_seed(3)
    net, heads = VideoLlama().audio_encoder, Heads()
    modules = {"audio_encoder": net, "heads": heads}
    stage = Stage(options.work, "ears", modules, 7e-4, options.steps or 8200, tail=options.tail or 3000)
    pool = Pool(8000, int(time.time()) if stage.now else 12)
    pool.add(100)
    pool.add_coded(60)
    for step in stage:
        pool.add(1)
        if step % 100 == 99:
            pool.add_coded(80)
        mel, labels = pool.batch(options.batch or 20)
        z, tapped = net(mel, taps=(3, 4))
        loss, figures = losses(heads, z, tapped, labels)
        stage.step(loss, **figures)
