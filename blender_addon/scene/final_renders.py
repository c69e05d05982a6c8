# SPDX-License-Identifier: GPL-3.0-or-later
"""Final renders of results by Cycles, from the scene's cameras. The scene's own render settings are put back."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..engine.folder import slug
from ..problems import Problem
from ..results.textures import MARK, OBJECT, shown_on
from .cameras import scene_cameras


@dataclass
class Result:
    """One result that lies in the file: a material, an object or a world."""

    title: str
    shown: Callable[[], AbstractContextManager[None]]


def results_in(scene: bpy.types.Scene) -> list[Result]:
    """All results of the extension in the file, each with a way to show it."""
    samples: dict[str, list[bpy.types.Material]] = {}
    for material in bpy.data.materials:
        mark = str(material.get(MARK, ""))
        if mark and "/object" not in mark:
            samples.setdefault(mark.rsplit("/", 1)[0], []).append(material)
    results = [Result(mark.replace("/", "-"), _with_materials(scene, materials)) for mark, materials in samples.items()]
    for world in bpy.data.worlds:
        if mark := str(world.get(MARK, "")):
            results.append(Result(mark.replace("/", "-"), _with_world(scene, world)))
    marks = {str(thing.get(MARK, "")) for thing in scene.objects}
    for mark in sorted(each for each in marks if each.endswith("/object")):
        results.append(Result(mark.replace("/", "-"), _with_object(scene, mark)))
    return results


def _with_materials(scene: bpy.types.Scene, materials: list[bpy.types.Material]) -> Callable:
    @contextlib.contextmanager
    def shown() -> Iterator[None]:
        with contextlib.ExitStack() as all_shown:
            for material in materials:
                thing = scene.objects.get(str(material.get(OBJECT, "")))
                if thing is not None and thing.type == "MESH":
                    all_shown.enter_context(shown_on(thing, material))
            yield

    return shown


def _with_world(scene: bpy.types.Scene, world: bpy.types.World) -> Callable:
    @contextlib.contextmanager
    def shown() -> Iterator[None]:
        before = scene.world
        scene.world = world
        try:
            yield
        finally:
            scene.world = before

    return shown


def _with_object(scene: bpy.types.Scene, mark: str) -> Callable:
    @contextlib.contextmanager
    def shown() -> Iterator[None]:
        job = mark.split("/")[0]
        before = []
        for thing in scene.objects:
            own = str(thing.get(MARK, ""))
            if own.startswith(f"{job}/") and "/object" in own:
                before.append((thing, thing.hide_render))
                thing.hide_render = not own.startswith(mark)
        try:
            yield
        finally:
            for thing, hidden in before:
                thing.hide_render = hidden

    return shown


def render_cameras(scene: bpy.types.Scene, folder: Path, title: str, samples: int = 64) -> Iterator[Path]:
    """Render the scene from each of its cameras by Cycles into `folder`.

    Raises:
        Problem: there is no camera, or no Cycles in this Blender.
    """
    cameras = scene_cameras(scene)
    if not cameras:
        raise Problem("The scene has no camera to render from. Add one.")
    folder = folder.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _render_settings(scene):
        try:
            scene.render.engine = "CYCLES"
        except TypeError as error:
            raise Problem("This Blender has no Cycles (its add-on is switched off).") from error
        scene.cycles.samples = samples
        if hasattr(scene.render.image_settings, "media_type"):  # from Blender 5.0 on; PNG is no film
            scene.render.image_settings.media_type = "IMAGE"
        scene.render.image_settings.file_format = "PNG"
        scene.render.use_sequencer = False
        size = (scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage)
        for camera in cameras:
            own = camera.ddrep
            width, height, percentage = (own.width, own.height, 100) if own.own_resolution else size
            scene.render.resolution_x, scene.render.resolution_y = width, height
            scene.render.resolution_percentage = percentage
            path = folder / f"{slug(title, 80)}-{slug(camera.name)}.png"
            scene.camera = camera
            scene.render.filepath = str(path)
            _render(scene)
            yield path


def _render(scene: bpy.types.Scene) -> None:
    try:
        bpy.ops.render.render(write_still=True)
    except RuntimeError as error:
        if "enois" not in str(error):
            raise
        scene.cycles.use_denoising = False  # this build of Blender has no denoiser
        bpy.ops.render.render(write_still=True)


CHANGED = (
    ("render", "engine"),
    ("render", "filepath"),
    ("render", "use_sequencer"),
    ("render", "resolution_x"),
    ("render", "resolution_y"),
    ("render", "resolution_percentage"),
    ("render.image_settings", "media_type"),
    ("render.image_settings", "file_format"),
    ("render.image_settings", "color_mode"),
    ("render.image_settings", "color_depth"),
    ("cycles", "samples"),
    ("cycles", "use_denoising"),
)


@contextlib.contextmanager
def _render_settings(scene: bpy.types.Scene) -> Iterator[None]:
    """Put back what rendering needs changed."""
    camera, before = scene.camera, []
    for path, name in CHANGED:
        with contextlib.suppress(AttributeError, ValueError):  # not in this Blender, or Cycles is switched off
            owner = scene.path_resolve(path)
            before.append((owner, name, getattr(owner, name)))
    try:
        yield
    finally:
        scene.camera = camera
        for owner, name, value in before:
            setattr(owner, name, value)
