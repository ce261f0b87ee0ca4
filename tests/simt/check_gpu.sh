#!/bin/sh
# check_gpu.sh - the CUDA backend on the GPU of this machine: `make check-cuda`. SKIP and why where there is none.
#   build -> fragments of the tensor cores -> every operation against level c -> cases, text models, streams, speech -> compute-sanitizer (memory, races) -> bench
# Arguments: folders of recorded cases. Environment: BUILD, PYTHON, NVCC; WEIGHTS: a weight file whose decoder is measured.
set -eu
cd "$(dirname "$0")/../.."
section() { printf '== %s\n' "$1"; }

command -v "$NVCC" > /dev/null || { echo "SKIP: no nvcc ($NVCC)"; exit 0; }
command -v nvidia-smi > /dev/null && nvidia-smi -L 2> /dev/null | grep -q GPU || { echo "SKIP: no GPU that nvidia-smi knows"; exit 0; }
nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader
"${MAKE:-make}" -s CUDA=1 BUILD="$BUILD" "$BUILD/libvidrun_cuda.so"
export VIDRUN_CUDA_LIBRARY="$PWD/$BUILD/libvidrun_cuda.so"
section "fragments of the tensor cores"
"$NVCC" -std=c++17 -Isrc -I. -arch native -x cu tests/simt/mma_test.cc $(pkg-config --libs check) -o "$BUILD/mma_gpu_test"
"$BUILD/mma_gpu_test"
section "operations, many sizes"
VIDRUN_THOROUGH=1 "$BUILD/tests/check/device_test"
section "cases, text models, streams, speech"
"$PYTHON" tests/simt/check.py --build "$BUILD" --library "$BUILD/libvidrun_cuda.so" "$@"
sanitizer=$(command -v compute-sanitizer || echo "$(dirname "$NVCC")/compute-sanitizer")
for tool in memcheck racecheck synccheck; do
    section "compute-sanitizer $tool"
    [ -x "$sanitizer" ] || { echo "SKIP: no compute-sanitizer"; continue; }
    CK_FORK=no "$sanitizer" --tool "$tool" --error-exitcode 1 "$BUILD/tests/check/device_test"
done
section "bench"
"$BUILD/vidrun-bench" --device cuda --seconds 300 --csv ${WEIGHTS:+--weights "$WEIGHTS"} | tee "$BUILD/device.csv"
echo "the lines are in $BUILD/device.csv, in the form of bench/results.csv"
