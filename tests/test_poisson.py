"""PFGM++ as a process: its kernel, its jumps, its limit, and what is drawn through the pulled-back sampler."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.priors import EmpiricalPrior
from ddrep_core.process import Diffusion, Poisson
from ddrep_core.sampling import Schedule, Segment, sample
from ddrep_core.sampling.sample import StepReport
from ddrep_core.schedules.named import ddim_schedule, restart_schedule

SEED = 5
DIMENSIONS = [1.0, 2.0, 8.0, 64.0, 2048.0, math.inf]


def generator(seed: int = SEED) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("size", "dimensions"), [(2, 5.0), (3, 1.0), (64, 128.0), (1000, 8.0)])
def test_the_kernel_s_radius_is_that_of_the_augmented_field(size: int, dimensions: float) -> None:
    """R = r √(R₁ / (1 − R₁)), R₁ ~ Beta(N/2, D/2), r = σ√D (thesis B.6)."""
    clean = torch.zeros(4000, size, dtype=torch.float64)
    sigma = torch.full((4000,), 1.5, dtype=torch.float64)
    x, noise = Poisson(dimensions).perturb(clean, sigma, generator())
    torch.testing.assert_close(x, 1.5 * noise)
    beta = stats.beta.cdf((share := (x**2).sum(1) / (1.5**2 * dimensions)) / (1 + share), size / 2, dimensions / 2)
    assert stats.kstest(beta, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("size", "dimensions"), [(3, 1.0), (2, 5.0), (16, 64.0)])
def test_a_jump_leads_from_one_level_s_kernel_to_another_s(size: int, dimensions: float) -> None:
    """From a point: noise of σ = 1, jumped up to σ = 2, is a draw of the kernel at 2. White noise would not be."""
    process, source = Poisson(dimensions), generator()
    radii = []
    for _ in range(3000):
        noise = process.start(torch.randn(size, generator=source, dtype=torch.float64), source)
        fresh = torch.randn(size, generator=source, dtype=torch.float64)
        radii.append(float(process.jump(noise, fresh, 1.0, 2.0, 0.5, source).square().sum()) / dimensions)
    share = np.array(radii) / (1 + np.array(radii))
    assert stats.kstest(stats.beta.cdf(share, size / 2, dimensions / 2), "uniform").pvalue > 1e-3


def test_the_log_kernel_is_the_student_t_law_s() -> None:
    offset = torch.randn(50, 4, generator=generator(), dtype=torch.float64)
    sigma = torch.full((50,), 0.7, dtype=torch.float64)
    found = Poisson(3.0).log_kernel(offset.norm(dim=1), sigma, 4)
    law = stats.multivariate_t(np.zeros(4), 0.49 * np.eye(4), df=3)  # pyright: ignore[reportArgumentType]
    expected = torch.from_numpy(law.logpdf(offset.numpy()))
    torch.testing.assert_close(found - found[0], expected - expected[0])


def linear(matrix: Tensor) -> LinearDiffrep:
    return LinearDiffrep(matrix, image_shape=(1, 1, len(matrix)))


PICTURES = torch.randn(6, 3, generator=generator(1), dtype=torch.float64)
TALL = torch.linalg.qr(torch.randn(12, 3, generator=generator(2), dtype=torch.float64))[0]


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize(
    "schedule",
    [
        ddim_schedule(torch.linspace(20, 0.02, 300, dtype=torch.float64), 12),
        restart_schedule(torch.linspace(20, 0.02, 300, dtype=torch.float64), 12, intervals=((4, 2, 0.5, 2.0),)),
    ],
    ids=["plain", "restart"],
)
@pytest.mark.parametrize("eta", [0.0, 0.75])
def test_pulled_back_is_as_in_the_space_of_pictures(dimensions: float, schedule: Schedule, eta: float) -> None:
    """Where a representation can show every picture of the prior, it follows the run of the pictures themselves."""
    prior = EmpiricalPrior((PICTURES @ TALL.T).reshape(6, 1, 1, 12), process=Poisson(dimensions))
    inside, outside = (
        sample(rep, prior, schedule=schedule, eta=eta, seed=3).diffrep.render(torch.tensor([0]))
        for rep in (linear(TALL), linear(torch.eye(12, dtype=torch.float64)))
    )
    torch.testing.assert_close(inside, outside, atol=1e-9, rtol=0)


@pytest.mark.parametrize("eta", [0.0, 0.75])
def test_many_dimensions_are_diffusion(eta: float) -> None:
    schedule = ddim_schedule(torch.linspace(20, 0.02, 300, dtype=torch.float64), 12)
    spread = torch.randn(6, 1, 1, 12, generator=generator(4), dtype=torch.float64)

    def drawn(process: Diffusion) -> Tensor:
        prior = EmpiricalPrior(spread, process=process)
        return sample(linear(torch.eye(12, dtype=torch.float64)), prior, schedule=schedule, eta=eta).diffrep.theta

    assert torch.equal(drawn(Poisson(math.inf)), drawn(Diffusion()))
    if eta == 0:  # a jump draws its strength from the generator, and so other noise
        torch.testing.assert_close(drawn(Poisson(1e16)), drawn(Diffusion()), atol=1e-6, rtol=0)


def ring(count: int) -> Tensor:
    """[count, 1, 1, 2] points of eight Gaussians on a circle."""
    source = generator(6)
    angle = torch.randint(8, (count,), generator=source) * (math.pi / 4)
    centres = torch.stack([angle.cos(), angle.sin()], 1)
    return (centres + 0.05 * torch.randn(count, 2, generator=source)).double().reshape(count, 1, 1, 2)


@pytest.mark.parametrize("dimensions", [1.0, 8.0, 2048.0])
def test_exact_fields_draw_every_mode(dimensions: float) -> None:
    """Eight Gaussians, 160 draws in one run: each gets its eighth (.125, standard error .026), and lies on it."""
    prior = EmpiricalPrior(ring(500), process=Poisson(dimensions))
    levels = torch.from_numpy(np.geomspace(80, 0.002, 400))
    schedule = ddim_schedule(levels, 18, heun=True)
    rep = linear(torch.eye(2, dtype=torch.float64))
    results = sample(rep, prior, schedule=schedule, eta=0.0, samples=160, together=True).samples
    drawn = torch.stack([result.diffrep.theta[:, 0] for result in results])
    mode = (torch.atan2(drawn[:, 1], drawn[:, 0]) / (math.pi / 4)).round().long() % 8
    shares = mode.bincount(minlength=8) / len(drawn)
    assert float(shares.min()) > 0.04 and float(shares.max()) < 0.23, shares
    assert float((drawn.norm(dim=1) - 1).abs().quantile(0.98)) < 0.2  # of D = 1 a start may lie as far out as it likes


def test_without_a_further_dimension_a_disk_collapses() -> None:
    """Thesis, Fig. 7.2: the field of a disk in its own plane leads to the middle, with D = 1 to all of the disk."""
    source = generator(8)
    radius, angle = torch.rand(600, generator=source).sqrt(), 2 * math.pi * torch.rand(600, generator=source)
    disk = torch.stack([radius * angle.cos(), radius * angle.sin()], 1).double()
    flat = torch.stack([3 * angle[:60].cos(), 3 * angle[:60].sin()], 1).double()
    for _ in range(300):  # x' = −E, E = Σ (x − y) / |x − y|²: no z
        offset = flat[:, None] - disk[None]
        field = (offset / (offset.square().sum(2, keepdim=True) + 1e-6)).mean(1)
        flat = flat - 0.02 * field / field.norm(dim=1, keepdim=True).clamp_min(0.2)
    prior = EmpiricalPrior(disk.reshape(-1, 1, 1, 2), process=Poisson(1.0))
    schedule = Schedule((Segment((*np.geomspace(80, 0.02, 20).tolist(), 0.0)),))
    rep = linear(torch.eye(2, dtype=torch.float64))
    results = sample(rep, prior, schedule=schedule, eta=0.0, samples=100, together=True).samples
    drawn = torch.stack([result.diffrep.theta[:, 0] for result in results])
    assert float(flat.norm(dim=1).mean()) < 0.15
    assert float(drawn.norm(dim=1).mean()) == pytest.approx(2 / 3, abs=0.1)


def test_a_trajectory_has_one_strength_for_all_views_and_each_sample_its_own() -> None:
    prior = EmpiricalPrior(torch.zeros(3, 1, 1, 1, 64, dtype=torch.float64), process=Poisson(2.0))
    seen: list[Tensor] = []

    def strengths(step: StepReport) -> Tensor:
        assert step.look is not None
        return step.look.noise.flatten(2).square().mean(2).sqrt()

    eye = torch.eye(64, dtype=torch.float64).repeat(3, 1)
    rep = LinearDiffrep(eye, image_shape=(1, 1, 64))
    sample(
        rep, prior, schedule=Schedule((Segment((5.0, 1.0)),)), eta=0.0, samples=4, together=True,
        callback=lambda step: seen.append(strengths(step)),
    )  # fmt: skip
    found = seen[0]  # [4 samples, 3 views]
    assert float((found.std(1) / found.mean(1)).max()) < 0.25  # white noise of 64 numbers: about .09
    assert float(found.mean(1).max() / found.mean(1).min()) > 1.3


@pytest.mark.parametrize("dimensions", [0.0, -1.0, math.nan])
def test_dimensions_that_are_none_are_refused(dimensions: float) -> None:
    with pytest.raises(ValueError, match="further dimensions"):
        Poisson(dimensions)
