"""`ddrep batch`: a table of jobs in, a folder of results and a page that shows them out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ddrep_core.batch.cluster import Cluster
from ddrep_core.batch.live import JsonEvents, LiveTable, Tally, ended_state
from ddrep_core.batch.page import batch_page
from ddrep_core.batch.plan import PlannedJob
from ddrep_core.batch.results import Results
from ddrep_core.batch.run import Batch, Listed, Order, Workers
from ddrep_core.batch.state import Standing, State, finished, standing
from ddrep_core.errors import DdrepError, RequestError
from ddrep_core.jobs.folder import JobFolder, told_in_words, write_bytes, write_json

PAGE_SECONDS = 5.0
MOST_WORKERS = 256


@dataclass(frozen=True)
class Summary:
    """What came of a batch: the page's path, and the jobs' standings by name."""

    page: Path
    standings: dict[str, Standing]
    unsent: Sequence[str] = ()
    """Results that could not be sent where they were to go, and why."""

    def count(self, state: State) -> int:
        return sum(each.state == state for each in self.standings.values())


def run_batch(
    jobs: Sequence[PlannedJob],
    out: Path,
    carrier: Workers | str,
    *,
    retries: int = 1,
    overwrite: bool = False,
    events: bool = False,
    results: Results | None = None,
) -> Summary:
    """Run the jobs that are not finished, and write index.html beside their folders.

    Args:
        jobs: as `plan_jobs` makes them.
        out: the folder for theirs.
        carrier: who carries the jobs out: this machine's workers, or the address of a Ray cluster.
        retries: how often a job whose run failed is gone on with at once.
        overwrite: replace what other requests made in folders of the same names.
        events: print JSON lines instead of the table.
        results: where finished jobs' results go, too.

    Raises:
        RequestError: folders that hold something else; nothing was started.
        Cancelled: Ctrl-C; the same call goes on.
    """
    with told_in_words(out):
        out.mkdir(parents=True, exist_ok=True)
    complaints = []
    for job in jobs:
        try:
            job.write(out, overwrite)
        except RequestError as error:
            complaints.append(f"{job.where}: {error.message}")
    if complaints:
        raise RequestError("\n".join(complaints[:20]), "Choose another folder with --out, or use --overwrite.")
    write_json(out / "batch.json", {"schema_version": 1, "jobs": [{"name": job.name, **job.request} for job in jobs]})
    standings = {job.name: standing(out / job.name) for job in jobs}
    orders = [
        Order(job.name, (out / job.name).resolve(), job.model)
        for job in jobs
        if standings[job.name].state != State.DONE
    ]
    tally = Tally(len(orders), len(jobs) - len(orders))
    view = (
        JsonEvents()
        if events
        else LiveTable(tally, ["ray"] * len(jobs) if isinstance(carrier, str) else carrier.devices)
    )
    page = Page(out, jobs, standings)

    def send(name: str) -> None:
        if results is not None and standings[name].state is State.DONE:
            results.add(out / name)

    def hear(order: Order, worker: int, event: dict[str, Any]) -> None:
        tally.hear(order, event)
        view.hear(order, worker, event)
        if event["event"] == "started":
            standings[order.name] = Standing(State.RUNNING)
        elif event["event"] == "ended":
            standings[order.name] = _ended(order, event)
            page.stale = True
            send(order.name)

    def tick() -> None:
        view.draw()
        page.write_now_and_then()

    page.write()
    for job in jobs:
        send(job.name)
    try:
        if orders:
            if isinstance(carrier, str):
                Cluster(orders, carrier, retries).run(hear, tick)
            else:
                Batch(Listed(orders), carrier, out / "workers", retries).run(hear, tick)
    finally:
        view.close()
        for name, now in standings.items():
            if now.state is State.RUNNING:
                standings[name] = standing(out / name)
        page.write()
        if results is not None:
            results.finish(page.path, out / "batch.json")
    return Summary(page.path, standings, () if results is None else results.complaints)


class Page:
    """index.html, written again when there is news, but not for every piece of it."""

    def __init__(self, out: Path, jobs: Sequence[PlannedJob], standings: dict[str, Standing]) -> None:
        self.path = out / "index.html"
        self.stale = False
        self._title, self._jobs, self._standings = out.resolve().name, jobs, standings
        self._written = 0.0

    def write(self) -> None:
        write_bytes(self.path, batch_page(self._title, self._jobs, self._standings).encode(errors="replace"))
        self.stale, self._written = False, time.monotonic()

    def write_now_and_then(self) -> None:
        if self.stale and time.monotonic() - self._written > PAGE_SECONDS:
            self.write()


def choose_workers(devices: Sequence[str], workers: int | None) -> list[str]:
    """Each worker's device.

    Args:
        devices: "cpu", "cuda:0", ...; every CUDA device, or else the CPU, when none is named.
        workers: how many processes; one a device when not given.

    Raises:
        RequestError: a device that is not there, or no worker.
    """
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise RequestError(f"A batch has 1 to {MOST_WORKERS} workers, not {workers}.")
    if not devices:
        devices = every_device()
    elif set(devices) != {"cpu"}:
        from ddrep_core.priors.load import choose_device

        for device in devices:
            choose_device(device)
    return [devices[number % len(devices)] for number in range(workers or len(devices))]


def every_device() -> list[str]:
    """The CUDA devices, or else the CPU. Torch, which takes seconds, is not asked where it was made without CUDA."""
    with suppress(metadata.PackageNotFoundError):
        if metadata.version("torch").endswith("+cpu"):
            return ["cpu"]
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{number}" for number in range(count)] or ["cpu"]


def _ended(order: Order, event: dict[str, Any]) -> Standing:
    """From the folder, with the reason that was told: a killed engine leaves none."""
    state = ended_state(event)
    try:
        now = finished(JobFolder(order.folder)) if state is State.DONE else standing(order.folder)
    except DdrepError:
        now = Standing(State.FAILED)
    if state is State.FAILED:
        return Standing(state, f"{event['message']} {event['fix']}".strip(), None, now.picture)
    return now
