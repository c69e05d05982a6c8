"""The exact pull-back: all ways equal torch.linalg.lstsq, and leave alone what no view sees."""

from __future__ import annotations

import pytest
import torch

from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.solvers import linear
from ddrep_core.solvers.linear import LinearSolver


def sparse_problem(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    """A matrix like a texture's: four weights a row that sum to one."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.zeros(rows, columns, dtype=torch.float64)
    where = torch.stack([torch.randperm(columns, generator=generator)[:4] for _ in range(rows)])
    share = torch.rand(rows, 4, generator=generator, dtype=torch.float64) + 0.1
    return matrix.scatter(1, where, share / share.sum(1, keepdim=True))


def fitted(matrix: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    rep = LinearDiffrep(matrix, image_shape=(1, 1, 1))
    rep.theta.copy_(start)
    count = len(targets)
    LinearSolver().fit(rep, targets.reshape(count, 1, 1, 1), torch.arange(count), weights.reshape(count, 1, 1, 1))
    return rep.theta


def force(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make small problems go the way of large ones."""
    if way != "dense":
        monkeypatch.setattr(linear, "DENSE_PARAMETERS", 0)
    if way != "dual":
        monkeypatch.setattr(linear, "DUAL_ROWS", 0)
    if way == "conjugate gradient":
        monkeypatch.setattr(linear, "FACTORED_PARAMETERS", 0)


@pytest.mark.parametrize(
    ("way", "sparse", "rows", "columns"),
    [
        ("dense", False, 200, 40),
        ("dense", True, 200, 40),
        ("dense", False, 30, 80),  # more parameters than rows: the smallest change
        ("dual", False, 30, 200),
        ("dual", True, 30, 200),
        ("factored", True, 200, 40),
        ("factored", True, 30, 80),
        ("conjugate gradient", False, 200, 40),
        ("conjugate gradient", True, 200, 40),
    ],
)
def test_every_way_is_lstsq(way: str, sparse: bool, rows: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = sparse_problem(rows, columns)
    generator = torch.Generator().manual_seed(1)
    targets = torch.randn(rows, 1, dtype=torch.float64, generator=generator)
    weights = torch.rand(rows, 1, dtype=torch.float64, generator=generator) + 0.2
    start = torch.randn(columns, 1, dtype=torch.float64, generator=generator)
    force(way, monkeypatch)
    root = weights.sqrt()
    expected = start + torch.linalg.lstsq(root * matrix, root * (targets - matrix @ start), driver="gelsd").solution
    found = fitted(matrix.to_sparse_csr() if sparse else matrix, targets, weights, start)
    assert (found - expected).abs().max() < 1e-6


@pytest.mark.parametrize("way", ["dense", "dual", "factored", "conjugate gradient"])
def test_unseen_parameters_and_weightless_rows_change_nothing(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = sparse_problem(20, 90)
    matrix[:, 7] = 0
    weights = torch.ones(20, 1, dtype=torch.float64)
    weights[5] = 0
    start = torch.randn(90, 1, dtype=torch.float64)
    targets = torch.randn(20, 1, dtype=torch.float64)
    force(way, monkeypatch)
    matrix = matrix.to_sparse_csr() if way == "factored" else matrix
    found = fitted(matrix, targets, weights, start)
    assert found[7] == start[7]
    elsewhere = targets.clone()
    elsewhere[5] = 1e3
    assert torch.equal(found, fitted(matrix, elsewhere, weights, start))


def test_a_subset_of_views_is_fitted_by_its_own_rows() -> None:
    matrix = sparse_problem(60, 25)
    rep = LinearDiffrep(matrix, image_shape=(1, 2, 3))
    generator = torch.Generator().manual_seed(4)
    targets = torch.randn(3, 1, 2, 3, dtype=torch.float64, generator=generator)
    indices = torch.tensor([7, 0, 4])
    LinearSolver().fit(rep, targets, indices, torch.ones(3, 1, 2, 3, dtype=torch.float64))
    rows = torch.cat([torch.arange(6) + 6 * view for view in indices.tolist()])
    expected = torch.linalg.lstsq(matrix[rows], targets.reshape(-1, 1), driver="gelsd").solution
    assert torch.allclose(rep.theta, expected, atol=1e-9)


@pytest.mark.parametrize("way", ["dual", "factored", "conjugate gradient"])
def test_damping_prices_every_move_alike(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = sparse_problem(30, 200 if way == "dual" else 25)
    generator = torch.Generator().manual_seed(5)
    targets = torch.randn(30, 1, dtype=torch.float64, generator=generator)
    weights = torch.rand(30, 1, dtype=torch.float64, generator=generator) + 0.2
    force(way, monkeypatch)
    rep = LinearDiffrep(matrix.to_sparse_csr(), image_shape=(1, 1, 1))
    LinearSolver(damping=0.05).fit(rep, targets.reshape(30, 1, 1, 1), torch.arange(30), weights.reshape(30, 1, 1, 1))
    normal = matrix.T @ (weights * matrix)
    diagonal = normal.diagonal()
    price = 0.05 * diagonal[diagonal > 0].mean() * torch.eye(len(normal), dtype=torch.float64)
    expected = torch.linalg.solve(normal + price, matrix.T @ (weights * targets))
    torch.testing.assert_close(rep.theta, expected, atol=1e-9, rtol=1e-9)
