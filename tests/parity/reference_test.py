#!/usr/bin/python3
"""
reference_test.py - the reference against recorded runs of the original code.

    reference_test.py [-v] [CASE...]     default: tests/golden, and those of $VIDRUN_SHARED/golden (../shared)

  case -> unpack checkpoint -> decode input -> text, sound and network references -> every stage within its rtol, ids equal

The reference is trusted by make_case.py, so it must agree with the original first. Prints the worst distance of each case.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import case_reference
import parity_compare

ROOT = pathlib.Path(__file__).resolve().parents[2]


def default_cases():
    shared = pathlib.Path(os.environ.get("VIDRUN_SHARED", ROOT / "../shared")) / "golden"
    if not shared.is_dir():
        print(f"SKIP: no recorded cases in {shared}")
    found = sorted((ROOT / "tests/golden").glob("*")) + sorted(shared.glob("*"))
    cases = [(f, json.loads((f / "case.json").read_text())) for f in found if (f / "case.json").exists()]
    return [f for f, case in cases if "video" in case and case_reference.known(case)]


def check_text(name, case, turn):
    """Prompt, ids of its pieces and answer, as recorded."""
    plain = turn["text"] is not None and not isinstance(case["answer"], list)
    pairs = [("rendered_prompt", turn["prompt"]), ("prompt_ids", turn["pieces"])] + (
        [("answer", turn["text"])] if plain else []
    )
    wrong = [(key, ours) for key, ours in pairs if key in case and case[key] != ours]
    for key, ours in wrong:
        print(f"{name}: FAIL {key} is {ours!r}, recorded {case[key]!r}")
    return not wrong


def check(folder, verbose):
    case = json.loads((folder / "case.json").read_text())
    with tempfile.TemporaryDirectory() as tmp:
        checkpoint = parity_compare.unpack_checkpoint(folder, pathlib.Path(tmp))
        stages, turns = case_reference.run(checkpoint, folder, case)
    good, worst = check_text(folder.name, case, turns[0]), (0.0, "")
    for stage in case["stages"]:
        golden = np.load(folder / stage["file"], allow_pickle=False)
        ours = stages[stage["name"]]
        err, remark = parity_compare.distance(golden, ours, stage, strict_dtype=False)
        ok = not remark and err <= stage["rtol"]
        good &= ok
        ratio = err / stage["rtol"] if stage["rtol"] else err
        worst = max(worst, (ratio, f"{stage['name']} {err:.1e} of {stage['rtol']:.0e}"))
        if verbose or not ok:
            print(
                f"{folder.name}: {stage['name']:26s} {'ok  ' if ok else 'FAIL'} {err:.2e} limit {stage['rtol']:.0e} {remark}"
            )
    print(f"{folder.name}: reference {'agrees' if good else 'DIFFERS'}, closest to its limit: {worst[1]}")
    return good


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    p.add_argument("-v", "--verbose", action="store_true", help="a line for every stage")
    p.add_argument("cases", nargs="*", type=pathlib.Path)
    args = p.parse_args()
    results = [check(folder, args.verbose) for folder in args.cases or default_cases()]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
