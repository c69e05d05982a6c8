# SPDX-License-Identifier: GPL-3.0-or-later
"""From a result and new words to a job that edits it. Nothing of the scene is asked: the job's folder has it all."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..engine.folder import JobFolder, task_of
from ..problems import Problem
from ..results.outcome import SampleResult
from .draft import SCHEMA_VERSION, Draft, file_pieces

SAME = ("prior", "controlnet", "controlnets", "loras", "negative_prompt", "device", "precision", "max_batch", "seed")
"""What an edit takes over from the job that made the result."""
ABOUT = ("format", "task", "scene", "blend", "blender", "objects", "storage", "coverage_map")
OF_MESH = ("mesh_up", "objects", "depth", "front_degrees", "both_sides")


def edit_draft(folder: JobFolder, sample: SampleResult, prompt: str, source_prompt: str, strength: float) -> Draft:
    """Edit a sample of a job that textured meshes or made a world.

    Raises:
        Problem: no words, or the job's folder lacks what the edit begins with.
    """
    if not prompt.strip():
        raise Problem("Say in words what it should become.")
    if not source_prompt.strip():
        raise Problem("Say in words what it shows now: an edit follows what the new words change.")
    before = folder.request()
    kind = task_of(before)
    block: dict[str, Any] = {"kind": kind, "source_prompt": source_prompt.strip(), "strength": round(strength, 6)}
    request = {
        "schema_version": SCHEMA_VERSION,
        "task": "edit",
        "prompt": prompt.strip(),
        **{key: before[key] for key in SAME if key in before},
        "edit": block,
    }
    files: dict[str, Iterable[bytes]] = {}

    def take(relative: Any, place: str) -> str:
        path = folder.inside(relative)
        if path is None:
            raise Problem(f"The folder of this job lacks a file that the edit begins with ({relative}).")
        files[place] = file_pieces(path)
        return place

    if isinstance(looked_at := before.get("reference"), dict):
        others = [
            {**each, "file": take(each.get("file"), f"inputs/reference_{number}.png")}
            for number, each in enumerate(looked_at.get("cameras", ()))
        ]
        request["reference"] = {
            **looked_at,
            "picture": take(looked_at.get("picture"), "inputs/reference.png"),
            **({"cameras": others} if others else {}),
        }

    def inside(path: Path) -> str:
        return path.relative_to(folder.path.resolve()).as_posix()

    if kind == "panorama":
        if sample.panorama is None:
            raise Problem("The panorama of this sample is gone. Make it again.")
        block["source"] = take(inside(sample.panorama), "inputs/panorama.png")
        block["projection"] = "sphere"
    elif kind == "texture":
        made = before.get("texture") or before.get("edit") or {}
        block |= {key: made[key] for key in OF_MESH if made.get(key) is not None}
        block["source"] = take(made.get("mesh") or made.get("source"), "inputs/mesh.obj")
        if not sample.objects:
            raise Problem("The textures of this sample are gone. Make it again.")
        block["textures"] = {
            each.key: take(inside(each.texture), f"inputs/texture_{number:03d}.png")
            for number, each in enumerate(sample.objects)
        }
        request["cameras"] = before.get("cameras", "orbit:8")
        if "/" in str(request["cameras"]):
            take(request["cameras"], request["cameras"])
    else:
        raise Problem("Textures and worlds can be edited; this result is neither.")
    about = folder.scene()
    return Draft(request, {key: about[key] for key in ABOUT if key in about}, files)
