"""Pictures that single views shall show: read, brought into the view's frame, and carried over to the other views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import SEEN, BakedTexture, Baker, Worn
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.jobs.blocks import Pin
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.placement import Placement
from ddrep_core.jobs.present import BEHIND, WHOLLY, encoded
from ddrep_core.pictures import read_picture_file
from ddrep_core.priors.protocol import Prior
from ddrep_core.sampling.given import HOLD_WEIGHT, Given
from ddrep_core.views import Camera, Views

RAYS = 8  # along a pixel's side, when a picture is brought into a view's frame
SAME_ASPECT = 0.01
CARRIED = 0.8
"""How far other views believe what one view's picture says of the surface: its light and its blur are that view's."""
TEXELS_A_PIXEL = 2  # along a side, of the texture that carries it over
OPAQUE = 0.99


@dataclass(frozen=True)
class Pinned:
    """What views shall show.

    Attributes:
        pictures: [V, 3, H, W] sRGB in [0, 1], white where nothing is pinned.
        weights: [V, 1, H, W] how far each pixel is believed; all 0 where a view is not pinned.
        held: [V] whether a view is pinned.
    """

    pictures: Tensor
    weights: Tensor
    held: tuple[bool, ...]

    @property
    def numbers(self) -> list[int]:
        """Of the views that are pinned."""
        return [number for number, held in enumerate(self.held) if held]

    def shown(self, pictures: Tensor) -> Tensor:
        """[V, 3, H, W] with what is pinned in its place, as far as it is believed."""
        return torch.lerp(pictures, self.pictures, self.weights)

    def heavier(self, views: Views) -> Views:
        """The same cameras, pinned ones with the weight that an observation has."""
        cameras = [
            replace(camera, weight=camera.weight * HOLD_WEIGHT) if held else camera
            for camera, held in zip(views, self.held, strict=True)
        ]
        return replace(views, cameras=tuple(cameras))

    def given(self, mesh: Mesh, views: Views, rep: Diffrep, prior: Prior, carry: bool = True) -> Given:
        """What is therefore known of all views, in the prior's space.

        A pinned view is held where its picture is opaque. What it shows of the surface is carried over to the others by
        a texture, and believed less there.

        Args:
            carry: not, where the others join it one by one: what is painted tells them.
        """
        height, width = rep.image_shape[1:]
        pictures, weights = self.pictures.clone(), functional.adaptive_avg_pool2d(self.weights, (height, width))
        weights = torch.where(weights >= WHOLLY, 1.0, (2 * weights - 1).clamp_min(0.0))
        if carry and len(self.numbers) < len(views):
            carried, share = self._carried(mesh, views)
            others = [number for number in range(len(views)) if not self.held[number]]
            pictures[others] = carried[others]
            known = functional.adaptive_avg_pool2d(share[others], (height, width)) >= WHOLLY
            weights[others] = CARRIED * known.float()
        return Given(encoded(pictures, rep, prior), weights)

    def _carried(self, mesh: Mesh, views: Views) -> tuple[Tensor, Tensor]:
        """[V, 3, H, W] how all views see what the pinned ones show, and [V, 1, H, W] the share of each pixel known."""
        shape = self.pictures.shape[2], self.pictures.shape[3]
        resolution = TEXELS_A_PIXEL * max(shape)
        own = Baker(mesh, views[self.numbers], resolution, shape)
        colours = own.bake(self.pictures[self.numbers])
        opaque = own.bake(self.weights[self.numbers].expand(-1, 3, -1, -1))
        worn = {
            name: Worn(texture.pixels(), (texture.coverage == SEEN) & (opaque[name].texture[0].numpy() > OPAQUE))
            for name, texture in colours.items()
        }
        seen, share, known = Baker(mesh, views, resolution, shape).drawn(worn)
        return (seen + BEHIND * (1 - share)).clamp(0, 1), known

    def differences(self, baker: Baker, baked: dict[str, BakedTexture], views: Views) -> dict[str, float]:
        """By camera, how far the finished texture is from its picture: the mean difference in sRGB, 0..1, over the
        pixels that show nothing but the mesh and are wholly pinned."""
        plain = {
            name: Worn(texture.pixels(), np.zeros(texture.coverage.shape, bool)) for name, texture in baked.items()
        }
        seen, share, _ = baker.drawn(plain)
        found = {}
        for number in self.numbers:
            inside = (share[number, 0] >= WHOLLY) & (self.weights[number, 0] >= WHOLLY)
            if bool(inside.any()):
                gap = (seen[number] - self.pictures[number])[:, inside]
                found[views[number].name] = round(float(gap.abs().mean()), 4)
        return found


def read_pins(
    pins: Sequence[Pin], cameras: Views | Placement, views: Views, folder: JobFolder, size: tuple[int, int]
) -> Pinned | None:
    """The pictures of the views that are sampled, in their frames; None where none is pinned.

    Args:
        cameras: as the job names them; the pictures are in their frames, or in the views' where the engine placed them.
        views: that are sampled.
        size: (H, W) of the views' pictures.

    Raises:
        RequestError: a camera that there is not, that is not sampled, or that is pinned twice; a picture of another
            aspect than its camera, unreadable, or all transparent; all of all views pinned.
    """
    if not pins:
        return None
    framed = {camera.name: number for number, camera in enumerate(views)}
    originals = {camera.name: camera for camera in (cameras if isinstance(cameras, Views) else views)}
    pictures = torch.full((len(views), 3, *size), BEHIND)
    weights = torch.zeros(len(views), 1, *size)
    for pin in pins:
        if pin.camera not in originals:
            names = ", ".join(list(originals)[:16])
            raise RequestError(
                f"There is a picture for the camera '{pin.camera}', which is none.", f"There are: {names}."
            )
        if pin.camera not in framed:
            raise RequestError(
                f"The camera '{pin.camera}' sees nothing that it could paint, so nothing can be pinned in it.",
                "Turn it to the mesh, or leave its picture out.",
            )
        number = framed[pin.camera]
        if bool(weights[number].any()):
            raise RequestError(f"There are two pictures for the camera '{pin.camera}'.", "Give one.")
        pixels = _read(folder, pin, originals[pin.camera])
        colour, opacity = in_frame(pixels, originals[pin.camera], views[number], size)
        pictures[number], weights[number] = torch.lerp(pictures[number], colour, opacity), pin.weight * opacity
        if not bool((opacity > 0).any()):
            raise RequestError(
                f"The picture for the camera '{pin.camera}' is transparent wherever the mesh is.", "Opaque is held."
            )
    held = tuple(bool(each) for each in weights.flatten(1).any(1))
    if bool((weights >= WHOLLY).all()):
        raise RequestError("All of every view is pinned: nothing is left to paint.", "Leave a view out.")
    return Pinned(pictures, weights, held)


def _read(folder: JobFolder, pin: Pin, camera: Camera) -> NDArray[np.uint8]:
    pixels = np.asarray(read_picture_file(folder.resolve(pin.file)).convert("RGBA"))
    height, width = pixels.shape[:2]
    if abs(width * camera.height / (height * camera.width) - 1) > SAME_ASPECT:
        raise RequestError(
            f"The picture for the camera '{camera.name}' is {width} x {height}, and the camera's own pictures are "
            f"{camera.width} x {camera.height}.",
            "Give one of the same aspect: what lies where would be told wrongly.",
        )
    return pixels


def in_frame(pixels: NDArray[np.uint8], camera: Camera, framed: Camera, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A camera's picture as the same camera with another frame sees it.

    Args:
        pixels: [H', W', 4] RGBA.
        camera, framed: they differ in what part of the picture plane they take (`jobs.views.square_frame`).
        size: (H, W).

    Returns:
        [3, H, W] colours in [0, 1], and [1, H, W] opacity; transparent outside the camera's own picture.
    """
    height, width = size
    crop = framed.projection @ np.linalg.inv(camera.projection)
    x = (2 * (np.arange(width * RAYS) + 0.5) / (width * RAYS) - 1 - crop[0, 3]) / crop[0, 0]
    y = (1 - 2 * (np.arange(height * RAYS) + 0.5) / (height * RAYS) - crop[1, 3]) / crop[1, 1]
    across, down = np.meshgrid(x, -y)
    grid = torch.from_numpy(np.stack([across, down], axis=-1)).float()[None]
    picture = torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)[None]
    picture = torch.cat([picture[:, :3] * picture[:, 3:], picture[:, 3:]], dim=1)
    # Beyond the border the colours at it go on, and opacity ends there sharply: a pixel at the border stays opaque.
    found = functional.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)
    found = found * ((grid.abs() <= 1).all(-1))[:, None]
    found = functional.avg_pool2d(found, RAYS)[0]
    opacity = found[3:].clamp(0, 1)
    return (found[:3] / opacity.clamp_min(1e-6)).clamp(0, 1), opacity
