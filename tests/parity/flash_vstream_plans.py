"""
flash_vstream_plans.py - what made Flash-VStream (LLaVA) cases look like: random sizes, clips, streams, and the fixed small set
of `make check`.

  seed -> plan: name, seed, size, clip, prompt, n, ask (frames after which a stream is asked; None: a clip)

  size  length: of the prompt at most (tokenizer_model_max_length); sides: of the pooled maps; current, long, turing: slots
Trap:  a change of a fixed plan changes its weights: record it anew (parity.py --record).
"""

import numpy as np

import case_media
import case_plans

SHAPES = ((96, 128), (128, 96), (64, 64), (224, 224), (240, 320), (36, 64), (24, 312), (312, 24), (225, 223), (50, 75))
RATES = ("1", "2", "24000/1001", "30000/1001", "5/2", "3/2", "2/5", "25", "3")
SIDES = {
    14: ((8, 4, 1), (8, 8, 1), (4, 2, 1), (16, 4, 1), (5, 2, 1)),
    28: ((4, 2, 1), (8, 4, 1), (2, 1, 1)),
    32: ((7, 3, 1), (3, 1, 1)),
}


def random_sizes(rng):
    pick = lambda *values: values[rng.integers(len(values))]
    heads, clip_heads, patch = pick(1, 2, 3, 4), pick(1, 2, 3), pick(14, 28, 28, 32)
    sides = pick(*SIDES[patch])
    return {
        "clip_width": clip_heads * pick(16, 24, 48),
        "clip_heads": clip_heads,
        "clip_depth": pick(2, 2, 3, 4),
        "clip_hidden": int(rng.integers(33, 200)),
        "patch": patch,
        "attention_width": pick(32, 32, 8, 33),
        "side": sides[0],
        "long_side": sides[1],
        "turing_side": sides[2],
        "ratio": pick(0.2, 0.2, 0.05, 0.5),
        "current": pick(1, 1, 2),
        "long": pick(25, 10, 5, 33, 2),
        "turing": pick(25, 10, 4, 1),
        "length": 2048,
        "llama_width": heads * pick(16, 32, 64),
        "llama_heads": heads,
        "llama_kv_heads": heads,
        "llama_depth": pick(1, 2, 3),
        "llama_hidden": int(rng.integers(65, 300)),
        "llama_eps": pick(1e-6, 1e-5),
        "layout": pick("bin", "safetensors"),
    }


def random_plan(seed):
    rng = np.random.default_rng((seed, 10))
    pick = lambda *values: values[rng.integers(len(values))]
    size, stream, image = random_sizes(rng), rng.integers(3) == 0, rng.integers(10) == 0
    rate = pick(*RATES)
    num, den = map(int, (rate + "/1").split("/")[:2])
    step = max(1, round(num / den))
    wanted = pick(1, 2, 3, 5, size["long"] + 1, size["long"] + 2, 2 * size["turing"] + 3, 40)
    height, width = SHAPES[rng.integers(len(SHAPES))]
    clip = {"source": pick(*case_media.SOURCES), "width": width, "height": height, "rate": rate}
    clip["pixels"] = pick("bgr0", "yuv444p", "gray")
    clip["frames"] = int((wanted - 1) * step + 1 + rng.integers(step))
    moments = [int(rng.integers(1, max(2, wanted))), wanted]  # two: a single question would stand in the arguments
    stream = stream and wanted > 1
    questions = [pick(*case_plans.QUESTIONS).strip() for _ in moments]
    if image and not stream:
        clip |= {"frames": 0, "pixels": pick("rgb24", "gray")}
    return {
        "name": f"flash-vstream-random-{seed}",
        "system": "flash-vstream",
        "seed": seed,
        "size": size,
        "clip": clip,
        "ask": moments if stream else None,
        "prompt": questions if stream else questions[0],
        "n": int(rng.integers(2, 13)),
    }


def check_plans():
    """Small, yet k-means, several chunks of the abstract memory, a resize with a crop, a prompt that is cut, a stream."""
    size = {
        "clip_width": 48,
        "clip_heads": 2,
        "clip_depth": 3,
        "clip_hidden": 70,
        "patch": 28,
        "attention_width": 32,
        "side": 4,
        "long_side": 2,
        "turing_side": 1,
        "ratio": 0.2,
        "current": 1,
        "long": 9,
        "turing": 7,
        "length": 2048,
        "llama_width": 64,
        "llama_heads": 2,
        "llama_kv_heads": 2,
        "llama_depth": 2,
        "llama_hidden": 90,
        "llama_eps": 1e-5,
        "layout": "safetensors",
    }
    clip = {"source": "testsrc2", "width": 160, "height": 90, "rate": "2", "pixels": "bgr0", "frames": 52}
    plan = {"system": "flash-vstream", "seed": 301, "size": size, "clip": clip, "prompt": case_plans.QUESTIONS[0], "n": 6}
    plan |= {"ask": None}
    high = clip | {"rate": "5/2", "frames": 27, "width": 96, "height": 250, "source": "mandelbrot"}
    odd = size | {"patch": 32, "side": 7, "long_side": 3, "current": 2, "length": 450, "layout": "bin"}
    few, brief = size | {"long": 5, "turing": 4}, clip | {"frames": 24, "source": "gradients"}
    long_question = "one two three, " * 30
    return [
        plan | {"name": "check-flash-vstream"},
        plan | {"name": "check-flash-vstream-cut", "seed": 302, "size": odd, "clip": high, "prompt": long_question},
        plan
        | {
            "name": "check-flash-vstream-stream",
            "seed": 303,
            "size": few,
            "clip": brief,
            "ask": [4, 12],
            "prompt": [case_plans.QUESTIONS[3], case_plans.QUESTIONS[9]],
        },
    ]
