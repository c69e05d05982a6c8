"""What one camera of a job sees of its finished texture: a picture to paint over and to pin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ddrep_core.confined import is_folder, named
from ddrep_core.errors import RequestError
from ddrep_core.geometry.base_color import base_colors
from ddrep_core.geometry.load import load_mesh
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.jobs.blocks import DetailRequest, EditRequest, TextureRequest
from ddrep_core.jobs.edit_source import find_origin
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.request import Request
from ddrep_core.jobs.views import look_at_mesh, request_cameras
from ddrep_core.report.renderer import Renderer
from ddrep_core.views import Camera, Views

ACROSS = 64  # rays along a side, by which to tell which placed cameras were sampled
SUBSAMPLES = 3


def view_of_result(source: str | Path, camera: str, longest: int = 1024) -> Image.Image:
    """The bare colour of a textured mesh as one of its job's cameras sees it, transparent where nothing was textured.

    The picture has the camera's own aspect, as `--pin` wants it; a placed camera's is the square that it samples.

    Args:
        source: a texture job's folder, or the mesh.glb of one of its samples.
        longest: pixels along the longer side.

    Returns:
        RGBA.

    Raises:
        RequestError: no textured result of a job; a camera that the job has not.
    """
    origin = find_origin(source)
    if origin.kind != "texture":
        raise RequestError(f"{source} is no textured mesh.", "Give a texture job's folder, or its mesh.glb.")
    folder = _job_of(named(source))
    request = folder.load_request()
    objects, both_sides, front, tiled = _told(request)
    mesh = load_mesh(origin.file, "auto", objects=objects, root=folder.path, udim=tiled)
    mesh = replace(mesh, both_sides=both_sides)
    chosen = _camera(camera, request, folder, mesh, front)
    scale = longest / max(chosen.width, chosen.height)
    width, height = (max(1, round(side * scale)) for side in (chosen.width, chosen.height))
    textured = {part.name for part in mesh.textured_parts}
    black = {part.name: torch.zeros(3, 1, 1) for part in mesh.parts if part.name not in textured}
    white = {name: torch.ones(3, 1, 1) for name in textured}

    def drawn(textures: dict[str, torch.Tensor]) -> np.ndarray:
        return Renderer(mesh, {**textures, **black}).flat(chosen, width, height, SUBSAMPLES, background=0.0)

    colours, share = drawn(base_colors(mesh, folder.path)), drawn(white)[..., :1]
    picture = np.concatenate([colours / np.maximum(share, 1e-6), share], axis=-1)
    return Image.fromarray(np.rint(picture.clip(0, 1) * 255).astype(np.uint8))


def _job_of(path: Path) -> JobFolder:
    if is_folder(path):
        return JobFolder(path)
    job = next((folder for folder in path.resolve().parents if (folder / "job.json").is_file()), None)
    if job is None:
        raise RequestError(f"{path} lies in no job's folder, so it has no cameras.", "Give a texture job's folder.")
    return JobFolder(job)


def _told(request: Request) -> tuple[list[str] | None, bool, float, bool]:
    """What a job says of its mesh: its objects, whether backs are painted, its front, and whether it has tiles."""
    match request.task:
        case "texture":
            texture = request.settings(TextureRequest)
            return texture.objects, texture.both_sides, texture.front_degrees, texture.udim
        case "edit":
            edit = request.settings(EditRequest)
            return edit.objects, edit.both_sides, edit.front_degrees, edit.udim
        case "detail":
            detail = request.settings(DetailRequest)
            return detail.objects, detail.both_sides, detail.front_degrees, detail.udim
    return None, False, 0.0, False


def _camera(name: str, request: Request, folder: JobFolder, mesh: Mesh, front: float) -> Camera:
    cameras = request_cameras(request, folder)
    if not isinstance(cameras, Views):
        cameras = look_at_mesh(cameras, mesh, ACROSS, ACROSS, front).views
    for each in cameras:
        if each.name == name:
            return each
    names = ", ".join([each.name for each in cameras][:16])
    raise RequestError(f"This job has no camera called '{name}'.", f"There are: {names}.")
