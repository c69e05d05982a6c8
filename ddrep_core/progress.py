"""How far long work is: a function that is told the share that is done, 0 to 1, from time to time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Protocol, TypeAlias, TypeVar

Progress: TypeAlias = Callable[[float], object]

Item = TypeVar("Item", covariant=True)


class _Countable(Sized, Iterable[Item], Protocol[Item]): ...


def unheard(share: float) -> None:
    """For work that nobody asks about."""


def portion(progress: Progress, start: float, end: float) -> Progress:
    """What a part of the work is to tell, which goes from one share of the whole to another."""
    return lambda share: progress(start + (end - start) * share)


def counted(items: _Countable[Item], progress: Progress) -> Iterator[Item]:
    """The items; before each, what share of them is done is told."""
    for number, item in enumerate(items):
        progress(number / len(items))
        yield item
