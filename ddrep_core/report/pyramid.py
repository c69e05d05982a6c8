"""A texture at several levels of detail."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ddrep_core.geometry.bake import BakedTexture
from ddrep_core.geometry.kept import kept

Level: TypeAlias = NDArray[np.float32] | NDArray[np.uint8]
MOST_SHEET_BYTES = 64 * 2**20
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

    @property
    def in_bytes(self) -> bool:
        """Whether the texture is kept in 8 bits."""
        return self._image.dtype == torch.uint8

    def level(self, number: int) -> Level:
        """[T / 2**number, …, 3] sRGB, in [0, 1] or in bytes; the coarsest where there is none as coarse as that."""
        number = min(number, self.levels - 1)
        if number not in self._made:
            self._made[number] = self._bytes(number) if self.in_bytes else self._floats(number)
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


class Sheets:
    """The textures of a mesh's parts, those of one kind on one sheet a level: hundreds are looked up at once.

    Args:
        pyramids: of each part, None where it has no texture.
    """

    def __init__(self, pyramids: Sequence[Pyramid | None]) -> None:
        self.pyramids = pyramids
        kinds: dict[tuple[int, bool], list[int]] = defaultdict(list)
        for number, pyramid in enumerate(pyramids):
            if pyramid is not None:
                kinds[pyramid.resolution, pyramid.in_bytes].append(number)
        self._alike = {number: numbers for numbers in kinds.values() for number in numbers}
        self._page = {number: page for numbers in kinds.values() for page, number in enumerate(numbers)}
        self._made: dict[tuple[int, int], Level] = {}

    def find(self, number: int, level: int) -> tuple[tuple[int, int], int]:
        """The sheet of a part's level, named by its first part and the level, and the part's page there."""
        pyramid, alike = self.pyramids[number], self._alike[number]
        assert pyramid is not None
        level = min(level, pyramid.levels - 1)
        size = (pyramid.resolution >> level) ** 2 * (3 if pyramid.in_bytes else 12)
        return ((number, level), 0) if len(alike) * size > MOST_SHEET_BYTES else ((alike[0], level), self._page[number])

    def level(self, sheet: tuple[int, int]) -> Level:
        """[P, H, W, 3] the pages of a sheet that `find` named."""
        number, level = sheet
        pyramid, alike = self.pyramids[number], self._alike[number]
        assert pyramid is not None
        if self.find(alike[-1], level)[0] != (alike[0], level) or len(alike) == 1:  # each on a sheet of its own
            return pyramid.level(level)[None]
        if sheet not in self._made:
            pages: list[Any] = [page.level(level) for page in (self.pyramids[n] for n in alike) if page is not None]
            self._made[sheet] = np.stack(pages)
        return self._made[sheet]
