"""Make a job folder from what a person has: the request, and copies of the files it names."""

from __future__ import annotations

import filecmp
import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from ddrep_core.confined import Confined, LeadsOut, is_folder, is_there, named
from ddrep_core.errors import RequestError
from ddrep_core.jobs.folder import JobFolder, read_json, told_in_words, write_json
from ddrep_core.jobs.request import SCHEMA_VERSION, parse_request


def create_job(
    out: str | Path,
    request: dict[str, Any],
    *,
    mesh: str | Path | None = None,
    cameras: str | Path | None = None,
    copies: Mapping[PurePosixPath, Path] | None = None,
    overwrite: bool = False,
) -> JobFolder:
    """Write JOB/job.json and JOB/inputs/.

    Args:
        out: the job folder; made if missing.
        request: as job.json holds it, without schema_version; `mesh` and `cameras` fill in their own paths.
        mesh: the mesh of a texture, to copy with the material files and pictures that it names.
        cameras: a camera file to copy.
        copies: other files, by their place in inputs/; the request names them itself (`jobs.wish`).
        overwrite: replace another request's job in that folder.

    Raises:
        RequestError: the request is wrong, a file is missing, or the folder holds something else. Nothing is changed.
        RunError: the folder cannot be written.
    """
    folder = JobFolder(out)
    data = {"schema_version": SCHEMA_VERSION, **request}
    copied = dict(copies or {})
    if mesh is not None:
        source = existing_file(mesh, "mesh")
        copied |= side_files(source)
        data["texture"] = {**data.get("texture", {}), "mesh": f"inputs/{source.name}"}
    if cameras is not None:
        copied[PurePosixPath("cameras.json")] = existing_file(cameras, "camera file")
        data["cameras"] = "inputs/cameras.json"
    parsed = parse_request(data, "the request")
    if folder.path.is_dir():
        folder.refuse_what_leads_out()
    _refuse_to_replace(folder, parsed.to_json(), copied, overwrite)
    with told_in_words(folder.path):
        for relative, source in copied.items():
            target = folder.own("inputs", *relative.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.resolve() != target.resolve():
                shutil.copyfile(source, target)
    write_json(folder.request_file, parsed.to_json())
    return folder


def existing_file(path: str | Path, what: str) -> Path:
    """The path, if it is a file that can be read and is not empty."""
    path = named(path)
    if not is_there(path):
        raise RequestError(f"There is no {what} {path}.", "Check the path.")
    if path.is_dir():
        raise RequestError(f"{path} is a folder, not a {what}.", "Give the file inside it.")
    if not path.is_file():
        raise RequestError(f"{path} is a pipe or a device, not a {what}.", "Save it as a file.")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise RequestError(f"The {what} {path} cannot be read: {(error.strerror or '').lower()}.") from error
    if empty:
        raise RequestError(f"The {what} {path} is empty.", "Export it again.")
    return path


KEPT_KINDS = (".png", ".glb")


def kept_results(path: str | Path) -> list[Path]:
    """What there is to be unlike: a job's meshes or pictures, one a sample; or the PNG or GLB itself.

    Raises:
        RequestError: no such job or file, one that has no results, or a file of another kind.
    """
    path = named(path)
    if not is_folder(path):
        file = existing_file(path, "result")
        if file.suffix.lower() not in KEPT_KINDS:
            raise RequestError(f"{file} is no result to keep away from.", "Give a job's folder, a PNG or a GLB.")
        return [file]
    folder = JobFolder(path)
    result = read_json(folder.result_file)
    samples = result.get("samples") if isinstance(result, dict) else None
    if not isinstance(samples, list) or not samples:
        raise RequestError(f"{path} holds no results to keep away from.", "Give a job that has run, a PNG or a GLB.")
    found = []
    for sample in samples:
        files = sample.get("files") if isinstance(sample, dict) else None
        told = [files.get(what) for what in ("mesh", "image")] if isinstance(files, dict) else []
        if not (own := [name for name in told if isinstance(name, str)]):
            raise RequestError(f"{path} holds no mesh and no picture to keep away from.", "Name another job.")
        found.append(existing_file(folder.resolve(own[0]), "result"))
    return found


def side_files(mesh: Path) -> dict[PurePosixPath, Path]:
    """The mesh and the files it names (an OBJ's materials and their pictures, a glTF's buffers and pictures).

    Only files beside or below the mesh are taken, and no link that leads elsewhere. What it names elsewhere, or what
    is missing, is the reader's to judge.
    """
    from ddrep_core.geometry.obj_text import beside, library_names, picture_name  # with all of geometry, and torch

    found = {PurePosixPath(mesh.name): mesh}
    if mesh.suffix.lower() == ".obj":
        for words in _statements(mesh, ("mtllib",)):
            for library in library_names(words, mesh.parent):
                if not (material := _below(mesh, library)):
                    continue
                found[material] = library
                for picture in _statements(library, ("map_", "bump", "norm", "disp", "refl")):
                    path = beside(library.parent, picture_name(picture))
                    if relative := _below(mesh, path):
                        found[relative] = path
    elif mesh.suffix.lower() == ".gltf":
        for name in _gltf_uris(mesh):
            if relative := _below(mesh, mesh.parent / name):
                found[relative] = mesh.parent / relative
    return found


def _below(mesh: Path, path: Path) -> PurePosixPath | None:
    """`path` relative to the mesh's folder, if it is a file in there."""
    try:
        relative = PurePosixPath(path.relative_to(mesh.parent))
        return relative if ".." not in relative.parts and Confined(mesh.parent).path(path).is_file() else None
    except (OSError, ValueError, LeadsOut):
        return None


def _statements(file: Path, keywords: tuple[str, ...]) -> list[str]:
    """What follows the keyword in an OBJ's or MTL's lines that start with one of `keywords`."""
    from ddrep_core.geometry.obj_text import lines, split_statement

    statements = (split_statement(line) for _, line in lines(file.read_bytes()))
    return [rest for word, rest in statements if rest and word.lower().startswith(keywords)]


def _gltf_uris(file: Path) -> list[str]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        entries = [*document.get("buffers", []), *document.get("images", [])]
        return [unquote(entry["uri"]) for entry in entries if not str(entry.get("uri", "data:")).startswith("data:")]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return []  # not glTF at all: the mesh reader says so


def _refuse_to_replace(
    folder: JobFolder, request: dict[str, Any], copies: dict[PurePosixPath, Path], overwrite: bool
) -> None:
    if folder.path.exists() and not folder.path.is_dir():
        raise RequestError(f"{folder} is a file.", "Choose another folder with --out.")
    if overwrite or not folder.path.is_dir():
        return
    if folder.request_file.exists():
        has_results = folder.outputs.is_dir() and any(folder.outputs.iterdir())
        same_inputs = all(_same_file(source, folder.inputs / relative) for relative, source in copies.items())
        if has_results and not (same_inputs and read_json(folder.request_file) == request):
            raise RequestError(
                f"{folder} holds the results of another request.",
                "Choose another folder with --out, or replace that job with --overwrite.",
            )
    elif any(folder.path.iterdir()):
        raise RequestError(
            f"{folder} is not empty, and is no job folder.", "Choose another folder with --out, or use --overwrite."
        )


def _same_file(first: Path, second: Path) -> bool:
    return second.is_file() and filecmp.cmp(first, second, shallow=False)
