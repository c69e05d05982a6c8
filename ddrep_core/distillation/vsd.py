"""Variational score distillation (Wang et al., "ProlificDreamer", NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from ddrep_core.distillation.adapter_score import AdapterScore
from ddrep_core.distillation.objective import ModeSeeker, Objective
from ddrep_core.priors.empirical import EmpiricalPrior
from ddrep_core.sampling.look import Ask, Look


class ParticleScore(Protocol):
    """What a denoiser of the particles' own pictures says: the score of q, which VSD takes from the prior's."""

    def predict(self, look: Look, ask: Ask) -> Tensor:
        """ε̂_q [N, B, C, h, w] in what the prior was shown."""
        ...

    def learn(self, look: Look) -> None:
        """The particles have moved."""
        return

    def state(self) -> dict[str, Tensor]:
        """What `load_state` goes on from to the same bytes."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        return


class ParticlesThemselves(ParticleScore):
    """The exact score of the N pictures that a view shows now; for priors in closed form.

    One particle makes it SDS. In many dimensions every picture is told from every other at once, and so it is with any
    number of them: the particles lose their spread (docs/diversity.md). What is learned blurs them, and keeps it.
    """

    def predict(self, look: Look, ask: Ask) -> Tensor:
        pictures = look.render.detach().transpose(0, 1)  # [B, N, C, h, w], a bank a view
        shown = ask.process.noisy(look.render.detach(), look.noise, look.sigma)
        bank = EmpiricalPrior(pictures)
        told = bank.condition()[list(range(len(pictures))) * len(shown)]
        return bank.predict_noise(shown.flatten(0, 1), look.sigma, told).unflatten(0, shown.shape[:2])


@dataclass
class VariationalScoreDistillation(Objective):
    """w(σ) (sg[ε̂ − ε̂_q] · render), ε̂ with guidance and ε̂_q, of the particles' pictures, without (Eq. 9).

    Args:
        score: says ε̂_q, and learns after each step.
    """

    score: ParticleScore = field(default_factory=AdapterScore)

    def loss(self, look: Look, ask: Ask) -> Tensor:
        away = look.predicted - self.score.predict(look, ask)
        return (self.weight(look.sigma) * away * look.weights * look.render).sum()

    def after(self, look: Look) -> None:
        self.score.learn(look)

    def state(self) -> dict[str, Tensor]:
        return self.score.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.score.load_state(state)


def variational(score: Callable[[], ParticleScore] = AdapterScore) -> ModeSeeker:
    """VSD with its published settings (t uniform in 2-98 %, Adam, guidance 7.5), whoever tells the particles' score."""
    return ModeSeeker(
        "VSD", partial(_made, score), (0.02, 0.02), torch.optim.Adam, (0.9, 0.99), guidance_scale=7.5, steps=25_000
    )


def _made(score: Callable[[], ParticleScore]) -> Objective:
    return VariationalScoreDistillation(score())


VARIATIONAL_SCORE_DISTILLATION = variational()
