#!/usr/bin/env python3
"""
train.py - trains the demo model, one stage a call, each resumable.

    train.py STAGE --work DIR [--steps N] [--tail N]

  words -> eyes, ears, talk (side by side) -> clips, tracks -> looks -> watch, sounds -> listen -> answer -> export

Needs PyTorch 2, numpy, sentencepiece and the ffmpeg program; one core a stage.
Trap:  looks and sounds are what the towers said then. After more training of a tower: looks (sounds) again, delete watch.pt
       (listen.pt), watch (listen), then answer --take watch (listen) with more --steps.
"""
import argparse
import importlib
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two stages side by side are faster than one with two threads

# stage: (module, function, what it does)
STAGES = {
    "words": ("words", "run", "vocabulary"),
    "eyes": ("eyes", "run", "image tower and frame Q-Former on single pictures"),
    "ears": ("ears", "run", "sound tower on single windows"),
    "talk": ("talk", "run", "decoder on imagined clips"),
    "clips": ("material", "clips", "frames of whole clips"),
    "tracks": ("material", "tracks", "features of whole soundtracks"),
    "looks": ("film", "looks", "what the eyes say about the clips"),
    "sounds": ("film", "sounds", "what the ears say about the soundtracks"),
    "watch": ("film", "watch", "Video Q-Former"),
    "listen": ("film", "listen", "Audio Q-Former"),
    "answer": ("answer", "run", "Q-Formers and decoder together"),
    "export": ("export", "run", "checkpoint folder in the released layout"),
}


def main():
    parser = argparse.ArgumentParser(description="Train the demo model, stage by stage.")
    parser.add_argument("stage", choices=STAGES, help="; ".join(f"{name}: {what}" for name, (_, _, what) in STAGES.items()))
    parser.add_argument("--work", required=True, metavar="DIR", help="folder of checkpoints and caches, outside the tree")
    parser.add_argument("--steps", type=int, help="default: that of the stage")
    parser.add_argument("--tail", type=int, help="steps of the decay at the end")
    parser.add_argument("--batch", type=int, help="pictures, sounds or clips a step")
    parser.add_argument("--take", nargs="*", choices=("watch", "listen"),
                        help="answer: go on with these Q-Formers, trained anew")
    options = parser.parse_args()
    os.makedirs(options.work, exist_ok=True)
    module, function, _ = STAGES[options.stage]
    getattr(importlib.import_module(module), function)(options)


if __name__ == "__main__":
    main()
