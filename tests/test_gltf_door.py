"""The door of the glTF reader: whatever a document holds, it is read and written, or refused in words."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gltf_maker
import numpy as np
import pytest
from gltf_maker import paint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddrep_core.errors import RequestError
from ddrep_core.geometry import load, load_mesh
from ddrep_core.geometry.gltf_document import GltfDocument
from ddrep_core.geometry.mesh import Float, Part

RICH = gltf_maker.rich().document()
WRONG: list[Any] = [None, True, -1, 0, 1, 7, 10**9, 2**53, 10**400, 1.5, 1e308, float("nan"), float("inf"), "x", ""]
WRONG += ["\ud800", [], [None], ["x"], [[]], {}, {"a": []}, {"index": []}]
GONE = object()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where everything in a JSON value stands."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return data if value is GONE else value
    data = copy.deepcopy(data)
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


def cells(part: Part) -> Float:
    """Any UVs at all, a cell a face: xatlas is slow, and not what is tested here."""
    width = int(np.ceil(np.sqrt(len(part.faces))))
    number = np.arange(len(part.faces))
    corner = np.stack([number % width, number // width], axis=1)[:, None]
    return (corner + np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]])) / width


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "unwrap", cells)
        patch.setattr(load, "overlap_share", lambda uv: 0.0)
        yield


def result_or_refusal(path: Path) -> bool:
    """Whether a file is read and its result can be read again; False where it is refused in words."""
    try:
        mesh = load_mesh(path)
    except RequestError as error:
        assert path.name in str(error) or "'" in str(error)
        return False
    again = load_mesh(paint(mesh, path.with_name("out.glb")))  # nothing may fail here: a picture has been sampled
    assert len(again.faces) == len(mesh.faces)
    return True


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
def test_any_value_of_a_wrong_type_or_range_anywhere(tmp_path: Path) -> None:
    everywhere = list(places(RICH))
    found = {True: 0, False: 0}

    @settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(everywhere), st.sampled_from([*WRONG, GONE]))
    def check(path: tuple[Any, ...], value: Any) -> None:
        file = tmp_path / "scene.gltf"
        file.write_text(json.dumps(changed(RICH, path, value)))
        found[result_or_refusal(file)] += 1

    check()
    assert found[True] > 20 and found[False] > 100


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
def test_any_damaged_or_shortened_bytes(tmp_path: Path) -> None:
    whole = gltf_maker.rich().glb(tmp_path / "whole.glb").read_bytes()

    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(whole)), st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255))))
    def check(length: int, hits: list[tuple[int, int]]) -> None:
        content = bytearray(whole)
        for place, value in hits:
            content[place] = value
        file = tmp_path / "damaged.glb"
        file.write_bytes(content if len(hits) > 2 else content[:length])
        if file.stat().st_size:
            result_or_refusal(file)

    check()


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("buffers", 0), [], r"buffers\[0\].*object"),
        (("materials", 0, "pbrMetallicRoughness", "baseColorTexture", "extensions"), "x", "baseColorTexture"),
        (("nodes", 0, "mesh"), 99, r"meshes\[99\] is not there"),
        (("accessors", 0, "count"), 10**12, "cut short"),
        (("accessors", 0, "count"), 23, "24 elements for 23 vertices"),
        (("accessors", 0, "type"), "VEC2", "POSITION is of type VEC2"),
        (("accessors", 3, "componentType"), 5126, "indices"),
        (("buffers", 0, "byteLength"), 10**6, "cut short"),
        (("bufferViews", 0, "byteOffset"), -4, "greater than or equal to 0"),
        (("nodes", 0, "children"), [0.5], r"nodes\[0\].children\[0\]"),
        (("extensionsRequired",), ["CESIUM_RTC"], "'CESIUM_RTC', which is not known"),
        (("extensionsUsed",), ["KHR_draco_mesh_compression"], "KHR_draco_mesh_compression.*without compression"),
        (("meshes", 0, "primitives", 0, "extensions"), {"KHR_draco_mesh_compression": {}}, "without compression"),
        (("bufferViews", 0, "extensions"), {"EXT_meshopt_compression": {}}, "EXT_meshopt.*without compression"),
        (("images", 0), {"uri": "gone.png"}, "gone.png.*not beside it"),
        (("images", 0), {"uri": "../gone.png"}, "outside its own folder"),
        (("images", 0), {"uri": "data:image/png;base64,?"}, "not base64"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, path: tuple[Any, ...], value: Any, words: str) -> None:
    file = tmp_path / "scene.gltf"
    file.write_text(json.dumps(changed(RICH, path, value)))
    with pytest.raises(RequestError, match=words):
        load_mesh(file)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 9000, b"1" * 5000, b"\xff{}", b"[]", b'{"asset": []}'])
def test_texts_that_are_no_document(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "deep.gltf").write_bytes(text)
    with pytest.raises(RequestError, match=r"deep\.gltf"):
        load_mesh(tmp_path / "deep.gltf")


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
def test_extras_that_are_nested_deeply_are_refused_before_anything_runs(tmp_path: Path) -> None:
    for depth, fine in ((50, True), (300, False)):
        nested: Any = "end"
        for _ in range(depth):
            nested = [nested]
        (tmp_path / "nested.gltf").write_text(json.dumps({**RICH, "extras": nested}))
        assert result_or_refusal(tmp_path / "nested.gltf") is fine


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
def test_halves_of_surrogate_pairs_in_names_become_a_letter_that_can_be_written(tmp_path: Path) -> None:
    data = changed(RICH, ("nodes", 0, "name"), "x\ud800y")
    data["materials"][0]["name"] = "\udc00"
    data["extras"] = {"\ud800": "🦆"}
    (tmp_path / "names.gltf").write_text(json.dumps(data))
    mesh = load_mesh(tmp_path / "names.gltf")
    assert mesh.object_names[0] == "x\ufffdy" and mesh.parts[0].material == "\ufffd"
    written = GltfDocument.read(paint(mesh, tmp_path / "out.glb"))
    assert written.data["nodes"][0]["name"] == "x\ufffdy" and written.data["extras"] == {"\ufffd": "🦆"}


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
def test_numbers_that_json_does_not_have_are_not_written(tmp_path: Path) -> None:
    data = changed(RICH, ("accessors", 0, "min"), [float("nan"), float("-inf"), 0])
    data["extras"] = [float("nan")]
    (tmp_path / "numbers.gltf").write_text(json.dumps(data).replace("NaN]", "1e999]"))
    text = paint(load_mesh(tmp_path / "numbers.gltf"), tmp_path / "out.glb").read_bytes()
    assert b"NaN" not in text and b"Infinity" not in text
    assert GltfDocument.read(tmp_path / "out.glb").data["accessors"][0]["min"] == [-1, -1, -1]


def test_zeros_that_no_file_holds_are_not_made(tmp_path: Path) -> None:
    data = copy.deepcopy(RICH)
    sparse = next(entry for entry in data["accessors"] if "sparse" in entry)
    del sparse["bufferView"]
    for entry in data["accessors"]:
        entry["count"] = 10**10 if entry["count"] == 24 else entry["count"]
    block = base64.b64decode(data["buffers"][0]["uri"].partition(",")[2])
    assert len(block) < 10**6
    (tmp_path / "zeros.gltf").write_text(json.dumps(data))
    with pytest.raises(RequestError, match=r"cut short|nowhere"):
        load_mesh(tmp_path / "zeros.gltf")


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
def test_sparse_accessors_are_read_and_checked(tmp_path: Path) -> None:
    maker = gltf_maker.Maker()
    primitive = gltf_maker.cube_primitive(maker)
    rows, values = maker.view(np.uint8([0, 5]).tobytes()), maker.view(np.float32([[9, 8, 7], [1, 2, 3]]).tobytes())
    entry = maker.data["accessors"][primitive["attributes"]["POSITION"]]
    indices = {"bufferView": rows, "componentType": 5121}
    entry["sparse"] = {"count": 2, "indices": indices, "values": {"bufferView": values}}
    maker.mesh(primitive)
    mesh = load_mesh(maker.glb(tmp_path / "sparse.glb"), up="z")
    assert mesh.parts[0].vertices[[0, 5]].tolist() == [[9, 8, 7], [1, 2, 3]]
    written = GltfDocument.read(paint(mesh, tmp_path / "out.glb"))
    assert written.data["accessors"][0]["max"] == [9, 8, 7]  # the input's own bounds did not know of it
    maker.binary[maker.data["bufferViews"][rows]["byteOffset"]] = 24
    with pytest.raises(RequestError, match="sparse"):
        load_mesh(maker.glb(tmp_path / "sparse.glb"))


def test_an_object_hidden_by_a_scale_of_zero_stops_nothing(tmp_path: Path) -> None:
    maker = gltf_maker.Maker()
    maker.mesh(gltf_maker.cube_primitive(maker), name="Seen")
    maker.mesh(gltf_maker.cube_primitive(maker), name="Hidden", scale=[0, 0, 0])
    mesh = load_mesh(maker.glb(tmp_path / "hidden.glb"), objects=["Seen"])
    assert np.isfinite(mesh.parts[1].vertices).all()
