#!/usr/bin/env python3
"""
world.py - clips of the demo's world as mp4 files.

    world.py SEED FILE.mp4         writes one clip and prints what is true about it and a few questions with answers

  seed -> Scene + Track -> frames -> H.264, samples -> AAC (or no sound stream) -> FILE.mp4, Facts

Sizes 160x120 to 1920x1080, portrait too, 10 to 60 frames a second, 2 to 8 seconds. Large pictures are drawn at half or a third
of their size and scaled up, and more than 15 frames a second repeat drawn ones: sixty full pictures a second would take
minutes a clip.
Trap:  the engine samples frame floor(i V / 8) of V; what has happened by then decides the facts, so they are settled for V.
"""
import os
import random
import subprocess
import sys
import tempfile
import wave

import numpy as np

import draw
import questions
import scene as world
import tones
from facts import from_scene

DRAWN_RATE, DRAWN_WIDTH = 15, 640


def sampled(n_frames):
    return [i * n_frames // world.SAMPLES for i in range(world.SAMPLES)]


def settle(scene, shown_at):
    """Events and blinking as the eight samples show them (fractions u); False where they do not show them well."""
    for thing in scene.things:
        thing.visible = [thing.at(u) is not None for u in shown_at]
        changes = [i for i in range(1, world.SAMPLES) if thing.visible[i] != thing.visible[i - 1]]
        if thing.motion == "blinking" and len(changes) < 3:
            return False
        if thing.event is not None:
            if len(changes) != 1 or not 2 <= changes[0] <= 6:
                return False
            thing.event = changes[0]
    events = [t.event for t in scene.things if t.event is not None]
    return len(set(events)) == len(events)


class Clip:
    """A clip by its seed: scene, track (None: no sound stream), facts; write() makes the file."""

    def __init__(self, seed, foreign=0.04):
        self.r = r = random.Random(1_000_000 + seed)
        self.rng = np.random.default_rng(1_000_000 + seed)
        self.rate = r.choice((10, 12, 15, 24, 25, 25, 30, 30, 50, 60))
        self.duration = r.choice((2, 3, 4, 5, 6, 8)) if r.random() < 0.5 else r.uniform(2, 8)
        self.n_frames = max(16, round(self.rate * self.duration))
        self.duration = self.n_frames / self.rate
        self.step = max(1, self.rate // DRAWN_RATE)  # every so many frames one is drawn
        while True:
            self.scene = world.choose_scene(r, 0) if r.random() < 0.03 else world.choose_scene(r)
            if settle(self.scene, [k // self.step * self.step / self.n_frames for k in sampled(self.n_frames)]):
                break
        if r.random() < foreign:
            self.scene.things, self.scene.foreign = [], (r.choice(draw.FOREIGN), r.randrange(1 << 30))
        self.track = None if r.random() < 0.1 else tones.choose_track(r, self.duration)
        self.facts = from_scene(self.scene, self.track and self.track.facts())

    def pictures(self):
        scale = max(1, -(-max(self.scene.width, self.scene.height) // DRAWN_WIDTH))
        width, height = self.scene.width // scale, self.scene.height // scale
        for k in range(0, self.n_frames, self.step):
            picture = draw.frame(self.scene, k / self.n_frames, height, width, self.rng).tobytes()
            for _ in range(min(self.step, self.n_frames - k)):
                yield width, height, picture

    def write(self, path):
        r = self.r
        pictures = self.pictures()
        width, height, first = next(pictures)
        with tempfile.TemporaryDirectory() as folder:
            command = [
                "ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r",
                str(self.rate), "-i", "-"
            ]
            sound = ["-an"]
            if self.track:
                wav = os.path.join(folder, "a.wav")
                write_wav(wav, self.track.samples)
                command += ["-i", wav]
                sound = [
                    "-c:a", "aac", "-ar",
                    str(r.choice((8000, 16000, 22050, 44100, 44100, 48000, 48000))), "-ac",
                    str(r.choice((1, 2))), "-b:a",
                    r.choice(("48k", "64k", "96k", "128k"))
                ]
            command += [
                "-vf", f"scale={self.scene.width}:{self.scene.height}", "-c:v", "libx264", "-preset",
                r.choice(("ultrafast", "veryfast")), "-crf",
                str(r.choice((18, 23, 23, 28, 30))), "-pix_fmt", "yuv420p", "-threads", "1", *sound, "-movflags", "+faststart",
                path
            ]
            coder = subprocess.Popen(command, stdin=subprocess.PIPE)
            coder.stdin.write(first)
            for _, _, picture in pictures:
                coder.stdin.write(picture)
            coder.stdin.close()
            if coder.wait():
                raise RuntimeError(f"ffmpeg could not write {path}")

    def questions(self, kinds, seed=0):
        """[(kind, question, answer)], one of every kind that makes sense here"""
        r, out = random.Random(f"{seed} {self.n_frames} {self.duration}"), []
        for kind in kinds:
            for _ in range(20):
                pair = questions.ask(r, self.facts, kind)
                if pair:
                    out.append((kind, *pair))
                    break
        return out


def write_wav(path, samples):
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(tones.RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: world.py SEED FILE.mp4")
    clip = Clip(int(sys.argv[1]))
    clip.write(sys.argv[2])
    for _, question, answer in clip.questions(questions.KINDS):
        print(f"{question}\t{answer}")


if __name__ == "__main__":
    main()
