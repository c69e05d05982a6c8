"""The detail pass: close-ups paint what the views of a finished texture see, but do not resolve."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import BakedTexture, Baker, Worn
from ddrep_core.geometry.close_ups import CloseUps, close_ups
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.jobs.blocks import TextureRequest
from ddrep_core.jobs.present import WHOLLY, Present, encoded
from ddrep_core.jobs.session import Preview, Session
from ddrep_core.jobs.task import Made, Stage
from ddrep_core.jobs.tone import toned
from ddrep_core.pictures import decode, to_uint8
from ddrep_core.priors.protocol import Controls
from ddrep_core.progress import portion
from ddrep_core.sampling.given import Given
from ddrep_core.sampling.sample import Result, StepReport
from ddrep_core.schedules.named import ddim_schedule, lower_levels
from ddrep_core.views import Views

STRENGTH = 0.4
"""How much close-ups may change, where nobody says otherwise: what is there is sharpened, and does not become a whole
object once more (docs/control.md)."""
STEPS = 100  # of all levels, where a job does not say how many
LEAST_STEPS = 4
BESIDE = 20.0
"""Evaluations of a view that cost about as much as to look at the mesh from there, and to lay its picture on it: by the
small bundled prior. Those of a large one cost more, and close-ups are fewer than could be had for the price."""
TONE = 1.0
"""Pixels of the whole: close-ups keep its colours as far as these can tell them, and give what is finer."""
MOST = 64  # close-ups, where nobody says how many
TOGETHER = 16 * 512**2
"""Pixels of the close-ups that are sampled together, at least as many as there were views: what those took fits."""
BORDER = 0.12  # of a close-up's frame, over which its pixels come to count in the bake
DONE = 0.95  # of a pixel, painted by earlier groups: it is theirs
PREVIEW_VIEWS = 4

ROOM = "A texture of a higher --resolution has room for more."
Write: TypeAlias = Callable[[Session, dict[str, BakedTexture], Tensor, dict[str, Any]], Made]
"""Makes of textures, what the views of the whole came to show, and what else result.json says of them, the sample."""
Shown: TypeAlias = Mapping[str, NDArray[np.uint8]]
"""[T, T, 3] sRGB in 8 bits, what each textured part shows, by its name."""


@dataclass(frozen=True)
class Subject:
    """What a detail pass is of.

    Attributes:
        mesh, views: as they were sampled.
        size: of the views' pictures, pixels a side.
        shown: the textures, of the resolution that is delivered.
        represent, controls: the representation of such views, and what a prior is shown of them, with what they show.
        worn: what the parts wore before, of which the kept part stays.
        least_guidance: as for the whole.
        evaluations: what the whole cost, each of one view.
        pictures: [V, 3, size, size] what the views came to show, sRGB in [0, 1]; None: what they see of the textures.
    """

    mesh: Mesh
    views: Views
    size: int
    shown: Shown
    represent: Callable[[Views], Diffrep]
    controls: Callable[[Views, Tensor], Controls]
    worn: Mapping[str, Worn]
    least_guidance: float
    evaluations: float
    write: Write
    pictures: Tensor | None = None

    @property
    def resolution(self) -> int:
        return len(next(iter(self.shown.values())))


def check_detail(settings: TextureRequest) -> None:
    """Raises a RequestError where something is said of close-ups that are not asked for."""
    if not settings.detail and (settings.close_ups is not None or settings.detail_strength is not None):
        said = "--close-ups" if settings.close_ups is not None else "--detail-strength"
        raise RequestError(f"{said} says something of close-ups, and none are asked for.", "Add --detail.")


def detail_stage(session: Session, subject: Subject, most: int | None, strength: float | None) -> Stage | Made | None:
    """The first group of close-ups; None where there is nothing that they could add, which is said.

    Args:
        most: close-ups; None: as many as cost about as much as the whole did.
        strength: how much they may change; None: `STRENGTH`.
    """
    strength = strength or STRENGTH
    steps = max(LEAST_STEPS, math.ceil(strength * (session.request.steps or STEPS)))
    looking = session.stage("Choosing close-ups")
    whole = subject.evaluations + BESIDE * len(subject.views)
    count = most or int(np.clip(whole / (steps + BESIDE), 1, MOST))
    kept = {name: each.kept for name, each in subject.worn.items() if each.kept.any()}
    chosen = close_ups(subject.mesh, subject.views, subject.resolution, subject.size, count, kept)
    if not chosen.cameras:
        session.warn(f"The views resolve all that they see: close-ups could add nothing. {ROOM}")
        return None
    far, near = len(subject.views), len(chosen.cameras)
    closeness = (chosen.after / max(chosen.before, 1e-6)) ** 2  # pixels of a close-up to one of the whole
    heavier = (replace(camera, weight=camera.weight * closeness) for camera in subject.views)  # area for area alike
    views = replace(subject.views, cameras=(*heavier, *chosen.cameras))
    baker = Baker(
        subject.mesh,
        views,
        subject.resolution,
        (subject.size, subject.size),
        importance=_importance(far, near, subject.size),
        worn=subject.worn,
        progress=portion(looking, 0.3, 1),
    )
    together = max(far, TOGETHER // subject.size**2)
    groups = [range(first, min(first + together, far + near)) for first in range(far, far + near, together)]
    before = _present(baker, subject, subject.shown).pictures[:far]
    pictures = before if subject.pictures is None else subject.pictures
    now = DetailPass(subject, chosen, views, baker, groups, strength, steps, pictures, before)
    return now.stage(session, 0, pictures, subject.shown)


@dataclass(frozen=True)
class DetailPass:
    """All close-ups of a subject, in groups that follow each other.

    Attributes:
        views: the subject's own, and after them the close-ups.
        baker: of all these views.
        groups: numbers of close-ups among the views, by the group that is sampled together.
        strength, steps: from which level each group starts, and in how many steps it comes down.
        pictures: [V, 3, H, W] what the views of the whole came to show, which stays.
        before: [V, 3, H, W] what they see of the textures that are there.
    """

    subject: Subject
    chosen: CloseUps
    views: Views
    baker: Baker
    groups: Sequence[range]
    strength: float
    steps: int
    pictures: Tensor
    before: Tensor

    def stage(self, session: Session, number: int, pictures: Tensor, textures: Shown) -> Stage | Made:
        """One group's close-ups, sampled given the whole and the groups before it.

        Args:
            pictures: [V', 3, H, W] of the whole and of all groups before this one.
            textures: what these made.
        """
        subject, group = self.subject, self.groups[number]
        far = len(subject.views)
        session.stage(f"Looking closely ({number + 1} of {len(self.groups)})" if number else "Looking closely")
        chosen = [*range(far), *group]
        views = self.views[chosen]
        present = _present(self.baker, subject, textures)
        shown = present.pictures[chosen]
        shown[:far] = self.pictures
        known = present.kept
        if number:
            done = self.baker.looking_at(range(far, group[0])) >= DONE
            known = torch.maximum(known, done.to(known))
        rep = subject.represent(views)
        height, width = rep.image_shape[1:]
        weights = (functional.adaptive_avg_pool2d(known[chosen], (height, width)) >= WHOLLY).float()
        weights[:far] = 1
        if bool((weights == 1).all()):  # the groups before have painted all that these see
            shown = present.pictures[group[0] : group[-1] + 1]
            return self._after(session, number, torch.cat([pictures, shown]), textures)
        given = Given(encoded(shown, rep, session.prior), weights, hold=1.0)
        rep = Present(shown, known[chosen]).start(rep, session.prior)
        recipe = session.recipe(
            rep,
            views,
            least_guidance=subject.least_guidance,
            controls=subject.controls(views, shown),
            strength=self.strength,
        )
        levels = lower_levels(session.prior.sigmas, self.strength)
        schedule = ddim_schedule(levels, min(self.steps, len(levels)))

        def finish(session: Session, result: Result) -> Stage | Made:
            with torch.no_grad():
                found = decode(session.prior, result.diffrep.render())[far:]
            inside = self.baker.share[group[0] : group[-1] + 1]
            found = toned(found.to(pictures), shown[far:], inside, self.blur)
            return self._after(session, number, torch.cat([pictures, found]), textures)

        return Stage(replace(recipe, schedule=schedule, guides=(), given=given), finish, _previews, f"detail_{number}")

    @property
    def blur(self) -> float:
        """Standard deviation, in pixels of a close-up, of what the views of the whole cannot tell apart."""
        return TONE * self.chosen.after / max(self.chosen.before, 1e-6)

    def _after(self, session: Session, number: int, pictures: Tensor, textures: Shown) -> Stage | Made:
        """The next group, or the sample."""
        baking = session.stage("Baking the texture")
        left = _present(self.baker, self.subject, textures).pictures[len(pictures) :]
        baked = self.baker.bake(torch.cat([pictures, left]), baking, near=textures)
        textures = {name: each.pixels() for name, each in baked.items()}
        if number + 1 < len(self.groups):
            return self.stage(session, number + 1, pictures, textures)
        after = _present(self.baker, self.subject, textures).pictures[: len(self.before)]
        session.stage("Writing the results")
        told = {
            "close_ups": len(self.chosen.cameras),
            "resolved": [round(self.chosen.before, 4), round(self.chosen.after, 4)],
            "far_change": round(float((after - self.before).abs().mean()), 4),
        }
        return self.subject.write(session, baked, self.pictures, {"detail": told})


def _present(baker: Baker, subject: Subject, textures: Shown) -> Present:
    """What all views see of textures, and of what is kept."""
    kept = {name: worn.kept for name, worn in subject.worn.items()}
    nothing = np.zeros((subject.resolution, subject.resolution), bool)
    return Present.of(baker, {name: Worn(picture, kept.get(name, nothing)) for name, picture in textures.items()})


def _importance(far: int, near: int, size: int) -> NDArray[np.float32]:
    """[far + near, size, size]: close-ups' pixels count less towards their frame, so that none ends abruptly."""
    place = (np.arange(size) + 0.5) / size
    ramp = np.clip(np.minimum(place, 1 - place) / BORDER, 0, 1)
    frame = (ramp * ramp * (3 - 2 * ramp))[:, None] * (ramp * ramp * (3 - 2 * ramp))
    return np.concatenate([np.ones((far, size, size)), np.broadcast_to(frame, (near, size, size))]).astype(np.float32)


def _previews(session: Session, step: StepReport) -> Sequence[Preview]:
    """Some of the close-ups in a row."""
    if step.indices is None:
        return []
    count = len(step.indices)
    shown = step.indices[:: max(1, count // PREVIEW_VIEWS)][:PREVIEW_VIEWS]
    row = Image.fromarray(to_uint8(torch.cat(list(decode(session.prior, step.diffrep.render(shown))), dim=2)))
    row.thumbnail((1024, 256))
    return [Preview("views", row)]
