"""glTF 2.0 (.glb, .gltf): a document's triangles as parts of a mesh, which keeps the document to patch it later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ddrep_core.confined import Confined
from ddrep_core.errors import RequestError
from ddrep_core.geometry.gltf_document import GltfDocument, base_color_uv_set, primitive_faces, world_matrices
from ddrep_core.geometry.mesh import Y_UP_TO_WORLD, Float, GltfPrimitive, Mesh, Part


def _skin_matrices(
    document: GltfDocument, node: dict[str, Any], primitive: dict[str, Any], worlds: dict[int, Float]
) -> Float | None:
    """[N, 4, 4] file-space transform of each vertex of a skinned primitive in its rest pose."""
    attributes = primitive["attributes"]
    if "skin" not in node or not {"JOINTS_0", "WEIGHTS_0"} <= set(attributes):
        return None
    skin = document.data["skins"][node["skin"]]
    joints = np.stack([worlds.get(joint, np.eye(4)) for joint in skin["joints"]])
    if "inverseBindMatrices" in skin:
        bind = document.floats(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        joints = joints @ bind
    weights = document.floats(attributes["WEIGHTS_0"])
    total = weights.sum(axis=1, keepdims=True)
    weights = np.where(total > 0, weights / np.where(total > 0, total, 1), 0.25)
    return np.einsum("nk,nkij->nij", weights, joints[document.accessor(attributes["JOINTS_0"]).astype(np.int64)])


def _transform(points: Float, matrices: Float) -> Float:
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    if matrices.ndim == 2:
        return homogeneous @ matrices.T[:, :3]
    return np.einsum("nij,nj->ni", matrices[:, :3], homogeneous)


def _primitives(document: GltfDocument) -> Iterator[tuple[GltfPrimitive, dict[str, Any], Float]]:
    worlds = world_matrices(document.data)
    for index, world in worlds.items():
        node = document.data["nodes"][index]
        if "mesh" in node:
            for number, primitive in enumerate(document.data["meshes"][node["mesh"]]["primitives"]):
                skin = _skin_matrices(document, node, primitive, worlds)
                yield GltfPrimitive(index, node["mesh"], number), primitive, world if skin is None else skin


def read_gltf(path: Path, axes_to_world: Float = Y_UP_TO_WORLD, files: Confined | None = None) -> Mesh:
    """Read .glb or .gltf. Parts follow the node hierarchy; points and lines are left alone.

    Raises:
        RequestError: the file is broken, compressed, or leans on files that are not there.
    """
    document = GltfDocument.read(path, files)
    data = document.data
    found: list[tuple[GltfPrimitive, Part]] = []
    corner_counts: dict[int, int] = {}
    try:
        for image in data.get("images", []):
            if "uri" in image:
                document.resolve(image["uri"])  # the result takes them in: what is missing is told before, not after
        for where, primitive, matrices in _primitives(document):
            faces = primitive_faces(document, primitive)
            if faces is None or "POSITION" not in primitive["attributes"]:
                continue
            node, attributes = data["nodes"][where.node], primitive["attributes"]
            vertices = _transform(document.floats(attributes["POSITION"]), matrices) @ axes_to_world.T
            if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
                raise RequestError(f"{path.name}: a face asks for a vertex that is not there.", "Export it again.")
            uv = None
            if (name := f"TEXCOORD_{base_color_uv_set(data, primitive)}") in attributes:
                uv = document.floats(attributes[name])[faces]
                uv[..., 1] = 1 - uv[..., 1]
            normals = None
            if "NORMAL" in attributes:
                linear = np.linalg.inv(matrices[..., :3, :3])  # normals turn with the inverse transpose
                turned = np.einsum("...ji,...j->...i", linear, document.floats(attributes["NORMAL"]))
                normals = (turned @ axes_to_world.T)[faces]
            first = corner_counts.get(where.node, 0)
            corners = first + np.arange(faces.size, dtype=np.int64).reshape(-1, 3)
            corner_counts[where.node] = first + faces.size
            material = primitive.get("material")
            part = Part(
                name="",
                object_name=node.get("name") or data["meshes"][where.mesh].get("name") or f"object_{where.node}",
                material="" if material is None else data["materials"][material].get("name", f"material_{material}"),
                vertices=vertices,
                faces=faces,
                uv=uv,
                corners=corners,
                corner_count=0,
                normals=normals,
                primitive=where,
            )
            found.append((where, part))
    except (KeyError, IndexError, TypeError, ValueError, np.linalg.LinAlgError) as error:
        raise RequestError(f"{path.name} cannot be read as glTF: {error!r}.", "Export it again.") from error
    parts = [replace(part, corner_count=corner_counts[where.node]) for where, part in found]
    return Mesh(path, tuple(parts), axes_to_world, document)
