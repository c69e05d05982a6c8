"""A texture at several levels of detail."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ddrep_core.geometry.bake import BakedTexture
from ddrep_core.geometry.kept import kept

Level: TypeAlias = NDArray[np.float32] | NDArray[np.uint8]
LEAST_SIDE = 16  # no picture with a shorter side is halved


class Pyramid:
    """A texture, and half as fine each time; a level is made when it is asked for.

    Levels of a texture that is kept in 8 bits are so, too: of hundreds of large textures in one picture, floats and
    all levels of each would take several times the memory of the textures.

    Args:
        texture: as baked, or [3, T, T] sRGB.
    """

    def __init__(self, texture: BakedTexture | Tensor) -> None:
        image = texture.image if isinstance(texture, BakedTexture) else texture
        self._image = image
        self.resolution = int(image.shape[1])
        self.levels = 1  # how many there are
        sides = tuple(image.shape[1:])
        while min(sides) >> (self.levels - 1) >= LEAST_SIDE and all(side % (1 << self.levels) == 0 for side in sides):
            self.levels += 1
        self._made: dict[int, Level] = {}

    def level(self, number: int) -> Level:
        """[T / 2**number, …, 3] sRGB, in [0, 1] or in bytes; the coarsest where there is none as coarse as that."""
        number = min(number, self.levels - 1)
        if number not in self._made:
            self._made[number] = self._bytes(number) if self._image.dtype == torch.uint8 else self._floats(number)
        return self._made[number]

    def _bytes(self, number: int) -> NDArray[np.uint8]:
        pixels = self._image.permute(1, 2, 0).contiguous().numpy()
        return pixels if number == 0 else np.asarray(Image.fromarray(pixels).reduce(1 << number))

    def _floats(self, number: int) -> NDArray[np.float32]:
        if number == 0:
            return self._image.detach().to("cpu", torch.float32).permute(1, 2, 0).contiguous().numpy()
        last = torch.from_numpy(self.level(number - 1))
        halves = last.reshape(last.shape[0] // 2, 2, last.shape[1] // 2, 2, 3)
        return halves.mean(dim=(1, 3)).numpy()


def pyramid_of(texture: BakedTexture | Tensor | None) -> Pyramid | None:
    """A texture's levels; those of one in 8 bits are made once for all pictures."""
    if isinstance(texture, BakedTexture) and texture.in_bytes:
        return kept(texture, "pyramid", lambda: Pyramid(texture))
    return None if texture is None else Pyramid(texture)
