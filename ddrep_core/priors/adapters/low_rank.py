"""A low-rank adapter that is trained while a prior is asked: the network's own weights stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ddrep_core.errors import RequestError

LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
"""Of attention, in all of diffusers' networks."""
TIME_EMBEDDINGS = ("time_embedding", "time_text_embed")


class LowRankAdapter(nn.Module):
    """W + B A for every projection of attention, and a vector for every view of the bank, added to the time embedding.

    B and the vectors start at zero: an adapter that has learned nothing changes nothing.

    Args:
        network: diffusers' U-Net or transformer.
        views: V, whose cameras it learns to know apart.
        rank: of B A.
        generator: draws A.

    Raises:
        RequestError: a network without the layers it would change.
    """

    def __init__(self, network: nn.Module, views: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        layers = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear) and n.endswith(LAYERS)]
        self._times = [m for n, m in network.named_modules() if n in TIME_EMBEDDINGS]
        if not layers or not self._times:
            raise RequestError("This prior's network has no attention that an adapter could be put on.")
        self._layers: list[nn.Linear] = [layer for _, layer in layers]
        device = self._layers[0].weight.device
        self.down = nn.ParameterList(
            torch.randn(rank, layer.in_features, generator=generator).to(device) / layer.in_features**0.5
            for layer in self._layers
        )
        self.up = nn.ParameterList(torch.zeros(layer.out_features, rank, device=device) for layer in self._layers)
        self.views = nn.Parameter(torch.zeros(views, _width(self._times[0]), device=device))

    def __setattr__(self, name: str, value: Any) -> None:
        # The network's own modules are looked at, not owned: they are no parameters of the adapter.
        if name in ("_layers", "_times"):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @contextmanager
    def at_work(self, views: Tensor) -> Iterator[None]:
        """While it lasts, the network answers as the adapter has it, for rows that show these views [B]."""
        told = self.views[views.to(self.views.device)]
        hooks = [
            layer.register_forward_hook(partial(_bent, down, up))
            for layer, down, up in zip(self._layers, self.down, self.up, strict=True)
        ]
        hooks += [time.register_forward_hook(partial(_told, told)) for time in self._times]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _bent(down: Tensor, up: Tensor, layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
    x = given[0]
    return out + x @ down.to(x).T @ up.to(x).T


def _told(vectors: Tensor, time: nn.Module, given: object, out: Tensor) -> Tensor:
    return out + vectors.to(out)


def _width(time: nn.Module) -> int:
    """Of the vectors that a time embedding makes: its last matrix's."""
    return [module for module in time.modules() if isinstance(module, nn.Linear)][-1].out_features
