# SPDX-License-Identifier: GPL-3.0-or-later
"""The window's list of jobs."""

import bpy

from ..engine.events import duration
from ..engine.manager import Job
from ..problems import encode
from .state import current

WORDS = {
    "preparing": "Writing the job",
    "waiting": "Waiting",
    "starting": "Checking the engine",
    "running": "Starting the engine",
    "cancelling": "Stopping at the next step",
    "done": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
}


def words_of(job: Job) -> str:
    """A job's progress as a person says it."""
    progress = job.progress
    if job.state != "running":
        words = WORDS.get(job.state, job.state)
        if job.state == "preparing" and progress.stage:
            words = progress.stage
        if job.state == "done" and progress.seconds is not None:
            words += f" in {duration(progress.seconds)}"
        return words
    if progress.stage:
        return progress.stage
    if not progress.index:
        return WORDS["running"]
    first, last = progress.sample + 1, progress.sample + progress.together
    which = f"sample {first}" if first == last else f"samples {first} to {last}"
    parts = [f"{which} of {progress.samples}"] if progress.samples > 1 else []
    parts.append(f"step {progress.index} of {progress.of}")
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(parts).capitalize()


def show_changes() -> None:
    """Bring the list up to date, if a job has changed."""
    manager = current().manager
    if manager.changed:
        manager.changed = False
        _sync()
        redraw()


def _sync() -> None:
    """The window's list of jobs after what the manager knows, newest first."""
    window = bpy.context.window_manager.ddrep
    jobs = sorted(current().manager.jobs.values(), key=lambda job: job.name, reverse=True)
    if [row.name for row in window.jobs] != [job.name for job in jobs]:
        chosen = window.jobs[window.job_index].name if 0 <= window.job_index < len(window.jobs) else ""
        known = {row.name for row in window.jobs}
        window.jobs.clear()
        for job in jobs:
            window.jobs.add().name = job.name
        names = [job.name for job in jobs]
        new = names and names[0] not in known and jobs[0].active
        window.job_index = 0 if new or chosen not in names else names.index(chosen)
    for row, job in zip(window.jobs, jobs, strict=True):
        values = {
            "state": job.state,
            "task": job.task,
            "prompt": job.prompt,
            "fraction": job.progress.fraction,
            "words": words_of(job),
            "problem": encode(job.problem),
            "imported": job.imported,
        }
        for key, value in values.items():
            if getattr(row, key) != value:
                setattr(row, key, value)


def redraw() -> None:
    """Have our panels drawn again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in {"VIEW_3D", "PREFERENCES"}:
                area.tag_redraw()
