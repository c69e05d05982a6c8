"""When a run is heard of, when it writes, and whether it should stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ddrep_core.errors import Cancelled, RunError
from ddrep_core.jobs.events import EventLog
from ddrep_core.jobs.folder import JobFolder

STAGE_SECONDS = 4.0  # after which something is heard of a stage again


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


class Stages:
    """What a run does outside of its steps, told in words."""

    def __init__(self, events: EventLog, stop: StopSwitch) -> None:
        self._events, self._stop = events, stop
        self._current: tuple[str, float] | None = None  # its message, and when it began

    def begin(self, message: str) -> StageProgress:
        """Say what is done now; returns what to tell how far it is. A good moment to stop, too."""
        self._stop.check()
        self._current = message, time.monotonic()
        self._events.emit("stage", message=message)
        return StageProgress(message, self._events, self._stop)

    def end(self) -> None:
        """From now on steps tell of themselves."""
        self._current = None

    @contextmanager
    def telling_the_time(self) -> Iterator[None]:
        """While it lasts, a stage of which nothing was heard for some seconds says how long it has been at work."""
        ended = threading.Event()

        def tell() -> None:
            while not ended.wait(STAGE_SECONDS / 4):
                current = self._current
                if current is not None and self._events.quiet_seconds >= STAGE_SECONDS:
                    try:
                        self._events.emit("stage", message=current[0], seconds=round(time.monotonic() - current[1], 1))
                    except RunError:
                        return  # the disk is full or gone; the run itself will say so

        thread = threading.Thread(target=tell, name="ddrep-time", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


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
