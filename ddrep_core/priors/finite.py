"""Whether numbers are finite, found out without waiting for a graphics card.

To look at a number is to wait until the card has come to it. So the answer is sent to main memory behind the work that
makes it, and looked at when it has arrived: at the next call of the prior, and for certain when a run settles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Answer(Protocol):
    """A yes or no that is on its way."""

    def arrived(self) -> bool:
        """Whether it is here; asked without waiting."""
        ...

    def read(self) -> bool:
        """What it says; waits for it."""
        ...


class Sent:
    """An answer that a CUDA device sends to main memory.

    Args:
        yes: [] bool on the device.
    """

    def __init__(self, yes: Tensor) -> None:
        # Only a copy to pinned memory lets the CPU go on.
        self._here = torch.empty((), dtype=torch.bool, pin_memory=True)
        self._here.copy_(yes, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record()

    def arrived(self) -> bool:
        return self._event.query()

    def read(self) -> bool:
        self._event.synchronize()
        return bool(self._here)


class FiniteWatch:
    """Watches tensors for what is no finite number.

    Args:
        error: makes what is raised then.
        send: how an answer gets here from a device that works on its own; `Sent` when not given.
    """

    def __init__(self, error: Callable[[], Exception], send: Callable[[Tensor], Answer] | None = None) -> None:
        self._error = error
        self._send = send or Sent
        self._under_way: list[Answer] = []

    def see(self, tensor: Tensor) -> None:
        """Look at a tensor: on a CPU now, on CUDA when the answer has come.

        Raises:
            the error: it is not finite, or one before was not.
        """
        yes = tensor.isfinite().all()
        if yes.is_cuda:
            self._under_way.append(self._send(yes))
        elif not bool(yes):
            raise self._error()
        self.look()

    def look(self) -> None:
        """What has arrived by now, without waiting.

        Raises:
            the error: something was not finite.
        """
        while self._under_way and self._under_way[0].arrived():  # they arrive in order
            self._read(self._under_way.pop(0))

    def settle(self) -> None:
        """All of it; waits.

        Raises:
            the error: something was not finite.
        """
        while self._under_way:
            self._read(self._under_way.pop(0))

    def _read(self, answer: Answer) -> None:
        if not answer.read():
            self._under_way.clear()
            raise self._error()
