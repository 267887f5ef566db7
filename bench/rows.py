"""What is measured: for each row of the table its inputs, the sides that compete, and what is asked of libbert."""

from dataclasses import dataclass, field

OURS = "libbert"


@dataclass
class Contender:
    """One side of a row: which program, what prepares it, and the command that is timed."""

    label: str
    kind: str  # "ours", "torch", "onnx"; "versus": another build of libbert
    setup: list
    sample: tuple
    threads: int = 0  # 0: as many as the run has
    environment: dict = field(default_factory=dict)


@dataclass
class Row:
    """The first contender is compared with each of the others."""

    title: str
    contenders: list
    targets: dict  # the label of a contender -> the ratio that is asked for
    calls: int = 0  # calls of one sample: their time is told in milliseconds; 0: tokens per second are told
    from_texts: bool = True  # the answer tells the time with tokenization too


@dataclass
class Context:
    """What rows are made from."""

    inputs: object  # Inputs with MiniLM's tokenizer
    compact_inputs: object
    models: str  # the folder that onnx_models.py filled
    compact_model: str
    quick: bool
    versus: bool


def minilm(context, kind, path=None):
    """The commands that load MiniLM as model 0."""
    if kind == "onnx":
        return [("load", 0, f"{context.models}/{path or 'model.onnx'}")]
    return [("load", 0, f"{context.models}/model")]


def other_build(context, contenders):
    """With --versus: the first contender's work done by the other build of libbert."""
    if context.versus:
        first = contenders[0]
        contenders.append(
            Contender("other build", "versus", first.setup, first.sample, first.threads, first.environment)
        )
    return contenders


# ---- Training -------------------------------------------------------------------------------------------------------


def training(context, title, compute, group, target, path=None, batch=32, passes=1, model=None, calls=0):
    batches = 4 if context.quick else 8
    inputs = context.inputs
    path = path or (inputs.sorted_batches(batches, batch) if group else inputs.random_batches(batches, batch))
    load = [("load", 0, model)] if model else minilm(context, "torch")
    setup = load + [("data", 0, path, 0), ("trainer", 0, 0, 0, batch, group, compute)]
    peer = {"f32": "PyTorch float32", "bf16": "PyTorch bfloat16"}[compute]
    contenders = [Contender(OURS, "ours", setup, ("train", 0, passes)), Contender(peer, "torch", setup, ("train", 0, passes))]
    return Row(title, other_build(context, contenders), {peer: target}, calls)


def train_f32(context):
    return training(context, "fine-tuning MiniLM, float32, batch 32 of similar length", "f32", 1, 2.0)


def train_bf16(context):
    return training(context, "fine-tuning MiniLM, bfloat16, batch 32 of similar length", "bf16", 1, 1.5)


def train_random_f32(context):
    return training(context, "fine-tuning MiniLM, float32, random batches of 32", "f32", 0, 3.0)


def train_random_bf16(context):
    return training(context, "fine-tuning MiniLM, bfloat16, random batches of 32", "bf16", 0, None)


# ---- Prediction -----------------------------------------------------------------------------------------------------


def predict_path(context, one):
    if one:
        return context.inputs.sentences(24 if context.quick else 64)
    return context.inputs.sorted_batches(8 if context.quick else 16, 32)


def prediction(context, title, one, sides, target):
    """A row of predictions: `sides` are label, kind and what is computed; the target is for those that it names."""
    path = predict_path(context, one)
    batch, passes = (1, 2) if one else (32, 1)
    contenders = [
        Contender(
            label,
            kind,
            minilm(context, kind) + [("data", 0, path, 0)],
            ("predict", 0, 0, batch, passes, compute),
        )
        for label, kind, compute in sides
    ]
    calls = passes * (24 if context.quick else 64) if one else 0
    return Row(title, other_build(context, contenders), target, calls)


def prediction_f32(context, title, one, target):
    sides = [
        (OURS, "ours", "f32"),
        ("ONNX Runtime float32", "onnx", "f32"),
        ("PyTorch float32", "torch", "f32"),
    ]
    if not context.quick:
        sides.append(("PyTorch bfloat16", "torch", "bf16"))
    return prediction(context, title, one, sides, {"ONNX Runtime float32": target})


def prediction_bf16(context, title, one, target):
    sides = [
        (OURS, "ours", "bf16"),
        ("PyTorch bfloat16", "torch", "bf16"),
        (f"{OURS} float32", "ours", "f32"),
    ]
    return prediction(context, title, one, sides, {"PyTorch bfloat16": target})


def predict_f32(context):
    return prediction_f32(context, "prediction float32, batch 32 of similar length", False, 1.3)


def predict_one(context):
    return prediction_f32(context, "prediction float32, one sentence", True, 1.5)


def predict_bf16(context):
    return prediction_bf16(context, "prediction bfloat16, batch 32 of similar length", False, 2.0)


def predict_bf16_one(context):
    return prediction_bf16(context, "prediction bfloat16, one sentence", True, None)


def prediction_int8(context, title, one, target):
    path = predict_path(context, one)
    batch, passes = (1, 2) if one else (32, 1)
    data = ("data", 0, path, 0)
    sample = ("predict", 0, 0, batch, passes, "int8")
    # Which of the peer's two ways is faster depends on the machine: the target holds for both.
    peers = {
        "ONNX Runtime int8 (optimized, then quantized)": "int8-fused.onnx",
        "ONNX Runtime int8 (quantized, then optimized)": "int8-unfused.onnx",
    }
    ours = Contender(OURS, "ours", [("load", 1, f"{context.models}/model"), ("quantize", 0, 1), data], sample)
    contenders = [ours]
    for label, file in peers.items():
        contenders.append(Contender(label, "onnx", minilm(context, "onnx", file) + [data], sample))
    calls = passes * (24 if context.quick else 64) if one else 0
    return Row(title, other_build(context, contenders), dict.fromkeys(peers, target), calls)


def predict_int8(context):
    return prediction_int8(context, "prediction int8, batch 32 of similar length", False, 1.5)


def predict_int8_one(context):
    return prediction_int8(context, "prediction int8, one sentence", True, 1.5)


# ---- The compact model ----------------------------------------------------------------------------------------------


def compact_train(context):
    steps = 50 if context.quick else 200
    path = context.compact_inputs.of_length(8, 32)
    return training(
        context,
        "compact model, training step, batch 4 of 32 tokens",
        "f32",
        1,
        2.5,
        path=path,
        batch=4,
        passes=steps // 2,
        model=context.compact_model,
        calls=steps,
    )


def compact_predict(context):
    calls = 400 if context.quick else 2000
    path = context.compact_inputs.of_length(1, 12)
    setup = [("load", 0, context.compact_model), ("data", 0, path, 0)]
    sample = ("predict", 0, 0, 1, calls, "f32")
    contenders = [Contender(OURS, "ours", setup, sample), Contender("PyTorch float32", "torch", setup, sample)]
    return Row("compact model, one prediction of 12 tokens", other_build(context, contenders), {"PyTorch float32": 4.0}, calls)


# ---- Several threads of the caller's --------------------------------------------------------------------------------


def together(context):
    path = predict_path(context, True)
    setup = minilm(context, "ours") + [("data", 0, path, 0)]

    def contender(callers, threads):
        label = f"libbert, {callers} caller{'s' if callers > 1 else ''}, {threads} thread{'s' if threads > 1 else ''}"
        return Contender(label, "ours", setup, ("together", 0, 0, callers, 2), threads)

    contenders = [contender(2, 2), contender(1, 1), contender(1, 2), contender(2, 1)]
    return Row("prediction from 2 threads at once, one sentence each", contenders, {contenders[1].label: 1.8}, 0, False)


# ---- Instruction paths ----------------------------------------------------------------------------------------------


def on_other_instructions(row):
    """The row's work on the slower instruction paths, beside the best one and the peers."""
    first = row.contenders[0]
    paths = [
        Contender(f"{OURS}, {path}", "ours", first.setup, first.sample, 0, {"BERT_INSTRUCTIONS": path})
        for path in ("avx2", "baseline")
    ]
    row.title += ", by instruction path"
    row.contenders[1:1] = paths
    row.targets = {}
    return row


ROWS = {
    "train-f32": train_f32,
    "train-bf16": train_bf16,
    "train-random-f32": train_random_f32,
    "train-random-bf16": train_random_bf16,
    "predict-f32": predict_f32,
    "predict-one": predict_one,
    "predict-bf16": predict_bf16,
    "predict-bf16-one": predict_bf16_one,
    "predict-int8": predict_int8,
    "predict-int8-one": predict_int8_one,
    "compact-train": compact_train,
    "compact-predict": compact_predict,
    "together": together,
    "instructions-train": lambda context: on_other_instructions(train_f32(context)),
    "instructions-train-bf16": lambda context: on_other_instructions(train_bf16(context)),
    "instructions-predict": lambda context: on_other_instructions(predict_f32(context)),
    "instructions-one": lambda context: on_other_instructions(predict_one(context)),
    "instructions-bf16": lambda context: on_other_instructions(predict_bf16(context)),
    "instructions-int8": lambda context: on_other_instructions(predict_int8(context)),
}
"""Rows that are timed side by side. The others (`memory`, the sweeps, `check`) are run.py's own."""

QUICK = ["train-f32", "train-bf16", "predict-f32", "predict-one"]


# ---- Time per token against batch size and length -------------------------------------------------------------------

BATCH_SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256]
SWEEP_LENGTH = 32
LENGTHS = [8, 16, 32, 64, 128, 256, 512]
SWEEP_BATCH = 8

SWEEPS = {
    f"{work}-by-{by}": (work, by) for work in ("train", "predict") for by in ("batch", "length")
}


def sweep_points(context, work, by):
    """For each batch size or length the setup and sample of a contender, as a function of its kind."""
    values = BATCH_SIZES if by == "batch" else LENGTHS
    if context.quick:
        values = values[::2]
    for value in values:
        batch, length = (value, SWEEP_LENGTH) if by == "batch" else (SWEEP_BATCH, value)
        # A data set has both classes, so at least two examples.
        path = context.inputs.of_length(max(2, batch), length)
        budget = 1024 if work == "train" else 4096
        passes = max(1, budget // (max(2, batch) * length))
        if work == "train":
            setup = [("data", 0, path, 0), ("trainer", 0, 0, 0, batch, 1, "f32")]
            sample = ("train", 0, passes)
        else:
            setup = [("data", 0, path, 0)]
            sample = ("predict", 0, 0, batch, passes, "f32")
        yield value, setup, sample
