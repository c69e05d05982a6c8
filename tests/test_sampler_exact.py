"""The sampler against closed forms, in float64: it is exactly the image-space process where it should be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

import ddrep_core as dd
from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.errors import Cancelled, RequestError, RunError
from ddrep_core.priors import EmpiricalPrior, GaussianMixturePrior, GaussianPrior
from ddrep_core.process.diffusion import langevin_share, lost_variance
from ddrep_core.sampling import (
    Schedule,
    Segment,
    StepReport,
    ViewNoise,
    ddim_schedule,
    karras_levels,
    repaint_schedule,
    restart_schedule,
    sample,
)
from ddrep_core.schedules.steps import Jump
from ddrep_core.views import orbit_views

SHAPE = (2, 3, 3)
PIXELS = math.prod(SHAPE)
SIGMAS = np.array(karras_levels(40.0, 0.02, 40))


def image_space(prior, shape: tuple[int, int, int, int], schedule: Schedule, eta: float, seed: int) -> torch.Tensor:
    """The slow obvious twin: DDIM with jumps on the pictures themselves, x and nothing else."""
    generator = torch.Generator().manual_seed(seed)
    field = ViewNoise(shape, torch.float64)
    conditioning = prior.condition("", views=None)
    noise = field.draw(generator)
    x = schedule.segments[0].levels[0] * noise  # clean part 0
    clean = torch.zeros_like(x)
    for step in schedule.steps(eta):
        if isinstance(step, Jump):
            # Alg. 1 keeps x = f + σ ε; here f is what remains of x without its noise.
            noise = step.keep * noise + math.sqrt(1 - step.keep**2) * field.draw(generator)
            x = clean + step.sigma_high * noise
            continue
        predicted = prior.predict_noise(x, step.sigma, conditioning)
        share = langevin_share(step.sigma, step.sigma_next, step.eta)
        if step.heun:
            guess = x + (step.sigma_next - step.sigma) * predicted
            again = prior.predict_noise(guess, step.sigma_next, conditioning)
            x = x + (step.sigma_next - step.sigma) * (predicted + again) / 2
            clean = x - step.sigma_next * noise
            continue
        fresh = field.draw(generator) if share > 0 else torch.zeros_like(x)
        # Line 11, with what x̂0 takes from the variance given back: x̂0 + √(1-λ²) σ' ε̂ + σ' √(λ² + lost) ξ.
        guess = x - step.sigma * predicted
        hidden = step.sigma**2 > 1000 * float((guess**2).mean())  # nothing can be told of what is lost
        recognised = 1.0 if hidden else min(1.0, float((predicted**2).mean()))
        fresh = fresh * math.sqrt(share**2 + lost_variance(step.sigma, step.sigma_next, share, recognised))
        x = x - step.sigma * predicted + step.sigma_next * (math.sqrt(1 - share**2) * predicted + fresh)
        noise = math.sqrt(1 - share**2) * noise + fresh
        clean = x - step.sigma_next * noise
    return x


SCHEDULES = {
    "plain": (ddim_schedule(SIGMAS, 30), 0.0),
    "plain, stochastic": (ddim_schedule(SIGMAS, 30), 0.75),
    "repaint": (repaint_schedule(SIGMAS, 20, 1, 1, 2), 0.0),
    "repaint, stochastic": (repaint_schedule(SIGMAS, 20, 5, 5, 3), 0.75),
    "restart, Heun": (restart_schedule(SIGMAS, 20, [(6, 3, 0.1, 2.0)]), 0.0),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_linear_run_is_the_run_in_image_space(name: str) -> None:
    """With the data inside A's range, pulled-back and image-space runs agree to 1e-12 (V6)."""
    schedule, eta = SCHEDULES[name]
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(PIXELS, 7, dtype=torch.float64, generator=generator)
    pictures = (torch.randn(5, 7, dtype=torch.float64, generator=generator) @ matrix.T).reshape(5, *SHAPE)
    prior = EmpiricalPrior(pictures)
    rep = LinearDiffrep(matrix, image_shape=SHAPE)
    result = sample(rep, prior, schedule=schedule, eta=eta, seed=11, guidance_scale=1.0)
    expected = image_space(prior, (1, *SHAPE), schedule, eta, seed=11)
    assert (result.diffrep.render() - expected).abs().max() < 1e-12
    assert result.nfe == schedule.nfe
    assert result.disagreement < 1e-18


def test_identity_restart_jumps_equal_adding_the_missing_noise() -> None:
    """A jump of the noise alone is x + √(σ_max² − σ_min²) ξ, Restart's Eq. 5.1."""
    generator = torch.Generator().manual_seed(0)
    field = torch.randn(1000, dtype=torch.float64, generator=generator)
    fresh = torch.randn(1000, dtype=torch.float64, generator=generator)
    jump = next(s for s in Schedule((Segment((2.0, 0.1), 2, eta=0.0),)).steps(0.0) if isinstance(s, Jump))
    ours = 2.0 * (jump.keep * field + math.sqrt(1 - jump.keep**2) * fresh)
    theirs = 0.1 * field + math.sqrt(2.0**2 - 0.1**2) * fresh
    assert torch.allclose(ours, theirs, atol=1e-12)


def many_views(count: int, pixels: int) -> LinearDiffrep:
    """`count` independent pictures in one run: the identity, as a sparse matrix."""
    size = count * pixels
    index = torch.arange(size)
    eye = torch.sparse_coo_tensor(torch.stack([index, index]), torch.ones(size, dtype=torch.float64), (size, size))
    return LinearDiffrep(eye, image_shape=(pixels, 1, 1))


@pytest.mark.parametrize("eta", [0.0, 0.75])
def test_gaussian_mean_and_covariance(eta: float) -> None:
    """4,096 samples of a 3-d Gaussian: mean and covariance within their sampling error (4.5 standard errors)."""
    mean = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    root = torch.tensor([[0.8, 0.0, 0.0], [0.4, 0.5, 0.0], [-0.2, 0.3, 0.3]], dtype=torch.float64)
    covariance = root @ root.T
    prior = GaussianPrior(mean.reshape(3, 1, 1), covariance)
    count = 4096
    schedule = Schedule((Segment((*karras_levels(80.0, 0.01, 150), 0.0)),))
    result = sample(many_views(count, 3), prior, schedule=schedule, eta=eta, seed=5, guidance_scale=1.0)
    drawn = result.diffrep.render().reshape(count, 3)
    errors = (covariance.diagonal() / count).sqrt()
    assert ((drawn.mean(0) - mean).abs() < 4.5 * errors + 2e-3).all()
    spread = torch.outer(covariance.diagonal(), covariance.diagonal()) + covariance**2
    tolerance = 4.5 * (spread / count).sqrt() + 0.02 * covariance.diagonal().max()  # and 2 % of discretisation
    assert ((torch.cov(drawn.T) - covariance).abs() < tolerance).all()


@pytest.mark.parametrize("eta", [0.0, 0.75])
def test_mixture_shares_pass_a_chi_square_test(eta: float) -> None:
    means = torch.tensor([[2.0, 0.0], [-2.0, 0.5], [0.0, -3.0]], dtype=torch.float64).reshape(3, 2, 1, 1)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    prior = GaussianMixturePrior(means, [torch.eye(2, dtype=torch.float64) * 0.05] * 3, weights)
    count = 4096
    schedule = Schedule((Segment((*karras_levels(80.0, 0.02, 60), 0.0)),))
    result = sample(many_views(count, 2), prior, schedule=schedule, eta=eta, seed=1, guidance_scale=1.0)
    drawn = result.diffrep.render().reshape(count, 2)
    nearest = torch.cdist(drawn, means.reshape(3, 2)).argmin(1)
    observed = torch.bincount(nearest, minlength=3).numpy()
    assert stats.chisquare(observed, weights.numpy() * count).pvalue > 0.01


def test_seeds_samples_and_resumption_are_exact() -> None:
    """Sample k is seed + k; a run cut at any step and gone on from its state ends in the same bytes."""
    generator = torch.Generator().manual_seed(0)
    prior = EmpiricalPrior(torch.randn(6, *SHAPE, dtype=torch.float64, generator=generator))
    matrix = torch.randn(4 * PIXELS, 9, dtype=torch.float64, generator=generator)
    rep = LinearDiffrep(matrix, image_shape=SHAPE)
    schedule = repaint_schedule(SIGMAS, 8, 2, 2, 2)
    options = {"schedule": schedule, "seed": 7, "views_per_step": 3, "samples": 2, "guidance_scale": 1.0}
    states = []
    whole = sample(rep, prior, callback=lambda step: states.append(step.state()), **options)
    assert torch.equal(
        whole.samples[1].diffrep.theta, sample(rep, prior, **{**options, "seed": 8, "samples": 1}).diffrep.theta
    )
    assert not torch.equal(whole.samples[0].diffrep.theta, whole.samples[1].diffrep.theta)
    for state in states[3::5]:
        resumed = sample(rep, prior, state=state, **options)
        assert torch.equal(resumed.samples[-1].diffrep.theta, whole.samples[1].diffrep.theta)
    assert not rep.theta.any()  # the caller's representation is left alone


def test_infinite_start_takes_the_limit() -> None:
    """From σ = ∞ the first step fits x̂0 itself; a very large σ gives the same run."""
    prior = GaussianPrior(torch.full(SHAPE, 0.3, dtype=torch.float64), 0.5)
    rep = LinearDiffrep(torch.eye(PIXELS, dtype=torch.float64), image_shape=SHAPE)
    levels = (*karras_levels(10.0, 0.05, 12), 0.0)
    runs = [
        sample(rep, prior, schedule=Schedule((Segment((top, *levels)),)), eta=0.5, seed=2, guidance_scale=1.0)
        for top in (math.inf, 1e9)
    ]
    assert torch.allclose(runs[0].diffrep.theta, runs[1].diffrep.theta, atol=1e-6)


def test_view_weights_decide_who_wins() -> None:
    """Two views of the same pixels that want different pictures: the fit is their weighted mean."""
    pictures = torch.stack([torch.zeros(1, 1, *SHAPE), torch.ones(1, 1, *SHAPE)]).reshape(2, 1, *SHAPE).double()
    prior = EmpiricalPrior(pictures)  # a bank for each view
    eye = torch.eye(PIXELS, dtype=torch.float64)
    rep = LinearDiffrep(torch.cat([eye, eye]), image_shape=SHAPE)
    views = orbit_views(2)
    cameras = [views[0], dd.views.Camera("other", views[1].matrix_world, views[1].projection, weight=3.0)]
    result = sample(rep, prior, dd.views.Views(tuple(cameras)), schedule=ddim_schedule(SIGMAS, 10), guidance_scale=1.0)
    assert torch.allclose(result.diffrep.theta, torch.full((PIXELS, 1), 0.75, dtype=torch.float64))
    # x̂0 is 0 and 1; held are 0.75 and 0.75: nothing of what differs is held.
    assert result.disagreement == pytest.approx(1.0)


def test_callbacks_hear_every_step_and_may_cancel() -> None:
    prior = EmpiricalPrior(torch.randn(3, *SHAPE, dtype=torch.float64))
    rep = LinearDiffrep(torch.eye(PIXELS, dtype=torch.float64), image_shape=SHAPE)
    schedule = repaint_schedule(SIGMAS, 10, 3, 3, 2)
    heard: list[StepReport] = []
    sample(rep, prior, schedule=schedule, callback=heard.append, guidance_scale=1.0)
    assert [step.index for step in heard] == list(range(1, heard[0].of + 1))
    assert heard[-1].sigma == 0 and heard[-1].nfe == schedule.nfe
    assert sum(step.clean is None for step in heard) == 3  # one at each of the states 0, 3 and 6

    def stop(step: StepReport) -> None:
        if step.index == 3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        sample(rep, prior, schedule=schedule, callback=stop, guidance_scale=1.0)


def test_wrong_calls_are_refused_in_words() -> None:
    prior = EmpiricalPrior(torch.randn(3, *SHAPE, dtype=torch.float64))
    rep = LinearDiffrep(torch.eye(PIXELS, dtype=torch.float64), image_shape=SHAPE)
    with pytest.raises(RequestError, match="built over 1 views, but 4"):
        sample(rep, prior, orbit_views(4))
    with pytest.raises(RequestError, match="eta"):
        sample(rep, prior, eta=2.0)
    with pytest.raises(RequestError, match="samples"):
        sample(rep, prior, samples=0)
    with pytest.raises(RequestError, match="Unknown solver"):
        sample(rep, prior, solver="magic")

    class Broken(EmpiricalPrior):
        def predict_noise(self, x, sigma, conditioning):
            return x * math.nan

    with pytest.raises(RunError, match="not finite"):
        sample(rep, Broken(torch.randn(3, *SHAPE, dtype=torch.float64)))
