"""The same orders carried out by a Ray cluster, whose nodes see the batch's folder under the same path."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ddrep_core.batch.run import TICK_SECONDS, Order, Tell, stop_signals
from ddrep_core.batch.worker import Models, run_one
from ddrep_core.errors import Cancelled, RequestError
from ddrep_core.jobs.folder import JobFolder

NODE_DEATHS = 5  # of nodes that a job may live through


@dataclass
class Cluster:
    """A `Batch` on Ray: it says which node does what, and tries a job elsewhere when its node dies.

    Attributes:
        orders: in the order in which they are handed in.
        address: of the cluster: "auto", or HOST:PORT.
        retries: how often a job that failed for a reason of the machine's is gone on with.
    """

    orders: Sequence[Order]
    address: str = "auto"
    retries: int = 1

    def run(self, tell: Tell, tick: Callable[[], None] = lambda: None) -> None:
        """Carry all of them out (`Batch.run`).

        Raises:
            RequestError: Ray is not installed, or there is no cluster at the address.
            Cancelled: Ctrl-C or SIGTERM; every running job has kept its checkpoint.
        """
        ray = _ray()
        try:
            _knock(self.address)
            ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError) as error:
            raise RequestError(
                f"There is no Ray cluster at {self.address}: {error}.", "Start one: ray start --head"
            ) from error
        try:
            self._run(ray, tell, tick)
        finally:
            ray.shutdown()

    def _run(self, ray: Any, tell: Tell, tick: Callable[[], None]) -> None:
        on_gpus = ray.cluster_resources().get("GPU", 0) > 0
        need = {"num_gpus": 1} if on_gpus else {"num_cpus": 1}
        carry_out = ray.remote(max_retries=NODE_DEATHS, **need)(_carry_out)
        device = "cuda" if on_gpus else "cpu"

        def hand_in(order: Order) -> None:
            order.attempts += 1
            followed[carry_out.remote(str(order.folder), device)] = order, Tail(JobFolder(order.folder))

        followed: dict[Any, tuple[Order, Tail]] = {}
        for order in self.orders:
            hand_in(order)
        numbers: dict[str, int] = {}  # what shows as the workers' numbers: one for each job that runs

        def number_of(order: Order) -> int:
            free = (n for n in range(len(numbers) + 1) if n not in numbers.values())
            return numbers.setdefault(order.name, next(free))

        with stop_signals() as stop:
            while followed:
                ready, _ = ray.wait(list(followed), timeout=TICK_SECONDS)
                for order, tail in followed.values():
                    for event in tail.news():
                        tell(order, number_of(order), event)
                if stop.asked:
                    self._stop(ray, followed, stop.times > 1)
                for reference in ready:
                    order, _ = followed.pop(reference)
                    ended = _outcome(ray, reference)
                    again = ended["status"] == 1 and order.attempts <= self.retries and not stop.asked
                    tell(order, number_of(order), {**ended, "event": "retried" if again else "ended"})
                    numbers.pop(order.name, None)
                    if again:
                        hand_in(order)
                tick()
            if stop.asked:
                raise Cancelled("Cancelled.", "What was done is kept; the same command goes on with the rest.")

    def _stop(self, ray: Any, followed: dict[Any, tuple[Order, Tail]], at_once: bool) -> None:
        for reference, (order, tail) in followed.items():
            if tail.running and not at_once:
                JobFolder(order.folder).cancel_file.touch()
            else:
                ray.cancel(reference, force=at_once)


class Tail:
    """What is added to a job's events.jsonl, wherever it is written."""

    def __init__(self, folder: JobFolder) -> None:
        self._file = folder.events_file
        self._read = self._size()
        self.running = False

    def _size(self) -> int:
        try:
            return self._file.stat().st_size
        except OSError:
            return 0

    def news(self) -> list[dict[str, Any]]:
        """Events since the last call; half a line waits for its other half."""
        size = self._size()
        if size < self._read:
            self._read = 0  # a job that starts anew writes a new file
        if size == self._read:
            return []
        try:
            with self._file.open("rb") as file:
                file.seek(self._read)
                text = file.read()
        except OSError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        events = [event for line in whole.splitlines() if isinstance(event := _json(line), dict)]
        self.running = self.running or any(event.get("event") == "started" for event in events)
        return [event for event in events if event.get("event") in ("started", "stage", "step", "warning")]


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


@lru_cache(maxsize=1)
def _models(device: str) -> Models:
    """A Ray worker process keeps its model as ours do."""
    return Models(device)


def _carry_out(path: str, device: str) -> dict[str, Any]:
    """On a node: run the job in this folder, or go on with it, and say how it ended."""
    if not Path(path, "job.json").is_file():
        return {
            "status": 2,
            "message": f"The node does not see {path}.",
            "fix": "The batch's folder must lie in storage that all nodes share, under the same path.",
        }
    ended = run_one(Path(path), _models(device), lambda event: None)  # its events are read from its folder
    return {key: ended[key] for key in ("status", "message", "fix")}


def _outcome(ray: Any, reference: Any) -> dict[str, Any]:
    try:
        return ray.get(reference)
    except ray.exceptions.TaskCancelledError:
        return {"status": 130, "message": "Cancelled.", "fix": ""}
    except ray.exceptions.RayError as error:
        words = " ".join(str(error).split())[:300]
        return {"status": 1, "message": f"Its node was lost, and no other could finish it: {words}", "fix": ""}


def _knock(address: str) -> None:
    """Ray itself tries for minutes."""
    host, sign, port = address.rpartition(":")
    if sign and port.isdigit() and "//" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _ray() -> Any:
    try:
        return import_module("ray")
    except ImportError as error:
        raise RequestError("Ray is not installed.", "Install it: pip install 'ddrep[ray]'") from error
