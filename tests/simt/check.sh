#!/bin/sh
# check.sh - the CUDA kernels on this processor, all of it: `make check-simt`. Minutes to an hour, as the recorded cases are.
#   known mistakes are reported -> every operation against level c, many sizes -> the same under sanitizers -> recorded cases,
#   memory of the device out of the host's reach
# Arguments: folders of recorded cases. Environment: BUILD, PYTHON.
set -eu
cd "$(dirname "$0")/../.."
export VIDRUN_CUDA_LIBRARY="$PWD/$BUILD/libvidrun_simt.so"
section() { printf '== %s\n' "$1"; }

section "the shim"
"$BUILD/tests/simt/simt_test"
"$BUILD/tests/simt/ladder_test"
"$BUILD/tests/simt/mma_test"
section "operations"
VIDRUN_THOROUGH=1 "$BUILD/tests/check/device_test"
section "operations, under sanitizers"
"${MAKE:-make}" -s BUILD="$BUILD-simt" CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined" \
    "$BUILD-simt/libvidrun_simt.so" "$BUILD-simt/tests/simt/simt_test" "$BUILD-simt/tests/simt/mma_test" "$BUILD-simt/tests/check/device_test"
"$BUILD-simt/tests/simt/simt_test"
"$BUILD-simt/tests/simt/mma_test"
VIDRUN_CUDA_LIBRARY="$PWD/$BUILD-simt/libvidrun_simt.so" "$BUILD-simt/tests/check/device_test"
section "recorded cases"
VIDRUN_DEVICE=cuda VIDRUN_SIMT_GUARD=1 "$PYTHON" tests/parity/parity.py --build "$BUILD" --levels best --threads 1 tests/golden
for folder in "$@"; do
    [ -d "$folder" ] || { echo "SKIP: $folder is not there"; continue; }
    VIDRUN_DEVICE=cuda VIDRUN_SIMT_GUARD=1 "$PYTHON" tests/parity/parity.py --build "$BUILD" --levels best --threads 1 "$folder"
done
