#!/usr/bin/env bash
# Packs what `cuda-check.sh` needs on a machine that has an NVIDIA GPU and neither cargo nor a network:
#
#     BERT_TEST_MODEL=…/all-MiniLM-L6-v2 scripts/cuda-pack.sh DIR       # writes DIR/libbert-cuda.tar.xz, under 64 MB
#     tar xJf libbert-cuda.tar.xz && libbert-cuda/cuda-check.sh         # there
#
# CUDA's compiler comes from scripts/cuda-toolkit.sh unless CUDA_HOME is set. Of the model's word embeddings the rows stay
# that the golden values need; those that the data needs are rounded to bfloat16, and the others become zeros: that packs.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=$(mkdir -p "${1:?usage: cuda-pack.sh DIR}" && cd "$1" && pwd)
: "${BERT_TEST_MODEL:?the directory of all-MiniLM-L6-v2}"
shared=${BERT_SHARED:-$root/../shared}
[[ -n ${CUDA_HOME:-} ]] || eval "$("$root/scripts/cuda-toolkit.sh")"
cd "$root"

pack=$(mktemp -d)
trap 'rm -rf "$pack"' EXIT
folder=$pack/libbert-cuda
mkdir -p "$folder"/{bin,c,lib,root/tests/fixtures,root/tests/c,root/include,bench,data,model}

cargo build --release --features cuda
# The tests' own programs, by the names that cargo tells.
cargo test --release --features cuda --test cuda --test golden --no-run --message-format=json |
    python3 -c '
import json, shutil, sys
for line in sys.stdin:
    made = json.loads(line) if line.startswith("{") else {}
    if made.get("executable") and made["target"]["kind"] == ["test"]:
        shutil.copy(made["executable"], sys.argv[1] + "/" + made["target"]["name"])
' "$folder/bin"
target=${CARGO_TARGET_DIR:-$root/target}
# With the link that programs find the library by.
cp -P "$target"/release/libbert.so{,.[0-9]*} "$folder/lib/"
strip --strip-unneeded "$folder/lib/libbert.so" "$folder"/bin/*
compile() {
    # The benchmark's switches are those of bench/run.py.
    cc -std=gnu99 -DBENCH_GRADIENT_CHECKPOINTING -DBENCH_PREDICT_PRECISION -O2 -I"$root/include" "$1" -o "$2" -L"$folder/lib" -lbert -Wl,-rpath,'$ORIGIN/../lib' \
        -lpthread -lm -ldl
}
# The list stands in tests/cuda.rs.
programs=$(sed -n '/^const PROGRAMS/,/^];/s/^ *"\(.*\)",$/\1/p' tests/cuda.rs)
for name in $programs; do
    compile "tests/c/$name.c" "$folder/c/$name"
done
compile tests/cuda_on_host/between_devices.c "$folder/c/between_devices"
compile examples-c/train_file.c "$folder/bin/train_file"
compile bench/ours.c "$folder/bin/ours"
cp -r tests/fixtures/golden "$folder/root/tests/fixtures/"
# What some of the programs read of the project.
cp include/bert.h "$folder/root/include/"
cp tests/c/small_stack.c "$folder/root/tests/c/"
cp bench/*.py bench/ours.c "$folder/bench/"
cp scripts/cuda-check.sh "$folder/"
cp -r "$shared/data/sst2" "$shared/data/mrpc" "$folder/data/"
cp "$BERT_TEST_MODEL"/{config.json,tokenizer.json,vocab.txt} "$folder/model/"
cp "$BERT_TEST_MODEL"/tokenizer_config.json "$folder/model/" 2>/dev/null || true
python3 scripts/cuda_pack_model.py "$folder/lib/libbert.so" "$BERT_TEST_MODEL" "$folder"

tar cJf "$out/libbert-cuda.tar.xz" -C "$pack" libbert-cuda
ls -l "$out/libbert-cuda.tar.xz"
if (($(stat -c %s "$out/libbert-cuda.tar.xz") > 64000000)); then
    echo "cuda-pack.sh: that is more than 64 MB" >&2
    exit 1
fi
