"""Objects whose mesh is not what it seems: no faces of its own, instances, wire, nothing at all."""

from __future__ import annotations

import json
from itertools import product

import bpy
import numpy as np
import pytest
from conftest import select
from snapshot import snapshot
from test_scene_to_job import read_obj, write


def nodes(thing, build):
    """Give an object a modifier of geometry nodes, made by `build(nodes, links, output socket)`."""
    tree = bpy.data.node_groups.new("nodes", "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    build(tree.nodes, tree.links, tree.nodes.new("NodeGroupOutput").inputs[0])
    thing.modifiers.new("Nodes", "NODES").node_group = tree


def blank(name="Odd"):
    """An object with a mesh that has nothing."""
    thing = bpy.data.objects.new(name, bpy.data.meshes.new(name))
    bpy.context.collection.objects.link(thing)
    return thing


def made_of_nodes(with_uv=False):
    """An empty mesh whose faces are all made by geometry nodes."""
    thing = blank()

    def build(add, links, end):
        cube = add.new("GeometryNodeMeshCube")
        if not with_uv:
            links.new(cube.outputs["Mesh"], end)
            return
        store = add.new("GeometryNodeStoreNamedAttribute")
        store.data_type, store.domain = "FLOAT2", "CORNER"
        store.inputs["Name"].default_value = "FromNodes"
        links.new(cube.outputs["Mesh"], store.inputs["Geometry"])
        links.new(cube.outputs["UV Map"], next(each for each in store.inputs if each.name == "Value" and each.enabled))
        links.new(store.outputs["Geometry"], end)

    nodes(thing, build)
    return thing


def made_of_nodes_with_uv():
    return made_of_nodes(with_uv=True)


def instances_only():
    thing = blank()

    def build(add, links, end):
        cube, points = add.new("GeometryNodeMeshCube"), add.new("GeometryNodeMeshLine")
        spread = add.new("GeometryNodeInstanceOnPoints")
        links.new(points.outputs[0], spread.inputs["Points"])
        links.new(cube.outputs["Mesh"], spread.inputs["Instance"])
        links.new(spread.outputs[0], end)

    nodes(thing, build)
    return thing


def all_deleted():
    """A mesh with faces that its modifier takes away."""
    bpy.ops.mesh.primitive_cube_add()
    thing = bpy.context.object
    nodes(thing, lambda add, links, end: None)
    return thing


def wire():
    thing = blank()
    thing.data.from_pydata([(0, 0, 0), (1, 0, 0)], [(0, 1)], [])
    return thing


def flat_face():
    thing = blank()
    thing.data.from_pydata([(0, 0, 0), (1, 0, 0), (2, 0, 0)], [], [(0, 1, 2)])
    return thing


def no_mesh():
    thing = bpy.data.objects.new("Odd", None)
    bpy.context.collection.objects.link(thing)
    return thing


def curve():
    bpy.ops.curve.primitive_bezier_circle_add()
    return bpy.context.object


def excluded():
    """In the scene, and in no view layer."""
    thing = blank()
    bpy.context.collection.objects.unlink(thing)
    collection = bpy.data.collections.new("Out")
    bpy.context.scene.collection.children.link(collection)
    collection.objects.link(thing)
    bpy.context.view_layer.layer_collection.children["Out"].exclude = True
    return thing


def hidden():
    bpy.ops.mesh.primitive_cube_add()
    thing = bpy.context.object
    thing.hide_set(True)
    return thing


KINDS = [
    blank, made_of_nodes, made_of_nodes_with_uv, instances_only, all_deleted, wire, flat_face, no_mesh, curve, excluded,
    hidden,
]  # fmt: skip
ON_OBJECT = [
    "unwrap",
    "apply_modifiers",
    "make_single_user",
    "make_local",
    "show_object",
    "turn_modifier_off",
    "deselect",
]
ON_SELECTION = ["measure_coverage", "add_camera", "texture", "write_job"]


@pytest.mark.parametrize(
    ("operator", "with_another"), [*((each, False) for each in ON_OBJECT), *product(ON_SELECTION, (False, True))]
)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_button_copes_with_every_kind_of_object(addon, cube, tmp_path, pump, kind, operator, with_another):
    """It does its work, or says in words why not: no traceback, no error of Blender's own that nobody can act on."""
    thing = kind()
    bpy.context.view_layer.update()
    selected = [
        each for each in ([cube, thing] if with_another else [thing]) if each.name in bpy.context.view_layer.objects
    ]
    select(*selected)
    arguments = {"object_name": thing.name} if operator in ON_OBJECT else {}
    if operator == "write_job":
        arguments["directory"] = str(tmp_path / "job")
    try:
        assert getattr(bpy.ops.ddrep, operator)(**arguments) == {"FINISHED"}
    except RuntimeError as error:
        words = str(error)
        assert "Traceback" not in words
        if "poll() failed" not in words and "poll()" not in words:
            assert json.loads(bpy.context.window_manager.ddrep.problem)["message"] in words
            assert "could not do that" not in words
    else:
        pump()
    assert bpy.context.mode == "OBJECT"


def test_unwrap_of_a_mesh_that_nodes_make_is_refused_with_a_way_out(addon, cube, tmp_path):
    thing = made_of_nodes()
    select(thing)
    before = snapshot()
    with pytest.raises(RuntimeError, match="made by its modifier 'Nodes'"):
        write(addon, tmp_path)
    with pytest.raises(RuntimeError, match="made by its modifier 'Nodes'"):
        bpy.ops.ddrep.unwrap(object_name=thing.name)
    assert snapshot() == before
    problem = json.loads(bpy.context.window_manager.ddrep.problem)
    assert problem["fix"] == "ddrep.apply_modifiers"
    assert bpy.ops.ddrep.apply_modifiers(**problem["arguments"]) == {"FINISHED"}
    assert len(thing.data.polygons) == 6 and not thing.modifiers
    bpy.context.view_layer.update()
    assert len(read_obj(write(addon, tmp_path) / "inputs/mesh.obj")["Odd"]) in (6, 12)
    assert bpy.ops.ddrep.unwrap(object_name=thing.name) == {"FINISHED"}
    assert thing.data.uv_layers


def test_uvs_that_nodes_make_are_used_as_they_are(addon, cube, run_texture):
    thing = made_of_nodes_with_uv()
    select(thing)
    bpy.context.view_layer.update()
    job = run_texture()
    assert job.imported, job.problem
    (entry,) = json.loads((job.folder.path / "blender.json").read_text())["objects"]
    assert entry["layer"] == "FromNodes" and not entry["makes_layer"]
    assert all(uv is not None for face in read_obj(job.folder.path / "inputs/mesh.obj")["Odd"] for _, uv in face)
    assert thing.material_slots[0].material is not None and not thing.data.polygons


def test_the_result_is_seen_on_faces_that_nodes_make(addon, cube, run_texture, tmp_path):
    """To the renderer: the picture's green, not the plain grey of no material."""
    thing = made_of_nodes_with_uv()
    cube.hide_render = True
    select(thing)
    bpy.context.view_layer.update()
    run_texture()
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 4, False
    scene.render.resolution_x = scene.render.resolution_y = 32
    scene.render.filepath = str(tmp_path / "seen.png")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath)
    pixels = np.empty(32 * 32 * 4, np.float32)
    image.pixels.foreach_get(pixels)
    middle = pixels.reshape(32, 32, 4)[14:18, 14:18].mean(axis=(0, 1))
    assert middle[1] > 1.5 * middle[0] > 0.02


def test_apply_keeps_materials_hidden_modifiers_and_the_mesh_of_others(addon, cube):
    other = cube.copy()
    bpy.context.collection.objects.link(other)
    mesh, materials = cube.data, list(cube.data.materials)
    cube.modifiers.new("Subdivision", "SUBSURF")
    cube.modifiers.new("Off", "BEVEL").show_viewport = False
    bpy.context.view_layer.update()
    bpy.ops.ed.undo_push(message="before")
    before = snapshot()
    assert bpy.ops.ddrep.apply_modifiers(object_name=cube.name) == {"FINISHED"}
    assert len(cube.data.polygons) == 24 and [each.name for each in cube.modifiers] == ["Off"]
    assert other.data is mesh and len(mesh.polygons) == 6 and list(cube.data.materials) == materials
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    assert snapshot() == before


def test_a_new_map_for_faces_that_a_modifier_changes_offers_the_one_there_is(addon, cube, tmp_path):
    cube.modifiers.new("Subdivision", "SUBSURF")
    bpy.context.scene.ddrep.texture.uv_source = "NEW"
    bpy.context.view_layer.update()
    with pytest.raises(RuntimeError, match="could not be carried back"):
        write(addon, tmp_path)
    problem = json.loads(bpy.context.window_manager.ddrep.problem)
    bpy.ops.ddrep.set_uv_source(**problem["arguments"])
    write(addon, tmp_path)


def test_a_material_that_nodes_set_is_told(addon, cube, tmp_path):
    bpy.ops.ddrep.texture()
    assert bpy.context.window_manager.ddrep.warnings == ""
    rust = bpy.data.materials.new("Rust")

    def build(add, links, end):
        begin, put = add.new("NodeGroupInput"), add.new("GeometryNodeSetMaterial")
        put.inputs["Material"].default_value = rust
        links.new(begin.outputs[0], put.inputs["Geometry"])
        links.new(put.outputs[0], end)

    nodes(cube, build)
    bpy.context.view_layer.update()
    bpy.ops.ddrep.texture()
    assert "set the material 'Rust' themselves" in bpy.context.window_manager.ddrep.warnings


def test_instances_beside_faces_are_told(addon, cube, tmp_path):
    def build(add, links, end):
        begin, both = add.new("NodeGroupInput"), add.new("GeometryNodeJoinGeometry")
        spread, other = add.new("GeometryNodeInstanceOnPoints"), add.new("GeometryNodeMeshCube")
        links.new(begin.outputs[0], spread.inputs["Points"])
        links.new(other.outputs["Mesh"], spread.inputs["Instance"])
        links.new(spread.outputs[0], both.inputs[0])
        links.new(begin.outputs[0], both.inputs[0])
        links.new(both.outputs[0], end)

    bpy.ops.ddrep.texture()
    assert "Instances" not in bpy.context.window_manager.ddrep.warnings
    nodes(cube, build)
    bpy.context.view_layer.update()
    bpy.ops.ddrep.texture()
    assert "Instances are not textured" in bpy.context.window_manager.ddrep.warnings
