# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras of the scene as the engine wants them: camera-to-world and clip matrices, in pixels of their own size."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..problems import Problem

ORBIT_SIZE = 512
ORBIT_FIELD_OF_VIEW = math.radians(40.0)
MOST_FRAMES = 256


@dataclass(frozen=True)
class View:
    """One camera at one moment.

    `matrix_world` [4, 4] is camera to world without scale (Blender's cameras ignore theirs), looking down -Z;
    `projection` [4, 4] is the clip matrix of `calc_matrix_camera`.
    """

    name: str
    matrix_world: np.ndarray
    projection: np.ndarray
    width: int
    height: int
    weight: float = 1.0
    prompt: str = ""

    def to_json(self) -> dict[str, Any]:
        """As inputs/cameras.json holds it."""
        return {
            "name": self.name,
            "matrix_world": self.matrix_world.tolist(),
            "projection": self.projection.tolist(),
            "width": self.width,
            "height": self.height,
            "weight": self.weight,
            "prompt": self.prompt,
        }

    @property
    def world_to_clip(self) -> np.ndarray:
        return self.projection @ np.linalg.inv(self.matrix_world)

    @property
    def perspective(self) -> bool:
        return bool(abs(self.projection[3, 2]) > 1e-12)


def view_of(camera: bpy.types.Object, scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> View:
    """A camera as it stands now.

    Raises:
        Problem: its lens can't be drawn by a matrix (panoramic), or it is too small to look through.
    """
    if camera.data.type not in {"PERSP", "ORTHO"}:
        raise Problem(
            f"The camera '{camera.name}' is panoramic, and only perspective and orthographic cameras can be used. "
            "Leave it out, or change its lens.",
            "ddrep.leave_camera_out",
            f"Leave '{camera.name}' out",
            camera=camera.name,
        )
    settings = camera.ddrep
    render = scene.render
    scale = render.resolution_percentage / 100
    width, height = max(1, int(render.resolution_x * scale)), max(1, int(render.resolution_y * scale))
    if settings.own_resolution:
        width, height = settings.width, settings.height
    evaluated = camera.evaluated_get(depsgraph)
    projection = evaluated.calc_matrix_camera(
        depsgraph, x=width, y=height, scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y
    )
    matrix = evaluated.matrix_world.normalized()
    if abs(matrix.determinant()) < 1e-6:
        raise Problem(
            f"The camera '{camera.name}' is scaled to nothing. Clear its scale.",
            "ddrep.leave_camera_out",
            f"Leave '{camera.name}' out",
            camera=camera.name,
        )
    return View(
        camera.name,
        np.array(matrix, float),
        np.array(projection, float),
        width,
        height,
        settings.weight,
        settings.prompt,
    )


def scene_cameras(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """All cameras of the scene, by name."""
    return sorted((thing for thing in scene.objects if thing.type == "CAMERA"), key=lambda camera: camera.name)


def chosen_cameras(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """The cameras the settings ask for; none for an orbit."""
    source = scene.ddrep.cameras.source
    if source == "SCENE":
        return [camera for camera in scene_cameras(scene) if camera.ddrep.use]
    if source in {"ACTIVE", "FRAMES"} and scene.camera is not None and scene.camera.type == "CAMERA":
        return [scene.camera]
    return []


def require_cameras(scene: bpy.types.Scene) -> None:
    """Cheap enough for every redraw. Raises a Problem when there is nothing to look through."""
    settings = scene.ddrep.cameras
    if settings.source == "ORBIT":
        return
    cameras = chosen_cameras(scene)
    if not cameras:
        if settings.source != "SCENE":
            words = "The scene has no active camera. Make one active, or use an orbit around the selection."
        elif scene_cameras(scene):
            words = "No camera is ticked. Tick one in Cameras, or use an orbit around the selection."
        else:
            words = "The scene has no camera. Add one, or use an orbit around the selection."
        raise Problem(words, "ddrep.use_orbit", "Use an orbit")
    if not any(camera.ddrep.weight > 0 for camera in cameras):
        raise Problem(
            "Every chosen camera has the importance zero, so nothing would be painted. Raise one, or use an orbit.",
            "ddrep.use_orbit",
            "Use an orbit",
        )


def chosen_views(context: bpy.types.Context, targets: Sequence[bpy.types.Object], front: float) -> list[View]:
    """What the chosen cameras see, as the settings say.

    Args:
        targets: what an orbit goes around.
        front: where it begins: degrees around Z from -Y (0) towards +X (90).

    Raises:
        Problem: no camera, or one that can't be used.
    """
    scene, settings = context.scene, context.scene.ddrep.cameras
    require_cameras(scene)
    if settings.source == "ORBIT":
        sphere = bounding_sphere(targets)
        return placed(sphere, settings, math.radians(front))
    if settings.source == "FRAMES":
        return list(_over_frames(context))
    depsgraph = context.evaluated_depsgraph_get()
    return [view_of(camera, scene, depsgraph) for camera in chosen_cameras(scene)]


def left_to_engine(scene: bpy.types.Scene) -> str:
    """The cameras as the engine is to choose them ("coverage:6"); "" where the settings say which they are."""
    settings = scene.ddrep.cameras
    if settings.source != "ORBIT" or settings.placement != "COVERAGE":
        return ""
    return f"coverage:{settings.orbit_count}{':ortho' if settings.orthographic else ''}"


def frames(scene: bpy.types.Scene) -> list[int]:
    """The frames that an animated camera is asked at.

    Raises:
        Problem: there would be too many.
    """
    settings = scene.ddrep.cameras
    chosen = list(range(scene.frame_start, scene.frame_end + 1, settings.frame_step))
    if len(chosen) > MOST_FRAMES:
        step = math.ceil(len(chosen) * settings.frame_step / 32)
        raise Problem(
            f"{len(chosen)} frames are too many views. Take every {step}th.",
            "ddrep.set_frame_step",
            "Take about 32",
            step=step,
        )
    return chosen


def _over_frames(context: bpy.types.Context) -> Iterator[View]:
    """The active camera at the scene's frames. The frame is put back whatever happens."""
    scene = context.scene
    frame, subframe = scene.frame_current, scene.frame_subframe
    try:
        for number in frames(scene):
            scene.frame_set(number)
            view = view_of(scene.camera, scene, context.evaluated_depsgraph_get())
            yield View(
                f"{view.name} @ {number}",
                view.matrix_world,
                view.projection,
                view.width,
                view.height,
                view.weight,
                view.prompt,
            )
    finally:
        scene.frame_set(frame, subframe=subframe)


def bounding_sphere(objects: Sequence[bpy.types.Object]) -> tuple[Vector, float]:
    """Centre and radius of a sphere around the objects' bounding boxes (as evaluated)."""
    corners = [thing.matrix_world @ Vector(corner) for thing in objects for corner in thing.bound_box]
    if not corners:
        return Vector((0.0, 0.0, 0.0)), 1.0
    low = Vector([min(corner[axis] for corner in corners) for axis in range(3)])
    high = Vector([max(corner[axis] for corner in corners) for axis in range(3)])
    centre = (low + high) / 2
    return centre, max(max((corner - centre).length for corner in corners), 1e-4)


def look_at(position: Vector, target: Vector) -> Matrix:
    """Camera-to-world matrix of a camera at `position` that looks at `target`, the world's Z upward."""
    rotation = (position - target).to_track_quat("Z", "Y")
    return Matrix.Translation(position) @ rotation.to_matrix().to_4x4()


def perspective(field_of_view: float, near: float, far: float) -> np.ndarray:
    """Clip matrix of a square picture."""
    focal = 1 / math.tan(field_of_view / 2)
    return np.array(
        [
            [focal, 0, 0, 0],
            [0, focal, 0, 0],
            [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)],
            [0, 0, -1, 0],
        ],
        float,
    )


def orthographic(half: float, near: float, far: float) -> np.ndarray:
    """Clip matrix of a square picture without perspective, 2 * `half` across."""
    depth = far - near
    rows = [[1 / half, 0, 0, 0], [0, 1 / half, 0, 0], [0, 0, -2 / depth, -(far + near) / depth], [0, 0, 0, 1]]
    return np.array(rows, float)


RIGHT_ANGLE = math.pi / 2
SIDES = (
    ("Front", 0.0, 0.0),
    ("Left", RIGHT_ANGLE, 0.0),
    ("Back", 2 * RIGHT_ANGLE, 0.0),
    ("Right", 3 * RIGHT_ANGLE, 0.0),
    ("Top", 0.0, RIGHT_ANGLE),
    ("Bottom", 0.0, -RIGHT_ANGLE),
)
"""The object's own sides: name, radians around it from its front towards its left, and above the horizon."""


def placed(sphere: tuple[Vector, float], settings: Any, front: float) -> list[View]:
    """The cameras that the settings place around a sphere, the first in front: `front` radians around Z from -Y towards
    +X. A ring rises and falls between two elevations."""
    if settings.placement == "AROUND":
        heights, count = (settings.orbit_low, settings.orbit_high), settings.orbit_count
        places = [(f"Orbit {n + 1}", 2 * math.pi * n / count, heights[n % 2]) for n in range(count)]
    else:
        places = [side for side in SIDES if settings.placement == "SIX_SIDES" or side[0] in ("Front", "Back")]
    return _around(*sphere, places, front, settings.orthographic)


def _around(
    centre: Vector, radius: float, places: Sequence[tuple[str, float, float]], front: float, parallel: bool
) -> list[View]:
    """Cameras at names, azimuths from the front, and elevations, in radians."""
    distance = radius / math.sin(ORBIT_FIELD_OF_VIEW / 2) * 1.05
    near, far = max(distance - 2 * radius, distance * 0.01), distance + 2 * radius
    projection = orthographic(1.05 * radius, near, far) if parallel else perspective(ORBIT_FIELD_OF_VIEW, near, far)
    views = []
    for name, around, elevation in places:
        azimuth = front + around
        direction = Vector(
            (
                math.sin(azimuth) * math.cos(elevation),
                -math.cos(azimuth) * math.cos(elevation),
                math.sin(elevation),
            )
        )
        matrix = look_at(centre + direction * distance, centre)
        if abs(elevation) == RIGHT_ANGLE:  # its front is at the lower edge from above, at the upper one from below
            below = Matrix(((1, 0, 0), (0, -1, 0), (0, 0, -1)))
            rotation = Matrix.Rotation(front, 3, "Z") @ (Matrix.Identity(3) if elevation > 0 else below)
            matrix = Matrix.Translation(centre + direction * distance) @ rotation.to_4x4()
        views.append(View(name, np.array(matrix, float), projection, ORBIT_SIZE, ORBIT_SIZE))
    return views
