"""Image to 3D: a picture becomes a job, and what it may show stands side by side, in one undo step."""

from __future__ import annotations

import json

import bpy
import pytest
from conftest import select
from snapshot import snapshot
from test_panels import draw


@pytest.fixture
def picture(tmp_path):
    """A PNG of a red square."""
    image = bpy.data.images.new("square", 8, 8)
    image.pixels.foreach_set([0.8, 0.1, 0.1, 1.0] * 64)
    image.filepath_raw, image.file_format = str(tmp_path / "Red Square.PNG"), "PNG"
    image.save()
    bpy.data.images.remove(image)
    return tmp_path / "Red Square.PNG"


def parents():
    """The objects that samples became, from left to right."""
    return sorted((each for each in bpy.context.scene.objects if each.children), key=lambda each: each.location.x)


def test_samples_of_a_picture_stand_side_by_side_in_one_undo_step(addon, pump, picture):
    scene = bpy.context.scene
    settings = scene.ddrep.generate
    settings.size, settings.faces, settings.seed_locked, settings.seed = 0.4, 900, True, 5
    settings.prompt = "of no account"
    scene.cursor.location = (1, 2, 3)
    select()
    bpy.ops.ed.undo_push(message="before")
    before = snapshot()
    assert bpy.ops.ddrep.image_to_3d(filepath=str(picture), samples=3) == {"FINISHED"}
    scene.cursor.location = (9, 9, 9)
    scene.cursor.location = (1, 2, 3)
    pump()
    (job,) = addon.runtime.current().manager.jobs.values()
    assert job.imported, job.problem
    request = json.loads((job.folder.path / "job.json").read_text())
    assert request["task"] == "from_image" and "prompt" not in request
    assert (request["samples"], request["seed"]) == (3, 5)
    assert request["from_image"] == {"picture": "inputs/picture.png", "faces": 900, "resolution": 1024}
    assert (job.folder.path / "inputs/picture.png").read_bytes() == picture.read_bytes()
    assert [tuple(round(x, 5) for x in each.location) for each in parents()] == [(1, 2, 3), (1.5, 2, 3), (2, 2, 3)]
    assert all(each.name.startswith("Red Square") and not each.hide_viewport for each in parents())
    after = snapshot()
    bpy.ops.ed.undo()
    assert snapshot() == before
    bpy.ops.ed.redo()
    assert snapshot() == after


def test_what_was_deleted_comes_again_and_what_was_discarded_does_not(addon, pump, picture):
    assert bpy.ops.ddrep.image_to_3d(filepath=str(picture), samples=3) == {"FINISHED"}
    pump()
    (job,) = addon.runtime.current().manager.jobs.values()
    bpy.ops.ddrep.discard_sample(job=job.name, sample=1)
    for each in parents()[0].children:
        bpy.data.objects.remove(each)
    bpy.data.objects.remove(next(each for each in bpy.context.scene.objects if each.ddrep.job == job.name))
    assert len(parents()) == 1
    bpy.ops.ddrep.bring_in(job=job.name, sample=0)
    assert [each.ddrep.sample for each in parents()] == [0, 2]
    assert all(not each.hide_viewport for each in parents())


def test_the_button_stands_in_generates_panel_and_a_missing_picture_is_told(addon, tmp_path):
    pressed = [arguments[0] for name, arguments, _ in draw(addon.panels.DDREP_PT_generate).record if name == "operator"]
    assert "ddrep.image_to_3d" in pressed
    with pytest.raises(RuntimeError, match="No picture was chosen"):
        bpy.ops.ddrep.image_to_3d(filepath=str(tmp_path / "none.png"))
    assert not addon.runtime.current().manager.jobs
