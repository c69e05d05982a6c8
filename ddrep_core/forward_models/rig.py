"""Where an object is looked at from: cameras fixed to the picture that is given of it.

The given picture is view 0, seen from a little above; the object stands upright in the unit ball, which every frame
just holds. The first `SHOWN` views may be shown to a model, as context or under noise; what the others see is only ever
rendered and compared.
"""

from __future__ import annotations

import math

from ddrep_core.views import Views
from ddrep_core.views.orbit import views_from

FIELD_OF_VIEW = 30.0  # degrees
DISTANCE = 1 / math.sin(math.radians(FIELD_OF_VIEW / 2))
AROUND = ("front", "right", "back", "left")  # as one walks counter-clockwise, seen from above
LOW, HIGH = 15.0, 40.0  # degrees above the horizon
SHOWN = len(AROUND)
PLACES = (
    *((name, 90.0 * number, LOW) for number, name in enumerate(AROUND)),
    *((f"above {name}", 90.0 * number + 45, HIGH) for number, name in enumerate(AROUND)),
)
"""Name, azimuth from the picture's own side towards its right, elevation; in degrees. A quarter turn of the object
moves each four by one, which training makes use of."""
VIEW_COUNT = len(PLACES)


def rig_views(size: int) -> Views:
    """The cameras, for square pictures of `size` pixels."""
    return views_from(PLACES, DISTANCE, FIELD_OF_VIEW, None, size, size)


def turned(views: int, quarters: int) -> list[int]:
    """[V] which view of an object each view sees once the object has made so many quarter turns."""
    return [SHOWN * (view // SHOWN) + (view + quarters) % SHOWN for view in range(views)]


def mirrored(views: int) -> list[int]:
    """[V] which view each is the mirror image of when left and right of view 0 change places."""
    low = [-view % SHOWN for view in range(SHOWN)]
    high = [SHOWN + (SHOWN - 1 - view) for view in range(SHOWN)]
    return [*low, *high][:views]
