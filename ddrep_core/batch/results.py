"""Finished jobs' results in storage that is no folder: `s3://bucket/night`, whatever fsspec has a driver for.

A job runs in a real folder (it is locked, appended to, renamed in place, watched); what goes up is what it ends with.
"""

from __future__ import annotations

import queue
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

from ddrep_core.errors import RequestError
from ddrep_core.jobs.folder import JobFolder

BESIDE = ("job.json", "events.jsonl")
"""What goes up of a job beside its outputs."""


class Results:
    """A place for results, filled by a thread of its own while other jobs run.

    Args:
        address: as fsspec has it.

    Raises:
        RequestError: no such kind of storage, no driver for it, or it cannot be reached.
    """

    def __init__(self, address: str) -> None:
        try:
            self._files, self._root = import_module("fsspec.core").url_to_fs(address)
            self._files.makedirs(self._root, exist_ok=True)
        except ImportError as error:
            raise RequestError(
                f"{address}: what speaks to such storage is not installed.", f"{error} (pip install s3fs, gcsfs, ...)"
            ) from error
        except Exception as error:  # each driver has errors of its own
            raise RequestError(f"{address} cannot be written: {_words(error)}", "Check the address.") from error
        self.complaints: list[str] = []
        self._waiting: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ddrep-results", daemon=True)
        self._thread.start()

    def add(self, folder: Path) -> None:
        """Send a finished job's results, soon; not again where they are there already."""
        self._waiting.put(folder)

    def finish(self, *pages: Path) -> None:
        """Wait for all that was added, and send these files beside the jobs."""
        self._waiting.put(None)
        self._thread.join()
        for page in pages:
            self._try(page.name, lambda page=page: self._put(page, page.name))

    def _work(self) -> None:
        while (folder := self._waiting.get()) is not None:
            self._try(folder.name, lambda folder=folder: self._send(folder))

    def _try(self, name: str, send: Any) -> None:
        try:
            send()
        except Exception as error:
            self.complaints.append(f"{name}: {_words(error)}")

    def _send(self, folder: Path) -> None:
        """All of a job's files, its result.json last: who finds that one finds the others."""
        result = JobFolder(folder).result_file
        last = f"{folder.name}/{result.relative_to(folder).as_posix()}"
        if self._files.exists(f"{self._root}/{last}"):
            with self._files.open(f"{self._root}/{last}", "rb") as file:
                if file.read() == result.read_bytes():
                    return
            self._files.rm(f"{self._root}/{last}")
        outputs = [path for path in sorted((folder / "outputs").rglob("*")) if path.is_file() and path != result]
        for path in (*(folder / name for name in BESIDE), *outputs):
            self._put(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
        self._put(result, last)

    def _put(self, path: Path, name: str) -> None:
        target = f"{self._root}/{name}"
        self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(path), target)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
