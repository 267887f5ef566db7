"""Measures libbert beside PyTorch and ONNX Runtime and prints the table. `run.sh` calls it; `--help` tells the options."""

import argparse
import glob
import json
import os
import platform
import re
import subprocess
import sys
import time

import report
from disturbance import Disturbance
from inputs import Inputs
from rows import OURS, QUICK, ROWS, SWEEPS, Context, Contender, minilm, sweep_points
from side import Side, Unavailable

BENCH = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(BENCH)
# Between two samples: threads of the side that has worked stop spinning, the processor's clock settles.
PAUSE = 0.05


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__)
    names = list(ROWS) + ["memory"] + list(SWEEPS) + ["check"]
    parser.add_argument("--rows", help="names, with commas between; default: all. " + ", ".join(names))
    parser.add_argument("--quick", action="store_true", help=f"small inputs, 3 repeats; default rows {', '.join(QUICK)}")
    parser.add_argument("--repeats", type=int, help="how often each side is timed in turn, default 5 (quick: 3)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="with this text in their names: the sides that run beside ours ('none': ours alone)")
    parser.add_argument("--root", default=ROOT, help="the checkout of libbert that is measured: its include/, target/release/")
    parser.add_argument("--library", help="the folder of its libbert.so; default target/release in it")
    parser.add_argument("--versus", help="another checkout, as one more side")
    parser.add_argument("--model", default=os.environ.get("BERT_TEST_MODEL"), help="MiniLM's directory (BERT_TEST_MODEL)")
    parser.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data"), help="the folder with sst2/")
    parser.add_argument("--output", help="folder for results.json and the plots; default bench/out (quick: bench/out/quick)")
    parser.add_argument("--report", action="store_true", help="measures nothing: the table and plots of what is in --output")
    options = parser.parse_args()
    options.rows = options.rows.split(",") if options.rows else QUICK if options.quick else names
    for name in options.rows:
        if name not in names:
            parser.error(f"there is no row {name}; there are {', '.join(names)}")
    options.repeats = options.repeats or (3 if options.quick else 5)
    options.output = options.output or os.path.join(BENCH, "out", *["quick"] * options.quick)
    if not options.report and not options.model:
        parser.error("--model or BERT_TEST_MODEL must name the directory of all-MiniLM-L6-v2")
    return options


# ---- Sides ----------------------------------------------------------------------------------------------------------


def compile_ours(root, folder, library=None):
    """Compiles ours.c against a checkout's header and library, with what its header has."""
    with open(os.path.join(root, "include", "bert.h"), encoding="utf-8") as file:
        header = file.read()
    library = os.path.abspath(library or os.path.join(root, "target", "release"))
    target = os.path.join(folder, "ours-" + re.sub(r"\W+", "-", library).strip("-"))
    command = ["cc", "-O2", "-Wall", "-Wextra", "-I" + os.path.join(root, "include"), os.path.join(BENCH, "ours.c")]
    if "BERT_PRECISION_BFLOAT16" in header:
        command.append("-DBENCH_PRECISION")
    if re.search(r"\bgradient_checkpointing;", header):
        command.append("-DBENCH_GRADIENT_CHECKPOINTING")
    if re.search(r"\bprecision;[^}]*\} bert_predict_options;", header):
        command.append("-DBENCH_PREDICT_PRECISION")
    quantize = re.search(r"\bbert_quantize\(([^)]*)\)", header)
    if quantize:
        options = "NULL, " if "options" in quantize.group(1) else ""
        command.append(f"-DBENCH_QUANTIZE(model,quantized)=bert_quantize(model, {options}quantized)")
    command += ["-o", target, "-L" + library, "-lbert", "-lpthread", "-Wl,-rpath," + library]
    subprocess.run(command, check=True)
    with open(os.path.join(library, "libbert.so"), "rb") as file:
        by_instructions = b"BERT_INSTRUCTIONS" in file.read()
    return target, by_instructions


class Bench:
    def __init__(self, options):
        self.options = options
        self.work = os.path.join(BENCH, "out", "work")
        os.makedirs(self.work, exist_ok=True)
        os.makedirs(options.output, exist_ok=True)
        self.programs = {"ours": compile_ours(options.root, self.work, options.library)}
        if options.versus:
            self.programs["versus"] = compile_ours(options.versus, self.work)
        self.versions = {}
        models = self.prepare_models()
        compact = self.prepare_compact()
        self.context = Context(
            inputs=Inputs(os.path.join(models, "tokenizer.json"), options.data, self.work),
            compact_inputs=Inputs(os.path.join(compact, "tokenizer.json"), options.data, self.work_folder("compact-inputs")),
            models=models,
            compact_model=compact,
            quick=options.quick,
            versus=bool(options.versus),
        )

    def work_folder(self, name):
        path = os.path.join(self.work, name)
        os.makedirs(path, exist_ok=True)
        return path

    def environment(self, kind):
        # Settings that hold libraries back on machines they don't know.
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_", "RAYON_", "BERT_"))}
        if kind in ("torch", "onnx"):
            threads = str(self.options.threads)
            environment |= {"OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true"}
            environment |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
        return environment

    def start(self, contender):
        """A process for a contender, set up. Raises Unavailable where it can't do the work."""
        if contender.kind in self.programs:
            program, by_instructions = self.programs[contender.kind]
            if "BERT_INSTRUCTIONS" in contender.environment and not by_instructions:
                raise Unavailable("the library doesn't know BERT_INSTRUCTIONS")
            command = [program]
        else:
            command = [sys.executable, os.path.join(BENCH, contender.kind + "_peer.py")]
        side = Side(contender.label, command, self.environment(contender.kind) | contender.environment)
        try:
            self.versions[contender.kind] = side("threads", contender.threads or self.options.threads)["version"]
            for step in contender.setup:
                side(*step)
        except BaseException:
            side.close()
            raise
        return side

    def prepare_models(self):
        folder = os.path.join(self.work, "minilm")
        complete = os.path.join(folder, "complete")
        source = os.path.abspath(self.options.model)
        if not os.path.exists(complete) or open(complete).read() != source:
            print("Exporting the model for ONNX Runtime ...", file=sys.stderr)
            log = os.path.join(self.work, "onnx_models.log")
            with open(log, "w") as output:
                command = [sys.executable, os.path.join(BENCH, "onnx_models.py"), source, folder]
                if subprocess.run(command, stdout=output, stderr=output, env=self.environment("torch")).returncode != 0:
                    sys.exit(f"The model could not be exported: {log} says why.")
            with open(complete, "w") as file:
                file.write(source)
        return folder

    def prepare_compact(self):
        folder = os.path.join(self.work, "compact")
        if not os.path.exists(os.path.join(folder, "model.safetensors")):
            texts = os.path.join(self.work, "compact-texts.tsv")
            with open(os.path.join(self.options.data, "sst2", "train.tsv"), encoding="utf-8") as file:
                rows = [line.rstrip("\n").split("\t") for line in file]
            with open(texts, "w", encoding="utf-8") as file:
                file.writelines(f"{label}\t0\t{text}\n" for text, label in rows)
            side = Side("ours", [self.programs["ours"][0]], self.environment("ours"))
            side("create", texts, folder)
            side.close()
        return folder

    def wanted(self, contenders):
        """Without the sides that --only leaves out."""
        only = self.options.only
        return [c for i, c in enumerate(contenders) if i == 0 or not only or only.lower() in c.label.lower()]

    def start_all(self, contenders):
        """Pairs of contender and its process; and of the others, why they can't."""
        sides, unavailable = [], {}
        for contender in contenders:
            try:
                sides.append((contender, self.start(contender)))
            except Unavailable as reason:
                unavailable[contender.label] = str(reason)
        return sides, unavailable

    # ---- Measurements -----------------------------------------------------------------------------------------------

    def timed(self, name):
        """A row of ROWS: each side in turn, `repeats` times."""
        row = ROWS[name](self.context)
        sides, unavailable = self.start_all(self.wanted(row.contenders))
        samples = {contender.label: [] for contender, _ in sides}
        for contender, side in sides:
            side(*contender.sample)  # Memory is there, caches are warm, clocks are up.
        disturbance = Disturbance(side.process.pid for _, side in sides)
        for _ in range(self.options.repeats):
            for contender, side in sides:
                time.sleep(PAUSE)
                samples[contender.label].append(side(*contender.sample))
        others = disturbance.share()
        for _, side in sides:
            side.close()
        return {
            "others": others,
            "title": row.title,
            "calls": row.calls,
            "from_texts": row.from_texts,
            "first": row.contenders[0].label,
            "targets": row.targets,
            "unavailable": unavailable,
            "sides": {
                label: {key: [s[key] for s in some] for key in some[0]} for label, some in samples.items()
            },
        }

    def memory(self, _name):
        """The most memory that a process of its own has for fine-tuning: what the operating system counts."""
        path = self.context.inputs.sorted_batches(4, 32)

        def contender(label, kind, compute):
            setup = minilm(self.context, kind) + [("data", 0, path, 0), ("trainer", 0, 0, 0, 32, 1, compute)]
            return Contender(label, kind, setup, ("train", 0, 1))

        contenders = [
            contender(OURS, "ours", "f32"),
            contender("PyTorch float32", "torch", "f32"),
            contender("PyTorch bfloat16", "torch", "bf16"),
            contender(f"{OURS} bfloat16", "ours", "bf16"),
            contender(f"{OURS} with gradient checkpointing", "ours", "f32-checkpointing"),
        ]
        sides, unavailable = {}, {}
        for _ in range(self.options.repeats):
            for contender in self.wanted(contenders):
                if contender.label in unavailable:
                    continue
                try:
                    side = self.start(contender)
                except Unavailable as reason:
                    unavailable[contender.label] = str(reason)
                    continue
                side(*contender.sample)
                sides.setdefault(contender.label, {"bytes": []})["bytes"].append(side("memory")["bytes"])
                side.close()
        return {
            "title": "peak memory of the process, fine-tuning MiniLM, batch 32, float32",
            "first": OURS,
            "targets": {"PyTorch float32": 0.5},
            "unavailable": unavailable,
            "sides": sides,
        }

    def sweep(self, name):
        """Time per token against batch size or length."""
        work, by = SWEEPS[name]
        kinds = [(OURS, "ours"), ("PyTorch float32", "torch")]
        if work == "predict":
            kinds.append(("ONNX Runtime float32", "onnx"))
        contenders = self.wanted([Contender(label, kind, minilm(self.context, kind), ()) for label, kind in kinds])
        sides, unavailable = self.start_all(contenders)
        points = []
        disturbance = Disturbance(side.process.pid for _, side in sides)
        for value, setup, sample in sweep_points(self.context, work, by):
            for _, side in sides:
                for step in setup:
                    side(*step)
                side(*sample)
            microseconds = {contender.label: [] for contender, _ in sides}
            for _ in range(self.options.repeats):
                for contender, side in sides:
                    time.sleep(PAUSE)
                    answer = side(*sample)
                    microseconds[contender.label].append(1e6 * answer["seconds"] / answer["tokens"])
            points.append({"value": value, "microseconds": microseconds})
        others = disturbance.share()
        for _, side in sides:
            side.close()
        return {"work": work, "by": by, "points": points, "unavailable": unavailable, "others": others}

    def check(self, _name):
        """Whether all sides compute the same: logits of 64 sentences, against PyTorch's."""
        path = self.context.inputs.sentences(64)
        data = ("data", 0, path, 0)
        load = minilm(self.context, "torch")
        contenders = [
            Contender("PyTorch float32", "torch", load + [data], ()),
            Contender(OURS, "ours", load + [data], ()),
            Contender(f"{OURS} int8", "ours", [("load", 1, load[0][2]), ("quantize", 0, 1), data], ()),
        ]
        for label, file in (("float32", "model.onnx"), ("int8 (o, q)", "int8-fused.onnx"), ("int8 (q, o)", "int8-unfused.onnx")):
            contenders.append(Contender(f"ONNX Runtime {label}", "onnx", minilm(self.context, "onnx", file) + [data], ()))
        sides, unavailable = self.start_all(contenders)
        logits = {contender.label: side("logits", 0, 0)["logits"] for contender, side in sides}
        for _, side in sides:
            side.close()
        reference = logits.pop("PyTorch float32")
        return {
            "unavailable": unavailable,
            "sentences": len(reference),
            "sides": {
                label: {
                    "largest_difference": max(abs(x - y) for a, b in zip(some, reference) for x, y in zip(a, b)),
                    "same_label": sum((a[0] < a[1]) == (b[0] < b[1]) for a, b in zip(some, reference)),
                }
                for label, some in logits.items()
            },
        }


# ---- Machine --------------------------------------------------------------------------------------------------------


def machine():
    facts = {}
    for line in subprocess.run(["lscpu"], capture_output=True, text=True).stdout.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = facts.get("Flags", "").split()
    interesting = ["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "bf16", "i8mm"]
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) * 1024
    return {
        "processor": f"{facts.get('Model name', '?')} (family {facts.get('CPU family', '?')}, model {facts.get('Model', '?')})",
        "cores": len(os.sched_getaffinity(0)),
        "virtual": facts.get("Hypervisor vendor", "no"),
        "instructions": [flag for flag in interesting if flag in flags],
        "caches": {key: value for key, value in facts.items() if key.endswith("cache")},
        "memory": memory,
        "system": f"{platform.system()} {platform.release()}, glibc {platform.libc_ver()[1]}",
        "python": platform.python_version(),
    }


def commit(root):
    try:
        git = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty"], capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return git.stdout.strip() or "unknown"


def main():
    options = arguments()
    file = os.path.join(options.output, "results.json")
    results = {"rows": {}}
    if os.path.exists(file):
        with open(file) as stored:
            results = json.load(stored)
    if not options.report:
        bench = Bench(options)
        for name in options.rows:
            print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)
            measure = bench.timed if name in ROWS else bench.sweep if name in SWEEPS else getattr(bench, name)
            row = measure(name)
            row |= {
                "when": time.strftime("%Y-%m-%d %H:%M:%S"),
                "threads": options.threads,
                "versions": dict(bench.versions),
                "commit": commit(options.root),
            }
            results["rows"][name] = row
            results["machine"] = machine()
            # After each row, so that what was measured isn't lost.
            with open(file + ".new", "w") as new:
                json.dump(results, new, indent=1)
            os.replace(file + ".new", file)
            if options.quick:
                report.print_tables({"rows": {name: row}})
        for scratch in glob.glob(os.path.join(bench.work, "*x*.tsv")):
            os.remove(scratch)
    # As --help lists them, in whichever order they were measured.
    names = [*ROWS, "memory", *SWEEPS, "check"]
    results["rows"] = {name: results["rows"][name] for name in names if name in results["rows"]}
    if not options.quick or options.report:
        report.print_all(results)
        report.plot(results, options.output)


if __name__ == "__main__":
    main()
