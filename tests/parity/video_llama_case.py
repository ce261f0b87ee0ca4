"""
video_llama_case.py - a whole run of a Video-LLaMA case by the references: what vidrun does with a checkpoint, a file and questions.

  case.json + checkpoint + input -> encode: pixels, mel, towers -> rows [1,32,H], [1,8,H]
                                 -> converse: prompt, ids, greedy answer, for every turn -> stages, turns

Ref:   spec 5.2 (which encoder is called, which text), 5.6 (turns).
Trap:  rule of the golden cases: a checkpoint with an audio branch behaves as demo_audiovideo.py (empty system text for
       videos), one without as demo_video.py.
"""

import json
import pathlib
from typing import NamedTuple

import checkpoint
import media_reference as media
import sound_reference as sound
import text_reference as text
import video_llama_reference as reference
from decoder_reference import Llama
from layer_reference import Weights

LEAST_SAMPLES = 400  # at 16 kHz: shorter sound has no features and counts as none (spec 3.7)


class Encoded(NamedTuple):
    """What the decoder gets to see of a file."""

    rows: list  # audio before video
    message: str  # the first message up to the question
    system: str
    stages: dict


def read_picture(path, side, stages):
    stages["input.pixels"] = media.normalise(media.bicubic(media.picture(path), side)[None])
    return text.first_message("image")


def read_video(path, side, stages):
    """Fills input.* -> (mel or None, message of a run without sound)."""
    total, rate, sample_rate, channels = media.probe(path)
    indices = media.frame_indices(total)
    stages["input.frame_indices"] = indices
    stages["input.pixels"] = media.normalise(media.frames(path, indices, side))
    message = text.first_message("video", len(indices), media.seconds(indices, rate))
    if not sample_rate:
        return None, message
    wave = sound.resample(media.samples(path, channels), sample_rate)
    if wave.shape[1] < LEAST_SAMPLES:
        return None, message
    starts, mel = sound.mel_clips(wave)
    stages.update({"input.wave": wave, "input.clip_starts": starts, "input.mel": mel})
    return mel, message


def encode(state, bert, case_dir, case):
    stages, heads = {}, bert["num_attention_heads"]
    path, image = pathlib.Path(case_dir) / case["video"], "--image" in case["arguments"]
    grid = round((state["visual_encoder.pos_embed"].shape[1] - 1) ** 0.5)
    side = state["visual_encoder.patch_embed.proj.weight"].shape[2] * grid
    hears = "audio_query_tokens" in state
    mel = None
    if image:
        message = read_picture(path, side, stages)
    else:
        mel, message = read_video(path, side, stages)
    rows = [reference.video_rows(state, heads, stages["input.pixels"], stages)]
    if mel is not None and hears:
        rows.insert(0, reference.audio_rows(state, heads, mel, stages))
        message = text.first_message("audio_video")
    return Encoded(rows, message, text.SYSTEM if image or not hears else "", stages)


def eos_ids(folder):
    """The ids that end an answer: of the generation config, else of the config."""
    config, generation = folder / "config.json", folder / "generation_config.json"
    ids = json.loads((generation if generation.exists() else config).read_text()).get("eos_token_id")
    return [] if ids is None else ids if isinstance(ids, list) else [ids]


def converse(state, folder, case, encoded):
    """-> (stages, turns: a dict each with prompt, pieces, answer, gaps, text; text is None where it is not plain)"""
    template, arguments = case["template"], case["arguments"]
    n_new = int(arguments[arguments.index("-n") + 1])
    tokenizer = text.Tokenizer(folder)
    stops = text.stop_sequences(tokenizer, template, eos_ids(folder))
    llama = Llama(Weights(state, "llama_model."), json.loads((folder / "config.json").read_text()))
    questions = case["prompt"] if isinstance(case["prompt"], list) else [case["prompt"]]
    stages, messages, turns = dict(encoded.stages), [], []
    for i, question in enumerate(questions):
        messages.append(question if i else encoded.message + " " + question)
        prompt = text.render(template, encoded.system, messages)
        pieces = text.prompt_pieces(tokenizer, prompt, tokenizer.ids["<s>"])
        prefix = f"turn{i + 1}." if len(questions) > 1 else ""
        answer, gaps = reference.decode(llama, pieces, encoded.rows, n_new, stops, stages, prefix)
        said = tokenizer.text(answer)
        said = said if said is None else text.answer_text(template, said)
        turns.append({"prompt": prompt, "pieces": pieces, "answer": answer, "gaps": gaps, "text": said})
        if said is None and i + 1 < len(questions):
            raise ValueError(
                f"turn {i + 1}: the answer {answer} has tokens without a plain spelling; later turns depend on them"
            )
        messages.append(said)
    return stages, turns


def run(checkpoint_dir, case_dir, case):
    state, bert, folder = checkpoint.load(checkpoint_dir)
    return converse(state, folder, case, encode(state, bert, case_dir, case))
