"""How an edit is sampled, and how its change comes onto the original.

What is edited is brought into the prior's space by its own autoencoder, which keeps no fine detail. So what comes out
is the original with the change on it: where nothing changed, the original's own pixels (`carried_over`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.distillation import DELTA_DENOISING, POSTERIOR_DISTILLATION, SCORE_DISTILLATION, ModeSeeker, distill
from ddrep_core.errors import RequestError
from ddrep_core.jobs.blocks import EditRequest
from ddrep_core.jobs.folder import replacing
from ddrep_core.jobs.pace import StageProgress
from ddrep_core.jobs.recipe import Procedure, Recipe
from ddrep_core.jobs.session import Session
from ddrep_core.jobs.task import Illustration
from ddrep_core.pictures import unchanged
from ddrep_core.priors.protocol import Prior
from ddrep_core.report.contact_sheet import image_sheet
from ddrep_core.sampling.given import Given
from ddrep_core.sampling.sample import Result, SamplerState, StepReport
from ddrep_core.schedules.named import lower_levels
from ddrep_core.schedules.parse import parse_schedule
from ddrep_core.solvers.choose import choose_solver
from ddrep_core.views import Views

MODE_SEEKERS = {"sds": SCORE_DISTILLATION, "dds": DELTA_DENOISING, "pds": POSTERIOR_DISTILLATION}
DESCENT_STEPS, DESCENT_RATE = 300, 0.05
STRENGTH = {"difference": 1.0, "sdedit": 0.7}
DIFFERENCE_ETA = 1.0  # the shared noise is another one in every step: docs/methods.md

GUIDANCE_SHARE, SPARED = 1 / 6, 2.5
"""Of what the prior's own guidance has above `SPARED`, how much a milder edit takes."""


@dataclass(frozen=True)
class Descent:
    """One run of `dd.distill` from where the representation is."""

    rep: Diffrep
    views: Views | None
    method: ModeSeeker
    told: Mapping[str, Any]
    together: bool = False

    def run(
        self,
        prior: Prior,
        *,
        seed: int,
        samples: int,
        callback: Callable[[StepReport], None],
        state: SamplerState | None,
    ) -> Result:
        """As `Procedure.run`."""
        return distill(
            self.rep, prior, self.views, method=self.method, seed=seed, samples=samples, callback=callback,
            state=state, from_scratch=False, **self.told,
        )  # fmt: skip


def procedure(
    session: Session, recipe: Recipe, learning_rate: float = DESCENT_RATE, known: Tensor | None = None
) -> Procedure:
    """How the request wants a representation edited, from how it would be sampled.

    Args:
        learning_rate: of mode-seekers.
        known: [V, 1, h, w] 1 where a pixel stays as the representation shows it now, else 0.

    Raises:
        RequestError: a schedule that cannot be read, or that no edit can follow.
    """
    request, settings = session.request, session.request.settings(EditRequest)
    source_prompt = None if settings.method == "sdedit" else settings.source_prompt
    if settings.method in MODE_SEEKERS:
        brief = MODE_SEEKERS[settings.method].with_settings(
            steps=request.steps or DESCENT_STEPS, learning_rate=learning_rate
        )
        told = {
            "prompt": recipe.prompt,
            "negative_prompt": recipe.negative_prompt,
            "guidance_scale": recipe.guidance_scale,
            "controls": recipe.controls,
            "views_per_step": recipe.views_per_step,
            "source_prompt": source_prompt if settings.method != "sds" else None,
        }
        return Descent(recipe.rep, recipe.views, brief, told)
    words = "plain" if request.schedule == "auto" else request.schedule
    if words.split(":")[0].strip().lower() in ("grown", "auto"):
        raise RequestError(
            f"An edit begins with what there is, and the schedule '{words}' with nothing.",
            "Use plain, repaint, restart or annealed.",
        )
    levels = lower_levels(session.prior.sigmas, settings.strength or STRENGTH[settings.method])
    eta = DIFFERENCE_ETA if settings.method == "difference" and request.eta is None else recipe.eta
    schedule = parse_schedule(words, levels, request.steps)
    if known is not None:
        recipe = replace(recipe, given=_staying(recipe.rep, known, asked=settings.method != "difference"))
    return replace(recipe, schedule=schedule, eta=eta, from_scratch=False, source_prompt=source_prompt)


def milder(session: Session, recipe: Recipe) -> Recipe:
    """The recipe with the guidance of an edit by difference of what many views share, where the request says none."""
    request = session.request
    if request.guidance_scale is not None or request.settings(EditRequest).method != "difference":
        return recipe
    return replace(recipe, guidance_scale=milder_guidance(recipe.guidance_scale, recipe.negative_prompt))


def milder_guidance(usual: float, negative_prompt: str = "") -> float:
    """The guidance of an edit by difference, from the prior's usual one.

    Making something needs guidance to be a thing at all. An edit has its picture already, and what many views share its
    shape: guidance then carries the change too far, and gains little by it (docs/methods.md). Negative words are only
    heard above 1, and get a share of all that is above it.
    """
    if usual <= 1:
        return usual
    return 1 + GUIDANCE_SHARE * max(0.0, usual - (1.0 if negative_prompt.strip() else SPARED))


def _staying(rep: Diffrep, known: Tensor, asked: bool) -> Given:
    """What a representation shows now, as what is known of its views.

    Args:
        asked: whether the prior is asked what follows from it. A difference needs no such answer: source and target
            both see it, and what follows from it is in the source already.
    """
    with torch.no_grad():
        shown = rep.render()
    return Given(shown, known.to(shown), probes=1 if asked else 0, hold=1.0)


def show(rep: MatrixDiffrep, targets: Tensor) -> None:
    """Make every view show its target [V, C, h, w], as nearly as the representation can."""
    own = rep.pixel_weights()
    weights = torch.ones_like(targets[:, :1]) if own is None else own
    choose_solver(rep, "linear").fit(rep, targets, torch.arange(rep.view_count), weights)


def carried_over(original: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The original with the change from `before` to `after` on it, all [..., 3, H, W] in [0, 1].

    `before` is the original as the prior's autoencoder draws it. What it lost of the original is given back where
    nothing changed; where something did, it would be a ghost of what was there.
    """
    side = max(1, round(max(original.shape[-2:]) / 128)) * 2 + 1
    change = (after - before).abs().amax(-3, keepdim=True)
    flat = change.reshape(-1, 1, *change.shape[-2:])
    wide = functional.avg_pool2d(flat, side, 1, side // 2, count_include_pad=False).reshape(change.shape)
    return (after + unchanged(wide) * (original - before)).clamp(0, 1)


def beside(
    session: Session,
    before: Callable[[], Sequence[Image.Image]],
    after: Callable[[], Sequence[Image.Image]],
    titles: Sequence[str],
) -> Illustration:
    """Before and after, one above the other."""
    sheet = session.outputs / "before_after.png"

    def draw(progress: StageProgress) -> None:
        rows = {"before": before()}
        progress(0.5)
        rows["after"] = after()
        with replacing(sheet) as path:
            image_sheet(rows, titles).save(path, format="PNG")

    return Illustration("the comparison", {"before_after": sheet}, draw)
