#!/usr/bin/env bash
# cargo's RUSTC_WRAPPER: adds the coverage counters that libFuzzer steers by, with flags that the stable compiler has, to
# the crates whose branches matter, and leaves all others (kernels, candle, build scripts) as they are.
set -euo pipefail

crate=
for ((i = 1; i <= $#; i++)); do
    if [[ ${!i} == --crate-name ]]; then
        next=$((i + 1))
        crate=${!next}
        break
    fi
done

flags=(
    --cfg fuzzing
    -C passes=sancov-module
    -C llvm-args=-sanitizer-coverage-level=4
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters
    -C llvm-args=-sanitizer-coverage-pc-table
)
case $crate in
    bert | csv | csv_core | safetensors)
        # libFuzzer also learns from what these compare.
        flags+=(-C llvm-args=-sanitizer-coverage-trace-compares)
        ;;
    libbert_fuzz | serde_json | tokenizers) ;;
    *)
        exec "$@"
        ;;
esac
# What is built for build scripts and macros isn't optimised, and isn't fuzzed.
if [[ " $* " == *" opt-level=3 "* ]]; then
    set -- "$@" "${flags[@]}"
fi
exec "$@"
