#!/usr/bin/env bash
# Compiles the kernels with CUDA 12, whose compiler comes as a library alone where CUDA is installed from Python wheels
# (there is no `nvcc` among those of CUDA 12): NVRTC has the same front end and code generator.
#
#     scripts/cuda12-check.sh [VERSION...]       # 12.0 and 12.9: the first and the last of CUDA 12
#
# Each version is a download of 25 to 90 MB, kept in ~/.cache/libbert-cuda12.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/libbert-cuda12
versions=("$@")
((${#versions[@]})) || versions=(12.0 12.9)
for version in "${versions[@]}"; do
    directory=$cache/$version
    if [[ ! -d $directory ]]; then
        download=$(mktemp -d)
        python3 -m pip download --quiet --disable-pip-version-check --no-deps -d "$download" \
            "nvidia-cuda-nvrtc-cu12==$version.*" "nvidia-cuda-runtime-cu12==$version.*" >&2
        mkdir -p "$cache"
        rm -rf "$directory.part"
        for wheel in "$download"/*.whl; do
            python3 -m zipfile -e "$wheel" "$directory.part"
        done
        rm -rf "$download"
        # Put in place at once, so that a download that broke off isn't taken for a compiler.
        mv "$directory.part" "$directory"
    fi
    nvidia=$directory/nvidia
    # NVRTC opens its built-in functions by the loader's path.
    LD_LIBRARY_PATH=$nvidia/cuda_nvrtc/lib python3 "$root/scripts/cuda12_compile.py" "$nvidia/cuda_nvrtc/lib/libnvrtc.so.12" \
        "$nvidia/cuda_runtime/include" "$root/src/cuda/kernels/kernels.cu"
done
