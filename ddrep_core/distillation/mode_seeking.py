"""Score distillation (SDS) and score Jacobian chaining (SJC).

Both follow Jᵀ (ε − ε̂) at random noise levels until it vanishes: the chain rule of Figure 1's lower path, without the
metric (JᵀJ)⁻¹ that would make it a step of the sampling ODE. In variance-exploding coordinates they are one line, and
differ in the levels, the weight and the optimiser:

SDS  (Poole et al., "DreamFusion", Eq. 3): w(t) = σ_t² of the variance-preserving process, t uniform in 2-98 %, Adam.
SJC  (Wang et al., "Score Jacobian Chaining", Eq. 12, with the variance reduction of its code): w = 1, t uniform over
     the levels without the 30 noisiest and the 10 cleanest of a thousand, Adamax.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError, RunError
from ddrep_core.priors.protocol import Prior
from ddrep_core.sampling.sample import Result
from ddrep_core.views.camera import Views


@dataclass(frozen=True)
class ModeSeeker:
    """What sets one method apart.

    Args:
        name: for reports.
        weight: w of a level σ.
        skipped: the shares of the levels that are left out, at the noisy and at the clean end.
        optimizer: Adam or Adamax.
        betas: of its moments.
        guidance_scale: the published one for 3D.
        steps: the published number for 3D.
        learning_rate: of the optimiser; the representation's own when None.
    """

    name: str
    weight: Callable[[float], float]
    skipped: tuple[float, float]
    optimizer: type[torch.optim.Adam] | type[torch.optim.Adamax]
    betas: tuple[float, float]
    guidance_scale: float = 100.0
    steps: int = 10_000
    learning_rate: float | None = None

    def with_settings(self, *, steps: int | None = None, learning_rate: float | None = None) -> ModeSeeker:
        """The same method for another budget."""
        return replace(self, steps=steps or self.steps, learning_rate=learning_rate or self.learning_rate)


def _variance_preserving(sigma: float) -> float:
    return sigma**2 / (1 + sigma**2)


def _one(sigma: float) -> float:
    return 1.0


SCORE_DISTILLATION = ModeSeeker("SDS", _variance_preserving, (0.02, 0.02), torch.optim.Adam, (0.9, 0.99))
SCORE_JACOBIAN_CHAINING = ModeSeeker("SJC", _one, (0.03, 0.01), torch.optim.Adamax, (0.9, 0.999))


def distill(
    rep: Diffrep,
    prior: Prior,
    views: Views | None = None,
    *,
    method: ModeSeeker = SCORE_DISTILLATION,
    prompt: str = "",
    negative_prompt: str = "",
    guidance_scale: float | None = None,
    seed: int = 0,
    views_per_step: int | None = None,
    callback: Callable[[int, Diffrep], None] | None = None,
) -> Result:
    """Move a copy of `rep` to a mode of the prior under the prompt.

    Args:
        rep, prior, views, prompt, negative_prompt, seed: as `sample` takes them.
        guidance_scale: the method's published one when not given.
        views_per_step: views of one step, drawn anew each time; all when not given.
        callback: called after each step with its number and the representation.

    Returns:
        as `sample` does; every step is one evaluation.

    Raises:
        RequestError: views that are not those of `rep`.
        RunError: the prior gave numbers that are not finite.
    """
    if views is not None and len(views) != rep.view_count:
        raise RequestError(f"The representation was built over {rep.view_count} views, but {len(views)} were given.")
    guidance = method.guidance_scale if guidance_scale is None else guidance_scale
    conditioning = prior.condition(prompt, negative_prompt, views, guidance)
    rep = rep.copy()
    generator = torch.Generator().manual_seed(seed)
    rep.reset(generator)
    levels = _usable_levels(prior.sigmas, method.skipped)
    count = min(views_per_step or rep.view_count, rep.view_count)
    leaves = [tensor.requires_grad_(True) for tensor in rep.parameters().values()]
    rate = method.learning_rate or getattr(rep, "learning_rate", 1e-3)
    optimizer = method.optimizer(leaves, lr=rate, betas=method.betas)
    seconds = {"prior": 0.0, "pullback": 0.0, "render": 0.0, "total": 0.0}
    start = time.perf_counter()
    for step in range(method.steps):
        indices = torch.randperm(rep.view_count, generator=generator)[:count].sort().values
        sigma = float(levels[int(torch.randint(len(levels), (1,), generator=generator))])
        begun = time.perf_counter()
        images = rep.render(indices.to(leaves[0].device))
        noise = torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device)
        rendered = time.perf_counter()
        with torch.no_grad():
            x = images.detach() + sigma * noise
            predicted = prior.predict_noise(x, sigma, conditioning[indices.tolist()]).to(images)
        if not bool(torch.isfinite(predicted).all()):
            raise RunError(f"The prior returned numbers that are not finite at σ = {sigma:.3g}.")
        asked = time.perf_counter()
        optimizer.zero_grad()
        images.backward(method.weight(sigma) * (predicted - noise) * _weights(rep, views, indices, images))
        optimizer.step()
        seconds["render"] += rendered - begun
        seconds["prior"] += asked - rendered
        seconds["pullback"] += time.perf_counter() - asked
        if callback is not None:
            callback(step + 1, rep)
    for leaf in leaves:
        leaf.requires_grad_(False)
    seconds["total"] = time.perf_counter() - start
    return Result(rep, float(method.steps), seconds, None, seed, method.steps)


def _usable_levels(sigmas: Tensor, skipped: tuple[float, float]) -> Tensor:
    """The levels between the two ends that are left out; never infinite, never none."""
    finite = sigmas[torch.isfinite(sigmas)]
    first, last = (round(share * len(finite)) for share in skipped)
    return finite[first : len(finite) - last] if first + last < len(finite) else finite


def _weights(rep: Diffrep, views: Views | None, indices: Tensor, images: Tensor) -> Tensor:
    """[B, 1, h, w] the importance of each pixel, as the sampler weighs it."""
    weights = torch.ones_like(images[:, :1])
    pixel_weights = rep.pixel_weights()
    if pixel_weights is not None:
        weights = weights * pixel_weights[indices].to(weights)
    if views is not None:
        weights = weights * torch.as_tensor(views.weights)[indices].to(weights)[:, None, None, None]
    return weights
