"""What a batch shows while it runs: one table that moves, or a line a job where nobody watches."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ddrep_core.batch.run import Order
from ddrep_core.batch.state import State
from ddrep_core.jobs.events import duration


class Tally:
    """How far a batch is, and how long it will still take."""

    def __init__(self, waiting: int, already_done: int) -> None:
        self.of = waiting + already_done
        self.counts = {State.DONE: already_done, State.FAILED: 0, State.STOPPED: 0}
        self.shares: dict[str, float] = {}  # of the running jobs' work
        self._samples: dict[str, int] = {}
        self._ended = 0
        self._start = time.monotonic()

    def hear(self, order: Order, event: dict[str, Any]) -> None:
        """Of a job's event."""
        match event["event"]:
            case "started":
                self.shares[order.name] = 0.0
                self._samples[order.name] = max(1, event.get("samples", 1))
            case "step":
                made = event.get("sample", 0) + event.get("together", 1) * event["index"] / max(1, event["of"])
                self.shares[order.name] = min(1.0, made / self._samples.get(order.name, 1))
            case "retried":
                self.shares.pop(order.name, None)
            case "ended":
                self.shares.pop(order.name, None)
                self.counts[ended_state(event)] += 1
                self._ended += 1

    @property
    def left(self) -> int:
        return self.of - sum(self.counts.values())

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None until there is one."""
        done = self._ended + sum(self.shares.values())
        if done < 0.05:
            return None
        return max(0.0, (self.left - sum(self.shares.values())) * (time.monotonic() - self._start) / done)

    def words(self) -> str:
        """ "12 of 100 done · 2 failed · about 34 min left"."""
        words = [f"{self.counts[State.DONE]} of {self.of} done"]
        if failed := self.counts[State.FAILED]:
            words.append(f"{failed} failed")
        if self.left and (seconds := self.seconds_left) is not None:
            words.append(f"about {duration(seconds)} left")
        return " · ".join(words)


def ended_state(event: dict[str, Any]) -> State:
    """What an "ended" event makes of its job."""
    return {0: State.DONE, 130: State.STOPPED}.get(event["status"], State.FAILED)


class LiveTable:
    """The running jobs and the tally on a terminal; else a line for each job that ends."""

    def __init__(self, tally: Tally, devices: Iterable[str], console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._tally, self._devices = tally, list(devices)
        self._running: dict[int, tuple[str, str, float]] = {}  # the worker's job, its words, its share
        self._live: Live | None = None

    def hear(self, order: Order, worker: int, event: dict[str, Any]) -> None:
        """Of a job's event."""
        match event["event"]:
            case "started":
                self._running[worker] = order.name, "starting", 0.0
            case "stage":
                self._running[worker] = order.name, event["message"], self._tally.shares.get(order.name, 0.0)
            case "step":
                left = event.get("seconds_left")
                words = f"step {event['index']}/{event['of']}" + (f" · {duration(left)} left" if left else "")
                self._running[worker] = order.name, words, self._tally.shares.get(order.name, 0.0)
            case "retried":
                self._say(f"[yellow]again[/]   {escape(order.name)}: {escape(event['message'])}")
            case "ended":
                self._running.pop(worker, None)
                self._say(self._ending(order, event))

    def draw(self) -> None:
        """Bring the terminal up to date."""
        if not self.console.is_terminal:
            return
        if self._live is None:
            self._live = Live(console=self.console, transient=True, auto_refresh=False)
            self._live.start()
        table = Table.grid(padding=(0, 1))
        for number, device in enumerate(self._devices):
            if number in self._running:
                name, words, share = self._running[number]
                bar = ProgressBar(total=1.0, completed=share, width=20)
                table.add_row(f"[dim]{device}[/]", bar, Text(name, overflow="ellipsis", no_wrap=True), escape(words))
        self._live.update(Group(table, Text(self._tally.words(), style="bold")), refresh=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _ending(self, order: Order, event: dict[str, Any]) -> str:
        words = {State.DONE: "[green]done[/]   ", State.FAILED: "[red]failed[/] ", State.STOPPED: "stopped"}
        reason = f": {escape(event['message'])}" if event["status"] == 1 or event["status"] == 2 else ""
        rest = "" if self.console.is_terminal else f" [dim]({self._tally.words()})[/]"
        return f"{words[ended_state(event)]} {escape(order.name)}{reason}{rest}"

    def _say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True)


class JsonEvents:
    """Every event as a JSON line, with its job's name and worker: for programs."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def hear(self, order: Order, worker: int, event: dict[str, Any]) -> None:
        """Of a job's event."""
        line = {key: value for key, value in event.items() if key != "job"}
        try:
            print(json.dumps({"job": order.name, "worker": worker, **line}), file=self._stream, flush=True)
        except (OSError, ValueError):
            pass  # the reader has gone

    def draw(self) -> None: ...

    def close(self) -> None: ...
