"""
videochat_case.py - a whole run of a VideoChat-Embed case by the reference.

  checkpoint (three files and the decoder's folder) + input -> encode: pixels, rows, first message
    -> converse: prompt, ids, greedy answer, for every turn -> stages, turns

Ref:   spec VideoChat 3 (frames, times, pixels), 5 (prompt, splicing, answer).
Trap:  times are rounded as numpy does: to a whole number of tenths, halves to even. The long side is cut off to a whole number
       when the short one becomes 224; half of an odd rest is rounded to even.
"""

import json
import pathlib
from typing import NamedTuple

import numpy as np

import checkpoint
import media_reference as media
import text_reference as text
import videochat_reference as reference
from decoder_reference import Llama, greedy
from layer_reference import Weights
from video_llama_case import eos_ids

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def role_of(state):
    """-> (order of loading, prefix of the names)"""
    if "extra_query_tokens" in state:
        return 2, ""
    if "query_tokens" in state:
        return 1, ""
    return (0, "visual_encoder.") if "pos_embed" in state else (3, "llama_model.")


def load(folder):
    """-> (state dict, decoder's folder)"""
    parts, llm = [], None
    for path in sorted(p for p in pathlib.Path(folder).rglob("*") if p.is_file()):
        if path.suffix in (".pth", ".bin"):
            state = checkpoint.read_pth(path)
        elif path.suffix == ".safetensors":
            state = checkpoint.read_safetensors(path)
        else:
            if path.name == "tokenizer.model":
                llm = path.parent
            continue
        state = state.get("model", state)
        parts.append((*role_of(state), state))
    merged = {}
    for _, prefix, state in sorted(parts, key=lambda part: part[0]):
        merged |= {prefix + name: x for name, x in state.items() if isinstance(x, np.ndarray)}
    return merged, llm


def middles(total, n):
    part = (total - 1) / n
    return np.array([int(part / 2) + int(np.rint(part * i)) for i in range(n)], np.int32)


def half_even(rest):
    return int(np.rint(rest / 2.0))


def crop(frame):
    """u8 [Y,X,3] -> [224,224,3]"""
    rows, columns = frame.shape[:2]
    short = min(rows, columns)
    if short != 224:
        rows, columns = (224 if n == short else int(224 * n / short) for n in (rows, columns))
        frame = media.bicubic(frame, rows, columns)
    top, left = half_even(rows - 224), half_even(columns - 224)
    return frame[top : top + 224, left : left + 224]


def normalise(rgb):
    x = (rgb.astype(np.float32) / np.float32(255) - MEAN) / STD
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


class Encoded(NamedTuple):
    rows: np.ndarray  # [Q,H]
    message: str
    stages: dict


def encode(state, case_dir, case):
    stages, arguments, path = {}, case["arguments"], pathlib.Path(case_dir) / case["video"]
    if "--image" in arguments:
        pixels, message = media.bicubic(media.picture(path), 224, 224)[None], "<Image><ImageHere></Image>"
    else:
        total, rate, *_ = media.probe(path)
        n = int(arguments[arguments.index("--frames") + 1]) if "--frames" in arguments else 8
        indices = middles(total, n)
        stages["input.frame_indices"] = indices
        pixels = np.stack([crop(frame) for frame in media.native_frames(path, indices)])
        times = ", ".join(str(float(np.round(i / rate, 1))) for i in indices.tolist())
        message = f"<Video><VideoHere></Video> The video contains {n} frames sampled at {times} seconds."
    stages["input.pixels"] = normalise(pixels)
    return Encoded(reference.video_rows(state, stages["input.pixels"], stages), message, stages)


def converse(state, folder, case, encoded):
    """-> (stages, turns: a dict each with prompt, pieces, answer, gaps, text; text is None where it is not plain)"""
    arguments, tokenizer = case["arguments"], text.Tokenizer(folder)
    n_new = int(arguments[arguments.index("-n") + 1])
    stops = text.stop_sequences(tokenizer, "vicuna", eos_ids(folder) + [tokenizer.ids["</s>"]])
    llama = Llama(Weights(state, "llama_model."), json.loads((folder / "config.json").read_text()))
    questions = case["prompt"] if isinstance(case["prompt"], list) else [case["prompt"]]
    stages, messages, turns = dict(encoded.stages), [], []
    for i, question in enumerate(questions):
        messages.append(("" if i else encoded.message + "\n###Human: ") + question + "\n")
        prompt = text.render("vicuna", "", messages)
        pieces = text.prompt_pieces(tokenizer, prompt.replace("<VideoHere>", "<ImageHere>"), tokenizer.ids["<s>"])
        filled = {"prompt.ids": np.array(pieces[0] + pieces[1], np.int32)}
        filled["prompt.embeds"] = np.concatenate([llama.table[pieces[0]], encoded.rows, llama.table[pieces[1]]])
        answer, filled["answer.logits"], gaps = greedy(llama, filled["prompt.embeds"], n_new, stops, filled)
        prefix = f"turn{i + 1}." if len(questions) > 1 else ""
        stages |= {prefix + name: x for name, x in filled.items()}
        said = tokenizer.text(answer)
        said = said if said is None else text.answer_text("vicuna", said)
        turns.append({"prompt": prompt, "pieces": pieces, "answer": answer, "gaps": gaps, "text": said})
        if not said and i + 1 < len(questions):
            raise ValueError(f"turn {i + 1}: the answer {answer} has no plain spelling; later turns depend on it")
        messages.append(said)
    return stages, turns


def run(checkpoint_dir, case_dir, case):
    state, folder = load(checkpoint_dir)
    return converse(state, folder, case, encode(state, case_dir, case))
