"""Where libbert's time goes in one of the rows: `profile.sh` calls it.

Samples the processor clock of a warm process while it does the row's work. A sample inside the library counts for the
innermost function, also an inlined one, that stands in libbert's own source: with its file, that names the operation.
Samples in the kernel are page faults and system calls.
"""

import argparse
import collections
import os
import re
import signal
import subprocess
import sys
import time

from rows import ROWS
from run import Bench, arguments

FREQUENCY = 997


def record(side, sample, seconds, data):
    """Samples a side while it repeats its command; gives the seconds that it worked and the tokens."""
    perf = subprocess.Popen(
        ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "-o", data, "-p", str(side.process.pid)],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(0.5)
    begin = time.monotonic()
    worked = tokens = 0
    while time.monotonic() - begin < seconds:
        answer = side(*sample)
        # Training tokenizes once more beside its steps; prediction goes through everything twice, from ids and from texts.
        twice = sample[0] == "predict"
        worked += answer["seconds_text"] + twice * answer["seconds"]
        tokens += answer["tokens"] * (1 + twice)
    perf.send_signal(signal.SIGINT)
    perf.wait()
    return worked, tokens


def library_mapping(process):
    """Where libbert lies in a process: first address, address after the last, path."""
    first = last = path = None
    with open(f"/proc/{process}/maps") as file:
        for line in file:
            fields = line.split()
            if len(fields) == 6 and os.path.basename(fields[5]).startswith("libbert.so"):
                low, high = (int(x, 16) for x in fields[0].split("-"))
                first = low if first is None else first
                last, path = high, fields[5]
    return first, last, path


def samples(data):
    """(address, symbol, where) of each sample, with how often it was hit."""
    script = subprocess.run(["perf", "script", "-i", data, "-F", "ip,sym,dso"], capture_output=True, text=True, check=True)
    counts = collections.Counter()
    for line in script.stdout.splitlines():
        match = re.match(r"\s*([0-9a-f]+)\s+(.*)\s+\((.*)\)$", line)
        if match:
            counts[int(match[1], 16), match[2].strip(), match[3]] += 1
    return counts


def own_functions(library, offsets):
    """For each offset in the library the innermost function of our own source, as (file, function); None: there is none."""
    lines = subprocess.run(
        ["addr2line", "-C", "-f", "-i", "-a", "-e", library],
        input="\n".join(map(hex, offsets)), capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    found, current = {}, None
    for i, line in enumerate(lines):
        if line.startswith("0x"):
            current = int(line, 16)
            found[current] = None
            frame = i + 1
        elif (i - frame) % 2 == 1 and found[current] is None:
            source = re.search(r"/src/((?:ops|train|model|data|text|hf)/[^:]+|[a-z_]+\.rs):", line)
            if source and "/registry/" not in line and "/rustc/" not in line:
                function = re.sub(r"::h[0-9a-f]{16}$|::\{\{closure\}\}", "", lines[i - 1]).rpartition("::")[2]
                found[current] = (source[1].removesuffix(".rs"), function)
    return found


def main():
    parser = argparse.ArgumentParser(prog="bench/profile.sh", description=__doc__)
    parser.add_argument("row", nargs="?", default="train-f32", choices=list(ROWS))
    parser.add_argument("--seconds", type=float, default=10, help="sampled time, at least one pass")
    parser.add_argument("--lines", type=int, default=30, help="functions that are listed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--library", help="the folder of the libbert.so, with line numbers in it, that is looked at")
    parser.add_argument("--root", help="another checkout of libbert, for its header")
    mine = parser.parse_args()
    sys.argv[1:] = ["--quick", "--threads", str(mine.threads)]
    for option in ("library", "root"):
        if getattr(mine, option):
            sys.argv += ["--" + option, getattr(mine, option)]
    bench = Bench(arguments())
    contender = ROWS[mine.row](bench.context).contenders[0]
    side = bench.start(contender)
    side(*contender.sample)
    data = os.path.join(bench.work, "perf.data")
    seconds, tokens = record(side, contender.sample, mine.seconds, data)
    first, last, library = library_mapping(side.process.pid)
    counts = samples(data)
    side.close()

    inside = sorted({address - first for address, _, _ in counts if first <= address < last})
    own = own_functions(library, inside)
    operations, functions = collections.Counter(), collections.Counter()
    for (address, symbol, where), count in counts.items():
        symbol = re.sub(r"::h[0-9a-f]{16}$", "", symbol)
        if first <= address < last:
            if own[address - first]:
                operation, function = own[address - first]
                function = f"{operation}: {function}"
            else:
                operation = "gemm (crate)" if "gemm" in symbol else "rayon (crate)" if "rayon" in symbol else "other crates"
                function = f"{operation}: {symbol}"
        elif "kernel" in where:
            operation, function = "kernel: pages, system calls", f"kernel: {symbol}"
        else:
            operation, function = "C library", f"{os.path.basename(where)}: {symbol}"
        operations[operation] += count
        functions[function] += count
    total = sum(counts.values())
    busy = total / FREQUENCY / (seconds * mine.threads)
    print(f"{mine.row}: {tokens / seconds:,.0f} tokens/s while sampled; {mine.threads} threads, busy for {busy:.0%} of the time.\n")
    print("| operation | share of processor time | µs of it per token |\n|---|---|---|")
    for name, count in operations.most_common():
        if count >= total / 1000:
            print(f"| {name} | {count / total:.1%} | {1e6 * count / FREQUENCY / tokens:.1f} |")
    print("\n| function | share |\n|---|---|")
    for name, count in functions.most_common(mine.lines):
        print(f"| `{name[:120]}` | {count / total:.1%} |")


main()
