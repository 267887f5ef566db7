#!/bin/sh
# train_file.sh PROGRAM DEVICE: the example train_file, on small files written here.
set -eu
program=$1 device=$2

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
train_file() {
    "$program" --device "$device" "$@"
}

# Sentences whose label one word decides.
awk 'BEGIN {
    split("film book cake phone hotel song", things); split("very quite really so", degrees)
    split("good great lovely", good); split("bad awful boring", bad)
    for (i = 1; i <= 6; i++) for (j = 1; j <= 4; j++) for (k = 1; k <= 3; k++) {
        printf "the %s was %s %s\t1\n", things[i], degrees[j], good[k]
        printf "the %s was %s %s\t0\n", things[i], degrees[j], bad[k]
    }
}' >train.tsv
printf 'a good film\t1\na boring cake\t0\nan awful book , so bad\t0\na lovely song\t1\n' >test.tsv

# A new model: split, warm-up by epochs, history, evaluation and saving.
train_file --train train.tsv --split 0.25 --test test.tsv --epochs 6 --batch 8 --accumulate 2 --lr 2e-3 \
    --warmup-epochs 0.5 --max-length 16 --seed 7 --history history.jsonl --output model >out.txt 2>err.txt ||
    fail "$(cat out.txt err.txt)"
cat out.txt
grep -q '^training data: 108 texts, 2 labels' out.txt || fail "--split"
grep -q '16 positions' out.txt || fail "--max-length"
test "$(grep -c 'validation loss' err.txt)" -eq 6 || fail "an evaluation after each epoch: $(cat err.txt)"
grep -q 'test data: 4 examples' out.txt || fail "--test"
grep -q '^  0 *2 *0$' out.txt || fail "the confusion matrix"
test "$(grep -c '"step"' history.jsonl)" -ge 42 || fail "--history"
test -f model/config.json || fail "--output"
# 108 examples are 14 batches, 7 steps: the warm-up has 3.5, rounded to 4, so that the fifth step has the highest rate.
sed -n 5p history.jsonl | grep -q '"learning_rate":0\.002,' || fail "--warmup-epochs: $(sed -n 5p history.jsonl)"

# On from the saved model, on a file of another format. It knows the task already.
{
    printf '\357\273\277label,"text"\r\n'
    awk -F '\t' '{ printf "%s,\"%s , isn'"'"'t it\"\r\n", $2, $1 }' train.tsv
} >train.csv
train_file --train train.csv --model model --text-column text --label-column label --epochs 1 --lr 1e-4 \
    --warmup-steps 0 --threads 1 >out.txt 2>err.txt || fail "$(cat out.txt err.txt)"
grep -q 'training data: 144 examples' out.txt || fail "a training without validation data"
grep -q 'accuracy 1\.0000, macro F1 1\.0000' out.txt || fail "$(cat out.txt)"

# With data to measure on there is a baseline, and a word where fine-tuning is worse; a rate of nearly nothing trains
# nothing.
train_file --train train.tsv --model model --pooling mean --test train.tsv --epochs 1 --lr 1e-9 >out.txt 2>err.txt ||
    fail "$(cat out.txt err.txt)"
grep -q '^baseline: accuracy 1\.0000$' out.txt || fail "the baseline: $(cat out.txt err.txt)"
grep -q '^to compare: the classifier alone, without fine-tuning, had accuracy 1\.0000$' out.txt || fail "$(cat out.txt)"
grep -q '^to compare: . for every text would have accuracy 0\.5000$' out.txt || fail "$(cat out.txt)"
grep -q 'warning: fine-tuning came out worse' err.txt || fail "a worse outcome: $(cat err.txt)"
train_file --train train.tsv --model model --test train.tsv --epochs 1 --lr 1e-9 --no-baseline >out.txt 2>err.txt ||
    fail "$(cat out.txt err.txt)"
if grep -q baseline out.txt; then fail "--no-baseline: $(cat out.txt)"; fi

# The classifier alone, on another vector than the model's own.
train_file --train train.tsv --model model --pooling mean --head-only --test test.tsv --output head \
    >out.txt 2>err.txt ||
    fail "$(cat out.txt err.txt)"
grep -q '^the classifier: fitted in [0-9]* iterations' out.txt || fail "--head-only: $(cat out.txt)"
grep -q 'accuracy 1\.0000, macro F1 1\.0000' out.txt || fail "$(cat out.txt)"
grep -q '"pooling": "mean"' head/config.json || fail "--pooling of a loaded model"

# Adapters on the saved model, written apart and merged.
train_file --train train.csv --model model --text-column text --label-column label --epochs 1 --lr 1e-3 \
    --lora-rank 4 --lora-dropout 0.1 --lora-targets attention --adapter-output adapter --output merged \
    >out.txt 2>err.txt || fail "$(cat out.txt err.txt)"
grep -q 'LoRA adapters: rank 4' out.txt || fail "$(cat out.txt)"
grep -q 'accuracy 1\.0000, macro F1 1\.0000' out.txt || fail "$(cat out.txt)"
grep -q '"r": 4' adapter/adapter_config.json || fail "--adapter-output"
test -f adapter/adapter_model.safetensors || fail "--adapter-output"
test "$(wc -c <merged/model.safetensors)" -eq "$(wc -c <model/model.safetensors)" || fail "--output isn't merged"

# Pairs, other tokenizers and heads, early stopping.
awk -F '\t' '{ split($1, w, " "); print w[2] "\t" w[4] " " w[5] "\t" ($2 == 1 ? "good" : "bad") }' train.tsv >pairs.tsv
for tokenizer in wordpiece bpe; do
    train_file --train pairs.tsv --no-header --text-column 1 --pair-column 2 --label-column 3 --valid pairs.tsv \
        --tokenizer $tokenizer --preset tiny --hidden 64 --heads 4 --layers 1 --pooling mean --dropout 0 --epochs 30 \
        --batch 16 --lr 3e-3 --schedule cosine --warmup-ratio 0.1 --metric f1-macro --patience 2 >out.txt 2>err.txt ||
        fail "$(cat out.txt err.txt)"
    grep -q 'ended early' out.txt || fail "--patience: $(cat out.txt)"
    grep -q 'accuracy 1\.0000, macro F1 1\.0000' out.txt || fail "$tokenizer: $(cat out.txt)"
done

# Lists of labels, and numbers.
awk -F '\t' '{ split($1, w, " "); print $1 "\t" w[2] ($2 == 1 ? ",good" : "") }' train.tsv >lists.tsv
train_file --train lists.tsv --split 0.25 --problem multi-label --label-separator , --metric f1-micro --threshold 0.4 \
    --epochs 30 --batch 8 --lr 3e-3 --dropout 0 --max-length 16 --history lists.jsonl --output lists >out.txt 2>err.txt ||
    fail "$(cat out.txt err.txt)"
cat out.txt
grep -q 'validation loss [0-9.]*, micro F1 ' err.txt || fail "$(cat err.txt)"
grep -q '^  hotel  *1\.0000  *1\.0000  *1\.0000 ' out.txt || fail "the labels' table"
grep -q 'accuracy 1\.0000, .*micro F1 1\.0000$' out.txt || fail "--problem multi-label"
grep -q '"f1_micro":1\.0,' lists.jsonl || fail "--history of lists"
grep -q multi_label_classification lists/config.json || fail "lists/config.json"
grep -q '"0\.4"' lists/config.json || fail "--threshold is saved: $(cat lists/config.json)"
awk -F '\t' '{ print $1 "\t" ($2 == 1 ? 1 : -0.5) }' train.tsv >numbers.tsv
train_file --train numbers.tsv --split 0.25 --problem regression --metric pearson --epochs 30 --batch 8 --lr 3e-3 \
    --dropout 0 --max-length 16 --output numbers >out.txt 2>err.txt || fail "$(cat out.txt err.txt)"
cat out.txt
grep -q 'validation loss [0-9.]*, Pearson ' err.txt || fail "$(cat err.txt)"
grep -q 'mean squared error 0\.0[0-9]*, Pearson correlation \(0\.99\|1\.00\)' out.txt || fail "--problem regression"
# The loaded model goes on with the same kind of problem, and becomes another where the data asks for it.
train_file --train numbers.tsv --problem regression --model numbers --epochs 1 --lr 1e-5 >out.txt 2>err.txt ||
    fail "$(cat out.txt err.txt)"
grep -q 'Pearson correlation \(0\.99\|1\.00\)' out.txt || fail "on from a regression model: $(cat out.txt)"
train_file --train train.tsv --model numbers --epochs 1 --lr 1e-3 >out.txt 2>err.txt || fail "$(cat out.txt err.txt)"
grep -q 'confusion matrix' out.txt || fail "from regression to classes: $(cat out.txt)"

# Ctrl-C: the model is saved all the same.
"$program" --device "$device" --train train.tsv --epochs 100000 --history interrupted.jsonl --output interrupted \
    >out.txt 2>err.txt &
process=$!
trap 'kill -KILL $process 2>/dev/null || true' EXIT
while ! test -s interrupted.jsonl; do
    sleep 0.1
    kill -0 $process 2>/dev/null || fail "the training ended by itself: $(cat out.txt err.txt)"
done
# (A shell's background process ignores SIGINT at first; SIGTERM goes the same way.)
kill -TERM $process
status=0
wait $process || status=$?
test $status -eq 130 || fail "exit code $status after a signal: $(cat out.txt err.txt)"
grep -q cancelled out.txt || fail "$(cat out.txt)"
test -f interrupted/config.json || fail "the model was not saved after a signal"
grep -q 'stopping after this step' err.txt || fail "nothing was shown at the signal: $(cat err.txt)"
grep -q '^epoch 1/100000  step [0-9]*/' err.txt || fail "no line at once: $(cat err.txt)"

# A run that is stopped goes on from its checkpoint, and ends where it would have ended.
set -- --train train.tsv --epochs 3 --batch 16 --lr 1e-3 --seed 3 --max-length 16
train_file "$@" --output whole >out.txt 2>err.txt || fail "$(cat out.txt err.txt)"
train_file "$@" --checkpoint steps --checkpoint-steps 4 --output first >out.txt 2>err.txt ||
    fail "$(cat out.txt err.txt)"
newest=$(ls steps | sort -t- -k2 -n | tail -1)
rm -r "steps/$newest"
train_file "$@" --checkpoint steps --checkpoint-steps 4 --output second >out.txt 2>err.txt ||
    fail "$(cat out.txt err.txt)"
grep -q '^resumed from the checkpoint of step [1-9]' out.txt || fail "--checkpoint: $(cat out.txt)"
if train_file "$@" --epochs 4 --checkpoint steps >out.txt 2>err.txt; then
    fail "a checkpoint of another run: $(cat out.txt err.txt)"
fi
grep -q 'epochs (then 3, now 4).*for more epochs' err.txt || fail "$(cat err.txt)"
for end in first second; do
    cmp whole/model.safetensors $end/model.safetensors || fail "--checkpoint: $end isn't what the whole run gives"
done

# What is wrong is said in one sentence, with exit code 2 for options.
expect() {
    expected=$1 sentence=$2
    shift 2
    status=0
    "$program" "$@" >out.txt 2>err.txt || status=$?
    test $status -eq "$expected" || fail "$*: exit code $status"
    test "$(wc -l <err.txt)" -eq 1 || fail "$*: one sentence: $(cat err.txt)"
    grep -q -e "$sentence" err.txt || fail "$*: $(cat err.txt)"
}
expect 2 '--train is missing'
expect 2 "no option '--epoch'" --train train.tsv --epoch 3
expect 2 '--epochs needs a value' --train train.tsv --epochs
expect 2 '--epochs needs a whole number' --train train.tsv --epochs 3.5
expect 2 '--lr needs a number' --train train.tsv --lr nan
expect 2 "--pooling has no choice 'max'" --train train.tsv --pooling max
expect 2 "can't go with --model" --train train.tsv --model model --hidden 64
expect 2 'give one of them' --train train.tsv --split 0.1 --valid test.tsv
expect 2 '--warmup-epochs 1e+300 is more' --train train.tsv --batch 8 --warmup-epochs 1e300
expect 2 'BERT_ERR_INVALID_ARGUMENT' --train numbers.tsv --problem regression --metric accuracy
expect 2 'BERT_ERR_INVALID_ARGUMENT' --train numbers.tsv --problem regression --label-smoothing 0.1
expect 1 'line 1: the label holds ' --train lists.tsv --problem regression
expect 2 'give one' --train train.tsv --warmup-steps 3 --warmup-epochs 1
expect 2 BERT_ERR_INVALID_ARGUMENT --train train.tsv --hidden 64 --heads 5
expect 2 '--head-only needs --model' --train train.tsv --head-only
expect 2 'needs --lora-rank' --train train.tsv --adapter-output adapter
expect 2 'rank is 5000' --train train.tsv --lora-rank 5000
expect 1 BERT_ERR_IO --train no-such-file.tsv
expect 1 BERT_ERR_IO --train train.tsv --model no-such-directory
expect 1 BERT_ERR_IO --train train.tsv --output no/such/parent
expect 1 'holds files' --train train.tsv --output .. --epochs 100000
"$program" --help | grep -q -e '--warmup-epochs X' || fail "--help"
echo passed
