"""Samplers on a bed: agreement, fairness, cost. Every seed is a line of a file, so that a table goes on where it was
cut off; `agreement_report.py` makes tables and plots of these files (docs/agreement.md)."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from agreement_bed import Bed, ManyPrior, make_bed
from agreement_report import summary, table_line

from ddrep_core.sampling import Auto, Grown, MixedNoise, NoiseField, StepReport, ViewNoise, parse_schedule, sample
from ddrep_core.solvers.linear import LinearSolver

DEFAULT = ("plain", "repaint:1,1,2", "repaint:10,10,5", "annealed:40,8,2,0.3,6", "grown", "auto")
ONE_BY_ONE, TOGETHER = 5, 25
"""Seeds of a piece of work: plans that decide as they go run one by one, fixed schedules as copies in one run."""

Record = dict[str, Any]


def run_seeds(bed: Bed, text: str, settings: argparse.Namespace, seeds: range) -> list[Record]:
    """One record a seed."""
    prior, solver = bed.prior(), LinearSolver(remembered=3 * bed.view_count)
    plan = parse_schedule(text, prior.sigmas, settings.steps)
    eta = stochastic_share(text, settings)
    start, trace, batches = time.process_time(), [], [0]

    def hear(step: StepReport) -> None:
        if step.disagreement is not None:
            batches[-1] += 1
            if len(batches) == 1:
                trace.append([round(step.nfe, 3), step.sigma, step.disagreement])

    def noise(copies: int) -> NoiseField:
        own = ViewNoise((bed.view_count, 3 * copies, bed.size, bed.size))
        return MixedNoise(bed.surface_noise(copies), own, settings.surface_noise) if settings.surface_noise > 0 else own

    thetas, spent, left_out = [], [], []
    if isinstance(plan, Auto | Grown):
        for seed in seeds:
            result = sample(
                bed.representation(), prior, bed.views, schedule=plan, eta=eta, seed=seed, solver=solver,
                noise=noise(1), callback=hear,
            )  # fmt: skip
            thetas.append(result.diffrep.theta)
            spent.append(result.nfe)
            left_out.append(result.not_agreed)
            batches.append(0)
    else:
        copies = len(seeds)
        many: Any = ManyPrior(prior, copies)
        result = sample(
            bed.representation(copies), many, bed.views, schedule=plan, eta=eta, seed=seeds.start, solver=solver,
            noise=noise(copies), callback=hear,
        )  # fmt: skip
        thetas, spent, left_out = [result.diffrep.theta], [result.nfe] * copies, [[]] * copies
        batches *= copies
    judged = bed.judge(torch.cat(thetas, 1))
    seconds = (time.process_time() - start) / len(seeds)
    records = []
    for number, seed in enumerate(seeds):
        labels, colours = judged["label"][:, number], judged["colour"][:, number]
        records.append(
            {
                "seed": seed,
                "nfe": round(spent[number], 3),
                "batches": batches[number],
                "one": bool((labels == labels[0]).all()),
                "neighbours": float((labels == labels.roll(1)).float().mean()),
                "object": int(labels[0]),
                "error": float(judged["error"][:, number].mean()),
                "colour": colours.mean(0).tolist(),
                "colour_std": float(colours.std(0).mean()),
                "not_agreed": left_out[number],
                "seconds": round(seconds, 3),
                **({"trace": trace} if number == 0 else {}),
            }
        )
    return records


def stochastic_share(text: str, settings: argparse.Namespace) -> float:
    """DDIM's eta of a sampler: what the settings say, or the paper's for RePaint and none for the others."""
    if settings.eta is not None:
        return settings.eta
    return 0.75 if text.startswith("repaint") else 0.0


def key(text: str, settings: argparse.Namespace) -> dict[str, Any]:
    """What a record's line says of the run: sampler and bed."""
    found = {
        "sampler": text,
        "mesh": settings.mesh if settings.mesh in ("branched", "ball", "panorama") else Path(settings.mesh).stem,
        "views": settings.views,
        "objects": settings.objects,
        "size": settings.size,
        "texels": settings.texels,
        "spread": settings.spread,
        "scale": settings.scale,
        "steps": settings.steps,
        "surface_noise": settings.surface_noise,
        "texels_per_pixel": settings.texels_per_pixel,
        "textures": [path.name for path in settings.pictures] if settings.pictures else settings.texture_seed,
    }
    return found | {"eta": stochastic_share(text, settings) or None}


def read(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def missing(done: set[int], text: str, settings: argparse.Namespace) -> Iterator[range]:
    """The pieces of work whose seeds are not all done."""
    size = ONE_BY_ONE if text.startswith(("grown", "auto")) else TOGETHER
    for start in range(0, settings.seeds, size):
        piece = range(start, min(start + size, settings.seeds))
        if not done.issuperset(piece):
            yield piece


def _work(task: tuple[argparse.Namespace, str, range]) -> list[Record]:
    settings, text, seeds = task
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    global _bed  # one bed a process: the settings stay the same for all its work
    if _bed is None:
        _bed = make_bed(
            settings.mesh, settings.views, settings.objects, settings.size, settings.texels, settings.spread,
            settings.scale, settings.texture_seed, settings.pictures, texels_per_pixel=settings.texels_per_pixel,
        )  # fmt: skip
    return [key(text, settings) | record for record in run_seeds(_bed, text, settings, seeds)]


_bed: Bed | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("samplers", nargs="*", default=DEFAULT, help="as --schedule understands them")
    parser.add_argument(
        "--mesh", default="branched", help="a file (unwrapped here if need be), 'branched', 'ball' or 'panorama'"
    )
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--size", type=int, default=32, help="pixels of a view's side")
    parser.add_argument("--texels", type=int, default=64, help="texels of a side of the objects' textures")
    parser.add_argument(
        "--texels-per-pixel", type=float, default=1.0, help="of the texture that is sampled; 0: as fine as the objects'"
    )
    parser.add_argument("--spread", type=float, default=0.0, help="of the objects' colour; 0 is the discrete bed")
    parser.add_argument("--scale", type=float, default=1.0, help="stretches all colours, and so the objects' distances")
    parser.add_argument("--texture-seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, nargs="+", help="textures from picture files instead of a seed")
    parser.add_argument("--surface-noise", type=float, default=0.0, help="share of the noise that is the surface's")
    parser.add_argument("--eta", type=float, help="of all samplers; by default 0.75 of RePaint and 0 of the others")
    parser.add_argument("--steps", type=int, help="of the main descent")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--out", type=Path, default=Path("agreement.jsonl"), help="the file that records are added to")
    settings = parser.parse_args()
    if settings.pictures:
        settings.objects = len(settings.pictures)
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(settings.processes) as pool, settings.out.open("a") as out:
        for text in settings.samplers:
            same = key(text, settings)
            mine = [line for line in read(settings.out) if all(line.get(name) == same[name] for name in same)]
            done = {record["seed"] for record in mine}
            tasks = [(settings, text, piece) for piece in missing(done, text, settings)]
            for records in pool.imap_unordered(_work, tasks):
                fresh = [record for record in records if record["seed"] not in done]
                out.writelines(json.dumps(record) + "\n" for record in fresh)
                out.flush()
                mine += fresh
            print(table_line(summary([record for record in mine if record["seed"] < settings.seeds])), flush=True)


if __name__ == "__main__":
    main()
