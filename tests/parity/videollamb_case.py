"""
videollamb_case.py - a whole run of a VideoLLaMB case by the references.

  checkpoint (folders of the model and of its towers) + input -> encode: frames, pixels, tower, scenes, rows of the decoder
    -> converse: for every turn prompt, ids, greedy answer | follow: a stream, captions when they are due -> stages, turns

Ref:   spec 3, 4.4-4.6, 5; README of the project: a conversation holds its answers.
Trap:  a stream's frames are prepared as those of a video, also for the image tower. The tokenizer of a file that says
       "legacy": false puts no blank in front of what follows a special string.
"""

import json
import math
import pathlib
from typing import NamedTuple

import numpy as np

import checkpoint
import media_reference as media
import text_reference as text
import videollamb_reference as reference
from decoder_reference import Llama, greedy
from flash_vstream_case import pixels as clip_pixels
from layer_reference import Weights
from longvu_case import each
from video_llama_case import eos_ids

SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite "
    "answers to the human's questions."
)
SYSTEMS = {"llava_v0": SYSTEM, "llava_v1": SYSTEM, "vicuna_v1": SYSTEM.replace("human", "user")}
QUERY = "Describe the video in one sentence."
MARKS = {"<video>": -201, "<image>": -200}
MOST = 512


class Parts(NamedTuple):
    """Tensors and config.json of the model; (tensors, vision_config) of the towers; the model's folder."""

    state: dict
    config: dict
    folder: pathlib.Path
    towers: dict

    @property
    def shows_memory(self):
        return "video" not in self.towers


def load(folder):
    found, towers = None, {}
    for path in sorted(pathlib.Path(folder).rglob("config.json")):
        config, state = json.loads(path.read_text()), {}
        for file in sorted(path.parent.iterdir()):
            if file.suffix == ".safetensors":
                state |= checkpoint.read_safetensors(file)
            elif file.suffix == ".bin":
                state |= checkpoint.read_pth(file)
        if config["model_type"] == "llava_llama":
            found = (state, config, path.parent)
        else:
            name = {"LanguageBindVideo": "video", "clip": "clip"}.get(config["model_type"], "image")
            towers[name] = (state, config["vision_config"])
    return Parts(*found, towers)


# ---- pixels


def resized(frame, side):
    """(height, width) with the short side `side`, the long one cut off to a whole number."""
    rows, columns = frame.shape[:2]
    if columns < rows:
        return math.floor(rows / columns * side), side
    return side, math.floor(columns / rows * side)


def bilinear_axis(x, size):
    """float64 [n,...] -> [size,...]; coordinates are float32, as torch's"""
    n, f32 = len(x), np.float32
    at = np.maximum(f32(n) / f32(size) * (np.arange(size).astype(f32) + f32(0.5)) - f32(0.5), f32(0))
    low = np.minimum(at.astype(int), n - 1)
    part = (at - low).astype(np.float64).reshape(-1, *[1] * (x.ndim - 1))
    return x[low] * (1 - part) + x[np.minimum(low + 1, n - 1)] * part


def bicubic_axis(x, size):
    """float64 [n,...] -> [size,...] with antialias, nothing clamped; places and distances are float32, as torch's"""
    n, f32 = len(x), np.float32
    if n == size:
        return x
    step = f32(n) / f32(size)
    wide = max(step, f32(1))
    out = np.empty((size, *x.shape[1:]))
    for o in range(size):
        centre, support = f32(o + 0.5) * step, f32(2) * wide
        low, high = max(0, int(centre - support + 0.5)), min(n, int(centre + support + 0.5))
        weights = np.array([media.cubic((f32(k) - centre + f32(0.5)) / wide) for k in range(low, high)])
        out[o] = np.tensordot(weights / weights.sum(), x[low:high], 1)
    return out


def middle(x, side):
    """[Y,X,3] -> [side,side,3]; a half is rounded to the even number."""
    top, left = (round((n - side) / 2) for n in x.shape[:2])
    return x[top : top + side, left : left + side]


def scaled(frame, side, axis_scale):
    height, width = resized(frame, side)
    return middle(axis_scale(axis_scale(frame.swapaxes(0, 1), width).swapaxes(0, 1), height), side)


def video_pixels(frames, side):
    """u8 [n,Y,X,3] -> float32 [n,3,side,side], checkpoint A"""
    normal = ((frame.astype(np.float32) / np.float32(255) - media.MEAN) / media.STD for frame in frames)
    x = [scaled(frame.astype(np.float64), side, bilinear_axis) for frame in normal]
    return np.ascontiguousarray(np.stack(x).transpose(0, 3, 1, 2).astype(np.float32))


def image_pixels(frames, side):
    x = [(scaled(f.astype(np.float64) / 255, side, bicubic_axis) - media.MEAN) / media.STD for f in frames]
    return np.ascontiguousarray(np.stack(x).transpose(0, 3, 1, 2).astype(np.float32))


# ---- what is seen


def option(case, name, otherwise=None):
    arguments = case["arguments"]
    return arguments[arguments.index(name) + 1] if name in arguments else otherwise


def indices_of(parts, path, case):
    total, rate, *_ = media.probe(path)
    wanted, multiple = option(case, "--frames"), 1 if parts.shows_memory else reference.GROUP
    if wanted is None and option(case, "--fps") is None and not parts.shows_memory:
        wanted = 8
    if wanted is None:
        n = math.ceil(total / rate * float(option(case, "--fps", 1)))
        wanted = min(MOST, max(multiple, n - n % multiple))
    return reference.linspace(total, int(wanted)).astype(np.int32)


def look(parts, name, x, stages):
    """pixels [n,3,S,S] -> hidden states [n,1+P,D] of a tower"""
    state, config = parts.towers[name]
    group = reference.GROUP if name == "video" else 1
    return each(reference.tower, x, stages, Weights(state, "vision_model."), config, name == "video", group=group)


def show(parts, x, image, margins, stages):
    """pixels -> rows of the decoder [R,H]"""
    w = Weights(parts.state, "model.mm_projector.")
    bridge, memory = reference.Bridge(w, parts.config), parts.shows_memory
    features = look(parts, "clip" if memory else "image" if image else "video", x, stages)
    pooled = reference.pool(features[:, 1:], 14 if memory else 12)
    stages["compress.pool"] = pooled
    if memory and len(x) <= reference.FEW:
        return reference.alone(bridge, pooled, stages)
    if image:
        return reference.picture(bridge, pooled, stages)
    ends = reference.tile(features[:, 0], (0.5, 7) if memory else (3, None), margins, stages)
    if memory:
        return reference.all_memories(bridge, w["abs_vid_pe.weight"], pooled, ends, stages)
    return reference.last_scene(bridge, pooled, ends, stages)


class Encoded(NamedTuple):
    rows: np.ndarray  # [R,H]
    mark: str
    stages: dict


def side_of(parts):
    return next(iter(parts.towers.values()))[1]["image_size"]


def encode(parts, case_dir, case, margins):
    path, image, stages = pathlib.Path(case_dir) / case["video"], "--image" in case["arguments"], {}
    if image:
        frames = media.picture(path)[None]
    else:
        stages["input.frame_indices"] = indices_of(parts, path, case)
        frames = media.native_frames(path, stages["input.frame_indices"])
    if parts.shows_memory:
        stages["input.pixels"] = clip_pixels(frames, side_of(parts))[1]
    else:
        stages["input.pixels"] = (image_pixels if image else video_pixels)(frames, side_of(parts))
    rows = show(parts, stages["input.pixels"], image, margins, stages)
    return Encoded(rows, "<image>" if image else "<video>", stages)


# ---- text


class Tokenizer(text.Tokenizer):
    """LlamaTokenizer of transformers 4.39, with and without "legacy"."""

    def __init__(self, folder):
        super().__init__(folder)
        config = json.loads((folder / "tokenizer_config.json").read_text())
        self.legacy = config.get("legacy") is not False

    def encode(self, string):
        if self.legacy or not string:
            return super().encode(string)
        first, ids = True, []
        for part in self.parts(string):
            if part in self.special:
                ids.append(self.special[part][0])
            else:  # the blank in front of everything stands alone where a special string follows at once, and is dropped
                ids += self.stretch(part) if first else self.stretch_bare(part)
            first = False
        return ids

    def parts(self, string):
        """Special strings, the longest at the leftmost place, and what lies between."""
        start = at = 0
        while at < len(string):
            found = [p for p in self.special if string.startswith(p, at)]
            if found:
                piece = max(found, key=len)
                yield from [string[start:at]] * (at > start)
                yield piece
                start = at = at + len(piece)
            else:
                at += 1
        yield from [string[start:]] * (start < len(string))

    def stretch_bare(self, string):
        """Without a blank in front: that of a letter no piece joins is cut off again."""
        return self.stretch("\n" + string)[2:]


def render(template, messages):
    """messages: [user, assistant, user, ...]"""
    out = SYSTEMS[template]
    if template == "llava_v0":
        out += "###"
        for i, message in enumerate(messages):
            out += f"{('Human', 'Assistant')[i % 2]}: {message}###"
        return out + "Assistant:"
    out += " "
    for i, message in enumerate(messages):
        out += f"ASSISTANT: {message}</s>" if i % 2 else f"USER: {message} "
    return out + "ASSISTANT:"


class Talker:
    def __init__(self, parts, case):
        self.parts, self.template = parts, case["template"]
        self.tokenizer = Tokenizer(parts.folder)
        self.llama = Llama(Weights(parts.state), parts.config)
        self.n_new = int(option(case, "-n"))
        self.stop = "###" if self.template == "llava_v0" else "</s>"
        self.stops = [[i] for i in eos_ids(parts.folder)] + [self.tokenizer.encode(self.stop)]

    def plain(self, ids):
        """Text of an answer without special pieces, or None."""
        said = self.tokenizer.text([i for i in ids if self.tokenizer.types[i] != text.CONTROL])
        return None if said is None else said.strip().removesuffix(self.stop).strip()

    def ask(self, messages, mark, rows, stages):
        """-> turn"""
        prompt = render(self.template, [mark + "\n" + messages[0], *messages[1:]])
        before, after = prompt.split(mark, 1)
        pieces = [[self.tokenizer.ids["<s>"], *self.tokenizer.encode(before)], self.tokenizer.encode(after)]
        stages["prompt.ids"] = np.array([*pieces[0], MARKS[mark], *pieces[1]], np.int32)
        stages["prompt.embeds"] = np.concatenate([self.llama.table[pieces[0]], rows, self.llama.table[pieces[1]]])
        assert len(stages["prompt.embeds"]) <= self.parts.config["tokenizer_model_max_length"]
        answer, logits, gaps = greedy(self.llama, stages["prompt.embeds"], self.n_new, self.stops, stages)
        stages["decoder.norm"] = stages["decoder.norm"][-1:]
        stages["decoder.logits.steps"] = logits
        return {"prompt": prompt, "pieces": pieces, "answer": answer, "gaps": gaps, "text": self.plain(answer)}


def converse(parts, case, encoded):
    """-> (stages, turns: a dict each with prompt, pieces, answer, gaps, text; text is None where it is not plain)"""
    talker, stages, messages, turns = Talker(parts, case), dict(encoded.stages), [], []
    questions = case["prompt"] if isinstance(case["prompt"], list) else [case["prompt"]]
    for i, question in enumerate(questions):
        filled = {}
        turns.append(talker.ask([*messages, question], encoded.mark, encoded.rows, filled))
        messages += [question, turns[-1]["text"] or ""]
        stages |= {f"turn{i + 1}.{name}" if len(questions) > 1 else name: x for name, x in filled.items()}
    return stages, turns


# ---- streams


class Followed(NamedTuple):
    captions: list  # rows of the decoder
    stages: dict


def follow(parts, case_dir, case, margins):
    path = pathlib.Path(case_dir) / case["video"]
    stages = {"input.frame_indices": indices_of(parts, path, case)}
    x = video_pixels(media.native_frames(path, stages["input.frame_indices"]), side_of(parts))
    rows = look(parts, "image", x, {})[:, 0]
    speech, captions, ends = reference.Speech(float(option(case, "--fps", 1)), margins), [], []
    for i, row in enumerate(rows):
        if speech.step(row):
            filled = {}
            picked = reference.linspace(i + 1, reference.shown(i + 1))
            captions.append(show(parts, x[picked], False, margins, filled))
            ends.append([int(end) for end in filled["compress.boundaries"]])
    stages |= {
        "stream.cls": rows,
        "stream.boundaries": reference.padded(speech.boundaries),
        "stream.events": np.array(speech.events, np.int32),
        "stream.marks": reference.padded(speech.all_marks),
        "stream.scene_ends": np.array(ends, np.int32),
    }
    return Followed(captions, stages)


def comment(parts, case, followed):
    """The captions of a stream -> (stages, turns)"""
    talker, stages, turns, logits = Talker(parts, case), dict(followed.stages), [], []
    for rows in followed.captions:
        filled = {}
        turns.append(talker.ask([case["prompt"]], "<video>", rows, filled) | {"text": None})
        logits.append(filled["decoder.logits"])
        stages["prompt.ids"] = filled["prompt.ids"]
    stages["stream.logits"] = np.stack(logits)
    stages["stream.answer_ids"] = reference.padded([turn["answer"] for turn in turns])
    return stages, turns


def prepare(parts, case_dir, case, margins):
    """What no decoder changes."""
    return (follow if "--stream" in case["arguments"] else encode)(parts, case_dir, case, margins)


def answer(parts, case, prepared):
    return (comment if "--stream" in case["arguments"] else converse)(parts, case, prepared)


def run(checkpoint_dir, case_dir, case):
    parts = load(checkpoint_dir)
    return answer(parts, case, prepare(parts, case_dir, case, reference.Margins()))
