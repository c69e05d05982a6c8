"""Tables and plots of the files that `agreement_table.py` writes.

python scripts/experiments/agreement_report.py FILE... [--frontier PNG] [--traces PNG]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

RUN = (
    "sampler", "mesh", "views", "objects", "size", "texels", "spread", "scale", "steps", "surface_noise", "textures",
    "eta", "texels_per_pixel",
)  # fmt: skip
"""What makes records belong to one line of a table."""

HEADER = (
    "| sampler | bed | seeds | evaluations (most) | one object (95 %) | neighbours alike | error | fair? p | "
    "colour std | spread |\n|---|---|---|---|---|---|---|---|---|---|"
)


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Agreement, error, fairness and cost over all seeds of one run."""
    first = records[0]
    one = [record for record in records if record["one"]]
    shares = np.bincount([record["object"] for record in one], minlength=first["objects"])
    nfe = [record["nfe"] for record in records]
    line = {name: first.get(name) for name in RUN} | {
        "seeds": len(records),
        "one_object": len(one) / len(records),
        "interval": wilson(len(one), len(records)),
        "neighbours": float(np.mean([record.get("neighbours", math.nan) for record in records])),
        "error": math.sqrt(float(np.mean([record["error"] for record in records]))),
        "nfe": float(np.mean(nfe)),
        "nfe_max": max(nfe),
        "batches": float(np.mean([record.get("batches", 0) for record in records])),
        "fair_p": float(stats.chisquare(shares).pvalue) if len(one) >= 5 * first["objects"] else None,
        "shares": shares.tolist(),
        "not_agreed": sum(bool(record["not_agreed"]) for record in records),
        "seconds": float(np.mean([record["seconds"] for record in records])),
        "traces": [record["trace"] for record in records if "trace" in record],
    }
    if first["spread"] > 0 and len(one) > 1:
        colours = np.array([record["colour"] for record in one])
        line["colour_std"] = float(np.mean([record["colour_std"] for record in one]))
        line["colour_spread"] = float(colours.std(0, ddof=1).mean())
        line["spread_error"] = line["colour_spread"] / math.sqrt(2 * colours.size)
    return line


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    result = stats.binomtest(hits, of).proportion_ci(method="wilson")
    return float(result.low), float(result.high)


def table_line(line: dict[str, Any]) -> str:
    """One line of the Markdown table under `HEADER`."""
    bed = f"{line['mesh']}, V = {line['views']}, K = {line['objects']}"
    for name, unless in (("scale", 1.0), ("size", 32), ("texels", 64), ("surface_noise", 0.0)):
        bed += "" if line[name] == unless else f", {name.replace('_', ' ')} {line[name]}"
    bed += "" if line["texels_per_pixel"] == 1.0 else ", as fine as the objects"
    steps = f", {line['steps']} steps" if line["steps"] else ""
    steps += f", η {line['eta']}" if line["eta"] and not line["sampler"].startswith("repaint") else ""
    low, high = line["interval"]
    fair = "–" if line["fair_p"] is None else f"{line['fair_p']:.2g}"
    colour = f"{line['colour_std']:.4f}" if "colour_std" in line else ""
    spread = f"{line['colour_spread']:.3f} ± {line['spread_error']:.3f}" if "colour_std" in line else ""
    return (
        f"| {line['sampler']}{steps} | {bed} | {line['seeds']} | {line['nfe']:.1f} ({line['nfe_max']:.0f}) | "
        f"{line['one_object']:.3f} ({low:.3f} to {high:.3f}) | {line['neighbours']:.3f} | {line['error']:.1e} | {fair} "
        f"| {colour} | {spread} |"
    )


def frontier(lines: list[dict[str, Any]], path: Path) -> None:
    """Agreement over cost; crosses are unfair or too few to say."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="evaluations of the prior, each for all views", ylabel="runs with one object")
    for line in lines:
        fair = line["fair_p"] is not None and line["fair_p"] > 0.01
        low, high = line["interval"]
        bars = [[line["one_object"] - low], [high - line["one_object"]]]
        axes.errorbar(line["nfe"], line["one_object"], bars, fmt="o" if fair else "x", capsize=2)
        axes.annotate(
            line["sampler"], (line["nfe"], line["one_object"]), textcoords="offset points", xytext=(6, 4), fontsize=7
        )
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.set_ylim(-0.03, 1.08)
    figure.savefig(path, dpi=110)


def traces(lines: list[dict[str, Any]], path: Path) -> None:
    """How far the views disagree, over cost and over σ."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    cost, level = figure.subplots(1, 2)
    for line in lines:
        trace = np.array(line["traces"][0])
        below = trace[np.append(trace[1:, 1] > trace[:-1, 1], True) | (trace[:, 1] <= trace[:, 1].min())]
        shown = trace if len(trace) < 300 else below
        cost.plot(shown[:, 0], shown[:, 2].clip(1e-6), label=line["sampler"], linewidth=1)
        falling = trace[: int(np.argmax(np.diff(trace[:, 1]) > 0)) or len(trace)] if len(trace) > 1 else trace
        level.plot(falling[:, 1].clip(1e-2), falling[:, 2].clip(1e-6), label=line["sampler"], linewidth=1)
    cost.set(xlabel="evaluations", ylabel="disagreement", yscale="log")
    level.set(xlabel="σ of the first descent", xscale="log", yscale="log")
    level.invert_xaxis()
    cost.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--frontier", type=Path, help="where to draw agreement over cost")
    parser.add_argument("--traces", type=Path, help="where to draw disagreement over cost and σ")
    settings = parser.parse_args()
    records = [json.loads(line) for path in settings.files for line in path.read_text("utf-8").splitlines()]

    def identity(record: dict[str, Any]) -> str:
        return json.dumps([record.get(name) for name in RUN])

    records.sort(key=identity)
    lines = [summary(list(group)) for _, group in itertools.groupby(records, identity)]
    print(HEADER, *map(table_line, lines), sep="\n")
    for draw, path in ((frontier, settings.frontier), (traces, settings.traces)):
        if path is not None:
            draw(lines, path)
            print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
