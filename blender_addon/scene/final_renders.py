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
from ..results.textures import MARK
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
    by_key = {str(material[MARK]).rsplit("/", 1)[1]: material for material in materials}

    @contextlib.contextmanager
    def shown() -> Iterator[None]:
        before = []
        for thing in scene.objects:
            for slot in thing.material_slots:
                mark = str(slot.material.get(MARK, "")) if slot.material is not None else ""
                key = mark.rsplit("/", 1)[-1]
                if mark and key in by_key:
                    before.append((slot, slot.material))
                    slot.material = by_key[key]
        try:
            yield
        finally:
            for slot, material in before:
                slot.material = material

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
        scene.render.image_settings.file_format = "PNG"
        for camera in cameras:
            if camera.data.type not in {"PERSP", "ORTHO", "PANO"}:
                continue
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


@contextlib.contextmanager
def _render_settings(scene: bpy.types.Scene) -> Iterator[None]:
    """Put back what rendering needs changed."""
    render, image = scene.render, scene.render.image_settings
    before = (render.engine, render.filepath, image.file_format, image.color_mode, image.color_depth, scene.camera)
    cycles = getattr(scene, "cycles", None)
    sampling = (cycles.samples, cycles.use_denoising) if cycles is not None else None
    try:
        yield
    finally:
        render.engine, render.filepath, image.file_format = before[:3]
        image.color_mode, image.color_depth, scene.camera = before[3:]
        if cycles is not None and sampling is not None:
            cycles.samples, cycles.use_denoising = sampling
