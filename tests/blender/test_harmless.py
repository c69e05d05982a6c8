"""The scene is the same before and after, but for what was asked for."""

from __future__ import annotations

import bpy
from conftest import select
from snapshot import changed, snapshot, without


def prepare_scene():
    """A scene with much to break: settings far from their defaults, a compositor, modifiers, other objects."""
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_percentage = 1234, 37
    scene.render.engine = "CYCLES"
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.exposure = 0.7
    scene.frame_set(42)
    if hasattr(scene, "compositing_node_group"):
        scene.compositing_node_group = bpy.data.node_groups.new("Comp", "CompositorNodeTree")
        scene.compositing_node_group.nodes.new("CompositorNodeBlur")
    else:
        scene.use_nodes = True
        scene.node_tree.nodes.new("CompositorNodeBlur")
    bpy.ops.mesh.primitive_uv_sphere_add(location=(3, 0, 0))
    sphere = bpy.context.object
    sphere.scale.x = -1
    sphere.modifiers.new("Subdivision", "SUBSURF")
    sphere.data.materials.append(bpy.data.materials.new("glass"))
    sphere.data.uv_layers.new(name="Second")
    bpy.ops.object.light_add(type="AREA", location=(0, 0, 5))
    return sphere


def test_making_a_job_changes_nothing(addon, cube, pump):
    sphere = prepare_scene()
    select(sphere, cube)
    bpy.context.scene.ddrep.automatic_import = False
    for source in ("SCENE", "ACTIVE", "FRAMES", "ORBIT"):
        bpy.context.scene.ddrep.cameras.source = source
        before = snapshot()
        assert bpy.ops.ddrep.texture() == {"FINISHED"}
        assert bpy.ops.ddrep.measure_coverage() == {"FINISHED"}
        pump()
        assert changed(before, snapshot()) == set()
    assert all(job.state == "done" for job in addon.runtime.current().manager.jobs.values())


def test_a_texture_adds_a_material_and_an_image_and_changes_slots_only(addon, cube, pump):
    sphere = prepare_scene()
    select(sphere, cube)
    before = snapshot()
    bpy.ops.ddrep.texture()
    pump()
    after = snapshot()
    new_materials = set(after["materials"]) - set(before["materials"])
    new_images = set(after["images"]) - set(before["images"])
    assert len(new_materials) == len(new_images) == 2
    after = without(after, materials=new_materials, images=new_images)
    for name in ("Cube", "Sphere"):
        assert [link for link, _ in after["objects"][name]["slots"]] == ["OBJECT"]
        after["objects"][name]["slots"] = before["objects"][name]["slots"]
    assert changed(before, after) == set()
    (job,) = addon.runtime.current().manager.jobs.values()
    bpy.ops.ddrep.show_original(job=job.name)
    after = without(snapshot(), materials=new_materials, images=new_images)
    assert changed(before, after) == set()


def test_a_new_uv_map_changes_no_old_one(addon, cube, pump):
    sphere = prepare_scene()
    sphere.modifiers.clear()
    select(sphere)
    bpy.context.scene.ddrep.texture.uv_source = "NEW"
    before = snapshot()
    bpy.ops.ddrep.texture()
    pump()
    after = snapshot()
    assert set(after["meshes"]["Sphere"]["uv"]) - set(before["meshes"]["Sphere"]["uv"]) == {"DDRep"}
    del after["meshes"]["Sphere"]["uv"]["DDRep"]
    after["meshes"]["Sphere"]["active_uv"][1].pop()
    assert after["meshes"]["Sphere"] == before["meshes"]["Sphere"]
    assert changed(before, after) == {"objects", "materials", "images"}


def test_a_generated_object_changes_nothing_that_was_there(addon, cube, pump):
    sphere = prepare_scene()
    select(sphere)
    bpy.context.scene.ddrep.generate.prompt = "a lantern"
    before = snapshot()
    bpy.ops.ddrep.generate()
    pump()
    after = snapshot()
    for key in ("objects", "meshes", "materials", "images"):
        assert {name: after[key][name] for name in before[key]} == before[key]
    assert changed(before, after) == {"objects", "meshes", "materials", "images"}


def test_a_panorama_changes_the_scenes_world_only(addon, cube, pump):
    prepare_scene()
    bpy.context.scene.ddrep.panorama.prompt = "a harbour"
    bpy.context.scene.ddrep.panorama.width = "512"
    before = snapshot()
    bpy.ops.ddrep.panorama()
    pump()
    after = snapshot()
    assert {name: after["worlds"][name] for name in before["worlds"]} == before["worlds"]
    assert changed(before, after) == {"world", "worlds", "images"}


def test_an_unused_import_of_the_module_is_not_blender_background_dependent(addon):
    """Nothing of ours waits on timers that the background never fires."""
    assert bpy.app.background
    assert not bpy.app.timers.is_registered(addon.runtime.tick)
