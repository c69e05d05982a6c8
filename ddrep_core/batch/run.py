"""A batch at work: one process a device, each given the next job when it has done one."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from ddrep_core.errors import Cancelled, DdrepError, RunError
from ddrep_core.jobs.folder import JobFolder, told_in_words

TICK_SECONDS = 0.5


@dataclass
class Order:
    """One job to be run.

    Attributes:
        name: of its folder.
        folder: where it lies.
        model: jobs of one model are better done by one worker.
        attempts: so far.
    """

    name: str
    folder: Path
    model: str = ""
    attempts: int = 0


Tell = Callable[[Order, int, dict[str, Any]], None]
"""Told, in the calling thread: the job, the worker's number, and what happened: an event of the job's, "retried", or
at last "ended" with the exit status and the reason."""


@dataclass
class Stop:
    """How often a person asked for an end."""

    times: int = 0

    @property
    def asked(self) -> bool:
        return self.times > 0


@contextmanager
def stop_signals(on_stop: Callable[[int], None] = lambda times: None) -> Iterator[Stop]:
    """Take over SIGINT and SIGTERM, which only the main thread can; `on_stop` is told the how manieth it was."""
    stop = Stop()

    def on_signal(kind: int, frame: object) -> None:
        stop.times += 1
        on_stop(stop.times)

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {kind: signal.signal(kind, on_signal) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


MODEL_KEYS = ("prior", "controlnet", "controlnets", "loras", "reference", "precision", "device", "max_batch", "compile")
"""What of a request decides which model is loaded."""
WORKER = (sys.executable, "-m", "ddrep_core.batch.worker")


class Source(Protocol):
    """Where workers take their orders from. Called from their threads."""

    def take(self, model: str | None) -> Order | None:
        """The next order, rather one of the model that the worker has. May wait for one; None: there will be none."""
        ...

    def put_back(self, order: Order) -> None:
        """It is to be tried again, after those that wait."""
        ...

    def close(self) -> None:
        """Nothing more is to begin: whoever waits in `take` is sent home."""
        ...


class Listed:
    """Orders that are all known before."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self._waiting = deque(orders)
        self._lock = threading.RLock()  # a signal's handler closes it

    def take(self, model: str | None) -> Order | None:
        with self._lock:
            if not self._waiting:
                return None
            same = next((order for order in self._waiting if order.model == model), self._waiting[0])
            self._waiting.remove(same)
            return same

    def put_back(self, order: Order) -> None:
        with self._lock:
            self._waiting.append(order)

    def close(self) -> None:
        with self._lock:
            self._waiting.clear()


class Workers:
    """The processes that carry orders out, one a device. Used in `with`; at its end none is left.

    They may be started before there is an order, so that they load their libraries meanwhile: until the first order
    comes, they touch nothing, and their words for developers go to a file that nobody sees.

    Args:
        devices: one for each worker.
        command: what starts one; it is also told its --device.
    """

    def __init__(self, devices: Sequence[str], command: Sequence[str] = WORKER) -> None:
        self.devices = list(devices)
        self._command = list(command)
        self._running: dict[int, tuple[subprocess.Popen[str], BinaryIO]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()  # those that worked have ended; the others have nothing to lose
        for worker, words in self._running.values():
            worker.wait()
            words.close()

    def start(self, count: int) -> None:
        """Start the first `count`; one that cannot be is told of when it gets an order."""
        for number in range(min(count, len(self.devices))):
            try:
                self.ready(number)
            except RunError:
                return

    def ready(self, number: int) -> subprocess.Popen[str]:
        """This worker's process, alive, or its successor.

        Raises:
            RunError: it could not be started.
        """
        found = self._running.get(number)
        if found is not None and found[0].poll() is None:
            return found[0]
        words = tempfile.TemporaryFile()  # noqa: SIM115 - until the worker's successor comes
        try:
            worker = subprocess.Popen(
                [*self._command, "--device", self.devices[number]],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, text=True, encoding="utf-8",
                env=self._environment(self.devices[number]), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise RunError(f"A worker could not be started: {error}.") from error
        with self._lock:
            self._running[number] = worker, words
        return worker

    def first_words(self, number: int) -> bytes:
        """What the worker said before it knew of a log."""
        words = self._running[number][1]
        words.seek(0)
        return words.read()

    def end(self, number: int) -> None:
        """Let this worker end, and wait for it."""
        if (found := self._running.get(number)) is not None:
            worker, _ = found
            assert worker.stdin is not None
            worker.stdin.close()
            worker.wait()

    def kill(self, number: int | None = None) -> None:
        """End one at once, or all."""
        with self._lock:
            found = [worker for key, (worker, _) in self._running.items() if number in (None, key)]
        for worker in found:
            worker.kill()

    def _environment(self, device: str) -> dict[str, str]:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        on_cpu = sum(each == device for each in self.devices) if device in ("cpu", "auto") else 1
        if on_cpu > 1:
            environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // on_cpu))
        return environment


@dataclass
class Batch:
    """Orders, and who carries them out.

    Attributes:
        orders: in the order in which they begin.
        workers: who carries them out; all have ended when all is done.
        log_folder: where each worker's words for developers go.
        retries: how often a job that failed for a reason of the machine's (not of the request's) is gone on with.
    """

    orders: Source
    workers: Workers
    log_folder: Path
    retries: int = 1
    _news: queue.SimpleQueue[tuple[Order, int, dict[str, Any]] | None] = field(default_factory=queue.SimpleQueue)
    _running: dict[int, Order] = field(default_factory=dict)
    _stopped: bool = False

    def run(self, tell: Tell, tick: Callable[[], None] = lambda: None) -> None:
        """Carry all of them out; `tick` is called about twice a second.

        Raises:
            Cancelled: Ctrl-C or SIGTERM; every running job has kept its checkpoint.
        """
        with told_in_words(self.log_folder):
            self.log_folder.mkdir(parents=True, exist_ok=True)
        threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"ddrep-worker-{number}", daemon=True)
            for number in range(len(self.workers.devices))
        ]
        with stop_signals(self._on_stop):
            try:
                for thread in threads:
                    thread.start()
                at_work = len(threads)
                while at_work:
                    try:
                        news = self._news.get(timeout=TICK_SECONDS)
                        if news is None:
                            at_work -= 1
                            continue
                        tell(*news)
                    except queue.Empty:
                        pass
                    tick()
            finally:
                self.workers.kill()  # only where `tell` raised: else they have ended
        if self._stopped:
            raise Cancelled("Cancelled.", "What was done is kept; the same command goes on with the rest.")

    def _on_stop(self, times: int) -> None:
        """The first signal lets running jobs end between two steps, the second one ends them at once."""
        self._stopped = True
        self.orders.close()
        for order in [*self._running.values()]:
            JobFolder(order.folder).cancel_file.touch()
        if times > 1:
            self.workers.kill()

    def kill(self, order: Order) -> None:
        """End the worker that is at work on this order, at once."""
        for number, running in [*self._running.items()]:
            if running is order:
                self.workers.kill(number)

    def _serve(self, number: int) -> None:
        """One worker's life, and its successors', should it die."""
        model: str | None = None
        while (order := self.orders.take(model)) is not None:
            model, order.attempts = order.model, order.attempts + 1
            try:
                worker = self.workers.ready(number)
                self._running[number] = order
                ended = self._carry_out(worker, order, number)
            except DdrepError as error:
                ended = {"status": error.exit_status, "message": error.message, "fix": error.fix}
            self._running.pop(number, None)
            again = ended["status"] == 1 and order.attempts <= self.retries and not self._stopped
            if again:
                self.orders.put_back(order)
            self._news.put((order, number, {**ended, "event": "retried" if again else "ended"}))
        if model is None:
            self.workers.kill(number)  # it was never asked for anything, and may still be loading its libraries
        self.workers.end(number)
        self._news.put(None)

    def _carry_out(self, worker: subprocess.Popen[str], order: Order, number: int) -> dict[str, Any]:
        assert worker.stdin is not None and worker.stdout is not None
        try:
            worker.stdin.write(json.dumps({"job": str(order.folder), "log": str(self._log(number).resolve())}) + "\n")
            worker.stdin.flush()
            for line in worker.stdout:
                event = json.loads(line)
                if event["event"] == "ended":
                    return event
                if event["event"] == "started" and self._stopped:
                    JobFolder(order.folder).cancel_file.touch()  # the signal came while it began
                self._news.put((order, number, event))
        except (BrokenPipeError, ValueError):
            pass
        status = worker.wait()
        if self._stopped:
            return {"status": 130, "message": "Ended at once.", "fix": ""}
        if not self._log(number).exists():  # it died before it had heard of the order
            with told_in_words(self._log(number)):
                self._log(number).write_bytes(self.workers.first_words(number))
        died = f"by signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"with status {status}"
        return {
            "status": 1,
            "message": f"The engine ended {died} in the middle of the job.",
            "fix": "Most often the memory ran out. " if status == -9 else f"Its last words are in {self._log(number)}.",
        }

    def _log(self, number: int) -> Path:
        return self.log_folder / f"worker_{number}.log"
