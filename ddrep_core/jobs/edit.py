"""`ddrep edit`: what exists, and other words for it, in; the same thing, changed, out.

What is edited is brought into the prior's space by its own autoencoder, which keeps no fine detail. So what comes out
is the original with the change on it: where nothing changed, the original's own pixels (`carried_over`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.image_texture import ImageTextureDiffrep
from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.diffreps.panorama import CanvasDiffrep, CylinderDiffrep, SphereDiffrep, window_offsets
from ddrep_core.diffreps.panorama_picture import equirectangular_places
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.distillation import DELTA_DENOISING, POSTERIOR_DISTILLATION, SCORE_DISTILLATION, ModeSeeker, distill
from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import BakedTexture, Baker
from ddrep_core.geometry.base_color import base_colors
from ddrep_core.geometry.load import load_mesh
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.texels import check_texture_repeats
from ddrep_core.jobs.edit_source import kind_of
from ddrep_core.jobs.folder import replacing, write_bytes
from ddrep_core.jobs.image import shape_for
from ddrep_core.jobs.pace import StageProgress
from ddrep_core.jobs.panorama import panorama
from ddrep_core.jobs.panorama import previews as panorama_previews
from ddrep_core.jobs.recipe import Procedure, Recipe
from ddrep_core.jobs.request import EditRequest, TextureRequest
from ddrep_core.jobs.session import MakePreviews, Preview, Session
from ddrep_core.jobs.task import Illustration, Made, Stage
from ddrep_core.jobs.texture import (
    PREVIEW_TEXTURE,
    Texturing,
    rays_across,
    sheet_of_views,
    surface_controls,
    tell_left_out,
    texture_diffrep,
    write_textured_mesh,
)
from ddrep_core.jobs.views import look_at_mesh, request_cameras
from ddrep_core.pictures import decode, png_bytes, to_bytes, to_picture
from ddrep_core.priors.protocol import Prior
from ddrep_core.progress import portion
from ddrep_core.report.contact_sheet import image_sheet
from ddrep_core.report.renderer import Renderer
from ddrep_core.sampling.sample import Result, SamplerState, StepReport
from ddrep_core.schedules.named import lower_levels
from ddrep_core.schedules.parse import parse_schedule
from ddrep_core.solvers.choose import choose_solver
from ddrep_core.sparse import identity
from ddrep_core.views import Views

MODE_SEEKERS = {"sds": SCORE_DISTILLATION, "dds": DELTA_DENOISING, "pds": POSTERIOR_DISTILLATION}
DESCENT_STEPS, DESCENT_RATE = 300, 0.05
STRENGTH = {"difference": 1.0, "sdedit": 0.7}
DIFFERENCE_ETA = 1.0  # the shared noise is another one in every step: docs/methods.md
UNCHANGED, CHANGED = 0.04, 0.16
"""Of a colour in [0, 1]: a smaller change leaves all of the original's detail, a larger one none."""
LARGEST_PICTURE = 16_384
SHEET_SIDE = 512


def start(session: Session) -> Stage:
    """What is edited, as its kind has it.

    Raises:
        RequestError: no words for what there is, a file that is no such thing, a mesh without a picture.
    """
    settings = session.request.settings(EditRequest)
    if settings.method != "sdedit" and settings.method != "sds" and not settings.source_prompt.strip():
        raise RequestError(
            "An edit needs words for what there is before it.",
            'Say them with --source-prompt ("a wooden chair"), or choose the method sdedit.',
        )
    if settings.strength is not None and settings.method not in STRENGTH:
        raise RequestError(
            f"The method {settings.method} knows no strength.", f"It is for: {', '.join(STRENGTH)}. Change the steps."
        )
    session.stage("Reading what is edited")
    path = session.folder.resolve(settings.source)
    begin = {"texture": start_texture, "image": start_image, "panorama": start_panorama}
    return begin[kind_of(path) if settings.kind == "auto" else settings.kind](session, settings, path)


@dataclass(frozen=True)
class Descent:
    """One run of `dd.distill` from where the representation is."""

    rep: Diffrep
    views: Views | None
    method: ModeSeeker
    told: Mapping[str, Any]
    together: bool = False

    def run(
        self,
        prior: Prior,
        *,
        seed: int,
        samples: int,
        callback: Callable[[StepReport], None],
        state: SamplerState | None,
    ) -> Result:
        """As `Procedure.run`."""
        return distill(
            self.rep, prior, self.views, method=self.method, seed=seed, samples=samples, callback=callback,
            state=state, from_scratch=False, **self.told,
        )  # fmt: skip


def procedure(session: Session, recipe: Recipe) -> Procedure:
    """How the request wants a representation edited, from how it would be sampled.

    Raises:
        RequestError: a schedule that cannot be read, or that no edit can follow.
    """
    request, settings = session.request, session.request.settings(EditRequest)
    source_prompt = None if settings.method == "sdedit" else settings.source_prompt
    if settings.method in MODE_SEEKERS:
        brief = MODE_SEEKERS[settings.method].with_settings(
            steps=request.steps or DESCENT_STEPS, learning_rate=DESCENT_RATE
        )
        told = {
            "prompt": recipe.prompt,
            "negative_prompt": recipe.negative_prompt,
            "guidance_scale": recipe.guidance_scale,
            "controls": recipe.controls,
            "views_per_step": recipe.views_per_step,
            "source_prompt": source_prompt if settings.method != "sds" else None,
        }
        return Descent(recipe.rep, recipe.views, brief, told)
    words = "plain" if request.schedule == "auto" else request.schedule
    if words.split(":")[0].strip().lower() in ("grown", "auto"):
        raise RequestError(
            f"An edit begins with what there is, and the schedule '{words}' with nothing.",
            "Use plain, repaint, restart or annealed.",
        )
    levels = lower_levels(session.prior.sigmas, settings.strength or STRENGTH[settings.method])
    eta = DIFFERENCE_ETA if settings.method == "difference" and request.eta is None else recipe.eta
    schedule = parse_schedule(words, levels, request.steps)
    return replace(recipe, schedule=schedule, eta=eta, from_scratch=False, source_prompt=source_prompt)


def carried_over(original: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The original with the change from `before` to `after` on it, all [..., 3, H, W] in [0, 1].

    `before` is the original as the prior's autoencoder draws it. What it lost of the original is given back where
    nothing changed; where something did, it would be a ghost of what was there.
    """
    side = max(1, round(max(original.shape[-2:]) / 128)) * 2 + 1
    change = (after - before).abs().amax(-3, keepdim=True)
    flat = change.reshape(-1, 1, *change.shape[-2:])
    wide = functional.avg_pool2d(flat, side, 1, side // 2, count_include_pad=False).reshape(change.shape)
    kept = ((CHANGED - wide) / (CHANGED - UNCHANGED)).clamp(0, 1)
    return (after + kept * (original - before)).clamp(0, 1)


def beside(
    session: Session,
    before: Callable[[], Sequence[Image.Image]],
    after: Callable[[], Sequence[Image.Image]],
    titles: Sequence[str],
) -> Illustration:
    """Before and after, one above the other."""
    sheet = session.outputs / "before_after.png"

    def draw(progress: StageProgress) -> None:
        rows = {"before": before()}
        progress(0.5)
        rows["after"] = after()
        with replacing(sheet) as path:
            image_sheet(rows, titles).save(path, format="PNG")

    return Illustration("the comparison", {"before_after": sheet}, draw)


# A mesh and its texture


def start_texture(session: Session, settings: EditRequest, path: Path) -> Stage:
    """The views of a textured mesh, as the prior sees them."""
    mesh = load_mesh(path, settings.mesh_up, objects=settings.objects, root=session.folder.path)
    mesh = replace(mesh, both_sides=settings.both_sides)
    worn = {name: session.folder.resolve(picture) for name, picture in (settings.textures or {}).items()}
    textures = base_colors(mesh, session.folder.path, worn)
    cameras, prior = request_cameras(session.request, session.folder), session.prior
    resolution = settings.resolution or max(texture.shape[-1] for texture in textures.values())
    check_texture_repeats(mesh, resolution)
    looking = session.stage("Looking at the mesh from every camera")
    outlook = look_at_mesh(cameras, mesh, prior.image_size, rays_across(prior), settings.front_degrees)
    tell_left_out(session, outlook)
    mesh, views = outlook.mesh, outlook.views
    told = {"mesh": settings.source, "resolution": resolution, "front_degrees": settings.front_degrees}
    space = "latent" if settings.method in MODE_SEEKERS else "auto"
    wanted = TextureRequest.model_validate({**told, "depth": settings.depth, "space": space})
    rep = texture_diffrep(mesh, views, prior, wanted, portion(looking, 0, 0.5))
    size = prior.image_size
    renderer = Renderer(mesh, textures)
    seen = torch.stack(
        [torch.from_numpy(renderer.flat(camera, size, size)).permute(2, 0, 1) for camera in views]
    ).float()
    rep = showing(rep, seen, prior)
    controls = surface_controls(mesh, views, prior, settings.depth, seen)
    recipe = session.recipe(rep, views, controls=controls)
    rest = portion(looking, 0.5, 1)
    preview_baker = Baker(mesh, views, min(PREVIEW_TEXTURE, resolution), (size, size), progress=rest)
    texturing = Texturing(wanted, mesh, outlook, preview_baker)
    editing = EditedTexture(texturing, textures, decode(prior, rep.render()))
    return Stage(procedure(session, recipe), editing.finish, texturing.previews)


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
        _fit(rep.latent, latents)
        _fit(rep.picture, seen.to(theta))
        rep.offset = latents - rep.latent.render()
        return rep
    _fit(rep, latents)
    return rep.with_offset(latents - rep.render(everything))


def _fit(rep: MatrixDiffrep, targets: Tensor) -> None:
    own = rep.pixel_weights()
    weights = torch.ones_like(targets[:, :1]) if own is None else own
    choose_solver(rep, "linear").fit(rep, targets, torch.arange(rep.view_count), weights)


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
            name: replace(new, image=carried_over(_sized(self.textures[name], new.texture), old.texture, new.texture))
            for (name, new), old in zip(self.texturing.baker.bake(after).items(), self.baked.values(), strict=True)
        }
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


def _sized(texture: Tensor, like: Tensor) -> Tensor:
    """[3, T, T] at another texture's resolution."""
    if texture.shape == like.shape:
        return texture
    size = like.shape[-2:]
    return functional.interpolate(texture[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]


def _drawn(mesh: Mesh, textures: Mapping[str, Any], views: Views, size: int) -> list[Image.Image]:
    renderer, side = Renderer(mesh, textures), max(128, min(size, 256))
    return [Image.fromarray(to_bytes(renderer.flat(camera, side, side))) for camera in views]


# A picture


class PictureDiffrep(MatrixDiffrep):
    """One picture that is its own parameters."""

    def __init__(self, latents: Tensor) -> None:
        channels, height, width = latents.shape
        matrix = identity(height * width, latents.dtype, latents.device)
        super().__init__(matrix, (channels, height, width), columns=channels)
        self.theta.copy_(self.to_rows(latents[None]))


def start_image(session: Session, settings: EditRequest, path: Path) -> Stage:
    """A picture in the prior's latents, of its own aspect and the prior's number of pixels."""
    picture, prior = _read_picture(path), session.prior
    shape = shape_for(prior, picture.width / picture.height)
    factor = prior.image_size / max(prior.image_shape[1:])
    small = picture.resize((round(shape[2] * factor), round(shape[1] * factor)), Image.Resampling.LANCZOS)
    with torch.no_grad():
        latents = prior.encode(_as_tensor(small)[None].to(prior.device))[0]
    dtype = torch.float64 if prior.dtype == torch.float64 else torch.float32
    rep = PictureDiffrep(latents.to(dtype))
    editing = EditedPicture(picture, _picture_of, rep, "image")
    return Stage(procedure(session, session.recipe(rep)), editing.finish, _picture_previews)


def _picture_of(rep: Any, prior: Prior, size: tuple[int, int]) -> Tensor:
    return _resized(decode(prior, rep.render())[0], size)


def _picture_previews(session: Session, step: StepReport) -> Sequence[Preview]:
    return [Preview("image", to_picture(decode(session.prior, step.diffrep.render())[0]))]


@dataclass
class EditedPicture:
    """What becomes of an edited picture.

    Attributes:
        original: the picture.
        draw: a representation as a picture [3, H, W] of this (width, height).
        rep: shows the original.
        what: the kind of picture.
    """

    original: Image.Image
    draw: Callable[[Any, Prior, tuple[int, int]], Tensor]
    rep: Diffrep
    what: str

    def finish(self, session: Session, result: Result) -> Made:
        """Put the change on the picture, and write it."""
        session.stage("Drawing the picture")
        size = self.original.size
        before, after = (self.draw(rep, session.prior, size) for rep in (self.rep, result.diffrep))
        found = to_picture(carried_over(_as_tensor(self.original), before, after))
        path = session.outputs / f"{self.what}.png"
        write_bytes(path, png_bytes(found))
        compared = beside(session, lambda: [_small(self.original)], lambda: [_small(found)], [session.request.prompt])
        return Made({self.what: path}, illustrations=(compared,))


def _read_picture(path: Path) -> Image.Image:
    try:
        with Image.open(path) as opened:
            if max(opened.size) > LARGEST_PICTURE or min(opened.size) < 8:
                raise RequestError(
                    f"The picture has {opened.width} x {opened.height} pixels; 8 to {LARGEST_PICTURE} a side can be "
                    "edited.",
                    "Give a picture of another size.",
                )
            return opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RequestError(f"{path.name} is not a picture that can be read ({error}).", "Save it as PNG.") from error


def _as_tensor(picture: Image.Image) -> Tensor:
    """[3, H, W] in [0, 1]."""
    return torch.from_numpy(np.asarray(picture, np.float32) / 255).permute(2, 0, 1)


def _resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    found = functional.interpolate(
        picture[None].float().cpu(), size=(size[1], size[0]), mode="bicubic", antialias=True, align_corners=False
    )
    return found[0].clamp(0, 1)


def _small(picture: Image.Image) -> Image.Image:
    small = picture.copy()
    small.thumbnail((SHEET_SIDE, SHEET_SIDE), Image.Resampling.LANCZOS)
    return small


# A panorama


def start_panorama(session: Session, settings: EditRequest, path: Path) -> Stage:
    """A panorama's windows in the prior's latents, on a canvas."""
    picture, prior = _read_picture(path), session.prior
    if settings.projection == "sphere" and abs(picture.width - 2 * picture.height) > 2:
        raise RequestError(
            f"A panorama of the whole sphere is twice as wide as high, unlike {picture.width} x {picture.height}.",
            "Choose --projection cylinder for a band, or --kind image for a picture.",
        )
    session.stage("Laying out the views")
    dtype = torch.float64 if prior.dtype == torch.float64 else torch.float32
    rep: Any
    if settings.projection == "sphere":
        rep = SphereDiffrep(prior.image_shape, dtype=dtype, device=prior.device)
        windows = _looked_at(picture, rep.cameras, prior.image_size)
    else:
        rep = CylinderDiffrep(prior.image_shape, dtype=dtype, device=prior.device)
        windows = _cut_out(picture, rep, prior.image_size)
    with torch.no_grad():
        latents = torch.cat([prior.encode(piece.to(prior.device)) for piece in windows.split(8)])
    _fit(rep, latents.to(rep.theta))
    editing = EditedPicture(picture, _panorama_of, rep, "panorama")
    views = rep.cameras if isinstance(rep, SphereDiffrep) else None
    make_previews: MakePreviews = panorama_previews
    return Stage(procedure(session, session.recipe(rep, views)), editing.finish, make_previews)


def _panorama_of(rep: Any, prior: Prior, size: tuple[int, int]) -> Tensor:
    return _resized(panorama(rep, prior, size[0]), size)


def _looked_at(picture: Image.Image, cameras: Views, size: int) -> Tensor:
    """[V, 3, size, size] what cameras at the middle of an equirectangular picture see."""
    width = min(picture.width, 8 * size)  # twice as fine as the windows
    around = _as_tensor(picture.resize((width, width // 2), Image.Resampling.LANCZOS))
    turned = torch.cat([around[..., -1:], around, around[..., :1]], -1)[None]  # so that its ends meet
    stretch = torch.tensor([width, 1.0]), torch.tensor([1.0, 0.0]), torch.tensor([width + 2, 1.0])
    places = [(equirectangular_places(camera, size) * stretch[0] + stretch[1]) / stretch[2] for camera in cameras]
    return torch.cat(
        [
            functional.grid_sample(turned, 2 * place[None] - 1, padding_mode="border", align_corners=False)
            for place in places
        ]
    )


def _cut_out(picture: Image.Image, rep: CanvasDiffrep, size: int) -> Tensor:
    """[V, 3, size, size] the windows of a band."""
    assert isinstance(rep, CylinderDiffrep)
    around = functional.interpolate(
        _as_tensor(picture)[None], size=(size, 8 * size), mode="bilinear", antialias=True, align_corners=False
    )[0]
    factor = 8 * size / rep.columns
    offsets = [round(offset * factor) for offset in window_offsets(rep.view_count, rep.columns)]
    return torch.stack([around.roll(-offset, dims=2)[..., :size] for offset in offsets])
