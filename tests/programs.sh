#!/bin/sh
# programs.sh - test programs one after the other, all of them whatever fails, and what they skip. Called by `make check`.
#
#   programs.sh PROGRAM...    a *_replay of a fuzz target gets its corpus; what says SKIP is told once more, and counted
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
: > "$folder/log"
n=0 failed=
for program; do
    echo "== $program"
    n=$((n + 1))
    case $program in *_replay) set -- "$program" "tests/fuzz/corpus/$(basename "$program" _replay)" ;; *) set -- "$program" ;; esac
    { status=0; "$@" 2>&1 || status=$?; echo "$status" > "$folder/status"; } | tee "$folder/one"
    [ "$(cat "$folder/status")" = 0 ] || failed="$failed $program"
    sed -n "s|.*SKIP|    $(basename "$program"): &|p" "$folder/one" >> "$folder/log"
done
echo "$n programs, $(echo $failed | wc -w) failed, $(wc -l < "$folder/log") skips"
cat "$folder/log"
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
