"""From pictures of a mesh to its texture: least squares under the rays that draw it, smooth where nothing is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import sparse
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.geometry.footprints import PAINTS, ViewSamples, view_samples
from ddrep_core.geometry.mesh import Int, Mesh
from ddrep_core.geometry.multigrid import Multigrid, conjugate_gradient
from ddrep_core.geometry.raycast import RayCaster
from ddrep_core.geometry.texel_graph import PartTexels, TexelGraph, nearest_pixels, texel_graph
from ddrep_core.pictures import to_uint8
from ddrep_core.views import Views

SEEN, FILLED, OUTSIDE = 255, 128, 0  # values of a coverage map
# Pixels on a silhouette count this much: what is sampled never keeps to the outline exactly, so they are trusted only
# where the surface is too thin to show anything else.
STRADDLING = 0.02
RAYS_ACROSS = 768  # a picture, so that small pictures touch all texels behind their pixels


@dataclass(frozen=True)
class BakedTexture:
    """The texture of one part.

    Args:
        texture: [3, T, T] sRGB in [0, 1]; islands are padded outward to their nearest neighbours.
        coverage: [T, T] bytes: 255 where a view painted, 128 where it was filled in, 0 outside the islands.
    """

    texture: Tensor
    coverage: NDArray[np.uint8]

    @property
    def coverage_share(self) -> float:
        """How much of the islands some view painted, 0..1."""
        inside = self.coverage != OUTSIDE
        return float((self.coverage == SEEN).sum() / max(int(inside.sum()), 1))

    def save(self, texture_path: str | Path, coverage_path: str | Path | None = None) -> None:
        """Write the PNG files: the texture sRGB, the coverage map linear."""
        Image.fromarray(to_uint8(self.texture)).save(texture_path)
        if coverage_path is not None:
            Image.fromarray(self.coverage).save(coverage_path)


class Baker:
    """Makes textures from pictures taken by fixed cameras; what depends on geometry alone is done once.

    The texture x minimises  Σ w (A x + background − picture)² + μ |∇x|²  over all texels of the surface. A draws the
    texture as the finished one will be drawn (bilinear, padded), averaged over each pixel; w is how straight on the
    surface is seen, times the camera's weight; the gradient is taken along the surface and across seams, so that
    texels between the rays, and those that no view sees, go on smoothly. Along the silhouette the pixel's share of
    background takes the colour of the nearest pixel that shows nothing else.

    Args:
        mesh: with UVs on all textured parts.
        views: V cameras.
        resolution: T of the textures.
        view_size: (height, width) of the pictures.
        smoothness: μ against the weight of a pixel. Detail as fine as a pixel costs about ten times this much, so
            that pictures which contradict each other are averaged instead of being met, all of them, by ripples finer
            than any of them shows.
        facing_power: w is the cosine to the surface to this power: views that look straight on decide.

    Raises:
        RequestError: no camera sees anything straight enough; a texture too coarse for any island.
    """

    def __init__(
        self,
        mesh: Mesh,
        views: Views,
        resolution: int,
        view_size: tuple[int, int],
        *,
        smoothness: float = 0.15,
        facing_power: float = 2.0,
    ) -> None:
        self.mesh = mesh
        self.view_size = view_size
        height, width = view_size
        self.graph: TexelGraph = texel_graph(mesh, resolution)
        if not self.graph.node_count:
            raise RequestError(f"A texture of {resolution} texels is too coarse for the UVs of {mesh.path.name}.")
        caster = RayCaster(mesh)
        subsamples = int(np.clip(RAYS_ACROSS // max(height, width), 2, 8))
        blocks, weights, shares, nearest = [], [], [], []
        for camera in views:
            samples = view_samples(caster, camera, width, height, subsamples)
            blocks.append(_view_matrix(self.graph, mesh, samples, facing_power))
            weights.append(np.full(height * width, camera.weight))
            shares.append(samples.share)
            nearest.append(_nearest_background(samples))
        self._matrix = sparse.vstack([block for block, _ in blocks]).tocsr()
        self._share = np.stack(shares).astype(np.float32)
        self._background = np.stack(nearest)
        weight = np.concatenate(weights) * np.concatenate([facing for _, facing in blocks])
        # Where a view has no pixel of pure background, its silhouette cannot be told from what lies behind.
        unknown = np.repeat((self._background < 0).any(axis=1), height * width)
        weight[unknown & (self._share.reshape(-1) < 1)] = 0
        weight[self._share.reshape(-1) < 1] *= STRADDLING
        self._weight = weight.astype(np.float32)[:, None]
        self._transposed = self._matrix.T.tocsr()
        density = self._transposed @ (self._weight[:, 0] * self._share.reshape(-1))
        self.seen = self._seen(caster, views)
        if not self.seen.any():
            raise RequestError("No camera sees the mesh straight enough to paint it.", "Move the cameras around it.")
        mu = smoothness * float(np.median(self._weight[self._weight > 0]))
        self._tie = 1e-5 * mu  # to the mean colour: only islands that nothing else reaches feel it
        self._density = float(density.sum())
        self._laplacian = (mu * self.graph.laplacian).astype(np.float32)
        system = self._laplacian + sparse.diags_array((density + self._tie).astype(np.float32))
        self._multigrid = Multigrid(system.tocsr(), self.graph.aggregates)

    def _seen(self, caster: RayCaster, views: Views) -> NDArray[np.bool_]:
        """[N] which texels some camera with a weight sees straight enough to paint; asked once for 2 x 2 texels.

        A texel that several faces share is seen where any of them is.
        """
        block = self.graph.aggregates(1)
        _, chosen = np.unique(block, return_index=True)
        asked = np.zeros(len(block), bool)
        asked[chosen] = True
        nodes, places, normals = [], [], []
        starts = dict(zip((part.name for part in self.mesh.parts), self.mesh.face_starts, strict=False))
        for part in self.graph.parts:
            first, also = starts[part.part.name], part.texels.also
            nodes += [part.start + np.arange(part.count), part.start + also.texel]
            places += [part.texels.positions(part.part), also.positions(part.part)]
            normals += [caster.face_normals[first + part.texels.face], caster.face_normals[first + also.face]]
        node = np.concatenate(nodes)
        wanted = asked[node]
        node, places, normals = node[wanted], np.concatenate(places)[wanted], np.concatenate(normals)[wanted]
        seen = np.zeros(len(block), bool)
        for camera in views:
            if camera.weight > 0:
                seen[node[caster.visible(camera, places, normals, least_cosine=PAINTS)]] = True
        return seen[chosen][block]

    def bake(self, images: Tensor) -> dict[str, BakedTexture]:
        """The textures, by part name.

        Args:
            images: [V, 3, H, W] sRGB in [0, 1], one a camera.
        """
        height, width = self.view_size
        if tuple(images.shape[2:]) != (height, width) or len(images) != len(self._share):
            raise RequestError(f"{len(self._share)} pictures of {width} x {height} are due, not {tuple(images.shape)}.")
        pictures = images.detach().to("cpu", torch.float32).clamp(0, 1).permute(0, 2, 3, 1)
        pictures = pictures.reshape(len(images), height * width, -1).numpy()
        behind = np.take_along_axis(pictures, np.maximum(self._background, 0)[..., None], axis=1)
        target = (pictures - (1 - self._share[..., None]) * behind).reshape(len(self._weight), -1)
        rhs = self._transposed @ (self._weight * target)
        mean = rhs.sum(axis=0) / self._density

        def apply(x: NDArray) -> NDArray:
            return self._transposed @ (self._weight * (self._matrix @ x)) + self._laplacian @ x + self._tie * x

        rhs += self._tie * mean
        start = np.broadcast_to(mean, rhs.shape).astype(np.float32)
        values = conjugate_gradient(apply, rhs, start, self._multigrid, tolerance=3e-3, most_iterations=40)
        values = np.clip(values, 0.0, 1.0)
        return {part.part.name: self._texture(part, values) for part in self.graph.parts}

    def _texture(self, part: PartTexels, values: NDArray) -> BakedTexture:
        size = self.graph.resolution
        image = self.graph.image(values, part)
        coverage = np.zeros(size * size, np.uint8)
        own = slice(part.start, part.start + part.count)
        coverage[part.texels.index] = np.where(self.seen[own], SEEN, FILLED)
        texture = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return BakedTexture(texture, coverage.reshape(size, size))


def bake(
    images: Tensor,
    mesh: Mesh,
    views: Views,
    resolution: int = 1024,
    **options: float,
) -> dict[str, BakedTexture]:
    """Textures from pictures: `Baker` for one use. [V, 3, H, W] sRGB in [0, 1] -> a texture by part name."""
    return Baker(mesh, views, resolution, (images.shape[2], images.shape[3]), **options).bake(images)


def coverage_share(textures: Mapping[str, BakedTexture]) -> float:
    """How much of all parts' islands some view painted, 0..1."""
    seen = sum(int((texture.coverage == SEEN).sum()) for texture in textures.values())
    return seen / max(sum(int((texture.coverage != OUTSIDE).sum()) for texture in textures.values()), 1)


def _view_matrix(
    graph: TexelGraph, mesh: Mesh, samples: ViewSamples, facing_power: float
) -> tuple[sparse.csr_array, NDArray[np.float32]]:
    """A [h * w, N] of one view over the graph's texels, and [h * w] how straight on each pixel is seen."""
    size = graph.resolution
    x, y = samples.uv[:, 0] * size - 0.5, (1 - samples.uv[:, 1]) * size - 0.5
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, down = (x - column).astype(np.float32), (y - row).astype(np.float32)
    owner = _part_numbers(mesh)[mesh.part_of_face[samples.face]]
    lookup = np.concatenate([part.nearest.reshape(-1) for part in graph.parts])
    rows, columns, values = [], [], []
    share = np.float32(1 / samples.subsamples**2)
    for dy, dx, weight in (
        (0, 0, (1 - right) * (1 - down)),
        (0, 1, right * (1 - down)),
        (1, 0, (1 - right) * down),
        (1, 1, right * down),
    ):
        rows.append(samples.pixel)
        columns.append(lookup[owner * size * size + (row + dy) % size * size + (column + dx) % size])
        values.append(weight * share)
    shape = (samples.width * samples.height, graph.node_count)
    matrix = sparse.coo_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    facing = samples.painting * np.clip(samples.cosine, 0, 1) ** facing_power
    pixels = shape[0]
    total = np.bincount(samples.pixel, facing, minlength=pixels)
    counts = np.bincount(samples.pixel, minlength=pixels)
    return matrix.tocsr(), (total / np.maximum(counts, 1)).astype(np.float32)


def _part_numbers(mesh: Mesh) -> Int:
    """[parts] the position of each part among the textured ones."""
    textured = np.array([part.textured for part in mesh.parts])
    return np.cumsum(textured) - 1


def _nearest_background(samples: ViewSamples) -> Int:
    """[h * w] the nearest pixel that shows nothing of the textured parts; -1 where there is none."""
    empty = (samples.share == 0).reshape(samples.height, samples.width)
    if not empty.any():
        return np.full(empty.size, -1, np.int64)
    y, x = nearest_pixels(empty)
    return (y * samples.width + x).reshape(-1).astype(np.int64)
