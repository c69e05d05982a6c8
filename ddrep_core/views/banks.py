"""Banks of cameras that no camera file gives: around a field, and from the middle of a panorama outwards."""

from __future__ import annotations

import math

import torch

from ddrep_core.errors import RequestError
from ddrep_core.views.camera import Camera, Views
from ddrep_core.views.orbit import direction, look_at, perspective_projection

SPHERE_FOV = 65.0


def sphere_bank(
    count: int = 16,
    generator: torch.Generator | None = None,
    *,
    extent: float = 1.0,
    elevations: tuple[float, float] = (-10.0, 45.0),
    fov_degrees: tuple[float, float] = (40.0, 50.0),
    size: int = 64,
) -> Views:
    """Cameras around the origin, well spread: azimuths in equal strata, elevations and fields of view in the best
    order to be met with them (a lattice of the golden ratio's powers), each jittered within its stratum.

    Every camera stands so far away that the ball of radius `extent` just fits its frame. A prior draws an object as
    large as its frame allows, whatever the field of view: from cameras at one distance the views would contradict each
    other about its size, and what one frame cuts off another would show.

    Args:
        extent: radius of the ball that all see whole.
        elevations: degrees; spread evenly in their sine, so that equal areas get equal shares.
        fov_degrees: the range of fields of view.
        size: of the pictures, in pixels.
    """
    generator = generator or torch.Generator().manual_seed(0)
    jitter = torch.rand(count, 3, generator=generator).numpy()
    low, high = (math.sin(math.radians(angle)) for angle in elevations)
    cameras = []
    for number in range(count):
        azimuth = 2 * math.pi * (number + 0.5 * (jitter[number, 0] - 0.5)) / count
        spread = ((number * 0.7548776662 + 0.35) % 1, (number * 0.5698402910 + 0.6) % 1)
        elevation = math.asin(low + (high - low) * spread[0])
        fov = fov_degrees[0] + (fov_degrees[1] - fov_degrees[0]) * spread[1]
        offset = direction(azimuth, elevation)
        distance = extent / math.sin(math.radians(fov) / 2)
        matrix = look_at(distance * offset, (0.0, 0.0, 0.0))
        cameras.append(Camera(f"bank {number}", matrix, perspective_projection(fov), size, size))
    return Views(tuple(cameras))


def sphere_views(fov_degrees: float = SPHERE_FOV) -> Views:
    """Cameras at the origin that see every direction about twice: rings at the horizon and ±45°, and both poles.

    Neighbours on a ring stand 4/5 of the field of view apart, or closer; 23 cameras with the default.
    """
    if not 60 <= fov_degrees <= 110:
        raise RequestError(f"A field of view of {fov_degrees} degrees does not tile the sphere.", "Use 60 to 110.")
    projection = perspective_projection(fov_degrees)
    cameras = []
    for elevation in (0.0, 45.0, -45.0, 90.0, -90.0):
        around = 1 if abs(elevation) == 90 else math.ceil(360 / (0.8 * fov_degrees))
        for number in range(around):
            azimuth = math.radians(360 * (number + (0.5 if abs(elevation) == 45 else 0)) / around)
            tilt = math.radians(elevation)
            matrix = look_at((0.0, 0.0, 0.0), direction(azimuth, tilt) * (1.0, -1.0, 1.0))  # from +Y on
            cameras.append(Camera(f"{elevation:+.0f} degrees, {number}", matrix, projection))
    return Views(tuple(cameras))
