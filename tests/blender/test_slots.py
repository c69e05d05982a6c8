"""Several material slots on one object: what is painted, what stands in the way, where each picture goes."""

from __future__ import annotations

import json

import bpy
import numpy as np
import pytest
from conftest import ENGINE, ROOT, needs_engine
from snapshot import snapshot
from test_scene_to_job import read_obj, write


def two_slots(cube, separate=True):
    """Top and sides; each slot has the whole UV square to itself, unless they are `separate`."""
    cube.data.materials.append(bpy.data.materials.new("sides"))
    cube.data.materials[0].name = "top"
    layer = cube.data.uv_layers[0].uv
    corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
    for polygon in cube.data.polygons:
        polygon.material_index = 0 if polygon.normal.z > 0.5 else 1
        for loop, (u, v) in zip(polygon.loop_indices, corners, strict=True):
            if separate:
                layer[loop].vector = (u, v)
            else:
                layer[loop].vector = (u / 2 + 0.5 * polygon.material_index, v)
    return cube


def job_of(folder):
    request = json.loads((folder / "job.json").read_text())["texture"]
    about = json.loads((folder / "blender.json").read_text())["objects"]
    return request, about, read_obj(folder / "inputs/mesh.obj")


def test_only_the_active_slot_is_the_target_and_the_rest_stands_in_the_way(addon, cube, tmp_path):
    two_slots(cube).active_material_index = 1
    bpy.context.scene.ddrep.texture.material_target = "SLOT"
    request, about, meshes = job_of(write(addon, tmp_path))
    (entry,) = about
    assert request["objects"] == [entry["key"]] == ["Cube"] and entry["slot"] == 1
    (other,) = set(meshes) - {"Cube"}
    assert len(meshes["Cube"]) == 10 and len(meshes[other]) == 2  # triangles
    assert all(abs(point[2] - 1) < 1e-6 for face in meshes[other] for point, _ in face)  # the top


def test_one_picture_for_two_slots_that_lie_on_one_another_is_refused_with_a_way_out(addon, cube, tmp_path):
    two_slots(cube)
    with pytest.raises(RuntimeError, match="'top' and 'sides' of 'Cube' lie on one another"):
        write(addon, tmp_path)
    problem = json.loads(bpy.context.window_manager.ddrep.problem)
    assert getattr(bpy.ops, problem["fix"].split(".")[0]).set_material_target(**problem["arguments"]) == {"FINISHED"}
    request, about, meshes = job_of(write(addon, tmp_path))
    assert request["objects"] is None
    assert [(entry["slot"], entry["slot_name"]) for entry in about] == [(0, "top"), (1, "sides")]
    assert [len(meshes[entry["key"]]) for entry in about] == [2, 10]


def test_slots_that_share_one_square_keep_one_picture(addon, cube, tmp_path):
    two_slots(cube, separate=False)
    _, about, meshes = job_of(write(addon, tmp_path))
    assert len(about) == len(meshes) == 1 and about[0]["slot"] is None


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_how_much_two_slots_may_share(addon, cube, tmp_path, shift):
    """Two squares of half the width beside each other, moved into one another."""
    two_slots(cube, separate=False)
    layer = cube.data.uv_layers[0].uv
    for polygon in cube.data.polygons:
        if polygon.material_index == 1:
            for loop in polygon.loop_indices:
                layer[loop].vector[0] -= shift / 2
    if shift > 0.25:
        with pytest.raises(RuntimeError, match="lie on one another"):
            write(addon, tmp_path)
    else:
        write(addon, tmp_path)


def test_a_picture_a_slot_comes_in_and_goes(addon, cube, run_texture):
    two_slots(cube)
    before = [slot.material for slot in cube.material_slots]
    bpy.context.scene.ddrep.texture.material_target = "SLOTS"
    job = run_texture()
    worn = [slot.material for slot in cube.material_slots]
    pictures = [material.node_tree.nodes.active.image for material in worn]
    assert len(set(worn)) == len(set(pictures)) == 2 and not set(worn) & set(before)
    assert "top" in worn[0].name and "sides" in worn[1].name
    bpy.ops.ddrep.show_original(job=job.name)
    assert [slot.material for slot in cube.material_slots] == before


@pytest.mark.parametrize("uv_source", ["ACTIVE", "NEW"])
def test_all_pictures_of_all_slots_are_one_undo_step(addon, cube, pump, uv_source):
    two_slots(cube)
    settings = bpy.context.scene.ddrep.texture
    settings.material_target, settings.uv_source = "SLOTS", uv_source
    bpy.ops.ed.undo_push(message="before")
    before = snapshot()
    bpy.ops.ddrep.texture()
    pump()
    after = snapshot()
    assert len(after["images"]) == len(before["images"]) + 2
    bpy.ops.ed.undo()
    assert snapshot() == before
    bpy.ops.ed.redo()
    assert snapshot() == after


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("target", ["SLOT", "SLOTS"])
def test_new_uvs_of_slots_come_home_to_their_loops(addon, cube, run_texture, target, mirrored):
    two_slots(cube).active_material_index = 1
    cube.scale.x = -1 if mirrored else 1
    bpy.context.view_layer.update()
    old = np.empty(len(cube.data.loops) * 2, np.float32)
    cube.data.uv_layers[0].uv.foreach_get("vector", old)
    settings = bpy.context.scene.ddrep.texture
    settings.material_target, settings.uv_source = target, "NEW"
    job = run_texture()
    assert job.imported, job.problem
    assert [layer.name for layer in cube.data.uv_layers] == ["UVMap", "DDRep"]
    new = np.empty_like(old)
    cube.data.uv_layers["DDRep"].uv.foreach_get("vector", new)
    new, old = new.reshape(-1, 2), old.reshape(-1, 2)
    counts = {0: 0, 1: 0}
    for polygon in cube.data.polygons:
        order = list(polygon.loop_indices)
        order = [order[0], *reversed(order[1:])] if mirrored else order
        for loop in order:
            number = counts[polygon.material_index]
            counts[polygon.material_index] += 1
            sent = ((number % 7) / 7, (number % 5) / 5)  # the fake engine's, by the piece's corners
            assert new[loop] == pytest.approx(sent if target == "SLOTS" or polygon.material_index else old[loop])


def test_a_slot_without_faces_is_refused_with_a_way_out(addon, cube, tmp_path):
    cube.data.materials.append(bpy.data.materials.new("unused"))
    cube.active_material_index = 1
    bpy.context.scene.ddrep.texture.material_target = "SLOT"
    with pytest.raises(RuntimeError, match="No face of 'Cube' wears its active material slot, 'unused'"):
        write(addon, tmp_path)
    bpy.ops.ddrep.set_material_target(target="OBJECT")
    write(addon, tmp_path)


def test_the_preview_of_a_slot_is_drawn_over_its_own_faces(addon, cube, pump, monkeypatch):
    two_slots(cube)
    calls = []
    monkeypatch.setattr(addon.viewport_preview, "show", lambda *call: calls.append(call) or True)
    bpy.context.scene.ddrep.texture.material_target = "SLOTS"
    bpy.context.scene.ddrep.texture.prompt = "a slow crate"
    bpy.ops.ddrep.texture()
    pump()
    assert {(name, slot) for name, _, _, slot in calls} == {("Cube", 0), ("Cube", 1)}


def test_coverage_looks_at_the_active_slot_alone(addon, cube, pump):
    two_slots(cube)
    settings = bpy.context.scene.ddrep
    window = bpy.context.window_manager.ddrep
    shares = []
    for target, slot in (("OBJECT", 0), ("SLOT", 0), ("SLOT", 1)):
        settings.texture.material_target, cube.active_material_index = target, slot
        window.coverage = -1
        bpy.ops.ddrep.measure_coverage()
        pump(lambda: window.coverage >= 0)
        shares.append(window.coverage)
    assert shares[1] > 0.9 and shares[2] < 0.6  # the factory camera sees the top, and two of five sides
    assert shares[0] == pytest.approx(shares[1] / 6 + shares[2] * 5 / 6, abs=0.05)


@needs_engine
def test_no_colour_of_the_other_slot_gets_into_the_picture(addon, cube, tmp_path):
    """The engine's own texels: of the square that both slots use, only the target's faces are its owners."""
    import subprocess

    two_slots(cube).active_material_index = 0
    bpy.context.scene.ddrep.texture.material_target = "SLOT"
    bpy.context.scene.ddrep.cameras.source = "ORBIT"
    folder = write(addon, tmp_path)
    program = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from ddrep_core.geometry.load import load_mesh\n"
        "job = json.loads(Path(sys.argv[1], 'job.json').read_text())['texture']\n"
        "mesh = load_mesh(Path(sys.argv[1], job['mesh']), job['mesh_up'], objects=job['objects'])\n"
        "print(json.dumps([[part.object_name, part.textured, len(part.faces)] for part in mesh.parts]))\n"
    )
    command = [str(ENGINE), "-c", program, str(folder)]  # this checkout, not what is installed
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert sorted(json.loads(told.splitlines()[-1])) == [["Cube", True, 2], ["Cube_2", False, 10]]
