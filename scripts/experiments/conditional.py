"""Ways to draw what is free given what is kept, against closed forms: prints tables in Markdown.

    python scripts/experiments/conditional.py             # Gaussians and a mixture, some minutes
    python scripts/experiments/conditional.py --any       # any kept part, against four probes in the same noise
    python scripts/experiments/conditional.py --bundled   # how well the bundled prior's x̂0 is led, some minutes

Each view of the representation is a picture of its own, so that one run is thousands of draws. `tests/test_given.py`
holds the default to the same bounds.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import ddrep_core as dd
from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.priors import GaussianMixturePrior, GaussianPrior
from ddrep_core.priors.exact import ExactPrior
from ddrep_core.sampling import Given, Look, Schedule, annealed_schedule, ddim_schedule, keeping, repaint_schedule
from ddrep_core.sampling.given import Again, Asking

DRAWS = 4000
CORRELATIONS = (0.5, 0.9, 0.99)
KEPT_VALUE = 1.5
PROMPTS = ("a wooden duck", "a cow", "a yellow car", "a mushroom", "green hills under a blue sky", "a stone wall")


@dataclass(frozen=True)
class FixedGuess(Given):
    """ΠGDM as printed: one step along the Jacobian, the covariance guessed as σ²/(1 + σ²)."""

    def heeded(self, look: Look, again: Again, asking: Asking | None = None) -> Look:
        left = torch.where(self.weights > 0, self.pictures - look.clean, 0.0)
        step = 0.01 * look.sigma / left.abs().amax().clamp_min(1e-9)
        along = (again(look.render + step * left).clean - look.clean) / step
        clean = self.put(look.clean + (1 + look.sigma**2) * along)
        return replace(look.bent(clean), weights=look.weights * (1 - self.weights))


def draws(
    prior: ExactPrior,
    kept: list[bool],
    values: Tensor,
    schedule: Schedule,
    eta: float,
    probes: int | type[FixedGuess] | None,
    count: int,
) -> tuple[Tensor, float]:
    """[count, free] what is drawn of the pixels that are not kept, and the evaluations it took.

    Args:
        kept: of the D pixels; values: [D] what they are kept at, or [count, D] of each draw.
        probes: of `Given`; `FixedGuess`: ΠGDM as printed.
    """
    size = len(kept)
    rows = torch.arange(count * size)
    identity = torch.sparse_coo_tensor(torch.stack([rows, rows]), torch.ones(len(rows), dtype=torch.float64))
    rep = LinearDiffrep(identity.coalesce().to_sparse_csr(), image_shape=(1, 1, size))
    mask = torch.tensor(kept).repeat(count)
    rep.theta.copy_(values.double().expand(count, size).reshape(-1, 1))
    part, given = keeping(rep, mask)
    if probes is FixedGuess:
        given = FixedGuess(given.pictures, given.weights, hold=given.hold)
    else:
        assert not isinstance(probes, type)
        given = replace(given, probes=probes)
    result = dd.sample(part, prior, given=given, schedule=schedule, eta=eta, seed=0)
    whole = rep.restored(result.diffrep, ~mask)
    assert torch.equal(whole.theta[mask], rep.theta[mask])
    return whole.theta.reshape(count, size)[:, ~torch.tensor(kept)], result.nfe


def chain(size: int, correlation: float) -> Tensor:
    """[D, D] the covariance of a row of pixels, neighbours correlated so much."""
    place = torch.arange(size, dtype=torch.float64)
    return correlation ** (place[:, None] - place).abs()


def conditional(covariance: Tensor, kept: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The closed form: mean and variance of each free pixel."""
    lead = covariance[~kept][:, kept] @ torch.linalg.inv(covariance[kept][:, kept])
    left = covariance[~kept][:, ~kept] - lead @ covariance[kept][:, ~kept]
    return lead @ values[kept], left.diagonal()


def gaussian(covariance: Tensor) -> GaussianPrior:
    size = len(covariance)
    return GaussianPrior(torch.zeros(1, 1, size, dtype=torch.float64), covariance)


def two_modes(variance: float) -> GaussianMixturePrior:
    """Both pixels at 1, or both at −1."""
    means = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    return GaussianMixturePrior(means, variance, image_shape=(1, 1, 2))


def errors(found: Tensor, mean: Tensor, variance: Tensor) -> str:
    """Of the means, against their size; and of the variances, on average: in per cent."""
    off = (found.mean(0) - mean).norm() / mean.norm()
    return f"{100 * off:.0f}, {100 * (found.var(0) / variance - 1).mean():+.0f}"


def closed_forms(only: str, count: int) -> None:
    """A row for each way whose name holds `only`."""
    sigmas = two_modes(0.05).sigmas
    plain, repaint = ddim_schedule(sigmas, 50), repaint_schedule(sigmas, 25)
    long, short = (annealed_schedule(sigmas, 50, repeats, (8.0, 0.1), 0.05) for repeats in (160, 40))
    ways: list[tuple[str, Schedule, float, int | type[FixedGuess] | None]] = [
        ("kept, η 0", plain, 0.0, 0),
        ("kept, η .75", plain, 0.75, 0),
        ("kept, η 1", plain, 1.0, 0),
        ("RePaint (100, 1, 1, 2)", repaint_schedule(sigmas, 100), 0.75, 0),
        ("RePaint (100, 10, 10, 5), η 1", repaint_schedule(sigmas, 100, 10, 10, 5), 1.0, 0),
        ("annealed, by default", annealed_schedule(sigmas, 50), 0.75, 0),
        ("annealed, 8 to 0.05 from 0.02", annealed_schedule(sigmas, 50, 40, (8.0, 0.05), 0.02), 0.75, 0),
        ("annealed, 40 repeats", short, 0.75, 0),
        ("annealed, 160 repeats", long, 0.75, 0),
        ("ΠGDM as printed", plain, 0.75, FixedGuess),
        ("1 probe", plain, 0.75, 1),
        ("2 probes", plain, 0.75, 2),
        ("3 probes", plain, 0.75, 3),
        ("1 probe, RePaint (25, 1, 1, 2)", repaint, 0.75, 1),
        ("2 probes, RePaint (25, 1, 1, 2)", repaint, 0.75, 2),
        ("as many as it takes, RePaint (25, 1, 1, 2)", repaint, 0.75, None),
    ]
    heads = [f"pair {rho:g}" for rho in CORRELATIONS] + [f"row {rho:g}" for rho in CORRELATIONS]
    print(f"| way | evaluations | {' | '.join(heads)} | modes, y 1 | y .3 |")
    print("|---" * (len(heads) + 4) + "|")
    for name, schedule, eta, probes in ways:
        if only not in name:
            continue
        cells = []
        for size, values in (
            (2, torch.tensor([KEPT_VALUE, 0.0], dtype=torch.float64)),
            (8, torch.tensor([1.2, 1.0, 0.6, 0.9, 0, 0, 0, 0], dtype=torch.float64)),
        ):
            kept = torch.arange(size) < size // 2
            for correlation in CORRELATIONS:
                covariance = chain(size, correlation)
                found, nfe = draws(gaussian(covariance), kept.tolist(), values, schedule, eta, probes, count)
                cells.append(errors(found, *conditional(covariance, kept, values)))
        for value in (1.0, 0.3):
            prior, values = two_modes(0.05), torch.tensor([value, 0.0])
            found, nfe = draws(prior, [True, False], values, schedule, eta, probes, count)
            cells.append(f"{(found > 0).double().mean():.3f}")
        print(f"| {name} | {nfe:g} | {' | '.join(cells)} |", flush=True)


def smooth(size: int, length: float) -> Tensor:
    """[D, D] the covariance of a row that depends on itself smoothly: a squared exponential."""
    place = torch.arange(size, dtype=torch.float64)
    return torch.exp(-(((place[:, None] - place) / length) ** 2) / 2) + 1e-4 * torch.eye(size, dtype=torch.float64)


def any_part(only: str, rows: int) -> None:
    """Each of many rows keeps values of its own; the leads y -> mean are compared with four probes' in the same noise.

    Four are exact for four kept pixels, but for the steps; what those cost is judged against the truth by two halves of
    the rows, whose errors are multiplied: chance is in neither's product.
    """
    kept = torch.arange(8) < 4
    sigmas = two_modes(0.05).sigmas
    plain, twice, short = (ddim_schedule(sigmas, 50), repaint_schedule(sigmas, 50), repaint_schedule(sigmas, 25))
    kinds = [(f"row {rho:g}", chain(8, rho)) for rho in CORRELATIONS] + [("smooth", smooth(8, 2.0))]
    print(f"| way | {' | '.join(name for name, _ in kinds)} | mode |")
    print("|---" * (len(kinds) + 2) + "|")
    for way, schedule in (("50 levels", plain), ("25 levels, twice", short), ("50 levels, twice", twice)):
        for probes in (1, None):
            name = f"{way}, {'as many as it takes' if probes is None else '1 probe'}"
            if only not in name:
                continue
            cells = []
            for _, covariance in kinds:
                spread = torch.linalg.cholesky(covariance)
                noise = torch.randn(rows, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
                values, inside = noise @ spread.T, covariance[kept][:, kept]
                lead = covariance[~kept][:, kept] @ torch.linalg.inv(inside)
                variance = (covariance[~kept][:, ~kept] - lead @ covariance[kept][:, ~kept]).diagonal()
                prior, scale = gaussian(covariance), torch.linalg.cholesky(inside)
                (one, nfe), (four, _) = (
                    draws(prior, kept.tolist(), values, schedule, 0.75, each, rows) for each in (probes, 4)
                )
                y, whole = values[:, kept], (lead @ scale).norm()
                bias = (torch.linalg.lstsq(y, one - four).solution.T @ scale).norm() / whole
                halves = [torch.linalg.lstsq(y[half::2], four[half::2]).solution.T - lead for half in (0, 1)]
                steps = ((halves[0] @ scale) * (halves[1] @ scale)).sum().clamp_min(0).sqrt() / whole
                rest = (one - y @ torch.linalg.lstsq(y, one).solution).var(0) / variance
                cells.append(
                    f"{100 * bias:.1f} (+ {100 * steps:.1f}), {100 * (rest.mean() - 1):+.0f}; {nfe:g} evaluations"
                )
            found, nfe = draws(
                two_modes(0.05), [True, False], torch.tensor([0.3, 0.0]), schedule, 0.75, probes, 2 * rows
            )
            cells.append(f"{(found > 0).double().mean():.3f}; {nfe:g} evaluations")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def bundled() -> None:
    """Mean squared error of x̂0 on the free half of pictures, whose other half is kept, by noise level and way."""
    prior = dd.load_prior("bundled")
    generator = torch.Generator().manual_seed(0)
    told = [prior.condition(prompt, guidance_scale=2.5) for prompt in PROMPTS]
    pictures = []
    schedule = ddim_schedule(prior.sigmas, 25)
    with torch.no_grad():
        for conditioning in told:
            levels = schedule.segments[0].levels
            x = torch.randn(3, *prior.image_shape, generator=generator) * levels[0]
            for high, low in itertools.pairwise(levels):
                x = x + (low - high) * prior.predict_noise(x, high, conditioning[[0, 0, 0]])
            pictures.append(x)
    height, width = prior.image_shape[1:]
    half = (torch.arange(width) < width // 2).float().expand(1, 1, height, width)
    blocks = (torch.rand(1, 1, 4, 4, generator=generator) > 0.5).float()
    patches = blocks.repeat_interleave(height // 4, 2).repeat_interleave(width // 4, 3)
    print("| mask | σ | kept | 1 probe | 2 probes | 3 probes |")
    print("|---" * 6 + "|")
    for name, mask in (("left half", half), ("patches", patches)):
        for sigma in (12.0, 6.0, 3.0, 1.5, 0.8, 0.4, 0.15):
            sums = [0.0] * 4
            for clean, conditioning in zip(pictures, told, strict=True):
                noise = torch.randn(clean.shape, generator=generator)
                chosen, index = conditioning[[0, 0, 0]], torch.arange(3)

                def again(render: Tensor, noise=noise, chosen=chosen, index=index, sigma=sigma) -> Look:
                    x = (render + sigma * noise)[0]
                    with torch.no_grad():
                        predicted = prior.predict_noise(x, sigma, chosen)
                    weights = torch.ones(3, 1, height, width)
                    return Look(
                        sigma, index, render, noise[None], (x - sigma * predicted)[None], predicted[None], weights
                    )

                look = again(clean[None])
                for probes in range(4):
                    given = Given(clean, mask.expand(3, -1, -1, -1), probes)
                    error = (1 - mask) * (given.heeded(look, again).clean[0] - clean) ** 2
                    sums[probes] += float(error.sum() / (1 - mask).sum() / error.shape[1] / 3) / len(pictures)
            print(f"| {name} | {sigma:g} | {' | '.join(f'{each:.4f}' for each in sums)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundled", action="store_true")
    parser.add_argument("--any", action="store_true")
    parser.add_argument("--only", default="", help="ways whose name holds this")
    parser.add_argument("--draws", type=int, default=DRAWS)
    told = parser.parse_args()
    if told.bundled:
        bundled()
    elif told.any:
        any_part(told.only, told.draws)
    else:
        closed_forms(told.only, told.draws)
