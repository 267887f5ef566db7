"""The peers' side of the protocol that `ours.c` describes: commands on standard input, one line of JSON for each."""

import json
import sys
import time

MAX_LENGTH = 128


class Examples:
    """A file of lines LABEL<TAB>TOKEN IDS<TAB>TEXT, in the order in which they are worked through."""

    def __init__(self, path):
        self.labels, self.ids, self.texts = [], [], []
        with open(path, encoding="utf-8") as file:
            for line in file:
                label, ids, text = line.rstrip("\n").split("\t")
                self.labels.append(int(label))
                self.ids.append([int(i) for i in ids.split(" ")])
                self.texts.append(text)
        self.tokens = sum(map(len, self.ids))

    def batches(self, size):
        """Lists of example numbers."""
        return [range(i, min(i + size, len(self.ids))) for i in range(0, len(self.ids), size)]

    def padded(self, numbers, numpy):
        """Token ids and attention mask of a batch as int64 arrays [batch, longest]."""
        longest = max(len(self.ids[i]) for i in numbers)
        ids = numpy.zeros((len(numbers), longest), dtype=numpy.int64)
        mask = numpy.zeros_like(ids)
        for row, i in enumerate(numbers):
            ids[row, : len(self.ids[i])] = self.ids[i]
            mask[row, : len(self.ids[i])] = 1
        return ids, mask


def memory():
    """The most memory that this process has had, in bytes."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/self/status has no VmHWM")


def timed(work):
    """Seconds that work() takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def serve(side):
    """Answers commands by calling the method of that name until standard input ends."""
    answers = sys.stdout
    # What libraries print goes where it disturbs nobody.
    sys.stdout = sys.stderr
    for line in sys.stdin:
        name, *arguments = line.split()
        arguments = [int(a) if a.isdigit() else a for a in arguments]
        try:
            answer = getattr(side, name)(*arguments) or {}
        except Exception as error:  # noqa: BLE001  (the driver tells it, and stops)
            answer = {"error": f"{name}: {type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
