# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything the artist can set. Saved with the scene (what to make) or kept by the window (what is going on)."""

import math
from collections.abc import Sequence
from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from . import changes
from .scene.sampling import LARGEST_SEED

TEXTURE_SIZES = (128, 256, 512, 1024, 2048, 4096)
PANORAMA_WIDTHS = (512, 1024, 2048, 4096, 8192)
_cameras_changed = changes.tell(changes.cameras)


def square_sizes(sizes: Sequence[int], default: int) -> Any:
    """The side of a texture, among `sizes` in pixels."""
    return EnumProperty(
        name="Resolution",
        description="Width and height of each texture in pixels",
        items=[(str(size), f"{size} px", f"{size} by {size} pixels") for size in sizes],
        default=str(default),
    )


class DDREP_PG_lora(bpy.types.PropertyGroup):
    """A LoRA, and how much it counts."""

    file: StringProperty(name="File", description="The .safetensors file", subtype="FILE_PATH")
    weight: FloatProperty(
        name="Weight",
        description="How much it counts: 1 as its author meant it, 0 not at all",
        default=1.0,
        min=-10.0,
        max=10.0,
        soft_min=0.0,
        soft_max=1.5,
        step=10,
        precision=2,
    )


class DDREP_PG_controlnet(bpy.types.PropertyGroup):
    """A ControlNet, what it is shown, and how much it counts."""

    folder: StringProperty(
        name="Folder", description="The ControlNet's folder in diffusers' format, or a hub id", subtype="DIR_PATH"
    )
    kind: EnumProperty(
        name="Shown",
        description="What it is shown",
        items=(
            ("AUTO", "By Its Name", "What its name says; depth where it says nothing"),
            ("depth", "Depth", "How near the mesh is"),
            ("normal", "Normals", "Which way the surface looks"),
            ("canny", "Edges", "Outlines and creases, one pixel wide"),
            ("lineart", "Lines", "The same lines as a pen draws them"),
            ("tile", "Texture", "The texture it starts from, or as far as it is made"),
        ),
        default="AUTO",
    )
    scale: FloatProperty(
        name="Scale",
        description="How much it counts beside the prompt: 0 not at all",
        default=1.0,
        min=0.0,
        max=10.0,
        soft_max=2.0,
        step=10,
        precision=2,
    )


class SamplingSettings:
    """What every task has in common (mixed into each task's own settings)."""

    prompt: StringProperty(
        name="Prompt",
        description="What it should look like, in words. Each camera may add words of its own",
        options={"TEXTEDIT_UPDATE"},
        maxlen=2000,
    )
    negative_prompt: StringProperty(
        name="Negative Prompt", description="What it should not look like, in words", maxlen=2000
    )
    seed: IntProperty(
        name="Seed",
        description="The same seed and settings give the same result on this machine",
        min=0,
        max=LARGEST_SEED,
    )
    seed_locked: BoolProperty(
        name="Lock Seed", description="Keep the seed. Unlocked, every job rolls the dice for a new one", default=False
    )
    samples: IntProperty(
        name="Samples",
        description="How many different results to draw, one after the other, each with the next seed",
        default=1,
        min=1,
        max=64,
        soft_max=16,
    )
    diversity: FloatProperty(
        name="How Different",
        description="How much the samples keep away from each other: 0 not at all, 1 clearly. They are made together, "
        "and need memory for all at once",
        default=0.0,
        min=0.0,
        max=100.0,
        soft_max=2.0,
    )
    quality: EnumProperty(
        name="Quality",
        description="How many steps the sampler takes",
        items=(
            ("DRAFT", "Draft", "Few steps: quick, to see where it goes"),
            ("STANDARD", "Standard", "As many steps as the prior suggests"),
            ("FINE", "Fine", "Many steps: slow, the best agreement between views"),
            ("CUSTOM", "Custom", "As many steps as you say"),
        ),
        default="STANDARD",
    )
    steps: IntProperty(name="Steps", description="Steps of the sampler", default=50, min=1, max=1000)
    prior: StringProperty(
        name="Prior",
        description="The image model to sample from: bundled, the folder of a diffusers model, or a hub id. "
        "Empty: the one in the preferences",
    )
    controlnet: StringProperty(
        name="ControlNet",
        description="A ControlNet for the prior: a folder or a hub id; then :depth, :normal, :canny or :lineart "
        "where its name does not say what it is shown, and :0.5 for how much it counts. Empty: none",
    )
    loras: CollectionProperty(
        type=DDREP_PG_lora, name="LoRAs", description="Files that bend the prior towards a style or a thing"
    )
    reference: PointerProperty(
        type=bpy.types.Image,
        name="Reference",
        description="A picture for the prior to look at, for its style. Wants an IP-Adapter of the prior's family",
    )
    reference_scale: FloatProperty(
        name="Scale",
        description="How much the reference picture counts beside the words",
        default=1.0,
        min=0.0,
        max=10.0,
        soft_max=2.0,
        step=10,
        precision=2,
    )
    ip_adapter: StringProperty(
        name="IP-Adapter",
        description="The .safetensors file that lets the prior look at a picture",
        subtype="FILE_PATH",
    )
    image_encoder: StringProperty(
        name="Image Encoder",
        description="The folder of the CLIP vision model that goes with it. Empty: image_encoder beside the IP-Adapter",
        subtype="DIR_PATH",
    )
    own_guidance: BoolProperty(
        name="Own Guidance", description="Set the guidance scale instead of using the prior's own", default=False
    )
    guidance_scale: FloatProperty(
        name="Guidance",
        description="How closely to follow the prompt: 1 is the plain model, more is stricter and less varied",
        default=7.5,
        min=0.0,
        max=100.0,
        soft_max=20.0,
    )
    own_eta: BoolProperty(
        name="Own Noise Share", description="Set the noise share instead of using the schedule's own", default=False
    )
    eta: FloatProperty(
        name="Noise Share",
        description="How much noise is drawn anew at each step: 0 is deterministic, 1 the most stochastic",
        default=0.75,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    device: EnumProperty(
        name="Device",
        description="What the engine computes on",
        items=(
            ("auto", "Automatic", "The graphics card if the engine can use it, else the processor"),
            ("cuda", "Graphics Card", "An NVIDIA card"),
            ("mps", "Apple Graphics", "A Mac's own graphics"),
            ("cpu", "Processor", "Slow, and works everywhere"),
        ),
        default="auto",
    )
    precision: EnumProperty(
        name="Precision",
        description="How exactly the prior computes",
        items=(
            ("auto", "Automatic", "What suits the device"),
            ("fp16", "Half", "Half the memory"),
            ("bf16", "Brain Half", "Half the memory, on recent cards"),
            ("fp32", "Full", "Exact, and twice the memory"),
        ),
        default="auto",
    )
    max_batch: IntProperty(
        name="Views at Once",
        description="The most views the prior sees at once: fewer need less memory. 0: as many as fit",
        default=0,
        min=0,
        max=256,
    )


class KeepingAway:
    """What tasks have that can be told what to be unlike."""

    unlike_kept: BoolProperty(
        name="Unlike What I Kept",
        description="Keep away from the results that are kept in this file: for a texture, those of the same objects",
        default=False,
    )


class ShownShape:
    """What tasks have that know a shape to show."""

    controlnets: CollectionProperty(
        type=DDREP_PG_controlnet, name="ControlNets", description="Networks that are shown the shape, beside the prior"
    )


class DDREP_PG_texture(SamplingSettings, KeepingAway, ShownShape, bpy.types.PropertyGroup):
    """Texture the selected meshes."""

    resolution: square_sizes(TEXTURE_SIZES, 1024)
    space: EnumProperty(
        name="Texture Space",
        description="Where the views of the texture agree with each other",
        items=(
            ("auto", "Automatic", "What suits the prior: in colours, where it has an autoencoder"),
            ("latent", "Latent", "In the prior's latents alone: faster with large priors, colours may drift"),
            ("image", "Image", "In colours too, every few steps: one colour from all sides"),
        ),
        default="auto",
    )
    depth: BoolProperty(
        name="Shape to ControlNet",
        description="Let ControlNets see the surface's depth, normals or lines: what is drawn follows the shape",
        default=True,
    )
    occluders: BoolProperty(
        name="Other Objects Hide It",
        description="Other visible meshes stand in the way: what they hide from every camera is not painted from there",
        default=False,
    )
    both_sides: BoolProperty(
        name="Paint Both Sides",
        description="Paint faces that are seen from behind, too: a room from inside whose faces look outward, a sheet",
        default=False,
        update=_cameras_changed,
    )
    detail: BoolProperty(
        name="Detail Pass",
        description="After the whole, look closely and paint what the cameras do not resolve. At most twice as long",
        default=False,
    )
    uv_source: EnumProperty(
        name="UV Map",
        description="Which UV map the texture is for. A mesh without any gets a new one",
        items=(
            ("ACTIVE", "Active", "Each object's active UV map"),
            ("NAMED", "By Name", "The UV map of this name, on every object"),
            ("NEW", "New", "A new UV map 'DDRep', made by the engine; yours stay as they are"),
        ),
        default="ACTIVE",
    )
    uv_name: StringProperty(
        name="UV Map Name", description="The UV map to use, on every selected object", default="UVMap"
    )
    material_target: EnumProperty(
        name="Into",
        description="Where the texture goes. Your own materials are kept, and 'Original' brings them back",
        items=(
            ("OBJECT", "Whole Object", "One new material stands in for all slots of the object"),
            ("SLOT", "Active Slot", "Only the faces of the active slot are painted; the others stand in the way"),
            ("SLOTS", "Each Slot", "A picture and a new material for each slot, for slots that share the UV square"),
        ),
        default="OBJECT",
        update=_cameras_changed,
    )
    keep: EnumProperty(
        name="Keep",
        description="What of the picture that the object wears now stays, to the last bit; the rest is painted to suit",
        items=(
            ("NONE", "Nothing", "Everything is painted anew"),
            ("FACES", "Selected Faces", "The faces that are selected (choose them in Edit Mode)"),
            ("GROUP", "Vertex Group", "The faces whose vertices belong to a vertex group"),
            ("SLOT", "Active Slot", "The faces that wear the active material slot"),
            ("IMAGE", "Mask", "Where a picture in the UV map is white"),
        ),
        default="NONE",
    )
    keep_group: StringProperty(name="Vertex Group", description="Its faces stay as they are")
    keep_image: PointerProperty(
        type=bpy.types.Image, name="Mask", description="White stays, black is painted; of the texture's size"
    )
    from_texture: BoolProperty(
        name="Start from What It Wears",
        description="Change the present picture instead of starting from nothing; a node graph is baked into one first",
        default=False,
    )
    change: FloatProperty(
        name="Change",
        description="How much of the present picture may change: little keeps its forms, 1 nearly forgets it",
        default=0.6,
        min=0.05,
        max=1.0,
        subtype="FACTOR",
    )
    symmetry: EnumProperty(
        name="Symmetry",
        description="The object is its own mirror image about this axis of the world: both sides share their texels",
        items=(
            ("NONE", "None", "Each side has a picture of its own"),
            ("X", "X", "Left and right, of what faces -Y"),
            ("Y", "Y", "Front and back"),
            ("Z", "Z", "Above and below"),
        ),
        default="NONE",
    )
    palette_image: PointerProperty(
        type=bpy.types.Image,
        name="Palette",
        description="Move the colours of the result to this picture's: their mean and spread. Statistics, no style",
    )
    palette_amount: FloatProperty(
        name="Amount", description="How far towards the palette", default=1.0, min=0.05, max=1.0, subtype="FACTOR"
    )
    intrinsics: StringProperty(
        name="Surface Model",
        description="The folder of an intrinsic-image model in diffusers' format (Marigold): roughness and metallic "
        "maps. Empty: none",
        subtype="DIR_PATH",
    )
    normals_model: StringProperty(
        name="Normals Model",
        description="The folder of a model of normals in diffusers' format (Marigold): a normal map. Empty: none",
        subtype="DIR_PATH",
    )
    delight: BoolProperty(
        name="Without Light",
        description="The base colour is what the surface model says of albedo, without the light that was painted",
        default=False,
    )
    pin_camera: PointerProperty(
        type=bpy.types.Object,
        name="Camera",
        description="The camera whose view is given",
        poll=lambda self, thing: thing.type == "CAMERA",
    )
    pin_image: PointerProperty(
        type=bpy.types.Image,
        name="Picture",
        description="What that camera sees: a render, a photograph, a painting over. Where it is transparent, it "
        "says nothing",
    )
    pin_weight: FloatProperty(
        name="Weight", description="How far the picture is believed", default=1.0, min=0.05, max=1.0, subtype="FACTOR"
    )
    storage: EnumProperty(
        name="Keep Texture",
        description="Where the picture is kept",
        items=(
            ("PACK", "In the .blend", "Packed into the file"),
            ("BESIDE", "Beside the .blend", "As a PNG in the folder 'textures' beside the file"),
        ),
        default="PACK",
    )
    coverage_map: BoolProperty(
        name="Bring the Coverage Map",
        description="Add the map of what the cameras saw to the material as a Non-Color image, to mask with",
        default=False,
    )


class DDREP_PG_generate(SamplingSettings, KeepingAway, ShownShape, bpy.types.PropertyGroup):
    """A new object at the 3D cursor."""

    size: FloatProperty(
        name="Size",
        description="The new object's longest side",
        default=1.0,
        min=0.001,
        soft_max=100.0,
        max=1e6,
        unit="LENGTH",
    )
    faces: IntProperty(
        name="Faces", description="About how many faces the mesh gets", default=20_000, min=100, max=2_000_000
    )
    grid: IntProperty(
        name="Volume Grid",
        description="Detail of the volume that is sampled: cells along a side",
        default=100,
        min=8,
        max=512,
    )
    views: IntProperty(name="Views", description="Cameras around the new object", default=8, min=2, max=128)
    resolution: square_sizes(TEXTURE_SIZES, 1024)


class DDREP_PG_panorama(SamplingSettings, bpy.types.PropertyGroup):
    """A panorama around the scene."""

    width: EnumProperty(
        name="Width",
        description="Width of the panorama in pixels; it is half as high",
        items=[(str(size), f"{size} px", f"{size} by {size // 2} pixels") for size in PANORAMA_WIDTHS],
        default="2048",
    )
    hdr: BoolProperty(
        name="High Dynamic Range",
        description="Ask for light that is brighter than white, to light the scene with",
        default=False,
    )
    target: EnumProperty(
        name="Into",
        description="Where the panorama goes. Your own world is kept, and 'Original' brings it back",
        items=(
            ("WORLD", "New World", "A new world that shows the panorama stands in for the scene's"),
            ("LIBRARY", "New World, Not Shown", "A new world is made and kept, and the scene's stays"),
        ),
        default="WORLD",
    )
    strength: FloatProperty(
        name="Strength", description="How strongly the panorama lights the scene", default=1.0, min=0.0, soft_max=10.0
    )


class DDREP_PG_image(SamplingSettings, bpy.types.PropertyGroup):
    """A material that repeats without a seam."""

    resolution: square_sizes(TEXTURE_SIZES, 1024)
    target: EnumProperty(
        name="Into",
        description="Where the material goes. Your own is kept, and 'Original' brings it back",
        items=(
            ("ACTIVE", "Active Slot", "The active material slot of the active object shows it"),
            ("LIBRARY", "New Material, Not Shown", "A new material is made and kept, and no object changes"),
        ),
        default="ACTIVE",
    )
    mapping: EnumProperty(
        name="Laid by",
        description="How the picture lies on a surface",
        items=(
            ("UV", "UV Map", "By the active UV map"),
            ("BOX", "Box", "From six sides, in the object's own units: no UV map is needed"),
        ),
        default="UV",
    )
    repeat: FloatProperty(
        name="Repeat",
        description="How often it repeats along a side of the UV map, or along a unit of the object",
        default=1.0,
        min=0.001,
        soft_min=0.1,
        soft_max=20.0,
        max=10_000.0,
    )


class DDREP_PG_cameras(bpy.types.PropertyGroup):
    """Which cameras look."""

    source: EnumProperty(
        name="Cameras",
        description="Whose eyes the texture is painted for",
        items=(
            ("SCENE", "Scene", "The ticked cameras of the scene, each with its importance and words"),
            ("ACTIVE", "Active", "The active camera alone: best for one shot"),
            ("FRAMES", "Animated", "The active camera, at the frames of its animation"),
            ("ORBIT", "Orbit", "A ring of cameras around the selection; the scene gets none of them"),
        ),
        default="SCENE",
        update=_cameras_changed,
    )
    frame_step: IntProperty(
        name="Every",
        description="Use every n-th frame between the scene's first and last",
        default=10,
        min=1,
        max=10_000,
        update=_cameras_changed,
    )
    orbit_count: IntProperty(
        name="Cameras", description="Cameras in the orbit", default=8, min=1, max=128, update=_cameras_changed
    )
    placement: EnumProperty(
        name="Placed",
        description="Where the cameras stand",
        items=(
            ("AROUND", "Around", "A ring that rises and falls between two heights"),
            ("FRONT_BACK", "Front and Back", "Two cameras"),
            ("SIX_SIDES", "Six Sides", "Front, left, back, right, top and bottom"),
            ("COVERAGE", "By Coverage", "Those of many places that see most between them; the engine chooses them"),
        ),
        default="AROUND",
        update=_cameras_changed,
    )
    orthographic: BoolProperty(
        name="Orthographic", description="Look without perspective", default=False, update=_cameras_changed
    )
    orbit_low: FloatProperty(
        name="Lowest",
        description="Height of every other camera above the horizon",
        default=math.radians(15.0),
        min=math.radians(-89.0),
        max=math.radians(89.0),
        subtype="ANGLE",
        update=_cameras_changed,
    )
    orbit_high: FloatProperty(
        name="Highest",
        description="Height of the cameras between them above the horizon",
        default=math.radians(45.0),
        min=math.radians(-89.0),
        max=math.radians(89.0),
        subtype="ANGLE",
        update=_cameras_changed,
    )
    front: EnumProperty(
        name="Front",
        description="Which way the object faces: each view is told which side it sees, and an orbit begins in front",
        items=(
            ("AUTOMATIC", "Automatic", "As the active object's own -Y axis points, seen from above"),
            ("MINUS_Y", "-Y", "Towards the world's -Y, where Blender's front view looks from"),
            ("PLUS_X", "+X", "Towards the world's +X"),
            ("PLUS_Y", "+Y", "Towards the world's +Y"),
            ("MINUS_X", "-X", "Towards the world's -X"),
        ),
        default="AUTOMATIC",
        update=_cameras_changed,
    )
    index: IntProperty(
        name="Camera", description="The camera whose settings are shown", default=0, options={"SKIP_SAVE"}
    )
    automatic_coverage: BoolProperty(
        name="Measure by Itself",
        description="Measure again what the cameras see whenever the selection or a camera changes",
        default=True,
    )


class DDREP_PG_scene(bpy.types.PropertyGroup):
    """What to make from this scene."""

    texture: PointerProperty(type=DDREP_PG_texture, description="Settings of texturing")
    generate: PointerProperty(type=DDREP_PG_generate, description="Settings of generating an object")
    panorama: PointerProperty(type=DDREP_PG_panorama, description="Settings of making a panorama")
    image: PointerProperty(type=DDREP_PG_image, description="Settings of making a material that repeats")
    cameras: PointerProperty(type=DDREP_PG_cameras, description="Which cameras look")
    automatic_import: BoolProperty(
        name="Bring Results In",
        description="Put a finished result into the scene by itself. Otherwise it waits in Jobs",
        default=True,
    )
    live_preview: BoolProperty(
        name="Live Preview",
        description="Show the texture on the object while it is sampled. It is only drawn in the viewport: "
        "no material and no mesh is touched",
        default=True,
    )
    previous_world: PointerProperty(
        type=bpy.types.World, name="Original World", description="The world before a panorama stood in for it"
    )


class DDREP_PG_slot(bpy.types.PropertyGroup):
    """A material slot as it was before a texture came."""

    material: PointerProperty(
        type=bpy.types.Material, name="Material", description="The object's own material in this slot before"
    )
    link: StringProperty(name="Link", description="Whether the slot belonged to the object or to its mesh before")


class DDREP_PG_object(bpy.types.PropertyGroup):
    """What is remembered with an object: a camera's part in the job, or a mesh's materials from before."""

    use: BoolProperty(name="Use", description="Paint what this camera sees", default=True, update=_cameras_changed)
    weight: FloatProperty(
        name="Importance",
        description="How much this camera counts where several see the same place; 0 looks but does not paint",
        default=1.0,
        min=0.0,
        soft_max=10.0,
        max=1000.0,
        update=_cameras_changed,
    )
    prompt: StringProperty(name="Words", description="Words for this camera alone, added to the prompt", maxlen=1000)
    reference: PointerProperty(
        type=bpy.types.Image,
        name="Reference",
        description="A picture for this view alone to look at, instead of the one that all others look at",
    )
    own_resolution: BoolProperty(
        name="Own Resolution",
        description="Give this camera a picture size of its own instead of the scene's",
        default=False,
        update=_cameras_changed,
    )
    width: IntProperty(
        name="Width", description="This camera's picture width in pixels", default=1024, min=4, max=16384,
        update=_cameras_changed,
    )  # fmt: skip
    height: IntProperty(
        name="Height", description="This camera's picture height in pixels", default=1024, min=4, max=16384,
        update=_cameras_changed,
    )  # fmt: skip
    original_slots: CollectionProperty(
        type=DDREP_PG_slot, name="Original Slots", description="The material slots before a texture came"
    )
    original_kept: BoolProperty(
        name="Original Kept", description="Whether the original materials are remembered", default=False
    )
    job: StringProperty(name="Job", description="The job whose result this object shows")
    sample: IntProperty(name="Sample", description="Which sample of that job", default=0, min=0)


class DDREP_PG_job(bpy.types.PropertyGroup):
    """A line of the job list; the truth is in the job's folder."""

    state: StringProperty(name="State", description="What the job is doing")
    task: StringProperty(name="Task", description="texture, generate, panorama or image")
    prompt: StringProperty(name="Prompt", description="What was asked for")
    fraction: FloatProperty(name="Progress", description="How much is done", min=0.0, max=1.0)
    words: StringProperty(name="Status", description="Progress in words")
    problem: StringProperty(name="Problem", description="What went wrong, and what helps")
    imported: BoolProperty(name="In the Scene", description="Whether the result has been brought in")


class DDREP_PG_window(bpy.types.PropertyGroup):
    """What is going on now. Not saved."""

    jobs: CollectionProperty(
        type=DDREP_PG_job, name="Jobs", description="The queue and its history", options={"SKIP_SAVE"}
    )
    job_index: IntProperty(name="Job", description="The job that is shown", default=0, options={"SKIP_SAVE"})
    problem: StringProperty(
        name="Problem", description="What stood in the way of the last button", options={"SKIP_SAVE"}
    )
    warnings: StringProperty(name="Warnings", description="What to know about the last job", options={"SKIP_SAVE"})
    coverage: FloatProperty(
        name="Seen",
        description="Share of the selected surface that the chosen cameras see",
        default=-1.0,
        options={"SKIP_SAVE"},
    )
    coverage_behind: FloatProperty(
        name="Seen from Behind",
        description="Share of the selected surface that is seen only from behind",
        default=0.0,
        options={"SKIP_SAVE"},
    )
    coverage_words: StringProperty(name="Coverage", description="What the estimate says", options={"SKIP_SAVE"})
    engine_words: StringProperty(name="Engine", description="What is known of the engine", options={"SKIP_SAVE"})
    engine_problem: StringProperty(name="Engine Problem", description="Why there is no engine", options={"SKIP_SAVE"})
    setup_words: StringProperty(name="Set-Up", description="What the set-up is doing", options={"SKIP_SAVE"})
    setup_fraction: FloatProperty(
        name="Set-Up Progress", description="How far the set-up is", default=-1.0, options={"SKIP_SAVE"}
    )


CLASSES = (
    DDREP_PG_lora,
    DDREP_PG_controlnet,
    DDREP_PG_texture,
    DDREP_PG_generate,
    DDREP_PG_panorama,
    DDREP_PG_image,
    DDREP_PG_cameras,
    DDREP_PG_scene,
    DDREP_PG_slot,
    DDREP_PG_object,
    DDREP_PG_job,
    DDREP_PG_window,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.ddrep = PointerProperty(
        type=DDREP_PG_scene, name="DDRep", description="What to make from this scene"
    )
    bpy.types.Object.ddrep = PointerProperty(
        type=DDREP_PG_object, name="DDRep", description="This object's part in jobs"
    )
    bpy.types.WindowManager.ddrep = PointerProperty(
        type=DDREP_PG_window, name="DDRep", description="What is going on now", options={"SKIP_SAVE"}
    )


def unregister() -> None:
    del bpy.types.WindowManager.ddrep, bpy.types.Object.ddrep, bpy.types.Scene.ddrep
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
