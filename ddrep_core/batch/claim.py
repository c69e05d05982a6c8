"""Who is at work on a job folder that several machines see: files in it, and no clock that they would have to share.

    JOB/.claim-0001     {"by": who, "beat": a number that goes up while he lives}

The one with the highest number has the job. It is made where none is (which only one can), and so is the next one, by
whoever has seen the last beat stand still for so long by his own clock. Who finds a higher number than his own has
been given up on, and lets go.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from ddrep_core.confined import Confined, LeadsOut
from ddrep_core.errors import RunError
from ddrep_core.jobs.folder import JobFolder, told_in_words, write_json

CLAIM = re.compile(r"\.claim-(\d{4,9})")
MOST_BYTES = 4096


@dataclass
class Claim:
    """That a job is ours.

    Attributes:
        folder: the job.
        by: who we are; unlike anybody else.
        number: of the claim.
    """

    folder: JobFolder
    by: str
    number: int
    _beat: int = 0

    @property
    def file(self) -> Path:
        return _file(self.folder, self.number)

    def beat(self) -> bool:
        """Say that we live. Whether the job is still ours.

        Raises:
            RunError: the folder cannot be written any more.
        """
        if any(number > self.number for number in _numbers(self.folder)) or not self.file.exists():
            return False
        self._beat += 1
        write_json(self.file, {"by": self.by, "beat": self._beat})
        return True

    def release(self) -> None:
        """The job is nobody's. What others have claimed meanwhile stays."""
        for number in _numbers(self.folder):
            if number <= self.number:
                _file(self.folder, number).unlink(missing_ok=True)


@dataclass
class Claims:
    """What we know of the claims in a folder of jobs.

    Attributes:
        by: who we are.
        stale_seconds: after which a claim whose beat stands still counts for nothing.
    """

    by: str
    stale_seconds: float
    _seen: dict[Path, tuple[tuple[int, str], float, bool]] = field(default_factory=dict)
    # by job: its last claim as it was first seen so, when that was by our own clock, and whether it ever changed

    def take(self, folder: JobFolder) -> Claim | None:
        """Make the job ours, if it is nobody's, or belongs to one who lives no more. None: it is another's.

        Raises:
            RunError: the folder cannot be written.
        """
        numbers = _numbers(folder)
        last = max(numbers, default=0)
        if last and not self._is_stale(folder, last):
            return None
        self._seen.pop(folder.path, None)
        claim = Claim(folder, self.by, last + 1)
        with told_in_words(claim.file):
            try:
                with claim.file.open("x", encoding="utf-8") as file:
                    json.dump({"by": self.by, "beat": 0}, file)
            except FileExistsError:
                return None  # another one was quicker
            except FileNotFoundError:
                return None  # the job has gone
        return claim

    def undecided(self, folder: JobFolder) -> bool:
        """Whether the job is another's of whom we do not know yet whether he lives."""
        seen = self._seen.get(folder.path)
        return seen is not None and not seen[2]

    def _is_stale(self, folder: JobFolder, number: int) -> bool:
        now, words = time.monotonic(), _words(folder, number)
        state, since, changed = self._seen.get(folder.path, ((number, words), now, False))
        if state != (number, words):
            state, since, changed = (number, words), now, True
        self._seen[folder.path] = state, since, changed
        return now - since > self.stale_seconds


def _file(folder: JobFolder, number: int) -> Path:
    return folder.own(f".claim-{number:04d}")


def _numbers(folder: JobFolder) -> list[int]:
    try:
        names = os.listdir(folder.path)  # noqa: PTH208 - names are enough, of a folder on a network
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{folder} cannot be read: {(error.strerror or '').lower()}.") from error
    return [int(match[1]) for name in names if (match := CLAIM.fullmatch(name))]


def _words(folder: JobFolder, number: int) -> str:
    try:
        with Confined(folder.path).open(f".claim-{number:04d}") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except (OSError, LeadsOut):
        return ""
