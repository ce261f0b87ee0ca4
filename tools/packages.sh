#!/bin/sh
# packages.sh - what this project needs from Debian or Ubuntu.
#
#   packages.sh install   install what is missing for building and testing (as root or with passwordless sudo), else say what to type
#   packages.sh plots     the same for drawing bench/results.csv
#   packages.sh peers     the same for oneDNN, which the bench compares itself with; nothing needs it
#   packages.sh build     only look at what building needs; say what to type when it is missing
#   packages.sh python    print a python3 that has numpy
set -u
libraries="libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libswresample-dev libopenblas-dev zlib1g-dev"
modules="libavformat libavcodec libavutil libswscale libswresample openblas zlib"

find_python() {
    for python in "${PYTHON:-python3}" /usr/bin/python3 python3; do
        "$python" -c 'import numpy' 2>/dev/null && { echo "$python"; return 0; }
    done
    return 1
}

missing_for_build() {
    command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || printf 'build-essential '
    command -v pkg-config >/dev/null 2>&1 || { printf 'pkg-config %s ' "$libraries"; return; }
    for pair in $(paste_pairs); do
        pkg-config --exists "${pair%%:*}" || printf '%s ' "${pair##*:}"
    done
}

paste_pairs() {
    set -- $libraries
    for module in $modules; do
        echo "$module:$1"
        shift
    done
}

missing_for_tests() {
    missing_for_build
    { command -v pkg-config >/dev/null 2>&1 && pkg-config --exists check; } || printf 'check '
    command -v ffmpeg >/dev/null 2>&1 || printf 'ffmpeg '
    command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || printf 'g++ ' # the CUDA kernels on this processor
    find_python >/dev/null || printf 'python3-numpy '
}

missing_for_plots() {
    command -v gnuplot >/dev/null 2>&1 || printf 'gnuplot-nox '
}

missing_for_peers() {
    echo '#include <dnnl.h>' | "${CC:-cc}" -E -x c - >/dev/null 2>&1 || printf 'libdnnl-dev '
}

# install_missing FUNCTION: what it prints
install_missing() {
    missing=$($1)
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo"; else as_root="none"; fi
    if [ "$as_root" = none ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "vidrun needs packages; on Debian or Ubuntu type: sudo apt-get install $missing"
        exit 1
    fi
    echo "installing with apt-get: $missing"
    $as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq $missing >/dev/null || {
        echo "apt-get could not install: $missing"
        exit 1
    }
    [ -z "$($1)" ] || { echo "still missing after the installation: $($1)"; exit 1; }
}

case "${1:-}" in
python)
    find_python || echo python3
    ;;
build)
    missing=$(missing_for_build)
    [ -z "$missing" ] && exit 0
    echo "vidrun needs packages; on Debian or Ubuntu type: sudo apt-get install $missing"
    exit 1
    ;;
install)
    install_missing missing_for_tests
    ;;
plots)
    install_missing missing_for_plots
    ;;
peers)
    install_missing missing_for_peers
    ;;
*)
    echo "usage: packages.sh install|plots|peers|build|python" >&2
    exit 2
    ;;
esac
