"""Undo: each arrival is one step, and undoing while a job runs does no harm."""

from __future__ import annotations

import bpy
import pytest
from snapshot import snapshot


@pytest.mark.parametrize("task", ["texture", "generate", "panorama", "image"])
def test_one_undo_takes_an_arrival_back_and_redo_brings_it_again(addon, cube, pump, task):
    settings = getattr(bpy.context.scene.ddrep, task)
    settings.prompt = "a thing"
    if task == "image":
        settings.resolution = "256"
    if task == "panorama":
        settings.width = "512"
    bpy.ops.ed.undo_push(message="before")
    before = snapshot()
    getattr(bpy.ops.ddrep, task)()
    pump()
    after = snapshot()
    assert after != before
    bpy.ops.ed.undo()
    assert snapshot() == before
    bpy.ops.ed.redo()
    assert snapshot() == after


def test_undo_while_a_job_runs_and_the_result_still_lands(addon, cube, pump):
    bpy.context.scene.ddrep.texture.prompt = "a slow crate"
    bpy.ops.ed.undo_push(message="before")
    cube.location.x = 7
    bpy.ops.ed.undo_push(message="moved")
    bpy.ops.ddrep.texture()
    (job,) = addon.runtime.current().manager.jobs.values()
    pump(lambda: job.progress.index > 0)
    bpy.ops.ed.undo()
    assert bpy.data.objects["Cube"].location.x == 0
    pump()
    assert job.state == "done" and job.imported, job.problem
    assert "ddrep_result" in bpy.data.objects["Cube"].material_slots[0].material


def test_an_object_that_undo_took_away_is_missed_in_words(addon, cube, pump):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.mesh.primitive_cube_add()
    bpy.context.object.name = "Late"
    bpy.ops.ed.undo_push(message="added")
    scene = bpy.context.scene
    scene.ddrep.texture.prompt, scene.ddrep.texture.resolution = "a slow crate", "128"
    bpy.ops.ddrep.texture()
    (job,) = addon.runtime.current().manager.jobs.values()
    pump(lambda: job.progress.index > 0)
    bpy.ops.ed.undo()
    images = set(bpy.data.images.keys())
    pump()
    assert job.state == "done" and not job.imported and "no object 'Late'" in job.problem.message
    assert set(bpy.data.images.keys()) == images  # what was read for it is gone again
