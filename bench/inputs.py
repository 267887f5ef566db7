"""The examples that a row works on: chosen once, seeded, written to a file that every side reads."""

import os
import random

from tokenizers import Tokenizer

MAX_LENGTH = 128


class Inputs:
    """SST-2's training sentences and synthetic ones, with the token ids of one model's tokenizer."""

    def __init__(self, tokenizer_path, data_folder, folder):
        self.folder = folder
        self.tokenizer = Tokenizer.from_file(tokenizer_path)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_LENGTH)
        with open(os.path.join(data_folder, "sst2", "train.tsv"), encoding="utf-8") as file:
            rows = [line.rstrip("\n").split("\t") for line in file]
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch([text for text, _ in rows])]
        # [label, ids, text], shortest first.
        self.sst2 = sorted(([int(y), i, text] for (text, y), i in zip(rows, ids)), key=lambda e: len(e[1]))

    def write(self, name, examples):
        """Writes examples to a file and returns its path."""
        path = os.path.join(self.folder, name + ".tsv")
        with open(path, "w", encoding="utf-8") as file:
            for label, ids, text in examples:
                file.write(f"{label}\t{' '.join(map(str, ids))}\t{text}\n")
        return path

    def sorted_batches(self, count, size):
        """`count` batches of similar length, spread evenly over all lengths, in a mixed order; the longest is one."""
        batches = [self.sst2[i : i + size] for i in range(0, len(self.sst2) - size + 1, size)]
        chosen = [batches[round((k + 1) * len(batches) / count) - 1] for k in range(count)]
        random.Random(1).shuffle(chosen)
        return self.write(f"sorted-{count}x{size}", [example for batch in chosen for example in batch])

    def random_batches(self, count, size):
        """As many examples as `count` batches have, of any length."""
        return self.write(f"random-{count}x{size}", random.Random(2).sample(self.sst2, count * size))

    def sentences(self, count):
        """Sentences spread evenly over all lengths, in a mixed order."""
        chosen = [self.sst2[(2 * k + 1) * len(self.sst2) // (2 * count)] for k in range(count)]
        random.Random(3).shuffle(chosen)
        return self.write(f"sentences-{count}", chosen)

    def of_length(self, count, length):
        """Sequences of exactly `length` tokens: words that are one token each."""
        words = [w for w, i in sorted(self.tokenizer.get_vocab().items(), key=lambda e: e[1]) if w.isascii() and w.isalpha() and len(w) > 2]
        random.seed(length)
        self.tokenizer.no_truncation()
        examples = []
        for k in range(count):
            text = " ".join(random.choices(words, k=length - 2))
            ids = self.tokenizer.encode(text).ids
            assert len(ids) == length, (len(ids), length)
            examples.append([k % 2, ids, text])
        self.tokenizer.enable_truncation(MAX_LENGTH)
        return self.write(f"length-{count}x{length}", examples)
