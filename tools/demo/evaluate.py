#!/usr/bin/env python3
"""
evaluate.py - what the demo model knows, measured from outside: unseen mp4 files, vidrun, right answers per kind of question.

    evaluate.py [--weights FILE] [--vidrun PROGRAM] [--clips N] [--first SEED] [--folder DIR] [--no-audio | --shuffle] [--wrong]

  seeds -> world.py -> DIR/SEED.mp4 (kept for the next call) -> vidrun, one question a call -> table

--no-audio asks only about sounds and lets vidrun not listen; --shuffle asks only which way things move and shows the eight
sampled frames in another order. In both, a model that truly listens and looks falls to what can be guessed. --wrong prints
every wrong answer. Needs numpy and the ffmpeg program. Exit: 0; 1 where a program failed.
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile

import questions
import world

ORDERED = ("moves left", "moves right", "moves up", "moves down", "grows", "shrinks", "appears", "disappears")
SYNONYMS = (("gray", "grey"), ("zero", "none"), ("big", "large"), ("a ", ""), ("an ", ""), ("the ", ""), ("i hear ", ""),
            ("it ", ""))


def plain(answer):
    text = answer.lower().strip().rstrip(".")
    for word, other in SYNONYMS:
        text = text.removeprefix(word) if not other else text.replace(word, other)
    return text


def shuffled(path, out, seed, n_frames, rate):
    """The eight frames that the engine would sample, as a clip of eight frames in another order; the sound as it was."""
    order = list(range(8))
    while any(a == b for a, b in zip(order, range(8))):
        random.Random(seed).shuffle(order)
        seed += 1000
    with tempfile.TemporaryDirectory() as folder:
        choice = "+".join(f"eq(n,{k})" for k in world.sampled(n_frames))
        run([
            "ffmpeg", "-v", "error", "-y", "-i", path, "-vf", f"select='{choice}'", "-fps_mode", "passthrough",
            os.path.join(folder, "%d.png")
        ])
        for i, k in enumerate(order):
            os.rename(os.path.join(folder, f"{k + 1}.png"), os.path.join(folder, f"s{i}.png"))
        run([
            "ffmpeg", "-v", "error", "-y", "-r",
            str(8 * rate / n_frames), "-i",
            os.path.join(folder, "s%d.png"), "-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", out
        ])


def run(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"evaluate.py: {command[0]} failed: {done.stderr.strip()[-400:]}")
    return done.stdout.strip()


def asked(clip, options):
    """The questions of this mode about this clip."""
    if options.shuffle:
        made = clip.questions(("motion", ) * 4, "shuffle")
        return list({q[1:]: q for q in made if any(q[2] == f"It {move}." for move in ORDERED)}.values())
    kinds = [k for k in questions.KINDS if k in questions.SOUND or k == "while"] if options.no_audio else questions.KINDS
    return clip.questions([k for k in kinds for _ in range(2 if k in ("motion", "colour") else 1)])


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description="Measure the demo model through vidrun on clips it never saw.")
    parser.add_argument("--weights", default=os.path.join(here, "../../weights/demo.bin"))
    parser.add_argument("--vidrun", default=os.path.join(here, "../../build/vidrun"))
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--folder", help="where the clips are kept (default: a temporary one)")
    parser.add_argument("--no-audio", action="store_true")
    parser.add_argument("--shuffle", action="store_true")
    parser.add_argument("--wrong", action="store_true")
    options = parser.parse_args()
    temporary = tempfile.TemporaryDirectory()
    folder = options.folder or temporary.name
    os.makedirs(folder, exist_ok=True)
    counts, answers = {}, {}
    for seed in range(options.first, options.first + options.clips):
        clip, path = world.Clip(seed), os.path.join(folder, f"{seed}.mp4")
        if not os.path.exists(path):
            clip.write(path + ".part.mp4")
            os.replace(path + ".part.mp4", path)
        if options.no_audio and not (clip.track and clip.track.kind != "silence"):
            continue
        own = asked(clip, options)
        if options.shuffle and own:
            shuffled(path, path + ".shuffled.mp4", seed, clip.n_frames, clip.rate)
            path += ".shuffled.mp4"
        for kind, question, answer in own:
            extra = ["--no-audio"] if options.no_audio else []
            said = run([options.vidrun, "-q", "-t", "1", *extra, options.weights, path, question])
            right = plain(said) == plain(answer)
            good, n = counts.get(kind, (0, 0))
            counts[kind] = good + right, n + 1
            answers.setdefault(kind, {}).setdefault(answer, []).append(right)
            if options.wrong and not right:
                print(f"{seed}\t{kind}\t{question}\t{answer}\t{said}", flush=True)
    report(counts, answers)


def report(counts, answers):
    print(f"{'question':12s} {'right':>6s} {'of':>5s} {'%':>6s}   most frequent answer, %")
    for kind, (good, n) in counts.items():
        most = max(len(rights) for rights in answers[kind].values())
        print(f"{kind:12s} {good:6d} {n:5d} {100 * good / n:6.1f}   {100 * most / n:5.1f}")
    good, n = sum(a for a, _ in counts.values()), sum(b for _, b in counts.values())
    print(f"{'all':12s} {good:6d} {n:5d} {100 * good / max(n, 1):6.1f}")


if __name__ == "__main__":
    main()
