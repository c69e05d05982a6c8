"""Material maps: what a model says of a texture's views, fitted, turned into the texture's own axes, and stored."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from geometry_shapes import cube_obj
from PIL import Image
from test_symmetry import roof_obj
from test_udim import strip_obj
from tiny_models import build_marigold, build_sd

from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import SEEN, Baker
from ddrep_core.geometry.load import load_mesh
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.raycast import ray_caster
from ddrep_core.geometry.tangents import normal_map
from ddrep_core.jobs import materials
from ddrep_core.jobs.blocks import TextureRequest
from ddrep_core.jobs.materials import material_models
from ddrep_core.jobs.run import run_job
from ddrep_core.priors import GaussianPrior
from ddrep_core.priors.intrinsics import IntrinsicModel, Prediction
from ddrep_core.views import Views, orbit_views

SIZE, SIDE = 64, 32
PRIOR = GaussianPrior(torch.full((3, 16, 16), 0.5), 0.04)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("marigold")
    kinds = ("intrinsics", "normals")
    return {kind: build_marigold(folder / kind, kind) for kind in kinds}  # type: ignore[arg-type]


def settings(**told) -> TextureRequest:
    return TextureRequest.model_validate({"mesh": "mesh.obj", "resolution": SIZE, **told})


def seen_normals(mesh: Mesh, views: Views) -> torch.Tensor:
    """[V, 3, SIDE, SIDE] the mesh's own normals in each camera's axes, as a model that is always right says them."""
    caster, found = ray_caster(mesh), []
    for camera in views:
        pixel, hits = caster.pixel_hits(camera, SIDE, SIDE)
        axes = np.array(camera.matrix_world[:3, :3])
        image = np.tile(np.array([0.0, 0, 1]), (SIDE * SIDE, 1))
        image[pixel[hits.hit]] = caster.face_normals[hits.face[hits.hit]] @ axes
        found.append(torch.from_numpy(image.reshape(SIDE, SIDE, 3)).permute(2, 0, 1).float())
    return torch.stack(found)


def test_the_shapes_own_normals_are_a_flat_map(tmp_path: Path) -> None:
    """From the camera's axes to the world's, to a texture, to each texel's axes: nothing is left of them."""
    mesh = load_mesh(cube_obj(tmp_path / "cube.obj"))
    views = orbit_views(count=8, elevations=(-40.0, 35.0), target=mesh, width=SIDE, height=SIDE)
    baker = Baker(mesh, views, SIZE, (SIDE, SIDE))
    world = materials._fitted(
        mesh, views, baker, materials._in_world(Prediction(seen_normals(mesh, views), None), views)
    )
    found = normal_map(mesh.parts[0], world["Cube"], flat=True).astype(float)
    seen = baker.bake(torch.zeros(8, 3, SIDE, SIDE))["Cube"].coverage == SEEN
    away = np.degrees(np.arccos(np.clip((found[seen] / 127.5 - 1)[:, 2], -1, 1)))
    assert np.median(away) < 3 and np.quantile(away, 0.8) < 12  # edges of a picture of 32 pixels are blurred


@pytest.mark.parametrize("towards", [(0.6, 0.0), (0.0, 0.6), (-0.3, 0.5)])
def test_a_map_leans_as_the_surface_does(towards: tuple[float, float], tmp_path: Path) -> None:
    """Red is along u, green along v upward, whichever way round the island lies."""
    mesh = load_mesh(roof_obj(tmp_path / "roof.obj"))
    part = mesh.parts[0]
    caster = ray_caster(mesh)
    # On the right slope (faces 2 and 3) u runs down from the ridge, v along y; on the left one it runs up to it.
    for face, sign in ((0, 1.0), (2, -1.0)):
        up = caster.face_normals[face]
        assert part.uv is not None
        edges, sides = part.triangles[face, 1:] - part.triangles[face, 0], part.uv[face, 1:] - part.uv[face, 0]
        along = np.linalg.solve(sides, edges)  # rows: where u and v grow
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        lean = up + towards[0] * along[0] + towards[1] * along[1]
        lean /= np.linalg.norm(lean)
        world = np.tile(np.rint((lean + 1) * 127.5).astype(np.uint8), (SIZE, SIZE, 1))
        found = normal_map(part, world, flat=True)[SIZE // 2 + 8, SIZE // 4 if sign > 0 else 3 * SIZE // 4]
        local = np.array([*towards, 1.0]) / np.linalg.norm([*towards, 1.0])
        assert np.abs(found / 127.5 - 1 - local).max() < 0.02


def test_doubtful_views_count_less(tmp_path: Path) -> None:
    """Two cameras at one place say black and white; the one whose predictions lie apart is hardly heard."""
    mesh = load_mesh(strip_obj(tmp_path / "strip.obj"))
    mesh = load_mesh(tmp_path / "strip.obj", udim=True)
    view = orbit_views(count=1, elevations=(0.0,), target=mesh, width=SIDE, height=SIDE)
    views = Views((view[0], view[0]), view.target)
    baker = Baker(mesh, views, SIZE, (SIDE, SIDE))
    said = torch.stack([torch.zeros(1, SIDE, SIDE), torch.ones(1, SIDE, SIDE)])
    for doubt, expected in ((None, 0.5), (torch.stack([0 * said[0], said[1]]), 1 / 402)):
        found = materials._fitted(mesh, views, baker, Prediction(said, doubt))
        assert np.mean([image.mean() for image in found.values()]) / 255 == pytest.approx(expected, abs=0.02)


def test_models_say_what_their_folder_says(models: dict[str, Path]) -> None:
    model = IntrinsicModel(models["intrinsics"], "intrinsics")
    assert model.maps == {"albedo", "roughness", "metallic"}
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = model.predict(pictures, ensemble=3, seed=1)
    assert found["albedo"].values.shape == (2, 3, 32, 32) and found["metallic"].values.shape == (2, 1, 32, 32)
    assert all(each.doubt is not None and float(each.doubt.max()) > 0 for each in found.values())
    again = model.predict(pictures, ensemble=3, seed=1)
    assert torch.equal(found["roughness"].values, again["roughness"].values)
    assert found["roughness"].values.std() > 0.01 and not torch.equal(*found["roughness"].values)
    alone = model.predict(pictures[:1], ensemble=1, seed=1)
    assert alone["albedo"].doubt is None
    normals = IntrinsicModel(models["normals"], "normals").predict(pictures, ensemble=3, seed=0)["normals"]
    assert torch.allclose(normals.values.norm(dim=1), torch.ones(2, 32, 32), atol=1e-4)


def test_a_job_stores_maps(models: dict[str, Path], tmp_path: Path) -> None:
    """GLB and PNG carry the same bytes; roughness in green, metallic in blue; the base colour is the albedo."""
    (tmp_path / "inputs").mkdir()
    cube_obj(tmp_path / "inputs" / "cube.obj")
    block = {"mesh": "inputs/cube.obj", "resolution": SIZE, "delight": True, "ensemble": 1}
    block |= {"intrinsics": str(models["intrinsics"]), "normals_model": str(models["normals"])}
    request = {"schema_version": 1, "task": "texture", "steps": 2, "cameras": "orbit:2", "texture": block}
    (tmp_path / "job.json").write_text(json.dumps(request))
    run_job(tmp_path, load_prior=lambda request: PRIOR)
    outputs = tmp_path / "outputs"
    entry = json.loads((outputs / "result.json").read_text())["samples"][0]["objects"][0]
    stored = {
        what: (tmp_path / entry[what]).read_bytes() for what in ("texture", "metallic_roughness", "normal", "lit")
    }
    images = {what: np.asarray(Image.open(io.BytesIO(content))) for what, content in stored.items()}
    assert all(image.shape == (SIZE, SIZE, 3) for image in images.values())
    assert (images["metallic_roughness"][..., 0] == 255).all() and images["metallic_roughness"][..., 1:].std() > 1
    assert (images["normal"][..., 2] > 128).all() and not np.array_equal(images["texture"], images["lit"])
    document = load_mesh(outputs / "mesh.glb").document
    assert document is not None
    (material,) = document.data["materials"]
    surface = material["pbrMetallicRoughness"]
    assert surface["metallicFactor"] == surface["roughnessFactor"] == 1.0
    for info, what in (
        (surface["baseColorTexture"], "texture"),
        (surface["metallicRoughnessTexture"], "metallic_roughness"),
        (material["normalTexture"], "normal"),
    ):
        assert document.picture(document.data["textures"][info["index"]]["source"]) == stored[what]


def test_what_cannot_be_asked_is_told(models: dict[str, Path], tmp_path: Path) -> None:
    intrinsics, normals = str(models["intrinsics"]), str(models["normals"])
    assert material_models(settings()) is None
    pickled = build_marigold(tmp_path / "pickled", "normals")
    weights = next((pickled / "unet").glob("*.safetensors"))
    weights.rename(weights.with_suffix(".bin"))
    silent = build_marigold(tmp_path / "silent", "intrinsics", target_properties={"target_names": ["shading"]})
    for told, words in (
        ({"delight": True}, "wants a model that tells albedo from light"),
        ({"ensemble": 3}, "Add --intrinsics or --normals-model"),
        ({"intrinsics": str(tmp_path / "nowhere")}, "no model folder"),
        ({"intrinsics": normals}, "is a MarigoldNormalsPipeline, not a MarigoldIntrinsicsPipeline"),
        ({"intrinsics": str(build_sd(tmp_path / "sd"))}, "is a StableDiffusionPipeline, not a Marigold"),
        ({"intrinsics": str(silent)}, "predicts shading: no albedo, roughness or metallic"),
        ({"normals_model": normals, "symmetry": "x"}, "other ones on the other side of a mirrored mesh"),
        ({"intrinsics": str(tmp_path)}, "has no model_index.json"),
    ):
        with pytest.raises(RequestError) as refused:
            material_models(settings(**told))
        assert words in f"{refused.value.message} {refused.value.fix}"
    with pytest.raises(RequestError, match="safetensors"):
        IntrinsicModel(pickled, "normals").predict(torch.zeros(1, 3, 32, 32), ensemble=1, seed=0)
    assert material_models(settings(intrinsics=intrinsics, normals_model=normals)) is not None
