"""What is made of a mesh or a part once, and kept with it as long as it lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")


def kept(owner: object, name: str, make: Callable[[], Made]) -> Made:
    """`make()` at the first call for this owner and name, the same object at all others.

    It is `functools.cached_property` for what lives in another module than its owner. Owners are frozen dataclasses:
    `dataclasses.replace` makes one that has kept nothing yet.
    """
    space = vars(owner)
    if name not in space:
        space[name] = make()
    return space[name]
