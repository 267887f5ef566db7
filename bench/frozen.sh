#!/bin/sh
# frozen.sh MODEL_DIR SST2_DIR [SENTENCES [ROUNDS]]: what a step of fine-tuning costs, in time and memory, with parts of
# the model frozen and with LoRA adapters, beside one that trains all of it.
#
#     bench/frozen.sh "$BERT_TEST_MODEL" ../shared/data/sst2
#
# Each line is one epoch over the first SENTENCES (640) of train.tsv, batch 32, in a process of its own; of ROUNDS (1) the
# median time. The library is that of `cargo build --release`, or of the directory that BERT_LIBRARY_DIR names.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if test $# -lt 2; then
    echo "usage: frozen.sh MODEL_DIR SST2_DIR [SENTENCES [ROUNDS]]" >&2
    exit 2
fi
model=$1 data=$2 sentences=${3:-640} rounds=${4:-1}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
library=${BERT_LIBRARY_DIR:-$root/target/release}
cc -O2 -I"$root/include" "$root/examples-c/train_file.c" -o "$scratch/train_file" -L"$library" -lbert \
    -Wl,-rpath,"$library" -lm
head -n "$sentences" "$data/train.tsv" >"$scratch/train.tsv"
head -n 32 "$data/dev.tsv" >"$scratch/test.tsv"
layers=$(sed -n 's/.*"num_hidden_layers": *\([0-9]*\).*/\1/p' "$model/config.json")

# run NAME OPTION...: a line "NAME<TAB>milliseconds a step<TAB>peak MiB".
run() {
    name=$1
    shift
    "$scratch/train_file" --train "$scratch/train.tsv" --test "$scratch/test.tsv" --model "$model" --epochs 1 --batch 32 \
        --lr 5e-5 --max-length 128 --seed 0 "$@" >"$scratch/out" 2>"$scratch/err" || {
        cat "$scratch/out" "$scratch/err" >&2
        exit 1
    }
    # "trained: 1 epochs, 20 steps, … tokens in 12.3 s (…)"; "… s in all, peak memory 700 MiB"
    awk -v name="$name" '
        /^trained: / { steps = $4; match($0, / in [0-9.]+ s/); seconds = substr($0, RSTART + 4, RLENGTH - 6) }
        / in all, peak memory / { printf "%s\t%.1f\t%d\n", name, 1000 * seconds / steps, $(NF - 1) }
    ' "$scratch/out" >>"$scratch/rows"
}

round=0
while test $round -lt "$rounds"; do
    run "nothing frozen"
    run "embeddings frozen" --freeze-embeddings
    run "first $((layers / 2)) of $layers layers frozen" --freeze-layers $((layers / 2))
    run "encoder frozen" --freeze-layers "$layers"
    run "LoRA, rank 8, query and value" --lora-rank 8
    round=$((round + 1))
done
sort -t "$(printf '\t')" -k 1,1 -k 2,2n "$scratch/rows" >"$scratch/sorted"
printf '| what is trained | a step | | peak memory | |\n|---|---|---|---|---|\n'
awk -F '\t' -v OFS=' ' -v sorted="$scratch/sorted" '
    !($1 in seen) { seen[$1] = 1; names[++n] = $1 }
    END {
        while ((getline line < sorted) > 0) {
            split(line, part, "\t")
            time[part[1], ++count[part[1]]] = part[2]
            if (part[3] > peak[part[1]]) peak[part[1]] = part[3]
        }
        for (i = 1; i <= n; i++) {
            name = names[i]
            middle = time[name, int((count[name] + 1) / 2)]
            if (i == 1) { whole = middle; most = peak[name] }
            printf "| %s | %.0f ms | %.2f | %d MiB | %.2f |\n", name, middle, middle / whole, peak[name], \
                peak[name] / most
        }
    }' "$scratch/rows"
