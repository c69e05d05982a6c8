# SPDX-License-Identifier: GPL-3.0-or-later
"""One sample of one job into the scene, whatever its task."""

from collections.abc import Iterator

import bpy

from ..engine.manager import Job
from ..problems import Problem
from . import objects, panorama, textures, tiling
from .outcome import SampleResult, read_samples


def prepare(job: Job) -> Iterator[None]:
    """Read what bringing in the first sample needs, a piece a slice. Raises a Problem where it can't be read."""
    samples = read_samples(job.folder)
    sample = samples[0]
    yield
    if job.task == "texture":
        yield from textures.prepare(job.folder, sample)
    elif job.task == "generate":
        for each in samples if side_by_side(job) else (sample,):
            yield from objects.prepare(job.folder, each)
    elif job.task == "panorama":
        yield from panorama.prepare(job.folder, sample)
    elif job.task == "image":
        yield from tiling.prepare(job.folder, sample)


def bring_in(context: bpy.types.Context, job: Job, sample: SampleResult) -> str:
    """Put a sample into the scene. Returns what was done, in words."""
    if job.task == "texture":
        things = textures.bring_in(job.folder, sample)
        return f"Textured {', '.join(thing.name for thing in things)}"
    if job.task == "generate" and side_by_side(job):
        discarded = job.folder.scene().get("discarded", [])
        wanted = [each for each in read_samples(job.folder) if each.number not in discarded]
        missing = [each for each in wanted if existing_object(job, each) is None]
        things = [objects.bring_in(job.folder, each, context.scene) for each in missing]
        return f"Added {', '.join(thing.name for thing in things)}" if things else "All of them are there"
    if job.task == "generate":
        thing = existing_object(job, sample)
        if thing is None:
            thing = objects.bring_in(job.folder, sample, context.scene)
        objects.show_only(job.folder, sample.number, context.scene)
        return f"Added {thing.name}"
    if job.task == "panorama":
        world = panorama.bring_in(job.folder, sample, context.scene)
        return f"Made the world {world.name}"
    if job.task == "image":
        return f"Made the material {tiling.bring_in(job.folder, sample).name}"
    raise Problem("This job's result has no place in a scene. Open its folder to see it.")


def side_by_side(job: Job) -> bool:
    """Whether all samples of a job come in together, each in its own place."""
    return bool(job.folder.scene().get("side_by_side"))


def existing_object(job: Job, sample: SampleResult) -> bpy.types.Object | None:
    """The object that a sample has become, if it is still there."""
    mark = f"{job.folder.name}/{sample.number}/object"
    return next((each for each in bpy.context.scene.objects if each.get(textures.MARK) == mark), None)


def made_from(job: Job, sample: SampleResult) -> list:
    """What a sample has become in the file: materials, worlds or objects."""
    if job.task == "generate":
        thing = existing_object(job, sample)
        return [thing] if thing is not None else []
    if job.task == "panorama":
        mark = f"{job.folder.name}/{sample.number}/panorama"
        return [each for each in bpy.data.worlds if each.get(textures.MARK) == mark]
    return textures.materials_of(job.folder, sample.number)
