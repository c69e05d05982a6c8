"""The pull-back of a texture whose views meet in RGB, under a latent prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ddrep_core.diffreps.image_texture import ImageTextureDiffrep
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.diffreps.texture import TextureDiffrep
from ddrep_core.errors import RequestError, StaleState
from ddrep_core.solvers.linear import LinearSolver
from ddrep_core.solvers.protocol import Solver

MEETING_INTERVAL = 6
"""On the demo's duck 2, 4 and 6 left views equally far apart (0.0125, 0.0125, 0.0127 in RGB; 0.030 without meeting).
What counts most is that the last fit is a meeting, whatever the interval: a quarter less (docs/agreement.md)."""
COARSE = 1e-3
"""Of what the colours move, left of it on a GPU: far below a grey level, at half the iterations."""


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

    def __init__(self, interval: int = MEETING_INTERVAL, damping: float = TextureDiffrep.damping) -> None:
        self.interval, self.damping = interval, damping
        self._latent = LinearSolver(damping=damping)
        self._picture = LinearSolver(damping=damping)
        self._weighed: tuple[tuple[Tensor, ...], Tensor] | None = None  # of which views and weights, those in RGB
        self._fits = 0
        self._met: dict[int, Meeting] = {}

    def twin(self) -> PictureSolver:
        return self._like(self.interval)

    def joining(self) -> PictureSolver:
        """One that meets at every fit: views join in RGB, or not at all."""
        return self._like(1)

    def _like(self, interval: int) -> PictureSolver:
        other = PictureSolver(interval, self.damping)
        other._latent, other._picture = self._latent, self._picture  # with what these have prepared
        return other

    def fit(
        self,
        rep: Diffrep,
        targets: Tensor,
        indices: Tensor,
        weights: Tensor,
        sigma: float = 0.0,
        render: Tensor | None = None,
    ) -> int:
        if not isinstance(rep, ImageTextureDiffrep):
            raise RequestError(f"The views of {type(rep).__name__} do not meet in RGB.", "Use the solver auto.")
        self._fits += 1
        if self._fits % self.interval and sigma > 0:
            return self._latent.fit(
                rep.latent, targets, indices, weights, render=rep.render(indices) if render is None else render
            )
        remembers = self.interval == 1
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
        """[B, 1, H, W] each view's importance times its pixels' in RGB: one tensor while the same views are asked."""
        own = rep.picture.pixel_weights()
        assert own is not None
        asked = (indices, weights, own)
        if self._weighed is None or any(now is not before for now, before in zip(asked, self._weighed[0], strict=True)):
            self._weighed = asked, own[indices] * weights.amax(dim=(1, 2, 3), keepdim=True).to(own)
        return self._weighed[1]

    def state(self) -> dict[str, Tensor]:
        """How many fits there were, and what views met with where they meet at every fit."""
        met = {f"{name}.{view}": tensor for view, met in self._met.items() for name, tensor in vars(met).items()}
        return met | {"fits": torch.tensor(self._fits)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        if "fits" not in state:
            raise StaleState("The checkpoint was written by another solver.", "Start the job anew.")
        self._fits = int(state["fits"])
        state = {name: tensor for name, tensor in state.items() if name != "fits"}
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
