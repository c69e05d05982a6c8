"""glTF 2.0 (.glb, .gltf): a document's triangles as parts of a mesh, which keeps the document to patch it later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ddrep_core.confined import Confined
from ddrep_core.errors import RequestError
from ddrep_core.geometry.gltf_document import GltfDocument, is_triangles, primitive_faces, world_matrices
from ddrep_core.geometry.gltf_materials import base_color_uvs
from ddrep_core.geometry.mesh import Y_UP_TO_WORLD, Float, GltfPrimitive, Mesh, Part


def _skin_matrices(
    document: GltfDocument, node: dict[str, Any], primitive: dict[str, Any], worlds: dict[int, Float]
) -> Float | None:
    """[N, 4, 4] file-space transform of each vertex of a skinned primitive in its rest pose.

    Raises:
        RequestError: a vertex hangs on a joint that is not there.
    """
    attributes = primitive["attributes"]
    if "skin" not in node or not {"JOINTS_0", "WEIGHTS_0"} <= set(attributes):
        return None
    skin = document.data["skins"][node["skin"]]
    joints = np.stack([worlds.get(joint, np.eye(4)) for joint in skin["joints"]])
    wrong = RequestError(f"{document.name} cannot be read as glTF: a skin lacks joints.", "Export it again.")
    if "inverseBindMatrices" in skin:
        bind = document.floats(skin["inverseBindMatrices"])
        if bind.shape[1] != 16 or len(bind) < len(joints):
            raise wrong
        joints = joints @ bind[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)
    weights = document.floats(attributes["WEIGHTS_0"])
    total = weights.sum(axis=1, keepdims=True)
    weights = np.where(total > 0, weights / np.where(total > 0, total, 1), 0.25)
    numbers = document.floats(attributes["JOINTS_0"])
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < len(joints)):
        raise wrong
    return np.einsum("nk,nkij->nij", weights, joints[numbers.astype(np.int64)])


def _transform(points: Float, matrices: Float) -> Float:
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    if matrices.ndim == 2:
        return homogeneous @ matrices.T[:, :3]
    return np.einsum("nij,nj->ni", matrices[:, :3], homogeneous)


def _turn_normals(normals: Float, matrices: Float) -> Float:
    """[N, 3] normals under [4, 4] or [N, 4, 4]: they turn with the inverse transpose, whatever its scale."""
    linear = matrices[..., :3, :3]
    try:
        linear = np.linalg.inv(linear)
    except np.linalg.LinAlgError:  # flattened or hidden by a scale of 0: the cofactors are its limit, but for a scale
        a, b, c = linear[..., 0, :], linear[..., 1, :], linear[..., 2, :]
        linear = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=-1)
    return np.einsum("...ji,...j->...i", linear, normals)


def _primitives(document: GltfDocument) -> Iterator[tuple[GltfPrimitive, dict[str, Any], Float]]:
    """The primitives of triangles in the scene, checked, each with what brings it into file space."""
    worlds = world_matrices(document.data)
    for index, world in worlds.items():
        node = document.data["nodes"][index]
        if "mesh" in node:
            for number, primitive in enumerate(document.data["meshes"][node["mesh"]]["primitives"]):
                if not is_triangles(primitive) or "POSITION" not in primitive["attributes"]:
                    continue
                document.check_primitive(primitive)
                skin = _skin_matrices(document, node, primitive, worlds)
                yield GltfPrimitive(index, node["mesh"], number), primitive, world if skin is None else skin


def read_gltf(path: Path, axes_to_world: Float = Y_UP_TO_WORLD, files: Confined | None = None) -> Mesh:
    """Read .glb or .gltf. Parts follow the node hierarchy; points and lines are left alone.

    UVs are those that the base colour reads, its KHR_texture_transform applied. A part has only the vertices that its
    faces use, in the file's order.

    Args:
        path: the file.
        axes_to_world: [3, 3] the file's axes in the world.
        files: where the files that it names must lie; its own folder where nothing is given.

    Raises:
        RequestError: the file is broken, compressed, or leans on files that are not there.
    """
    document = GltfDocument.read(path, files)
    data = document.data
    found: list[Part] = []
    corner_counts: dict[int, int] = {}
    for where, primitive, matrices in _primitives(document):
        node, attributes = data["nodes"][where.node], primitive["attributes"]
        faces = primitive_faces(document, primitive)
        positions = document.floats(attributes["POSITION"])
        with np.errstate(all="ignore"):  # vertices that are not finite are refused in words later
            vertices = _transform(positions, matrices) @ axes_to_world.T
        material = data["materials"][primitive["material"]] if "material" in primitive else None
        uv = base_color_uvs(document, primitive)
        if uv is not None:
            uv = uv[faces]
            uv[..., 1] = 1 - uv[..., 1]
        normals = None
        if "NORMAL" in attributes:
            with np.errstate(all="ignore"):
                turned = _turn_normals(document.floats(attributes["NORMAL"]), matrices)
                normals = (turned @ axes_to_world.T)[faces]
        used, flat = np.unique(faces, return_inverse=True)
        if len(used) < len(vertices):  # primitives often share one block of vertices
            vertices, faces = vertices[used], flat.reshape(-1, 3)
        first = corner_counts.get(where.node, 0)
        corners = first + np.arange(faces.size, dtype=np.int64).reshape(-1, 3)
        corner_counts[where.node] = first + faces.size
        found.append(
            Part(
                name="",
                object_name=node.get("name") or data["meshes"][where.mesh].get("name") or f"object_{where.node}",
                material="" if material is None else material.get("name", f"material_{primitive['material']}") or "",
                vertices=vertices,
                faces=faces,
                uv=uv,
                corners=corners,
                corner_count=0,
                normals=normals,
                primitive=where,
            )
        )
    parts = [replace(p, corner_count=corner_counts[p.primitive.node]) for p in found if p.primitive]
    return Mesh(path, tuple(parts), axes_to_world, document)
