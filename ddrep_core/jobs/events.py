"""What a run says while it runs: events.jsonl, the same lines on standard output, and one line for a person.

Every event is one JSON object with "event" and "time" (seconds since the epoch):
    started {task, pid, samples, of}                 of: samples that are still to be made
    stage   {message, share, seconds}                what is done now, outside the sampling loop. While it lasts, said
                                                     again with the share that is done (0..1) or how long it has taken
    step    {sample, index, of, sigma, nfe, seconds_left, agreement, together}    index: steps done of this sample,
                                                     1..of; together: how many samples took it, where more than one
    preview {path, sample, kind, object}             kind: texture (on the named object's own UVs), views, image, ...
    warning {message, left_out, why}                 left_out: names of cameras that are not sampled, where that is so
    error   {message, fix, status}
    cancelled {}
    done    {result, seconds}
    waiting {}                                       nobody is at work on it, and somebody shall be (`batch.serve`)
A reader skips events it does not know, and a line it cannot parse (a killed engine may leave half of one).
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections import deque
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from ddrep_core.jobs.folder import JobFolder, no_link, seconds_since_epoch, told_in_words, utf8

LAST_BYTES = 65_536
FINAL = ("done", "error", "cancelled")
"""What a run says last."""


class Listener(Protocol):
    """Anything that wants to hear events as they happen."""

    def __call__(self, event: dict[str, Any]) -> None: ...


class EventLog:
    """Appends events to the job's events.jsonl and passes them on.

    Args:
        folder: the job.
        listeners: called with every event, after it is on disk.
        append: go on with the file (a resumed run) instead of starting it anew.
    """

    def __init__(self, folder: JobFolder, listeners: tuple[Listener, ...] = (), append: bool = False) -> None:
        self._path = folder.events_file
        self._listeners = listeners
        self._lock = threading.RLock()  # a second thread tells the time
        self._last = time.monotonic()
        with told_in_words(self._path):
            if not append or self._path.is_symlink():
                self._path.unlink(missing_ok=True)
            self._file = open(self._path, "ab", opener=no_link)  # noqa: SIM115
            if append and _lacks_newline(self._path):
                self._file.write(b"\n")

    def emit(self, event: str, **fields: Any) -> None:
        """Write one event. Numbers that JSON does not know (σ = ∞, NaN) become null."""
        line = {"event": event, "time": seconds_since_epoch()} | {key: _finite(value) for key, value in fields.items()}
        with self._lock:
            self._last = time.monotonic()
            self._write(line)

    def pass_on(self, event: dict[str, Any]) -> None:
        """Write an event that was said elsewhere, as it is."""
        with self._lock:
            self._last = time.monotonic()
            self._write(event)

    @property
    def quiet_seconds(self) -> float:
        """How long ago the last event was."""
        return time.monotonic() - self._last

    def _write(self, line: dict[str, Any]) -> None:
        with told_in_words(self._path):
            self._file.write(utf8(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"))
            self._file.flush()
        for listener in self._listeners:
            listener(line)

    def close(self) -> None:
        """Close the file; later events are an error of the caller's."""
        with told_in_words(self._path):
            self._file.close()


def _lacks_newline(path: Any) -> bool:
    with path.open("rb") as file:
        file.seek(0, 2)
        if file.tell() == 0:
            return False
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def add_event(folder: JobFolder, event: str, **fields: Any) -> None:
    """Add an event to a job that no engine is at work on.

    Raises:
        RunError: it cannot be written.
    """
    log = EventLog(folder, append=True)
    try:
        log.emit(event, **fields)
    finally:
        log.close()


def last_event(folder: JobFolder) -> dict[str, Any]:
    """What the engine said last; {} where it never said a thing."""
    try:
        with folder.own("events.jsonl").open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - LAST_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            return event
    return {}


class JsonLines:
    """Prints every event as one JSON line: what `--events` gives to a program that started the engine."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def __call__(self, event: dict[str, Any]) -> None:
        try:
            # Not every character of every object's name fits every terminal; JSON can spell them all in ASCII.
            try:
                print(json.dumps(event, ensure_ascii=False), file=self._stream, flush=True)
            except UnicodeEncodeError:
                print(json.dumps(event), file=self._stream, flush=True)
        except (BrokenPipeError, ValueError, OSError):
            pass  # the reader has gone (Blender closed): the job goes on, events.jsonl has it all


class ProgressLine:
    """One line that moves while a person watches; plain lines, rarely, where the output is a file."""

    seconds_between_plain_lines = 15.0

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._samples = 1
        self._last_plain = -math.inf

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "started":
            self._samples = event["samples"]
        elif kind == "stage":
            self._show_stage(event)
        elif kind == "step":
            self._show_step(event)
        elif kind == "warning":
            self.console.print(f"[yellow]Note:[/] {_plain(event['message'])}")
        elif kind in ("error", "cancelled", "done"):
            self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _show_stage(self, event: dict[str, Any]) -> None:
        message = event["message"]
        if event.get("share") is not None:
            message = f"{message} · {event['share'] * 100:.0f} %"
        elif event.get("seconds") is not None:
            message = f"{message} · {duration(event['seconds'])}"
        if self.console.is_terminal:
            self._draw(Table.grid(), message)
        elif message == event["message"] or time.monotonic() - self._last_plain > self.seconds_between_plain_lines:
            self._last_plain = time.monotonic()
            self.console.print(_plain(message))

    def _show_step(self, event: dict[str, Any]) -> None:
        done, of = event["index"], event["of"]
        words = [f"step {done}/{of}"]
        if self._samples > 1:
            first, together = event["sample"] + 1, event.get("together", 1)
            which = f"sample {first}" if together == 1 else f"samples {first} to {first + together - 1}"
            words.insert(0, f"{which}/{self._samples}")
        if event.get("seconds_left") is not None:
            words.append(f"{duration(event['seconds_left'])} left")
        if event.get("agreement") is not None:
            words.append(f"views agree {event['agreement'] * 100:.0f} %")
        if self.console.is_terminal:
            grid = Table.grid(padding=(0, 1))
            grid.add_row(ProgressBar(total=of, completed=done, width=28), " · ".join(words))
            self._draw(grid)
        elif done == of or time.monotonic() - self._last_plain > self.seconds_between_plain_lines:
            self._last_plain = time.monotonic()
            self.console.print(_plain(" · ".join(words)))

    def _draw(self, grid: Table, message: str | None = None) -> None:
        if message is not None:
            grid.add_row(_plain(message))
        if self._live is None:
            self._live = Live(console=self.console, transient=True, auto_refresh=False)
            self._live.start()
        self._live.update(grid, refresh=True)


def _plain(text: str) -> str:
    """Text whose square brackets rich must not read as style."""
    return text.replace("[", r"\[")


def duration(seconds: float) -> str:
    """ "8 s", "3 min", "1 h 20 min": as a person says it."""
    seconds = max(0, round(seconds))
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class TimeLeft:
    """How long a run will still take, from the pace of its last steps.

    The first step pays for starting up, too (on a GPU many times what a step takes): it counts only until there is
    another.

    Args:
        window: how many steps the pace is taken from.
    """

    def __init__(self, window: int = 12) -> None:
        self._pace: deque[float] = deque(maxlen=window)
        self._last = time.monotonic()
        self._steps = 0

    def restart(self) -> None:
        """Something other than steps took time (loading, baking): do not count it as a slow step."""
        self._last = time.monotonic()

    def step(self, steps_left: int) -> float:
        """One step is done and so many are left; returns the seconds left."""
        now = time.monotonic()
        self._steps += 1
        if self._steps == 2:
            self._pace.clear()
        self._pace.append(now - self._last)
        self._last = now
        return round(steps_left * sum(self._pace) / len(self._pace), 1)
