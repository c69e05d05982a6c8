"""Meshes whose faces look the wrong way are painted, and come back as they were."""

from __future__ import annotations

from pathlib import Path

import geometry_shapes as shapes
import numpy as np
import pytest
import torch

from ddrep_core.errors import DdrepWarning
from ddrep_core.geometry import load_mesh
from ddrep_core.geometry.bake import SEEN, bake
from ddrep_core.geometry.facing import seen_backs, turned_outward, warn_of_backs
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.views import Camera, Views, look_at, orbit_views, perspective_projection


def cube(folder: Path, turned: bool) -> Mesh:
    """A cube; `turned` writes every face's corners the other way around."""
    path = shapes.cube_obj(folder / "cube.obj")
    if turned:
        lines = path.read_text().splitlines()
        path.write_text("\n".join(" ".join(["f", *w.split()[:0:-1]]) if w.startswith("f ") else w for w in lines))
    return load_mesh(path)


def around(mesh: Mesh) -> Views:
    return orbit_views(count=4, elevations=(30.0, -30.0), target=mesh, width=16, height=16)


def facing_views(mesh: Mesh, views: Views) -> Mesh:
    """The mesh as these views take it, with what is said of it."""
    backs = seen_backs(mesh, views)
    mesh = turned_outward(mesh, backs)
    warn_of_backs(mesh, backs)
    return mesh


def test_an_inside_out_cube_is_painted_like_one_that_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    right, turned = cube(tmp_path, turned=False), cube(tmp_path / "a", turned=True)
    faces = turned.parts[0].faces.copy()
    with pytest.warns(DdrepWarning, match="look inward"):
        turned = facing_views(turned, around(turned))
    assert turned.parts[0].inside_out
    assert np.array_equal(turned.parts[0].faces, faces)
    pictures = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    (painted,) = bake(pictures, turned, around(turned), resolution=64).values()
    (expected,) = bake(pictures, right, around(right), resolution=64).values()
    assert np.array_equal(painted.coverage, expected.coverage)
    seen = torch.from_numpy(expected.coverage == SEEN)  # elsewhere, padding goes by the order of the islands
    assert seen.float().mean() > 0.5
    # Rays along the cube's edges may meet either face, so a few texels there differ.
    difference = (painted.texture - expected.texture)[:, seen].abs()
    assert difference.mean() < 0.01 and difference.median() < 1e-3


@pytest.mark.filterwarnings("error")
def test_a_mesh_that_looks_outward_is_left_alone(tmp_path: Path) -> None:
    mesh = cube(tmp_path, turned=False)
    assert not facing_views(mesh, around(mesh)).parts[0].inside_out


@pytest.mark.filterwarnings("error")
def test_a_camera_within_has_no_say(tmp_path: Path) -> None:
    mesh = cube(tmp_path, turned=False)
    within = Camera("within", look_at((0, 0, 0), (0, 1, 0)), perspective_projection(60), 16, 16)
    assert not facing_views(mesh, Views((within,))).parts[0].inside_out


def test_a_sheet_seen_from_both_sides_is_painted_on_its_front_and_it_says_so(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.grid_obj(tmp_path / "grid.obj"))
    cameras = orbit_views(count=4, elevations=(40.0, -40.0), target=mesh, width=16, height=16)
    with pytest.warns(DdrepWarning, match="backs of faces"):
        assert not facing_views(mesh, cameras).parts[0].inside_out
