# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture whose sides meet as a material of its own; what the slot wore stays, remembered with the object."""

from collections.abc import Iterator
from typing import Any

import bpy

from ..engine.folder import JobFolder
from ..problems import Problem
from .materials import ROUGHNESS, empty_tree
from .outcome import SampleResult
from .textures import MARK, assign, load_picture

BLEND = 0.2  # of the projection from six sides, where two of them meet


def prepare(folder: JobFolder, sample: SampleResult) -> Iterator[None]:
    """Load a sample's picture, so that `bring_in` finds it here."""
    if sample.tile is not None:
        _image(folder, sample)
        yield


def bring_in(folder: JobFolder, sample: SampleResult) -> bpy.types.Material:
    """Make a material that repeats the picture and, if the job says so, show it on the job's object.

    Raises:
        Problem: the job has no picture that repeats, or its object is gone.
    """
    if sample.tile is None:
        raise Problem("This job's result is a picture, which has no place in a scene. Open its folder to see it.")
    about = folder.scene()
    thing = _wearer(about)
    mark = _mark(folder, sample.number)
    material = next((each for each in bpy.data.materials if each.get(MARK) == mark), None)
    if material is None:
        material = _material(folder, sample, about)
    if thing is None:
        material.use_fake_user = True
    else:
        assign(thing, material, about.get("slot"))
        thing.ddrep.job, thing.ddrep.sample = folder.name, sample.number
    return material


def _wearer(about: dict[str, Any]) -> bpy.types.Object | None:
    """The object that is to show the material; None where none is."""
    if about.get("target") != "ACTIVE":
        return None
    name = str(about.get("object", ""))
    thing = bpy.data.objects.get((name, None))
    if thing is None or thing.type != "MESH":
        raise Problem(f"There is no mesh '{name}' in this file any more to wear the material. Name it so again.")
    if thing.mode != "OBJECT":
        raise Problem(f"'{name}' is being edited. Go back to Object Mode first.", "ddrep.leave_mode", "Object Mode")
    return thing


def _prompt(folder: JobFolder) -> str:
    return str(folder.request().get("prompt", "")) or "DDRep"


def _mark(folder: JobFolder, number: int) -> str:
    return f"{folder.name}/{number}/tile"


def _image(folder: JobFolder, sample: SampleResult) -> bpy.types.Image:
    assert sample.tile is not None
    return load_picture(sample.tile, _prompt(folder)[:60], _mark(folder, sample.number), "PACK", color=True)


def _material(folder: JobFolder, sample: SampleResult, about: dict[str, Any]) -> bpy.types.Material:
    image = _image(folder, sample)  # before anything is made: it may be damaged
    material = bpy.data.materials.new(f"{_prompt(folder)[:40]} · {sample.seed}")
    material[MARK] = _mark(folder, sample.number)
    nodes, links = empty_tree(material)
    output, shader = nodes.new("ShaderNodeOutputMaterial"), nodes.new("ShaderNodeBsdfPrincipled")
    picture, mapping = nodes.new("ShaderNodeTexImage"), nodes.new("ShaderNodeMapping")
    coordinates = nodes.new("ShaderNodeTexCoord")
    for node, x in ((output, 300), (shader, 0), (picture, -320), (mapping, -520), (coordinates, -720)):
        node.location = (x, 0)
    repeat = about.get("repeat")
    often = float(repeat) if isinstance(repeat, int | float) else 1.0
    mapping.inputs["Scale"].default_value = (often, often, often)
    picture.image = image
    box = about.get("mapping") == "BOX"
    if box:
        picture.projection, picture.projection_blend = "BOX", BLEND
    shader.inputs["Roughness"].default_value = ROUGHNESS
    links.new(coordinates.outputs["Object" if box else "UV"], mapping.inputs["Vector"])
    links.new(mapping.outputs["Vector"], picture.inputs["Vector"])
    links.new(picture.outputs["Color"], shader.inputs["Base Color"])
    links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    for node in nodes:
        node.select = False
    nodes.active = picture  # what the viewport's solid mode looks at
    return material
