#!/usr/bin/env python3
"""Signals behind views, on linear toys of known law: the tables of docs/forward_models.md.

scripts/experiments/forward_models.py exact | learnt
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ddrep_core.forward_models import (
    ForwardPrior,
    GaussianSignals,
    ObservationLesson,
    SignalNetwork,
    draw_signals,
    learn_signals,
)
from ddrep_core.schedules.named import ddim_schedule
from ddrep_core.training.denoiser import started

CORRELATION = torch.tensor(
    [[1.0, 0.8, 0.497, 0.316], [0.8, 1.0, 0.675, 0.4], [0.497, 0.675, 1.0, 0.3], [0.316, 0.4, 0.3, 1.0]]
)
LEVELS = torch.linspace(math.log(40), math.log(0.01), 300, dtype=torch.float64).exp()


def gaussian() -> GaussianSignals:
    return GaussianSignals(torch.zeros(1, 4), CORRELATION[None], torch.ones(1), torch.eye(4)[:, None])


def mixture() -> GaussianSignals:
    """Three kinds of signals of four numbers, of which two look alike from view 0; views of two numbers each."""
    means = torch.tensor([[1.5, 1, 1, 0.5], [1.5, -1, -1, 0.5], [-1.5, 0, 1, -1]])
    source = torch.Generator().manual_seed(3)
    maps = torch.stack([torch.linalg.qr(torch.randn(4, 2, generator=source))[0].T for _ in range(4)])
    maps[0] = torch.eye(4)[[0, 3]]
    return GaussianSignals(means, 0.05 * torch.eye(4).repeat(3, 1, 1), torch.tensor([0.5, 0.3, 0.2]), maps)


def prior_of(signals: GaussianSignals, denoise: object, context: dict[int, Tensor]) -> ForwardPrior:
    shape = (1, 1, signals.maps.shape[1])
    told = denoise or signals.denoise
    return ForwardPrior(told, signals.forward, 4, shape, context=context, sigmas=LEVELS)  # pyright: ignore


def exact() -> None:
    signals, context = gaussian(), {0: torch.full((1, 1, 1), 1.5)}
    _, (true,), _ = signals.posterior(context)
    row = " | ".join(f"{float(true[k, k]):.3f}" for k in (1, 2, 3))
    between = float(true[1, 2] / (true[1, 1] * true[2, 2]).sqrt())
    print(
        f"| | S1 | S2 | S3 | correlation of S1, S2 |\n| --- | --- | --- | --- | --- |\n| true | {row} | {between:.2f} |"
    )
    for order in ("one", "autoregressive", "joint"):
        plan = ddim_schedule(LEVELS, 25, heun=True)
        drawn = draw_signals(prior_of(signals, None, context), 2000, order=order, schedule=plan)
        found = torch.cov(drawn.signals.T)
        row = " | ".join(f"{float(found[k, k]):.3f}" for k in (1, 2, 3))
        print(f"| {order} | {row} | {float(found[1, 2] / (found[1, 1] * found[2, 2]).sqrt()):.2f} |", flush=True)


def learnt() -> None:
    signals, source = mixture(), torch.Generator().manual_seed(0)
    root = math.sqrt(0.05)

    def draw(count: int, generator: torch.Generator) -> Tensor:
        kind = torch.multinomial(signals.weights, count, replacement=True, generator=generator)
        hidden = signals.means[kind] + root * torch.randn(count, 4, generator=generator)
        return signals.forward(hidden, torch.arange(4))

    context = {0: torch.tensor([1.5, 0.5]).reshape(1, 1, 2)}
    means, covariances, shares = signals.posterior(context)
    print("True: kinds", [round(float(each), 3) for each in shares])
    for novel in (1.0, 0.0):
        model = started(lambda: SignalNetwork(4, 2, 4, width=128), source)
        lesson = ObservationLesson(steps=8000, batch=256, novel=novel)
        learn_signals(model, signals.forward, draw, lesson, torch.Generator().manual_seed(1))
        plan = ddim_schedule(LEVELS, 25, heun=True)
        for order in ("autoregressive", "joint"):
            drawn = draw_signals(prior_of(signals, model, context), 1000, order=order, schedule=plan).signals
            kind = torch.cdist(drawn, means).argmin(1)
            of = [drawn[kind == k] for k in (0, 1)]
            off = [round(float((each.mean(0) - means[k]).abs().max()), 3) for k, each in enumerate(of)]
            print(
                f"novel {novel:g}, {order}: kinds {[round(float((kind == k).float().mean()), 3) for k in range(3)]}; "
                f"means off by {off}; "
                f"variances of 4 numbers {[[round(v, 4) for v in each.var(0).tolist()] for each in of]} "
                f"(true {[[round(v, 4) for v in covariances[k].diagonal().tolist()] for k in (0, 1)]})",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("exact", "learnt"))
    {"exact": exact, "learnt": learnt}[parser.parse_args().what]()
