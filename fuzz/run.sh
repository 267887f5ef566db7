#!/usr/bin/env bash
# Builds and runs the fuzz targets with a stable compiler. See README.md.
#
#   run.sh build                       builds the one program that all targets are in
#   run.sh list                        prints their names
#   run.sh replay [TARGET...]          runs every kept input once
#   run.sh fuzz SECONDS [TARGET...]    replays, then fuzzes each target so long, two at a time
#   run.sh keep [TARGET...]            packs what fuzzing has found, minimised, as the corpus to commit
#
# What a run works on lies in work/ and isn't committed: work/corpus/TARGET grows, work/findings/TARGET holds inputs that
# broke something, work/logs/TARGET.log tells how it went. FUZZ_JOBS sets how many targets run at once, FUZZ_PROGRAM
# names another build of the program, FUZZ_TIMEOUT how many seconds of wall clock one input may wait (60; more where the
# process is paused from outside).
set -euo pipefail
cd "$(dirname "$0")"

program=${FUZZ_PROGRAM:-target/release/libbert-fuzz}
jobs=${FUZZ_JOBS:-2}
timeout=${FUZZ_TIMEOUT:-60}

build() {
    # In a directory of its own: the library's files have the same names in both builds, and the instrumented ones would
    # take the places of those that are shipped.
    RUSTC_WRAPPER=$PWD/instrument.sh CARGO_TARGET_DIR=$PWD/target cargo build --release
}

# Sets up work/ for a target: its seeds, its dictionary and the committed corpus.
prepare() {
    local target=$1
    mkdir -p "work/corpus/$target" "work/findings/$target" work/logs work/seeds
    if [[ -f corpus/$target.tar.gz ]]; then
        tar -xzf "corpus/$target.tar.gz" -C "work/corpus/$target" --skip-old-files
    fi
}

# The targets' names; the length of one's longest inputs.
names() {
    LIBBERT_FUZZ=list "$program" 2>/dev/null | cut -d ' ' -f 1
}

longest() {
    LIBBERT_FUZZ=list "$program" 2>/dev/null | sed -n "s/^$1 //p"
}

# Runs the program on a target with these arguments, with a scratch directory in memory of its own.
libfuzzer() {
    local target=$1
    shift
    local parent=/dev/shm
    [[ -d $parent && -w $parent ]] || parent=${TMPDIR:-/tmp}
    local scratch status=0
    scratch=$(mktemp -d "$parent/libbert-fuzz.XXXXXX")
    # A hang is told by processor time in the program itself; -timeout is for waiting that never ends.
    LIBBERT_FUZZ=$target LIBBERT_FUZZ_SCRATCH=$scratch "$program" \
        -timeout="$timeout" -rss_limit_mb=1024 -max_len="$(longest "$target")" \
        -artifact_prefix="work/findings/$target/" "$@" || status=$?
    rm -rf "$scratch"
    return "$status"
}

# Every kept input once: seeds, corpus, and inputs that once broke something.
replay() {
    local target=$1 log=work/logs/$1.replay.log
    local directories=("work/seeds/$target" "work/corpus/$target")
    [[ -d regressions/$target ]] && directories+=("regressions/$target")
    if ! libfuzzer "$target" -runs=0 "${directories[@]}" >"$log" 2>&1; then
        tail -n 60 "$log"
        echo "$target: a kept input fails"
        return 1
    fi
    echo "$target: $(find "${directories[@]}" -type f | wc -l) inputs replayed"
}

fuzz() {
    local seconds=$1 target=$2 log=work/logs/$2.log
    local directories=("work/corpus/$target" "work/seeds/$target")
    [[ -d regressions/$target ]] && directories+=("regressions/$target")
    if ! libfuzzer "$target" -max_total_time="$seconds" -print_final_stats=1 \
        -dict="work/seeds/$target.dict" "${directories[@]}" >"$log" 2>&1; then
        tail -n 60 "$log"
        echo "$target: see $PWD/work/findings/$target and $PWD/$log"
        return 1
    fi
    echo "$target: $(grep -a -o 'number_of_executed_units: *[0-9]*' "$log" | grep -o '[0-9]*$') inputs in $seconds s, $(
        grep -a -o 'peak_rss_mb: *[0-9]*' "$log" | grep -o '[0-9]*$'
    ) MB at most, nothing found"
}

keep() {
    local target=$1 minimised
    minimised=$(mktemp -d)
    # The fewest inputs that together reach all that is reached.
    libfuzzer "$target" -set_cover_merge=1 "$minimised" "work/seeds/$target" "work/corpus/$target" >"work/logs/$target.keep.log" 2>&1
    mkdir -p corpus
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$minimised" -cf - . | gzip -9n >"corpus/$target.tar.gz"
    echo "$target: $(find "$minimised" -type f | wc -l) inputs, $(stat -c %s "corpus/$target.tar.gz") bytes packed"
    rm -rf "$minimised"
}

# Runs `run.sh COMMAND ... TARGET` for each target, some at a time; fails if any does.
each() {
    local command=("$1")
    shift
    local targets=("$@")
    ((${#targets[@]})) || mapfile -t targets < <(names)
    printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I{} ./run.sh "one" "${command[0]}" {}
}

seeds() {
    rm -rf work/seeds
    mkdir -p work/seeds
    LIBBERT_FUZZ="seeds $PWD/work/seeds" "$program" 2>work/seeds.log || { cat work/seeds.log; return 1; }
}

case ${1:-} in
    build) build ;;
    list) names ;;
    replay)
        seeds
        each replay "${@:2}"
        ;;
    fuzz)
        seeds
        each "fuzz:${2:?how many seconds each}" "${@:3}"
        ;;
    keep)
        seeds
        each keep "${@:2}"
        ;;
    one)
        prepare "$3"
        case $2 in
            fuzz:*) replay "$3" && fuzz "${2#fuzz:}" "$3" ;;
            *) "$2" "$3" ;;
        esac
        ;;
    *)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
        exit 2
        ;;
esac
