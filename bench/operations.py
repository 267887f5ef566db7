"""Where libbert's time goes in one of the rows: `profile.sh` calls it.

Samples the processor clock of a warm process while it does the row's work, and prints the share of each function and of
each operation. Page faults and system calls are the kernel's lines.
"""

import argparse
import collections
import os
import re
import signal
import subprocess
import sys
import time

from run import Bench, arguments
from rows import ROWS

# The first that is found in a function's name says which operation it belongs to.
OPERATIONS = [
    ("kernel: pages and system calls", r"^\[k\]"),
    ("matrix products", r"gemm|matmul"),
    ("attention", r"ops::attention"),
    ("GELU", r"ops::activation|gelu|erf"),
    ("layer norm", r"ops::layer_norm|layer_norm"),
    ("exp, tanh (ops::math)", r"ops::math"),
    ("bias and row sums", r"ops::rows"),
    ("optimizer and clipping", r"optimizer|adamw|AdamW|clip"),
    ("dropout and random numbers", r"random::|dropout"),
    ("embeddings", r"embedding"),
    ("forward and backward glue (model::)", r"model::"),
    ("copying and clearing memory", r"mem(cpy|set|move)"),
    ("allocation", r"malloc|free|alloc"),
    ("threads", r"rayon|crossbeam|futex|pthread|sched_yield"),
    ("tokenization", r"tokenizers|text::"),
]


def operation(symbol):
    return next((name for name, pattern in OPERATIONS if re.search(pattern, symbol)), "everything else")


def main():
    parser = argparse.ArgumentParser(prog="bench/profile.sh", description=__doc__)
    parser.add_argument("row", nargs="?", default="train-f32", choices=list(ROWS))
    parser.add_argument("--seconds", type=float, default=10, help="sampled time, at least one pass")
    parser.add_argument("--lines", type=int, default=40, help="functions that are listed")
    parser.add_argument("--threads", type=int, default=2)
    mine = parser.parse_args()
    sys.argv[1:] = ["--quick", "--threads", str(mine.threads)]
    bench = Bench(arguments())
    contender = ROWS[mine.row](bench.context).contenders[0]
    side = bench.start(contender)
    side(*contender.sample)
    data = os.path.join(bench.work, "perf.data")
    perf = subprocess.Popen(
        ["perf", "record", "-q", "-e", "cpu-clock", "-F", "997", "-o", data, "-p", str(side.process.pid)],
        stderr=subprocess.PIPE,
    )
    time.sleep(0.5)
    begin = time.monotonic()
    seconds = tokens = 0
    while time.monotonic() - begin < mine.seconds:
        answer = side(*contender.sample)
        # Training tokenizes once more beside its steps; prediction goes through everything twice, from ids and from texts.
        twice = contender.sample[0] == "predict"
        seconds += answer["seconds_text"] + twice * answer["seconds"]
        tokens += answer["tokens"] * (1 + twice)
    perf.send_signal(signal.SIGINT)
    perf.wait()
    side.close()
    report = subprocess.run(
        ["perf", "report", "-i", data, "--no-children", "--stdio", "-g", "none", "--percent-limit", "0", "-F",
         "overhead,sample,symbol", "-t", "\t"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    functions = []
    for line in report.stdout.splitlines():
        fields = line.split("\t")
        if len(fields) == 3 and "%" in fields[0]:
            kind, _, name = fields[2].strip().partition(" ")
            # Hashes and type arguments make names long; what is left tells which function it is.
            name = re.sub(r"::h[0-9a-f]{16}$", "", name)
            functions.append((int(fields[1]), f"{kind} {name}" if kind == "[k]" else name))
    total = sum(samples for samples, _ in functions)
    # While this process works, every core that its threads have is sampled.
    busy = total / 997 / (seconds * mine.threads)
    print(f"{mine.row}: {tokens / seconds:,.0f} tokens/s while sampled, {mine.threads} threads busy for {busy:.0%} of the time\n")
    operations = collections.Counter()
    for samples, name in functions:
        operations[operation(name)] += samples
    print("| operation | share of processor time | µs per token |\n|---|---|---|")
    for name, samples in operations.most_common():
        print(f"| {name} | {samples / total:.1%} | {1e6 * samples / 997 / tokens:.1f} |")
    print("\n| function | share |\n|---|---|")
    for samples, name in sorted(functions, reverse=True)[: mine.lines]:
        print(f"| `{name[:150]}` | {samples / total:.1%} |")


main()
