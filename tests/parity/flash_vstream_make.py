"""
flash_vstream_make.py - one random Flash-VStream case: decoders are tried until every answer is clear.

  plan -> tower, clip -> maps of the reference -> is every choice of the memory clear? -> decoders -> stages, turns

Trap:  integer stages must not hang on the last bits: a clip whose clusters are near a tie is given up, with its seed.
"""

import case_plans
import flash_vstream_case
import flash_vstream_reference as reference
import flash_vstream_weights
import text_reference

MARGIN = 2e-5  # least relative distance of the nearest slot from the second


def find(plan, case_dir, case, folder, files, attempts):
    """files: of the tokenizer -> (size, stages, turns)"""
    size, model = dict(plan["size"]), folder / "model"
    model.mkdir()
    for name, raw in files.items():
        (model / name).write_bytes(raw)
    types = text_reference.Tokenizer(model).types
    size |= {"vocab": len(types), "unlikely": [i for i, t in enumerate(types) if t != text_reference.NORMAL]}
    flash_vstream_weights.write_tower(folder / "clip", plan["seed"], size)
    remembered, margins = None, reference.Margins()
    for attempt in range(attempts):
        flash_vstream_weights.write_model(model, plan["seed"], (plan["seed"] << 8) + attempt, size, files)
        parts = flash_vstream_case.load(folder)
        if remembered is None:  # decoders change nothing of it
            encoded = flash_vstream_case.encode(parts, case_dir, case)
            remembered = flash_vstream_case.remember(parts, case, encoded, margins)
        if margins.least < MARGIN:
            raise SystemExit(f"flash_vstream_make.py: seed {plan['seed']}: a choice of the memory is near a tie")
        stages, turns = flash_vstream_case.converse(parts, case, remembered)
        if all(turn["text"] and turn["text"].isprintable() and min(turn["gaps"]) >= 0.01 for turn in turns):
            del size["unlikely"]
            return size, stages, turns
    raise case_plans.NoClearAnswer(f"flash_vstream_make.py: seed {plan['seed']}: no clear answer in {attempts} decoders")
