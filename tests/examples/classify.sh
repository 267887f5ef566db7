#!/bin/sh
# classify.sh PROGRAM MODEL DEVICE: the example classify, on the quickstart's model.
set -eu
program=$1 model=$2 device=$3

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
classify() {
    "$program" --device "$device" "$@" "$model"
}
tab=$(printf '\t')

# Label and probability; the last line needs no end, CRLF is no part of a text, an empty line is a text.
printf 'the cake was wonderful\r\n\nwhat a terrible waste of an evening' | classify >out.tsv
cat out.tsv
test "$(wc -l <out.tsv)" -eq 3 || fail "three lines go in, three come out"
grep -qx "positive${tab}0\.[0-9]*" out.tsv || fail "a good cake is positive"
test "$(tail -n 1 out.tsv | cut -f 1)" = negative || fail "a waste of an evening is negative"
printf 'the cake was wonderful\n' | classify >alone.tsv
test "$(cat alone.tsv)" = "$(head -n 1 out.tsv)" || fail "a text's answer doesn't depend on its neighbours"

# All labels; more are asked for than there are.
printf 'the cake was wonderful\n' | classify --top 5 >top.tsv
test "$(cut -f 1,3 top.tsv)" = "positive${tab}negative" || fail "--top: $(cat top.tsv)"

# JSON Lines, with all that must be escaped.
printf 'a "good"\\\tcake \001\303\251\n' | classify --json --top 1 >out.jsonl
cat out.jsonl
grep -qxE '\{"text":"a \\"good\\"\\\\\\u0009cake \\u0001é","label":"[a-z]+","probability":[01]\.[0-9]+,"top":\[\{"label":"[a-z]+","probability":[01]\.[0-9]+\}\]\}' out.jsonl ||
    fail "--json"

# Pairs; a line without a tab is refused.
printf 'the cake was wonderful\tthe staff were friendly\nthe cake\t\n' | classify --pair --json >pairs.jsonl
cat pairs.jsonl
grep -q '"text":"the cake was wonderful","pair":"the staff were friendly"' pairs.jsonl || fail "--pair"
grep -q '"text":"the cake","pair":""' pairs.jsonl || fail "an empty second text"
if printf 'one text\n' | classify --pair 2>error.txt; then fail "a line without a tab"; fi
grep -q 'line 1 has no tab' error.txt || fail "$(cat error.txt)"

# Many lines, and one far longer than the model: cut, or by windows.
awk 'BEGIN { for (i = 0; i < 1000; i++) print (i % 2 ? "a wonderful story" : "an awful story") }' | classify >many.tsv
test "$(wc -l <many.tsv)" -eq 1000 || fail "1000 lines"
test "$(sort -u many.tsv | wc -l)" -eq 2 || fail "the same text has the same answer in every batch"
awk 'BEGIN { for (i = 0; i < 5000; i++) printf "wonderful "; for (i = 0; i < 5000; i++) printf "terrible " }' >long.txt
test "$(classify <long.txt | cut -f 1)" = positive || fail "a long text is cut"
classify --windows <long.txt >windows.tsv
test "$(classify <long.txt)" != "$(cat windows.tsv)" || fail "--windows sees the whole text"

# An answer comes while the input is still open.
mkfifo in out
classify <in >out &
exec 3>in 4<out
echo 'the cake was wonderful' >&3
read -r answer <&4
exec 3>&- 4<&-
wait
test "$answer" = "$(cat alone.tsv)" || fail "an answer at once"

# No input, no output. What is wrong is said, with exit code 2 for options.
test -z "$(classify </dev/null)" || fail "no input"
for wrong in --no-such "--top 0" "--top"; do
    status=0
    # shellcheck disable=SC2086 # an option and its value
    "$program" "$model" $wrong </dev/null 2>error.txt || status=$?
    test $status -eq 2 || fail "$wrong: exit code $status"
done
if "$program" no-such-directory </dev/null 2>error.txt; then fail "a model that isn't there"; fi
# A line that isn't UTF-8 is reported, and the others have their answers.
if printf 'the cake was wonderful\n\377\nthe cake was wonderful\n' | classify 2>error.txt >utf8.tsv; then
    fail "not UTF-8"
fi
grep -q 'line 2: .*BERT_ERR_UTF8' error.txt || fail "$(cat error.txt)"
test "$(cat utf8.tsv)" = "$(cat alone.tsv; printf 'ERROR\tnot UTF-8\n'; cat alone.tsv)" ||
    fail "lines beside one that isn't UTF-8"
if printf '\377' | classify --json 2>error.txt >utf8.jsonl; then fail "not UTF-8, --json"; fi
test "$(cat utf8.jsonl)" = '{"error":"not UTF-8"}' || fail "$(cat utf8.jsonl)"
echo passed
