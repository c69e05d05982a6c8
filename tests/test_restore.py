"""Inverse problems: what is known stays, the fixed point of Alg. 2 in closed form, answers that differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps.latent_pictures import LatentPictures
from ddrep_core.diffreps.linear import LinearDiffrep
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.diffreps.siren import image_siren
from ddrep_core.diffreps.texture import TextureDiffrep
from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep
from ddrep_core.distillation.guided import Guided
from ddrep_core.distillation.restore import RESTORATION, Measurement, blurred, masked, restore, smaller
from ddrep_core.errors import RequestError
from ddrep_core.priors import GaussianPrior
from ddrep_core.sampling import ParticleGuidance
from ddrep_core.sampling.look import Ask, Clock
from ddrep_core.views.banks import sphere_bank

LEVELS = torch.tensor([2.0, 1.0, 0.5, 0.25], dtype=torch.float64)
COVARIANCE = 0.02 * torch.tensor(
    [[1.0, 0.6, 0.3, 0.0], [0.6, 1.0, 0.2, 0.1], [0.3, 0.2, 1.0, 0.5], [0.0, 0.1, 0.5, 1.0]], dtype=torch.float64
)
MEAN = torch.tensor([0.5, 0.45, 0.55, 0.5], dtype=torch.float64)
PRIOR = GaussianPrior(MEAN, COVARIANCE, image_shape=(1, 1, 4), sigmas=LEVELS)
SEEN = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64).reshape(1, 1, 4)


@pytest.mark.parametrize("operator", [masked(SEEN), smaller(1, 2), blurred(0.7)])
def test_the_nearest_picture_that_agrees_solves_the_normal_equations(operator) -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(3, 3, 4, 4, generator=generator, dtype=torch.float64)
    known = operator(torch.rand(1, 3, 4, 4, generator=generator, dtype=torch.float64))
    found = Measurement(operator, known).nearest(pictures, torch.zeros(3, dtype=torch.long), 0.2)
    columns = torch.eye(48, dtype=torch.float64).reshape(48, 3, 4, 4)
    matrix = operator(columns).flatten(1).T
    coupling = 0.2 * known.numel() / 48  # of means, not of sums
    right = matrix.T @ known.flatten() + coupling * pictures.flatten(1)
    expected = torch.linalg.solve(matrix.T @ matrix + coupling * torch.eye(48, dtype=torch.float64), right.T).T
    torch.testing.assert_close(found.flatten(1), expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("side", [8, 4, 2])
def test_however_small_a_picture_is_answers_agree_with_it_alike(side: int) -> None:
    generator = torch.Generator().manual_seed(1)
    known, pictures = (torch.rand(1, 3, size, size, generator=generator) for size in (side, 8))
    operator = smaller(side, side)
    found = Measurement(operator, known).nearest(pictures, torch.tensor([0]), 0.075)
    left, before = ((operator(each) - known).square().mean().sqrt() for each in (found, pictures))
    assert float(left / before) == pytest.approx(0.075 / 1.075, rel=1e-3)


def plain(leaves: list[Tensor], lr: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    return torch.optim.SGD(leaves, lr=lr)


def test_the_augmented_fixed_point_is_where_its_closed_form_says() -> None:
    strength, coupling, steps = 0.02, 0.5, 700
    known = torch.tensor([0.7, 0.3, 0.0, 0.0], dtype=torch.float64).reshape(1, 1, 1, 4)
    operator = masked(SEEN.double())
    method = replace(RESTORATION, steps=steps, learning_rate=2.0, skipped=(0.0, 0.0), falling=False, optimizer=plain)
    seen: list[Tensor] = []
    restore(
        PRIOR, Measurement(operator, known), (1, 1, 4), method=method, samples=16, gamma=0.0, strength=strength,
        coupling=coupling, guidance_scale=1.0,
        callback=lambda step: seen.append(torch.stack([rep.render().detach() for rep in step.diffreps]).mean(0)),
    )  # fmt: skip
    found = torch.stack(seen[steps // 3 :]).mean(0).flatten()
    # z − x(z) + (λ/ρ) E w(σ) σ (S + σ²)⁻¹ (z − m) = 0, and x(z) = (HᵀH + ρ)⁻¹ (Hᵀy + ρ z).
    eye = torch.eye(4, dtype=torch.float64)
    pull = torch.stack([sigma**2 * torch.linalg.inv(COVARIANCE + sigma**2 * eye) for sigma in LEVELS]).mean(0)
    inverse = torch.linalg.inv(torch.diag(SEEN.flatten()) + coupling * eye)
    matrix = eye - coupling * inverse + strength / coupling * pull
    expected = torch.linalg.solve(matrix, inverse @ known.flatten() + strength / coupling * pull @ MEAN)
    assert (found - expected).norm() < 0.01 * expected.norm()
    assert (expected - MEAN).norm() > 0.1  # it is the measurement that moved it


def test_repelled_answers_differ_where_nothing_is_known_and_agree_where_it_is() -> None:
    known = torch.tensor([0.7, 0.3, 0.0, 0.0], dtype=torch.float64).reshape(1, 1, 1, 4)
    measurement = Measurement(masked(SEEN.double()), known)
    rep = LinearDiffrep(torch.eye(4, dtype=torch.float64), torch.full((4,), 0.5), image_shape=(1, 1, 4))
    method = RESTORATION.with_settings(steps=100, learning_rate=0.02)
    spread = []
    for gamma in (0.0, 0.3):
        answers = restore(
            PRIOR, measurement, (1, 1, 4), rep=rep, method=method, samples=3, gamma=gamma, strength=0.05, coupling=0.1
        )
        spread.append(answers.pictures.flatten(1).std(0))
        assert answers.pictures.shape == (3, 1, 1, 1, 4) and len(answers.result.samples) == 3
        assert (answers.pictures.flatten(1)[:, :2] - known.flatten()[:2]).abs().max() < 0.05
    assert spread[1][2:].min() > 1.5 * spread[0][2:].max() and spread[1][2:].min() > 4 * spread[1][:2].max()


def siren() -> Diffrep:
    return image_siren((3, 8, 8), output_spread=0.3)


def texture() -> Diffrep:
    mesh = dd.load_mesh(dd.demo_mesh_path())
    return TextureDiffrep(mesh, dd.orbit_views(count=2, target=mesh, width=8, height=8), 32, 3, view_size=(8, 8))


def field() -> Diffrep:
    return VoxelNerfDiffrep(sphere_bank(2), (3, 8, 8), 8, levels=1)


@pytest.mark.parametrize(("make", "rate"), [(siren, 1e-3), (texture, 0.05), (field, 0.1)])
def test_whatever_is_seen_is_restored_to_answers_that_differ(make: Callable[[], Diffrep], rate: float) -> None:
    """SIRENs, textures and fields: the left half of every view is known."""
    rep = make()
    prior = GaussianPrior(torch.full((3, 8, 8), 0.5), 0.02)
    seen = torch.zeros(1, 8, 8)
    seen[..., :4] = 1
    weights = torch.ones(rep.view_count, 1, 8, 8) if rep.pixel_weights() is None else rep.pixel_weights()
    assert weights is not None
    known = masked(seen)(torch.full((rep.view_count, 3, 8, 8), 0.6))
    method = RESTORATION.with_settings(steps=30, learning_rate=rate)
    spread = []
    for gamma in (0.0, 30.0):
        answers = restore(
            prior, Measurement(masked(seen), known), (3, 8, 8), rep=rep, method=method, samples=2, gamma=gamma,
            guidance_scale=1.0, seed=1,
        )  # fmt: skip
        assert (answers.pictures - known)[..., :4].abs().max() < 0.1
        apart = (answers.latents[0] - answers.latents[1]).square() * (weights > 0)
        spread.append(float(apart[..., 4:].mean().sqrt()))
    assert spread[1] > 1.3 * spread[0]


def test_what_is_known_must_be_of_the_same_views() -> None:
    measurement = Measurement(masked(SEEN), torch.zeros(2, 1, 1, 4))
    with pytest.raises(RequestError, match="same views"):
        restore(PRIOR, measurement, (1, 1, 4), rep=LatentPictures(1, (1, 1, 4)))


def test_a_guide_pushes_answers_apart_in_the_hole_alone() -> None:
    """Latents 2 x 2 of pictures 4 x 4, whose right half is not known: x̂0 of the left is left as it is."""
    hole = torch.zeros(1, 1, 4, 4)
    hole[..., 2:] = 1
    free = Measurement(masked(1 - hole[0]), torch.zeros(1, 3, 4, 4), hole).free((2, 2), 1)
    assert free is not None and free.flatten().tolist() == [0, 1, 0, 1]
    prior = GaussianPrior(torch.zeros(1, 2, 2), 1.0)
    ask = Ask(prior, prior.condition(), torch.ones(1, 1, 2, 2), 1, Clock())
    render = torch.arange(8.0).reshape(2, 1, 1, 2, 2).requires_grad_(True)
    slopes = []
    for guide in (ParticleGuidance(0.0), ParticleGuidance(1.0)):
        look = ask(render, torch.zeros(2, 1, 1, 2, 2), 1.0, torch.tensor([0]))
        loss = Guided(RESTORATION.objective(), guide, free).loss(look, ask)
        slopes.append(torch.autograd.grad(loss, render)[0])
    change = (slopes[1] - slopes[0])[..., 0].abs().max(), (slopes[1] - slopes[0])[..., 1].abs().min()
    assert change[0] == 0 and change[1] > 0.01
