"""A representation of pictures under a prior that denoises latents."""

from __future__ import annotations

import copy
from typing import Generic, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.pictures import unchanged

LINES = 0.4
"""How much of the light and dark of its fine lines is kept where an edited picture changed: with all of it old outlines
hold back the new colour, with none of it they fade (docs/vector.md)."""

Inner = TypeVar("Inner", bound=Diffrep)


class Codec(Protocol):
    """What turns pictures into what is denoised, and back: a prior."""

    def encode(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] sRGB in [0, 1] -> [B, C, h, w]."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, 3, H, W] sRGB in [0, 1]."""
        ...


@runtime_checkable
class Smaller(Diffrep, Protocol):
    """Pictures of which a smaller version of the same θ is enough to be fitted by."""

    def small(self) -> Diffrep:
        """Shares θ."""
        ...


class EncodedDiffrep(Generic[Inner]):
    """f(θ, π) = encode(pictures(θ, π)), differentiable through the encoder.

    Args:
        pictures: renders [B, 3, H, W] sRGB in [0, 1]; its θ is this one's.
        codec: the prior's autoencoder.
    """

    def __init__(self, pictures: Inner, codec: Codec) -> None:
        self.pictures, self.codec = pictures, codec
        self.original: tuple[Tensor, Tensor, Tensor] | None = None
        """[B, 3, H, W] of what is edited: the pictures through the autoencoder, what that loses of them, and what of
        that is kept where they change: a share of the light and dark of fine lines."""
        with torch.no_grad():
            self._shape = tuple(codec.encode(pictures.render(torch.zeros(1, dtype=torch.long))).shape[1:])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self._shape[0], self._shape[1], self._shape[2]

    @property
    def view_count(self) -> int:
        return self.pictures.view_count

    def parameters(self) -> dict[str, Tensor]:
        return self.pictures.parameters()

    def reset(self, generator: torch.Generator) -> None:
        self.pictures.reset(generator)

    def render(self, indices: Tensor | None = None) -> Tensor:
        drawn = self.pictures.render(indices)
        return self.codec.encode(drawn).to(drawn)

    def pixel_weights(self) -> Tensor | None:
        own = self.pictures.pixel_weights()
        return None if own is None else functional.interpolate(own, self.image_shape[1:], mode="area")

    def copy(self) -> Self:
        twin = copy.copy(self)
        twin.pictures = self.pictures.copy()
        return twin

    def fitted(self) -> Diffrep:
        """The pictures that are fitted to decoded targets, perhaps in a smaller size; with this θ."""
        return self.pictures.small() if isinstance(self.pictures, Smaller) else self.pictures

    def edited(self) -> Self:
        """A copy that is edited from what it shows now, in one view: `decode` gives back what the autoencoder loses."""
        twin = self.copy()
        with torch.no_grad():
            drawn = self.pictures.render()
            before = self.codec.decode(self.codec.encode(drawn)).to(drawn)
            lost = drawn - before
            twin.original = before, lost, LINES * (lost - _wide(lost)).mean(1, keepdim=True).expand_as(lost)
        return twin

    def decode(self, latents: Tensor) -> Tensor:
        """What latents [B, C, h, w] look like: [B, 3, H, W] sRGB in [0, 1], without a graph.

        Of what is edited, with what the autoencoder loses of the original: all of it where little changed, and where
        much did a share of the light and dark of its fine lines alone, for old colours would shine through the new.
        """
        with torch.no_grad():
            pictures = self.codec.decode(latents).to(latents)
            if self.original is None:
                return pictures
            before, lost, lines = self.original
            kept = unchanged(_wide((pictures - before).abs().amax(1, keepdim=True)))
            return (pictures + torch.lerp(lines, lost, kept)).clamp(0, 1)


def _wide(pictures: Tensor) -> Tensor:
    """Averages over an eighth of a picture's side."""
    side = max(1, pictures.shape[-1] // 16) * 2 + 1
    return functional.avg_pool2d(pictures, side, 1, side // 2, count_include_pad=False)
