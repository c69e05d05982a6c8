"""Exact priors against brute force in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from ddrep_core.errors import RequestError
from ddrep_core.priors import EmpiricalPrior, GaussianMixturePrior, GaussianPrior, Prior, exact, karras_sigmas

SHAPE = (2, 3, 2)
SIZE = math.prod(SHAPE)
SIGMAS = (0.02, 0.7, 40.0)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariance_matrix(seed: int, size: int = SIZE) -> Tensor:
    factor = randn(size, size, seed=seed)
    return factor @ factor.T / size


def brute_force_mixture(
    x: Tensor, sigma: float, means: Tensor, covariances: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Posterior mean [B, D] and responsibilities [B, K] by the textbook, from flat x, means, full covariances."""
    noise = sigma**2 * torch.eye(x.shape[1], dtype=x.dtype)
    logs, cleans = [], []
    for mean, covariance, weight in zip(means, covariances, weights, strict=True):
        logs.append(weight.log() + MultivariateNormal(mean, covariance + noise).log_prob(x))
        cleans.append(mean + (x - mean) @ torch.linalg.solve(covariance + noise, covariance))
    shares = torch.stack(logs, 1).softmax(1)
    return (shares[..., None] * torch.stack(cleans, 1)).sum(1), shares


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("kind", ["number", "diagonal", "image diagonal", "full"])
def test_gaussian_denoiser_is_the_posterior_mean(kind: str, sigma: float) -> None:
    mean = randn(*SHAPE, seed=1)
    diagonal = randn(SIZE, seed=2).square() + 0.1
    covariance, full = {
        "number": (0.6, 0.6 * torch.eye(SIZE, dtype=torch.float64)),
        "diagonal": (diagonal, diagonal.diag()),
        "image diagonal": (diagonal.reshape(SHAPE), diagonal.diag()),
        "full": (covariance_matrix(3), covariance_matrix(3)),
    }[kind]
    prior = GaussianPrior(mean, covariance)
    x = randn(5, *SHAPE, seed=4) * (1 + sigma)
    conditioning = prior.condition("")

    gain = torch.linalg.solve(full + sigma**2 * torch.eye(SIZE, dtype=torch.float64), full)
    expected = mean + ((x - mean).flatten(1) @ gain).reshape(x.shape)
    torch.testing.assert_close(prior.predict_clean(x, sigma, conditioning), expected, rtol=1e-10, atol=1e-10)
    noise = prior.predict_noise(x, sigma, conditioning)
    torch.testing.assert_close(x - sigma * noise, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("kind", ["number", "per mode", "diagonal", "full", "low rank", "low rank a mode"])
def test_mixture_denoiser_by_brute_force(kind: str, sigma: float) -> None:
    modes = 3
    means, weights = randn(modes, *SHAPE, seed=1), torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    eye = torch.eye(SIZE, dtype=torch.float64)
    factors: Tensor | None = None
    if kind == "number":
        given, full = 0.3, (0.3 * eye).expand(modes, -1, -1)
    elif kind == "per mode":
        given = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
        full = given[:, None, None] * eye
    elif kind == "diagonal":
        given = randn(modes, SIZE, seed=2).square() + 0.05
        full = torch.diag_embed(given)
    elif kind == "full":
        given = full = torch.stack([covariance_matrix(10 + k) for k in range(modes)])
    elif kind == "low rank":
        given, factors = 0.2, randn(SIZE, 3, seed=5)
        full = (0.2 * eye + factors @ factors.T).expand(modes, -1, -1)
    else:
        given, factors = torch.tensor([0.2, 0.3, 0.4], dtype=torch.float64), randn(modes, SIZE, 2, seed=5)
        full = given[:, None, None] * eye + factors @ factors.mT
    prior = GaussianMixturePrior(means, given, weights, factors=factors)
    x = means[[0, 1, 2, 0]] + sigma * randn(4, *SHAPE, seed=6)
    conditioning = prior.condition("")

    expected, shares = brute_force_mixture(x.flatten(1), sigma, means.flatten(1), full, weights / weights.sum())
    torch.testing.assert_close(prior.mode_probabilities(x, sigma, conditioning), shares, rtol=1e-8, atol=1e-12)
    clean = prior.predict_clean(x, sigma, conditioning)
    torch.testing.assert_close(clean, expected.reshape(x.shape), rtol=1e-9, atol=1e-9)
    noise = prior.predict_noise(x, sigma, conditioning)
    torch.testing.assert_close(x - sigma * noise, clean, rtol=1e-10, atol=1e-10)


def test_mixture_with_a_bank_for_each_view() -> None:
    """Pictures plus one colour for all of an object's pixels, seen by each view in its own way (the second bed)."""
    view_count, modes, channels, side, spread = 4, 3, 3, 4, 0.3
    means = randn(view_count, modes, channels, side, side, seed=1)
    masks = (randn(view_count, 1, side, side, seed=2) > 0).double()
    colour = torch.eye(channels, dtype=torch.float64)[None, :, None, None, :]  # [1, C, 1, 1, 3]
    factors = (spread * colour * masks[..., None]).reshape(view_count, 1, -1, channels)
    prior = GaussianMixturePrior(means, 0.0, factors=factors)
    order, sigma = [2, 0, 3, 2], 0.5
    x = means[order, [0, 1, 2, 1]] + sigma * randn(len(order), channels, side, side, seed=3)
    clean = prior.predict_clean(x, sigma, prior.condition("", views=range(view_count))[order])

    for row, view in enumerate(order):
        residual = x[row] - means[view]  # [K, C, h, w]
        count = masks[view].sum()
        # The closed form of the notes: the residual's mean over the object's pixels, shrunk by nτ²/(nτ² + σ²).
        mean = (residual * masks[view]).sum((-2, -1)) / count
        shrunk = mean * count * spread**2 / (count * spread**2 + sigma**2)
        offset = shrunk[..., None, None] * masks[view]
        evidence = (residual.square().sum((1, 2, 3)) - count * (mean * shrunk).sum(1)) / sigma**2
        shares = (-0.5 * evidence).softmax(0)
        expected = (shares[:, None, None, None] * (means[view] + offset)).sum(0)
        torch.testing.assert_close(clean[row], expected, rtol=1e-10, atol=1e-10)


def test_one_large_mixture_covariance_equals_the_gaussian() -> None:
    mean, covariance = randn(*SHAPE, seed=1), covariance_matrix(2)
    one, both = (
        GaussianPrior(mean, covariance),
        GaussianMixturePrior(mean.expand(2, -1, -1, -1), covariance[None].expand(2, -1, -1)),
    )
    x = randn(3, *SHAPE, seed=3)
    expected = one.predict_noise(x, 0.4, one.condition(""))
    torch.testing.assert_close(both.predict_noise(x, 0.4, both.condition("")), expected)


def softmax_mean(x: Tensor, pictures: Tensor, sigma: float) -> Tensor:
    logs = torch.stack([-(x - picture).square().sum((1, 2, 3)) / (2 * sigma**2) for picture in pictures], 1)
    return torch.einsum("bn,nchw->bchw", logs.softmax(1), pictures)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_empirical_denoiser_by_brute_force(sigma: float) -> None:
    images = randn(7, 3, 4, 4, seed=1)
    prior = EmpiricalPrior(images)
    x = images[:5] + sigma * randn(5, 3, 4, 4, seed=2)
    clean = prior.predict_clean(x, sigma, prior.condition("anything"))
    torch.testing.assert_close(clean, softmax_mean(x, images, sigma), rtol=1e-10, atol=1e-10)
    noise = prior.predict_noise(x, sigma, prior.condition("anything"))
    torch.testing.assert_close(noise, (x - clean) / sigma, rtol=1e-10, atol=1e-10)


def test_empirical_prior_with_a_bank_for_each_view_and_levels_of_each_row() -> None:
    images = randn(6, 5, 3, 4, 4, seed=1)
    prior = EmpiricalPrior(images)
    order, sigmas = [3, 0, 5, 3], torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
    x = randn(4, 3, 4, 4, seed=2)
    every = prior.condition("", views=range(6))
    clean = prior.predict_clean(x, sigmas, every[order])
    for row, (view, sigma) in enumerate(zip(order, sigmas.tolist(), strict=True)):
        expected = softmax_mean(x[row : row + 1], images[view], sigma)
        torch.testing.assert_close(clean[row : row + 1], expected, rtol=1e-10, atol=1e-10)
    # an index of an indexed conditioning counts in its own order
    torch.testing.assert_close(prior.predict_clean(x[2:3], 2.0, every[order][2]), clean[2:3])
    # all views in their own order take the path that gathers nothing
    all_views = randn(6, 3, 4, 4, seed=3)
    single = [prior.predict_clean(all_views[v : v + 1], 1.0, every[[v]]) for v in range(6)]
    torch.testing.assert_close(prior.predict_clean(all_views, 1.0, every), torch.cat(single), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("banked", [False, True])
def test_splitting_into_rows_changes_nothing(monkeypatch: pytest.MonkeyPatch, banked: bool) -> None:
    images = randn(6, 5, 3, 4, 4, seed=1) if banked else randn(5, 3, 4, 4, seed=1)
    prior, mixture = EmpiricalPrior(images), GaussianMixturePrior(images, 0.3)
    x = randn(6, 3, 4, 4, seed=2)
    whole = [p.predict_noise(x, 0.8, p.condition("")) for p in (prior, mixture)]
    monkeypatch.setattr(exact, "ELEMENTS_AT_ONCE", 500)
    parts = [p.predict_noise(x, 0.8, p.condition("")) for p in (prior, mixture)]
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)


def test_float32_stays_exact_at_low_noise_far_from_the_origin() -> None:
    """Expanding ‖x − y‖² would cancel here; differences must be taken first."""
    images = (randn(3, 3, 16, 16, seed=1) * 0.02 + 50).float()
    prior = EmpiricalPrior(images)
    x = images + 0.02 * randn(3, 3, 16, 16, seed=2).float()
    clean = prior.predict_clean(x, 0.02, prior.condition(""))
    assert clean.dtype == torch.float32
    expected = softmax_mean(x.double(), images.double(), 0.02)
    torch.testing.assert_close(clean.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 4.0])
def test_captions_choose_pictures_and_guidance_leads_between_them(guidance: float) -> None:
    images = randn(5, 3, 2, 2, seed=1)
    prior = EmpiricalPrior(images, captions=["cow", "car", "cow", "car", "tree"])
    x, sigma = randn(4, 3, 2, 2, seed=2), 1.5

    def noise(pictures: Tensor) -> Tensor:
        return (x - softmax_mean(x, pictures, sigma)) / sigma

    predicted = prior.predict_noise(x, sigma, prior.condition("cow", guidance_scale=guidance))
    unconditional, conditional = noise(images), noise(images[[0, 2]])
    expected = unconditional + guidance * (conditional - unconditional)
    torch.testing.assert_close(predicted, expected, rtol=1e-9, atol=1e-9)

    predicted = prior.predict_noise(x, sigma, prior.condition("cow", "tree", guidance_scale=guidance))
    negative = noise(images[[4]])
    torch.testing.assert_close(predicted, negative + guidance * (conditional - negative), rtol=1e-9, atol=1e-9)
    with pytest.raises(RequestError, match=r"called 'dog'.*'car'"):
        prior.condition("dog")


def test_infinite_noise_is_the_limit() -> None:
    images = randn(4, 3, 2, 2, seed=1)
    x = randn(3, 3, 2, 2, seed=2)
    priors = [
        EmpiricalPrior(images),
        GaussianMixturePrior(images, 0.5),
        GaussianMixturePrior(images, 0.5, factors=randn(12, 2)),
    ]
    for prior in priors:
        conditioning = prior.condition("")
        mean = images.mean(0).expand_as(x)
        torch.testing.assert_close(prior.predict_clean(x, math.inf, conditioning), mean)
        torch.testing.assert_close(prior.predict_noise(x, math.inf, conditioning), x)
        # … which the finite levels approach
        torch.testing.assert_close(prior.predict_clean(1e7 * x, 1e7, conditioning), mean, rtol=0, atol=1e-5)


def test_they_are_priors() -> None:
    for prior in (
        EmpiricalPrior(randn(2, *SHAPE)),
        GaussianPrior(randn(*SHAPE)),
        GaussianMixturePrior(randn(2, *SHAPE)),
    ):
        assert isinstance(prior, Prior)
        assert prior.image_shape == SHAPE and prior.channels == SHAPE[0] and prior.image_size == 3
        assert prior.dtype == torch.float64
        picture = torch.rand(2, *SHAPE)
        assert torch.equal(prior.decode(prior.encode(picture)), picture)


def test_levels() -> None:
    sigmas = karras_sigmas(5, 40, 0.02)
    torch.testing.assert_close(sigmas[[0, -1]], torch.tensor([40, 0.02], dtype=torch.float64))
    steps = (sigmas ** (1 / 7)).diff()
    torch.testing.assert_close(steps, steps[:1].expand(4))
    assert GaussianPrior(randn(*SHAPE), sigmas=[3.0, 1.0]).sigmas.tolist() == [3.0, 1.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianPrior(randn(*SHAPE), randn(3, 3)), "do not fit"),
        (lambda: GaussianPrior(randn(*SHAPE), -1.0), "variance is negative"),
        (lambda: GaussianPrior(randn(*SHAPE), -covariance_matrix(1)), "negative eigenvalue"),
        (lambda: GaussianPrior(randn(*SHAPE), randn(SIZE, SIZE)), "symmetric"),
        (lambda: GaussianMixturePrior(randn(2, *SHAPE), 1.0, [1.0, -1.0]), "Weights must be 2"),
        (lambda: GaussianMixturePrior(randn(2, *SHAPE), 1.0, factors=randn(5, 2)), "Factors"),
        (lambda: EmpiricalPrior(randn(3, 4)), r"\[N, C, h, w\]"),
        (lambda: EmpiricalPrior(randn(2, *SHAPE), captions=["one"]), "1 captions came with 2 pictures"),
        (lambda: EmpiricalPrior(randn(2, *SHAPE), sigmas=[1.0, 2.0]), "descending"),
        (lambda: EmpiricalPrior(randn(4, 2, *SHAPE)).condition("", views=range(3)), "knows 4 views, but the run has 3"),
    ],
)
def test_wrong_requests(make, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make()


def test_wrong_batches() -> None:
    prior = EmpiricalPrior(randn(4, 2, *SHAPE))
    with pytest.raises(RequestError, match="2 pictures came with a conditioning for 4 views"):
        prior.predict_noise(randn(2, *SHAPE), 1.0, prior.condition(""))
    with pytest.raises(RequestError, match="knows pictures of shape"):
        prior.predict_noise(randn(4, 1, 3, 2), 1.0, prior.condition(""))
    with pytest.raises(IndexError):
        prior.condition("")[[4]]
