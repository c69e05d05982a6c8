"""Symmetry, palettes, material maps and placed cameras: from the panel to the job, and into the material."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import ENGINE, ROOT, needs_engine


def drafted(addon):
    addon.runtime.require(bpy.context, "texture")
    return addon.operators.make.draft(bpy.context, "texture")


def model(folder: Path) -> str:
    folder.mkdir()
    (folder / "model_index.json").write_text("{}")
    return str(folder)


def test_nothing_is_said_of_what_is_not_wanted(addon, cube):
    assert not drafted(addon).request["texture"].keys() & {
        "symmetry",
        "palette",
        "intrinsics",
        "normals_model",
        "delight",
    }


def test_wishes_reach_the_job(addon, cube, tmp_path):
    settings = bpy.context.scene.ddrep.texture
    settings.symmetry, settings.palette_amount = "X", 0.5
    settings.palette_image = bpy.data.images.new("colours", 4, 4)
    settings.intrinsics, settings.delight = model(tmp_path / "iid"), True
    draft = drafted(addon)
    block = draft.request["texture"]
    assert block["symmetry"] == "x" and block["palette_amount"] == 0.5 and block["delight"] is True
    assert block["intrinsics"] == str((tmp_path / "iid").resolve())
    assert b"".join(draft.files[block["palette"]]).startswith(b"\x89PNG")


@pytest.mark.parametrize("wish", ["folder", "normals", "keep"])
def test_what_cannot_be_is_told(addon, cube, tmp_path, wish):
    settings = bpy.context.scene.ddrep.texture
    if wish == "folder":
        settings.intrinsics, words = str(tmp_path / "nowhere"), "no intrinsic-image model"
    elif wish == "normals":
        settings.normals_model, settings.symmetry = model(tmp_path / "n"), "X"
        words = "can't be made of a mirrored mesh"
    else:
        settings.keep, settings.symmetry, words = "FACES", "X", "would have to be worn on the other"
    with pytest.raises(addon.problems.Problem, match=words):
        drafted(addon)


@pytest.mark.parametrize("parallel", [False, True])
def test_six_sides_are_looked_at_straight_on(addon, cube, parallel):
    cube.location = (5, -3, 2)
    bpy.context.view_layer.update()
    settings = bpy.context.scene.ddrep.cameras
    settings.source, settings.placement, settings.orthographic, settings.front = (
        "ORBIT",
        "SIX_SIDES",
        parallel,
        "PLUS_X",
    )
    cameras = json.loads(b"".join(drafted(addon).files["inputs/cameras.json"]))["cameras"]
    towards = {"Front": (1, 0, 0), "Left": (0, 1, 0), "Back": (-1, 0, 0), "Right": (0, -1, 0), "Top": (0, 0, 1)}
    corners = np.array([[*(cube.matrix_world @ vertex.co), 1] for vertex in cube.data.vertices])
    for camera in cameras:
        matrix, projection = np.array(camera["matrix_world"]), np.array(camera["projection"])
        clip = corners @ (projection @ np.linalg.inv(matrix)).T
        assert (np.abs(clip[:, :3]) < clip[:, 3:]).all() and bool(np.allclose(projection[3, :3], 0)) == parallel
        assert np.allclose(matrix[:3, 2], towards.get(camera["name"], (0, 0, -1)), atol=1e-6)
        if camera["name"] == "Top":
            assert np.allclose(matrix[:3, 1], (-1, 0, 0), atol=1e-6)  # the front, +X, is at the lower edge
    settings.placement, settings.orbit_count = "COVERAGE", 5
    made = drafted(addon)
    assert made.request["cameras"] == ("coverage:5:ortho" if parallel else "coverage:5")
    assert "inputs/cameras.json" not in made.files
    with pytest.raises(RuntimeError, match="known when it runs"):
        bpy.ops.ddrep.measure_coverage()
    settings.placement = "FRONT_BACK"
    cameras = json.loads(b"".join(drafted(addon).files["inputs/cameras.json"]))["cameras"]
    assert [camera["name"] for camera in cameras] == ["Front", "Back"]


@needs_engine
def test_maps_come_into_the_material(addon, cube, pump, monkeypatch, tmp_path):
    """A job with models of random weights: Non-Color images behind roughness, metallic and normal."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; "
        "from tiny_models import build_marigold; "
        "[build_marigold(Path(sys.argv[2]) / kind, kind) for kind in ('intrinsics', 'normals')]"
    )
    subprocess.run([str(ENGINE), "-c", code, str(ROOT / "tests"), str(tmp_path)], check=True, capture_output=True)
    addon.preferences.preferences().engine = str(ENGINE)
    scene, settings = bpy.context.scene, bpy.context.scene.ddrep.texture
    settings.prompt, settings.quality, settings.steps = "a wooden crate", "CUSTOM", 1
    settings.intrinsics, settings.normals_model = str(tmp_path / "intrinsics"), str(tmp_path / "normals")
    settings.delight = True
    scene.ddrep.cameras.source, scene.ddrep.cameras.orbit_count = "ORBIT", 2
    bpy.ops.ddrep.texture()
    pump(seconds=500)
    (job,) = addon.runtime.current().manager.jobs.values()
    assert job.imported, job.problem
    tree = cube.material_slots[0].material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    for name, socket, kind in (
        ("Roughness", "Green", "metallic_roughness"),
        ("Metallic", "Blue", "metallic_roughness"),
    ):
        (link,) = shader.inputs[name].links
        assert link.from_socket.name == socket
        image = link.from_node.inputs[0].links[0].from_node.image
        assert image.colorspace_settings.name == "Non-Color" and kind.replace("_", " ") in image.name
    (link,) = shader.inputs["Normal"].links
    assert link.from_node.type == "NORMAL_MAP" and link.from_node.uv_map == cube.data.uv_layers.active.name
    normal = link.from_node.inputs["Color"].links[0].from_node.image
    stored = next((job.folder.path / "outputs").glob("normal*.png")).read_bytes()
    assert normal.colorspace_settings.name == "Non-Color" and bytes(normal.packed_files[0].packed_file.data) == stored
    assert tree.nodes.active.image.colorspace_settings.name == "sRGB"  # what texture paint looks at
    bpy.ops.ddrep.show_original(job=job.name)
