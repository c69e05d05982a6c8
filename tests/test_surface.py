"""Density grids to meshes: closed, one piece, where it should be, on the ground."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from ddrep_core.diffreps.voxel_nerf import voxel_centres
from ddrep_core.errors import RequestError, RunError
from ddrep_core.geometry import surface as surface_module
from ddrep_core.geometry.surface import (
    best_level,
    decimated,
    extract_surface,
    intersection_over_union,
    largest_piece,
    mesh_of,
    require_decimation,
    rest_on_ground,
)


def ball(radius: float = 0.5, grid: int = 40, centre: tuple[float, float, float] = (0.1, -0.2, 0.15)) -> np.ndarray:
    points = voxel_centres(grid, 1.0).numpy()
    return np.clip((radius - np.linalg.norm(points - centre, axis=-1)) * 40 + 10, 0, None)


def surface(density: np.ndarray, faces: int = 20_000) -> trimesh.Trimesh:
    return trimesh.Trimesh(*extract_surface(density, 10.0, faces=faces), process=False)


def test_a_ball_becomes_a_closed_ball_in_its_place() -> None:
    found = surface(ball())
    assert found.is_watertight and found.is_winding_consistent
    assert found.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.06)
    np.testing.assert_allclose(found.center_mass, (0.1, -0.2, 0.15), atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(found.vertices - (0.1, -0.2, 0.15), axis=1), 0.5, atol=0.03)


def test_floaters_and_hollows_are_gone() -> None:
    density = np.maximum(ball(), ball(0.12, centre=(-0.7, 0.7, -0.7)))
    density[18:20, 18:20, 18:20] = 0  # a hollow inside
    found = surface(density)
    assert len(found.split(only_watertight=False)) == 1
    assert found.euler_number == 2
    assert found.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.06)


def test_decimation_keeps_to_its_budget_and_stays_closed() -> None:
    found = surface(ball(), faces=600)
    assert len(found.faces) <= 660
    assert found.is_watertight
    assert found.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.07)


def test_what_touches_the_box_is_closed_there() -> None:
    found = surface(ball(centre=(0.8, 0.0, 0.0)))
    assert found.is_watertight
    assert found.bounds[1, 0] <= 1 + 2 / 40


def test_dust_is_refused() -> None:
    density = np.zeros((20, 20, 20))
    with pytest.raises(RunError, match="nothing solid"):
        extract_surface(density, 1.0)
    density[4:6, 4:6, 4:6] = 5
    with pytest.raises(RunError, match="nothing solid"):
        largest_piece(density > 1)


def test_rests_on_the_ground_at_its_size() -> None:
    placed = rest_on_ground(np.array([[-1.0, 2, 3], [1, 4, 7], [0, 3, 5]]), 2.0)
    np.testing.assert_allclose(placed.min(axis=0), (-0.5, -0.5, 0))
    np.testing.assert_allclose(placed.max(axis=0), (0.5, 0.5, 2))


def test_mesh_of_has_one_part_and_its_corners_in_order() -> None:
    vertices, faces = extract_surface(ball(grid=20), 10.0)
    mesh = mesh_of(vertices, faces)
    part = mesh.parts[0]
    assert (part.corner_count, part.corners[1].tolist()) == (3 * len(faces), [3, 4, 5])


def test_the_best_level_is_the_one_that_looks_alike() -> None:
    wanted = np.arange(100) < 40

    def silhouettes(level: float) -> np.ndarray:
        if level > 80:
            raise RunError("empty")
        return np.arange(100) < level

    assert best_level([10, 45, 70, 90], silhouettes, wanted) == (45, pytest.approx(40 / 45))
    with pytest.raises(RunError, match="nothing solid"):
        best_level([90], silhouettes, wanted)
    assert intersection_over_union(wanted, ~wanted) == 0


def test_what_only_generate_needs_is_asked_for_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """VTK is loaded where a surface is made lighter, and nowhere else; without it the command is named."""
    monkeypatch.setattr(surface_module, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"ddrep generate.*PyVista"):
        require_decimation()
    ball = trimesh.creation.icosphere(1)
    assert decimated(ball, len(ball.faces)) is ball  # light enough: nothing is needed
    with pytest.raises(RequestError, match="PyVista"):
        decimated(ball, 20)
