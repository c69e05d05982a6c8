"""Which way an object faces: told to the engine, and where an orbit begins."""

from __future__ import annotations

import json
import math
import subprocess

import bpy
import numpy as np
import pytest
from conftest import ENGINE, needs_engine, select

QUARTER = math.pi / 2


def written(tmp_path, name="job"):
    """(front_degrees, azimuth of the first camera in degrees) of the job that the button would run."""
    folder = tmp_path / name
    assert bpy.ops.ddrep.write_job(directory=str(folder)) == {"FINISHED"}
    front = json.loads((folder / "job.json").read_text())["texture"]["front_degrees"]
    backward = np.array(json.loads((folder / "inputs/cameras.json").read_text())["cameras"][0]["matrix_world"])[:3, 2]
    return front, math.degrees(math.atan2(backward[0], -backward[1])) % 360


@pytest.fixture
def orbit(cube):
    """The cube, looked at from an orbit. Returns the settings of the cameras."""
    settings = bpy.context.scene.ddrep.cameras
    settings.source, settings.orbit_count = "ORBIT", 4
    return settings


@pytest.mark.parametrize(
    ("rotation", "scale", "degrees"),
    [
        ((0, 0, 0), (1, 1, 1), 0.0),
        ((0, 0, QUARTER), (1, 1, 1), 90.0),
        ((0, 0, math.radians(-30)), (2, 2, 0.5), 330.0),
        ((math.radians(40), 0, math.radians(200)), (1, 1, 1), 200.0),  # leans; its front is still seen from above
        ((0, 0, QUARTER), (-1, 1, 1), 90.0),  # mirrored left and right
        ((0, 0, QUARTER), (1, -1, 1), 270.0),  # mirrored front and back
        ((QUARTER, 0, 0), (1, 1, 1), 0.0),  # made Y-up and set upright, as the OBJ importer does,
        ((QUARTER, 0, QUARTER), (1, 1, 1), 90.0),  # and then turned,
        ((math.radians(70), 0, QUARTER), (1, 1, 1), 90.0),  # and leant
        ((-QUARTER, 0, QUARTER), (1, 1, 1), 0.0),  # on its back: nothing is known
        ((0, QUARTER, 0), (1, 1, 1), 0.0),  # on its side
    ],
)
def test_an_object_faces_its_own_minus_y(cube, orbit, tmp_path, rotation, scale, degrees):
    cube.rotation_euler, cube.scale = rotation, scale
    front, first = written(tmp_path)
    assert front == pytest.approx(degrees, abs=1e-3) and 0 <= front < 360
    assert (first - degrees + 180) % 360 - 180 == pytest.approx(0, abs=1e-2)


def test_parents_turn_what_hangs_on_them(cube, orbit, tmp_path):
    empty = bpy.data.objects.new("Stand", None)
    bpy.context.collection.objects.link(empty)
    cube.parent, empty.rotation_euler.z = empty, QUARTER
    assert written(tmp_path)[0] == 90.0


@pytest.mark.parametrize(
    ("choice", "degrees"), [("MINUS_Y", 0.0), ("PLUS_X", 90.0), ("PLUS_Y", 180.0), ("MINUS_X", 270.0)]
)
def test_an_axis_of_the_world_may_be_chosen(cube, orbit, tmp_path, choice, degrees):
    cube.rotation_euler.z = 1.0
    orbit.front = choice
    front, first = written(tmp_path)
    assert front == degrees and first == pytest.approx(degrees, abs=1e-2)


def test_of_several_the_active_one_counts_else_the_first(cube, orbit, tmp_path):
    other = cube.copy()
    other.name, other.location.x, other.rotation_euler.z = "Another", 4, QUARTER
    other.data = cube.data.copy()
    bpy.context.collection.objects.link(other)
    select(cube, other)
    assert written(tmp_path, "cube")[0] == 0.0
    select(other, cube)
    assert written(tmp_path, "other")[0] == 90.0
    bpy.context.view_layer.objects.active = bpy.data.objects["Light"]
    assert written(tmp_path, "neither")[0] == 90.0  # "Another" comes before "Cube"


def test_the_scenes_own_cameras_stay_where_they_are(cube, tmp_path):
    before = written(tmp_path, "before")
    cube.rotation_euler.z = QUARTER
    assert before[0] == 0.0 and written(tmp_path, "after") == (90.0, before[1])


def test_files_and_undo_keep_the_choice(cube, orbit, tmp_path):
    bpy.ops.ed.undo_push(message="before")
    orbit.front = "PLUS_Y"
    bpy.ops.ed.undo_push(message="chosen")
    bpy.ops.ed.undo()
    assert bpy.context.scene.ddrep.cameras.front == "AUTOMATIC"
    bpy.ops.ed.redo()
    assert bpy.context.scene.ddrep.cameras.front == "PLUS_Y"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.context.scene.ddrep.cameras.front = "AUTOMATIC"
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    assert bpy.context.scene.ddrep.cameras.front == "PLUS_Y"


def test_coverage_is_measured_anew_where_the_front_changes(addon, cube, orbit):
    before = addon.runtime.coverage_key(bpy.context)
    orbit.front = "PLUS_X"
    assert addon.runtime.coverage_key(bpy.context) != before


TELL = """
import json, sys
from pathlib import Path
from ddrep_core.geometry.load import load_mesh
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.views import request_cameras, sampled_views
from ddrep_core.priors.diffusers_prior import view_prompts

folder = JobFolder(Path(sys.argv[1]))
request = folder.load_request()
mesh = load_mesh(folder.resolve(request.texture.mesh), request.texture.mesh_up)
views = sampled_views(request_cameras(request, folder), mesh, 64, request.texture.front_degrees)
print(json.dumps([view_prompts("", views), views[0].position.tolist()]))
"""


@needs_engine
@pytest.mark.once
def test_the_engine_tells_a_turned_object_the_same_sides(cube, orbit, tmp_path):
    """Turned by a quarter in the scene: the first camera stands at +X, and still sees the front."""
    cube.rotation_euler.z = QUARTER
    written(tmp_path)
    command = [str(ENGINE), "-I", "-c", TELL, str(tmp_path / "job")]
    told, first = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert told == ["front view", "side view", "back view", "side view"]
    assert first[0] > 1 and abs(first[1]) < 1e-3
