#!/bin/sh
# demo.sh - weights/demo.bin gives its recorded answers, at every level of this processor. Called by run.sh.
# Environment: VIDRUN.
set -eu
cd "$(dirname "$0")/.."
tab=$(printf '\t')
passed=0 failed=0 skipped=0
for level in c avx2 avx512 avx512bf16; do
    clip=weights/clips/$(head -n 1 weights/clips/questions.tsv | cut -f 1)
    case $(VIDRUN_CPU=$level "$VIDRUN" -q --estimate weights/demo.bin "$clip" "?" 2>&1 >/dev/null) in *VIDRUN_CPU*)
        echo "SKIP: this processor has no level $level"
        skipped=$((skipped + 1))
        continue ;;
    esac
    while IFS="$tab" read -r clip question expected; do
        answer=$(VIDRUN_CPU=$level "$VIDRUN" -q --temp 0 weights/demo.bin "weights/clips/$clip" "$question" </dev/null) || answer="exit status $?"
        if [ "$answer" = "$expected" ]; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "FAIL $level, $clip, $question: '$answer', expected '$expected'"
        fi
    done <weights/clips/questions.tsv
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
