# SPDX-License-Identifier: GPL-3.0-or-later
"""Many objects, a job each: made one a slice, so that Blender stays alive; and all their results brought in."""

from dataclasses import dataclass
from itertools import count

import bpy

from ..preferences import preferences
from ..problems import Problem
from ..scene.draft import require_object_mode, require_texture, texture_draft
from ..scene.words import words_for
from .jobs import belongs_here, queue
from .state import current, wake

MOST_OBJECTS = 1000
_numbers = count(1)


@dataclass(frozen=True)
class Wanted:
    """A job that is still to be made of an object, while its file is open."""

    document: str
    name: str
    prompt: str
    batch: str


def want_each(context: bpy.types.Context, things: list[bpy.types.Object]) -> int:
    """Have each object textured by a job of its own. Returns how many.

    Raises:
        Problem: one of them cannot be, and nothing was begun.
    """
    require_object_mode(context)
    if not things:
        raise Problem("Nothing is selected. Select the meshes to texture.")
    if len(things) > MOST_OBJECTS:
        raise Problem(f"{len(things)} objects are too many at once. Select {MOST_OBJECTS} at most.")
    prompt = context.scene.ddrep.texture.prompt
    for thing in things:
        require_texture(context, [thing])
    batch = f"{current().document[:8]}-{next(_numbers)}"
    current().wanted += [Wanted(current().document, each.name, words_for(each, prompt), batch) for each in things]
    wake()
    return len(things)


def make_next() -> None:
    """Draft one wanted job, if there is one and Blender is in a mode for it."""
    known = current()
    if not known.wanted or bpy.context.mode != "OBJECT":
        return
    wanted = known.wanted.pop(0)
    thing = bpy.context.scene.objects.get(wanted.name) if bpy.context.scene is not None else None
    if wanted.document != known.document or thing is None:
        return  # another file is open, or the object has gone
    window = bpy.context.window_manager.ddrep
    try:
        made = texture_draft(bpy.context, [thing], preferences().prior, words=wanted.prompt)
        made.scene["batch"] = wanted.batch
        queue(made)
    except Problem as problem:
        window.warnings = f"{window.warnings} '{wanted.name}' was left out: {problem.message}".strip()
        return
    if made.warnings:
        window.warnings = " ".join(dict.fromkeys([*filter(None, [window.warnings]), *made.warnings]))


def still_out() -> list[str]:
    """The names of finished jobs of this file that are not in it."""
    return [
        job.name
        for job in current().manager.jobs.values()
        if job.state == "done" and not job.imported and not job.arrival and belongs_here(job)
    ]


def bring_in_all() -> int:
    """Have all of them brought in, one a slice, each as one undo step. Returns how many."""
    names = still_out()
    for name in names:
        job = current().manager.jobs[name]
        job.arrival = job.asked_for = True
    wake()
    return len(names)


def words_of_all() -> str:
    """How the jobs of this session stand, where there are several."""
    jobs = [job for job in current().manager.jobs.values() if belongs_here(job)]
    waiting = len(current().wanted) + sum(job.active for job in jobs)
    if not waiting or len(jobs) + len(current().wanted) < 2:
        return ""
    parts = [f"{sum(job.state == 'done' for job in jobs)} done", f"{waiting} to go"]
    failed = sum(job.state == "failed" for job in jobs)
    return ", ".join([*parts, *([f"{failed} failed"] if failed else [])])
