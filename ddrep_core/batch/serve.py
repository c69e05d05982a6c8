"""`ddrep serve FOLDER`: works off the job folders that appear in a folder. Other machines may write and serve it, too.

A job is to be done where its events do not end with "done", "error" or "cancelled". Whoever wants one of these again
adds the event "waiting"; so does a server, or what is left of it, that is stopped in the middle. What is
still being written is called something.part, or begins with a dot.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ddrep_core.batch.claim import Claim, Claims
from ddrep_core.batch.live import JsonEvents, ended_state
from ddrep_core.batch.run import MODEL_KEYS, WORKER, Batch, Order, Tell, Workers
from ddrep_core.errors import Cancelled, DdrepError, RequestError, RunError
from ddrep_core.jobs.events import FINAL, add_event, last_event
from ddrep_core.jobs.folder import JobBusy, JobFolder, read_json, told_in_words

LOOK_SECONDS = 1.0
BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0


class Served:
    """A folder of jobs as a source of orders: each is claimed before it is handed out.

    Args:
        folder: where jobs appear.
        once: whether to end when nothing is left to do.
        stale_seconds: after which another's claim that stands still counts for nothing.
    """

    def __init__(self, folder: Path, once: bool = False, stale_seconds: float = STALE_SECONDS) -> None:
        self.folder, self._once = folder, once
        self._claims = Claims(f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}", stale_seconds)
        self._held: dict[Path, Claim] = {}
        self._again: list[Order] = []
        self._settled: dict[Path, tuple[int, int]] = {}  # what events.jsonl was like when it had nothing to be done
        self._lock = threading.RLock()  # a signal's handler closes it
        self._closed = threading.Event()

    def take(self, model: str | None) -> Order | None:
        while not self._closed.is_set():
            with self._lock:
                order, hope = self._look(model)
            if order is not None or not (hope or not self._once):
                return order
            self._closed.wait(LOOK_SECONDS)
        return None

    def put_back(self, order: Order) -> None:
        with self._lock:
            if order.folder in self._held:
                self._again.append(order)

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        self._closed.set()
        for order in self._again:
            self.release(order)

    def release(self, order: Order) -> None:
        """The order is carried out, as well as it could be."""
        with self._lock:
            if (claim := self._held.pop(order.folder, None)) is not None:
                with suppress(DdrepError, OSError):
                    claim.release()

    def beat(self) -> list[Path]:
        """Say of all that is ours that we live; the jobs of which others thought that we do not."""
        lost = []
        for path, claim in [*self._held.items()]:
            try:
                kept = claim.beat()
            except (DdrepError, OSError):
                continue  # the network is away: when it comes back we shall see
            if not kept:
                self._held.pop(path, None)
                lost.append(path)
        return lost

    def _look(self, model: str | None) -> tuple[Order | None, bool]:
        """An order that is ours now; and whether there may be one later of what is there."""
        waiting = self._waiting()
        waiting.sort(key=lambda order: (order.model != model, order.name))
        hope = False
        for order in waiting:
            if order.folder in self._held:
                if order in self._again:
                    self._again.remove(order)
                    return order, True
                continue
            folder = JobFolder(order.folder)
            try:
                claim = self._claims.take(folder)
            except RequestError:
                continue  # a link where a claim would be: nothing of this folder is touched
            if claim is None:
                hope = hope or self._claims.undecided(folder)
            elif not _is_busy(folder) and _is_to_do(folder) and not _is_cancelled(folder):  # still: others look, too
                self._held[order.folder] = claim
                return order, True
            else:
                claim.release()
        return None, hope

    def _waiting(self) -> list[Order]:
        try:
            paths = [path for path in self.folder.iterdir() if not path.name.startswith(".") and path.suffix != ".part"]
        except OSError as error:
            raise RunError(f"{self.folder} cannot be read: {(error.strerror or '').lower()}.") from error
        found = []
        for path in paths:
            kept = next((order for order in self._again if order.folder == path), None)
            if kept is not None:
                found.append(kept)
                continue
            folder = JobFolder(path)
            with suppress(OSError, RequestError):
                if not folder.request_file.is_file():
                    continue
                state = _state_of(folder.events_file)
                if state is not None and self._settled.get(path) == state:
                    continue
                if _is_to_do(folder):
                    found.append(Order(path.name, path, _model(folder)))
                elif state is not None:
                    self._settled[path] = state
        return found


def serve(
    folder: Path,
    devices: Sequence[str],
    *,
    once: bool = False,
    retries: int = 1,
    listener: Tell = lambda order, worker, event: None,
    beat_seconds: float = BEAT_SECONDS,
    stale_seconds: float = STALE_SECONDS,
    worker: Sequence[str] = WORKER,
) -> int:
    """Work off the jobs in a folder, one at a time on each device, until there is none (`once`) or for ever.

    Args:
        folder: where job folders appear.
        devices: "cpu", "cuda:0", ...
        once: end when nothing is left to do.
        retries: how often a job whose run failed is gone on with at once.
        listener: told of each job's events, and of its end.
        beat_seconds, stale_seconds: how often we say that we live, and how long others may say nothing.
        worker: the command that starts one (`batch.run.Workers`).

    Returns:
        how many jobs failed.

    Raises:
        RequestError: there is no such folder, or it cannot be written.
        Cancelled: Ctrl-C or SIGTERM; jobs at work have kept their checkpoints, and wait for the next server.
    """
    if not folder.is_dir():
        raise RequestError(f"There is no folder {folder}.", "Give the folder in which job folders appear.")
    logs = folder / f".serve-{socket.gethostname()}"
    with told_in_words(logs):
        logs.mkdir(exist_ok=True)
    source = Served(folder.resolve(), once, stale_seconds)
    batch = Batch(source, Workers(devices, worker), logs, retries)
    failed, beaten = 0, time.monotonic()
    running: dict[Path, Order] = {}
    lost: set[Path] = set()

    def hear(order: Order, worker: int, event: dict[str, Any]) -> None:
        nonlocal failed
        running[order.folder] = order
        if event["event"] == "ended":
            running.pop(order.folder, None)
            if order.folder in lost:
                lost.discard(order.folder)  # another one's now
                return
            with suppress(DdrepError, OSError):
                _settle(order, event, source.closed)
            source.release(order)
            failed += event["status"] not in (0, Cancelled.exit_status)
        listener(order, worker, event)

    def tick() -> None:
        nonlocal beaten
        if time.monotonic() - beaten >= beat_seconds:
            beaten = time.monotonic()
            for path in source.beat():
                if (order := running.get(path)) is not None:
                    lost.add(path)
                    batch.kill(order)

    with batch.workers:
        batch.run(hear, tick)
    return failed


class Lines:
    """A line for each job that begins or ends; with `events`, all of them as JSON lines."""

    def __init__(self, events: bool) -> None:
        self._json = JsonEvents() if events else None

    def __call__(self, order: Order, worker: int, event: dict[str, Any]) -> None:
        if self._json is not None:
            self._json.hear(order, worker, event)
        elif event["event"] in ("started", "retried"):
            print(f"{'begun' if event['event'] == 'started' else 'again'}    {order.name}", flush=True)
        elif event["event"] == "ended":
            reason = f": {event['message']}" if event["message"] else ""
            print(f"{ended_state(event):<8} {order.name}{reason}", flush=True)


def _is_to_do(folder: JobFolder) -> bool:
    return last_event(folder).get("event") not in FINAL


def _is_cancelled(folder: JobFolder) -> bool:
    """Whether the job was cancelled before anybody began with it; says so, if it was."""
    if not folder.cancel_requested():
        return False
    folder.forget_cancel()
    add_event(folder, "cancelled")
    return True


def _is_busy(folder: JobFolder) -> bool:
    """Whether an engine is at work that asked nobody."""
    try:
        with folder.locked():
            return False
    except JobBusy:
        return True


def _settle(order: Order, ended: dict[str, Any], stopping: bool) -> None:
    """See to it that the job's events say how it ended: a worker that died could not."""
    folder, status = JobFolder(order.folder), ended["status"]
    if status == Cancelled.exit_status and stopping:
        add_event(folder, "waiting")  # we were stopped, not the job
    elif status and last_event(folder).get("event") not in FINAL:
        add_event(folder, "error", message=ended["message"], fix=ended["fix"], status=status)


def _state_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _model(folder: JobFolder) -> str:
    request = read_json(folder.request_file)
    return repr([request.get(key) for key in MODEL_KEYS]) if isinstance(request, dict) else ""
