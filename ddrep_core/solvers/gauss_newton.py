"""The nonlinear pull-back by Gauss-Newton: (JᵀJ)⁻¹Jᵀ of Eq. 4 itself, instead of many steps of descent.

The paper found Adam cheaper than solving for the metric, for a generic linear solver needs hundreds of products with
JᵀJ. Knowing the representation's structure changes that: where the views have few pixels, J Jᵀ is a matrix that is
factorised outright, once for about ten steps, and kept fit by what each iteration teaches (Broyden's second method);
where they have many, conjugate gradient with the representation's own preconditioner (K-FAC for a SIREN) needs about
eight products.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ddrep_core.diffreps.linearized import Change, Linearization, LinearizedRendering
from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.errors import RequestError, RunError
from ddrep_core.solvers.protocol import Solver

SECANTS = 40
FAR = 0.1
"""A fit that starts farther than this from its target, and cannot come nearer by whole steps, is given FAR_FACTORS:
strong guidance asks a network at rest for pictures of extreme colours, which it reaches by damped steps or never."""
FAR_FACTORS = 16
LOOK_INTERVAL = 4
"""Conjugate gradient on a GPU is asked so often whether it is done: each question waits for all work under way."""
CAUTION = 10.0
"""Times the damping, for each factor whose step did not help (Levenberg's rule)."""


class GaussNewtonSolver(Solver):
    """θ ← θ + argmin over δ of ‖√W (J δ − r)‖² + damping ‖δ‖², repeated until the render meets the target.

    Args:
        tolerance: of the residual, relative to the target (root mean squares), at which a fit ends. What it leaves,
            the next step asks for again: errors do not add up over a run.
        damping: relative to the mean diagonal of J Jᵀ (few pixels), and to the number of pixels (many).
        dual_rows: up to so many numbers in the views of a step, J Jᵀ is factorised; above, conjugate gradient is used.
        linearizations: at most so many a fit.
        products: at most so many conjugate gradient iterations for each linearisation.
        contraction: a factor of J Jᵀ is kept from step to step while an iteration with it shrinks the residual to this
            share; iterations are cheap, factors are not.
        slack: of the residual, relative to the noise that hides it, at which a fit ends, too.
    """

    def __init__(
        self,
        tolerance: float = 4e-3,
        damping: float = 1e-5,
        dual_rows: int = 1536,
        linearizations: int = 3,
        products: int = 8,
        contraction: float = 0.8,
        slack: float = 1e-3,
    ) -> None:
        self.tolerance, self.damping = tolerance, damping
        self.dual_rows, self.linearizations, self.products = dual_rows, linearizations, products
        self.contraction, self.slack = contraction, slack
        self._anchor: _Anchor | None = None
        self._anchor_state: dict[str, Tensor] = {}

    def twin(self) -> GaussNewtonSolver:
        budget = self.dual_rows, self.linearizations, self.products
        return GaussNewtonSolver(self.tolerance, self.damping, *budget, self.contraction, self.slack)

    def fit(
        self,
        rep: Diffrep,
        targets: Tensor,
        indices: Tensor,
        weights: Tensor,
        sigma: float = 0.0,
        render: Tensor | None = None,
    ) -> int:
        if not isinstance(rep, LinearizedRendering):
            raise RequestError(f"{type(rep).__name__} cannot be linearised.", "Use the solver warm or adam.")
        root = (weights / weights.mean().clamp_min(1e-30)).sqrt().to(targets).expand_as(targets)
        goal = max(self.tolerance * _rms(root * targets), self.slack * sigma)
        if targets.numel() <= self.dual_rows:
            passes = self._fit_by_factor(rep, targets, indices, root, goal, render)
        else:
            passes = self._fit_by_gradients(rep, targets, indices, root, goal)
        return passes

    def _fit_by_factor(
        self,
        rep: LinearizedRendering,
        targets: Tensor,
        indices: Tensor,
        root: Tensor,
        goal: float,
        render: Tensor | None,
    ) -> int:
        """Quasi-Newton iterations with a factor that stays until it no longer serves."""
        self._recall(rep)
        passes, fresh, damping = 0, 0, self.damping
        self.rendered = _render(rep, indices) if render is None else render
        residual = root * (targets - self.rendered)
        error = _rms(residual)
        far = FAR * _rms(root * targets)
        lost: Tensor | None = None  # of the residual, by the last whole step with this factor
        while error > goal:
            if self._anchor is None or not self._anchor.serves(indices, root):
                if fresh >= (FAR_FACTORS if error > far else self.linearizations):
                    break
                self._anchor, lost = _Anchor(rep, indices, root, damping), None
                passes, fresh = passes + 2, fresh + 1
            dual = self._anchor.solve(residual) if lost is None else self._anchor.solve_and_learn(residual, lost)
            before, previous = residual, error
            change = self._anchor.linear.pull(root * dual)
            self.rendered, error, tried = _step(rep, change, targets, indices, root, previous)
            residual = root * (targets - self.rendered)
            passes += tried
            lost = before - residual if tried == 1 else None
            if error > self.contraction * previous:
                self._anchor = None
                if error == previous and self.damping > 0:
                    damping *= CAUTION
        return max(passes, 1)

    def _fit_by_gradients(
        self, rep: LinearizedRendering, targets: Tensor, indices: Tensor, root: Tensor, goal: float
    ) -> int:
        passes = 0
        for _ in range(self.linearizations):
            linear = rep.linearize(indices)
            self.rendered = linear.render
            residual = root * (targets - linear.render)
            error = _rms(residual)
            passes += 1
            if error <= goal:
                break
            damping = self.damping * targets.numel() / targets.shape[1]
            change, products = _conjugate_gradient(linear, residual, root, damping, goal, self.products)
            self.rendered, _, tried = _step(rep, change, targets, indices, root, error)
            passes += products + tried
        return passes

    def state(self) -> dict[str, Tensor]:
        return {} if self._anchor is None else self._anchor.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        self._anchor_state = dict(state)

    def _recall(self, rep: LinearizedRendering) -> None:
        """Make the factor again that a resumed run had, from the θ it was made at: the same bytes."""
        if not self._anchor_state:
            return
        state, self._anchor_state = self._anchor_state, {}
        present = {name: tensor.detach().clone() for name, tensor in rep.parameters().items()}
        with torch.no_grad():
            for name, tensor in rep.parameters().items():
                tensor.copy_(state[f"anchor.{name}"])
            self._anchor = _Anchor(rep, state["indices"], state["root"], float(state["damping"]))
            self._anchor.secants = state["secants"].clone()
            for name, tensor in rep.parameters().items():
                tensor.copy_(present[name])


class _Anchor:
    """J at one θ, and an inverse of √W J Jᵀ √W + damping that follows θ as it moves on.

    The inverse is a Cholesky factor and, on top, a sum of outer products that maps what the residual was seen to lose
    to the dual step that it lost it by.
    """

    def __init__(self, rep: LinearizedRendering, indices: Tensor, root: Tensor, damping: float) -> None:
        self.indices, self.root, self.damping = indices.clone(), root.contiguous().clone(), damping
        self.parameters = {name: tensor.detach().clone() for name, tensor in rep.parameters().items()}
        self.linear: Linearization = rep.linearize(indices)
        scale = self.root.reshape(-1)
        gram = self.linear.gram() * scale[:, None] * scale[None, :]
        gram.diagonal().add_(damping * gram.diagonal().mean().clamp_min(1e-30))
        factor, fault = torch.linalg.cholesky_ex(gram)
        if int(fault) != 0:
            gram.diagonal().add_(1e-3 * gram.diagonal().mean().clamp_min(1e-30))
            factor, fault = torch.linalg.cholesky_ex(gram)
        if int(fault) != 0:
            raise RunError("The pull-back cannot be solved: its metric holds a NaN.", "Lower the guidance scale.")
        self.factor = factor
        self.secants = gram.new_zeros(2, 0, len(gram))  # [2, M, R]: Σ over M of secants[0, m] secants[1, m]ᵀ

    def serves(self, indices: Tensor, root: Tensor) -> bool:
        return torch.equal(self.indices, indices) and torch.equal(self.root, root)

    def solve(self, residual: Tensor) -> Tensor:
        """The dual step: `linear.pull(root * step)` takes the residual away."""
        flat = residual.reshape(-1, 1)
        added, seen = self.secants
        return (torch.cholesky_solve(flat, self.factor) + added.T @ (seen @ flat)).view_as(residual)

    def solve_and_learn(self, residual: Tensor, lost: Tensor) -> Tensor:
        """The next dual step, where the last one, `solve(residual + lost)`, took only `lost` away.

        The inverse first takes on the smallest change by which it would have answered `lost` with that step. What was
        missing in its answer is what it says about the rest, so that one solution serves both.
        """
        dual = self.solve(residual)
        norm = lost.square().sum()
        if self.secants.shape[1] == SECANTS or norm == 0:
            return dual
        pair = torch.stack([dual / norm, lost])
        self.secants = torch.cat([self.secants, pair.view(2, 1, -1)], dim=1)
        return dual * (1 + (lost * residual).sum() / norm)

    def state(self) -> dict[str, Tensor]:
        anchor = {f"anchor.{name}": tensor for name, tensor in self.parameters.items()}
        damping = torch.tensor(self.damping, dtype=torch.float64)
        return anchor | {"indices": self.indices, "root": self.root, "secants": self.secants, "damping": damping}


def _step(
    rep: LinearizedRendering, change: Change, targets: Tensor, indices: Tensor, root: Tensor, previous: float
) -> tuple[Tensor, float, int]:
    """θ ← θ + δ, or a half, a quarter, an eighth of it: far from θ, J means little.

    Returns:
        the render, the root mean square of its residual, below `previous` unless no part of the step helped (then θ
        stays), and how many renders that took.
    """
    rep.apply(change)
    for halvings in range(4):
        render = _render(rep, indices)
        error = _rms(root * (targets - render))
        if error < previous:
            return render, error, halvings + 1
        shrink = -(0.5 ** (halvings + 1)) if halvings < 3 else -(0.5**3)
        rep.apply(tuple(shrink * piece for piece in change))
    return _render(rep, indices), previous, 5


def _conjugate_gradient(
    linear: Linearization, residual: Tensor, root: Tensor, damping: float, goal: float, products: int
) -> tuple[Change, int]:
    """min over δ of ‖root J δ − residual‖² + damping ‖δ‖² (CGLS, preconditioned), and how many products it took."""
    gradient = linear.pull(root * residual)
    change = tuple(torch.zeros_like(piece) for piece in gradient)
    direction = linear.precondition(gradient, damping)
    energy = _dot(gradient, direction)
    done = 0
    interval = LOOK_INTERVAL if residual.is_cuda else 1
    while done < products and (done % interval or (bool(energy > 0) and _rms(residual) > 0.5 * goal)):
        image = root * linear.push(direction)
        curvature = image.square().sum().double() + damping * _dot(direction, direction)
        length = energy / curvature.clamp_min(1e-30)
        change = tuple(a + length * b for a, b in zip(change, direction, strict=True))
        residual = residual - length * image
        pulled = linear.pull(root * residual)
        gradient = tuple(a - damping * b for a, b in zip(pulled, change, strict=True))
        preconditioned = linear.precondition(gradient, damping)
        next_energy = _dot(gradient, preconditioned)
        ratio = next_energy / energy.clamp_min(1e-300)
        direction = tuple(a + ratio * b for a, b in zip(preconditioned, direction, strict=True))
        energy = next_energy
        done += 1
    return change, done


def _render(rep: Diffrep, indices: Tensor) -> Tensor:
    with torch.no_grad():
        return rep.render(indices)


def _rms(images: Tensor) -> float:
    return float(images.square().mean().sqrt())


def _dot(left: Change, right: Change) -> Tensor:
    """[] in float64, where the changes are: nothing waits for it."""
    return cast(Tensor, sum((a * b).sum() for a, b in zip(left, right, strict=True))).double()
