# SPDX-License-Identifier: GPL-3.0-or-later
"""A panorama into a world of its own; the scene's world stays, kept alive by the scene's settings."""

import math
from collections.abc import Iterator

import bpy

from ..engine.folder import JobFolder
from ..problems import Problem
from .materials import empty_tree
from .outcome import SampleResult
from .textures import MARK, load_picture


def prepare(folder: JobFolder, sample: SampleResult) -> Iterator[None]:
    """Load a sample's picture, so that `bring_in` finds it here."""
    if sample.panorama is not None:
        _image(folder, sample)
        yield


def _image(folder: JobFolder, sample: SampleResult) -> bpy.types.Image:
    path = sample.light or sample.panorama
    assert path is not None
    return load_picture(path, _prompt(folder), _mark(folder, sample.number), "PACK", color=True)


def _prompt(folder: JobFolder) -> str:
    return str(folder.request().get("prompt", "")) or "DDRep"


def _mark(folder: JobFolder, number: int) -> str:
    return f"{folder.name}/{number}/panorama"


def bring_in(folder: JobFolder, sample: SampleResult, scene: bpy.types.Scene) -> bpy.types.World:
    """Make a world that shows the panorama and, if the job says so, show it in the scene.

    Raises:
        Problem: the job has no panorama.
    """
    if sample.panorama is None:
        raise Problem(
            "This job has no panorama to bring in. Run it again.", "ddrep.retry_job", "Run again", job=folder.name
        )
    about = folder.scene()
    mark = _mark(folder, sample.number)
    world = next((each for each in bpy.data.worlds if each.get(MARK) == mark), None)
    if world is None:
        world = _world(folder, sample, about)
    if about.get("target") == "LIBRARY":
        world.use_fake_user = True
    else:
        show(world, scene)
    return world


def show(world: bpy.types.World, scene: bpy.types.Scene) -> None:
    """Let a world stand in for the scene's."""
    if scene.world is not None and not str(scene.world.get(MARK, "")):
        scene.ddrep.previous_world = scene.world
    scene.world = world


def bring_back_original(scene: bpy.types.Scene) -> None:
    """Show the world that the scene had before."""
    if scene.world is not None and str(scene.world.get(MARK, "")):
        scene.world = scene.ddrep.previous_world
        scene.ddrep.previous_world = None


def discard(folder: JobFolder, number: int) -> None:
    """Remove a sample's worlds from the file."""
    mark = _mark(folder, number)
    for scene in bpy.data.scenes:
        if scene.world is not None and scene.world.get(MARK) == mark:
            bring_back_original(scene)
    for world in [each for each in bpy.data.worlds if each.get(MARK) == mark]:
        bpy.data.worlds.remove(world)


def _world(folder: JobFolder, sample: SampleResult, about: dict) -> bpy.types.World:
    image = _image(folder, sample)  # before anything is made: it may be damaged
    world = bpy.data.worlds.new(_prompt(folder)[:60])
    world[MARK] = _mark(folder, sample.number)
    nodes, links = empty_tree(world)
    output = nodes.new("ShaderNodeOutputWorld")
    background = nodes.new("ShaderNodeBackground")
    picture = nodes.new("ShaderNodeTexEnvironment")
    mapping = nodes.new("ShaderNodeMapping")
    coordinates = nodes.new("ShaderNodeTexCoord")
    for node, x in ((output, 300), (background, 80), (picture, -220), (mapping, -420), (coordinates, -620)):
        node.location = (x, 0)
    strength = about.get("strength")
    background.inputs["Strength"].default_value = float(strength) if isinstance(strength, int | float) else 1.0
    picture.image = image
    mapping.inputs["Rotation"].default_value = (0.0, 0.0, ROTATION)
    links.new(coordinates.outputs["Generated"], mapping.inputs["Vector"])
    links.new(mapping.outputs["Vector"], picture.inputs["Vector"])
    links.new(picture.outputs["Color"], background.inputs["Color"])
    links.new(background.outputs["Background"], output.inputs["Surface"])
    return world


# The middle of the engine's panorama looks along +Y; Blender looks +X up there. Both go clockwise, seen from above.
ROTATION = math.radians(-90.0)
