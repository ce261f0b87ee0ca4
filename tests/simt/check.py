#!/usr/bin/python3
"""
check.py - the CUDA kernels, all of them, on this processor (`make check-simt`) or a GPU (part of `make check-cuda`).

    check.py [--build DIR] [--programs DIR] [--library FILE] [--jobs N] [--only PART] [GOLDEN...]

  programs of tests/simt and tests/check, recorded cases, made cases (streams among them), text models, speech
      -> a few at a time, those that take longest first -> a line each -> N passed, N failed, N skipped

Over the shim the programs of tests are a build under the address and undefined-behaviour sanitizers; in cases and runs, which
would take ten times as long so, the device's memory is out of the host's reach instead (VIDRUN_SIMT_GUARD). GOLDEN: folders of
recorded cases. Of what fails the end of the output is shown; SKIP for what is not there.
Trap:  a sanitizer that finds something ends the program with a status, which fails the job whatever it tests.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections import namedtuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 3600  # longest job, on a machine that does other work too; a hang is a failure
SHOWN = 3000  # characters of what fails
FIRST = ("stream", "qwen", "operations", "tests of", "speech")  # parts of names of jobs that take long

Job = namedtuple("Job", "name command folder variables")


def environment(build, library, **more):
    return {
        "VIDRUN": str(build / "vidrun"),
        "VIDRUN_BUILD": str(build),
        "VIDRUN_CUDA_LIBRARY": str(library),
        "VIDRUN_SIMT_GUARD": "1",
        "VIDRUN_SECONDS": str(SECONDS),
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHON": sys.executable,
        **more,
    }


def programs(build, library):
    """The tests in C and C++: the shim itself, the ladder, every operation against level c, failures."""
    found = sorted([*build.glob("tests/simt/*_test"), *build.glob("tests/check/device*_test")])
    plain = environment(build, library, VIDRUN_SIMT_GUARD="0")
    jobs = [Job(path.name, [str(path)], ROOT, plain) for path in found if path.name != "device_test"]
    return jobs + [Job("operations", [str(build / "tests/check/device_test")], ROOT, plain)]


def cases(build, library, folder, kind):
    """A job for each case of a folder that describes a run; of the made ones, for the first of each system another one, where the
    processor has all layers of the decoder but the first."""
    jobs, systems = [], set()
    parity = [sys.executable, str(ROOT / "tests/parity/parity.py"), "--quiet", "--build", str(build), "--levels", "best"]
    for path in sorted(folder.glob("*/case.json")):
        case = json.loads(path.read_text())
        if "video" not in case:
            continue
        command, gpu = [*parity, "--threads", "1", str(path.parent)], environment(build, library, VIDRUN_DEVICE="cuda")
        jobs.append(Job(f"{kind} {path.parent.name}", command, ROOT, gpu))
        if kind == "made" and case["system"] not in systems:
            jobs.append(Job(f"{kind} {path.parent.name}, cut", command, ROOT, {**gpu, "VIDRUN_GPU_LAYERS": "1"}))
        systems.add(case["system"])
    return jobs


def made(build, library, folder):
    make = [sys.executable, str(ROOT / "tests/parity/make_case.py"), "--set", "check", str(folder)]
    done = subprocess.run(make, capture_output=True, text=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(f"check.py: make_case.py: {done.stderr[-SHOWN:]}")
    return cases(build, library, folder, "made")


def others(build, library):
    """Text models, tokens by chance, speech, a video as text, the bench: the program with a GPU as its device. Streams are cases."""
    gpu = environment(build, library, VIDRUN_DEVICE="cuda")
    program = Job("tests of the program", [sys.executable, "-m", "unittest", "device_test"], ROOT / "tests/e2e", gpu)
    whisper = [sys.executable, str(ROOT / "tests/parity/whisper_test.py"), "--build", str(build), "--levels", "best"]
    return [program, Job("speech against its reference", whisper, ROOT, gpu)]


def run(job):
    start = time.monotonic()
    try:
        done = subprocess.run(job.command, cwd=job.folder, env={**os.environ, **job.variables}, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=SECONDS)
        code, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as e:
        code, output = 1, f"still running after {SECONDS} s"
    skipped = [line for line in output.splitlines() if "SKIP" in line or "skipped=" in line]
    return job, code, output, skipped, time.monotonic() - start


def report(results, total):
    n_failed = n_skipped = 0
    for i, result in enumerate(concurrent.futures.as_completed(results)):
        job, code, output, skipped, seconds = result.result()
        print(f"[{i + 1}/{total}] {job.name}: {'FAIL' if code else 'ok'}, {seconds:.0f} s", flush=True)
        for line in skipped:
            print(f"    {line}", flush=True)
        if code:
            print(output[-SHOWN:], flush=True)
        n_failed, n_skipped = n_failed + bool(code), n_skipped + bool(skipped and not code)
    return n_failed, n_skipped


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    p.add_argument("golden", nargs="*", type=pathlib.Path, help="folders of recorded cases")
    p.add_argument("--build", default="build", type=pathlib.Path, help="folder of vidrun, from the root (default: %(default)s)")
    p.add_argument("--programs", type=pathlib.Path, help="folder of the programs of tests (default: that of vidrun)")
    p.add_argument("--library", type=pathlib.Path, help="what computes (default: libvidrun_simt.so there)")
    p.add_argument("--jobs", default=2, type=int, help="at a time (default: %(default)s)")
    p.add_argument("--only", default="", help="jobs with this in their names")
    args = p.parse_args()
    start, build = time.monotonic(), ROOT / args.build
    library, tests = ROOT / (args.library or args.build / "libvidrun_simt.so"), ROOT / (args.programs or args.build)
    with tempfile.TemporaryDirectory() as tmp:
        jobs = programs(tests, library if args.library else tests / "libvidrun_simt.so")
        jobs += others(build, library) + made(build, library, pathlib.Path(tmp))
        jobs += cases(build, library, ROOT / "tests/golden", "recorded")
        known, n_missing = {job.name for job in jobs}, 0
        for folder in args.golden:
            if not folder.is_dir():
                print(f"SKIP {folder}: no such folder")
                n_missing += 1
            jobs += [job for job in cases(build, library, folder.resolve(), "recorded") if job.name not in known]
        jobs = sorted((job for job in jobs if args.only in job.name), key=lambda job: not any(part in job.name for part in FIRST))
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            n_failed, n_skipped = report([pool.submit(run, job) for job in jobs], len(jobs))
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{library.name}: {len(jobs) - n_failed} passed, {n_failed} failed, {n_skipped} of them with parts skipped, {n_missing} folders missing, "
          f"{time.monotonic() - start:.0f} s, {spent.ru_utime + spent.ru_stime:.0f} s of processor time")
    return 1 if n_failed or not jobs else 0


if __name__ == "__main__":
    sys.exit(main())
