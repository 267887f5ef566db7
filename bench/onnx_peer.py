"""ONNX Runtime with the graph that its transformer optimizer wrote (`onnx_models.py`), and the `tokenizers` library, as
a user would serve a model with them. `worker.py` and `ours.c` tell the commands."""

import os

import numpy
import onnxruntime
from tokenizers import Tokenizer

import worker
from worker import MAX_LENGTH, timed


class Onnx:
    def __init__(self):
        self.sessions, self.tokenizers, self.examples = {}, {}, {}

    def threads(self, count):
        self.count = count
        return {"version": f"ONNX Runtime {onnxruntime.__version__}"}

    def load(self, m, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.count
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.sessions[m] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        tokenizer = Tokenizer.from_file(os.path.join(os.path.dirname(path), "tokenizer.json"))
        tokenizer.enable_truncation(MAX_LENGTH)
        tokenizer.enable_padding()
        self.tokenizers[m] = tokenizer

    def data(self, d, path, m):
        del m
        self.examples[d] = worker.Examples(path)
        return {"tokens": self.examples[d].tokens}

    def predict(self, m, d, batch, passes, compute):
        del compute  # It is the graph's.
        session, tokenizer, examples = self.sessions[m], self.tokenizers[m], self.examples[d]
        prepared = [examples.padded(numbers, numpy) for numbers in examples.batches(batch)]

        def classify(ids, mask):
            logits = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            probabilities = numpy.exp(logits - logits.max(-1, keepdims=True))
            probabilities /= probabilities.sum(-1, keepdims=True)
            probabilities.argmax(-1)

        def from_ids():
            for _ in range(passes):
                for ids, mask in prepared:
                    classify(ids, mask)

        def from_texts():
            for _ in range(passes):
                for numbers in examples.batches(batch):
                    encoded = tokenizer.encode_batch([examples.texts[i] for i in numbers])
                    classify(
                        numpy.array([e.ids for e in encoded], dtype=numpy.int64),
                        numpy.array([e.attention_mask for e in encoded], dtype=numpy.int64),
                    )

        return {"seconds": timed(from_ids), "seconds_text": timed(from_texts), "tokens": examples.tokens * passes}

    def logits(self, m, d):
        session, examples = self.sessions[m], self.examples[d]
        logits = []
        for numbers in examples.batches(32):
            ids, mask = examples.padded(numbers, numpy)
            logits += session.run(None, {"input_ids": ids, "attention_mask": mask})[0].tolist()
        return {"logits": logits}

    def memory(self):
        return {"bytes": worker.memory()}


worker.serve(Onnx())
