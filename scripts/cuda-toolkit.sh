#!/usr/bin/env bash
# Makes a CUDA toolkit that `cargo build --features cuda` is content with, on a machine that has neither CUDA nor a GPU:
#
#     scripts/cuda-toolkit.sh [--libraries] [DIR]        # DIR: ~/.cache/libbert-cuda-13.0
#     eval "$(scripts/cuda-toolkit.sh DIR)"              # what is there isn't made again
#
# It prints the environment for the build, as `export` lines, and nothing else on its standard output.
#
# CUDA's compiler comes as Python wheels, 105 MB. The libraries that a program runs with (cuBLAS, cuRAND, NVRTC; 590 MB)
# aren't needed: libbert opens them when it is asked for a GPU, and the linker is content with empty ones of their names.
# --libraries brings them too, for a machine with a GPU.
#
# CUDA 13.0, as published: wheels of CUDA 12 hold `ptxas` without `nvcc`, so that a library for CUDA 12 is built with a
# toolkit from NVIDIA's installer or a container.
set -euo pipefail

compiler=(nvidia-cuda-nvcc nvidia-cuda-crt nvidia-cuda-runtime nvidia-cuda-cccl nvidia-nvvm)
# By name and unversioned link; the versions are what belongs to CUDA 13.0.
libraries=(nvidia-cuda-nvrtc==13.0.\* nvidia-cublas==13.0.\* nvidia-curand==10.4.0.\*)
linked=(cuda cublas cublasLt curand nvrtc cudart)

with_libraries=
if [[ ${1-} == --libraries ]]; then
    with_libraries=1
    shift
fi
directory=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/libbert-cuda-13.0}

unpack() {
    local download
    download=$(mktemp -d)
    python3 -m pip download --quiet --disable-pip-version-check --no-deps -d "$download" "$@" >&2
    local wheel
    for wheel in "$download"/*.whl; do
        python3 -m zipfile -e "$wheel" "$download/unpacked"
    done
    mkdir -p "$directory.part"
    cp -r "$download/unpacked/nvidia/cu13/." "$directory.part/"
    rm -rf "$download"
}

if [[ ! -x $directory/bin/nvcc ]]; then
    rm -rf "$directory.part"
    unpack "${compiler[@]/%/==13.0.*}"
    # zipfile sets no modes.
    chmod +x "$directory.part"/bin/* "$directory.part"/nvvm/bin/*
    # Put in place at once, so that a download that broke off isn't taken for a toolkit.
    rm -rf "$directory"
    mv "$directory.part" "$directory"
fi
if [[ -n $with_libraries && ! -e $directory/lib/libcublas.so.13 ]]; then
    unpack "${libraries[@]}"
    cp -r "$directory.part/." "$directory/"
    rm -rf "$directory.part"
    rm -f "$directory"/lib/lib{cublas,cublasLt,curand,nvrtc}.so
fi
for name in "${linked[@]}"; do
    link=$directory/lib/lib$name.so
    if [[ ! -e $link ]]; then
        versioned=$(find "$directory/lib" -name "lib$name.so.*" -print -quit)
        if [[ -n $versioned ]]; then
            ln -sf "${versioned##*/}" "$link"
        else
            # Empty: nothing is taken from it, so that the linker leaves it out of what the library needs.
            cc -shared -nostdlib -o "$link" -x c /dev/null
        fi
    fi
done

directory=$(cd "$directory" && pwd)
printf 'export CUDA_HOME=%q\n' "$directory" # cudarc's and candle's build
printf 'export CUDA_PATH=%q\n' "$directory"
printf 'export PATH=%q:"$PATH"\n' "$directory/bin"
printf 'export LIBRARY_PATH=%q${LIBRARY_PATH:+:$LIBRARY_PATH}\n' "$directory/lib"
# candle's kernels are PTX for this architecture; the driver compiles them for the card, which may be newer, not older.
printf 'export CUDA_COMPUTE_CAP=%q\n' "${CUDA_COMPUTE_CAP:-80}"
