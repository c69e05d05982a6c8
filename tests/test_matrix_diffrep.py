"""f(θ) = Aθ + offset in one class, and what is freed of it: the rest is exact by construction."""

from __future__ import annotations

import pytest
import torch

import ddrep_core as dd
from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.diffreps.panorama import CylinderDiffrep
from ddrep_core.diffreps.protocol import LinearRendering
from ddrep_core.diffreps.siren import image_siren
from ddrep_core.errors import RequestError
from ddrep_core.priors import GaussianPrior
from ddrep_core.solvers.choose import choose_solver
from ddrep_core.solvers.linear import LinearSolver
from ddrep_core.sparse import torch_csr, transpose

VIEWS, CHANNELS, SIDE, PARAMETERS = 3, 2, 4, 20


def matrix(rows: int, dense: bool, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, PARAMETERS, generator=generator, dtype=torch.float64)
    values *= torch.rand(rows, PARAMETERS, generator=generator, dtype=torch.float64) < 0.3
    return values if dense else values.to_sparse_csr()


def whole(dense: bool, columns: int) -> MatrixDiffrep:
    rows = VIEWS * SIDE * SIDE * CHANNELS // columns
    offset = torch.randn(VIEWS, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    rep = MatrixDiffrep(matrix(rows, dense), (CHANNELS, SIDE, SIDE), columns=columns, offset=offset)
    rep.theta.normal_(generator=torch.Generator().manual_seed(4))
    return rep


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("columns", [1, CHANNELS])
def test_what_is_not_freed_goes_into_the_offset(dense: bool, columns: int) -> None:
    rep = whole(dense, columns)
    assert isinstance(rep, LinearRendering) and (rep.view_count, rep.image_shape) == (VIEWS, (CHANNELS, SIDE, SIDE))
    free = torch.arange(PARAMETERS) % 3 == 0
    part = rep.freed(free)
    assert part.theta.shape == (int(free.sum()), columns) and torch.equal(part.theta, rep.theta[free])
    torch.testing.assert_close(part.render(), rep.render(), atol=1e-13, rtol=0)
    part.theta.add_(1.0)
    moved = rep.restored(part, free)
    torch.testing.assert_close(part.render(), moved.render(), atol=1e-13, rtol=0)
    assert torch.equal(moved.theta[~free], rep.theta[~free]) and torch.equal(moved.theta[free], part.theta)
    assert not torch.equal(rep.theta, moved.theta)  # the whole is left alone
    # Freeing twice is freeing once; numbers say the same as a mask.
    twice = part.freed(torch.tensor([0, 2]))
    torch.testing.assert_close(twice.render(), part.render(), atol=1e-13, rtol=0)
    assert torch.equal(rep.freed(free.nonzero().flatten()).matrix().to_dense(), part.matrix().to_dense())


def test_outside_a_mask_a_sample_differs_by_nothing_at_all() -> None:
    """Pixels that look at kept parameters alone keep every bit, whatever is sampled of the others."""
    half = torch.arange(PARAMETERS) < 10
    rows = torch.eye(PARAMETERS, dtype=torch.float64).repeat(2, 1)
    rep = LinearDiffrep(rows, image_shape=(1, 1, PARAMETERS))
    rep.theta.normal_(generator=torch.Generator().manual_seed(0))
    prior = GaussianPrior(torch.zeros(1, 1, PARAMETERS, dtype=torch.float64), 1.0)
    part = rep.freed(half)
    result = dd.sample(part, prior, schedule=dd.ddim_schedule(prior.sigmas, 12), seed=3)
    drawn = rep.restored(result.diffrep, half)
    assert torch.equal(drawn.render()[..., 10:], rep.render()[..., 10:])
    assert torch.equal(result.diffrep.render()[..., 10:], rep.render()[..., 10:])
    assert (drawn.render()[..., :10] - rep.render()[..., :10]).abs().min() > 1e-4


def test_the_same_gradient_through_a_matrix_dense_or_sparse() -> None:
    weights = torch.randn(VIEWS, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    gradients = []
    for dense in (True, False):
        rep = whole(dense, CHANNELS)
        rep.theta.requires_grad_(True)
        (rep.render() * weights).sum().backward()
        gradients.append(rep.theta.grad)
        assert not rep.copy().theta.requires_grad
    torch.testing.assert_close(*gradients)


def test_impossible_ones_are_refused() -> None:
    rep = whole(False, CHANNELS)
    for wrong in (torch.zeros(PARAMETERS, dtype=torch.bool), torch.tensor([0, 0]), torch.tensor([PARAMETERS])):
        with pytest.raises(RequestError):
            rep.freed(wrong)
    with pytest.raises(RequestError, match="mask of 3"):
        rep.freed(torch.tensor([True, False, True]))
    with pytest.raises(RequestError):
        MatrixDiffrep(matrix(7, True), (CHANNELS, SIDE, SIDE), columns=CHANNELS)
    with pytest.raises(RequestError, match="offset"):
        MatrixDiffrep(matrix(32, True), (2, 4, 4), columns=1, offset=torch.zeros(3, 2, 4, 4))


def test_one_class_carries_textures_canvases_and_the_yardstick() -> None:
    assert issubclass(dd.TextureDiffrep, MatrixDiffrep) and issubclass(CylinderDiffrep, MatrixDiffrep)
    assert issubclass(LinearDiffrep, MatrixDiffrep)
    rep = CylinderDiffrep((2, 4, 4))
    rep.theta.normal_()
    torch.testing.assert_close(rep.freed(torch.arange(5)).render(), rep.render())


def test_the_representation_says_how_exactly_it_is_solved_for() -> None:
    """One solver for one texture, whoever samples it: `ddrep texture` asks for none of its own."""
    canvas = choose_solver(CylinderDiffrep((2, 4, 4)))
    assert isinstance(canvas, LinearSolver) and canvas.tolerance == 1e-3
    exact = choose_solver(LinearDiffrep(torch.eye(4), image_shape=(1, 2, 2)))
    assert isinstance(exact, LinearSolver) and (exact.damping, exact.tolerance) == (1e-9, None)
    assert dd.TextureDiffrep.damping == 1e-3


def test_a_linear_solver_by_hand_refuses_what_is_not_linear() -> None:
    siren = image_siren((3, 8, 8))
    prior = GaussianPrior(torch.zeros(3, 8, 8), 1.0)
    with pytest.raises(RequestError, match="SirenDiffrep is not linear"):
        dd.sample(siren, prior, solver=LinearSolver(), schedule=dd.ddim_schedule(prior.sigmas, 2))


def test_sparse_helpers_agree_with_dense_ones() -> None:
    from ddrep_core.sparse import absolute, columns_of, row_numbers, rows_of_views, scipy_csr

    dense = matrix(12, True)
    csr = torch_csr(scipy_csr(dense), torch.float64, "cpu")
    assert torch.equal(csr.to_dense(), dense)
    assert torch.equal(transpose(csr).to_dense(), dense.T) and torch.equal(absolute(csr).to_dense(), dense.abs())
    chosen = torch.tensor([5, 0, 7])
    assert torch.equal(columns_of(csr, chosen).to_dense(), columns_of(dense, chosen))
    assert torch.equal(row_numbers(csr), dense.nonzero()[:, 0])
    views = torch.tensor([2, 0])
    assert torch.equal(rows_of_views(csr, views, 8).to_dense(), rows_of_views(dense, views, 8))
