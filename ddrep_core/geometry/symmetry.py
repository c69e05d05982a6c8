"""Meshes that are their own mirror image: places on one side share the texels of their partners on the other.

What is looked up on the far side of the plane is looked up at the partner instead (`Symmetry.folded`), so that a
texture has no texels for that side at all: f(θ) = A S θ with S such a look-up, whatever views there are. What is stored
is written there at the end (`Mirrored`): a texel on the far side is the bilinear look-up at its partner, in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ddrep_core.errors import RequestError
from ddrep_core.geometry.mesh import Float, Int, Mesh
from ddrep_core.geometry.raycast import RayCaster, ray_caster
from ddrep_core.geometry.texel_graph import nearest_pixels
from ddrep_core.geometry.texels import Texels, rasterize, to_texel_space

AXES = ("x", "y", "z")
REACHES = (1e-5, 3e-4, 3e-3)
"""How far a partner may lie from the mirror image of a place, as shares of the mesh's size; the nearest are taken."""
ALIKE = 0.7  # the least cosine between a partner's normal and the mirrored one
LEAST_SHARE = 0.25  # of the far side that must have partners, for a mesh to count as symmetric
PROBES = 4000
PIECE = 1_000_000
LEAST_WEIGHT = 1e-6  # of the texels that a place is looked up among
SAME_TEXEL = 1e-3  # of a texel: so near to another's middle, it is that one


@dataclass(frozen=True)
class Symmetry:
    """A mirror plane.

    Attributes:
        axis: 0, 1 or 2: the world's axis that is turned round.
        offset: where on it the plane is. The side above it has the texels.
    """

    axis: int
    offset: float

    def mirrored(self, vectors: Float) -> Float:
        """[N, 3] directions, in the mirror."""
        found = np.array(vectors)
        found[..., self.axis] *= -1
        return found

    def reflected(self, points: Float) -> Float:
        """[..., 3] places, in the mirror."""
        found = np.array(points)
        found[..., self.axis] = 2 * self.offset - found[..., self.axis]
        return found

    def far(self, points: Float) -> NDArray[np.bool_]:
        """[N] which places are on the side that takes its texels from the other."""
        return points[..., self.axis] < self.offset

    def partners(self, caster: RayCaster, places: Float, normals: Float) -> tuple[Int, Float]:
        """What lies in the mirror of places, on the other side of it.

        Args:
            places, normals: [N, 3] on the surface.

        Returns:
            The face [N] of each partner, -1 where there is none, and where in that face it is, barycentric [N, 3].
        """
        mesh = caster.mesh
        face, barycentric = np.full(len(places), -1), np.zeros((len(places), 3))
        textured = np.array([part.textured for part in mesh.parts])[mesh.part_of_face]
        size = float(np.linalg.norm(mesh.bounds[1] - mesh.bounds[0]))
        left = np.arange(len(places))
        for reach in REACHES:
            images, towards = self.reflected(places[left]), self.mirrored(normals[left])
            hits = caster.cast(images + reach * size * towards, -towards)
            near = hits.hit & (hits.distance <= 2 * reach * size)
            alike = np.einsum("ij,ij->i", caster.face_normals[hits.face], towards)
            alike = np.abs(alike) if mesh.both_sides else alike
            found = near & (alike >= ALIKE) & textured[hits.face]
            met = np.einsum("nk,nkj->nj", hits.barycentric, mesh.triangles[hits.face])
            found &= self.far(met) != self.far(places[left])
            face[left[found]], barycentric[left[found]] = hits.face[found], hits.barycentric[found]
            left = left[~found]
            if not len(left):
                break
        return face, barycentric

    def folded(self, caster: RayCaster, face: Int, barycentric: Float) -> tuple[Int, Float, NDArray[np.bool_]]:
        """Where places on the surface have their texels.

        Args:
            face: [N] through all parts; barycentric: [N, 3].

        Returns:
            Faces [N], barycentric [N, 3], and [N] which of them are partners of what was asked for.
        """
        mesh = caster.mesh
        face, barycentric = np.array(face), np.array(barycentric)
        moved = np.zeros(len(face), bool)
        for first in range(0, len(face), PIECE):
            own = slice(first, first + PIECE)
            places = np.einsum("nk,nkj->nj", barycentric[own], mesh.triangles[face[own]])
            far = first + np.flatnonzero(self.far(places))
            found, weights = self.partners(caster, places[far - first], caster.face_normals[face[far]])
            has = found >= 0
            face[far[has]], barycentric[far[has]], moved[far[has]] = found[has], weights[has], True
        return face, barycentric, moved


def symmetry_of(mesh: Mesh, axis: str) -> tuple[Mesh, float]:
    """The mesh as its own mirror image about the world's origin or its own middle: whichever more of it agrees with.

    Args:
        axis: x, y or z, of the world: x is left and right of what faces -Y.

    Returns:
        The mesh with its `symmetry`, and the share of the far side's surface, 0..1, that has partners.

    Raises:
        RequestError: next to nothing of it is symmetric about that axis.
    """
    number = AXES.index(axis)
    found: list[tuple[float, Symmetry]] = []
    for offset in dict.fromkeys((0.0, float(mesh.bounds[:, number].mean()))):
        symmetry = Symmetry(number, offset)
        found.append((_share(mesh, symmetry), symmetry))
    share, symmetry = max(found, key=lambda each: each[0])
    if share < LEAST_SHARE:
        others = " or ".join(each for each in AXES if each != axis)
        raise RequestError(
            f"{mesh.path.name} is not symmetric about {axis}: {share:.0%} of one side has a partner on the other.",
            f"The axes are the world's, Z up and -Y the front. Try {others}, or leave --symmetry out.",
        )
    return replace(mesh, symmetry=symmetry), share


def _share(mesh: Mesh, symmetry: Symmetry) -> float:
    """How much of the textured surface on the far side has a partner; 0 where nothing is there."""
    caster = ray_caster(mesh)
    generator = np.random.default_rng(0)
    textured = np.array([part.textured for part in mesh.parts])[mesh.part_of_face]
    edges = mesh.triangles[:, 1:] - mesh.triangles[:, :1]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) * textured
    face = generator.choice(len(area), PROBES, p=area / area.sum())
    barycentric = generator.dirichlet((1.0, 1.0, 1.0), PROBES)
    places = np.einsum("nk,nkj->nj", barycentric, mesh.triangles[face])
    far = symmetry.far(places)
    if not far.any():
        return 0.0
    return float((symmetry.partners(caster, places[far], caster.face_normals[face[far]])[0] >= 0).mean())


class Mirrored:
    """The texels of a mesh's textures that are written from their partners.

    Args:
        mesh: with a `symmetry`.
        resolution: T of the textures.

    Attributes:
        far: how many texels lie on the far side of the plane, in all textures.
        shared: how many of these have a partner. The others are their own.
    """

    def __init__(self, mesh: Mesh, resolution: int) -> None:
        assert mesh.symmetry is not None
        symmetry, caster, total = mesh.symmetry, ray_caster(mesh), 0
        self._textures: dict[str, _Own] = {}
        faces, places, self.far, self.shared = [], [], 0, 0
        for number, part in enumerate(mesh.parts):
            if not part.textured:
                continue
            texels = rasterize(part, resolution)
            self._textures[part.name] = _Own(number, texels, total, _nearest(texels))
            total += len(texels.index)
            face = mesh.face_starts[number] + texels.face
            partner, barycentric, moved = symmetry.folded(caster, face, texels.barycentric(part))
            faces.append(np.where(moved, partner, -1))
            places.append(np.einsum("nk,nkj->nj", barycentric, mesh.uv[partner]))
            self.far += int(symmetry.far(texels.positions(part)).sum())
            self.shared += int(moved.sum())
        face, uv = np.concatenate(faces), np.concatenate(places)
        written = face >= 0
        owner = np.where(written, mesh.part_of_face[face], -1)
        rows, columns, values = [], [], []
        for own in self._textures.values():
            asked = np.flatnonzero(owner == own.part)
            row, column, weight = _bilinear(uv[asked], resolution)
            node = own.start + own.nearest[row, column]
            rows.append(np.repeat(asked, 4))
            columns.append(node.reshape(-1))
            values.append(np.where(written[node], 0.0, weight).reshape(-1))
        places_of = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        matrix = sparse.coo_array(places_of, shape=(total, total)).tocsr()
        sums = np.asarray(matrix.sum(axis=1)).reshape(-1)
        # Nearer to the plane than a texel, or where the texture itself folds both sides into one, they stay.
        self._written = written & (sums > LEAST_WEIGHT)
        scale = np.where(self._written, 1 / np.where(self._written, sums, 1.0), 0.0)
        self._matrix = sparse.csr_array(matrix.multiply(scale[:, None]))

    def write(self, images: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
        """[T, T, C] bytes by part name -> the same with what partners wear in its place, and around the islands."""
        values = self._values(images)
        copied = np.rint(self._matrix @ values.astype(np.float64)).astype(np.uint8)
        return self._with(images, np.where(self._written[:, None], copied, values))

    def spread(self) -> sparse.csr_array:
        """S [N, N]: all texels of the textures, one after another, from those that are their own."""
        return sparse.csr_array(self._matrix + sparse.diags_array((~self._written).astype(np.float64)))

    def write_marks(self, images: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
        """[T, T] bytes that are no colours, by part name: each place has its nearest partner's."""
        matrix = self._matrix
        values = self._values({name: image[..., None] for name, image in images.items()})
        heaviest = np.zeros(len(values), np.int64)
        filled = np.flatnonzero(np.diff(matrix.indptr))
        row = np.repeat(np.arange(len(values)), np.diff(matrix.indptr))
        order = np.lexsort((np.negative(matrix.data), row))
        heaviest[filled] = matrix.indices[order[matrix.indptr[filled]]]
        values = np.where(self._written[:, None], values[heaviest], values)
        found = self._with({name: image[..., None] for name, image in images.items()}, values, around=False)
        return {name: image[..., 0] for name, image in found.items()}

    def _values(self, images: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """[N, C] of the texels on the surface."""
        flat = [_flat(images[name])[own.texels.index] for name, own in self._textures.items()]
        return np.concatenate(flat)

    def _with(
        self, images: Mapping[str, NDArray[np.uint8]], values: NDArray[np.uint8], around: bool = True
    ) -> dict[str, NDArray[np.uint8]]:
        found = {}
        for name, own in self._textures.items():
            mine = slice(own.start, own.start + len(own.texels.index))
            image, colours = _flat(images[name]).copy(), values[mine]
            image[own.texels.index] = colours
            if around:
                nearest = own.nearest.reshape(-1)
                outside = np.flatnonzero(self._written[mine][nearest] & ~own.texels.mask.reshape(-1))
                image[outside] = colours[nearest[outside]]
            found[name] = image.reshape(images[name].shape)
        return found


@dataclass(frozen=True)
class _Own:
    """A texture's texels: its part's number, the texels, the first one's number, and [T, T] the nearest to a pixel."""

    part: int
    texels: Texels
    start: int
    nearest: NDArray[np.int32]


def _flat(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image.reshape(-1, image.shape[-1])


def _nearest(texels: Texels) -> NDArray[np.int32]:
    """[T, T] the position among a texture's texels of the nearest one to each pixel."""
    size = texels.resolution
    number = np.zeros(size * size, np.int32)
    number[texels.index] = np.arange(len(texels.index))
    if not len(texels.index):
        return number.reshape(size, size)
    return number.reshape(size, size)[nearest_pixels(texels.mask)]


def _bilinear(uv: Float, resolution: int) -> tuple[Int, Int, Float]:
    """Row, column and weight [N, 4] of the texels around each UV [N, 2]."""
    at = to_texel_space(uv, resolution) - 0.5
    at = np.where(np.abs(at - np.rint(at)) < SAME_TEXEL, np.rint(at), at)
    low = np.floor(at).astype(np.int64)
    right, down = (at - low).T
    weight = np.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], axis=1)
    columns, rows = low[:, :1] + np.array([0, 1, 0, 1]), low[:, 1:] + np.array([0, 0, 1, 1])
    return rows % resolution, columns % resolution, weight
