# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered while the extension is enabled."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..engine.environment import Doctor, Drawing, Probe, SetUp
from ..engine.manager import Manager
from ..problems import Problem
from ..results.outcome import SampleResult
from ..scene.coverage import Estimate

SESSION = uuid.uuid4().hex  # this run of Blender


class State:
    """What lives as long as the extension is enabled. No pointer to any datablock: those die with an undo.

    Args:
        engine: returns the engine's Python, None while it is being checked; raises a Problem where there is none.
        machine: returns the machine that jobs go to, "" where they run here; raises a Problem where it has no name.
        served: whether other machines work off the jobs folder.
        tick: the function that Blender's timer calls.
    """

    def __init__(
        self,
        engine: Callable[[], Path | None],
        machine: Callable[[], str],
        served: Callable[[], bool],
        tick: Callable[[], float | None],
    ) -> None:
        self.tick = tick
        self.document = uuid.uuid4().hex  # this file, until another one is loaded
        self.manager = Manager(SESSION, engine, machine, served)
        self.wanted: list[Any] = []  # jobs that are still to be made, one a slice (`batch.Wanted`)
        self.samples: dict[str, list[SampleResult]] = {}
        self.discarded: dict[str, set[int]] = {}
        self.previews: dict[str, int] = {}  # how many previews of each job were there when one was last shown
        self.pictures: dict[str, tuple[str, str, Path, int | None]] = {}  # to be drawn over objects, by their keys
        self.held = ""  # why a finished job is not brought in yet
        self.preparing: dict[str, Iterator[None]] = {}  # results that are being read, a slice at a time, by job
        self.probe: Probe | None = None
        self.doctor: Doctor | None = None
        self.painting: Painting | None = None
        self.set_up: SetUp | None = None
        self.fitting: dict[str, str] = {}  # engine Python -> its version, found to fit
        self.engine_problem: Problem | None = None
        self.estimate: Estimate | None = None
        self.blind: frozenset[str] = frozenset()  # the views that see nothing, by the last finished estimate
        self.coverage_due = 0.0
        self.coverage_key: tuple = ()
        self.slices = Slices()


@dataclass
class Painting:
    """A camera's view of a result that is to be painted over, and is being drawn.

    Attributes:
        job, sample: the result.
        drawing: None until the engine is found to fit.
    """

    job: str
    sample: int
    camera: str
    mesh: Path
    drawing: Drawing | None = None

    def close(self) -> None:
        """Give up, or be done with it."""
        if self.drawing is not None:
            self.drawing.close()


class Slices:
    """How long the main thread was ours, by what was done: the window test reads it."""

    def __init__(self) -> None:
        self.count = 0
        self.longest: dict[str, float] = {}  # seconds by the clock, and
        self.longest_work: dict[str, float] = {}  # of this thread's own work

    @contextlib.contextmanager
    def measured(self, what: str) -> Iterator[None]:
        """Measure what is done inside."""
        began, worked = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.longest[what] = max(self.longest.get(what, 0.0), time.perf_counter() - began)
            self.longest_work[what] = max(self.longest_work.get(what, 0.0), time.thread_time() - worked)


_state: State | None = None


def begin(
    engine: Callable[[], Path | None],
    machine: Callable[[], str],
    served: Callable[[], bool],
    tick: Callable[[], float | None],
) -> None:
    """The extension is enabled."""
    global _state
    _state = State(engine, machine, served, tick)


def end() -> None:
    """The extension is disabled. Jobs at work go on, and are found again."""
    global _state
    if _state is not None:
        for beside in (_state.probe, _state.doctor, _state.painting):
            if beside is not None:
                beside.close()
    _state = None


def enabled() -> bool:
    """Whether there is a state."""
    return _state is not None


def current() -> State:
    """The state; there is one while the extension is enabled."""
    if _state is None:
        raise RuntimeError("the extension is not enabled")
    return _state


def wake() -> None:
    """Have the timer run. In the background there is none, and whoever works calls `pump`."""
    if _state is not None and not bpy.app.background and not bpy.app.timers.is_registered(_state.tick):
        bpy.app.timers.register(_state.tick, first_interval=0.01, persistent=True)
