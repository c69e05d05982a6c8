# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of running jobs: over the object in the viewport, and in the panel."""

from pathlib import Path

import bpy

from .. import viewport_preview
from ..engine.manager import Job
from .jobs import belongs_here
from .rows import redraw
from .state import current


def show_previews() -> None:
    """The newest preview of each running job, over its object."""
    known = current()
    running = {job.name for job in known.manager.jobs.values() if job.active}
    for name in [each for each in known.previews if each not in running]:
        del known.previews[name]
    if not running or not bpy.context.scene or not bpy.context.scene.ddrep.live_preview:
        if viewport_preview.shown():
            viewport_preview.clear()
        known.pictures.clear()
        return
    for name in running:
        job = known.manager.jobs[name]
        if job.progress.textures and known.previews.get(name) != job.progress.previews and belongs_here(job):
            known.previews[name] = job.progress.previews
            known.pictures.update(textures_on_their_way(job))
    if known.pictures:
        viewport_preview.show(*known.pictures.pop(next(iter(known.pictures))))  # one a slice
        redraw()


def textures_on_their_way(job: Job) -> dict[str, tuple[str, str, Path, int | None]]:
    """(object, UV map, picture, slot or None for all) of each texture that the job has shown last, by its key.

    A job sends pictures of its views as well, often right after a texture; those do not fit any UV map.
    """
    found: dict[str, tuple[str, str, Path, int | None]] = {}
    for entry in job.folder.scene().get("objects", []):
        event = job.progress.textures.get(str(entry.get("key")), {})
        picture = job.folder.inside(event.get("path"))
        if picture is not None and not entry.get("makes_layer"):  # a map that is being made is not on the mesh yet
            slot = entry.get("slot")
            slot = slot if isinstance(slot, int) and not isinstance(slot, bool) else None
            found[str(entry.get("key"))] = str(entry.get("name")), str(entry.get("layer")), picture, slot
    return found


def preview_picture(job: Job) -> Path | None:
    """The newest picture that a running job has shown."""
    return job.folder.inside(job.progress.preview.get("path")) if job.progress.preview else None
