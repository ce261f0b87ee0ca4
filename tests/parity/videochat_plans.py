"""
videochat_plans.py - what made VideoChat cases look like: random sizes, clips, and the fixed small set of `make check`.

  seed -> plan: name, seed, size, clip, frames (None: 8), prompt, n, layout, share, eos (of generation_config.json)

Trap:  a change of a fixed plan changes its weights: record it anew (parity.py --record).
"""

import numpy as np

import case_media
import case_plans

SHAPES = ((96, 128), (128, 96), (224, 224), (240, 320), (36, 65), (24, 311), (311, 24), (225, 223), (51, 76))
RATES = ("1", "2", "24000/1001", "30000/1001", "20/3", "60", "2/5", "25")


def random_sizes(rng):
    pick = lambda *values: values[rng.integers(len(values))]
    heads = pick(1, 2, 3, 4)
    depth = pick(2, 3, 4)
    return {
        "vit_width": 88 * pick(1, 2),
        "vit_depth": depth,
        "vit_hidden": int(rng.integers(65, 300)),
        "steps": int(rng.integers(1, depth + 1)),
        "step_hidden": int(rng.integers(65, 300)),
        "patch": pick(14, 28, 32),
        "qformer_width": 64 * pick(1, 2),
        "qformer_depth": pick(1, 2, 3, 4),
        "qformer_hidden": int(rng.integers(65, 300)),
        "queries": pick(32, 32, 7),
        "extra_queries": pick(64, 64, 5, 33),
        "llama_width": heads * pick(16, 32, 64),
        "llama_heads": heads,
        "llama_kv_heads": heads,
        "llama_depth": pick(1, 2, 3),
        "llama_hidden": int(rng.integers(65, 300)),
        "llama_eps": pick(1e-6, 1e-5),
    }


def random_plan(seed):
    rng = np.random.default_rng((seed, 20))
    pick = lambda *values: values[rng.integers(len(values))]
    image, turns = rng.integers(8) == 0, pick(1, 1, 2, 3)
    height, width = SHAPES[rng.integers(len(SHAPES))]
    clip = {"source": pick(*case_media.SOURCES), "width": width, "height": height, "rate": pick(*RATES)}
    clip |= {"pixels": pick("bgr0", "yuv444p", "gray"), "frames": int(pick(1, 2, 3, 5, 9, 20, 70))}
    if image:
        clip |= {"frames": 0, "pixels": pick("rgb24", "gray")}
    questions = [pick(*case_plans.QUESTIONS) for _ in range(turns)]
    return {
        "name": f"videochat-random-{seed}",
        "system": "videochat",
        "seed": seed,
        "size": random_sizes(rng),
        "clip": clip,
        "frames": None if image else pick(None, None, 1, 3, 16, 64),
        "prompt": questions if turns > 1 else questions[0],
        "n": int(rng.integers(2, 13)),
        "layout": pick("bin", "shards", "safetensors"),
        "share": bool(rng.integers(2)),
        "eos": pick(2, 2, 1),
    }


def check_plans():
    """Small, yet: one frame, eight of a short clip, 64; steps behind all blocks; a picture; turns; Vicuna v0's end of text."""
    size = {
        "vit_width": 88,
        "vit_depth": 3,
        "vit_hidden": 90,
        "steps": 2,
        "step_hidden": 110,
        "patch": 32,
        "qformer_width": 64,
        "qformer_depth": 2,
        "qformer_hidden": 80,
        "queries": 32,
        "extra_queries": 64,
        "llama_width": 64,
        "llama_heads": 2,
        "llama_kv_heads": 2,
        "llama_depth": 2,
        "llama_hidden": 90,
        "llama_eps": 1e-6,
    }
    clip = {"source": "testsrc2", "width": 161, "height": 90, "rate": "60", "pixels": "bgr0", "frames": 5}
    plan = {"system": "videochat", "seed": 401, "size": size, "clip": clip, "frames": None, "n": 6, "layout": "bin"}
    plan |= {"name": "check-videochat", "prompt": [case_plans.QUESTIONS[0], case_plans.QUESTIONS[9]], "share": False, "eos": 1}
    picture = clip | {"frames": 0, "pixels": "rgb24"}
    return [
        plan,
        plan
        | {
            "name": "check-videochat-64",
            "seed": 402,
            "clip": clip | {"frames": 150, "rate": "30000/1001", "width": 64, "height": 64},
            "frames": 64,
            "prompt": case_plans.QUESTIONS[5],
            "layout": "safetensors",
            "eos": 2,
        },
        plan
        | {
            "name": "check-videochat-one",
            "seed": 403,
            "size": size | {"steps": 3},
            "frames": 1,
            "prompt": case_plans.QUESTIONS[3],
            "share": True,
        },
        plan | {"name": "check-videochat-picture", "seed": 404, "clip": picture, "prompt": case_plans.QUESTIONS[10]},
    ]
