"""
case_reference.py - a whole run of one case by the references: what vidrun does with a checkpoint, a file and questions.

  case.json + checkpoint + input -> media_reference, sound_reference, text_reference, reference -> stages, answers

Ref:   spec 5.2 (which encoder is called, which text), 5.6 (turns); rule of the golden cases: a checkpoint with an audio branch behaves as
       demo_audiovideo.py (empty system text for videos), one without as demo_video.py.
"""
import json
import pathlib

import numpy as np

import checkpoint
import media_reference as media
import reference
import sound_reference as sound
import text_reference as text

LEAST_SAMPLES = 400  # at 16 kHz: shorter sound has no features and counts as none (spec 3.7)


def read_input(path, image, side, stages):
    """Fills input.* -> (pixels, mel or None, kind, frame count, times)."""
    if image:
        stages["input.pixels"] = media.normalise(media.bicubic(media.picture(path), side)[None])
        return None, "image", 1, ""
    total, rate, sample_rate, channels = media.probe(path)
    indices = media.frame_indices(total)
    stages["input.frame_indices"] = indices
    stages["input.pixels"] = media.normalise(media.frames(path, indices, side))
    mel = None
    if sample_rate:
        wave = sound.resample(media.samples(path, channels), sample_rate)
        if wave.shape[1] >= LEAST_SAMPLES:
            starts, mel = sound.mel_clips(wave)
            stages.update({"input.wave": wave, "input.clip_starts": starts, "input.mel": mel})
    return mel, "video", len(indices), media.seconds(indices, rate)


def stop_and_bos(folder, tokenizer, template):
    config = json.loads((folder / "config.json").read_text())
    generation = folder / "generation_config.json"
    ids = json.loads(generation.read_text()) if generation.exists() else config
    eos = ids.get("eos_token_id", config.get("eos_token_id"))
    eos = [] if eos is None else eos if isinstance(eos, list) else [eos]
    return config, text.stop_sequences(tokenizer, template, eos), tokenizer.ids["<s>"]


def run(checkpoint_dir, case_dir, case, model=None):
    """-> (stages, turns: [{prompt, pieces, answer, gaps, text}]). model: what checkpoint.load gave, to read it once."""
    state, bert, folder = model or checkpoint.load(checkpoint_dir)
    arguments, template = case["arguments"], case["template"]
    n_new = int(arguments[arguments.index("-n") + 1])
    image = "--image" in arguments
    side = state["visual_encoder.patch_embed.proj.weight"].shape[2] * round((state["visual_encoder.pos_embed"].shape[1] - 1) ** 0.5)
    stages, heads = {}, bert["num_attention_heads"]
    has_audio = "audio_query_tokens" in state
    mel, kind, n_frames, times = read_input(pathlib.Path(case_dir) / case["video"], image, side, stages)
    rows = [reference.video_rows(state, heads, stages["input.pixels"], stages)]
    if mel is not None and has_audio:
        rows.insert(0, reference.audio_rows(state, heads, mel, stages))
        kind = "audio_video"
    tokenizer = text.Tokenizer(folder)
    config, stops, bos = stop_and_bos(folder, tokenizer, template)
    llama = reference.Llama(state, config)
    system = "" if has_audio and not image else text.SYSTEM
    questions = case["prompt"] if isinstance(case["prompt"], list) else [case["prompt"]]
    messages, turns = [], []
    for i, question in enumerate(questions):
        messages.append(question if i else text.first_message(kind, n_frames, times) + " " + question)
        prompt = text.render(template, system, messages)
        pieces = text.prompt_pieces(tokenizer, prompt, bos)
        prefix = f"turn{i + 1}." if len(questions) > 1 else ""
        answer, gaps = reference.decode(llama, pieces, rows, n_new, stops, stages, prefix)
        stop = next((s for s in stops if answer[-len(s) :] == s), [])
        plain = tokenizer.text(answer) if tokenizer.text(answer) is not None else tokenizer.text(answer[: len(answer) - len(stop)])
        plain = plain and text.answer_text(template, plain)
        turns.append({"prompt": prompt, "pieces": pieces, "answer": answer, "gaps": gaps, "text": plain})
        messages.append(plain or "")
    return stages, turns
