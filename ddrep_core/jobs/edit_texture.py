"""`ddrep edit` of a mesh and its texture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.image_texture import ImageTextureDiffrep
from ddrep_core.geometry.bake import BakedTexture, Baker
from ddrep_core.geometry.base_color import base_colors
from ddrep_core.geometry.load import load_mesh
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.texels import check_texture_repeats
from ddrep_core.jobs.apart import OF_SURFACES
from ddrep_core.jobs.blocks import EditRequest, TextureRequest
from ddrep_core.jobs.edit_procedure import MODE_SEEKERS, beside, carried_over, milder, procedure, show
from ddrep_core.jobs.present import Present, kept_of
from ddrep_core.jobs.session import Session
from ddrep_core.jobs.task import Made, Stage
from ddrep_core.jobs.texture import (
    PREVIEW_TEXTURE,
    Texturing,
    mirrored_mesh,
    rays_across,
    refuse_kept_mirrors,
    sheet_of_views,
    surface_controls,
    tell_left_out,
    texture_diffrep,
    write_textured_mesh,
)
from ddrep_core.jobs.views import look_at_mesh, request_cameras
from ddrep_core.pictures import decode, to_bytes
from ddrep_core.priors.protocol import Prior
from ddrep_core.progress import portion
from ddrep_core.report.renderer import Renderer
from ddrep_core.sampling.sample import Result
from ddrep_core.views import Views


def start(session: Session, settings: EditRequest, path: Path) -> Stage:
    """The views of a textured mesh, as the prior sees them."""
    refuse_kept_mirrors(settings)
    root = session.folder.path
    mesh = load_mesh(path, settings.mesh_up, objects=settings.objects, root=root, udim=settings.udim)
    mesh = replace(mesh, both_sides=settings.both_sides)
    pictures = {name: session.folder.resolve(picture) for name, picture in (settings.textures or {}).items()}
    textures = base_colors(mesh, session.folder.path, pictures)
    cameras, prior = request_cameras(session.request, session.folder), session.prior
    resolution = settings.resolution or max(texture.shape[-1] for texture in textures.values())
    worn = kept_of(mesh, settings.keep, textures, resolution, session.folder)
    check_texture_repeats(mesh, resolution)
    looking = session.stage("Looking at the mesh from every camera")
    outlook = look_at_mesh(cameras, mesh, prior.image_size, rays_across(prior), settings.front_degrees)
    tell_left_out(session, outlook)
    mesh, views = outlook.mesh, outlook.views
    told = {"mesh": settings.source, "resolution": resolution, "front_degrees": settings.front_degrees}
    told |= {"symmetry": settings.symmetry}
    space = "latent" if settings.method in MODE_SEEKERS else "auto"
    wanted = TextureRequest.model_validate({**told, "depth": settings.depth, "space": space})
    if settings.symmetry is not None:
        mesh = mirrored_mesh(session, mesh, wanted)
        outlook = replace(outlook, mesh=mesh)
    rep = texture_diffrep(mesh, views, prior, wanted, portion(looking, 0, 0.5))
    size = prior.image_size
    renderer = Renderer(mesh, textures)
    seen = torch.stack(
        [torch.from_numpy(renderer.flat(camera, size, size)).permute(2, 0, 1) for camera in views]
    ).float()
    rep = showing(rep, seen, prior)
    baker, known = None, None
    if worn:
        baker = Baker(mesh, views, resolution, (size, size), worn=worn)
        known = Present.of(baker, worn).known(rep)
        if known is None:
            session.warn("What is kept is too small for the views: it stays, but the rest is edited without regard.")
    controls = surface_controls(mesh, views, prior, settings.depth, seen)
    recipe = milder(session, session.recipe(rep, views, controls=controls, push=OF_SURFACES))
    rest = portion(looking, 0.5, 1)
    small = min(PREVIEW_TEXTURE, resolution)
    shown = {name: each.at(small) for name, each in worn.items()}
    preview_baker = Baker(mesh, views, small, (size, size), worn=shown, progress=rest)
    texturing = Texturing(wanted, mesh, outlook, preview_baker, baker)
    editing = EditedTexture(texturing, textures, decode(prior, rep.render()))
    return Stage(procedure(session, recipe, known=known), editing.finish, texturing.previews)


def showing(rep: Any, seen: Tensor, prior: Prior) -> Any:
    """A copy of a texture whose views show these pictures [V, 3, H, W], to the last latent.

    What the texture cannot hold of them is added to every render of it, and stays as it is.
    """
    with torch.no_grad():
        latents = torch.cat([prior.encode(piece.to(prior.device)) for piece in seen.split(8)])
    theta = next(iter(rep.parameters().values()))
    latents = latents.to(theta)
    everything = torch.arange(rep.view_count)
    if isinstance(rep, ImageTextureDiffrep):
        show(rep.latent, latents)
        show(rep.picture, seen.to(theta))
        rep.offset = latents - rep.latent.render()
        return rep
    show(rep, latents)
    return rep.with_offset(latents - rep.render(everything))


@dataclass
class EditedTexture:
    """What becomes of an edited texture.

    Attributes:
        textures: what the mesh wore before.
        before: [V, 3, H, W] the views of it, through the prior's autoencoder.
    """

    texturing: Texturing
    textures: dict[str, Tensor]
    before: Tensor
    baked: dict[str, BakedTexture] = field(default_factory=dict)

    def finish(self, session: Session, result: Result) -> Made:
        """Bake the change on the texture, and write it and the mesh that wears it."""
        mesh, views, settings = self.texturing.mesh, self.texturing.outlook.views, self.texturing.settings
        session.stage("Baking the texture")
        after = decode(session.prior, result.diffrep.render())
        shape = after.shape[2], after.shape[3]
        if self.texturing.baker is None:
            self.texturing.baker = Baker(mesh, views, settings.resolution, shape)
        if not self.baked:
            self.baked = self.texturing.baker.bake(self.before)
        found = {
            name: replace(new, image=carried_over(sized(self.textures[name], new.texture), old.texture, new.texture))
            for (name, new), old in zip(self.texturing.baker.bake(after).items(), self.baked.values(), strict=True)
        }
        found = self.texturing.baker.settled(found)
        session.stage("Writing the results")
        made = write_textured_mesh(session, mesh, found, settings.front_degrees)
        views_sheet = sheet_of_views(session, mesh, found, views, after)
        names = [camera.name for camera in views]
        compared = beside(
            session,
            lambda: _drawn(mesh, self.textures, views, session.prior.image_size),
            lambda: _drawn(mesh, found, views, session.prior.image_size),
            names,
        )
        told = made.told | {"views": names, "left_out": self.texturing.outlook.left_out_names}
        return replace(made, told=told, illustrations=(compared, *made.illustrations, views_sheet))


def sized(texture: Tensor, like: Tensor) -> Tensor:
    """[3, T, T] at another texture's resolution."""
    if texture.shape == like.shape:
        return texture
    size = like.shape[-2:]
    return functional.interpolate(texture[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]


def _drawn(mesh: Mesh, textures: Mapping[str, Any], views: Views, size: int) -> list[Image.Image]:
    renderer, side = Renderer(mesh, textures), max(128, min(size, 256))
    return [Image.fromarray(to_bytes(renderer.flat(camera, side, side))) for camera in views]
