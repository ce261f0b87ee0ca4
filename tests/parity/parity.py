#!/usr/bin/python3
"""
parity.py - the engine against recorded runs of the published models, stage by stage (make parity GOLDEN=DIR).

    parity.py [--build DIR] [--levels c,avx2,avx512] [--threads 1,2] [--record] [--keep DIR] [-v] FOLDER...

  FOLDER -> case folders -> checkpoint -> tools/convert/convert.py --type f32 -> weight file (once a case)
         -> build/vidrun at every level and number of threads -> stages, answer -> table of errors -> record
         -> N passed, N failed, N skipped

A case passes when every run of it exits with 0, every stage is there with the right type, shape and memory order, is finite
as a whole, lies within its recorded limit and within twice the error of tests/parity/record.json (errors below the floor do
not count), integer stages are equal, and the printed answer is the recorded one. Without "video", without a converter, or
with a level this processor lacks: SKIP.

Ref:   interface and error measure: check_case.py of the golden cases; classes of checks: shared style guide, section 7 (STAGE).
Trap:  several prompts come on standard input, one a line; their stages are prefixed turn1., turn2., ...
"""

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import parity_compare

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORD = pathlib.Path(__file__).resolve().parent / "record.json"
FLOOR = 1e-7  # errors below it are rounding of the last bit and are not ratcheted
RATCHET = 2.0
SECONDS = int(os.environ.get("VIDRUN_SECONDS", 600))  # longest run; a hang is a failure
FLAGS = {
    "c": set(),
    "avx2": {"avx2", "fma", "f16c"},
    "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "neon": {"asimd"},
    "best": set(),
}


def processor_flags():
    """Names of instruction sets as Linux spells them; empty where it does not tell."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":", 1)[1].split()}


def find_cases(folders):
    """Folders with a case.json: each given folder itself, or those directly inside it."""
    found = []
    for folder in folders:
        if (folder / "case.json").exists():
            found.append(folder)
        else:
            inside = sorted(path.parent for path in folder.glob("*/case.json"))
            if not inside:
                raise SystemExit(f"parity.py: {folder}: no case.json in it or in its folders")
            found += inside
    return found


def reason_to_skip(case, converters):
    """Why a case cannot be run, or None."""
    if "video" not in case:
        return "no run described (data for unit tests)"
    module = case["system"].replace("-", "_") + ".py"
    if not list(converters.rglob(module)):
        return f"system {case['system']} has no converter ({module}) under tools/convert"
    return None


class Run:
    """What one run of vidrun left behind: failures as text, and the error of every stage."""

    def __init__(self, level, threads):
        self.level, self.threads, self.errors, self.failures = level, threads, {}, []

    def fail(self, text):
        self.failures.append(f"level {self.level}, {self.threads} threads: {text}")


def command_of(args, case, case_dir, weights, dump, threads):
    """-> (command line, text for standard input)"""
    command = [
        str(args.build / "vidrun"),
        *case["arguments"],
        "--precision",
        "f32",
        "--threads",
        str(threads),
        "--dump-stages",
        str(dump),
    ]
    if case.get("template"):
        command += ["--template", case["template"]]
    command += args.extra + [str(weights), str(case_dir / case["video"])]
    turns = case["prompt"] if isinstance(case["prompt"], list) else [case["prompt"]]
    return (command + turns, "") if len(turns) == 1 else (command, "\n".join(turns) + "\n")


def check_answer(case, printed, run):
    """The printed text against the recorded answers; answers that are not plain text are compared by their ids alone."""
    answers = case.get("answer")
    if answers is None:
        return
    lines, at = printed, 0
    for answer in answers if isinstance(answers, list) else [answers]:
        plain = answer.strip()
        if not plain.isprintable() or "\ufffd" in plain:
            continue
        if not isinstance(answers, list):
            if lines.strip() != plain:
                run.fail(f"answer {lines.strip()!r}, expected {plain!r}")
            return
        found = lines.find(plain, at)
        if found < 0:
            run.fail(f"answer {plain!r} is not printed, or not in its turn")
            return
        at = found + len(plain)


def check_stages(case, case_dir, dump, run):
    for stage in case["stages"]:
        name, path = stage["name"], dump / (stage["name"] + ".npy")
        if not path.exists():
            run.errors[name] = float("inf")
            run.fail(f"{name} is missing ({stage['where']})")
            continue
        golden = np.load(case_dir / stage["file"], allow_pickle=False)
        try:
            ours = np.load(path, allow_pickle=False)
            error, remark = parity_compare.distance(golden, ours, stage)
        except (ValueError, OSError) as e:
            error, remark = float("inf"), f"unreadable: {e}"
        run.errors[name] = error
        if remark:
            run.fail(f"{name}: {remark} ({stage['where']})")
        elif not error <= stage["rtol"]:
            run.fail(f"{name}: error {error:.2e}, limit {stage['rtol']:.0e} ({stage['where']})")


def run_case(args, case, case_dir, weights, work, level, threads):
    run = Run(level, threads)
    dump = work / f"stages-{level}-{threads}"
    command, text = command_of(args, case, case_dir, weights, dump, threads)
    env = dict(os.environ, VIDRUN_CPU=level)
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=SECONDS, env=env)
    except subprocess.TimeoutExpired:
        run.fail(f"{shlex.join(command)}: still running after {SECONDS} s")
        return run
    if done.returncode:
        tail = done.stderr.decode(errors="replace").strip()[-600:]
        run.fail(f"{shlex.join(command)}: exit status {done.returncode}: {tail}")
        return run
    try:
        check_answer(case, done.stdout.decode(), run)
    except UnicodeDecodeError as e:
        run.fail(f"the answer is not UTF-8: {e}")
    check_stages(case, case_dir, dump, run)
    return run


def prepare(args, case, case_dir, work):
    """-> (weight file, None) or (None, why it failed)"""
    checkpoint, weights = parity_compare.unpack_checkpoint(case_dir, work), work / "weights.bin"
    command = [
        sys.executable,
        str(args.root / "tools/convert/convert.py"),
        str(checkpoint),
        "-o",
        str(weights),
        "--type",
        *case.get("type", "f32").split(),
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS)
    if done.returncode or not weights.exists():
        return None, f"convert.py: exit status {done.returncode}: {done.stderr.strip()[-600:]}"
    return weights, None


def worst_by_level(runs, levels):
    """{level: {stage: largest error over the numbers of threads}}"""
    worst = {level: {} for level in levels}
    for run in runs:
        for name, error in run.errors.items():
            worst[run.level][name] = max(error, worst[run.level].get(name, 0.0))
    return worst


def check_record(worst, record):
    """Failures of the ratchet: more than twice the recorded error."""
    failures = []
    for level, errors in worst.items():
        for name, error in errors.items():
            recorded = record.get(level, {}).get(name)
            if recorded is not None and error > RATCHET * max(recorded, FLOOR):
                failures.append(
                    f"level {level}: {name}: error {error:.2e} is more than {RATCHET:g} times the recorded {recorded:.2e}"
                )
    return failures


def print_table(case, worst):
    levels = list(worst)
    print(f"  {'stage':28s} {'limit':>7s} " + " ".join(f"{level:>9s}" for level in levels) + "  error/limit")
    for stage in case["stages"]:
        errors = [worst[level].get(stage["name"], float("nan")) for level in levels]
        cells = " ".join(f"{e:9.2e}" if stage["rtol"] else f"{e:9.0f}" for e in errors)
        ratio = f"{max(errors) / stage['rtol']:.3f}" if stage["rtol"] else ("equal" if max(errors) == 0 else "DIFFERS")
        print(f"  {stage['name']:28s} {stage['rtol']:7.0e} {cells}  {ratio:>11s}")


def closest(case, worst):
    ratios = [
        (error / stage["rtol"], stage["name"], error)
        for stage in case["stages"]
        if stage["rtol"]
        for errors in worst.values()
        for error in [errors.get(stage["name"], float("inf"))]
    ]
    return max(ratios, default=(0.0, "-", 0.0))


def parity(args, case, case_dir, levels, record):
    """Runs one case at every level and number of threads -> (passed, errors by level)."""
    with tempfile.TemporaryDirectory() as tmp:
        work = pathlib.Path(tmp)
        if args.keep:
            work = args.keep / case_dir.name
            work.mkdir(parents=True)
        weights, why = prepare(args, case, case_dir, work)
        if why:
            print(f"{case_dir.name}: FAIL {why}")
            return False, {}
        runs = [
            run_case(args, case, case_dir, weights, work, level, threads)
            for level in levels
            for threads in args.threads
        ]
    worst = worst_by_level(runs, levels)
    failures = [text for run in runs for text in run.failures]
    if not args.record:
        failures += check_record(worst, record.get(case_dir.name, {}))
    if not args.quiet or failures:
        print(f"{case_dir.name}: {case.get('about', '')}")
        print_table(case, worst)
    for text in failures:
        print(f"{case_dir.name}: FAIL {text}")
    ratio, name, error = closest(case, worst)
    known = "" if case_dir.name in record else ", not in the record"
    print(
        f"{case_dir.name}: {'FAIL' if failures else 'PASS'} {len(case['stages'])} stages, {len(runs)} runs, "
        f"closest to its limit: {name} "
        f"{error:.2e} ({ratio:.3f} of it){known}"
    )
    return not failures, worst


def merge_record(record, measured):
    """The record with the levels measured now in place of the old ones; of two cases of one name the larger error counts."""
    merged, fresh = {case: dict(levels) for case, levels in record.items()}, {}
    for case, worst in measured:
        for level, errors in worst.items():
            known = fresh.setdefault((case, level), {})
            known.update({name: max(error, known.get(name, 0.0)) for name, error in errors.items()})
    for (case, level), errors in fresh.items():
        merged.setdefault(case, {})[level] = errors
    return merged


def write_record(path, record):
    """One line for each stage, so that a change of the record is a readable difference."""
    rounded = {
        case: {
            level: {name: float(f"{error:.2g}") for name, error in sorted(errors.items())}
            for level, errors in levels.items()
        }
        for case, levels in sorted(record.items())
    }
    path.write_text(json.dumps(rounded, indent=1) + "\n")


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    p.add_argument("folders", nargs="+", type=pathlib.Path, help="case folders, or folders of case folders")
    p.add_argument("--root", type=pathlib.Path, default=ROOT, help="the project's root (default: where this file lies)")
    p.add_argument(
        "--build", type=pathlib.Path, default=pathlib.Path("build"), help="folder of the programs, from the root"
    )
    p.add_argument(
        "--levels",
        default="c,avx2,avx512",
        type=lambda s: s.split(","),
        help="values of VIDRUN_CPU (default: %(default)s)",
    )
    p.add_argument(
        "--threads", default="1,2", type=lambda s: [int(n) for n in s.split(",")], help="default: %(default)s"
    )
    p.add_argument(
        "--extra", default=[], type=shlex.split, help="more arguments for vidrun, e.g. --extra='--gemm openblas'"
    )
    p.add_argument("--record", action="store_true", help="write the measured errors of cases that pass into the record")
    p.add_argument("--record-file", type=pathlib.Path, default=RECORD, help="default: record.json beside this file")
    p.add_argument("--keep", type=pathlib.Path, help="keep weight files and stages in this folder")
    p.add_argument("-q", "--quiet", action="store_true", help="tables of failing cases only")
    args = p.parse_args()
    args.build = args.root / args.build
    if not (args.build / "vidrun").exists():
        p.error(f"--build: there is no {args.build / 'vidrun'}")
    unknown = [level for level in args.levels if level not in FLAGS]
    if unknown:
        p.error(f"--levels: {', '.join(unknown)}: one of {', '.join(FLAGS)}")
    return args


def main():
    args = arguments()
    record = json.loads(args.record_file.read_text()) if args.record_file.exists() else {}
    here = processor_flags()
    levels = [level for level in args.levels if FLAGS[level] <= here]
    skipped = len(args.levels) - len(levels)
    for level in args.levels:
        if level not in levels:
            print(f"level {level}: SKIP this processor lacks {', '.join(sorted(FLAGS[level] - here))}")
    passed = failed = 0
    measured = []
    for case_dir in find_cases(args.folders):
        case = json.loads((case_dir / "case.json").read_text())
        why = reason_to_skip(case, args.root / "tools/convert")
        if why:
            print(f"{case_dir.name}: SKIP {why}")
            skipped += 1
            continue
        ok, worst = parity(args, case, case_dir, levels, record)
        passed, failed = passed + ok, failed + (not ok)
        if ok:
            measured.append((case_dir.name, worst))
    if args.record:
        write_record(args.record_file, merge_record(record, measured))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
