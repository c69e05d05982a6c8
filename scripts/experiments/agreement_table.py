"""Samplers on a bed: agreement, fairness, cost. One line a sampler, and a plot (docs/agreement.md)."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from agreement_bed import Bed, ManyPrior, make_bed
from scipy import stats

from ddrep_core.sampling import Auto, Grown, MixedNoise, NoiseField, ViewNoise, parse_schedule, sample
from ddrep_core.sampling.linear import LinearSolver

DEFAULT = ("plain", "repaint:1,1,2", "repaint:10,10,5", "annealed:40,8,2,0.3,6", "grown", "auto")


def run_sampler(bed: Bed, text: str, arguments: argparse.Namespace, seeds: range) -> dict[str, Any]:
    """All seeds of one sampler: fixed schedules as copies in one run, plans that decide as they go one by one."""
    prior, solver = bed.prior(), LinearSolver(remembered=3 * len(bed.views))
    plan = parse_schedule(text, prior.sigmas, arguments.steps)
    eta = arguments.eta if text.startswith("repaint") else 0.0
    if isinstance(plan, Auto | Grown):
        results = [
            sample(bed.representation(), prior, bed.views, schedule=plan, eta=eta, seed=seed, solver=solver)
            for seed in seeds
        ]
        thetas = [result.diffrep.theta for result in results]
        spent = [result.nfe for result in results]
    else:
        copies = len(seeds)
        rep = bed.representation(copies)
        noise: NoiseField = ViewNoise((len(bed.views), *rep.image_shape))
        if arguments.surface_noise > 0:
            noise = MixedNoise(bed.surface_noise(copies), noise, arguments.surface_noise)
        many: Any = ManyPrior(prior, copies)
        result = sample(rep, many, bed.views, schedule=plan, eta=eta, seed=seeds.start, solver=solver, noise=noise)
        thetas, spent = [result.diffrep.theta], [result.nfe] * copies
    judged = bed.judge(torch.cat(thetas, 1))
    return {"nfe": spent, **{name: tensor.tolist() for name, tensor in judged.items()}}


def summary(text: str, parts: list[dict[str, Any]], objects: int, spread: float) -> dict[str, Any]:
    """Agreement, error, fairness and cost over all seeds."""
    labels = torch.cat([torch.tensor(part["label"]) for part in parts], 1)  # [V, S]
    errors = torch.cat([torch.tensor(part["error"]) for part in parts], 1)
    colours = torch.cat([torch.tensor(part["colour"]) for part in parts], 1)  # [V, S, 3]
    spent = torch.tensor([nfe for part in parts for nfe in part["nfe"]])
    one = (labels == labels[:1]).all(0)
    shares = torch.bincount(labels[0, one], minlength=objects)
    line = {
        "sampler": text,
        "seeds": labels.shape[1],
        "one_object": float(one.float().mean()),
        "error": float(errors.mean().sqrt()),
        "nfe": float(spent.mean()),
        "nfe_max": float(spent.max()),
        "fair_p": float(stats.chisquare(shares.numpy()).pvalue) if bool(one.any()) else None,
        "shares": shares.tolist(),
    }
    if spread > 0 and int(one.sum()) > 1:
        agreed = colours[:, one]
        line |= {"colour_std": float(agreed.std(0).mean()), "spread": float(agreed.mean(0).std())}
    return line


def _work(task: tuple[argparse.Namespace, str, range]) -> dict[str, Any]:
    arguments, text, seeds = task
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    return run_sampler(build(arguments), text, arguments, seeds)


def build(arguments: argparse.Namespace) -> Bed:
    return make_bed(
        arguments.mesh, arguments.views, arguments.objects, arguments.size, arguments.texels, arguments.spread,
        arguments.scale, arguments.texture_seed, arguments.pictures,
    )  # fmt: skip


def plot(lines: list[dict[str, Any]], path: Path) -> None:
    """Agreement over cost."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("No plot: pip install matplotlib", file=sys.stderr)
        return
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="evaluations of the prior, each for all views", ylabel="runs with one object")
    for line in lines:
        fair = line["fair_p"] is not None and line["fair_p"] > 0.01
        axes.scatter(line["nfe"], line["one_object"], marker="o" if fair else "x")
        axes.annotate(line["sampler"], (line["nfe"], line["one_object"]), textcoords="offset points", xytext=(6, 4))
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.05)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("samplers", nargs="*", default=DEFAULT, help="as --schedule understands them")
    parser.add_argument("--mesh", type=Path, help="a mesh with UVs (or unwrapped here); a built-in one when not given")
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--size", type=int, default=32, help="pixels of a view's side")
    parser.add_argument("--texels", type=int, default=64, help="texels of the texture's side")
    parser.add_argument("--spread", type=float, default=0.0, help="of the objects' colour; 0 is the discrete bed")
    parser.add_argument("--scale", type=float, default=1.0, help="stretches all colours, and so the objects' distances")
    parser.add_argument("--texture-seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, nargs="+", help="textures from picture files instead of a seed")
    parser.add_argument("--surface-noise", type=float, default=0.0, help="share of the noise that is the surface's")
    parser.add_argument("--eta", type=float, default=0.75, help="of RePaint; the others are deterministic")
    parser.add_argument("--steps", type=int, help="of the main descent")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a folder for table.json and frontier.png")
    arguments = parser.parse_args()
    if arguments.pictures:
        arguments.objects = len(arguments.pictures)
    count = -(-arguments.seeds // arguments.processes)
    shares = [range(start, min(start + count, arguments.seeds)) for start in range(0, arguments.seeds, count)]
    lines = []
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for text in arguments.samplers:
            parts = pool.map(_work, [(arguments, text, seeds) for seeds in shares])
            lines.append(summary(text, parts, arguments.objects, arguments.spread))
            print(json.dumps(lines[-1]), flush=True)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "table.json").write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
        plot(lines, arguments.out / "frontier.png")


if __name__ == "__main__":
    main()
