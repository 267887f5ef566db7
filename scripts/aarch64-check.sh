#!/usr/bin/env bash
# libbert for aarch64, compiled on x86-64:
#
#     scripts/aarch64-check.sh [check ARGUMENT...] # cargo check of the library and the tests; a warning is an error
#     scripts/aarch64-check.sh build               # libbert.so and libbert.a, into target/aarch64-unknown-linux-gnu/release
#     scripts/aarch64-check.sh test [ARGUMENT...]  # cargo test with these arguments (--lib), run by qemu
#
# The first needs Rust's standard library for that target and nothing else; build needs a compiler's linker for it, the
# last one qemu's user mode emulation as well. On Debian what is missing is installed. The standard library comes from
# rustup, or where that has none from Debian's own Rust, which then compiles everything.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
what=${1:-check}
(($# == 0)) || shift

# have PACKAGE...: installs those that aren't there.
have() {
    local package missing=() as_root=()
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    [[ $(id -u) == 0 ]] || as_root=(sudo)
    if [[ "${missing[*]}" == *:arm64* ]]; then
        "${as_root[@]}" dpkg --add-architecture arm64
    fi
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

has_target() {
    compgen -G "$("${RUSTC:-rustc}" --print target-libdir --target "$target")/libstd-*.rlib" >/dev/null
}

if ! has_target && ! { rustup target add "$target" >/dev/null 2>&1 && has_target; }; then
    have rustc-web libstd-rust-web-dev:arm64
    export RUSTC=/usr/bin/rustc
    if ! has_target; then
        echo "There is no standard library for $target: neither rustup nor Debian has one." >&2
        exit 1
    fi
fi
"${RUSTC:-rustc}" --version

case $what in
check) ;;
build) have gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
test) have gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static ;;
*)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
    exit 2
    ;;
esac
# All of glibc from the cross compiler: with its loader and the libc.so of libc6:arm64, where that is installed, the first
# thread that is started hangs.
root=/usr/aarch64-linux-gnu
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L $root -E LD_LIBRARY_PATH=$root/lib"

case $what in
check)
    # Warnings of the dependencies aren't shown, so they aren't errors either.
    RUSTFLAGS="-D warnings" cargo check --release --all-targets --target "$target" "$@"
    ;;
build)
    cargo build --release --lib --target "$target"
    ;;
test)
    cargo test --release --target "$target" "${@:---lib}"
    ;;
esac
