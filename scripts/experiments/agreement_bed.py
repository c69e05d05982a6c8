"""Test beds where it is known what a perfect sampler does: one of K textures, seen alike by all views.

A mesh with UVs, V cameras on a ring, small RGB views through a bilinear look-up: f is a sparse matrix. The prior of
each view is the exact denoiser of the K pictures of that view (discrete bed), or of these pictures with one colour
offset c ~ N(0, spread²) for the whole object (continuous bed), and knows nothing of the other views.

A panorama is one more bed: a strip that closes on itself, seen through windows that overlap by a half.

The objects are textures of one resolution; what is sampled is a texture whose islands are as fine as the views resolve
them, by the engine's own rule (`diffreps.texture.grid_resolutions`), and no finer than the objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image
from torch import Tensor

from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.diffreps.panorama import CylinderDiffrep
from ddrep_core.diffreps.texture import rendering_matrix
from ddrep_core.geometry.footprints import view_samples
from ddrep_core.geometry.mesh import Z_UP_TO_WORLD, Mesh, Part
from ddrep_core.geometry.raycast import RayCaster
from ddrep_core.geometry.texel_grids import grid_resolutions
from ddrep_core.priors import EmpiricalPrior, GaussianMixturePrior
from ddrep_core.sampling import MatrixNoise
from ddrep_core.sparse import rows_of_views, torch_csr
from ddrep_core.views import Views, orbit_views


class BedTexture(MatrixDiffrep):
    """A texture under fixed views. With S copies of it in one run, each picture has 3 S channels: S seeds at once."""

    def __init__(self, matrix: Tensor, view_count: int, size: int, copies: int = 1) -> None:
        covered = (matrix.crow_indices().diff() > 0).reshape(view_count, 1, size, size).to(torch.float32)
        super().__init__(matrix, (3 * copies, size, size), columns=3 * copies, pixel_weights=covered)
        self.copies = copies
        self._views = [rows_of_views(matrix, torch.tensor([view]), size * size) for view in range(view_count)]

    def render(self, indices: Tensor | None = None) -> Tensor:
        if indices is None or len(indices) != 1:
            return super().render(indices)
        rows = self._views[int(indices)] @ self.theta  # one view joins at a time: no other need be drawn
        return rows.reshape(1, *self.image_shape[1:], -1).permute(0, 3, 1, 2)


class ManyPrior:
    """An exact prior applied to S pictures that lie one behind the other in the channels."""

    def __init__(self, prior: Any, copies: int) -> None:
        self.prior, self.copies = prior, copies
        self.sigmas, self.channels = prior.sigmas, 3 * copies

    def condition(self, *arguments: Any, **options: Any) -> Any:
        return self.prior.condition(*arguments, **options)

    def predict_noise(self, x: Tensor, sigma: float, conditioning: Any) -> Tensor:
        views, _, height, width = x.shape
        each = conditioning[torch.arange(views).repeat_interleave(self.copies)]
        pictures = x.reshape(views * self.copies, 3, height, width)
        return self.prior.predict_noise(pictures, sigma, each).reshape(x.shape)


@dataclass
class Bed:
    """A bed, and how to judge what was sampled on it."""

    views: Views | None  # a panorama's windows are no cameras
    matrix: Tensor  # [V * size * size, P] what the views see of the texture that is sampled
    pictures: Tensor  # [V, K, 3, size, size] what they see of each object
    spread: float  # standard deviation of the objects' colour; 0 is the discrete bed

    @property
    def view_count(self) -> int:
        return len(self.pictures)

    @property
    def size(self) -> int:
        """Pixels of a view's side."""
        return self.pictures.shape[-1]

    @property
    def covered(self) -> Tensor:
        """[V, size, size] where the object is."""
        return (self.matrix.crow_indices().diff() > 0).reshape(self.view_count, self.size, self.size)

    def representation(self, copies: int = 1) -> BedTexture:
        return BedTexture(self.matrix, self.view_count, self.size, copies)

    def prior(self) -> EmpiricalPrior | GaussianMixturePrior:
        if self.spread == 0:
            return EmpiricalPrior(self.pictures)
        covered = self.covered.reshape(self.view_count, 1, 1, -1, 1).to(torch.float32)  # [V, 1, channel, pixel, colour]
        factors = self.spread * covered * torch.eye(3)[None, None, :, None, :]
        return GaussianMixturePrior(self.pictures, 0.0, factors=factors.reshape(self.view_count, 1, -1, 3))

    def surface_noise(self, copies: int = 1) -> MatrixNoise:
        return MatrixNoise(self.matrix, (self.view_count, 3 * copies, self.size, self.size))

    def distance(self) -> float:
        """The mean distance between two objects in a view: what σ is compared with."""
        flat = self.pictures.flatten(2)
        return float(torch.cdist(flat, flat).sum() / (flat.shape[0] * flat.shape[1] * (flat.shape[1] - 1)))

    def judge(self, theta: Tensor) -> dict[str, Tensor]:
        """What was sampled, from θ [P, 3 S].

        Returns:
            `label` [V, S] the nearest object in each view, `error` [V, S] the mean squared distance from it (after its
            colour is taken out), `colour` [V, S, 3] that colour.
        """
        copies = theta.shape[1] // 3
        images = (self.matrix @ theta).reshape(self.view_count, -1, copies, 3)
        labels, errors, colours = [], [], []
        for view, pictures in enumerate(self.pictures):
            inside = self.covered[view].reshape(-1)
            goal = pictures.permute(0, 2, 3, 1).reshape(len(pictures), -1, 3)[:, inside]  # [K, n, 3]
            residual = images[view, inside].permute(1, 0, 2)[:, None] - goal  # [S, K, n, 3]
            offset = residual.mean(2) if self.spread else torch.zeros_like(residual.mean(2))
            distance = (residual - offset[:, :, None]).square().mean((2, 3))  # [S, K]
            error, label = distance.min(1)
            labels.append(label)
            errors.append(error)
            colours.append(offset[torch.arange(copies), label])
        return {"label": torch.stack(labels), "error": torch.stack(errors), "colour": torch.stack(colours)}


def make_bed(
    mesh: str = "branched",
    views: int = 16,
    objects: int = 8,
    size: int = 32,
    texels: int = 64,
    spread: float = 0.0,
    scale: float = 1.0,
    texture_seed: int = 0,
    pictures: list[Path] | None = None,
    distance: float = 1.6,
    texels_per_pixel: float = 1.0,
) -> Bed:
    """A bed on a mesh (a file, or the built-in "branched" or "ball"), or a "panorama" as high as a view.

    Args:
        texels: of the objects' textures, a side.
        scale: stretches all colours, so distances.
        texels_per_pixel: of the texture that is sampled, for the view that resolves an island best; 0 samples a texture
            like the objects', however coarse the views.
    """
    if mesh == "panorama":
        strips = scale * random_textures(objects, texture_seed, size, 8 * size)
        return panorama_bed(strips, views, size, spread * scale)
    built_in = {"branched": branched_mesh, "ball": closed_mesh}
    body = as_mesh(mesh, *(built_in[mesh]() if mesh in built_in else load(Path(mesh))))
    cameras = orbit_views(views, (-5.0, 20.0), distance, 45.0, np.zeros(3), size, size)
    caster = RayCaster(body)
    samples = [view_samples(caster, camera, size, size, 1) for camera in cameras]

    def looked_up(resolutions: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Without the free background that a view has in the engine: here the prior knows that it is empty."""
        matrix, places = rendering_matrix(body, samples, resolutions)
        return torch_csr(matrix[:, : len(places)].tocsr(), torch.float32, "cpu"), places

    fine = np.full(len(body.faces), texels)
    shown, places = looked_up(fine)
    coarse = grid_resolutions(caster, samples, cameras, texels, texels_per_pixel) if texels_per_pixel > 0 else fine
    textures = scale * (read_textures(pictures, texels) if pictures else random_textures(objects, texture_seed, texels))
    # Rows of these textures go up with v, as rows of a picture file do not.
    objects_seen = shown @ textures[:, :, texels - 1 - places[:, 1], places[:, 2]].reshape(-1, len(places)).T
    seen = objects_seen.reshape(views, size, size, len(textures), 3).permute(0, 3, 4, 1, 2).contiguous()
    return Bed(cameras, looked_up(coarse)[0], seen, spread * scale)


def panorama_bed(strips: Tensor, windows: int, size: int, spread: float) -> Bed:
    """One of K strips [K, 3, size, 8 size], seen through evenly spread square windows."""
    cylinder = CylinderDiffrep((3, size, size), windows)
    seen = cylinder.matrix() @ strips.permute(2, 3, 0, 1).reshape(size * 8 * size, -1)
    pictures = seen.reshape(windows, size, size, len(strips), 3).permute(0, 3, 4, 1, 2).contiguous()
    return Bed(None, cylinder.matrix(), pictures, spread)


def random_textures(count: int, seed: int, height: int, width: int | None = None) -> Tensor:
    """[K, 3, height, width] a random base colour each, and a smooth pattern; square when no width is given."""
    width = width or height
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(count, 3, 1, 1, generator=generator) * 2 - 1
    coarse = torch.randn(count, 3, 8, 8 * width // height, generator=generator)
    return base + 0.5 * torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")


def read_textures(paths: list[Path], texels: int) -> Tensor:
    """[K, 3, T, T] pictures in [-1, 1]."""
    pictures = [np.asarray(Image.open(path).convert("RGB").resize((texels, texels))) for path in paths]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def load(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [N, 3] (Z-up, centred, longest side 1), faces [F, 3], and a UV for each face corner [F, 3, 2]."""
    loaded: Any = trimesh.load(path, process=False, force="mesh")
    vertices = np.asarray(loaded.vertices)[:, [0, 2, 1]] * [1, -1, 1]
    faces, uv = np.asarray(loaded.faces), getattr(loaded.visual, "uv", None)
    if uv is None:
        import xatlas

        mapping, faces, uv = xatlas.parametrize(vertices, faces)
        vertices = vertices[mapping]
    return centred(vertices), faces, np.asarray(uv)[faces]


def centred(vertices: np.ndarray) -> np.ndarray:
    low, high = vertices.min(0), vertices.max(0)
    return (vertices - (low + high) / 2) / (high - low).max()


def branched_mesh() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A thin, branched body: a capsule on four legs with a neck, unwrapped."""
    import xatlas

    def bar(start: tuple[float, ...], end: tuple[float, ...], radius: float) -> Any:
        return trimesh.creation.capsule(
            height=math.dist(start, end), radius=radius, count=(12, 12), transform=_between(start, end)
        )

    legs = [bar((x, y, 0.0), (x * 1.3, y * 1.3, -0.55), 0.06) for x in (-0.12, 0.12) for y in (-0.3, 0.3)]
    parts = [bar((0, -0.3, 0), (0, 0.3, 0), 0.17), bar((0, -0.35, 0.05), (0, -0.55, 0.5), 0.08), *legs]
    body = trimesh.util.concatenate(parts)
    mapping, faces, uv = xatlas.parametrize(body.vertices, body.faces)
    return centred(body.vertices[mapping]), faces, uv[faces]


def closed_mesh() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A closed, lumpy ball, unwrapped."""
    import xatlas

    ball = trimesh.creation.icosphere(4)
    x, y, z = ball.vertices.T
    ball.vertices *= (1 + 0.2 * np.sin(4 * x + 1) * np.cos(3 * y) + 0.1 * np.sin(5 * z))[:, None]
    mapping, faces, uv = xatlas.parametrize(ball.vertices, ball.faces)
    return centred(ball.vertices[mapping]), faces, uv[faces]


def _between(start: tuple[float, ...], end: tuple[float, ...]) -> np.ndarray:
    axis = np.subtract(end, start)
    matrix = trimesh.geometry.align_vectors([0, 0, 1], axis / np.linalg.norm(axis))
    matrix[:3, 3] = start
    return matrix


def as_mesh(name: str, vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray) -> Mesh:
    """The engine's mesh, of one part."""
    corners = np.arange(faces.size).reshape(-1, 3)
    part = Part(name, name, "", vertices, np.asarray(faces, np.int64), np.asarray(uv, float), corners, faces.size)
    return Mesh(Path(name), (part,), Z_UP_TO_WORLD)
