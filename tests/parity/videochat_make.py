"""
videochat_make.py - one random VideoChat-Embed case: decoders are tried until every answer is clear.
"""

import shutil

import case_plans
import case_weights
import text_reference
import videochat_case
import videochat_weights

GAP = 0.01


def find(plan, case_dir, case, folder, files, attempts):
    """files: of the tokenizer -> (size, stages, turns)"""
    size, llm = dict(plan["size"]), folder / "stable-vicuna"
    videochat_weights.write(folder, plan["seed"], size, plan["share"])
    llm.mkdir()
    for name, raw in files.items():
        (llm / name).write_bytes(raw)
    types = text_reference.Tokenizer(llm).types
    size |= {"vocab": len(types), "unlikely": [i for i, t in enumerate(types) if t != text_reference.NORMAL]}
    encoded = None
    for attempt in range(attempts):
        shutil.rmtree(llm)
        case_weights.write_llama(llm, (plan["seed"] << 8) + attempt, size, files, plan["layout"], plan["eos"])
        state, _ = videochat_case.load(folder)
        encoded = encoded or videochat_case.encode(state, case_dir, case)  # decoders change nothing of it
        try:
            stages, turns = videochat_case.converse(state, llm, case, encoded)
        except ValueError:
            continue
        if all(turn["text"] and turn["text"].isprintable() and min(turn["gaps"]) >= GAP for turn in turns):
            del size["unlikely"]
            return size, stages, turns
    raise case_plans.NoClearAnswer(f"videochat_make.py: seed {plan['seed']}: no clear answer in {attempts} decoders")
