#!/bin/sh
# api.sh - every header compiles alone, with C and with C++; the library exports only vr_ symbols.
set -eu
failed=0
for header in src/*.h src/*/*.h kernels/*.h kernels/*/*.h; do
    case $header in kernels/vec/*|kernels/x86/*|kernels/arm/*|kernels/ladder/*) continue ;; esac # need the flags of their instruction set
    case $header in kernels/cuda/library.h) ;; kernels/cuda/*) continue ;; esac # CUDA, but for what C loads
    ${CC:-cc} -std=c11 -D_POSIX_C_SOURCE=200809L -Isrc -I. -Wall -Wextra -Werror -fsyntax-only -x c "$header" || {
        echo "FAIL $header does not compile alone"
        failed=1
    }
done
others=$(nm -g --defined-only "${VIDRUN_BUILD:-build}/libvidrun.a" 2>/dev/null | awk 'NF == 3 && $3 !~ /^(vr_|__asan|__odr_asan|__ubsan)/ { print $3 }')
if [ -n "$others" ]; then
    echo "FAIL symbols without the prefix vr_: $others"
    failed=1
fi
[ "$failed" = 0 ] && echo "1 passed, 0 failed"
exit "$failed"
