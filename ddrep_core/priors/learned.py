"""A small denoiser of one's own as a prior (`training.denoiser`), under any process, with or without codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.priors.exact import ArrayLike, ExactConditioning, ExactPrior
from ddrep_core.priors.protocol import Controls
from ddrep_core.process import Diffusion, Process
from ddrep_core.training.denoiser import Denoiser

CODE = "code"
"""The control that says which codes to draw (`training.codes`): [V, m k] one-hot, or [1, m k] for all views."""


@dataclass(frozen=True)
class CodedConditioning(ExactConditioning):
    """With the code [V, m k] that each view is told, or one for all."""

    code: Tensor | None = None


class LearnedPrior(ExactPrior):
    """What a denoiser says, one bank for all views, without prompts.

    Args:
        denoiser: of flat pictures.
        image_shape: (C, h, w) of one.
        code_size: m k of the codes that it hears; 0: none.
        process: that it was trained under; diffusion when not given.
        sigmas: [L] noise levels, descending.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        image_shape: tuple[int, int, int],
        *,
        code_size: int = 0,
        process: Process | None = None,
        sigmas: ArrayLike | None = None,
    ) -> None:
        first = next(denoiser.parameters())
        super().__init__(image_shape, None, first.dtype, first.device, sigmas)
        self.denoiser, self.code_size, self.process = denoiser.eval(), code_size, process or Diffusion()
        self.controls = frozenset({CODE} if code_size else ())

    def condition(
        self,
        prompt: str = "",
        negative_prompt: str = "",
        views: Any | None = None,
        guidance_scale: float = 7.5,
        controls: Controls | None = None,
    ) -> CodedConditioning:
        """What each view is told; no code where none is given.

        Raises:
            RequestError: a code of another size, or for another number of views.
        """
        code = None if controls is None else controls.get(CODE)
        if code is None or not self.code_size:
            return CodedConditioning()
        if code.ndim != 2 or code.shape[1] != self.code_size:
            raise RequestError(f"A code of the shape {tuple(code.shape)} is not [V, {self.code_size}].")
        if len(code) == 1:
            return CodedConditioning(code=code)
        if views is not None and len(code) != len(views):
            raise RequestError(f"{len(code)} codes came with {len(views)} views.")
        return CodedConditioning(banks=torch.arange(len(code), device=self.device), code=code)

    @property
    def _numbers_a_row(self) -> int:
        return 1024

    @torch.no_grad()
    def _clean(self, x: Tensor, sigma: Tensor, conditioning: ExactConditioning) -> Tensor:
        told = None
        if self.code_size:
            code = conditioning.code if isinstance(conditioning, CodedConditioning) else None
            code = torch.zeros(1, self.code_size, dtype=self.dtype) if code is None else code
            told = self._banked(code.to(x), conditioning).expand(len(x), -1)
        return self.denoiser(x, sigma.clamp_max(float(self.sigmas[0]))[:, 0], told)
