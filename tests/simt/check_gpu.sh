#!/bin/sh
# check_gpu.sh - the CUDA backend on the GPU of this machine: `make check-cuda`. SKIP and why where there is none.
#   build -> fragments of the tensor cores -> every operation against level c -> cases, text models, streams, speech
#         -> compute-sanitizer (memory, races, barriers) -> bench;   a part that fails does not stop the others
# Arguments: folders of recorded cases. Environment: BUILD, PYTHON, NVCC; WEIGHTS: a weight file whose decoder is measured.
set -eu
cd "$(dirname "$0")/../.."
failed=

# NAME COMMAND...
part() {
    name=$1
    shift
    printf '== %s\n' "$name"
    "$@" || failed="$failed, $name"
}

fragments() {
    libraries=$(pkg-config --libs check | tr ' ' '\n' | grep '^-[lL]') # nvcc knows no -pthread
    "$NVCC" -std=c++17 -Isrc -I. -arch native -x cu tests/simt/mma_test.cc $libraries -o "$BUILD/mma_gpu_test" || return 1
    "$BUILD/mma_gpu_test"
}

# Calls that fail are ours to see, and some are made to fail; processes of their own are not followed: none are made.
sanitized() {
    for test in tests/check/device_test tests/check/device_step_test tests/check/device_plan_test mma_gpu_test; do
        echo "$test"
        CK_FORK=no "$sanitizer" --tool "$1" --report-api-errors no --error-exitcode 1 "$BUILD/$test" || return 1
    done
}

bench() {
    "$BUILD/vidrun-bench" --device cuda --seconds 300 --csv ${WEIGHTS:+--weights "$WEIGHTS"} > "$BUILD/device.csv" || return 1
    cat "$BUILD/device.csv"
    echo "the lines are in $BUILD/device.csv, in the form of bench/results.csv"
}

command -v "$NVCC" > /dev/null || { echo "SKIP: no nvcc ($NVCC)"; exit 0; }
nvidia-smi -L 2> /dev/null | grep -q GPU || { echo "SKIP: no GPU that nvidia-smi knows"; exit 0; }
nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader
"${MAKE:-make}" -s CUDA=1 BUILD="$BUILD" "$BUILD/libvidrun_cuda.so"
# cuBLAS of an installation that the system's linker does not know
toolkit=$(dirname "$(dirname "$(readlink -f "$(command -v "$NVCC")")")")
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$toolkit/lib64"
VIDRUN_CUDA_LIBRARY="$(cd "$BUILD" && pwd)/libvidrun_cuda.so"
export VIDRUN_CUDA_LIBRARY
part "fragments of the tensor cores" fragments
part "operations, many sizes" env VIDRUN_THOROUGH=1 "$BUILD/tests/check/device_test"
part "cases, text models, streams, speech" "$PYTHON" tests/simt/check.py --build "$BUILD" --library "$VIDRUN_CUDA_LIBRARY" "$@"
sanitizer=$(command -v compute-sanitizer || echo "$toolkit/bin/compute-sanitizer")
for tool in memcheck racecheck synccheck; do
    if [ -x "$sanitizer" ]; then
        part "compute-sanitizer $tool" sanitized "$tool"
    else
        echo "SKIP compute-sanitizer $tool: there is none"
    fi
done
part "bench" bench
[ -z "$failed" ] || { echo "FAIL${failed#,}"; exit 1; }
