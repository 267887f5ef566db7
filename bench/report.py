"""The table and the plots of what was measured."""

import os
from statistics import median


def spread(values, digits):
    """Minimum, median and maximum."""
    return " / ".join(f"{v:,.{digits}f}" for v in (min(values), median(values), max(values)))


def figures(row, side, key):
    """A side's samples in the row's unit: tokens per second, or milliseconds per call."""
    if row.get("calls"):
        return [1e3 * seconds / row["calls"] for seconds in side[key]]
    return [tokens / seconds for tokens, seconds in zip(side["tokens"], side[key])]


def ratios(first, other, key):
    """Pairwise: how many times faster the first is (of memory: what share it needs)."""
    if key == "bytes":
        return [a / b for a, b in zip(first[key], other[key])]
    speed = lambda side, i: side["tokens"][i] / side[key][i]  # noqa: E731
    return [speed(first, i) / speed(other, i) for i in range(len(first[key]))]


def best(side, key):
    """Tokens per second of the fastest sample: what is left of a comparison on a machine that others use too."""
    return max(tokens / seconds for tokens, seconds in zip(side["tokens"], side[key]))


def print_rows(results):
    """The table: a line for each side of each row."""
    if not any("targets" in row for row in results["rows"].values()):
        return
    print()
    print("| work | side | min / median / max | with tokenization | ratio, median (min to max) | with tokenization | asked |")
    print("|---|---|---|---|---|---|---|")
    for row in results["rows"].values():
        if "targets" not in row:
            continue
        title = row["title"] + disturbed(row)
        first = row["sides"].get(row["first"])
        keys = ["bytes"] if any("bytes" in side for side in row["sides"].values()) else ["seconds"]
        if keys == ["seconds"] and row["from_texts"]:
            keys.append("seconds_text")
        unit = "MB" if keys == ["bytes"] else "ms" if row["calls"] else "tokens/s"
        for label, reason in row["unavailable"].items():
            print(f"| {title} | {label} | not available: {reason} | | | | |")
            title = ""
        for label, side in row["sides"].items():
            cells = []
            for key in keys:
                values = [b / 1e6 for b in side[key]] if key == "bytes" else figures(row, side, key)
                cells.append(spread(values, 2 if unit == "ms" else 0) + " " + unit)
            cells += [""] * (2 - len(cells))
            for key in keys:
                if first is None or label == row["first"]:
                    cells.append("")
                    continue
                pairs = ratios(first, side, key)
                cell = f"**{median(pairs):.2f}** ({min(pairs):.2f} to {max(pairs):.2f})"
                if key != "bytes":
                    cell += f", best to best {best(first, key) / best(side, key):.2f}"
                cells.append(cell)
            cells += [""] * (4 - len(cells))
            target = row["targets"].get(label)
            asked = "" if target is None else f"at most {target}" if unit == "MB" else f"at least {target}"
            print(f"| {title} | {label} | {' | '.join(cells)} | {asked} |")
            title = ""


def disturbed(row):
    """A remark where other processes had so much of the machine that the row should be measured again."""
    others = row.get("others", 0)
    return f" (disturbed: others had {others:.0%} of the machine)" if others > 0.03 else ""


def print_sweeps(results):
    for row in results["rows"].values():
        if "points" not in row:
            continue
        labels = list(row["points"][0]["microseconds"])
        what = {"batch": "batch size, 32 tokens each", "length": "length in tokens, batch 8"}[row["by"]]
        work = {"train": "Training", "predict": "Prediction"}[row["work"]]
        print(f"\n{work}, float32, µs per token, minimum / median / maximum{disturbed(row)}:\n")
        print(f"| {what} | {' | '.join(labels)} |")
        print("|---" * (1 + len(labels)) + "|")
        for point in row["points"]:
            cells = [spread(point["microseconds"][label], 1) for label in labels]
            print(f"| {point['value']} | {' | '.join(cells)} |")


def print_check(results):
    check = results["rows"].get("check")
    if check:
        print(f"\nThe same computation: logits of {check['sentences']} sentences beside PyTorch float32's:\n")
        print("| side | largest difference | same label |")
        print("|---|---|---|")
        for label, side in check["sides"].items():
            print(f"| {label} | {side['largest_difference']:.1e} | {side['same_label']} |")


def print_tables(results):
    print_rows(results)
    print_sweeps(results)
    print_check(results)


def print_all(results):
    if not results["rows"]:
        print("Nothing has been measured yet.")
        return
    machine, rows = results["machine"], results["rows"].values()
    print(f"Machine: {machine['processor']}, {machine['cores']} cores, virtual: {machine['virtual']}, "
          f"{' '.join(machine['instructions'])}, {machine['memory'] / 2**30:.0f} GiB, {machine['system']}.")  # fmt: skip
    print("Caches: " + ", ".join(f"{key[:-6]} {value}" for key, value in machine["caches"].items()) + ".")
    versions = {}
    for row in rows:
        for version in row["versions"].values():
            versions.setdefault(version)
    print(f"Versions: {'; '.join(versions)}; Python {machine['python']}.")
    threads = sorted({row["threads"] for row in rows})
    commits = list(dict.fromkeys(row["commit"] for row in rows))
    print(f"Threads: {', '.join(map(str, threads))} on each side. Commit {', '.join(commits)}. "
          f"Measured {min(r['when'] for r in rows)} to {max(r['when'] for r in rows)}.")  # fmt: skip
    print_tables(results)


def plot(results, folder):
    """cost.png and cost.svg: time per token against batch size and length."""
    sweeps = {name: row for name, row in results["rows"].items() if "points" in row}
    if not sweeps:
        return
    try:
        import matplotlib
    except ImportError:
        print("\nThere is no plot: matplotlib isn't installed in this Python.")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8), squeeze=False)
    for row in sweeps.values():
        axis = axes[int(row["work"] == "predict"), int(row["by"] == "length")]
        x = [point["value"] for point in row["points"]]
        for label in row["points"][0]["microseconds"]:
            samples = [point["microseconds"][label] for point in row["points"]]
            axis.plot(x, [median(s) for s in samples], marker="o", label=label)
            axis.fill_between(x, [min(s) for s in samples], [max(s) for s in samples], alpha=0.2)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")
        axis.set_xticks(x, [str(v) for v in x])
        axis.set_xlabel({"batch": "batch size (32 tokens each)", "length": "length in tokens (batch 8)"}[row["by"]])
        axis.set_ylabel("µs per token")
        axis.set_title({"train": "training", "predict": "prediction"}[row["work"]] + ", MiniLM, float32")
        axis.grid(True, which="both", alpha=0.3)
        axis.legend()
    for axis in axes.flat:
        axis.set_visible(axis.has_data())
    figure.tight_layout()
    for ending in ("png", "svg"):
        figure.savefig(os.path.join(folder, "cost." + ending))
    print(f"\nPlot: {os.path.join(folder, 'cost.png')}")
