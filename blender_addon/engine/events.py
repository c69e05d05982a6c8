# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job has said so far: events.jsonl is the truth, so that a job is found again after a restart. No bpy."""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LONGEST_READ = 256 * 1024  # bytes a slice: a long history is read over several slices, and the interface stays alive


class EventTail:
    """Reads what was added to an events file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._inode = 0
        self._rest = b""

    def read(self) -> list[dict[str, Any]]:
        """New events. Half a line (the engine is writing) waits for its rest; what is no event is passed over.

        A file that was begun anew since the last look is read from its beginning.
        """
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._inode, self._offset, self._rest = status.st_ino, 0, b""
                file.seek(self._offset)
                data = file.read(LONGEST_READ)
        except OSError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [event for line in lines if (event := _event(line)) is not None]

    def read_all(self) -> list[dict[str, Any]]:
        """Everything that is there now."""
        events: list[dict[str, Any]] = []
        before = -1
        while self._offset != before:
            before = self._offset
            events += self.read()
        return events


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


@dataclass
class Progress:
    """A job's state, reduced from its events."""

    state: str = ""  # "", "running", "done", "failed" or "cancelled"
    pid: int = 0
    samples: int = 1
    sample: int = 0
    together: int = 1  # how many samples take this step, from `sample` on
    index: int = 0  # steps of this sample that are done
    of: int = 0
    stage: str = ""
    seconds_left: float | None = None
    agreement: float | None = None
    preview: dict[str, Any] | None = None
    textures: dict[str, dict[str, Any]] = field(default_factory=dict)  # the newest texture on its way, by object
    previews: int = 0  # how many there were: tells a new one
    warnings: list[str] = field(default_factory=list)
    message: str = ""
    fix: str = ""
    seconds: float | None = None
    started: float = 0.0

    def add(self, event: dict[str, Any]) -> None:
        """Take one event in. Unknown events are ignored."""
        kind = event["event"]
        if kind == "started":
            self.__init__(state="running", previews=self.previews)
            self.pid = _whole(event.get("pid"))
            self.samples = max(1, _whole(event.get("samples"), 1))
            self.of = _whole(event.get("of"))
            self.started = _number(event.get("time")) or 0.0
        elif kind == "stage":
            self.stage = str(event.get("message", ""))
        elif kind == "step":
            self.stage = ""
            self.sample = _whole(event.get("sample"))
            self.together = max(1, _whole(event.get("together"), 1))
            self.index = _whole(event.get("index"))
            self.of = _whole(event.get("of")) or self.of
            self.seconds_left = _number(event.get("seconds_left"))
            self.agreement = _number(event.get("agreement"))
        elif kind == "preview":
            self.preview = event
            self.previews += 1
            if event.get("kind") == "texture":  # kept apart: pictures of views follow at once, and must not hide it
                self.textures[str(event.get("object", ""))] = event
        elif kind == "warning":
            self.warnings.append(without_options(str(event.get("message", ""))))
        elif kind == "error":
            self.state = "failed"
            self.message = without_options(str(event.get("message", "")))
            self.fix = without_options(str(event.get("fix") or ""))
        elif kind == "cancelled":
            self.state = "cancelled"
        elif kind == "waiting":  # for a machine: nobody is at work on it
            self.state, self.stage, self.seconds_left = "", "", None
        elif kind == "done":
            self.state = "done"
            self.seconds = _number(event.get("seconds"))

    @property
    def fraction(self) -> float:
        """How much is done, 0 to 1, over all samples."""
        if self.state == "done":
            return 1.0
        if not self.of:
            return 0.0
        return min(1.0, (self.sample + self.together * min(1.0, self.index / self.of)) / self.samples)


def _whole(value: Any, otherwise: int = 0) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def without_options(words: str) -> str:
    """What the engine says, without the options of its command line that it names in brackets: here are ticks."""
    return re.sub(r" \(--[^)]*\)", "", words).replace("ask for both sides", "tick Paint Both Sides")


def duration(seconds: float | None) -> str:
    """ "8 s", "3 min", "1 h 20 min": as a person says it; "" where it is not known."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
