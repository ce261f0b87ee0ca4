#!/bin/sh
# check.sh - the NEON kernels on a machine of any kind: cross-compiled, run by qemu with and without dot products.
# Environment: BUILD, MAKE, NEON_CC, NEON_QEMU; VIDRUN_THOROUGH=1, VIDRUN_SEED.
set -eu
for tool in "${NEON_CC%% *}" "$NEON_QEMU"; do
    command -v "$tool" >/dev/null 2>&1 || {
        echo "SKIP NEON: $tool is missing (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)"
        exit 0
    }
done
$MAKE -s "$BUILD/neon/selftest" NEON_CC="$NEON_CC"
lines=$BUILD/neon/selftest.txt
"$NEON_QEMU" "$BUILD/neon/selftest" >"$lines" || { cat "$lines"; exit 1; }
cat "$lines"
for level in c neon neondot; do
    [ "$(grep -c "^$level .* ok " "$lines")" -ge 12 ] || { echo "FAIL level $level was not checked"; exit 1; }
done
# a processor without dot products must not be offered them
if "$NEON_QEMU" -cpu cortex-a53 "$BUILD/neon/selftest" levels | grep -q neondot; then
    echo "FAIL neondot is offered to a processor without dot products"
    exit 1
fi
echo "1 passed, 0 failed"
