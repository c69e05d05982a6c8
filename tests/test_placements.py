"""Where the engine places cameras: what the words mean, and what is refused."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from geometry_shapes import cube_obj, grid_obj

from ddrep_core.errors import RequestError
from ddrep_core.geometry.coverage import best_seen
from ddrep_core.geometry.load import load_mesh
from ddrep_core.jobs.generate import orbit_count
from ddrep_core.jobs.placement import Placement
from ddrep_core.jobs.request import parse_request
from ddrep_core.jobs.views import look_at_mesh, placed, sampled_views
from ddrep_core.jobs.wish import wish_of
from ddrep_core.views import direction_words, orbit_views
from ddrep_core.views.orbit import SIDES, side_views


@pytest.mark.parametrize("text", ["orbit:8", "orbit:1:ortho", "coverage:512", "front-back", "six-sides:ortho"])
def test_a_placement_is_no_file(text: str) -> None:
    request = parse_request({"schema_version": 1, "task": "texture", "cameras": text, "texture": {"mesh": "m.obj"}})
    assert request.placement is not None and request.placement.orthographic == text.endswith(":ortho")
    assert wish_of("image", {"cameras": text}).request["cameras"] == text


@pytest.mark.parametrize(
    "text", ["orbit:0", "orbit", "orbit:8:orth", "coverage:513", "coverage", "six-sides:6", "front-back:"]
)
def test_a_wrong_placement_says_what_there_is(text: str) -> None:
    with pytest.raises(RequestError, match=r"must be like orbit:8 .*coverage:N, front-back or six-sides"):
        parse_request({"schema_version": 1, "task": "texture", "cameras": text, "texture": {"mesh": "m.obj"}})


def test_a_new_object_has_no_sides_yet() -> None:
    request = parse_request({"schema_version": 1, "task": "generate", "cameras": "six-sides"})
    with pytest.raises(RequestError, match="'six-sides' is for textures"):
        orbit_count(request)


@pytest.mark.parametrize("front", [0.0, 90.0, -35.0])
@pytest.mark.parametrize("orthographic", [False, True])
def test_sides_are_told_as_what_they_are(front: float, orthographic: bool, tmp_path: Path) -> None:
    mesh = load_mesh(cube_obj(tmp_path / "cube.obj"))
    views = side_views([name for name, _, _ in SIDES], mesh, 32, 32, front, orthographic).with_front(front)
    words = {camera.name: direction_words(camera, views.target, front_degrees=front) for camera in views}
    assert words == {
        "front": "front view",
        "left": "side view",
        "back": "back view",
        "right": "side view",
        "top": "overhead view",
        "bottom": "bottom view",
    }
    assert all(camera.is_orthographic == orthographic for camera in views)
    turn = np.radians(front)
    ahead = np.array([np.sin(turn), -np.cos(turn), 0.0])  # where the object faces
    top = next(camera for camera in views if camera.name == "top")
    assert np.allclose(top.matrix_world[:3, 1], -ahead, atol=1e-12)  # its front is at the picture's lower edge
    pixels, _ = top.project(views.target + np.stack([ahead, -ahead]))
    assert pixels[0, 1] > pixels[1, 1]


def test_without_perspective_size_does_not_change_with_distance(tmp_path: Path) -> None:
    mesh = load_mesh(cube_obj(tmp_path / "cube.obj"))
    for camera in sampled_views(Placement("orbit", 3, True), mesh, 32):
        near = camera.matrix_world[:3, 2] * 0.7
        beside = camera.matrix_world[:3, 0] * 0.5
        spans = [np.ptp(camera.project(np.stack([at, at + beside]))[0][:, 0]) for at in (near, -near)]
        assert spans[0] == pytest.approx(spans[1], rel=1e-9)
        assert camera.project(mesh.vertices)[0].min() > 0 and camera.project(mesh.vertices)[0].max() < 32


def test_an_orbit_is_the_orbit_that_it_was(tmp_path: Path) -> None:
    mesh = load_mesh(cube_obj(tmp_path / "cube.obj"))
    for one, other in zip(orbit_views(count=5, target=mesh), placed(Placement("orbit", 5), mesh, 512), strict=True):
        assert np.array_equal(one.matrix_world, other.matrix_world) and one.name == other.name
    assert len(look_at_mesh(8, mesh, 16, 32).views) == 8


def test_coverage_takes_what_sees_most(tmp_path: Path) -> None:
    """Two opposite corners see all six sides of a cube."""
    mesh = load_mesh(cube_obj(tmp_path / "cube.obj"))
    views = placed(Placement("coverage", 2), mesh, 32)
    directions = np.stack([camera.matrix_world[:3, 2] for camera in views])
    faces = np.concatenate([np.eye(3), -np.eye(3)])
    assert (faces @ directions.T > 0.1).any(axis=1).all()  # each face is seen by one of the two
    candidates = side_views([name for name, _, _ in SIDES], mesh)
    chosen, share = best_seen(mesh, candidates, 6)
    assert sorted(chosen) == list(range(6)) and share == 1.0
    flat = load_mesh(grid_obj(tmp_path / "grid.obj"))
    chosen, share = best_seen(flat, candidates, 6)  # a sheet that looks up: nothing else adds anything
    assert [candidates[number].name for number in chosen] == ["top"] and share == 1.0


def test_greed_is_near_the_best_choice(tmp_path: Path) -> None:
    mesh = load_mesh(cube_obj(tmp_path / "cube.obj"))
    candidates = orbit_views(count=7, elevations=(-20.0, 10.0, 50.0), target=mesh)
    chosen, share = best_seen(mesh, candidates, 3)
    best = max(best_seen(mesh, candidates[list(those)], 3)[1] for those in combinations(range(7), 3))
    assert len(set(chosen)) == 3 and share >= (1 - 1 / np.e) * best
