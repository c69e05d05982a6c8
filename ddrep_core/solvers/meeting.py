"""The pull-back of a texture whose views meet in RGB, under a latent prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from weakref import ReferenceType, ref

import torch
from torch import Tensor

from ddrep_core.diffreps.image_texture import ImageTextureDiffrep
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.solvers.linear import LinearSolver
from ddrep_core.solvers.protocol import Solver

MEETING_INTERVAL = 6
"""On the demo's duck 2, 4 and 6 left views equally far apart (0.0125, 0.0125, 0.0127 in RGB; 0.030 without meeting).
What counts most is that the last fit is a meeting, whatever the interval: a quarter less (docs/agreement.md)."""
COARSE = 1e-3
"""Of what the colours move, left of it on a GPU: far below a grey level, at half the iterations."""
DAMPING = 1e-3
"""Of the mean texel: one that a view barely touches keeps its colour instead of taking up what others contradict."""


class PictureSolver(Solver):
    """Fits an `ImageTextureDiffrep`: the texture of latents exactly, and every few fits, and where the renders are what
    the run gives back, the RGB texture exactly.

    No gradient flows through the autoencoder: targets are decoded, RGB is solved for, and the change is encoded.

    A view that meets at every fit and is to become what it became last time (one that is held while others join it)
    is neither decoded again nor moved.

    Args:
        interval: meet in RGB at every such fit.
        damping: of both least squares, as for `LinearSolver`.
    """

    def __init__(self, interval: int = MEETING_INTERVAL, damping: float = DAMPING) -> None:
        self.interval, self.damping = interval, damping
        self._latent = LinearSolver(damping=damping)
        self._picture = LinearSolver(damping=damping)
        self._weighed: tuple[Tensor, Tensor, Tensor] | None = None  # views, their weights, those of their pixels in RGB
        self._owner: ReferenceType[ImageTextureDiffrep] | None = None  # whose views these are:
        self._met: dict[int, Meeting] = {}

    def joining(self) -> PictureSolver:
        """One that meets at every fit: views join in RGB, or not at all."""
        if self.interval == 1:
            return self
        twin = PictureSolver(1, self.damping)
        twin._latent, twin._picture = self._latent, self._picture  # with what these have prepared
        return twin

    def fit(self, rep: Diffrep, targets: Tensor, indices: Tensor, weights: Tensor, sigma: float = 0.0) -> int:
        assert isinstance(rep, ImageTextureDiffrep)
        rep.fits += 1
        if int(rep.fits) % self.interval and sigma > 0:
            return self._latent.fit(rep, targets, indices, weights)
        if self._owner is None and self.interval == 1:
            self._owner = ref(rep)
        remembers = self._owner is not None and self._owner() is rep  # not for a copy that is only asked something
        views = indices.tolist()
        known = {
            row: met.picture
            for row, view in enumerate(views)
            if remembers and (met := self._met.get(view)) is not None and met.holds(targets[row], rep.offset[view])
        }
        moved = [row for row in range(len(views)) if row not in known]
        pictures = rep.decode(targets if not known else targets[moved])
        if known:
            together = pictures.new_empty(len(views), *pictures.shape[1:])
            together[moved] = pictures
            together[list(known)] = torch.stack(list(known.values()))
            pictures = together
        if rep.picture.theta.is_cuda:
            self._picture.tolerance = COARSE
        passes = self._picture.fit(rep.picture, pictures, indices, self._picture_weights(rep, indices, weights))
        if moved:
            rep.meet(targets[moved], pictures[moved], indices[moved])
        if remembers:
            for row in moved:
                view = views[row]
                self._met[view] = Meeting(targets[row].clone(), pictures[row].clone(), rep.offset[view].clone())
        return passes

    def _picture_weights(self, rep: ImageTextureDiffrep, indices: Tensor, weights: Tensor) -> Tensor:
        """[B, 1, H, W] each view's importance times its pixels' in RGB; the same tensor while the same views are asked."""
        if self._weighed is None or self._weighed[0] is not indices or self._weighed[1] is not weights:
            own = rep.picture.pixel_weights()
            assert own is not None
            importance = weights.amax(dim=(1, 2, 3), keepdim=True).to(own)
            self._weighed = indices, weights, own[indices] * importance
        return self._weighed[2]

    def state(self) -> dict[str, Tensor]:
        """What views met with, where they meet at every fit."""
        return {f"{name}.{view}": tensor for view, met in self._met.items() for name, tensor in vars(met).items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        views = {int(name.rpartition(".")[2]) for name in state}
        self._met = {view: Meeting(*(state[f"{name}.{view}"] for name in Meeting.PARTS)) for view in sorted(views)}


@dataclass
class Meeting:
    """What a view met with, and what came of it.

    Attributes:
        target: [C, h, w] what it should have become.
        picture: [3, H, W] how that looks.
        offset: [C, h, w] the view's ρ afterwards.
    """

    PARTS: ClassVar[tuple[str, ...]] = ("target", "picture", "offset")

    target: Tensor
    picture: Tensor
    offset: Tensor

    def holds(self, target: Tensor, offset: Tensor) -> bool:
        """Whether nothing has changed since."""
        return torch.equal(self.target, target) and torch.equal(self.offset, offset)
