#!/usr/bin/env python3
"""Holds LoRA adapters against PEFT: what this library trained and saved PEFT loads with the same logits, and what PEFT
wrote loads here; merged too.

    pip install torch transformers peft
    python3 tests/transformers/adapters.py [libbert.so]

Run by hand; prints one line a comparison, exits 1 on a difference.
"""

import ctypes
import os
import sys
import tempfile
import warnings
from ctypes import byref, c_char_p, c_double, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import round_trip
from round_trip import TEXTS, TOLERANCE, check, quickstart

PROJECTIONS = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]


class LoraOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("rank", c_int32),
        ("targets", c_uint32),
        ("alpha", c_double),
        ("dropout", c_double),
        ("use_rslora", c_int32),
        ("train_pooler", c_int32),
        ("seed", c_uint64),
    ]


def path(name):
    return c_char_p(name.encode())


def load(bert, directory):
    model = c_void_p()
    check(bert, bert.bert_load(path(directory), None, byref(model)))
    return model


def compare(bert, ours, theirs, tokenizer, name):
    limit = theirs.config.max_position_embeddings
    theirs.eval()
    with torch.no_grad():
        rows = [
            theirs(**tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")).logits[0] for text in TEXTS
        ]
    worst = (torch.stack(rows) - round_trip.our_logits(bert, ours, theirs.config.num_labels)).abs().max().item()
    print("%-58s logits of %d texts differ by at most %.1e" % (name, len(TEXTS), worst))
    return worst <= TOLERANCE


def from_peft(base, adapter):
    """The base with the adapter; a key that PEFT misses or doesn't know is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(missing|unexpected|Unexpected).*keys?.*")
        warnings.filterwarnings("error", message=".*Unexpected keyword arguments.*")
        return PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(base), adapter)


def main():
    library = sys.argv[1] if len(sys.argv) > 1 else "target/release/libbert.so"
    bert = ctypes.CDLL(os.path.abspath(library))
    scratch = tempfile.mkdtemp()
    place = lambda name: os.path.join(scratch, name)
    right = True

    train, model = c_void_p(), c_void_p()
    check(bert, bert.bert_dataset_toy(c_int32(0), byref(train)))
    options = quickstart.ModelOptions()
    check(bert, bert.bert_model_options_init(byref(options), c_size_t(ctypes.sizeof(options)), c_int32(1)))
    options.tokenizer = 1
    check(bert, bert.bert_create(byref(options), train, byref(model)))
    base = place("base")
    check(bert, bert.bert_save(model, path(base)))
    tokenizer = AutoTokenizer.from_pretrained(base)
    fresh = load(bert, base)

    for targets, pooler, rslora in [(5, 1, 0), (5, 0, 0), (8, 1, 0), (32, 1, 0), (40, 1, 0), (63, 1, 1)]:
        lora, trainer = c_void_p(), c_void_p()
        options = LoraOptions()
        check(bert, bert.bert_lora_options_init(byref(options), c_size_t(ctypes.sizeof(options))))
        options.rank, options.targets, options.train_pooler, options.use_rslora = 4, targets, pooler, rslora
        check(bert, bert.bert_add_lora(fresh, byref(options), byref(lora)))
        check(bert, bert.bert_trainer_create(lora, train, None, None, byref(trainer)))
        check(bert, bert.bert_train(trainer, None))
        adapter = place("ours-%d-%d" % (targets, pooler))
        check(bert, bert.bert_save_adapter(lora, path(adapter)))
        names = [name for bit, name in enumerate(PROJECTIONS) if targets >> bit & 1]
        name = "ours, " + ", ".join(names if len(names) < 6 else ["all"]) + (", rslora" if rslora else "")
        name += "" if pooler else ", pooler left"
        theirs = from_peft(base, adapter)
        right &= compare(bert, lora, theirs, tokenizer, name)
        merged = place("merged-%d-%d" % (targets, pooler))
        check(bert, bert.bert_save(lora, path(merged)))
        right &= compare(
            bert, lora, AutoModelForSequenceClassification.from_pretrained(merged), tokenizer, name + ": merged, ours"
        )
        right &= compare(bert, load(bert, merged), theirs.merge_and_unload(), tokenizer, name + ": merged, theirs")

    for number, keys in enumerate(
        [
            {"target_modules": ["query", "value"]},
            {"target_modules": ["query", "value"], "modules_to_save": ["classifier", "pooler"]},
            {"target_modules": ["query", "key", "value", "output.dense", "intermediate.dense"], "use_rslora": True},
            {"target_modules": r".*\.attention\.self\.(key|value)", "init_lora_weights": "gaussian"},
            {"target_modules": ["query", "value"], "rank_pattern": {"query": 2}, "alpha_pattern": {"value": 7}},
            {"target_modules": ["query", "key"], "layers_to_transform": [1]},
            {"target_modules": ["dense"]},
            {"target_modules": "all-linear"},
        ]
    ):
        torch.manual_seed(number)
        peft = get_peft_model(
            AutoModelForSequenceClassification.from_pretrained(base),
            LoraConfig(task_type="SEQ_CLS", r=3, lora_alpha=5, lora_dropout=0.1, **keys),
        )
        with torch.no_grad():
            for parameter in peft.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.05)
        adapter = place("theirs-%d" % number)
        peft.save_pretrained(adapter)
        ours = c_void_p()
        check(bert, bert.bert_load_adapter(fresh, path(adapter), byref(ours)))
        right &= compare(bert, ours, peft, tokenizer, "theirs, " + str(keys)[:72])
        again = place("again-%d" % number)
        check(bert, bert.bert_save_adapter(ours, path(again)))
        right &= compare(bert, ours, from_peft(base, again), tokenizer, "theirs, saved here")

    # What this library doesn't compute it doesn't load.
    for keys, word in [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["classifier", "embeddings"]}, "modules_to_save"),
    ]:
        keys = {"target_modules": ["query"], **keys}
        peft = get_peft_model(
            AutoModelForSequenceClassification.from_pretrained(base), LoraConfig(task_type="SEQ_CLS", r=3, **keys)
        )
        adapter = place("refused-" + word)
        peft.save_pretrained(adapter)
        ours = c_void_p()
        status = bert.bert_load_adapter(fresh, path(adapter), byref(ours))
        bert.bert_last_error_message.restype = c_char_p
        message = bert.bert_last_error_message().decode()
        if status == 0 or word not in message:
            print("not refused by name:", keys, message)
            right = False
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
