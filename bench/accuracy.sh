#!/bin/sh
# accuracy.sh TASK MODEL_DIR DATA_DIR SEEDS [TRAIN_FILE_OPTION...]: fine-tunes a published BERT with examples-c/train_file
# and tells how well it does on the test set, for each seed and in the mean.
#
#     bench/accuracy.sh sst2 "$BERT_TEST_MODEL" ../shared/data/sst2 "0 1 2"
#     bench/accuracy.sh mrpc "$BERT_TEST_MODEL" ../shared/data/mrpc "0 1 2"
#
# Batch 32, learning rate 5e-5, 10 % warm-up, linear decay, weight decay 0.01, clipping at 1.0, maximum length 128, 3
# epochs of sst2 (train.tsv, test.tsv) and 4 of mrpc (train.csv, test.csv); the last step's weights. Options that are
# given come last and so count. F1 is that of the label 1. The library is that of `cargo build --release`, or of the
# directory that BERT_LIBRARY_DIR names.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if test $# -lt 4; then
    echo "usage: accuracy.sh sst2|mrpc MODEL_DIR DATA_DIR SEEDS [TRAIN_FILE_OPTION...]" >&2
    exit 2
fi
task=$1 model=$2 data=$3 seeds=$4
shift 4
case $task in
sst2) epochs=3 kind=tsv ;;
mrpc) epochs=4 kind=csv ;;
*)
    echo "accuracy.sh: the task is sst2 or mrpc, not '$task'" >&2
    exit 2
    ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
library=${BERT_LIBRARY_DIR:-$root/target/release}
cc -O2 -I"$root/include" "$root/examples-c/train_file.c" -o "$scratch/train_file" -L"$library" -lbert \
    -Wl,-rpath,"$library" -lm

echo "seed  accuracy      F1  training s  tokens/s  peak MiB"
for seed in $seeds; do
    "$scratch/train_file" --train "$data/train.$kind" --test "$data/test.$kind" --model "$model" --epochs $epochs \
        --batch 32 --lr 5e-5 --warmup-ratio 0.1 --schedule linear --weight-decay 0.01 --clip 1.0 --max-length 128 \
        --no-restore-best --seed "$seed" "$@" >"$scratch/out" 2>"$scratch/err" || {
        cat "$scratch/out" "$scratch/err" >&2
        exit 1
    }
    # "trained: … tokens in 78.5 s (14500 tokens/s)"; the label's row; "loss …, accuracy …"; "… s in all, peak memory …".
    awk -v seed="$seed" '
        /^trained: / { match($0, / in [0-9.]+ s \([0-9]+/); split(substr($0, RSTART, RLENGTH), t, /[ (]+/) }
        /^ +1 +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9]+$/ { f1 = $4 }
        /^loss .*, accuracy / { accuracy = $4 + 0 }
        / in all, peak memory / { peak = $(NF - 1) }
        END {
            if (accuracy == "" || f1 == "" || peak == "") exit 1
            printf "%4d  %8.4f  %6.4f  %10.1f  %8d  %8d\n", seed, accuracy, f1, t[3], t[5], peak
        }' "$scratch/out" | tee -a "$scratch/rows" | grep . || {
        cat "$scratch/out" >&2
        exit 1
    }
done
awk '{ n++; a += $2; f += $3 } END { printf "mean  %8.4f  %6.4f\n", a / n, f / n }' "$scratch/rows"
