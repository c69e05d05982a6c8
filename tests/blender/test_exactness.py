"""Cameras and pictures, exactly: Blender's own answers against the engine's, in the engine's environment.

The engine's Python does its part in a process of its own, as always; what is compared crosses over in JSON and PNG.
"""

from __future__ import annotations

import json
import os
import subprocess

import bpy
import numpy as np
import pytest
from conftest import ENGINE, needs_engine, select
from mathutils import Euler, Matrix, Vector

CAMERAS = 200
POINTS = 24

PROJECT = """
import json, sys
from pathlib import Path
from ddrep_core.views import Views

folder = Path(sys.argv[1])
found = []
everything = json.loads((folder / "points.json").read_text())
for camera, points in zip(Views.load(folder / "cameras.json"), everything, strict=True):
    pixels, depth = camera.project(points)
    found.append([[*pixel, far] for pixel, far in zip(pixels.tolist(), depth.tolist(), strict=True)])
(folder / "found.json").write_text(json.dumps(found))
"""

PICTURE = """
import sys
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from ddrep_core.geometry.load import load_mesh
from ddrep_core.report.renderer import Renderer
from ddrep_core.views import Views

job, width, height = Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])
mesh = load_mesh(job / "inputs/mesh.obj", "z")
texture = torch.from_numpy(np.asarray(Image.open(sys.argv[2]).convert("RGB"), np.float32) / 255).permute(2, 0, 1)
camera = Views.load(job / "inputs/cameras.json")[0]
name = mesh.parts[0].name
colours = Renderer(mesh, {name: texture}).flat(camera, width, height, 4, 0.0)
share = Renderer(mesh, {name: torch.ones_like(texture)}).flat(camera, width, height, 4, 0.0)[..., :1]
np.save(job / "picture.npy", np.concatenate([colours, share], axis=-1))
"""


def in_engine(program: str, *arguments: str) -> None:
    """Run a few lines in the engine's environment."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([str(ENGINE), "-c", program, *arguments], check=True, env=variables)


def random_camera(rng: np.random.Generator, number: int):
    """A camera with everything that a camera can have."""
    data = bpy.data.cameras.new(f"camera {number}")
    data.type = "ORTHO" if rng.random() < 0.3 else "PERSP"
    data.lens, data.ortho_scale = rng.uniform(12, 120), rng.uniform(1, 12)
    data.sensor_fit = str(rng.choice(["AUTO", "HORIZONTAL", "VERTICAL"]))
    data.sensor_width, data.sensor_height = rng.uniform(10, 50), rng.uniform(10, 50)
    data.shift_x, data.shift_y = rng.uniform(-0.6, 0.6, 2)
    data.clip_start, data.clip_end = rng.uniform(0.01, 0.5), rng.uniform(100, 2000)
    thing = bpy.data.objects.new(f"camera {number}", data)
    bpy.context.scene.collection.objects.link(thing)
    rotation = Euler(rng.uniform(-np.pi, np.pi, 3)).to_matrix().to_4x4()
    thing.matrix_world = Matrix.Translation(rng.uniform(-20, 20, 3)) @ rotation
    if rng.random() < 0.3:  # a scale, even a mirroring one, is no part of a camera's view
        thing.scale = rng.uniform(0.2, 3, 3)
    return thing


def points_in_picture(rng: np.random.Generator, view) -> np.ndarray:
    """[N, 3] world points in and a little beside the picture, 2 to 40 m deep: nearer, Blender's floats are coarse."""
    inverse = np.linalg.inv(view.projection)
    x, y = rng.uniform(-1.1, 1.1, (2, POINTS))
    ends = []
    for depth in (-1.0, 1.0):
        corner = np.stack([x, y, np.full(POINTS, depth), np.ones(POINTS)], axis=1) @ inverse.T
        ends.append(corner[:, :3] / corner[:, 3:])
    near, far = ends
    wanted = -rng.uniform(2, 40, POINTS)
    share = (wanted - near[:, 2]) / (far[:, 2] - near[:, 2])
    inside = near + (far - near) * share[:, None]
    return inside @ view.matrix_world[:3, :3].T + view.matrix_world[:3, 3]


@needs_engine
def test_two_hundred_cameras_agree_with_blender_to_a_hundredth_of_a_pixel(addon, tmp_path):
    from bl_ext.user_default.ddrep.scene.cameras import view_of
    from bl_ext.user_default.ddrep.scene.draft import camera_file
    from bpy_extras.object_utils import world_to_camera_view

    rng = np.random.default_rng(5)
    scene = bpy.context.scene
    views, points, expected = [], [], []
    for number in range(CAMERAS):
        camera = random_camera(rng, number)
        scene.render.resolution_x, scene.render.resolution_y = (int(size) for size in rng.integers(32, 2000, 2))
        scene.render.resolution_percentage = 100
        scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = rng.uniform(1, 2), rng.uniform(1, 2)
        bpy.context.view_layer.update()
        view = view_of(camera, scene, bpy.context.evaluated_depsgraph_get())
        world = [Vector(point) for point in points_in_picture(rng, view)]
        seen = [world_to_camera_view(scene, camera, point) for point in world]
        views.append(view)
        points.append([list(point) for point in world])
        expected.append([[each.x * view.width, (1 - each.y) * view.height, each.z] for each in seen])
    assert {view.perspective for view in views} == {True, False}
    (tmp_path / "cameras.json").write_bytes(camera_file(views))
    (tmp_path / "points.json").write_text(json.dumps(points))
    in_engine(PROJECT, str(tmp_path))
    found = np.array(json.loads((tmp_path / "found.json").read_text()))
    error = np.abs(found - np.array(expected))
    assert error[..., :2].max() < 0.01, error[..., :2].max()
    assert (error[..., 2] < 1e-4 * (1 + np.abs(found[..., 2]))).all()


def flat_render(material, image_path, camera, size, path):
    """Blender's own picture of the scene: the texture as it is, without light, by Cycles."""
    scene = bpy.context.scene
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    output, emission, picture = (nodes.new(f"ShaderNode{kind}") for kind in ("OutputMaterial", "Emission", "TexImage"))
    picture.image = bpy.data.images.load(str(image_path))
    links.new(picture.outputs["Color"], emission.inputs["Color"])
    links.new(emission.outputs["Emission"], output.inputs["Surface"])
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 16, False
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.render.film_transparent = True
    scene.render.filter_size = 0.01
    scene.cycles.pixel_filter_type = "BOX"
    scene.cycles.filter_width = 1.0
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.camera = camera
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    return pixels(path)


def pixels(path):
    """[H, W, 4] in 0..1, first row at the top."""
    image = bpy.data.images.load(str(path))
    values = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(values)
    shape = image.size[1], image.size[0], 4
    bpy.data.images.remove(image)
    return values.reshape(shape)[::-1]


@needs_engine
@pytest.mark.parametrize("kind", ["PERSP", "ORTHO"])
def test_a_textured_mesh_looks_the_same_to_blender_and_to_the_engine(addon, cube, tmp_path, kind):
    """A checked texture on a turned, stretched, mirrored, subdivided cube, through a shifted camera."""
    size = (192, 128)
    image = bpy.data.images.new("checks", 256, 256)
    rows, columns = np.mgrid[0:256, 0:256]
    texture = np.ones((256, 256, 4), np.float32)
    texture[..., 0] = 0.15 + 0.7 * ((rows // 32 + columns // 32) % 2)
    texture[..., 1] = columns / 255
    texture[..., 2] = rows / 255
    image.pixels.foreach_set(texture.reshape(-1))
    image.filepath_raw, image.file_format = str(tmp_path / "texture.png"), "PNG"
    image.save()
    cube.rotation_euler, cube.scale, cube.location = (0.4, 0.2, 0.7), (-1.2, 0.8, 1.5), (0.3, -0.2, 0.1)
    cube.modifiers.new("Subdivision", "SUBSURF").levels = 2
    camera = bpy.data.objects["Camera"]
    camera.data.type, camera.data.ortho_scale, camera.data.lens = kind, 5, 80
    camera.data.shift_x, camera.data.shift_y = 0.05, -0.08
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = size
    bpy.data.objects.remove(bpy.data.objects["Light"])
    bpy.context.view_layer.update()
    select(cube)
    job = tmp_path / "job"
    bpy.ops.ddrep.write_job(directory=str(job))
    in_engine(PICTURE, str(job), str(tmp_path / "texture.png"), *map(str, size))
    theirs = np.load(job / "picture.npy")  # [H, W, 4]
    ours = flat_render(cube.material_slots[0].material, tmp_path / "texture.png", camera, size, tmp_path / "render.png")
    mine, other = ours[..., 3] > 0.5, theirs[..., 3] > 0.5
    assert mine.sum() > 2000
    overlap = (mine & other).sum() / (mine | other).sum()
    assert overlap > 0.99, overlap
    inside = (ours[..., 3] > 0.999) & (theirs[..., 3] > 0.999)
    difference = np.abs(ours[..., :3] - theirs[..., :3])[inside].mean() * 255
    assert difference < 3, difference


def test_a_panorama_faces_the_same_way_in_blender(addon, pump, tmp_path):
    """The engine's convention: the picture's middle looks along +Y, and its right along +X."""
    scene = bpy.context.scene
    scene.ddrep.panorama.prompt, scene.ddrep.panorama.width = "a harbour", "512"
    bpy.ops.ddrep.panorama()
    pump()
    (job,) = addon.runtime.current().manager.jobs.values()
    path = job.folder.path / "outputs/panorama.png"
    picture = np.zeros((256, 512, 4), np.float32)
    picture[..., 3] = 1
    directions = {"+Y": (256, (1, 0, 0)), "+X": (384, (0, 1, 0)), "-Y": (0, (0, 0, 1)), "-X": (128, (1, 1, 0))}
    for column, color in directions.values():
        for shift in range(-50, 50):
            picture[:, (column + shift) % 512, :3] = color
    picture[200:, :, :3] = (1, 1, 1)  # the sky: rows of an image count from the bottom
    image = bpy.data.images.new("compass", 512, 256)
    image.pixels.foreach_set(picture.reshape(-1))
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    for world in list(bpy.data.worlds):
        bpy.data.worlds.remove(world)
    for old in list(bpy.data.images):
        bpy.data.images.remove(old)
    bpy.ops.ddrep.bring_in(job=job.name)
    for thing in [each for each in bpy.data.objects if each.type != "CAMERA"]:
        bpy.data.objects.remove(thing)
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 4, False
    scene.world.cycles.sampling_method = "NONE"  # nothing is lit here, and the map for it takes seconds
    scene.render.resolution_x = scene.render.resolution_y = 16
    scene.view_settings.view_transform = "Standard"
    scene.camera.data.angle = 0.3
    vectors = {"+Y": (0, 1, 0), "+X": (1, 0, 0), "-Y": (0, -1, 0), "-X": (-1, 0, 0), "up": (0, 0, 1)}
    for name, vector in vectors.items():
        scene.camera.matrix_world = Vector(vector).to_track_quat("-Z", "Y").to_matrix().to_4x4()
        scene.render.filepath = str(tmp_path / f"{name}.png")
        bpy.ops.render.render(write_still=True)
        seen = pixels(tmp_path / f"{name}.png")[..., :3].mean(axis=(0, 1))
        expected = directions[name][1] if name in directions else (1, 1, 1)
        assert np.allclose(seen, expected, atol=0.05), (name, seen)
