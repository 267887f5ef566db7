"""The benchmark on a GPU: libbert beside transformers on PyTorch, eager and compiled. `scripts/cuda-check.sh` runs it.

Rows are taken a few at a time. The processes of all their sides are started and warmed up together, since compiling takes
PyTorch longest; then one works at a time, the sides of a row in alternation, REPEATS times. The rows that tell most come
first, and where the time ends the rest says so. Tokens are those of the texts, padding not counted. A side that can't run is
told, and the rest goes on."""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from side import Side

# (what, model, batch, length; None: as in SST-2)
ROWS = [
    ("train", "MiniLM", 32, None),
    ("train", "BERT-base", 32, 128),
    ("predict", "MiniLM", 32, None),
    ("predict", "BERT-base", 32, 128),
    ("train", "MiniLM", 256, 128),
    ("train", "BERT-base", 32, None),
    ("train", "BERT-base", 32, 512),
    ("predict", "MiniLM", 1, None),
    ("predict", "MiniLM", 256, None),
    ("predict", "BERT-base", 1, 128),
    ("predict", "BERT-base", 256, 128),
    ("train", "MiniLM", 32, 128),
    ("train", "MiniLM", 32, 512),
    ("train", "MiniLM", 256, None),
    ("train", "MiniLM", 256, 512),
    ("train", "BERT-base", 256, None),
    ("train", "BERT-base", 256, 128),
]
# Weights that each token is multiplied with, in the blocks alone.
BLOCKS = {"MiniLM": 6 * 12 * 384**2, "BERT-base": 12 * 12 * 768**2}
SHAPES = {"MiniLM": (6, 384), "BERT-base": (12, 768)}
PEAK = 790e12
REPEATS = 5
# Seconds of one measurement, roughly.
ONE = 0.25
# Rows whose processes are there together: what they hold of the card's memory adds up.
TOGETHER = 4
# Seconds that are left for the measurements of a side of a row, whatever the preparation takes.
RESERVE = 3
GOALS = {"train": 1.2, "predict": 1.5}


def base_model(model, folder):
    """A BERT-base of random weights with MiniLM's tokenizer."""
    import shutil

    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    path = os.path.join(folder, "base")
    BertForSequenceClassification(BertConfig(vocab_size=30522, num_labels=2)).save_pretrained(path)
    for name in os.listdir(model):
        if "token" in name or name == "vocab.txt":
            shutil.copy(os.path.join(model, name), path)
    return path


class Inputs:
    """Lines LABEL<TAB>TOKEN IDS<TAB>TEXT, as `inputs.py` writes them, with WordPiece's ids from vocab.txt alone for words
    that are one token each; SST-2's own lengths are kept, its words replaced."""

    def __init__(self, model, data, folder):
        self.folder = folder
        with open(os.path.join(model, "vocab.txt"), encoding="utf-8") as file:
            vocabulary = [line.rstrip("\n") for line in file]
        self.words = [(w, i) for i, w in enumerate(vocabulary) if w.isascii() and w.isalpha() and w.islower() and len(w) > 2]
        with open(os.path.join(data, "sst2", "train.tsv"), encoding="utf-8") as file:
            self.lengths = [min(128, 2 + len(line.split())) for line in file if line.strip()]

    def write(self, batch, length, count):
        path = os.path.join(self.folder, f"{batch}-{length}-{count}.tsv")
        chance = random.Random(batch + 1000 * (length or 0))
        with open(path, "w", encoding="utf-8") as file:
            for k in range(count):
                size = length or chance.choice(self.lengths)
                words = chance.choices(self.words, k=size - 2)
                ids = [101, *(i for _, i in words), 102]
                file.write(f"{k % 2}\t{' '.join(map(str, ids))}\t{' '.join(w for w, _ in words)}\n")
        return path


def used_memory(process):
    """Bytes of the GPU's memory that a process has, as nvidia-smi tells."""
    asked = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    try:
        for line in subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines():
            pid, mebibytes = line.split(",")
            if int(pid) == process:
                return int(mebibytes) << 20
    except (OSError, subprocess.CalledProcessError, ValueError):
        pass
    return None


class Measured:
    """One side of one row: a process of its own."""

    def __init__(self, row, name, command, environment):
        self.row, self.name = row, name
        self.speeds, self.warm_up, self.missing, self.tokens, self.passes = [], None, None, None, None
        self.side = Side(name, command, environment)

    def ask(self, passes):
        what, _, batch, _ = self.row
        return self.side("train", 0, passes) if what == "train" else self.side("predict", 0, 0, batch, passes, "bf16")

    def trying(self, work):
        """A side that fails is left alone from then on."""
        if self.missing is None:
            try:
                work()
            except Exception as error:  # noqa: BLE001  (told in the table)
                self.missing = str(error)[:100]

    def prepare(self, model, path):
        self.side("threads", os.cpu_count() or 1)
        self.side("load", 0, model)
        self.tokens = self.side("data", 0, path, 0)["tokens"]
        if self.row[0] == "train":
            self.side("trainer", 0, 0, 0, self.row[2], 1, "bf16")
        self.warm_up = self.ask(1)["seconds"]
        # Lengths that differ are compiled for once more when the second comes.
        self.ask(1)

    def measure(self):
        if self.passes is None:
            # Alone, now.
            self.passes = max(1, min(200, round(ONE / max(self.ask(1)["seconds"], 1e-6))))
        answer = self.ask(self.passes)
        self.speeds.append(answer["tokens"] / answer["seconds"])

    def result(self):
        if self.missing or not self.speeds:
            return {"missing": self.missing or "no time was left"}
        return {
            "tokens_per_second": statistics.median(self.speeds),
            "least": min(self.speeds),
            "most": max(self.speeds),
            "warm_up": self.warm_up,
            "memory": used_memory(self.side.process.pid),
            "tokens": self.tokens,
        }

    def end(self):
        self.side.process.kill()
        self.side.process.wait()


def main():
    parser = argparse.ArgumentParser()
    for name in ("ours", "model", "data", "table"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    folder = tempfile.mkdtemp()
    inputs = Inputs(options.model, options.data, folder)
    paths = {"MiniLM": options.model}
    here = os.path.dirname(os.path.abspath(__file__))
    peer = [sys.executable, os.path.join(here, "torch_peer.py")]
    sides = {"libbert": ([options.ours], {})}
    try:
        paths["BERT-base"] = base_model(options.model, folder)
        sides["PyTorch eager"] = (peer, {})
        if os.environ.get("BENCH_DEVICE", "cpu") != "cpu":
            # Many processes compile at once.
            sides["PyTorch compiled"] = (peer, {"BENCH_COMPILE": "1", "TORCHINDUCTOR_COMPILE_THREADS": "2"})
    except ImportError as error:
        print(f"No PyTorch: {error}; libbert is measured alone, without BERT-base.")
    rows = [row for row in (ROWS[:3:2] if options.quick else ROWS) if row[1] in paths]
    results = {}
    for first in range(0, len(rows), TOGETHER):
        together = rows[first : first + TOGETHER]
        measured = {}
        for row in together:
            batch, length = row[2:]
            batches = 2 if options.quick else max(4, 32768 // (batch * (length or 25)))
            path = inputs.write(batch, length, batch * batches)
            for name, (command, more) in sides.items():
                one = measured[row, name] = Measured(row, name, command, {**os.environ, **more})
                one.thread = threading.Thread(
                    target=one.trying, args=(lambda one=one, path=path: one.prepare(paths[one.row[1]], path),), daemon=True
                )
                one.thread.start()
        for one in measured.values():
            one.thread.join(max(0.1, end - RESERVE * len(measured) - time.monotonic()))
            if one.thread.is_alive():
                one.missing = "no time was left"
                one.end()
        for row in together:
            for _ in range(1 if options.quick else REPEATS):
                for name in sides:
                    if time.monotonic() < end:
                        measured[row, name].trying(measured[row, name].measure)
            for name in sides:
                results[row, name] = measured[row, name].result()
                print(json.dumps([row, name, results[row, name]]), flush=True)
            write_table(options.table, rows, sides, results)
        for one in measured.values():
            one.end()


def write_table(path, rows, sides, results):
    with open(path, "w", encoding="utf-8") as file:
        heads = " | ".join(f"{name}, tokens/s | of peak | memory, MiB" for name in sides)
        file.write(f"| row | {heads} | times the better PyTorch | goal |\n|{'---|' * (3 + 3 * len(sides))}\n")
        for row in rows:
            what, model, batch, length = row
            title = f"{'fine-tuning' if what == 'train' else 'prediction'} {model}, batch {batch}, "
            cells, speeds = [title + (f"length {length}" if length else "lengths as in SST-2")], {}
            for name in sides:
                result = results.get((row, name), {"missing": "not run"})
                if "missing" in result:
                    cells += [result["missing"], "", ""]
                    continue
                speed = speeds[name] = result["tokens_per_second"]
                layers, hidden = SHAPES[model]
                # Twice the weights forward and four times backward, and the scores and sums of attention.
                flops = 2 * BLOCKS[model] + 4 * layers * hidden * (length or 25)
                flops *= 3 if what == "train" else 1
                memory = result["memory"]
                spread = f"{speed:,.0f} ({result['least']:,.0f} to {result['most']:,.0f})"
                cells += [spread, f"{speed * flops / PEAK:.1%}", str(memory >> 20) if memory else "unknown"]
            peers = [speed for name, speed in speeds.items() if name != "libbert"]
            # Of all peers or of none.
            is_whole = len(speeds) == len(sides) > 1
            ratio = f"{speeds['libbert'] / max(peers):.2f}" if is_whole else ""
            file.write(f"| {' | '.join([*cells, ratio, str(GOALS[what])])} |\n")


main()
