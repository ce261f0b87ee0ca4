"""
answer.py - last training stage "answer": both small Q-Formers, both projections and the decoder together, on what the towers
really say.

  looks, sounds (cached, paired at random) -> Q-Formers -> projections -> LLaMA -> answers; a third of the batches is imagined
      (talk.py)

The attributes of every query are still asked of it (film.py), so that nothing is forgotten that no question of a batch needed.
"""
import os
import random
import time

import torch

import facts as world_facts
from common import Stage, finished, load
from facts import AUDIO_GROUPS, VIDEO_GROUPS
from film import HELD_OUT, Heads, code_loss, features, listen_modules, reversed_clip, video_labels, watch_modules
from model import VideoLlama
from talk import SILENT, Codebook, Curves, answer_loss, collate, noisy, sequence
from words import Words


def audio_labels(known):
    return torch.stack([torch.from_numpy(world_facts.audio_labels(f.sound or (0, 0, 0, None, None))) for f in known])


class Material:
    """Clips of the cache with sounds of the cache."""

    def __init__(self, work, seed):
        self.x, self.videos = features(os.path.join(work, "looks.npz"))
        self.z, self.sounds = features(os.path.join(work, "sounds.npz"))
        self.r = random.Random(seed)

    def batch(self, n, held_out=False):
        r, clips, sounds, known = self.r, [], [], []
        for _ in range(n):
            i = r.randrange(len(self.videos) -
                            HELD_OUT, len(self.videos)) if held_out else r.randrange(len(self.videos) - HELD_OUT)
            j = r.randrange(len(self.sounds) -
                            5 * HELD_OUT, len(self.sounds)) if held_out else r.randrange(len(self.sounds) - 5 * HELD_OUT)
            clip, facts = self.x[i].float(), self.videos[i]
            if not held_out and not facts.events() and r.random() < 0.5:
                clip, facts = reversed_clip(clip, facts)
            clips.append(clip)
            sounds.append(self.z[j].float())
            known.append(
                world_facts.Facts(facts.things, facts.background, facts.foreign,
                                  None if r.random() < SILENT else self.sounds[j]))
        return torch.stack(clips), torch.stack(sounds), known


def modules_of(net, codebook, video_heads, audio_heads):
    return {
        **watch_modules(net), **listen_modules(net), "llama": net.llama_model, "codebook": codebook, "video_heads": video_heads,
        "audio_heads": audio_heads
    }


def take(work, name, modules):
    """The modules as stage "watch" or "listen" has left them."""
    state = finished(work, name)
    load(modules["video_heads" if name == "watch" else "audio_heads"], state.pop("heads"))
    for key, value in state.items():
        load(modules[key], value)


def begin(work, modules):
    for name in ("watch", "listen"):
        take(work, name, modules)
    state = finished(work, "talk")
    load(modules["llama"], state["llama"])
    load(modules["codebook"], state["codebook"])


def run(options):
    torch.manual_seed(8)
    words, net, codebook = Words(options.work), VideoLlama(), Codebook()
    video_heads, audio_heads = Heads(VIDEO_GROUPS), Heads(AUDIO_GROUPS)
    modules = modules_of(net, codebook, video_heads, audio_heads)
    if not os.path.exists(os.path.join(options.work, "answer.pt")):
        begin(options.work, modules)
    stage = Stage(options.work, "answer", modules, 6e-4, options.steps or 4700, tail=options.tail or 2000)
    for name in options.take or ():
        take(options.work, name, modules)
    material = Material(options.work, int(time.time()) if stage.now else 8)
    r, curves = material.r, Curves()
    size = options.batch or 12
    for step in stage:
        if step % 3 == 2:
            known = [world_facts.imagined(r) for _ in range(size)]
            video, audio, more = noisy(codebook.video(video_labels(known)), 0.3), noisy(codebook.audio(audio_labels(known)),
                                                                                        0.3), 0
        else:
            clips, sounds, known = material.batch(size)
            x, z = net.watch(noisy(clips, 0.05)), net.hear(noisy(sounds, 0.1))
            heard = [i for i, f in enumerate(known) if f.sound]
            more = video_heads(x, video_labels(known))[0] + audio_heads(z[heard], audio_labels(known)[heard])[0]
            video, audio = net.llama_proj(x), net.audio_llama_proj(z)
            with torch.no_grad():
                code = codebook.video(video_labels(known)), codebook.audio(audio_labels(known)[heard])
            more = more + code_loss(video, code[0]) + code_loss(audio[heard], code[1])
        loss, score = answer_loss(net.llama_model, collate([sequence(r, words, f, 4) for f in known]), video, audio)
        stage.step(loss + 0.05 * more, answers=loss)
        if step % 3 != 2:
            curves.add(score)
        if stage.now % 100 == 0:
            print("   trained: " + curves.line(), flush=True)
        if stage.now % 500 == 0:
            test(net, words, material, curves)


@torch.no_grad()
def test(net, words, material, curves):
    for _ in range(30):
        clips, sounds, known = material.batch(16, held_out=True)
        video, audio = net.llama_proj(net.watch(clips)), net.audio_llama_proj(net.hear(sounds))
        curves.add(answer_loss(net.llama_model, collate([sequence(material.r, words, f, 4) for f in known]), video, audio)[1])
    print("   held out:" + curves.line(), flush=True)
