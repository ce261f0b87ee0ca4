"""
flash_vstream_qwen_plans.py - what made Flash-VStream (Qwen2-VL) cases look like: random sizes and clips, and the fixed small
set of `make check`.

  seed -> plan: name, seed, size, clip, prompt, n, ask (frames after which a stream is asked; None: a clip)

  size  slots, shown: steps of the CSM and of the DAM; sections: pairs of a head that turn by time, line, column
  clip  hold: frames that a picture stands still, so that steps repeat
Trap:  a step has 512 patches at least, however small the picture. A change of a fixed plan changes its weights: record it anew
       (parity.py --record).
"""

import numpy as np

import case_media
import case_plans

SHAPES = ((96, 128), (128, 96), (64, 64), (36, 64), (64, 36), (144, 256), (40, 1600), (600, 50), (480, 854), (57, 91))
RATES = ("1", "1", "2", "24000/1001", "30000/1001", "5/2", "3/5", "3")
SECTIONS = ((16, 24, 24), (8, 12, 12), (2, 3, 3), (4, 6, 6), (1, 1, 2))
QUESTIONS = (*case_plans.QUESTIONS, "What is <|im_end|> here? <|endoftext|>", "<|vision_start|>Who?<|vision_end|>")


def random_sizes(rng):
    pick = lambda *values: values[rng.integers(len(values))]
    vit_heads, kv_heads, shown = pick(1, 1, 2, 3), pick(1, 2), pick(1, 2, 3, 5)
    sections = pick(*SECTIONS)
    heads = kv_heads * pick(1, 2, 3)
    return {
        "vit_width": vit_heads * pick(80, 80, 16, 24, 32),
        "vit_heads": vit_heads,
        "vit_depth": pick(1, 2, 2, 3),
        "vit_hidden": int(rng.integers(33, 200)),
        "slots": shown + pick(0, 1, 2, 5),
        "shown": shown,
        "width": heads * 2 * sum(sections),
        "heads": heads,
        "kv_heads": kv_heads,
        "sections": sections,
        "depth": pick(1, 2, 3),
        "hidden": int(rng.integers(65, 300)),
        "eps": pick(1e-6, 1e-5),
        "theta": pick(1e6, 10000.0),
        "surplus_rows": pick(0, 24),
        "penalty": pick(1.0, 1.0, 1.05, 1.3),
    }


def random_plan(seed):
    rng = np.random.default_rng((seed, 12))
    pick = lambda *values: values[rng.integers(len(values))]
    size, image, turns = random_sizes(rng), rng.integers(12) == 0, pick(1, 1, 1, 2)
    rate = pick(*RATES)
    num, den = map(int, (rate + "/1").split("/")[:2])
    whole, slots = 2 * size["shown"], 2 * size["slots"]
    wanted = pick(1, 2, 3, 5, whole - 1, whole, slots, slots + 1, slots + 2, 4 * slots, 4 * slots + 1, 25)
    height, width = SHAPES[rng.integers(len(SHAPES))]
    clip = {"source": pick(*case_media.SOURCES), "width": width, "height": height, "rate": rate}
    clip["pixels"] = pick("bgr0", "yuv444p", "gray")
    clip["frames"] = 0 if image else max(1, int(min(wanted, 40) * num / den))
    if image:
        clip["pixels"] = pick("rgb24", "gray")
    elif rate == "1":
        clip["hold"] = pick(1, 1, 4, 6, 7, 100)
    ask = None
    if rng.integers(6) == 0:  # two moments: a single question would stand in the arguments
        clip |= {"rate": "1", "frames": int(rng.integers(2, 60)), "hold": 1}
        ask, turns = [int(rng.integers(1, clip["frames"])), clip["frames"]], 2
        clip["pixels"] = "bgr0"
    questions = [pick(*QUESTIONS).strip() for _ in range(turns)]
    return {
        "name": f"flash-vstream-qwen-random-{seed}",
        "system": "flash-vstream-qwen",
        "seed": seed,
        "size": size,
        "clip": clip,
        "ask": ask,
        "prompt": questions if turns > 1 else questions[0],
        "n": int(rng.integers(2, 13)),
    }


def check_plans():
    """Small, yet heads of 80, k-means, steps of a clip that stands still in part, and two turns about a clip that fits."""
    size = {
        "vit_width": 80,
        "vit_heads": 1,
        "vit_depth": 2,
        "vit_hidden": 50,
        "slots": 3,
        "shown": 2,
        "width": 64,
        "heads": 2,
        "kv_heads": 1,
        "sections": (4, 6, 6),
        "depth": 2,
        "hidden": 90,
        "eps": 1e-6,
        "theta": 1e6,
        "surplus_rows": 24,
        "penalty": 1.3,
    }
    clip = {"source": "testsrc2", "width": 96, "height": 64, "rate": "1", "pixels": "bgr0", "frames": 13, "hold": 1}
    plan = {"system": "flash-vstream-qwen", "seed": 401, "size": size, "clip": clip, "prompt": QUESTIONS[0], "n": 6}
    high = clip | {"rate": "3/2", "frames": 5, "width": 64, "height": 97, "source": "mandelbrot"}
    few = size | {"vit_width": 32, "vit_heads": 2, "slots": 4, "shown": 3, "sections": (2, 3, 3), "width": 32}
    return [
        plan | {"name": "check-flash-vstream-qwen"},
        plan
        | {
            "name": "check-flash-vstream-qwen-turns",
            "seed": 402,
            "size": few,
            "clip": high,
            "prompt": [QUESTIONS[3], QUESTIONS[12]],
        },
    ]
