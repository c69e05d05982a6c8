"""Written GLBs are valid where their input was, and where it was not: Khronos's validator, or its rules in Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import geometry_shapes as shapes
import gltf_maker
import numpy as np
import pytest
from glb_invariants import problems, validator
from gltf_maker import Maker, paint

from ddrep_core.geometry import load_mesh
from ddrep_core.geometry.gltf_document import GltfDocument
from ddrep_core.geometry.normals import corner_normals


def plain() -> Maker:
    maker = Maker()
    maker.mesh(gltf_maker.cube_primitive(maker))
    return maker


def no_uvs() -> Maker:
    maker = Maker()
    primitive = gltf_maker.cube_primitive(maker)
    del primitive["attributes"]["TEXCOORD_0"]
    maker.mesh(primitive)
    return maker


def wrong_bounds() -> Maker:
    maker = plain()
    maker.data["accessors"][0] |= {"min": [5, 5, 5], "max": [0.1]}
    del maker.data["accessors"][1]["max"]
    return maker


def no_bounds() -> Maker:
    maker = plain()
    for entry in maker.data["accessors"]:
        for key in ("min", "max"):
            entry.pop(key, None)
    return maker


def misaligned() -> Maker:
    maker = Maker()
    points, normals, uv, faces = gltf_maker.cube()
    attributes = {"POSITION": maker.accessor(points, gap=1), "TEXCOORD_0": maker.accessor(uv, gap=2)}
    attributes["NORMAL"] = maker.accessor(normals)
    maker.mesh({"attributes": attributes, "indices": maker.accessor(faces.reshape(-1), gap=1)})
    return maker


def one_view() -> Maker:
    """All in one view without a stride, indices too, as some exporters do."""
    maker = plain()
    for entry in maker.data["accessors"]:
        entry["byteOffset"] = maker.data["bufferViews"][entry["bufferView"]]["byteOffset"]
        entry["bufferView"] = 0
    maker.data["bufferViews"] = [{"buffer": 0, "byteOffset": 0, "byteLength": 40}]  # and too short
    return maker


def packed_bytes() -> Maker:
    """Colours of three bytes, and quantised positions of six, one after the other."""
    maker = Maker(extensionsUsed=["KHR_mesh_quantization"], extensionsRequired=["KHR_mesh_quantization"])
    points, _, uv, faces = gltf_maker.cube()
    attributes = {
        "POSITION": maker.accessor((points * 1000).astype(np.int16)),
        "TEXCOORD_0": maker.accessor((uv * 65535).astype(np.uint16), normalized=True),
        "COLOR_0": maker.accessor(np.full((24, 3), 9, np.uint8), normalized=True),
    }
    maker.mesh({"attributes": attributes, "indices": maker.accessor(faces.reshape(-1))}, scale=[0.001] * 3)
    return maker


def interleaved() -> Maker:
    maker = Maker()
    points, normals, uv, faces = gltf_maker.cube()
    block = np.concatenate([points, normals, uv], axis=1).astype(np.float32)
    view = maker.view(block.tobytes(), byteStride=32, target=34962)
    attributes = {}
    for name, offset, kind in (("POSITION", 0, "VEC3"), ("NORMAL", 12, "VEC3"), ("TEXCOORD_0", 24, "VEC2")):
        entry = {"bufferView": view, "byteOffset": offset, "componentType": 5126, "count": 24, "type": kind}
        attributes[name] = maker.append("accessors", entry)
    maker.data["accessors"][0] |= {"min": [-1, -1, -1], "max": [1, 1, 1]}
    maker.mesh({"attributes": attributes, "indices": maker.accessor(faces.reshape(-1))})
    return maker


KINDS = (plain, no_uvs, wrong_bounds, no_bounds, misaligned, one_view, packed_bytes, interleaved, gltf_maker.rich)


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_as_gltf_leaves_valid_with_the_same_values(tmp_path: Path, kind: Callable[[], Maker]) -> None:
    mesh = load_mesh(kind().glb(tmp_path / "in.glb"))
    written = paint(mesh, tmp_path / "out.glb")
    assert problems(written) == []
    if folder := validator().validator_folder():
        assert not validator().errors([written], folder)[0]
    again = load_mesh(written)
    for before, after in zip(mesh.parts, again.parts, strict=True):
        assert np.array_equal(before.triangles, after.triangles) and np.allclose(before.uv, after.uv, atol=1e-6)


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
def test_numbers_of_vertices_that_are_none_are_not_written(tmp_path: Path) -> None:
    maker = Maker()
    points, normals, uv, faces = gltf_maker.cube()
    odd = normals.astype(np.float32)
    odd[0], odd[1], odd[2], odd[3] = np.nan, 0, odd[2] * 7, (np.inf, 0, 0)
    second = np.full((24, 2), 0.5, np.float32)
    second[5] = np.nan
    attributes = {
        "POSITION": maker.accessor(points),
        "NORMAL": maker.accessor(odd),
        "TEXCOORD_0": maker.accessor(uv),
        "TEXCOORD_1": maker.accessor(second),
    }
    maker.mesh({"attributes": attributes, "indices": maker.accessor(faces.reshape(-1))})
    for entry in maker.data["accessors"][1:]:
        for key in ("min", "max"):
            entry.pop(key, None)
    written = paint(load_mesh(maker.glb(tmp_path / "in.glb")), tmp_path / "out.glb")
    found = GltfDocument.read(written)
    numbers = found.data["meshes"][0]["primitives"][0]["attributes"]
    assert np.allclose(found.accessor(numbers["NORMAL"]), normals, atol=1e-6)  # each side's own corners: its faces'
    assert np.array_equal(found.accessor(numbers["TEXCOORD_1"])[4:6], [[0.5] * 2, [0] * 2])
    if folder := validator().validator_folder():
        assert not validator().errors([written], folder)[0]


def test_accessors_that_are_right_stay_to_the_letter(tmp_path: Path) -> None:
    for kind in (plain, interleaved):
        source = kind().glb(tmp_path / "in.glb")
        written = GltfDocument.read(paint(load_mesh(source), tmp_path / "out.glb"))
        old = GltfDocument.read(source)
        assert written.data["accessors"] == old.data["accessors"]
        assert written.data["bufferViews"][:-1] == old.data["bufferViews"]
        assert written.buffers[0].startswith(old.buffers[0])


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
def test_normals_of_faces_without_area_and_of_length_zero_are_written_with_length_one(tmp_path: Path) -> None:
    text = shapes.cube_obj(tmp_path / "cube.obj").read_text()
    (tmp_path / "sliver.obj").write_text(text + "f 1/1 1/1 2/2\nv 9 9 9\nf 9/1 9/1 9/1\n")
    faces = [line for line in text.splitlines() if line.startswith("f")]
    lines = [f"f {' '.join(f'{word}/1' for word in line.split()[1:])}" for line in faces]
    head = [line for line in text.splitlines() if not line.startswith("f")]
    (tmp_path / "zero.obj").write_text("\n".join([*head, "vn 0 0 0", *lines]) + "\n")
    for name in ("sliver.obj", "zero.obj"):
        written = paint(load_mesh(tmp_path / name), tmp_path / "out.glb")
        assert problems(written) == []
        if folder := validator().validator_folder():
            assert not validator().errors([written], folder)[0]


def test_normals_of_no_use_become_normals_of_the_surface(tmp_path: Path) -> None:
    part = load_mesh(shapes.cube_obj(tmp_path / "cube.obj")).parts[0]
    smooth = corner_normals(part)
    odd = smooth * np.array([1.0, 0.0, 1e-9, 1e9, np.nan, np.inf, *[2.0] * 6])[:, None, None]
    found = corner_normals(replace(part, normals=odd))
    assert np.allclose(found / np.linalg.norm(found, axis=-1, keepdims=True), smooth)
    corner = np.array([[0, 1, 0]])  # without area, beside a whole face, and where there is nothing else
    assert np.allclose(
        corner_normals(replace(part, faces=np.concatenate([part.faces[:1], corner])))[1, 0], smooth[0, 0]
    )
    assert corner_normals(replace(part, faces=corner)).tolist() == [[[0, 0, 1]] * 3]


@pytest.mark.parametrize("far", [0.0, 5.4e6, -3e8])
def test_shapes_far_from_the_origin_keep_their_shape(tmp_path: Path, far: float) -> None:
    text = "".join(
        f"v {float(line.split()[1]) + 5e5 * bool(far):.9f} {line.split()[2]} {float(line.split()[3]) + far:.9f}\n"
        if line.startswith("v ")
        else line + "\n"
        for line in shapes.cube_obj(tmp_path / "cube.obj").read_text().splitlines()
    )
    (tmp_path / "far.obj").write_text(text)
    mesh = load_mesh(tmp_path / "far.obj")
    written = paint(mesh, tmp_path / "out.glb")
    assert ("translation" in GltfDocument.read(written).data["nodes"][0]) == bool(far)
    again = load_mesh(written)
    assert np.abs(again.triangles - mesh.triangles).max() <= 1e-4 * 2
    (node,) = GltfDocument.read(written).data["nodes"]
    origin = np.array(node.get("translation", [0, 0, 0]))
    assert np.array_equal(origin.astype(np.float32), origin)  # for readers that keep transforms in single precision


def test_primitives_that_share_vertices_take_only_their_own(tmp_path: Path) -> None:
    maker = Maker()
    first = gltf_maker.cube_primitive(maker)
    second = {**first, "attributes": dict(first["attributes"])}
    faces = gltf_maker.cube()[3]
    first["indices"], second["indices"] = (maker.accessor(half.reshape(-1)) for half in (faces[6:], faces[:6]))
    maker.mesh(first, second, name="Two")
    mesh = load_mesh(maker.glb(tmp_path / "two.glb"))
    assert [len(part.vertices) for part in mesh.parts] == [12, 12]
    for part in mesh.parts:
        assert np.array_equal(np.unique(part.faces), np.arange(12))
    again = load_mesh(paint(mesh, tmp_path / "out.glb"))
    assert np.array_equal(again.triangles, mesh.triangles)


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
def test_new_uvs_for_primitives_that_share_vertices_in_several_buffers(tmp_path: Path) -> None:
    maker = no_uvs()
    primitive = maker.data["meshes"][0]["primitives"][0]
    faces = gltf_maker.cube()[3]
    primitive["indices"] = maker.accessor(faces[6:].reshape(-1))
    (tmp_path / "pad.bin").write_bytes(b"\0" * 6)
    data = maker.document()
    data["buffers"].insert(0, {"uri": "pad.bin", "byteLength": 6})
    for view in data["bufferViews"]:
        view["buffer"] = 1
    maker.document = lambda: data  # type: ignore[method-assign]
    mesh = load_mesh(maker.gltf(tmp_path / "two.gltf"))
    written = paint(mesh, tmp_path / "out.glb")
    assert problems(written) == []
    again = load_mesh(written)
    assert np.array_equal(again.triangles, mesh.triangles) and np.allclose(again.uv, mesh.uv, atol=1e-6)
