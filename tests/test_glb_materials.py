"""Only the base colour is painted: what else a material says survives, alpha and texture transforms too."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import gltf_maker
import numpy as np
import pytest
from gltf_maker import GLOSSY, Maker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ddrep_core.errors import DdrepWarning
from ddrep_core.geometry import load_mesh, write_glb
from ddrep_core.geometry.gltf_document import GltfDocument

RED = np.broadcast_to(np.array([1.0, 0.0, 0.0])[:, None, None], (3, 8, 8))


def painted(maker: Maker, path: Path) -> tuple[GltfDocument, dict[str, Any], dict[str, Any]]:
    """The written document, the first primitive in it and its material."""
    mesh = load_mesh(maker.glb(path / "in.glb"))
    write_glb(mesh, {part.name: RED for part in mesh.textured_parts}, path / "out.glb")
    document = GltfDocument.read(path / "out.glb")
    primitive = document.data["meshes"][0]["primitives"][0]
    return document, primitive, document.data["materials"][primitive["material"]]


def pixels(document: GltfDocument, info: dict[str, Any]) -> np.ndarray:
    content = document.picture(document.data["textures"][info["index"]]["source"])
    return np.asarray(Image.open(io.BytesIO(content)))


def one_material(material: dict[str, Any], maker: Maker | None = None, uv: np.ndarray | None = None) -> Maker:
    maker = maker or Maker()
    number = maker.append("materials", material)
    maker.mesh(gltf_maker.cube_primitive(maker, uv, material=number))
    return maker


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
def test_all_that_is_not_painted_survives_byte_for_byte(tmp_path: Path) -> None:
    maker = gltf_maker.rich()
    (old,) = maker.data["materials"]
    document, _, new = painted(maker, tmp_path)
    for key in ("normalTexture", "occlusionTexture", "emissiveTexture", "emissiveFactor", "extras", "doubleSided"):
        assert new[key] == old[key]
    assert (new["alphaMode"], new["alphaCutoff"]) == ("MASK", 0.4)
    assert new["extensions"]["KHR_materials_clearcoat"] == old["extensions"]["KHR_materials_clearcoat"]
    before, after = old["pbrMetallicRoughness"], new["pbrMetallicRoughness"]
    for key in ("metallicFactor", "roughnessFactor", "metallicRoughnessTexture"):
        assert after[key] == before[key]
    assert after["baseColorFactor"] == [1, 1, 1, 0.9]
    assert after["baseColorTexture"]["extensions"] == before["baseColorTexture"]["extensions"]
    assert new["extensions"][GLOSSY]["diffuseTexture"] == after["baseColorTexture"]  # else its readers see the old one
    source = GltfDocument.read(tmp_path / "in.glb")
    for image in range(len(source.data["images"])):
        assert document.picture(image) == source.picture(image)
    alpha = np.asarray(Image.open(io.BytesIO(source.picture(0))))[..., 3]
    found = pixels(document, after["baseColorTexture"])
    assert np.array_equal(found[..., 3], alpha) and (found[..., :3] == (255, 0, 0)).all()


@pytest.mark.parametrize("mode", ["OPAQUE", "MASK", "BLEND", None])
@pytest.mark.parametrize("size", [4, 32])
def test_alpha_goes_into_the_new_texture_where_it_is_used(tmp_path: Path, mode: str | None, size: int) -> None:
    maker = Maker()
    half = np.zeros((size, size, 4), np.uint8)
    half[:, size // 2 :, 3] = 255
    stream = io.BytesIO()
    Image.fromarray(half).save(stream, "PNG")
    color = {"baseColorTexture": {"index": maker.texture(stream.getvalue())}, "baseColorFactor": [0.5, 0.5, 0.5, 0.25]}
    material: dict[str, Any] = {"pbrMetallicRoughness": color}
    if mode:
        material["alphaMode"] = mode
    document, _, new = painted(one_material(material, maker), tmp_path)
    surface = new["pbrMetallicRoughness"]
    found = pixels(document, surface["baseColorTexture"])
    if mode in ("MASK", "BLEND"):
        assert found.shape == (8, 8, 4) and not found[:, :3, 3].any() and (found[:, 5:, 3] == 255).all()
        assert surface["baseColorFactor"] == [1, 1, 1, 0.25] and new["alphaMode"] == mode
    else:
        assert found.shape == (8, 8, 3) and "baseColorFactor" not in surface and new.get("alphaMode") == mode


def test_alpha_that_cannot_be_read_is_told_of_and_costs_nothing(tmp_path: Path) -> None:
    maker = Maker()
    info = {"index": maker.texture(b"\x89PNG\r\n\x1a\n and no more")}
    maker = one_material(
        {"name": "Leaf", "alphaMode": "MASK", "pbrMetallicRoughness": {"baseColorTexture": info}}, maker
    )
    with pytest.warns(DdrepWarning, match="transparency of 'Leaf'.*is lost"):
        document, _, new = painted(maker, tmp_path)
    assert pixels(document, new["pbrMetallicRoughness"]["baseColorTexture"]).shape == (8, 8, 3)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_vertex_alpha_stays_and_vertex_colours_tint_nothing(tmp_path: Path, kind: Any) -> None:
    maker = one_material({"alphaMode": "BLEND"})
    one = 255 if kind is np.uint8 else 1
    colors = np.tile(np.array([one // 2, 0, 0, one], kind), (24, 1))
    colors[:12, 3] = 0
    attributes = maker.data["meshes"][0]["primitives"][0]["attributes"]
    attributes["COLOR_0"] = maker.accessor(colors, normalized=kind is np.uint8)
    document, primitive, _ = painted(maker, tmp_path)
    found = document.accessor(primitive["attributes"]["COLOR_0"])
    assert (found[:, :3] == one).all() and np.array_equal(found[:, 3], colors[:, 3])
    assert np.array_equal(document.accessor(primitive["attributes"]["_COLOR_0"]), colors)


def test_a_material_that_says_nothing_of_its_shine_is_no_metal(tmp_path: Path) -> None:
    _, _, new = painted(one_material({"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}), tmp_path)
    assert new["pbrMetallicRoughness"] | {"baseColorTexture": 0} == {
        "baseColorTexture": 0,
        "metallicFactor": 0.0,
        "roughnessFactor": 0.8,
    }
    _, _, new = painted(one_material({"pbrMetallicRoughness": {"roughnessFactor": 0.1}}), tmp_path)
    assert "metallicFactor" not in new["pbrMetallicRoughness"]


def test_a_picture_that_shines_by_itself_is_painted_over_in_both_places(tmp_path: Path) -> None:
    maker = Maker()
    info = {"index": maker.texture(gltf_maker.picture())}
    material = {
        "pbrMetallicRoughness": {"baseColorTexture": info},
        "emissiveTexture": info,
        "emissiveFactor": [1, 1, 1],
    }
    _, _, new = painted(one_material(material, maker), tmp_path)
    assert new["emissiveTexture"] == new["pbrMetallicRoughness"]["baseColorTexture"] != info


@pytest.mark.filterwarnings("ignore::ddrep_core.errors.DdrepWarning")
def test_new_uvs_take_with_them_only_the_maps_that_read_the_old_ones(tmp_path: Path) -> None:
    maker = Maker(extensionsUsed=["KHR_materials_clearcoat", "KHR_materials_unlit"])
    one, two = maker.texture(gltf_maker.picture()), maker.texture(gltf_maker.picture(seed=1))
    maker = one_material(
        {
            "alphaMode": "BLEND",
            "pbrMetallicRoughness": {"metallicRoughnessTexture": {"index": one}, "metallicFactor": 1.0},
            "normalTexture": {"index": one},
            "emissiveTexture": {"index": one},
            "emissiveFactor": [1, 1, 1],
            "occlusionTexture": {"index": two, "texCoord": 1},
            "extensions": {
                "KHR_materials_clearcoat": {"clearcoatFactor": 1, "clearcoatTexture": {"index": one}},
                "KHR_materials_unlit": {},
            },
        },
        maker,
        uv=np.zeros((24, 2), np.float32),
    )
    attributes = maker.data["meshes"][0]["primitives"][0]["attributes"]
    attributes["TEXCOORD_1"] = maker.accessor(gltf_maker.cube()[2])
    document, primitive, new = painted(maker, tmp_path)
    assert set(primitive["attributes"]) == {"POSITION", "NORMAL", "TEXCOORD_0", "TEXCOORD_1"}
    assert not {"normalTexture", "emissiveTexture", "emissiveFactor"} & set(new)
    assert new["occlusionTexture"] == {"index": two, "texCoord": 1} and new["alphaMode"] == "BLEND"
    assert new["extensions"] == {"KHR_materials_unlit": {}}
    assert new["pbrMetallicRoughness"]["metallicFactor"] == 0.0
    assert np.ptp(document.floats(primitive["attributes"]["TEXCOORD_0"])) > 0.1


finite = st.floats(-3, 3).map(lambda value: round(value, 3))
scales = st.floats(0.05, 20).map(lambda value: round(value, 3))


def test_the_same_texture_is_painted_whatever_the_transform(tmp_path: Path) -> None:
    """UVs that a transform brings to the same place are the same UVs, and the written file says so to any reader."""
    _, _, uv, faces = gltf_maker.cube()

    @settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.tuples(finite, finite), finite, st.tuples(scales, scales), st.sampled_from([None, 0, 1]))
    def check(offset: tuple, rotation: float, scale: tuple, override: int | None) -> None:
        # u' = T R S u; counter-clockwise with v downward, as Khronos's viewer has it.
        turn = np.array([[np.cos(rotation), np.sin(rotation)], [-np.sin(rotation), np.cos(rotation)]])
        stored = ((uv.astype(np.float64) - offset) @ turn / scale).astype(np.float32)  # the inverse of all three
        transform = {"offset": list(offset), "rotation": rotation, "scale": list(scale)}
        transform |= {} if override is None else {"texCoord": override}
        maker = Maker(extensionsUsed=["KHR_texture_transform"])
        info = {"index": maker.texture(gltf_maker.picture()), "extensions": {"KHR_texture_transform": transform}}
        maker = one_material({"pbrMetallicRoughness": {"baseColorTexture": info}}, maker, stored)
        attributes = maker.data["meshes"][0]["primitives"][0]["attributes"]
        if override == 1:
            attributes["TEXCOORD_1"] = attributes["TEXCOORD_0"]
            attributes["TEXCOORD_0"] = maker.accessor(np.zeros((24, 2), np.float32))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            document, _, new = painted(maker, tmp_path)
        part = load_mesh(tmp_path / "in.glb").parts[0]
        expected = uv[faces] * (1, -1) + (0, 1)
        assert not part.unwrapped and np.allclose(part.uv, expected, atol=2e-5)
        assert new["pbrMetallicRoughness"]["baseColorTexture"]["extensions"] == {"KHR_texture_transform": transform}
        assert document.data["extensionsUsed"] == ["KHR_texture_transform"]
        assert np.array_equal(load_mesh(tmp_path / "out.glb").parts[0].uv, part.uv)

    check()


def test_uvs_as_gltfpack_quantises_them(tmp_path: Path) -> None:
    _, _, uv, faces = gltf_maker.cube()
    maker = Maker(extensionsUsed=["KHR_texture_transform", "KHR_mesh_quantization"])
    maker.data["extensionsRequired"] = ["KHR_mesh_quantization", "KHR_texture_transform"]
    transform = {"KHR_texture_transform": {"offset": [0, 0], "scale": [16, 16]}}  # 12 bits in 16
    info = {"index": maker.texture(gltf_maker.picture()), "extensions": transform}
    number = maker.append("materials", {"pbrMetallicRoughness": {"baseColorTexture": info}})
    primitive = gltf_maker.cube_primitive(maker, material=number)
    packed = np.rint(uv * 65535 / 16).astype(np.uint16)
    primitive["attributes"]["TEXCOORD_0"] = maker.accessor(packed, normalized=True)
    maker.mesh(primitive)
    document, primitive, new = painted(maker, tmp_path)
    part = load_mesh(tmp_path / "in.glb").parts[0]
    assert np.allclose(part.uv, uv[faces] * (1, -1) + (0, 1), atol=3e-4)
    assert np.array_equal(document.accessor(primitive["attributes"]["TEXCOORD_0"]), packed)
    assert new["pbrMetallicRoughness"]["baseColorTexture"]["extensions"] == transform


@pytest.mark.parametrize("kind", ["WEBP", "JPEG", "PNG"])
def test_pictures_beside_a_gltf_come_in_as_what_they_are(tmp_path: Path, kind: str) -> None:
    content = gltf_maker.picture(kind)
    (tmp_path / "picture.webp").write_bytes(content)  # its name says nothing
    maker = Maker()
    image = maker.append("images", {"uri": "picture.webp"})
    bumps = maker.append("textures", {"source": image})
    maker = one_material({"normalTexture": {"index": bumps}}, maker)
    mesh = load_mesh(maker.gltf(tmp_path / "in.gltf"))
    write_glb(mesh, {mesh.parts[0].name: RED}, tmp_path / "out.glb")
    document = GltfDocument.read(tmp_path / "out.glb")
    assert document.data["images"][0]["mimeType"] == f"image/{kind.lower()}" and document.picture(0) == content
    if kind == "WEBP":
        assert document.data["textures"][0] == {"extensions": {"EXT_texture_webp": {"source": 0}}}
        assert document.data["extensionsUsed"] == document.data["extensionsRequired"] == ["EXT_texture_webp"]
    else:
        assert document.data["textures"][0] == {"source": 0} and "extensionsUsed" not in document.data


def test_an_mtl_material_keeps_its_opacity_and_pictures_of_any_kind(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (10, 20, 30)).save(tmp_path / "wall.bmp")
    (tmp_path / "m.mtl").write_text("newmtl Glass\nd 0.5\nnewmtl Wall\nKd 2 nan 0\nmap_Kd wall.bmp\n")
    (tmp_path / "two.obj").write_text(
        "mtllib m.mtl\no Pane\nv 0 0 0\nv 1 0 0\nv 1 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nusemtl Glass\nf 1/1 2/2 3/3\n"
        "o Wall\nusemtl Wall\nf 3/3 2/2 1/1\n"
    )
    mesh = load_mesh(tmp_path / "two.obj", objects=["Pane"])
    write_glb(mesh, {"Pane": RED}, tmp_path / "out.glb")
    document = GltfDocument.read(tmp_path / "out.glb")
    glass, wall = document.data["materials"]
    assert glass["alphaMode"] == "BLEND" and glass["pbrMetallicRoughness"]["baseColorFactor"] == [1, 1, 1, 0.5]
    assert tuple(pixels(document, wall["pbrMetallicRoughness"]["baseColorTexture"])[0, 0]) == (10, 20, 30)
