"""Meshes in and out: nothing lost, and plain words for what cannot be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import geometry_shapes as shapes
import numpy as np
import pytest
import torch
import trimesh

from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.geometry import demo_mesh_path, load_mesh, write_glb
from ddrep_core.geometry.gltf_document import GltfDocument
from ddrep_core.geometry.load import load_mesh as load_with_limit


def texture(value: float = 0.5) -> torch.Tensor:
    return torch.full((3, 8, 8), value)


def test_obj_keeps_order_and_comes_in_z_up(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    (part,) = mesh.parts
    assert (part.name, part.object_name, len(part.faces), part.corner_count) == ("Cube", "Cube", 12, 24)
    points = np.array(shapes.CUBE_POINTS, float)
    assert np.array_equal(part.vertices, np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1))
    # Triangles 2 k and 2 k + 1 are quad k, and know which of the file's corners theirs are.
    quad = np.array(shapes.CUBE_QUADS)
    assert np.array_equal(quad.reshape(-1)[part.corners], part.faces)
    assert np.array_equal(np.unique(part.corners[2:4]), np.arange(4, 8))
    layout = mesh.uv_layout("Cube")
    assert layout.shape == (24, 2) and np.allclose(layout[0], [0.02, 0.02])
    assert np.array_equal(load_mesh(tmp_path / "cube.obj", up="z").parts[0].vertices, points)


def test_obj_objects_materials_and_concave_polygons(tmp_path: Path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl Red\nKd 0.8 0.1 0.1\nnewmtl Blue\nKd 0 0 1\nd 0.5\n")
    (tmp_path / "two.obj").write_text(
        "mtllib m.mtl\no Arrow\nv 0 0 0\nv 2 0 0\nv 2 2 0\nv 1.9 0.1 0\n"
        "vt 0 0\nvt 1 0\nvt 1 1\nvt 0.9 0.1\nusemtl Red\nf 1/1 2/2 3/3 4/4\n"
        "o Pair\nv 5 0 0\nv 6 0 0\nv 6 1 0\nv 5 1 0\nusemtl Red\nf -4/1 -3/2 -2/3\nusemtl Blue\nf 5/1 7/3 8/4\n"
    )
    mesh = load_mesh(tmp_path / "two.obj")
    assert [part.name for part in mesh.parts] == ["Arrow", "Pair/Red", "Pair/Blue"]
    area = np.cross(*(mesh.parts[0].triangles[:, 1:] - mesh.parts[0].triangles[:, :1]).transpose(1, 0, 2))
    assert np.isclose(np.linalg.norm(area, axis=1).sum() / 2, 0.2)  # the polygon's own area, not its hull's
    assert np.array_equal(mesh.parts[2].corners, [[3, 4, 5]])
    write_glb(mesh.with_textured(["Arrow"]), {"Arrow": texture()}, tmp_path / "two.glb")
    materials = {m["name"]: m for m in GltfDocument.read(tmp_path / "two.glb").data["materials"]}
    assert materials["Blue"]["pbrMetallicRoughness"]["baseColorFactor"] == [0.0, 0.0, 1.0, 0.5]
    assert materials["Red"]["pbrMetallicRoughness"]["baseColorFactor"][:3] == [0.8, 0.1, 0.1]


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "off"])
def test_other_formats_come_out_as_glb_with_the_same_triangles(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"shape.{suffix}"
    source = trimesh.creation.icosphere(subdivisions=1)
    source.vertices *= [1.0, 0.7, 0.4]
    source.export(path)
    with pytest.warns(DdrepWarning, match="no UVs"):
        mesh = load_mesh(path)
    write_glb(mesh, {mesh.parts[0].name: texture()}, tmp_path / "out.glb")
    again = load_mesh(tmp_path / "out.glb")
    assert np.array_equal(again.parts[0].triangles.astype(np.float32), mesh.parts[0].triangles.astype(np.float32))
    assert again.parts[0].uv is not None and mesh.parts[0].uv is not None
    assert np.allclose(again.parts[0].uv, mesh.parts[0].uv, atol=1e-6)
    # and for a reader that is not ours
    scene = trimesh.load_scene(tmp_path / "out.glb", process=False)
    (other,) = scene.geometry.values()
    assert np.allclose(
        np.asarray(other.triangles), mesh.parts[0].triangles @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    )
    assert other.visual.material.baseColorTexture.size == (8, 8)


def test_glb_comes_back_bit_for_bit(tmp_path: Path) -> None:
    source = shapes.scene_glb(tmp_path / "scene.glb")
    mesh = load_mesh(source)
    assert [part.name for part in mesh.parts] == ["Left/Paint", "Left/Metal", "Right/Paint", "Right/Metal"]
    write_glb(mesh.with_textured(["Right"]), {"Right/Paint": texture(0.25)}, tmp_path / "out.glb")
    old, new = GltfDocument.read(source), GltfDocument.read(tmp_path / "out.glb")
    assert new.buffers[0].startswith(old.buffers[0])
    for key in ("asset", "scenes", "scene"):
        assert new.data[key] == old.data[key]
    assert new.data["accessors"] == old.data["accessors"]
    assert new.data["materials"][:2] == old.data["materials"]
    assert new.data["meshes"][:2] == old.data["meshes"]  # Left and Wire keep what they had
    nodes = [dict(node) for node in new.data["nodes"]]
    assert nodes[2].pop("mesh") == 2 and nodes[2]["extras"] == {"note": "mine"}
    assert nodes[:2] + nodes[3:] == old.data["nodes"][:2] + old.data["nodes"][3:]
    painted, metal = new.data["meshes"][2]["primitives"]
    assert metal == old.data["meshes"][0]["primitives"][1]
    material = new.data["materials"][painted["material"]]
    assert material["doubleSided"] and material["pbrMetallicRoughness"]["roughnessFactor"] == 0.8
    assert "COLOR_0" not in painted["attributes"]  # it would tint the texture
    again = load_mesh(tmp_path / "out.glb")
    for before, after in zip(mesh.parts, again.parts, strict=True):
        assert np.array_equal(before.vertices, after.vertices) and np.array_equal(before.faces, after.faces)
        assert np.array_equal(before.uv, after.uv)


def test_glb_world_space_agrees_with_trimesh(tmp_path: Path) -> None:
    source = shapes.scene_glb(tmp_path / "scene.glb")
    mesh = load_mesh(source, objects=["Right"])
    assert [part.textured for part in mesh.parts] == [False, False, True, True]
    scene = trimesh.load_scene(source, process=False)
    expected = []
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        if isinstance(scene.geometry[name], trimesh.Trimesh):
            expected.append(trimesh.transform_points(scene.geometry[name].vertices, transform))
    points = np.concatenate(expected)
    points = np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)
    key = np.lexsort(np.round(points, 6).T)
    assert np.allclose(points[key], mesh.vertices[np.lexsort(np.round(mesh.vertices, 6).T)])


def test_glb_without_uvs_keeps_faces_and_gains_uvs(tmp_path: Path) -> None:
    with pytest.warns(DdrepWarning, match="no UVs"):
        mesh = load_mesh(shapes.scene_glb(tmp_path / "plain.glb", uv=False), objects=["Left"])
    assert mesh.parts[0].unwrapped and not mesh.parts[2].unwrapped and mesh.parts[2].uv is None
    write_glb(mesh, {part.name: texture() for part in mesh.textured_parts}, tmp_path / "out.glb")
    again = load_mesh(tmp_path / "out.glb", objects=["Left"])
    for before, after in zip(mesh.parts[:2], again.parts[:2], strict=True):
        assert np.array_equal(before.triangles, after.triangles) and after.uv is not None and before.uv is not None
        assert np.allclose(before.uv, after.uv, atol=1e-6)


def test_gltf_beside_its_buffer_and_never_outside_its_folder(tmp_path: Path) -> None:
    document = GltfDocument.read(shapes.scene_glb(tmp_path / "scene.glb"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "data.bin").write_bytes(document.buffers[0])
    (tmp_path / "secret.bin").write_bytes(document.buffers[0])
    for uri in ("data.bin", "../secret.bin", "gone.bin"):
        buffers = [{"uri": uri, "byteLength": len(document.buffers[0])}]
        (tmp_path / "own" / "scene.gltf").write_text(json.dumps({**document.data, "buffers": buffers}))
        if uri == "data.bin":
            assert len(load_mesh(tmp_path / "own" / "scene.gltf").parts) == 4
            continue
        with pytest.raises(RequestError, match=r"outside its own folder|not beside it"):
            load_mesh(tmp_path / "own" / "scene.gltf")


BAD = {
    "empty.obj": (b"", "is empty"),
    "words.obj": (b"once upon a time\n", "no faces"),
    "points.obj": (b"v 0 0 0\nv 1 0 0\n", "no faces"),
    "index.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "vertex 9, and there are 3"),
    "word.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 two 3\n", "line 4.*'two' is no corner"),
    "comma.obj": (b"v 0,5 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "line 1.*comma"),
    "flat_numbers.obj": (b"v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n", "line 1.*needs 3 numbers"),
    "flat_normal.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvn 1 0\nf 1//1 2//1 3//1\n", "line 4.*needs 3 numbers"),
    "nothing.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", "line 4.*'0'"),
    "before.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf -1 -2 -4\n", "line 4.*'-4'"),
    "huge.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999999999999999999\n", "line 4"),
    "no_uv.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/2 3/1\n", "UV 2, and there are 1"),
    "nan.obj": (b"v 0 0 0\nv 1 0 nan\nv 0 1 0\nf 1 2 3\n", "NaN"),
    "infinite.obj": (b"v 0 0 0\nv 1 0 1e999\nv 0 1 0\nf 1 2 3\n", "infinite"),
    "flat.obj": (b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "no area"),
    "point.obj": (b"v 1 1 1\nf 1 1 1\n", "one point"),
    "noise.glb": (b"glTF" + bytes(range(60)), "glTF"),
    "noise.ply": (bytes(range(200)), "cannot be read"),
    "noise.stl": (b"solid nothing\nendsolid nothing\n", "cannot be read|no faces"),
    "picture.png": (b"\x89PNG", "'.png' cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_words(tmp_path: Path, name: str) -> None:
    content, words = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=words):
        load_mesh(tmp_path / name)


def test_missing_truncated_compressed_and_unknown(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no mesh file"):
        load_mesh(tmp_path / "nowhere.obj")
    with pytest.raises(RequestError, match="folder"):
        load_mesh(tmp_path)
    whole = shapes.scene_glb(tmp_path / "scene.glb")
    (tmp_path / "cut.glb").write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(RequestError, match=r"promised|cut short"):
        load_mesh(tmp_path / "cut.glb")
    document = GltfDocument.read(whole)
    data = {**document.data, "extensionsUsed": ["KHR_draco_mesh_compression"]}
    with pytest.raises(RequestError, match="without compression"):
        load_mesh(shapes.write_glb(tmp_path / "draco.glb", data, document.buffers[0]))
    with pytest.raises(RequestError, match=r"no object called 'Nobody'.*Left, Right"):
        load_mesh(whole, objects=["Nobody"])


def test_uvs_outside_overlapping_and_degenerate_faces_warn(tmp_path: Path) -> None:
    text = shapes.cube_obj(tmp_path / "cube.obj").read_text()
    (tmp_path / "outside.obj").write_text(text.replace("vt 0.020000", "vt -0.3"))
    with pytest.warns(DdrepWarning, match="outside 0..1"):
        load_mesh(tmp_path / "outside.obj")
    first, half = "f 1/1 2/2 4/3 3/4", text.index("f 5/5")
    (tmp_path / "overlap.obj").write_text(
        text[:half]
        + text[half:].replace("/5 ", "/1 ").replace("/6 ", "/2 ").replace("/7 ", "/3 ").replace("/8", "/4")
        + first
        + "\n"
    )
    with pytest.warns(DdrepWarning, match="on top of each other"):
        load_mesh(tmp_path / "overlap.obj")
    (tmp_path / "sliver.obj").write_text(text + "f 1/1 1/1 2/2\n")
    with pytest.warns(DdrepWarning, match="1 faces without area"):
        assert len(load_mesh(tmp_path / "sliver.obj").parts[0].faces) == 13


def test_unwrap_keeps_polygons_whole_in_order_and_apart(tmp_path: Path) -> None:
    path = shapes.cube_obj(tmp_path / "cube.obj", uv=False)
    with pytest.warns(DdrepWarning, match="no UVs"):
        mesh = load_mesh(path)
    (part,) = mesh.parts
    assert part.uv is not None and part.uv.min() >= 0 and part.uv.max() <= 1
    assert np.array_equal(mesh.uv_layout("Cube")[part.corners], part.uv)
    with pytest.raises(RequestError, match="unwrapping"):
        load_with_limit(path, unwrap_limit=5)


def test_demo_mesh_is_clean(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    shutil.copy(demo_mesh_path(), tmp_path / "duck.obj")
    mesh = load_mesh(tmp_path / "duck.obj")
    assert not mesh.warnings and not recwarn.list
    assert 3000 < len(mesh.faces) < 10_000
    assert mesh.bounds[0, 1] < -0.8  # the beak points to the front, -Y
    body = trimesh.Trimesh(mesh.vertices, mesh.faces, process=True)
    assert body.is_watertight and body.volume > 0


COLLADA = """<?xml version="1.0"?><COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><unit name="meter" meter="1"/><up_axis>{up}</up_axis></asset>
<library_geometries><geometry id="Roof" name="Roof"><mesh>
<source id="p"><float_array id="pa" count="12">0 0 0 2 0 0 0 3 0 0 0 5</float_array><technique_common>
<accessor source="#pa" count="4" stride="3"><param name="X" type="float"/><param name="Y" type="float"/>
<param name="Z" type="float"/></accessor></technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
<polylist count="2"><input semantic="VERTEX" source="#v" offset="0"/><vcount>3 3</vcount><p>0 2 1 0 1 3</p></polylist>
</mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="s"><node id="n"><translate>10 0 0</translate>
<instance_geometry url="#Roof"/></node></visual_scene></library_visual_scenes>
<scene><instance_visual_scene url="#s"/></scene></COLLADA>"""


@pytest.mark.parametrize(("up", "highest"), [("Z_UP", 5.0), ("Y_UP", 3.0)])
def test_collada_stands_as_the_file_says(up: str, highest: float, tmp_path: Path) -> None:
    (tmp_path / "roof.dae").write_text(COLLADA.format(up=up))
    mesh = load_mesh(tmp_path / "roof.dae")
    assert np.isclose(mesh.bounds[1, 2], highest) and np.isclose(mesh.bounds[0, 0], 10)
    assert load_mesh(tmp_path / "roof.dae", "z").bounds[1, 2] == 5


def test_3mf_is_read_with_its_builds(tmp_path: Path) -> None:
    box = trimesh.creation.box((1, 2, 3))
    (tmp_path / "box.3mf").write_bytes(trimesh.Scene([box]).export(file_type="3mf"))
    mesh = load_mesh(tmp_path / "box.3mf")
    assert len(mesh.faces) == 12 and np.allclose(np.ptp(mesh.bounds, axis=0), (1, 2, 3))


@pytest.mark.parametrize(("suffix", "package"), [("dae", "pycollada"), ("3mf", "lxml")])
def test_what_is_not_installed_is_named(
    suffix: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"mesh.{suffix}").write_text("x")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=f"pip install {package}"):
        load_mesh(tmp_path / f"mesh.{suffix}")


def test_a_picture_that_a_ply_names_and_lacks_is_a_note(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = "0 0 0 0 0\n1 0 0 1 0\n0 1 0 0 1\n"
    properties = "".join(f"property float {name}\n" for name in ("x", "y", "z", "s", "t"))
    (tmp_path / "mesh.ply").write_text(
        f"ply\nformat ascii 1.0\ncomment TextureFile lost.png\nelement vertex 3\n{properties}"
        f"element face 1\nproperty list uchar int vertex_indices\nend_header\n{rows}3 0 1 2\n"
    )
    with pytest.warns(DdrepWarning, match=r"names the file 'lost.png', which is not beside it"):
        mesh = load_mesh(tmp_path / "mesh.ply")
    assert len(mesh.faces) == 1
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("suffix", ["ply", "off"])
def test_faces_of_vertices_that_are_not_there_are_refused(suffix: str, tmp_path: Path) -> None:
    head = {
        "off": "OFF\n3 1 0\n",
        "ply": "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n",
    }[suffix]
    (tmp_path / f"mesh.{suffix}").write_text(head + "0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n")
    with pytest.raises(RequestError, match=r"not there|cannot be read"):
        load_mesh(tmp_path / f"mesh.{suffix}")
