#!/usr/bin/python3
"""
whisper_test.py - --transcribe against the float64 reference: every stage of the first window, then all segments.

    whisper_test.py [--build DIR] [--levels LIST] [--show]

  made checkpoint and made sound -> vidrun at every level of this machine -> stages within 1e-4 (relative L2), segments equal

Seeds are chosen so that the likeliest token is always clearly ahead; the smallest distance is checked, so that a change of the
made weights shows. Small: windows of one second.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import wave

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/parity"), str(ROOT / "tests/convert")]
import synthetic_whisper as made
import whisper_reference as reference

LIMIT, MARGIN = 1e-4, 0.02
CASES = ((4, 3.37), (6, 3.37), (9, 3.37), (3, 0.2))  # seed of the weights, seconds of sound


def sound(seed, seconds):
    """Tones that come and go, and noise: int16."""
    random = np.random.default_rng(seed)
    t = np.arange(int(seconds * 16000)) / 16000
    tone = sum(np.sin(2 * np.pi * f * t) * (np.sin(t * s) > 0) for f, s in ((220, 3), (950, 7), (3300, 11)))
    return np.clip((tone * 0.2 + random.standard_normal(len(t)) * 0.02) * 32767, -32768, 32767).astype("<i2")


def write_wave(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())


def tokens():
    never = [made.PIECES.index("["), made.PIECES.index("]"), made.END + 1, *range(made.END + 5, made.END + 10)]
    return {"start": made.END + 1, "end": made.END, "language": made.END + 2, "n_languages": 3, "transcribe": made.END + 6,
            "previous": made.END + 8, "no_speech": made.END + 9, "no_times": made.TIMES - 1, "times": made.TIMES,
            "never": never, "never_first": [made.LETTERS.index("\u0120"), made.END]}


def text(ids):
    bytes_of = {letter: byte for byte, letter in zip([*made.PRINTABLE, *(b for b in range(256) if b not in made.PRINTABLE)],
                                                     made.LETTERS)}
    return bytes(bytes_of[letter] for i in ids for letter in made.PIECES[i])


def expect(state, samples):
    """-> (stages, segments, language, reference)"""
    model = reference.Whisper(state, made.HEADS)
    run = reference.Transcriber(model, tokens(), text)
    segments = run.run(samples.astype(np.float64) / 32768)
    mel, prompt, ids = run.first
    model.stages = {"speech.mel": mel}
    logits = model.decode(prompt + ids, model.encode(mel))
    model.stages["speech.logits"] = logits[len(prompt) - 1 :]
    return model.stages, prompt + ids, segments, run


def distance(ours, right):
    return float(np.linalg.norm(ours - right) / np.linalg.norm(right))


def check_level(level, program, weights, path, folder, expected, show):
    stages, ids, segments, run = expected
    options = ["--transcribe", "--json", "--quiet", "-t2", "--precision", "f32", "--dump-stages", folder]
    out = subprocess.run([program, *options, weights, path], capture_output=True, text=True, check=False,
                         env={**os.environ, "VIDRUN_CPU": level})
    if out.returncode:
        return [f"exit {out.returncode}: {out.stderr.strip()}"]
    wrong, said, worst = [], json.loads(out.stdout), (0.0, "")
    read = np.load(folder / "speech.ids.npy").tolist()
    if read != ids[: len(read)] or len(read) < len(ids) - 1:
        return [f"ids {read} instead of {ids}"]
    for name, right in stages.items():
        ours = np.load(folder / f"{name}.npy")
        if name.startswith(("speech.decoder", "speech.logits")):
            right = right[: len(ours)]
        error = distance(ours, right) if ours.shape == right.shape else np.inf
        worst = max(worst, (error, name))
        if not error <= LIMIT:
            wrong.append(f"{name} {ours.shape}: {error:.1e} from {right.shape}")
    seconds = said["seconds"]
    right = [(round(start, 4), round(min(end, seconds), 4), part) for start, end, part in segments if start < seconds]
    ours = [(round(s["start"], 4), round(s["end"], 4), s["ids"]) for s in said["segments"]]
    if ours != right:
        wrong.append(f"segments {ours} instead of {right}")
    if said["language"] != made.LANGUAGES[run.language]:
        wrong.append(f"language {said['language']}")
    if show:
        print(f"whisper: {level}: {len(ours)} segments, worst {worst[1]} {worst[0]:.1e}")
    return wrong


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    p.add_argument("--build", default="build")
    p.add_argument("--levels", help="values of VIDRUN_CPU, separated by commas (default: all of this machine)")
    p.add_argument("--show", action="store_true", help="a line for every level")
    args = p.parse_args()
    program, failures, n = ROOT / args.build / "vidrun", 0, 0
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    levels = ["c"] + [level for level, flag in (("avx2", "avx2"), ("avx512", "avx512vl")) if flag in flags]
    levels = args.levels.split(",") if args.levels else levels
    for seed, seconds in CASES:
        with tempfile.TemporaryDirectory() as tmp:
            tmp = pathlib.Path(tmp)
            (tmp / "checkpoint").mkdir()
            state, samples = made.tensors(seed), sound(seed, seconds)
            made.write_hugging_face(str(tmp / "checkpoint"), state)
            write_wave(tmp / "sound.wav", samples)
            convert = [ROOT / "tools/convert/convert.py", tmp / "checkpoint", "-o", tmp / "w.bin", "--type", "f32"]
            subprocess.run([sys.executable, *convert], check=True, capture_output=True)
            expected = expect(state, samples)
            run = expected[3]
            if run.failed or run.margin < MARGIN:
                print(f"whisper: seed {seed} is not clear: {run.failed} windows failed, distance {run.margin:.3f}")
                failures += 1
            for level in levels:
                wrong = check_level(level, program, tmp / "w.bin", tmp / "sound.wav", tmp / level, expected, args.show)
                for line in wrong:
                    print(f"whisper: seed {seed}, level {level}: {line}")
                failures, n = failures + bool(wrong), n + 1
    print(f"whisper: {n - failures} of {n} runs agree with the reference")
    return 1 if failures or not n else 0


if __name__ == "__main__":
    sys.exit(main())
