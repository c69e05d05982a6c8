"""Cameras that see nothing, and faces that are seen from behind: told before the press, and put right after it."""

from __future__ import annotations

import json
import math
import time

import bpy
import pytest
from conftest import ENGINE, ROOT, needs_engine, select
from fake_layout import Layout
from mathutils import Matrix
from test_scene_to_job import write


def look_away(name="Away"):
    """A camera beside the factory's that looks at nothing."""
    camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    camera.matrix_world = Matrix.Translation((0, -10, 0)) @ Matrix.Rotation(-math.pi / 2, 4, "X")
    bpy.context.collection.objects.link(camera)
    bpy.context.view_layer.update()
    return camera


def inward(thing):
    """Turn all faces of a mesh over."""
    thing.data.flip_normals()
    bpy.context.view_layer.update()


def measured(pump):
    """Measure what the cameras see. Returns the window's numbers."""
    window = bpy.context.window_manager.ddrep
    window.coverage = -1
    assert bpy.ops.ddrep.measure_coverage() == {"FINISHED"}
    pump(lambda: window.coverage >= 0)
    return window


def drawn(addon):
    """All that the panel of cameras draws, as text."""
    from types import SimpleNamespace

    record = []
    panel = SimpleNamespace(layout=Layout(record))
    cls = bpy.types.DDREP_PT_cameras
    for name in ("_draw_list", "_draw_coverage", "_draw_blind"):
        setattr(panel, name, getattr(cls, name).__get__(panel))
    cls.draw(panel, bpy.context)
    return str(record)


def test_a_camera_that_sees_nothing_is_marked_before_the_press_and_left_out_by_a_button(addon, cube, pump):
    away = look_away()
    measured(pump)
    assert addon.runtime.current().blind == {"Away"}
    text = drawn(addon)
    assert "'Away' sees nothing of the" in text and "ddrep.leave_blind_out" in text
    row = []
    bpy.types.DDREP_UL_cameras.draw_item(None, bpy.context, Layout(row), None, away, 0, None, "")
    assert "HIDE_ON" in str(row)
    row.clear()
    bpy.types.DDREP_UL_cameras.draw_item(None, bpy.context, Layout(row), None, bpy.data.objects["Camera"], 0, None, "")
    assert "HIDE_ON" not in str(row)
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.ddrep.leave_blind_out() == {"FINISHED"}
    assert not away.ddrep.use and bpy.data.objects["Camera"].ddrep.use
    measured(pump)
    assert not addon.runtime.current().blind and "ddrep.leave_blind_out" not in drawn(addon)
    with pytest.raises(RuntimeError, match="Every ticked camera sees something"):
        bpy.ops.ddrep.leave_blind_out()


def test_a_camera_that_was_moved_since_is_not_left_out(addon, cube, pump):
    away = look_away()
    bpy.context.scene.ddrep.cameras.automatic_coverage = False
    measured(pump)
    away.matrix_world = bpy.data.objects["Camera"].matrix_world
    bpy.context.view_layer.update()
    with pytest.raises(RuntimeError, match="Something has changed"):
        bpy.ops.ddrep.leave_blind_out()
    assert away.ddrep.use


def test_where_no_camera_sees_anything_the_panel_says_so(addon, cube, pump):
    look_away()
    bpy.data.objects["Camera"].ddrep.use = False
    assert measured(pump).coverage == 0
    text = drawn(addon)
    assert "Nothing would be" in text and "ddrep.use_orbit" in text and "ddrep.leave_blind_out" not in text


def test_what_was_pressed_is_measured_though_a_change_came_just_before(addon, cube, pump):
    """The look that was due after the change would only say that an animation is measured when pressed."""
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, 2
    bpy.context.scene.ddrep.cameras.source = "FRAMES"
    assert addon.runtime.state.current().coverage_due
    time.sleep(0.5)
    assert measured(pump).coverage >= 0


def test_a_frame_that_looks_away_is_named(addon, cube, pump):
    scene = bpy.context.scene
    camera = scene.camera
    scene.frame_start, scene.frame_end, scene.ddrep.cameras.frame_step = 1, 3, 1
    camera.keyframe_insert("rotation_euler", frame=1)
    camera.rotation_euler.x += math.pi
    camera.keyframe_insert("rotation_euler", frame=3)
    scene.frame_set(1)
    scene.ddrep.cameras.source = "FRAMES"
    measured(pump)
    assert "Camera @ 3" in addon.runtime.current().blind and "Camera @ 1" not in addon.runtime.current().blind
    assert scene.frame_current == 1


def test_a_mark_goes_when_what_was_measured_is_void(addon, cube, pump):
    look_away()
    measured(pump)
    select()
    addon.runtime.current().coverage_due = 1e-9
    pump(lambda: not addon.runtime.current().blind, seconds=5)


def test_a_room_seen_from_inside_is_told_from_its_backs(addon, cube, pump):
    cube.scale = (10, 10, 10)
    bpy.context.view_layer.update()
    bpy.context.scene.camera.data.clip_end = 1000
    window = measured(pump)
    assert window.coverage == 0 and window.coverage_behind > 0.1
    text = drawn(addon)
    assert "only from behind" in text and "both_sides" in text
    behind = window.coverage_behind
    bpy.context.scene.ddrep.texture.both_sides = True
    window = measured(pump)
    assert window.coverage == pytest.approx(behind, abs=0.08) and window.coverage_behind == 0
    assert not addon.runtime.current().blind


def test_an_object_that_is_inside_out_is_measured_as_the_engine_paints_it(addon, cube, pump):
    right = measured(pump).coverage
    inward(cube)
    assert measured(pump).coverage == pytest.approx(right, abs=0.04) and right > 0.3


def test_backs_of_one_object_are_not_taken_for_another_s(addon, cube, pump):
    other = cube.copy()
    other.data = cube.data.copy()
    other.location.x = 3
    bpy.context.collection.objects.link(other)
    select(cube, other)
    bpy.context.view_layer.update()
    right = measured(pump).coverage
    inward(other)
    assert measured(pump).coverage == pytest.approx(right, abs=0.04)


def test_both_sides_are_in_the_job_only_where_they_are_asked_for(addon, cube, tmp_path):
    plain = json.loads((write(addon, tmp_path, "plain") / "job.json").read_text())["texture"]
    bpy.context.scene.ddrep.texture.both_sides = True
    asked = json.loads((write(addon, tmp_path, "asked") / "job.json").read_text())["texture"]
    assert "both_sides" not in plain and asked == {**plain, "both_sides": True}


@pytest.mark.parametrize(
    ("prompt", "label", "helped"),
    [
        ("a blind crate", "Leave it out", True),
        ("an inside crate", "Paint both sides", True),
        ("a none crate", "Use an orbit", False),
    ],
)
def test_a_job_that_sees_nothing_offers_what_helps_and_no_useless_retry(addon, cube, pump, prompt, label, helped):
    look_away()
    bpy.context.scene.ddrep.texture.prompt = prompt
    bpy.ops.ddrep.texture()
    pump()
    (job,) = addon.runtime.current().manager.jobs.values()
    assert job.state == "failed" and job.problem.label == label
    assert "--both-sides" not in job.problem.message
    getattr(bpy.ops.ddrep, job.problem.fix.split(".")[1])(**job.problem.arguments)
    if helped:
        pump()
        assert job.state == "done" and job.imported, job.problem
    else:
        assert bpy.context.scene.ddrep.cameras.source == "ORBIT"


def test_a_camera_that_the_engine_left_out_is_told_in_blender_s_words(addon, cube, run_texture):
    bpy.context.scene.ddrep.texture.prompt = "a leaf"
    job = run_texture()
    (words,) = job.progress.warnings
    assert "'Away' sees the mesh only from behind" in words and words.endswith("tick Paint Both Sides.")
    assert job.state == "done" and job.imported


def test_the_last_camera_of_a_job_is_never_left_out(addon, cube, pump):
    camera = look_away()
    bpy.data.objects["Camera"].ddrep.use = False
    bpy.context.scene.ddrep.texture.prompt = "a blind crate"
    bpy.ops.ddrep.texture()
    pump()
    (job,) = addon.runtime.current().manager.jobs.values()
    assert job.problem.fix == "ddrep.use_orbit"
    addon.runtime.current().manager.retry(job, leave_out=camera.name)
    assert len(json.loads((job.folder.path / "inputs/cameras.json").read_text())["cameras"]) == 1


@needs_engine
def test_the_engine_leaves_out_what_the_bar_says_sees_nothing(addon, cube, pump, tmp_path):
    """The same cameras by the engine's rays and by Blender's: one looks away, one stands inside."""
    import subprocess

    look_away()
    inside = bpy.data.objects.new("Inside", bpy.data.cameras.new("Inside"))
    bpy.context.collection.objects.link(inside)
    bpy.context.view_layer.update()
    measured(pump)
    folder = write(addon, tmp_path)
    program = (
        "import json, sys, warnings\n"
        "from pathlib import Path\n"
        "from ddrep_core.geometry.load import load_mesh\n"
        "from ddrep_core.jobs.views import look_at_mesh\n"
        "from ddrep_core.views import Views\n"
        "mesh = load_mesh(Path(sys.argv[1], 'inputs/mesh.obj'), 'z')\n"
        "outlook = look_at_mesh(Views.load(Path(sys.argv[1], 'inputs/cameras.json')), mesh, 64, 64)\n"
        "print(json.dumps(outlook.left_out_names))\n"
    )
    command = [str(ENGINE), "-c", program, str(folder)]  # this checkout, not what is installed
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert set(json.loads(told.splitlines()[-1])) == addon.runtime.current().blind == {"Away", "Inside"}
