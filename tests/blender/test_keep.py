"""What of an object's picture stays, and a pinned view: from the scene into the job folder."""

from __future__ import annotations

import json
import subprocess
import zlib

import bpy
import numpy as np
import pytest
from conftest import ENGINE, needs_engine
from snapshot import snapshot
from test_scene_to_job import write

SIZE = 128


def six_squares(cube):
    """Each face of the cube in a square of its own, three by two; the first texel row of a picture is at the top."""
    layer = cube.data.uv_layers[0].uv
    for number, polygon in enumerate(cube.data.polygons):
        column, row = number % 3, number // 3
        for loop, (u, v) in zip(polygon.loop_indices, [(0, 0), (1, 0), (1, 1), (0, 1)], strict=True):
            layer[loop].vector = ((column + 0.1 + 0.8 * u) / 3, (row + 0.1 + 0.8 * v) / 2)
        polygon.select = False
    return cube


def worn(cube, size=SIZE):
    """The cube's material shows a picture of noise."""
    image = bpy.data.images.new("worn", size, size)
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 4)).astype(np.uint8)
    pixels[..., 3] = 255
    image.pixels.foreach_set((pixels[::-1] / np.float32(255)).astype(np.float32).ravel())
    material = bpy.data.materials.new("skin") if not cube.data.materials else cube.data.materials[0]
    material.use_nodes = True
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    shader = material.node_tree.nodes["Principled BSDF"]
    material.node_tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    if not cube.data.materials:
        cube.data.materials.append(material)
    return pixels


def png(path):
    """[H, W, C] of a PNG with plain rows."""
    data = path.read_bytes()
    width, height = (int.from_bytes(data[start : start + 4], "big") for start in (16, 20))
    channels = {0: 1, 6: 4}[data[25]]
    start, content = 8, b""
    while start < len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        if data[start + 4 : start + 8] == b"IDAT":
            content += data[start + 8 : start + 8 + length]
        start += 12 + length
    rows = np.frombuffer(zlib.decompress(content), np.uint8).reshape(height, 1 + width * channels)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, channels)


@pytest.fixture
def settings(addon, cube):
    six_squares(cube)
    chosen = bpy.context.scene.ddrep.texture
    chosen.resolution = str(SIZE)
    return chosen


def block(folder):
    return json.loads((folder / "job.json").read_text())["texture"]


def test_nothing_is_said_of_it_where_nothing_is_kept(addon, cube, settings, tmp_path):
    told = block(write(addon, tmp_path))
    assert not {"keep", "base", "pins", "from_texture", "strength"} & set(told)


def test_selected_faces_stay(addon, cube, settings, tmp_path):
    pixels = worn(cube)
    cube.data.polygons[1].select = True
    settings.keep = "FACES"
    before = snapshot()
    folder = write(addon, tmp_path)
    assert snapshot() == before
    told = block(folder)
    assert told["keep"] == [{"object": "Cube", "file": "inputs/keep_0.png"}]
    assert told["base"] == [{"object": "Cube", "file": "inputs/base_0.png"}]
    assert np.array_equal(png(folder / "inputs/base_0.png"), pixels)
    mask = png(folder / "inputs/keep_0.png")[..., 0]
    row, column = np.indices(mask.shape) + 0.5
    inside = (np.abs(column / SIZE - 0.5) < 0.4 / 3) & (np.abs(1 - row / SIZE - 0.25) < 0.2)
    near = (np.abs(column / SIZE - 0.5) < 0.4 / 3 + 3 / SIZE) & (np.abs(1 - row / SIZE - 0.25) < 0.2 + 3 / SIZE)
    assert (mask[inside] == 255).all() and (mask[~near] == 0).all()


def test_a_vertex_group_and_a_slot_stay(addon, cube, settings, tmp_path):
    worn(cube)
    group = cube.vertex_groups.new(name="top")
    group.add(list(cube.data.polygons[2].vertices), 1.0, "REPLACE")
    settings.keep, settings.keep_group = "GROUP", "top"
    grouped = png(write(addon, tmp_path / "group") / "inputs/keep_0.png")
    cube.data.polygons[2].select = True
    settings.keep = "FACES"
    assert np.array_equal(png(write(addon, tmp_path / "faces") / "inputs/keep_0.png"), grouped)
    cube.data.materials.append(cube.data.materials[0])
    cube.data.polygons[2].material_index = 1
    cube.active_material_index = 1
    settings.keep = "SLOT"
    assert np.array_equal(png(write(addon, tmp_path / "slot") / "inputs/keep_0.png"), grouped)


def test_a_painted_mask_stays_and_a_start_from_what_is_worn(addon, cube, settings, tmp_path):
    worn(cube)
    mask = bpy.data.images.new("mask", SIZE, SIZE)
    values = np.zeros((SIZE, SIZE, 4), np.float32)
    values[: SIZE // 2] = 1.0  # Blender's rows run upward
    mask.pixels.foreach_set(values.ravel())
    settings.keep, settings.keep_image = "IMAGE", mask
    settings.from_texture, settings.change = True, 0.3
    folder = write(addon, tmp_path)
    found = png(folder / "inputs/keep_0.png")[..., 0]
    assert (found[SIZE // 2 :] == 255).all() and (found[: SIZE // 2] == 0).all()
    told = block(folder)
    assert told["from_texture"] is True and told["strength"] == pytest.approx(0.3)


@needs_engine
@pytest.mark.once
def test_the_engine_keeps_what_the_panel_says(addon, cube, settings, tmp_path):
    """The whole way: a face is selected, the real engine paints the rest, and the face's texels are what they were."""
    before = worn(cube)
    cube.data.polygons[0].select = True
    settings.prompt, settings.keep = "red bricks", "FACES"
    settings.from_texture, settings.change = True, 0.2
    folder = write(addon, tmp_path)
    request = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps({**request, "steps": 2}))
    command = [str(ENGINE), "-I", "-m", "ddrep_core", "run", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    kept = png(folder / "inputs/keep_0.png")[..., 0] > 0
    picture = bpy.data.images.load(str(next((folder / "outputs").glob("texture*.png"))))
    pixels = np.empty(SIZE * SIZE * 4, np.float32)
    picture.pixels.foreach_get(pixels)
    after = np.rint(pixels * 255).astype(np.uint8).reshape(SIZE, SIZE, 4)[::-1]
    assert kept.any() and (after[kept][:, :3] == before[kept][:, :3]).all()
    assert (after[~kept][:, :3] != before[~kept][:, :3]).any()


@pytest.mark.parametrize(
    ("keep", "prepare", "words"),
    [
        ("FACES", lambda cube: worn(cube), "No face is selected"),
        ("FACES", lambda cube: cube.data.polygons.foreach_set("select", [True] * 6) or worn(cube), "nothing left"),
        (
            "FACES",
            lambda cube: cube.data.polygons.foreach_set("select", [True] + [False] * 5) or cube.data.materials.clear(),
            "wears no material",
        ),
        (
            "FACES",
            lambda cube: cube.data.polygons.foreach_set("select", [True] + [False] * 5) or worn(cube, 64),
            "64 x 64, and the texture will be 128 x 128",
        ),
        ("GROUP", lambda cube: worn(cube), "no vertex group called"),
        ("IMAGE", lambda cube: worn(cube), "No mask is chosen"),
    ],
)
def test_what_cannot_be_kept_is_told(addon, cube, settings, tmp_path, keep, prepare, words):
    prepare(cube)
    settings.keep = keep
    with pytest.raises(RuntimeError, match=words):
        write(addon, tmp_path)
    assert not (tmp_path / "job" / "job.json").exists()


def test_a_pinned_view_goes_along(addon, cube, settings, tmp_path):
    image = bpy.data.images.new("shot", 32, 32)
    settings.pin_image = image
    with pytest.raises(RuntimeError, match="pinned to no camera"):
        write(addon, tmp_path)
    other = bpy.data.objects.new("Elsewhere", bpy.data.cameras.new("Elsewhere"))
    settings.pin_camera = other
    with pytest.raises(RuntimeError, match="'Elsewhere' is not among those that look"):
        write(addon, tmp_path)
    names = [thing.name for thing in bpy.context.scene.objects if thing.type == "CAMERA"]
    settings.pin_camera = bpy.data.objects[names[0]]
    folder = write(addon, tmp_path / "pinned")
    (entry,) = block(folder)["pins"]
    assert entry == {"camera": names[0], "file": "inputs/pin_0.png", "weight": 1.0}
    assert png(folder / "inputs/pin_0.png").shape == (32, 32, 4)


def test_triangles_cover_the_texels_whose_centres_they_hold(addon):
    import importlib

    keep = importlib.import_module(f"{addon.__name__}.scene.keep")
    generator = np.random.default_rng(1)
    triangles = np.concatenate(
        [generator.random((40, 3, 2)) * 0.1 + generator.random((40, 1, 2)), generator.random((3, 3, 2))]
    )
    size = 96
    found = np.zeros((size, size), bool)
    slices = sum(1 for _ in keep.mark_covered(found, triangles))
    assert slices > 3
    row, column = np.indices((size, size))
    expected = np.zeros((size, size), bool)
    for shift in np.stack(np.meshgrid([0, 1], [0, 1]), -1).reshape(-1, 2):  # those beyond 1 come in again
        points = np.stack([(column + 0.5) / size, 1 - (row + 0.5) / size], -1) + shift
        for a, b, c in triangles:
            sides = [np.cross(q - p, points - p) for p, q in ((a, b), (b, c), (c, a))]
            expected |= np.all([side >= 0 for side in sides], axis=0) | np.all([side <= 0 for side in sides], axis=0)
    assert (found != expected).mean() < 1e-3
