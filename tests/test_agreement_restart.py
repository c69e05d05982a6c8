"""Restart contracts towards the true distribution: the digest's V5 (weights of two modes, started wrong)."""

from __future__ import annotations

import itertools

import torch

from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.priors import GaussianMixturePrior
from ddrep_core.sampling import Schedule, Segment, karras_levels, sample

COUNT, DIMENSIONS = 600, 20


class StartedWrong(LinearDiffrep):
    """Pictures that start as draws with four fifths of the first mode, where three tenths are right."""

    def __init__(self, pictures: torch.Tensor) -> None:
        index = torch.arange(pictures.numel())
        values = torch.ones(pictures.numel(), dtype=pictures.dtype)
        size = (pictures.numel(), pictures.numel())
        super().__init__(
            torch.sparse_coo_tensor(torch.stack([index, index]), values, size), image_shape=(DIMENSIONS, 1, 1)
        )
        self.pictures = pictures

    def reset(self, generator: torch.Generator) -> None:
        self.theta.copy_(self.pictures.reshape(-1, 1))


def test_weights_contract_with_repeats_and_with_width() -> None:
    generator = torch.Generator().manual_seed(0)
    projection = torch.randn(DIMENSIONS, 4, generator=generator, dtype=torch.float64)
    mean = projection @ torch.full((4,), 3.0, dtype=torch.float64)
    variance = (projection @ projection.T).diagonal().mean() + (0.84 * mean.square()).mean()
    projection, mean = projection / variance.sqrt(), mean / variance.sqrt()
    means = torch.stack([mean, -mean]).reshape(2, DIMENSIONS, 1, 1)
    prior = GaussianMixturePrior(means, 1e-4, torch.tensor([0.3, 0.7]), factors=projection)
    first = (torch.rand(COUNT, generator=generator) < 0.8).double()[:, None]
    spread = torch.randn(COUNT, 4, generator=generator, dtype=torch.float64) @ projection.T
    rep = StartedWrong((2 * first - 1) * mean + spread)

    def weight(low: float, high: float, repeats: int) -> float:
        levels = karras_levels(high, low, 10)
        segments = [Segment(levels, repeats=repeats, eta=0.0, heun=True), Segment((low, 0.0), eta=0.0)]
        result = sample(rep, prior, schedule=Schedule(tuple(segments)), seed=1, guidance_scale=1.0)
        side = result.diffrep.render().reshape(COUNT, DIMENSIONS) @ mean
        return float((side > 0).double().mean())

    # The digest's (one P, n = 4000): [1, 1.5] .785 .754; [.5, 3] .698 .450; [.1, 6] .528 .307 for K = 0 and 5 restarts.
    narrow = [weight(1.0, 1.5, 1), weight(1.0, 1.5, 6)]
    middle = [weight(0.5, 3.0, 1), weight(0.5, 3.0, 6)]
    wide = [weight(0.1, 6.0, 1), weight(0.1, 6.0, 6)]
    for once, often in (narrow, middle, wide):
        assert often < once
    assert all(wider[1] < narrower[1] for narrower, wider in itertools.pairwise([narrow, middle, wide]))
    assert abs(wide[1] - 0.3) < 0.08 and narrow[1] > 0.65
