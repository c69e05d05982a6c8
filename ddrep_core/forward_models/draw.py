"""Draws of a signal given some of its views.

Proposition 1 of the paper says that one noisy target view is enough. It is not: Ŝ is then E[S | context, target], and
of what these two do not determine it is the mean, without any spread. The law of the signal comes of all views, one
after the other, or all under noise at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.errors import RequestError
from ddrep_core.forward_models.prior import ForwardPrior
from ddrep_core.sampling.sample import sample
from ddrep_core.schedules.named import ddim_schedule
from ddrep_core.schedules.steps import Plan
from ddrep_core.sparse import identity

STEPS = 25  # of Heun, two looks each
APART = 100_003  # seeds of one round and the next
Order: TypeAlias = Literal["autoregressive", "joint", "one"]


@dataclass(frozen=True)
class Drawn:
    """Samples.

    Attributes:
        signals: [N, ...].
        pictures: [N, V, C, h, w] what is seen of them, the context's own views as they were given.
        evaluations: of the model, for all samples at once.
    """

    signals: Tensor
    pictures: Tensor
    evaluations: float


def draw_signals(
    prior: ForwardPrior,
    samples: int = 1,
    *,
    order: Order = "autoregressive",
    targets: Sequence[int] | None = None,
    schedule: Plan | None = None,
    eta: float = 0.0,
    guidance_scale: float = 1.0,
    seed: int = 0,
) -> Drawn:
    """Signals given the prior's context.

    Args:
        order: "autoregressive": one target after the other, each a context of those that follow (the default: one view
            at a time is what a model of two noisy views was trained for); "joint": all at once, under one level of
            noise; "one": the first alone, and the signal that it suggests, as the paper draws: what the two views leave
            open is averaged.
        targets: the views to draw, in order; the prior's when not given.
        schedule: 25 of Heun's steps when not given.
        guidance_scale: of the pictures; the signal is that of the last look, with its context.

    Raises:
        RequestError: a view that is context, or none.
    """
    views = tuple(prior.targets if targets is None else targets)
    if not views or samples < 1:
        raise RequestError("There is no view left to draw, or no sample.", "Give less context.")
    if order == "one":
        views = views[:1]
    rounds = [(view,) for view in views] if order == "autoregressive" else [views]
    plan = schedule or ddim_schedule(prior.sigmas, STEPS, heun=True)
    context = {view: picture.expand(samples, *prior.image_shape) for view, picture in prior.context.items()}
    evaluations, signals = 0.0, torch.empty(0)
    for number, asked in enumerate(rounds):
        known = prior.given(context, asked)
        result = sample(
            separate_pictures(prior, len(asked)), known, schedule=plan, eta=eta,
            seed=seed + APART * number, guidance_scale=guidance_scale, samples=samples, together=True,
        )  # fmt: skip
        evaluations += result.nfe
        found = torch.stack([each.diffrep.render(torch.arange(len(asked))) for each in result.samples])
        signals = known.behind(found)
        context |= {view: found[:, place] for place, view in enumerate(asked)}
    pictures = prior.forward(signals, torch.arange(prior.view_count))
    for view in prior.context:
        pictures[:, view] = context[view]
    return Drawn(signals, pictures, evaluations)


def means(prior: ForwardPrior) -> Tensor:
    """[...] the deterministic guess, E[S | context]: what a model without noise says."""
    views = torch.tensor(prior.targets[:1])
    unseen = torch.zeros(1, 1, *prior.image_shape, dtype=prior.dtype, device=prior.device)
    return prior.signals(unseen, float("inf"), views)[0]


def separate_pictures(prior: ForwardPrior, count: int) -> MatrixDiffrep:
    """Pictures that have nothing in common but the model that looks at them."""
    channels, height, width = prior.image_shape
    return MatrixDiffrep(
        identity(count * height * width, prior.dtype, prior.device), prior.image_shape, columns=channels
    )
