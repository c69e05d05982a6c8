"""The score of the particles' own pictures, learned by a low-rank adapter on the prior."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.priors.adapters.low_rank import LowRankAdapter
from ddrep_core.priors.diffusers_prior import DiffusersPrior
from ddrep_core.sampling.look import Ask, Look


@dataclass
class AdapterScore:
    """VSD's score network for any diffusers prior: itself without guidance, with an adapter that learns θ's pictures.

    Each step it sees the pictures that the step saw, at a level and under noise of its own, and learns to tell the
    noise (‖ε̂_q − ε‖², in the prior's own conversion, so that ε, v and flow models are alike).

    Args:
        rank: of the adapter.
        learning_rate: of its Adam; the paper's is 1e-4.
        rounds: of learning after each step of the particles.
        seed: of levels, noise and the first weights.
    """

    rank: int = 4
    learning_rate: float = 1e-4
    rounds: int = 1
    seed: int = 0
    _adapter: LowRankAdapter | None = None
    _optimizer: torch.optim.Adam | None = None
    _ask: Ask | None = None
    _kept: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._generator = torch.Generator().manual_seed(self.seed)

    def predict(self, look: Look, ask: Ask) -> Tensor:
        """ε̂_q [N, B, C, h, w], without a graph."""
        self._ask = ask
        self._ready(ask)
        with torch.no_grad():
            return self._answer(ask.process.noisy(look.render, look.noise, look.sigma), look.sigma, look.indices)

    def learn(self, look: Look) -> None:
        """Tell the noise in the particles' pictures."""
        assert self._ask is not None and self._optimizer is not None
        sigmas = self._ask.prior.sigmas
        finite = sigmas[torch.isfinite(sigmas)]
        for _ in range(self.rounds):
            sigma = float(finite[int(torch.randint(len(finite), (1,), generator=self._generator))])
            render = look.render.detach()
            noise = torch.randn(render.shape, generator=self._generator, dtype=render.dtype).to(render)
            self._optimizer.zero_grad()
            with torch.enable_grad():
                told = self._answer(self._ask.process.noisy(render, noise, sigma), sigma, look.indices)
                ((told - noise).square() * (look.weights > 0)).mean().backward()
            self._optimizer.step()

    def _ready(self, ask: Ask) -> tuple[LowRankAdapter, DiffusersPrior]:
        prior = ask.prior
        if not isinstance(prior, DiffusersPrior):
            raise RequestError(
                "Only a diffusers prior can learn the particles' score.",
                "Take ParticlesThemselves() for priors in closed form.",
            )
        if self._adapter is None:
            network: Any = getattr(prior.network, "unet", None) or getattr(prior.network, "transformer", None)
            self._adapter = LowRankAdapter(network, len(ask.weights), self.rank, self._generator)
            self._optimizer = torch.optim.Adam(self._adapter.parameters(), lr=self.learning_rate)
            if self._kept:
                self._restore(self._adapter, self._optimizer, self._kept)
        return self._adapter, prior

    def _answer(self, x: Tensor, sigma: float, indices: Tensor) -> Tensor:
        assert self._ask is not None
        adapter, prior = self._ready(self._ask)
        rows = indices.tolist() * len(x)
        told: Any = self._ask.conditioning[rows]
        with adapter.at_work(torch.tensor(rows)):
            answer = prior.noise_with_graph(x.flatten(0, 1), sigma, replace(told, guidance_scale=1.0))
        return answer.unflatten(0, x.shape[:2])

    def state(self) -> dict[str, Tensor]:
        """The adapter, its moments, and what draws levels and noise."""
        tensors = {"generator": self._generator.get_state()}
        if self._adapter is None or self._optimizer is None:
            return tensors | self._kept
        tensors |= {f"adapter.{name}": tensor for name, tensor in self._adapter.state_dict().items()}
        for number, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"moments.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        return tensors

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()`; the adapter is made when the prior is first asked."""
        self._kept = dict(state)
        if "generator" in state and not any(name.startswith("adapter.") for name in state):
            self._generator.set_state(state["generator"])

    def _restore(self, adapter: LowRankAdapter, optimizer: torch.optim.Adam, kept: dict[str, Tensor]) -> None:
        own = {name.removeprefix("adapter."): t for name, t in kept.items() if name.startswith("adapter.")}
        if own:
            adapter.load_state_dict(own)
        moments: dict[int, dict[str, Tensor]] = {}
        for path, tensor in kept.items():
            if path.startswith("moments."):
                _, number, name = path.split(".")
                moments.setdefault(int(number), {})[name] = tensor
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
        self._generator.set_state(kept["generator"])
        self._kept = {}
