"""Framing: the same rays, another window; and the front that they are told from."""

import geometry_shapes as shapes
import numpy as np
import pytest

from ddrep_core.geometry.load import load_mesh
from ddrep_core.jobs.views import sampled_views, square_frame
from ddrep_core.views import Camera, look_at, orbit_views, perspective_projection

POINTS = np.array([[x, y, z] for x in (-0.2, 0.5) for y in (0, 0.3) for z in (0.1, 0.4)], dtype=np.float64)


def orthographic():
    projection = np.diag([0.5, 0.9, -0.01, 1.0])
    return Camera("ortho", look_at((0, -3, 1), (0, 0, 0.2)), projection, 900, 500)


def perspective(width=1920, height=1080):
    return Camera("lens", look_at((1, -3, 1), (0, 0, 0.2)), perspective_projection(50, width / height), width, height)


@pytest.mark.parametrize("camera", [perspective(), perspective(300, 700), orthographic()])
def test_the_object_fills_a_square_and_is_not_distorted(camera):
    framed = square_frame(camera, POINTS, 64)
    pixels, _ = framed.project(POINTS)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    assert (low > 0).all() and (high < 64).all()
    assert (high - low).max() == pytest.approx(64 / 1.12)
    assert (low + high) / 2 == pytest.approx([32, 32])
    # Its window alone is another: the same place, and the same ray through the same point.
    origins, directions = framed.rays(pixels)
    before, straight = camera.rays(camera.project(POINTS)[0])
    np.testing.assert_allclose(directions, straight, atol=1e-9)
    if not camera.is_orthographic:
        np.testing.assert_allclose(origins, before, atol=1e-9)
    # A small square across the viewing axis stays a square.
    right, up = camera.matrix_world[:3, 0], camera.matrix_world[:3, 1]
    corners = framed.project(np.stack([POINTS[0], POINTS[0] + 1e-4 * right, POINTS[0] + 1e-4 * up]))[0]
    before = camera.project(np.stack([POINTS[0], POINTS[0] + 1e-4 * right, POINTS[0] + 1e-4 * up]))[0]
    sides = np.abs([corners[1, 0] - corners[0, 0], corners[2, 1] - corners[0, 1]])
    world = np.array([1 / camera.projection[0, 0], 1 / camera.projection[1, 1]]) / (camera.width, camera.height)
    expected = np.abs([before[1, 0] - before[0, 0], before[2, 1] - before[0, 1]]) * world
    assert sides[0] / sides[1] == pytest.approx(expected[0] / expected[1], rel=1e-6)


def test_a_frame_that_cuts_the_object_is_kept():
    camera = perspective()
    near = Camera("near", look_at((0.15, -0.4, 0.25), (0.15, 0.15, 0.25)), camera.projection, 1920, 1080)
    framed = square_frame(near, POINTS, 64)
    corners = near.rays(np.array([[0.0, 540.0], [1920.0, 540.0]]))
    pixels, _ = framed.project(corners[0] + corners[1])
    assert pixels[:, 0] == pytest.approx([32 - 32 / 1.12, 32 + 32 / 1.12])


def test_an_object_around_the_camera_keeps_the_whole_frame():
    camera = Camera("inside", look_at((0, 0, 0), (0, 1, 0)), perspective_projection(90), 100, 100)
    framed = square_frame(camera, np.array([[0, 2.0, 0], [0, -2.0, 0]]), 64)
    assert framed.project(np.array([[1.0, 1.0, 0.0]]))[0][0, 0] == pytest.approx(32 + 32 / 1.12)


@pytest.mark.parametrize("front", [0.0, 90.0, -123.4, 725.0])
def test_an_orbit_begins_in_front_and_cameras_of_a_file_stay(front, tmp_path):
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    views = sampled_views(8, mesh, 32, front)
    assert views.front_degrees == front and len(views) == 8
    towards = views[0].position - views.target
    along = np.array([np.sin(np.radians(front)), -np.cos(np.radians(front))])
    np.testing.assert_allclose(towards[:2] / np.linalg.norm(towards[:2]), along, atol=1e-9)
    given = orbit_views(5, target=mesh)
    kept = sampled_views(given, mesh, 32, front)
    assert kept.front_degrees == front
    for camera, before in zip(kept, given, strict=True):
        np.testing.assert_array_equal(camera.matrix_world, before.matrix_world)
