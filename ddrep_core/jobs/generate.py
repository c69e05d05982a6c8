"""`ddrep generate`: words in, a new object out: a NeRF is sampled, its surface taken and painted with its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep, finest_grid
from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import Baker
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.raycast import ray_caster
from ddrep_core.geometry.sight import Sight, sights
from ddrep_core.geometry.signals import SIGNALS
from ddrep_core.geometry.surface import (
    best_level,
    extract_surface,
    intersection_over_union,
    mesh_of,
    require_decimation,
    rest_on_ground,
)
from ddrep_core.geometry.unwrap import unwrap
from ddrep_core.jobs.apart import OF_FIELDS, OF_SURFACES, Box
from ddrep_core.jobs.blocks import GenerateRequest, ObjectRequest, TextureRequest
from ddrep_core.jobs.palette import wanted_palette
from ddrep_core.jobs.request import Request
from ddrep_core.jobs.session import Preview, Session
from ddrep_core.jobs.task import Made, Stage
from ddrep_core.jobs.texture import AUTO_SCHEDULE as PAINT_SCHEDULE
from ddrep_core.jobs.texture import (
    TEXTURE_GUIDANCE,
    rays_across,
    sheet_of_views,
    surface_controls,
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
FILLED = 0.6
"""Of the ball that an object may fill, how far objects commonly reach along an axis."""
FIELD_GUIDANCE = 7.5
"""At least, where nobody says otherwise: views that hesitate between shapes leave a lump."""
PREVIEW_VIEWS = 4


def start(session: Session) -> Stage:
    """The views that all samples share, and the empty field before them."""
    settings, prior = session.request.settings(GenerateRequest), session.prior
    require_decimation()
    wanted_palette(settings, session.folder)
    views, extent = bank_of(session)
    grid = min(settings.grid, finest_grid(prior.image_shape))
    levels = 3 if grid >= 32 else 1
    recipe = session.recipe(
        VoxelNerfDiffrep(views, prior.image_shape, grid, levels=levels, extent=extent, device=prior.device),
        views,
        auto_schedule=AUTO_SCHEDULE,
        least_guidance=FIELD_GUIDANCE,
        views_per_step=orbit_count(session.request) or min(VIEWS_PER_STEP, len(views)),
        box=Box(views.target - FILLED * extent, views.target + FILLED * extent),
        push=OF_FIELDS,
    )
    return Stage(recipe, finish, previews)


def orbit_count(request: Request) -> int | None:
    """How many views are drawn in a step, where the engine places the cameras.

    Raises:
        RequestError: a placement that wants to see an object before there is one.
    """
    placement = request.placement
    if placement is None:
        return None
    if placement.kind != "orbit" or placement.orthographic:
        raise RequestError(
            f"A new object is drawn from all around: '{request.cameras}' is for textures.",
            "Use orbit:N or a camera file, or leave --cameras out.",
        )
    return placement.count


def bank_of(session: Session) -> tuple[Views, float]:
    """The views, and the radius of the ball that the object may fill: every frame just holds it."""
    request, size = session.request, session.prior.image_size
    if (count := orbit_count(request)) is not None:
        return sphere_bank(BANK * count, size=size), 1.0
    import trimesh

    side = request.settings(GenerateRequest).size
    centre = np.array([0.0, 0.0, side / 2])
    radius = ROOM * side
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


def previews(session: Session, step: StepReport) -> Sequence[Preview]:
    """Some views of the object."""
    count = step.diffrep.view_count
    shown = torch.arange(0, count, max(1, count // PREVIEW_VIEWS))[:PREVIEW_VIEWS]
    with torch.no_grad():
        pictures = decode(session.prior, step.diffrep.render(shown))
    return [Preview("object", picture_row(pictures))]


def finish(session: Session, result: Result) -> Stage | Made:
    """Extract the field's surface; paint it with the field's own pictures, or sample its texture in a stage of its own.

    Only a prior that is told the shape paints better than the field: a field's own colours are as blurred as its rays
    are few, and its outline is never exactly the mesh's.
    """
    field: VoxelNerfDiffrep = result.diffrep
    session.stage("Extracting the surface")
    mesh, likeness = nerf_mesh(field, session.request.settings(GenerateRequest).faces)
    session.stage("Painting the surface")
    surface = Surface(mesh, likeness)
    if hears(session.prior) & SIGNALS.keys():
        return surface.painting(session, orbit_count(session.request) or field.views)
    with torch.no_grad():
        pictures = decode(session.prior, field.render())
    return surface.painted(session, field.views, pictures, continued(field, pictures))


@dataclass(frozen=True)
class Surface:
    """A field's surface, and how like its silhouettes are to the field's."""

    mesh: Mesh
    likeness: float

    def painting(self, session: Session, cameras: Views | int) -> Stage:
        """Its texture sampled from the prior, as `ddrep texture` does it: told the shape in each view."""
        prior = session.prior
        outlook = look_at_mesh(cameras, self.mesh, prior.image_size, rays_across(prior))
        tell_left_out(session, outlook)
        mesh, views = outlook.mesh, outlook.views
        resolution = session.request.settings(GenerateRequest).resolution
        settings = TextureRequest.model_validate({"mesh": "mesh", "resolution": resolution})
        recipe = session.recipe(
            texture_diffrep(mesh, views, prior, settings),
            views,
            auto_schedule=PAINT_SCHEDULE,
            least_guidance=TEXTURE_GUIDANCE,
            controls=surface_controls(mesh, views, prior),
            box=Box(*mesh.bounds),
            push=OF_SURFACES,
        )

        def previews(session: Session, step: StepReport) -> Sequence[Preview]:
            return [Preview("views", picture_row(decode(session.prior, step.diffrep.render())[:PREVIEW_VIEWS]))]

        def finish(session: Session, result: Result) -> Made:
            with torch.no_grad():
                pictures = decode(session.prior, result.diffrep.render())
            return self.painted(session, views, pictures, pictures)

        return Stage(recipe, finish, previews, "paint")

    def painted(self, session: Session, views: Views, pictures: Tensor, paints: Tensor) -> Made:
        """Wearing its paint, on the ground.

        Args:
            views: V cameras around it.
            pictures: [V, 3, H, W] what they see, sRGB in [0, 1].
            paints: [V, 3, H, W] the same, fit to be laid on the surface.
        """
        settings = session.request.settings(ObjectRequest)
        size = (pictures.shape[2], pictures.shape[3])
        baker = Baker(self.mesh, views, settings.resolution, size)
        baked = baker.bake(paints)
        if (wanted := wanted_palette(settings, session.folder)) is not None:
            baked = wanted.textures(baked, baker)
        session.stage("Writing the results")
        part = self.mesh.parts[0]
        placed = replace(part, vertices=rest_on_ground(part.vertices, settings.size))
        made = write_textured_mesh(session, replace(self.mesh, parts=(placed,)), baked)
        sheet = sheet_of_views(session, self.mesh, baked, views, pictures)
        told = {"faces": len(part.faces), "silhouette_likeness": round(self.likeness, 4)}
        return replace(made, told=made.told | told, illustrations=(*made.illustrations, sheet))


def continued(field: VoxelNerfDiffrep, pictures: Tensor) -> Tensor:
    """[V, 3, H, W] what a field looks like from its own views, its colours going on outwards beyond its outline.

    The mesh's outline is never exactly the field's: so it is not painted with what lies behind.
    """
    _, opacity = field.render_views(field.views, pictures.shape[2], pictures.shape[3])
    found = [
        nearest_covered(picture, covered)
        for picture, covered in zip(pictures, opacity[:, 0].cpu().numpy(), strict=True)
    ]
    return torch.stack(found)


def nearest_covered(picture: Tensor, covered: NDArray[np.float32]) -> Tensor:
    """[3, H, W] a picture whose pixels that show the object too little [H, W] are as the nearest that shows it."""
    shows = covered > min(OBJECT_OPACITY, covered.max() / 2)
    nearest = np.empty((2, *shows.shape), np.int32)
    ndimage.distance_transform_edt(~shows, return_distances=False, return_indices=True, indices=nearest)
    return picture[:, nearest[0], nearest[1]]


def picture_row(pictures: Tensor, most: int = 256) -> Image.Image:
    """[B, 3, H, W] side by side, each at most so high: small enough for a preview."""
    row = to_picture(torch.cat(list(pictures), dim=2))
    row.thumbnail((1024, most), Image.Resampling.LANCZOS)
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
