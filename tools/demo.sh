#!/bin/sh
# demo.sh - a question about a clip, with a tiny model made from the recorded case in tests/golden. Called by `make demo`.
# Environment: BUILD (folder of the programs), PYTHON.
set -eu
cd "$(dirname "$0")/.."
case_dir=tests/golden/video-llama-v
weights=$BUILD/demo.bin
if [ ! -f "$weights" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    "$PYTHON" -m tarfile -e "$case_dir/checkpoint.tar.xz" "$work" >/dev/null
    "$PYTHON" tools/convert/convert.py "$work/checkpoint" -o "$weights" --type f16
fi
question="What is happening in the video?"
echo "\$ vidrun demo.bin $case_dir/input.mkv \"$question\""
"$BUILD/vidrun" -s 1 -n 24 "$weights" "$case_dir/input.mkv" "$question"
echo "(The weights are random: the whole path runs, the words mean nothing. See README.md for real weights.)"
