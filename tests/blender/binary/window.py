"""Runs in a Blender with a window: sets a scene, then asks for clicks and keys and looks what became of them.

Written as a generator that a timer advances, for the window must stay alive between two steps.
"""

import collections
import copy
import json
import math
import os
import sys
import time
import traceback
from pathlib import Path

import bpy
from bpy_extras.view3d_utils import location_3d_to_region_2d
from mathutils import Color, Vector

WORK = Path(os.environ["DDREP_TEST_FOLDER"])
PROMPT = os.environ.get("DDREP_GUI_PROMPT", "a wooden duck")
SECONDS = float(os.environ.get("DDREP_GUI_SECONDS", "900"))
FLAT = (180, 90, 40)  # sRGB
CHECKER = ((0.8, 0.1, 0.05), (0.05, 0.1, 0.6))  # linear
CLOSED = ("DDREP_PT_cameras", "DDREP_PT_generate", "DDREP_PT_image", "DDREP_PT_panorama")
LAYOUT = json.loads(os.environ.get("DDREP_GUI_LAYOUT", "{}"))
bpy.context.preferences.view.show_splash = False
bpy.context.preferences.view.show_tooltips = False
report = {"typed": False, "clicked": False, "previewed": False, "undone": False, "state": "", "problem": ""}
report.update(imported=False, longest={}, longest_work={})


def hand(*deeds):
    """Ask for clicks and keys, and wait until they are done."""
    part = WORK / "hand.part"
    part.write_text("".join(f"{deed}\n" for deed in deeds))
    part.rename(WORK / "hand")
    while (WORK / "hand").exists():
        yield 0.1
    yield 0.3


def set_scene():
    """A figure on a floor, and three cameras that look at it."""
    for thing in list(bpy.data.objects):
        bpy.data.objects.remove(thing)
    bpy.ops.wm.obj_import(filepath=str(WORK / "figure.obj"))
    figure = bpy.context.object
    figure.name = "Figure"
    bpy.ops.object.transform_apply(location=False)
    corners = [Vector(corner) for corner in figure.bound_box]
    size = max(max(corner[axis] for corner in corners) - min(corner[axis] for corner in corners) for axis in range(3))
    figure.scale = (2 / size,) * 3
    figure.location.z = -min(corner.z for corner in corners) * 2 / size
    bpy.context.view_layer.update()
    middle = sum((figure.matrix_world @ corner for corner in corners), Vector()) / 8
    places = (("Front", -25, 15), ("Left", -110, 35), ("Right", 65, 35), ("Back", 160, 20))
    for name, around, above in places:
        data = bpy.data.cameras.new(name)
        data.lens = 65
        camera = bpy.data.objects.new(name, data)
        angle, height = math.radians(around), math.radians(above)
        level = 5.5 * math.cos(height)
        away = Vector((level * math.sin(angle), -level * math.cos(angle), 5.5 * math.sin(height)))
        camera.location = middle + away
        way = middle - camera.location
        camera.rotation_euler = way.to_track_quat("-Z", "Y").to_euler()
        bpy.context.scene.collection.objects.link(camera)
        bpy.context.scene.camera = bpy.context.scene.camera or camera
    bpy.context.scene.render.resolution_x = bpy.context.scene.render.resolution_y = 512
    for thing in bpy.data.objects:
        thing.select_set(thing is figure)
    bpy.context.view_layer.objects.active = figure
    settings = bpy.context.scene.ddrep.texture
    settings.quality, settings.resolution = "DRAFT", "512"
    if steps := os.environ.get("DDREP_GUI_STEPS"):
        settings.quality, settings.steps = "CUSTOM", int(steps)
    settings.samples = int(os.environ.get("DDREP_GUI_SAMPLES", "2"))
    settings.seed, settings.seed_locked = 3, True
    return figure


def view():
    """The 3D viewport's area, sidebar region and space."""
    area = next(area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == "VIEW_3D")
    return area, next(region for region in area.regions if region.type == "UI"), area.spaces.active


def on_screen(region, x, y):
    """A point of a region (from its upper left) in the screen's pixels."""
    height = bpy.context.window_manager.windows[0].height
    return f"{region.x + x} {height - (region.y + region.height) + y}"


def session(addon):
    """The whole visit."""
    figure = set_scene()
    preferences = addon.preferences.preferences()
    preferences.engine = os.environ["DDREP_TEST_ENGINE"]
    preferences.jobs_folder = str(WORK / "jobs")
    for kind in ("DOPESHEET_EDITOR", "OUTLINER", "PROPERTIES"):  # room for the tab to be seen whole
        window = bpy.context.window_manager.windows[0]
        for other in [each for each in window.screen.areas if each.type == kind]:
            with bpy.context.temp_override(window=window, area=other):
                bpy.ops.screen.area_close()
        yield 0.3
    area, sidebar, space = view()
    space.show_region_ui = True
    space.shading.type, space.shading.color_type = "SOLID", "TEXTURE"
    space.overlay.show_floor = True
    space.overlay.show_extras = False
    space.shading.light = "STUDIO"
    space.overlay.show_axis_x = space.overlay.show_axis_y = space.overlay.show_cursor = False
    space.region_3d.view_distance = 5.2
    space.region_3d.view_location = (0.5, 0, 0.8)
    space.region_3d.view_rotation = Vector((0.55, 1, -0.3)).to_track_quat("-Z", "Y")
    yield 1.0
    sidebar.active_panel_category = "DDRep"
    yield 0.5
    area.tag_redraw()
    yield 1.0
    x, y = LAYOUT.get("prompt", (150, 69))
    yield from hand(f"click {on_screen(sidebar, x, y)}", "key ctrl+a", f"type {PROMPT}", "key Return")
    settings = bpy.context.scene.ddrep.texture
    report["typed"] = settings.prompt == PROMPT
    window = bpy.context.window_manager.ddrep
    began = time.monotonic()
    while window.coverage < 0 and time.monotonic() - began < 30:  # it is measured by itself
        yield 0.5
    yield from hand("move 500 700", "picture idle")
    report["coverage"] = window.coverage
    x, y = LAYOUT.get("button", (150, 313 if settings.quality == "CUSTOM" else 290))
    manager = addon.runtime.current().manager
    for _ in range(4):  # a window that is busy drawing may miss a click
        yield from hand(f"move {on_screen(sidebar, x, y + 3)}", f"click {on_screen(sidebar, x, y)}")
        began = time.monotonic()
        while not manager.jobs and time.monotonic() - began < 8:
            yield 0.2
        if manager.jobs:
            break
    report["clicked"] = bool(manager.jobs)
    if not manager.jobs:
        report["problem"] = window.problem
        yield from hand("picture not_clicked")
        return
    (job,) = manager.jobs.values()
    slices = addon.runtime.current().slices
    slices.longest.clear()
    slices.longest_work.clear()
    began, pictured = time.monotonic(), False
    while job.active and time.monotonic() - began < SECONDS:
        report["previewed"] = report["previewed"] or bool(addon.viewport_preview.shown())
        wanted = float(os.environ.get("DDREP_GUI_PICTURE_AT", "0.55"))
        if not pictured and report["previewed"] and job.progress.fraction >= wanted:
            pictured = True
            yield from hand("picture running")
        yield 0.2
    while job.arrival and time.monotonic() - began < SECONDS:  # it is brought in a piece a slice
        yield 0.2
    yield 1.0
    report.update(copy.deepcopy(vars(slices)), load=os.getloadavg()[0])
    slices.longest.clear()
    slices.longest_work.clear()
    report.update(state=job.state, problem=job.problem.message if job.problem else "", imported=job.imported)
    yield from hand("move 500 700", "picture done")
    shown = figure.material_slots[0].material.name if figure.material_slots else ""
    bpy.ops.ed.undo()
    yield 1.0
    figure = bpy.data.objects["Figure"]
    report["undone"] = bool(shown) and not figure.material_slots
    bpy.ops.ed.redo()
    yield 1.0
    report["redone"] = bool(bpy.data.objects["Figure"].material_slots)
    yield from flat_preview(addon, area, space)
    yield from steered(addon, area, sidebar, space)


def opened(addon, *names):
    """Sub-panels of the tab stand open at its end, drawn by their own code; others make room for them."""
    others = [each for each in addon.panels.CLASSES if each.__name__.startswith(CLOSED)]
    for panel in others:
        bpy.utils.unregister_class(panel)
    made = []
    for name in names:
        panel = getattr(addon.panels, name)
        told = {key: getattr(panel, key) for key in ("bl_space_type", "bl_region_type", "bl_category", "bl_label")}
        made.append(type(f"{name}_open", (bpy.types.Panel,), {**told, "draw": panel.draw, "bl_idname": f"{name}_open"}))
        bpy.utils.register_class(made[-1])
    return made, others


def press(area, operator, **told):
    """An operator as a button of the sidebar calls it."""
    window = bpy.context.window_manager.windows[0]
    with bpy.context.temp_override(window=window, area=area):
        return operator("EXEC_DEFAULT", True, **told)


def finished(addon, area, operator, **told):
    """Press, and wait for the job that comes of it and for its result. Returns the job."""
    jobs = addon.runtime.current().manager.jobs
    before, began = set(jobs), time.monotonic()
    press(area, operator, **told)
    (name,) = set(jobs) - before
    while (jobs[name].active or jobs[name].arrival) and time.monotonic() - began < SECONDS:
        yield 0.2
    yield 1.0
    return jobs[name]


def pixels_of(path):
    """[H * W, 4] of a picture file."""
    image = bpy.data.images.load(str(path))
    found = [round(255 * each) for each in image.pixels[:]]
    bpy.data.images.remove(image)
    return [tuple(found[start : start + 4]) for start in range(0, len(found), 4)]


def steered(addon, area, sidebar, space):
    """Faces are selected and kept, the result is painted closely, and one of its views comes as a picture to paint."""
    panels, others = opened(addon, "DDREP_PT_texture_keep", "DDREP_PT_texture_surface")
    figure = bpy.data.objects["Figure"]
    settings = bpy.context.scene.ddrep.texture
    highest = max(corner[2] for corner in figure.bound_box)
    lowest = min(corner[2] for corner in figure.bound_box)
    for polygon in figure.data.polygons:
        polygon.select = polygon.center.z > lowest + 0.6 * (highest - lowest)
    press(area, bpy.ops.object.mode_set, mode="EDIT")
    yield 1.0
    yield from hand("picture selected")
    press(area, bpy.ops.object.mode_set, mode="OBJECT")
    settings.keep, settings.from_texture, settings.prompt = "FACES", False, "a duck of red bricks"
    settings.samples, settings.quality, settings.steps = 1, "CUSTOM", 4
    area.tag_redraw()
    yield 0.5
    job = yield from finished(addon, area, bpy.ops.ddrep.texture)
    report["kept"] = {"state": job.state, "problem": job.problem.message if job.problem else ""}
    yield from hand("picture kept")
    if job.state != "done":
        return
    inputs, (texture,) = job.folder.path / "inputs", (job.folder.path / "outputs").glob("texture*.png")
    mask, before, after = (pixels_of(each) for each in (inputs / "keep_0.png", inputs / "base_0.png", texture))
    stays = [number for number, each in enumerate(mask) if each[0] > 127]
    report["kept"] |= {
        "texels": len(stays),
        "changed": sum(before[number][:3] != after[number][:3] for number in stays),
        "painted": sum(one[:3] != other[:3] for one, other in zip(before, after, strict=True)),
    }
    settings.keep = "NONE"
    job = yield from finished(addon, area, bpy.ops.ddrep.detail_sample, job=job.name, sample=0)
    told = job.folder.result().get("samples", [{}])[0].get("detail", {}) if job.state == "done" else {}
    report["detail"] = {"state": job.state, "problem": job.problem.message if job.problem else "", **told}
    yield from hand("picture detail")
    if job.state != "done":
        return
    yield from from_a_graph(addon, area, figure)
    yield from tiling(addon, area, figure)
    press(area, bpy.ops.ddrep.repaint_view, job=job.name, sample=0, camera="Front")
    began = time.monotonic()
    while addon.runtime.current().painting is not None and time.monotonic() - began < SECONDS:
        yield 0.2
    images = [image for image, *_ in addon.operators.repaint.paintings()]
    report["view"] = list(images[0].size) if images else bpy.context.window_manager.ddrep.problem
    if images:
        press(area, bpy.ops.ddrep.paint_view, image=images[0].name)
        yield 2.0
        yield from hand("picture repaint")
    report["longest_work_steered"] = addon.runtime.current().slices.longest_work
    for panel in panels:
        bpy.utils.unregister_class(panel)
    for panel in others:
        bpy.utils.register_class(panel)


def from_a_graph(addon, area, figure):
    """A job that begins from nodes, which another Blender bakes first: a checker of two colours."""
    material = bpy.data.materials.new("Graph")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    checker, coordinates = nodes.new("ShaderNodeTexChecker"), nodes.new("ShaderNodeTexCoord")
    for name, color in zip(("Color1", "Color2"), CHECKER, strict=True):
        checker.inputs[name].default_value = (*color, 1.0)
    links.new(coordinates.outputs["UV"], checker.inputs["Vector"])
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    links.new(checker.outputs["Color"], shader.inputs["Base Color"])
    figure.material_slots[0].material = material
    settings = bpy.context.scene.ddrep.texture
    settings.from_texture = True
    job = yield from finished(addon, area, bpy.ops.ddrep.texture)
    settings.from_texture = False
    report["baked"] = {"state": job.state, "problem": job.problem.message if job.problem else ""}
    yield from hand("picture baked")
    if job.state != "done":
        return
    (base,) = (job.folder.path / "inputs").glob("base*.png")
    shown = collections.Counter(each[:3] for each in pixels_of(base)).most_common(2)
    wanted = [tuple(round(255 * each) for each in Color(color).from_scene_linear_to_srgb()) for color in CHECKER]
    report["baked"] |= {"colours": [color for color, _ in shown], "wanted": wanted}


def tiling(addon, area, figure):
    """A material that repeats, in the active slot."""
    settings = bpy.context.scene.ddrep.image
    settings.prompt, settings.quality, settings.steps, settings.resolution = "red bricks", "CUSTOM", 8, "256"
    settings.repeat = 4.0
    job = yield from finished(addon, area, bpy.ops.ddrep.image)
    report["tiling"] = {"state": job.state, "problem": job.problem.message if job.problem else ""}
    worn = figure.material_slots[0].material
    report["tiling"]["worn"] = bool(worn and str(worn.get("ddrep_result", "")).endswith("/tile"))
    yield from hand("picture tiling")


def flat_preview(addon, area, space):
    """A preview of one known colour, and where on the screen the figure shows it."""
    figure = bpy.data.objects["Figure"]
    image = bpy.data.images.new("flat", 64, 64)
    image.pixels.foreach_set([*(each / 255 for each in FLAT), 1.0] * 64 * 64)
    image.filepath_raw, image.file_format = str(WORK / "flat_texture.png"), "PNG"
    image.save()
    middle = sum((figure.matrix_world @ Vector(corner) for corner in figure.bound_box), Vector()) / 8
    region = next(each for each in area.regions if each.type == "WINDOW")
    x, y = location_3d_to_region_2d(region, space.region_3d, middle)
    report["flat"] = list(FLAT)
    report["flat_at"] = [int(each) for each in on_screen(region, int(x), region.height - int(y)).split()]
    sys.modules[f"{addon.__name__}.runtime.pump"].show_previews = lambda: None  # it clears what no job has sent
    addon.viewport_preview.show("Figure", figure.data.uv_layers.active.name, WORK / "flat_texture.png")
    area.tag_redraw()
    yield 2.0
    yield from hand("picture flat")
    addon.viewport_preview.clear()


def start():
    addon = sys.modules["bl_ext.user_default.ddrep"]
    steps = session(addon)

    def advance():
        try:
            return next(steps)
        except StopIteration:
            pass
        except Exception:
            report["problem"] = traceback.format_exc()
            traceback.print_exc()
        (WORK / "report.json").write_text(json.dumps(report))
        bpy.ops.wm.quit_blender()
        return None

    bpy.app.timers.register(advance, first_interval=0.5)


bpy.app.timers.register(start, first_interval=2.0)
