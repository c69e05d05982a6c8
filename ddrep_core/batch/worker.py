"""One process that runs jobs one after another and keeps the model: `python -m ddrep_core.batch.worker`.

It reads {"job": folder, "log": file} lines and answers with the job's events, each with its folder, and last {"event":
"ended", "status": exit status, "message": ..., "fix": ...}; what it says beside goes to the log. Until the first line
comes it loads libraries. When its input ends, so does it, between two steps of a job.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from ddrep_core.batch.run import MODEL_KEYS
from ddrep_core.errors import Cancelled, DdrepError
from ddrep_core.jobs.events import add_event
from ddrep_core.jobs.folder import JobBusy, JobFolder
from ddrep_core.jobs.request import TASKS, Request
from ddrep_core.memory import uncollected

BUSY_SECONDS = 60.0  # how long an engine whose batch was killed may need to see it, and let go of its job


class Models:
    """Loads what a job asks for, on the worker's device, and keeps the last one."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._kept: tuple[str, Any] | None = None

    def __call__(self, request: Request) -> Any:
        device = self._device if request.device == "auto" else request.device
        request = request.model_copy(update={"device": device})
        key = TASKS[request.task][0].own_prior + request.model_dump_json(include=set(MODEL_KEYS))
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # before the next one is loaded: both might not fit
            from ddrep_core.jobs.run import load_request_prior

            self._kept = key, load_request_prior(request)
        return self._kept[1]


class Orders:
    """The jobs to do, read beside the work: the end of the input is seen while a job runs, or libraries are loaded."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._heard_of = 0  # jobs, and
        self._done = 0  # how many of them have ended
        self._log: str | None = None
        self.under_way: Path | None = None
        self.orphaned = False  # whoever gave the order has gone
        threading.Thread(target=self._read, name="ddrep-orders", daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            told = json.loads(line)
            self._write_to(told.get("log"))
            self._heard_of += 1
            self._waiting.put(Path(told["job"]))
        if self._done == self._heard_of:
            end()  # also in the middle of loading libraries
        if (path := self.under_way) is not None:
            self.orphaned = True
            JobFolder(path).cancel_file.touch()
        self._waiting.put(None)

    def _write_to(self, log: str | None) -> None:
        """From now on, what is said beside the answers goes there; what was said before comes first."""
        if log is None or log == self._log:
            return
        self._log = log
        with suppress(OSError), Path(log).open("ab") as file:
            with suppress(OSError), os.fdopen(os.dup(2), "rb") as first:  # not where it is no file
                first.seek(0)
                file.write(first.read())
                file.flush()
            os.dup2(file.fileno(), 2)
            os.dup2(2, 1)

    def next(self) -> Path | None:
        """The next job, None at the end."""
        self.under_way = self._waiting.get()
        return self.under_way

    def done(self) -> None:
        """The job is at its end: whatever happens now is not its business."""
        self.under_way = None
        self._done += 1


def load_libraries() -> None:
    """What nearly every job needs."""
    with uncollected():
        import_module("ddrep_core.jobs.run")


def end() -> None:
    """At once: every answer is flushed, every file closed, and taking torch apart would take seconds."""
    sys.stderr.flush()
    os._exit(0)


def run_one(path: Path, models: Models, say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run a job, or go on with it; how it ended, as an event to be said."""

    def listener(event: dict[str, Any]) -> None:
        say({"job": str(path), **event})

    load_libraries()
    from ddrep_core.jobs.run import run_job  # torch comes with it

    status, message, fix = 0, "", ""
    try:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                run_job(path, resume=None, listeners=(listener,), load_prior=models)
                break
            except JobBusy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
    except DdrepError as error:
        status, message, fix = error.exit_status, error.message, error.fix
    return {"job": str(path), "event": "ended", "status": status, "message": message, "fix": fix}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    models = Models(parser.parse_args().device)
    # What libraries print must not come between the events.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(event: dict[str, Any]) -> None:
        try:
            print(json.dumps(event), file=answers, flush=True)
        except OSError:
            pass  # whoever asked has gone; the end of the input says so, too

    orders = Orders(sys.stdin)
    load_libraries()
    while (path := orders.next()) is not None:
        ended = run_one(path, models, say)
        if orders.orphaned and ended["status"] == Cancelled.exit_status:
            add_event(JobFolder(path), "waiting")  # no person stopped it
        orders.done()  # before it is told: then the input may end at once
        say(ended)
    end()


if __name__ == "__main__":
    main()
