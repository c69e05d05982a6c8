"""What the plain networks have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class Config(dict[str, Any]):
    """A configuration whose keys are attributes, too, as diffusers and transformers have theirs."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Network(nn.Module):
    """A network made from a configuration.

    Args:
        config: as its config.json has it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = Config(config)

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return next(self.parameters()).dtype


def filled(network: Network, weights: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Network:
    """The network, made on the meta device, with weights as read; all of them, and no others.

    Raises:
        RuntimeError: they are not its own.
    """
    network.load_state_dict({name: weight.to(dtype) for name, weight in weights.items()}, assign=True)
    return network.eval()
