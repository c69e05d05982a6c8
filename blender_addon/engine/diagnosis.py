# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a run failed, in words for an artist, with the button that helps. No bpy."""

import re

from ..problems import Problem
from .folder import JobFolder, read_object

MEMORY = re.compile(
    r"out of memory|MemoryError|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED|std::bad_alloc", re.IGNORECASE
)
FULL = re.compile(r"No space left on device|disk (that holds .* )?is full|OSError: \[Errno (28|122)\]", re.IGNORECASE)
MISSING = re.compile(r"No module named '?(ddrep_core|torch|pydantic|typer|trimesh)", re.IGNORECASE)
# As the engine says it of one camera or of several (ddrep_core/jobs/views.py).
BACKS = re.compile(r"backs of faces|only from behind", re.IGNORECASE)
BLIND = re.compile(r"sees? nothing of the mesh|stands? inside the mesh|that see something of the mesh have the weight")
CAMERA = re.compile(r"^Camera '(.+?)' (?:sees|stands)")
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
    if BACKS.search(message):
        words = f"{message} {fix}".strip()
        return Problem(words, "ddrep.retry_job", "Paint both sides", job=name, both_sides=True)
    if BLIND.search(message):
        return _blind(folder, message, fix)
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


def _blind(folder: JobFolder, message: str, fix: str) -> Problem:
    """The problem of cameras that see nothing: to run the same job again cannot help."""
    cameras = read_object(folder.path / "inputs" / "cameras.json").get("cameras")
    named = CAMERA.match(message)
    if named is not None and isinstance(cameras, list) and len(cameras) > 1:
        words = f"{message} {fix}".strip()
        return Problem(words, "ddrep.retry_job", "Leave it out", job=folder.name, leave_out=named[1])
    return Problem(f"{message} Or look from an orbit around it.", "ddrep.use_orbit", "Use an orbit")
