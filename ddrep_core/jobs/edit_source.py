"""What `ddrep edit` is given: a result, a mesh or a picture, and the words that a job has for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ddrep_core.confined import is_folder, named
from ddrep_core.errors import RequestError
from ddrep_core.jobs.blocks import DetailRequest, EditRequest, PanoramaRequest, TextureRequest
from ddrep_core.jobs.create import existing_file
from ddrep_core.jobs.folder import JobFolder, read_json

Kind: TypeAlias = Literal["texture", "image", "panorama", "vector"]

MESHES = (".glb", ".gltf", ".obj", ".ply", ".dae", ".3mf", ".off", ".stl")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
DRAWING = ".svg"
FILE_OF: dict[str, tuple[Kind, str]] = {
    "texture": ("texture", "mesh"),
    "generate": ("texture", "mesh"),
    "detail": ("texture", "mesh"),
    "image": ("image", "image"),
    "panorama": ("panorama", "panorama"),
    "vector": ("vector", "drawing"),
}
"""Of the tasks whose results can be edited: as what, and which of their files."""


@dataclass(frozen=True)
class Origin:
    """A file to edit.

    Attributes:
        kind: as what it is edited.
        file: where it lies.
        prompt: the words of the job that made it; "" where none is known.
        settings: what else that job says of it, as the block of an edit has it.
    """

    kind: Kind
    file: Path
    prompt: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


def find_origin(path: str | Path) -> Origin:
    """What a person means by a job's folder, a file of its results, a mesh or a picture.

    Raises:
        RequestError: it is none of these, or a job that has no result yet; the message says what to give instead.
    """
    path = named(path)
    if is_folder(path):
        return _of_job(path)
    file = existing_file(path, "result, mesh, picture or drawing")
    job = next((folder for folder in file.resolve().parents if (folder / "job.json").is_file()), None)
    if job is not None:
        try:
            origin = _of_job(job)
        except RequestError:
            origin = None
        if origin is not None and file.suffix.lower() == origin.file.suffix.lower():
            return Origin(origin.kind, file, origin.prompt, origin.settings)
    return Origin(kind_of(file), file)


def kind_of(file: Path) -> Kind:
    """As what a file without a job is edited."""
    suffix = file.suffix.lower()
    if suffix in MESHES:
        return "texture"
    if suffix in PICTURES:
        return "image"
    if suffix == DRAWING:
        return "vector"
    raise RequestError(
        f"{file} is neither a mesh, a picture nor a drawing that can be edited.",
        f"Give a job's folder, a mesh ({', '.join(MESHES)}) a picture ({', '.join(PICTURES)}) or an SVG file.",
    )


def _of_surface(settings: TextureRequest | DetailRequest | EditRequest) -> dict[str, Any]:
    """What a job that painted a mesh says of it."""
    return {
        "front_degrees": settings.front_degrees,
        "symmetry": settings.symmetry,
        "udim": settings.udim,
        "both_sides": settings.both_sides,
    }


def _of_job(path: Path) -> Origin:
    folder = JobFolder(path)
    request = folder.load_request()
    if request.task == "edit":
        edited = request.settings(EditRequest)
        kind: Kind = kind_of(folder.resolve(edited.source)) if edited.kind == "auto" else edited.kind
        what = next(file for task, file in FILE_OF.values() if task == kind)
        kept = {**_of_surface(edited), "projection": edited.projection}
    elif request.task in FILE_OF:
        kind, what = FILE_OF[request.task]
        kept = {}
        if request.task == "texture":
            kept = _of_surface(request.settings(TextureRequest))
        elif request.task == "detail":
            kept = _of_surface(request.settings(DetailRequest))
        elif request.task == "panorama":
            kept = {"projection": request.settings(PanoramaRequest).projection}
    else:
        raise RequestError(
            f"{path} is a job of the kind '{request.task}', whose results cannot be edited.",
            f"Give one of: {', '.join(FILE_OF)}.",
        )
    result = read_json(folder.result_file)
    samples = result.get("samples") if isinstance(result, dict) else None
    files = samples[0].get("files") if isinstance(samples, list) and samples and isinstance(samples[0], dict) else None
    relative = files.get(what) if isinstance(files, dict) else None
    if not isinstance(relative, str) or not folder.holds({what: relative}):
        raise RequestError(f"{path} has no finished result to edit.", f'Finish it: ddrep run "{path}" --resume')
    return Origin(kind, folder.resolve(relative), request.prompt, kept)
