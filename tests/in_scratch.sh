#!/bin/sh
# in_scratch.sh DIRECTORY COMMAND...: runs the command in that directory, which is emptied first.
#
# A test's source, named by BERT_TEST_SOURCE, says on lines of its own what it needs beyond the library:
# `/* needs: shared */`, the data in BERT_SHARED; `/* needs: model */`, a model directory in BERT_TEST_MODEL. Where that
# is missing, the exit code is 77: skipped. With BERT_NO_SKIP=1 in the environment that is a failure, whoever skips.
set -eu
directory=$1
shift

skip() {
    echo "skipped: $1"
    if test "${BERT_NO_SKIP:-}" = 1; then
        echo "FAILED: BERT_NO_SKIP=1 allows no skipping"
        exit 1
    fi
    exit 77
}

needs() {
    test -n "${BERT_TEST_SOURCE:-}" && grep -qx "/\* needs: $1 \*/" "$BERT_TEST_SOURCE"
}
if ! test -d "${BERT_SHARED:-}"; then
    unset BERT_SHARED
    if needs shared; then
        skip "needs the data in BERT_SHARED"
    fi
fi
if ! test -d "${BERT_TEST_MODEL:-}" && needs model; then
    skip "needs a model directory in BERT_TEST_MODEL"
fi

rm -rf "$directory"
mkdir -p "$directory"
cd "$directory"
status=0
"$@" || status=$?
if test $status -eq 77; then
    skip "the test says so"
fi
exit $status
