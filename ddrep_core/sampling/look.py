"""What a prior sees and says, and the one place that asks it: checked, counted and timed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError, RunError
from ddrep_core.pictures import settle
from ddrep_core.priors.finite import FiniteWatch
from ddrep_core.priors.protocol import TILE, Conditioning, FollowsRun, Prior
from ddrep_core.process import Diffusion, Process
from ddrep_core.views.camera import Views

SHOWN_BELOW = 1.5
"""σ from which on a prior that wants to be shown a run's own picture is: above, there is no picture yet."""


@dataclass(frozen=True)
class Look:
    """One evaluation of N particles in the same B views.

    Attributes:
        sigma: the noise level.
        indices: [B] the views.
        render: [N, B, C, h, w] f(θ, π), with a graph in distillation.
        noise: [N, B, C, h, w] ε(π).
        clean: [N, B, C, h, w] the prior's x̂0.
        predicted: [N, B, C, h, w] its ε̂; at σ = ∞ the noise itself, of which it says nothing.
        weights: [B, 1, h, w] of the pixels.
        joins: whether these views join others that are held as they are: what they show is decided already.
        unled: [N, B, C, h, w] the prior's x̂0 before what is given was heeded; None where nothing is.
    """

    sigma: float
    indices: Tensor
    render: Tensor
    noise: Tensor
    clean: Tensor
    predicted: Tensor
    weights: Tensor
    joins: bool = False
    unled: Tensor | None = None

    def bent(self, clean: Tensor) -> Look:
        """The same look with another x̂0, and the ε̂ that belongs to it."""
        if math.isinf(self.sigma):
            return replace(self, clean=clean)
        return replace(self, clean=clean, predicted=self.predicted + (self.clean - clean) / self.sigma)


@dataclass
class Source:
    """What an edit starts from: it stays as it is.

    Args:
        rep: what it looks like.
        told: what the prior is told of all V views of it.
    """

    rep: Diffrep
    told: Conditioning
    _pictures: dict[int, Tensor] = field(default_factory=dict)

    def render(self, indices: Tensor) -> Tensor:
        """[B, C, h, w], each view drawn once."""
        views = indices.tolist()
        missing = [view for view in dict.fromkeys(views) if view not in self._pictures]
        if missing:
            with torch.no_grad():
                self._pictures |= dict(zip(missing, self.rep.render(torch.tensor(missing)), strict=True))
        return torch.stack([self._pictures[view] for view in views])


@dataclass
class Clock:
    """Seconds that a run spends in its parts. On CUDA, events on the stream tell them, and `settle` alone waits."""

    seconds: dict[str, float] = field(
        default_factory=lambda: {"prior": 0.0, "pullback": 0.0, "render": 0.0, "total": 0.0}
    )
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    under_way: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = field(default_factory=list)

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        if self.device.type == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            yield
            end.record()
            self.under_way.append((part, begin, end))
            return
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start

    def settle(self) -> dict[str, float]:
        """A copy of `seconds`, with all that was measured in it."""
        for part, begin, end in self.under_way:
            end.synchronize()
            self.seconds[part] += begin.elapsed_time(end) / 1000
        self.under_way.clear()
        return dict(self.seconds)


@dataclass
class Ask:
    """Asks a prior about renders under noise.

    Attributes:
        prior, conditioning: who is asked, and what it was told of each of the V views.
        weights: [V, 1, h, w] of the pixels.
        whole: B, how many views make one evaluation.
        evaluations: so far; N particles seen together count as one.
        source: what an edit starts from; None where nothing is edited.
    """

    prior: Prior
    conditioning: Conditioning
    weights: Tensor
    whole: int
    clock: Clock
    evaluations: float = 0.0
    source: Source | None = None
    _sigma: float = math.inf

    def __post_init__(self) -> None:
        self._watch = FiniteWatch(self._not_finite)

    @property
    def process(self) -> Process:
        """The prior's own, or diffusion where it names none."""
        return getattr(self.prior, "process", None) or Diffusion()

    def __call__(
        self, render: Tensor, noise: Tensor, sigma: float, indices: Tensor, told: Conditioning | None = None
    ) -> Look:
        """What the prior sees in N particles' renders of B views, in one batch.

        Args:
            render: [N, B, C, h, w]; no gradient goes through the prior.
            noise: [N, B, C, h, w].
            indices: [B] the views.
            told: of all V views, instead of the run's own conditioning (a source's prompt, no prompt).

        Raises:
            RequestError: a prior that cannot start at σ = ∞.
            RunError: numbers that are not finite, of this evaluation or, on CUDA, of an earlier one.
        """
        chosen = (self.conditioning if told is None else told)[indices.tolist() * len(render)]
        with self.clock.measure("prior"), torch.no_grad():
            if isinstance(chosen, FollowsRun) and chosen.unshown and sigma <= SHOWN_BELOW:
                pictures = self.prior.decode(render.flatten(0, 1)).clamp(0, 1)  # what all views agree on so far
                chosen = chosen.showing({TILE: pictures})
            x = self.process.noisy(render, noise, sigma)
            batch = x.flatten(0, 1)
            if math.isinf(sigma):
                if not hasattr(self.prior, "predict_clean"):
                    raise RequestError("This prior cannot start at σ = ∞: it has no predict_clean.")
                clean, predicted = self.prior.predict_clean(batch, sigma, chosen).to(x).unflatten(0, x.shape[:2]), noise
            else:
                predicted = self.prior.predict_noise(batch, sigma, chosen).to(x).unflatten(0, x.shape[:2])
                clean = x - sigma * predicted
        self.evaluations += len(indices) / self.whole
        self._sigma = sigma
        self._watch.see(clean)
        return Look(sigma, indices, render, noise, clean, predicted, self.weights[indices])

    def settle(self) -> None:
        """Wait for what was found out about earlier answers, and the pictures between, while nobody waited.

        Raises:
            RunError: some were not finite.
        """
        settle(self.prior)
        self._watch.settle()

    def _not_finite(self) -> RunError:
        return RunError(
            f"The prior returned numbers that are not finite at σ = {self._sigma:.3g}.",
            "Lower the guidance scale, or run in full precision (--precision fp32).",
        )

    def of_source(self, look: Look) -> Look:
        """The same views of what is edited, under the same noise, with the words that are said of it.

        Raises:
            RequestError: nothing is edited.
        """
        if self.source is None:
            raise RequestError("An edit needs words for what there is before it.", "Say them as `source_prompt`.")
        with self.clock.measure("render"):
            render = self.source.render(look.indices).to(look.noise).expand_as(look.noise)
        return self(render, look.noise, look.sigma, look.indices, self.source.told)


def together(tensors: Sequence[Tensor]) -> Tensor:
    """[N, ...] of N tensors alike; one is not copied, and keeps the strides that a network's rounding depends on."""
    return tensors[0][None] if len(tensors) == 1 else torch.stack(list(tensors))


def pixel_importance(rep: Diffrep, views: Views | None) -> Tensor:
    """[V, 1, h, w] the importance of every pixel: the camera's weight times the pixel's.

    Raises:
        RequestError: views that are not those of the representation, or of which none could paint.
    """
    if views is not None and len(views) != rep.view_count:
        raise RequestError(f"The representation was built over {rep.view_count} views, but {len(views)} were given.")
    theta = next(iter(rep.parameters().values()))
    _, height, width = rep.image_shape
    weights = torch.ones(rep.view_count, 1, height, width, dtype=theta.dtype, device=theta.device)
    pixel_weights = rep.pixel_weights()
    if pixel_weights is not None:
        weights = weights * pixel_weights.to(weights)
    if views is not None:
        weights = weights * torch.as_tensor(views.weights).to(weights)[:, None, None, None]
    if not bool((weights > 0).any()):
        raise RequestError("No view sees anything that it could paint.", "Move the cameras, or raise their weights.")
    return weights
