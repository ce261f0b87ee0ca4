#!/bin/sh
# check_gpu.sh - the CUDA backend on the GPU of this machine: `make check-cuda`. SKIP and why where there is none.
#   build -> fragments of the tensor cores -> every operation against level c -> recorded cases -> compute-sanitizer (memory, races) -> bench
# Arguments: folders of recorded cases. Environment: BUILD, PYTHON, NVCC.
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
section "operations"
VIDRUN_THOROUGH=1 "$BUILD/tests/check/device_test"
section "recorded cases"
for folder in tests/golden "$@"; do
    [ -d "$folder" ] || { echo "SKIP: $folder is not there"; continue; }
    VIDRUN_DEVICE=cuda "$PYTHON" tests/parity/parity.py --build "$BUILD" --levels best --threads 1 "$folder"
done
sanitizer=$(command -v compute-sanitizer || echo "$(dirname "$NVCC")/compute-sanitizer")
for tool in memcheck racecheck synccheck; do
    section "compute-sanitizer $tool"
    [ -x "$sanitizer" ] || { echo "SKIP: no compute-sanitizer"; continue; }
    CK_FORK=no "$sanitizer" --tool "$tool" --error-exitcode 1 "$BUILD/tests/check/device_test"
done
section "bench"
"$BUILD/vidrun-bench" --device cuda
