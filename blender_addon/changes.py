# SPDX-License-Identifier: GPL-3.0-or-later
"""Who hears of a changed setting.

Settings know nothing of what depends on them: `runtime` puts its functions into these lists while the extension is
enabled, and takes them out again.
"""

from collections.abc import Callable
from typing import Any

Listeners = list[Callable[[], None]]

engine: Listeners = []  # the engine's location
jobs_folder: Listeners = []
cameras: Listeners = []  # what is looked at, or from where


def tell(listeners: Listeners) -> Callable[[Any, Any], None]:
    """The `update` of a property whose changes `listeners` hear of."""

    def update(owner: Any, context: Any) -> None:
        for listener in listeners:
            listener()

    return update
