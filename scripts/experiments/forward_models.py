#!/usr/bin/env python3
"""Signals behind views, on linear toys of known law: the tables of docs/forward_models.md.

scripts/experiments/forward_models.py exact | learnt [--steps 16000] [--draws 4000]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ddrep_core.forward_models import (
    ForwardPrior,
    GaussianSignals,
    LinearSignalNetwork,
    ObservationLesson,
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


def learnt(steps: int, count: int, novel: float) -> None:
    """A network that saw views alone, against the posterior: shares of kinds, and means and covariances within them."""
    signals, source = mixture(), torch.Generator().manual_seed(0)
    root = math.sqrt(0.05)

    def draw(count: int, generator: torch.Generator) -> Tensor:
        kind = torch.multinomial(signals.weights, count, replacement=True, generator=generator)
        hidden = signals.means[kind] + root * torch.randn(count, 4, generator=generator)
        return signals.forward(hidden, torch.arange(4))

    begun = time.process_time()
    model = started(lambda: LinearSignalNetwork(signals.maps, width=128), source)
    lesson = ObservationLesson(
        steps=steps, batch=256, learning_rate=2e-3, context_most=3, level=(-0.7, 1.6), novel=novel, averaged=True
    )
    losses = learn_signals(model, signals.forward, draw, lesson, torch.Generator().manual_seed(1), weigh=model.weights)
    model.requires_grad_(False)
    print(f"taught for {time.process_time() - begun:.0f} s; loss {sum(losses[-500:]) / 500:.4f}", flush=True)
    context = {0: torch.tensor([1.5, 0.5]).reshape(1, 1, 2)}
    means, covariances, shares = signals.posterior(context)
    open_ = [1, 2]  # the others are what view 0 shows
    print("| | kinds | χ² of one degree (3.84) | means off | covariances off |\n| --- | --- | --- | --- | --- |")
    print(f"| true | {', '.join(f'{float(each):.3f}' for each in shares)} | | | |")
    plan = ddim_schedule(LEVELS, 25, heun=True)
    for order in ("autoregressive", "joint"):
        drawn = draw_signals(prior_of(signals, model, context), count, order=order, schedule=plan).signals
        gap = (drawn[:, None, open_] - means[:, open_]).square().sum(2)
        kind = (shares.log() - gap / (2 * 0.05)).argmax(1)
        found = torch.bincount(kind, minlength=3) / count
        square = count * float(((found - shares)[:2].square() / shares[:2]).sum())
        off, spread = [], []
        for k in (0, 1):
            of, truth = drawn[kind == k][:, open_], covariances[k][open_][:, open_]
            off.append(float((of.mean(0) - means[k, open_]).norm() / means[k, open_].norm()))
            spread.append(float((torch.cov(of.T) - truth).norm() / truth.norm()))
        print(
            f"| {order} | {', '.join(f'{float(each):.3f}' for each in found)} | {square:.2f} "
            f"| {', '.join(f'{x:.1%}' for x in off)} | {', '.join(f'{x:.1%}' for x in spread)} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("exact", "learnt"))
    parser.add_argument("--steps", type=int, default=16000, help="of teaching")
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--novel", type=float, default=1.0, help="weight of views that were not shown (Eq. 9)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "exact":
        exact()
    else:
        learnt(arguments.steps, arguments.draws, arguments.novel)


if __name__ == "__main__":
    main()
