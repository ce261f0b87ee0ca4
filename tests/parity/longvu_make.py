"""
longvu_make.py - one random LongVU case: weights, thresholds and a context length for which the plan's goal is met.

  plan -> towers, clip -> features of the reference -> thresholds in a gap of the similarities -> length for the goal
       -> decoders until every choice is clear -> stages, turns

Trap:  integer stages must not hang on the last bits: a threshold lies in a gap, as do the frame chosen last and
       every answer.
"""

import numpy as np

import case_plans
import longvu_case
import longvu_reference as reference
import longvu_weights
from bpe_reference import Tokenizer
from layer_reference import Weights

SPACE = 2e-4  # least distance of similarities and cosines from their threshold
LONGEST = 6000


def threshold(rng, values, default):
    """In the middle of a wide gap between some values."""
    values = np.unique(np.round(np.concatenate([v.ravel() for v in values]), 7)) if values else np.zeros(0)
    gaps = np.diff(values)
    wide = np.flatnonzero(gaps > 2 * SPACE)
    if not len(wide):
        return default
    at = wide[np.argsort(-gaps[wide])[: max(1, len(wide) // 4)]]
    i = at[rng.integers(len(at))]
    return round(float(values[i] + values[i + 1]) / 2, 6)


def tokens_of(size, pair):
    """-> (tokens of a large frame, of a small one)"""
    count = lambda side, pair: reference.cropped(np.zeros((1, side * side, 1)), pair, np.zeros(1)).shape[1]
    low = size["low_side"] and count(size["low_side"], reference.low_pair(pair, size["query_side"], size["low_side"]))
    return count(size["query_side"], pair), low


def meets(goal, n_in, n, b, high, low):
    regime = reference.FULL if n < b["n_full"] else reference.STC if n > b["n_low"] else reference.MIX
    small = regime == reference.MIX and low > 0
    vis, room = n * (low if small else high), b["R"]
    k = min((room - vis) // (high - low), n) if small and room > vis else 0
    return {
        "all": n_in < b["cap"],
        "full": regime == reference.FULL and room >= vis,
        "mix": 1 <= k < n,
        "mix-all": small and k == n,
        "mix-none": small and k == 0 and room > vis,
        "fits": room == vis,
        "prune": regime == reference.STC and room < vis,
        "cut": room < vis,
        "prune-low": small and room < vis,
        "image": True,
    }[goal]


def find_length(rng, plan, size, n_in, n_selected, n_text, pair):
    high, low = tokens_of(size, pair)
    grid = size["query_side"] * (size["query_side"] + 1)
    found = {goal: [] for goal in (plan["goal"], "all", "cut")}
    for length in range(n_text + grid + 60, LONGEST):
        b = longvu_case.budget(longvu_case.numbers(longvu_weights.longvu_config(size | {"length": length})), n_text)
        n = n_in if n_in < b["cap"] else n_selected
        for goal, lengths in found.items():
            if b["R"] >= grid and n <= max(n_in - plan.get("drops", 0), 0) and meets(goal, n_in, n, b, high, low):
                lengths.append(length)
    lengths = next(lengths for lengths in found.values() if lengths)
    return int(lengths[rng.integers(len(lengths) if plan["goal"] != "cut" else 1 + len(lengths) // 3)])


def clear(turns, stages):
    """Whether every answer and every choice of frames is far from being another."""
    for name, score in stages.items():
        if name.endswith("compress.mix.score"):
            k = len(stages[name.replace("score", "chosen")])
            ordered = np.sort(score)[::-1]
            if k < len(score) and ordered[k - 1] - ordered[k] < 1e-3 * np.abs(score).max():
                return False
    return all(min(turn["gaps"]) >= 0.004 for turn in turns)


def prepare(plan, case_dir, case, folder, tokenizer_dir):
    """Writes the towers and a first decoder, chooses thresholds and length -> (size, encoded)"""
    rng, tokenizer = np.random.default_rng((plan["seed"], 9)), Tokenizer(tokenizer_dir)
    size = dict(plan["size"]) | {"tokens": tokenizer.length, "length": 8192, "dino_threshold": 0.83, "drop_threshold": 0.7}
    ends = ("<|im_end|>",) if size["family"] == "qwen" else ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")
    ids = [tokenizer.added[text] for text in ends]
    size |= {"eos": ids if len(ids) > 1 else ids[0]}
    size["vocab"] = tokenizer.length + (size["surplus_rows"] if size["family"] == "qwen" else 0)
    size["tied"] = size["tied"] and size["family"] == "llama"
    longvu_weights.write_towers(folder, plan["seed"], size)
    longvu_weights.write_longvu(folder / "longvu", plan["seed"], plan["seed"], size, tokenizer_dir)
    parts, stages = longvu_case.load(folder), {}
    encoded = longvu_case.encode(parts, case_dir, case)
    reference.select(encoded.dino, 1, 0.0, stages)
    size["dino_threshold"] = threshold(rng, list(stages.values()), 0.83)
    selected = reference.select(encoded.dino, 1, size["dino_threshold"], {})
    first = case["prompt"][0] if isinstance(case["prompt"], list) else case["prompt"]
    prompt = longvu_case.render("qwen" if size["family"] == "qwen" else "llama3", ["<image>\n" + first])
    n_text = sum(len(tokenizer.encode(piece)) for piece in prompt.split("<image>"))
    size["length"] = find_length(rng, plan, size, len(encoded.frames), len(selected), n_text, encoded.pair)
    if not encoded.image:
        n = longvu_case.numbers(longvu_weights.longvu_config(size))
        b = longvu_case.budget(n, n_text)
        grids = longvu_case.see(parts, n, encoded, b["cap"], {})
        w, stages = Weights(parts["longvu"].state, "model."), {}
        low = len(grids) <= b["n_low"] and len(grids) >= b["n_full"] and size["low_side"]
        pair = reference.low_pair(encoded.pair, 12, size["low_side"]) if low else encoded.pair
        x = reference.project(w, reference.resize_grid(grids, size["low_side"]) if low else grids)
        reference.prune(reference.cropped(x, pair, w["image_newline"]), 2.0, 10**9, stages)
        cosines = [x for name, x in stages.items() if "cosine" in name]
        size["drop_threshold"] = threshold(rng, cosines, 0.7)
    return size, encoded


def find(plan, case_dir, case, folder, tokenizer_dir, attempts):
    """-> (size, stages, turns)"""
    size, encoded = prepare(plan, case_dir, case, folder, tokenizer_dir)
    for attempt in range(attempts):
        longvu_weights.write_longvu(folder / "longvu", plan["seed"], (plan["seed"] << 8) + attempt, size, tokenizer_dir)
        try:
            stages, turns = longvu_case.converse(longvu_case.load(folder), case, encoded)
        except ValueError:
            continue
        if clear(turns, stages):
            return size, stages, turns
    raise case_plans.NoClearAnswer(f"longvu_make.py: seed {plan['seed']}: no clear answer in {attempts} decoders")
