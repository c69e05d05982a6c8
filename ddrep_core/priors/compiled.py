"""torch.compile, where it pays and works: many small launches of a network become a few large ones.

Nothing rests on it. A network that cannot be compiled on this machine runs as it is, and that is said.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

from ddrep_core.errors import DdrepWarning
from ddrep_core.priors.networks import Network


def compile_network(network: Network, name: str) -> None:
    """Have a network's parts compiled at their first call, for each shape that they are then called with.

    Args:
        network: a prior's; its modules are changed in place.
        name: what a person called the prior, for what is said where compiling fails.
    """
    if torch.are_deterministic_algorithms_enabled():  # the compiler hears of it by this door alone
        torch.use_deterministic_algorithms(True, warn_only=torch.is_deterministic_algorithms_warn_only_enabled())
    for module in network.modules:
        module.forward = _Compiled(module.forward, name)


class _Compiled:
    """A module's forward, compiled; as it was from the first failure on."""

    def __init__(self, plain: Any, name: str) -> None:
        self._plain = self._now = plain
        self._name = name
        try:
            self._now = torch.compile(plain)
        except Exception as error:  # whatever a machine lacks for it
            self._give_up(error)

    def __call__(self, *arguments: Any, **told: Any) -> Any:
        if self._now is self._plain:
            return self._plain(*arguments, **told)
        try:
            return self._now(*arguments, **told)
        except torch.OutOfMemoryError:  # of the call, not of compiling: smaller batches help
            raise
        except Exception as error:  # no compiler, an operation that it does not know, a bug of its own
            self._give_up(error)
            return self._plain(*arguments, **told)

    def _give_up(self, error: Exception) -> None:
        self._now = self._plain
        lines = str(error).strip().splitlines()
        reason = lines[0][:200] if lines else type(error).__name__
        warnings.warn(
            f"The model '{self._name}' could not be compiled here ({reason}). "
            "It runs as it is; leave --compile out to hear no more of it.",
            DdrepWarning,
            stacklevel=3,
        )
