# SPDX-License-Identifier: GPL-3.0-or-later
"""The timer and the handlers: what Blender calls."""

import threading
import time
import traceback
import uuid

import bpy
from bpy.app.handlers import persistent

from .. import changes, viewport_preview
from .arrivals import bring_in_arrivals
from .batch import make_next
from .coverage import forget_coverage, measuring, step_coverage, touch_coverage
from .engine import engine_python, forget_engine, is_served, look_at_doctor, look_at_set_up, other_machine
from .jobs import find_jobs
from .painting import forget_painting, look_at_painting
from .previews import show_previews
from .rows import show_changes
from .state import begin, current, enabled, end

WRITING_SECONDS = 0.01
MEASURING_SECONDS = 0.02
BUSY_SECONDS = 0.1
ENOUGH_SECONDS = 0.003  # of a slice's time: what can wait is left to the next one


def tick() -> float | None:
    """What Blender's timer calls."""
    if not enabled():
        return None
    try:
        return pump()
    except Exception:  # a timer that raises is never called again, and every job would seem to hang
        traceback.print_exc()
        return 1.0


def pump() -> float | None:
    """Do a little of what there is to do. Returns in how many seconds to be called again, None when all is quiet."""
    slices = current().slices
    slices.count += 1
    began = time.perf_counter()
    with slices.measured("slice"):
        with slices.measured("jobs"):
            current().manager.pump()
        with slices.measured("drafts"):
            make_next()
        look_at_doctor()
        look_at_set_up()
        with slices.measured("rows"):
            show_changes()
        for what, step in (("coverage", step_coverage), ("previews", show_previews)):
            if time.perf_counter() - began < ENOUGH_SECONDS:
                with slices.measured(what):
                    step()
    bring_in_arrivals()
    look_at_painting()
    show_changes()
    return _rest()


def _rest() -> float | None:
    """How long until the next slice."""
    known = current()
    preparing = [job for job in known.manager.jobs.values() if job.state == "preparing"]
    if preparing and not preparing[0].progress.stage:
        return WRITING_SECONDS
    if measuring():
        return MEASURING_SECONDS
    beside = (known.doctor, known.set_up, known.painting)
    if known.manager.busy or known.wanted or known.coverage_due or any(each is not None for each in beside):
        return BUSY_SECONDS
    return None


@persistent
def _loaded(*_: object) -> None:
    """Another file is open: results of the one before must not land in it."""
    if not enabled():
        return
    known = current()
    known.document = uuid.uuid4().hex
    known.wanted.clear()
    known.previews.clear()
    known.pictures.clear()
    known.preparing.clear()
    forget_painting()
    known.manager.changed = True
    window = bpy.context.window_manager.ddrep
    window.problem = window.warnings = ""
    forget_coverage()
    viewport_preview.clear()
    find_jobs()
    touch_coverage()


@persistent
def _changed(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """The depsgraph was updated. Only notes it: the work is the timer's."""
    if threading.current_thread() is not threading.main_thread():  # Blender renders in a thread of its own
        return
    if not enabled() or bpy.app.background or bpy.context.scene is None:
        return
    viewport_preview.shapes_changed(depsgraph)
    if bpy.context.scene.ddrep.cameras.automatic_coverage and current().coverage_due == 0.0:
        touch_coverage()


def _first_look() -> None:
    """Once Blender is up (preferences and file can't be read while extensions are being registered)."""
    find_jobs()
    touch_coverage()


def _find_jobs_anew() -> None:
    find_jobs(anew=True)


LISTENERS = (
    (changes.engine, forget_engine),
    (changes.jobs_folder, _find_jobs_anew),
    (changes.cameras, touch_coverage),
)
HANDLERS = ((bpy.app.handlers.load_post, _loaded), (bpy.app.handlers.depsgraph_update_post, _changed))


def register() -> None:
    begin(engine_python, other_machine, is_served, tick)
    for listeners, listener in LISTENERS:
        listeners.append(listener)
    for handlers, handler in HANDLERS:
        handlers.append(handler)
    if not bpy.app.background:
        bpy.app.timers.register(_first_look, first_interval=0.2, persistent=True)


def unregister() -> None:
    """Leave nothing behind in Blender."""
    for each, mine in (*LISTENERS, *HANDLERS):
        if mine in each:
            each.remove(mine)
    for timer in (tick, _first_look):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    end()
