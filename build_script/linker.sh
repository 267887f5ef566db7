#!/bin/sh
# Runs the linker so that the exported functions get the symbol version @VERSION@. The build script fills that in, puts
# this file into its OUT_DIR and has the compiler driver call it:
#
# - gcc's option -wrapper: the first argument is the program that gcc would have called, then come its arguments;
# - clang's option --ld-path: called in the linker's place, with the linker's arguments alone.
#
# rustc names the exported functions in a version script whose only node has no name. A second script with a named node
# doesn't help: GNU ld refuses the two together, and lld gives a function to the first. So the node here gets a name.

case $1 in
-*)
    # clang's own command line tells which linker it would have called.
    linker=$(
        xargs -0 -s 1000000 sh -c '
            for argument; do
                shift
                case $argument in --ld-path=*) ;; *) set -- "$@" "$argument" ;; esac
            done
            exec "$0" "$@" "-###"
        ' <"/proc/$PPID/cmdline" 2>&1 | sed -n '$s/^ *"\([^"]*\)".*/\1/p'
    )
    set -- "${linker:-ld}" "$@"
    ;;
esac

for argument; do
    shift
    case $argument in
    --version-script=*)
        list=${argument#--version-script=}
        sed '1s/^{/@VERSION@ {/' "$list" >"$list.named" || exit
        argument=--version-script=$list.named
        ;;
    esac
    set -- "$@" "$argument"
done
exec "$@"
