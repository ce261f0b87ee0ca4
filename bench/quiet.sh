#!/bin/sh
# quiet.sh - bench/results.csv, in one run on a quiet machine: families, whole parts and peers, ten minutes.
#
#   bench/quiet.sh prepare FOLDER                        makes what is measured: random weights, a clip (14 GB)
#   bench/quiet.sh measure FOLDER > bench/results.csv    one header, facts of the machine as comments before every part
#
# Environment: BUILD (build), PYTHON (one with PyTorch), LLAMA (llama-bench of llama.cpp, or a module: cyllama), MODEL (stock
# GGUF of the architecture llama; else that of make check-real is fetched), GOLDEN (recorded cases, ../shared/golden: a small
# Video-LLaMA with sound is converted for its keys and vocabulary), SECONDS_ALL (500).
# oneDNN is used where the bench was built with it: tools/packages.sh peers, then make.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
python=${PYTHON:-$(tools/packages.sh python)}
what=${1:-} folder=${2:-}
[ -n "$folder" ] || { echo "usage: bench/quiet.sh prepare|measure FOLDER" >&2; exit 2; }

# share PERCENT: of the seconds
share() {
    echo $((${SECONDS_ALL:-500} * $1 / 100))
}

prepare() {
    mkdir -p "$folder"
    make -s BUILD="$build" "$build/vidrun-bench" "$build/vidrun-make-weights" "$build/vidrun-quantize" >&2
    [ -f "$folder/small.bin" ] || {
        tar -xJf "${GOLDEN:-../shared/golden}/video-llama-av/checkpoint.tar.xz" -C "$folder"
        "$python" tools/convert/convert.py "$folder/checkpoint" -o "$folder/small.bin"
    }
    [ -f "$folder/video-llama-7b.bin" ] ||
        "$build/vidrun-make-weights" --like "$folder/small.bin" video-llama-7b "$folder/video-llama-7b.bin"
    [ -f "$folder/video-llama-7b-8.bin" ] ||
        "$build/vidrun-quantize" "$folder/video-llama-7b.bin" "$folder/video-llama-7b-8.bin" --type q4_0 --towers q8_0
    model=${MODEL:-$folder/SmolLM2-135M-Instruct.Q4_1.gguf}
    [ -f "$model" ] || "$python" -c '
import pathlib, sys
sys.path.insert(0, "tests/real")
import check_real
check_real.fetch(pathlib.Path(sys.argv[1]))' "$folder"
    for type in q8_0 q4_0; do
        [ -f "$folder/llama-1b-$type.gguf" ] ||
            "$python" bench/make/stock_llama.py "$model" "$folder/llama-1b-$type.gguf" --type $type
    done
    [ -f "$folder/clip.mp4" ] || ffmpeg -nostdin -v error -f lavfi -i testsrc2=size=640x360:rate=25:duration=14 \
        -f lavfi -i sine=frequency=440:duration=14 -c:v mpeg4 -q:v 3 -c:a aac -shortest "$folder/clip.mp4"
}

# part PERCENT ARGUMENTS: lines of the bench; the header only once
part() {
    seconds=$(share "$1")
    shift
    PYTHON=$python "$build/vidrun-bench" --csv --seconds "$seconds" "$@" | sed "$header"
    header='/^bench,form,/d'
}

measure() {
    header=''
    part 22 gemm gemv attention norms
    part 26 --rounds 9 --weights "$folder/video-llama-7b.bin" qformer audio vit
    part 14 --rounds 9 --weights "$folder/video-llama-7b-8.bin" vit
    part 10 --rounds 3 --no-peers --weights "$folder/video-llama-7b.bin" --clip "$folder/clip.mp4" pipeline
    for type in q8_0 q4_0; do
        part 13 --rounds 9 ${LLAMA:+--llama "$LLAMA"} --weights "$folder/llama-1b-$type.gguf" prefill decode
    done
    part 12 prune select top-k gather ladder kmeans memory_update scene_tiling
}

case $what in
prepare | measure) $what ;;
*) echo "usage: bench/quiet.sh prepare|measure FOLDER" >&2; exit 2 ;;
esac
