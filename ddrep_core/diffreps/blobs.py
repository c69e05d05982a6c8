"""A budget of closed paths, one colour each, as a representation: what `ddrep vector` samples."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from ddrep_core.errors import RequestError
from ddrep_core.vector.layout import CORNERS, SIDE, blob_drawing, blob_svg, circle_points, scattered
from ddrep_core.vector.render import Numbers, Renderer

MOST_PATHS = 512
GREY = 0.9
COLOUR_SCALE = 2.0
FIT_SIDE = 128
"""Pixels of a picture that paths are fitted to: finer ones tell a path of one colour nothing more."""
RADII = (1 / 24, 1 / 12, 1 / 6, 1 / 3)
"""In pictures: of circles that a path may become."""
RENEWED_AT_ONCE = 4
GAIN = 1e-4
"""By how much a renewed path must lower the squared error of the picture (of three channels, the mean over pixels)."""
IDLE = 1e-4
"""Of the same error: what a path may be worth that is used anew. A pale stem on white is worth little, and stays."""
WORTH = 2.0
"""Times as much as what it showed before was worth: a path that is taken away leaves an error of its own."""
SEEN = 2e-5
"""What a path of the file changes of the picture, as above: a thirtieth of one of 64 x 64 pixels, if it is black."""


class BlobsDiffrep:
    """f(θ): paths over white, sRGB in 0..1, the last in front. One view.

    θ is each path's control points [P, 3 CORNERS, 2] in canvas sides, and its colour [P, 3], in halves of sRGB's range
    so that one learning rate serves both.

    Args:
        paths: P, 1 to 512.
        height, width: of the picture.

    Raises:
        RequestError: no paths, or too many.
    """

    learning_rate = 0.006
    """What descent may move θ by in one step: 0.4 of 64 pixels, three grey levels."""
    passes = 16
    """Of descent in each pull-back."""

    def __init__(
        self,
        paths: int,
        height: int,
        width: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if not 1 <= paths <= MOST_PATHS:
            raise RequestError(f"A drawing of {paths} paths is not possible.", f"Use 1 to {MOST_PATHS}.")
        self.paths = paths
        drawing, _ = blob_drawing(paths)
        self.renderer = Renderer(drawing, height, width, dtype, device, subsamples=1)
        shrunk = min(1.0, FIT_SIDE / max(height, width))
        size = max(1, round(height * shrunk)), max(1, round(width * shrunk))
        self._small = self.renderer if shrunk == 1 else Renderer(drawing, *size, dtype, device, subsamples=1)
        self._start = Numbers.of(drawing, dtype, device)
        self.theta = {
            "points": torch.zeros(paths, 3 * CORNERS, 2, dtype=dtype, device=device),
            "colours": torch.zeros(paths, 3, dtype=dtype, device=device),
        }
        self.reset(torch.Generator().manual_seed(0))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return 3, self.renderer.height, self.renderer.width

    @property
    def view_count(self) -> int:
        return 1

    def parameters(self) -> dict[str, Tensor]:
        return self.theta

    def pixel_weights(self) -> Tensor | None:
        return None

    def reset(self, generator: torch.Generator) -> None:
        """Light grey circles of all sizes, scattered."""
        self.theta["points"].copy_(circle_points(scattered(self.paths, generator)))
        self.theta["colours"].fill_(GREY / COLOUR_SCALE)

    def numbers(self) -> Numbers:
        """Those of the drawing that is drawn."""
        points, colours = self.theta["points"], self.theta["colours"] * COLOUR_SCALE
        closed = torch.cat([points, points[:, :1]], dim=1) * SIDE
        background = slice(0, 4), slice(0, 1)
        return replace(
            self._start,
            coordinates=torch.cat([self._start.coordinates[background[0]], closed.flatten()]),
            colours=torch.cat([self._start.colours[background[1]], colours]),
            opacities=torch.ones_like(self._start.opacities),
        )

    def render(self, indices: Tensor | None = None) -> Tensor:
        picture = self.renderer.over(self.numbers())[None]
        return picture if indices is None else picture[torch.zeros_like(indices)]

    def render_and_penalty(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The picture; nothing is paid beside its error."""
        images = self.render(indices)
        return images, images.new_zeros(())

    def copy(self) -> Self:
        twin = copy.copy(self)
        twin.theta = {name: tensor.detach().clone() for name, tensor in self.theta.items()}
        return twin

    def small(self) -> Self:
        """The same θ, drawn small enough to be fitted quickly."""
        twin = copy.copy(self)
        twin.renderer = self._small
        return twin

    def effects(self) -> Tensor:
        """[P] by how much the picture would change without each path: squared, the mean over pixels."""
        with torch.no_grad():
            numbers = self.numbers()
            alpha = self.renderer.covered(numbers)[1:, None]  # [P, 1, H, W]
            colours = numbers.colours[1:].clamp(0, 1)[:, :, None, None]
            below, change = torch.ones_like(alpha[0]).expand(3, -1, -1), []
            for own, colour in zip(alpha, colours, strict=True):
                change.append(own * (colour - below))
                below = below + change[-1]
            above, found = torch.ones_like(alpha[0]), []
            for own, difference in zip(alpha.flip(0), change[::-1], strict=True):
                found.append((above * difference).square().sum(0).mean())
                above = above * (1 - own)
        return torch.stack(found[::-1])

    def renew(self, target: Tensor) -> list[int]:
        """Paths that hardly count become circles in front, where they bring the picture nearest to the target.

        Each goes where, of all circles in the mean colour of what they cover, one lowers the squared error most (as
        LIVE, Ma et al. 2022, adds paths).

        Args:
            target: [3, H, W] what the picture should become.

        Returns:
            the paths as they lie now, each by its number before, and −1 where it is new; empty where none was renewed.
        """
        effects, order = self.effects().sort()
        with torch.no_grad():
            drawn = self.render()[0]
            circles, colours = [], []
            for effect in effects[effects < IDLE][:RENEWED_AT_ONCE].tolist():
                place = best_circle(drawn, target)
                if place is None or place[0] < max(GAIN, WORTH * effect):
                    break
                _, circle, inside, colour = place
                drawn = torch.where(inside, colour[:, None, None], drawn)
                circles.append(circle)
                colours.append(colour)
            if not circles:
                return []
            gone = order[: len(circles)].tolist()
            kept = [path for path in range(self.paths) if path not in gone]
            for tensor in self.theta.values():
                tensor.copy_(tensor[kept + gone])
            points = circle_points(torch.stack(circles))
            self.theta["points"][-len(gone) :] = points
            self.theta["colours"][-len(gone) :] = torch.stack(colours) / COLOUR_SCALE
        return kept + [-1] * len(gone)

    def svg(self, title: str = "") -> str:
        """The file; paths without which the picture would look the same are left out."""
        with torch.no_grad():
            points, colours = self.theta["points"].cpu(), (self.theta["colours"] * COLOUR_SCALE).clamp(0, 1).cpu()
        seen = (self.effects() > SEEN).cpu()
        colours = (colours * 255).round() / 255
        return blob_svg(points[seen], colours[seen], torch.ones(int(seen.sum())), title)


def best_circle(drawn: Tensor, target: Tensor) -> tuple[float, Tensor, Tensor, Tensor] | None:
    """Where a circle of one colour brings a picture [3, H, W] nearest to a target.

    Returns:
        by how much (of three channels, the mean over pixels), (x, y, radius) in picture sides, the pixels inside
        [H, W], and the colour [3]; None where no circle does.
    """
    _, height, width = target.shape
    across = torch.arange(width, device=target.device) + 0.5
    down = torch.arange(height, device=target.device) + 0.5
    best = None
    error = (target - drawn).square().sum(0)
    sums = torch.cat([error[None], target.square().sum(0)[None], target, torch.ones_like(error)[None]])[:, None]
    for share in RADII:
        radius = max(share * max(height, width), 1.0)
        reach = int(radius)
        offset = torch.arange(-reach, reach + 1, device=target.device)
        disc = ((offset[:, None] ** 2 + offset[None] ** 2) <= radius**2).to(target)[None, None]
        found = functional.conv2d(sums, disc, padding=reach)[:, 0]
        now, squares, total, count = found[0], found[1], found[2:5], found[5]
        gains = now - (squares - total.square().sum(0) / count)
        value, place = gains.flatten().max(0)
        if best is None or float(value) > best[0]:
            row, column = divmod(int(place), width)
            best = float(value), radius, row, column, total[:, row, column] / count[row, column]
    if best is None or best[0] <= 0:
        return None
    gain, radius, row, column, colour = best
    x, y = column + 0.5, row + 0.5
    inside = (across[None] - x) ** 2 + (down[:, None] - y) ** 2 <= radius**2
    circle = target.new_tensor([x / width, y / height, radius / max(height, width)])
    return gain / (height * width), circle, inside, colour
