"""Samples that differ: the slider, what is kept and to be avoided, and how far the results are apart."""

from __future__ import annotations

import json

import bpy
from conftest import select
from test_panels import draw


def request_of(job):
    return json.loads((job.folder.path / "job.json").read_text())


def test_the_slider_stands_beside_the_samples_and_results_tell_how_different_they_are(addon, cube, run_texture):
    settings = bpy.context.scene.ddrep.texture
    settings.samples, settings.diversity = 3, 0.8
    shown = [arguments[1] for name, arguments, _ in draw(addon.panels.DDREP_PT_texture).record if name == "prop"]
    assert shown.index("diversity") == shown.index("samples") + 1 and "unlike_kept" in shown
    job = run_texture()
    assert request_of(job)["diversity"] == 0.8
    samples = addon.runtime.samples_of(job)
    assert [round(sample.distance, 3) for sample in samples] == [0.375, 0.25, 0.375]
    bpy.context.window_manager.ddrep.job_index = 0
    assert "Differs 38%" in draw(addon.panels.DDREP_PT_results).words()


def test_a_job_that_asks_for_nothing_of_it_says_nothing_of_it(addon, cube, run_texture):
    bpy.context.scene.ddrep.texture.diversity = 0.5  # with one sample there is nothing to differ from
    job = run_texture()
    assert not {"diversity", "unlike"} & request_of(job).keys()
    assert addon.runtime.samples_of(job)[0].distance is None


def test_a_job_gets_copies_of_what_is_kept_and_of_nothing_else(addon, cube, run_texture):
    settings = bpy.context.scene.ddrep.texture
    settings.samples = 2
    first = run_texture()
    settings.unlike_kept = True
    assert "unlike" not in request_of(run_texture())  # nothing is kept yet
    bpy.ops.ddrep.keep_sample(job=first.name, sample=1)
    again = run_texture()
    assert request_of(again)["unlike"] == ["inputs/unlike/000.glb"]
    kept = first.folder.path / "outputs/sample_0001/mesh.glb"
    assert (again.folder.path / "inputs/unlike/000.glb").read_bytes() == kept.read_bytes()
    settings.unlike_kept = False
    assert "unlike" not in request_of(run_texture())


def test_textures_of_other_objects_are_not_avoided(addon, cube, run_texture):
    settings = bpy.context.scene.ddrep.texture
    job = run_texture()
    bpy.ops.ddrep.keep_sample(job=job.name, sample=0)
    bpy.ops.mesh.primitive_cube_add(location=(4, 0, 0))
    select(bpy.context.object)
    settings.unlike_kept = True
    assert "unlike" not in request_of(run_texture())
    select(cube)
    assert len(request_of(run_texture())["unlike"]) == 1


def test_a_new_object_keeps_away_from_kept_objects(addon, cube, pump):
    settings = bpy.context.scene.ddrep.generate
    settings.prompt, settings.unlike_kept = "a lamp", True
    jobs = addon.runtime.current().manager.jobs
    assert bpy.ops.ddrep.generate() == {"FINISHED"}
    pump()
    (first,) = jobs.values()
    bpy.ops.ddrep.keep_sample(job=first.name, sample=0)
    assert bpy.ops.ddrep.generate() == {"FINISHED"}
    pump()
    (second,) = [job for job in jobs.values() if job is not first]
    assert request_of(second)["unlike"] == ["inputs/unlike/000.glb"]
