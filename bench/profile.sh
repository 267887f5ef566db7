#!/usr/bin/env bash
# Where libbert's time goes in a row of the benchmark, by operation and by function: `bench/profile.sh --help`.
#
# Needs `perf` and `addr2line` (Debian: linux-perf, binutils) and the right to sample (root, or kernel.perf_event_paranoid
# at most 1 to see the kernel's share too). A machine without hardware counters is enough. The library is built once more,
# with line numbers, in bench/out/profile-target; with BENCH_NO_BUILD=1 the one there is taken as it is.
set -euo pipefail
bench=$(cd "$(dirname "$0")" && pwd)
if ! command -v perf >/dev/null || ! perf record -q -e cpu-clock -o /dev/null -- true 2>/dev/null; then
    echo "perf isn't available here: install linux-perf, and see that sampling is allowed." >&2
    exit 1
fi
target=$bench/out/profile-target
if [[ -z ${BENCH_NO_BUILD:-} ]]; then
    (cd "$bench/.." && cargo build --quiet --release --config profile.release.debug=1 --config 'profile.release.strip="none"' \
        --target-dir "$target")
fi
# Measures nothing: sees that the peers' Python is there.
BENCH_NO_BUILD=1 "$bench/run.sh" --report >/dev/null
exec "${BENCH_PYTHON:-$bench/.venv/bin/python}" "$bench/operations.py" --library "$target/release" "$@"
