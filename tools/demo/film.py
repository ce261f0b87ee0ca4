"""
film.py - the two small Q-Formers: whole clips and whole soundtracks become rows that the decoder can already read.

  "looks":  WORK/clips  -> trained eyes -> Q-Former rows of every frame, f16, WORK/looks.npz
  "sounds": WORK/tracks -> trained ears -> vectors of every window, f16, WORK/sounds.npz
  "watch":  looks  -> Video Q-Former -> llama_proj -> the codebook rows of the decoder (talk.py), and every attribute by a head
      of its own
  "listen": sounds -> Audio Q-Former -> audio_llama_proj -> the same

The last clips and tracks are held out: their scores are printed. The towers stay as they are.
"""
import os
import pickle
import random
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import facts as world_facts
from common import Stage, finished, load
from eyes import pixels_of
from facts import AUDIO_GROUPS, VIDEO_GROUPS
from material import read_clips, read_tracks
from model import AUDIO_OUT, WIDTH, VideoLlama
from scene import MOTIONS
from talk import Codebook, noisy

HELD_OUT = 300
REVERSED = [
    MOTIONS.index(name)
    for name in ("still", "right", "left", "down", "up", "shrinking", "growing", "blinking", "leaving", "appearing")
]
WEIGHT = {"status": 3.0, "motion": 2.0, "shape": 1.5, "number": 2.0, "count": 2.0}


def features(path):
    with np.load(path) as file:
        return torch.from_numpy(file["x"]), pickle.loads(file["facts"].tobytes())


def keep(path, parts, known):
    np.savez(path + ".part.npz", x=np.concatenate(parts), facts=np.frombuffer(pickle.dumps(known), np.uint8))
    os.replace(path + ".part.npz", path)


def paths(options, folder):
    path = os.path.join(options.work, folder)
    return [os.path.join(path, name) for name in sorted(os.listdir(path)) if len(name) == 7]


def load_eyes(net, work):
    state = finished(work, "eyes")
    for key, module in (("visual_encoder", net.visual_encoder), ("ln_vision", net.ln_vision),
                        ("query_tokens", net.query_tokens), ("Qformer", net.Qformer)):
        load(module, state[key])


@torch.no_grad()
def looks(options):
    net, parts, known = VideoLlama(), [], []
    load_eyes(net, options.work)
    for path in paths(options, "clips"):
        frames, own = read_clips(path)
        for clip in frames.reshape(-1, 80, *frames.shape[2:]):
            parts.append(net.look(pixels_of(clip)).view(10, 8, -1, WIDTH).numpy().astype(np.float16))
        known += own
    keep(os.path.join(options.work, "looks.npz"), parts, known)


@torch.no_grad()
def sounds(options):
    net, parts, known = VideoLlama(), [], []
    load(net.audio_encoder, finished(options.work, "ears")["audio_encoder"])
    for path in paths(options, "tracks"):
        tracks, own = read_tracks(path)
        mel = torch.from_numpy(np.concatenate(list(tracks)))
        parts += [net.audio_encoder(part)[0].view(-1, 8, AUDIO_OUT).numpy().astype(np.float16) for part in mel.split(80)]
        known += own
    keep(os.path.join(options.work, "sounds.npz"), parts, known)


class Heads(nn.Module):
    """One linear head per attribute; the queries of a group share theirs."""

    def __init__(self, groups):
        super().__init__()
        self.groups = groups
        self.heads = nn.ModuleDict(
            {f"{name}_{attribute}": nn.Linear(WIDTH, n)
             for name, _, attributes in groups
             for attribute, n in attributes})

    def forward(self, x, labels):
        """-> (loss, {attribute: (right, all)}); labels [B,Q,A], -1: not asked"""
        loss, score = 0, {}
        for name, queries, attributes in self.groups:
            rows, own = x[:, list(queries)], labels[:, list(queries)]
            for i, (attribute, _) in enumerate(attributes):
                keep = own[..., i] >= 0
                if not keep.any():
                    continue
                logits, wanted = self.heads[f"{name}_{attribute}"](rows[keep]), own[..., i][keep]
                loss = loss + WEIGHT.get(attribute, 1.0) * F.cross_entropy(logits, wanted)
                score[f"{name}.{attribute}"] = (int((logits.argmax(-1) == wanted).sum()), wanted.numel())
        return loss, score


def code_loss(rows, code):
    return F.mse_loss(rows, code)


def share(score):
    return " ".join(f"{key} {100 * a / b:.1f}" for key, (a, b) in score.items())


def reversed_clip(x, facts):
    """A clip played backwards, where that is a clip of the world too."""
    things = [world_facts.Thing(t.colour, t.shape, t.size, REVERSED[t.motion], None) for t in facts.things]
    return x.flip(0), world_facts.Facts(things, facts.background, facts.foreign, facts.sound)


def latest(work):
    """The stage that holds the newest decoder: "answer" where it has been trained, else "talk"."""
    return "answer" if os.path.exists(os.path.join(work, "answer.pt")) else "talk"


def codebook_of(work):
    codebook = Codebook()
    load(codebook, finished(work, latest(work))["codebook"])
    return codebook.requires_grad_(False)


def warm(work, name, modules, heads):
    """Start from what stage "answer" has made of these modules, where it has been trained and this stage has no checkpoint."""
    if latest(work) == "answer" and not os.path.exists(os.path.join(work, name + ".pt")):
        state = finished(work, "answer")
        for key, module in modules.items():
            load(module, state[heads if key == "heads" else key])


def video_labels(known):
    return torch.from_numpy(np.stack([world_facts.video_labels(f) for f in known]))


def watch_modules(net):
    return {
        "video_query_tokens": net.video_query_tokens, "video_Qformer": net.video_Qformer,
        "video_frame_position_embedding": net.video_frame_position_embedding, "llama_proj": net.llama_proj
    }


def listen_modules(net):
    return {
        "audio_query_tokens": net.audio_query_tokens, "audio_Qformer": net.audio_Qformer,
        "audio_position_embedding": net.audio_position_embedding, "audio_llama_proj": net.audio_llama_proj
    }


def watch(options):
    torch.manual_seed(4)
    x, known = features(os.path.join(options.work, "looks.npz"))
    net, heads, codebook = VideoLlama(), Heads(VIDEO_GROUPS), codebook_of(options.work)
    modules = {**watch_modules(net), "heads": heads}
    warm(options.work, "watch", modules, "video_heads")
    stage = Stage(options.work, "watch", modules, 1e-3, options.steps or 3500, tail=options.tail or 1800)
    r = random.Random(int(time.time()) if stage.now else 6)
    n = len(known) - HELD_OUT
    for _ in stage:
        clips, own = [], []
        for i in (r.randrange(n) for _ in range(options.batch or 48)):
            clip, facts = x[i].float(), known[i]
            if r.random() < 0.5 and not facts.events():
                clip, facts = reversed_clip(clip, facts)
            clips.append(clip)
            own.append(facts)
        labels = video_labels(own)
        rows = net.watch(noisy(torch.stack(clips), 0.1))
        loss, _ = heads(rows, labels)
        code = code_loss(net.llama_proj(rows), codebook.video(labels))
        stage.step(loss + 4 * code, code=code)
        if stage.now % 500 == 0:
            with torch.no_grad():
                labels = video_labels(known[n:])
                rows = net.watch(x[n:].float())
                code = code_loss(net.llama_proj(rows), codebook.video(labels))
                print(f"   held out: code {code:.4f} {share(heads(rows, labels)[1])}", flush=True)


def listen(options):
    torch.manual_seed(5)
    x, known = features(os.path.join(options.work, "sounds.npz"))
    labels = torch.from_numpy(np.stack([world_facts.audio_labels(f) for f in known]))
    net, heads, codebook = VideoLlama(), Heads(AUDIO_GROUPS), codebook_of(options.work)
    modules = {**listen_modules(net), "heads": heads}
    warm(options.work, "listen", modules, "audio_heads")
    stage = Stage(options.work, "listen", modules, 1e-3, options.steps or 4500, tail=options.tail or 2500)
    rng = np.random.default_rng(int(time.time()) if stage.now else 7)
    n = len(known) - 5 * HELD_OUT
    beeping = np.flatnonzero((labels[:n, 0, 0] == 1).numpy())
    for _ in stage:
        half = (options.batch or 48) // 2  # beeps again: to count them is the hardest
        i = np.concatenate([rng.integers(0, n, half), rng.choice(beeping, half)])
        rows = net.hear(noisy(x[i].float(), 0.25))
        loss, _ = heads(rows, labels[i])
        code = code_loss(net.audio_llama_proj(rows), codebook.audio(labels[i]))
        stage.step(loss + 4 * code, code=code)
        if stage.now % 500 == 0:
            with torch.no_grad():
                rows = net.hear(x[n:].float())
                beeps = labels[n:, 0, 0] == 1
                number = heads.heads["number_number"](rows[beeps, 1]).argmax(-1) == labels[n:][beeps, 1, 0]
                code = code_loss(net.audio_llama_proj(rows), codebook.audio(labels[n:]))
                print(f"   held out: code {code:.4f} {share(heads(rows, labels[n:])[1])} "
                      f"beeps {100 * number.float().mean():.1f}", flush=True)
