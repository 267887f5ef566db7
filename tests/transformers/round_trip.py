#!/usr/bin/env python3
"""Holds saved models against Hugging Face transformers: what this library wrote loads there as it is, with the same
token ids and logits, and what transformers wrote loads here.

    pip install torch transformers
    python3 tests/transformers/round_trip.py [libbert.so] [MODEL_DIR ...]

For each kind of tokenizer a model with BERT's pooler is trained on the toy sentences, saved, and loaded by
AutoTokenizer and AutoModelForSequenceClassification. Each MODEL_DIR (a published BERT) is loaded by transformers with a
classifier of its own, saved there, and loaded here. Run by hand; prints one line a comparison, exits 1 on a difference.
"""

import ctypes
import os
import sys
import tempfile
from ctypes import byref, c_char_p, c_float, c_int32, c_size_t, c_uint32, c_void_p

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "examples-c"))
import quickstart  # noqa: E402  (the structs and the loader, declared once)

TOLERANCE = 1e-5
NUL_TERMINATED = c_size_t(-1)
TEXTS = [
    "the cake was wonderful",
    "what a terrible waste of an evening",
    "",
    "Café naïve 北京 🙂 don't stop!",
    "UPPER lower MiXeD, punctuation... (and) more?",
    "a " * 700,
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "1/2 of 3.14 is 1.57",
    "tabs\tand\nlines",
    "friendly staff and excellent food",
] + ["number %d of many sentences about good and bad food" % i for i in range(40)]


class Predictions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("label_ids", c_void_p),
        ("label_ids_capacity", c_size_t),
        ("logits", c_void_p),
        ("logits_capacity", c_size_t),
        ("probabilities", c_void_p),
        ("probabilities_capacity", c_size_t),
        ("top_label_ids", c_void_p),
        ("top_label_ids_capacity", c_size_t),
        ("top_probabilities", c_void_p),
        ("top_probabilities_capacity", c_size_t),
    ]


def check(bert, status):
    if status != 0:
        bert.bert_last_error_message.restype = c_char_p
        sys.exit(bert.bert_last_error_message().decode())


def our_ids(bert, model, text):
    data = text.encode()
    count = c_size_t()
    ids = (c_uint32 * 4096)()
    bert.bert_tokenize.argtypes = None
    check(
        bert,
        bert.bert_tokenize(
            model, c_char_p(data), c_size_t(len(data)), None, c_size_t(0), c_int32(0), ids, None, c_size_t(4096), byref(count)
        ),
    )
    return list(ids[: count.value])


def our_logits(bert, model, labels):
    encoded = [text.encode() for text in TEXTS]
    texts = (c_char_p * len(encoded))(*encoded)
    logits = (c_float * (len(encoded) * labels))()
    out = Predictions()
    bert.bert_predictions_init.argtypes = None
    bert.bert_predict_batch.argtypes = None
    check(bert, bert.bert_predictions_init(byref(out), c_size_t(ctypes.sizeof(out))))
    out.logits = ctypes.cast(logits, c_void_p)
    out.logits_capacity = len(logits)
    check(
        bert,
        bert.bert_predict_batch(model, c_size_t(len(encoded)), texts, None, None, None, None, byref(out)),
    )
    return torch.tensor(list(logits)).reshape(len(encoded), labels)


def compare(bert, model, directory, name):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    theirs = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    limit = min(tokenizer.model_max_length, theirs.config.max_position_embeddings)
    different = 0
    rows = []
    with torch.no_grad():
        for text in TEXTS:
            encoding = tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")
            different += encoding["input_ids"][0].tolist() != our_ids(bert, model, text)
            rows.append(theirs(**encoding).logits[0])
    worst = (torch.stack(rows) - our_logits(bert, model, theirs.config.num_labels)).abs().max().item()
    print("%-34s %d texts, token ids different in %d, logits differ by at most %.1e" % (name, len(TEXTS), different, worst))
    return different == 0 and worst <= TOLERANCE


def main():
    library = sys.argv[1] if len(sys.argv) > 1 else "target/release/libbert.so"
    bert = ctypes.CDLL(os.path.abspath(library))
    scratch = tempfile.mkdtemp()
    right = True
    for number, kind in enumerate(["word-level", "WordPiece", "byte-level BPE"]):
        train, model, trainer = c_void_p(), c_void_p(), c_void_p()
        check(bert, bert.bert_dataset_toy(c_int32(0), byref(train)))
        options = quickstart.ModelOptions()
        check(bert, bert.bert_model_options_init(byref(options), c_size_t(ctypes.sizeof(options)), c_int32(1)))
        options.tokenizer = number
        check(bert, bert.bert_create(byref(options), train, byref(model)))
        check(bert, bert.bert_trainer_create(model, train, None, None, byref(trainer)))
        check(bert, bert.bert_train(trainer, None))
        directory = os.path.join(scratch, str(number))
        check(bert, bert.bert_save(model, c_char_p(directory.encode())))
        right &= compare(bert, model, directory, "ours, " + kind)
    for number, source in enumerate(sys.argv[2:]):
        torch.manual_seed(0)
        directory = os.path.join(scratch, "theirs-%d" % number)
        AutoModelForSequenceClassification.from_pretrained(source, num_labels=3).save_pretrained(directory)
        AutoTokenizer.from_pretrained(source).save_pretrained(directory)
        model = c_void_p()
        check(bert, bert.bert_load(c_char_p(directory.encode()), None, byref(model)))
        right &= compare(bert, model, directory, "theirs, " + os.path.basename(os.path.normpath(source)))
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
