"""What the Khronos validator would say of a written GLB's geometry, in Python for where it is not installed."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np

from ddrep_core.geometry.gltf_document import COMPONENT_TYPES, ELEMENT_SIZES, GltfDocument


def validator() -> ModuleType:
    """The script that runs Khronos's own."""
    path = Path(__file__).parent.parent / "scripts" / "validate_glb"
    loader = importlib.machinery.SourceFileLoader("validate_glb", str(path))
    spec = importlib.util.spec_from_loader("validate_glb", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def problems(path: Path) -> list[str]:
    """Wrong bounds, places, strides, shared views and normals that are not of length 1."""
    document = GltfDocument.read(path)
    data, found = document.data, []
    vertices: set[int] = set()
    for mesh in data["meshes"]:
        for primitive in mesh["primitives"]:
            vertices |= set(primitive["attributes"].values())
            position = data["accessors"][primitive["attributes"]["POSITION"]]
            if "min" not in position or "max" not in position:
                found.append("positions without bounds")
            if "NORMAL" in primitive["attributes"]:
                length = np.linalg.norm(document.floats(primitive["attributes"]["NORMAL"]), axis=1)
                if np.abs(length - 1).max() > 0.005:
                    found.append("normals that are not of length 1")
    for index, entry in enumerate(data["accessors"]):
        view = data["bufferViews"][entry["bufferView"]]
        item = COMPONENT_TYPES[entry["componentType"]].itemsize
        size = item * ELEMENT_SIZES[entry["type"]]
        step, stride = 4 if index in vertices else item, view.get("byteStride", size)
        start = entry.get("byteOffset", 0)
        if start % step or (view.get("byteOffset", 0) + start) % step or stride % step:
            found.append(f"accessor {index} is not aligned")
        if start + stride * (entry["count"] - 1) + size > view["byteLength"]:
            found.append(f"accessor {index} reaches past its view")
        if "byteStride" in view and not (index in vertices and max(size, 4) <= stride <= 252):
            found.append(f"accessor {index} has a stride that it must not have")
        values = document.accessor(index)
        for key, right in (("min", values.min(axis=0)), ("max", values.max(axis=0))):
            if key in entry and not np.array_equal(np.asarray(entry[key], values.dtype), right):
                found.append(f"accessor {index} has a wrong {key}")
    views = [data["accessors"][index]["bufferView"] for index in vertices]
    if any("byteStride" not in data["bufferViews"][view] and views.count(view) > 1 for view in views):
        found.append("vertices share a view without a stride")
    return found
