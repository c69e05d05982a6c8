"""What can be wrong with a scene: told in words, with what to do, and the scene is untouched."""

from __future__ import annotations

import errno
import os

import bpy
import pytest
from conftest import select
from snapshot import snapshot


def refused(addon, words, fix="", write=False):
    """The button refuses in these words, with this fix; nothing has changed."""
    before = snapshot()
    problem = None
    try:
        addon.runtime.require(bpy.context, "texture")
        addon.operators.make.draft(bpy.context, "texture")
    except addon.problems.Problem as found:
        problem = found
    assert problem is not None, "it was not refused"
    assert words in problem.message, problem.message
    assert problem.fix == fix
    with pytest.raises(RuntimeError):  # by poll or by report: the button does not go through
        bpy.ops.ddrep.texture()
    assert snapshot() == before
    assert not addon.runtime.current().manager.jobs
    return problem


def fix(problem):
    """Press the button that the problem carries."""
    group, name = problem.fix.split(".")
    assert getattr(getattr(bpy.ops, group), name)(**problem.arguments) == {"FINISHED"}


def accepted(addon):
    addon.runtime.require(bpy.context, "texture")
    return addon.operators.make.draft(bpy.context, "texture")


def test_nothing_selected(addon, cube):
    select()
    refused(addon, "Nothing is selected")


def test_no_prompt(addon, cube):
    bpy.context.scene.ddrep.texture.prompt = "  "
    refused(addon, "prompt is empty")


def test_no_cameras(addon, cube):
    bpy.data.objects.remove(bpy.data.objects["Camera"])
    fix(refused(addon, "The scene has no camera", "ddrep.use_orbit"))
    accepted(addon)


def test_no_camera_ticked_none_active_and_none_important(addon, cube):
    camera = bpy.data.objects["Camera"]
    camera.ddrep.use = False
    refused(addon, "No camera is ticked", "ddrep.use_orbit")
    camera.ddrep.use, camera.ddrep.weight = True, 0
    refused(addon, "importance zero", "ddrep.use_orbit")
    bpy.context.scene.camera = None
    bpy.context.scene.ddrep.cameras.source = "ACTIVE"
    fix(refused(addon, "no active camera", "ddrep.use_orbit"))
    accepted(addon)


def test_panoramic_camera(addon, cube):
    bpy.data.objects["Camera"].data.type = "PANO"
    other = bpy.data.objects.new("Plain", bpy.data.cameras.new("Plain"))
    bpy.context.collection.objects.link(other)
    fix(refused(addon, "panoramic", "ddrep.leave_camera_out"))
    accepted(addon)


def test_too_many_frames(addon, cube):
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, 5000
    scene.ddrep.cameras.source, scene.ddrep.cameras.frame_step = "FRAMES", 1
    fix(refused(addon, "5000 frames are too many", "ddrep.set_frame_step"))
    accepted(addon)


@pytest.mark.parametrize("kind", ["viewport", "eye", "collection"])
def test_hidden_object(addon, cube, kind):
    if kind == "viewport":
        cube.hide_viewport = True
    elif kind == "eye":
        cube.hide_set(True)
    else:
        bpy.context.view_layer.layer_collection.children[0].hide_viewport = True
    # A hidden object can't be selected, but can be named on the command line.
    from bl_ext.user_default.ddrep.scene.draft import texture_draft

    with pytest.raises(addon.problems.Problem, match="'Cube' is hidden") as caught:
        texture_draft(bpy.context, [cube], "bundled")
    assert caught.value.fix == "ddrep.show_object"
    if kind != "collection":
        fix(caught.value)
        texture_draft(bpy.context, [cube], "bundled")


def library_with_a_cube(tmp_path):
    path = tmp_path / "library.blend"
    bpy.data.libraries.write(str(path), {bpy.data.objects["Cube"]})
    return path


def test_linked_object(addon, cube, tmp_path):
    path = library_with_a_cube(tmp_path)
    bpy.data.objects.remove(cube)
    with bpy.data.libraries.load(str(path), link=True) as (_, wanted):
        wanted.objects = ["Cube"]
    linked = wanted.objects[0]
    bpy.context.collection.objects.link(linked)
    select(linked)
    fix(refused(addon, "is linked from", "ddrep.make_local"))
    accepted(addon)


def test_library_override(addon, cube, tmp_path):
    path = library_with_a_cube(tmp_path)
    bpy.data.objects.remove(cube)
    with bpy.data.libraries.load(str(path), link=True) as (_, wanted):
        wanted.objects = ["Cube"]
    bpy.context.collection.objects.link(wanted.objects[0])
    override = wanted.objects[0].override_create(remap_local_usages=True)
    select(override)
    fix(refused(addon, "is a library override", "ddrep.make_local"))
    accepted(addon)


def test_edit_mode(addon, cube):
    bpy.ops.object.mode_set(mode="EDIT")
    problem = refused(addon, "Edit Mesh Mode", "ddrep.leave_mode")
    fix(problem)
    accepted(addon)


@pytest.mark.parametrize(
    ("add", "words"),
    [
        (lambda: bpy.ops.object.light_add(), "is not a mesh (light)"),
        (lambda: bpy.ops.curve.primitive_bezier_circle_add(), "Convert it to a mesh"),
        (lambda: bpy.ops.object.text_add(), "Convert it to a mesh"),
        (lambda: bpy.ops.object.empty_add(), "is not a mesh (empty)"),
    ],
)
def test_not_a_mesh(addon, cube, add, words):
    add()
    cube.select_set(True)
    thing = bpy.context.object
    problem = refused(addon, words, "ddrep.deselect" if "Convert" not in words else "")
    if problem.fix:
        fix(problem)
        assert not thing.select_get()
        accepted(addon)


def test_no_faces(addon, cube):
    cube.data.clear_geometry()
    refused(addon, "has no faces", "ddrep.deselect")


def test_flattened_object(addon, cube):
    cube.scale.z = 0
    bpy.context.view_layer.update()
    refused(addon, "scaled to nothing")


def test_vertices_at_infinity(addon, cube):
    cube.data.vertices[0].co.x = float("nan")
    refused_words = "vertices at infinity"
    with pytest.raises(addon.problems.Problem, match=refused_words):
        accepted(addon)


def test_a_modifier_that_loses_the_uvs(addon, cube):
    modifier = cube.modifiers.new("Remesh", "REMESH")
    modifier.voxel_size = 0.2
    fix(refused(addon, "The modifier 'Remesh' on 'Cube' makes a new surface", "ddrep.turn_modifier_off"))
    accepted(addon)


def test_no_uvs_and_a_modifier_that_changes_the_faces(addon, cube):
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    cube.modifiers.new("Subdivision", "SUBSURF")
    fix(refused(addon, "its modifier 'Subdivision' changes its faces", "ddrep.unwrap"))
    assert len(cube.data.uv_layers) == 1 and bpy.context.mode == "OBJECT"
    assert bpy.context.selected_objects == [cube]
    accepted(addon)


def test_a_named_uv_map_that_is_not_there(addon, cube):
    settings = bpy.context.scene.ddrep.texture
    settings.uv_source, settings.uv_name = "NAMED", "Bake"
    fix(refused(addon, "no UV map called 'Bake'", "ddrep.set_uv_source"))
    accepted(addon)


def test_eight_uv_maps_already(addon, cube):
    for number in range(7):
        cube.data.uv_layers.new(name=f"Map {number}")
    assert len(cube.data.uv_layers) == 8
    bpy.context.scene.ddrep.texture.uv_source = "NEW"
    fix(refused(addon, "has 8 UV maps already", "ddrep.set_uv_source"))
    accepted(addon)


def test_a_uv_map_without_area(addon, cube):
    for corner in cube.data.uv_layers[0].uv:
        corner.vector = (0.5, 0.5)
    fix(refused(addon, "has no area", "ddrep.set_uv_source"))
    accepted(addon)


def test_udim_tiles(addon, cube):
    image = bpy.data.images.new("tiles", 16, 16, tiled=True)
    material = cube.material_slots[0].material
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    for number, corner in enumerate(cube.data.uv_layers[0].uv):
        corner.vector.x += number // 8 + 0.5
    fix(refused(addon, "UDIM tile, or across the border", "ddrep.set_uv_source"))
    accepted(addon)


def test_two_objects_share_a_mesh_that_needs_uvs(addon, cube):
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    twin = cube.copy()
    twin.name = "Twin"
    bpy.context.collection.objects.link(twin)
    select(cube, twin)
    fix(refused(addon, "share one mesh", "ddrep.make_single_user"))
    accepted(addon)


def test_unsaved_blend_with_textures_beside_it(addon, cube):
    bpy.context.scene.ddrep.texture.storage = "BESIDE"
    fix(refused(addon, "was never saved", "ddrep.pack_textures"))
    accepted(addon)


def test_some_surface_without_uvs_is_a_warning(addon, cube):
    for loop in cube.data.polygons[0].loop_indices:
        cube.data.uv_layers[0].uv[loop].vector = (0, 0)
    (warning,) = accepted(addon).warnings
    assert "17%" in warning.replace(" ", "") and "'Cube'" in warning


def test_read_only_disk(addon, cube, tmp_path, monkeypatch):
    before = snapshot()
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    addon.preferences.preferences().jobs_folder = str(folder / "jobs")
    if os.geteuid() == 0:  # root may write anywhere: let the system say what it would say to others

        def refuse(self, *_, **__):
            raise OSError(errno.EROFS, "Read-only file system", str(self))

        monkeypatch.setattr(type(folder), "mkdir", refuse)
    with pytest.raises(RuntimeError, match="read-only"):
        bpy.ops.ddrep.texture()
    assert snapshot() == before
    problem = addon.problems.decode(bpy.context.window_manager.ddrep.problem)
    assert problem.fix == "ddrep.open_preferences"


def test_disk_full_while_writing(addon, cube, pump, monkeypatch):
    import bl_ext.user_default.ddrep.engine.folder as folder

    before = snapshot()

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder, "write_object", refuse)
    bpy.ops.ddrep.texture()
    pump()
    (job,) = addon.runtime.current().manager.jobs.values()
    assert job.state == "failed" and "is full" in job.problem.message
    assert not list(job.folder.path.parent.glob("*"))  # no half job is left
    assert snapshot() == before


def test_little_space_left_is_told_before(addon, cube, monkeypatch):
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 2**20))
    with pytest.raises(RuntimeError, match="Only 5 MB are free"):
        bpy.ops.ddrep.texture()


def test_write_job_into_a_folder_that_holds_something(addon, cube, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(RuntimeError, match="holds files already"):
        bpy.ops.ddrep.write_job(directory=str(tmp_path))
    assert (tmp_path / "mine.txt").read_text() == "precious"
