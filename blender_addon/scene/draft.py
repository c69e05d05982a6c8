# SPDX-License-Identifier: GPL-3.0-or-later
"""From the scene and its settings to a job. The button, Write Job and the command line all come through here."""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..engine.folder import Piece
from ..problems import Problem
from .adapters import controlnet, lora, reference
from .cameras import View, chosen_cameras, chosen_views, left_to_engine, require_cameras
from .front import front_degrees
from .keep import keeping, pinned
from .meshes import CapturedMesh, capture, job_names, obj_pieces, require_textureable
from .sampling import LARGEST_SEED, STEPS
from .slots import Target, split
from .surface import surface_block

SCHEMA_VERSION = 1
MOST_OBJECTS = 64
MOST_INSTANCES = 20_000  # looked at: a scattered forest must not hold the button up


@dataclass
class Draft:
    """A job that is not written yet. Holds copies only: the scene may change while it is written."""

    request: dict[str, Any]
    scene: dict[str, Any]
    files: dict[str, Iterable[Piece]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What the job is called: by its prompt, or its picture."""
        return self.request.get("prompt") or self.scene.get("title", "")


def targets(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The objects that would be textured, by name."""
    return sorted(context.selected_objects, key=lambda thing: thing.name)


def require_texture(context: bpy.types.Context, objects: Sequence[bpy.types.Object]) -> None:
    """Whether texturing could begin, by all that is cheap to know: the panel asks at every redraw.

    Raises:
        Problem: it could not, with what to do.
    """
    settings = context.scene.ddrep.texture
    if not objects:
        raise Problem("Nothing is selected. Select the meshes to texture.")
    if len(objects) > MOST_OBJECTS:
        raise Problem(f"{len(objects)} objects are too many for one job. Select {MOST_OBJECTS} at most.")
    for thing in objects:
        require_textureable(thing, settings.uv_source, settings.uv_name)
    _require_own_meshes(objects, settings.uv_source)
    require_prompt(settings)
    require_cameras(context.scene)
    require_storage(settings)


def require_scene(context: bpy.types.Context, task: str) -> None:
    """Whether the scene allows a task, by what is cheap to know. Raises a Problem when not."""
    if task == "texture":
        require_object_mode(context)
        require_texture(context, targets(context))
    elif task == "image":
        require_prompt(context.scene.ddrep.image)
        require_wearer(context)
    else:
        require_prompt(getattr(context.scene.ddrep, task))


def require_wearer(context: bpy.types.Context) -> None:
    """Whether the active object could wear a material that repeats. Raises a Problem when not."""
    settings, thing = context.scene.ddrep.image, context.active_object
    if settings.target != "ACTIVE":
        return
    if thing is None or thing.type != "MESH":
        raise Problem("No mesh is active to wear the material. Choose one, or let nothing show it (Into).")
    if thing.library is not None or thing.override_library is not None:
        raise Problem(f"'{thing.name}' is linked from another file, so its materials can't be changed here.")
    require_object_mode(context)


def require_prompt(settings: Any) -> None:
    """Raises a Problem when there are no words to go by."""
    if not settings.prompt.strip():
        raise Problem("The prompt is empty. Say what it should look like.")


def require_storage(settings: Any) -> None:
    """Raises a Problem when there is no folder beside the .blend, for it was never saved."""
    if settings.storage == "BESIDE" and not bpy.data.filepath:
        raise Problem(
            "This .blend was never saved, so there is no folder beside it. Save it, or keep textures in the .blend.",
            "ddrep.pack_textures",
            "Keep them in the .blend",
        )


def require_object_mode(context: bpy.types.Context) -> None:
    """Raises a Problem in any mode whose changes are not in the mesh yet."""
    if context.mode != "OBJECT":
        mode = context.mode.replace("_", " ").title()
        raise Problem(f"Blender is in {mode} Mode. Go back to Object Mode first.", "ddrep.leave_mode", "Object Mode")


def _require_own_meshes(objects: Sequence[bpy.types.Object], uv_source: str) -> None:
    seen: dict[Any, str] = {}
    for thing in objects:
        if not thing.data.polygons or (uv_source != "NEW" and thing.data.uv_layers):
            continue
        if thing.data in seen:
            raise Problem(
                f"'{thing.name}' and '{seen[thing.data]}' share one mesh, which can get only one new UV map. "
                "Give each its own mesh, or unwrap the mesh they share.",
                "ddrep.make_single_user",
                f"Give '{thing.name}' its own mesh",
                object_name=thing.name,
            )
        seen[thing.data] = thing.name


def texture_draft(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    default_prior: str,
    front: float | None = None,
    words: str | None = None,
) -> Draft:
    """Texture `objects` as the scene's settings say; by other `words`, or facing `front` degrees, where that is given.

    Raises:
        Problem: the scene or a setting does not allow it.
    """
    require_object_mode(context)
    require_texture(context, objects)
    scene = context.scene
    settings = scene.ddrep.texture
    depsgraph = context.evaluated_depsgraph_get()
    others = _occluders(context, objects) if settings.occluders else []
    wanted: list[Target] = []
    in_the_way: list[CapturedMesh] = []
    for thing in objects:
        group = settings.keep_group if settings.keep == "GROUP" else ""
        mesh = capture(thing, depsgraph, settings.uv_source, settings.uv_name, group=group)
        pieces, rest = split(thing, mesh, settings.material_target, not mesh.makes_layer)
        wanted += pieces
        in_the_way += [rest] if rest is not None else []
    for thing in others:
        try:
            in_the_way.append(capture(thing, depsgraph, needs_uv=False))
        except Problem:
            continue  # an empty mesh hides nothing
    targeted = [target.mesh for target in wanted]
    titles = [_title(target) for target in wanted] + [mesh.name for mesh in in_the_way]
    for mesh, key in zip([*targeted, *in_the_way], job_names(titles), strict=True):
        mesh.key = key
    front = front_degrees(context, objects) if front is None else front
    placement = left_to_engine(scene)
    views = [] if placement else chosen_views(context, objects, front)
    names = [view.name for view in views]
    tiled = any(mesh.tiled for mesh in targeted)
    surface, surface_files = surface_block(settings)
    pinned_view = pinned(settings, names)
    looked_at, pictures = reference(settings, chosen_cameras(scene), names)
    instances = _shows_instances(depsgraph, objects)
    kept = keeping(objects, wanted, settings, depsgraph)
    request = {
        **_common(settings, default_prior, "texture"),
        **({} if words is None else {"prompt": words}),
        **looked_at,
        "cameras": placement or "inputs/cameras.json",
        "texture": {
            "mesh": "inputs/mesh.obj",
            "mesh_up": "z",
            "resolution": int(settings.resolution),
            "space": settings.space,
            "objects": [mesh.key for mesh in targeted] if in_the_way else None,
            "depth": settings.depth,
            "front_degrees": front,
            **({"both_sides": True} if settings.both_sides else {}),
            **({"detail": True} if settings.detail else {}),
            **({"udim": True} if tiled else {}),
            **surface,
            **kept.block,
            **pinned_view.block,
        },
    }
    about = {
        **_about(context, "texture"),
        "objects": [
            _object_entry(target) | ({"baked": kept.baked[target.mesh.key]} if target.mesh.key in kept.baked else {})
            for target in wanted
        ],
        "storage": settings.storage,
        "coverage_map": settings.coverage_map,
    }
    warnings = list(dict.fromkeys([*(warning for mesh in targeted for warning in mesh.warnings), *kept.warnings]))
    if instances:
        warnings.append("Instances are not textured; make them real first (Object > Apply > Make Instances Real).")
    files: dict[str, Iterable[Piece]] = {"inputs/mesh.obj": obj_pieces([*targeted, *in_the_way])}
    if not placement:
        files["inputs/cameras.json"] = [camera_file(views)]
    files |= {**surface_files, **kept.files, **pinned_view.files, **pictures}
    return Draft(request, about, files, warnings)


def _title(target: Target) -> str:
    """What a target is called: its object, and where the object has several, its slot."""
    return f"{target.mesh.name} {target.slot + 1} {target.slot_name}" if target.one_of_several else target.mesh.name


def _object_entry(target: Target) -> dict[str, Any]:
    """What blender.json says of one picture: where it goes."""
    mesh = target.mesh
    return {
        "name": mesh.name,
        "key": mesh.key,
        "layer": mesh.layer,
        "makes_layer": mesh.makes_layer,
        "corners": len(mesh.corners),
        "slot": target.slot,
        "slot_name": target.slot_name if target.one_of_several else "",
        # The loops' order is what brings new UVs home; a mirrored object's faces were turned over.
        "turned": bool(mesh.makes_layer and (np.diff(mesh.loops) < 0).any()),
    }


def generate_draft(context: bpy.types.Context, default_prior: str) -> Draft:
    """A new object at the 3D cursor. Raises a Problem when there are no words for it."""
    settings = context.scene.ddrep.generate
    require_prompt(settings)
    cursor = context.scene.cursor
    looked_at, pictures = reference(settings, (), ())
    request = {
        **_common(settings, default_prior, "generate"),
        **looked_at,
        "cameras": f"orbit:{settings.views}",
        "generate": {
            "size": round(settings.size, 6),
            "faces": settings.faces,
            "resolution": int(settings.resolution),
            "grid": settings.grid,
        },
    }
    about = {
        **_about(context, "generate"),
        "location": list(cursor.location),
        "size": round(settings.size, 6),
    }
    return Draft(request, about, pictures)


def from_image_draft(context: bpy.types.Context, picture: Path, samples: int) -> Draft:
    """Objects that a picture may show, side by side from the 3D cursor on. Raises a Problem where there is no picture.

    Size, faces, texture and seed are those of Generate, whose panel the button stands in; the model is its own.
    """
    if not picture.is_file():
        raise Problem("No picture was chosen. Choose a PNG or JPEG that shows one object.")
    settings = context.scene.ddrep.generate
    place = f"inputs/picture{picture.suffix.lower()}"
    request = {
        "schema_version": SCHEMA_VERSION,
        "task": "from_image",
        "seed": settings.seed,
        "samples": samples,
        "device": settings.device,
        "precision": settings.precision,
        "from_image": {"picture": place, "faces": settings.faces, "resolution": int(settings.resolution)},
    }
    about = {
        **_about(context, "generate"),
        "title": picture.stem,
        "location": list(context.scene.cursor.location),
        "size": round(settings.size, 6),
        "side_by_side": True,
    }
    return Draft(request, about, {place: file_pieces(picture)})


def panorama_draft(context: bpy.types.Context, default_prior: str) -> Draft:
    """A panorama for the world. Raises a Problem when there are no words for it."""
    settings = context.scene.ddrep.panorama
    require_prompt(settings)
    looked_at, pictures = reference(settings, (), ())
    request = {
        **_common(settings, default_prior, "panorama"),
        **looked_at,
        "panorama": {"projection": "sphere", "width": int(settings.width), "hdr": settings.hdr},
    }
    about = {**_about(context, "panorama"), "target": settings.target, "strength": settings.strength}
    return Draft(request, about, pictures)


def image_draft(context: bpy.types.Context, default_prior: str) -> Draft:
    """A material that repeats without a seam. Raises a Problem when there are no words for it, or nothing to wear it.

    A surface without a UV map gets it from six sides.
    """
    settings = context.scene.ddrep.image
    require_scene(context, "image")
    looked_at, pictures = reference(settings, (), ())
    size = int(settings.resolution)
    request = {
        **_common(settings, default_prior, "image"),
        **looked_at,
        "image": {"width": size, "height": size, "tile": True},
    }
    about = {**_about(context, "image"), "target": settings.target, "repeat": round(settings.repeat, 6)}
    thing, warnings, mapping = context.active_object, [], settings.mapping
    if settings.target == "ACTIVE":
        about |= {"object": thing.name, "slot": thing.active_material_index}
        if mapping == "UV" and not thing.data.uv_layers:
            mapping = "BOX"
            warnings.append(f"'{thing.name}' has no UV map: the material is laid on it from six sides (Box).")
    return Draft(request, about | {"mapping": mapping}, pictures, warnings)


def camera_file(views: Sequence[View]) -> bytes:
    """inputs/cameras.json."""
    return (json.dumps({"cameras": [view.to_json() for view in views]}, indent=1, ensure_ascii=False) + "\n").encode()


def keep_away(draft: Draft, meshes: Sequence[Path]) -> None:
    """Have a job keep away from these results, of which it gets copies."""
    for number, mesh in enumerate(meshes):
        place = f"inputs/unlike/{number:03d}{mesh.suffix.lower()}"
        draft.files[place] = file_pieces(mesh)
        draft.request["unlike"] = [*draft.request.get("unlike", []), place]


def file_pieces(path: Path) -> Iterator[bytes]:
    """A file, a piece at a time."""
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            yield piece


def roll(settings: Any) -> None:
    """Roll the dice for the next job, unless the seed is locked. What is shown is always what will run."""
    if not settings.seed_locked:
        settings.seed = random.SystemRandom().randint(0, LARGEST_SEED - 1000)


def _common(settings: Any, default_prior: str, task: str) -> dict[str, Any]:
    """Raises a Problem where a LoRA or a ControlNet is not there."""
    loras = [lora(each) for each in settings.loras]
    controlnets = [controlnet(each) for each in getattr(settings, "controlnets", ())]
    return {
        "schema_version": SCHEMA_VERSION,
        "task": task,
        "prompt": settings.prompt.strip(),
        "negative_prompt": settings.negative_prompt.strip(),
        "seed": settings.seed,
        "samples": settings.samples,
        "prior": settings.prior.strip() or default_prior.strip() or "bundled",
        "controlnet": settings.controlnet.strip() or None,
        **({"controlnets": controlnets} if controlnets else {}),  # as the engine writes it: left out where none are
        **({"loras": loras} if loras else {}),
        "guidance_scale": round(settings.guidance_scale, 6) if settings.own_guidance else None,
        "steps": settings.steps if settings.quality == "CUSTOM" else STEPS[settings.quality],
        "eta": round(settings.eta, 6) if settings.own_eta else None,
        "schedule": "auto",
        "device": settings.device,
        "precision": settings.precision,
        "max_batch": settings.max_batch or None,
        **({"diversity": round(settings.diversity, 6)} if settings.samples > 1 and settings.diversity else {}),
    }


def _about(context: bpy.types.Context, task: str) -> dict[str, Any]:
    return {
        "format": 1,
        "task": task,
        "scene": context.scene.name,
        "blend": bpy.data.filepath,
        "blender": bpy.app.version_string,
    }


def _occluders(context: bpy.types.Context, objects: Sequence[bpy.types.Object]) -> list[bpy.types.Object]:
    return [
        thing
        for thing in sorted(context.visible_objects, key=lambda each: each.name)
        if thing.type == "MESH" and thing not in objects and not thing.hide_render
    ]


def _shows_instances(depsgraph: bpy.types.Depsgraph, objects: Sequence[bpy.types.Object]) -> bool:
    """Whether one of the objects shows instances: by its settings, or by geometry nodes (among the scene's first)."""
    if any(thing.is_instancer and thing.instance_type != "NONE" for thing in objects):
        return True
    names = {thing.name for thing in objects if any(each.type == "NODES" for each in thing.modifiers)}
    return bool(names) and any(
        each.is_instance and each.parent is not None and each.parent.name in names
        for each in islice(depsgraph.object_instances, MOST_INSTANCES)
    )
