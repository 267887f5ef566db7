#!/bin/sh
# in_made_up.sh DIRECTORY COMMAND...: runs the command where its control groups are those that DIRECTORY makes up: sys/fs/cgroup,
# proc/self/cgroup and proc/self/mountinfo in there take the places of the system's. Nobody else sees that.
set -eu
if test "${IN_MADE_UP:-}" != 1; then
    export IN_MADE_UP=1
    if test "$(id -u)" = 0; then
        exec unshare --mount sh "$0" "$@"
    fi
    exec unshare --map-root-user --mount sh "$0" "$@"
fi
made_up=$1
shift
mount --bind "$made_up/sys/fs/cgroup" /sys/fs/cgroup
# The command is this process.
mount --bind "$made_up/proc/self/cgroup" "/proc/$$/cgroup"
mount --bind "$made_up/proc/self/mountinfo" "/proc/$$/mountinfo"
exec "$@"
