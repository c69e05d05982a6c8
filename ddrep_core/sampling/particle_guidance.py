"""Particle guidance: samples that are made together keep away from each other, and from what was saved before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError
from ddrep_core.sampling.guide import Decode, Guide
from ddrep_core.sampling.kernel import RadialKernel
from ddrep_core.sampling.look import Look

Features: TypeAlias = Callable[[Tensor], Tensor]
"""Pictures [B, 3, H, W], sRGB in [0, 1], to what they are compared by, [B, ...]; any `torch.nn.Module` is one."""


@dataclass(frozen=True)
class ParticleGuidance(Guide):
    """x̂0_i ← x̂0_i − w n V(σ) ∇_i Σ_j k(i, j), with V = s²σ²/(s² + σ²): each goes away from those that it resembles.

    Corso, Xu et al., "Particle Guidance" (ICLR 2024), with the potential −Σ k; also ch. 6 of Xu's thesis. With n, the
    numbers of a kernel's points that count (of one view, or of all where it pools them), w means the same for pictures
    of any size and any number of views; the paper's σ² in place of V throws particles out of the data's range at high
    noise. None moves by more than w σ²/(s² + σ²) s on average, however near to each other they are.

    A fixed potential is no prior's: of
    what is rare it draws more (docs/diversity.md), and with η = 0 nothing brings back what it threw too far.

    Args:
        weight: w; 0 changes nothing.
        kernel: k.
        space: φ. "clean": the prior's x̂0; "mean": the mean of all that its views show, in each channel, so that all
            pixels of all views go one way; "render": f(θ, π); "noisy": x, which of independent noise loses most of the
            force; or features of decoded pictures, whose gradient leads back to x̂0.
        unlike: [M, V, C, h, w] views of what was saved before, in the prior's space; it repels, and does not move.
        variance: s², of one number of x0.
        least_sigma: below it, nothing is bent.
        in_turn: samples that are made one after another keep away from those before them, too.
    """

    weight: float
    kernel: RadialKernel = field(default_factory=RadialKernel)
    space: Literal["clean", "mean", "render", "noisy"] | Features = "clean"
    unlike: Tensor | None = None
    variance: float = 1.0
    least_sigma: float = 0.0
    in_turn: bool = False

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise RequestError(f"A weight of repulsion must be zero or more, not {self.weight}.")
        if self.unlike is not None and (self.unlike.ndim != 5 or not bool(torch.isfinite(self.unlike).all())):
            raise RequestError(f"What to keep away from must be finite, [M, V, C, h, w], not {self.unlike.shape}.")

    def following(self, earlier: Sequence[Diffrep]) -> ParticleGuidance:
        """See `InTurn`."""
        if not self.in_turn or not earlier or self.weight == 0:
            return self
        with torch.no_grad():
            made = torch.stack([rep.render() for rep in earlier])
        return replace(self, unlike=made if self.unlike is None else torch.cat([self.unlike.to(made), made]))

    def bend(self, look: Look, decode: Decode) -> Tensor:
        """See `Guide`. A view that joins others shows what they show, however like that is to something else."""
        alone = len(look.clean) == 1 and self.unlike is None
        if self.weight == 0 or alone or look.joins or look.sigma < self.least_sigma:
            return look.clean
        if self.kernel.turned and bool((look.indices.diff() != 1).any()):
            raise RequestError(
                "Objects can only be compared as they are turned where every step sees the whole orbit in its order."
            )
        share = self.weight / (1 + self.variance / look.sigma**2)
        others = None if self.unlike is None else self.unlike[:, look.indices.to(self.unlike.device)].to(look.clean)
        shape, seen = look.clean.shape, look.weights > 0  # what paints nothing is nobody's likeness
        if callable(self.space):
            return look.clean + self._by_features(look, decode, self.space, others, seen, share)
        match self.space:
            case "clean":
                points = look.clean
            case "mean":
                points = _mean(look.clean, seen)
                others = None if others is None else _mean(others, seen)
            case "render":
                points = look.render
            case "noisy":
                points = look.render + look.sigma * look.noise
        flat = (points * seen).flatten(2)
        found = self.kernel.resemblance(flat, None if others is None else (others * seen).flatten(2))
        counted = seen.flatten(1).sum(1).to(flat) * shape[2] / seen.shape[1]  # [B] n
        compared = counted.sum() if self.kernel.pooled else counted
        way = found.away * (2 * self.variance * compared / found.bandwidth)[:, None]
        length = (way.square().sum((1, 2)) / counted.sum().clamp_min(1)).sqrt()
        way = way * (self.variance**0.5 / length.clamp_min(1e-30)).clamp_max(1.0)[:, None, None]
        return look.clean + share * way.unflatten(2, shape[2:])

    def _by_features(
        self, look: Look, decode: Decode, features: Features, others: Tensor | None, seen: Tensor, share: float
    ) -> Tensor:
        """[N, B, C, h, w] the way along the features' gradient on which two that are as near as most part by half their
        distance, to first order; no longer than any other, however flat the features are there."""

        def described(latents: Tensor) -> Tensor:
            return features(decode((latents * seen).flatten(0, 1))).flatten(1).unflatten(0, latents.shape[:2])

        known = None
        if others is not None:
            with torch.no_grad():
                known = described(others)
        with torch.enable_grad():
            clean = look.clean.detach().requires_grad_(True)
            points = described(clean)
            away = self.kernel.resemblance(points.detach(), known).away
            (way,) = torch.autograd.grad(points, clean, away.to(points))
        asked, reached = (each.double().square().flatten(1).sum(1) for each in (away, way))
        length = asked / reached.clamp_min(1e-30)
        most = (self.variance * way[0].numel() / reached.clamp_min(1e-30)).sqrt()
        return share * torch.minimum(length, most).to(way).reshape(-1, 1, 1, 1, 1) * way


def _mean(pictures: Tensor, seen: Tensor) -> Tensor:
    """[N, B, C, h, w] the mean of each sample's channels over all that is seen [B, 1, h, w], at every pixel."""
    mean = (pictures * seen).sum((1, 3, 4), keepdim=True) / seen.sum().clamp_min(1)
    return mean.expand_as(pictures)
