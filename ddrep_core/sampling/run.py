"""Algorithm 1: one loop over the words of a walk."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from ddrep_core.process.diffusion import langevin_share, reach
from ddrep_core.sampling.disagreement import conflicts, unrelated_share
from ddrep_core.sampling.given import Asking, Given
from ddrep_core.sampling.guide import Guide
from ddrep_core.sampling.look import Ask, Look, together
from ddrep_core.sampling.particle import Fit, Particle
from ddrep_core.schedules.steps import Hold, Join, Jump, Moved, Paint, Recall, Remember, Reverse, Step, Walk, Word


@dataclass
class Run:
    """N particles that go through the same steps.

    Attributes:
        particles: the samples.
        ask: the prior, with what it was told of the views.
        views_per_step: B.
        guides: bend what the prior says.
        given: what is known of the views; those of which all is are held in every step.
        asking: how often the prior is asked what follows from what is given.
        position: steps taken.
        queue: views of the round over the bank that is under way, where B < V.
    """

    particles: list[Particle]
    ask: Ask
    views_per_step: int
    guides: Iterable[Guide] = ()
    given: Given | None = None
    asking: Asking = field(default_factory=Asking)
    position: int = 0
    queue: list[int] = field(default_factory=list)
    _fit: Fit | None = None

    @cached_property
    def known(self) -> tuple[int, ...]:
        """The views of which nothing is left to sample."""
        return () if self.given is None else self.given.whole

    @property
    def bank(self) -> list[int]:
        """The views that may move."""
        return [view for view in range(len(self.ask.weights)) if view not in self.known]

    def fit(self, views: tuple[int, ...] | None, held: tuple[int, ...]) -> Fit:
        """Of these views, or those of the next step; kept while the same move and the same are held."""
        moving = self.next_views() if views is None else torch.tensor(views)
        moved = () if views is None else views  # a given view moves where a walk looks at it by itself
        held = (*held, *(view for view in self.known if view not in held and view not in moved))
        if self._fit is None or self._fit.held != held or not torch.equal(self._fit.moving, moving):
            self._fit = Fit.of(moving, held, self.ask.weights, self.given)
        return self._fit

    def next_views(self) -> Tensor:
        """[B] all that may move, or the next few of a shuffled round over them, the same for all particles.

        On the CPU, wherever the pictures are: a GPU would be waited for whenever a view is asked for by its number.
        """
        bank, count = self.bank, self.views_per_step
        if count >= len(bank):
            return torch.tensor(bank)
        while len(self.queue) < count:
            order = torch.randperm(len(bank), generator=self.particles[0].generator).tolist()
            round_ = [bank[number] for number in order]
            self.queue += [view for view in round_ if view not in self.queue[-count:]] or round_
        chosen, self.queue = self.queue[:count], self.queue[count:]
        return torch.tensor(chosen)

    def render(self, indices: Tensor) -> Tensor:
        """[N, B, C, h, w]."""
        with self.ask.clock.measure("render"):
            return together([particle.render(indices) for particle in self.particles])

    def noise(self, indices: Tensor) -> Tensor:
        """[N, B, C, h, w]."""
        return together([particle.noise[indices] for particle in self.particles])

    def look(self, render: Tensor, noise: Tensor, sigma: float, fit: Fit) -> Look:
        """What the prior sees in the views that move, heeding what is given of them, as the guides would have it."""
        again = set(fit.moving.tolist()) <= set(fit.held)  # they are held as they look: what is given of them is in it
        given = None if self.given is None or again else self.given.of(fit.moving, sigma)
        if given is None:
            found = self.ask(render, noise, sigma, fit.moving)
        else:
            found = self.ask(given.held(render), noise, sigma, fit.moving)
            found = given.heeded(found, lambda other: self.ask(other, noise, sigma, fit.moving), self.asking)
        if self.guides:
            found = replace(found, joins=any(view not in self.known for view in fit.held))
        for guide in self.guides:
            found = found.bent(guide.bend(found, self.ask.prior.decode))
        return found if given is None or not self.guides else found.bent(given.put(found.clean))

    def pull_back(self, target: Tensor, fit: Fit, sigma: float) -> None:
        """θ ← argmin E_π w(π) ‖f(θ, π) − f'(π)‖² of every particle, f' [N, B, C, h, w]."""
        with self.ask.clock.measure("pullback"):
            for particle, wanted in zip(self.particles, target, strict=True):
                particle.pull_back(wanted, fit, sigma)

    def renew(self, step: Step, sigma_after: float, keep: float, scales: Sequence[float]) -> None:
        """A part of every particle's ε is drawn anew, `scales` [N] times as strong as white noise."""
        for particle, scale in zip(self.particles, scales, strict=True):
            particle.renew(step.sigma, sigma_after, keep, scale, step.views)

    def compare(self, target: Tensor, look: Look, fit: Fit, way: float) -> list[Moved]:
        """What of each particle's x̂0 would not fit (`disagreement.py`), where a step goes so far towards it."""
        render = self.render(fit.moving)
        with self.ask.clock.measure("render"), torch.no_grad():
            left = (target - render) / max(way, 1e-9)
            if fit.share is None:
                fit.share = self._unrelated_share(fit)
            weights, share = fit.weights[: len(fit.moving)], fit.share
            found = [conflicts(rest, clean, weights, share) for rest, clean in zip(left, look.clean, strict=True)]
            numbers = torch.cat([torch.stack([whole for _, whole in found])[None], powers(look)])
        moved = []
        for number, (whole, *strengths) in enumerate(numbers.T.tolist()):  # all that is read of a step, in one wait
            clean, rest, drawn = look.clean[number], left[number], render[number]
            self.particles[number].disagreement = whole = min(1.0, whole)
            unled = clean if look.unled is None else look.unled[number]
            each = found[number][0]
            moved.append(Moved(fit.moving, clean, each, whole, share, rest, drawn, unled, tuple(strengths)))
        return moved

    def arrange(self, word: Word) -> None:
        """What is no step: done at once for every particle, by fits and memory alone."""
        for particle in self.particles:
            match word:
                case Remember(name, views):
                    particle.remember(name, views)
                case Recall(name):
                    particle.recall(name)
                case Hold(views):
                    particle.hold(tuple(view for view in views if view not in self.known))  # those are, as given
                case Paint(views, held, name):
                    with self.ask.clock.measure("pullback"):
                        particle.paint(self.fit(views, held), name)
                case Join(views):
                    particle.join(views)

    def _unrelated_share(self, fit: Fit) -> Tensor:
        """What unrelated pictures would leave in this fit."""
        if len(fit.moving) < len(self.bank) and not fit.held and self.views_per_step < len(self.bank):
            # Mini-batches: never twice the same.
            return torch.ones(len(fit.moving), dtype=fit.weights.dtype, device=fit.weights.device)
        first = self.particles[0]
        return unrelated_share(first.rep, first.solver, fit.indices, fit.weights, len(fit.moving))


Tell = Callable[[Step, Look | None, list[Moved] | None], None]
"""Called after each step with what the prior said of it and what came of it; after a jump, with neither."""


def follow(run: Run, walk: Walk, tell: Tell) -> None:
    """Algorithm 1, N particles at once: steps down, jumps up, until the walk is at its end.

    What the prior sees of a view is x(π) = f(θ, π) + σ ε(π); θ carries the clean part alone.
    """
    ask, process, start = run.ask, run.ask.process, time.perf_counter() - run.ask.clock.seconds["total"]
    while (word := walk.next()) is not None:
        look, moved = None, None
        match word:
            case Reverse(sigma, sigma_next, eta):
                fit = run.fit(word.views, word.held)
                share = langevin_share(sigma, sigma_next, eta)  # λ, line 5
                render, noise = run.render(fit.moving), run.noise(fit.moving)  # f(θ, π), ε(π)
                look = run.look(render, noise, sigma, fit)  # x̂0 and ε̂, line 11, bent by guides
                drift = 0.0 if ask.source is not None else share  # a noise that both branches share costs neither any
                target = process.target(look.render, look.clean, sigma, sigma_next, drift)  # f', Eq. 4
                if word.heun:
                    target = heun_target(run, look, fit, sigma_next, drift)
                run.pull_back(target, fit, sigma_next)  # θ ← argmin E_π w(π) ‖f(θ, π) − f'(π)‖², Eq. 5-8
                moved = run.compare(target, look, fit, reach(sigma, sigma_next, drift))
                if share > 0:  # ε ← √(1−λ²) ε + λ ξ, line 16; ξ gives back the variance that x̂0 lacks
                    white = word.heun or ask.source is not None  # a source has ε in common: it stays white
                    fresh = [1.0 if white else process.fresh_scale(sigma, sigma_next, share, *m.powers) for m in moved]
                    run.renew(word, sigma_next, math.sqrt(1 - share**2), fresh)
            case Jump(sigma, sigma_high, keep, scale):  # θ stays: line 13, RePaint's and Restart's
                run.renew(word, sigma_high, keep, [scale] * len(run.particles))
            case _:
                run.arrange(word)  # what walks remember, recall, hold and paint
        walk.hear(word, None if moved is None else moved[0])
        if isinstance(word, Reverse | Jump):
            run.position += 1
            ask.clock.seconds["total"] = time.perf_counter() - start
            tell(word, look, moved)


def powers(look: Look) -> Tensor:
    """[3, N] the mean squares of each particle's x̂0, ε̂ and ε: what its fresh noise must give back depends on them."""
    weights = look.weights
    total = (weights.sum() * look.clean.shape[2]).clamp_min(1e-30)
    pictures = (look.clean, look.predicted, look.noise)
    return torch.stack([(weights * each**2).flatten(1).sum(1) / total for each in pictures])


def heun_target(run: Run, look: Look, fit: Fit, sigma_next: float, share: float) -> Tensor:
    """The target with the slope averaged over both ends: go there by the ODE, ask the prior there, return to θ.

    f + (σ' − σ)((ε̂ + ε̂')/2 − ε) + σ'(1 − √(1−λ²))(ε − ε̂): Heun's step, and the share of the noise that is renewed.
    """
    euler = run.ask.process.target(look.render, look.clean, look.sigma, sigma_next, 0.0)
    before = [particle.theta() for particle in run.particles]
    run.pull_back(euler, fit, sigma_next)
    beyond = run.look(run.render(fit.moving), look.noise, sigma_next, fit)
    for particle, theta in zip(run.particles, before, strict=True):
        particle.put_back(theta)
    target = look.render + (sigma_next - look.sigma) * ((look.predicted + beyond.predicted) / 2 - look.noise)
    return target + sigma_next * (1 - math.sqrt(1 - share**2)) * (look.noise - look.predicted)
