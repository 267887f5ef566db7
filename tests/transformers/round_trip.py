#!/usr/bin/env python3
"""Holds saved models against Hugging Face transformers: what this library wrote loads there as it is, with the same
token ids, logits and losses, and what transformers wrote loads here.

    pip install torch transformers
    python3 tests/transformers/round_trip.py [libbert.so] [MODEL_DIR ...]

For each kind of tokenizer and each kind of problem a model with BERT's pooler is trained on a few sentences, saved, and
loaded by AutoTokenizer and AutoModelForSequenceClassification, whose own loss on those sentences is held against
bert_evaluate's. Each MODEL_DIR (a published BERT) is loaded by transformers with a classifier of its own for each
problem, saved there, and loaded here; so it is as each other class that has an encoder, in each type of numbers, as one
file, in shards and as PyTorch's. Run by hand; prints one line a comparison, exits 1 on a difference.
"""

import ctypes
import glob
import os
import shutil
import sys
import tempfile
from ctypes import byref, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_void_p

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    logging,
)

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "examples-c"))
import quickstart  # noqa: E402  (the structs and the loader, declared once)

# What it says of heads that a checkpoint lacks is meant so here.
logging.set_verbosity_error()
logging.disable_progress_bar()

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
        ("has_label", c_void_p),
        ("has_label_capacity", c_size_t),
        ("values", c_void_p),
        ("values_capacity", c_size_t),
    ]


class Evaluation(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("examples", c_int64),
        ("loss", c_double),
        ("accuracy", c_double),
        ("f1_macro", c_double),
        ("f1_weighted", c_double),
        ("matthews", c_double),
        ("confusion", c_void_p),
        ("confusion_capacity", c_size_t),
        ("precision", c_void_p),
        ("recall", c_void_p),
        ("f1", c_void_p),
        ("support", c_void_p),
        ("class_capacity", c_size_t),
        ("threshold", c_double),
        ("f1_micro", c_double),
        ("mse", c_double),
        ("pearson", c_double),
        ("spearman", c_double),
        ("compute_precision", c_int32),
    ]


# Sentences to train on, and what they are for each problem: a name, a list of names, one number, or two.
SENTENCES = [
    ("a wonderful film", "good", ["film", "good"], [1.0], [1.0, -0.5]),
    ("a terrible film", "bad", ["film", "bad"], [-1.0], [-1.0, -0.5]),
    ("the food was excellent", "good", ["food", "good"], [0.9], [0.9, 0.5]),
    ("the food was cold", "bad", ["food", "bad"], [-0.6], [-0.6, 0.5]),
    ("an evening", "good", [], [0.1], [0.1, 0.0]),
    ("excellent food and a boring film", "bad", ["bad", "film", "food", "good"], [-0.1], [-0.1, 0.0]),
]
PROBLEMS = ["single-label", "multi-label", "regression", "regression, two targets"]
PROBLEM_TYPES = ["single_label_classification", "multi_label_classification", "regression", "regression"]


def dataset_of(bert, problem):
    """The sentences with their labels of that problem."""
    dataset = c_void_p()
    check(bert, bert.bert_dataset_create(byref(dataset)))
    for sentence in SENTENCES:
        text, label = c_char_p(sentence[0].encode()), sentence[1 + problem]
        start = [dataset, text, NUL_TERMINATED, None, c_size_t(0)]
        if problem == 0:
            status = bert.bert_dataset_add_class(*start, c_char_p(label.encode()), NUL_TERMINATED)
        elif problem == 1:
            names = (c_char_p * len(label))(*[name.encode() for name in label])
            status = bert.bert_dataset_add_labels(*start, names, None, c_size_t(len(label)))
        else:
            status = bert.bert_dataset_add_target(*start, (c_float * len(label))(*label), c_size_t(len(label)))
        check(bert, status)
    return dataset


def their_targets(problem, label2id):
    """The same labels as transformers' loss takes them."""
    labels = [sentence[1 + problem] for sentence in SENTENCES]
    if problem == 0:
        return torch.tensor([label2id[name] for name in labels])
    if problem == 1:
        return torch.tensor([[float(name in row) for name in sorted(label2id, key=label2id.get)] for row in labels])
    return torch.tensor(labels)


def losses_differ(bert, model, directory, problem):
    """How far our loss on the sentences is from that of transformers on one batch of them."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    theirs = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    if theirs.config.problem_type != PROBLEM_TYPES[problem]:
        sys.exit("problem_type is %s and not %s" % (theirs.config.problem_type, PROBLEM_TYPES[problem]))
    encoding = tokenizer([sentence[0] for sentence in SENTENCES], padding=True, return_tensors="pt")
    with torch.no_grad():
        loss = theirs(**encoding, labels=their_targets(problem, theirs.config.label2id)).loss.item()
    dataset, evaluation = dataset_of(bert, problem), Evaluation()
    check(bert, bert.bert_evaluation_init(byref(evaluation), c_size_t(ctypes.sizeof(evaluation))))
    check(bert, bert.bert_evaluate(model, dataset, c_int32(0), byref(evaluation)))
    bert.bert_dataset_free(dataset)
    return abs(loss - evaluation.loss)


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


def compare(bert, model, directory, problem, name):
    """Prints how far ids, logits and losses are at most from those of transformers."""
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
    loss = losses_differ(bert, model, directory, problem)
    print(
        "%-46s token ids of %d texts differ in %d, logits by %.1e, losses by %.1e"
        % (name, len(TEXTS), different, worst, loss)
    )
    return different == 0 and worst <= TOLERANCE and loss <= TOLERANCE


def our_means(bert, model, width):
    """The mean state of each text."""
    encoded = [text.encode() for text in TEXTS]
    texts = (c_char_p * len(encoded))(*encoded)
    vectors = (c_float * (len(encoded) * width))()
    bert.bert_embed.argtypes = None
    check(bert, bert.bert_embed(model, c_size_t(len(encoded)), texts, None, None, None, None, vectors, c_size_t(len(vectors))))
    return torch.tensor(list(vectors)).reshape(len(encoded), width)


def save_as(model, source, directory, kind):
    """The model as it is published: one file, shards, or PyTorch's file with old names; the last with vocab.txt alone."""
    if kind == "pytorch_model.bin":
        model.config.save_pretrained(directory)
        state = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
            for name, value in model.state_dict().items()
        }
        prefix = "" if type(model) is BertModel else "bert."
        state[prefix + "embeddings.position_ids"] = torch.arange(model.config.max_position_embeddings).expand((1, -1))
        torch.save(state, os.path.join(directory, kind))
        for name in ["vocab.txt", "tokenizer_config.json"]:
            shutil.copy(os.path.join(source, name), directory)
        return
    model.save_pretrained(directory, max_shard_size="20MB" if kind == "shards" else "10GB")
    AutoTokenizer.from_pretrained(source).save_pretrained(directory)
    if (len(glob.glob(os.path.join(directory, "model*.safetensors"))) > 1) != (kind == "shards"):
        sys.exit("transformers wrote other files than were asked for")


def compare_published(bert, source, scratch):
    """Every class, type of numbers and kind of file; the encoder's mean states, and logits where the class has them."""
    right = True
    tokenizer = AutoTokenizer.from_pretrained(source)
    kinds = ["model.safetensors", "shards", "pytorch_model.bin"]
    for row, cls in enumerate([BertModel, BertForPreTraining, BertForMaskedLM, BertForSequenceClassification]):
        for column, dtype in enumerate([torch.float32, torch.float16, torch.bfloat16]):
            torch.manual_seed(0)
            theirs = cls.from_pretrained(source, dtype=dtype)
            kind = kinds[(row + column) % 3]
            directory = os.path.join(scratch, "published-%d-%d" % (row, column))
            os.makedirs(directory)
            save_as(theirs, source, directory, kind)
            # The numbers that were saved, computed with in float32 as here.
            theirs = theirs.float().eval()
            ours = c_void_p()
            check(bert, bert.bert_load(c_char_p(directory.encode()), None, byref(ours)))
            means, logits = [], []
            with torch.no_grad():
                for text in TEXTS:
                    encoding = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
                    means.append(theirs.base_model(**encoding).last_hidden_state[0].mean(0))
                    if cls is BertForSequenceClassification:
                        logits.append(theirs(**encoding).logits[0])
            worst = (torch.stack(means) - our_means(bert, ours, theirs.config.hidden_size)).abs().max().item()
            what = "mean states"
            if logits:
                worst = max(worst, (torch.stack(logits) - our_logits(bert, ours, len(logits[0]))).abs().max().item())
                what += " and logits"
            name = "%s, %s, %s" % (cls.__name__, str(dtype).split(".")[1], kind)
            print("%-59s %s differ by %.1e" % (name, what, worst))
            right &= worst <= TOLERANCE
            bert.bert_free(ours)
    return right


def main():
    library = sys.argv[1] if len(sys.argv) > 1 else "target/release/libbert.so"
    bert = ctypes.CDLL(os.path.abspath(library))
    scratch = tempfile.mkdtemp()
    right = True
    for number, kind in enumerate(["word-level", "WordPiece", "byte-level BPE"]):
        for problem, problem_name in enumerate(PROBLEMS):
            model, trainer = c_void_p(), c_void_p()
            train = dataset_of(bert, problem)
            options = quickstart.ModelOptions()
            check(bert, bert.bert_model_options_init(byref(options), c_size_t(ctypes.sizeof(options)), c_int32(1)))
            options.tokenizer = number
            check(bert, bert.bert_create(byref(options), train, byref(model)))
            check(bert, bert.bert_trainer_create(model, train, None, None, byref(trainer)))
            check(bert, bert.bert_train(trainer, None))
            directory = os.path.join(scratch, "%d-%d" % (number, problem))
            check(bert, bert.bert_save(model, c_char_p(directory.encode())))
            right &= compare(bert, model, directory, problem, "ours, %s, %s" % (kind, problem_name))
            bert.bert_trainer_free(trainer)
            bert.bert_free(model)
            bert.bert_dataset_free(train)
    for number, source in enumerate(sys.argv[2:]):
        for problem, problem_name in enumerate(PROBLEMS):
            torch.manual_seed(0)
            directory = os.path.join(scratch, "theirs-%d-%d" % (number, problem))
            names = [["bad", "good"], ["bad", "film", "food", "good"], ["score"], ["first", "second"]][problem]
            AutoModelForSequenceClassification.from_pretrained(
                source,
                problem_type=PROBLEM_TYPES[problem],
                id2label=dict(enumerate(names)),
                label2id={name: i for i, name in enumerate(names)},
            ).save_pretrained(directory)
            AutoTokenizer.from_pretrained(source).save_pretrained(directory)
            model = c_void_p()
            check(bert, bert.bert_load(c_char_p(directory.encode()), None, byref(model)))
            source_name = os.path.basename(os.path.normpath(source))
            right &= compare(bert, model, directory, problem, "theirs, %s, %s" % (source_name, problem_name))
            bert.bert_free(model)
        right &= compare_published(bert, source, os.path.join(scratch, "as-published-%d" % number))
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
