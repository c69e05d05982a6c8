"""A part of a picture or a panorama that stays: read, seen by the job's views, and put back to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.panorama import CylinderDiffrep, SphereDiffrep, camera_directions, window_offsets
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.present import Present, mask_of, pixels_of
from ddrep_core.pictures import to_bytes
from ddrep_core.priors.protocol import Prior

AROUND = 12
"""A panorama as wide as so many windows has two pixels to each of theirs."""
Windows = Callable[[Tensor], Tensor]
"""[4, H, W], the whole -> [V, 4, h, w], what each view sees of it."""


@dataclass(frozen=True)
class KeptPicture:
    """What is there already, and what of it stays.

    Attributes:
        pixels: [H, W, 3] sRGB in 8 bits.
        kept: [H, W] booleans.
    """

    pixels: NDArray[np.uint8]
    kept: NDArray[np.bool_]

    def present(self, windows: Windows) -> Present:
        """What the views see of it; of a pixel that looks at what is not kept, too, nothing is known."""
        whole = torch.from_numpy(np.dstack([self.pixels / np.float32(255), self.kept.astype(np.float32)]))
        seen = windows(whole.permute(2, 0, 1).contiguous())
        return Present(seen[:, :3].clamp(0, 1), seen[:, 3:])

    def put(self, picture: Image.Image, feather: float, wraps: bool = False) -> Image.Image:
        """The picture with what is kept in its place.

        An autoencoder gives nothing back quite as it was, and so what was painted to suit may lie a shade off: what
        differs along the edge is carried on into what was painted, and fades within `feather` pixels.

        Args:
            picture: of the same size.
            wraps: whether its left and right ends meet.
        """
        painted = np.asarray(picture.convert("RGB"), np.float32)
        weight = self.kept.astype(np.float32)
        share = _blurred(weight, feather, wraps)
        for channel in range(3):
            gap = weight * (self.pixels[..., channel] - painted[..., channel])
            gap = _blurred(gap, feather, wraps) / np.maximum(share, 1e-6)
            painted[..., channel] += gap * np.minimum(1, 2 * share)
        return Image.fromarray(np.where(self.kept[..., None], self.pixels, to_bytes(painted / 255)))


SCHEDULE, STEPS = "repaint:1,1,2", 50
"""What is sampled given a part comes to each level twice: for twice the evaluations the right mode is drawn more often,
and means and variances are nearer (docs/control.md). Levels as many as a plain descent's, where nobody says."""


def _blurred(values: NDArray[Any], sigma: float, wraps: bool) -> NDArray[Any]:
    """[H, W] by a Gaussian; `wraps`: across the left and right ends."""
    down = ndimage.gaussian_filter1d(values, sigma, axis=0, mode="nearest")
    return np.asarray(ndimage.gaussian_filter1d(down, sigma, axis=1, mode="wrap" if wraps else "nearest"))


def read_kept(keep: str | None, base: str | None, folder: JobFolder, size: tuple[int, int]) -> KeptPicture | None:
    """What a request says stays; None where it says nothing.

    Args:
        size: (W, H) of what will be delivered.

    Raises:
        RequestError: a mask without a picture, or the other way round; either of another size or unreadable; a mask
            that keeps nothing, or everything.
    """
    if keep is None and base is None:
        return None
    if keep is None or base is None:
        there, missing = ("a mask", "--base") if base is None else ("a picture", "--keep")
        raise RequestError(f"There is {there} of what stays, but the other half is missing.", f"Add {missing}.")
    advice = "Save it in that size, or ask for its size (--width, --height)."
    return kept_part(pixels_of(folder.resolve(base), "picture", "RGB"), folder.resolve(keep), size, advice)


def kept_part(pixels: NDArray[np.uint8], mask: Path, size: tuple[int, int], advice: str) -> KeptPicture:
    """A mask's part of a picture.

    Args:
        pixels: [H, W, 3] sRGB.
        size: (W, H) of what will be delivered.
        advice: where either has another size.

    Raises:
        RequestError: either of another size; a mask that cannot be read, that keeps nothing, or everything.
    """
    kept = mask_of(mask)
    for what, found in (("picture", pixels), ("mask", kept)):
        if found.shape[:2] != size[::-1]:
            raise RequestError(
                f"The {what} of what stays is {found.shape[1]} x {found.shape[0]} pixels, but the result will be "
                f"{size[0]} x {size[1]}.",
                advice,
            )
    if not kept.any():
        raise RequestError("The mask is all black: nothing would be kept.", "White is kept.")
    if kept.all():
        raise RequestError("The mask keeps everything: nothing is left to paint.", "Black is painted.")
    return KeptPicture(pixels, kept)


def windows_of(rep: Diffrep, prior: Prior) -> Windows:
    """What each view of an image or of a panorama sees, in pictures of the prior's own scale."""
    factor = prior.image_size // max(prior.image_shape[1:])  # type: ignore[attr-defined]
    height, width = (factor * side for side in rep.image_shape[1:])
    if isinstance(rep, SphereDiffrep):
        places = [_equirectangular(camera_directions(camera, 2 * height, 2 * width)) for camera in rep.cameras]

        def look(whole: Tensor) -> Tensor:
            if (finer := whole.shape[2] // (AROUND * width)) > 1:  # no finer than the windows: every pixel counts
                whole = functional.avg_pool2d(whole, finer, ceil_mode=True)
            around = torch.cat([whole[:, :, -1:], whole, whole[:, :, :1]], dim=2)  # the ends meet
            stretch = torch.tensor([whole.shape[2] / around.shape[2], 1.0])
            seen = [
                functional.grid_sample(around[None], grid * stretch, "bilinear", "border", align_corners=False)
                for grid in places
            ]
            return functional.avg_pool2d(torch.cat(seen), 2)

        return look
    if isinstance(rep, CylinderDiffrep):
        offsets = [factor * offset for offset in window_offsets(rep.view_count, rep.columns)]

        def cut(whole: Tensor) -> Tensor:
            strip = functional.interpolate(whole[None], (height, factor * rep.columns), mode="area")[0]
            return torch.stack([strip.roll(-offset, dims=2)[:, :, :width] for offset in offsets])

        return cut
    return lambda whole: functional.interpolate(whole[None], (height, width), mode="area")


def _equirectangular(directions: NDArray[np.float64]) -> Tensor:
    """[1, h, w, 2] where directions [h, w, 3] lie in a panorama, -1 to 1 (`equirectangular_directions`)."""
    azimuth, elevation = np.arctan2(directions[..., 0], directions[..., 1]), np.arcsin(directions[..., 2].clip(-1, 1))
    return torch.from_numpy(np.stack([azimuth / np.pi, -2 * elevation / np.pi], axis=-1)).float()[None]
