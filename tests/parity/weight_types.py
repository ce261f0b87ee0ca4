#!/usr/bin/python3
"""
weight_types.py - what each type of weights, of keys and values, and each precision costs: errors of the stages against recorded
runs, ratcheted.

    weight_types.py [--build DIR] [--levels c,best] [--record] [--table] FOLDER...

  case -> convert.py --type T -> vidrun --precision P --kv K -> largest relative error of each group of stages, share of answer ids
       -> weight_types.json: more than twice the recorded error fails; at level c, fewer equal ids

The answer's ids count as far as they are equal from the first on. Stages whose shape depends on a choice (kept frames, kept
tokens) are left out where the choice fell differently. --table prints Markdown: the worst of all cases.
Ref:   parity.py (how a case is run; its --precision f32 is overruled here, the last of several wins).
"""
import argparse
import copy
import json
import math
import pathlib
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import parity

RECORD = pathlib.Path(__file__).resolve().parent / "weight_types.json"
FLOOR = 1e-6
RUNS = (("f16", "f32"), ("bf16", "f32"), ("q8_0", "f32"), ("q4_0", "f32"), ("f32", "bf16"), ("f16", "auto"), ("bf16", "auto"),
        ("q8_0", "auto"), ("q4_0", "auto"), ("q8_0 --towers q8_0", "f32"), ("q8_0 --towers q8_0", "auto"), ("f32", "f32 --kv f16"), ("f32", "f32 --kv q8_0"))
GROUPS = (("towers", ("vision.", "audio.", "imagebind.")), ("rows", ("project.",)), ("decoder", ("decoder.layer.",)),
          ("logits", ("decoder.logits",)))


def equal_ids(case, case_dir, dump):
    """Share of the answer that is as recorded, from its first id on; None: not recorded."""
    stage = next((s for s in case["stages"] if s["name"] == "answer.ids"), None)
    path = dump / "answer.ids.npy"
    if not stage or not path.exists():
        return None
    golden, ours = np.load(case_dir / stage["file"]).ravel(), np.load(path).ravel()
    n = min(golden.size, ours.size)
    differs = np.nonzero(golden[:n] != ours[:n])[0]
    return float(differs[0] if differs.size else n) / golden.size


def measure(args, case_dir, weight_type, precision, level, work):
    """-> ({group: error, "ids": share}, failure or None)"""
    case = json.loads((case_dir / "case.json").read_text()) | {"type": weight_type}
    weights, why = work / f"{case_dir.name}-{weight_type.replace(' ', '')}" / "weights.bin", None
    if not weights.exists():
        weights.parent.mkdir()
        weights, why = parity.prepare(args, case, case_dir, weights.parent)
    if why:
        return {}, why
    args = copy.copy(args)
    args.extra = ["--precision", *precision.split()]
    place = work / f"{case_dir.name}-{weight_type}-{precision}-{level}".replace(" ", "")
    place.mkdir()
    run = parity.run_case(args, case, case_dir, weights, place, level, 1)
    if not run.errors:
        return {}, "; ".join(run.failures)
    found = {}
    for group, prefixes in GROUPS:
        errors = [error for name, error in run.errors.items() if name.startswith(prefixes) and math.isfinite(error)]
        if errors:
            found[group] = max(errors)
    ids = equal_ids(case, case_dir, place / f"stages-{level}-1")
    if ids is not None:
        found["ids"] = ids
    return found, None


def worse(found, recorded, level):
    for group, value in found.items():
        old = recorded.get(group)
        if old is None:
            continue
        if group == "ids":
            if level == "c" and value < old:
                yield f"{value:.2f} of the answer's ids are equal, recorded {old:.2f}"
        elif value > parity.RATCHET * max(old, FLOOR):
            yield f"{group}: error {value:.2e} is more than {parity.RATCHET:g} times the recorded {old:.2e}"


def print_table(results):
    groups = [group for group, _ in GROUPS]
    print("| weights | precision | level | " + " | ".join(groups) + " | equal ids |")
    print("| --- " * (4 + len(groups)) + "|")
    for weight_type, precision, level in dict.fromkeys((t, p, l) for _, t, p, l in results):
        mine = [found for (_, *rest), found in results.items() if rest == [weight_type, precision, level]]
        errors = [max((found[g] for found in mine if g in found), default=0.0) for g in groups]
        ids = [found["ids"] for found in mine if "ids" in found]
        print(f"| {weight_type} | {precision} | {level} | " + " | ".join(f"{e:.1e}" for e in errors) +
              f" | {sum(share == 1 for share in ids)} of {len(ids)} answers |")


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    p.add_argument("folders", nargs="+", type=pathlib.Path, help="case folders, or folders of case folders")
    p.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"), help="folder of the programs, from the root")
    p.add_argument("--levels", default="c,best", type=lambda s: s.split(","), help="of VIDRUN_CPU (default: %(default)s)")
    p.add_argument("--record", action="store_true", help="write what was measured into weight_types.json")
    p.add_argument("--table", action="store_true", help="print the table")
    args = p.parse_args()
    args.root, args.build = parity.ROOT, parity.ROOT / args.build
    return args


def main():
    args = arguments()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    results, failures, n_skipped = {}, [], 0
    for case_dir in parity.find_cases(args.folders):
        case = json.loads((case_dir / "case.json").read_text())
        why = "a conversation" if isinstance(case.get("prompt"), list) else parity.reason_to_skip(case, args.root / "tools/convert")
        if why:
            print(f"{case_dir.name}: SKIP {why}")
            n_skipped += 1
            continue
        with tempfile.TemporaryDirectory() as tmp:
            for weight_type, precision in RUNS:
                for level in args.levels:
                    found, why = measure(args, case_dir, weight_type, precision, level, pathlib.Path(tmp))
                    name = f"{weight_type} {precision} {level}"
                    results[case_dir.name, weight_type, precision, level] = found
                    wrong = [why] if why else list(worse(found, record.get(case_dir.name, {}).get(name, {}), level))
                    failures += [f"{case_dir.name}: {name}: {text}" for text in wrong if not args.record or why]
                    if args.record and not why:
                        rounded = {group: float(f"{value:.2g}") for group, value in found.items()}
                        record.setdefault(case_dir.name, {})[name] = rounded
    if args.record:
        RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    if args.table:
        print_table(results)
    for text in failures:
        print(f"FAIL {text}")
    print(f"types: {len(results)} runs, {len(failures)} failures, {n_skipped} cases skipped")
    return 1 if failures or not results else 0


if __name__ == "__main__":
    sys.exit(main())
