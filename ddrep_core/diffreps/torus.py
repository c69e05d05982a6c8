"""A picture that tiles: a canvas whose opposite sides meet, seen through cyclic shifts of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from scipy import sparse
from torch import Tensor

from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.diffreps.panorama import feathered
from ddrep_core.noise.matrix import MatrixNoise
from ddrep_core.sparse import torch_csr

SHIFTS_ALONG = 2
"""Views along each side, evenly shifted: every border of one is the middle of another."""


class TorusDiffrep(MatrixDiffrep):
    """f(θ, π) = the canvas θ [h w, C], rolled by π's offset: each view is all of it, cut open at another place.

    A prior draws a border as a border; what is cut open in one view lies in the middle of the others, and the one that
    sees a place in its middle is believed (`feathered`). The noise lies on the canvas and is rolled with it.

    Args:
        image_shape: (C, h, w) of the canvas, and of every view.
        offsets: (down, right) of each view in pixels; an even grid of `SHIFTS_ALONG` ** 2 when not given.
        dtype, device: of θ.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        offsets: Sequence[tuple[int, int]] | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        channels, height, width = image_shape
        self.offsets = tuple(offsets) if offsets is not None else shifts(height, width)
        cells = torch.arange(height * width).reshape(height, width)
        chosen = torch.stack([cells.roll((-down, -right), (0, 1)) for down, right in self.offsets]).reshape(-1).numpy()
        size = (len(chosen), height * width)
        matrix = sparse.csr_array((np.ones(len(chosen)), chosen, np.arange(len(chosen) + 1)), size)
        weights = (feathered(height)[:, None] * feathered(width)).to(device, dtype)
        super().__init__(
            torch_csr(matrix, dtype, device),
            image_shape,
            columns=channels,
            pixel_weights=weights.expand(len(self.offsets), 1, -1, -1),
        )

    def noise_field(self) -> MatrixNoise:
        """White noise on the canvas: all views see the same noise at the same place."""
        shape = (self.view_count, *self.image_shape)
        return MatrixNoise(self._matrix.cpu(), shape, self.theta.dtype, self.theta.device)

    def canvas(self) -> Tensor:
        """[C, h, w]."""
        channels, height, width = self.image_shape
        return self.theta.detach().reshape(height, width, channels).permute(2, 0, 1)


def shifts(height: int, width: int, along: int = SHIFTS_ALONG) -> tuple[tuple[int, int], ...]:
    """(down, right) of along² evenly spread rolls, the first of none."""
    steps = range(along)
    return tuple((round(i * height / along), round(j * width / along)) for i in steps for j in steps)


def decode_torus(canvas: Tensor, decode: Callable[[Tensor], Tensor]) -> Tensor:
    """[3, H, W] float64 the canvas as a picture that tiles.

    The decoder sees the canvas cut open at evenly spread places, and its pictures are blended, each where it is far
    from its border: a roll of the canvas by such a shift is the same roll of the picture.

    Args:
        canvas: [C, h, w].
        decode: [B, C, h, w] -> [B, 3, H, W], sRGB in [0, 1].
    """
    _, height, width = canvas.shape
    offsets = shifts(height, width)
    pictures = decode(torch.stack([canvas.roll((-down, -right), (1, 2)) for down, right in offsets])).double().cpu()
    factor = pictures.shape[2] // height
    weight = feathered(pictures.shape[2])[:, None] * feathered(pictures.shape[3])
    total, weights = torch.zeros_like(pictures[0]), torch.zeros_like(weight)
    for (down, right), picture in zip(offsets, pictures, strict=True):
        back = (factor * down, factor * right)
        total += (picture * weight).roll(back, (1, 2))
        weights += weight.roll(back, (0, 1))
    return total / weights


def resized_around(picture: Tensor, width: int, height: int) -> Tensor:
    """[3, height, width] a tiling picture [3, H, W] at another size (Lanczos), tiling as before."""
    _, rows, columns = picture.shape
    if (rows, columns) == (height, width):
        return picture
    down, across = (max(4, -(-4 * side // max(new, 1)) + 1) for side, new in ((rows, height), (columns, width)))
    down, across = min(down, rows), min(across, columns)
    box = (across, down, across + columns, down + rows)
    channels = []
    for channel in picture.float().numpy():
        around = np.pad(channel, ((down, down), (across, across)), mode="wrap")
        channels.append(np.asarray(Image.fromarray(around).resize((width, height), Image.Resampling.LANCZOS, box=box)))
    return torch.from_numpy(np.stack(channels)).clamp(0, 1)
