"""`blender -b scene.blend --command ddrep …`, called as Blender calls it."""

from __future__ import annotations

import json
import math

import bpy
import numpy as np
import pytest
from conftest import make_environment


@pytest.fixture
def scene_file(addon, cube, tmp_path):
    """A saved .blend with two textureable objects and one camera."""
    other = cube.copy()
    other.data = cube.data.copy()
    other.name = "Other"
    other.location.x = 4
    bpy.context.collection.objects.link(other)
    path = tmp_path / "scene.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    return path


def run(addon, *arguments):
    return addon.cli.main([str(each) for each in arguments])


def common(tmp_path, fake_python):
    return ["--engine", fake_python, "--jobs", tmp_path / "cli-jobs"]


def requests(tmp_path):
    return [json.loads(path.read_text()) for path in sorted((tmp_path / "cli-jobs").glob("*/job.json"))]


def test_objects_prompts_and_seeds_are_multiplied_into_a_copy(addon, scene_file, tmp_path, fake_python):
    before = scene_file.read_bytes()
    output = tmp_path / "results" / "out.blend"
    status = run(
        addon, "texture", "--object", "Cube", "--object", "Other", "--prompt", "oak", "--prompt", "brass",
        "--seed", 1, "--seed", 2, "--resolution", 128, "--cameras", "orbit:3", "--output", output,
        *common(tmp_path, fake_python),
    )  # fmt: skip
    assert status == 0
    assert scene_file.read_bytes() == before
    found = requests(tmp_path)
    assert {(each["prompt"], each["seed"]) for each in found} == {(p, s) for p in ("oak", "brass") for s in (1, 2)}
    assert len(found) == 8
    bpy.ops.wm.open_mainfile(filepath=str(output))
    ours = [material for material in bpy.data.materials if "ddrep_result" in material]
    assert len(ours) == 8 and all(material.use_fake_user for material in ours)
    for name in ("Cube", "Other"):
        assert "ddrep_result" in bpy.data.objects[name].material_slots[0].material
    assert bpy.context.scene.ddrep.texture.prompt == "a wooden crate"  # the scene's own settings are as they were


def test_together_is_one_job(addon, scene_file, tmp_path, fake_python):
    status = run(
        addon, "texture", "--object", "Cube", "--object", "Other", "--together", "--prompt", "oak",
        "--resolution", 128, *common(tmp_path, fake_python),
    )  # fmt: skip
    assert status == 0 and len(requests(tmp_path)) == 1


@pytest.mark.parametrize(("into", "slots"), [("object", [None]), ("slot", [1]), ("slots", [0, 1])])
def test_what_gets_a_picture_may_be_said(addon, cube, tmp_path, fake_python, into, slots):
    """The materials of each result, one a slot, stay in the copy; every slot shows its own."""
    cube.data.materials.append(bpy.data.materials.new("second"))
    cube.data.polygons[0].material_index = 1
    cube.active_material_index = 1
    output = tmp_path / "out.blend"
    status = run(
        addon, "texture", "--object", "Cube", "--prompt", "oak", "--resolution", 128, "--into", into,
        "--output", output, *common(tmp_path, fake_python),
    )  # fmt: skip
    assert status == 0
    (about,) = [json.loads(path.read_text()) for path in (tmp_path / "cli-jobs").glob("*/blender.json")]
    assert [entry["slot"] for entry in about["objects"]] == slots
    bpy.ops.wm.open_mainfile(filepath=str(output))
    worn = [slot.material for slot in bpy.data.objects["Cube"].material_slots]
    assert ["ddrep_result" in material for material in worn] == [into != "slot", True]
    assert all(material.use_fake_user for material in bpy.data.materials if "ddrep_result" in material)


def test_the_command_line_writes_what_the_button_runs(addon, cube, tmp_path, fake_python, run_texture):
    job = run_texture()
    status = run(
        addon, "texture", "--object", "Cube", "--prompt", "a wooden crate", "--write-only",
        *common(tmp_path, fake_python),
    )  # fmt: skip
    assert status == 0
    (folder,) = (tmp_path / "cli-jobs").iterdir()
    for name in ("job.json", "inputs/mesh.obj", "inputs/cameras.json"):
        assert (folder / name).read_bytes() == (job.folder.path / name).read_bytes()


def test_the_front_can_be_said_in_degrees(addon, scene_file, tmp_path, fake_python):
    bpy.data.objects["Other"].rotation_euler.z = math.pi / 2
    arguments = ["--object", "Cube", "--object", "Other", "--prompt", "oak", "--write-only"]
    assert run(addon, "texture", *arguments, *common(tmp_path, fake_python)) == 0
    assert sorted(each["texture"]["front_degrees"] for each in requests(tmp_path)) == [0.0, 90.0]  # each its own
    arguments += ["--together", "--cameras", "orbit:4", "--front", "-45", "--jobs", tmp_path / "said"]
    assert run(addon, "texture", *arguments) == 0
    (job,) = (tmp_path / "said").iterdir()
    assert json.loads((job / "job.json").read_text())["texture"]["front_degrees"] == -45.0
    (camera, *_) = json.loads((job / "inputs/cameras.json").read_text())["cameras"]
    backward = np.array(camera["matrix_world"])[:3, 2]
    assert backward[0] < 0 and np.isclose(backward[0], backward[1])


def test_final_renders_by_cycles_from_every_camera(addon, scene_file, tmp_path, fake_python):
    from snapshot import snapshot

    second = bpy.data.objects.new("Second", bpy.data.cameras["Camera"])
    bpy.context.scene.collection.objects.link(second)
    second.location = (0, -8, 0)
    second.rotation_euler = (1.5708, 0, 0)
    bpy.context.scene.render.resolution_x = bpy.context.scene.render.resolution_y = 24
    output = tmp_path / "out.blend"
    before = snapshot()["render"]
    status = run(
        addon, "texture", "--object", "Cube", "--prompt", "oak", "--seed", 4, "--samples", 2, "--resolution", 128,
        "--output", output, "--render", tmp_path / "renders", "--render-samples", 2, *common(tmp_path, fake_python),
    )  # fmt: skip
    assert status == 0
    names = sorted(path.name for path in (tmp_path / "renders").iterdir())
    assert len(names) == 4 and all(name.endswith(("-camera.png", "-second.png")) for name in names)
    assert snapshot()["render"] == before
    bpy.ops.wm.open_mainfile(filepath=str(output))
    assert run(addon, "render", "--output", tmp_path / "again", "--render-samples", 2) == 0
    pictures = sorted((tmp_path / "again").iterdir())
    assert len(pictures) == 4
    means = []
    for path in pictures:
        if path.name.endswith("second.png"):
            image = bpy.data.images.load(str(path))
            assert tuple(image.size) == (24, 24)
            means.append(round(float(np.array(image.pixels[:])[0::4].sum()), 2))
    assert len(set(means)) == 2  # the two samples look different


def test_a_result_that_is_not_shown_is_rendered_all_the_same(addon, cube, run_texture, tmp_path):
    """The artist went back to the original; the render shows the result, and leaves the original there."""
    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = 16
    scene.camera.ddrep.own_resolution, scene.camera.ddrep.width, scene.camera.ddrep.height = True, 24, 12
    job = run_texture()
    pictures = []
    for shown in (True, False):
        if not shown:
            bpy.ops.ddrep.show_original(job=job.name)
        before = [(slot.link, slot.material) for slot in cube.material_slots]
        folder = tmp_path / f"renders {shown}"
        assert run(addon, "render", "--output", folder, "--render-samples", 1) == 0
        assert [(slot.link, slot.material) for slot in cube.material_slots] == before
        image = bpy.data.images.load(str(next(folder.iterdir())))
        assert tuple(image.size) == (24, 12)
        pictures.append(np.array(image.pixels[:]))
    assert np.array_equal(*pictures)


def test_generate_and_panorama(addon, scene_file, tmp_path, fake_python):
    output = tmp_path / "out.blend"
    status = run(
        addon, "generate", "--prompt", "a lantern", "--size", 0.25, "--location", 1, 2, 3, "--seed", 9,
        "--output", output, *common(tmp_path, fake_python),
    )  # fmt: skip
    assert status == 0
    assert tuple(bpy.data.objects["a lantern"].location) == (1, 2, 3)
    assert run(addon, "panorama", "--prompt", "a bay", "--width", 512, *common(tmp_path, fake_python)) == 0
    assert bpy.context.scene.world.name == "a bay"
    bricks = ["--prompt", "bricks", "--object", "Cube", "--resolution", 256, "--repeat", 3]
    assert run(addon, "material", *bricks, *common(tmp_path, fake_python)) == 0
    slot = bpy.data.objects["Cube"].material_slots[0]
    assert slot.link == "OBJECT" and slot.material.name.startswith("bricks")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--object", "Nobody", "--prompt", "x"], "no object 'Nobody'"),
        (["--object", "Light", "--prompt", "x"], "not a mesh"),
        (["--object", "Cube", "--prompt", " "], "prompt is empty"),
        (["--object", "Cube", "--prompt", "x", "--cameras", "moon"], "--cameras moon"),
        (["--object", "Cube", "--prompt", "x", "--front", "nan"], "--front"),
        (["--object", "Cube", "--prompt", "x", "--front", "left"], "--front"),
        (["--object", "Cube", "--prompt", "x", "--uv", "Bake"], "no UV map called 'Bake'"),
        (["--object", "Cube"], "--prompt"),
    ],
)
def test_a_wrong_request_ends_with_two(addon, scene_file, tmp_path, fake_python, capfd, arguments, words):
    assert run(addon, "texture", *arguments, *common(tmp_path, fake_python)) == 2
    assert words in capfd.readouterr().err


def test_a_failed_run_ends_with_one(addon, scene_file, tmp_path, fake_python, capfd):
    arguments = ["--object", "Cube", "--prompt", "an error crate", *common(tmp_path, fake_python)]
    assert run(addon, "texture", *arguments) == 1
    assert "The prior 'nothing' is not there" in capfd.readouterr().err


def test_no_engine_or_another_version_ends_with_two(addon, scene_file, tmp_path, capfd):
    other = make_environment(tmp_path / "other", "0.9.0")
    arguments = ["texture", "--object", "Cube", "--prompt", "x", "--jobs", tmp_path / "j"]
    assert run(addon, *arguments, "--engine", other) == 2
    assert run(addon, *arguments, "--engine", tmp_path / "nowhere") == 2
    assert "0.9.0" in capfd.readouterr().err


def test_the_open_file_is_never_written_to(addon, scene_file, tmp_path, fake_python, capfd):
    arguments = ["texture", "--object", "Cube", "--prompt", "x", "--output", scene_file, "--resolution", 128]
    before = scene_file.read_bytes()
    assert run(addon, *arguments, *common(tmp_path, fake_python)) == 2
    assert scene_file.read_bytes() == before and requests(tmp_path) == []  # and nothing was run for it
