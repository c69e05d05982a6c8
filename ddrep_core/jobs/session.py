"""What a task needs while it runs: events, previews, cancelling, checkpoints, and a `sample` that has all of them."""

from __future__ import annotations

import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeGuard

import torch
from PIL import Image

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import Cancelled, RunError
from ddrep_core.jobs.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ddrep_core.jobs.events import EventLog, TimeLeft
from ddrep_core.jobs.folder import JobFolder, read_json, write_bytes, write_json
from ddrep_core.jobs.request import Request
from ddrep_core.pictures import png_bytes
from ddrep_core.priors.protocol import Prior
from ddrep_core.sampling.sample import Result, SamplerState, StepReport, sample
from ddrep_core.schedules.parse import parse_schedule

STAGE_SECONDS = 4.0  # after which something is heard of a stage again
PreviewKind = Literal["texture", "views", "image", "panorama", "object"]


@dataclass(frozen=True)
class Preview:
    """A small picture of the run. Kind "texture" lies on an object's own UVs, which `object_name` then names."""

    kind: PreviewKind
    picture: Image.Image
    object_name: str = ""


MakePreviews = Callable[[StepReport], Sequence[Preview]]


class StageProgress:
    """Told from time to time what share of a stage is done; passes it on, not too often. A good moment to stop, too."""

    def __init__(self, message: str, events: EventLog, stop: StopSwitch) -> None:
        self._message, self._events, self._stop = message, events, stop
        self._told = time.monotonic()

    def __call__(self, share: float) -> None:
        """`share`: 0 to 1 of the stage's work."""
        self._stop.check()
        if time.monotonic() - self._told >= STAGE_SECONDS:
            self._told = time.monotonic()
            self._events.emit("stage", message=self._message, share=round(min(1.0, max(0.0, share)), 3))


@dataclass(frozen=True)
class Illustration:
    """A picture of a result, drawn when the result itself is safe.

    Args:
        what: as a person calls it, "the turntable".
        files: {name in result.json: path}.
        draw: writes the files; told where to report what share of the work is done.
    """

    what: str
    files: dict[str, Path]
    draw: Callable[[StageProgress], None]


class StopSwitch:
    """Whether a person wants the run to stop: Ctrl-C, SIGTERM, or the job's cancel file.

    A signal only raises a flag, so that the run ends between two steps and leaves a checkpoint. A second Ctrl-C ends
    it at once.
    """

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._signalled = False

    def check(self) -> None:
        """Raise `Cancelled` if the run should stop."""
        if self._signalled or self._folder.cancel_requested():
            raise Cancelled("Cancelled.", f'What was done is kept; go on with: ddrep run "{self._folder}" --resume')

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take over SIGINT and SIGTERM; only the main thread can, others have the cancel file."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kinds = (signal.SIGINT, signal.SIGTERM)
        before = {kind: signal.signal(kind, self._on_signal) for kind in kinds}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _on_signal(self, kind: int, frame: object) -> None:
        if self._signalled and kind == signal.SIGINT:
            raise KeyboardInterrupt
        self._signalled = True


@dataclass
class Paced:
    """Does something now and then: not before `every` seconds, and never for more than `share` of the time."""

    every: float
    share: float
    _due: float = field(default_factory=lambda: time.monotonic())

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Around the work, so that its cost sets when it is due again."""
        start = time.monotonic()
        yield
        cost = time.monotonic() - start
        self._due = start + cost + max(self.every, cost / self.share if self.share else 0.0)

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._due


class Session:
    """One run of one job.

    Tasks call `stage` before slow work, `sample` instead of `dd.sample`, and `warn` for what a person should know.

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
        self._illustrations: list[Illustration] = []
        self._stage: tuple[str, float] | None = None  # its message, and when it began

    @cached_property
    def prior(self) -> Any:
        self.stage("Loading the prior")
        return self._load_prior(self.request)

    @property
    def seed(self) -> int:
        return (self.request.seed + self.sample_number) % 2**63

    @property
    def outputs(self) -> Path:
        return self.folder.sample_outputs(self.sample_number, self.request.samples)

    def stage(self, message: str) -> StageProgress:
        """Say what is done now; returns what to tell how far it is. A good moment to stop, too."""
        self.stop.check()
        self._stage = message, time.monotonic()
        self.events.emit("stage", message=message)
        return StageProgress(message, self.events, self.stop)

    @contextmanager
    def telling_the_time(self) -> Iterator[None]:
        """While it lasts, a stage of which nothing was heard for some seconds says how long it has been at work."""
        ended = threading.Event()

        def tell() -> None:
            while not ended.wait(STAGE_SECONDS / 4):
                stage = self._stage
                if stage is not None and self.events.quiet_seconds >= STAGE_SECONDS:
                    try:
                        self.events.emit("stage", message=stage[0], seconds=round(time.monotonic() - stage[1], 1))
                    except RunError:
                        return  # the disk is full or gone; the run itself will say so

        thread = threading.Thread(target=tell, name="ddrep-time", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def illustrate(self, what: str, files: dict[str, Path], draw: Callable[[StageProgress], None]) -> None:
        """Have a picture of the current sample drawn when its result is safe (`Illustration`)."""
        self._illustrations.append(Illustration(what, files, draw))

    def take_illustrations(self) -> list[Illustration]:
        """What `illustrate` was asked for since the last call."""
        taken, self._illustrations = self._illustrations, []
        return taken

    def warn(self, message: str, **details: Any) -> None:
        """Something a person should know that does not stop the run; `details` are for programs."""
        self.events.emit("warning", message=message, **details)

    def sample(
        self,
        rep: Diffrep,
        views: Any = None,
        *,
        stage: str = "sample",
        previews: MakePreviews | None = None,
        **arguments: Any,
    ) -> Result:
        """`dd.sample` for the current sample's seed, with checkpoints, progress, previews and cancelling.

        A sample may be made of several stages with different names (an object, then its texture). A finished stage is
        not sampled again when the job is resumed, nor is a finished sample.

        Args:
            rep, views, arguments: as `dd.sample` takes them; the seed and the prior are the session's.
            stage: this call's name among those of one sample.
            previews: makes pictures of a step; called now and then, for at most 2 % of the time.

        Raises:
            Cancelled: a person asked for it. The checkpoint is written.
        """
        finished = self._stage_folder(stage)
        kept, _ = read_checkpoint(finished)
        if kept is not None and (result := _restored(rep, kept)) is not None:
            return result
        state = self._resume_from(stage)
        self._time_left.restart()
        latest: list[StepReport] = []

        def on_step(step: StepReport) -> None:
            latest[:] = [step]
            self._report(step)
            try:
                self.stop.check()
            except Cancelled:
                self._save(stage, step.state())
                raise
            if previews is not None and step.clean is not None and self._preview_pace.due:
                with self._preview_pace.turn():
                    self._write_previews(previews(step), step.index)
            if self._checkpoint_pace.due:
                with self._checkpoint_pace.turn():
                    self._save(stage, step.state())

        self._stage = None
        result = sample(rep, self.prior, views, seed=self.seed, callback=on_step, state=state, **arguments)
        if latest and previews is not None and latest[0].clean is not None:
            self._write_previews(previews(latest[0]), latest[0].index)
        numbers = {
            "nfe": result.nfe,
            "seconds": result.seconds,
            "disagreement": result.disagreement,
            "seed": result.seed,
            "passes": result.passes,
            "not_agreed": result.not_agreed,
        }
        write_checkpoint(finished, Checkpoint(result.diffrep.parameters(), numbers))
        self._time_left.restart()
        return result

    def sampling_arguments(self, auto_schedule: str = "plain", least_guidance: float = 0.0) -> dict[str, Any]:
        """What the request says of prompt, guidance, schedule and noise, as `dd.sample` takes it.

        Args:
            auto_schedule: what the task takes for the schedule "auto".
            least_guidance: where the request leaves it to the prior, the task asks for no weaker guidance than this,
                except of a prior that was distilled to draw without.

        Raises:
            RequestError: a schedule that cannot be read.
        """
        request = self.request
        schedule = auto_schedule if request.schedule == "auto" else request.schedule
        guidance = request.guidance_scale
        if guidance is None:
            guidance = getattr(self.prior, "default_guidance_scale", 7.5)
            if not getattr(self.prior, "distilled", False):
                guidance = max(guidance, least_guidance)
        return {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "guidance_scale": guidance,
            "schedule": parse_schedule(schedule, self.prior.sigmas, request.steps),
            **({} if request.eta is None else {"eta": request.eta}),
        }

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

    def _stage_folder(self, stage: str) -> Path:
        return self.folder.own("checkpoint", "stages", f"sample_{self.sample_number:04d}_{stage}")

    def _save(self, stage: str, state: SamplerState) -> None:
        numbers = {"stage": stage, "sample": self.sample_number, "state": state.numbers}
        write_checkpoint(self.folder.own("checkpoint", "state"), Checkpoint(state.tensors, numbers))

    def _resume_from(self, stage: str) -> SamplerState | None:
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
        if (numbers.get("sample"), numbers.get("stage")) != (self.sample_number, stage):
            return None
        return SamplerState(checkpoint.tensors, numbers["state"])

    def _report(self, step: StepReport) -> None:
        steps_left = step.of - step.index + (self.request.samples - 1 - self.sample_number) * step.of
        self.events.emit(
            "step",
            sample=self.sample_number,
            index=step.index,
            of=step.of,
            sigma=float(step.sigma),
            nfe=step.nfe,
            seconds_left=self._time_left.step(steps_left),
            agreement=agreement(step.disagreement),
        )

    def _write_previews(self, previews: Sequence[Preview], index: int) -> None:
        for number, preview in enumerate(previews):
            label = f"_{number}" if len(previews) > 1 else ""
            path = self.folder.own("previews") / f"sample_{self.sample_number:04d}_step_{index:05d}{label}.png"
            write_bytes(path, png_bytes(preview.picture))
            named = {"object": preview.object_name} if preview.object_name else {}
            self.events.emit(
                "preview", path=self.folder.relative(path), sample=self.sample_number, kind=preview.kind, **named
            )


def is_record(record: object) -> TypeGuard[dict[str, Any]]:
    """Whether this is what result.json says of a sample, as far as a run counts on it."""
    if not isinstance(record, dict) or not isinstance(record.get("files"), dict):
        return False
    seconds, nfe, missing = record.get("seconds"), record.get("nfe"), record.get("missing", [])
    if not isinstance(seconds, dict) or not all(isinstance(value, int | float) for value in seconds.values()):
        return False
    return isinstance(nfe, int | float) and isinstance(missing, list) and "seed" in record


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
