"""What small denoisers are told to say: stable targets, codes, and the loss."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ddrep_core.priors import EmpiricalPrior
from ddrep_core.process import Diffusion, Poisson, Process
from ddrep_core.training.denoiser import Denoiser, Lesson, ResidualNetwork, started, train
from ddrep_core.training.stable_target import stable_target, target_variance


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("process", [Diffusion(), Poisson(8.0)])
def test_with_the_whole_set_the_target_is_the_exact_denoiser_s(process: Process) -> None:
    data = torch.randn(20, 5, generator=generator(1), dtype=torch.float64)
    sigma = torch.full((20,), 0.8, dtype=torch.float64)
    x, _ = process.perturb(data, sigma, generator(2))
    prior = EmpiricalPrior(data.reshape(20, 1, 1, 5), process=process)
    exact = prior.predict_clean(x.reshape(20, 1, 1, 5), 0.8, prior.condition()).reshape(20, 5)
    for number in range(20):
        others = torch.cat([data[:number], data[number + 1 :]])
        one = slice(number, number + 1)
        torch.testing.assert_close(stable_target(x[one], sigma[one], data[one], others, process)[0], exact[number])


def test_with_no_reference_the_target_is_the_source() -> None:
    data = torch.randn(4, 2, 3, generator=generator())
    assert torch.equal(stable_target(data + 1, torch.ones(4), data, data[:0], Diffusion()), data)


def two_gaussians() -> Tensor:
    """½ N(±.1·1, 1e-8 I) in 64 dimensions (thesis, B.1)."""
    source = generator(3)
    signs = torch.tensor([-0.1, 0.1]).double().repeat_interleave(64)[:, None]
    return signs * torch.ones(64, dtype=torch.float64) + 1e-4 * torch.randn(128, 64, generator=source).double()


def test_stable_targets_vary_less_by_the_theorem_s_factor() -> None:
    """V3: interior peak of V_DSM 1.77 at σ ≈ .44; in the middle field V_STF ≤ V_DSM / (n − 1)."""
    data = two_gaussians()
    alone = {sigma: target_variance(data, sigma, 1, Diffusion(), 200, generator(4)) for sigma in (0.3, 0.44, 0.7)}
    assert alone[0.44] == pytest.approx(1.77, rel=0.12)
    assert alone[0.44] > alone[0.3] and alone[0.44] > alone[0.7]
    for sigma in (0.44, 0.7):
        stable = target_variance(data, sigma, 17, Diffusion(), 200, generator(5))
        assert stable <= 1.05 * alone[sigma] / 16


@pytest.mark.parametrize("process", [Diffusion(), Poisson(16.0)])
def test_a_denoiser_learns_a_gaussian(process: Process) -> None:
    """x̂0 = x / (1 + σ²/s²) under diffusion; under PFGM++ the same by symmetry in direction."""

    def draw(count: int, source: torch.Generator) -> Tensor:
        return 0.5 * torch.randn(count, 2, generator=source)

    network = started(lambda: ResidualNetwork(2, 2, 1, 32, 2), generator(6))
    denoiser = Denoiser(network, 0.5)
    losses = train(denoiser, draw, Lesson(steps=300, reference=64), generator(7), process)
    assert sum(losses[-50:]) < sum(losses[:50])
    x = torch.tensor([[0.5, 0.0], [0.0, -0.8]])
    found = denoiser(x, torch.full((2,), 0.5)).detach()
    if isinstance(process, Poisson):
        assert float((found * x).sum(1).min()) > 0 and float(found.norm(dim=1).max()) < 0.8
    else:
        torch.testing.assert_close(found, x / 2, atol=0.06, rtol=0)


def test_the_field_of_one_further_dimension_is_learnt_by_the_strength_of_its_noise() -> None:
    """PFGM: noise far stronger than its level says is common. Two points, against the exact denoiser."""
    points, process = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), Poisson(1.0)

    def draw(count: int, source: torch.Generator) -> Tensor:
        return points[torch.randint(2, (count,), generator=source)]

    sigma = torch.full((2000,), 0.7)
    x, _ = process.perturb(draw(2000, generator(10)), sigma, generator(11))
    prior = EmpiricalPrior(points.reshape(2, 1, 1, 2), process=process)
    exact = prior.predict_clean(x.reshape(-1, 1, 1, 2), 0.7, prior.condition()).reshape(-1, 2).to(x)
    wrong = []
    for by_strength in (False, True):
        network = started(lambda told=1 + by_strength: ResidualNetwork(2, 2, told, 32, 2), generator(12))
        denoiser = Denoiser(network, 0.7, by_strength)
        train(denoiser, draw, Lesson(steps=400, learning_rate=3e-3), generator(13), process)
        wrong.append(float((denoiser(x, sigma).detach() - exact).square().sum(1).sqrt().mean()))
    assert wrong[1] < 0.2 and wrong[1] < wrong[0] / 2


def test_training_is_the_same_for_the_same_seed() -> None:
    def draw(count: int, source: torch.Generator) -> Tensor:
        return torch.randn(count, 2, generator=source)

    def once() -> list[float]:
        source = generator(8)
        denoiser = Denoiser(started(lambda: ResidualNetwork(2, 2, 1, 16, 1), source), 1.0)
        return train(denoiser, draw, Lesson(steps=5, reference=8), source)

    assert once() == once() and not math.isnan(once()[-1])
