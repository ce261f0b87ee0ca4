"""
case_plans.py - what made cases look like: random sizes and clips, and the fixed small set of `make check`.

  seed -> plan: name, seed, size (widths, depths, heads), clip (picture, frames, sound), template, prompt, n, layout,
          share, eos_step

  size      see case_weights.py; widths are whole heads of the original: 88 in the ViT, 64 in Q-Formers and ImageBind
  clip      see case_media.py; frames 0: a still picture
  layout    of the decoder's weights: bin, shards or safetensors;  share: tensors of a file share one storage
  eos_step  the id answered at this step becomes the end id of generation_config.json; None: it stays 2

Trap:  a change of a fixed plan changes its weights: record it anew (parity.py --record).
"""

import numpy as np

import case_media

QUESTIONS = [
    "What is the dog doing?",
    "Describe the video, step by step. ",
    "Is there music?",
    "Why?",
    "  How many?  Two,   or three?",
    "Qu'est-ce que c'est, déjà?",
    "这是什么?",
    "Tell me more",
    "x" * 40,
    "Where is the person?",
    "What colour is her mat?",
    "one two three, " * 40,
]


class NoClearAnswer(SystemExit):
    """No decoder that was tried answers so that rounding cannot change it, in plain text."""


def random_sizes(rng, audio):
    pick = lambda *values: values[rng.integers(len(values))]
    heads = pick(1, 2, 3, 4, 6)
    head = pick(16, 32, 48, 64, 128) if heads < 4 else pick(16, 32, 40)
    return {
        "vit_width": 88 * pick(1, 2, 3),
        "vit_depth": pick(1, 2, 3),
        "vit_hidden": int(rng.integers(65, 400)),
        "patch": pick(14, 16, 28, 32),
        "qformer_width": 64 * pick(1, 2, 3),
        "qformer_depth": pick(1, 2, 3, 4),
        "qformer_hidden": int(rng.integers(65, 300)),
        "queries": pick(32, 32, 7, 33),
        "video_queries": pick(32, 32, 5, 17),
        "audio_queries": pick(8, 8, 3),
        "audio": audio,
        "audio_width": 64 * pick(1, 2),
        "audio_depth": pick(1, 2, 3),
        "audio_hidden": int(rng.integers(65, 300)),
        "audio_out": int(rng.integers(24, 130)),
        "audio_scale": pick(20.0, 20.0, 7.5, 150.0),
        "llama_width": heads * head,
        "llama_heads": heads,
        "llama_kv_heads": pick(*[k for k in range(1, heads + 1) if heads % k == 0] + [heads]),
        "llama_depth": pick(1, 2, 3),
        "llama_hidden": int(rng.integers(65, 400)),
        "llama_eps": pick(1e-6, 1e-5),
    }


def random_clip(rng, audio):
    pick = lambda *values: values[rng.integers(len(values))]
    clip = {
        "source": pick(*case_media.SOURCES),
        "width": int(rng.integers(17, 320)),
        "height": int(rng.integers(17, 260)),
        "rate": pick("1", "2", "3", "25", "30000/1001", "5/3"),
        "pixels": pick("yuv420p", "yuv444p", "bgr0", "yuv422p", "gray"),
        "frames": int(rng.integers(1, 40)) if rng.integers(2) else int(rng.integers(1, 9)),
    }
    if clip["pixels"] in ("yuv420p", "yuv422p"):
        clip["width"] += clip["width"] % 2
        clip["height"] += clip["height"] % 2
    if audio:
        rate = pick(8000, 11025, 16000, 22050, 32000, 44100, 48000)
        seconds = pick(0.3, 1.3, 2.0, 3.7, 9.0, 19.0)
        clip |= {
            "codec": pick("flac", "pcm_s16le"),
            "sample_rate": rate,
            "channels": pick(1, 2, 2, 6),
            "samples": int(rate * seconds) + 5,
        }
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
    return {
        "name": f"random-{seed}",
        "seed": seed,
        "size": random_sizes(rng, audio),
        "clip": clip,
        "template": pick("vicuna", "llama_v2"),
        "prompt": questions if turns > 1 else questions[0],
        "n": int(rng.integers(2, 17)),
        "layout": pick("bin", "shards", "safetensors"),
        "share": bool(rng.integers(2)),
        "eos_step": pick(None, None, 3),
    }


def with_video(plan, video):
    """The plan with a file instead of a made clip, and with a sound branch to hear it."""
    return plan | {
        "name": f"{video.stem}-{plan['seed']}",
        "video": video,
        "size": plan["size"] | {"audio": True},
        "clip": plan["clip"] | {"frames": max(1, plan["clip"]["frames"])},
    }


def check_plans():
    """Small, yet every branch: sound (stereo with overlapping clips, short mono, too short), GQA, turns, picture, end id."""
    size = {
        "vit_width": 88,
        "vit_depth": 2,
        "vit_hidden": 150,
        "patch": 28,
        "qformer_width": 64,
        "qformer_depth": 3,
        "qformer_hidden": 90,
        "queries": 32,
        "video_queries": 32,
        "audio_queries": 8,
        "audio": True,
        "audio_width": 64,
        "audio_depth": 2,
        "audio_hidden": 100,
        "audio_out": 40,
        "audio_scale": 20.0,
        "llama_width": 128,
        "llama_heads": 4,
        "llama_kv_heads": 4,
        "llama_depth": 2,
        "llama_hidden": 200,
        "llama_eps": 1e-6,
    }
    clip = {"source": "testsrc2", "width": 98, "height": 66, "rate": "3", "pixels": "yuv420p", "frames": 21}
    stereo = {"codec": "flac", "sample_rate": 44100, "channels": 2, "samples": 310000}
    short = {"codec": "pcm_s16le", "sample_rate": 22050, "channels": 1, "samples": 29001}
    plan = {
        "seed": 101,
        "size": size,
        "clip": clip | stereo,
        "template": "llama_v2",
        "prompt": QUESTIONS[0],
        "n": 10,
        "layout": "shards",
        "share": False,
        "eos_step": None,
    }
    return [
        plan | {"name": "check-sound"},
        plan
        | {
            "name": "check-short-sound",
            "seed": 102,
            "clip": clip | short | {"frames": 8, "pixels": "bgr0", "width": 61, "height": 83},
            "template": "vicuna",
            "layout": "safetensors",
            "share": True,
            "eos_step": 4,
            "size": size
            | {
                "llama_kv_heads": 2,
                "llama_eps": 1e-5,
                "vit_width": 176,
                "audio_width": 128,
                "audio_out": 33,
                "audio_scale": 150.0,
            },
        },
        plan
        | {
            "name": "check-turns",
            "seed": 103,
            "clip": clip | {"frames": 3, "rate": "30000/1001"},
            "layout": "bin",
            "prompt": [QUESTIONS[1], QUESTIONS[3], QUESTIONS[5]],
            "template": "vicuna",
            "size": size
            | {"audio": False, "qformer_width": 128, "queries": 7, "video_queries": 17, "llama_kv_heads": 1},
        },
        plan
        | {
            "name": "check-turns-llama",
            "seed": 105,
            "clip": clip | short | {"frames": 1, "samples": 300},
            "layout": "bin",
            "prompt": [QUESTIONS[4], QUESTIONS[9]],
            "size": size | {"llama_heads": 3, "llama_kv_heads": 3, "llama_width": 96},
        },
        plan
        | {
            "name": "check-picture",
            "seed": 104,
            "clip": clip | {"frames": 0, "pixels": "rgb24", "width": 301, "height": 97},
            "share": True,
            "size": size | {"patch": 32, "vit_depth": 1},
        },
    ]
