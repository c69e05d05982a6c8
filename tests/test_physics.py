"""Equations as generative models: what is valid, and what exact fields lead back to."""

from __future__ import annotations

import numpy as np
import pytest

from ddrep_core.process import physics
from ddrep_core.process.physics import Physics, draw_back, field, table

CHARGES = np.array([[0.9, 0.0], [-0.5, 0.8], [-0.4, -0.7]])
EXACT = [
    pytest.param(physics.diffusion(), (6.0, 0.002), id="diffusion"),
    pytest.param(physics.poisson(), (40.0, 0.01), id="Poisson"),
    pytest.param(physics.yukawa(0.6), (0.8, 0.01), id="Yukawa"),
    pytest.param(physics.damped_wave(40.0), (8.0, 0.15), id="damped wave"),
]


def test_the_verdicts_need_both_conditions():
    """V13. Biharmonic: detail fades, but p is negative in places. Waves: nothing fades."""
    found = {each.name: each.verdict() for each in table()}
    assert [found[name] for name in ("diffusion", "Poisson", "Yukawa", "damped wave")] == ["yes"] * 4
    assert found["Helmholtz"] == "yes, while √(r² + t²) ≤ 2.8"
    assert found["between"] == "yes by its dispersion; no closed form"
    assert found["wave"].startswith("no: detail never fades") and found["Schrödinger"].startswith("no: detail never")
    assert found["biharmonic"].startswith("no: up to") and physics.biharmonic().smooths()
    assert not physics.helmholtz().smooths()
    assert physics.damped_wave(0.5).verdict().startswith("no: up to")  # a front, and little behind it


@pytest.mark.parametrize(
    "each",
    [physics.diffusion(), physics.poisson(), physics.yukawa(0.7), physics.helmholtz(0.7), physics.damped_wave(3)],
)
def test_each_is_its_own_equation_of_continuity(each: Physics):
    """∂p/∂t + ∇·(p v) = R by differences, inside of the front and of the reach."""
    r, t, h = np.linspace(0.3, 1.2, 7), 1.7, 1e-4
    assert each.density is not None and each.flux is not None
    change = (each.density(r, t + h) - each.density(r, t - h)) / (2 * h)
    spread = ((r + h) * each.flux(r + h, t) - (r - h) * each.flux(r - h, t)) / (2 * h * r)
    born = np.zeros_like(r) if each.births is None else each.births(r, t)
    np.testing.assert_allclose(change + spread, born, atol=1e-5 * np.abs(spread).max())


@pytest.mark.parametrize(("each", "times"), EXACT)
def test_exact_fields_lead_back_to_the_charges(each: Physics, times: tuple[float, float]):
    """A third of the points at each of three charges (standard error .019), near it as far as the last time says."""
    drawn = draw_back(each, CHARGES, 600, times, 120, np.random.default_rng(0))
    distance = np.linalg.norm(drawn[:, None] - CHARGES, axis=2)
    shares = np.bincount(distance.argmin(1), minlength=3) / len(drawn)
    assert np.abs(shares - 1 / 3).max() < 0.08, shares
    assert np.median(distance.min(1)) < 0.15


def test_where_density_dies_points_are_doubled():
    """Of Yukawa's density e^(−mt) is left after a time t; what died comes back."""
    drawn = draw_back(physics.yukawa(0.6), CHARGES, 2000, (0.6, 0.02), 100, np.random.default_rng(1))
    assert len(drawn) / 2000 == pytest.approx(np.exp(0.6 * 0.58), rel=0.1)


def test_helmholtz_leads_back_from_within_its_reach():
    drawn = draw_back(physics.helmholtz(0.5), 0.2 * CHARGES, 1500, (1.0, 0.01), 120, np.random.default_rng(2))
    distance = np.linalg.norm(drawn[:, None] - 0.2 * CHARGES, axis=2)
    shares = np.bincount(distance.argmin(1), minlength=3) / len(drawn)
    assert np.median(distance.min(1)) < 0.05 and np.abs(shares - 1 / 3).max() < 0.08, shares


def test_one_charge_s_field_points_away_from_it():
    velocity, rate = field(physics.poisson(), np.array([[2.0, 0.0]]), np.zeros((1, 2)), 1.0)
    np.testing.assert_allclose(velocity, [[2.0, 0.0]])  # r / t
    assert rate == 0
