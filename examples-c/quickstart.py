#!/usr/bin/env python3
"""Trains a classifier on the library's toy sentences from Python, with nothing but the standard library.

    quickstart.py [libbert.so] [device] [model-directory]

The library is the first argument, or the environment's BERT_LIBRARY, or target/release/libbert.so. The device is cpu
(the default), cuda, cuda:N or auto; the model goes to ./quickstart-py-model unless told otherwise.

Other languages call the library the same way: declare the structs as bert.h does, give each one's size to its _init
function, and look at every status.
"""

import ctypes
import os
import sys
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

BERT_OK = 0
BERT_ABI_VERSION = 2
BERT_NUL_TERMINATED = c_size_t(-1).value
BERT_PRESET_COMPACT = 0
BERT_TOY_TRAIN = 0
BERT_TOY_VALIDATION = 1
BERT_EVENT_EVALUATION = 1
BERT_METRIC_LOSS = 0
BERT_LOG_WARNING = 2


# The structs, field by field as in bert.h.


class ModelOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("tokenizer", c_int32),
        ("lowercase", c_int32),
        ("min_frequency", c_int32),
        ("max_vocab_size", c_int32),
        ("tokenizer_path", c_char_p),
        ("hidden_size", c_int32),
        ("num_hidden_layers", c_int32),
        ("num_attention_heads", c_int32),
        ("intermediate_size", c_int32),
        ("max_position_embeddings", c_int32),
        ("type_vocab_size", c_int32),
        ("hidden_act", c_int32),
        ("pooling", c_int32),
        ("final_layer_norm", c_int32),
        ("hidden_dropout_prob", c_double),
        ("attention_probs_dropout_prob", c_double),
        ("classifier_dropout", c_double),
        ("initializer_range", c_double),
        ("layer_norm_eps", c_double),
        ("label_names", POINTER(c_char_p)),
        ("num_label_names", c_size_t),
        ("seed", c_uint64),
        ("device", c_char_p),
        ("problem_type", c_int32),
    ]


class Progress(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("event", c_int32),
        ("epoch", c_int32),
        ("epochs", c_int32),
        ("step", c_int64),
        ("total_steps", c_int64),
        ("loss", c_double),
        ("learning_rate", c_double),
        ("grad_norm", c_double),
        ("tokens_per_second", c_double),
        ("eval_loss", c_double),
        ("eval_accuracy", c_double),
        ("eval_f1_macro", c_double),
        ("eval_f1_weighted", c_double),
        ("eval_matthews", c_double),
        ("eval_f1_micro", c_double),
        ("eval_mse", c_double),
        ("eval_pearson", c_double),
        ("eval_spearman", c_double),
    ]


ProgressCallback = ctypes.CFUNCTYPE(c_int32, POINTER(Progress), c_void_p)
LogCallback = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)


class TrainOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("seed", c_uint64),
        ("epochs", c_int32),
        ("batch_size", c_int32),
        ("gradient_accumulation_steps", c_int32),
        ("max_length", c_int32),
        ("learning_rate", c_double),
        ("weight_decay", c_double),
        ("adam_beta1", c_double),
        ("adam_beta2", c_double),
        ("adam_epsilon", c_double),
        ("max_grad_norm", c_double),
        ("schedule", c_int32),
        ("group_by_length", c_int32),
        ("warmup_steps", c_int64),
        ("warmup_ratio", c_double),
        ("eval_steps", c_int64),
        ("metric", c_int32),
        ("restore_best", c_int32),
        ("early_stopping_patience", c_int32),
        ("best_model_path", c_char_p),
        ("history_path", c_char_p),
        ("head_learning_rate", c_double),
        ("layer_learning_rate_decay", c_double),
        ("freeze_embeddings", c_int32),
        ("freeze_layers", c_int32),
        ("checkpoint_path", c_char_p),
        ("checkpoint_steps", c_int64),
        ("checkpoint_minutes", c_double),
        ("checkpoint_keep", c_int32),
        ("class_weights", POINTER(c_double)),
        ("num_class_weights", c_size_t),
        ("label_smoothing", c_double),
        ("threshold", c_double),
        ("progress", ProgressCallback),
        ("progress_user_data", c_void_p),
        ("precision", c_int32),
        ("gradient_checkpointing", c_int32),
    ]


class TrainReport(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("epochs", c_int32),
        ("stop_reason", c_int32),
        ("steps", c_int64),
        ("loss", c_double),
        ("accuracy", c_double),
        ("best_metric", c_double),
        ("best_step", c_int64),
        ("restored_best", c_int32),
        ("resumed_step", c_int64),
        ("tokens", c_int64),
        ("seconds", c_double),
    ]


class LoadOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("device", c_char_p),
        ("label_names", POINTER(c_char_p)),
        ("num_label_names", c_size_t),
        ("labels_from", c_void_p),
        ("seed", c_uint64),
        ("problem_type", c_int32),
        ("reserved", c_int32),
        ("rename_labels", c_int32),
        ("new_classifier", c_int32),
        ("pooling", c_int32),
        ("reserved2", c_int32),
    ]


class Prediction(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("label_id", c_int32),
        ("probability", c_float),
        ("label", c_char_p),
        ("label_length", c_size_t),
        ("value", c_float),
    ]


def load_library(path):
    """Opens the library and declares the functions used here: without that ctypes cuts pointers to 32 bits."""
    bert = ctypes.CDLL(path)
    bert.bert_abi_version.restype = c_uint32
    if bert.bert_abi_version() != BERT_ABI_VERSION:
        sys.exit("this program is for ABI %d, the library has ABI %d" % (BERT_ABI_VERSION, bert.bert_abi_version()))

    handle = c_void_p
    texts = {"bert_last_error_message": [], "bert_status_string": [c_int32], "bert_build_info": []}
    frees = ["bert_dataset_free", "bert_free", "bert_trainer_free"]
    calls = {
        "bert_set_log_callback": [LogCallback, c_void_p],
        "bert_dataset_toy": [c_int32, POINTER(handle)],
        "bert_model_options_init": [POINTER(ModelOptions), c_size_t, c_int32],
        "bert_create": [POINTER(ModelOptions), handle, POINTER(handle)],
        "bert_train_options_init": [POINTER(TrainOptions), c_size_t],
        "bert_trainer_create": [handle, handle, handle, POINTER(TrainOptions), POINTER(handle)],
        "bert_train_report_init": [POINTER(TrainReport), c_size_t],
        "bert_train": [handle, POINTER(TrainReport)],
        "bert_prediction_init": [POINTER(Prediction), c_size_t],
        "bert_predict": [handle, c_char_p, c_size_t, c_char_p, c_size_t, c_void_p, POINTER(Prediction)],
        "bert_save": [handle, c_char_p],
        "bert_load_options_init": [POINTER(LoadOptions), c_size_t],
        "bert_load": [c_char_p, POINTER(LoadOptions), POINTER(handle)],
    }

    def check(status, function, _arguments):
        if status != BERT_OK:
            message = bert.bert_last_error_message().decode()
            raise RuntimeError("%s: %s (%s)" % (function.__name__, message, bert.bert_status_string(status).decode()))
        return status

    for name, arguments in texts.items():
        function = getattr(bert, name)
        function.restype, function.argtypes = c_char_p, arguments
    for name in frees:
        function = getattr(bert, name)
        function.restype, function.argtypes = None, [handle]
    for name, arguments in calls.items():
        function = getattr(bert, name)
        function.restype, function.argtypes, function.errcheck = c_int32, arguments, check
    return bert


def predict(bert, model, text):
    encoded = text.encode()
    prediction = Prediction()
    bert.bert_prediction_init(byref(prediction), ctypes.sizeof(prediction))
    bert.bert_predict(model, encoded, len(encoded), None, 0, None, byref(prediction))
    return prediction.label.decode(), prediction.probability


@LogCallback
def print_warning(level, message, _user_data):
    """The library prints nothing itself: what may be a mistake comes here."""
    if level >= BERT_LOG_WARNING:
        print("warning: %s" % message.decode(), file=sys.stderr)


def main():
    arguments = sys.argv[1:]
    path = arguments[0] if arguments else os.environ.get("BERT_LIBRARY", "target/release/libbert.so")
    device = arguments[1] if len(arguments) > 1 else "cpu"
    directory = arguments[2] if len(arguments) > 2 else "quickstart-py-model"

    # A bare file name would be looked for in the system's folders alone.
    bert = load_library(os.path.abspath(path))
    print(bert.bert_build_info().decode())
    bert.bert_set_log_callback(print_warning, None)

    train, validation, model, trainer = c_void_p(), c_void_p(), c_void_p(), c_void_p()
    bert.bert_dataset_toy(BERT_TOY_TRAIN, byref(train))
    bert.bert_dataset_toy(BERT_TOY_VALIDATION, byref(validation))

    model_options = ModelOptions()
    bert.bert_model_options_init(byref(model_options), ctypes.sizeof(model_options), BERT_PRESET_COMPACT)
    model_options.device = device.encode()
    bert.bert_create(byref(model_options), train, byref(model))

    # ctypes turns an exception in a callback into a printed line and a 0, "go on": keep it, and raise it afterwards.
    failed = []

    def on_progress(progress, _user_data):
        try:
            now = progress.contents
            if now.event == BERT_EVENT_EVALUATION and now.epoch % 5 == 0:
                print("epoch %2d/%d  loss %.4f, validation loss %.4f, accuracy %5.1f %%"
                      % (now.epoch, now.epochs, now.loss, now.eval_loss, 100 * now.eval_accuracy))
            return 0
        except BaseException as error:
            failed.append(error)
            return 1

    # The library keeps the callback's address only: this variable must live as long as the trainer does.
    callback = ProgressCallback(on_progress)
    train_options = TrainOptions()
    bert.bert_train_options_init(byref(train_options), ctypes.sizeof(train_options))
    train_options.progress = callback
    # With six validation sentences many evaluations are equally accurate: the loss tells which one is the best.
    train_options.metric = BERT_METRIC_LOSS
    bert.bert_trainer_create(model, train, validation, byref(train_options), byref(trainer))
    report = TrainReport()
    bert.bert_train_report_init(byref(report), ctypes.sizeof(report))
    try:
        bert.bert_train(trainer, byref(report))
    except RuntimeError:
        raise failed[0] if failed else sys.exc_info()[1]
    print("%d steps in %.1f s, best validation loss %.4f after step %d"
          % (report.steps, report.seconds, report.best_metric, report.best_step))
    bert.bert_trainer_free(trainer)
    bert.bert_dataset_free(train)
    bert.bert_dataset_free(validation)

    expected = {"the cake was wonderful": "positive", "what a terrible waste of an evening": "negative"}
    answers = [predict(bert, model, sentence) for sentence in expected]
    for sentence, (label, probability) in zip(expected, answers):
        print("%-8s  %.4f  %s" % (label, probability, sentence))

    bert.bert_save(model, os.fsencode(directory))
    bert.bert_free(model)

    load_options, loaded = LoadOptions(), c_void_p()
    bert.bert_load_options_init(byref(load_options), ctypes.sizeof(load_options))
    load_options.device = device.encode()
    bert.bert_load(os.fsencode(directory), byref(load_options), byref(loaded))
    identical = [predict(bert, loaded, sentence) for sentence in expected] == answers
    bert.bert_free(loaded)
    print("saved to %s; loaded again, it gives %s answers" % (directory, "identical" if identical else "OTHER"))
    right = [label for label, _ in answers] == list(expected.values())
    return 0 if identical and right else 1


if __name__ == "__main__":
    sys.exit(main())
