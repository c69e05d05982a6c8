"""A forward model as a prior: x̂0 of views is what is seen of the signal that they are guessed to show (Eq. 5)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.forward_models.protocol import Forward, SignalDenoiser
from ddrep_core.priors.protocol import Controls, Indices, index_tensor, karras_sigmas


@dataclass(frozen=True)
class Targets:
    """What it was told: which views [T] are asked for, by their place among the targets, and guidance."""

    places: Tensor
    guidance_scale: float

    def __getitem__(self, indices: Indices) -> Targets:
        return Targets(self.places[index_tensor(indices, len(self.places))], self.guidance_scale)


class ForwardPrior:
    """Views of one signal, given others. Views that are asked for together are guessed together.

    Args:
        denoise: S from what is seen.
        forward: what is seen of S.
        view_count: V.
        context: {view: [C, h, w]}; what is known of the signal. [N, C, h, w] where N samples, seen in one batch, each
            know something else.
        targets: the views that a run's views 0, 1, … are; all that are no context when not given.
        image_shape: (C, h, w) of one view.
        sigmas: [L] noise levels, descending.
        dtype, device: of pictures.
    """

    default_guidance_scale = 1.0

    def __init__(
        self,
        denoise: SignalDenoiser,
        forward: Forward,
        view_count: int,
        image_shape: tuple[int, int, int],
        *,
        context: Mapping[int, Tensor] | None = None,
        targets: tuple[int, ...] | None = None,
        sigmas: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.denoise, self.forward, self.view_count, self.image_shape = denoise, forward, view_count, image_shape
        self.sigmas = karras_sigmas() if sigmas is None else sigmas.to("cpu", torch.float64)
        self.dtype, self.device = dtype, torch.device(device)
        self.context = {view: picture.to(self.device, dtype) for view, picture in (context or {}).items()}
        self.targets = tuple(view for view in range(view_count) if view not in self.context)
        if targets is not None:
            self.targets = targets
        wrong = [view for view in (*self.context, *self.targets) if not 0 <= view < view_count]
        if wrong or set(self.targets) & set(self.context) or not self.targets:
            raise RequestError("Targets and context must be different views of the signal.", f"It has {view_count}.")

    @property
    def channels(self) -> int:
        return self.image_shape[0]

    @property
    def image_size(self) -> int:
        return max(self.image_shape[1:])

    def given(self, context: Mapping[int, Tensor], targets: tuple[int, ...]) -> Self:
        """The same model, knowing something else."""
        other = copy.copy(self)
        type(self).__init__(
            other, self.denoise, self.forward, self.view_count, self.image_shape, context=context, targets=targets,
            sigmas=self.sigmas, dtype=self.dtype, device=self.device,
        )  # fmt: skip
        return other

    def condition(
        self,
        prompt: str = "",
        negative_prompt: str = "",
        views: Any | None = None,
        guidance_scale: float = 1.0,
        controls: Controls | None = None,
    ) -> Targets:
        """Guidance leads from what is drawn without a context to what is drawn with it; words change nothing."""
        return Targets(torch.tensor(self.targets), guidance_scale)

    def predict_clean(self, x: Tensor, sigma: float | Tensor, conditioning: Targets) -> Tensor:
        """What is seen of Ŝ from the targets [B, C, h, w]; several samples' views may follow each other."""
        level, places = float(torch.as_tensor(sigma).flatten()[0]), conditioning.places
        again = (places == places[0]).nonzero().flatten()
        together = int(again[1]) if len(again) > 1 else len(places)  # of one sample
        noisy = x.to(self.device, self.dtype).unflatten(0, (-1, together))
        views = places[:together]
        told = self.forward(self.signals(noisy, level, views), views)
        if conditioning.guidance_scale != 1 and self.context:
            untold = self.forward(self.signals(noisy, level, views, with_context=False), views)
            told = torch.lerp(untold, told, conditioning.guidance_scale)
        return told.flatten(0, 1).to(x)

    def predict_noise(self, x: Tensor, sigma: float | Tensor, conditioning: Targets) -> Tensor:
        """ε̂ = (x − x̂0) / σ."""
        return (x - self.predict_clean(x, sigma, conditioning)) / torch.as_tensor(sigma).to(x).reshape(-1, 1, 1, 1)

    @torch.no_grad()
    def signals(self, noisy: Tensor, sigma: float, views: Tensor, with_context: bool = True) -> Tensor:
        """Ŝ [N, ...] from pictures [N, B, C, h, w] of views [B] at a level."""
        seen = torch.zeros(len(noisy), self.view_count, *self.image_shape, dtype=self.dtype, device=self.device)
        levels = torch.full(seen.shape[:2], math.inf, dtype=self.dtype, device=self.device)
        for view, picture in self.context.items() if with_context else ():
            seen[:, view], levels[:, view] = picture, 0.0
        seen[:, views], levels[:, views] = noisy.to(seen), sigma
        return self.denoise(seen, levels)

    def behind(self, pictures: Tensor) -> Tensor:
        """Ŝ [N, ...] of what was drawn of the targets, [N, T, C, h, w], by a look at the least level.

        To take it for context instead would be to show a model more of that than it may ever have been taught with.
        """
        return self.signals(pictures, float(self.sigmas[-1]), torch.tensor(self.targets))

    def decode(self, latents: Tensor) -> Tensor:
        """The pictures as they are, held to [0, 1]."""
        return latents.clamp(0, 1)

    def encode(self, images: Tensor) -> Tensor:
        """The pictures as they are."""
        return images
