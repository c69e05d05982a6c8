"""A material that repeats: from words to a slot of the active object, and back."""

from __future__ import annotations

import json

import bpy
import pytest
from conftest import select
from snapshot import changed, snapshot


def make(addon, pump, **values):
    settings = bpy.context.scene.ddrep.image
    settings.prompt, settings.resolution = "red bricks", "256"
    for name, value in values.items():
        setattr(settings, name, value)
    assert bpy.ops.ddrep.image() == {"FINISHED"}
    pump()
    (job,) = addon.runtime.current().manager.jobs.values()
    assert job.state == "done" and job.imported, job.problem
    return job


def nodes_of(material):
    return {node.type: node for node in material.node_tree.nodes}


def test_the_active_slot_wears_it_and_the_others_stay(addon, cube, pump):
    wall, floor = bpy.data.materials.new("Wall"), bpy.data.materials.new("Floor")
    cube.data.materials.clear()
    for each in (wall, floor):
        cube.data.materials.append(each)
    cube.active_material_index = 1
    before = snapshot()
    job = make(addon, pump, repeat=4.0)
    assert json.loads((job.folder.path / "job.json").read_text())["image"] == {
        "width": 256,
        "height": 256,
        "tile": True,
    }
    assert cube.material_slots[0].material is wall and list(cube.data.materials) == [wall, floor]
    made = nodes_of(cube.material_slots[1].material)
    assert tuple(made["MAPPING"].inputs["Scale"].default_value) == (4, 4, 4)
    picture = made["TEX_IMAGE"]
    assert tuple(picture.image.size) == (256, 256) and picture.image.packed_file is not None
    assert picture.extension == "REPEAT" and picture.projection == "FLAT"
    assert made["MAPPING"].inputs["Vector"].links[0].from_socket.name == "UV"
    assert changed(before, snapshot()) <= {"objects", "materials", "images"}
    bpy.ops.ddrep.show_original(job=job.name)
    assert [slot.material for slot in cube.material_slots] == [wall, floor]
    bpy.ops.ddrep.discard_sample(job=job.name, sample=0)
    assert snapshot() == before


def test_of_several_each_can_be_shown_and_kept(addon, cube, pump):
    job = make(addon, pump, samples=2)
    first = cube.active_material
    bpy.ops.ddrep.keep_sample(job=job.name, sample=1)
    bpy.ops.ddrep.bring_in(job=job.name, sample=1)
    assert cube.active_material is not first and cube.active_material.use_fake_user
    assert cube.ddrep.sample == 1


def test_what_has_no_uv_map_gets_it_from_six_sides(addon, cube, pump):
    while cube.data.uv_layers:
        cube.data.uv_layers.remove(cube.data.uv_layers[0])
    make(addon, pump)
    made = nodes_of(cube.active_material)
    assert made["TEX_IMAGE"].projection == "BOX"
    assert made["MAPPING"].inputs["Vector"].links[0].from_socket.name == "Object"
    assert "no UV map" in bpy.context.window_manager.ddrep.warnings


def test_nothing_need_wear_it(addon, cube, pump):
    select()
    bpy.context.view_layer.objects.active = None
    bpy.context.scene.ddrep.image.prompt = "red bricks"
    before = snapshot()
    with pytest.raises(RuntimeError, match="No mesh is active"):
        bpy.ops.ddrep.image()
    make(addon, pump, target="LIBRARY")
    (material,) = [each for each in bpy.data.materials if "ddrep_result" in each]
    assert material.use_fake_user and changed(before, snapshot()) == {"materials", "images"}


def test_an_object_that_is_gone_is_told_of(addon, cube, pump):
    bpy.context.scene.ddrep.image.prompt = "slow bricks"
    bpy.ops.ddrep.image()
    (job,) = addon.runtime.current().manager.jobs.values()
    pump(lambda: job.state == "running")
    cube.name = "Other"
    before = set(bpy.data.materials.keys())
    pump()
    assert job.state == "done" and not job.imported and "no mesh 'Cube'" in job.problem.message
    assert set(bpy.data.materials.keys()) == before
