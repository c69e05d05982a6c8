# SPDX-License-Identifier: GPL-3.0-or-later
"""A result's material: the one that was there before, with the picture as its colour.

What was not painted survives, for the new material is a copy: alpha and how it blends, normal and bump maps, metallic,
roughness, emission, displacement, whatever hangs on them. Only the colour's own socket is linked anew.
"""

from collections.abc import Sequence
from typing import Any

import bpy

from ..color_sockets import color_sockets, group_ends, outputs, surfaces

ROUGHNESS = 0.6  # of a material that stands in for none


def painted(
    old: bpy.types.Material | None,
    name: str,
    mark: tuple[str, str],
    texture: bpy.types.Image,
    layer: str,
    coverage: bpy.types.Image | None = None,
) -> bpy.types.Material:
    """A new material that looks like `old` painted with `texture` by the UV map `layer`.

    Args:
        old: what the surface wears; None: nothing.
        mark: custom property (key, value) of every datablock that is made.
        coverage: a map to mask with, added to the material and linked to nothing.
    """
    material = _like(old, name)
    material[mark[0]] = mark[1]
    tree = material.node_tree
    ends = surfaces(tree)
    if not _paint(tree, ends, texture, layer, mark):
        shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
        shader.inputs["Roughness"].default_value = ROUGHNESS
        for end in ends:
            tree.links.new(shader.outputs["BSDF"], end)
        _link(tree, [shader.inputs["Base Color"]], texture, layer)
    if coverage is not None:
        extra, coordinates = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeUVMap")
        extra.label, extra.image, coordinates.uv_map = "Coverage", coverage, layer
        extra.location, coordinates.location = (-320, -420), (-540, -520)
        tree.links.new(coordinates.outputs["UV"], extra.inputs["Vector"])
    return material


def show_maps(material: bpy.types.Material, texture: bpy.types.Image, maps: dict[str, Any], layer: str) -> None:
    """Link material maps to the Principled shaders whose base colour shows a texture, in place of what was there.

    Args:
        maps: images of data: "metallic_roughness" (roughness in green, metallic in blue) and "normal" (+Y up).
        layer: the UV map that they are laid out in.
    """
    tree = material.node_tree
    shaders = [
        node
        for node in tree.nodes
        if node.type == "BSDF_PRINCIPLED"
        and any(getattr(link.from_node, "image", None) == texture for link in node.inputs["Base Color"].links)
    ]
    if not maps or not shaders:
        return
    x, y = shaders[0].location
    coordinates = tree.nodes.new("ShaderNodeUVMap")
    coordinates.uv_map, coordinates.location = layer, (x - 860, y - 200)
    active = tree.nodes.active
    for number, (what, image) in enumerate(maps.items()):
        picture = tree.nodes.new("ShaderNodeTexImage")
        picture.image, picture.label = image, what.replace("_", " ").title()
        picture.location = (x - 620, y - 120 - 300 * number)
        tree.links.new(coordinates.outputs["UV"], picture.inputs["Vector"])
        if what == "normal":
            between = tree.nodes.new("ShaderNodeNormalMap")
            between.uv_map = layer
            tree.links.new(picture.outputs["Color"], between.inputs["Color"])
            ends = {"Normal": between.outputs["Normal"]}
        else:
            between = tree.nodes.new("ShaderNodeSeparateColor")
            tree.links.new(picture.outputs["Color"], between.inputs["Color"])
            ends = {"Roughness": between.outputs["Green"], "Metallic": between.outputs["Blue"]}
        between.location = (x - 300, y - 120 - 300 * number)
        for shader in shaders:
            for name, output in ends.items():
                tree.links.new(output, shader.inputs[name])
        picture.select = between.select = False
    coordinates.select = False
    tree.nodes.active = active


def empty_tree(block: Any) -> tuple[Any, Any]:
    """A datablock's node tree without nodes. From Blender 5.0 on there is always a tree."""
    if block.node_tree is None:
        block.use_nodes = True
    block.node_tree.nodes.clear()
    return block.node_tree.nodes, block.node_tree.links


def _like(old: bpy.types.Material | None, name: str) -> bpy.types.Material:
    """A copy of a material with nodes; where there is none, a plain one."""
    if old is None:
        material = bpy.data.materials.new(name)
        nodes, links = empty_tree(material)
        output, shader = nodes.new("ShaderNodeOutputMaterial"), nodes.new("ShaderNodeBsdfPrincipled")
        output.location, shader.location = (300, 0), (0, 0)
        shader.inputs["Roughness"].default_value = ROUGHNESS
        links.new(shader.outputs["BSDF"], output.inputs["Surface"])
        return material
    material = old.copy()
    material.name = name
    for key in [each for each in material.keys() if each.startswith("ddrep_")]:  # noqa: SIM118  (not a dict)
        del material[key]  # of a result that is painted over
    if bpy.app.version < (5, 0, 0) and not material.use_nodes:  # drawn by the few numbers of its own
        material.use_nodes = True
        for node in material.node_tree.nodes:
            if node.type == "BSDF_PRINCIPLED":
                node.inputs["Metallic"].default_value = old.metallic
                node.inputs["Roughness"].default_value = old.roughness
    if not outputs(material.node_tree):
        material.node_tree.nodes.new("ShaderNodeOutputMaterial")
    return material


def _paint(tree: Any, ends: Sequence[Any], texture: bpy.types.Image, layer: str, mark: tuple[str, str]) -> bool:
    """Link the picture to the colour of what is shown at `ends`. Returns whether there was a colour to link it to."""
    colors, inside = color_sockets(ends)
    for node, output in inside:
        own = node.node_tree.copy()  # others use the group, too
        own[mark[0]] = mark[1]
        _paint(own, group_ends(own, output), texture, layer, mark)
        node.node_tree = own
    if colors:
        _link(tree, colors, texture, layer)
    return bool(colors or inside)


def _link(tree: Any, colors: Sequence[Any], texture: bpy.types.Image, layer: str) -> None:
    picture, coordinates = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeUVMap")
    first = colors[0].node.location
    picture.location, coordinates.location = (first[0] - 320, first[1] + 320), (first[0] - 540, first[1] + 200)
    picture.image, coordinates.uv_map = texture, layer
    tree.links.new(coordinates.outputs["UV"], picture.inputs["Vector"])
    for color in colors:
        tree.links.new(picture.outputs["Color"], color)
    for node in tree.nodes:
        node.select = False
    tree.nodes.active = picture  # what the viewport's solid mode and texture paint look at
