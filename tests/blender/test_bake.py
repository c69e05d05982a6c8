"""What is worn and is no plain picture is baked first: by a Blender beside, texel for texel what the nodes say."""

from __future__ import annotations

import json

import bpy
import numpy as np
import pytest
from snapshot import snapshot
from test_keep import SIZE, png, six_squares, worn
from test_panels import draw
from test_scene_to_job import write


def material(name):
    """A material with nodes, and its Principled shader."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    return made, made.node_tree, made.node_tree.nodes["Principled BSDF"]


def ramp(tree, blue):
    """The colour (u, v, blue), of separate and mathematical nodes."""
    coordinates, apart = tree.nodes.new("ShaderNodeTexCoord"), tree.nodes.new("ShaderNodeSeparateXYZ")
    together = tree.nodes.new("ShaderNodeCombineColor")
    together.inputs[2].default_value = blue
    tree.links.new(coordinates.outputs["UV"], apart.inputs[0])
    for axis in (0, 1):
        tree.links.new(apart.outputs[axis], together.inputs[axis])
    return together.outputs[0]


def checker(tree):
    node = tree.nodes.new("ShaderNodeTexChecker")
    coordinates = tree.nodes.new("ShaderNodeTexCoord")
    node.inputs["Color1"].default_value, node.inputs["Color2"].default_value = (1, 0, 0, 1), (0, 0.2, 0.5, 1)
    node.inputs["Scale"].default_value = 16
    tree.links.new(coordinates.outputs["UV"], node.inputs["Vector"])
    return node.outputs["Color"]


def metal(name="metal"):
    """(u, v, 0.25) on metal, which diffuses nothing."""
    made, tree, shader = material(name)
    shader.inputs["Metallic"].default_value = 1.0
    tree.links.new(ramp(tree, 0.25), shader.inputs["Base Color"])
    return made


def holed():
    """A checker with holes: what is transparent has no colour."""
    made, tree, shader = material("holed")
    mix, hole = tree.nodes.new("ShaderNodeMixShader"), tree.nodes.new("ShaderNodeBsdfTransparent")
    tree.links.new(checker(tree), shader.inputs["Base Color"])
    tree.links.new(hole.outputs[0], mix.inputs[1])
    tree.links.new(shader.outputs[0], mix.inputs[2])
    tree.links.new(mix.outputs[0], tree.nodes["Material Output"].inputs["Surface"])
    return made


def grouped():
    """Two colours mixed by a quarter, inside a group that has no colour to link to."""
    group = bpy.data.node_groups.new("paint", "ShaderNodeTree")
    group.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    end, mix = group.nodes.new("NodeGroupOutput"), group.nodes.new("ShaderNodeMixShader")
    mix.inputs[0].default_value = 0.25
    group.links.new(mix.outputs[0], end.inputs[0])
    for number, (kind, color) in enumerate((("BsdfDiffuse", (0.8, 0, 0, 1)), ("BsdfPrincipled", (0, 0.4, 0, 1)))):
        shader = group.nodes.new(f"ShaderNode{kind}")
        shader.inputs[0].default_value = color
        group.links.new(shader.outputs[0], mix.inputs[1 + number])
    made, tree, _ = material("grouped")
    node = tree.nodes.new("ShaderNodeGroup")
    node.node_tree = group
    tree.links.new(node.outputs[0], tree.nodes["Material Output"].inputs["Surface"])
    return made


def shifted():
    """A painted picture, never saved, that a Mapping node moves by a quarter."""
    made, tree, shader = material("shifted")
    node, mapping = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeMapping")
    coordinates = tree.nodes.new("ShaderNodeTexCoord")
    node.image = bpy.data.images.new("painted", 4, 4)
    values = np.ones((4, 4, 4), np.float32)
    values[..., 0] = np.arange(4) / 4
    node.image.pixels.foreach_set(values.ravel())
    node.interpolation = "Closest"
    mapping.inputs["Location"].default_value[0] = 0.25
    tree.links.new(coordinates.outputs["UV"], mapping.inputs[0])
    tree.links.new(mapping.outputs[0], node.inputs["Vector"])
    tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    return made


def texels():
    """[S, S, 2] the UVs of all texels' centres, and [S, S] which face's square they lie in; -1 for none."""
    row, column = np.indices((SIZE, SIZE)) + 0.5
    uv = np.stack([column / SIZE, 1 - row / SIZE], axis=-1)
    inside = np.abs(uv * (3, 2) % 1 - 0.5).max(axis=-1) < 0.39
    return uv, np.where(inside, np.floor(uv[..., 0] * 3) + 3 * np.floor(uv[..., 1] * 2), -1)


def encoded(linear):
    linear = np.asarray(linear, float)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def pixels(path):
    """[H, W, 4] bytes of a PNG, the first row on top."""
    image = bpy.data.images.load(str(path), check_existing=False)
    values = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(values)
    found = np.rint(values * 255).reshape(image.size[1], image.size[0], 4)[::-1]
    bpy.data.images.remove(image)
    return found


@pytest.fixture
def settings(addon, cube):
    six_squares(cube)
    chosen = bpy.context.scene.ddrep.texture
    chosen.resolution, chosen.from_texture = str(SIZE), True
    return chosen


def test_node_graphs_are_baked_texel_for_texel(addon, cube, settings, tmp_path):
    """Five materials and an empty slot, one to a face; nothing of the file is changed for it."""
    cube.data.materials.clear()
    plain, _, shader = material("plain")
    shader.inputs["Base Color"].default_value = (0.5, 0.25, 0.125, 1)
    for number, each in enumerate((metal(), holed(), grouped(), shifted(), plain, None)):
        cube.data.materials.append(each)
        cube.data.polygons[number].material_index = number
    before = snapshot()
    folder = write(addon, tmp_path)
    assert snapshot() == before
    found, (uv, face) = pixels(folder / "inputs/base_0.png")[..., :3], texels()
    u, v = uv[..., 0], uv[..., 1]
    even = (np.floor(u * 16) + np.floor(v * 16)) % 2 == 0
    expected = [
        encoded(np.stack([u, v, np.full_like(u, 0.25)], axis=-1)),
        encoded(np.where(even[..., None], (0, 0.2, 0.5), (1, 0, 0))),
        encoded(np.broadcast_to((0.6, 0.1, 0), (*uv.shape[:2], 3))),
        np.stack([np.floor((u + 0.25) % 1 * 4) / 4, np.ones_like(u), np.ones_like(u)], axis=-1) * 255,
        encoded(np.broadcast_to((0.5, 0.25, 0.125), (*uv.shape[:2], 3))),
        encoded(np.broadcast_to((0.8, 0.8, 0.8), (*uv.shape[:2], 3))),
    ]
    for number, values in enumerate(expected):
        wrong = np.abs(found - values).max(axis=-1)[face == number]
        assert wrong.max() <= 1, (number, wrong.max(), (wrong > 1).mean())
    told = json.loads((folder / "job.json").read_text())["texture"]
    assert told["base"] == [{"object": "Cube", "file": "inputs/base_0.png"}] and told["from_texture"] is True
    (entry,) = json.loads((folder / "blender.json").read_text())["objects"]
    for words in ("'metal' (Combine Color)", "'holed' (Checker Texture)", "'grouped' (paint)", "and 2 more"):
        assert words in entry["baked"] and words in bpy.context.window_manager.ddrep.warnings


def test_the_button_waits_for_a_bake_beside_and_says_so(addon, cube, settings, pump):
    cube.data.materials[0] = metal()
    cube.data.polygons[1].select = True
    settings.keep = "FACES"
    bpy.ops.ed.undo_push(message="before")
    before = snapshot()
    assert bpy.ops.ddrep.texture() == {"FINISHED"}
    (job,) = addon.runtime.current().manager.jobs.values()
    pump(lambda: job.progress.stage == "Baking the colour of 'Cube'")
    assert addon.runtime.words_of(job) == "Baking the colour of 'Cube'" and snapshot() == before
    pump(lambda: job.state != "preparing")
    assert job.state != "failed", job.problem
    uv, face = texels()
    expected = encoded(np.stack([uv[..., 0], uv[..., 1], np.full(uv.shape[:2], 0.25)], axis=-1))
    assert np.abs(pixels(job.folder.path / "inputs/base_0.png")[..., :3] - expected)[face >= 0].max() <= 1
    assert (png(job.folder.path / "inputs/keep_0.png")[..., 0] > 0)[face == 1].all()
    pump()
    assert job.state == "done", job.problem
    bpy.context.window_manager.ddrep.job_index = 0
    assert "Baked first: 'metal' (Combine Color)" in draw(addon.panels.DDREP_PT_results).words()


def test_a_bake_ends_with_its_job_and_one_that_fails_is_told(addon, cube, settings, pump):
    cube.data.materials[0] = metal()
    bpy.ops.ddrep.texture()
    manager = addon.runtime.current().manager
    (job,) = manager.jobs.values()
    pump(lambda: job.progress.stage)
    bpy.ops.ddrep.cancel_job(job=job.name)
    assert not manager.jobs and not list(job.folder.path.parent.glob(f"{job.name}*"))
    worn_module = __import__(f"{addon.__name__}.scene.worn", fromlist=["worn"])
    command = worn_module._command
    worn_module._command = lambda place: [*command(place)[:-1], str(place / "nowhere")]
    try:
        bpy.ops.ddrep.texture()
        (job,) = manager.jobs.values()
        pump(lambda: job.state == "failed")
    finally:
        worn_module._command = command
    assert "The base colour of 'Cube' could not be baked" in job.problem.message
    assert "nowhere" in job.problem.message


def test_tiles_are_baked_and_kept_tile_by_tile(addon, cube, settings, tmp_path):
    """Two faces of the cube in each of three UDIM tiles, and one of the second tile's selected."""
    for number, corner in enumerate(cube.data.uv_layers[0].uv):
        corner.vector.x += number // 8
    cube.data.polygons[3].select = True
    made, tree, shader = material("tiled")
    tree.nodes.new("ShaderNodeTexImage").image = bpy.data.images.new("tiles", 16, 16, tiled=True)
    third = tree.nodes.new("ShaderNodeVectorMath")
    third.operation, third.inputs[1].default_value = "MULTIPLY", (1 / 3, 1, 1)
    tree.links.new(ramp(tree, 0.25), third.inputs[0])
    tree.links.new(third.outputs[0], shader.inputs["Base Color"])
    cube.data.materials[0] = made
    settings.keep = "FACES"
    folder = write(addon, tmp_path)
    told = json.loads((folder / "job.json").read_text())["texture"]
    assert told["udim"] is True and [each["object"] for each in told["base"]] == [f"Cube.{1001 + n}" for n in range(3)]
    assert [each["object"] for each in told["keep"]] == ["Cube.1002"]
    uv, face = texels()
    for number, each in enumerate(told["base"]):
        u, v = np.moveaxis(uv, -1, 0)
        expected = encoded(np.stack([(u + number) / 3, v, np.full_like(u, 0.25)], axis=-1))
        wrong = np.abs(pixels(folder / each["file"])[..., :3] - expected).max(axis=-1)
        assert wrong[np.isin(face, [2 * number, 2 * number + 1])].max() <= 1
    kept = png(folder / told["keep"][0]["file"])[..., 0] > 0
    assert kept[face == 3].all() and not kept[face == 2].any()


@pytest.mark.parametrize("change", ["nothing", "mapping", "other map", "linear", "two pictures"])
def test_only_what_is_shown_as_it_is_is_taken_as_it_is(addon, cube, settings, change):
    worn(cube)
    tree = cube.data.materials[0].node_tree
    node = next(each for each in tree.nodes if each.type == "TEX_IMAGE")
    if change == "mapping":
        tree.links.new(tree.nodes.new("ShaderNodeMapping").outputs[0], node.inputs["Vector"])
    elif change == "other map":
        cube.data.uv_layers.new(name="Other").active_render = True
        cube.data.uv_layers.active_index = 0
    elif change == "linear":
        node.image.colorspace_settings.name = "Non-Color"
    elif change == "two pictures":
        cube.data.materials.append(metal())
        cube.data.polygons[3].material_index = 1
    drafts = __import__(f"{addon.__name__}.scene.draft", fromlist=["draft"])
    made = drafts.texture_draft(bpy.context, [cube], "bundled")
    assert ("baked" in made.scene["objects"][0]) == (change != "nothing")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda cube: cube.data.materials.clear(), "wears no material"),
        (lambda cube: missing(cube), "that the material 'Material' shows cannot be found"),
    ],
)
def test_what_cannot_be_baked_is_told_at_once(addon, cube, settings, tmp_path, prepare, words):
    prepare(cube)
    with pytest.raises(RuntimeError, match=words):
        write(addon, tmp_path)
    assert not (tmp_path / "job").exists()


def missing(cube):
    tree = cube.data.materials[0].node_tree
    node, mixed = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeGamma")
    node.image = bpy.data.images.new("gone", 4, 4)
    node.image.source, node.image.filepath = "FILE", "//gone.png"
    tree.links.new(node.outputs[0], mixed.inputs[0])
    tree.links.new(mixed.outputs[0], tree.nodes["Principled BSDF"].inputs["Base Color"])
