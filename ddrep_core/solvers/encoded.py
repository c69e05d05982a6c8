"""The pull-back of pictures under a latent prior: targets are decoded, and the pictures are fitted."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.encoded import EncodedDiffrep
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError
from ddrep_core.solvers.protocol import Solver


class DecodedSolver(Solver):
    """Fits an `EncodedDiffrep` in RGB. No gradient flows through the autoencoder: a decoding and an encoding a fit.

    Args:
        inner: fits the representation of pictures.
    """

    def __init__(self, inner: Solver) -> None:
        self.inner = inner

    def fit(
        self,
        rep: Diffrep,
        targets: Tensor,
        indices: Tensor,
        weights: Tensor,
        sigma: float = 0.0,
        render: Tensor | None = None,
    ) -> int:
        if not isinstance(rep, EncodedDiffrep):
            raise RequestError(f"{type(rep).__name__} draws no pictures that are encoded.", "Use the solver auto.")
        pictures = rep.decode(targets)
        fitted = rep.fitted()
        if pictures.shape[2:] != fitted.image_shape[1:]:
            pictures = functional.interpolate(pictures, fitted.image_shape[1:], mode="area")
        finer = functional.interpolate(weights, pictures.shape[2:], mode="nearest")
        passes = self.inner.fit(fitted, pictures, indices, finer, sigma)
        with torch.no_grad():
            self.rendered = rep.render(indices)
        return passes

    def state(self) -> dict[str, Tensor]:
        return self.inner.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.inner.load_state(state)

    def twin(self) -> DecodedSolver:
        return DecodedSolver(self.inner.twin())

    def joining(self) -> DecodedSolver:
        return DecodedSolver(self.inner.joining())
