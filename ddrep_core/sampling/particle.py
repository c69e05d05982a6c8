"""One sample on its way: θ, its noise, who solves its pull-backs, and what it remembers."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ddrep_core.diffreps.protocol import Diffrep, WithOwnParts
from ddrep_core.errors import StaleState
from ddrep_core.noise.fields import NoiseField
from ddrep_core.process import Process
from ddrep_core.sampling.given import HOLD_WEIGHT, Given
from ddrep_core.solvers.protocol import Solver


@dataclass
class Fit:
    """What the pull-backs of one set of moving and held views have in common, for all particles.

    Attributes:
        moving: [B] the views that move; `held`, those that do not.
        indices: [B + H] all of them, the moving first.
        weights: [B + H, 1, h, w] of their pixels.
        share: [B] of unrelated pictures that would not be held; None until it is asked for.
    """

    moving: Tensor
    held: tuple[int, ...]
    indices: Tensor
    weights: Tensor
    share: Tensor | None = None

    @classmethod
    def of(cls, moving: Tensor, held: tuple[int, ...], weights: Tensor, given: Given | None = None) -> Fit:
        """From the weights [V, 1, h, w] of all views, and what is known of them."""
        moved = weights[moving]
        if given is not None:
            moved = moved * (1 + (given.hold - 1) * given.weights[moving])
        if not held:
            return cls(moving, held, moving, moved)
        others = torch.tensor(held)
        both = torch.cat([moved, HOLD_WEIGHT * weights[others]])
        return cls(moving, held, torch.cat([moving, others]), both)


@dataclass
class Particle:
    """One sample's state. Only the run moves it.

    Attributes:
        rep: carries θ.
        noise: [V, C, h, w] ε(π).
        from_scratch: whether θ is put where runs start, or stays where it is.
        held: [C, h, w] what views were accepted as.
        memory: θ, or pictures of views, by the name they are remembered under.
        passes: renders that its pull-backs took.
        disagreement: after the last step.
    """

    rep: Diffrep
    solver: Solver
    noise_field: NoiseField
    process: Process
    seed: int
    from_scratch: bool = True
    held: dict[int, Tensor] = field(default_factory=dict)
    memory: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    passes: int = 0
    disagreement: float | None = None

    def __post_init__(self) -> None:
        theta = next(iter(self.rep.parameters().values()))
        self.generator = torch.Generator().manual_seed(self.seed)
        if self.from_scratch:
            self.rep.reset(self.generator)
        white = self.noise_field.draw(self.generator).to(theta)
        self.noise = self.process.start(white, self.generator)
        self._drawn: tuple[tuple[int, ...], Tensor] | None = None  # views, and what they look like since θ last moved

    def render(self, indices: Tensor) -> Tensor:
        """[B, C, h, w] f(θ, π), drawn once for each θ."""
        views = tuple(indices.tolist())
        if self._drawn is None or self._drawn[0] != views:
            with torch.no_grad():
                self._drawn = views, self.rep.render(indices)
        return self._drawn[1]

    def pull_back(self, target: Tensor, fit: Fit, sigma: float = 0.0) -> None:
        """θ ← argmin E_π w(π) ‖f(θ, π) − f'(π)‖², held views pulled to what they were accepted as.

        What comes of it is seen through noise of `sigma` next, 0 where it is held or given back.
        """
        if fit.held:
            target = torch.cat([target, torch.stack([self.held[view] for view in fit.held])])
        known = self._drawn[1] if self._drawn is not None and self._drawn[0] == tuple(fit.indices.tolist()) else None
        self._drawn = None
        self.passes += self.solver.fit(self.rep, target, fit.indices, fit.weights, sigma, known)
        if self.solver.rendered is not None and not fit.held:
            self._drawn = tuple(fit.indices.tolist()), self.solver.rendered

    def renew(self, sigma: float, sigma_after: float, keep: float, scale: float, views: tuple[int, ...] | None) -> None:
        """ε ← keep·ε + √(1 − keep²)·scale·ξ, ξ ~ N(0, I), as the process has it; for these views or all."""
        fresh = self.noise_field.draw(self.generator).to(self.noise)
        fresh = fresh if scale == 1 else scale * fresh
        renewed = self.process.jump(self.noise, fresh, sigma, sigma_after, keep, self.generator)
        if views is None:
            self.noise = renewed
        else:
            chosen = torch.tensor(views, device=self.noise.device)
            self.noise = self.noise.index_copy(0, chosen, renewed[chosen])

    # What a walk may ask of it

    def remember(self, name: str, views: tuple[int, ...]) -> None:
        if views:
            pictures = self.render(torch.tensor(views))
            self.memory.setdefault(name, {}).update(
                {str(view): picture.detach().clone() for view, picture in zip(views, pictures, strict=True)}
            )
        else:
            self.memory[name] = self.theta()

    def recall(self, name: str) -> None:
        self.put_back(self.memory[name])

    def hold(self, views: tuple[int, ...]) -> None:
        if not views:
            return
        pictures = self.render(torch.tensor(views))
        self.held |= {view: picture.detach().clone() for view, picture in zip(views, pictures, strict=True)}

    def paint(self, fit: Fit, name: str | None) -> None:
        views = fit.moving.tolist()
        pictures = self.held if name is None else {view: self.memory[name][str(view)] for view in views}
        self.pull_back(torch.stack([pictures[view] for view in views]), fit)

    def join(self, views: tuple[int, ...]) -> None:
        if isinstance(self.rep, WithOwnParts):
            self._drawn = None
            self.rep.look(torch.tensor(views))

    # θ, and all that a checkpoint keeps

    def theta(self) -> dict[str, Tensor]:
        """A copy of θ."""
        return {name: tensor.detach().clone() for name, tensor in self.rep.parameters().items()}

    def put_back(self, theta: dict[str, Tensor]) -> None:
        """θ as it was."""
        self._drawn = None
        with torch.no_grad():
            for name, tensor in self.rep.parameters().items():
                tensor.copy_(theta[name])

    def state(self) -> dict[str, Tensor]:
        """θ, ε, the solver's moments, the generator, what is held and remembered."""
        tensors = {f"theta.{name}": tensor for name, tensor in self.theta().items()}
        tensors |= {f"solver.{name}": tensor.detach().clone() for name, tensor in self.solver.state().items()}
        tensors |= {f"held.{view}": tensor.clone() for view, tensor in self.held.items()}
        for name, kept in self.memory.items():
            tensors |= {f"memory.{name}.{key}": tensor.clone() for key, tensor in kept.items()}
        return tensors | {"noise": self.noise.clone(), "generator": self.generator.get_state()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `state()`.

        Raises:
            StaleState: it belongs to another representation or another size.
        """
        try:
            for name, tensor in self.rep.parameters().items():
                if tensors[f"theta.{name}"].shape != tensor.shape:
                    raise KeyError(name)
            self.put_back({name: tensors[f"theta.{name}"] for name in self.rep.parameters()})
            self.noise = tensors["noise"].to(self.noise)
            self.generator.set_state(tensors["generator"])
        except KeyError as error:
            raise StaleState(
                f"The state to go on from lacks {error} or has it in another size.", "Start the job anew."
            ) from error
        self.held = {int(name): tensor.to(self.noise) for name, tensor in below(tensors, "held").items()}
        self.memory = {}
        for path, tensor in below(tensors, "memory").items():
            name, _, key = path.partition(".")
            self.memory.setdefault(name, {})[key] = tensor.to(self.noise.device)
        self.solver.load_state(below(tensors, "solver"))


def below(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors under `name.`, by what follows."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
