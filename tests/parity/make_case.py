#!/usr/bin/python3
"""
make_case.py - random cases like the golden ones, for parity.py and check_case.py.

    make_case.py [--seed N] [--count N] OUT        cases of random sizes, one folder each
    make_case.py --set check OUT                   the fixed small set of `make check`

  seed -> sizes, clip, template, question -> weights in the released files (case_weights.py) + clip (case_media.py)
       -> references (case_reference.py) -> case.json, stages/*.npy, checkpoint.tar.xz, input.*

Seeds are printed and stand in case.json: the same seed makes the same case. The tokenizer is that of tests/golden/video-llama-v. Decoder seeds
are tried until the two largest logits of every step are apart by GAP, so that rounding cannot change an answer.

Ref:   format: case.json of the golden cases; limits of stages: theirs.
"""
import argparse
import json
import pathlib
import shutil
import sys
import tarfile
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import case_media
import case_reference
import case_weights
import checkpoint
import text_reference

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden/video-llama-v/checkpoint.tar.xz"
TOKENIZER_FILES = ("tokenizer.model", "tokenizer_config.json")
PAD_FILES = ("special_tokens_map.json", "added_tokens.json")  # of Vicuna v0: one more row, [PAD]
GAP = 0.01
ATTEMPTS = 60
LIMITS = {"input.pixels": 2e-6, "input.wave": 2e-6, "input.mel": 5e-5, "qformer.embed": 2e-6, "video_qformer.embed": 2e-6,
          "audio_qformer.embed": 2e-6}
LIMIT = 2e-5
QUESTIONS = ["What is the dog doing?", "Describe the video, step by step. ", "Is there music?", "Why?", "  How many?  Two,   or three?",
             "Qu'est-ce que c'est, déjà?", "这是什么?", "Tell me more", "x" * 40, "Where is the person?", "What colour is her mat?"]


def random_sizes(rng, audio):
    pick = lambda *values: values[rng.integers(len(values))]
    heads = pick(1, 2, 3, 4, 6)
    head = pick(16, 32, 48, 64, 128) if heads < 4 else pick(16, 32, 40)
    return {"vit_width": 88 * pick(1, 2, 3), "vit_depth": pick(1, 2, 3), "vit_hidden": int(rng.integers(65, 400)), "patch": pick(14, 16, 28, 32),
            "qformer_width": 64 * pick(1, 2, 3), "qformer_depth": pick(1, 2, 3, 4), "qformer_hidden": int(rng.integers(65, 300)),
            "queries": pick(32, 32, 7, 33), "video_queries": pick(32, 32, 5, 17), "audio_queries": pick(8, 8, 3), "audio": audio,
            "audio_width": 64 * pick(1, 2), "audio_depth": pick(1, 2, 3), "audio_hidden": int(rng.integers(65, 300)),
            "audio_out": int(rng.integers(24, 130)), "audio_scale": pick(20.0, 20.0, 7.5, 150.0), "llama_width": heads * head,
            "llama_heads": heads, "llama_kv_heads": pick(*[k for k in range(1, heads + 1) if heads % k == 0] + [heads]),
            "llama_depth": pick(1, 2, 3), "llama_hidden": int(rng.integers(65, 400)), "llama_eps": pick(1e-6, 1e-5)}


def random_clip(rng, audio):
    pick = lambda *values: values[rng.integers(len(values))]
    clip = {"source": pick(*case_media.SOURCES), "width": int(rng.integers(17, 320)), "height": int(rng.integers(17, 260)),
            "rate": pick("1", "2", "3", "25", "30000/1001", "5/3"), "pixels": pick("yuv420p", "yuv444p", "bgr0", "yuv422p", "gray"),
            "frames": int(rng.integers(1, 40)) if rng.integers(2) else int(rng.integers(1, 9))}
    if clip["pixels"] in ("yuv420p", "yuv422p"):
        clip["width"] += clip["width"] % 2
        clip["height"] += clip["height"] % 2
    if audio:
        rate = pick(8000, 11025, 16000, 22050, 32000, 44100, 48000)
        seconds = pick(0.3, 1.3, 2.0, 3.7, 9.0, 19.0)
        clip |= {"codec": pick("flac", "pcm_s16le"), "sample_rate": rate, "channels": pick(1, 2, 2, 6), "samples": int(rate * seconds) + 5}
    return clip


def random_plan(seed):
    rng = np.random.default_rng(seed)
    pick = lambda *values: values[rng.integers(len(values))]
    audio, image = bool(rng.integers(2)), rng.integers(6) == 0
    clip = random_clip(rng, audio and not image and rng.integers(5) > 0)
    if image:
        clip |= {"frames": 0, "pixels": pick("rgb24", "gray")}
    turns = pick(1, 1, 1, 2, 3)
    questions = [pick(*QUESTIONS) for _ in range(turns)]
    return {"name": f"random-{seed}", "seed": seed, "size": random_sizes(rng, audio), "clip": clip, "template": pick("vicuna", "llama_v2"),
            "prompt": questions if turns > 1 else questions[0], "n": int(rng.integers(2, 17)), "layout": pick("bin", "shards", "safetensors"),
            "share": bool(rng.integers(2)), "eos_step": pick(None, None, 3)}


def check_plans():
    """The set of `make check`: small, yet every branch: sound (stereo and overlapping, short mono, too short), GQA, turns, picture, eos."""
    size = {"vit_width": 88, "vit_depth": 2, "vit_hidden": 150, "patch": 28, "qformer_width": 64, "qformer_depth": 3, "qformer_hidden": 90,
            "queries": 32, "video_queries": 32, "audio_queries": 8, "audio": True, "audio_width": 64, "audio_depth": 2, "audio_hidden": 100,
            "audio_out": 40, "audio_scale": 20.0, "llama_width": 128, "llama_heads": 4, "llama_kv_heads": 4, "llama_depth": 2,
            "llama_hidden": 200, "llama_eps": 1e-6}
    clip = {"source": "testsrc2", "width": 98, "height": 66, "rate": "3", "pixels": "yuv420p", "frames": 21}
    stereo = {"codec": "flac", "sample_rate": 44100, "channels": 2, "samples": 310000}
    short = {"codec": "pcm_s16le", "sample_rate": 22050, "channels": 1, "samples": 29001}
    plan = {"seed": 101, "size": size, "clip": clip | stereo, "template": "llama_v2", "prompt": QUESTIONS[0], "n": 10, "layout": "shards",
            "share": False, "eos_step": None}
    return [plan | {"name": "check-sound"},
            plan | {"name": "check-short-sound", "seed": 102, "clip": clip | short | {"frames": 8, "pixels": "bgr0", "width": 61, "height": 83},
                    "template": "vicuna", "layout": "safetensors", "share": True, "eos_step": 4,
                    "size": size | {"llama_kv_heads": 2, "llama_eps": 1e-5, "vit_width": 176, "audio_width": 128, "audio_out": 33, "audio_scale": 150.0}},
            plan | {"name": "check-turns", "seed": 103, "clip": clip | {"frames": 3, "rate": "30000/1001"}, "layout": "bin",
                    "prompt": [QUESTIONS[1], QUESTIONS[3], QUESTIONS[5]], "template": "vicuna",
                    "size": size | {"audio": False, "qformer_width": 128, "queries": 7, "video_queries": 17, "llama_kv_heads": 1}},
            plan | {"name": "check-turns-llama", "seed": 105, "clip": clip | short | {"frames": 1, "samples": 300}, "layout": "bin",
                    "prompt": [QUESTIONS[4], QUESTIONS[9]], "size": size | {"llama_heads": 3, "llama_kv_heads": 3, "llama_width": 96}},
            plan | {"name": "check-picture", "seed": 104, "clip": clip | {"frames": 0, "pixels": "rgb24", "width": 301, "height": 97},
                    "share": True, "size": size | {"patch": 32, "vit_depth": 1}}]


def tokenizer_files(template):
    names = TOKENIZER_FILES + (PAD_FILES if template == "vicuna" else ())
    with tarfile.open(GOLDEN) as tar:
        members = {pathlib.PurePosixPath(m.name).name: m for m in tar.getmembers()}
        return {name: tar.extractfile(members[name]).read() for name in names}


def stage_entries(case_dir, stages):
    """Writes the stages; those of many rows keep the first and the last."""
    (case_dir / "stages").mkdir()
    entries = []
    for name, x in stages.items():
        x = x.astype(np.int32 if x.dtype.kind == "i" else np.float32)
        base = name.split(".", 1)[1] if name.startswith("turn") else name
        rows = [0, x.shape[0] - 1] if x.shape[0] > 2 and base.startswith(("vision.", "audio.block")) else None
        entry = {"name": name, "file": f"stages/{name}.npy", "dtype": "i32" if x.dtype.kind == "i" else "f32",
                 "where": f"tests/parity references: {base}", "rows": rows, "rtol": LIMITS.get(base, LIMIT) if x.dtype.kind == "f" else 0}
        kept = x if rows is None else x[rows]
        entry |= {"shape": list(kept.shape)} | ({} if rows is None else {"full_shape": list(x.shape)})
        np.save(case_dir / entry["file"], np.ascontiguousarray(kept))
        entries.append(entry)
    return entries


def good_answers(turns):
    return all(turn["text"] and turn["text"].isprintable() and min(turn["gaps"]) >= GAP for turn in turns)


def find_decoder(plan, case, state, encoded, llm):
    """Writes the decoder of the first seed whose answers are clear and plain -> (stages, turns)."""
    files = tokenizer_files(plan["template"])
    (llm / "x").parent.mkdir()
    for name, raw in files.items():
        (llm / name).write_bytes(raw)
    types = text_reference.Tokenizer(llm).types
    plan["size"]["vocab"] = len(types)
    size = plan["size"] | {"unlikely": [i for i, t in enumerate(types) if t != text_reference.NORMAL]}
    for attempt in range(ATTEMPTS):
        seed = (plan["seed"] << 8) + attempt
        eos = 2
        for _ in range(2):
            shutil.rmtree(llm)
            case_weights.write_llama(llm, seed, size, files, plan["layout"], eos)
            full, _, _ = checkpoint.load(llm)
            try:
                stages, turns = case_reference.converse(state | full, llm, case, encoded)
            except ValueError:
                turns = [{"text": None}]
            if not good_answers(turns) or plan["eos_step"] is None or eos != 2:
                break
            answer = turns[0]["answer"]
            eos = answer[min(plan["eos_step"], len(answer) - 1)]
        if good_answers(turns):
            return stages, turns
    raise SystemExit(f"make_case.py: seed {plan['seed']}: no clear answer in {ATTEMPTS} decoders")


def describe(plan):
    size, clip = plan["size"], plan["clip"]
    sound = f"{clip['samples']} samples at {clip['sample_rate']} Hz, {clip['channels']} channels" if clip.get("samples") else "no sound"
    return (f"made by make_case.py: ViT {size['vit_width']}x{size['vit_depth']} patch {size['patch']}, Q-Former {size['qformer_width']}x"
            f"{size['qformer_depth']}, LLaMA {size['llama_width']}x{size['llama_depth']} heads {size['llama_heads']}/{size['llama_kv_heads']}, "
            f"{'with' if size['audio'] else 'without'} audio branch; {clip['width']}x{clip['height']} {clip['pixels']}, {clip['frames']} frames, "
            f"{sound}; {plan['template']}, weights {plan['layout']}")


def make(plan, out):
    plan = dict(plan, size=dict(plan["size"]))
    case_dir = out / plan["name"]
    case_dir.mkdir(parents=True)
    llama2 = plan["template"] == "llama_v2"
    names = {"vl": "VL_LLaMA_2_7B_Finetuned.pth", "al": "AL_LLaMA_2_7B_Finetuned.pth"} if llama2 else {
        "vl": "finetune-vicuna7b-v2.pth", "al": "finetune_vicuna7b_audiobranch.pth"}
    image = plan["clip"]["frames"] == 0
    case = {"system": "video-llama", "case": plan["name"], "seed": plan["seed"], "original": "tests/parity references (float64)",
            "about": describe(plan), "plan": {key: value for key, value in plan.items() if key != "size"},
            "sizes": plan["size"], "video": case_media.write_clip(case_dir, plan["seed"], plan["clip"]),
            "prompt": plan["prompt"], "arguments": ["--temp", "0", "-n", str(plan["n"])] + (["--image"] if image else []),
            "template": plan["template"]}
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp) / "checkpoint"
        folder.mkdir()
        case_weights.write_encoders(folder, plan["seed"], plan["size"], names, plan["share"])
        state, bert, _ = checkpoint.load(folder)
        encoded = case_reference.encode(state, bert, case_dir, case)
        stages, turns = find_decoder(plan, case, state, encoded, folder / ("llama-2-7b-chat-hf" if llama2 else "vicuna-7b"))
        with tarfile.open(case_dir / "checkpoint.tar.xz", "w:xz", preset=0) as tar:
            tar.add(folder, "checkpoint")
    one = not isinstance(plan["prompt"], list)
    case |= {"rendered_prompt": turns[0]["prompt"], "prompt_ids": turns[0]["pieces"], "visual_rows": [rows.shape[1] for rows in encoded.rows],
             "answer_ids": turns[0]["answer"] if one else [turn["answer"] for turn in turns],
             "answer": turns[0]["text"] if one else [turn["text"] for turn in turns],
             "smallest_gap": round(min(min(turn["gaps"]) for turn in turns), 4), "stages": stage_entries(case_dir, stages)}
    (case_dir / "case.json").write_text(json.dumps(case, indent=1) + "\n")
    print(f"{plan['name']}: seed {plan['seed']}, {len(stages)} stages, smallest gap {case['smallest_gap']}, answer {case['answer']!r}")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    p.add_argument("--seed", type=int, default=int(np.random.SeedSequence().entropy % 1000000), help="of the first case (default: random)")
    p.add_argument("--count", type=int, default=1, help="number of cases (default: 1)")
    p.add_argument("--set", choices=["check"], help="a fixed set instead of random cases")
    p.add_argument("out", type=pathlib.Path, help="folder for the case folders")
    args = p.parse_args()
    plans = check_plans() if args.set else [random_plan(args.seed + i) for i in range(args.count)]
    for plan in plans:
        shutil.rmtree(args.out / plan["name"], ignore_errors=True)
        make(plan, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
