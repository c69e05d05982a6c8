# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs folder, and the jobs in it."""

import os
from pathlib import Path

import bpy

from ..engine.folder import JobFolder, new_folder_name, require_space, write_job
from ..engine.manager import Job
from ..preferences import HOME, preferences
from ..problems import Problem, disk_problem
from ..results.outcome import SampleResult, read_samples
from ..scene.draft import Draft, require_scene
from .engine import require_engine
from .state import SESSION, current, enabled, wake


def jobs_folder() -> Path:
    """Where jobs are kept."""
    chosen = bpy.path.abspath(preferences().jobs_folder).strip()
    return Path(os.path.expandvars(chosen)).expanduser() if chosen else HOME / "jobs"


def find_jobs(anew: bool = False) -> None:
    """Look for jobs in the jobs folder (again, from nothing, with `anew`)."""
    if not enabled():
        return
    manager = current().manager
    if anew:
        manager.jobs = {name: job for name, job in manager.jobs.items() if job.active}
        manager.changed = True
    manager.find(jobs_folder())
    wake()


def require(context: bpy.types.Context, task: str) -> None:
    """Whether a task could begin: the scene allows it, and there is an engine. Raises a Problem when not."""
    require_scene(context, task)
    require_engine()


def queue(draft: Draft) -> Job:
    """Write a draft into a new folder among the jobs, in slices, and run it when its turn comes.

    Raises:
        Problem: the disk is nearly full, or the folder can't be made.
    """
    parent = jobs_folder()
    require_space(parent)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        trial = parent / f".{SESSION}.trial"
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as error:
        raise disk_problem(error, parent) from error
    folder = JobFolder(parent / new_folder_name(draft.request["task"], draft.title))
    about = {**draft.scene, "session": SESSION, "document": current().document}
    writing = write_job(folder.path, draft.request, draft.files, about)
    job = current().manager.submit(folder, writing, draft.request, about)
    wake()
    return job


def job_named(name: str) -> Job:
    """A job by its name.

    Raises:
        Problem: there is none.
    """
    job = current().manager.jobs.get(name)
    if job is None:
        raise Problem("This job is not in the list any more. Look for jobs again.", "ddrep.find_jobs", "Look for jobs")
    return job


def belongs_here(job: Job) -> bool:
    """Whether a job was made for the file that is open."""
    return job.document == current().document or bool(job.blend and job.blend == bpy.data.filepath)


def samples_of(job: Job) -> list[SampleResult]:
    """A finished job's samples, read once; [] where there are none."""
    known = current().samples
    if job.state != "done":
        known.pop(job.name, None)
        current().discarded.pop(job.name, None)
        return []
    if job.name not in known:
        try:
            known[job.name] = read_samples(job.folder)
        except Problem:
            known[job.name] = []
    return known[job.name]


def discarded_of(job: Job) -> set[int]:
    """The samples that were thrown out of the gallery, read once."""
    known = current().discarded
    if job.name not in known:
        known[job.name] = {each for each in job.folder.scene().get("discarded", []) if isinstance(each, int)}
    return known[job.name]
