#!/usr/bin/env bash
# Measures libbert beside PyTorch and ONNX Runtime: `bench/run.sh --help`, and README.md here.
#
# Installs the peers into bench/.venv (once), builds the library and bench/ours.c, and hands over to run.py.
# BENCH_PYTHON names a Python that has the peers already; BENCH_VERBOSE=1 shows what is installed and built.
set -euo pipefail
bench=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$bench")
quiet=(--quiet)
[[ -n ${BENCH_VERBOSE:-} ]] && quiet=()

python=${BENCH_PYTHON:-$bench/.venv/bin/python}
if [[ -z ${BENCH_PYTHON:-} && ! -f $bench/.venv/complete ]]; then
    echo "Installing the peers into $bench/.venv; PyTorch is large." >&2
    python3 -m venv "$bench/.venv"
    "$python" -m pip install "${quiet[@]}" --disable-pip-version-check -r "$bench/requirements.txt"
    touch "$bench/.venv/complete"
fi
if [[ -z ${BENCH_NO_BUILD:-} ]]; then
    (cd "$root" && cargo build "${quiet[@]}" --release)
fi
exec "$python" "$bench/run.py" "$@"
