"""Codes: a denoiser that is told them, their law, and one code for all views of an object."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.errors import RequestError
from ddrep_core.priors.learned import CODE, LearnedPrior
from ddrep_core.sampling import sample
from ddrep_core.schedules.named import ddim_schedule
from ddrep_core.training.codes import Codes, colours, forms, train_law, train_with_codes
from ddrep_core.training.denoiser import Denoiser, Lesson, ResidualNetwork, started

FAR = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])
SHARES = torch.tensor([0.5, 0.3, 0.2])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(count: int, source: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Three modes in the plane, seen by the encoder through other noise than by the denoiser."""
    mode = torch.multinomial(SHARES, count, replacement=True, generator=source)
    one, other = (FAR[mode] + 0.1 * torch.randn(count, 2, generator=source) for _ in range(2))
    return one, other, torch.zeros(count, 0)


@pytest.fixture(scope="module")
def learnt() -> tuple[Denoiser, Codes]:
    codes = started(lambda: Codes(2, 1, 4, 32), generator(1))
    denoiser = Denoiser(started(lambda: ResidualNetwork(2, 2, 1 + codes.size, 32, 2), generator(2)), 1.4)
    train_with_codes(denoiser, codes, draw, Lesson(steps=600, batch=256, level=(0.3, 1.3)), generator(3))
    train_law(codes, draw, Lesson(steps=300, batch=128), generator(4))
    return denoiser, codes


def test_modes_have_codes_of_their_own_and_the_law_knows_their_shares(learnt: tuple[Denoiser, Codes]) -> None:
    _, codes = learnt
    read = codes.read(FAR)[:, 0]
    assert len(read.unique()) == 3
    drawn = codes.draw(2000, generator(5))[:, 0].bincount(minlength=4) / 2000
    torch.testing.assert_close(drawn[read], SHARES, atol=0.06, rtol=0)


def test_a_code_says_what_is_drawn_where_noise_hides_it(learnt: tuple[Denoiser, Codes]) -> None:
    denoiser, codes = learnt
    x, sigma = 6 * torch.randn(50, 2, generator=generator(6)), torch.full((50,), 6.0)
    for mode, far in enumerate(FAR):
        told = codes.one_hot(codes.read(FAR))[mode].expand(50, -1)
        assert float((denoiser(x, sigma, told).detach() - far).norm(dim=1).mean()) < 0.6
    untold = denoiser(x, sigma, torch.zeros(50, codes.size)).detach()
    assert float((untold - SHARES @ FAR).norm(dim=1).mean()) < 0.9


def test_the_first_codes_may_be_kept_and_the_rest_drawn_anew() -> None:
    codes = started(lambda: Codes(2, 3, 5, 16), generator(7))
    drawn = codes.draw(40, generator(8), fixed=torch.tensor([4, 1]))
    assert bool((drawn[:, :2] == torch.tensor([4, 1])).all()) and len(drawn[:, 2].unique()) > 1
    # A code's logits do not know the codes after it.
    later = drawn.clone()
    later[:, 2] = 0
    torch.testing.assert_close(codes.next_logits(drawn, 2), codes.next_logits(later, 2))


def test_a_look_at_forms_does_not_see_colours_and_one_at_colours_not_where_they_are() -> None:
    """So a code that is read from forms alone stays when a picture is painted anew, and the other way round."""
    pattern = torch.rand(6, 1, 20, generator=generator(9))
    ends = torch.rand(2, 6, 3, 1, generator=generator(10))
    painted = ends[0] * 0.4 + pattern * (1 + ends[1])
    anew = painted.flip(1) * 0.5 + 0.1
    torch.testing.assert_close(forms(painted), forms(anew), atol=1e-3, rtol=0)
    turned = painted[:, :, torch.randperm(20, generator=generator(11))]
    torch.testing.assert_close(colours(painted), colours(turned))

    looks = [lambda seen: forms(seen.reshape(-1, 3, 20)), lambda seen: colours(seen.reshape(-1, 3, 20))]
    codes = started(lambda: Codes(60, 2, 5, 16, looks), generator(12))
    logits, said = codes.logits(painted.flatten(1)), codes.logits(anew.flatten(1))
    torch.testing.assert_close(logits[:, 0], said[:, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(logits[:, 1], codes.logits(turned.flatten(1))[:, 1])
    assert float((logits[:, 1] - said[:, 1]).detach().abs().max()) > 0.01
    with pytest.raises(ValueError, match="1 looks for 2 codes"):
        Codes(60, 2, 5, looks=looks[:1])


def nearest(shown: LinearDiffrep) -> list[int]:
    """The mode that each view shows."""
    return torch.cdist(shown.render(torch.arange(3)).reshape(3, 2), FAR).argmin(1).tolist()


def test_a_code_shared_by_all_views_makes_one_object(learnt: tuple[Denoiser, Codes]) -> None:
    """Three representations side by side, each view its own numbers: with one code all show the same mode."""
    denoiser, codes = learnt
    prior = LearnedPrior(denoiser, (1, 1, 2), code_size=codes.size, sigmas=torch.linspace(8, 0.05, 200))
    assert prior.controls == {CODE}
    rep = LinearDiffrep(torch.eye(6), image_shape=(1, 1, 2))  # three views that have nothing in common
    code = codes.one_hot(codes.read(FAR[1:2]))
    schedule = ddim_schedule(prior.sigmas, 20)
    shown = sample(rep, prior, schedule=schedule, controls={CODE: code}, guidance_scale=1.0).diffrep
    assert nearest(shown) == [1, 1, 1]
    each = codes.one_hot(codes.read(FAR))
    shown = sample(rep, prior, schedule=schedule, controls={CODE: each}, guidance_scale=1.0).diffrep
    assert nearest(shown) == [0, 1, 2]


def test_codes_that_do_not_fit_are_refused(learnt: tuple[Denoiser, Codes]) -> None:
    denoiser, codes = learnt
    prior = LearnedPrior(denoiser, (1, 1, 2), code_size=codes.size)
    with pytest.raises(RequestError, match="is not \\[V, 4\\]"):
        prior.condition(controls={CODE: torch.zeros(1, 3)})
    with pytest.raises(RequestError, match="2 codes came with 3 views"):
        prior.condition(views=[1, 2, 3], controls={CODE: torch.zeros(2, 4)})
    clean = prior.predict_clean(torch.zeros(2, 1, 1, 2), math.inf, prior.condition())
    assert bool(clean.isfinite().all())
