#!/bin/sh
# run.sh BUILD-DIRECTORY [CMAKE]: installs the library from a finished CMake build into a temporary prefix, builds and
# runs an application outside the tree with what was installed there: found by CMake and by pkg-config, in C and in C++.
set -eu
build=$1
cmake=${2:-cmake}
source=$(cd "$(dirname "$0")" && pwd)
cc=${CC:-cc}
cxx=${CXX:-c++}

for tool in "$cc" "$cxx" pkg-config; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: there is no $tool"
        exit 77
    fi
done
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
"$cmake" --install "$build" --prefix "$prefix" >"$work/install.log" || fail "$(cat "$work/install.log")"
(cd "$prefix" && find . -type f -o -type l | sort)

# On Linux the library's file has its whole version in its name. The soname, with the ABI's number, is a link to it, for
# the loader; the name without a number is a link too, for the linker.
abi=$(sed -n 's/^#define BERT_ABI_VERSION //p' "$(find "$prefix" -name bert.h)")
soname=
if test "$(uname)" = Linux; then
    soname=libbert.so.$abi
    plain=$(find "$prefix" -name libbert.so)
    libdir=$(dirname "$plain")
    real=$(basename "$(readlink -f "$plain")")
    case $real in
    "$soname".*.*) ;;
    *) fail "libbert.so leads to $real, which isn't $soname.MINOR.PATCH" ;;
    esac
    test "$(readlink "$plain")" = "$soname" || fail "libbert.so is no link to $soname"
    test "$(readlink "$libdir/$soname")" = "$real" || fail "$soname is no link to $real"
    test "$(find "$libdir" -name 'libbert.so*' -type f)" = "$libdir/$real" || fail "the library is there more than once"
fi
mkdir "$work/app"
cp "$source/app.c" "$source/app.cpp" "$source/two_rusts.c" "$source/CMakeLists.txt" "$work/app"
cd "$work/app"

echo "-- CMake"
"$cmake" -S . -B build "-DCMAKE_PREFIX_PATH=$prefix" >cmake.log 2>&1 || fail "$(cat cmake.log)"
"$cmake" --build build >build.log 2>&1 || fail "$(cat build.log)"
build/app_c
build/app_cpp
if test -x build/app_static; then
    build/app_static
fi

echo "-- pkg-config"
library_file=$(find "$prefix" -name bert.pc)
PKG_CONFIG_PATH=$(dirname "$library_file")
export PKG_CONFIG_PATH
# shellcheck disable=SC2046 # several words
"$cc" -std=c99 -Wall -Wextra -Wpedantic -Werror app.c -o pc_c $(pkg-config --cflags --libs bert)
# shellcheck disable=SC2046
"$cxx" -std=c++11 -Wall -Wextra -Wpedantic -Werror app.cpp -o pc_cpp $(pkg-config --cflags --libs bert)
LD_LIBRARY_PATH=$(pkg-config --variable=libdir bert)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
./pc_c
./pc_cpp

# What programs ask the loader for is the soname, however they were linked; and each function with its version.
if test -n "$soname" && command -v readelf >/dev/null; then
    for program in pc_c pc_cpp build/app_c build/app_cpp; do
        readelf -d "$program" | grep -q "NEEDED.*\\[$soname\\]" || fail "$program doesn't need $soname"
        readelf --dyn-syms --wide "$program" | grep -q " bert_version@BERT_$abi " ||
            test "$(uname -m)" != x86_64 || fail "$program doesn't need bert_version of the version BERT_$abi"
    done
fi
# The static library keeps to the header's names, so that it gets on with other Rust libraries in one program.
archive=$(find "$prefix" -name libbert.a)
if test -n "$archive" && command -v nm >/dev/null; then
    others=$(nm -g --defined-only "$archive" | awk 'NF == 3 && $3 !~ /^bert_/ { print $3 }')
    test -z "$others" || fail "libbert.a exposes other names too: $(echo "$others" | head -n 5)"
fi

# A program with libbert's static library, a second Rust static library as rustc makes it, and a third whose names were
# hidden as libbert's are.
if test -n "$archive" && ! command -v rustc >/dev/null; then
    echo "skipped: libbert.a beside other Rust libraries: there is no rustc"
    test "${BERT_NO_SKIP:-}" != 1 || fail "BERT_NO_SKIP=1 allows no skipping"
elif test -n "$archive"; then
    echo "-- beside other Rust libraries"
    rustc --edition 2021 --crate-type staticlib --crate-name other "$source/other.rs" -o libother.a
    rustc --edition 2021 --crate-type staticlib --crate-name third --cfg hidden "$source/other.rs" -o libthird_open.a
    echo "int bert_hidden_works(void);" >third.h
    "$cmake" -DARCHIVE=libthird_open.a -DHEADER=third.h -DOUTPUT=third/libthird.a -DLINKER=ld -DOBJCOPY=objcopy -DAR=ar \
        -P "$source/../../cmake/static_library.cmake"
    # Beside the shared library the linker would take that one.
    mkdir static
    cp "$archive" static
    # shellcheck disable=SC2046
    "$cc" -std=c99 -Wall -Wextra -Wpedantic -Werror two_rusts.c -o two_rusts -Lstatic libother.a third/libthird.a \
        $(pkg-config --static --cflags --libs bert)
    if command -v readelf >/dev/null && readelf -d two_rusts | grep -q libbert; then
        fail "the shared library was linked"
    fi
    ./two_rusts
    # And all of it static, the C library too, where it is installed as such.
    # shellcheck disable=SC2046
    if "$cc" -std=c99 -static app.c -o all_static $(pkg-config --static --cflags --libs bert) 2>all_static.log; then
        ./all_static
    elif echo 'int main(void) { return 0; }' >nothing.c && "$cc" -static nothing.c -o nothing 2>nothing.log; then
        fail "$(cat all_static.log)"
    fi
fi
echo passed
