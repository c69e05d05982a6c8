"""What a job says of the scene: meshes, UV maps, cameras, settings."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from conftest import ENGINE, needs_engine, select
from mathutils import Euler, Matrix


def write(addon, tmp_path, name="job") -> Path:
    target = tmp_path / name
    assert bpy.ops.ddrep.write_job(directory=str(target)) == {"FINISHED"}
    return target


def read_obj(path: Path) -> dict[str, dict]:
    """Objects of an OBJ: their faces as [(position, uv or None), ...]."""
    points, uvs, found, current = [], [], {}, None
    for line in path.read_text().splitlines():
        kind, *rest = line.split()
        if kind == "v":
            points.append([float(each) for each in rest])
        elif kind == "vt":
            uvs.append([float(each) for each in rest])
        elif kind == "o":
            current = found[rest[0]] = []
        elif kind == "f":
            corners = []
            for corner in rest:
                numbers = corner.split("/")
                uv = uvs[int(numbers[1]) - 1] if len(numbers) > 1 else None
                corners.append((points[int(numbers[0]) - 1], uv))
            current.append(corners)
    return found


def test_the_request_is_complete_and_has_only_known_keys(addon, cube, tmp_path):
    request = json.loads((write(addon, tmp_path) / "job.json").read_text())
    assert request == {
        "schema_version": 1,
        "task": "texture",
        "prompt": "a wooden crate",
        "negative_prompt": "",
        "seed": 7,
        "samples": 1,
        "prior": "bundled",
        "controlnet": None,
        "guidance_scale": None,
        "steps": None,
        "eta": None,
        "schedule": "auto",
        "device": "auto",
        "precision": "auto",
        "max_batch": None,
        "cameras": "inputs/cameras.json",
        "texture": {
            "mesh": "inputs/mesh.obj",
            "mesh_up": "z",
            "resolution": 128,
            "space": "auto",
            "objects": None,
            "depth": True,
            "front_degrees": 0.0,
        },
    }


def test_write_job_is_what_the_button_runs(addon, cube, tmp_path, run_texture):
    written = write(addon, tmp_path)
    job = run_texture()
    assert job.state == "done", job.problem
    for name in ("job.json", "inputs/mesh.obj", "inputs/cameras.json"):
        assert (written / name).read_bytes() == (job.folder.path / name).read_bytes()


def test_write_job_looks_for_no_folder_where_the_scene_allows_no_job(addon, cube):
    bpy.context.scene.ddrep.texture.prompt = ""
    button = SimpleNamespace(task="texture", report=lambda *_: None)  # no window, so nobody can press the real one
    assert addon.operators.make.DDREP_OT_write_job.invoke(button, bpy.context, None) == {"CANCELLED"}
    assert "The prompt is empty" in bpy.context.window_manager.ddrep.problem


def test_an_unlocked_seed_is_rolled_after_the_job_was_made(addon, cube, run_texture):
    settings = bpy.context.scene.ddrep.texture
    settings.seed_locked = False
    shown = settings.seed
    job = run_texture()
    assert job.folder.request()["seed"] == shown
    assert settings.seed != shown


@pytest.mark.parametrize("scale", [(1, 1, 1), (1.5, 0.5, 2), (-1, 1, 1), (-1, -2, -1)])
def test_vertices_are_in_world_space_and_uvs_stay_with_their_corners(addon, cube, tmp_path, scale):
    cube.location, cube.rotation_euler, cube.scale = (1, 2, 3), (0.3, -0.2, 0.9), scale
    bpy.context.view_layer.update()
    faces = read_obj(write(addon, tmp_path) / "inputs/mesh.obj")["Cube"]
    mesh, layer = cube.data, cube.data.uv_layers.active
    rows = [
        [*(cube.matrix_world @ mesh.vertices[loop.vertex_index].co), *layer.uv[i].vector]
        for i, loop in enumerate(mesh.loops)
    ]
    expected = np.array(rows)
    corners = np.array([[*point, *uv] for face in faces for point, uv in face])
    distance = np.abs(corners[:, None] - expected[None]).max(axis=2)
    assert (distance.min(axis=1) < 1e-5).all()  # every corner of the file is a loop of the mesh,
    assert (distance.min(axis=0) < 1e-5).all()  # and every loop is there
    centre = np.array(cube.location)
    for face in faces:  # outward, whatever the scale's sign
        points = np.array([point for point, _ in face])
        normal = np.cross(points[1] - points[0], points[2] - points[0])
        assert normal @ (points.mean(axis=0) - centre) > 0


def test_modifiers_are_in_the_mesh(addon, cube, tmp_path):
    cube.modifiers.new("Subdivision", "SUBSURF").levels = 2
    faces = read_obj(write(addon, tmp_path) / "inputs/mesh.obj")["Cube"]
    assert len(faces) == 6 * 4**2 * 2
    radius = max(np.linalg.norm(point) for face in faces for point, _ in face)
    assert radius < math.sqrt(3) - 0.1


def test_a_chosen_uv_map_is_used(addon, cube, tmp_path):
    layer = cube.data.uv_layers.new(name="Second")
    for number, corner in enumerate(layer.uv):
        corner.vector = (number / 100, 0.25 if number % 3 else 0.75)
    settings = bpy.context.scene.ddrep.texture
    settings.uv_source, settings.uv_name = "NAMED", "Second"
    cube.data.uv_layers.active_index = 0
    faces = read_obj(write(addon, tmp_path) / "inputs/mesh.obj")["Cube"]
    assert {round(uv[1], 5) for face in faces for _, uv in face} == {0.25, 0.75}


def test_a_mesh_without_uvs_is_sent_in_polygons(addon, cube, tmp_path):
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    faces = read_obj(write(addon, tmp_path) / "inputs/mesh.obj")["Cube"]
    assert [len(face) for face in faces] == [4] * 6
    assert all(uv is None for face in faces for _, uv in face)


def test_several_objects_with_difficult_names(addon, cube, tmp_path):
    names = ["a b/c", "a b:c", "Würfel", "…"]
    things = []
    for number, name in enumerate(names):
        thing = cube.copy()
        thing.data = cube.data.copy()
        thing.name = name
        thing.location.x = 3 * number
        bpy.context.collection.objects.link(thing)
        things.append(thing)
    select(*things)
    target = write(addon, tmp_path)
    about = json.loads((target / "blender.json").read_text())
    keys = {entry["name"]: entry["key"] for entry in about["objects"]}
    assert set(keys) == set(names) and len(set(keys.values())) == 4
    assert all(key.isascii() and not set(key) & set(" /:\\") for key in keys.values())
    assert set(read_obj(target / "inputs/mesh.obj")) == set(keys.values())


def test_other_objects_can_stand_in_the_way(addon, cube, tmp_path):
    bpy.ops.mesh.primitive_uv_sphere_add(location=(3, 0, 0))
    select(cube)
    bpy.context.scene.ddrep.texture.occluders = True
    target = write(addon, tmp_path)
    assert set(read_obj(target / "inputs/mesh.obj")) == {"Cube", "Sphere"}
    assert json.loads((target / "job.json").read_text())["texture"]["objects"] == ["Cube"]


def test_cameras_carry_their_settings(addon, cube, tmp_path):
    scene = bpy.context.scene
    first = scene.camera
    second = bpy.data.objects.new("Side", bpy.data.cameras.new("Side"))
    unused = bpy.data.objects.new("Unused", bpy.data.cameras.new("Unused"))
    for camera in (second, unused):
        scene.collection.objects.link(camera)
    second.ddrep.weight, second.ddrep.prompt = 2.5, "from the side"
    second.ddrep.own_resolution, second.ddrep.width, second.ddrep.height = True, 320, 640
    unused.ddrep.use = False
    scene.render.resolution_percentage = 50
    cameras = json.loads((write(addon, tmp_path) / "inputs/cameras.json").read_text())["cameras"]
    assert [each["name"] for each in cameras] == [first.name, "Side"]
    assert (cameras[0]["width"], cameras[0]["height"]) == (960, 540)
    assert (cameras[1]["width"], cameras[1]["height"]) == (320, 640)
    assert (cameras[1]["weight"], cameras[1]["prompt"]) == (2.5, "from the side")


def test_an_animated_camera_gives_a_view_a_frame_and_the_frame_is_put_back(addon, cube, tmp_path):
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end, scene.ddrep.cameras.frame_step = 1, 21, 10
    camera = scene.camera
    for frame, x in ((1, 0.0), (21, 10.0)):
        camera.location.x = x
        camera.keyframe_insert("location", index=0, frame=frame)
    scene.frame_set(4, subframe=0.5)
    scene.ddrep.cameras.source = "FRAMES"
    cameras = json.loads((write(addon, tmp_path) / "inputs/cameras.json").read_text())["cameras"]
    assert [each["name"] for each in cameras] == ["Camera @ 1", "Camera @ 11", "Camera @ 21"]
    assert [round(each["matrix_world"][0][3], 3) for each in cameras] == [0.0, 5.0, 10.0]
    assert (scene.frame_current, scene.frame_subframe) == (4, 0.5)


def test_an_orbit_looks_at_the_selection_from_all_around(addon, cube, tmp_path):
    cube.location = (5, -3, 2)
    bpy.context.view_layer.update()
    settings = bpy.context.scene.ddrep.cameras
    settings.source, settings.orbit_count = "ORBIT", 6
    cameras = json.loads((write(addon, tmp_path) / "inputs/cameras.json").read_text())["cameras"]
    assert len(cameras) == 6 and len(bpy.data.cameras) == 1
    corners = np.array([[*(cube.matrix_world @ vertex.co), 1] for vertex in cube.data.vertices])
    for camera in cameras:
        clip = corners @ (np.array(camera["projection"]) @ np.linalg.inv(camera["matrix_world"])).T
        assert (np.abs(clip[:, :3]) < clip[:, 3:]).all()
    front = np.array(cameras[0]["matrix_world"])[:3, 3] - np.array(cube.location)
    assert front[1] < 0 and abs(front[0]) < 1e-4
    settings.front = "PLUS_X"
    cameras = json.loads((write(addon, tmp_path, "turned") / "inputs/cameras.json").read_text())["cameras"]
    front = np.array(cameras[0]["matrix_world"])[:3, 3] - np.array(cube.location)
    assert front[0] > 0 and abs(front[1]) < 1e-4


def test_generate_and_panorama_jobs(addon, tmp_path):
    scene = bpy.context.scene
    scene.cursor.location = (1, 2, 3)
    scene.ddrep.generate.prompt, scene.ddrep.generate.size = "a teapot", 0.3
    scene.ddrep.panorama.prompt, scene.ddrep.panorama.width = "a harbour", "512"
    for task, block in (
        ("generate", {"size": 0.3, "faces": 20000, "resolution": 1024, "grid": 100}),
        ("panorama", {"projection": "sphere", "width": 512, "hdr": False}),
    ):
        bpy.ops.ddrep.write_job(directory=str(tmp_path / task), task=task)
        request = json.loads((tmp_path / task / "job.json").read_text())
        assert request[task] == block and request["task"] == task
    assert json.loads((tmp_path / "generate/blender.json").read_text())["location"] == [1, 2, 3]


def test_the_prior_of_the_preferences_counts_where_none_is_named(addon, cube, tmp_path):
    preferences, settings = addon.preferences.preferences(), bpy.context.scene.ddrep.texture
    found = []
    for default, own in (("models/a", ""), ("models/a", "models/b"), ("", "")):
        preferences.prior, settings.prior = default, own
        found.append(json.loads((write(addon, tmp_path, f"job{len(found)}") / "job.json").read_text())["prior"])
    preferences.prior = "bundled"
    assert found == ["models/a", "models/b", "bundled"]


ACCEPT = """
import json, sys
from ddrep_core.jobs.request import parse_request

for request in json.load(sys.stdin):
    parse_request(request)
"""


NEVER_LEAVE_BLENDER = ("uv_source", "storage")
WANT_A_PICTURE = ("keep", "from_texture")  # of the material, which the cube has not; test_keep.py has one that has


@needs_engine
def test_the_engine_accepts_every_choice_that_the_panels_offer(addon, cube):
    """Each item of each list, each switch both ways, numbers at both ends."""
    from bl_ext.user_default.ddrep.operators.make import draft

    requests = []
    for task in ("texture", "generate", "panorama", "image"):
        settings = getattr(bpy.context.scene.ddrep, task)
        settings.prompt = "a thing"
        settings.own_guidance = settings.own_eta = True
        for rna in settings.bl_rna.properties:
            choices = []
            if rna.identifier in (*NEVER_LEAVE_BLENDER, *WANT_A_PICTURE):
                continue
            if rna.type == "ENUM":
                choices = [item.identifier for item in rna.enum_items]
            elif rna.type == "BOOLEAN":
                choices = [not rna.default, rna.default]
            elif rna.type in {"INT", "FLOAT"}:
                choices = (
                    [rna.hard_min, rna.default] if rna.hard_max > 1e9 else [rna.hard_min, rna.hard_max, rna.default]
                )
            for choice in choices:
                setattr(settings, rna.identifier, choice)
                requests.append(draft(bpy.context, task).request)
            if rna.type == "ENUM" and choices:
                setattr(settings, rna.identifier, rna.default)
    assert len(requests) > 100
    command = [str(ENGINE), "-I", "-c", ACCEPT]
    asked = subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr


def test_measuring_by_hand_ends_with_a_share(addon, cube, pump):
    window = bpy.context.window_manager.ddrep
    window.coverage = -1
    assert bpy.ops.ddrep.measure_coverage() == {"FINISHED"}
    pump(lambda: window.coverage >= 0)
    assert 0.2 < window.coverage < 0.7  # the factory camera sees three sides of the cube


def test_coverage_of_a_cube(addon, cube):
    from bl_ext.user_default.ddrep.scene.cameras import View, perspective
    from bl_ext.user_default.ddrep.scene.coverage import Estimate, Surface, best_new_view

    depsgraph = bpy.context.evaluated_depsgraph_get()
    surface = Surface([cube], depsgraph)
    looks = [Euler((math.pi / 2, 0, turn * math.pi / 2)).to_matrix().to_4x4() for turn in range(4)]
    views = [
        View(f"{turn}", np.array(look @ Matrix.Translation((0, 0, 10))), perspective(0.6, 0.1, 100), 64, 64)
        for turn, look in enumerate(looks)
    ]
    shares = []
    for count in range(1, 5):
        estimate = Estimate(surface, views[:count])
        while not estimate.step(0.001):
            pass
        shares.append(estimate.share)
    assert np.allclose(shares, [1 / 6, 2 / 6, 3 / 6, 4 / 6], atol=0.04)
    view, gained = best_new_view(surface, estimate.seen.any(axis=0), [cube])
    assert abs(view.matrix_world[2, 2]) > 0.8  # only top and bottom are left
    assert 0.1 < gained < 0.25


def test_a_wall_hides_what_is_behind_it(addon, cube):
    from bl_ext.user_default.ddrep.scene.cameras import View, perspective
    from bl_ext.user_default.ddrep.scene.coverage import Estimate, Surface

    bpy.ops.mesh.primitive_plane_add(size=6, location=(0, -3, 0), rotation=(math.pi / 2, 0, 0))
    wall = bpy.context.object
    look = Euler((math.pi / 2, 0, 0)).to_matrix().to_4x4() @ Matrix.Translation((0, 0, 10))
    view = View("front", np.array(look), perspective(0.6, 0.1, 100), 64, 64)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    alone, behind = Estimate(Surface([cube], depsgraph), [view]), Estimate(Surface([cube, wall], depsgraph), [view])
    for estimate in (alone, behind):
        while not estimate.step():
            pass
    assert alone.share > 0.1
    wall_only = behind.seen[0] & (behind.surface.points[:, 1] < -2)
    assert behind.seen[0].sum() == wall_only.sum()


def test_a_camera_is_added_where_none_looks(addon, cube):
    bpy.context.scene.camera.ddrep.use = True
    before = set(bpy.data.objects.keys())
    assert bpy.ops.ddrep.add_camera() == {"FINISHED"}
    (name,) = set(bpy.data.objects.keys()) - before
    from bl_ext.user_default.ddrep.operators.cameras import finished_estimate

    bpy.context.view_layer.update()
    both = finished_estimate(bpy.context).share
    bpy.data.objects[name].ddrep.use = False
    assert both > finished_estimate(bpy.context).share + 0.1
