"""
longvu_case.py - a whole run of a LongVU case by the references.

  checkpoint (folders of decoder and towers) + input -> encode: pixels, DINOv2 of every sampled frame
    -> converse: for every turn prompt, ids, budget, selection, SigLIP, sampler, rows, greedy answer -> stages, turns

Ref:   spec 3, 4.2, 5; README of Vision-CAIR/LongVU.
Trap:  a turn's text takes part in the budget, so that each turn may keep other frames. Qwen2's vocabulary ends
       with its tokenizer, Llama's with its table. A Llama message is trimmed together with the mark of the clip in front of it.
"""

import json
import math
import pathlib
from typing import NamedTuple

import numpy as np

import checkpoint
import longvu_reference as reference
import media_reference as media
from bpe_reference import Tokenizer
from decoder_reference import Llama, greedy
from layer_reference import Weights
from video_llama_case import eos_ids

SYSTEM = "You are a helpful assistant."
MARK = -200
ENCODING = ("input.pixels.", "vision.", "compress.dino.", "project.aux.", "project.context", "sampler.")
TOWERS = {  # side of the pixels, mean, std
    "siglip": (384, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "dino": (378, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class Parts(NamedTuple):
    """A folder of the checkpoint: every tensor, config.json, where it is."""

    state: dict
    config: dict
    folder: pathlib.Path


def load(folder):
    """-> {longvu, siglip, dino: Parts}"""
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("config.json")):
        config, state = json.loads(path.read_text()), {}
        for file in sorted(path.parent.iterdir()):
            if file.suffix == ".safetensors":
                state |= checkpoint.read_safetensors(file)
            elif file.suffix in (".bin", ".pth"):
                state |= checkpoint.read_pth(file)
        name = {"siglip": "siglip", "dinov2": "dino"}.get(config["model_type"], "longvu")
        found[name] = Parts(state, config, path.parent)
    return found


def numbers(config):
    """The numbers of config.json that the visual part reads, with the defaults of the code."""
    highres = config.get("highres", False)
    return {
        "query_side": math.isqrt(config["query_num_list"][0]),
        "low_side": config["lowres_token"] if highres else 0,
        "dino_threshold": config.get("dino_threshold", 0.83),
        "drop_threshold": config.get("drop_threshold", 0.7),
        "reserve": config.get("inference_max_length", 16),
        "length": config["tokenizer_model_max_length"],
    }


def budget(n, n_text):
    """Spec 4.2-4.4; n: numbers"""
    high = n["query_side"] ** 2
    left = n["length"] - (n_text + 1) - n["reserve"]
    frames = lambda tokens: max(1, left // tokens)
    n_low = frames(n["low_side"] ** 2 if n["low_side"] else high)
    return {"L": n_text + 1, "B": left, "R": left + 1, "cap": n_low, "n_full": frames(high), "n_low": n_low}


def pixels(frames, tower):
    """u8 frames [n,Y,X,3] -> float32 [n,3,S,S]: a square with a border in the mean's colour, PIL's bicubic, normalised."""
    side, mean, std = TOWERS[tower]
    n, rows, columns, _ = frames.shape
    square = max(rows, columns)
    padded = np.empty((n, square, square, 3), np.uint8)
    padded[:] = [int(255 * channel) for channel in mean]
    top, left = (square - rows) // 2, (square - columns) // 2
    padded[:, top : top + rows, left : left + columns] = frames
    small = np.stack([media.bicubic(frame, side) for frame in padded])
    x = (small * np.float64(0.00392156862745098)).astype(np.float32)
    x = (x - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def each(function, x, stages, *args, group=1):
    """A tower frame by frame (or group by group), so that memory holds the numbers of one; stages are kept as float32."""
    out, kept = [], {}
    for i in range(0, len(x), group):
        here = {}
        out.append(function(*args, x[i : i + group], here))
        for name, value in here.items():
            kept.setdefault(name, np.zeros((len(x), *value.shape[1:]), np.float32))[i : i + group] = value
    stages |= kept
    return np.concatenate(out)


class Encoded(NamedTuple):
    frames: np.ndarray  # u8 [n_in,Y,X,3]
    pair: tuple
    image: bool
    dino: np.ndarray  # [n_in,576,D]
    stages: dict
    seen: dict  # (grids, stages) of frames that were already looked at, by their positions


def encode(parts, case_dir, case):
    path, image, stages = pathlib.Path(case_dir) / case["video"], "--image" in case["arguments"], {}
    if image:
        frames = media.picture(path)[None]
        pair = (frames.shape[2], frames.shape[1])
    else:
        total, rate, *_ = media.probe(path)
        indices = np.arange(0, total, max(1, round(rate)), dtype=np.int32)
        frames = media.native_frames(path, indices)
        pair = frames.shape[1:3]
        stages["input.frame_indices"] = indices
    stages["input.pixels.dino"] = pixels(frames, "dino")
    features = each(
        reference.dino, stages["input.pixels.dino"], stages, Weights(parts["dino"].state), parts["dino"].config
    )
    return Encoded(frames, pair, image, features, stages, {})


def see(parts, n, encoded, cap, stages):
    """Frames are kept, the rest of the encoders -> grids [n,q*q,W]"""
    kept = list(range(len(encoded.frames)))
    if not encoded.image:
        kept = reference.select(encoded.dino, cap, n["dino_threshold"], stages)
        stages["compress.dino.kept"] = np.array(kept, np.int32)
    if not kept:
        raise ValueError("no frame is kept")
    if tuple(kept) not in encoded.seen:
        encoded.seen[tuple(kept)] = look(parts, n, encoded, kept)
    grids, filled = encoded.seen[tuple(kept)]
    stages |= filled
    return grids


def look(parts, n, encoded, kept):
    """SigLIP and the sampler for some frames -> (grids, stages)"""
    x = pixels(encoded.frames[kept], "siglip")
    w, stages = Weights(parts["siglip"].state, "vision_model."), {"input.pixels.siglip": x}
    siglip = each(reference.siglip, x, stages, w, parts["siglip"].config["vision_config"])
    model = Weights(parts["longvu"].state, "model.")
    return reference.sample(model, [siglip, encoded.dino[kept]], encoded.pair, n["query_side"], stages), stages



def render(template, messages):
    """messages: [user, assistant, user, ...]; the first holds <image>."""
    roles = ("user", "assistant")
    if template == "qwen":
        turns = "".join(f"<|im_start|>{roles[i % 2]}\n{text}<|im_end|>\n" for i, text in enumerate(messages))
        return f"<|im_start|>system\n{SYSTEM}<|im_end|>\n{turns}<|im_start|>assistant\n"
    said = [("system", SYSTEM)] + [(roles[i % 2], text) for i, text in enumerate(messages)] + [("assistant", None)]
    header = "<|start_header_id|>{}<|end_header_id|>\n\n"
    turns = [header.format(role) + ("" if text is None else text.strip() + "<|eot_id|>") for role, text in said]
    return "<|begin_of_text|>" + "".join(turns)


def rows_of(parts, n, encoded, text, llama, stages):
    """text: ids before and behind the clip -> its rows"""
    b = budget(n, sum(map(len, text)))
    grids, w = see(parts, n, encoded, b["cap"], stages), Weights(parts["longvu"].state, "model.")
    if encoded.image:
        return reference.picture(w, n, grids, encoded.pair, stages)
    return reference.visual(w, n, grids, encoded.pair, b, llama.table[text[1]], len(encoded.frames), stages)


def converse(parts, case, encoded):
    """-> (stages, turns: a dict each with prompt, pieces, answer, gaps, text; text is None where it is not plain)"""
    main = parts["longvu"]
    n, tokenizer, arguments = numbers(main.config), Tokenizer(main.folder), case["arguments"]
    template = "llama3" if "llama" in main.config["model_type"] else "qwen"
    llama = Llama(Weights(main.state), main.config, tokenizer.length if template == "qwen" else None)
    stops = [[i] for i in eos_ids(main.folder)] + [[tokenizer.added["<|im_end|>" if template == "qwen" else "<|eot_id|>"]]]
    generation = main.folder / "generation_config.json"
    penalty = json.loads(generation.read_text()).get("repetition_penalty", 1.0) if generation.exists() else 1.0
    questions = case["prompt"] if isinstance(case["prompt"], list) else [case["prompt"]]
    stages, messages, turns = dict(encoded.stages), [], []
    for i, question in enumerate(questions):
        messages.append(question if i else "<image>\n" + question)
        prompt, filled = render(template, messages), {}
        pieces = [tokenizer.encode(piece) for piece in prompt.split("<image>")]
        filled["prompt.ids"] = np.array([*pieces[0], MARK, *pieces[1]], np.int32)
        rows = rows_of(parts, n, encoded, pieces, llama, filled)
        embeds = np.concatenate([llama.table[pieces[0]], rows, llama.table[pieces[1]]])[: n["length"]]
        filled["prompt.embeds"] = embeds
        n_new = int(arguments[arguments.index("-n") + 1])
        answer, filled["answer.logits"], gaps = greedy(llama, embeds, n_new, stops, filled, penalty)
        said = tokenizer.text(answer)
        said = said if said is None else said.strip()
        turns.append({"prompt": prompt, "pieces": pieces, "answer": answer, "gaps": gaps, "text": said})
        if not said and i + 1 < len(questions):
            raise ValueError(f"turn {i + 1}: the answer {answer} is empty or not plain; later turns depend on it")
        messages.append(said)
        stages |= {f"turn{i + 1}.{name}" if len(questions) > 1 else name: x for name, x in filled.items()}
    if len(questions) > 1:  # the engine encodes again only where a turn keeps other frames
        stages = {name: x for name, x in stages.items() if not any(part in name for part in ENCODING)}
    return stages, turns


def run(checkpoint_dir, case_dir, case):
    parts = load(checkpoint_dir)
    return converse(parts, case, encode(parts, case_dir, case))
