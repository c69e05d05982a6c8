"""A mesh's texture whose views meet in RGB, under a prior that denoises latents."""

from __future__ import annotations

import copy
from typing import Protocol, Self

import torch
from torch import Tensor

from ddrep_core.diffreps.texture import TextureDiffrep
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.noise.matrix import MatrixNoise
from ddrep_core.noise.surface import surface_noise
from ddrep_core.progress import Progress, portion, unheard
from ddrep_core.views import Views

GREY = 0.5  # where an RGB texture starts


class LatentPrior(Protocol):
    """What a prior of latents has to offer here."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of its latents."""
        ...

    @property
    def image_size(self) -> int:
        """Side of its pictures, in pixels."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] sRGB in [0, 1] -> latents [B, C, h, w]."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, C, h, w] -> [B, 3, H, W] sRGB in [0, 1]."""
        ...


class ImageTextureDiffrep:
    """f(θ, π) = (Aθ)_π + ρ_π: a texture of latents, with what each view shows brought back to one RGB texture.

    Latents are not quite colours. They know their neighbours and which way is up, so that one latent texel is brown
    in one view and green in the next, and views that agree on latents do not agree on what one sees. Here the views
    meet in RGB, too: their pictures are decoded, one RGB texture is fitted to all of them, and drawn and encoded
    again; each view's offset ρ_π then says how its latents differ from the texture of latents. Because an autoencoder
    does not give back what it is given, ρ_π takes only the *change* that meeting made, encode(R_π θ_RGB) −
    encode(picture): views that agree already stay exactly what the prior wanted them to be.

    Meeting costs a decoding and two encodings of all views, as much as the prior itself where the prior is small. In
    between, the views move together by the texture of latents, which is linear in θ. How often they meet is the
    solver's to choose (`solvers.meeting.PictureSolver`).

    Args:
        mesh, views, resolution, texels_per_pixel, dtype, device: as for `TextureDiffrep`; of both textures.
        progress: told what share of this is done.
        prior: whose latents are sampled, with its autoencoder.
    """

    def __init__(
        self,
        mesh: Mesh,
        views: Views,
        prior: LatentPrior,
        resolution: int = 1024,
        *,
        texels_per_pixel: float = 0.25,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        progress: Progress = unheard,
    ) -> None:
        self._prior = prior

        def texture(channels: int, view_size: tuple[int, int], progress: Progress) -> TextureDiffrep:
            return TextureDiffrep(
                mesh,
                views,
                resolution,
                channels,
                view_size=view_size,
                texels_per_pixel=texels_per_pixel,
                dtype=dtype,
                device=device,
                progress=progress,
            )

        channels, height, width = prior.image_shape
        self.latent = texture(channels, (height, width), portion(progress, 0, 0.35))
        self.noise = surface_noise(mesh, views, prior.image_shape, dtype, device)
        """White noise that lives on the surface: views that see the same place see the same noise there."""
        self.picture = texture(3, (prior.image_size, prior.image_size), portion(progress, 0.5, 1))
        self.offset: Tensor = torch.zeros_like(self.latent.render())  # ρ [V, C, h, w]

    def noise_field(self) -> MatrixNoise:
        return self.noise

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.latent.image_shape

    @property
    def view_count(self) -> int:
        return self.latent.view_count

    def parameters(self) -> dict[str, Tensor]:
        return {"theta": self.latent.theta, "offset": self.offset, "picture": self.picture.theta}

    def reset(self, generator: torch.Generator) -> None:
        self.latent.reset(generator)
        self.picture.theta.fill_(GREY)
        self.offset.zero_()

    def render(self, indices: Tensor | None = None) -> Tensor:
        images = self.latent.render() + self.offset
        return images if indices is None else images[indices]

    def pixel_weights(self) -> Tensor | None:
        return self.latent.pixel_weights()

    def copy(self) -> Self:
        twin = copy.copy(self)
        twin.latent, twin.picture, twin.offset = self.latent.copy(), self.picture.copy(), self.offset.clone()
        return twin

    def matrix(self) -> Tensor:
        """A of the texture of latents."""
        return self.latent.matrix()

    def to_rows(self, images: Tensor) -> Tensor:
        """[B, C, h, w] -> [B * h * w, C]."""
        return self.latent.to_rows(images)

    def decode(self, latents: Tensor) -> Tensor:
        """What latents [B, C, h, w] look like: [B, 3, H, W] sRGB in [0, 1]."""
        with torch.no_grad():
            return self._prior.decode(latents).to(self.offset)

    def look(self, indices: Tensor) -> None:
        """Let views [B] show what the RGB texture shows them."""
        with torch.no_grad():
            drawn = self.picture.render(indices).clamp(0.0, 1.0)
            self.offset[indices] = self._prior.encode(drawn).to(self.offset) - self.latent.render(indices)

    def meet(self, targets: Tensor, pictures: Tensor, indices: Tensor) -> None:
        """Bring the views [B] to the RGB texture that was fitted to `pictures`.

        Args:
            targets: [B, C, h, w] what the views should have become.
            pictures: [B, 3, H, W] `decode(targets)`.
        """
        with torch.no_grad():
            drawn = self.picture.render(indices).clamp(0.0, 1.0)
            before, after = self._prior.encode(torch.cat([pictures, drawn])).to(self.offset).chunk(2)
            self.offset[indices] = targets + (after - before) - self.latent.render(indices)
