"""SIRENs: the network, its Jacobian by hand against autograd, and its file."""

from __future__ import annotations

import math

import pytest
import torch

from ddrep_core.diffreps.linearized import LinearizedRendering
from ddrep_core.diffreps.protocol import Diffrep, LinearRendering
from ddrep_core.diffreps.siren import SirenDiffrep, grid_coordinates, image_siren
from ddrep_core.errors import RequestError


def small_siren() -> SirenDiffrep:
    """Two overlapping views of 3 x 4 pixels, three channels, away from its antisymmetric start."""
    grid = grid_coordinates(3, 4)
    rep = SirenDiffrep(torch.stack([grid, grid + 0.1]), 3, features=10, width=8, seed=1)
    generator = torch.Generator().manual_seed(2)
    for tensor in rep.theta.values():
        tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return rep


def jacobian(rep: SirenDiffrep, indices: torch.Tensor) -> torch.Tensor:
    """[R, P] by autograd, one row a number of the render."""
    leaves = [tensor.requires_grad_(True) for tensor in rep.theta.values()]
    values = rep.render(indices).flatten()
    rows = [
        torch.cat([piece.flatten() for piece in torch.autograd.grad(value, leaves, retain_graph=True)])
        for value in values
    ]
    for leaf in leaves:
        leaf.requires_grad_(False)
    return torch.stack(rows)


def test_is_a_diffrep_that_can_be_linearised_and_is_not_linear() -> None:
    rep = image_siren((4, 8, 8))
    assert isinstance(rep, Diffrep)
    assert isinstance(rep, LinearizedRendering)
    assert not isinstance(rep, LinearRendering)
    assert (rep.image_shape, rep.view_count) == ((4, 8, 8), 1)


def test_has_the_shape_of_the_paper() -> None:
    rep = image_siren((4, 64, 64))
    assert rep.frequencies.shape == (2, 128)
    assert {name: tuple(tensor.shape) for name, tensor in rep.theta.items()} == {
        "hidden_1": (129, 256),
        "hidden_2": (257, 256),
        "output": (257, 4),
    }


@pytest.mark.parametrize("spread", [0.3, 9.0])
def test_starts_at_zero_with_a_full_metric(spread: float) -> None:
    rep = image_siren((2, 6, 6), output_spread=spread)
    rep.reset(torch.Generator().manual_seed(3))
    assert rep.render().abs().max() < 1e-6 * spread  # what float32 leaves of weights that cancel
    gram = rep.linearize().gram()
    assert torch.linalg.matrix_rank(gram.double()) == gram.shape[0]


def test_reset_follows_its_generator() -> None:
    rep = image_siren((2, 6, 6))
    rep.reset(torch.Generator().manual_seed(3))
    first = {name: tensor.clone() for name, tensor in rep.theta.items()}
    rep.reset(torch.Generator().manual_seed(4))
    assert not torch.equal(first["hidden_1"], rep.theta["hidden_1"])
    rep.reset(torch.Generator().manual_seed(3))
    assert all(torch.equal(first[name], rep.theta[name]) for name in first)


def test_push_pull_and_gram_are_the_jacobian_by_autograd() -> None:
    rep, indices = small_siren(), torch.tensor([1, 0])
    expected = jacobian(rep, indices)
    linear = rep.linearize(indices)
    generator = torch.Generator().manual_seed(0)
    change = tuple(torch.randn(tensor.shape, generator=generator) for tensor in rep.theta.values())
    images = torch.randn(2, 3, 3, 4, generator=generator)
    flat = torch.cat([piece.flatten() for piece in change])
    torch.testing.assert_close(linear.render, rep.render(indices))
    torch.testing.assert_close(linear.push(change).flatten(), expected @ flat, rtol=1e-4, atol=1e-4)
    pulled = torch.cat([piece.flatten() for piece in linear.pull(images)])
    torch.testing.assert_close(pulled, expected.T @ images.flatten(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(linear.gram(), expected @ expected.T, rtol=1e-4, atol=1e-3)


def test_preconditioner_is_symmetric_and_positive() -> None:
    rep = small_siren()
    linear = rep.linearize()
    generator = torch.Generator().manual_seed(5)
    one, two = (
        tuple(torch.randn(tensor.shape, generator=generator) for tensor in rep.theta.values()) for _ in range(2)
    )

    def product(a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...]) -> float:
        return float(sum((x * y).sum() for x, y in zip(a, b, strict=True)))

    forwards, backwards = product(one, linear.precondition(two, 0.1)), product(two, linear.precondition(one, 0.1))
    assert math.isclose(forwards, backwards, rel_tol=1e-3)
    assert product(one, linear.precondition(one, 0.1)) > 0


def test_render_at_agrees_with_render_and_with_any_resolution() -> None:
    rep = small_siren()
    torch.testing.assert_close(rep.render_at(rep.coordinates[0], chunk=5).movedim(-1, 0), rep.render()[0])
    grid = image_siren((4, 8, 8))
    odd = grid.render_at(grid_coordinates(24, 24))[1::3, 1::3]  # the centres of 3 x 3 blocks are the coarse centres
    torch.testing.assert_close(odd.movedim(-1, 0), grid.render()[0], rtol=1e-4, atol=1e-5)


def test_grid_keeps_its_shorter_side_at_one() -> None:
    wide = grid_coordinates(2, 4)
    torch.testing.assert_close(wide[0, :, 0], torch.tensor([0.25, 0.75, 1.25, 1.75]))
    torch.testing.assert_close(wide[:, 0, 1], torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(grid_coordinates(4, 8).mean((0, 1)), wide.mean((0, 1)))


def test_copy_has_its_own_theta() -> None:
    rep = small_siren()
    twin = rep.copy()
    twin.theta["output"].add_(1)
    assert not torch.equal(rep.render(), twin.render())


def test_a_saved_siren_renders_the_same(tmp_path) -> None:
    rep = small_siren()
    path = tmp_path / "image.safetensors"
    rep.save(path, {"prompt": "a pear"})
    loaded, notes = SirenDiffrep.load(path, rep.coordinates)
    assert notes == {"prompt": "a pear"}
    assert torch.equal(loaded.render(), rep.render())


def test_a_file_that_is_no_siren_is_refused(tmp_path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no tensors here")
    with pytest.raises(RequestError, match="cannot be read"):
        SirenDiffrep.load(broken, grid_coordinates(2, 2)[None])
    path = tmp_path / "flat.safetensors"
    small_siren().save(path)
    with pytest.raises(RequestError, match="2 dimensions, not 3"):
        SirenDiffrep.load(path, torch.zeros(1, 2, 2, 3))


def test_a_remembered_picture_is_forgotten_when_theta_moves() -> None:
    rep = small_siren()
    before = rep.render()
    rep.render().add_(1)  # what a caller does with its picture is the caller's
    assert torch.equal(rep.render(), before)
    rep.theta["output"].add_(0.5)
    assert not torch.equal(rep.render(), before)
    assert torch.equal(rep.render(torch.tensor([1]))[0], rep.render()[1])
