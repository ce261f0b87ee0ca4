#!/bin/sh
# run.sh - the tests that are not C programs: converter, command line, parity with small cases. Called by `make check`.
# Environment: VIDRUN, VIDRUN_BUILD, PYTHON.
set -eu
cd "$(dirname "$0")/.."
section() { printf '== %s\n' "$1"; }

section "headers compile alone, only vr_ symbols are exported"
tests/api/api.sh
section "converter"
"$PYTHON" -m unittest discover -s tests/convert -p '*_test.py' -t tests/convert
section "inspector, command line"
"$PYTHON" -m unittest discover -s tests/e2e -p '*_test.py' -t tests/e2e
section "parity: recorded cases of the original, and random ones against an independent reference"
tests/parity/check.sh
section "the answers of weights/demo.bin"
tests/demo.sh
