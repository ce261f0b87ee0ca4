"""
longvu_plans.py - what made LongVU cases look like: random sizes, clips and goals, and the fixed small set of `make check`.

  seed -> plan: name, seed, size, clip, prompt, n, goal, drops

  goal  the way through budget and regimes that the length of the context is chosen for: all (no selection), full, mix, mix-all
        (every frame large), mix-none (no frame large), fits (rows = room), prune, prune-low (of small grids), cut (forced
        removal), image
  drops frames that the selection by similarity takes at least; default 0
Trap:  a change of a fixed plan changes its weights: record it anew (parity.py --record).
"""

import numpy as np

import case_media
import case_plans

GOALS = ("all", "full", "mix", "mix-all", "mix-none", "fits", "prune", "cut", "prune-low")
SHAPES = ((96, 128), (128, 96), (64, 64), (36, 64), (64, 36), (65, 65), (24, 312), (312, 24), (50, 75), (33, 47), (90, 210))
RATES = ("1", "2", "24000/1001", "30000/1001", "60", "5/2", "3/5", "25", "3")


def random_sizes(rng, family, image_stage):
    pick = lambda *values: values[rng.integers(len(values))]
    heads, dino_heads, siglip_heads = pick(1, 2, 3, 4, 6), pick(1, 2, 3), pick(1, 2, 3)
    return {
        "family": family,
        "siglip_width": siglip_heads * pick(16, 24, 48),
        "siglip_heads": siglip_heads,
        "siglip_depth": pick(1, 2, 3),
        "siglip_hidden": int(rng.integers(33, 200)),
        "dino_width": dino_heads * pick(16, 32, 40),
        "dino_heads": dino_heads,
        "dino_depth": pick(1, 2, 3),
        "sampler_width": 16 * pick(1, 2, 3, 4),
        "sampler_depth": pick(1, 2, 3),
        "query_side": 24 if image_stage else 12,
        "low_side": 0 if image_stage else 8,
        "width": heads * pick(16, 32, 64),
        "heads": heads,
        "kv_heads": pick(*[k for k in range(1, heads + 1) if heads % k == 0]),
        "depth": pick(1, 2, 3),
        "hidden": int(rng.integers(65, 300)),
        "eps": pick(1e-6, 1e-5),
        "theta": pick(1e6, 5e5, 10000.0),
        "tied": bool(rng.integers(2)),
        "scaling": scaling(rng) if family == "llama" and rng.integers(3) else None,
        "reserve": pick(None, None, 16, 0, 40),
        "penalty": pick(None, None, 1.05, 1.3),
        "layout": pick("bin", "safetensors"),
        "surplus_rows": pick(0, 37),
    }


def scaling(rng):
    """The published one, or one whose bounds cut through the few frequencies of a small head."""
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    values = ((32.0, 1.0, 4.0, 8192), (8.0, 1.0, 8.0, 512))[rng.integers(2)]
    return dict(zip(names, values)) | {"rope_type": "llama3"}


def random_plan(seed, goal=None):
    rng = np.random.default_rng((seed, 8))
    pick = lambda *values: values[rng.integers(len(values))]
    image, image_stage = goal is None and rng.integers(8) == 0, goal is None and rng.integers(5) == 0
    rate = pick(*RATES)
    num, den = map(int, (rate + "/1").split("/")[:2])
    step = max(1, round(num / den))
    wanted = pick(1, 2, 5, 9, 15, 16, 17, 31, 33, 40)
    height, width = SHAPES[rng.integers(len(SHAPES))]
    clip = {"source": pick(*case_media.SOURCES), "width": width, "height": height, "rate": rate}
    clip["pixels"] = pick("bgr0", "yuv444p", "gray")
    clip["frames"] = 0 if image else int((wanted - 1) * step + 1 + rng.integers(step))
    if image:
        clip["pixels"] = pick("rgb24", "gray")
    if image_stage:
        clip["frames"] = min(clip["frames"], 5 * step)
    turns = pick(1, 1, 1, 2)
    questions = [pick(*case_plans.QUESTIONS) for _ in range(turns)]
    return {
        "name": f"longvu-random-{seed}",
        "system": "longvu",
        "seed": seed,
        "size": random_sizes(rng, pick("qwen", "llama"), image_stage),
        "clip": clip,
        "goal": goal or ("image" if image else pick(*GOALS)),
        "prompt": questions if turns > 1 else questions[0],
        "n": int(rng.integers(2, 13)),
    }


def check_plans():
    """Small, yet both decoders, and selection, mix, pruning with removal and a picture."""
    size = {
        "family": "qwen",
        "siglip_width": 32,
        "siglip_heads": 2,
        "siglip_depth": 1,
        "siglip_hidden": 50,
        "dino_width": 32,
        "dino_heads": 2,
        "dino_depth": 1,
        "sampler_width": 32,
        "sampler_depth": 2,
        "query_side": 12,
        "low_side": 8,
        "width": 64,
        "heads": 4,
        "kv_heads": 2,
        "depth": 2,
        "hidden": 90,
        "eps": 1e-6,
        "theta": 1e6,
        "tied": False,
        "scaling": None,
        "reserve": None,
        "penalty": 1.05,
        "layout": "safetensors",
        "surplus_rows": 37,
    }
    scaled = dict(zip(("factor", "low_freq_factor", "high_freq_factor"), (8.0, 1.0, 8.0)))
    scaled |= {"original_max_position_embeddings": 512, "rope_type": "llama3"}
    llama = size | {"family": "llama", "theta": 5e5, "eps": 1e-5, "tied": True, "scaling": scaled, "layout": "bin"}
    llama["penalty"] = None
    clip = {"source": "testsrc2", "width": 128, "height": 96, "rate": "3", "pixels": "bgr0", "frames": 52}
    plan = {"system": "longvu", "seed": 201, "size": size, "clip": clip, "prompt": case_plans.QUESTIONS[0], "n": 6}
    short = clip | {"rate": "30000/1001", "frames": 520, "width": 64, "height": 64, "source": "mandelbrot"}
    picture = clip | {"frames": 0, "pixels": "rgb24", "width": 113, "height": 64}
    return [
        plan | {"name": "check-longvu-mix", "goal": "mix", "drops": 1},
        plan | {"name": "check-longvu-cut", "seed": 202, "goal": "prune", "drops": 1, "size": llama, "clip": short},
        plan | {"name": "check-longvu-picture", "seed": 203, "goal": "image", "size": llama | {"scaling": None}, "clip": picture},
    ]
