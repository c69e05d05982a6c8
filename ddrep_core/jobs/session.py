"""What a task needs while it runs: events, previews, cancelling, checkpoints, and a `sample` that has all of them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import Cancelled, RequestError, StaleState
from ddrep_core.jobs.apart import OF_FORMS, Box, Push, guides_to_differ
from ddrep_core.jobs.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ddrep_core.jobs.events import EventLog, TimeLeft
from ddrep_core.jobs.folder import JobFolder, read_json, write_bytes, write_json
from ddrep_core.jobs.identity import is_record
from ddrep_core.jobs.pace import Paced, StageProgress, Stages, StopSwitch
from ddrep_core.jobs.placement import Placement
from ddrep_core.jobs.recipe import Procedure, Recipe, guidance_of
from ddrep_core.jobs.request import TASKS, Request
from ddrep_core.jobs.views import request_cameras
from ddrep_core.pictures import middle_square, png_bytes, read_picture
from ddrep_core.priors.protocol import REFERENCE, TILE, Controls, Prior, hears
from ddrep_core.sampling.sample import Result, SamplerState, StepReport
from ddrep_core.schedules.grown import Grown
from ddrep_core.schedules.named import lower_levels
from ddrep_core.schedules.parse import parse_schedule
from ddrep_core.views.camera import Views

PreviewKind = Literal["texture", "views", "image", "panorama", "object"]


@dataclass(frozen=True)
class Preview:
    """A small picture of the run. Kind "texture" lies on an object's own UVs, which `object_name` then names."""

    kind: PreviewKind
    picture: Image.Image
    object_name: str = ""


MakePreviews: TypeAlias = "Callable[[Session, StepReport], Sequence[Preview]]"
"""Small pictures of where a run is."""


class Session:
    """One run of one job.

    Tasks call `stage` before slow work, `recipe` for what the request says of a run, and `warn` for what a person
    should know. Running the recipe (`sample`) is the session's.

    Attributes:
        folder, request: of this job.
        prior: the request's; loaded when it is first asked for, so that a task checks what is cheap to check before.
        sample_number: the sample that is being made, from 0.
        seed: its seed.
        outputs: its output folder.
    """

    def __init__(
        self,
        folder: JobFolder,
        request: Request,
        events: EventLog,
        stop: StopSwitch,
        load_prior: Callable[[Request], Prior],
        checkpoint_seconds: float = 10.0,
        preview_seconds: float = 3.0,
    ) -> None:
        self.folder, self.request, self.events, self.stop = folder, request, events, stop
        self.sample_number = 0
        self._load_prior = load_prior
        self._preview_pace = Paced(preview_seconds, share=0.02)
        self._checkpoint_pace = Paced(checkpoint_seconds, share=0.05 if checkpoint_seconds else 0.0)
        self._time_left = TimeLeft()
        self._stages = Stages(events, stop)

    @cached_property
    def prior(self) -> Any:
        self.stage("Loading the prior")
        return self._load_prior(self.request)

    @property
    def seed(self) -> int:
        return self._seed_of(self.sample_number)

    def _seed_of(self, number: int) -> int:
        return (self.request.seed + number) % 2**63

    @property
    def outputs(self) -> Path:
        return self.folder.sample_outputs(self.sample_number, self.request.samples)

    def stage(self, message: str) -> StageProgress:
        """Say what is done now; returns what to tell how far it is. A good moment to stop, too."""
        return self._stages.begin(message)

    def telling_the_time(self) -> AbstractContextManager[None]:
        """While it lasts, a stage of which nothing was heard for some seconds says how long it has been at work."""
        return self._stages.telling_the_time()

    def warn(self, message: str, **details: Any) -> None:
        """Something a person should know that does not stop the run; `details` are for programs."""
        self.events.emit("warning", message=message, **details)

    def recipe(
        self,
        rep: Diffrep,
        views: Views | None = None,
        *,
        auto_schedule: str = "plain",
        auto_steps: int | None = None,
        least_guidance: float = 0.0,
        controls: Controls | None = None,
        views_per_step: int | None = None,
        strength: float | None = None,
        box: Box | None = None,
        push: Push = OF_FORMS,
    ) -> Recipe:
        """How the request wants a representation sampled.

        The one place where a wish that tasks have in common becomes an argument of the sampler: no task reads the
        words, the guidance, or whatever else a request may come to say.

        Args:
            rep, views, controls, views_per_step: as `dd.sample` takes them.
            auto_schedule: what the task takes for the schedule "auto".
            auto_steps: of that, where the request says no number; the schedule's own when None.
            strength: how much may change of what the representation shows already; None: it starts from nothing.
            least_guidance: where the request leaves it to the prior, the task asks for no weaker guidance than this,
                except of a prior that was distilled to draw without.
            box: where the object stands, to put there what it is to be unlike.
            push: how hard samples that shall differ keep apart, where the request says 1.

        Raises:
            RequestError: a schedule that cannot be read, or results that cannot; a ControlNet that there is nothing to
                show; a reference picture for a camera that is none.
        """
        request = self.request
        if TILE in hears(self.prior) and not TASKS[request.task][0].takes_cameras:
            raise RequestError(
                f"A tile ControlNet is shown the texture that is made, and the task '{request.task}' makes none.",
                "Leave it out, or choose one of another kind.",
            )
        auto = request.schedule == "auto"
        schedule, steps = (auto_schedule, request.steps or auto_steps) if auto else (request.schedule, request.steps)
        sigmas = self.prior.sigmas if strength is None else lower_levels(self.prior.sigmas, strength)
        recipe = Recipe(
            rep,
            views,
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            guidance_scale=guidance_of(self.prior, request.guidance_scale, least_guidance),
            schedule=parse_schedule(schedule, sigmas, steps),
            from_scratch=strength is None,
            controls={**(controls or {}), **self._reference(views)},
            views_per_step=views_per_step,
        )
        if request.eta is not None:
            recipe = replace(recipe, eta=request.eta)
        in_turn = isinstance(recipe.schedule, Grown)  # which decides for one sample and all its views
        guides = guides_to_differ(request, self.folder, rep, views, box, self.prior, push, in_turn)
        return replace(recipe, guides=guides, together=request.samples > 1, in_turn=in_turn) if guides else recipe

    def _reference(self, views: Views | None) -> Controls:
        """The picture that the prior shall look at, if the request has one; one for each view where they differ."""
        told = self.request.reference
        if told is None:
            return {}
        common = read_picture(self.folder.resolve(told.picture))
        if not told.cameras:
            return {REFERENCE: common[None]}
        names = [] if views is None else [camera.name for camera in views]
        asked = request_cameras(self.request, self.folder) if names else None
        if asked is None or (isinstance(asked, Placement) and asked.count < len(names)):
            raise RequestError(
                f"'{self.request.task}' looks from where it likes: no view of it can have a reference of its own.",
                "Leave --view-reference out"
                + (", or give --cameras a file." if TASKS[self.request.task][0].takes_cameras else "."),
            )
        known = names if isinstance(asked, Placement) else [camera.name for camera in asked]
        own: dict[str, Tensor] = {}
        for each in told.cameras:
            if each.camera in own:
                raise RequestError(f"There are two reference pictures for the camera '{each.camera}'.", "Give one.")
            if each.camera not in known:
                raise RequestError(
                    f"There is a reference picture for the camera '{each.camera}', which is none.",
                    f"There are: {', '.join(known[:16])}.",
                )
            own[each.camera] = read_picture(self.folder.resolve(each.file))  # of no meaning where it is left out
        # Of one size, to lie in one tensor; the middle square is all that is looked at.
        squares = {name: middle_square(picture) for name, picture in {**own, "": common}.items()}
        return {REFERENCE: torch.stack([squares[name if name in own else ""] for name in names])}

    def sample(
        self,
        recipe: Procedure,
        stage: str = "sample",
        previews: MakePreviews | None = None,
        together: bool = False,
    ) -> Result:
        """Run a recipe for the current sample's seed, with checkpoints, progress, previews and cancelling.

        A sample may be made of several stages with different names (an object, then its texture). A finished stage is
        not sampled again when the job is resumed, nor is a finished sample.

        Args:
            recipe: what to run, with the session's prior.
            stage: this run's name among those of one sample.
            previews: makes pictures of a step; called now and then, for at most 2 % of the time.
            together: run it for all samples of the job at once. The others' results are kept until their turn comes.

        Raises:
            Cancelled: a person asked for it. The checkpoint is written.
        """
        result = self._kept(recipe.rep, stage)
        if result is not None:
            return result
        numbers = range(self.request.samples) if together else range(self.sample_number, self.sample_number + 1)
        try:
            found = self._run(recipe, stage, previews, numbers, self._resume_from(stage, numbers))
        except StaleState as error:
            self.warn(f"{error.message} The checkpoint was passed over; the sample starts anew.")
            found = self._run(recipe, stage, previews, numbers, None)
        for number, each in zip(numbers, found, strict=True):
            kept = Checkpoint(each.diffrep.parameters(), each.numbers())
            write_checkpoint(self._stage_folder(stage, number), kept)
        self._time_left.restart()
        return found[self.sample_number - numbers[0]]

    def _run(
        self,
        recipe: Procedure,
        stage: str,
        previews: MakePreviews | None,
        numbers: range,
        state: SamplerState | None,
    ) -> list[Result]:
        """The samples of these numbers, in one run."""
        self._time_left.restart()
        latest: list[StepReport] = []

        def save(step: StepReport) -> None:
            kept = step.state()
            about = {"stage": stage, "sample": numbers[0], "state": kept.numbers}
            write_checkpoint(self.folder.own("checkpoint", "state"), Checkpoint(kept.tensors, about))

        def taking(step: StepReport) -> range:
            """The samples that took it: all, or one of those that are made in turn."""
            return numbers[step.sample :][: len(step.diffreps)] if step.diffreps else numbers

        def show(step: StepReport) -> None:
            if previews is not None and step.clean is not None:
                pairs = zip(taking(step), step.each(), strict=True)
                with torch.no_grad():
                    for number, each in reversed(list(pairs)):  # a reader shows what comes last: the first
                        self._write_previews(previews(self, each), number, step.index)

        def on_step(step: StepReport) -> None:
            if latest and latest[0].sample != step.sample:
                show(latest[0])
            latest[:] = [step]
            self._report(step, taking(step))
            try:
                self.stop.check()
            except Cancelled:
                save(step)
                raise
            if self._preview_pace.due and previews is not None and step.clean is not None:
                with self._preview_pace.turn():
                    show(step)
            if self._checkpoint_pace.due:
                with self._checkpoint_pace.turn():
                    save(step)

        self._stages.end()
        seed, count = self._seed_of(numbers[0]), len(numbers)
        result = recipe.run(self.prior, seed=seed, samples=count, callback=on_step, state=state)
        if latest:
            show(latest[0])
        return result.samples

    def finished_record(self) -> dict[str, Any] | None:
        """What result.json says of the current sample, if an earlier run finished it and its files are there."""
        record = read_json(self._record_file)
        return record if is_record(record) and self.folder.holds(record["files"]) else None

    def keep_record(self, record: dict[str, Any]) -> None:
        """Keep the record of the current sample, and drop the checkpoints that led to it.

        What was sampled is kept as long as something is "missing" that it can still be drawn from.
        """
        write_json(self._record_file, record)
        shutil.rmtree(self.folder.own("checkpoint", "state"), ignore_errors=True)
        if "missing" not in record:
            for folder in self.folder.own("checkpoint", "stages").glob(f"sample_{self.sample_number:04d}_*"):
                shutil.rmtree(folder, ignore_errors=True)

    @property
    def _record_file(self) -> Path:
        return self.folder.own("checkpoint", "samples", f"sample_{self.sample_number:04d}.json")

    def _stage_folder(self, stage: str, number: int) -> Path:
        return self.folder.own("checkpoint", "stages", f"sample_{number:04d}_{stage}")

    def _kept(self, rep: Diffrep, stage: str) -> Result | None:
        """What an earlier run, or one of several samples together, made of the current sample's stage."""
        kept, _ = read_checkpoint(self._stage_folder(stage, self.sample_number))
        return None if kept is None else _restored(rep, kept)

    def _resume_from(self, stage: str, samples: range) -> SamplerState | None:
        checkpoint, complaints = read_checkpoint(self.folder.own("checkpoint", "state"))
        if complaints:
            rest = "The run goes on from the one before it." if checkpoint else "The sample starts anew."
            self.warn(" ".join([*complaints, rest]))
        if checkpoint is None:
            return None
        numbers = checkpoint.numbers
        if not isinstance(numbers, dict) or not isinstance(numbers.get("state"), dict):
            self.warn("The checkpoint holds no sampler's state and was passed over; the sample starts anew.")
            return None
        if (numbers.get("sample"), numbers.get("stage")) != (samples[0], stage):
            return None
        return SamplerState(checkpoint.tensors, numbers["state"])

    def _report(self, step: StepReport, samples: range) -> None:
        steps_left = step.of - step.index + (self.request.samples - 1 - samples[-1]) * step.of
        self.events.emit(
            "step",
            sample=samples[0],
            index=step.index,
            of=step.of,
            sigma=float(step.sigma),
            nfe=step.nfe,
            seconds_left=self._time_left.step(steps_left),
            agreement=agreement(step.disagreement),
            **({"together": len(samples)} if len(samples) > 1 else {}),
        )

    def _write_previews(self, previews: Sequence[Preview], sample: int, index: int) -> None:
        for number, preview in enumerate(previews):
            label = f"_{number}" if len(previews) > 1 else ""
            path = self.folder.own("previews") / f"sample_{sample:04d}_step_{index:05d}{label}.png"
            write_bytes(path, png_bytes(preview.picture))
            named = {"object": preview.object_name} if preview.object_name else {}
            self.events.emit("preview", path=self.folder.relative(path), sample=sample, kind=preview.kind, **named)


def agreement(disagreement: float | None) -> float | None:
    """How much of what the prior sees in the views fits on one object, 0..1; None where it was not measured."""
    if disagreement is None or not math.isfinite(disagreement):
        return None
    return round(min(1.0, max(0.0, 1.0 - disagreement)), 4)


def _restored(rep: Diffrep, kept: Checkpoint) -> Result | None:
    """A finished stage's result, from what was kept of it; None where that is of something else."""
    rep = rep.copy()
    try:
        with torch.no_grad():
            for name, tensor in rep.parameters().items():
                if tensor.shape != kept.tensors[name].shape:
                    return None
                tensor.copy_(kept.tensors[name])
        return Result(rep, **kept.numbers)
    except (KeyError, TypeError):
        return None
