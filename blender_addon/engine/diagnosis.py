# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a run failed, in words for an artist, with the button that helps. No bpy."""

import re

from ..problems import Problem
from .folder import JobFolder

MEMORY = re.compile(
    r"out of memory|MemoryError|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED|std::bad_alloc", re.IGNORECASE
)
FULL = re.compile(r"No space left on device|disk (that holds .* )?is full|OSError: \[Errno (28|122)\]", re.IGNORECASE)
MISSING = re.compile(r"No module named '?(ddrep_core|torch|pydantic|typer|trimesh)", re.IGNORECASE)
KILLED = (-9, 137)
CRASHED = (-11, -6, -4, -7, -8, 134, 139, 3221225477)  # the last is Windows' access violation


def diagnose(folder: JobFolder, message: str = "", fix: str = "", status: int | None = None) -> Problem:
    """The problem of a run that ended badly.

    Args:
        folder: the job.
        message, fix: what the engine's error event said, if it still could.
        status: the process's exit status, where it is known (not after Blender was restarted).
    """
    name = folder.name
    evidence = f"{message}\n{folder.log_tail()}"
    again = " It goes on from its last checkpoint." if folder.has_checkpoint() else ""
    if MISSING.search(evidence) and not message:
        return Problem(
            "The engine's Python lacks a package it needs. Set the engine up again, or choose another one.",
            "ddrep.open_preferences",
            "Open the preferences",
        )
    if MEMORY.search(evidence) or (not message and status in KILLED):
        return Problem(
            "The machine ran out of memory. Try one view at a time; if that is not enough, choose a smaller texture, "
            "fewer cameras or a smaller prior.",
            "ddrep.retry_job",
            "Retry with less memory",
            job=name,
            max_batch=1,
        )
    if FULL.search(evidence):
        return Problem(
            f"The disk that holds {folder.path.parent} is full. Free some space, then retry.{again}",
            "ddrep.retry_job",
            "Retry",
            job=name,
        )
    if message:
        words = message if not fix else f"{message} {fix}"
        return Problem(words, "ddrep.retry_job", "Retry", job=name)
    if status in CRASHED:
        what = "The engine crashed"
    elif status is None:
        what = "The engine ended without a word (the machine was switched off, or the process was ended)"
    else:
        what = f"The engine ended unexpectedly (exit status {status})"
    return Problem(f"{what}. The log says more. Retry.{again}", "ddrep.retry_job", "Retry", job=name)
