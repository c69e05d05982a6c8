"""What is known of the views before a run, and what the rest must then be: E[x0 | x, what is known].

Keeping pixels and denoising the others is no conditional draw: the prior sees what is kept under noise only, and hears
of it too late (docs/control.md has nine ways, measured). With C = Cov(x0 | x) and H picking what is known, a Gaussian's
answer is x̂0 + C Hᵀ (H C Hᵀ)⁻¹ (y − H x̂0) (ΠGDM, Song et al. 2023, without its guess of C), and by Tweedie's formula
C is σ² ∂x̂0/∂x. No derivative is taken: the prior is asked what it would say if the known pixels were pushed towards y,
and of its answers those shares are taken that bring its view of the known pixels nearest to y. Least squares, not
conjugate gradients: a network's Jacobian is not symmetric, nor positive with guidance, and they blow up. Pixels beside
what is free count most among them: what is free depends on the rest through these, nearly, as in any Markov field.
The push is twice the noise: a chord where derivatives would hear one mode only, and above what rounding leaves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError
from ddrep_core.priors.protocol import Prior
from ddrep_core.sampling.look import Look
from ddrep_core.sparse import absolute

PUSH = 2.0
"""In units of σ: root mean square of what is added to the known pixels to hear what follows from them."""
HOLD_WEIGHT = 10.0
"""How much more an observation that is held counts in the fit than what moves."""
INLAND = 0.05
"""How much a known pixel counts that has no free one beside it, where those that have most of them count 1."""
MOST_PROBES = 4
"""How often the prior is asked in one step, where it is asked as often as it takes."""
TELLING = 0.08
"""An answer that moved what is free by less than this share of the spread that is left to it told nothing new."""
LOOK_AGAIN = 5
"""Steps after which a second answer is asked for where one was enough."""
WHOLLY = 1e-6
"""A pixel is known where less than this of it is not."""

Again = Callable[[Tensor], Look]
"""[N, B, C, h, w] renders -> what the prior says of them under the same noise."""


@dataclass
class Asking:
    """How often the prior is asked in the next step: once more where the last answer still told something, once less
    where it did not. Levels follow each other closely, and what one step needed, the next one does.
    """

    count: int = 2
    alone: int = 0

    def hear(self, told: float) -> None:
        """How far the last answer moved what is free, of the spread that is left to that."""
        if self.count == 1:
            self.alone += 1
            self.count = 2 if self.alone % LOOK_AGAIN == 0 else 1
        else:
            self.count = min(MOST_PROBES, self.count + 1) if told > TELLING else self.count - 1


@dataclass(frozen=True)
class Given:
    """Pictures of views, known in part.

    Attributes:
        pictures: [V, C, h, w] in the prior's space; of no meaning where nothing is known.
        weights: [V, 1, h, w] how far each pixel is believed: 1 holds it, 0 leaves it free. Between, it is a measurement
            whose noise has (1 − w)/w of a picture's power: of what the prior alone would say, w is replaced.
        probes: how often the prior is asked, in every step, what follows from what is known: each costs an evaluation.
            None: as often as answers still tell something, `MOST_PROBES` at most; 0 pastes the known in and nothing
            else, which is biased (docs/control.md).
        hold: how much more a known pixel counts in the fit; 1 where the representation cannot move it anyway.

    Raises:
        RequestError: shapes that do not fit, weights outside 0 to 1, fewer than no probes.
    """

    pictures: Tensor
    weights: Tensor
    probes: int | None = None
    hold: float = HOLD_WEIGHT

    def __post_init__(self) -> None:
        views, _, height, width = self.pictures.shape
        if tuple(self.weights.shape) != (views, 1, height, width):
            raise RequestError(
                f"What is given has pictures of shape {tuple(self.pictures.shape)}, but weights of shape "
                f"{tuple(self.weights.shape)}."
            )
        if not bool(((self.weights >= 0) & (self.weights <= 1)).all()):
            raise RequestError("How far a given pixel is believed must lie between 0 and 1.")
        if self.probes is not None and self.probes < 0:
            raise RequestError(f"What is given cannot be asked about {self.probes} times.")

    @property
    def whole(self) -> tuple[int, ...]:
        """The views of which nothing is left to sample."""
        known = (self.weights == 1).flatten(1).all(1)
        return tuple(known.nonzero().flatten().tolist())

    def shares(self, weights: Tensor) -> dict[int, float]:
        """By view of which anything is known, the share of its pixels that is, by importance [V, 1, h, w]."""
        importance = weights.to(self.weights)
        held = (self.weights * importance).sum((1, 2, 3)) / importance.sum((1, 2, 3)).clamp_min(1e-30)
        touched = (self.weights > 0).flatten(1).any(1).nonzero().flatten().tolist()
        return {view: float(held[view]) for view in touched}

    def of(self, indices: Tensor, sigma: float) -> Given:
        """The same of these views [B], with how much of x̂0 is to be replaced when it is told from noise like this.

        That is C / (C + R) for the variances C of what is left open at σ and R of the measurement: all of what is
        held, and less and less of what is half believed, for it was heard before.
        """
        weights, pictures = self.weights[indices], self.pictures[indices]
        open_ = 1 + self.power / sigma**2 if sigma > 0 else math.inf
        between = (weights > 0) & (weights < 1)
        measured = 1 / (1 + (1 - weights) / weights.clamp_min(1e-12) * open_)
        return replace(self, pictures=pictures, weights=torch.where(between, measured, weights))

    @cached_property
    def power(self) -> float:
        """Mean square of what is known."""
        known = (self.weights > 0).expand_as(self.pictures)
        return float(self.pictures[known].square().mean()) if bool(known.any()) else 0.0

    def over(self, other: Given) -> Given:
        """Both; where both know something, what is believed more."""
        mine = self.weights >= other.weights
        return replace(
            self,
            pictures=torch.where(mine, self.pictures, other.pictures),
            weights=torch.maximum(self.weights, other.weights),
        )

    def held(self, images: Tensor) -> Tensor:
        """[..., V, C, h, w] with what is held in its place."""
        return torch.where(self.weights == 1, self.pictures, images)

    def put(self, images: Tensor) -> Tensor:
        """[..., V, C, h, w] with what is known in its place, as far as it is believed."""
        return torch.where(self.weights > 0, torch.lerp(images, self.pictures, self.weights), images)

    def shore(self) -> Tensor:
        """[V, 1, h, w] how much each known pixel counts where answers are compared with what is known: those beside
        free ones most. 0 where nothing is known."""
        known = self.weights > 0
        beside = functional.avg_pool2d(functional.pad((~known).to(self.weights), (1, 1, 1, 1)), 3, 1) * known
        beside = beside / beside.amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
        return known * (INLAND + (1 - INLAND) * beside)

    def heeded(self, look: Look, again: Again, asking: Asking | None = None) -> Look:
        """What the prior would have said, had it known: E[x0 | x, y], as far as its own answers tell.

        Args:
            look: of N particles in the B views that this is of, what is known in its place.
            again: the prior.
            asking: how often it is asked, where `probes` does not say; hears what came of it.
        """
        clean, known = look.clean, self.weights > 0
        # What follows matters to what is free alone.
        if not math.isinf(look.sigma) and bool(known.any()) and not bool(known.all()):
            asking = asking or Asking()
            clean = clean + self._follows(look, again, asking, known)
        clean = torch.where(known, self.put(look.clean), clean)
        # The variance that a step gives back is that of what is not known.
        return replace(look.bent(clean), weights=look.weights * (1 - self.weights), unled=look.clean)

    def _follows(self, look: Look, again: Again, asking: Asking, known: Tensor) -> Tensor:
        """[N, B, C, h, w] by how much x̂0 moves for what is known."""
        counts = self.shore().sqrt()
        wanted = torch.where(known, self.weights * (self.pictures - look.clean), 0.0)
        left, answers = wanted, []
        follows = before = torch.zeros_like(look.clean)
        for _ in range(asking.count if self.probes is None else self.probes):
            answer = again(look.render + _scaled(left, known, PUSH * look.sigma)).clean - look.clean
            answers.append(answer)
            heard = torch.stack([(counts * each).flatten(2) for each in answers], -1)  # [N, B, CHW, probes]
            shares = _least_squares(heard, (counts * wanted).flatten(2))
            before, follows = follows, (torch.stack(answers, -1) @ shares[..., None, None, :, None])[..., 0]
            left = torch.where(known, wanted - follows, 0.0)
        if self.probes is None:
            moved = (follows - before)[..., ~known.expand_as(self.pictures)].square().mean().sqrt()
            spread = look.sigma / math.sqrt(1 + look.sigma**2 / self.power) if self.power > 0 else look.sigma
            asking.hear(float(moved) / spread)
        return follows


def _scaled(residual: Tensor, known: Tensor, size: float) -> Tensor:
    """The residual [N, B, C, h, w], in each view with this root mean square over what is known; 0 where it is 0."""
    count = (known.sum((-3, -2, -1), keepdim=True) * residual.shape[-3]).clamp_min(1)
    power = (residual.square().sum((-3, -2, -1), keepdim=True) / count).sqrt()
    return residual * torch.where(power > 1e-12, size / power.clamp_min(1e-12), 0.0)


def _least_squares(heard: Tensor, wanted: Tensor) -> Tensor:
    """[N, B, P] shares of answers [N, B, D, P] that come nearest to [N, B, D]; none of what says nothing."""
    columns = heard.cpu().double()  # not every device has doubles
    length = columns.square().sum(-2).sqrt().clamp_min(1e-30)  # [N, B, P]
    columns = columns / length[..., None, :]
    gram = columns.mT @ columns
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype)
    right = (columns.mT @ wanted.cpu().double()[..., None])[..., 0]
    return (torch.linalg.solve(gram + 1e-6 * eye, right) / length).to(heard)


def given_views(known: Mapping[int, Tensor], rep: Diffrep, prior: Prior) -> Given:
    """Whole views: pictures [3, H, W] sRGB in [0, 1], or [C, h, w] in the prior's space, by their numbers.

    Raises:
        RequestError: a view that there is not, a picture of another size, no view left to sample.
    """
    theta = next(iter(rep.parameters().values()))
    pictures = torch.zeros(rep.view_count, *rep.image_shape, dtype=theta.dtype, device=theta.device)
    weights = torch.zeros_like(pictures[:, :1])
    for view, picture in sorted(known.items()):
        if not 0 <= view < rep.view_count:
            raise RequestError(f"There is no view {view} to be given among {rep.view_count}.")
        if tuple(picture.shape) != rep.image_shape:
            picture = prior.encode(picture[None])[0]
        if tuple(picture.shape) != rep.image_shape:
            raise RequestError(f"The picture given for view {view} has another size than the view.")
        pictures[view], weights[view] = picture.to(theta), 1.0
    return Given(pictures, weights)


def keeping(rep: MatrixDiffrep, kept: Tensor) -> tuple[MatrixDiffrep, Given]:
    """The representation with some rows of θ fixed as they are, and what is therefore known of its views.

    `rep.restored(result.diffrep, ~kept)` brings the whole back, in which they differ by nothing.

    Args:
        kept: [P] booleans: rows of θ that stay.

    Raises:
        RequestError: none is kept, or all are.
    """
    if kept.dtype != torch.bool or kept.shape != (len(rep.theta),) or not bool(kept.any()) or bool(kept.all()):
        raise RequestError(f"Some of the {len(rep.theta)} parameters must be kept, and some must not.")
    return rep.freed(~kept), Given(rep.render().detach(), known_pixels(rep, kept), hold=1.0)


def known_pixels(rep: MatrixDiffrep, kept: Tensor) -> Tensor:
    """[V, 1, h, w]: 1 where a pixel looks at kept rows of θ ([P] booleans) and at nothing else, else 0."""
    channels, height, width = rep.image_shape
    matrix = absolute(rep.matrix())
    others = matrix @ (~kept).to(rep.theta)[:, None]
    looks = matrix @ torch.ones_like(rep.theta[:, :1])
    rows = ((others <= WHOLLY * looks) & (looks > 0)).to(rep.theta)
    if rep.theta.shape[1] == 1:  # rows are of channels, too: a pixel is known where all of them are
        return rows.reshape(rep.view_count, channels, height, width).amin(1, keepdim=True)
    return rows.reshape(rep.view_count, 1, height, width)
