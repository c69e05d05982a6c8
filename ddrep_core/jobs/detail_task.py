"""`ddrep detail`: a finished texture in, the same with what close-ups see of it out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import BakedTexture, baking_bytes
from ddrep_core.geometry.base_color import base_colors
from ddrep_core.geometry.load import load_mesh
from ddrep_core.geometry.texels import check_texture_repeats
from ddrep_core.jobs.blocks import DetailRequest, TextureRequest
from ddrep_core.jobs.detail import ROOM, STEPS, Subject, detail_stage
from ddrep_core.jobs.edit_texture import sized
from ddrep_core.jobs.session import Session
from ddrep_core.jobs.task import Made, Stage
from ddrep_core.jobs.texture import (
    TEXTURE_GUIDANCE,
    mirrored_mesh,
    rays_across,
    sheet_of_views,
    surface_controls,
    tell_left_out,
    texture_diffrep,
    write_textured_mesh,
)
from ddrep_core.jobs.views import look_at_mesh, request_cameras
from ddrep_core.memory import require_bytes
from ddrep_core.pictures import to_uint8


def start(session: Session) -> Stage:
    """The close-ups of a textured mesh, and the views that hold the whole.

    Raises:
        RequestError: a mesh without UVs or a picture, cameras that see nothing, nothing that close-ups could add.
    """
    settings = session.request.settings(DetailRequest)
    if not session.request.prompt.strip():
        raise RequestError("Close-ups want words for what the object is.", 'Say them with --prompt ("a wooden duck").')
    session.stage("Reading the mesh")
    path, root = session.folder.resolve(settings.source), session.folder.path
    mesh = load_mesh(path, settings.mesh_up, objects=settings.objects, root=root, udim=settings.udim)
    mesh = replace(mesh, both_sides=settings.both_sides)
    worn_files = {name: session.folder.resolve(picture) for name, picture in (settings.textures or {}).items()}
    textures = base_colors(mesh, session.folder.path, worn_files)
    resolution = settings.resolution or max(texture.shape[-1] for texture in textures.values())
    check_texture_repeats(mesh, resolution)
    cameras, prior = request_cameras(session.request, session.folder), session.prior
    session.stage("Looking at the mesh from every camera")
    size = prior.image_size
    outlook = look_at_mesh(cameras, mesh, size, rays_across(prior), settings.front_degrees)
    tell_left_out(session, outlook)
    told = {"mesh": settings.source, "resolution": resolution, "symmetry": settings.symmetry}
    wanted = TextureRequest.model_validate(told)
    mesh, views = outlook.mesh, outlook.views
    if settings.symmetry is not None:
        mesh = mirrored_mesh(session, mesh, wanted)
    require_bytes(
        baking_bytes(mesh, resolution, 2 * len(views), (size, size)),
        f"Baking a texture of {resolution}²",
        "Ask for a lower resolution or fewer objects at a time, or close other programs.",
    )
    blank = torch.empty(3, resolution, resolution)
    shown = {part.name: to_uint8(sized(textures[part.name], blank)) for part in mesh.textured_parts}

    def write(session: Session, found: dict[str, BakedTexture], pictures: Tensor, more: dict[str, Any]) -> Made:
        made = write_textured_mesh(session, mesh, found, settings.front_degrees)
        sheet = sheet_of_views(session, mesh, found, views, pictures)
        told = {"views": [camera.name for camera in views], "left_out": outlook.left_out_names}
        return replace(made, told=made.told | told | more, illustrations=(*made.illustrations, sheet))

    subject = Subject(
        mesh,
        views,
        size,
        shown,
        represent=lambda views: texture_diffrep(mesh, views, prior, wanted),
        controls=lambda views, shown: surface_controls(mesh, views, prior, settings.depth, shown),
        worn={},
        least_guidance=TEXTURE_GUIDANCE,
        evaluations=(2 * (session.request.steps or STEPS) - 1) * len(views),
        write=write,
    )
    stage = detail_stage(session, subject, settings.close_ups, settings.strength)
    if not isinstance(stage, Stage):
        raise RequestError(f"There is nothing that close-ups could add at {resolution} x {resolution}.", ROOM)
    return stage
