"""Views that meet in RGB, under an autoencoder that loses nothing and under one that does."""

from __future__ import annotations

from pathlib import Path

import geometry_shapes as shapes
import pytest
import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from ddrep_core.diffreps.image_texture import ImageTextureDiffrep
from ddrep_core.diffreps.protocol import LinearRendering, MatrixRendering
from ddrep_core.errors import RequestError
from ddrep_core.geometry import load_mesh
from ddrep_core.priors import EmpiricalPrior
from ddrep_core.sampling import Grown, SamplerState, ddim_schedule, noise_levels, sample
from ddrep_core.sampling.disagreement import unrelated_share
from ddrep_core.solvers.choose import choose_solver
from ddrep_core.solvers.linear import LinearSolver
from ddrep_core.solvers.meeting import PictureSolver

pytestmark = pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
POSITIONS = [(0.5, -4, 1), (2.5, -3, 1), (-3, 2.5, 2)]
ALL = torch.arange(3)


class Rearranging:
    """An autoencoder that loses nothing: four pixels of three colours are one latent of twelve."""

    image_shape = (12, 12, 12)
    image_size = 24

    def encode(self, images: Tensor) -> Tensor:
        return pixel_unshuffle(images, 2)

    def decode(self, latents: Tensor) -> Tensor:
        return pixel_shuffle(latents, 2)


class Losing(Rearranging):
    """One that darkens whatever goes through it: decode(encode(x)) is not x."""

    def encode(self, images: Tensor) -> Tensor:
        return 0.8 * pixel_unshuffle(images, 2) + 0.05


def image_texture(folder: Path, autoencoder: Rearranging) -> ImageTextureDiffrep:
    mesh = load_mesh(shapes.cube_obj(folder / "cube.obj"))
    rep = ImageTextureDiffrep(mesh, shapes.cameras(POSITIONS), autoencoder, 64, dtype=torch.float64)
    rep.reset(torch.Generator())
    return rep


def random_targets(seed: int = 0) -> Tensor:
    """Latents whose pictures stay within [0, 1]."""
    return 0.2 + 0.6 * torch.rand(3, 12, 12, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ones() -> Tensor:
    return torch.ones(3, 1, 12, 12, dtype=torch.float64)


def test_is_linear_between_meetings_and_starts_at_zero(tmp_path: Path) -> None:
    rep = image_texture(tmp_path, Rearranging())
    assert isinstance(rep, MatrixRendering) and not isinstance(rep, LinearRendering)  # its views meet, too
    assert rep.image_shape == (12, 12, 12) and rep.view_count == 3
    assert not rep.render().any()
    assert isinstance(choose_solver(rep), PictureSolver)
    plain = rep.latent.copy()
    PictureSolver(interval=3, damping=1e-9).fit(rep, random_targets(), ALL, ones(), sigma=1.0)
    LinearSolver().fit(plain, random_targets(), ALL, ones())
    torch.testing.assert_close(rep.render(), plain.render())


def test_meeting_without_loss_is_the_fit_in_rgb(tmp_path: Path) -> None:
    rep, targets = image_texture(tmp_path, Rearranging()), random_targets()
    PictureSolver(interval=1, damping=1e-9).fit(rep, targets, ALL, ones())
    rgb = rep.picture.copy()
    rgb.theta.fill_(0.5)
    weights = rgb.pixel_weights()
    assert weights is not None
    LinearSolver().fit(rgb, pixel_shuffle(targets, 2), ALL, weights)
    torch.testing.assert_close(pixel_shuffle(rep.render(), 2), rgb.render().clamp(0, 1), atol=1e-6, rtol=0)
    assert (rep.render() - targets).abs().max() > 0.05  # random pictures cannot agree


def test_views_that_agree_are_left_as_the_prior_wants_them(tmp_path: Path) -> None:
    rep = image_texture(tmp_path, Losing())
    shown = rep.picture.copy()
    shown.theta.copy_(0.3 + 0.4 * torch.rand(shown.theta.shape, dtype=torch.float64))
    targets = pixel_unshuffle(shown.render(), 2)
    solver = PictureSolver(interval=1, damping=1e-9)
    for _ in range(3):  # the autoencoder's loss does not add up
        solver.fit(rep, targets, ALL, ones())
    torch.testing.assert_close(rep.render(), targets, atol=1e-5, rtol=0)


def test_meets_at_every_few_fits_and_a_twin_counts_on_its_own(tmp_path: Path) -> None:
    rep, solver = image_texture(tmp_path, Rearranging()), PictureSolver(interval=3)
    solver.twin().fit(rep.copy(), random_targets(), ALL, ones())
    assert set(rep.parameters()) == {"theta", "offset", "picture"}  # no solver's counter among them
    for number in range(1, 7):
        before = rep.offset.clone()
        solver.fit(rep, random_targets(number), ALL, ones(), sigma=1.0)
        assert torch.equal(before, rep.offset) == (number % 3 != 0)
    before = rep.offset.clone()
    solver.fit(rep, random_targets(7), ALL, ones(), sigma=0.0)  # what the run gives back
    assert not torch.equal(before, rep.offset)


def test_a_few_views_meet_and_the_others_keep_what_they_show_but_for_the_latents(tmp_path: Path) -> None:
    rep = image_texture(tmp_path, Rearranging())
    some = torch.tensor([0, 2])
    PictureSolver(interval=1).fit(rep, random_targets()[some], some, ones()[some])
    assert not rep.offset[1].any() and rep.offset[some].any()


def test_goes_on_from_its_parameters_and_its_solvers_state(tmp_path: Path) -> None:
    rep, solver = image_texture(tmp_path, Losing()), PictureSolver(interval=2)
    twin = image_texture(tmp_path, Losing())
    for number in range(3):
        solver.fit(rep, random_targets(number), ALL, ones(), sigma=1.0)
    for name, tensor in twin.parameters().items():
        tensor.copy_(rep.parameters()[name])
    fresh = PictureSolver(interval=2)
    fresh.load_state(solver.state())
    for number in range(3, 6):
        solver.fit(rep, random_targets(number), ALL, ones(), sigma=1.0)
    for number in range(3, 6):
        fresh.fit(twin, random_targets(number), ALL, ones(), sigma=1.0)
    assert torch.equal(rep.render(), twin.render())


def test_held_views_are_neither_decoded_again_nor_moved(tmp_path: Path) -> None:
    rep, solver, targets = image_texture(tmp_path, Losing()), PictureSolver().joining(), random_targets()
    solver.fit(rep, targets, ALL, ones())
    held = rep.offset[1:].clone()
    decoded: list[int] = []
    decode = rep.decode
    rep.decode = lambda latents: (decoded.append(len(latents)), decode(latents))[1]  # type: ignore[method-assign]
    moving = targets.clone()
    moving[0] = random_targets(1)[0]
    unrelated_share(rep, solver, ALL, ones(), 1)  # asks a copy, and changes nothing
    decoded.clear()
    solver.fit(rep, moving, ALL, ones())
    assert decoded == [1] and torch.equal(rep.offset[1:], held)
    rep.offset[1] += 1.0  # put back to something else: it has to meet again
    solver.fit(rep, moving, ALL, ones())
    assert decoded == [1, 1] and not torch.equal(rep.offset[1], held[0] + 1.0)


class Objects(EmpiricalPrior):
    """Knows the latents of two coloured cubes; its autoencoder loses nothing."""

    def encode(self, images: Tensor) -> Tensor:
        return pixel_unshuffle(images, 2)

    def decode(self, latents: Tensor) -> Tensor:
        return pixel_shuffle(latents, 2)


def test_views_join_in_rgb_and_a_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    rep = image_texture(tmp_path, Rearranging())
    shown = rep.picture.copy()
    objects = []
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        shown.theta.copy_(0.2 + 0.6 * torch.rand(shown.theta.shape, dtype=torch.float64, generator=generator))
        objects.append(pixel_unshuffle(shown.render(), 2))
    prior = Objects(torch.stack(objects, 1))
    plan = Grown(noise_levels(prior.sigmas, 12))
    states: list[SamplerState] = []
    whole = sample(rep, prior, schedule=plan, seed=2, callback=lambda step: states.append(step.state()))
    pictures = whole.diffrep.render()
    nearest = [(pictures - known).abs().amax((1, 2, 3)) for known in objects]
    assert whole.not_agreed == []
    assert min(float(far.max()) for far in nearest) < 0.02  # one of the two, in all views
    for state in states[10::25]:
        again = sample(rep, prior, schedule=plan, seed=2, state=state)
        assert torch.equal(again.diffrep.render(), pictures)


def test_a_run_ends_with_a_meeting(tmp_path: Path) -> None:
    rep, targets = image_texture(tmp_path, Rearranging()), random_targets()
    prior = Objects(targets[:, None])  # each view knows one picture, unrelated to the others'
    result = sample(
        rep, prior, schedule=ddim_schedule(prior.sigmas, 4), eta=0.0
    )  # four fits: the interval's sixth never is
    shown = pixel_shuffle(result.diffrep.render(), 2)
    torch.testing.assert_close(shown, result.diffrep.picture.render().clamp(0, 1), atol=1e-6, rtol=0)


def test_unrelated_pictures_are_asked_for_alike_at_any_fit(tmp_path: Path) -> None:
    rep, solver = image_texture(tmp_path, Losing()), PictureSolver(interval=2)
    first = unrelated_share(rep, solver, ALL, ones(), 3)
    assert (first > 0.01).all()
    solver.fit(rep, random_targets(), ALL, ones())  # the next fit would meet
    assert torch.equal(first, unrelated_share(rep, solver, ALL, ones(), 3))


def test_a_solver_of_one_texture_alone_is_refused_by_name(tmp_path: Path) -> None:
    rep = image_texture(tmp_path, Rearranging())
    with pytest.raises(RequestError, match="not linear"):
        LinearSolver().fit(rep, random_targets(), ALL, ones())
    with pytest.raises(RequestError, match="do not meet in RGB"):
        PictureSolver().fit(rep.latent, random_targets(), ALL, ones())


def test_descent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="RGB"):
        choose_solver(image_texture(tmp_path, Rearranging()), "adam")
