"""Faces that share texels: whichever stands first in the file, the same texture comes out."""

from __future__ import annotations

from pathlib import Path

import geometry_shapes as shapes
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddrep_core.errors import DdrepWarning
from ddrep_core.geometry import bake, load_mesh
from ddrep_core.geometry.bake import OUTSIDE, SEEN, BakedTexture
from ddrep_core.views import Views

pytestmark = pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
SQUARE = ((0, 0), (1, 0), (1, 1), (0, 1))
HALVES = ((0, 0), (0.5, 0), (0.5, 1), (0, 1)), ((0.5, 0), (1, 0), (1, 1), (0.5, 1))
order_of_faces = st.permutations(range(6))
quickly = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shared_cube(path: Path, order: list[int], squares: tuple = (SQUARE,)) -> Path:
    """A cube whose faces, in this order in the file, lie on these places of the texture in turn."""
    lines = [f"v {x} {y} {z}" for x, y, z in shapes.CUBE_POINTS]
    lines += [f"vt {u} {v}" for square in squares for u, v in square]
    for face in order:
        first = 4 * (face % len(squares))
        lines.append("f " + " ".join(f"{p + 1}/{first + k + 1}" for k, p in enumerate(shapes.CUBE_QUADS[face])))
    path.write_text("\n".join(lines) + "\n")
    return path


def baked(path: Path, views: Views) -> BakedTexture:
    pictures = torch.rand(len(views), 3, 16, 16, generator=torch.Generator().manual_seed(0))
    (texture,) = bake(pictures, load_mesh(path), views, resolution=48).values()
    return texture


@quickly
@given(order=order_of_faces, squares=st.sampled_from([(SQUARE,), HALVES]))
def test_the_order_of_faces_makes_no_difference(tmp_path: Path, order: list[int], squares: tuple) -> None:
    views = shapes.cameras([(2, -3, 2), (-3, -1, 1)], 16)  # the bottom and two sides stay unseen
    expected = baked(shared_cube(tmp_path / "a.obj", list(range(6)), squares), views)
    found = baked(shared_cube(tmp_path / "b.obj", order, squares), views)
    assert np.array_equal(found.coverage, expected.coverage)
    assert (found.texture - expected.texture).abs().max() < 1e-3


@quickly
@given(order=order_of_faces)
def test_a_texel_is_seen_where_any_of_its_faces_is(tmp_path: Path, order: list[int]) -> None:
    """One face fills the picture of the only camera: all of the texture is painted, by it alone."""
    mesh = load_mesh(shared_cube(tmp_path / "cube.obj", order))
    (texture,) = bake(torch.full((1, 3, 32, 32), 0.25), mesh, shapes.cameras([(0, 0, 5)], 32), resolution=32).values()
    inside = texture.coverage != OUTSIDE
    assert inside.all() and (texture.coverage == SEEN).mean() > 0.95
    assert (texture.texture - 0.25).abs().max() < 0.01


def test_what_shares_one_picture_is_said_when_the_mesh_is_read(tmp_path: Path) -> None:
    with pytest.warns(DdrepWarning, match="lie on top of each other"):
        load_mesh(shared_cube(tmp_path / "cube.obj", list(range(6))))
