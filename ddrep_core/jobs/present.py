"""What a mesh wears before a job, and what of it stays: pictures and masks in UV space, seen from the job's views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import Baker, Worn
from ddrep_core.geometry.base_color import base_color
from ddrep_core.geometry.mesh import Mesh, Part
from ddrep_core.geometry.texels import rasterize
from ddrep_core.jobs.blocks import OfObject, TextureRequest
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.pictures import read_picture_file, to_bytes
from ddrep_core.priors.protocol import Prior
from ddrep_core.sampling.given import Given
from ddrep_core.solvers.choose import choose_solver

WHITE = 128  # of a mask's values: this and above is kept
WHOLLY = 1 - 1e-4
BEHIND = 1.0  # sRGB of what lies behind the mesh, where a picture of it has to have a background
"""White, as things stand in most pictures of one thing. Nothing is known of it, and nothing is kept of it."""


def worn_by(mesh: Mesh, settings: TextureRequest, folder: JobFolder) -> dict[str, Worn]:
    """What each textured part wears, by its name, and what of that is kept; empty where the job does not ask.

    Raises:
        RequestError: a mask or a picture of another size, unreadable, or of no object that is textured; a mask that
            keeps nothing, or everything; nothing worn to start from.
    """
    if settings.strength is not None and not settings.from_texture:
        raise RequestError("--strength says how far to go from what is worn now.", "Add --from-texture.")
    if not settings.keep and not settings.from_texture:
        if settings.base:
            raise RequestError(
                "There is a picture of what is worn now, but nothing is to be kept of it.",
                "Add --keep or --from-texture, or leave --base out.",
            )
        return {}
    masks = _by_part(mesh, settings.keep, "mask")
    bases = _by_part(mesh, settings.base, "picture")
    size, found = settings.resolution, {}
    for part in mesh.textured_parts:
        mask, base = masks.get(part.name), bases.get(part.name)
        if mask is None and not settings.from_texture:
            continue
        if part.unwrapped and (mask is not None or base is None):  # a result's picture lies in the UVs made for it
            raise RequestError(
                f"'{part.object_name}' has no UVs in {mesh.path.name}: nothing can be kept of what it wears.",
                "Unwrap it first, or texture it anew once and go on from the result's mesh.glb.",
            )
        kept = np.zeros((size, size), bool) if mask is None else _mask(folder.resolve(mask.file), size)
        picture = (
            base_color(mesh, part, folder.path)
            if base is None
            else pixels_of(folder.resolve(base.file), "picture", "RGB")
        )
        if picture is None:
            raise RequestError(
                f"'{_called(part)}' has no base-colour picture in {mesh.path.name}.",
                "Give one with --base, or leave out what asks for it (--keep, --from-texture).",
            )
        if picture.shape[:2] != (size, size):
            if mask is not None:
                raise _another_size(part, picture, size)
            picture = np.array(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))
        found[part.name] = Worn(picture, kept)
    if settings.keep:
        _refuse_nothing_or_all([(part, found[part.name]) for part in mesh.textured_parts if part.name in found], mesh)
    return found


def kept_of(
    mesh: Mesh, keep: Sequence[OfObject], pictures: Mapping[str, Tensor], size: int, folder: JobFolder
) -> dict[str, Worn]:
    """What stays of textures that are there, by the names of the parts of which anything does.

    Args:
        keep: masks in UV space, each `size` x `size`.
        pictures: [3, T, T] sRGB in [0, 1] what each textured part wears, by its name.

    Raises:
        RequestError: a mask or a picture of another size, unreadable, or of no object that is textured; masks that
            keep nothing, or everything.
    """
    if not keep:
        return {}
    masks, found = _by_part(mesh, keep, "mask"), {}
    for part in mesh.textured_parts:
        if (mask := masks.get(part.name)) is None:
            continue
        picture = to_bytes(pictures[part.name].permute(1, 2, 0).numpy())
        if picture.shape[:2] != (size, size):
            raise _another_size(part, picture, size)
        found[part.name] = Worn(picture, _mask(folder.resolve(mask.file), size))
    _refuse_nothing_or_all([(part, found[part.name]) for part in mesh.textured_parts if part.name in found], mesh)
    return found


def _another_size(part: Part, picture: NDArray[np.uint8], size: int) -> RequestError:
    return RequestError(
        f"The picture that '{_called(part)}' wears is {_size(picture)}, but the texture will be "
        f"{size} x {size}: kept texels would not stay what they are.",
        _same_size(picture),
    )


def _refuse_nothing_or_all(worn: Sequence[tuple[Part, Worn]], mesh: Mesh) -> None:
    """A mask that keeps nothing on its islands, or all of every one."""
    kept_all = len(worn) == len(mesh.textured_parts)
    for part, each in worn:
        inside = each.kept[rasterize(part, len(each.kept)).mask]
        if not inside.any() and each.kept.any():
            raise RequestError(
                f"The mask of '{_called(part)}' keeps no texel that lies on it.", "Was it made for another UV map?"
            )
        kept_all &= bool(inside.all())
    if not any(each.kept.any() for _, each in worn):
        raise RequestError(
            "The masks are all black: nothing would be kept.", "White is kept. Leave --keep out to paint everything."
        )
    if kept_all:
        raise RequestError("The masks keep everything: nothing is left to paint.", "Black is painted.")


def _by_part(mesh: Mesh, entries: Sequence[OfObject], what: str) -> dict[str, OfObject]:
    """By the names of textured parts, the entry of each: of its UDIM tile, of its object, or the one that names none.

    Raises:
        RequestError: an entry of nothing that is textured, two for one, one for several tiles.
    """
    textured = dict.fromkeys(_called(part) for part in mesh.textured_parts)
    found: dict[str, tuple[bool, OfObject]] = {}
    for entry in entries:
        of = [part for part in mesh.textured_parts if entry.object in (None, part.object_name, _called(part))]
        if not of:
            raise RequestError(
                f"There is a {what} for '{entry.object}', which is no object that is textured.",
                f"These are: {', '.join(textured)}.",
            )
        tiles = list(dict.fromkeys(_called(part) for part in of if part.tile))
        if len(tiles) > 1:
            raise RequestError(
                f"A {what} lies in one UDIM tile, and here it would be for {len(tiles)} ({', '.join(tiles[:8])}).",
                f"Name its tile: {tiles[0]}=PICTURE.",
            )
        for part in of:
            before = found.get(part.name)
            if before is not None and before[0] == (entry.object is not None):
                raise RequestError(f"There are two {what}s for '{_called(part)}'.", "Give one.")
            if before is None or entry.object is not None:
                found[part.name] = entry.object is not None, entry
    return {name: entry for name, (_, entry) in found.items()}


def _called(part: Part) -> str:
    """An object's name, of a UDIM tile with its number."""
    return f"{part.object_name}.{part.tile}" if part.tile else part.object_name


def _mask(path: Path, size: int) -> NDArray[np.bool_]:
    """[T, T] what a mask of a texture keeps."""
    kept = mask_of(path)
    if kept.shape != (size, size):
        raise RequestError(
            f"The mask {path.name} is {_size(kept)}, but the texture will be {size} x {size}.", _same_size(kept)
        )
    return kept


def mask_of(path: Path) -> NDArray[np.bool_]:
    """[H, W] what a mask keeps: white, and of a picture with alpha, opaque white."""
    pixels = pixels_of(path, "mask", "LA")
    return (pixels[..., 0] >= WHITE) & (pixels[..., 1] >= WHITE)


def pixels_of(path: Path, what: str, mode: str) -> NDArray[np.uint8]:
    """[H, W, C] bytes of a picture file in one of Pillow's modes. Raises a RequestError where it is none."""
    return np.array(read_picture_file(path, what).convert(mode))


def _size(pixels: NDArray[Any]) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]} pixels"


def _same_size(pixels: NDArray[Any]) -> str:
    height, width = pixels.shape[:2]
    if width == height:
        return f"Ask for --resolution {width}, or save it in the size of the texture."
    return "Save it in the size of the texture."


@dataclass(frozen=True)
class Present:
    """What the views of a job see of what is worn.

    Attributes:
        pictures: [V, 3, H, W] sRGB in [0, 1], white behind the mesh.
        kept: [V, 1, H, W] the share of each pixel that looks at what is kept.
    """

    pictures: Tensor
    kept: Tensor

    @classmethod
    def of(cls, baker: Baker, worn: Mapping[str, Worn]) -> Present:
        colours, share, kept = baker.drawn(worn)
        return cls((colours + BEHIND * (1 - share)).clamp(0, 1), kept)

    def given(self, rep: Diffrep, prior: Prior) -> Given | None:
        """What is therefore known of the views, in the prior's space; None where no pixel is known as a whole."""
        known = self.known(rep)
        if known is None:
            return None
        return Given(encoded(self.pictures, rep, prior), known, hold=1.0)  # all views show the same of it

    def known(self, rep: Diffrep) -> Tensor | None:
        """[V, 1, h, w] 1 where a pixel of the prior's space looks at what is kept and at nothing else, else 0."""
        whole = functional.adaptive_avg_pool2d(self.kept, rep.image_shape[1:]) >= WHOLLY
        return whole.float() if bool(whole.any()) else None

    def start(self, rep: Diffrep, prior: Prior) -> Diffrep:
        """A copy of the representation that shows what is worn."""
        rep = rep.copy()
        rep.reset(torch.Generator())
        solver, indices = choose_solver(rep), torch.arange(rep.view_count)
        targets, weights = encoded(self.pictures, rep, prior), rep.pixel_weights()
        weights = torch.ones_like(targets[:, :1]) if weights is None else weights
        for sigma in (1.0, 0.0):  # views that meet in RGB do so in the last
            solver.fit(rep, targets, indices, weights, sigma)
        return rep


def encoded(pictures: Tensor, rep: Diffrep, prior: Prior) -> Tensor:
    """[V, 3, H, W] sRGB as the representation has it, in the prior's space."""
    theta = next(iter(rep.parameters().values()))
    with torch.no_grad():
        return torch.cat([prior.encode(part.to(theta)).to(theta) for part in pictures.split(8)])
