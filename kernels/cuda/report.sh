#!/bin/sh
# report.sh - what the compiler made of every kernel: registers, shared memory, spills. Called by `make cuda-report`.
# Environment: NVCC, CUDA_ARCH (one number). Arguments: the .cu files. Exit status 1 where a kernel spills.
set -eu
[ -x "$NVCC" ] || command -v "$NVCC" > /dev/null || { echo "SKIP: no nvcc ($NVCC)"; exit 0; }
for file in "$@"; do
    "$NVCC" -std=c++17 -Isrc -I. -O3 -gencode "arch=compute_$CUDA_ARCH,code=sm_$CUDA_ARCH" -Xptxas -v -c "$file" -o /dev/null 2>&1
done | sed 's/__nv_static_[0-9a-zA-Z_]*__Z/_Z/' | c++filt | awk -v arch="$CUDA_ARCH" '
/Compiling entry function/ { sub(/.*Compiling entry function ./, ""); sub(/. for .sm_.*/, ""); name = $0; next }
/bytes spill stores/ { spill = $5 + $9; next }
/Used [0-9]+ registers/ {
    if (n++ == 0) printf "%-64s %9s %7s %7s\n", "kernel, sm_" arch, "registers", "shared", "spilled"
    registers = shared = 0
    for (i = 2; i <= NF; i++) { if ($i ~ /^registers/) registers = $(i - 1); if ($i == "smem," || $i == "smem") shared = $(i - 2) }
    sub(/^void /, "", name)
    gsub(/\(vr_kept\)/, "", name)
    sub(/\(.*/, "", name)
    printf "%-64s %9d %7d %7d\n", name, registers, shared, spill
    spilled += spill
}
END { if (n == 0) { print "the compiler reported nothing"; exit 1 } exit spilled > 0 }'
