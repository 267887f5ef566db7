#!/bin/sh
# The C suite under a sanitizer or valgrind:
#
#     tests/sanitizers.sh c [PROGRAM…]         its own side with -fsanitize=address,undefined; the library as it ships
#     tests/sanitizers.sh address [PROGRAM…]   both sides with AddressSanitizer (nightly Rust)
#     tests/sanitizers.sh thread [PROGRAM…]    both sides and the standard library with ThreadSanitizer (nightly Rust with
#                                              its rust-src, which builds that too); the threads suite
#     tests/sanitizers.sh valgrind [PROGRAM…]  memcheck; the quick part, on one worker thread
#
# PROGRAM is a name under tests/c without .c. BERT_TARGET is where cargo builds, BERT_SHARED the data beside the project.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
mode=${1:?c, address, thread or valgrind}
shift
target=${BERT_TARGET:-${CARGO_TARGET_DIR:-$root/target}}
host=$(rustc -vV | sed -n 's/^host: //p')
shared=${BERT_SHARED:-$root/../shared}

# $1: the sanitizer, then cargo's further options. Where std itself isn't instrumented the compiler has to be told that
# it is meant.
sanitized_library() {
    sanitizer=$1
    shift
    # With line tables, so that a report says where.
    CARGO_TARGET_DIR=$target/$sanitizer RUSTFLAGS="-Zsanitizer=$sanitizer -Cunsafe-allow-abi-mismatch=sanitizer" \
        CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only \
        cargo +nightly build --manifest-path "$root/Cargo.toml" --release --lib --target "$host" "$@"
    library=$target/$sanitizer/$host/release
}

programs=$*
# What programs are compiled with, and what they are linked with where that isn't the same.
links=
case $mode in
c)
    CARGO_TARGET_DIR=$target cargo build --manifest-path "$root/Cargo.toml" --release
    library=$target/release
    flags='-fsanitize=address,undefined -fno-sanitize-recover=undefined'
    ;;
address)
    sanitized_library address
    flags='-fsanitize=address,undefined -fno-sanitize-recover=undefined'
    ;;
thread)
    # A standard library that isn't instrumented makes it useless: what its mutexes, its Arc and its condition variables
    # order isn't seen, and every use of them is reported.
    sysroot=$(rustc +nightly --print sysroot)
    if [ ! -d "$sysroot/lib/rustlib/src/rust/library" ]; then
        echo "$0: needs the standard library's source: rustup component add rust-src --toolchain nightly" >&2
        exit 77
    fi
    sanitized_library thread -Zbuild-std
    flags=-fsanitize=thread
    # One runtime for both sides, that of the library's compiler: a C compiler's own may be older than what the library calls.
    links="-Wl,--whole-archive $sysroot/lib/rustlib/$host/lib/librustc-nightly_rt.tsan.a -Wl,--no-whole-archive
           -Wl,--export-dynamic"
    # Those that fork after threads were started aren't for it.
    : "${programs:=soak_threads save_races callbacks handles signals closing callback_data}"
    ;;
valgrind)
    CARGO_TARGET_DIR=$target cargo build --manifest-path "$root/Cargo.toml" --release
    library=$target/release
    flags=
    : "${programs:=handles dataset tokenize versions save_recovery memory callbacks closing callback_data}"
    ;;
*)
    echo "$0: $mode is none of c, address, thread, valgrind" >&2
    exit 2
    ;;
esac
if [ -z "$programs" ]; then
    for source in "$root"/tests/c/*.c; do
        name=$(basename "$source" .c)
        case $name in
        # A sanitizer brings an allocator and a start-up of its own.
        allocation_failures) continue ;;
        # Its allocator's locks stay locked in a child that was forked while another thread held them.
        forks | fork_recipe) continue ;;
        # It keeps freed memory for a while: what is resident says nothing.
        loading) continue ;;
        esac
        programs="$programs $name"
    done
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=
for name in $programs; do
    source=$root/tests/c/$name.c
    # shellcheck disable=SC2086
    cc -std=c99 -g $flags -I"$root/include" -c "$source" -o "$work/$name.o"
    # shellcheck disable=SC2086
    cc ${links:-$flags} "$work/$name.o" -o "$work/$name.program" \
        -L"$library" -lbert "-Wl,-rpath,$library" -lpthread -lm -ldl
    mkdir "$work/$name"
    cd "$work/$name"
    TSAN_OPTIONS='halt_on_error=0 exitcode=66'
    # Memory that isn't there is NULL, as without the sanitizer.
    ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
    # In a forked child the worker threads are gone, and what their stacks pointed to looks lost.
    ! grep -q 'fork()' "$source" || ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
    UBSAN_OPTIONS=print_stacktrace=1
    BERT_SHARED=$shared
    BERT_LIBRARY=$library/libbert.so
    export TSAN_OPTIONS ASAN_OPTIONS UBSAN_OPTIONS BERT_SHARED BERT_LIBRARY
    run=
    if [ "$mode" = valgrind ]; then
        # "Possibly lost" is left out: a hash map keeps a pointer into the middle of its memory, and the worker threads
        # and the tables of handles live until the process ends. Kernels for AVX-512 aren't known to valgrind 3.19.
        run="taskset -c 0 valgrind --quiet --error-exitcode=66 --leak-check=full --show-leak-kinds=definite,indirect
             --errors-for-leak-kinds=definite,indirect --fair-sched=yes"
    fi
    # shellcheck disable=SC2086
    if $run "$work/$name.program" >"$work/$name.log" 2>&1; then
        echo "ok      $name"
    else
        echo "FAILED  $name"
        cat "$work/$name.log"
        failed="$failed $name"
    fi
    cd "$root"
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
