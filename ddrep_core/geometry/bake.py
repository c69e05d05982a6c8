"""From pictures of a mesh to its texture: least squares under the rays that draw it, smooth where nothing is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import sparse
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.geometry.footprints import PAINTS, ViewSamples, view_samples
from ddrep_core.geometry.mesh import Float, Int, Mesh
from ddrep_core.geometry.multigrid import Multigrid, conjugate_gradient
from ddrep_core.geometry.raycast import RayCaster, ray_caster
from ddrep_core.geometry.refine import finer
from ddrep_core.geometry.scan import gathered
from ddrep_core.geometry.symmetry import Mirrored
from ddrep_core.geometry.texel_graph import PartTexels, TexelGraph, nearest_pixels, texel_graph
from ddrep_core.geometry.texels import covered_share, texel_samples
from ddrep_core.pictures import quick_png_bytes, to_uint8
from ddrep_core.progress import Progress, counted, portion, unheard
from ddrep_core.views import Views

SEEN, FILLED, OUTSIDE = 255, 128, 0  # values of a coverage map
# Pixels on a silhouette count this much: what is sampled never keeps to the outline exactly, so they are trusted only
# where the surface is too thin to show anything else.
STRADDLING = 0.02
MOST_TEXELS = 4096**2
"""Solving for more takes over 6 GB; for this many, on the surface of all parts together, under 5."""
TEXELS_PER_PIXEL, ENOUGH_TEXELS = 4, 2_000_000  # where there are more: what is solved for instead
# Of so many textures each is a few pixels of the pictures: more than this to a pixel would only cost time.
MANY_TEXTURES, TEXELS_PER_PIXEL_OF_MANY = 64, 16
LEAST_RESOLUTION = 16
BYTES_PER_TEXEL, BYTES_PER_RAY = 270, 90  # while textures are solved for
# A texel of every texture, the same where it is kept in 8 bits, and of the one that is being made and written.
BYTES_PER_DELIVERED, BYTES_PER_INTERPOLATED, BYTES_FOR_ONE = 28, 6, 56
BYTES_PER_FACE = 1500
PLACES = 200_000  # that cameras are asked about at a time: hundreds of small parts are as quick as one large one
PAINTED = 0.1  # of what texels commonly weigh in the views that paint them: below, others paint them
TOLERANCE = 3e-3  # of the error's energy norm when all texels have one colour
RAYS_ACROSS = 768  # a picture, so that small pictures touch all texels behind their pixels


@dataclass(frozen=True)
class BakedTexture:
    """The texture of one part.

    Args:
        image: [3, T, T] sRGB in [0, 1]; islands are padded outward to their nearest neighbours. As bytes where it was
            interpolated: of what is that large, nothing finer is kept.
        coverage: [T, T] bytes: 255 where a view painted, 128 where it was filled in, 0 outside the islands.
    """

    image: Tensor
    coverage: NDArray[np.uint8]

    @property
    def texture(self) -> Tensor:
        """[3, T, T] sRGB in [0, 1]."""
        return self.image / 255 if self.in_bytes else self.image

    @property
    def in_bytes(self) -> bool:
        """Whether the texture is kept in 8 bits."""
        return self.image.dtype == torch.uint8

    def pixels(self) -> NDArray[np.uint8]:
        """[T, T, 3] sRGB in 8 bits."""
        return self.image.permute(1, 2, 0).contiguous().numpy() if self.in_bytes else to_uint8(self.image)

    @property
    def coverage_share(self) -> float:
        """How much of the islands some view painted, 0..1."""
        inside = self.coverage != OUTSIDE
        return float((self.coverage == SEEN).sum() / max(int(inside.sum()), 1))

    def save(self, texture_path: str | Path, coverage_path: str | Path | None = None) -> None:
        """Write the PNG files: the texture sRGB, the coverage map linear."""
        if self.in_bytes:
            Path(texture_path).write_bytes(quick_png_bytes(self.pixels()))
            if coverage_path is not None:
                Path(coverage_path).write_bytes(quick_png_bytes(self.coverage))
            return
        Image.fromarray(self.pixels()).save(texture_path)
        if coverage_path is not None:
            Image.fromarray(self.coverage).save(coverage_path)


@dataclass(frozen=True)
class Worn:
    """What a part wears already.

    Args:
        picture: [T, T, 3] sRGB in 8 bits.
        kept: [T, T] booleans: texels that stay as they are, to the last bit, inside the islands and outside.
    """

    picture: NDArray[np.uint8]
    kept: NDArray[np.bool_]

    def at(self, resolution: int) -> Worn:
        """The same at another resolution, a coarser texel kept where all of it is."""
        if resolution == len(self.picture):
            return self
        box, size = Image.Resampling.BOX, (resolution, resolution)
        share = np.asarray(Image.fromarray(self.kept.astype(np.float32)).resize(size, box))
        return Worn(np.array(Image.fromarray(self.picture).resize(size, box)), share > 1 - 1e-4)


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
        importance: [V, H, W] how much each pixel counts beside; all the same when not given.
        worn: of some parts, what they wear already, each T x T. What of it is kept is no unknown: the rest is solved
            for given it, and goes on from it smoothly.
        most_texels: textures that have more between them are solved for at a lower resolution that still has several
            texels to a pixel, and interpolated along the surface (`geometry.refine`).
        progress: told what share of this is done.

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
        importance: NDArray[np.float32] | None = None,
        worn: Mapping[str, Worn] | None = None,
        most_texels: int = MOST_TEXELS,
        progress: Progress = unheard,
    ) -> None:
        self.mesh = mesh
        self.view_size = view_size
        height, width = view_size
        self.resolution = resolution
        solved = solving_resolution(mesh, resolution, len(views) * height * width, most_texels)
        graph = texel_graph(mesh, solved, portion(progress, 0, 0.4))
        self.graph: TexelGraph = graph
        if not self.graph.node_count:
            raise RequestError(f"A texture of {resolution} texels is too coarse for the UVs of {mesh.path.name}.")
        self.worn = dict(worn or {})
        self._given, self._kept = self._texels_of(self.worn)
        self.mirrored = None if mesh.symmetry is None else Mirrored(mesh, resolution)
        caster = ray_caster(mesh)
        subsamples = subsamples_of(view_size)
        blocks, weights, shares, nearest = [], [], [], []
        for camera in counted(views, portion(progress, 0.4, 0.65)):
            samples = view_samples(caster, camera, width, height, subsamples)
            blocks.append(_view_matrix(self.graph, mesh, samples, facing_power))
            weights.append(np.full(height * width, camera.weight))
            shares.append(samples.share)
            nearest.append(_nearest_background(samples))
        self._matrix = sparse.vstack([block for block, _ in blocks]).tocsr()
        if mesh.symmetry is not None:  # beside the plane a look-up reads texels of both sides
            own = self.mirrored if solved == resolution and self.mirrored else Mirrored(mesh, solved)
            self._matrix = sparse.csr_array(self._matrix @ own.spread().astype(np.float32))
        self._share = np.stack(shares).astype(np.float32)
        self._background = np.stack(nearest)
        weight = np.concatenate(weights) * np.concatenate([facing for _, facing in blocks])
        # Where a view has no pixel of pure background, its silhouette cannot be told from what lies behind.
        unknown = np.repeat((self._background < 0).any(axis=1), height * width)
        weight[unknown & (self._share.reshape(-1) < 1)] = 0
        weight[self._share.reshape(-1) < 1] *= STRADDLING
        if importance is not None:
            weight *= importance.reshape(-1)
        self._weight = weight.astype(np.float32)[:, None]
        self._transposed = self._matrix.T.tocsr()
        density = self._transposed @ (self._weight[:, 0] * self._share.reshape(-1))
        self.seen = self._seen(caster, views, portion(progress, 0.65, 0.8))
        if not self.seen.any():
            raise RequestError("No camera sees the mesh straight enough to paint it.", "Move the cameras around it.")
        mu = smoothness * float(np.median(self._weight[self._weight > 0]))
        self._tie = 1e-5 * mu  # to the mean colour: only islands that nothing else reaches feel it
        self._density = float(density.sum())
        stiff, scaled = graph.laplacian, (mu * graph.laplacian.data).astype(np.float32)
        self._laplacian = sparse.csr_array((scaled, stiff.indices, stiff.indptr), shape=stiff.shape)
        self.graph = replace(graph, laplacian=self._laplacian)  # the one in double precision is not needed any more
        del graph, stiff, scaled
        self._diagonal = (density + self._tie).astype(np.float32)

    @cached_property
    def _multigrid(self) -> Multigrid:
        """Made when something is first solved for: who only draws wants none."""
        return Multigrid((self._laplacian + sparse.diags_array(self._diagonal)).tocsr(), self.graph.aggregates)

    def _seen(self, caster: RayCaster, views: Views, progress: Progress) -> NDArray[np.bool_]:
        """[N] which texels some camera with a weight sees straight enough to paint; asked once for 2 x 2 texels.

        A texel that several faces share is seen where any of them is.
        """
        block, mirror = self.graph.aggregates(1), self.mesh.symmetry
        _, chosen = np.unique(block, return_index=True)
        asked = np.zeros(len(block), bool)
        asked[chosen] = True
        seen = np.zeros(len(block), bool)
        for node, places, normals in gathered(self._places(caster, asked, progress), PLACES):
            if mirror is not None:  # a texel is seen in its partner's place, too
                has = mirror.partners(caster, places, normals)[0] >= 0
                node, there = np.concatenate([node, node[has]]), mirror.reflected(places[has])
                turned = mirror.mirrored(normals[has])
                places, normals = np.concatenate([places, there]), np.concatenate([normals, turned])
            for camera in views:
                if camera.weight > 0 and len(node):
                    visible = caster.visible(camera, places, normals, least_cosine=PAINTS)
                    seen[node[visible]] = True
                    left = ~seen[node]
                    node, places, normals = node[left], places[left], normals[left]
        return seen[chosen][block]

    def _places(
        self, caster: RayCaster, asked: NDArray[np.bool_], progress: Progress
    ) -> Iterator[tuple[Int, Float, Float]]:
        """Node [M], place [M, 3] and normal [M, 3] of all faces over the texels that are asked for, some at a time."""
        starts = dict(zip((part.name for part in self.mesh.parts), self.mesh.face_starts, strict=False))
        for entry in counted(self.graph.parts, progress):
            part, own = entry.part, slice(entry.start, entry.start + entry.count)
            for texel, face, weights in texel_samples(part, entry.texels, asked[own]):
                places = np.einsum("nk,nkj->nj", weights, part.triangles[face])
                yield entry.start + texel, places, caster.face_normals[starts[part.name] + face]

    def bake(
        self, images: Tensor, progress: Progress = unheard, *, near: Mapping[str, NDArray[np.uint8]] | None = None
    ) -> dict[str, BakedTexture]:
        """The textures, by part name.

        Args:
            images: [V, 3, H, W] sRGB in [0, 1], one a camera.
            progress: told what share of this is done.
            near: [T, T, 3] by part name, sRGB: textures that are near these already, from which they are found sooner.
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
            image = self._transposed @ (self._weight * (self._matrix @ x))
            image += self._laplacian @ x
            image += self._tie * x
            return image

        rhs += self._tie * mean
        plain = np.broadcast_to(mean, rhs.shape).astype(np.float32)
        solved = 0.7 if self.graph.resolution == self.resolution else 0.4
        finding = portion(progress, 0, solved)
        values = self._solve(apply, rhs, plain, None if near is None else self._colours_of(near), finding)
        np.clip(values, 0.0, 1.0, out=values)
        delivering = counted(self.graph.parts, portion(progress, solved, 1))
        return self._mirror({part.part.name: self._texture(part, values) for part in delivering})

    def settled(self, baked: dict[str, BakedTexture]) -> dict[str, BakedTexture]:
        """Textures whose colours were changed, with what holds by construction put right: mirrored, and kept."""
        mirrored = self._mirror(baked)
        return {part.part.name: self._wearing(part, mirrored[part.part.name]) for part in self.graph.parts}

    def _mirror(self, baked: dict[str, BakedTexture]) -> dict[str, BakedTexture]:
        """With what partners wear behind the mesh's mirror plane, in stored bytes: there is no difference left."""
        if self.mirrored is None:
            return baked
        pixels = self.mirrored.write({name: texture.pixels() for name, texture in baked.items()})
        coverage = self.mirrored.write_marks({name: texture.coverage for name, texture in baked.items()})
        return {
            name: BakedTexture(torch.from_numpy(image).permute(2, 0, 1), coverage[name])
            for name, image in pixels.items()
        }

    def _solve(
        self,
        apply: Callable[[NDArray], NDArray],
        rhs: NDArray,
        plain: NDArray[np.float32],
        near: NDArray[np.float32] | None,
        progress: Progress,
    ) -> NDArray[np.float32]:
        """[N, C] the colours of all texels; those that are kept are no unknowns.

        Args:
            plain: [N, C] from where they are found, and from whose error it is told how well they are.
            near: [N, C] from where they are found sooner.
        """
        if not self._kept.any():
            return _found(apply, rhs, plain, near, self._multigrid, progress)
        free = ~self._kept
        given = np.where(free, np.float32(0), self._given)
        values = _found(
            lambda x: apply(x) * free,
            (rhs - apply(given)) * free,
            plain * free,
            None if near is None else near * free,
            lambda residual: self._multigrid(residual) * free,
            progress,
        )
        return values + given

    def _colours_of(self, pictures: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.float32]:
        """[N, 3] what texels show."""
        nothing = np.zeros((self.resolution, self.resolution), bool)
        return self._texels_of({name: Worn(picture, nothing) for name, picture in pictures.items()})[0]

    def _texels_of(self, worn: Mapping[str, Worn]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """[N, 3] what texels wear, 0 where nothing is said; and [N, 1] which of them are kept."""
        kept = np.zeros((self.graph.node_count, 1), bool)
        colours = np.zeros((self.graph.node_count, 3), np.float32)
        for part in self.graph.parts:
            if each := worn.get(part.part.name):
                each, own = each.at(self.graph.resolution), slice(part.start, part.start + part.count)
                kept[own, 0] = each.kept.reshape(-1)[part.texels.index]
                colours[own] = each.picture.reshape(-1, 3)[part.texels.index] / np.float32(255)
        return colours, kept

    def drawn(self, worn: Mapping[str, Worn]) -> tuple[Tensor, Tensor, Tensor]:
        """How the views see what parts wear.

        Returns:
            [V, 3, H, W] colours of the textured share of each pixel, times that share; [V, 1, H, W] that share; and
            [V, 1, H, W] the share of each pixel that looks at kept texels.
        """
        height, width = self.view_size
        together = np.concatenate(self._texels_of(worn), axis=1).astype(np.float32)
        seen = torch.from_numpy(self._matrix @ together).reshape(-1, height, width, 4).permute(0, 3, 1, 2)
        return seen[:, :3], self.share, seen[:, 3:]

    def looking_at(self, numbers: Sequence[int]) -> Tensor:
        """[V, 1, H, W] the share of each view's pixels that looks at texels which some of the views (these) paint."""
        height, width = self.view_size
        chosen = np.zeros((len(self._share), height * width), np.float32)
        chosen[list(numbers)] = 1
        painted = self._transposed @ (self._weight[:, 0] * chosen.reshape(-1))
        typical = float(np.median(painted[painted > 0])) if (painted > 0).any() else 1.0
        seen = self._matrix @ (painted > PAINTED * typical).astype(np.float32)
        return torch.from_numpy(seen).reshape(-1, 1, height, width)

    @property
    def share(self) -> Tensor:
        """[V, 1, H, W] how much of each pixel the textured parts cover."""
        return torch.from_numpy(self._share).reshape(-1, 1, *self.view_size)

    def _texture(self, part: PartTexels, values: NDArray[np.float32]) -> BakedTexture:
        size = self.graph.resolution
        if size < self.resolution:
            image, seen, inside = finer(part, size, values, self.seen, self.resolution)
            coverage = np.full(inside.shape, OUTSIDE, np.uint8)
            np.copyto(coverage, FILLED, where=inside)
            np.copyto(coverage, SEEN, where=seen)
            return self._wearing(part, BakedTexture(torch.from_numpy(image).permute(2, 0, 1), coverage))
        coverage = np.zeros(size * size, np.uint8)
        own = slice(part.start, part.start + part.count)
        coverage[part.texels.index] = np.where(self.seen[own], SEEN, FILLED)
        baked = BakedTexture(torch.from_numpy(self.graph.image(values, part)), coverage.reshape(size, size))
        return self._wearing(part, baked)

    def _wearing(self, part: PartTexels, baked: BakedTexture) -> BakedTexture:
        """With what is kept in its place: off the islands, and where a coarser texel was not kept as a whole, too."""
        if (worn := self.worn.get(part.part.name)) is None:
            return baked
        kept = torch.from_numpy(worn.kept)
        old = torch.from_numpy(worn.picture).permute(2, 0, 1)
        return replace(baked, image=torch.where(kept, old if baked.in_bytes else old / 255, baked.image))


def _found(
    apply: Callable[[NDArray], NDArray],
    rhs: NDArray,
    plain: NDArray[np.float32],
    near: NDArray[np.float32] | None,
    precondition: Callable[[NDArray], NDArray],
    progress: Progress,
) -> NDArray[np.float32]:
    """apply(x) = rhs, as well from `near` as from `plain`."""
    against = None
    if near is not None:
        residual = rhs - apply(plain)
        against = (residual * precondition(residual)).sum(axis=0)
    start = plain if near is None else near
    return conjugate_gradient(
        apply, rhs, start, precondition, TOLERANCE, most_iterations=40, against=against, progress=progress
    )


def solving_resolution(mesh: Mesh, resolution: int, pixels: int, most_texels: int = MOST_TEXELS) -> int:
    """The resolution at which the textures of a mesh's parts are solved for, at most the one that is delivered.

    It is lower where there are more than `most_texels`: still several texels to a pixel, at least two million in all
    (of more than `MANY_TEXTURES` textures no more than sixteen to a pixel).

    Args:
        resolution: T of the textures.
        pixels: of all pictures.
        most_texels: up to so many texels on the surface, this is T.
    """
    parts = mesh.textured_parts
    share = sum(covered_share(part) for part in parts)  # of one texture
    if share * resolution**2 <= most_texels:
        return resolution
    least = ENOUGH_TEXELS if len(parts) <= MANY_TEXTURES else min(TEXELS_PER_PIXEL_OF_MANY * pixels, ENOUGH_TEXELS)
    enough = min(max(TEXELS_PER_PIXEL * pixels, least), most_texels)
    return int(np.clip(np.sqrt(enough / share), LEAST_RESOLUTION, resolution))


def baking_bytes(mesh: Mesh, resolution: int, views: int, view_size: tuple[int, int]) -> int:
    """About how much memory baking takes at its most, with what is drawn of the result: docs/scale.md measures it.

    Args:
        resolution: T of the textures.
        views: how many pictures; view_size: their (height, width).
    """
    height, width = view_size
    parts = len(mesh.textured_parts)
    solved = solving_resolution(mesh, resolution, views * height * width)
    texels = sum(covered_share(part) for part in mesh.textured_parts) * solved**2
    rays = views * height * width * subsamples_of(view_size) ** 2
    solving = BYTES_PER_TEXEL * texels + BYTES_PER_RAY * rays + 4 * parts * solved**2
    each = BYTES_PER_DELIVERED if solved == resolution else BYTES_PER_INTERPOLATED
    delivering = (each * parts + BYTES_FOR_ONE) * resolution**2
    return int(max(solving, delivering) + BYTES_PER_FACE * len(mesh.faces))


def subsamples_of(view_size: tuple[int, int]) -> int:
    """Rays along a pixel's side."""
    return int(np.clip(RAYS_ACROSS // max(view_size), 2, 8))


def bake(
    images: Tensor,
    mesh: Mesh,
    views: Views,
    resolution: int = 1024,
    **options: Any,
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
    by_owner = np.argsort(owner, kind="stable")
    ends = np.searchsorted(owner[by_owner], np.arange(len(graph.parts)), side="right")
    own_samples = np.split(by_owner, ends[:-1])
    rows, columns, values = [], [], []
    share = np.float32(1 / samples.subsamples**2)
    for dy, dx, weight in (
        (0, 0, (1 - right) * (1 - down)),
        (0, 1, right * (1 - down)),
        (1, 0, (1 - right) * down),
        (1, 1, right * down),
    ):
        rows.append(samples.pixel)
        nodes = np.empty(len(row), np.int32)
        for part, own in zip(graph.parts, own_samples, strict=True):
            nodes[own] = part.nearest[(row[own] + dy) % size, (column[own] + dx) % size]
        columns.append(nodes)
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
