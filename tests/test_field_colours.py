"""A field's colours as what moves: the same pictures, linear in them, and an exact pull-back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from worded import WordedPrior, stable_diffusion_sigmas

from ddrep_core.diffreps.field_colours import FieldColours
from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep
from ddrep_core.priors import GaussianPrior
from ddrep_core.sampling import ddim_schedule, sample
from ddrep_core.solvers import linear
from ddrep_core.solvers.choose import choose_solver
from ddrep_core.views.banks import sphere_bank

SHAPE = (2, 5, 6)


def field(levels: int, subsamples: int = 1) -> VoxelNerfDiffrep:
    """A blob of random densities and colours before a random background."""
    generator = torch.Generator().manual_seed(0)
    rep = VoxelNerfDiffrep(sphere_bank(3), SHAPE, 12, levels=levels, subsamples=subsamples)
    rep.reset(generator)
    for tensor in rep.theta.values():
        tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return rep


def recoloured(rep: FieldColours, seed: int = 1) -> FieldColours:
    found = rep.copy()
    found.theta.add_(torch.randn(found.theta.shape, generator=torch.Generator().manual_seed(seed)))
    return found


@pytest.mark.parametrize(("levels", "subsamples"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("stacked", [False, True])
def test_it_shows_what_the_field_shows_whatever_its_colours(levels: int, subsamples: int, stacked: bool) -> None:
    before = field(levels, subsamples)
    before.stacked = stacked
    rep = FieldColours(before)
    torch.testing.assert_close(rep.render(), before.render(), atol=1e-5, rtol=1e-4)
    other = recoloured(rep)
    after = other.field()
    torch.testing.assert_close(other.render(), after.render(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        other.render(torch.tensor([2, 0])), after.render(torch.tensor([2, 0])), atol=1e-5, rtol=1e-4
    )
    assert torch.equal(after.field()[0], before.field()[0])  # densities
    assert torch.equal(after.theta["background"], before.theta["background"])
    assert levels == 1 or torch.equal(after.theta["grid_0"], before.theta["grid_0"])
    assert all(
        torch.equal(one, two)
        for one, two in zip(before.theta.values(), field(levels, subsamples).theta.values(), strict=True)
    )


def slow_solve(rep: FieldColours, targets: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """θ after the pull-back, by the derivatives of what the field draws, pixel by pixel, and a dense solution."""
    drawn = rep.field()
    levels = [tensor.requires_grad_() for name, tensor in drawn.theta.items() if name.startswith("grid")]
    grids = levels[1:] or levels  # the finest stays
    shown = drawn.render(indices)
    rows = []
    for pixel in shown[:, 0].flatten():  # of the first channel: all look through the same
        slopes = torch.autograd.grad(pixel, grids, retain_graph=True)
        rows.append(torch.cat([slope[1].flatten() for slope in slopes]))
    matrix, root = torch.stack(rows).double(), weights.double().flatten()[:, None]
    squares = (root * matrix.square()).sum(0)
    price = rep.damping * squares[squares > 1e-12 * squares.max()].mean() * torch.eye(len(squares)).double()
    missing = (targets - shown).detach().double().permute(0, 2, 3, 1).reshape(-1, SHAPE[0])
    return rep.theta + torch.linalg.solve(matrix.T @ (root * matrix) + price, matrix.T @ (root * missing))


@pytest.mark.parametrize("rows", [linear.CROWDED_ROWS, 1])
def test_the_pull_back_is_the_slow_and_obvious_one(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a factor, and by iterations, where it would be too large."""
    monkeypatch.setattr(linear, "CROWDED_ROWS", rows)
    rep = recoloured(FieldColours(field(levels=2)))
    generator = torch.Generator().manual_seed(2)
    indices = torch.tensor([2, 0])
    targets = torch.randn(2, *SHAPE, generator=generator)
    weights = torch.rand(2, 1, *SHAPE[1:], generator=generator)
    wanted = slow_solve(rep, targets, indices, weights)
    choose_solver(rep).fit(rep, targets, indices, weights)
    torch.testing.assert_close(rep.theta.double(), wanted.double(), atol=5e-4, rtol=1e-3)


def test_an_edit_moves_colours_by_what_the_words_change_and_nothing_else() -> None:
    """Two Gaussians that differ in brightness: the difference of two samplings moves every pixel of the field by it."""
    means = {"dark": 0.0, "light": 1.0}
    sigmas = stable_diffusion_sigmas()
    told = {name: GaussianPrior(torch.full(SHAPE, mean), 0.25, sigmas=sigmas) for name, mean in means.items()}
    before = field(levels=2)
    found = sample(
        FieldColours(before), WordedPrior(told), before.views, prompt="light", source_prompt="dark", eta=1.0,
        schedule=ddim_schedule(sigmas, 20),
    ).diffrep.field()  # fmt: skip
    with torch.no_grad():
        opacity = before.render_with_opacity()[1]
        moved = found.render() - before.render()
    inside = (opacity > 0.9).expand_as(moved)
    assert inside.any() and float(moved[inside].mean()) == pytest.approx(0.95, abs=0.05)
    assert torch.equal(found.field()[0], before.field()[0])
