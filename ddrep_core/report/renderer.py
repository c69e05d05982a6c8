"""Pictures of a textured mesh by ray casting: no display, no graphics driver, the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ddrep_core.geometry.bake import BakedTexture
from ddrep_core.geometry.kept import kept
from ddrep_core.geometry.mesh import Float, Int, Mesh
from ddrep_core.geometry.normals import crease_normals
from ddrep_core.geometry.raycast import ray_caster
from ddrep_core.geometry.texels import numbered, position_ids
from ddrep_core.pictures import to_linear, to_srgb
from ddrep_core.report.pyramid import Level, Sheets, pyramid_of
from ddrep_core.views import Camera

Single = NDArray[np.float32]

UNTEXTURED: Single = np.array([0.62, 0.62, 0.62], np.float32)  # sRGB of parts without a texture
BACKDROP: Single = np.array([0.93, 0.94, 0.95], np.float32)
KEY_LIGHT = np.array([-0.45, 0.55, 0.70])  # in the camera's axes: upper left, in front
KEY_STRENGTH, SKY, GROUND = 0.62, 0.62, 0.34  # how bright the key light is, and surfaces facing up and down
OCCLUSION_RAYS = 2_000_000
RAYS_AT_A_TIME = 100_000
SHADOW_GRID = 96


class Renderer:
    """Draws a mesh with its textures.

    Args:
        mesh: the mesh.
        textures: by part name, as baked or [3, T, T] sRGB; parts without one are grey.
    """

    def __init__(self, mesh: Mesh, textures: Mapping[str, BakedTexture | Tensor]) -> None:
        self.mesh = mesh
        self._caster = ray_caster(mesh)
        self._uv: Float = np.ascontiguousarray(np.nan_to_num(mesh.uv).transpose(1, 2, 0))  # [corners, 2, F]
        self._sheets = Sheets([pyramid_of(textures.get(part.name)) for part in mesh.parts])
        self._normals: Single | None = None
        self._occlusion: Single | None = None
        self._shadow: Single | None = None

    # --- as the prior sees it: bare colour ---------------------------------------------------------------------

    def flat(self, camera: Camera, width: int, height: int, subsamples: int = 2, background: float = 1.0) -> Single:
        """[height, width, 3] sRGB of the textures alone, without light."""
        pixel, origins, directions = self._rays(camera, width, height, subsamples)
        face, barycentric, _ = self._caster.cast_single(origins, directions)
        hit = face >= 0
        colors = self._texture(face[hit], barycentric[hit], self._footprint(camera, width, height))
        return _gather(pixel[hit], colors, width, height, subsamples, background)

    # --- as a person likes to see it: soft light, shadow on the ground -------------------------------------------

    def lit(self, camera: Camera, width: int, height: int) -> Single:
        """[height, width, 3] sRGB under a key light fixed to the camera and a bright sky; silhouettes are smoothed."""
        image, face = self._lit_rays(camera, width, height)
        # One ray a pixel is enough inside a face's own neighbourhood; edges get nine.
        edge = np.zeros(face.shape, bool)
        for axis in (0, 1):
            a, b = [slice(None)] * 2, [slice(None)] * 2
            a[axis], b[axis] = slice(None, -1), slice(1, None)
            first, second = tuple(a), tuple(b)
            differs = face[first] != face[second]
            both = differs & (face[first] >= 0) & (face[second] >= 0)
            differs[both] = self._is_edge(face[first][both], face[second][both])
            edge[first] |= differs
            edge[second] |= differs
        rows, columns = np.nonzero(edge)
        if len(rows):
            offsets = (np.arange(3) + 0.5) / 3
            dy, dx = np.meshgrid(offsets, offsets, indexing="ij")
            points = np.stack([columns[:, None] + dx.reshape(-1), rows[:, None] + dy.reshape(-1)], axis=-1)
            colors, _ = self._lit_points(camera, points.reshape(-1, 2), width, height)
            image[rows, columns] = colors.reshape(len(rows), 9, 3).mean(axis=1)
        return to_srgb(image)

    def _is_edge(self, first: Int, second: Int) -> NDArray[np.bool_]:
        """[N] whether two faces side by side look like two things: of two parts, or turned from each other."""
        part, normals = self.mesh.part_of_face, self._caster.face_normals
        (ax, ay, az), (bx, by, bz) = normals[first].T, normals[second].T
        return (part[first] != part[second]) | (ax * bx + ay * by + az * bz < 0.5)

    def _lit_rays(self, camera: Camera, width: int, height: int) -> tuple[Single, Int]:
        y, x = np.mgrid[0:height, 0:width] + 0.5
        colors, face = self._lit_points(camera, np.stack([x, y], axis=-1).reshape(-1, 2), width, height)
        return colors.reshape(height, width, 3), face.reshape(height, width)

    def _lit_points(self, camera: Camera, points: NDArray, width: int, height: int) -> tuple[Single, Int]:
        """Linear colour [N, 3] and face [N] behind picture points [N, 2]."""
        origins, directions = camera.rays(points, width, height)
        face, barycentric, _ = self._caster.cast_single(origins, directions)
        colors = np.empty((len(face), 3), np.float32)
        missed, hit = np.flatnonzero(face < 0), np.flatnonzero(face >= 0)
        colors[missed] = to_linear(BACKDROP) * self._ground_shadow(origins[missed], directions[missed])[:, None]
        where, weights = face[hit], barycentric[hit]
        albedo = to_linear(self._texture(where, weights, self._footprint(camera, width, height)))
        normals, occlusion = self._surface()
        normal = within(normals, where, weights)
        x, y, z = normal
        normal /= np.maximum(np.sqrt(x * x + y * y + z * z), 1e-9)
        dx, dy, dz = directions[hit].astype(np.float32).T
        towards = np.sign(-(dx * x + dy * y + dz * z))  # light both sides
        normal *= np.where(towards == 0, 1, towards)
        light = (camera.matrix_world[:3, :3] @ KEY_LIGHT).astype(np.float32)
        light /= np.linalg.norm(light)
        key = np.clip((np.ascontiguousarray(normal.T) @ light + 0.25) / 1.25, 0, 1)
        open_sky = within(occlusion[:, None], where, weights)[0]
        sky = (GROUND + (SKY - GROUND) * (0.5 + 0.5 * z)) * open_sky
        shade = sky + KEY_STRENGTH * key * (0.4 + 0.6 * open_sky)
        colors[hit] = albedo * shade[:, None]
        return colors, face

    # --- what both need --------------------------------------------------------------------------------------------

    def _rays(self, camera: Camera, width: int, height: int, subsamples: int) -> tuple[Int, Float, Float]:
        offsets = (np.arange(subsamples) + 0.5) / subsamples
        y, x, dy, dx = np.meshgrid(np.arange(height), np.arange(width), offsets, offsets, indexing="ij")
        points = np.stack([x + dx, y + dy], axis=-1).reshape(-1, 2)
        return (y * width + x).reshape(-1).astype(np.int64), *camera.rays(points, width, height)

    def _footprint(self, camera: Camera, width: int, height: int) -> float:
        """The world length that a pixel spans at the mesh's centre; before a camera that stands there or has it behind,
        at half the mesh's size."""
        centre = self.mesh.bounds.mean(axis=0)
        right, _, backward = (camera.matrix_world[:3, k] / np.linalg.norm(camera.matrix_world[:3, k]) for k in range(3))
        size = float(np.ptp(self.mesh.bounds, axis=0).max())
        if not camera.is_orthographic and (camera.position - centre) @ backward < 0.1 * size:
            centre = camera.position - backward * size / 2
        ends = camera.project(np.stack([centre, centre + right * size * 0.1]))[0] * (width / camera.width)
        return size * 0.1 / max(float(np.linalg.norm(ends[1] - ends[0])), 1e-6)

    def _texture(self, face: Int, barycentric: Single, footprint: float) -> Single:
        """[N, 3] sRGB: bilinear, from the level of detail that fits a pixel's footprint."""
        colors = np.empty((len(face), 3), np.float32)
        part = self.mesh.part_of_face[face]
        uv = within(self._uv, face, barycentric)
        sheet_of, page_of = np.full(len(self.mesh.parts), -1), np.zeros(len(self.mesh.parts), np.int64)
        sheets: list[tuple[int, int]] = []
        for number in np.flatnonzero(np.bincount(part, minlength=len(page_of))).tolist():
            pyramid = self._sheets.pyramids[number]
            if pyramid is None:
                continue
            texels = footprint / self._world_per_uv(number) * pyramid.resolution
            sheet, page_of[number] = self._sheets.find(number, int(np.floor(np.log2(max(texels, 1.0)))))
            if sheet not in sheets:
                sheets.append(sheet)
            sheet_of[number] = sheets.index(sheet)
        on_sheet = sheet_of[part]
        for number, sheet in enumerate(sheets):
            own = np.flatnonzero(on_sheet == number)
            colors[own] = _bilinear(self._sheets.level(sheet), uv[:, own], page_of[part[own]]).T
        colors[on_sheet < 0] = UNTEXTURED
        return colors

    def _world_per_uv(self, number: int) -> float:
        """The world length of one unit of a part's UVs, over its whole surface."""

        def make() -> float:  # over a million faces, for each of a hundred pictures
            own = slice(int(self.mesh.face_starts[number]), int(self.mesh.face_starts[number + 1]))
            triangles, uv = self.mesh.triangles[own], self._uv[..., own].transpose(2, 0, 1)
            edges, sides = triangles[:, 1:] - triangles[:, :1], uv[:, 1:] - uv[:, :1]
            world = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).sum()
            texture = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]).sum()
            return float(np.sqrt(world / max(texture, 1e-12)))

        return kept(self.mesh.parts[number], "world_per_uv", make)

    def _surface(self) -> tuple[Single, Single]:
        """Per corner: smooth normals [corners, 3, F] and how much of the sky is open [corners, F]. Made once."""
        if self._normals is None or self._occlusion is None:
            normals, occlusion = [], []
            for part in self.mesh.parts:
                own = part.normals if part.normals is not None else crease_normals(part)
                normals.append(own.astype(np.float32))
                # Numbered by the places that faces use: a vertex that no face uses has a place of its own.
                place = numbered(position_ids(part).reshape(-1))
                corner = np.empty(int(place.max()) + 1, np.int64)
                corner[place[::-1]] = np.arange(len(place))[::-1]  # the first of each place
                points = part.triangles.reshape(-1, 3)[corner]
                mean = np.stack([np.bincount(place, own.reshape(-1, 3)[:, k]) for k in range(3)], axis=1)
                mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)
                count = int(np.clip(OCCLUSION_RAYS // max(len(points), 1), 8, 64))
                occlusion.append(self._open_sky(points, mean, count)[place].reshape(-1, 3))
            self._normals = np.ascontiguousarray(np.concatenate(normals).transpose(1, 2, 0))
            self._occlusion = np.ascontiguousarray(np.concatenate(occlusion).T)
        return self._normals, self._occlusion

    def _open_sky(self, points: Float, normals: Float, count: int) -> Single:
        """[N] the cosine-weighted share of the half-space over each point [N, 3] that is open, softened by distance."""
        size = float(np.ptp(self.mesh.bounds, axis=0).max())
        # A spiral of directions, cosine-weighted, turned into each normal's frame; the same for every point.
        k = np.arange(count) + 0.5
        radius, angle = np.sqrt(k / count), k * np.pi * (3 - np.sqrt(5))
        local = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - k / count)], axis=1)
        helper = np.where(np.abs(normals[:, 2:]) < 0.9, [[0.0, 0, 1]], [[1.0, 0, 0]])
        tangent = np.cross(helper, normals)
        tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
        frame = np.stack([tangent, np.cross(normals, tangent), normals], axis=1)  # [N, 3, 3]
        origins = points + normals * size * 1e-3
        found = np.empty(len(points), np.float32)
        step = max(1, RAYS_AT_A_TIME // count)
        for first in range(0, len(points), step):  # a million places have many
            own = slice(first, first + step)
            directions = np.einsum("ki,nij->nkj", local, frame[own]).reshape(-1, 3)
            face, _, distance = self._caster.cast_single(np.repeat(origins[own], count, axis=0), directions)
            blocked = np.where(face >= 0, np.exp(-distance / (0.35 * size)), 0.0)
            found[own] = 1 - blocked.reshape(-1, count).mean(axis=1)
        return found

    def _ground_shadow(self, origins: Float, directions: Float) -> Single:
        """[N] how bright the ground under the mesh is where each ray meets it, 1 where it does not."""
        low, high = self.mesh.bounds
        centre, size = (low + high) / 2, float(np.ptp(self.mesh.bounds, axis=0).max())
        ground = low[2] - 1e-3 * size
        if self._shadow is None:
            steps = ((np.arange(SHADOW_GRID) + 0.5) / SHADOW_GRID - 0.5) * 2.5 * size
            y, x = np.meshgrid(steps + centre[1], steps + centre[0], indexing="ij")
            points = np.stack([x, y, np.full_like(x, ground)], axis=-1).reshape(-1, 3)
            up = np.broadcast_to([0.0, 0.0, 1.0], points.shape)
            self._shadow = self._open_sky(points, up, 96).reshape(SHADOW_GRID, SHADOW_GRID)
        bright = np.ones(len(origins), np.float32)
        down = np.flatnonzero((directions[:, 2] < -1e-3) & (origins[:, 2] > ground))
        reach = (ground - origins[down, 2]) / directions[down, 2]
        x, y = ((origins[down, k] + directions[down, k] * reach - centre[k]) / (2.5 * size) + 0.5 for k in (0, 1))
        inside = (x > 0) & (x < 1) & (y > 0) & (y < 1)
        x, y = x[inside], y[inside]
        fade = np.clip(np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) / 0.15, 0, 1).astype(np.float32)
        values = _bilinear(self._shadow[None, :, :, None], np.stack([x, 1 - y]), 0)[0]
        bright[down[inside]] = 1 - 0.75 * fade * (1 - values)
        return bright


def _gather(pixel: Int, colors: Single, width: int, height: int, subsamples: int, background: float) -> Single:
    size, rays = width * height, subsamples**2
    share = np.bincount(pixel, minlength=size) / rays
    image = np.stack([np.bincount(pixel, colors[:, k], minlength=size) / rays for k in range(3)], axis=1)
    image += (1 - share)[:, None] * background
    return image.reshape(height, width, 3).astype(np.float32)


def within(corners: NDArray[Any], face: Int, barycentric: Single) -> NDArray[Any]:
    """Values at places in faces, [K, N]; column by column, which is several times as fast as rows of two or three.

    Args:
        corners: [3, K, F] values at the faces' corners.
        face: [N] and barycentric: [N, 3] where.
    """
    found = np.empty((corners.shape[1], len(face)), np.result_type(corners, barycentric))
    weights = np.ascontiguousarray(barycentric.T)
    for k, values in enumerate(found):
        np.multiply(weights[0], corners[0, k][face], out=values)
        values += weights[1] * corners[1, k][face]
        values += weights[2] * corners[2, k][face]
    return found


def _bilinear(image: Level, uv: NDArray, page: Int | int) -> Single:
    """[C, N] in [0, 1] of repeating pictures [P, H, W, C] at UVs [2, N], v upward, on pages [N] of them."""
    height, width = image.shape[1:3]
    x, y = uv[0] * width - 0.5, (1 - uv[1]) * height - 0.5
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, down = (x - column).astype(np.float32), (y - row).astype(np.float32)
    left, up = _repeated(column, width), _repeated(row, height)
    next_left, next_up = _repeated(left + 1, width), _repeated(up + 1, height)
    flat = image.reshape(-1, image.shape[3])
    upper, lower = (page * height + up) * width, (page * height + next_up) * width

    def at(texel: Int) -> Single:
        return np.ascontiguousarray(flat.take(texel, axis=0).T, np.float32)

    top = at(upper + left) * (1 - right) + at(upper + next_left) * right
    bottom = at(lower + left) * (1 - right) + at(lower + next_left) * right
    found = top * (1 - down) + bottom * down
    return found / np.float32(255) if image.dtype == np.uint8 else found


def _repeated(texel: Int, count: int) -> Int:
    """Numbers [N] brought into 0..count - 1: a division that is none for powers of two."""
    return texel & (count - 1) if count & (count - 1) == 0 else texel % count
