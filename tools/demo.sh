#!/bin/sh
# demo.sh - two questions about each of three clips, answered by weights/demo.bin. Called by `make demo`; BUILD: folder of the programs.
set -eu
cd "$(dirname "$0")/.."
tab=$(printf '\t')
for clip in $(cut -f 1 weights/clips/questions.tsv | awk '!seen[$0]++' | head -n 3); do
    grep "^$clip$tab" weights/clips/questions.tsv | head -n 2 | while IFS="$tab" read -r _ question expected; do
        printf '\n$ vidrun demo weights/clips/%s "%s"\n' "$clip" "$question"
        "$BUILD/vidrun" --temp 0 demo "weights/clips/$clip" "$question" </dev/null
    done
done
