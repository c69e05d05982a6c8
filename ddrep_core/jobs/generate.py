"""`ddrep generate`: words in, a new object out: a NeRF is sampled, its surface taken and painted with its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image
from scipy import ndimage
from torch import Tensor

from ddrep_core.diffreps.texture import rays_along_pixel
from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep, finest_grid
from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import Baker
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.raycast import depth_maps, ray_caster
from ddrep_core.geometry.sight import Sight, sights
from ddrep_core.geometry.surface import (
    best_level,
    extract_surface,
    intersection_over_union,
    mesh_of,
    require_decimation,
    rest_on_ground,
)
from ddrep_core.geometry.unwrap import unwrap
from ddrep_core.jobs.request import GenerateRequest, TextureRequest
from ddrep_core.jobs.session import Preview, Session, agreement
from ddrep_core.jobs.texture import AUTO_SCHEDULE as PAINT_SCHEDULE
from ddrep_core.jobs.texture import (
    TEXTURE_GUIDANCE,
    illustrate_views,
    tell_left_out,
    texture_diffrep,
    write_textured_mesh,
)
from ddrep_core.jobs.views import LeftOut, look_at_mesh, square_frame
from ddrep_core.pictures import decode, to_picture
from ddrep_core.priors.protocol import hears
from ddrep_core.sampling.sample import Result, StepReport
from ddrep_core.views import Views
from ddrep_core.views.banks import sphere_bank

AUTO_SCHEDULE = "plain"  # the paper repaints; at 49 and at 199 evaluations that made no better object (docs/results.md)
VIEWS_PER_STEP = 8  # of cameras from a file
BALL_RAYS = 64  # across a picture, to tell whether it shows the ball that the object may fill
BANK = 2  # times as many views as are drawn in a step: they agree better for the same cost (docs/results.md)
ROOM = 0.6  # of the object's size: the radius of the ball that cameras from a file look at
# of the light, stopped on the best way to a camera: what may count as solid
SOLID = (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.45)
SURFACE_GRID = 64  # points along an edge where solid is told from empty, at least
SILHOUETTE_SIZE = 48
OBJECT_OPACITY = 0.6  # of a pixel that shows the object and nothing else
DRAFT_FACES = 4000
FIELD_GUIDANCE = 7.5
"""At least, where nobody says otherwise: views that hesitate between shapes leave a lump."""
PREVIEW_VIEWS = 4


class GenerateTask:
    """The views that all samples share, and the empty field before them."""

    def __init__(self, session: Session) -> None:
        settings, prior = session.request.settings(GenerateRequest), session.prior
        self.settings = settings
        require_decimation()
        self.arguments = session.sampling_arguments(AUTO_SCHEDULE, FIELD_GUIDANCE)
        self.views, extent = self._views(session)
        self.views_per_step = session.request.orbit_count or min(VIEWS_PER_STEP, len(self.views))
        grid = min(settings.grid, finest_grid(prior.image_shape))
        levels = 3 if grid >= 32 else 1
        self.rep = VoxelNerfDiffrep(
            self.views, prior.image_shape, grid, levels=levels, extent=extent, device=prior.device
        )

    def _views(self, session: Session) -> tuple[Views, float]:
        """The bank, and the radius of the ball that the object may fill: every frame just holds it."""
        request, size = session.request, session.prior.image_size
        if request.orbit_count is not None:
            return sphere_bank(BANK * request.orbit_count, size=size), 1.0
        centre = np.array([0.0, 0.0, self.settings.size / 2])
        radius = ROOM * self.settings.size
        ball = trimesh.creation.icosphere(3)
        points = centre + radius * ball.vertices
        cameras = Views.load(session.folder.resolve(request.cameras))
        views = Views(tuple(square_frame(c, points, size) for c in cameras), centre)
        # A camera within the ball looks out at a part of the object, too.
        found = sights(mesh_of(points, np.asarray(ball.faces, np.int64)), views, BALL_RAYS)
        kept = [number for number, what in enumerate(found) if what is not Sight.nothing]
        if not kept:
            raise RequestError(
                "No camera looks at where the object will be: on the ground at the world's origin.",
                "Turn one to it, or leave the cameras out.",
            )
        if len(kept) < len(views):
            away = LeftOut(tuple(views[n].name for n in range(len(views)) if n not in kept), Sight.nothing)
            session.warn(away.words(len(kept)), left_out=list(away.names), why=away.why.value)
        return views[kept], radius

    def run_sample(self, session: Session) -> dict[str, Any]:
        """Sample one field, extract its surface, paint it, and write the sample's files."""
        prior = session.prior

        def previews(step: StepReport) -> Sequence[Preview]:
            shown = torch.arange(0, len(self.views), max(1, len(self.views) // PREVIEW_VIEWS))[:PREVIEW_VIEWS]
            with torch.no_grad():
                pictures = decode(prior, step.diffrep.render(shown))
            return [Preview("object", picture_row(pictures))]

        result = session.sample(
            self.rep,
            self.views,
            previews=previews,
            views_per_step=self.views_per_step,
            **self.arguments,
        )
        field: VoxelNerfDiffrep = result.diffrep
        session.stage("Extracting the surface")
        mesh, likeness = nerf_mesh(field, self.settings.faces)
        session.stage("Painting the surface")
        told_shape = "depth" in hears(prior)
        painted = self._sampled_paint(mesh, session) if told_shape else self._field_paint(field, session)
        size = (painted.pictures.shape[2], painted.pictures.shape[3])
        baked = Baker(mesh, painted.views, self.settings.resolution, size).bake(painted.paints)
        session.stage("Writing the results")
        part = mesh.parts[0]
        placed = replace(mesh, parts=(replace(part, vertices=rest_on_ground(part.vertices, self.settings.size)),))
        record = write_textured_mesh(session, placed, baked)
        illustrate_views(session, mesh, baked, painted.views, painted.pictures)
        stages = [result] if painted.result is None else [result, painted.result]
        return {
            **record,
            "nfe": sum(stage.nfe for stage in stages),
            "seconds": {part: sum(stage.seconds[part] for stage in stages) for part in result.seconds},
            "agreement": agreement(result.disagreement),
            "faces": len(part.faces),
            "silhouette_likeness": round(likeness, 4),
        }

    def _sampled_paint(self, mesh: Mesh, session: Session) -> Paint:
        """The surface's texture sampled from the prior, as `ddrep texture` does it: told the depth of each view.

        A field's own colours are as blurred as its rays are few, and its outline is never exactly the mesh's.
        """
        prior, request = session.prior, session.request
        size = prior.image_size
        cameras, latent_size = request.orbit_count or self.views, max(prior.image_shape[1:])
        outlook = look_at_mesh(cameras, mesh, size, latent_size * rays_along_pixel(latent_size))
        tell_left_out(session, outlook)
        mesh, views = outlook.mesh, outlook.views
        settings = TextureRequest(mesh="mesh", objects=None, resolution=self.settings.resolution)
        rep = texture_diffrep(mesh, views, prior, settings)

        def previews(step: StepReport) -> Sequence[Preview]:
            return [Preview("views", picture_row(decode(prior, step.diffrep.render())[:PREVIEW_VIEWS]))]

        result = session.sample(
            rep,
            views,
            stage="paint",
            previews=previews,
            controls={"depth": depth_maps(mesh, views, size, size, subsamples=2)},
            **session.sampling_arguments(PAINT_SCHEDULE, TEXTURE_GUIDANCE),
        )
        with torch.no_grad():
            pictures = decode(prior, result.diffrep.render())
        return Paint(views, pictures, pictures, result)

    def _field_paint(self, field: VoxelNerfDiffrep, session: Session) -> Paint:
        """What the prior saw of the object from each view of the bank.

        The mesh's outline is never exactly the field's. So that it is not painted with what lies behind, the object's
        colours go on outwards in what it is painted with.
        """
        with torch.no_grad():
            pictures = decode(session.prior, field.render())
        _, opacity = field.render_views(self.views, pictures.shape[2], pictures.shape[3])
        continued = []
        for picture, covered in zip(pictures, opacity[:, 0].cpu().numpy(), strict=True):
            shows = covered > min(OBJECT_OPACITY, covered.max() / 2)
            nearest = np.empty((2, *shows.shape), np.int32)
            ndimage.distance_transform_edt(~shows, return_distances=False, return_indices=True, indices=nearest)
            continued.append(picture[:, nearest[0], nearest[1]])
        return Paint(self.views, pictures, torch.stack(continued))


@dataclass(frozen=True)
class Paint:
    """What a surface is painted with.

    Attributes:
        views: V cameras around the surface.
        pictures: [V, 3, H, W] what they see, sRGB in [0, 1].
        paints: [V, 3, H, W] the same, fit to be laid on the surface.
        result: of the run that made them; None where no run of its own did.
    """

    views: Views
    pictures: Tensor
    paints: Tensor
    result: Result | None = None


def picture_row(pictures: Tensor) -> Image.Image:
    """[B, 3, H, W] side by side, small enough for a preview."""
    row = to_picture(torch.cat(list(pictures), dim=2))
    row.thumbnail((1024, 256), Image.Resampling.LANCZOS)
    return row


def nerf_mesh(field: VoxelNerfDiffrep, faces: int) -> tuple[Mesh, float]:
    """A closed mesh with UVs around a field's target, and how like its silhouettes are to the field's (IoU).

    Solid is what no camera sees into (`VoxelNerfDiffrep.concealment`). How much light must be stopped for that is
    decided by looking: the level whose mesh covers the same pixels as the field.
    """
    solidity = field.concealment(max(SURFACE_GRID, field.grid)).cpu().numpy()
    centre = field.centre.cpu().numpy().astype(np.float64)
    shown = field.views[:: max(1, len(field.views) // 8)]
    _, opacity = field.render_views(shown, SILHOUETTE_SIZE, SILHOUETTE_SIZE)
    wanted = opacity[:, 0].cpu().numpy() > 0.5

    def solid(level: float, budget: int) -> Mesh:
        vertices, triangles = extract_surface(solidity, level, field.extent, budget)
        return mesh_of(vertices + centre, triangles)

    level, _ = best_level(SOLID, lambda level: silhouettes(solid(level, DRAFT_FACES), shown), wanted)
    mesh = solid(level, faces)
    likeness = intersection_over_union(silhouettes(mesh, shown), wanted)
    part = mesh.parts[0]
    return mesh_of(part.vertices, part.faces, unwrap(part)), likeness


def silhouettes(mesh: Mesh, views: Views) -> np.ndarray:
    """[V, S, S] which pixels' middles the mesh covers."""
    caster = ray_caster(mesh)
    covered = []
    for camera in views:
        pixel, hits = caster.pixel_hits(camera, SILHOUETTE_SIZE, SILHOUETTE_SIZE)
        picture = np.zeros(SILHOUETTE_SIZE**2, bool)
        picture[pixel[hits.hit]] = True
        covered.append(picture.reshape(SILHOUETTE_SIZE, SILHOUETTE_SIZE))
    return np.stack(covered)
