"""The plan that looks at what is sampled and takes another accordingly."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ddrep_core.diffreps.protocol import MatrixRendering
from ddrep_core.noise.pictures import unrelated_pictures
from ddrep_core.priors.protocol import Prior
from ddrep_core.schedules.grown import Grown
from ddrep_core.schedules.named import repaint_schedule
from ddrep_core.schedules.schedule import FixedWalk, Schedule, Segment
from ddrep_core.schedules.steps import Setting, Walk


@dataclass(frozen=True)
class Auto:
    """What the run itself calls for: a plain descent for one view, grown sampling where views share a linear
    representation and can agree in it, RePaint elsewhere.

    Views can be asked to agree where one thing looks the same from two sides. Colours do; the latents of an autoencoder
    know which way is up, and then no round of a joining view is ever good enough (docs/agreement.md). Nor can anything
    be held while the rest moves where the fit is not exact.

    Args:
        levels: of a whole descent, falling to 0.
        sigmas: the prior's own levels.
        budget: the most evaluations.
        group: views that join at once.
    """

    levels: tuple[float, ...]
    sigmas: tuple[float, ...] = field(repr=False)
    budget: float | None = None
    group: int = 1

    @property
    def nfe(self) -> float:
        """The most that a run is meant to cost."""
        return self.budget or 3.0 * (len(self.levels) - 1)

    def walk(self, setting: Setting) -> Walk:
        views = setting.rep.view_count
        if views == 1:
            return FixedWalk(Schedule((Segment(self.levels),)), setting.eta)
        grown = Grown(self.levels, self.group, self.budget)
        exact = isinstance(setting.rep, MatrixRendering) and setting.views_per_step == views
        alone = setting.particles == 1 and not setting.known  # grown sampling decides for one sample and all its views
        if exact and alone and unlike_when_turned(setting.prior) <= grown.tolerance:
            return grown.walk(setting)
        steps = len(self.levels) - 1
        if self.budget is not None:  # two visits of all levels but one
            steps = max(1, min(steps, int(self.budget + 1) // 2))
        return FixedWalk(repaint_schedule(self.sigmas, steps), setting.eta)


def unlike_when_turned(prior: Prior) -> float:
    """How far a mirrored picture's encoding is from the mirrored encoding, relative to its variance.

    0 where the prior denoises colours; above 0 where it denoises latents that depend on what lies beside them and on
    which way is up: the least conflict between two views of one thing that any texture of latents can have.
    """
    side = prior.image_size
    picture = (0.5 + 0.2 * unrelated_pictures((1, 3, side, side))).clamp(0.0, 1.0)
    with torch.no_grad():
        encoded, mirrored = prior.encode(picture), prior.encode(picture.flip(-1))
    variance = (encoded - encoded.mean((2, 3), keepdim=True)).square().mean()
    return float((mirrored - encoded.flip(-1)).square().mean() / variance.clamp_min(1e-30))
