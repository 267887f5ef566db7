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
(cd "$prefix" && find . -type f | sort)
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

# The name that programs ask the loader for is the file's own.
if command -v readelf >/dev/null && readelf -d pc_c 2>/dev/null | grep -q NEEDED; then
    readelf -d pc_c | grep -q 'NEEDED.*\[libbert\.so\]' || fail "the soname isn't libbert.so"
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
