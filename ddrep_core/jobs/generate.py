"""`ddrep generate`: words in, a new object out: a NeRF is sampled, its surface taken and painted with its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep, sphere_bank
from ddrep_core.geometry.bake import Baker
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.raycast import RayCaster
from ddrep_core.geometry.surface import best_level, extract_surface, intersection_over_union, mesh_of, rest_on_ground
from ddrep_core.geometry.unwrap import unwrap
from ddrep_core.jobs.folder import replacing
from ddrep_core.jobs.image import decode, to_picture
from ddrep_core.jobs.session import Preview, Session, agreement
from ddrep_core.jobs.texture import write_textured_mesh
from ddrep_core.jobs.views import square_frame
from ddrep_core.report import contact_sheet
from ddrep_core.sampling.first_order import WarmStartSolver
from ddrep_core.sampling.sample import StepReport
from ddrep_core.views import Views

AUTO_SCHEDULE = "repaint:1,1,2"  # the paper's for NeRFs: 100 steps, one step forward for each, 199 evaluations
VIEWS_PER_STEP = 8  # of cameras from a file
BANK = 2  # times as many views as are drawn in a step: they agree better for the same cost (docs/results.md)
PASSES = 3  # of descent in each pull-back: with five, silhouettes are no better (docs/results.md)
VOXELS_PER_PIXEL = 3  # of the prior's: a finer grid holds nothing that its pictures could tell
SOLID_DENSITIES = (0.8, 1.2, 1.8, 2.5, 3.5, 5.0, 8.0, 14.0)  # over the field's extent: what may count as solid
SILHOUETTE_SIZE = 48
OBJECT_OPACITY = 0.6  # of a pixel that shows the object and nothing else
DRAFT_FACES = 4000
PREVIEW_VIEWS = 4


class GenerateTask:
    """The views that all samples share, and the empty field before them."""

    def __init__(self, session: Session) -> None:
        settings, prior = session.request.generate, session.prior
        assert settings is not None
        self.settings = settings
        self.arguments = session.sampling_arguments(AUTO_SCHEDULE)
        self.views, extent = self._views(session)
        self.views_per_step = session.request.orbit_count or min(VIEWS_PER_STEP, len(self.views))
        grid = min(settings.grid, VOXELS_PER_PIXEL * max(prior.image_shape[1:]))
        levels = 3 if grid >= 32 else 1
        self.rep = VoxelNerfDiffrep(
            self.views, prior.image_shape, grid, levels=levels, extent=extent, device=prior.device
        )

    def _views(self, session: Session) -> tuple[Views, float]:
        """The bank, and half the edge of the box that the object may fill."""
        request, size = session.request, session.prior.image_size
        if request.orbit_count is not None:
            return sphere_bank(BANK * request.orbit_count, size=size), 1.0
        height = self.settings.size
        centre = np.array([0.0, 0.0, height / 2])
        turned = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * (0.55 * height)
        cameras = Views.load(session.folder.resolve(request.cameras))
        return Views(tuple(square_frame(c, centre + turned, size) for c in cameras), centre), height

    def run_sample(self, session: Session) -> dict[str, Any]:
        """Sample one field, extract its surface, paint it, and write the sample's files."""
        prior = session.prior

        def previews(step: StepReport) -> Sequence[Preview]:
            shown = torch.arange(0, len(self.views), max(1, len(self.views) // PREVIEW_VIEWS))[:PREVIEW_VIEWS]
            with torch.no_grad():
                pictures = decode(prior, step.diffrep.render(shown))
            row = to_picture(torch.cat(list(pictures), dim=2))
            row.thumbnail((1024, 256), Image.Resampling.LANCZOS)
            return [Preview("object", row)]

        result = session.sample(
            self.rep,
            self.views,
            previews=previews,
            solver=WarmStartSolver(PASSES, self.rep.learning_rate),
            views_per_step=self.views_per_step,
            **self.arguments,
        )
        field: VoxelNerfDiffrep = result.diffrep
        session.stage("Extracting the surface")
        mesh, likeness = nerf_mesh(field, self.settings.faces)
        session.stage("Painting the surface")
        pictures, paints = self._pictures(field, session)
        baked = Baker(mesh, self.views, self.settings.resolution, (paints.shape[2], paints.shape[3])).bake(paints)
        session.stage("Writing the results")
        part = mesh.parts[0]
        placed = replace(mesh, parts=(replace(part, vertices=rest_on_ground(part.vertices, self.settings.size)),))
        record = write_textured_mesh(session, placed, baked)
        with replacing(session.outputs / "contact_sheet.png") as path:
            contact_sheet(mesh, baked, self.views, pictures, path)
        record["files"]["contact_sheet"] = session.folder.relative(session.outputs / "contact_sheet.png")
        return {
            **record,
            "nfe": result.nfe,
            "seconds": result.seconds,
            "agreement": agreement(result.disagreement),
            "faces": len(part.faces),
            "silhouette_likeness": round(likeness, 4),
        }

    def _pictures(self, field: VoxelNerfDiffrep, session: Session) -> tuple[Tensor, Tensor]:
        """[V, 3, H, W] what the prior saw of the object from each view of the bank, and the same to paint with.

        The mesh's outline is never exactly the field's. So that it is not painted with what lies behind, the object's
        colours go on outwards in the second.
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
        return pictures, torch.stack(continued)


def nerf_mesh(field: VoxelNerfDiffrep, faces: int) -> tuple[Mesh, float]:
    """A closed mesh with UVs around a field's target, and how like its silhouettes are to the field's (IoU).

    What density counts as solid is decided by looking: the level whose mesh covers the same pixels as the field.
    """
    with torch.no_grad():
        density = field.field()[0].cpu().numpy()
    centre = field.centre.cpu().numpy().astype(np.float64)
    shown = field.views[:: max(1, len(field.views) // 8)]
    _, opacity = field.render_views(shown, SILHOUETTE_SIZE, SILHOUETTE_SIZE)
    wanted = opacity[:, 0].cpu().numpy() > 0.5

    def solid(level: float, budget: int) -> Mesh:
        vertices, triangles = extract_surface(density, level, field.extent, budget)
        return mesh_of(vertices + centre, triangles)

    level, _ = best_level(
        [level / field.extent for level in SOLID_DENSITIES],
        lambda level: silhouettes(solid(level, DRAFT_FACES), shown),
        wanted,
    )
    mesh = solid(level, faces)
    likeness = intersection_over_union(silhouettes(mesh, shown), wanted)
    part = mesh.parts[0]
    return mesh_of(part.vertices, part.faces, unwrap(part)), likeness


def silhouettes(mesh: Mesh, views: Views) -> np.ndarray:
    """[V, S, S] which pixels' middles the mesh covers."""
    caster = RayCaster(mesh)
    covered = []
    for camera in views:
        pixel, hits = caster.pixel_hits(camera, SILHOUETTE_SIZE, SILHOUETTE_SIZE)
        picture = np.zeros(SILHOUETTE_SIZE**2, bool)
        picture[pixel[hits.hit]] = True
        covered.append(picture.reshape(SILHOUETTE_SIZE, SILHOUETTE_SIZE))
    return np.stack(covered)
