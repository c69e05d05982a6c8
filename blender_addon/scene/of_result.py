# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job that goes on from a result takes over. Nothing of the scene is asked: the job's folder has it all."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..engine.folder import JobFolder, task_of
from ..problems import Problem
from ..results.outcome import SampleResult, tile_path
from .draft import SCHEMA_VERSION, Draft, file_pieces

SAME = ("prior", "controlnet", "controlnets", "loras", "negative_prompt", "device", "precision", "max_batch", "seed")
"""What any job takes over from the one that made the result."""
ABOUT = ("format", "task", "scene", "blend", "blender", "objects", "storage", "coverage_map")
OF_MESH = ("mesh_up", "objects", "depth", "front_degrees", "both_sides", "symmetry", "udim")
BLOCKS = ("texture", "edit", "detail")  # of jobs whose result is a textured mesh


class Result:
    """A sample of a finished job, and the files of its folder that the next job gets copies of."""

    def __init__(self, folder: JobFolder, sample: SampleResult) -> None:
        self.folder, self.sample = folder, sample
        self.request = folder.request()
        self.kind = task_of(self.request)
        self.files: dict[str, Iterable[bytes]] = {}

    @property
    def made(self) -> dict[str, Any]:
        """The block of the job that textured a mesh."""
        found = (self.request.get(name) for name in BLOCKS)
        return next((block for block in found if isinstance(block, dict)), {})

    def take(self, relative: Any, place: str) -> str:
        """A copy of a file of the folder. Raises a Problem where it is not there."""
        path = self.folder.inside(relative)
        if path is None:
            raise Problem(f"The folder of this job lacks a file that the new one begins with ({relative}).")
        self.files[place] = file_pieces(path)
        return place

    def take_made(self, path: Path, place: str) -> str:
        """A copy of a file that the job made."""
        return self.take(path.relative_to(self.folder.path.resolve()).as_posix(), place)

    def common(self, task: str, prompt: str, also: Iterable[str] = ()) -> dict[str, Any]:
        """The request of the next job, without what is the task's own; it takes over the keys of `SAME` and `also`."""
        request = {
            "schema_version": SCHEMA_VERSION,
            "task": task,
            "prompt": prompt.strip(),
            **{key: self.request[key] for key in (*SAME, *also) if key in self.request},
        }
        if isinstance(looked_at := self.request.get("reference"), dict):
            others = [
                {**each, "file": self.take(each.get("file"), f"inputs/reference_{number}.png")}
                for number, each in enumerate(looked_at.get("cameras", ()))
            ]
            request["reference"] = {
                **looked_at,
                "picture": self.take(looked_at.get("picture"), "inputs/reference.png"),
                **({"cameras": others} if others else {}),
            }
        return request

    def mesh(self) -> tuple[str, dict[str, Any]]:
        """The mesh as the job was given it, and what else it was told of it."""
        made = self.made
        told = {key: made[key] for key in OF_MESH if made.get(key) is not None}
        return self.take(made.get("mesh") or made.get("source"), "inputs/mesh.obj"), told

    def textures(self) -> dict[str, str]:
        """The pictures that it made, by their objects' names, of UDIM tiles with their numbers.

        Raises a Problem where they are gone.
        """
        if not self.sample.objects:
            raise Problem("The textures of this sample are gone. Make it again.")
        named = {each.key: each.texture for each in self.sample.objects if not each.tiles}
        for each in self.sample.objects:
            named |= {f"{each.key}.{tile}": tile_path(each.texture, each.tiles[0], tile) for tile in each.tiles}
        return {
            name: self.take_made(path, f"inputs/texture_{number:03d}.png")
            for number, (name, path) in enumerate(named.items())
        }

    def cameras(self) -> str:
        """Those of the job."""
        cameras = str(self.request.get("cameras", "orbit:8"))
        return self.take(cameras, cameras) if "/" in cameras else cameras

    def require_texture(self, what: str) -> None:
        """Raises a Problem where the result is no texture."""
        if self.kind != "texture":
            raise Problem(f"Textures can be {what}; this result is none.")

    def draft(self, request: dict[str, Any]) -> Draft:
        """The next job, whose result lands where this one lies."""
        about = self.folder.scene()
        return Draft(request, {key: about[key] for key in ABOUT if key in about}, self.files)
