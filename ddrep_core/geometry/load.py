"""`load_mesh`: any mesh file in, world-space parts with UVs out, and plain words for what is wrong with it."""

from __future__ import annotations

import importlib.util
import logging
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ddrep_core.confined import Confined, LeadsOut, is_there
from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.geometry.gltf import read_gltf
from ddrep_core.geometry.mesh import Y_UP_TO_WORLD, Z_UP_TO_WORLD, Float, Mesh, Part
from ddrep_core.geometry.obj import read_obj
from ddrep_core.geometry.texels import overlap_share
from ddrep_core.geometry.udim import in_tiles, seem_tiled
from ddrep_core.geometry.unwrap import unwrap

UpAxis = Literal["auto", "y", "z"]
GLTF_SUFFIXES = (".glb", ".gltf")
Z_UP_SUFFIXES = (".stl", ".ply", ".3mf")
SMALLEST_EXTENT, LARGEST_COORDINATE = 1e-18, 1e18  # squares of both are numbers in single precision
UNWRAP_LIMIT = 100_000  # four minutes or so on one core
STUMBLES = (AttributeError, TypeError, LookupError, StopIteration, AssertionError, RecursionError)
SOFT_DEPENDENCIES = {"dae": ("collada",), "zae": ("collada",), "3mf": ("lxml", "networkx")}
PACKAGES = {"collada": "pycollada"}  # where pip's name is another
DEMO_MESH = Path(__file__).parent / "assets" / "duck.obj"


def demo_mesh_path() -> Path:
    """The small mesh that comes with the package, for demonstrations and tests."""
    return DEMO_MESH


def load_mesh(
    path: str | Path,
    up: UpAxis = "auto",
    *,
    objects: Sequence[str] | None = None,
    unwrap_limit: int = UNWRAP_LIMIT,
    root: str | Path | None = None,
    udim: bool = False,
) -> Mesh:
    """Read a mesh file: glTF and OBJ in full (objects, materials, hierarchy), and whatever else trimesh reads.

    Args:
        path: .glb, .gltf, .obj, .ply, .stl, .off, …
        up: which of the file's axes points up; "auto" knows each format's habit (STL and PLY z, all others y).
        objects: names of the objects to texture, all when None; the others only stand in the way.
        unwrap_limit: refuse to make UVs for a part of more faces than this, which would take many minutes.
        root: the folder that holds all files which the mesh may name (materials, buffers, pictures): what leads out of
            it is not read. The mesh's own folder when not given.
        udim: UVs lie in UDIM tiles, and each tile has a texture.

    Returns:
        The mesh. What it lacks or does oddly stands in `mesh.warnings`, and is warned of.

    Raises:
        RequestError: the file is missing, empty, unreadable or not a mesh; NaN or infinite vertices; no face; a part
            without UVs above the limit; an unknown object; a face that lies in no tile.
    """
    path = Path(path)
    mesh = _read(path, up, Confined(path.parent if root is None else root))
    mesh = _named(replace(mesh, parts=tuple(part for part in mesh.parts if len(part.faces))))
    if not mesh.parts:
        raise RequestError(f"{path.name} has no faces.", "Texturing needs a surface: export the mesh with its faces.")
    for part in mesh.parts:
        if not np.isfinite(part.vertices[part.faces]).all():
            raise RequestError(
                f"'{part.name}' in {path.name} has vertices that are NaN or infinite.",
                "Repair the mesh (in Blender: Mesh > Clean Up), then export it again.",
            )
    mesh = mesh.with_textured(objects)
    mesh = in_tiles(mesh) if udim else mesh
    mesh = replace(mesh, parts=tuple(replace(part, normals=_sound_normals(part)) for part in mesh.parts))
    notes = list(mesh.warnings)
    with np.errstate(over="ignore"):
        extent = np.ptp(mesh.bounds, axis=0).max()
    if extent <= 0:
        raise RequestError(f"All vertices of {path.name} lie in one point.", "Export the mesh again.")
    if extent < SMALLEST_EXTENT or np.abs(mesh.bounds).max() > LARGEST_COORDINATE:
        raise RequestError(
            f"{path.name} is {extent:.0e} units across, at {np.abs(mesh.bounds).max():.0e} from the origin.",
            "Scale it to a usual size, and export it again.",
        )
    parts = tuple(_checked(part, extent, notes, unwrap_limit) if part.textured else part for part in mesh.parts)
    for note in notes:
        warnings.warn(note, DdrepWarning, stacklevel=2)
    return replace(mesh, parts=parts, warnings=tuple(notes))


def _read(path: Path, up: UpAxis, files: Confined) -> Mesh:
    if not is_there(path):
        raise RequestError(f"There is no mesh file {path}.", "Check the path.")
    if path.is_dir():
        raise RequestError(f"{path} is a folder, not a mesh file.", "Name the file inside it.")
    if not path.is_file():
        raise RequestError(f"{path} is a pipe or a device, not a mesh file.", "Save the mesh as a file.")
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    if empty:
        raise RequestError(f"{path} is empty.", "Export the mesh again.")
    if up not in ("auto", "y", "z"):
        raise RequestError(f"up must be auto, y or z, not '{up}'.")
    suffix = path.suffix.lower()
    y_up = up == "y" or (up == "auto" and suffix not in Z_UP_SUFFIXES)
    if up == "auto" and suffix == ".dae":
        y_up = not _says_z_up(path)
    axes = Y_UP_TO_WORLD if y_up else Z_UP_TO_WORLD
    if suffix in GLTF_SUFFIXES:
        return read_gltf(path, axes, files)
    if suffix == ".obj":
        return read_obj(path, axes, files)
    return _read_with_trimesh(path, axes, files)


def _says_z_up(collada: Path) -> bool:
    """Whether a COLLADA file's head names Z as its upward axis, as Blender's and SketchUp's do."""
    with collada.open("rb") as stream:
        return re.search(rb"<up_axis>\s*Z_UP\s*</up_axis>", stream.read(100_000)) is not None


class _Named:
    """The files that a mesh names, as trimesh's readers ask for them."""

    def __init__(self, folder: Path, files: Confined) -> None:
        self._folder, self._files = folder, files
        self.missed: dict[str, str] = {}  # name -> why

    def get(self, name: str) -> bytes:
        try:
            return self._files.read_bytes(self._folder / name.strip())
        except (OSError, LeadsOut) as error:
            self.missed[name] = "leads out of its folder" if isinstance(error, LeadsOut) else "is not beside it"
            raise

    __getitem__ = get


def _read_with_trimesh(path: Path, axes_to_world: Float, files: Confined) -> Mesh:
    import trimesh  # here, for most meshes never need it

    # It logs the traceback of each picture that it misses, and Python prints what nobody listens to.
    logging.getLogger("trimesh").addHandler(logging.NullHandler())

    suffix = path.suffix.lower().lstrip(".")
    for package in SOFT_DEPENDENCIES.get(suffix, ()):
        if importlib.util.find_spec(package) is None:
            raise RequestError(
                f"Reading '.{suffix}' files takes the Python package {PACKAGES.get(package, package)}.",
                f"Install it (pip install {PACKAGES.get(package, package)}), or export as .glb or .obj.",
            )
    readable = sorted(trimesh.available_formats())
    if suffix not in readable:
        raise RequestError(f"Mesh files of the type '.{suffix}' cannot be read.", "Export it as .glb or .obj.")
    try:
        # No processing: vertices and faces stay as they are in the file.
        named: Any = _Named(path.parent, files)
        scene = trimesh.load_scene(path, process=False, maintain_order=True, resolver=named)
    except Exception as error:  # each of trimesh's readers fails in its own way
        # What a reader stumbles over inside itself (an attribute, a key) says nothing to a person.
        told = str(error).strip().splitlines() if not isinstance(error, STUMBLES) else []
        reason = told[0].rstrip(".") if told else "it is damaged, or of another kind"
        raise RequestError(f"{path.name} cannot be read as a mesh: {reason}.", "Export it as .glb or .obj.") from error
    notes = [
        f"{path.name} names the file '{name}', which {why}: it was left out." for name, why in named.missed.items()
    ]
    parts = []
    for node in scene.graph.nodes_geometry:
        transform, geometry = scene.graph[node]
        shape = scene.geometry[geometry]
        if not isinstance(shape, trimesh.Trimesh):
            continue
        faces = np.asarray(shape.faces, np.int64).reshape(-1, 3)
        vertices = np.asarray(shape.vertices, np.float64).reshape(-1, 3)
        if faces.size and not 0 <= faces.min() <= faces.max() < len(vertices):
            raise RequestError(
                f"{path.name}: a face asks for a vertex that is not there; there are {len(vertices)}.",
                "Export the mesh again.",
            )
        if not np.array_equal(transform, np.eye(4)):
            vertices = trimesh.transform_points(vertices, transform)
        coordinates = getattr(shape.visual, "uv", None)
        uv = None
        if coordinates is not None and len(coordinates) == len(vertices):
            uv = np.asarray(coordinates, np.float64)[faces]
        parts.append(
            Part(
                name="",
                object_name=str(node) if len(scene.geometry) > 1 else path.stem,
                material="",
                vertices=vertices @ axes_to_world.T,
                faces=faces,
                uv=uv,
                corners=np.arange(faces.size, dtype=np.int64).reshape(-1, 3),
                corner_count=faces.size,
            )
        )
    return Mesh(path, tuple(parts), axes_to_world, warnings=tuple(notes))


def _sound_normals(part: Part) -> Float | None:
    """The file's normals; where one is NaN, infinite or has no length, its face's own."""
    if part.normals is None:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        length = np.linalg.norm(part.normals, axis=2)
    wrong = ~(np.isfinite(length) & (length > 0))
    if not wrong.any():
        return part.normals
    edges = part.triangles[:, 1:] - part.triangles[:, :1]
    upright = np.repeat(np.cross(edges[:, 0], edges[:, 1])[:, None], 3, axis=1)
    upright /= np.maximum(np.linalg.norm(upright, axis=2, keepdims=True), 1e-300)
    return np.where(wrong[..., None], upright, part.normals)


def _named(mesh: Mesh) -> Mesh:
    """Give objects and parts names that are unique and can be told apart by a person."""
    objects: dict[tuple[str, int], str] = {}
    taken: set[str] = set()
    for part in mesh.parts:
        key = (part.object_name, part.primitive.node if part.primitive else -1)
        if key not in objects:
            name, number = part.object_name, 1
            while name in taken:
                number += 1
                name = f"{part.object_name} ({number})"
            taken.add(name)
            objects[key] = name
    named = [
        replace(part, object_name=objects[(part.object_name, part.primitive.node if part.primitive else -1)])
        for part in mesh.parts
    ]
    parts_per_object = Counter(part.object_name for part in named)
    seen: Counter[str] = Counter()
    result = []
    for part in named:
        name = part.object_name
        if parts_per_object[name] > 1:
            name = f"{name}/{part.material or 'material'}"
            seen[name] += 1
            if seen[name] > 1:
                name = f"{name} ({seen[name]})"
        result.append(replace(part, name=name))
    return replace(mesh, parts=tuple(result))


def _checked(part: Part, extent: float, notes: list[str], unwrap_limit: int) -> Part:
    """The part with usable UVs; what is odd about it goes into `notes`."""
    edges = part.triangles[:, 1:] - part.triangles[:, :1]
    areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2
    degenerate = int((areas <= 1e-14 * extent * extent).sum())
    if degenerate == len(areas):
        raise RequestError(f"Every face of '{part.name}' has no area.", "Export the mesh again.")
    if degenerate:
        notes.append(f"'{part.name}' has {degenerate} faces without area; they are kept, and cannot be painted.")
    reason = ""
    if part.uv is None:
        reason = "has no UVs"
    elif not np.isfinite(part.uv).all():
        reason = "has UVs that are NaN or infinite"
    else:
        side = part.uv[:, 1:] - part.uv[:, :1]
        uv_area = np.abs(side[:, 0, 0] * side[:, 1, 1] - side[:, 0, 1] * side[:, 1, 0]).sum() / 2
        if uv_area < 1e-9:
            reason = "has UVs without area"
    if reason:
        if len(part.faces) > unwrap_limit:
            raise RequestError(
                f"'{part.name}' {reason}, and unwrapping its {len(part.faces):,} faces would take many minutes.",
                f"Unwrap it in Blender (Smart UV Project), reduce it below {unwrap_limit:,} faces, or raise the limit.",
            )
        notes.append(f"'{part.name}' {reason}: new ones were made (xatlas); they are in the result's mesh.")
        return replace(part, uv=unwrap(part), unwrapped=True)
    assert part.uv is not None
    if not part.tile and (part.uv.min() < -1e-6 or part.uv.max() > 1 + 1e-6):
        hint = " If these are UDIM tiles, say so: --udim makes a texture for each." if seem_tiled(part.uv) else ""
        notes.append(f"'{part.name}' has UVs outside 0..1; the texture repeats there.{hint}")
    share = overlap_share(part.uv)
    if share > 0.01:
        notes.append(
            f"{share:.0%} of the UVs of '{part.name}' lie on top of each other; those places share one picture."
        )
    return part
