"""From a finished job into the scene."""

from __future__ import annotations

import json

import bpy
import numpy as np
import pytest
from conftest import select


def image_of(material):
    nodes = material.node_tree.nodes
    return next(node.image for node in nodes if node.type == "TEX_IMAGE" and node.label != "Coverage")


def test_the_texture_lands_on_the_same_mesh_and_uvs(addon, cube, run_texture):
    original = cube.material_slots[0].material
    assert original is not None
    job = run_texture()
    assert job.state == "done" and job.imported, job.problem
    slot = cube.material_slots[0]
    assert slot.link == "OBJECT" and slot.material is not original
    assert cube.data.materials[0] is original  # the mesh's own slot is untouched
    shader = next(node for node in slot.material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    (link,) = shader.inputs["Base Color"].links
    assert link.from_node.image.colorspace_settings.name == "sRGB"
    (coordinates,) = link.from_node.inputs["Vector"].links
    assert coordinates.from_node.uv_map == "UVMap"
    assert link.from_node.image.packed_file is not None
    assert tuple(link.from_node.image.size) == (128, 128)
    assert str(job.folder.path) not in link.from_node.image.filepath


def test_original_brings_everything_back(addon, cube, run_texture):
    before = [(slot.link, slot.material) for slot in cube.material_slots]
    job = run_texture()
    bpy.ops.ddrep.show_original(job=job.name)
    assert [(slot.link, slot.material) for slot in cube.material_slots] == before
    bpy.ops.ddrep.bring_in(job=job.name)
    assert cube.material_slots[0].material is not before[0][1]


def test_a_mesh_without_slots_gets_one_and_loses_it_again(addon, cube, run_texture):
    cube.data.materials.clear()
    job = run_texture()
    assert len(cube.material_slots) == 1 and cube.data.materials[0] is None
    bpy.ops.ddrep.show_original(job=job.name)
    assert len(cube.material_slots) == 0


def test_only_the_active_slot(addon, cube, run_texture):
    second = bpy.data.materials.new("second")
    cube.data.materials.append(second)
    cube.active_material_index = 1
    cube.data.polygons[0].material_index = 1
    bpy.context.scene.ddrep.texture.material_target = "SLOT"
    first = cube.material_slots[0].material
    run_texture()
    assert cube.material_slots[0].material is first
    assert cube.material_slots[1].material not in (first, second)


def test_a_mesh_without_uvs_gets_a_new_layer_with_the_engines_uvs(addon, cube, run_texture):
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    job = run_texture()
    assert job.imported, job.problem
    assert [layer.name for layer in cube.data.uv_layers] == ["DDRep"]
    uv = np.array([corner.vector for corner in cube.data.uv_layers[0].uv])
    assert np.allclose(uv, [[(i % 7) / 7, (i % 5) / 5] for i in range(24)], atol=1e-6)
    bpy.ops.ddrep.bring_in(job=job.name)
    assert len(cube.data.uv_layers) == 1  # importing again makes no second layer


def test_new_uvs_of_a_mirrored_object_come_home_to_their_loops(addon, cube, run_texture):
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    cube.scale.x = -1
    job = run_texture()
    lines = (job.folder.path / "inputs/mesh.obj").read_text().splitlines()
    corners = [int(corner) - 1 for line in lines if line.startswith("f ") for corner in line.split()[1:]]
    sent = {(corners[i], i // 4): ((i % 7) / 7, (i % 5) / 5) for i in range(24)}  # (vertex, face) -> uv
    for face in cube.data.polygons:
        for loop in face.loop_indices:
            vertex = cube.data.loops[loop].vertex_index
            assert np.allclose(cube.data.uv_layers[0].uv[loop].vector, sent[vertex, face.index], atol=1e-6)


def test_existing_uv_maps_stay_when_a_new_one_is_asked_for(addon, cube, run_texture):
    bpy.context.scene.ddrep.texture.uv_source = "NEW"
    before = [tuple(corner.vector) for corner in cube.data.uv_layers[0].uv]
    run_texture()
    assert [layer.name for layer in cube.data.uv_layers] == ["UVMap", "DDRep"]
    assert [tuple(corner.vector) for corner in cube.data.uv_layers[0].uv] == before
    assert cube.data.uv_layers.active.name == "UVMap" and cube.data.uv_layers[0].active_render


def test_samples_can_be_switched_kept_and_discarded(addon, cube, run_texture):
    bpy.context.scene.ddrep.texture.samples = 3
    job = run_texture()
    shown = []
    for sample in range(3):
        bpy.ops.ddrep.bring_in(job=job.name, sample=sample)
        shown.append(cube.material_slots[0].material)
    assert len(set(shown)) == 3
    reds = [image_of(material).pixels[0] for material in shown]
    assert np.allclose(reds, [60 / 255, 150 / 255, 240 / 255], atol=0.01)
    bpy.ops.ddrep.keep_sample(job=job.name, sample=1)
    assert shown[1].use_fake_user
    name = shown[2].name
    bpy.ops.ddrep.discard_sample(job=job.name, sample=2)
    assert name not in bpy.data.materials and len(cube.material_slots) == 1
    assert cube.material_slots[0].link == "DATA"  # it was shown, so the original is back
    assert addon.runtime.discarded_of(job) == {2}
    bpy.ops.ddrep.restore_samples(job=job.name)
    assert addon.runtime.discarded_of(job) == set()
    bpy.ops.ddrep.bring_in(job=job.name, sample=2)
    assert cube.material_slots[0].link == "OBJECT"


def test_two_objects_of_one_mesh_get_a_texture_each(addon, cube, run_texture):
    other = cube.copy()
    other.name = "Twin"
    other.location.x = 4
    bpy.context.collection.objects.link(other)
    select(cube, other)
    job = run_texture()
    assert job.imported, job.problem
    first, second = cube.material_slots[0].material, other.material_slots[0].material
    assert first is not second and cube.data is other.data
    assert cube.data.materials[0] not in (first, second)


def test_beside_the_blend(addon, cube, run_texture, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.context.scene.ddrep.texture.storage = "BESIDE"
    run_texture()
    image = image_of(cube.material_slots[0].material)
    assert image.packed_file is None and image.filepath.startswith("//textures")
    assert (tmp_path / "textures").is_dir() and image.size[0] == 128


def test_two_results_of_the_same_words_and_seed_do_not_overwrite_each_other_beside_the_blend(
    addon, cube, run_texture, tmp_path
):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    settings = bpy.context.scene.ddrep.texture
    settings.storage = "BESIDE"
    paths = []
    for size in ("128", "256"):
        settings.resolution = size
        run_texture()
        paths.append(bpy.path.abspath(image_of(cube.material_slots[0].material).filepath))
    assert len(set(paths)) == 2 and len(list((tmp_path / "textures").iterdir())) == 2


def test_a_damaged_picture_is_refused_and_nothing_is_changed(addon, cube, pump):
    bpy.context.scene.ddrep.automatic_import = False
    bpy.ops.ddrep.texture()
    pump()
    (job,) = addon.runtime.current().manager.jobs.values()
    (job.folder.path / "outputs/texture_Cube.png").write_bytes(b"not a picture")
    before = [(slot.link, slot.material) for slot in cube.material_slots]
    with pytest.raises(RuntimeError, match="can't be read"):
        bpy.ops.ddrep.bring_in(job=job.name)
    assert [(slot.link, slot.material) for slot in cube.material_slots] == before


def test_the_coverage_map_is_data_not_colour(addon, cube, run_texture):
    bpy.context.scene.ddrep.texture.coverage_map = True
    run_texture()
    nodes = cube.material_slots[0].material.node_tree.nodes
    coverage = next(node for node in nodes if node.label == "Coverage")
    assert coverage.image.colorspace_settings.name == "Non-Color"


def test_a_sample_can_be_marked_as_an_asset(addon, cube, run_texture):
    job = run_texture()
    assert bpy.ops.ddrep.mark_asset(job=job.name, sample=0) == {"FINISHED"}
    material = cube.material_slots[0].material
    assert material.asset_data is not None and material.asset_data.description == "a wooden crate"


def test_a_generated_object_is_named_sized_placed_and_parented(addon, pump):
    scene = bpy.context.scene
    settings = scene.ddrep.generate
    settings.prompt, settings.size, settings.samples = "a paper lantern", 0.4, 2
    scene.cursor.location = (1, 2, 3)
    select()
    bpy.ops.ddrep.generate()
    scene.cursor.location = (9, 9, 9)  # where it was when the button was pressed is what counts
    pump()
    (job,) = addon.runtime.current().manager.jobs.values()
    assert job.imported, job.problem
    parent = bpy.data.objects["a paper lantern"]
    (child,) = parent.children
    assert tuple(parent.location) == (1, 2, 3) and child.type == "MESH"
    bpy.context.view_layer.update()
    corners = np.array([child.matrix_world @ vertex.co for vertex in child.data.vertices])
    assert np.isclose(np.ptp(corners, axis=0).max(), 0.4, atol=1e-5)
    assert np.isclose(corners[:, 2].min(), 3, atol=1e-5)  # it stands on the cursor
    assert np.allclose(corners[:, :2].mean(axis=0), (1, 2), atol=1e-5)
    assert child.data.uv_layers and image_of(child.data.materials[0]).packed_file is not None
    uv = np.array([corner.vector for corner in child.data.uv_layers[0].uv])
    low = [uv[i] for i, loop in enumerate(child.data.loops) if child.data.vertices[loop.vertex_index].co.z < 1e-6]
    assert np.allclose([each[1] for each in low], 0)  # glTF counts v downward, Blender upward
    bpy.ops.ddrep.bring_in(job=job.name, sample=1)
    assert (
        parent.hide_viewport and len([each for each in scene.objects if not each.hide_viewport and each.children]) == 1
    )


def test_a_panorama_becomes_the_world_and_the_old_one_is_kept(addon, pump):
    scene = bpy.context.scene
    scene.ddrep.panorama.prompt, scene.ddrep.panorama.width, scene.ddrep.panorama.strength = "a harbour", "512", 0.5
    before = scene.world
    bpy.ops.ddrep.panorama()
    pump()
    (job,) = addon.runtime.current().manager.jobs.values()
    assert job.imported, job.problem
    assert scene.world is not before and before.users > 0
    nodes = scene.world.node_tree.nodes
    assert next(node for node in nodes if node.type == "TEX_ENVIRONMENT").image.size[0] == 512
    assert next(node for node in nodes if node.type == "BACKGROUND").inputs["Strength"].default_value == 0.5
    bpy.ops.ddrep.show_original(job=job.name)
    assert scene.world is before


@pytest.mark.parametrize("change", ["renamed", "layer", "faces"])
def test_a_result_that_does_not_fit_any_more_is_refused_whole(addon, cube, pump, change):
    if change == "faces":
        bpy.context.scene.ddrep.texture.uv_source = "NEW"
    bpy.context.scene.ddrep.texture.prompt = "a slow crate"
    bpy.ops.ddrep.texture()
    (job,) = addon.runtime.current().manager.jobs.values()
    pump(lambda: job.state == "running")
    if change == "renamed":
        cube.name = "Other"
    elif change == "layer":
        cube.data.uv_layers[0].name = "Other"
    else:
        cube.data.clear_geometry()
        cube.data.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
    before = set(bpy.data.materials.keys()), set(bpy.data.images.keys())
    pump()
    assert job.state == "done" and not job.imported
    assert job.problem is not None and ("Cube" in job.problem.message or "Other" in job.problem.message)
    assert (set(bpy.data.materials.keys()), set(bpy.data.images.keys())) == before


def test_a_result_cannot_name_files_outside_its_job(addon, cube, run_texture, tmp_path):
    job = run_texture()
    outside = tmp_path / "secret.png"
    outside.write_bytes((job.folder.path / "outputs/texture_Cube.png").read_bytes())
    link = job.folder.path / "outputs/link.png"
    link.symlink_to(outside)
    result = job.folder.result()
    for path in (str(outside), "../../secret.png", "outputs/link.png", "outputs/../../../secret.png"):
        result["samples"][0]["objects"][0]["texture"] = path
        job.folder.result_file.write_text(json.dumps(result))
        with pytest.raises(RuntimeError, match="made no texture"):
            bpy.ops.ddrep.bring_in(job=job.name)


def test_a_damaged_glb_adds_nothing(addon, pump):
    bpy.context.scene.ddrep.generate.prompt = "a lantern"
    bpy.context.scene.ddrep.automatic_import = False
    bpy.ops.ddrep.generate()
    pump()
    (job,) = addon.runtime.current().manager.jobs.values()
    path = job.folder.path / "outputs/mesh.glb"
    whole = path.read_bytes()
    objects = set(bpy.data.objects.keys())
    for size in (0, 10, 60, len(whole) // 2, len(whole) - 300):
        path.write_bytes(whole[:size])
        with pytest.raises(RuntimeError, match="can't be read"):
            bpy.ops.ddrep.bring_in(job=job.name)
    assert set(bpy.data.objects.keys()) == objects
