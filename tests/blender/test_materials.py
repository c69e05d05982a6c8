"""What a result's material keeps of the one that was there before: all that was not painted."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from snapshot import properties, tree


def picture(name, alpha=1.0):
    image = bpy.data.images.new(name, 4, 4, alpha=True)
    image.pixels.foreach_set(np.tile(np.float32([0.2, 0.4, 0.6, alpha]), 16))
    image.pack()
    return image


def leaf():
    """A material with everything: alpha by a cut-out, a normal map, metallic, roughness, emission, displacement."""
    material = bpy.data.materials.new("leaf")
    if material.node_tree is None:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    output = next(node for node in nodes if node.type == "OUTPUT_MATERIAL")
    color, normal = nodes.new("ShaderNodeTexImage"), nodes.new("ShaderNodeTexImage")
    color.image, normal.image = picture("leaf color", alpha=0.0), picture("leaf normal")
    turned, noise = nodes.new("ShaderNodeNormalMap"), nodes.new("ShaderNodeTexNoise")
    links.new(color.outputs["Color"], shader.inputs["Base Color"])
    links.new(color.outputs["Alpha"], shader.inputs["Alpha"])
    links.new(normal.outputs["Color"], turned.inputs["Color"])
    links.new(turned.outputs["Normal"], shader.inputs["Normal"])
    links.new(noise.outputs[0], shader.inputs["Roughness"])
    links.new(noise.outputs[0], output.inputs["Displacement"])
    shader.inputs["Metallic"].default_value = 0.75
    shader.inputs["Emission Color"].default_value = (1, 0.5, 0.25, 1)
    shader.inputs["Emission Strength"].default_value = 2.0
    material.surface_render_method = "BLENDED"
    material.use_backface_culling = True
    material.alpha_threshold = 0.25
    return material


def links_into(material):
    """(from node, from socket, to node, to socket) of all links but those of our own two nodes."""
    nodes, links = tree(material.node_tree)
    return {link for link in links if link[2:] != ("Principled BSDF", "Base Color") and link[2] in nodes}


def test_what_is_not_painted_survives(addon, cube, run_texture):
    old = leaf()
    cube.material_slots[0].material = old
    before = (properties(old), tree(old.node_tree))
    job = run_texture()
    new = cube.material_slots[0].material
    assert new is not old and (properties(old), tree(old.node_tree)) == before
    shader = new.node_tree.nodes["Principled BSDF"]
    (link,) = shader.inputs["Base Color"].links
    assert link.from_node.image.packed_file is not None and link.from_node.image.name.startswith("a wooden crate")
    assert new.node_tree.nodes.active == link.from_node
    assert links_into(old) < links_into(new)
    assert shader.inputs["Alpha"].links[0].from_node.image.name == "leaf color"
    assert shader.inputs["Normal"].links[0].from_node.type == "NORMAL_MAP"
    for name in ("Metallic", "Emission Strength"):
        assert shader.inputs[name].default_value == old.node_tree.nodes["Principled BSDF"].inputs[name].default_value
    for name in ("surface_render_method", "use_backface_culling", "alpha_threshold"):
        assert getattr(new, name) == getattr(old, name)
    assert not new.use_fake_user and new.asset_data is None
    bpy.ops.ddrep.show_original(job=job.name)
    assert cube.material_slots[0].material is old


def test_a_material_whose_backs_are_painted_shows_them(addon, cube, run_texture):
    cube.material_slots[0].material = leaf()
    bpy.context.scene.ddrep.texture.both_sides = True
    run_texture()
    assert not cube.material_slots[0].material.use_backface_culling


def test_a_leaf_is_as_transparent_as_it_was(addon, cube, run_texture, tmp_path):
    """To the renderer: where the old material let one look through, the new one does."""
    old = leaf()
    cube.material_slots[0].material = old
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 1, False
    scene.render.resolution_x = scene.render.resolution_y = 16
    scene.render.film_transparent = True
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.filepath = str(tmp_path / "seen.png")

    def alpha():
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(scene.render.filepath, check_existing=False)
        pixels = np.empty(16 * 16 * 4, np.float32)
        image.pixels.foreach_get(pixels)
        bpy.data.images.remove(image)
        return float(pixels.reshape(-1, 4)[:, 3].max())

    before = alpha()
    run_texture()
    assert before == alpha() == 0.0
    shader = cube.material_slots[0].material.node_tree.nodes["Principled BSDF"]
    cube.material_slots[0].material.node_tree.links.remove(shader.inputs["Alpha"].links[0])
    assert alpha() == 1.0  # so that the test could see it


def test_each_slot_keeps_its_own_alpha_and_metal(addon, cube, run_texture):
    first, second = cube.material_slots[0].material, leaf()
    for material in (second, first, None):
        cube.data.materials.append(material)
    job = run_texture()
    worn = [slot.material for slot in cube.material_slots]
    assert worn[0] is worn[2] and len({worn[0], worn[1], worn[3]}) == 3
    metals = [each.node_tree.nodes["Principled BSDF"].inputs["Metallic"].default_value for each in worn]
    assert metals == pytest.approx([0.0, 0.75, 0.0, 0.0])
    count = len(bpy.data.materials)
    bpy.ops.ddrep.show_original(job=job.name)
    assert [slot.material for slot in cube.material_slots] == [first, second, first, None]
    bpy.ops.ddrep.bring_in(job=job.name)
    assert [slot.material for slot in cube.material_slots] == worn and len(bpy.data.materials) == count
    bpy.ops.ddrep.discard_sample(job=job.name)
    assert [slot.material for slot in cube.material_slots] == [first, second, first, None]
    assert not any(material.get("ddrep_result") for material in bpy.data.materials)


def test_a_second_texture_is_made_from_the_original_not_from_the_first(addon, cube, run_texture):
    cube.material_slots[0].material = leaf()
    run_texture()
    first = cube.material_slots[0].material
    run_texture()
    second = cube.material_slots[0].material
    assert second is not first
    assert len(second.node_tree.nodes) == len(first.node_tree.nodes)


def test_an_asset_kept_by_a_fake_user_stays_the_only_one(addon, cube, run_texture):
    old = cube.material_slots[0].material
    old.asset_mark()
    old.use_fake_user = True
    run_texture()
    new = cube.material_slots[0].material
    assert new is not old and new.asset_data is None and not new.use_fake_user


def mixed(nodes, links, end):
    """Paint and glass, mixed by a mask."""
    mix, one, two = (nodes.new(f"ShaderNode{kind}") for kind in ("MixShader", "BsdfPrincipled", "BsdfTransparent"))
    links.new(one.outputs[0], mix.inputs[1])
    links.new(two.outputs[0], mix.inputs[2])
    links.new(mix.outputs[0], end)
    return [one.inputs["Base Color"]], [two.inputs["Color"]]


def varnished(nodes, links, end):
    """Gloss over a diffuse coat: only the coat is painted."""
    add, one, two = (nodes.new(f"ShaderNode{kind}") for kind in ("AddShader", "BsdfDiffuse", "BsdfAnisotropic"))
    links.new(one.outputs[0], add.inputs[0])
    links.new(two.outputs[0], add.inputs[1])
    links.new(add.outputs[0], end)
    return [one.inputs["Color"]], [two.inputs["Color"]]


def shining(nodes, links, end):
    """A screen that is nothing but light."""
    light = nodes.new("ShaderNodeEmission")
    links.new(light.outputs[0], end)
    return [light.inputs["Color"]], []


def rerouted(nodes, links, end):
    shader, dot = nodes.new("ShaderNodeBsdfPrincipled"), nodes.new("NodeReroute")
    links.new(shader.outputs[0], dot.inputs[0])
    links.new(dot.outputs[0], end)
    return [shader.inputs["Base Color"]], []


def group(color: str):
    inner = bpy.data.node_groups.new("inner", "ShaderNodeTree")
    inner.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    shader, end = inner.nodes.new("ShaderNodeBsdfPrincipled"), inner.nodes.new("NodeGroupOutput")
    inner.links.new(shader.outputs[0], end.inputs[0])
    if color:
        inner.interface.new_socket(color, in_out="INPUT", socket_type="NodeSocketColor")
        begin = inner.nodes.new("NodeGroupInput")
        inner.links.new(begin.outputs[0], shader.inputs["Base Color"])
    return inner


def grouped_with_a_colour(nodes, links, end):
    node = nodes.new("ShaderNodeGroup")
    node.node_tree = group("Base Color")
    links.new(node.outputs[0], end)
    return [node.inputs["Base Color"]], []


@pytest.mark.parametrize("build", [mixed, varnished, shining, rerouted, grouped_with_a_colour])
def test_the_colour_is_found_however_the_shader_is_put_together(addon, cube, run_texture, build):
    old = bpy.data.materials.new("old")
    if old.node_tree is None:
        old.use_nodes = True
    nodes, links = old.node_tree.nodes, old.node_tree.links
    nodes.clear()
    painted, left = build(nodes, links, nodes.new("ShaderNodeOutputMaterial").inputs["Surface"])
    cube.material_slots[0].material = old
    run_texture()
    new = cube.material_slots[0].material
    for sockets, linked in ((painted, True), (left, False)):
        for socket in sockets:
            own = next(
                each for each in new.node_tree.nodes[socket.node.name].inputs if each.identifier == socket.identifier
            )
            assert bool(own.links) is linked
            assert not linked or own.links[0].from_node.type == "TEX_IMAGE"


def test_a_group_that_keeps_its_colour_to_itself_is_painted_in_a_copy(addon, cube, run_texture):
    old = bpy.data.materials.new("old")
    if old.node_tree is None:
        old.use_nodes = True
    nodes, links = old.node_tree.nodes, old.node_tree.links
    nodes.clear()
    node, inner = nodes.new("ShaderNodeGroup"), group("")
    node.node_tree = inner
    links.new(node.outputs[0], nodes.new("ShaderNodeOutputMaterial").inputs["Surface"])
    cube.material_slots[0].material = old
    before = tree(inner)
    job = run_texture()
    own = next(each for each in cube.material_slots[0].material.node_tree.nodes if each.type == "GROUP").node_tree
    assert own is not inner and tree(inner) == before
    assert own.nodes["Principled BSDF"].inputs["Base Color"].links[0].from_node.type == "TEX_IMAGE"
    bpy.ops.ddrep.discard_sample(job=job.name)
    assert list(bpy.data.node_groups) == [inner]


@pytest.mark.parametrize("broken", ["no output", "no shader", "glass with nothing to paint"])
def test_a_material_that_shows_no_colour_gets_a_plain_one(addon, cube, run_texture, broken):
    old = bpy.data.materials.new("old")
    if old.node_tree is None:
        old.use_nodes = True
    nodes, links = old.node_tree.nodes, old.node_tree.links
    nodes.clear()
    if broken != "no output":
        end = nodes.new("ShaderNodeOutputMaterial").inputs["Surface"]
        if broken != "no shader":
            links.new(nodes.new("ShaderNodeHoldout").outputs[0], end)
    cube.material_slots[0].material = old
    run_texture()
    new = cube.material_slots[0].material.node_tree
    shader = new.get_output_node("ALL").inputs["Surface"].links[0].from_node
    assert shader.inputs["Base Color"].links[0].from_node.image is not None


@pytest.mark.skipif(bpy.app.version >= (5, 0, 0), reason="every material has nodes from 5.0 on")
def test_a_material_without_nodes_keeps_its_metal(addon, cube, run_texture):
    old = bpy.data.materials.new("old")
    old.metallic, old.roughness = 0.9, 0.2
    cube.material_slots[0].material = old
    run_texture()
    shader = cube.material_slots[0].material.node_tree.nodes["Principled BSDF"]
    assert shader.inputs["Metallic"].default_value == pytest.approx(0.9)
    assert shader.inputs["Roughness"].default_value == pytest.approx(0.2)
    assert shader.inputs["Base Color"].links and not old.use_nodes


def test_a_slot_that_is_gone_is_missed_in_words(addon, cube, pump):
    cube.data.materials.append(bpy.data.materials.new("second"))
    cube.active_material_index = 1
    for polygon in list(cube.data.polygons)[:3]:
        polygon.material_index = 1
    bpy.context.scene.ddrep.texture.material_target = "SLOT"
    assert bpy.ops.ddrep.texture() == {"FINISHED"}
    cube.data.materials.pop(index=1)
    pump()
    (job,) = addon.runtime.current().manager.jobs.values()
    assert "no material slot 2" in job.problem.message
    assert not any(material.get("ddrep_result") for material in bpy.data.materials)
