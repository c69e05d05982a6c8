"""The process in a class of its own: x = x0 + σ ε, its steps, and Heun's with a share of fresh noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.priors import GaussianPrior
from ddrep_core.process import Diffusion, langevin_share
from ddrep_core.sampling import Schedule, Segment, sample
from ddrep_core.schedules.named import ddim_schedule

PIXELS = 400


def rep() -> LinearDiffrep:
    eye = torch.arange(PIXELS)
    matrix = torch.sparse_coo_tensor(torch.stack([eye, eye]), torch.ones(PIXELS, dtype=torch.float64)).to_sparse_csr()
    return LinearDiffrep(matrix, image_shape=(1, 1, PIXELS))


def prior(variance: float = 1.0) -> GaussianPrior:
    return GaussianPrior(torch.zeros(1, 1, PIXELS, dtype=torch.float64), variance)


def test_diffusion_is_what_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise, fresh = (torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    process = Diffusion()
    assert torch.equal(process.start(noise, generator), noise)
    assert torch.equal(process.noisy(clean, noise, 2.0), clean + 2.0 * noise)
    assert torch.equal(process.noisy(clean, noise, math.inf), noise)
    # f' = f + (σ − √(1−λ²) σ') (ε − ε̂), whatever stands for x.
    sigma, sigma_next, share = 2.0, 0.5, 0.6
    predicted = (clean + sigma * noise - fresh) / sigma  # the prior's, where it says that x̂0 is `fresh`
    expected = clean + (sigma - math.sqrt(1 - share**2) * sigma_next) * (noise - predicted)
    torch.testing.assert_close(process.target(clean, fresh, sigma, sigma_next, share), expected)
    assert torch.equal(process.target(clean, fresh, math.inf, 1.0, 0.0), clean + (fresh - clean))
    renewed = process.jump(torch.ones(10**5), torch.randn(10**5), 1.0, 2.0, 0.0, generator)
    assert renewed.var() == pytest.approx(1.0, rel=0.02)
    x, wanted = process.perturb(clean, torch.tensor([1.0, 3.0]), generator)
    torch.testing.assert_close(x, clean + torch.tensor([1.0, 3.0]).double()[:, None, None, None] * wanted)


def one_heun_step(eta: float) -> tuple[Tensor, Tensor, Tensor]:
    """x̂ after one step of 1-D numbers from σ to σ', the noise before it, and the target, worked out by hand."""
    sigma, sigma_next = 2.0, 0.8
    share = langevin_share(sigma, sigma_next, eta)
    noise = torch.randn(PIXELS, generator=torch.Generator().manual_seed(7), dtype=torch.float64)

    @dataclass
    class Fixed:
        def draw(self, generator: torch.Generator) -> Tensor:
            return noise.reshape(1, 1, 1, PIXELS).clone()

    schedule = Schedule((Segment((sigma, sigma_next), heun=True, eta=eta),))
    theta = sample(rep(), prior(), schedule=schedule, noise=Fixed(), guidance_scale=1.0).diffrep.theta[:, 0]
    predicted = sigma * noise * sigma / (1 + sigma**2)  # ε̂ = σ x / (1 + σ²) of N(0, 1), x = σ ε
    beyond = (sigma - sigma_next) * (noise - predicted) + sigma_next * noise  # x at σ' by the ODE
    predicted_next = sigma_next * beyond / (1 + sigma_next**2)
    slope = (predicted + predicted_next) / 2
    stochastic = sigma_next * (1 - math.sqrt(1 - share**2)) * (noise - predicted)
    return theta, noise, (sigma_next - sigma) * (slope - noise) + stochastic


@pytest.mark.parametrize("eta", [0.0, 0.5, 0.75, 1.0])
def test_heuns_step_renews_its_share_of_the_noise(eta: float) -> None:
    theta, _, expected = one_heun_step(eta)
    torch.testing.assert_close(theta, expected, atol=1e-9, rtol=1e-9)


def test_heun_with_the_runs_own_eta_draws_the_right_variance() -> None:
    """`ddim_schedule(heun=True)` says nothing of eta, and 0.75 is the default: N(0, 1) must come out as N(0, 1)."""
    schedule = ddim_schedule(prior().sigmas, 40, heun=True)
    draws = [sample(rep(), prior(), schedule=schedule, seed=seed, guidance_scale=1.0) for seed in range(8)]
    variance = torch.cat([draw.diffrep.theta for draw in draws]).var()
    euler = ddim_schedule(prior().sigmas, 80)
    same_cost = torch.cat(
        [sample(rep(), prior(), schedule=euler, seed=seed, guidance_scale=1.0).diffrep.theta for seed in range(8)]
    ).var()
    assert abs(float(variance) - 1) < 0.1  # 3200 draws: a standard error of 0.025; without the term it is 0.57
    assert abs(float(same_cost) - 1) < 0.15


class Shrunk:
    """Not diffusion: x = x0 + 2σ ε, and so a level means twice the noise."""

    base = Diffusion()

    def start(self, noise: Tensor, generator: torch.Generator) -> Tensor:
        return noise

    def noisy(self, clean: Tensor, noise: Tensor, sigma: float) -> Tensor:
        return self.base.noisy(clean, noise, 2 * sigma)

    def target(self, render: Tensor, clean: Tensor, sigma: float, sigma_next: float, share: float) -> Tensor:
        return self.base.target(render, clean, sigma, sigma_next, share)

    def jump(
        self, noise: Tensor, fresh: Tensor, sigma: float, sigma_after: float, keep: float, generator: torch.Generator
    ) -> Tensor:
        return self.base.jump(noise, fresh, sigma, sigma_after, keep, generator)

    def fresh_scale(
        self, sigma: float, sigma_next: float, share: float, picture: float, noise: float, drawn: float
    ) -> float:
        return self.base.fresh_scale(2 * sigma, 2 * sigma_next, share, picture, noise / 4, drawn)

    def log_kernel(self, distance: Tensor, sigma: Tensor, size: int) -> Tensor:
        return self.base.log_kernel(distance, 2 * sigma, size)

    def perturb(self, clean: Tensor, sigma: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.base.perturb(clean, 2 * sigma, generator)


def test_a_prior_names_its_process_and_the_run_follows_it() -> None:
    seen: list[float] = []

    class Named(GaussianPrior):
        process = Shrunk()

        def predict_noise(self, x, sigma, conditioning):
            seen.append(float(x.std() / sigma))
            return super().predict_noise(x, 2 * sigma, conditioning) * 2  # so that x − σ ε̂ is x̂0

    sample(rep(), Named(torch.zeros(1, 1, PIXELS, dtype=torch.float64), 1.0), schedule=ddim_schedule(prior().sigmas, 6))
    assert seen[0] == pytest.approx(2.0, rel=0.1)
