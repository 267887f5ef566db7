#!/usr/bin/env bash
# Everything that needs a GPU, in one call of under 10 minutes, in the folder that cuda-pack.sh packed:
#
#     libbert-cuda/cuda-check.sh [RESULTS]
#
# It needs the NVIDIA driver and cuBLAS (that of PyTorch's wheels is found); for the comparison Python with PyTorch and
# transformers. It prints what passes and the table, writes both and the programs' output into RESULTS
# (libbert-cuda/results), and ends with 1 where anything failed.
#
# To try the script itself: BERT_CHECK_DEVICE=cpu runs what can be run without a GPU; BERT_CHECK_QUICK=1 makes rows short;
# BERT_CHECK_WITHOUT="accuracy benchmark" leaves these parts out, of kernels, golden, c, accuracy and benchmark;
# BERT_CHECK_SLOWNESS=5 gives each program five times as long, for a card that is the host.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
results=${1:-$here/results}
mkdir -p "$results"
results=$(cd "$results" && pwd)
device=${BERT_CHECK_DEVICE:-cuda}
export BERT_TEST_DEVICE=$device BERT_TEST_CARD=1 BERT_NO_SKIP=1 BERT_TEST_ROOT=$here/root BERT_TEST_MODEL=$here/model
# Each run of exits.c is a process, which opens the card anew.
export BERT_EXIT_RUNS=5
export BERT_LIBRARY=$here/lib/libbert.so LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
python=${BERT_CHECK_PYTHON:-python3}
slowness=${BERT_CHECK_SLOWNESS:-1}
failures=0
begun=$SECONDS

# cuBLAS from PyTorch's wheels, where the loader finds none.
if [[ $device != cpu && -z ${BERT_CUDA_PATH:-} ]]; then
    paths=$("$python" -c '
import glob, sysconfig
folders = {sysconfig.get_paths()[name] for name in ("purelib", "platlib")}
print(":".join(p for f in folders for p in glob.glob(f + "/nvidia/cu*/lib") + glob.glob(f + "/nvidia/cublas/lib")))
' 2>/dev/null)
    [[ -n $paths ]] && export BERT_CUDA_PATH=$paths
fi

report() {
    printf '%s\n' "$*" | tee -a "$results/summary.txt"
}

# try NAME SECONDS COMMAND...: runs it in a directory of its own.
try() {
    local name=$1 limit=$(($2 * slowness)) scratch code=0 from=$SECONDS
    shift 2
    scratch=$(mktemp -d)
    (cd "$scratch" && timeout -k 5 "$limit" "$@") >"$results/$name.txt" 2>&1 || code=$?
    rm -rf "$scratch"
    if ((code == 0)); then
        report "$(printf 'ok      %-34s %4d s' "$name" $((SECONDS - from)))"
    else
        report "$(printf 'FAILED  %-34s %4d s, exit code %d; its end:' "$name" $((SECONDS - from)) $code)"
        tail -n 5 "$results/$name.txt" | tee -a "$results/summary.txt"
        failures=$((failures + 1))
    fi
}

: >"$results/summary.txt"
report "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo 'no nvidia-smi')"

# Whether that part isn't left out.
with() {
    [[ " ${BERT_CHECK_WITHOUT:-} " != *" $1 "* ]]
}

if with kernels && [[ $device != cpu ]]; then
    for name in gradients predictions published wide; do
        try "kernels-$name" 60 "$here/bin/cuda" "$name"
    done
    try between_devices 60 "$here/c/between_devices"
fi
if with golden; then
    # Without the steps of AdamW, which look at rows of the vocabulary that cuda-pack.sh left out.
    for name in states_and_logits gradients the_plain_definition_agrees lora saved_and_loaded_again shards; do
        try "golden-$name" 60 "$here/bin/golden" "$name" --exact
    done
fi
if with c; then
    for program in "$here"/c/*; do
        name=$(basename "$program")
        [[ $name == between_devices ]] || try "c-$name" 60 "$program"
    done
fi

# Accuracy: one epoch and a plan as in bench/accuracy.sh; three epochs, float32 and bfloat16, on both tasks.
epochs=3
[[ -n ${BERT_CHECK_QUICK:-} ]] && epochs=1
accuracy() {
    local task=$1 kind=$2 precision=$3
    try "accuracy-$task-$precision" 120 "$here/bin/train_file" --train "$here/data/$task/train.$kind" \
        --test "$here/data/$task/test.$kind" --model "$here/model" --device "$device" --epochs "$epochs" --batch 32 \
        --lr 5e-5 --warmup-ratio 0.1 --schedule linear --weight-decay 0.01 --clip 1.0 --max-length 128 \
        --no-restore-best --seed 0 --precision "$precision"
    report "        $(grep -E '^loss .*accuracy|^trained: ' "$results/accuracy-$task-$precision.txt" | tr '\n' ' ')"
}
if with accuracy; then
    for precision in float32 bfloat16; do
        accuracy sst2 tsv "$precision"
        accuracy mrpc csv "$precision"
    done
fi

# What is left of ten minutes is the benchmark's.
left=$((570 - (SECONDS - begun)))
if with benchmark; then
    BENCH_DEVICE=$device try benchmark "$((left > 30 ? left : 30))" "$python" "$here/bench/on_gpu.py" \
        --ours "$here/bin/ours" --model "$here/model" --data "$here/data" --seconds "$((left - 20))" \
        --table "$results/table.md" ${BERT_CHECK_QUICK:+--quick}
    [[ -f $results/table.md ]] && cat "$results/table.md"
fi
report "$failures failed, $((SECONDS - begun)) s in all"
((failures == 0))
