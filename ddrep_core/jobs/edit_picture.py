"""`ddrep edit` of a picture, and of a panorama."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.diffreps.panorama import CanvasDiffrep, CylinderDiffrep, SphereDiffrep, window_offsets
from ddrep_core.diffreps.panorama_picture import equirectangular_places
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError
from ddrep_core.jobs.apart import OF_ANSWERS
from ddrep_core.jobs.blocks import EditRequest
from ddrep_core.jobs.edit_procedure import beside, carried_over, milder, procedure, show
from ddrep_core.jobs.folder import write_bytes
from ddrep_core.jobs.image import shape_for
from ddrep_core.jobs.kept_picture import KeptPicture, kept_part, windows_of
from ddrep_core.jobs.panorama import panorama, windows_around
from ddrep_core.jobs.panorama import previews as panorama_previews
from ddrep_core.jobs.session import MakePreviews, Preview, Session
from ddrep_core.jobs.task import Made, Stage
from ddrep_core.pictures import decode, on_white, png_bytes, read_picture_file, tensor_of, to_picture
from ddrep_core.priors.protocol import Prior
from ddrep_core.sampling.sample import Result, StepReport
from ddrep_core.sparse import identity
from ddrep_core.views import Views

SMALLEST_SIDE, LARGEST_SIDE = 8, 16_384
SHEET_SIDE = 512


class PictureDiffrep(MatrixDiffrep):
    """One picture that is its own parameters."""

    def __init__(self, latents: Tensor) -> None:
        channels, height, width = latents.shape
        matrix = identity(height * width, latents.dtype, latents.device)
        super().__init__(matrix, (channels, height, width), columns=channels)
        self.theta.copy_(self.to_rows(latents[None]))


def start_image(session: Session, settings: EditRequest, path: Path) -> Stage:
    """A picture in the prior's latents, of its own aspect and the prior's number of pixels."""
    picture, prior = _read(path), session.prior
    shape = shape_for(prior, picture.width / picture.height)
    factor = prior.image_size / max(prior.image_shape[1:])
    small = picture.resize((round(shape[2] * factor), round(shape[1] * factor)), Image.Resampling.LANCZOS)
    with torch.no_grad():
        latents = prior.encode(tensor_of(small)[None].to(prior.device))[0]
    dtype = torch.float64 if prior.dtype == torch.float64 else torch.float32
    rep = PictureDiffrep(latents.to(dtype))
    kept, known = _kept(session, settings, picture, rep)
    editing = EditedPicture(picture, _picture_of, rep, "image", kept, picture.width / rep.image_shape[2])
    recipe = session.recipe(rep, push=OF_ANSWERS)
    return Stage(procedure(session, recipe, known=known), editing.finish, _picture_previews)


def _kept(
    session: Session, settings: EditRequest, picture: Image.Image, rep: Diffrep
) -> tuple[KeptPicture | None, Tensor | None]:
    """What stays of a picture, and [V, 1, h, w] which pixels of the views therefore do.

    Raises:
        RequestError: several masks, or one that does not fit.
    """
    if not settings.keep:
        return None, None
    if len(settings.keep) > 1 or settings.keep[0].object is not None:
        raise RequestError("A picture has one mask, and no objects.", "Give it as --keep MASK.")
    mask, advice = session.folder.resolve(settings.keep[0].file), "Save the mask in the picture's size."
    kept = kept_part(np.array(picture), mask, picture.size, advice)
    known = kept.present(windows_of(rep, session.prior)).known(rep)
    if known is None:
        session.warn("What is kept is too small for the views: it stays, but the rest is edited without regard.")
    return kept, known


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
        kept: what of it stays.
        feather: pixels of the original to one of the prior's space.
        wraps: whether its left and right ends meet.
    """

    original: Image.Image
    draw: Callable[[Any, Prior, tuple[int, int]], Tensor]
    rep: Diffrep
    what: str
    kept: KeptPicture | None = None
    feather: float = 1.0
    wraps: bool = False

    def finish(self, session: Session, result: Result) -> Made:
        """Put the change on the picture, and write it."""
        session.stage("Drawing the picture")
        size = self.original.size
        before, after = (self.draw(rep, session.prior, size) for rep in (self.rep, result.diffrep))
        found = to_picture(carried_over(tensor_of(self.original), before, after))
        if self.kept is not None:
            found = self.kept.put(found, self.feather, self.wraps)
        path = session.outputs / f"{self.what}.png"
        write_bytes(path, png_bytes(found))
        compared = beside(session, lambda: [_small(self.original)], lambda: [_small(found)], [session.request.prompt])
        return Made({self.what: path}, illustrations=(compared,))


def _read(path: Path) -> Image.Image:
    return on_white(read_picture_file(path, smallest=SMALLEST_SIDE, largest=LARGEST_SIDE))


def _resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    found = functional.interpolate(
        picture[None].float().cpu(), size=(size[1], size[0]), mode="bicubic", antialias=True, align_corners=False
    )
    return found[0].clamp(0, 1)


def _small(picture: Image.Image) -> Image.Image:
    small = picture.copy()
    small.thumbnail((SHEET_SIDE, SHEET_SIDE), Image.Resampling.LANCZOS)
    return small


def start_panorama(session: Session, settings: EditRequest, path: Path) -> Stage:
    """A panorama's windows in the prior's latents, on a canvas."""
    picture, prior = _read(path), session.prior
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
    show(rep, latents.to(rep.theta))
    kept, known = _kept(session, settings, picture, rep)
    feather = picture.width / (windows_around(rep) * rep.image_shape[2])
    editing = EditedPicture(picture, _panorama_of, rep, "panorama", kept, feather, wraps=True)
    views = rep.cameras if isinstance(rep, SphereDiffrep) else None
    make_previews: MakePreviews = panorama_previews
    recipe = milder(session, session.recipe(rep, views, push=OF_ANSWERS))
    return Stage(procedure(session, recipe, known=known), editing.finish, make_previews)


def _panorama_of(rep: Any, prior: Prior, size: tuple[int, int]) -> Tensor:
    return _resized(panorama(rep, prior, size[0]), size)


def _looked_at(picture: Image.Image, cameras: Views, size: int) -> Tensor:
    """[V, 3, size, size] what cameras at the middle of an equirectangular picture see."""
    width = min(picture.width, 8 * size)  # twice as fine as the windows
    around = tensor_of(picture.resize((width, width // 2), Image.Resampling.LANCZOS))
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
        tensor_of(picture)[None], size=(size, 8 * size), mode="bilinear", antialias=True, align_corners=False
    )[0]
    factor = 8 * size / rep.columns
    offsets = [round(offset * factor) for offset in window_offsets(rep.view_count, rep.columns)]
    return torch.stack([around.roll(-offset, dims=2)[..., :size] for offset in offsets])
