"""Noise on a mesh's surface: white in every view by itself, the same where two views see the same place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ddrep_core as dd
from ddrep_core.geometry.raycast import RayCaster
from ddrep_core.noise.matrix import MatrixNoise, noise_rows
from ddrep_core.noise.surface import surface_noise
from ddrep_core.views import Views, orbit_views

SIDE = 16


@pytest.fixture(scope="module")
def views() -> Views:
    mesh = dd.load_mesh(dd.demo_mesh_path())
    around = orbit_views(8, target=mesh)
    return Views([around[0], around[1], around[0]])


@pytest.fixture(scope="module")
def field(views: Views) -> MatrixNoise:
    return surface_noise(dd.load_mesh(dd.demo_mesh_path()), views, (4, SIDE, SIDE), torch.float64)


def covariance(field: MatrixNoise) -> np.ndarray:
    """[V, h * w, V, h * w], exactly."""
    rows = (field.scale * field.matrix.to_dense()).numpy()
    views, _, height, width = field.shape
    return (rows @ rows.T).reshape(views, height * width, views, height * width)


def test_each_view_sees_white_noise(field: MatrixNoise) -> None:
    found = covariance(field)
    for view in range(3):
        np.testing.assert_allclose(found[view, :, view], np.eye(SIDE * SIDE), atol=1e-12)


def test_views_share_noise_where_they_see_the_same_and_only_there(field: MatrixNoise) -> None:
    found = covariance(field)
    draws = field.draw(torch.Generator().manual_seed(3))
    assert draws.shape == (3, 4, SIDE, SIDE) and draws.std() == pytest.approx(1.0, abs=0.1)
    drawn = np.diag(found[0, :, 2]) > 0.99  # the same camera twice: the object's inner pixels
    assert 20 < drawn.sum() < SIDE * SIDE
    flat = draws.reshape(3, 4, -1)
    assert torch.allclose(flat[0][:, drawn], flat[2][:, drawn], atol=1e-5)
    assert found[0, 0, 2].max() < 1e-12  # a corner shows nothing of it: each view's own


def test_pixels_of_two_views_that_share_noise_see_one_place(views: Views, field: MatrixNoise) -> None:
    mesh = dd.load_mesh(dd.demo_mesh_path())
    caster = RayCaster(mesh)
    places = []
    for camera in views[[0, 1]]:
        pixel, hits = caster.pixel_hits(camera, SIDE, SIDE, 1)
        points = np.full((SIDE * SIDE, 3), np.nan)
        corners, weights = mesh.triangles[hits.face[hits.hit]], hits.barycentric[hits.hit]
        points[pixel[hits.hit]] = (corners * weights[:, :, None]).sum(1)
        places.append(points)
    one, other = np.nonzero(covariance(field)[0, :, 1] > 0.4)
    apart = np.linalg.norm(places[0][one] - places[1][other], axis=1)
    assert np.isfinite(apart).sum() >= 5
    pixel_width = (mesh.bounds[1] - mesh.bounds[0]).max() / 10  # the duck fills ten pixels
    assert np.nanmedian(apart) < pixel_width and np.nanquantile(apart, 0.9) < 2 * pixel_width  # aslant they are wider


def test_a_cell_belongs_to_the_pixel_that_shows_most_of_it() -> None:
    view = np.array([0, 0, 0, 0, 1, 1])
    pixel = np.array([0, 1, 1, 1, 2, 3])
    cell = np.array([7, 7, 7, 9, 7, 9])
    rows = noise_rows(view, pixel, cell, np.array([0.0, 0.25, 0.0, 0.0])).toarray()
    assert (rows[0] != 0).sum() == 1 and rows[0].sum() == 1.0  # its one cell went to the next pixel: noise of its own
    np.testing.assert_allclose((rows * rows).sum(1), 1.0)
    np.testing.assert_allclose(rows[0] @ rows[1], 0.0)
    # Pixel 1 shows both cells on three quarters of it; each of the other view's pixels shows one of them.
    np.testing.assert_allclose([rows[1] @ rows[2], rows[1] @ rows[3]], [(0.75 / 2) ** 0.5] * 2)


def test_the_same_generator_draws_the_same(field: MatrixNoise) -> None:
    one, two = (field.draw(torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, two)
