"""
videollamb_plans.py - what made VideoLLaMB cases look like: random sizes, clips, streams, and the fixed small set of `make check`.

  seed -> plan: name, seed, size, clip, template, prompt, n, frames and fps (given; None: the system's
        own), stream

  size  kind: a (LanguageBind, last scene) or b (CLIP, memories); legacy: of the tokenizer; stray_position: A has abs_vid_pe
Trap:  a change of a fixed plan changes its weights: record it anew (parity.py --record).
"""

import numpy as np

import case_media
import case_plans

SHAPES = ((96, 128), (128, 96), (64, 64), (224, 224), (240, 320), (36, 64), (40, 1600), (700, 40), (225, 223), (336, 337), (50, 75))
RATES = ("1", "2", "24000/1001", "30000/1001", "5/2", "3/2", "2/5", "25", "3")
PATCHES = {"a": (14, 14, 16), "b": (14, 21, 16, 24)}
QUESTIONS = case_plans.QUESTIONS + [
    "What does </s> mean?",
    "<s>Is it red?</s>USER: no",
    "a ### b",
    "</s>",
    "One line.  </s>  Two <unk> three",
    "What is ▁ in it?",
]


def random_sizes(rng, kind):
    pick = lambda *values: values[rng.integers(len(values))]
    heads, bridge_heads, tower_heads = pick(1, 2, 3, 4), pick(1, 2, 4, 8), pick(1, 2, 4)
    return {
        "kind": kind,
        "width": max(bridge_heads, tower_heads) * pick(8, 16, 20, 24, 32),
        "tower_heads": tower_heads,
        "tower_depth": pick(2, 2, 3),
        "tower_act": pick("gelu", "gelu", "quick_gelu") if kind == "a" else "quick_gelu",
        "tower_eps": pick(1e-5, 1e-5, 1e-6),
        "video_hidden": int(rng.integers(33, 150)),
        "image_hidden": int(rng.integers(33, 150)),
        "clip_hidden": int(rng.integers(33, 150)),
        "patch": pick(*PATCHES[kind]),
        "bridge_heads": bridge_heads,
        "bridge_hidden": int(rng.integers(33, 200)),
        "bridge_depth": pick(1, 1, 1, 2),
        "bridge_eps": pick(1e-12, 1e-12, 1e-5),
        "stray_position": bool(rng.integers(2)),
        "legacy": pick(True, False, None),
        "llama_width": heads * pick(16, 32, 48),
        "llama_heads": heads,
        "llama_kv_heads": heads,
        "llama_depth": pick(1, 2),
        "llama_hidden": int(rng.integers(65, 200)),
        "llama_eps": pick(1e-6, 1e-5),
        "layout": pick("bin", "safetensors"),
    }


def random_plan(seed):
    rng = np.random.default_rng((seed, 11))
    pick = lambda *values: values[rng.integers(len(values))]
    kind = pick("a", "b")
    size, stream, image = random_sizes(rng, kind), kind == "a" and rng.integers(4) == 0, rng.integers(8) == 0
    rate = pick(*RATES)
    num, den = map(int, (rate + "/1").split("/")[:2])
    height, width = SHAPES[rng.integers(len(SHAPES))]
    clip = {"source": pick(*case_media.SOURCES), "width": width, "height": height, "rate": rate}
    clip |= {"pixels": pick("bgr0", "yuv444p", "gray"), "hold": pick(1, 1, 2, 3, 5, 100000)}
    frames = None
    if stream:  # at a frame a second
        clip |= {"frames": int(np.ceil(pick(3, 9, 16, 21, 26) * num / den)), "hold": pick(1, 3)}
    elif kind == "a":
        frames = pick(None, 8, 16, 24, 40)
        clip["frames"] = pick(1, 3, 7, 8, 30, 60)
    else:
        clip["frames"] = max(1, int(pick(1, 2, 3, 4, 5, 9, 33, 64) * num / den))
    if image and not stream:
        clip |= {"frames": 0, "pixels": pick("rgb24", "gray")}
        frames = None
    turns = pick(1, 1, 1, 2, 3)
    questions = [pick(*QUESTIONS) for _ in range(turns)]
    return {
        "name": f"videollamb-random-{seed}",
        "system": "videollamb",
        "seed": seed,
        "size": size,
        "clip": clip,
        "template": pick("llava_v0", "llava_v1", "vicuna_v1"),
        "prompt": questions if turns > 1 and not stream else questions[0],
        "n": int(rng.integers(2, 4) if stream else rng.integers(2, 13)),
        "frames": frames,
        "stream": bool(stream),
        "fps": pick("1", "1", "2", "0.5") if stream else pick(None, None, "2") if frames is None and not image else None,
    }


def check_plans():
    """Small, yet two groups over time with four scenes, memories of a few scenes in two turns, a stream."""
    size = {
        "kind": "a",
        "width": 32,
        "tower_heads": 2,
        "tower_depth": 2,
        "tower_act": "gelu",
        "tower_eps": 1e-5,
        "video_hidden": 40,
        "image_hidden": 36,
        "clip_hidden": 44,
        "patch": 14,
        "bridge_heads": 2,
        "bridge_hidden": 48,
        "bridge_depth": 1,
        "bridge_eps": 1e-12,
        "stray_position": True,
        "legacy": False,
        "llama_width": 48,
        "llama_heads": 2,
        "llama_kv_heads": 2,
        "llama_depth": 1,
        "llama_hidden": 70,
        "llama_eps": 1e-5,
        "layout": "safetensors",
    }
    clip = {"source": "testsrc2", "width": 160, "height": 90, "rate": "5", "pixels": "bgr0", "frames": 23, "hold": 3}
    plan = {"system": "videollamb", "seed": 401, "size": size, "clip": clip, "prompt": QUESTIONS[13], "n": 4}
    plan |= {"template": "llava_v0", "frames": 16, "stream": False, "fps": None}
    b = size | {"kind": "b", "patch": 24, "layout": "bin", "legacy": True, "tower_act": "quick_gelu"}
    tall = clip | {"source": "mandelbrot", "width": 50, "height": 123, "rate": "2", "frames": 17, "hold": 2}
    brief = clip | {"source": "gradients", "width": 64, "height": 64, "rate": "1", "frames": 10, "hold": 1}
    return [
        plan | {"name": "check-videollamb"},
        plan
        | {
            "name": "check-videollamb-memory",
            "seed": 402,
            "size": b,
            "clip": tall,
            "template": "llava_v1",
            "prompt": [QUESTIONS[12], QUESTIONS[3]],
            "frames": None,
        },
        plan
        | {
            "name": "check-videollamb-stream",
            "seed": 403,
            "clip": brief,
            "template": "vicuna_v1",
            "prompt": QUESTIONS[1].strip(),
            "n": 2,
            "frames": None,
            "stream": True,
            "fps": "1",
        },
    ]
