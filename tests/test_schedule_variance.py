"""Named schedules draw what they should: the variance of a Gaussian, by a closed form and by the sampler itself."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "experiments"))

from variance import (  # pyright: ignore[reportMissingImports]
    DEFAULT_ETA,
    LOG_LEVELS,
    STABLE_DIFFUSION,
    drawn_variance,
)

from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.priors import GaussianPrior
from ddrep_core.process.diffusion import lost_variance
from ddrep_core.sampling import Schedule, parse_schedule, sample


@pytest.mark.parametrize("levels", [LOG_LEVELS, STABLE_DIFFUSION], ids=["log", "stable diffusion"])
@pytest.mark.parametrize("name", ["plain", "repaint", "repaint:10,10,5", "restart", "annealed"])
def test_named_schedules_draw_a_gaussian_within_three_percent(name: str, levels: np.ndarray) -> None:
    schedule = parse_schedule(name, levels)
    assert isinstance(schedule, Schedule)
    assert drawn_variance(schedule, DEFAULT_ETA, 1.0) == pytest.approx(1.0, abs=0.03)


def test_few_steps_need_what_is_given_back() -> None:
    """Ten levels, whatever is drawn: exact with it, less than half without; certain pictures get nothing."""
    schedule = parse_schedule("plain", LOG_LEVELS, 10)
    assert isinstance(schedule, Schedule)
    for variance in (0.1, 1.0, 10.0):
        assert drawn_variance(schedule, 1.0, variance) == pytest.approx(variance, rel=0.02)
        assert drawn_variance(schedule, 1.0, variance, restored=False) < 0.5 * variance
    assert lost_variance(2.0, 1.0, 0.5, recognised=1.0) == 0.0
    assert lost_variance(math.inf, 1.0, 0.5, recognised=0.5) == 0.0 == lost_variance(2.0, 0.0, 0.5, recognised=0.5)


@pytest.mark.parametrize("name", ["plain", "repaint", "restart", "annealed", "grown", "auto"])
def test_the_sampler_draws_what_the_closed_form_says(name: str) -> None:
    """6,400 pixels at once: their variance within four standard errors (1.8 % each) of the closed form."""
    size = 6400
    index = torch.arange(size)
    eye = torch.sparse_coo_tensor(torch.stack([index, index]), torch.ones(size, dtype=torch.float64), (size, size))
    prior = IndependentPixels()
    plan = parse_schedule(name, LOG_LEVELS, 25)
    rep = LinearDiffrep(eye, image_shape=(1, 80, 80))
    drawn = sample(rep, prior, schedule=plan, eta=DEFAULT_ETA, seed=3, guidance_scale=1.0).diffrep.theta
    expected = drawn_variance(plan, DEFAULT_ETA, 1.0) if isinstance(plan, Schedule) else 1.0
    assert float((drawn**2).mean()) == pytest.approx(expected, abs=4 * math.sqrt(2 / size))


class IndependentPixels(GaussianPrior):
    """N(0, 1) for every pixel of a picture, without a covariance matrix."""

    def __init__(self) -> None:
        one = torch.ones(1, 1, dtype=torch.float64)
        super().__init__(torch.zeros(1, 1, 1, dtype=torch.float64), one)

    def predict_noise(self, x: torch.Tensor, sigma: float, conditioning: object) -> torch.Tensor:
        return x * sigma / (1 + sigma**2)
