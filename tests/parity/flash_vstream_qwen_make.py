"""
flash_vstream_qwen_make.py - one random Flash-VStream (Qwen2-VL) case: decoders are tried until every answer is clear.

  plan -> tower -> features of the reference -> is every choice of the memory clear? -> decoders -> stages, turns

Trap:  a slot of two steps is as far from one as from the other: what it shows is decided by rounding. Such a case ends with the
       order of the slots; nothing behind it is compared. Its clusters must be clear all the same.
"""

import case_plans
import flash_vstream_qwen_case
import flash_vstream_qwen_reference as reference
import flash_vstream_qwen_weights

MARGIN = 1e-5  # of squared distances, of the size of what is subtracted
GAP = 0.01
UNDECIDED = ("compress.dam.index", "compress.memory", "project.", "prompt.", "decoder.", "answer.")


def remember(parts, case_dir, case, margins):
    """-> (grid, what converse() or converse_stream() needs of the memory)"""
    if "--stream" in case["arguments"]:
        return flash_vstream_qwen_case.follow(parts, case_dir, case, margins)
    encoded = flash_vstream_qwen_case.encode(parts, case_dir, case)
    return encoded.grid, flash_vstream_qwen_case.remember(parts, case, encoded, margins)


def find(plan, case_dir, case, folder, tokenizer, attempts):
    """tokenizer: the folder of the small one -> (size, stages, turns)"""
    files = flash_vstream_qwen_weights.tokenizer_files(tokenizer)
    tokens = max(flash_vstream_qwen_weights.ids(files).values()) + 1
    size, model = dict(plan["size"]) | {"tokens": tokens}, folder / "model"
    size["vocab"] = tokens + size["surplus_rows"]
    model.mkdir()
    margins, known, converse = reference.Margins(), None, flash_vstream_qwen_case.converse
    if plan.get("ask"):
        converse = flash_vstream_qwen_case.converse_stream
    for attempt in range(attempts):
        flash_vstream_qwen_weights.write(model, plan["seed"], (plan["seed"] << 8) + attempt, size, files)
        parts = flash_vstream_qwen_case.load(folder)
        if known is None:  # decoders change nothing of it
            known = remember(parts, case_dir, case, margins)
            if min(margins.sort, margins.slot) < MARGIN:
                raise SystemExit(f"flash_vstream_qwen_make.py: seed {plan['seed']}: a slot is near a tie")
        try:
            stages, turns = converse(parts, case, *known)
        except ValueError:
            continue
        if margins.step < MARGIN and not plan.get("ask"):
            stages = {name: x for name, x in stages.items() if not name.startswith(("turn", *UNDECIDED))}
            return size, stages, [turn | {"text": None} for turn in turns]
        if margins.step < MARGIN:
            raise SystemExit(f"flash_vstream_qwen_make.py: seed {plan['seed']}: a step is near a tie")
        if all(turn["text"] and turn["text"].isprintable() and min(turn["gaps"]) >= GAP for turn in turns):
            return size, stages, turns
    raise case_plans.NoClearAnswer(f"flash_vstream_qwen_make.py: seed {plan['seed']}: no clear answer in {attempts} decoders")
