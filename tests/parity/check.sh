#!/bin/sh
# check.sh - parity as part of `make check`: the tool itself, the reference against recorded runs, the engine against recorded
# and made cases, also with other types of weights.
# Environment: VIDRUN_BUILD (folder of the programs), PYTHON (one with numpy), VIDRUN_SHARED (more recorded cases).
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-/usr/bin/python3}
export OPENBLAS_NUM_THREADS=1 # the matrices are small: more threads of numpy only wait for each other
cases=$(mktemp -d)
trap 'rm -rf "$cases"' EXIT

"$python" tests/parity/parity_test.py
"$python" tests/parity/reference_test.py
"$python" tests/parity/make_case.py --set check "$cases"
"$python" tests/parity/parity.py --quiet --build "${VIDRUN_BUILD:-build}" tests/golden "$cases"
"$python" tests/parity/weight_types.py --build "${VIDRUN_BUILD:-build}" tests/golden
"$python" tests/parity/whisper_test.py --build "${VIDRUN_BUILD:-build}"
