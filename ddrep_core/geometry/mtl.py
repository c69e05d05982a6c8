"""MTL: the materials of an OBJ, as far as its GLB twin can have them."""

from __future__ import annotations

from pathlib import Path

from ddrep_core.confined import Confined, LeadsOut
from ddrep_core.geometry.mesh import SimpleMaterial
from ddrep_core.geometry.obj_text import beside, lines, picture_name, split_statement


def read_materials(path: Path, files: Confined, notes: list[str]) -> dict[str, SimpleMaterial]:
    """The materials of an MTL file: diffuse colour, opacity, texture. A library that is not there has none.

    Args:
        files: the library and its pictures are read from in there, or not at all.
        notes: what was left out for that reason is told here.
    """
    try:
        content = files.read_bytes(path)
    except OSError:
        return {}
    except LeadsOut as error:
        notes.append(f"The mesh's material library was not read: {error.message}")
        return {}
    found: dict[str, SimpleMaterial] = {}
    name = ""
    for _, line in lines(content):
        keyword, rest = split_statement(line)
        keyword = keyword.lower()
        if keyword == "newmtl":
            name = rest
            found[name] = SimpleMaterial(name)
        if not name:
            continue
        old = found[name]
        if keyword == "map_kd":
            if not (picture := picture_name(rest)):
                continue
            try:
                found[name] = SimpleMaterial(name, old.color, files.path(beside(path.parent, picture)))
            except LeadsOut as error:
                notes.append(f"The picture of the material '{name}' was left out: {error.message}")
        elif keyword in ("kd", "d"):
            try:
                values = [float(value) for value in rest.split()]
            except ValueError:
                continue
            if keyword == "kd" and len(values) == 3:
                found[name] = SimpleMaterial(name, (values[0], values[1], values[2], old.color[3]), old.image)
            elif keyword == "d" and len(values) == 1:
                found[name] = SimpleMaterial(name, (*old.color[:3], values[0]), old.image)
    return found
