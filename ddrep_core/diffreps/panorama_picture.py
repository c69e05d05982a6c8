"""A panorama as one picture: windows decoded as the decoder knows them, and blended where they overlap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ddrep_core.diffreps.panorama import sphere_coordinates
from ddrep_core.views import Camera, Views
from ddrep_core.views.banks import SPHERE_FOV, sphere_views

Decode: TypeAlias = Callable[[Tensor], Tensor]
"""[B, C, h, w] -> [B, 3, H, W], sRGB in [0, 1]."""


def decode_cylinder(canvas: Tensor, view_width: int, decode: Decode) -> Tensor:
    """[3, H, W] the whole strip as a picture without a seam.

    The decoder sees windows as wide as it was trained on, half a window apart and around the wrap, and their pictures
    are blended where they overlap: neither the ends of the strip nor the windows' edges are ever an edge of it.

    Args:
        canvas: [C, h, columns], columns a multiple of half the view's width.
        view_width: w of a view.
    """
    columns = canvas.shape[2]
    step = max(view_width // 2, 1)
    offsets = range(0, columns, step)
    windows = torch.stack([canvas.roll(-offset, dims=2)[:, :, :view_width] for offset in offsets])
    pictures = torch.cat([decode(piece).float().cpu() for piece in windows.split(8)])
    factor = pictures.shape[3] // view_width
    ramp = _feather(torch.linspace(-1, 1, pictures.shape[3] + 2)[1:-1])
    total = torch.zeros(3, pictures.shape[2], columns * factor)
    weight = torch.zeros(columns * factor)
    for offset, picture in zip(offsets, pictures, strict=True):
        at = (torch.arange(pictures.shape[3]) + offset * factor) % (columns * factor)
        total[:, :, at] += picture * ramp
        weight[at] += ramp
    return total / weight


def decode_sphere(
    values_at: Callable[[Tensor], Tensor],
    image_shape: tuple[int, int, int],
    decode: Decode,
    width: int,
    fov_degrees: float = SPHERE_FOV,
) -> Tensor:
    """[3, width / 2, width] equirectangular, the middle column looking along +Y, without a seam anywhere.

    The decoder sees perspective windows in all directions (the poles are the middle of one each), and the pictures are
    blended on the sphere: the left and right ends of the result meet in the middle of windows that know both.

    Args:
        values_at: what a canvas or a SIREN holds in directions [N, 3]: [N, C].
        image_shape: (C, h, w) of a window.
        width: of the result, in pixels.
    """
    channels, rows, columns = image_shape
    directions = equirectangular_directions(width)  # [H, W, 3]
    total = torch.zeros(3, *directions.shape[:2])
    weight = torch.zeros(directions.shape[:2])
    for cameras in _chunks(sphere_views(fov_degrees), 8):
        rays = sphere_coordinates(cameras, rows, columns)
        latents = values_at(rays.reshape(-1, 3)).reshape(len(cameras), rows, columns, channels).movedim(-1, 1)
        for camera, picture in zip(cameras, decode(latents).float().cpu(), strict=True):
            _splat(camera, picture, directions, total, weight)
    return total / weight.clamp_min(1e-12)


def equirectangular_directions(width: int) -> Tensor:
    """[width / 2, width, 3] unit directions of pixel centres: the middle column along +Y, +X to its right, Z up."""
    height = width // 2
    azimuth = ((torch.arange(width, dtype=torch.float64) + 0.5) / width - 0.5) * 2 * math.pi
    elevation = (0.5 - (torch.arange(height, dtype=torch.float64) + 0.5) / height) * math.pi
    elevation, azimuth = torch.meshgrid(elevation, azimuth, indexing="ij")
    return torch.stack(
        [elevation.cos() * azimuth.sin(), elevation.cos() * azimuth.cos(), elevation.sin()], dim=-1
    ).float()


def equirectangular_places(camera: Camera, size: int) -> Tensor:
    """[size, size, 2] where the pixels of a camera at the middle lie in an equirectangular picture: 0..1 of its width,
    from the left, and of its height, from the top."""
    ray = torch.from_numpy(camera.pixel_grid_rays(size, size)[1][:, :, 0])
    azimuth, elevation = torch.atan2(ray[..., 0], ray[..., 1]), ray[..., 2].clamp(-1, 1).asin()
    return torch.stack([azimuth / (2 * math.pi) + 0.5, 0.5 - elevation / math.pi], dim=-1).float()


def _splat(camera: Camera, picture: Tensor, directions: Tensor, total: Tensor, weight: Tensor) -> None:
    """Add one window's picture [3, H, W] to the panorama, feathered towards its edges."""
    to_camera = torch.from_numpy(np.array(camera.matrix_world[:3, :3])).float()
    inside = directions @ to_camera
    depth = -inside[..., 2]
    u = inside[..., 0] * float(camera.projection[0, 0]) / depth.clamp_min(1e-6)
    v = -inside[..., 1] * float(camera.projection[1, 1]) / depth.clamp_min(1e-6)
    seen = (depth > 1e-3) & (u.abs() < 1) & (v.abs() < 1)
    grid = torch.stack([u[seen], v[seen]], dim=-1)[None, None]
    values = torch.nn.functional.grid_sample(
        picture[None], grid, mode="bicubic", padding_mode="border", align_corners=False
    )[0, :, 0]
    share = _feather(u[seen]) * _feather(v[seen])
    total[:, seen] += values.clamp(0, 1) * share
    weight[seen] += share


def _feather(position: Tensor) -> Tensor:
    """A weight that is 1 in the middle (0) and falls smoothly to nearly 0 at the edges (±1)."""
    return torch.cos(0.5 * math.pi * position.clamp(-1, 1)).square() + 1e-4


def _chunks(views: Views, size: int) -> list[Views]:
    return [views[start : start + size] for start in range(0, len(views), size)]
