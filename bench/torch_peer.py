"""transformers on PyTorch, as a user would set it up for speed: SDPA attention, fused AdamW, inference_mode, batches padded
to their longest sequence; on the device that the variable BENCH_DEVICE names, or the CPU; with BENCH_COMPILE=1 through
torch.compile. `worker.py` and `ours.c` tell the commands."""

import os

import numpy
import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import worker
from worker import MAX_LENGTH

DEVICE = os.environ.get("BENCH_DEVICE", "cpu")
KIND = DEVICE.split(":")[0]


def timed(work):
    """Seconds that work() takes, what it began on a GPU included."""

    def whole():
        work()
        if KIND == "cuda":
            torch.cuda.synchronize()

    return worker.timed(whole)


class Torch:
    def __init__(self):
        self.models, self.tokenizers, self.examples, self.trainers = {}, {}, {}, {}

    def threads(self, count):
        torch.set_num_threads(count)
        return {"version": f"PyTorch {torch.__version__}, transformers {transformers.__version__}"}

    def load(self, m, path):
        self.tokenizers[m] = AutoTokenizer.from_pretrained(path)
        self.models[m] = AutoModelForSequenceClassification.from_pretrained(
            path, num_labels=2, attn_implementation="sdpa", dtype=torch.float32
        ).to(DEVICE)
        if os.environ.get("BENCH_COMPILE") == "1":
            self.models[m] = torch.compile(self.models[m])

    def data(self, d, path, m):
        del m  # The ids are given; the other side compares them with its tokenizer's.
        self.examples[d] = worker.Examples(path)
        return {"tokens": self.examples[d].tokens}

    # ---- Training -----------------------------------------------------------------------------------------------

    def trainer(self, t, m, d, batch, group, compute):
        del group  # Batches are the file's examples in order: the driver sorted them or didn't.
        model, examples = self.models[m], self.examples[d]
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01, fused=True)
        batches = []
        for numbers in examples.batches(batch):
            ids, mask = examples.padded(numbers, numpy)
            labels = torch.tensor([examples.labels[i] for i in numbers])
            batches.append(tuple(x.to(DEVICE) for x in (torch.from_numpy(ids), torch.from_numpy(mask), labels)))
        self.trainers[t] = (model, self.tokenizers[m], examples, batch, optimizer, batches, compute == "bf16")

    def train(self, t, passes):
        model, tokenizer, examples, batch, optimizer, batches, bfloat16 = self.trainers[t]

        def tokenize():
            # As datasets.map and DataCollatorWithPadding do.
            encoded = tokenizer(examples.texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
            for numbers in examples.batches(batch):
                tokenizer.pad({"input_ids": [encoded[i] for i in numbers]}, return_tensors="pt")

        def steps():
            for _ in range(passes):
                for ids, mask, labels in batches:
                    with torch.autocast(KIND, dtype=torch.bfloat16, enabled=bfloat16):
                        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    optimizer.step()
                    optimizer.zero_grad()
            self.loss = loss.item()

        tokenization = timed(tokenize) * passes
        seconds = timed(steps)
        return {
            "seconds": seconds,
            "seconds_text": seconds + tokenization,
            "tokens": examples.tokens * passes,
            "loss": self.loss,
        }

    # ---- Prediction ---------------------------------------------------------------------------------------------

    def predict(self, m, d, batch, passes, compute):
        model, tokenizer, examples = self.models[m], self.tokenizers[m], self.examples[d]
        model.eval()
        prepared = [
            [torch.from_numpy(a).to(DEVICE) for a in examples.padded(n, numpy)] for n in examples.batches(batch)
        ]

        def classify(ids, mask):
            # The answer is read, as whoever asks does.
            torch.softmax(model(input_ids=ids, attention_mask=mask).logits.float(), -1).max(-1).values.cpu()

        def from_ids():
            for _ in range(passes):
                for ids, mask in prepared:
                    classify(ids, mask)

        def from_texts():
            for _ in range(passes):
                for numbers in examples.batches(batch):
                    encoded = tokenizer(
                        [examples.texts[i] for i in numbers],
                        truncation=True,
                        max_length=MAX_LENGTH,
                        padding=True,
                        return_tensors="pt",
                    )
                    classify(encoded["input_ids"].to(DEVICE), encoded["attention_mask"].to(DEVICE))

        with torch.inference_mode(), torch.autocast(KIND, dtype=torch.bfloat16, enabled=compute == "bf16"):
            return {
                "seconds": timed(from_ids),
                "seconds_text": timed(from_texts),
                "tokens": examples.tokens * passes,
            }

    def logits(self, m, d):
        model, examples = self.models[m].eval(), self.examples[d]
        logits = []
        with torch.inference_mode():
            for numbers in examples.batches(32):
                ids, mask = (torch.from_numpy(a).to(DEVICE) for a in examples.padded(numbers, numpy))
                logits += model(input_ids=ids, attention_mask=mask).logits.tolist()
        return {"logits": logits}

    def memory(self):
        return {"bytes": worker.memory()}


worker.serve(Torch())
