"""
videollamb_make.py - one random VideoLLaMB case: decoders are tried until every answer is clear.

  plan -> towers, clip -> scenes of the reference -> would a little noise move a cut? -> decoders -> stages, turns

Trap:  integer stages must not hang on the last bits: a clip whose cuts are near a tie is given up, with its seed.
"""

import case_plans
import text_reference
import videollamb_case
import videollamb_reference as reference
import videollamb_weights


def clear(turns, stream):
    if min(min(turn["gaps"]) for turn in turns) < 0.005:
        return False
    return stream or all(turn["text"] and turn["text"].isprintable() for turn in turns)


def find(plan, case_dir, case, folder, files, attempts):
    """files: of the tokenizer -> (size, stages, turns)"""
    size, model = dict(plan["size"]), folder / "model"
    model.mkdir()
    for name, raw in files.items():
        (model / name).write_bytes(raw)
    types = text_reference.Tokenizer(model).types
    size |= {"vocab": len(types), "unlikely": [i for i, t in enumerate(types) if t != text_reference.NORMAL]}
    videollamb_weights.write_towers(folder, plan["seed"], size)
    prepared, margins = None, reference.Margins()
    for attempt in range(attempts):
        videollamb_weights.write_model(model, plan["seed"], (plan["seed"] << 8) + attempt, size, files)
        parts = videollamb_case.load(folder)
        if prepared is None:  # decoders change nothing of it
            prepared = videollamb_case.prepare(parts, case_dir, case, margins)
        if not margins.clear:
            raise SystemExit(f"videollamb_make.py: seed {plan['seed']}: a cut between scenes is near a tie")
        stages, turns = videollamb_case.answer(parts, case, prepared)
        if clear(turns, plan["stream"]):
            del size["unlikely"]
            return size, stages, turns
    raise case_plans.NoClearAnswer(f"videollamb_make.py: seed {plan['seed']}: no clear answer in {attempts} decoders")
