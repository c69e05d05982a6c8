"""Cameras as Blender and OpenGL know them, and ordered collections of them.

Coordinates: world is Z-up, -Y front, metres. A camera looks down its own -Z with +Y up. `projection` is the 4x4
clip matrix (sensor fit, lens shift, orthographic cameras and pixel aspect are all inside it). Pixels are counted
from the upper left corner of the image; the centre of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ddrep_core.errors import RequestError
from ddrep_core.json_text import is_writable_text, parse_json

Float = NDArray[np.float64]

LARGEST = 1e12  # of a matrix's numbers: beyond, products overflow and inverses are noise
CAMERA_KEYS = {"name", "matrix_world", "projection", "width", "height", "weight", "prompt"}


def _divided(rows: Float, by: Float) -> Float:
    """[N, K] each row divided by its number; column by column, which is several times as fast for few of them."""
    for column in rows.T:
        column /= by
    return np.ascontiguousarray(rows)


def _matrix(value: ArrayLike, name: str, camera: str) -> Float:
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestError(f"Camera '{camera}': {name} is not a 4x4 matrix of numbers.") from error
    if matrix.shape != (4, 4):
        raise RequestError(f"Camera '{camera}': {name} has the shape {matrix.shape}, not 4x4.")
    if not np.isfinite(matrix).all():
        raise RequestError(f"Camera '{camera}': {name} holds a NaN or an infinite number.")
    if np.abs(matrix).max() > LARGEST:
        raise RequestError(
            f"Camera '{camera}': {name} holds {matrix.flat[np.abs(matrix).argmax()]:g}, which no camera needs.",
            f"Keep its numbers below {LARGEST:g}.",
        )
    if abs(np.linalg.det(matrix)) < 1e-30:
        raise RequestError(f"Camera '{camera}': {name} cannot be inverted.", "Check the camera's scale and clip range.")
    matrix.setflags(write=False)
    return matrix


@dataclass(frozen=True)
class Camera:
    """One view of the world.

    Args:
        name: what a person calls it.
        matrix_world: [4, 4], camera to world, row-major. Scale is tolerated.
        projection: [4, 4] clip matrix, camera space to clip space (`calc_matrix_camera` in Blender).
        width, height: the picture's size in pixels; views may be sampled at another size of about this aspect.
        weight: importance w(π) of this view in the pull-back, >= 0.
        prompt: words of this view's own, added to the run's prompt.
        of_a_part: it sees a part of the object closely: no words for a side are said of it. Not in camera files.

    Raises:
        RequestError: a matrix that is not 4x4, not finite or not invertible; a size or weight out of range.
    """

    name: str
    matrix_world: Float
    projection: Float
    width: int = 512
    height: int = 512
    weight: float = 1.0
    prompt: str = ""
    of_a_part: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix_world", _matrix(self.matrix_world, "matrix_world", self.name))
        object.__setattr__(self, "projection", _matrix(self.projection, "projection", self.name))
        try:
            invertible = np.isfinite(np.linalg.inv(self.world_to_clip)).all()
        except np.linalg.LinAlgError:
            invertible = False
        if not invertible:
            raise RequestError(
                f"Camera '{self.name}': matrix_world and projection together cannot be inverted.",
                "Check the camera's scale and clip range.",
            )
        if not (1 <= self.width <= 65536 and 1 <= self.height <= 65536):
            raise RequestError(
                f"Camera '{self.name}': a picture of {self.width} x {self.height} pixels cannot be made."
            )
        if not (np.isfinite(self.weight) and self.weight >= 0):
            raise RequestError(f"Camera '{self.name}': weight must be zero or more, not {self.weight}.")

    @property
    def position(self) -> Float:
        """[3] where the camera stands in the world."""
        return self.matrix_world[:3, 3].copy()

    @property
    def is_orthographic(self) -> bool:
        """Whether all rays are parallel (the clip matrix's last row does not depend on depth)."""
        return bool(np.allclose(self.projection[3, :3], 0.0))

    @property
    def world_to_clip(self) -> Float:
        """[4, 4] world space to clip space."""
        return self.projection @ np.linalg.inv(self.matrix_world)

    def project(self, points: ArrayLike) -> tuple[Float, Float]:
        """Where world points land in the picture.

        Args:
            points: [N, 3] in the world.

        Returns:
            pixels [N, 2] (x to the right, y down, first pixel's centre at 0.5) and depth [N], the distance along
            the viewing axis in the world's units (negative behind the camera).
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1)
        in_camera = homogeneous @ np.linalg.inv(self.matrix_world).T
        clip = in_camera @ self.projection.T
        with np.errstate(divide="ignore", invalid="ignore"):
            ndc = clip[:, :2] / clip[:, 3:4]
        pixels = np.stack([(ndc[:, 0] + 1) / 2 * self.width, (1 - ndc[:, 1]) / 2 * self.height], axis=1)
        axis = -self.matrix_world[:3, 2] / np.linalg.norm(self.matrix_world[:3, 2])
        return pixels, (points - self.position) @ axis

    def rays(self, pixels: ArrayLike, width: int | None = None, height: int | None = None) -> tuple[Float, Float]:
        """World rays through given points of the picture.

        Args:
            pixels: [N, 2] picture coordinates as in `project`, for a picture of `width` x `height` (the camera's own
                size when not given).

        Returns:
            origins [N, 3] on the near plane for orthographic cameras, at the camera's position otherwise, and
            directions [N, 3] of unit length.
        """
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        x = pixels[:, 0] / (width or self.width) * 2 - 1
        y = 1 - pixels[:, 1] / (height or self.height) * 2
        clip_to_world = np.linalg.inv(self.world_to_clip)

        points = np.empty((len(pixels), 4))
        points[:, 0], points[:, 1], points[:, 3] = x, y, 1.0

        def unproject(depth: float) -> Float:
            points[:, 2] = depth
            corners = points @ clip_to_world.T
            return _divided(corners[:, :3], corners[:, 3])

        near, directions = unproject(-1.0), unproject(0.0)
        directions -= near
        x, y, z = directions.T
        directions = _divided(directions, np.sqrt(x * x + y * y + z * z))
        origins = near if self.is_orthographic else np.broadcast_to(self.position, near.shape).copy()
        return origins, directions

    def rays_to(self, points: Float) -> tuple[Float, Float]:
        """Origins [N, 3] and directions [N, 3] of unit length, as `rays` gives them, of rays through points [N, 3]."""
        if self.is_orthographic:
            return self.rays(self.project(points)[0])
        directions = points - self.position
        x, y, z = directions.T
        return np.broadcast_to(self.position, points.shape).copy(), _divided(directions, np.sqrt(x * x + y * y + z * z))

    def pixel_grid_rays(self, width: int, height: int, subsamples: int = 1) -> tuple[Float, Float]:
        """Rays through a regular subsamples x subsamples grid inside each pixel of a `width` x `height` picture.

        Returns:
            origins and directions, each [height, width, subsamples**2, 3].
        """
        offsets = (np.arange(subsamples) + 0.5) / subsamples
        y, x, dy, dx = np.meshgrid(np.arange(height), np.arange(width), offsets, offsets, indexing="ij")
        origins, directions = self.rays(np.stack([x + dx, y + dy], axis=-1).reshape(-1, 2), width, height)
        shape = (height, width, subsamples * subsamples, 3)
        return origins.reshape(shape), directions.reshape(shape)

    def to_json(self) -> dict[str, Any]:
        """The camera as the job folder stores it (docs/jobs.md)."""
        return {
            "name": self.name,
            "matrix_world": self.matrix_world.tolist(),
            "projection": self.projection.tolist(),
            "width": self.width,
            "height": self.height,
            "weight": self.weight,
            "prompt": self.prompt,
        }

    @classmethod
    def from_json(cls, data: object, position: int = 0) -> Camera:
        """The camera from its stored form; `position` names it in messages when it has no name."""
        label = f"number {position + 1}"
        if not isinstance(data, dict):
            raise RequestError(f"Camera {label} is not an object with the keys {', '.join(sorted(CAMERA_KEYS))}.")
        if not all(is_writable_text(str(data.get(key, ""))) for key in ("name", "prompt")):
            raise RequestError(f"Camera {label} has a name or prompt with half a character (a lone surrogate).")
        if isinstance(data.get("name"), str):
            label = f"'{data['name']}'"
        if unknown := set(data) - CAMERA_KEYS:
            raise RequestError(f"Camera {label} has an unknown key: {', '.join(sorted(map(str, unknown)))}.")
        if missing := {"matrix_world", "projection"} - set(data):
            raise RequestError(f"Camera {label} lacks {', '.join(sorted(missing))}.")
        try:
            return cls(
                name=str(data.get("name", f"camera {position + 1}")),
                matrix_world=data["matrix_world"],
                projection=data["projection"],
                width=int(data.get("width", 512)),
                height=int(data.get("height", 512)),
                weight=float(data.get("weight", 1.0)),
                prompt=str(data.get("prompt", "")),
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise RequestError(f"Camera {label}: {error}.") from error


@dataclass(frozen=True)
class Views(Sequence[Camera]):
    """An ordered, finite bank of cameras: the views of one run.

    Args:
        cameras: at least one.
        target: [3] the point that direction words ("front view") are told from; the world's origin when not given.
        front_degrees: which way the object faces, which "front view" is told by: degrees around Z, counted from -Y
            (0) towards +X (90).

    Raises:
        RequestError: no camera, or a front that is not finite.
    """

    cameras: tuple[Camera, ...]
    target: Float = field(default_factory=lambda: np.zeros(3))
    front_degrees: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "cameras", tuple(self.cameras))
        object.__setattr__(self, "target", np.asarray(self.target, dtype=np.float64).reshape(3))
        if not self.cameras:
            raise RequestError("There are no cameras to look through.", "Add a camera, or ask for an orbit (orbit:8).")
        if not np.isfinite(self.front_degrees):
            raise RequestError(
                f"An object cannot face {self.front_degrees} degrees.", "Give degrees from -Y (0) to +X (90)."
            )

    def __len__(self) -> int:
        return len(self.cameras)

    def __iter__(self) -> Iterator[Camera]:
        return iter(self.cameras)

    @overload
    def __getitem__(self, index: int) -> Camera: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int]) -> Views: ...
    def __getitem__(self, index: int | slice | Sequence[int]) -> Camera | Views:
        if isinstance(index, int | np.integer):
            return self.cameras[int(index)]
        if isinstance(index, slice):
            return replace(self, cameras=self.cameras[index])
        return replace(self, cameras=tuple(self.cameras[int(i)] for i in index))

    @property
    def weights(self) -> Float:
        """[V] the importance of each view."""
        return np.array([camera.weight for camera in self.cameras])

    def with_target(self, target: ArrayLike) -> Views:
        """The same cameras, with directions told from another point."""
        return replace(self, target=np.asarray(target, dtype=np.float64))

    def with_front(self, front_degrees: float) -> Views:
        """The same cameras around an object that faces another way: degrees around Z from -Y (0) towards +X (90)."""
        return replace(self, front_degrees=front_degrees)

    def save(self, path: str | Path) -> None:
        """Write a camera file. It holds the cameras alone: target and front belong to the object they look at."""
        text = json.dumps({"cameras": [camera.to_json() for camera in self.cameras]}, indent=1)
        Path(path).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Views:
        """Read a camera file: `{"cameras": [{name, matrix_world, projection, width, height, weight, prompt}]}`.

        Raises:
            RequestError: the file is missing, is not JSON, holds no camera or a wrong one.
        """
        try:
            data = parse_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise RequestError(f"The camera file {path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise RequestError(f"The camera file {path} is not JSON: {error}.") from error
        if not isinstance(data, dict) or not isinstance(data.get("cameras"), list):
            raise RequestError(f"The camera file {path} has no list called 'cameras'.")
        cameras = tuple(Camera.from_json(entry, position) for position, entry in enumerate(data["cameras"]))
        if not cameras:
            raise RequestError(f"The camera file {path} holds no camera.")
        if not any(camera.weight > 0 for camera in cameras):
            raise RequestError(f"Every camera of {path} has the weight zero.", "Give at least one a positive weight.")
        return cls(cameras)
