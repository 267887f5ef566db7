#!/usr/bin/env python3
"""Holds saved models against Hugging Face transformers: what this library wrote loads there as it is, with the same
token ids, logits and losses, and what transformers wrote loads here.

    pip install torch transformers
    python3 tests/transformers/round_trip.py [libbert.so] [MODEL_DIR ...]

For each kind of tokenizer and each kind of problem a model with BERT's pooler is trained on a few sentences, saved, and
loaded by AutoTokenizer and AutoModelForSequenceClassification, whose own loss on those sentences is held against
bert_evaluate's. Each MODEL_DIR (a published BERT) is loaded by transformers with a classifier of its own for each
problem, saved there, and loaded here; so it is as each other class that has an encoder, in each type of numbers, as one
file, in shards and as PyTorch's. Last, a small model is laid beside tokenizers of many settings (BERT's switches,
    classes,
added tokens with flags, other pipelines), loaded here,
    and saved to a directory and through a buffer: transformers finds
the same ids in the original and in what was saved. Run by hand; prints one line a comparison, exits 1 on a difference.
"""

import ctypes
import glob
import json
import os
import random
import shutil
import sys
import tempfile
from ctypes import byref, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_void_p

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
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


# --- Tokenizers of many settings ---

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "Hello", "world", "wor", "##ld", "##s", "[", "]",
         "über"]
VOCAB += ["uber", "café", "cafe", "東", "京", "東京", "한국", "foo", "bar", "<", "e1", ">", "wait", "...", ".", ",", "!",
          "don"]
VOCAB += ["'", "t", "a", "b", "##b", "#b", "1", "2", "12", "naïve", "naive", "mask", "cls", "sep", "unk", "new", "york"]
FRAGMENTS = ["hello", "Hello", "HELLOS", "world", "[WORLD]", "[world]", "<e1>", "<E1>", "foo", "food", "東京", "한국",
             "Über"]
FRAGMENTS += ["über", "café", "Café", "[MASK]", "[SEP]", "[CLS]", "[UNK]", "[PAD]", "<s>", "</s>", "wait...", "don't",
              "ab"]
FRAGMENTS += ["#b", "12", "1 2", "naïve!", " ", "  ", "\t", "\u200b", "İ", "new york", "New York", "\0", "ｆｏｏ",
              "e\u0301"]
ROWS = len(VOCAB) + 4


def settings_texts():
    """Each fragment, and 200 texts of several."""
    pick = random.Random(7)
    joined = ["".join(pick.choice(FRAGMENTS) + pick.choice(["", " ", "  "]) for _ in range(4)) for _ in range(200)]
    return FRAGMENTS + joined


def flagged(content, **flags):
    usual = dict(content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return {**usual, **flags}


def bert_file(**changes):
    """BERT's tokenizer.json; a change of `model` or `normalizer` that is an object is merged into it."""
    special = lambda token, number: {"SpecialToken": {"id": token, "type_id": number}}
    text = lambda name, number: {"Sequence": {"id": name, "type_id": number}}
    single = [special("[CLS]", 0), text("A", 0), special("[SEP]", 0)]
    file = {
        "version": "1.0",
        "added_tokens": [{"id": i, **flagged(token)} for i, token in enumerate(VOCAB[:5])],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": single + [text("B", 1), special("[SEP]", 1)],
            "special_tokens": {t: {"id": t, "ids": [VOCAB.index(t)], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: i for i, token in enumerate(VOCAB)},
        },
    }
    for key, value in changes.items():
        merge = isinstance(value, dict) and isinstance(file.get(key), dict) and "type" not in value
        file[key] = {**file[key], **value} if merge else value
    return file


def settings():
    """(name, tokenizer_config.json, tokenizer.json or None, more files, whether transformers reads the original so)."""
    for cls in ["BertTokenizer", "DistilBertTokenizerFast", "PreTrainedTokenizerFast", None]:
        for lower in [True, False]:
            for strip in [None, True, False]:
                for chinese in [True, False]:
                    config = {"do_lower_case": lower, "strip_accents": strip, "tokenize_chinese_chars": chinese}
                    config.update({"tokenizer_class": cls} if cls else {})
                    name = "%s, %s, %s, %s" % (cls, lower, strip, chinese)
                    if cls != "PreTrainedTokenizerFast":
                        yield name + ", vocab.txt", config, None, {}, True
                    yield name + ", lower", config, bert_file(), {}, True
                    other = bert_file(normalizer={"lowercase": False, "strip_accents": True})
                    yield name + ", other", config, other, {}, True
    number = str(len(VOCAB))
    flags = [{}, {"lstrip": True}, {"rstrip": True}, {"single_word": True}, {"normalized": True}, {"special": False}]
    for cls in ["BertTokenizer", "PreTrainedTokenizerFast"]:
        of = {"tokenizer_class": cls}
        for file in [None, bert_file()] if cls == "BertTokenizer" else [bert_file()]:
            name = "%s, %s, " % (cls, "tokenizer.json" if file else "vocab.txt")
            for flag in flags + [{"lstrip": True, "rstrip": True, "normalized": True, "special": False}]:
                listed = {"added_tokens_decoder": {number: flagged("<E1>", **flag)}}
                yield name + "listed, %s" % flag, {**of, **listed}, file, {}, True
                mask = {"mask_token": flagged("[MASK]", **flag)}
                yield name + "[MASK], %s" % flag, of, file, {"special_tokens_map.json": mask}, True
            added = {"[WORLD]": len(VOCAB), "foo": VOCAB.index("foo")}
            yield name + "added_tokens.json", of, file, {"added_tokens.json": added}, True
            for key in ["additional_special_tokens", "extra_special_tokens"]:
                yield name + key, {**of, key: ["<e1>", "foo", "new york"]}, file, {}, True
                yield name + key + " in the map", of, file, {"special_tokens_map.json": {key: ["<e1>", "foo"]}}, True
            yield name + "further tokens", {**of, "bos_token": "<s>", "eos_token": "</s>", "image_token": "bar"}, file,
                {}, True
            yield name + "no mask", {**of, "mask_token": None}, file, {}, True
            if file is None:
                roles = {"cls_token": "cls", "sep_token": "</s>", "unk_token": "unk", "pad_token": "bar"}
                yield name + "roles", {**of, **roles}, None, {}, True
    processing = {"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]}
    unk = {"unk_token": "[UNK]", "vocab": bert_file()["model"]["vocab"]}
    digits = {"type": "Digits", "individual_digits": True}
    sequence = {"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}, digits]}
    nfd = {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}]}
    for cls in ["BertTokenizer", "PreTrainedTokenizerFast"]:
        for name, change in [
            ("Lowercase", {"normalizer": {"type": "Lowercase"}}),
            ("Whitespace", {"pre_tokenizer": {"type": "Whitespace"}}),
            ("WhitespaceSplit", {"pre_tokenizer": {"type": "WhitespaceSplit"}}),
            ("NFD, Lowercase, StripAccents", {"normalizer": nfd}),
            ("Digits", {"pre_tokenizer": sequence}),
            ("3 characters a word", {"model": {"max_input_chars_per_word": 3}}),
            ("no normalizer", {"normalizer": None}),
            ("no pre-tokenizer", {"pre_tokenizer": None}),
            ("prefix #", {"model": {"continuing_subword_prefix": "#"}}),
            ("clean_text false", {"normalizer": {"clean_text": False}}),
            ("WordLevel", {"model": {"type": "WordLevel", **unk}}),
            ("BPE", {"model": {"type": "BPE", "merges": [], **unk}}),
            ("no added tokens", {"added_tokens": []}),
            ("BertProcessing", {"post_processor": processing}),
        ]:
            # transformers makes BERT's own pipeline of BERT's class, whatever the file says.
            agrees = cls == "PreTrainedTokenizerFast" or name in ("no added tokens", "BertProcessing")
            yield "%s, %s" % (cls, name), {"tokenizer_class": cls}, bert_file(**change), {}, agrees


def all_ids(bert, model, texts):
    return [our_ids(bert, model, text) for text in texts]


def their_ids(directory, texts):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    return [tokenizer(text)["input_ids"] for text in texts]


def compare_settings(bert, scratch):
    """Ids of all texts: ours, those of transformers on the same files, and on what was saved, twice."""
    texts = settings_texts()
    weights = BertForSequenceClassification(
        BertConfig(
            vocab_size=ROWS,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            max_position_embeddings=512,
        )
    )
    failed = total = 0
    for name, config, file, more, agrees in settings():
        total += 1
        directory = os.path.join(scratch, "settings-%d" % total)
        weights.save_pretrained(directory)
        files = {"tokenizer_config.json": config, **({"tokenizer.json": file} if file else {}), **more}
        for path, value in files.items():
            with open(os.path.join(directory, path), "w", encoding="utf-8") as out:
                json.dump(value, out)
        if file is None:
            with open(os.path.join(directory, "vocab.txt"), "w", encoding="utf-8") as out:
                out.write("\n".join(VOCAB))
        model, again, data, length = c_void_p(), c_void_p(), c_void_p(), c_size_t()
        check(bert, bert.bert_load(c_char_p(directory.encode()), None, byref(model)))
        ids = all_ids(bert, model, texts)
        found = {"original": their_ids(directory, texts) if agrees else ids}
        saved = directory + "-saved"
        check(bert, bert.bert_save(model, c_char_p(saved.encode())))
        check(bert, bert.bert_save_to_buffer(model, byref(data), byref(length)))
        check(bert, bert.bert_load_from_buffer(data, length, None, byref(again)))
        bert.bert_buffer_free(data)
        found["buffer"] = all_ids(bert, again, texts)
        check(bert, bert.bert_save(again, c_char_p((saved + "-again").encode())))
        found["saved"] = their_ids(saved, texts)
        found["saved again"] = their_ids(saved + "-again", texts)
        wrong = [place for place, other in found.items() if other != ids]
        if wrong:
            failed += 1
            print("%s: ids differ in: %s" % (name, ", ".join(wrong)))
        bert.bert_free(model)
        bert.bert_free(again)
    print("%d settings of tokenizers, ids of %d texts each: %d settings differ" % (total, len(texts), failed))
    return failed == 0


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
    right &= compare_settings(bert, scratch)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
