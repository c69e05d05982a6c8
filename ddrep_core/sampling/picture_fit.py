"""The pull-back of a texture whose views meet in RGB, under a latent prior."""

from __future__ import annotations

from torch import Tensor

from ddrep_core.diffreps.image_texture import ImageTextureDiffrep
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.sampling.linear import LinearSolver

MEETING_INTERVAL = 6
"""On the demo's duck 2, 4 and 6 left views equally far apart (0.0125, 0.0125, 0.0127 in RGB; 0.030 without meeting). An
even one meets at the same visit of each level that RePaint visits twice; 5 left 0.0156."""
DAMPING = 1e-3
"""Of the mean texel: one that a view barely touches keeps its colour instead of taking up what others contradict."""


class PictureSolver:
    """Fits an `ImageTextureDiffrep`: the texture of latents exactly, and every few fits the RGB texture exactly.

    No gradient flows through the autoencoder: targets are decoded, RGB is solved for, and the change is encoded.

    Args:
        interval: meet in RGB at every such fit.
        damping: of both least squares, as for `LinearSolver`.
    """

    def __init__(self, interval: int = MEETING_INTERVAL, damping: float = DAMPING) -> None:
        self.interval = interval
        self._latent = LinearSolver(damping=damping)
        self._picture = LinearSolver(damping=damping)

    def fit(self, rep: Diffrep, targets: Tensor, indices: Tensor, weights: Tensor) -> int:
        assert isinstance(rep, ImageTextureDiffrep)
        rep.fits += 1
        if int(rep.fits) % self.interval:
            return self._latent.fit(rep, targets, indices, weights)
        pictures = rep.decode(targets)
        own = rep.picture.pixel_weights()
        assert own is not None
        importance = weights.amax(dim=(1, 2, 3), keepdim=True).to(own)  # of each view; pixels in RGB have their own
        passes = self._picture.fit(rep.picture, pictures, indices, own[indices] * importance)
        rep.meet(targets, pictures, indices)
        return passes

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self._latent.load_state(state)
