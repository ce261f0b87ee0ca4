"""
material.py - clips and tracks for the stages behind the towers, drawn once and kept on disk.

  "clips":  scenes -> eight sampled frames (most through H.264) -> WORK/clips/NNN.npz (frames uint8 [n,8,112,112,3], facts)
  "tracks": soundtracks (most through AAC) -> log-mel frames of the whole track -> WORK/tracks/NNN.npz

Both go on where they stopped; --steps is the number of files (CLIPS or TRACKS a file). Seeds are the numbers of the files.
"""
import os
import pickle
import random

import numpy as np

import draw
import scene as world
import tones
from codec import frames_through_h264, sound_through_aac
from facts import from_scene
from mel import log_mel, windows_of
from model import SIDE

CLIPS, TRACKS = 50, 100
SIZES = ((160, 120), (120, 160), (176, 144), (160, 160), (240, 136), (136, 240), (320, 180), (320, 240), (180, 320))


def files(options, folder, default):
    path = os.path.join(options.work, folder)
    os.makedirs(path, exist_ok=True)
    for i in range(options.steps or default):
        name = os.path.join(path, f"{i:03d}.npz")
        if not os.path.exists(name):
            yield i, name


def keep(name, **content):
    np.savez(name + ".part.npz", **content)
    os.replace(name + ".part.npz", name)


def choose_clip(r, size):
    kind = r.random()
    if kind < 0.06:
        scene = world.Scene(*size)
        scene.foreign = (r.choice(draw.FOREIGN), r.randrange(1 << 30))
        return scene
    if kind < 0.09:
        return world.choose_scene(r, 0, size=size)
    if kind < 0.3:
        return world.choose_scene(r, size=size, motions=("appearing", "leaving", "appearing", "leaving", "still"))
    return world.choose_scene(r, size=size)


def clips(options):
    for seed, name in files(options, "clips", 100):
        r, rng = random.Random(5000 + seed), np.random.default_rng(5000 + seed)
        size, coded = r.choice(SIZES), r.random() < 0.75
        height, width = (size[1], size[0]) if coded else (SIDE, SIDE)
        scenes = [choose_clip(r, size if coded else world.choose_size(r)) for _ in range(CLIPS)]
        frames = np.stack([draw.frame(s, i / 8, height, width, rng) for s in scenes for i in range(8)])
        if coded:
            frames = frames_through_h264(frames, SIDE, r.choice((18, 23, 23, 28, 32)),
                                         r.choice(("ultrafast", "veryfast", "medium")))
        known = [from_scene(s, None) for s in scenes]
        keep(name, frames=frames.reshape(CLIPS, 8, SIDE, SIDE, 3), facts=np.frombuffer(pickle.dumps(known), np.uint8))


def choose_duration(r):
    return r.choice((r.uniform(1.2, 3), r.uniform(2, 8), r.uniform(2, 10), r.choice((2, 3, 3, 4, 4, 5, 6, 8, 10))))


def tracks(options):
    for seed, name in files(options, "tracks", 140):
        r = random.Random(9000 + seed)
        made = [tones.choose_track(r, choose_duration(r)) for _ in range(TRACKS)]
        samples = [t.samples for t in made]
        if r.random() < 0.7:
            gap, at = np.zeros(3200, np.float32), 0
            back = sound_through_aac(np.concatenate([x for s in samples for x in (s, gap)]),
                                     r.choice((24000, 32000, 48000, 64000, 96000, 128000)))
            for i, s in enumerate(samples):
                samples[i] = back[at:at + s.size]
                at += s.size + gap.size
        features = [log_mel(s).astype(np.float16) for s in samples]
        known = [t.facts() for t in made]
        keep(name,
             features=np.concatenate(features),
             lengths=np.array([s.size for s in samples]),
             frames=np.array([len(f) for f in features]),
             facts=np.frombuffer(pickle.dumps(known), np.uint8))


def read_clips(path):
    with np.load(path) as file:
        return file["frames"], pickle.loads(file["facts"].tobytes())


def read_tracks(path):
    """-> (mel windows, one [8,128,204] after another), facts of the sounds"""
    with np.load(path) as file:
        features, lengths, counts, known = file["features"], file["lengths"], file["frames"], pickle.loads(
            file["facts"].tobytes())
    ends = np.cumsum(counts)
    return (windows_of(features[e - c:e].astype(np.float32), n) for e, c, n in zip(ends, counts, lengths)), known
