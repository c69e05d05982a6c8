# SPDX-License-Identifier: GPL-3.0-or-later
"""Finished results into the scene, each as one undo step, when the artist's hands are off it."""

import contextlib

import bpy

from .. import viewport_preview
from ..engine.manager import Job
from ..problems import Problem
from ..results.bring_in import prepare
from ..results.textures import forget_unused
from .jobs import belongs_here
from .state import current


def bring_in_arrivals() -> None:
    """Bring in what has arrived; what can't come in now is held, and `held` says why."""
    known = current()
    known.held = ""
    for job in list(known.manager.jobs.values()):
        if not job.arrival:
            continue
        viewport_preview.clear()
        scene = bpy.context.scene
        wanted = job.asked_for or (scene is not None and scene.ddrep.automatic_import)
        if job.imported or not belongs_here(job) or scene is None or not wanted:
            job.arrival = False
            continue
        if bpy.context.mode != "OBJECT":
            known.held = "A result is ready. It comes in when you are back in Object Mode."
            continue
        if bpy.app.is_job_running("RENDER"):
            known.held = "A result is ready. It comes in when the render is done."
            continue
        if _prepared(job):
            job.arrival = False
            _call_bring_in(job)


def _prepared(job: Job) -> bool:
    """Read a little of a result, one piece a slice. Returns whether all of it is read."""
    known = current()
    if job.name not in known.preparing:
        known.preparing[job.name] = prepare(job)
    with (
        contextlib.suppress(Problem),
        current().slices.measured("reading"),
    ):  # bringing it in will come upon the same one, and tell it
        for _ in known.preparing[job.name]:
            return False
    del known.preparing[job.name]
    return True


def _call_bring_in(job: Job) -> None:
    windows = bpy.context.window_manager.windows
    window = bpy.context.window or (windows[0] if windows else None)
    try:
        with (
            current().slices.measured("import"),  # Blender's own undo step included
            bpy.context.temp_override(**({"window": window} if window is not None else {})),
        ):
            bpy.ops.ddrep.bring_in("EXEC_DEFAULT", True, job=job.name)
    except RuntimeError as error:  # the operator has told the panel what is wrong
        print(f"DDRep: {error}")
        forget_unused(job.folder)
