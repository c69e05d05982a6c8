"""360° panoramas: a canvas that closes on itself, seen through overlapping windows.

The cylinder is the paper's (§4.2): a strip as high as one view, eight views of 45° around, windows at any offset modulo
the strip. The sphere is seen by perspective cameras in all directions, the poles included; its canvas is a set of
nearly evenly spread points (a Fibonacci lattice), so that no place on it is special. Both are linear in θ, and so is
the pull-back exact. The noise lives on the canvas too and wraps with it.

A SIREN on the same coordinates (`SirenDiffrep` over `cylinder_coordinates` or `sphere_coordinates`) is the paper's own
choice; both kinds are drawn by `panorama_picture`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import sparse
from scipy.spatial import ConvexHull, KDTree
from torch import Tensor

from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.errors import RequestError
from ddrep_core.noise.matrix import MatrixNoise
from ddrep_core.sparse import SparseMatrix, torch_csr
from ddrep_core.views import Camera, Views
from ddrep_core.views.banks import sphere_views

CROPS_AROUND = 8  # views of 45° around the cylinder
POINTS_PER_PIXEL = 1.0  # canvas points to a pixel in the middle of a view
NOISE_PER_PIXEL = 24  # noise cells to a pixel


class CanvasDiffrep(MatrixDiffrep):
    """f(θ, π) = A θ: every pixel of every view is a fixed weighted sum of canvas points.

    Args:
        matrix: [V * h * w, P] rows over views, then pixels.
        image_shape: (C, h, w) of one view.
        noise_matrix: [V * h * w, Q] with rows of unit length that do not overlap within a view, for `noise`.
        pixel_weights: [h, w] of every view's pixels in the pull-back.
    """

    tolerance = 1e-3
    """Loose: what windows disagree about has no exact answer, and the next step asks again."""

    def __init__(
        self,
        matrix: SparseMatrix,
        image_shape: tuple[int, int, int],
        noise_matrix: SparseMatrix,
        *,
        pixel_weights: Tensor,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        views = matrix.shape[0] // (image_shape[1] * image_shape[2])
        super().__init__(
            torch_csr(matrix, dtype, device),
            image_shape,
            columns=image_shape[0],
            pixel_weights=pixel_weights.to(device, dtype).expand(views, 1, -1, -1),
            transposed=torch_csr(matrix.T, dtype, device),
        )
        self._noise_matrix = noise_matrix

    @property
    def noise(self) -> MatrixNoise:
        """White noise that lives on the canvas: views that overlap see the same noise there."""
        dtype, device = self.theta.dtype, self.theta.device
        return MatrixNoise(
            torch_csr(self._noise_matrix, dtype, "cpu"), (self.view_count, *self.image_shape), dtype, device
        )

    def noise_field(self) -> MatrixNoise:
        return self.noise


class CylinderDiffrep(CanvasDiffrep):
    """The paper's cylinder: a canvas [C, h, 8 w] and windows of it that wrap around.

    Args:
        image_shape: (C, h, w) of one view.
        windows: V, how many, evenly around; twice the number of 45° crops gives every point two windows.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        windows: int = 2 * CROPS_AROUND,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        _, height, width = image_shape
        self.columns = CROPS_AROUND * width
        if windows * width < self.columns:
            raise RequestError(f"{windows} windows do not cover the cylinder.", f"Use {CROPS_AROUND} or more.")
        column, _ = np.meshgrid(np.arange(width), np.arange(height))
        row = np.arange(height)[:, None]
        cells = np.stack(
            [row * self.columns + (column + offset) % self.columns for offset in window_offsets(windows, self.columns)]
        ).reshape(-1)
        chosen = sparse.csr_matrix(
            (np.ones(len(cells)), (np.arange(len(cells)), cells)), (len(cells), height * self.columns)
        )
        weights = feathered(width).expand(height, width)  # nothing lies above or below a window: its rows are even
        super().__init__(chosen, image_shape, chosen, pixel_weights=weights, dtype=dtype, device=device)

    def canvas(self) -> Tensor:
        """[C, h, 8 w]."""
        channels, height, _ = self.image_shape
        return self.theta.detach().reshape(height, self.columns, channels).permute(2, 0, 1)


class SphereDiffrep(CanvasDiffrep):
    """A full sphere of points, seen by cameras at its centre.

    Args:
        image_shape: (C, h, w) of one view.
        cameras: the bank; `sphere_views()` when not given.
        points_per_pixel: canvas points to a pixel in the middle of the narrowest view.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        cameras: Views | None = None,
        *,
        points_per_pixel: float = POINTS_PER_PIXEL,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.cameras = cameras or sphere_views()
        _, height, width = image_shape
        pixel = min(4 / (c.projection[0, 0] * c.projection[1, 1] * width * height) for c in self.cameras)  # steradians
        self.points = fibonacci_sphere(math.ceil(4 * math.pi / pixel * points_per_pixel))
        self._tree = KDTree(self.points)
        self._faces = ConvexHull(self.points).simplices
        self._around = _faces_around(self._faces, len(self.points))
        directions = np.concatenate(
            [camera_directions(camera, height, width).reshape(-1, 3) for camera in self.cameras]
        )
        noise = _noise_cells(self.cameras, height, width, math.ceil(4 * math.pi / pixel * NOISE_PER_PIXEL))
        weights = feathered(height)[:, None] * feathered(width)
        super().__init__(
            self.interpolation(directions), image_shape, noise, pixel_weights=weights, dtype=dtype, device=device
        )

    def interpolation(self, directions: np.ndarray) -> SparseMatrix:
        """[N, P] barycentric weights of canvas points for directions [N, 3]; rows sum to one."""
        _, nearest = self._tree.query(directions)
        candidates = self._around[nearest]  # [N, K] faces
        corners = self.points[self._faces[candidates]]  # [N, K, 3 corners, 3]
        weights = np.linalg.solve(corners.transpose(0, 1, 3, 2), directions[:, None, :, None])[..., 0]  # [N, K, 3]
        best = weights.min(axis=2).argmax(axis=1)
        row = np.arange(len(directions))
        chosen = np.clip(weights[row, best], 0, None)
        chosen /= chosen.sum(axis=1, keepdims=True)
        columns = self._faces[candidates[row, best]]
        shape = (len(directions), len(self.points))
        return sparse.csr_matrix((chosen.reshape(-1), (np.repeat(row, 3), columns.reshape(-1))), shape)

    def values_at(self, directions: Tensor) -> Tensor:
        """[N, C] the canvas in directions [N, 3] of unit length."""
        matrix = self.interpolation(directions.double().cpu().numpy())
        return torch.from_numpy(matrix @ self.theta.detach().double().cpu().numpy()).to(self.theta)


def feathered(count: int) -> Tensor:
    """[count] weights of a window's columns or rows: 1 in the middle, a fiftieth at its edges.

    A prior draws the border of a picture as a border: a little darker, with its convolutions' padding in it. Where
    windows overlap, the one that sees a place in its middle is believed; evenly weighted, every border shows.
    """
    places = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return 0.02 + 0.98 * torch.sin(math.pi * places) ** 2


def window_offsets(windows: int, columns: int) -> list[int]:
    """The first column of each window, evenly around."""
    return [round(number * columns / windows) for number in range(windows)]


def cylinder_coordinates(height: int, width: int, windows: int = 2 * CROPS_AROUND) -> Tensor:
    """[V, h, w, 3] points on a cylinder as high as 1/8 of its girth, for a SIREN that closes on itself exactly."""
    columns = CROPS_AROUND * width
    column = torch.arange(width)[None, None, :] + torch.tensor(window_offsets(windows, columns))[:, None, None]
    return cylinder_points((column + 0.5) / columns, ((torch.arange(height) + 0.5) / height)[None, :, None])


def cylinder_points(turn: Tensor, down: Tensor) -> Tensor:
    """[..., 3] for a turn around the cylinder in 0..1 and a height in 0..1; one view is one unit wide and high."""
    turn, down = torch.broadcast_tensors(turn, down)
    radius = CROPS_AROUND / (2 * math.pi)
    angle = 2 * math.pi * turn
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle), down], dim=-1)


def sphere_coordinates(cameras: Views, height: int, width: int) -> Tensor:
    """[V, h, w, 3] unit directions of every pixel, for a SIREN on the sphere."""
    return torch.from_numpy(np.stack([camera_directions(camera, height, width) for camera in cameras])).float()


def camera_directions(camera: Camera, height: int, width: int) -> np.ndarray:
    """[h, w, 3] unit directions through pixel centres."""
    return camera.pixel_grid_rays(width, height)[1][:, :, 0]


def fibonacci_sphere(count: int) -> np.ndarray:
    """[count, 3] points spread nearly evenly over the unit sphere."""
    number = np.arange(count) + 0.5
    height = 1 - 2 * number / count
    angle = number * math.pi * (3 - math.sqrt(5))
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)


def _faces_around(faces: np.ndarray, count: int) -> np.ndarray:
    """[count, K] the faces at each point, the last repeated where a point has fewer."""
    point = faces.reshape(-1)
    face = np.repeat(np.arange(len(faces)), 3)
    order = np.argsort(point, kind="stable")
    point, face = point[order], face[order]
    start = np.searchsorted(point, np.arange(count))
    size = np.diff(np.append(start, len(point)))
    slot = np.minimum(np.arange(size.max())[None], size[:, None] - 1)
    return face[start[:, None] + slot]


def _noise_cells(cameras: Views, height: int, width: int, count: int) -> SparseMatrix:
    """[V * h * w, count] which cells of a fine lattice lie in each pixel, in rows of unit length."""
    cells = fibonacci_sphere(count)
    pieces = []
    for camera in cameras:
        inside = cells @ camera.matrix_world[:3, :3]
        ahead = np.nonzero(inside[:, 2] < -1e-3)[0]
        depth = -inside[ahead, 2]
        x = np.floor((inside[ahead, 0] * camera.projection[0, 0] / depth + 1) / 2 * width).astype(int)
        y = np.floor((1 - inside[ahead, 1] * camera.projection[1, 1] / depth) / 2 * height).astype(int)
        seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        pixel, cell = y[seen] * width + x[seen], ahead[seen]
        filled = np.bincount(pixel, minlength=height * width)
        assert filled.min() > 0, "the noise lattice is too coarse for the views"
        value = 1 / np.sqrt(filled[pixel])
        pieces.append(sparse.csr_matrix((value, (pixel, cell)), (height * width, count)))
    return sparse.vstack(pieces).tocsr()
