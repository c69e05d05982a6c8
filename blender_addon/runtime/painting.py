# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera's view of a result, drawn by the engine beside us, becomes a picture to paint over."""

import bpy

from ..engine.environment import Drawing
from ..engine.manager import Job
from ..problems import Problem, encode
from ..results.outcome import SampleResult
from ..scene.repaint_draft import require_repaintable
from .engine import engine_python, is_served, require_engine
from .rows import redraw
from .state import Painting, current, enabled, wake


def begin_painting(job: Job, sample: SampleResult, camera: str) -> None:
    """Have a camera's view drawn; it comes as a picture of this file, one undo step.

    Raises:
        Problem: no camera is named, no texture to draw, or no engine here that could.
    """
    require_repaintable(job.folder, sample)
    if not camera.strip():
        raise Problem("Say which camera's view is to be painted over.")
    if sample.mesh is None:
        raise Problem("The mesh of this sample is gone. Make it again.")
    if is_served():
        raise Problem(
            "Other machines work off the jobs, and none here could draw the view. Set up an engine here for that.",
            "ddrep.open_preferences",
            "Open the preferences",
        )
    require_engine()
    forget_painting()
    current().painting = Painting(job.name, sample.number, camera, sample.mesh)
    wake()


def forget_painting() -> None:
    """Nothing is to be drawn any more."""
    if enabled() and (painting := current().painting) is not None:
        painting.close()
        current().painting = None


def look_at_painting() -> None:
    """Start the drawing once the engine is known to fit; bring the picture in when it is there."""
    known = current()
    painting = known.painting
    if painting is None:
        return
    try:
        if painting.drawing is None:
            python = engine_python()
            if python is None:
                return
            painting.drawing = Drawing(python, painting.mesh, painting.camera)
        if not painting.drawing.done():
            return
        if painting.drawing.problem is not None:
            raise painting.drawing.problem
        _call_open(painting)
    except Problem as problem:
        bpy.context.window_manager.ddrep.problem = encode(problem)
    known.painting = None
    painting.close()
    redraw()


def _call_open(painting: Painting) -> None:
    assert painting.drawing is not None
    windows = bpy.context.window_manager.windows
    window = bpy.context.window or (windows[0] if windows else None)
    try:
        with (
            current().slices.measured("picture"),  # Blender's own undo step included
            bpy.context.temp_override(**({"window": window} if window is not None else {})),
        ):
            bpy.ops.ddrep.open_view(
                "EXEC_DEFAULT",
                True,
                job=painting.job,
                sample=painting.sample,
                camera=painting.camera,
                file=str(painting.drawing.picture),
            )
    except RuntimeError as error:  # the operator has told the panel what is wrong
        print(f"DDRep: {error}")
