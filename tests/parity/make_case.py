#!/usr/bin/python3
"""
make_case.py - random cases like the golden ones, for parity.py and check_case.py.

    make_case.py [--system NAME] [--seed N] [--count N] [--goal GOAL] OUT   cases of random sizes, one folder each
    make_case.py --set check OUT                   the fixed small set of `make check`
    make_case.py --video FILE [--seed N] OUT       random weights, this clip (copied) instead of a made one

  seed -> sizes, clip, template, question -> weights in the released files (case_weights.py) + clip (case_media.py)
       -> references (SYSTEM_case.py) -> case.json, stages/*.npy, checkpoint.tar.xz, input.*

Seeds are printed and stand in case.json: the same seed makes the same case. The tokenizers are those
of tests/golden/video-llama-v and tests/fixtures/parity. Decoder seeds are tried until the two largest logits of every step are apart by GAP, so that
rounding cannot change an answer.

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
import case_plans
import case_weights
import checkpoint
import flash_vstream_make
import flash_vstream_plans
import flash_vstream_qwen_make
import flash_vstream_qwen_plans
import longvu_make
import longvu_plans
import text_reference
import video_llama_case
import videochat_make
import videochat_plans
import videollamb_make
import videollamb_plans

TESTS = pathlib.Path(__file__).resolve().parents[1]
GOLDEN = TESTS / "golden/video-llama-v/checkpoint.tar.xz"
BPE = {"qwen": TESTS / "fixtures/parity/qwen2", "llama": TESTS / "fixtures/parity/llama3"}
TOKENIZER_FILES = ("tokenizer.model", "tokenizer_config.json")
PAD_FILES = ("special_tokens_map.json", "added_tokens.json")  # of Vicuna v0: one more row, [PAD]
GAP = 0.01
ATTEMPTS = 60
LIMITS = {
    "input.pixels": 2e-6,
    "input.wave": 2e-6,
    "input.mel": 5e-5,
    "qformer.embed": 2e-6,
    "video_qformer.embed": 2e-6,
    "audio_qformer.embed": 2e-6,
}
LIMIT = 2e-5
FEW_ROWS = ("vision.", "audio.block", "input.pixels.", "project.aux", "sampler.layer", "project.video", "prompt.embeds", "decoder.")
PATCHES = ("input.pixels", "compress.half.pixels", "compress.memory")  # of Flash-VStream on Qwen2-VL: thousands of rows
MORE_FEW_ROWS = {"flash-vstream-qwen": PATCHES, "videochat": ("input.pixels",)}


def few_rows_of(system):
    return FEW_ROWS + MORE_FEW_ROWS.get(system, ())


def tokenizer_files(template):
    names = TOKENIZER_FILES + (PAD_FILES if template == "vicuna" else ())
    with tarfile.open(GOLDEN) as tar:
        members = {pathlib.PurePosixPath(m.name).name: m for m in tar.getmembers()}
        return {name: tar.extractfile(members[name]).read() for name in names}


def limit_of(base, x):
    """Depths are differences of cosines, whose own roundings show where scenes hardly differ."""
    if base == "compress.depth" and x.any():
        return float(f"{max(LIMIT, 1e-6 * x.size**0.5 / np.linalg.norm(x)):.1e}")
    return LIMITS.get(base, LIMIT)


def stage_entries(case_dir, stages, few_rows=FEW_ROWS):
    """Writes the stages; those of many rows keep the first and the last (two logits alone may both be near zero)."""
    (case_dir / "stages").mkdir()
    entries = []
    for name, x in stages.items():
        x = x.astype({"i": np.int32, "u": np.uint8}.get(x.dtype.kind, np.float32))
        base = name.split(".", 1)[1] if name.startswith("turn") else name
        rows = [0, x.shape[0] - 1] if x.ndim > 1 and x.shape[0] > 2 and base.startswith(few_rows) else None
        entry = {
            "name": name,
            "file": f"stages/{name}.npy",
            "dtype": {"i": "i32", "u": "u8"}.get(x.dtype.kind, "f32"),
            "where": f"tests/parity references: {base}",
            "rows": rows,
            "rtol": limit_of(base, x) if x.dtype.kind == "f" else 0,
        }
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
                stages, turns = video_llama_case.converse(state | full, llm, case, encoded)
            except ValueError:
                turns = [{"text": None}]
            if not good_answers(turns) or plan["eos_step"] is None or eos != 2:
                break
            answer = turns[0]["answer"]
            eos = answer[min(plan["eos_step"], len(answer) - 1)]
        if good_answers(turns):
            return stages, turns
    raise case_plans.NoClearAnswer(f"make_case.py: seed {plan['seed']}: no clear answer in {ATTEMPTS} decoders")


def source_of(plan):
    clip = plan["clip"]
    if plan.get("video"):
        return plan["video"]
    picture = f"{clip['width']}x{clip['height']} {clip['pixels']}, {clip['frames']} frames at {clip['rate']} a second, "
    if not clip.get("samples"):
        return picture + "no sound"
    return picture + f"{clip['samples']} samples at {clip['sample_rate']} Hz, {clip['channels']} channels"


def make_video_llama(plan, case_dir, case, folder):
    """Fills case and the checkpoint folder -> (stages, turns)"""
    size, llama2 = plan["size"], plan["template"] == "llama_v2"
    names = (
        {"vl": "VL_LLaMA_2_7B_Finetuned.pth", "al": "AL_LLaMA_2_7B_Finetuned.pth"}
        if llama2
        else {"vl": "finetune-vicuna7b-v2.pth", "al": "finetune_vicuna7b_audiobranch.pth"}
    )
    case["template"] = plan["template"]
    case["about"] = (
        f"made by make_case.py: ViT {size['vit_width']}x{size['vit_depth']} patch {size['patch']}, "
        f"Q-Former {size['qformer_width']}x{size['qformer_depth']}, LLaMA {size['llama_width']}x{size['llama_depth']} "
        f"heads {size['llama_heads']}/{size['llama_kv_heads']}, "
        f"{'with' if size['audio'] else 'without'} audio branch; {source_of(plan)}; {plan['template']}, weights {plan['layout']}"
    )
    case_weights.write_encoders(folder, plan["seed"], size, names, plan["share"])
    state, bert, _ = checkpoint.load(folder)
    encoded = video_llama_case.encode(state, bert, case_dir, case)
    llm = folder / ("llama-2-7b-chat-hf" if llama2 else "vicuna-7b")
    stages, turns = find_decoder(plan, case, state, encoded, llm)
    case["visual_rows"] = [rows.shape[1] for rows in encoded.rows]
    return stages, turns


def make_longvu(plan, case_dir, case, folder):
    """Fills case and the checkpoint folder -> (stages, turns)"""
    size, stages, turns = longvu_make.find(plan, case_dir, case, folder, BPE[plan["size"]["family"]], ATTEMPTS)
    plan["size"] = size
    case["about"] = (
        f"made by make_case.py for {plan['goal']}: SigLIP {size['siglip_width']}x{size['siglip_depth']}, "
        f"DINOv2 {size['dino_width']}x{size['dino_depth']}, sampler {size['sampler_width']}x{size['sampler_depth']}, "
        f"{size['family']} {size['width']}x{size['depth']} heads {size['heads']}/{size['kv_heads']}; {source_of(plan)}; "
        f"length {size['length']}, regime {stages.get('compress.regime', 'of a picture or of turns')}"
    )
    return stages, turns


def make_flash_vstream(plan, case_dir, case, folder):
    """Fills case and the checkpoint folder -> (stages, turns)"""
    case["arguments"] += ["--seed", str(plan["seed"])]
    if plan["ask"]:
        case["arguments"] += ["--stream", "--ask-after", ",".join(map(str, plan["ask"]))]
    size, stages, turns = flash_vstream_make.find(plan, case_dir, case, folder, tokenizer_files(None), ATTEMPTS)
    plan["size"] = size
    case["about"] = (
        f"made by make_case.py: CLIP {size['clip_width']}x{size['clip_depth']} patch {size['patch']}, maps "
        f"{size['side']}/{size['long_side']}/{size['turing_side']}, slots {size['current']}/{size['long']}/{size['turing']}, "
        f"LLaMA {size['llama_width']}x{size['llama_depth']} heads {size['llama_heads']}; {source_of(plan)}; "
        + (f"asked after {plan['ask']}" if plan["ask"] else f"prompt of at most {size['length']}")
    )
    return stages, turns


def make_flash_vstream_qwen(plan, case_dir, case, folder):
    """Fills case and the checkpoint folder -> (stages, turns)"""
    case["arguments"] += ["--seed", str(plan["seed"])]
    if plan.get("ask"):
        case["arguments"] += ["--stream", "--ask-after", ",".join(map(str, plan["ask"]))]
    size, stages, turns = flash_vstream_qwen_make.find(plan, case_dir, case, folder, BPE["qwen"], ATTEMPTS)
    plan["size"] = size
    case["about"] = (
        f"made by make_case.py: ViT {size['vit_width']}x{size['vit_depth']} heads {size['vit_heads']}, slots {size['slots']}/"
        f"{size['shown']}, Qwen2 {size['width']}x{size['depth']} heads {size['heads']}/{size['kv_heads']}, sections "
        f"{'/'.join(map(str, size['sections']))}; {source_of(plan)}, each held {plan['clip'].get('hold', 1)}"
        + (f"; asked after {plan['ask']}" if plan.get("ask") else "")
        + ("" if any(name.endswith("answer.ids") for name in stages) else "; what is shown whole is undecided")
    )
    return stages, turns


def make_videollamb(plan, case_dir, case, folder):
    """Fills case and the checkpoint folder -> (stages, turns)"""
    case["template"] = plan["template"]
    case["arguments"] += ["--frames", str(plan["frames"])] if plan["frames"] else []
    case["arguments"] += ["--fps", plan["fps"]] if plan["fps"] else []
    case["arguments"] += ["--stream"] if plan["stream"] else []
    size, stages, turns = videollamb_make.find(plan, case_dir, case, folder, tokenizer_files(None), ATTEMPTS)
    plan["size"] = size
    case["about"] = (
        f"made by make_case.py: checkpoint {size['kind'].upper()}, towers {size['width']}x{size['tower_depth']} heads "
        f"{size['tower_heads']} patch {size['patch']}, bridge x{size['bridge_depth']} heads {size['bridge_heads']}, LLaMA "
        f"{size['llama_width']}x{size['llama_depth']} heads {size['llama_heads']}; {source_of(plan)}, each held "
        f"{plan['clip'].get('hold', 1)}; {plan['template']}, " + ("a stream" if plan["stream"] else f"frames {plan['frames']}")
    )
    return stages, turns


def make_videochat(plan, case_dir, case, folder):
    """Fills case and the checkpoint folder -> (stages, turns)"""
    case["arguments"] += ["--frames", str(plan["frames"])] if plan["frames"] else []
    size, stages, turns = videochat_make.find(plan, case_dir, case, folder, tokenizer_files("vicuna"), ATTEMPTS)
    plan["size"] = size
    case["about"] = (
        f"made by make_case.py: ViT {size['vit_width']}x{size['vit_depth']} patch {size['patch']}, {size['steps']} aggregators, "
        f"Q-Former {size['qformer_width']}x{size['qformer_depth']}, queries {size['queries']}+{size['extra_queries']}, LLaMA "
        f"{size['llama_width']}x{size['llama_depth']} heads {size['llama_heads']}; {source_of(plan)}; frames {plan['frames']}"
    )
    return stages, turns


MAKERS = {
    "video-llama": make_video_llama,
    "longvu": make_longvu,
    "flash-vstream": make_flash_vstream,
    "flash-vstream-qwen": make_flash_vstream_qwen,
    "videollamb": make_videollamb,
    "videochat": make_videochat,
}
PLANS = {
    "video-llama": case_plans,
    "longvu": longvu_plans,
    "flash-vstream": flash_vstream_plans,
    "flash-vstream-qwen": flash_vstream_qwen_plans,
    "videollamb": videollamb_plans,
    "videochat": videochat_plans,
}


def make(plan, out):
    """The longer the answers, the fewer decoders give clear ones: where none does, they are halved."""
    try:
        make_whole(plan, out)
    except case_plans.NoClearAnswer:
        if plan["n"] == 1:
            raise
        shutil.rmtree(out / plan["name"])
        make(plan | {"n": plan["n"] // 2}, out)


def make_whole(plan, out):
    plan = dict(plan, size=dict(plan["size"]))
    case_dir = out / plan["name"]
    case_dir.mkdir(parents=True)
    if plan.get("video"):
        video = "input" + plan["video"].suffix
        shutil.copyfile(plan["video"], case_dir / video)
        plan["video"] = plan["video"].name
    else:
        video = case_media.write_clip(case_dir, plan["seed"], plan["clip"])
    case = {
        "system": plan.get("system", "video-llama"),
        "case": plan["name"],
        "seed": plan["seed"],
        "original": "tests/parity references (float64)",
        "video": video,
        "prompt": plan["prompt"],
        "arguments": ["--temp", "0", "-n", str(plan["n"])] + (["--image"] if plan["clip"]["frames"] == 0 else []),
    }
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp) / "checkpoint"
        folder.mkdir()
        stages, turns = MAKERS[case["system"]](plan, case_dir, case, folder)
        with tarfile.open(case_dir / "checkpoint.tar.xz", "w:xz", preset=0) as tar:
            tar.add(folder, "checkpoint")
    one = not isinstance(plan["prompt"], list)
    case |= {
        "plan": {key: value for key, value in plan.items() if key != "size"},
        "sizes": plan["size"],
        "rendered_prompt": turns[0]["prompt"],
        "prompt_ids": turns[0]["pieces"],
        "answer_ids": turns[0]["answer"] if one else [turn["answer"] for turn in turns],
        "answer": (turns[0]["text"] or "") if one else [turn["text"] or "" for turn in turns],
        "smallest_gap": round(min(min(turn["gaps"]) for turn in turns), 4),
        "stages": stage_entries(case_dir, stages, few_rows_of(case["system"])),
    }
    if turns[0]["text"] is None:
        del case["answer"]
    (case_dir / "case.json").write_text(json.dumps(case, indent=1) + "\n")
    print(
        f"{plan['name']}: seed {plan['seed']}, {len(stages)} stages, smallest gap {case['smallest_gap']}, "
        f"answer {case.get('answer')!r}; {case['about']}"
    )


def random_plan(system, seed, goal):
    return longvu_plans.random_plan(seed, goal) if system == "longvu" else PLANS[system].random_plan(seed)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    p.add_argument(
        "--seed",
        type=int,
        default=int(np.random.SeedSequence().entropy % 1000000),
        help="of the first case (default: random)",
    )
    p.add_argument("--count", type=int, default=1, help="number of cases (default: 1)")
    p.add_argument("--system", choices=MAKERS, default="video-llama", help="default: %(default)s")
    p.add_argument("--goal", choices=longvu_plans.GOALS, help="of LongVU cases (default: random)")
    p.add_argument("--set", choices=["check"], help="a fixed set instead of random cases")
    p.add_argument("--video", type=pathlib.Path, help="a clip instead of a made one")
    p.add_argument("out", type=pathlib.Path, help="folder for the case folders")
    args = p.parse_args()
    if args.set:
        plans = [plan for module in PLANS.values() for plan in module.check_plans()]
    else:
        plans = [random_plan(args.system, args.seed + i, args.goal) for i in range(args.count)]
    for plan in plans:
        if args.video:
            plan = case_plans.with_video(plan, args.video)
        shutil.rmtree(args.out / plan["name"], ignore_errors=True)
        make(plan, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
