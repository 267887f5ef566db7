#!/usr/bin/env bash
# Where libbert's time goes in a row of the benchmark, by operation and by function: `bench/profile.sh --help`.
#
# Needs `perf` (Debian: apt-get install linux-perf) and the right to sample (root, or kernel.perf_event_paranoid at most
# 1 to see the kernel's share too). A machine without hardware counters is enough. The library that is built has names of
# functions; frames that were inlined count for the function that they are in.
set -euo pipefail
bench=$(cd "$(dirname "$0")" && pwd)
if ! command -v perf >/dev/null || ! perf record -q -e cpu-clock -o /dev/null -- true 2>/dev/null; then
    echo "perf isn't available here: install linux-perf, and see that sampling is allowed." >&2
    exit 1
fi
# Reports nothing: makes sure that the peers' environment and the build are there.
"$bench/run.sh" --report >/dev/null
exec "${BENCH_PYTHON:-$bench/.venv/bin/python}" "$bench/operations.py" "$@"
