"""
flash_vstream_case.py - a whole run of a Flash-VStream (LLaVA) case by the references.

  checkpoint (folders of the model and of CLIP) + input -> encode: pixels, tower, pooled maps
    -> a clip: memory once, one prompt | a stream: memory frame by frame, prompts from what it is after some frames
    -> rows, greedy answer -> stages, turns

Ref:   spec A3, A5.
Trap:  the prompt is cut to the first tokenizer_model_max_length rows, be it the question. The tower is CLIP's own file, never
       the model's copy. The long side is cut off to a whole number when the short one becomes the tower's.
"""

import json
import math
import pathlib
from typing import NamedTuple

import numpy as np

import checkpoint
import flash_vstream_reference as reference
import media_reference as media
import text_reference as text
from decoder_reference import Llama, greedy
from layer_reference import Weights
from longvu_case import each
from video_llama_case import eos_ids

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite "
    "answers to the user's questions."
)
MARK = -200


class Parts(NamedTuple):
    """Tensors and config.json of the model and of the tower; the model's folder."""

    state: dict
    config: dict
    folder: pathlib.Path
    tower: dict
    tower_config: dict


def load(folder):
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("config.json")):
        config, state = json.loads(path.read_text()), {}
        for file in sorted(path.parent.iterdir()):
            if file.suffix == ".safetensors":
                state |= checkpoint.read_safetensors(file)
            elif file.suffix == ".bin":
                state |= checkpoint.read_pth(file)
        found[config["model_type"]] = (state, config, path.parent)
    tower, tower_config, _ = found["clip"]
    return Parts(*found["vstream"], tower, tower_config["vision_config"])


def numbers(config):
    """The numbers of config.json that the memory reads, with the defaults of the code."""
    return {
        "side": config.get("compress_size", 1),
        "long_side": config.get("compress_long_memory_size", 1),
        "turing_side": config.get("compress_Turing_memory_size", 1),
        "current": config.get("video_current_memory_length", 1),
        "long": config.get("video_long_memory_length", 10),
        "turing": config.get("video_Turing_memory_length", 10),
        "ratio": config.get("compress_Turing_update_ratio", 0.2),
        "length": config.get("tokenizer_model_max_length", 10**9),
    }


def pixels(frames, side):
    """u8 frames [n,Y,X,3] -> (u8 [n,side,side,3], float32 [n,3,side,side])"""
    rows, columns = frames.shape[1:3]
    short = min(rows, columns)
    height, width = (side if n == short else int(side * n / short) for n in (rows, columns))
    top, left = (height - side) // 2, (width - side) // 2
    small = np.stack([media.bicubic(frame, height, width) for frame in frames])
    small = np.ascontiguousarray(small[:, top : top + side, left : left + side])
    x = (small * np.float64(1 / 255)).astype(np.float32)
    return small, np.ascontiguousarray(((x - media.MEAN) / media.STD).transpose(0, 3, 1, 2))


class Encoded(NamedTuple):
    frames: np.ndarray  # [T,c*c,D]
    stages: dict


def encode(parts, case_dir, case):
    path, stages, n = pathlib.Path(case_dir) / case["video"], {}, numbers(parts.config)
    if "--image" in case["arguments"]:
        frames = media.picture(path)[None]
    else:
        total, rate, *_ = media.probe(path)
        indices = np.arange(0, total, max(1, round(rate)), dtype=np.int32)
        frames = media.native_frames(path, indices)
        stages["input.frame_indices"] = indices
    stages["input.pixels.u8"], stages["input.pixels"] = pixels(frames, parts.tower_config["image_size"])
    w = Weights(parts.tower, "vision_model.")
    features = each(reference.clip, stages["input.pixels"], stages, w, parts.tower_config)
    return Encoded(reference.pool(features, n["side"]), stages)


def render(question):
    return f"{SYSTEM} USER: <image>\n{question} ASSISTANT:"


class Talker:
    """Asks one question at a time of a memory."""

    def __init__(self, parts, case):
        self.parts, self.tokenizer = parts, text.Tokenizer(parts.folder)
        self.llama = Llama(Weights(parts.state), parts.config)
        arguments = case["arguments"]
        self.n_new = int(arguments[arguments.index("-n") + 1])
        self.stops = [[i] for i in eos_ids(parts.folder)] + [[self.tokenizer.ids["</s>"]]]
        self.length = numbers(parts.config)["length"]

    def ask(self, question, memory, stages):
        """-> turn"""
        rows = reference.project(Weights(self.parts.state, "model."), memory, stages)
        prompt = render(question)
        pieces = text.prompt_pieces(self.tokenizer, prompt.replace("<image>", "<ImageHere>"), self.tokenizer.ids["<s>"])
        cut = max(0, sum(map(len, pieces)) + len(rows) - self.length)
        assert cut < len(pieces[1])
        kept = pieces[1][: len(pieces[1]) - cut]
        stages["prompt.ids"] = np.array([*pieces[0], MARK, *kept], np.int32)
        stages["prompt.embeds"] = np.concatenate([self.llama.table[pieces[0]], rows, self.llama.table[kept]])
        answer, stages["answer.logits"], gaps = greedy(self.llama, stages["prompt.embeds"], self.n_new, self.stops, stages)
        said = self.tokenizer.text(answer)
        said = said if said is None else said.strip()
        return {"prompt": prompt, "pieces": pieces, "answer": answer, "gaps": gaps, "text": said}


def seed_of(arguments):
    return int(arguments[arguments.index("--seed") + 1]) if "--seed" in arguments else 0


def remember(parts, case, encoded, margins):
    """-> (stages, memories that are asked, what the names of their stages begin with)"""
    w, n, arguments = Weights(parts.state, "model."), numbers(parts.config), case["arguments"]
    generator, stages = reference.Generator(seed_of(arguments)), dict(encoded.stages)
    if "--stream" not in arguments:
        return stages, [reference.offline(w, n, encoded.frames, generator, margins, stages)], [""]
    stages.pop("input.pixels.u8")
    moments = [int(part) for part in arguments[arguments.index("--ask-after") + 1].split(",")]
    stream, memories = reference.Stream(w, n, generator, margins), []
    for i, frame in enumerate(encoded.frames):
        stream.add(frame, stages)
        if i + 1 in moments:
            memories.append(stream.memory())
    stream.finish(stages)
    prefixes = [f"ask{moment:03d}." for moment in moments]
    stages |= {f"{prefix}compress.memory": memory for prefix, memory in zip(prefixes, memories)}
    return stages, memories, prefixes


def converse(parts, case, remembered):
    """remembered: of remember() -> (stages, turns: a dict each with prompt, pieces, answer, gaps, text; text is None where it
    is not plain)"""
    talker, turns = Talker(parts, case), []
    stages, memories, prefixes = dict(remembered[0]), *remembered[1:]
    questions = case["prompt"] if isinstance(case["prompt"], list) else [case["prompt"]]
    for question, memory, prefix in zip(questions, memories, prefixes):
        filled = {}
        turns.append(talker.ask(question, memory, filled))
        stages |= {prefix + name: x for name, x in filled.items()}
    return stages, turns


def run(checkpoint_dir, case_dir, case):
    parts = load(checkpoint_dir)
    return converse(parts, case, remember(parts, case, encode(parts, case_dir, case), reference.Margins()))
