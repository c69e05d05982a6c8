"""New UVs are per face corner: no polygon is torn between two charts."""

from __future__ import annotations

import numpy as np
import pytest

from ddrep_core.errors import RequestError
from ddrep_core.geometry import unwrap
from ddrep_core.geometry.load import load_mesh


@pytest.mark.filterwarnings("ignore:'Torus' has no UVs")
def test_bent_quads_keep_one_uv_a_corner_and_nothing_overlaps(tmp_path):
    around, across = 24, 16
    rng = np.random.default_rng(0)
    a, b = np.meshgrid(2 * np.pi * np.arange(around) / around, 2 * np.pi * np.arange(across) / across, indexing="ij")
    radius = 1 + 0.4 * np.cos(b)
    points = np.stack([radius * np.cos(a), radius * np.sin(a), 0.4 * np.sin(b)], axis=-1).reshape(-1, 3)
    points += rng.normal(0, 0.04, points.shape)  # bumps: no quad is flat, and xatlas cuts some along their diagonal
    lines = ["o Torus", *("v {} {} {}".format(*point) for point in points)]
    for i in range(around):
        for j in range(across):
            ring, next_ring, next_j = i * across, (i + 1) % around * across, (j + 1) % across
            quad = (ring + j, next_ring + j, next_ring + next_j, ring + next_j)
            lines.append("f " + " ".join(str(vertex + 1) for vertex in quad))
    path = tmp_path / "torus.obj"
    path.write_text("\n".join(lines) + "\n")

    mesh = load_mesh(path, "z")
    (part,) = mesh.parts
    assert part.unwrapped and part.uv is not None
    layout = mesh.uv_layout("Torus")
    assert np.array_equal(layout[part.corners], part.uv)
    assert part.uv.min() >= 0 and part.uv.max() <= 1

    spots = rng.random((4000, 1, 2))
    corner = part.uv[None]
    edges = np.roll(corner, -1, axis=2) - corner
    towards = spots[:, :, None] - corner
    side = edges[..., 0] * towards[..., 1] - edges[..., 1] * towards[..., 0]
    inside = (side > 1e-9).all(axis=2) | (side < -1e-9).all(axis=2)
    assert inside.sum(axis=1).max() == 1  # no spot of the texture belongs to two faces
    assert inside.any(axis=1).mean() > 0.3  # and the texture is well used


def dome() -> str:
    """An OBJ of 288 triangles, without UVs."""
    x, y = np.meshgrid(np.linspace(-1, 1, 13), np.linspace(-1, 1, 13))
    rows = np.stack([x, y, np.sin(3 * x) * np.cos(2 * y)], axis=-1).reshape(-1, 3)
    corners = np.arange(1, 170).reshape(13, 13)
    quads = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]], axis=-1).reshape(-1, 4)
    lines = ["o Dome", *("v {} {} {}".format(*row) for row in rows)]
    return "\n".join([*lines, *("f {0} {1} {2}\nf {0} {2} {3}".format(*quad) for quad in quads)])


@pytest.mark.filterwarnings("ignore:'Dome' has no UVs")
def test_many_faces_are_unwrapped_elsewhere_to_the_same_uvs(tmp_path, monkeypatch):
    """By a process that lets others of ours run meanwhile; should it end badly, words say so."""
    (tmp_path / "dome.obj").write_text(dome())
    here = load_mesh(tmp_path / "dome.obj").parts[0].uv
    monkeypatch.setattr(unwrap, "FACES_AT_ONCE", 0)
    monkeypatch.setattr(unwrap, "_charts", None)
    assert np.array_equal(load_mesh(tmp_path / "dome.obj").parts[0].uv, here)
    for program in ("import os; os.abort()", "", "raise MemoryError"):
        monkeypatch.setattr(unwrap, "PROGRAM", program)
        with pytest.raises(RequestError, match="'Dome' has no UVs, and xatlas could not make any") as caught:
            load_mesh(tmp_path / "dome.obj")
        assert "Smart UV Project" in caught.value.fix
