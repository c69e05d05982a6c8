# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue: prepares jobs, runs one at a time, hears what they say, finds old ones again. No bpy, no threads.

`Manager.pump()` does a little of everything and returns soon; whoever has an event loop calls it again and again. What
is on disk is the truth: the manager can be thrown away at any moment (Blender closes, another file is loaded), and a
new one finds everything.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..problems import Problem, disk_problem
from . import process
from .diagnosis import diagnose
from .events import EventTail, Progress
from .folder import WAIT_SECONDS, JobFolder, Waiting, read_object, task_of, write_object

ACTIVE = {"preparing", "waiting", "starting", "running", "cancelling"}
FINAL = {"done", "failed", "cancelled"}
SLICE_SECONDS = 0.006
GRACE_SECONDS = 20.0  # between asking an engine to stop at its next step and ending it
LIVENESS_SECONDS = 2.0
SERVED_SECONDS = 0.5  # between looks at a folder that lies on a network
MOST_HISTORY = 200
Writing = Iterator[Waiting | None]
WAITING_FOR_A_MACHINE = "Waiting for a machine that serves the jobs folder"


@dataclass
class Job:
    """One job as the interface shows it."""

    folder: JobFolder
    state: str = "waiting"
    task: str = "texture"
    prompt: str = ""
    session: str = ""  # which run of Blender asked for it: only that one brings the result in by itself
    document: str = ""  # the open file it was made from, while that stays open
    blend: str = ""  # that file's path, "" when it was unsaved
    progress: Progress = field(default_factory=Progress)
    problem: Problem | None = None
    imported: bool = False
    resume: bool = False
    served: bool = False  # another machine works it off where it lies (`ddrep serve`): there is no process of ours
    arrival: bool = False  # finished in this session, not yet brought in
    asked_for: bool = False  # to be brought in, even where that is not done by itself
    handle: "subprocess.Popen[bytes] | None" = None
    writing: Writing | None = None
    cancelled_at: float = 0.0
    looked_at: float = 0.0
    tail: EventTail = field(init=False)

    def __post_init__(self) -> None:
        self.tail = EventTail(self.folder.events_file)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def pid(self) -> int:
        return self.handle.pid if self.handle else self.progress.pid

    @property
    def active(self) -> bool:
        return self.state in ACTIVE


class Manager:
    """All jobs of one jobs folder.

    Args:
        session: names this run of Blender.
        engine: returns the engine's Python, or raises a Problem; None while it is still being checked.
        machine: returns the other machine that a job is sent to, "" where it runs here; or raises a Problem.
        served: whether other machines work off the jobs folder.
    """

    def __init__(
        self,
        session: str,
        engine: Callable[[], Path | None],
        machine: Callable[[], str],
        served: Callable[[], bool] = lambda: False,
    ) -> None:
        self.session = session
        self.jobs: dict[str, Job] = {}
        self.changed = True
        self._engine, self._machine, self._served = engine, machine, served
        self._scanning: Iterator[None] | None = None

    # What the interface asks for

    def submit(self, folder: JobFolder, writing: Writing, request: dict[str, Any], about: dict[str, Any]) -> Job:
        """Take a job in whose folder is still to be written, a slice at a time, by `writing`."""
        task, prompt = task_of(request), str(request.get("prompt", ""))
        job = Job(folder, "preparing", task, prompt, self.session, writing=writing)
        job.document, job.blend = str(about.get("document", "")), str(about.get("blend", ""))
        self.jobs[job.name] = job
        self.changed = True
        return job

    def retry(self, job: Job, max_batch: int = 0, both_sides: bool = False, leave_out: str = "") -> None:
        """Run a job again: from its checkpoint if it has one and the request is the same.

        Args:
            max_batch: the most views at once; 0 leaves it as it was.
            both_sides: also paint faces that are seen from behind.
            leave_out: a camera that the job is to do without.
        """
        if job.active and not (job.state == "waiting" and job.session != self.session):
            raise Problem("This job is still at work.")
        resume = job.folder.has_checkpoint() and job.state != "done"
        try:
            request = job.folder.request()
            changed = {**request, "max_batch": max_batch} if max_batch else dict(request)
            for block in ("texture", "edit", "detail"):
                if both_sides and isinstance(changed.get(block), dict):
                    changed[block] = {**changed[block], "both_sides": True}
            if changed != request:
                resume = False
                write_object(job.folder.request_file, changed)
            if leave_out and _leave_out(job.folder, leave_out):
                resume = False
            job.folder.cancel_file.unlink(missing_ok=True)
        except OSError as error:
            raise disk_problem(error, job.folder.path) from error
        job.folder.update_scene(session=self.session, imported=False, stopped=False)
        job.session, job.resume, job.imported, job.problem = self.session, resume, False, None
        job.progress.message = ""
        job.state = "waiting"
        self.changed = True

    def cancel(self, job: Job) -> None:
        """Stop a job: at once when it has not begun, else at its next step, else (after a grace) by force."""
        if job.state in ("preparing", "waiting", "starting"):
            if job.writing is not None and hasattr(job.writing, "close"):
                job.writing.close()  # type: ignore[attr-defined]
            job.writing, job.progress.stage = None, ""
            job.state = "cancelled"
            job.folder.update_scene(stopped=True) if job.folder.path.is_dir() else self.jobs.pop(job.name, None)
        elif job.state == "running":
            with contextlib.suppress(OSError):
                job.folder.cancel_file.touch()
            job.state, job.cancelled_at = "cancelling", time.monotonic()
        elif job.state == "cancelling" and job.served:
            self._settle(job, None)  # nobody answers there; whoever comes to it finds that it was cancelled
        elif job.state == "cancelling":
            process.end(job.handle, job.pid, job.folder.path)
        self.changed = True

    def forget(self, job: Job) -> None:
        """Take a job from the list; its folder stays."""
        self.jobs.pop(job.name, None)
        self.changed = True

    def find(self, jobs_folder: Path) -> None:
        """Begin to look through the jobs folder for jobs that are not in the list; `pump` does it in slices."""
        self._scanning = self._scan(jobs_folder)

    @property
    def busy(self) -> bool:
        """Whether there is anything to pump for."""
        return self._scanning is not None or any(job.active or job.arrival for job in self.jobs.values())

    # The pump

    def pump(self, budget: float = SLICE_SECONDS) -> None:
        """Do what there is to do now, for about `budget` seconds at most."""
        deadline = time.perf_counter() + budget
        preparing = [job for job in self.jobs.values() if job.state == "preparing"]
        for job in preparing[:1]:  # one after the other: what they wait for takes all of the machine
            self._write(job, deadline)
        for job in list(self.jobs.values()):
            if job.state in ("running", "cancelling"):
                self._listen(job)
        self._start_next()
        self._step_scan(deadline)

    def drain(self) -> None:
        """Finish what is being written and looked for (where there is no event loop)."""
        while self._scanning is not None or any(job.state == "preparing" for job in self.jobs.values()):
            for job in list(self.jobs.values()):
                if job.state == "preparing":
                    self._write(job, float("inf"))
                if job.writing is not None:
                    time.sleep(WAIT_SECONDS)
            self._step_scan(float("inf"))

    def _write(self, job: Job, deadline: float) -> None:
        try:
            assert job.writing is not None
            for waiting in job.writing:
                words = waiting.words if waiting is not None else ""
                if job.progress.stage != words:
                    job.progress.stage, self.changed = words, True
                if waiting is not None or time.perf_counter() > deadline:
                    return
            job.state = "waiting"
        except Problem as problem:
            job.state, job.problem = "failed", problem
        except Exception as error:  # a fault of ours must reach the panel, not end the timer
            job.state, job.problem = "failed", Problem(f"The job could not be written: {error}")
        job.writing, job.progress.stage = None, ""
        self.changed = True

    def _hand_over(self) -> None:
        """Jobs that other machines work off where they lie."""
        for job in self.jobs.values():
            if job.state != "waiting" or job.session != self.session:
                continue
            try:
                if job.progress.state:  # it was done with, one way or another
                    if not job.resume:
                        job.folder.events_file.unlink(missing_ok=True)
                    with job.folder.events_file.open("ab") as file:
                        file.write(b'{"event": "waiting"}\n')
                job.folder.update_scene(served=True, stopped=False)
            except OSError as error:
                job.state, job.problem = "failed", disk_problem(error, job.folder.path)
            else:
                job.served, job.state, job.problem = True, "running", None
                job.progress.state, job.progress.stage = "", WAITING_FOR_A_MACHINE
            self.changed = True

    def _start_next(self) -> None:
        if self._served():
            self._hand_over()
            return
        if any(job.state in ("running", "cancelling") and job.session == self.session for job in self.jobs.values()):
            return
        waiting = [
            job for job in self.jobs.values() if job.state in ("waiting", "starting") and job.session == self.session
        ]
        if not waiting:
            return
        job = waiting[0]
        try:
            python, machine = self._engine(), self._machine()
        except Problem as problem:
            job.state, job.problem = "failed", problem
            self.changed = True
            return
        if python is None:
            if job.state != "starting":
                job.state = "starting"
                self.changed = True
            return
        self._start(job, python, machine)

    def _start(self, job: Job, python: Path, machine: str) -> None:
        folder = job.folder
        try:
            folder.cancel_file.unlink(missing_ok=True)
            if not job.resume:
                folder.events_file.unlink(missing_ok=True)
            command = process.run_command(python, folder.path, job.resume, machine)
            job.handle = process.start(command, folder.log_file, append=job.resume)
        except OSError as error:
            job.state = "failed"
            if folder.path.is_dir() and not python.exists():
                job.problem = Problem(
                    f"The engine's Python is not at {python} any more.",
                    "ddrep.open_preferences",
                    "Open the preferences",
                )
            else:
                job.problem = disk_problem(error, folder.path)
            self.changed = True
            return
        folder.update_scene(pid=job.handle.pid, stopped=False, served=False)
        job.served = False
        job.progress.state, job.progress.pid = "running", job.handle.pid
        job.state, job.problem, job.cancelled_at, job.looked_at = "running", None, 0.0, time.monotonic()
        self.changed = True

    def _listen(self, job: Job) -> None:
        if job.served:
            self._listen_from_afar(job)
            return
        status = job.handle.poll() if job.handle else None
        ended = job.handle is not None and status is not None
        now = time.monotonic()
        if job.handle is None and now - job.looked_at > LIVENESS_SECONDS:
            job.looked_at = now
            ended = not process.is_engine(job.pid, job.folder.path)
        events = job.tail.read_all() if ended else job.tail.read()  # read after poll: nothing said can be missed
        for event in events:
            job.progress.add(event)
        self.changed = self.changed or bool(events)
        if ended:
            self._settle(job, status)
        elif job.state == "cancelling" and now - job.cancelled_at > GRACE_SECONDS:
            process.end(job.handle, job.pid, job.folder.path, force=now - job.cancelled_at > 2 * GRACE_SECONDS)

    def _listen_from_afar(self, job: Job) -> None:
        """What its events say is all that is known of a job that another machine works off."""
        now = time.monotonic()
        if now - job.looked_at < SERVED_SECONDS:
            return
        job.looked_at = now
        for event in job.tail.read():
            job.progress.add(event)
            self.changed = True
        if job.progress.state in FINAL:
            self._settle(job, None)
        elif not job.progress.state and not job.progress.stage:
            job.progress.stage = WAITING_FOR_A_MACHINE

    def _settle(self, job: Job, status: int | None) -> None:
        """The engine has ended: as what?"""
        asked_to_stop = job.state == "cancelling"
        job.handle = None
        said = job.progress.state
        if said == "done":
            job.state, job.arrival = "done", job.session == self.session
        elif said == "cancelled" or (asked_to_stop and said != "failed"):
            job.state = "cancelled"
        else:
            job.state = "failed"
            job.problem = diagnose(job.folder, job.progress.message, job.progress.fix, status)
        if job.state != "done":
            job.folder.update_scene(problem=job.problem.to_json() if job.problem else None, stopped=True)
        self.changed = True

    # Looking for jobs

    def _step_scan(self, deadline: float) -> None:
        if self._scanning is None:
            return
        try:
            for _ in self._scanning:
                if time.perf_counter() > deadline:
                    return
        except OSError:
            pass
        self._scanning = None
        self.changed = True

    def _scan(self, jobs_folder: Path) -> Iterator[None]:
        if not jobs_folder.is_dir():
            return
        folders = sorted((entry for entry in jobs_folder.iterdir() if not entry.name.endswith(".part")), reverse=True)
        found: list[Job] = []
        for path in folders[:MOST_HISTORY]:
            if path.name not in self.jobs and (path / "job.json").is_file():
                found.append(self.look_at(JobFolder(path)))
            yield
        for job in reversed(found):
            self.jobs.setdefault(job.name, job)
        self.jobs = dict(sorted(self.jobs.items()))

    def look_at(self, folder: JobFolder) -> Job:
        """A job as its folder tells it."""
        request, scene = folder.request(), folder.scene()
        job = Job(folder, "waiting", task_of(request), str(request.get("prompt", "")))
        job.session, job.document = str(scene.get("session", "")), str(scene.get("document", ""))
        job.blend = str(scene.get("blend", ""))
        job.imported, job.served = scene.get("imported") is True, scene.get("served") is True
        for event in job.tail.read_all():
            job.progress.add(event)
        pid = scene.get("pid")
        if not job.progress.pid and isinstance(pid, int) and not isinstance(pid, bool):
            job.progress.pid = pid
        said = job.progress.state
        if job.served and said not in FINAL:
            job.state = "cancelling" if folder.cancel_file.exists() else "running"
            job.progress.stage = job.progress.stage or WAITING_FOR_A_MACHINE
            return job
        alive = process.is_engine(job.progress.pid, folder.path)
        if said == "done" or (said in FINAL and not alive):
            job.state = said
            if said == "failed":
                job.problem = diagnose(folder, job.progress.message, job.progress.fix)
        elif alive:
            job.state = "cancelling" if folder.cancel_file.exists() else "running"
            job.cancelled_at = time.monotonic()
        elif job.progress.pid:
            job.state = "cancelled" if folder.cancel_file.exists() else "failed"
            recorded = Problem.from_json(scene.get("problem"))
            job.problem = None if job.state == "cancelled" else recorded or diagnose(folder)
        elif scene.get("stopped") is True:
            job.state = "cancelled"
        return job


def _leave_out(folder: JobFolder, name: str) -> bool:
    """Take a camera out of a job. Returns whether it was there, and is not the only one."""
    path = folder.path / "inputs" / "cameras.json"
    data = read_object(path)
    cameras = data.get("cameras")
    if not isinstance(cameras, list):
        return False
    kept = [camera for camera in cameras if not (isinstance(camera, dict) and camera.get("name") == name)]
    if not kept or len(kept) == len(cameras):
        return False
    write_object(path, {**data, "cameras": kept})
    return True
