"""Textures too large to be solved for as they are: the quick ways to deliver them give what the slow ones do."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import geometry_shapes as shapes
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from ddrep_core.geometry import Baker, load_mesh, refine, texel_graph, write_glb
from ddrep_core.geometry import texels as texel_module
from ddrep_core.geometry.bake import BakedTexture
from ddrep_core.geometry.gltf_document import GltfDocument
from ddrep_core.geometry.mesh import Part
from ddrep_core.pictures import png_bytes, quick_png_bytes
from ddrep_core.report import Renderer
from ddrep_core.report.pyramid import Pyramid
from ddrep_core.views import orbit_views

COARSE, FINE = 40, 150


def cube_part(tmp_path: Path) -> Part:
    return load_mesh(shapes.cube_obj(tmp_path / "cube.obj")).parts[0]


@pytest.mark.parametrize("shift", [0.0, 0.35])  # the second reaches over the texture's border
def test_interpolating_all_at_once_is_texel_by_texel(tmp_path: Path, shift: float) -> None:
    part = cube_part(tmp_path)
    assert part.uv is not None
    mesh = replace(load_mesh(tmp_path / "cube.obj"), parts=(replace(part, uv=part.uv + shift),))
    entry = texel_graph.texel_graph(mesh, COARSE).parts[0]
    random = np.random.default_rng(0)
    values = random.random((entry.count, 3)).astype(np.float32)
    seen = random.random(entry.count) < 0.5
    texture, shown, inside = refine.finer(entry, COARSE, values, seen, FINE)
    group = refine._groups(entry, FINE)
    index = np.flatnonzero(group >= 0)
    node = np.full(COARSE**2, -1, np.int32)
    node[entry.texels.index] = np.arange(entry.count)
    color, sight = refine._interpolated(entry, node, COARSE, values, seen, index, group.reshape(-1)[index], FINE)
    assert np.array_equal(np.flatnonzero(inside), index)
    assert np.abs(texture.reshape(-1, 3)[index] - color * 255.0).max() < 2  # Pillow rounds twice
    assert np.array_equal(shown.reshape(-1)[index], sight) and not shown[~inside].any()
    # Close to an island no other shows: each island of one colour.
    tint = np.linspace(0.1, 0.9, int(entry.group.max()) + 1, dtype=np.float32)
    flat, _, _ = refine.finer(entry, COARSE, np.repeat(tint[entry.group][:, None], 3, axis=1), seen, FINE)
    tiled = np.tile(group, (3, 3))
    distance, nearest = ndimage.distance_transform_edt(tiled < 0, return_indices=True)  # type: ignore[misc]
    middle = np.s_[FINE : 2 * FINE, FINE : 2 * FINE]
    close = distance[middle] <= refine.CLOSE
    home = tiled[tuple(nearest)][middle]
    assert np.abs(flat[close][:, 0] - tint[home[close]] * 255.0).max() < 1


def scattered_uvs(seed: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    uv = random.uniform(-reach, reach, (20, 1, 2)) + random.uniform(-0.2, 0.2, (20, 3, 2)) + 0.5
    return uv, np.arange(20, dtype=np.int32)


@pytest.mark.parametrize(("seed", "reach"), [(0, 0.25), (1, 2.0)])
def test_overlaps_and_repeats_are_left_to_the_slow_way(seed: int, reach: float) -> None:
    uv, groups = scattered_uvs(seed, reach)
    assert refine._groups_by_line(groups, texel_module.to_texel_space(uv, 64), 64) is None


def test_groups_by_line_are_those_by_texel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = texel_graph.texel_graph(load_mesh(shapes.cube_obj(tmp_path / "cube.obj")), COARSE).parts[0]
    quick = refine._groups(entry, FINE)
    monkeypatch.setattr(refine, "_groups_by_line", lambda *arguments: None)
    assert np.array_equal(quick, refine._groups(entry, FINE)) and quick.max() > 0


def test_boxes_of_islands_say_what_texels_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = cube_part(tmp_path)
    island = texel_module.islands(part)
    assert part.uv is not None and texel_module._lie_apart(part, island, int(island.max()) + 1)
    over = replace(part, uv=np.where((island == 1)[:, None, None], part.uv[island == 0].mean((0, 1)), part.uv))
    assert not texel_module._lie_apart(over, island, int(island.max()) + 1)
    assert not texel_module._lie_apart(replace(part, uv=part.uv + 0.5), island, int(island.max()) + 1)
    quick = texel_module._texture_groups(part)
    monkeypatch.setattr(texel_module, "_lie_apart", lambda *arguments: False)
    assert np.array_equal(quick, texel_module._texture_groups(part))


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (33, 20, 3), (1, 4, 3)])
def test_a_quick_png_holds_the_same_picture(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with Image.open(io.BytesIO(quick_png_bytes(pixels))) as picture:
        picture.load()
        assert np.array_equal(np.asarray(picture), pixels)


def test_a_texture_in_bytes_is_saved_and_drawn_like_one_of_floats(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    views = orbit_views(3, (20.0,), target=mesh, width=24, height=24)
    pictures = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    ((name, baked),) = Baker(mesh, views, 128, (24, 24), most_texels=2_000).bake(pictures).items()
    assert baked.in_bytes and baked.texture.dtype == torch.float32
    as_floats = BakedTexture(baked.texture, baked.coverage)
    assert not as_floats.in_bytes and np.array_equal(as_floats.pixels(), baked.pixels())
    for kind, texture in (("bytes", baked), ("floats", as_floats)):
        texture.save(tmp_path / f"{kind}.png", tmp_path / f"{kind}_coverage.png")
    for what in ("", "_coverage"):
        found, expected = (np.asarray(Image.open(tmp_path / f"{kind}{what}.png")) for kind in ("bytes", "floats"))
        assert np.array_equal(found, expected)
    drawn, expected = (Renderer(mesh, {name: texture}).lit(views[0], 48, 48) for texture in (baked, as_floats))
    assert np.abs(drawn - expected).max() < 0.005
    one, two = Pyramid(baked), Pyramid(as_floats)
    assert one.levels == two.levels == 5
    assert all(np.abs(one.level(k) / 255.0 - two.level(k)).max() < 0.004 for k in range(9))


def test_a_glb_takes_a_picture_file_in_as_it_is(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    texture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    BakedTexture(texture, np.zeros((16, 16), np.uint8)).save(tmp_path / "texture.png")
    name = mesh.parts[0].name
    write_glb(mesh, {name: texture}, tmp_path / "one.glb")
    write_glb(mesh, {name: tmp_path / "texture.png"}, tmp_path / "two.glb")
    assert (tmp_path / "one.glb").read_bytes() == (tmp_path / "two.glb").read_bytes()
    quick = quick_png_bytes(np.asarray(Image.open(tmp_path / "texture.png")))
    assert quick != png_bytes(Image.open(tmp_path / "texture.png"))
    (tmp_path / "texture.png").write_bytes(quick)
    write_glb(mesh, {name: tmp_path / "texture.png"}, tmp_path / "three.glb")
    document = load_mesh(tmp_path / "three.glb").document
    assert isinstance(document, GltfDocument) and document.picture(0) == quick
