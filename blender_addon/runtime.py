# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the queue meets Blender: one timer, a few handlers, and the window's view of the jobs.

`pump` is a plain function. Blender's timer calls it while there is something to do; the command line and the tests call
it themselves. Nothing here runs off the main thread, and each call is over in a few milliseconds.
"""

import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from . import viewport_preview
from .engine.environment import Doctor, Probe, SetUp, python_in
from .engine.events import duration
from .engine.folder import JobFolder, new_folder_name, require_space, write_job
from .engine.manager import Job, Manager
from .problems import Problem, disk_problem, encode
from .results.outcome import SampleResult, read_samples
from .scene.cameras import chosen_cameras, chosen_views
from .scene.coverage import LARGEST_AUTOMATIC, Estimate, Surface
from .scene.draft import Draft

BUSY_SECONDS = 0.1
COVERAGE_SECONDS = 0.02
REST_SECONDS = 0.4  # after the last change before coverage is measured again
SESSION = uuid.uuid4().hex  # this run of Blender

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


class _State:
    """What lives as long as the extension is enabled. No pointer to any datablock."""

    def __init__(self) -> None:
        self.document = uuid.uuid4().hex  # this file, until another one is loaded
        self.manager = Manager(SESSION, engine_python)
        self.previews: dict[str, int] = {}
        self.held = ""  # why a finished job is not brought in yet
        self.probe: Probe | None = None
        self.doctor: Doctor | None = None
        self.set_up: SetUp | None = None
        self.fitting: dict[str, str] = {}  # engine Python -> its version, found to fit
        self.surface: Surface | None = None
        self.estimate: Estimate | None = None
        self.coverage_due = 0.0
        self.coverage_key: tuple = ()
        self.samples: dict[str, list[SampleResult]] = {}
        self.discarded: dict[str, set[int]] = {}
        self.longest_slice = 0.0  # seconds by the clock, and
        self.longest_work = 0.0  # of this thread's own work: the window test reads both
        self.slices = 0
        self.engine_problem: Problem | None = None


state: _State | None = None


def current() -> _State:
    """The state; there is one while the extension is enabled."""
    if state is None:
        raise RuntimeError("the extension is not enabled")
    return state


# Jobs


def jobs_folder() -> Path:
    """Where jobs are kept."""
    from .preferences import HOME, preferences

    chosen = bpy.path.abspath(preferences().jobs_folder).strip()
    return Path(os.path.expandvars(chosen)).expanduser() if chosen else HOME / "jobs"


def find_jobs(anew: bool = False) -> None:
    """Look for jobs in the jobs folder (again, from nothing, with `anew`)."""
    if state is None:
        return
    if anew:
        state.manager.jobs = {name: job for name, job in state.manager.jobs.items() if job.active}
        state.manager.changed = True
    state.manager.find(jobs_folder())
    wake()


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
    folder = JobFolder(parent / new_folder_name(draft.request["task"], draft.request["prompt"]))
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


# The engine


def engine_python() -> Path | None:
    """The engine's Python, found to fit; None while that is still being found out.

    Raises:
        Problem: there is none, or one of another version.
    """
    from .preferences import preferences

    python = python_in(bpy.path.abspath(preferences().engine))
    key = str(python)
    if key in current().fitting:
        return python
    if current().probe is None or current().probe.python != python:
        current().probe = Probe(python)
    probe = current().probe
    if not probe.done():
        return None
    current().probe = None
    if probe.problem is not None:
        current().engine_problem = probe.problem
        raise probe.problem
    current().fitting[key] = probe.version or ""
    current().engine_problem = None
    return python


def forget_engine() -> None:
    """The engine's location was changed: what was known of it is void."""
    if state is None:
        return
    state.fitting.clear()
    state.engine_problem = None
    if state.probe is not None:
        state.probe.close()
        state.probe = None
    window = bpy.context.window_manager.ddrep
    window.engine_words = window.engine_problem = ""


def check_engine() -> None:
    """Start `ddrep doctor`. Raises a Problem when there is no engine to ask."""
    from .preferences import preferences

    python = python_in(bpy.path.abspath(preferences().engine))
    if current().doctor is not None:
        current().doctor.close()
    current().doctor = Doctor(python)
    window = bpy.context.window_manager.ddrep
    window.engine_words, window.engine_problem = "Checking the engine...", ""
    wake()


def _look_at_doctor() -> None:
    doctor = current().doctor
    if doctor is None or not doctor.done():
        return
    current().doctor = None
    window = bpy.context.window_manager.ddrep
    if doctor.problem is not None:
        window.engine_words, window.engine_problem = "", encode(doctor.problem)
        return
    report = doctor.report or {}
    checks = [each for each in report.get("checks", []) if isinstance(each, dict)]
    bad = [each for each in checks if each.get("ok") is False]
    if report.get("ok") is True:
        notes = "; ".join(str(each.get("message", "")) for each in bad)
        window.engine_words = f"Engine {report.get('version', '')} is ready, on {report.get('device', 'cpu')}."
        if notes:
            window.engine_words += f" Note: {notes}"
        window.engine_problem = ""
        return
    words = " ".join(f"{each.get('message', '')} {each.get('fix') or ''}".strip() for each in bad)
    window.engine_words = ""
    window.engine_problem = encode(
        Problem(words or "The engine is not fit to work.", "ddrep.set_up_engine", "Set up again")
    )


def _look_at_set_up() -> None:
    set_up = current().set_up
    if set_up is None:
        return
    from .preferences import preferences

    fraction, words, status = set_up.look()
    window = bpy.context.window_manager.ddrep
    window.setup_fraction, window.setup_words = fraction, words
    if status is None:
        return
    current().set_up = None
    window.setup_fraction = -1.0
    if status == 0:
        preferences().engine = str(set_up.folder)
        check_engine()
    elif status < 0:
        window.setup_words = "The set-up was cancelled."


# Coverage


def touch_coverage() -> None:
    """Something that the cameras see may have changed: measure again after a moment of rest."""
    if state is not None:
        state.coverage_due = time.monotonic() + REST_SECONDS
        wake()


def measure_coverage(context: bpy.types.Context, objects: Sequence[bpy.types.Object]) -> None:
    """Begin to measure what the chosen cameras see of `objects`. Raises a Problem when there is nothing to measure."""
    depsgraph = context.evaluated_depsgraph_get()
    views = chosen_views(context, objects)
    current().surface = Surface(objects, depsgraph)
    current().estimate = Estimate(current().surface, views)
    current().coverage_key = coverage_key(context)
    wake()


def coverage_key(context: bpy.types.Context) -> tuple:
    """What coverage depends on, cheap to compare."""
    scene = context.scene
    settings = scene.ddrep.cameras
    render = scene.render
    selection = tuple(
        (thing.name, tuple(map(tuple, thing.matrix_world)), len(thing.data.vertices))
        for thing in sorted(context.selected_objects, key=lambda each: each.name)
        if thing.type == "MESH"
    )
    cameras = tuple(
        (
            camera.name,
            tuple(map(tuple, camera.matrix_world)),
            camera.data.type,
            camera.data.angle,
            camera.data.ortho_scale,
            camera.data.shift_x,
            camera.data.shift_y,
            camera.data.sensor_fit,
            camera.ddrep.weight > 0,
            camera.ddrep.own_resolution and (camera.ddrep.width, camera.ddrep.height),
        )
        for camera in chosen_cameras(scene)
    )
    size = (render.resolution_x, render.resolution_y, render.pixel_aspect_x, render.pixel_aspect_y)
    orbit = (settings.source, settings.orbit_count, settings.orbit_low, settings.orbit_high, settings.frame_step)
    return selection, cameras, size, orbit


def _step_coverage() -> None:
    context = bpy.context
    now = time.monotonic()
    known = current()
    if known.coverage_due and now >= known.coverage_due:
        known.coverage_due = 0.0
        _begin_automatic(context)
    estimate = known.estimate
    if estimate is None or estimate.done:
        return
    if estimate.step():
        window = context.window_manager.ddrep
        window.coverage = estimate.share
        count = len(estimate.views)
        window.coverage_words = f"{estimate.share:.0%} of the surface seen by {count} camera{'s' if count != 1 else ''}"
        redraw()


def _begin_automatic(context: bpy.types.Context) -> None:
    window = context.window_manager.ddrep
    scene = context.scene
    if scene is None or not scene.ddrep.cameras.automatic_coverage or context.mode != "OBJECT":
        return
    meshes = [thing for thing in context.selected_objects if thing.type == "MESH" and thing.visible_get()]
    if not meshes or scene.ddrep.cameras.source == "FRAMES":
        _no_coverage(window, "")
        return
    if sum(len(thing.data.polygons) for thing in meshes) > LARGEST_AUTOMATIC:
        _no_coverage(window, "Large meshes are measured on request only")
        return
    key = coverage_key(context)
    if key == current().coverage_key and current().estimate is not None:
        return
    try:
        measure_coverage(context, meshes)
    except Problem as problem:
        _no_coverage(window, problem.message)


def _no_coverage(window: bpy.types.PropertyGroup, words: str) -> None:
    current().estimate = current().surface = None
    current().coverage_key = ()
    window.coverage, window.coverage_words = -1.0, words
    redraw()


# The pump


def wake() -> None:
    """Have the timer run. In the background there is none, and whoever works calls `pump`."""
    if state is not None and not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=0.01, persistent=True)


def _tick() -> float | None:
    if state is None:
        return None
    try:
        return pump()
    except Exception:  # a timer that raises is never called again, and every job would seem to hang
        import traceback

        traceback.print_exc()
        return 1.0


def pump() -> float | None:
    """Do a little of what there is to do. Returns in how many seconds to be called again, None when all is quiet."""
    began, worked = time.perf_counter(), time.thread_time()
    known = current()
    manager = known.manager
    manager.pump()
    _look_at_doctor()
    _look_at_set_up()
    _show_changes()
    spent = time.perf_counter() - began
    if spent < 0.006:
        _step_coverage()
        _show_preview()
    known.slices += 1
    known.longest_slice = max(known.longest_slice, time.perf_counter() - began)
    known.longest_work = max(known.longest_work, time.thread_time() - worked)
    _bring_in_arrivals()
    _show_changes()
    measuring = known.coverage_due or (known.estimate is not None and not known.estimate.done)
    if measuring and known.estimate is not None and not known.estimate.done:
        return COVERAGE_SECONDS
    preparing = any(job.state == "preparing" for job in manager.jobs.values())
    if preparing:
        return 0.01
    if manager.busy or measuring or known.doctor is not None or known.set_up is not None:
        return BUSY_SECONDS
    return None


def _show_changes() -> None:
    if current().manager.changed:
        current().manager.changed = False
        _sync()
        redraw()


def words_of(job: Job) -> str:
    """A job's progress as a person says it."""
    progress = job.progress
    if job.state != "running":
        words = WORDS.get(job.state, job.state)
        if job.state == "done" and progress.seconds is not None:
            words += f" in {duration(progress.seconds)}"
        return words
    if progress.stage:
        return progress.stage
    if not progress.index:
        return WORDS["running"]
    parts = [f"Sample {progress.sample + 1} of {progress.samples}"] if progress.samples > 1 else []
    parts.append(f"step {progress.index} of {progress.of}")
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(parts).capitalize() if len(parts) == 1 else ", ".join(parts)[:1].upper() + ", ".join(parts)[1:]


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


def _show_preview() -> None:
    """The newest preview of each running job, over its object."""
    known = current()
    running = {job.name for job in known.manager.jobs.values() if job.active}
    for name in [each for each in known.previews if each not in running]:
        del known.previews[name]
    if not running or not bpy.context.scene or not bpy.context.scene.ddrep.live_preview:
        if viewport_preview.shown():
            viewport_preview.clear()
        return
    for name in running:
        job = known.manager.jobs[name]
        if not job.progress.textures or known.previews.get(name) == job.progress.previews or not belongs_here(job):
            continue
        known.previews[name] = job.progress.previews
        for entry in job.folder.scene().get("objects", []):
            event = job.progress.textures.get(str(entry.get("key")), {})
            picture = job.folder.inside(event.get("path"))
            if picture is not None and not entry.get("makes_layer"):
                viewport_preview.show(str(entry.get("name")), str(entry.get("layer")), picture)
                redraw()


def preview_picture(job: Job) -> Path | None:
    """The newest picture that a running job has shown."""
    return job.folder.inside(job.progress.preview.get("path")) if job.progress.preview else None


def _bring_in_arrivals() -> None:
    """Put finished results into the scene, each as one undo step, when the artist's hands are off it."""
    known = current()
    known.held = ""
    for job in list(known.manager.jobs.values()):
        if not job.arrival:
            continue
        viewport_preview.clear()
        scene = bpy.context.scene
        if job.imported or not belongs_here(job) or scene is None or not scene.ddrep.automatic_import:
            job.arrival = False
            continue
        if bpy.context.mode != "OBJECT":
            known.held = "A result is ready. It comes in when you are back in Object Mode."
            continue
        if bpy.app.is_job_running("RENDER"):
            known.held = "A result is ready. It comes in when the render is done."
            continue
        job.arrival = False
        _call_bring_in(job)


def _call_bring_in(job: Job) -> None:
    windows = bpy.context.window_manager.windows
    try:
        if bpy.context.window is None and windows:
            with bpy.context.temp_override(window=windows[0]):
                bpy.ops.ddrep.bring_in("EXEC_DEFAULT", True, job=job.name)
        else:
            bpy.ops.ddrep.bring_in("EXEC_DEFAULT", True, job=job.name)
    except RuntimeError as error:  # the operator has told the panel what is wrong
        print(f"DDRep: {error}")


# Handlers


@persistent
def _loaded(*_: object) -> None:
    """Another file is open: results of the one before must not land in it."""
    if state is None:
        return
    state.document = uuid.uuid4().hex
    state.surface = state.estimate = None
    state.coverage_key = ()
    state.previews.clear()
    state.manager.changed = True
    viewport_preview.clear()
    find_jobs()
    touch_coverage()


@persistent
def _changed(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """The depsgraph was updated. Only notes the time: the work is the timer's."""
    if state is None or bpy.app.background or bpy.context.scene is None:
        return
    if bpy.context.scene.ddrep.cameras.automatic_coverage and state.coverage_due == 0.0:
        touch_coverage()


def _first_look() -> None:
    """Once Blender is up (preferences and file can't be read while extensions are being registered)."""
    find_jobs()
    touch_coverage()


def register() -> None:
    global state
    state = _State()
    bpy.app.handlers.load_post.append(_loaded)
    bpy.app.handlers.depsgraph_update_post.append(_changed)
    if not bpy.app.background:
        bpy.app.timers.register(_first_look, first_interval=0.2, persistent=True)


def unregister() -> None:
    """Leave nothing behind in Blender. Jobs at work go on, and are found again."""
    global state
    for handlers, handler in (
        (bpy.app.handlers.load_post, _loaded),
        (bpy.app.handlers.depsgraph_update_post, _changed),
    ):
        if handler in handlers:
            handlers.remove(handler)
    for timer in (_tick, _first_look):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    if state is not None:
        for beside in (state.probe, state.doctor):
            if beside is not None:
                beside.close()
    state = None
