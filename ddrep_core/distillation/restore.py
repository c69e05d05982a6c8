"""Several answers to a linear inverse problem: repulsive score distillation with an augmented latent (RSD, Alg. 2).

Of a picture x only y = H x is known. Half-quadratic splitting of ½ mean (y − Hx)² + ρ/2 mean (x − D(z))² + λ R(z): for
latents z, x is known in closed form, and z descends. What comes of it is a point near what the prior likes, not a draw
from the posterior: its samples differ by γ, not by what y leaves open (docs/diversity.md). For draws, hold what is
known and sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.latent_pictures import LatentPictures
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.distillation.descend import distill
from ddrep_core.distillation.guided import Guided
from ddrep_core.distillation.objective import ModeSeeker, Objective
from ddrep_core.distillation.repulsive import Repulsive
from ddrep_core.distillation.sds import ScoreDistillation
from ddrep_core.errors import RequestError
from ddrep_core.priors.protocol import Controls, Prior
from ddrep_core.sampling.guide import Guide
from ddrep_core.sampling.kernel import RadialKernel
from ddrep_core.sampling.look import Ask, Look
from ddrep_core.sampling.particle_guidance import Features
from ddrep_core.sampling.sample import Result, SamplerState, StepReport
from ddrep_core.views.camera import Views

Operator = Callable[[Tensor], Tensor]
"""H: pictures [B, 3, H, W] -> [B, ...], linear and differentiable."""

SOLVED = 1e-4
MOST_ROUNDS = 40


@dataclass(frozen=True)
class Measurement:
    """y = H x, known of every view.

    Args:
        operator: H.
        known: y [V, ...].
        hole: [V or 1, 1, H, W] 1 where y says nothing of a pixel: there alone a guide bends. None: no such place.
    """

    operator: Operator
    known: Tensor
    hole: Tensor | None = None

    def nearest(self, pictures: Tensor, indices: Tensor, coupling: float) -> Tensor:
        """argmin_x ½ mean (y − Hx)² + ρ/2 mean (x − pictures)² for pictures [B, 3, H, W] of views [B], by conjugate
        gradients. Means, as in the authors' code: of a small picture each number is known for many pixels, and a sum
        over the few would hardly count beside a sum over the many."""
        known = self.known[indices.to(self.known.device)].to(pictures)
        start = pictures.detach()
        coupling = coupling * known[0].numel() / start[0].numel()

        def normal(x: Tensor) -> Tensor:
            return self._adjoint(self.operator(x), start) + coupling * x

        found = torch.zeros_like(start)
        # In x − pictures, which is small where they agree with y already.
        residual = self._adjoint(known - self.operator(start), start)
        way, power = residual, _power(residual)
        enough = SOLVED**2 * power.clamp_min(1e-30)
        for _ in range(MOST_ROUNDS):
            if bool((power <= enough).all()):
                break
            image = normal(way)
            step = power / (way * image).flatten(1).sum(1).clamp_min(1e-30)
            found = found + _column(step) * way
            residual = residual - _column(step) * image
            after = _power(residual)
            way, power = residual + _column(after / power.clamp_min(1e-30)) * way, after
        return start + found

    def free(self, shape: tuple[int, int], views: int) -> Tensor | None:
        """[V, 1, h, w] 1 where latents show something of a hole."""
        if self.hole is None:
            return None
        return functional.adaptive_max_pool2d(self.hole.float(), shape).expand(views, -1, -1, -1)

    def _adjoint(self, values: Tensor, like: Tensor) -> Tensor:
        """Hᵀ values."""
        with torch.enable_grad():
            leaf = torch.zeros_like(like).requires_grad_(True)
            return torch.autograd.grad(self.operator(leaf), leaf, values)[0]


def _power(values: Tensor) -> Tensor:
    return values.square().flatten(1).sum(1)


def _column(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)


def masked(known: Tensor) -> Operator:
    """H of inpainting: what is known [1, H, W] stays, the rest is black."""
    return lambda pictures: pictures * known.to(pictures)


def smaller(height: int, width: int) -> Operator:
    """H of super-resolution: the mean over the pixels below each of [height, width]."""
    return lambda pictures: functional.interpolate(pictures, (height, width), mode="area")


def blurred(spread: float) -> Operator:
    """H of deblurring: a Gaussian of standard deviation `spread` in pixels, edges repeated."""
    reach = max(1, math.ceil(3 * spread))
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / spread) ** 2)
    line = line / line.sum()

    def blur(pictures: Tensor) -> Tensor:
        channels, kernel = pictures.shape[1], line.to(pictures)
        wide = functional.pad(pictures, (reach, reach, reach, reach), mode="replicate")
        down = functional.conv2d(wide, kernel.reshape(1, 1, -1, 1).expand(channels, -1, -1, -1), groups=channels)
        return functional.conv2d(down, kernel.reshape(1, 1, 1, -1).expand(channels, -1, -1, -1), groups=channels)

    return blur


class BoundedRepulsion(Repulsive):
    """With γ √(1 − ᾱ) in place of γσ, as the authors' code for inverse problems has it: it starts at high noise."""

    def reach(self, sigma: float) -> float:
        return sigma / math.sqrt(1 + sigma**2)


class LevelWeighted(ScoreDistillation):
    """λ_t in proportion to σ, as Alg. 2 has it ("λ/SNR")."""

    def weight(self, sigma: float) -> float:
        return sigma


@dataclass
class Augmented(Objective):
    """½ mean (x − D(z))² + (λ/ρ) mean(base), with x the picture nearest to D(z) that agrees with y.

    Args:
        base: pulls z to what the prior likes; `Repulsive` of it makes the answers differ.
        measurement: y and H.
        strength: λ.
        coupling: ρ: how much D(z) counts where y says something else.
    """

    base: Objective
    measurement: Measurement
    strength: float
    coupling: float

    def weight(self, sigma: float) -> float:
        return self.base.weight(sigma)

    def loss(self, look: Look, ask: Ask) -> Tensor:
        shape = look.render.shape
        pictures = ask.prior.decode(look.render.flatten(0, 1))
        indices = look.indices.repeat(shape[0])
        nearest = self.measurement.nearest(pictures, indices, self.coupling)
        coupled = 0.5 * (nearest - pictures).square().flatten(1).mean(1).sum()
        return coupled + self.strength / self.coupling * self.base.loss(look, ask) / math.prod(shape[2:])

    def after(self, look: Look) -> None:
        self.base.after(look)

    def state(self) -> dict[str, Tensor]:
        return self.base.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.base.load_state(state)


@dataclass(frozen=True)
class Answers:
    """Several pictures that agree with what is known.

    Attributes:
        pictures: [N, V, 3, H, W] x, sRGB in [0, 1].
        latents: [N, V, C, h, w] z.
        result: of the run.
    """

    pictures: Tensor
    latents: Tensor
    result: Result


RESTORATION = ModeSeeker(
    "RSD (Alg. 2)", LevelWeighted, (0.02, 0.02), torch.optim.Adam, (0.9, 0.99), 3.0, 300, 0.1, falling=True
)
"""Levels fall once; the paper's 1000 steps at a rate of 0.8 move Stable Diffusion's latents."""


def restore(
    prior: Prior,
    measurement: Measurement,
    image_shape: tuple[int, int, int],
    *,
    rep: Diffrep | None = None,
    views: Views | None = None,
    controls: Controls | None = None,
    method: ModeSeeker = RESTORATION,
    prompt: str = "",
    negative_prompt: str = "",
    guidance_scale: float | None = None,
    samples: int = 4,
    gamma: float = 0.0,
    guide: Guide | None = None,
    kernel: RadialKernel | None = None,
    features: Features | None = None,
    strength: float = 0.01,
    coupling: float = 0.075,
    seed: int = 0,
    callback: Callable[[StepReport], None] | None = None,
    state: SamplerState | None = None,
) -> Answers:
    """Pictures x with H x = y that the prior likes, different from one another.

    Args:
        prior, views, prompt, negative_prompt, guidance_scale, controls, seed, callback, state: as `distill` takes them.
        image_shape: (C, h, w) of the latents of one view.
        rep: whose renders are z (a SIREN, a texture); pictures that are their own parameters when not given.
        samples, gamma, kernel, features: how many answers, and how they repel (`BoundedRepulsion`).
        guide: bends what the prior says of all of them, instead or besides (`Guided`): in a measurement's hole alone,
            where it has one. What is known, answers need not differ in.
        strength, coupling: λ and ρ (`Augmented`); the defaults are the paper's for half of a face.

    Raises:
        RequestError: y that is not of the representation's views.
    """
    theta: Sequence[Tensor] = () if rep is None else tuple(rep.parameters().values())
    started = rep or LatentPictures(len(measurement.known), image_shape, device=getattr(prior, "device", "cpu"))
    if len(measurement.known) != started.view_count or (theta and tuple(started.image_shape) != tuple(image_shape)):
        raise RequestError("What is known must be of the same views as what is to be found.")
    make, free = method.objective, measurement.free(image_shape[1:], started.view_count)

    def objective() -> Objective:
        base = make() if guide is None else Guided(make(), guide, free)
        return Augmented(
            BoundedRepulsion(base, gamma, kernel or RadialKernel(), features), measurement, strength, coupling
        )

    result = distill(
        started, prior, views, method=replace(method, objective=objective), prompt=prompt,
        negative_prompt=negative_prompt, guidance_scale=guidance_scale, controls=controls, seed=seed,
        callback=callback, state=state, samples=samples,
    )  # fmt: skip
    with torch.no_grad():
        latents = torch.stack([one.diffrep.render() for one in result.samples])
        pictures = prior.decode(latents.flatten(0, 1))
        indices = torch.arange(started.view_count).repeat(samples)
        found = measurement.nearest(pictures, indices, coupling).clamp(0, 1)
    return Answers(found.unflatten(0, latents.shape[:2]), latents, result)
