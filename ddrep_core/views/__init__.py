"""π: cameras, distributions over cameras, and words for directions."""

from ddrep_core.views.camera import Camera, Views
from ddrep_core.views.directions import DirectionWords, direction_words
from ddrep_core.views.orbit import look_at, orbit_views, perspective_projection, side_views, views_from

__all__ = [
    "Camera",
    "DirectionWords",
    "Views",
    "direction_words",
    "look_at",
    "orbit_views",
    "perspective_projection",
    "side_views",
    "views_from",
]
