"""
flash_vstream_qwen_case.py - a whole run of a Flash-VStream (Qwen2-VL) case by the references.

  checkpoint + input -> encode: list of frames, two resizes, patches of both resolutions, tower
    -> remember: CSM, DAM, rows -> converse: for every turn prompt, ids, places, greedy answer -> stages, turns
    -> a stream: frames one by one -> memory after some -> converse: each question alone

Ref:   spec B3, B5; scripts/extract_frames.py, qwen_vl_utils vision_process.py, models/vstream_qwen2vl_processor.py.
Trap:  the list of frames is made twice, the second time from float32 numbers. The repetition penalty of generate() counts the
       ids of the prompt too, the pads of the clip among them.
"""

import json
import math
import pathlib
from typing import NamedTuple

import numpy as np

import checkpoint
import flash_vstream_qwen_reference as reference
import media_reference as media
from bpe_reference import Tokenizer
from decoder_reference import Llama, greedy
from flash_vstream_case import seed_of
from flash_vstream_reference import Generator
from layer_reference import Weights
from video_llama_case import eos_ids

SYSTEM = "You are a helpful assistant."
PAD = "<|video_pad|>"
LONGEST, FRAMES, FEWEST = 14400, 240, 4
PIXELS_MIN, PIXELS_MAX = 128 * 28 * 28, 256 * 28 * 28
SECOND_MIN, SECOND_MAX = 3136, 12845056


class Parts(NamedTuple):
    """Every tensor, config.json, the folder."""

    state: dict
    config: dict
    folder: pathlib.Path


def load(folder):
    path = next(pathlib.Path(folder).rglob("config.json"))
    state = {}
    for file in sorted(path.parent.glob("*.safetensors")):
        state |= checkpoint.read_safetensors(file)
    return Parts(state, json.loads(path.read_text()), path.parent)


def float32_steps(last, n):
    """torch.linspace(0, last, n).round(): float32, from both ends to the middle"""
    step = np.float32(last) / np.float32(n - 1)
    i = np.arange(n)
    x = np.where(i < n // 2, step * i.astype(np.float32), np.float32(last) - step * (n - 1 - i).astype(np.float32))
    return np.rint(x).astype(np.int32)


def frame_list(total, rate):
    n = min(max(round(total / rate), FEWEST), LONGEST)
    listed = np.rint(np.linspace(0, total - 1, n)).astype(np.int32)
    if n > FRAMES:
        listed = listed[float32_steps(n - 1, FRAMES)]
    return np.concatenate([listed, listed[-1:]]) if len(listed) % 2 else listed


def smart_resize(height, width, factor, least, most):
    rounded = [max(factor, round(n / factor) * factor) for n in (height, width)]
    if rounded[0] * rounded[1] > most:
        beta = math.sqrt(height * width / most)
        return [math.floor(n / beta / factor) * factor for n in (height, width)]
    if rounded[0] * rounded[1] < least:
        beta = math.sqrt(least / (height * width))
        return [math.ceil(n * beta / factor) * factor for n in (height, width)]
    return rounded


def bicubic(frames, height, width):
    """u8 [n,Y,X,3] -> [n,height,width,3]"""
    wide = media.bicubic_axis(np.ascontiguousarray(frames.transpose(2, 0, 1, 3)), width)  # [X,n,Y,3]
    return media.bicubic_axis(np.ascontiguousarray(wide.transpose(2, 1, 0, 3)), height).transpose(1, 0, 2, 3)


def pixels(frames):
    """u8 [n,Y,X,3] -> float32 [n,3,height,width] after both resizes"""
    first = smart_resize(*frames.shape[1:3], 28, PIXELS_MIN, PIXELS_MAX)
    second = smart_resize(*first, 56, SECOND_MIN, SECOND_MAX)
    small = bicubic(bicubic(frames, *first), *second)
    x = (small * np.float64(1 / 255)).astype(np.float32)
    return ((x - media.MEAN) / media.STD).transpose(0, 3, 1, 2)


class Encoded(NamedTuple):
    grid: tuple  # lines and columns of patches of a step
    whole: np.ndarray  # [t,P,D]
    half: np.ndarray  # [t,P/4,D]
    stages: dict


def encode(parts, case_dir, case):
    path, stages = pathlib.Path(case_dir) / case["video"], {}
    if "--image" in case["arguments"]:
        frames = np.stack([media.picture(path)] * 2)
    else:
        total, rate, *_ = media.probe(path)
        stages["input.frame_indices"] = frame_list(total, rate)
        frames = media.native_frames(path, stages["input.frame_indices"])
    x = pixels(frames)
    steps = x.reshape(len(x) // 2, 2, *x.shape[1:])
    grid = tuple(n // reference.PATCH for n in x.shape[2:])
    tower = reference.Tower(Weights(parts.state, "visual."), parts.config["vision_config"])
    whole, half = reference.patches(steps), reference.patches(reference.halved(steps))
    stages["input.pixels"], stages["compress.half.pixels"] = (x.reshape(-1, x.shape[-1]) for x in (whole, half))
    features, layers = tower.encode(whole, grid)
    few, few_layers = tower.encode(half, tuple(n // reference.POOL for n in grid))
    for i, (a, b) in enumerate(zip(layers, few_layers)):
        name = f"vision.block.{i - 1:02d}" if i else "vision.embed"
        stages[name] = np.concatenate([a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])])
    return Encoded(grid, features, few, stages)


class Remembered(NamedTuple):
    rows: np.ndarray  # [R,Dl]
    picked: np.ndarray
    times: np.ndarray
    stages: dict


def follow(parts, case_dir, case, margins):
    """-> (grid, memories: a Remembered after each moment that is asked)"""
    arguments, path, (k, n) = case["arguments"], pathlib.Path(case_dir) / case["video"], lengths(parts.config)
    moments = [int(part) for part in arguments[arguments.index("--ask-after") + 1].split(",")]
    total, rate, *_ = media.probe(path)
    x = pixels(media.native_frames(path, np.arange(0, total, max(1, round(rate)))))
    grid = tuple(size // reference.PATCH for size in x.shape[2:])
    tower = reference.Tower(Weights(parts.state, "visual."), parts.config["vision_config"])
    stream, steps, memories = reference.Stream(k, Generator(seed_of(arguments)), margins), [], []
    for i, frame in enumerate(x):
        second = i < 2 * k and i % 2 == 1
        if second:
            steps.pop()
        steps.append(np.stack([x[i - 1] if second else frame, frame])[None])
        half = reference.patches(reference.halved(steps[-1]))
        stream.add(tower.encode(half, tuple(size // reference.POOL for size in grid))[0], second)
        for _ in range(moments.count(i + 1)):
            stages, shape = {}, (-1, grid[0] * grid[1] // 4, tower.width)
            bank, slots = np.concatenate(stream.bank).reshape(shape), stream.slots.reshape(shape)
            picked = reference.detail(bank, slots, stream.weights, n, margins, stages)
            whole = tower.encode(reference.patches(np.concatenate([steps[s] for s in picked])), grid)[0]
            memory = np.concatenate([rows.reshape(-1, tower.width) for rows in (whole, slots)])
            reference.merge(Weights(parts.state, "visual.merger."), memory, stages)
            kept = {name: stages[name] for name in ("compress.dam.index", "project.video")}
            memories.append(Remembered(stages["project.video"], picked, stream.times, kept))
    return grid, memories


def lengths(config):
    """Of the memory in steps: CSM, DAM."""
    memory = config["vision_config"].get("flash_memory_config", {})
    of = lambda name, default: memory.get(f"flash_memory_{name}_length", default) // 2
    return of("temporal", 120), of("spatial", 60)


def remember(parts, case, encoded, margins):
    stages, (k, n) = dict(encoded.stages), lengths(parts.config)
    slots, weights, times = reference.synopsis(encoded.half, k, Generator(seed_of(case["arguments"])), margins, stages)
    picked = reference.detail(encoded.half, slots, weights, n, margins, stages)
    memory = np.concatenate([x.reshape(-1, x.shape[-1]) for x in (encoded.whole[picked], slots)])
    rows = reference.merge(Weights(parts.state, "visual.merger."), memory, stages)
    return Remembered(rows, picked, times, stages)


class Qwen2VL(Llama):
    """The decoder with three places a row, each turning its section of the pairs of a head."""

    def __init__(self, state, config):
        super().__init__(state, config | {"rope_scaling": None})
        sections = config["rope_scaling"]["mrope_section"]
        self.kind = np.repeat(np.arange(3), sections)
        assert len(self.kind) == self.width // 2
        self.places, self.behind = np.zeros((3, 0), np.int64), 0

    def place(self, places, behind):
        """places [3,N] of a prompt; behind: of the first row of the answer"""
        self.places, self.behind = places, behind

    def rotate(self, x):
        at, n = self.position, self.places.shape[1]
        known = self.places[:, at : at + len(x)]
        if at >= n:
            known = np.tile(self.behind + np.arange(at - n, at - n + len(x)), (3, 1))
        angle = (known[self.kind].T.astype(np.float32) * self.frequency).astype(np.float64)
        cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
        a, b = np.split(x.reshape(len(x), -1, self.width), 2, axis=-1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)


def render(messages):
    """messages: [user, assistant, user, ...]; the clip stands in the first."""
    roles = ("user", "assistant")
    said = [f"<|vision_start|>{PAD}<|vision_end|>{messages[0]}", *messages[1:]]
    turns = "".join(f"<|im_start|>{roles[i % 2]}\n{text}<|im_end|>\n" for i, text in enumerate(said))
    return f"<|im_start|>system\n{SYSTEM}<|im_end|>\n{turns}<|im_start|>assistant\n"


class Talker:
    """Asks about one memory at a time."""

    def __init__(self, parts, case, grid):
        self.tokenizer, self.grid, arguments = Tokenizer(parts.folder), grid, case["arguments"]
        self.llama, self.pad = Qwen2VL(Weights(parts.state), parts.config), self.tokenizer.added[PAD]
        self.stops = [[i] for i in eos_ids(parts.folder)] + [[self.tokenizer.added["<|im_end|>"]]]
        self.n_new, self.stream = int(arguments[arguments.index("-n") + 1]), "--stream" in arguments
        generation = json.loads((parts.folder / "generation_config.json").read_text())
        self.penalty = generation.get("repetition_penalty", 1.0)

    def ask(self, messages, remembered, stages):
        """-> turn"""
        prompt, llama = render(messages), self.llama
        pieces = [self.tokenizer.encode(piece) for piece in prompt.split(PAD, 1)]
        ids = [*pieces[0], *[self.pad] * len(remembered.rows), *pieces[1]]
        stages["prompt.ids"] = np.array(ids, np.int32)
        plain, places, behind = reference.places(
            ids, self.pad, self.grid, remembered.picked, remembered.times, self.stream
        )
        if not self.stream:
            stages["prompt.positions.text"] = plain.astype(np.int32)
        stages["prompt.positions"] = places.astype(np.int32)
        stages["prompt.embeds"] = np.concatenate([llama.table[pieces[0]], remembered.rows, llama.table[pieces[1]]])
        llama.place(places, behind)
        answer, stages["answer.logits"], gaps = greedy(
            llama, stages["prompt.embeds"], self.n_new, self.stops, stages, self.penalty, ids
        )
        said = self.tokenizer.text(answer)
        said = said if said is None else said.strip()
        return {"prompt": prompt, "pieces": pieces, "answer": answer, "gaps": gaps, "text": said}


def questions_of(case):
    return case["prompt"] if isinstance(case["prompt"], list) else [case["prompt"]]


def converse(parts, case, grid, remembered):
    """-> (stages, turns: a dict each with prompt, pieces, answer, gaps, text; text is None where it is not plain)"""
    talker, questions, stages = Talker(parts, case, grid), questions_of(case), dict(remembered.stages)
    messages, turns = [], []
    for i, question in enumerate(questions):
        messages.append(question)
        filled = {}
        turns.append(talker.ask(messages, remembered, filled))
        said = turns[-1]["text"]
        if not said and i + 1 < len(questions):
            raise ValueError(f"turn {i + 1}: the answer is empty or not plain; later turns depend on it")
        messages.append(said)
        stages |= {f"turn{i + 1}.{name}" if len(questions) > 1 else name: x for name, x in filled.items()}
    return stages, turns


def converse_stream(parts, case, grid, memories):
    """memories: of follow() -> as converse()"""
    talker, stages, turns = Talker(parts, case, grid), {}, []
    moments = case["arguments"][case["arguments"].index("--ask-after") + 1].split(",")
    for moment, question, remembered in zip(moments, questions_of(case), memories):
        filled = dict(remembered.stages)
        turns.append(talker.ask([question], remembered, filled))
        stages |= {f"ask{int(moment):03d}.{name}": x for name, x in filled.items()}
    return stages, turns


def run(checkpoint_dir, case_dir, case):
    parts, margins = load(checkpoint_dir), reference.Margins()
    if "--stream" in case["arguments"]:
        return converse_stream(parts, case, *follow(parts, case_dir, case, margins))
    encoded = encode(parts, case_dir, case)
    return converse(parts, case, encoded.grid, remember(parts, case, encoded, margins))
