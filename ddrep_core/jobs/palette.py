"""A job's palette: read from its picture, and what was made moved to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import OUTSIDE, BakedTexture, Baker
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.palette import ColourMap, Palette, palette_of, transport
from ddrep_core.pictures import read_picture_file

VISIBLE = 128  # of a picture's alpha: this and above belongs to the palette


class Coloured(Protocol):
    """Settings that may name a palette."""

    @property
    def palette(self) -> str | None: ...

    @property
    def palette_amount(self) -> float | None: ...


@dataclass(frozen=True)
class Wanted:
    """The palette that a job shall have, and how far its colours go towards it, 0..1."""

    palette: Palette
    amount: float

    def picture(self, picture: Image.Image) -> Image.Image:
        """A picture in these colours."""
        pixels = np.asarray(picture.convert("RGB"))
        return Image.fromarray(self._from(pixels.reshape(-1, 3))(pixels))

    def textures(self, baked: dict[str, BakedTexture], baker: Baker) -> dict[str, BakedTexture]:
        """All textures of a mesh, moved by one map, so that what was alike stays alike; what is kept stays as it is."""
        pixels = {name: texture.pixels() for name, texture in baked.items()}
        move = self._from(np.concatenate([pixels[name][baked[name].coverage != OUTSIDE] for name in baked]))
        moved = {
            name: BakedTexture(torch.from_numpy(move(image)).permute(2, 0, 1), baked[name].coverage)
            for name, image in pixels.items()
        }
        return baker.settled(moved)

    def _from(self, pixels: np.ndarray) -> ColourMap:
        return transport(palette_of(pixels), self.palette, self.amount)


def wanted_palette(settings: Coloured, folder: JobFolder) -> Wanted | None:
    """What the settings say; None where they name no palette.

    Raises:
        RequestError: a picture that cannot be read, or that is all transparent; an amount of nothing.
    """
    if settings.palette is None:
        if settings.palette_amount is not None:
            raise RequestError("--palette-amount says how far to go towards a palette.", "Add --palette PICTURE.")
        return None
    pixels = np.asarray(read_picture_file(folder.resolve(settings.palette)).convert("RGBA"))
    palette = palette_of(pixels[pixels[..., 3] >= VISIBLE][:, :3])
    return Wanted(palette, 1.0 if settings.palette_amount is None else settings.palette_amount)
