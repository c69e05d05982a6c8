"""A vector drawing as a representation: θ is its control points, colours, opacities and stroke widths."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import fields, replace
from typing import Self

import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.vector.drawing import Drawing
from ddrep_core.vector.markup import Markup
from ddrep_core.vector.render import Numbers, Renderer
from ddrep_core.vector.writer import write_svg

KINDS = tuple(field.name for field in fields(Numbers))
SCALES = {"coordinates": 1.0, "colours": 2.0, "opacities": 2.0, "widths": 0.25}
"""What one unit of θ is: canvas sides, the range of colours and opacities, canvas sides."""


class VectorDiffrep:
    """f(θ): the drawing on white, sRGB in 0..1. One view.

    Args:
        drawing, markup: as `vector.read_svg` and `vector.layout.blobs` give them.
        height, width: of the picture.
        moving: which kinds of numbers are θ ("coordinates", "colours", "opacities", "widths"); the others stay.
        subsamples: as for `vector.render.Renderer`.

    Raises:
        RequestError: nothing that shows of the drawing can move, or the picture is larger than we draw.
    """

    learning_rate = 0.006
    """What descent may move θ by in one step: 0.4 of 64 pixels, three grey levels."""
    passes = 16
    """Of descent in each pull-back."""

    def __init__(
        self,
        drawing: Drawing,
        markup: Markup,
        height: int,
        width: int,
        *,
        moving: Collection[str] = KINDS,
        subsamples: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.drawing, self.markup = drawing, markup
        self.renderer = Renderer(drawing, height, width, dtype, device, subsamples)
        self.start = Numbers.of(drawing, dtype, device)
        self.scale, self.free = {}, {}
        for kind in KINDS:
            values: Tensor = getattr(self.start, kind)
            units = {"coordinates": drawing.units, "widths": drawing.width_units}.get(kind, [1.0] * len(values))
            self.scale[kind] = torch.tensor(units, dtype=dtype, device=device) * SCALES[kind]
            free = [kind in moving and index not in drawing.still[kind] for index in range(len(values))]
            self.free[kind] = torch.tensor(free, dtype=torch.bool, device=device).nonzero().flatten()
        self.theta = {
            kind: torch.zeros_like(getattr(self.start, kind)[self.free[kind]]) for kind in KINDS if len(self.free[kind])
        }
        """What is added to the file's numbers, in `SCALES`."""
        if not self.theta or not self._shows():
            missing = "; ".join(drawing.not_drawn[:3])
            raise RequestError(
                f"The drawing holds nothing that can move and shows{f' ({missing})' if missing else ''}.",
                "Give one with paths or other shapes on its canvas.",
            )

    def _shows(self) -> bool:
        """Whether the picture changes with θ at all: paths may be empty, see-through, or lie beside the canvas."""
        with torch.enable_grad():
            leaves = [tensor.clone().requires_grad_(True) for tensor in self.theta.values()]
            picture = self.renderer.over(self._moved(dict(zip(self.theta, leaves, strict=True))))
            if not picture.requires_grad:
                return False
            uneven = torch.linspace(1, 2, picture.numel(), dtype=picture.dtype, device=picture.device)
            total = (picture.flatten() * uneven).sum()
            slopes = [  # both ways: black is at the end of one
                slope
                for way in (1, -1)
                for slope in torch.autograd.grad(way * total, leaves, retain_graph=True, allow_unused=True)
            ]
        return any(slope is not None and bool((slope != 0).any()) for slope in slopes)

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
        """The drawing as it was given."""
        for tensor in self.theta.values():
            tensor.zero_()

    def render(self, indices: Tensor | None = None) -> Tensor:
        picture = self.renderer.over(self.numbers())[None]
        return picture if indices is None else picture[torch.zeros_like(indices)]

    def render_and_penalty(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The picture; nothing is paid beside its error."""
        images = self.render(indices)
        return images, images.new_zeros(())

    def numbers(self) -> Numbers:
        """The drawing's numbers as they are now."""
        return self._moved(self.theta)

    def _moved(self, theta: dict[str, Tensor]) -> Numbers:
        found = {}
        for kind in KINDS:
            values: Tensor = getattr(self.start, kind)
            if kind in theta:
                scale = self.scale[kind][self.free[kind]]
                moved = theta[kind] * (scale[:, None] if values.ndim == 2 else scale)
                values = values.index_add(0, self.free[kind], moved)
            found[kind] = values
        return Numbers(**found)

    def moving_colours(self) -> Tensor:
        """[K, 3] the colours that may move, as they are drawn now."""
        return self.numbers().colours[self.free["colours"]].clamp(0, 1)

    def colour_shares(self) -> Tensor:
        """[K, H, W] how much of each pixel shows each colour that may move: the picture is linear in them."""
        numbers, columns = self.numbers(), self.free["colours"]
        shares = []
        for three in columns.split(3):  # a colour a channel
            lit = torch.zeros_like(numbers.colours)
            lit[three, torch.arange(len(three), device=lit.device)] = 1
            shares.append(self.renderer.render(replace(numbers, colours=lit))[: len(three)])
        return torch.cat(shares)

    def recolour(self, change: Tensor) -> None:
        """Move the colours that may move by [K, 3], in place."""
        theta = self.theta["colours"]
        wanted = self.moving_colours() + change.to(theta)
        theta.copy_((wanted - self.start.colours[self.free["colours"]]) / SCALES["colours"])

    def svg(self) -> bytes:
        """The file, with what moved."""
        return write_svg(self.drawing, self.markup, self.numbers())

    def copy(self) -> Self:
        twin = copy.copy(self)
        twin.theta = {name: tensor.detach().clone() for name, tensor in self.theta.items()}
        return twin
