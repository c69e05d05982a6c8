"""Which surface places stand behind the pixels of a view: the one source of truth of drawing and of baking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ddrep_core.geometry.mesh import Float, Int
from ddrep_core.geometry.raycast import RayCaster
from ddrep_core.views import Camera

# Cosine between a ray and the surface: below the first a pixel does not paint, above the second it paints in full.
GRAZING = (0.1, 0.35)
PAINTS = 0.15  # above this cosine a place counts as seen


@dataclass(frozen=True)
class ViewSamples:
    """The rays of one view that meet a textured part.

    Args:
        width, height, subsamples: of the view; each pixel has subsamples² rays, all of equal weight.
        pixel: [N] row * width + column.
        face: [N] number of the face through all parts.
        uv: [N, 2] where in its texture.
        cosine: [N] how straight on it is seen; negative from behind.
        moved: [N] where the texture is a partner's, on the other side of the mesh's mirror plane; None: nowhere.
    """

    width: int
    height: int
    subsamples: int
    pixel: Int
    face: Int
    uv: Float
    cosine: Float
    moved: NDArray[np.bool_] | None = None

    @property
    def share(self) -> Float:
        """[height * width] how much of each pixel the textured parts cover, 0..1."""
        counts = np.bincount(self.pixel, minlength=self.width * self.height)
        return counts / self.subsamples**2

    @property
    def painting(self) -> Float:
        """[N] 0..1: how far each ray may paint; fades out where the surface is grazed, 0 where seen from behind."""
        low, high = GRAZING
        t = np.clip((self.cosine - low) / (high - low), 0.0, 1.0)
        return t * t * (3 - 2 * t)

    def pixel_weights(self) -> Float:
        """[height * width] the mean of `painting` over the textured share of each pixel; 1 where there is none."""
        size = self.width * self.height
        counts = np.bincount(self.pixel, minlength=size)
        sums = np.bincount(self.pixel, self.painting, minlength=size)
        return np.where(counts > 0, sums / np.maximum(counts, 1), 1.0)


def view_samples(caster: RayCaster, camera: Camera, width: int, height: int, subsamples: int) -> ViewSamples:
    """Look through a camera; one that sees nothing of what is to be textured has no rays here (`geometry.sight`)."""
    mesh = caster.mesh
    pixel, hits = caster.pixel_hits(camera, width, height, subsamples)
    keep = hits.hit.copy()
    textured = np.array([part.textured for part in mesh.parts])
    keep[keep] = textured[mesh.part_of_face[hits.face[keep]]]
    face, barycentric, moved = hits.face[keep], hits.barycentric[keep], None
    if mesh.symmetry is not None:
        face, barycentric, moved = mesh.symmetry.folded(caster, face, barycentric)
    uv = np.einsum("nk,nkj->nj", barycentric, mesh.uv[face])
    return ViewSamples(width, height, subsamples, pixel[keep], face, uv, hits.cosine[keep], moved)


def texel_densities(caster: RayCaster, samples: ViewSamples, camera: Camera) -> tuple[Int, Float]:
    """How finely a view resolves each face it sees: pixels of the view per unit of UV area.

    Returns:
        faces [M], each once (twice where it is seen in a mirror plane, too), and densities [M], zero where a face has
        no area in the texture or in the view.
    """
    mesh = caster.mesh
    if mesh.symmetry is None or samples.moved is None:
        face: NDArray[np.int64] = np.unique(samples.face)
        corners = mesh.triangles[face].reshape(-1, 3)
    else:  # a face may be seen itself, and in the mirror
        marked = np.unique(2 * samples.face + samples.moved)
        face, turned = marked // 2, marked % 2 == 1
        triangles = mesh.triangles[face]
        corners = np.where(turned[:, None, None], mesh.symmetry.reflected(triangles), triangles).reshape(-1, 3)
    scale = samples.width / camera.width, samples.height / camera.height
    pixels = camera.project(corners)[0].reshape(-1, 3, 2) * scale

    def area(triangles: Float) -> Float:
        a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
        return np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2

    in_view, in_texture = area(pixels), area(mesh.uv[face])
    good = np.isfinite(in_view) & (in_texture > 1e-14)
    return face, np.where(good, in_view / np.where(good, in_texture, 1.0), 0.0)
