"""A corpus of mesh files of our own making: every format, exporters' habits, and what goes wrong in them.

    python tests/mesh_corpus.py FOLDER      writes each case into a folder of its own, and FOLDER/expected.json
    scripts/try_meshes FOLDER               textures them all and prints a table

A case says what must come of it: "textured", "refused" (in words, exit status 2), or "either".
"""

from __future__ import annotations

import base64
import io
import json
import struct
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

EXPECTED = "expected.json"


@dataclass(frozen=True)
class Case:
    """One mesh file: what it is called, who writes it (and what stands beside it), and what must come of it."""

    file: str
    write: Callable[[Path], None]
    expected: str = "textured"
    large: bool = False
    """Takes seconds to read: for `scripts/try_meshes`, not for every run of the tests."""

    @property
    def name(self) -> str:
        return f"{Path(self.file).stem}/{self.file}"


@dataclass(frozen=True)
class Shape:
    """A mesh of polygons: points [N, 3] (Y up), UVs [M, 2], and faces as lists of (point, UV)."""

    points: np.ndarray
    uvs: np.ndarray
    faces: list[list[tuple[int, int]]]

    def moved(self, scale: Any = 1.0, offset: Any = 0.0) -> Shape:
        return Shape(self.points * np.asarray(scale) + np.asarray(offset), self.uvs, self.faces)

    def triangles(self) -> tuple[np.ndarray, np.ndarray]:
        """[F, 3] points and [F, 3] UVs of the polygons' fans."""
        fans = [[face[0], face[k], face[k + 1]] for face in self.faces for k in range(1, len(face) - 1)]
        both = np.asarray(fans)
        return both[..., 0], both[..., 1]

    def corners(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A vertex for each corner: points [3F, 3], UVs [3F, 2] (v downward, as in glTF), and flat normals."""
        points, uvs = self.triangles()
        places = self.points[points]
        normals = np.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0])
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
        coordinates = self.uvs[uvs].reshape(-1, 2) * (1, -1) + (0, 1)
        return places.reshape(-1, 3), coordinates, np.repeat(normals, 3, axis=0)


def cube() -> Shape:
    points = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    uvs, faces = [], []
    for number, quad in enumerate(quads):
        u, v = number % 3 / 3 + 0.02, number // 3 / 2 + 0.02
        faces.append([(point, len(uvs) + k) for k, point in enumerate(quad)])
        uvs += [(u, v), (u + 0.28, v), (u + 0.28, v + 0.44), (u, v + 0.44)]
    return Shape(points, np.array(uvs), faces)


def vase(around: int = 12, up: int = 6) -> Shape:
    """A closed round body of quads and triangles with a seam."""
    turn, rise = np.meshgrid(np.linspace(0, 2 * np.pi, around + 1), np.linspace(0, np.pi, up + 1), indexing="ij")
    radius = np.sin(rise) * (1 + 0.2 * np.cos(3 * rise))
    points = np.stack([radius * np.sin(turn), -1.3 * np.cos(rise), radius * np.cos(turn)], axis=-1).reshape(-1, 3)
    uvs = np.stack([turn / (2 * np.pi), rise / np.pi], axis=-1).reshape(-1, 2) * 0.96 + 0.02
    faces = []
    for column in range(around):
        for row in range(up):
            a, b = column * (up + 1) + row, (column + 1) * (up + 1) + row
            faces.append([(k, k) for k in (a, b, b + 1, a + 1)])
    return Shape(points, uvs, faces)


def plate(cells: int = 2, axis: int = 2) -> Shape:
    """A flat square that faces `axis`: a poster (2) or a floor (1)."""
    steps = np.linspace(-1, 1, cells + 1)
    flat = [(x, y) for y in steps for x in steps]
    points = np.array([(x, y, 0) if axis == 2 else (x, 0, -y) for x, y in flat])
    quads = [(r * (cells + 1) + c, r, c) for r in range(cells) for c in range(cells)]
    faces = [[(k, k) for k in (a, a + 1, a + cells + 2, a + cells + 1)] for a, _, _ in quads]
    return Shape(points, (np.array(flat) + 1) / 2, faces)


# --- OBJ --------------------------------------------------------------------------------------------------------


def obj(shape: Shape, header: str = "o Thing", uv: bool = True) -> str:
    lines = [header] if header else []
    lines += ["v {:.9g} {:.9g} {:.9g}".format(*point) for point in shape.points]
    if uv:
        lines += ["vt {:.9g} {:.9g}".format(*place) for place in shape.uvs]
    for face in shape.faces:
        lines.append("f " + " ".join(f"{p + 1}/{t + 1}" if uv else f"{p + 1}" for p, t in face))
    return "\n".join(lines) + "\n"


def text(content: str | bytes) -> Callable[[Path], None]:
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    return lambda path: _bytes(path, data)


def _bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def with_files(content: str | bytes, files: dict[str, str | bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        text(content)(path)
        for name, other in files.items():
            (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
            text(other)(path.parent / name)

    return write


def picture(kind: str = "PNG", size: int = 8) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(size * size * 3, dtype=np.uint8).reshape(size, size, 3)).save(stream, kind)
    return stream.getvalue()


def two_objects(first: str = "Left", second: str = "Right") -> str:
    lines = obj(cube().moved(1, (-2, 0, 0)), f"o {first}").splitlines()
    counts = len(cube().points), len(cube().uvs)
    for line in obj(cube().moved(1, (2, 0, 0)), f"o {second}").splitlines():
        if line.startswith("f "):
            pairs = (word.split("/") for word in line.split()[1:])
            line = "f " + " ".join(f"{int(p) + counts[0]}/{int(t) + counts[1]}" for p, t in pairs)
        lines.append(line)
    return "\n".join(lines) + "\n"


def many_objects(count: int) -> str:
    lines: list[str] = []
    for number in range(count):
        shape = cube().moved(0.4, (number % 5, number // 5 % 5, number // 25))
        base = number * len(shape.points), number * len(shape.uvs)
        lines.append(f"o Box {number}")
        lines += ["v {:.9g} {:.9g} {:.9g}".format(*point) for point in shape.points]
        lines += ["vt {:.9g} {:.9g}".format(*place) for place in shape.uvs]
        lines += ["f " + " ".join(f"{p + base[0] + 1}/{t + base[1] + 1}" for p, t in face) for face in shape.faces]
    return "\n".join(lines) + "\n"


def ngon(count: int, depth: float = 0.5) -> str:
    """A prism whose two ends are one star of `count` corners each."""
    angle = 2 * np.pi * np.arange(count) / count
    radius = np.where(np.arange(count) % 2, 1.0, 0.5)
    ring = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    lines = [f"v {x:.9g} {y:.9g} {z}" for z in (0, depth) for x, y in ring]
    lines.append("f " + " ".join(str(k + 1) for k in range(count)))
    lines.append("f " + " ".join(str(count + k + 1) for k in reversed(range(count))))
    for k in range(count):
        n = (k + 1) % count
        lines.append(f"f {k + 1} {count + k + 1} {count + n + 1} {n + 1}")
    return "\n".join(lines) + "\n"


def mobius(around: int = 24) -> str:
    """A band with one side: no way round agrees with all of its neighbours."""
    lines = []
    for k in range(around):
        turn = 2 * np.pi * k / around
        for across in (-0.3, 0.3):
            radius = 1 + across * np.cos(turn / 2)
            lines.append(f"v {radius * np.cos(turn):.9g} {across * np.sin(turn / 2):.9g} {radius * np.sin(turn):.9g}")
    for k in range(around - 1):
        lines.append(f"f {2 * k + 1} {2 * k + 2} {2 * k + 4} {2 * k + 3}")
    lines.append(f"f {2 * around - 1} {2 * around} 1 2")
    return "\n".join(lines) + "\n"


def _square_uvs(shape: Shape, first: int) -> str:
    """All faces on one UV square, the face `first` first in the file."""
    faces = [shape.faces[first], *(face for number, face in enumerate(shape.faces) if number != first)]
    square = [[(point, k) for k, (point, _) in enumerate(face)] for face in faces]
    return obj(Shape(shape.points, np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float), square))


def obj_cases() -> list[Case]:
    plain, round_ = obj(cube()), obj(vase())
    mtl = "newmtl Old  oak\nKd 0.5 0.4 0.3\nd 0.5\nmap_Kd -s 2 2 1 -bm 0.5 -clamp on old wood.png\n"
    windows = {"maps/look.mtl": mtl.replace("old wood", "C:\\w\\old wood"), "maps/old wood.png": picture()}
    worn = plain.replace("o Thing", "mtllib my look.mtl\no Thing\nusemtl Old  oak")
    half = plain.index("f 5/")
    hole = "v 0 0 0\nv 4 0 0\nv 4 4 0\nv 0 4 0\nv 1 1 0\nv 1 3 0\nv 3 3 0\nv 3 1 0\nf 1 2 3 4 1 5 6 7 8 5\n"
    uv_moved = Shape(vase().points, vase().uvs * 4 - 1, vase().faces)
    one = np.zeros((1, 2))
    no_area = Shape(cube().points, one, [[(p, 0) for p, _ in face] for face in cube().faces])
    inside_out = Shape(vase().points, vase().uvs, [face[::-1] for face in vase().faces])
    normals = plain + "vn nan nan nan\nvn 0 0 0\n"
    cases = {
        "plain": plain,
        "round": round_,
        "no_uv": obj(cube(), uv=False),
        "tabs": plain.replace(" ", "\t"),
        "spaces": plain.replace(" ", "   ").replace("\n", "  \n"),
        "crlf": plain.replace("\n", "\r\n"),
        "old_mac": plain.replace("\n", "\r"),
        "byte_order_mark": "\ufeff" + plain,
        "utf16": plain.encode("utf-16"),
        "continued": plain.replace("/2 ", "/2 \\\n"),
        "faces_first": "\n".join(sorted(plain.splitlines(), key=lambda line: not line.startswith("f "))),
        "relative": obj(cube(), uv=False)
        .replace("f ", "f -")
        .replace("f -", "f ")
        .replace("f 1 2 4 3", "f -8 -7 -5 -6"),
        "vertex_colours": "\n".join(x + " 1 0 0" if x[:2] == "v " else x for x in plain.splitlines()),
        "weights": "\n".join(x + " 1.0" if x[:2] == "v " else x for x in plain.splitlines()),
        "vt_three": "\n".join(x + " 0.0" if x[:2] == "vt" else x for x in plain.splitlines()),
        "mixed_forms": plain.replace("f 1/1 ", "f 1 "),
        "lines_and_points": plain + "l 1 2 3\np 4\n",
        "zbrush": "#File exported by ZBrush version 2021.\n" + plain + "#MRGB ffa0a0a0ffa0a0a0\n",
        "maya_groups": plain.replace("o Thing", "g default").replace(
            "\nf ", "\ns off\ng pCube1\nusemtl initialShadingGroup\nf ", 1
        ),
        "max_comments": plain.replace("\n", " # 3ds Max\n"),
        "latin1": plain.replace("Thing", "Wände").encode("latin-1"),
        "shift_jis": plain.replace("Thing", "壁").encode("shift_jis"),
        "two_materials": plain[:half].replace("o Thing", "o Thing\nusemtl A") + "usemtl B\n" + plain[half:],
        "two_objects": two_objects(),
        "same_names": two_objects("Same", "Same"),
        "many_objects": many_objects(25),
        "loose_first": "v -9 -9 -9\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 2 4 3\nf 2 3 5\nf 2 5 4\nf 3 4 5\n",
        "loose_sorted_first": plain + "v -5 -5 -5\n",
        "loose_nan": plain + "v nan nan nan\nv inf 0 0\nv 1.#QNAN 0 0\n",
        "concave": "v 0 0 0\nv 4 0 0\nv 1 1 0\nv 0 4 0\nv 1 1 2\nf 1 2 3 4\nf 2 1 5\nf 3 2 5\nf 4 3 5\nf 1 4 5\n",
        "ngon_500": ngon(500),
        "polygon_with_hole": hole,
        "polygon_crossing": "v 0 0 0\nv 2 2 0\nv 2 0 0\nv 0 2 0\nv 1 1 1\nf 1 2 3 4\nf 1 3 5\nf 2 4 5\n",
        "uv_overlap_bottom_first": _square_uvs(cube(), 2),
        "uv_overlap_bottom_last": _square_uvs(cube(), 0),
        "uv_tiled": obj(uv_moved),
        "uv_udim": obj(Shape(cube().points, cube().uvs + (np.arange(24) // 12)[:, None] * (1, 0), cube().faces)),
        "uv_without_area": obj(no_area),
        "uv_nan": plain.replace("vt 0.02 0.02", "vt nan nan"),
        "uv_mirrored": obj(Shape(vase().points, vase().uvs * (-1, 1) + (1, 0), vase().faces)),
        "poster": obj(plate(), "o Poster"),
        "floor": obj(plate(axis=1), "o Floor"),
        "one_triangle": "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n",
        "room": obj(Shape(cube().points, cube().uvs, [face[::-1] for face in cube().faces])),
        "inside_out": obj(inside_out),
        "utm": obj(vase().moved(1, (500000, 200, -5400000))),
        "tiny": obj(vase().moved(1e-6)),
        "huge": obj(vase().moved(1e6)),
        "degenerate": plain + "f 1/1 1/1 2/2\nf 1/1 2/2 2/2\nf 3/3 3/3 3/3\n",
        "double_faces": plain + "\n".join(x for x in plain.splitlines() if x[:2] == "f ") + "\n",
        "joined_at_a_corner": plain
        + "".join(f"v {x} {y} {z}\n" for x, y, z in [(3, 1, 1), (1, 3, 1), (1, 1, 3)])
        + "f 8/1 9/2 10/3\nf 8/1 10/2 11/3\nf 8/1 11/2 9/3\nf 9/1 11/2 10/3\n",
        "mobius": mobius(),
        "three_on_an_edge": plain + "v 0 3 0\nf 1/1 2/2 9/3\n",
        "normals_nowhere": normals + "f 1/1/1 2/2/2 4/3/1\n",
        "normals_missing": plain.replace("f 1/1 2/2", "f 1/1/9 2/2/9"),
        "name_300": plain.replace("Thing", "n" * 300),
        "name_slashes": plain.replace("Thing", '../../a/b\\c:d*?"<>|'),
        "name_emoji": plain.replace("Thing", "🦆 \u202e ̈ ß\u2028x"),
        "name_control": plain.replace("Thing", "a\x07b\x00c"),
        "name_dots": plain.replace("Thing", ".."),
        "missing_library": plain.replace("o Thing", "mtllib nowhere.mtl\nusemtl X\no Thing"),
    }
    found = [Case(f"obj_{name}.obj", text(content)) for name, content in cases.items()]
    found += [
        Case("obj_materials.obj", with_files(worn, {"my look.mtl": mtl, "old wood.png": picture()})),
        Case("obj_windows_paths.obj", with_files(worn.replace("my look.mtl", "maps\\look.mtl"), windows)),
        Case("obj_library_outside.obj", with_files(worn.replace("my look", "../outside"), {"../outside.mtl": mtl})),
        Case("obj_ngon_2000.obj", text(ngon(2000))),
        Case("obj_tiny_parts_10000.obj", text(many_objects(10_000)), "either", large=True),
        Case("obj_needle.obj", text(obj(cube().moved((1e-7, 1, 1e-7)))), "either"),
        Case("obj_truncated.obj", text(plain[: len(plain) * 3 // 4]), "either"),
        Case("obj_binary.obj", text(bytes(range(256)) * 8), "refused"),
        Case("obj_empty.obj", text(""), "refused"),
        Case("obj_points_only.obj", text("v 0 0 0\nv 1 0 0\n"), "refused"),
        Case("obj_words.obj", text("once upon a time\n"), "refused"),
        Case("obj_nan.obj", text(plain.replace("v -1 -1 -1", "v nan 0 0")), "refused"),
        Case("obj_infinite.obj", text(plain.replace("v -1 -1 -1", "v 1e999 0 0")), "refused"),
        Case("obj_comma.obj", text(plain.replace(".", ",")), "refused"),
        Case("obj_bad_index.obj", text(plain + "f 1/1 2/2 99/3\n"), "refused"),
        Case("obj_zero_index.obj", text(plain + "f 0/1 2/2 3/3\n"), "refused"),
        Case("obj_relative_too_far.obj", text(obj(cube(), uv=False) + "f -1 -2 -99\n"), "refused"),
        Case("obj_index_not_whole.obj", text(plain + "f 1.5/1 2/2 3/3\n"), "either"),
        Case("obj_index_huge.obj", text(plain + "f 99999999999999999999/1 2/2 3/3\n"), "refused"),
        Case("obj_no_area.obj", text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n"), "refused"),
        Case("obj_one_point.obj", text("v 1 1 1\nf 1 1 1\n"), "refused"),
        Case("obj_uv_100000.obj", text(obj(Shape(cube().points, cube().uvs * 1e5, cube().faces))), "refused"),
        Case("obj_astronomic.obj", text(obj(vase().moved(1e200))), "refused"),
    ]  # fmt: skip
    return found


# --- PLY, STL, OFF ----------------------------------------------------------------------------------------------


def ply(shape: Shape, form: str = "ascii", uv: bool = False, comment: str = "", colours: bool = False) -> bytes:
    points, coordinates, _ = shape.corners()
    coordinates = coordinates * (1, -1) + (0, 1)
    columns = ["x", "y", "z"] + ["s", "t"] * uv
    rows = np.concatenate([points, coordinates], axis=1)[:, : len(columns)].astype(np.float32)
    head = ["ply", f"format {form} 1.0", *([comment] if comment else []), f"element vertex {len(rows)}"]
    head += [f"property float {name}" for name in columns]
    head += [f"property uchar {name}" for name in ("red", "green", "blue")] * colours
    head += [f"element face {len(rows) // 3}", "property list uchar int vertex_indices", "end_header"]
    start = ("\n".join(head) + "\n").encode()
    if form == "ascii":
        tail = " 200 100 50" if colours else ""
        lines = [" ".join(f"{value:.9g}" for value in row) + tail for row in rows]
        lines += [f"3 {k} {k + 1} {k + 2}" for k in range(0, len(rows), 3)]
        return start + ("\n".join(lines) + "\n").encode()
    order = "<" if "little" in form else ">"
    body = b"".join(row.astype(f"{order}f4").tobytes() + b"\xc8\x64\x32" * colours for row in rows)
    return start + body + b"".join(struct.pack(f"{order}Biii", 3, k, k + 1, k + 2) for k in range(0, len(rows), 3))


def stl(shape: Shape, name: str = "thing") -> str:
    points = shape.corners()[0].reshape(-1, 3, 3)
    facets = [
        "facet normal 0 0 0\nouter loop\n"
        + "".join("vertex {} {} {}\n".format(*p) for p in face)
        + "endloop\nendfacet\n"
        for face in points
    ]
    return f"solid {name}\n" + "".join(facets) + f"endsolid {name}\n"


def binary_stl(shape: Shape, head: bytes = b"") -> bytes:
    faces = shape.corners()[0].reshape(-1, 9).astype("<f4")
    records = b"".join(b"\0" * 12 + face.tobytes() + b"\0\0" for face in faces)
    return head.ljust(80, b"\0") + struct.pack("<I", len(faces)) + records


def off(shape: Shape, head: str = "OFF", colour: str = "") -> str:
    lines = [head, f"{len(shape.points)} {len(shape.faces)} 0"]
    lines += [" ".join(map(str, point)) for point in shape.points]
    lines += [f"{len(face)} " + " ".join(str(p) for p, _ in face) + colour for face in shape.faces]
    return "\n".join(lines) + "\n"


def plain_cases() -> list[Case]:
    named = "comment TextureFile "
    quads = "\n".join(
        ["ply", "format ascii 1.0", "element vertex 8", "property double x", "property double y", "property double z"]
        + ["element face 6", "property list uint8 uint32 vertex_index", "end_header"]
        + [" ".join(map(str, point)) for point in cube().points]
        + ["4 " + " ".join(str(p) for p, _ in face) for face in cube().faces]
    )
    return [
        Case("ply_ascii.ply", text(ply(cube()))),
        Case("ply_little.ply", text(ply(vase(), "binary_little_endian"))),
        Case("ply_big.ply", text(ply(vase(), "binary_big_endian"))),
        Case("ply_uv.ply", text(ply(vase(), uv=True))),
        Case("ply_colours.ply", text(ply(vase(), "binary_little_endian", colours=True))),
        Case("ply_quads.ply", text(quads + "\n")),
        Case("ply_picture.ply", with_files(ply(vase(), uv=True, comment=named + "a.png"), {"a.png": picture()})),
        Case("ply_lost_picture.ply", text(ply(vase(), uv=True, comment=named + "lost.png"))),
        Case("ply_picture_outside.ply", text(ply(vase(), uv=True, comment=named + "../../x.png"))),
        Case("ply_bad_index.ply", text(quads.replace("4 0 1 3 2", "4 0 1 3 99") + "\n"), "refused"),
        Case("ply_points.ply", text(quads.split("element face")[0] + "end_header\n" + "0 0 0\n" * 8), "refused"),
        Case("ply_truncated.ply", text(ply(vase(), "binary_little_endian")[:-200]), "either"),
        Case("ply_noise.ply", text(bytes(range(256))), "refused"),
        Case("ply_nan.ply", text(quads.replace("-1.0 -1.0 -1.0", "nan 0 0", 1) + "\n"), "refused"),
        Case("stl_ascii.stl", text(stl(cube()))),
        Case("stl_binary.stl", text(binary_stl(vase()))),
        Case("stl_binary_solid.stl", text(binary_stl(vase(), b"solid made by a program that says so"))),
        Case("stl_degenerate.stl", text(binary_stl(Shape(cube().points, cube().uvs, [*cube().faces, [(0, 0)] * 3])))),
        Case("stl_empty.stl", text("solid nothing\nendsolid nothing\n"), "refused"),
        Case("stl_truncated.stl", text(binary_stl(vase())[:-30]), "either"),
        Case("stl_count_too_large.stl", text(b"\0" * 80 + b"\xff\xff\xff\xff" + b"\0" * 50), "refused"),
        Case("off_plain.off", text(off(cube()))),
        Case("off_comments.off", text("# by hand\n" + off(cube()).replace("OFF\n", "OFF # head\n# more\n"))),
        Case("off_colours.off", text(off(cube(), colour=" 255 0 0"))),
        Case("off_bad.off", text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n"), "refused"),
        Case("fbx_unknown.fbx", text(b"Kaydara FBX Binary  \0\x1a\0" + bytes(100)), "refused"),
    ]  # fmt: skip


# --- glTF -------------------------------------------------------------------------------------------------------


class Gltf:
    """A glTF document in the making: `data` is its JSON, to be bent as a case likes."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": []}
        self.binary = bytearray()

    def view(self, content: bytes, **more: Any) -> int:
        self.binary.extend(b"\0" * (-len(self.binary) % 4))
        entry = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(content), **more}
        self.data["bufferViews"].append(entry)
        self.binary.extend(content)
        return len(self.data["bufferViews"]) - 1

    def add(self, values: Any, kind: str, dtype: str = "f4", **more: Any) -> int:
        codes = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
        rows = np.ascontiguousarray(np.asarray(values).astype(f"<{dtype}"))
        entry = {"bufferView": self.view(rows.tobytes()), "componentType": codes[dtype], "count": len(rows)}
        entry |= {"type": kind, **more}
        if kind == "VEC3" and dtype == "f4" and "min" not in more and np.isfinite(rows).all():
            entry |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        self.data["accessors"].append(entry)
        return len(self.data["accessors"]) - 1

    def thing(self, shape: Shape, uv: bool = True, indices: str | None = "u2", normals: bool = True) -> Gltf:
        """One node with one mesh of one primitive of one material."""
        points, coordinates, flat = shape.corners()
        attributes = {"POSITION": self.add(points, "VEC3")}
        if normals:
            attributes["NORMAL"] = self.add(flat, "VEC3")
        if uv:
            attributes["TEXCOORD_0"] = self.add(coordinates, "VEC2")
        primitive: dict[str, Any] = {"attributes": attributes, "material": 0}
        if indices:
            primitive["indices"] = self.add(np.arange(len(points)), "SCALAR", indices)
        self.data |= {
            "materials": [{"name": "Paint", "pbrMetallicRoughness": {"baseColorFactor": [0.8, 0.2, 0.2, 1]}}],
            "meshes": [{"name": "Mesh", "primitives": [primitive]}],
            "nodes": [{"name": "Thing", "mesh": 0}],
            "scenes": [{"nodes": [0]}],
            "scene": 0,
        }
        return self

    @property
    def primitive(self) -> dict[str, Any]:
        return self.data["meshes"][0]["primitives"][0]

    def textured(self, content: bytes, mime_type: str = "image/png", slot: str = "baseColorTexture") -> Gltf:
        """The material has a picture of its own already."""
        self.data["images"] = [{"bufferView": self.view(content), "mimeType": mime_type}]
        self.data["textures"] = [{"source": 0}]
        self.data["materials"][0]["pbrMetallicRoughness"][slot] = {"index": 0}
        return self

    def uses(self, *names: str, required: bool = False) -> Gltf:
        self.data["extensionsUsed"] = list(names)
        if required:
            self.data["extensionsRequired"] = list(names)
        return self

    def glb(self) -> bytes:
        binary = bytes(self.binary) + b"\0" * (-len(self.binary) % 4)
        data = {**self.data, "buffers": self.data.get("buffers", [{"byteLength": len(binary)}])}
        head = json.dumps(data).encode()
        head += b" " * (-len(head) % 4)
        body = struct.pack("<II", len(head), 0x4E4F534A) + head + struct.pack("<II", len(binary), 0x004E4942) + binary
        return struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body

    def embedded(self) -> str:
        uri = "data:application/octet-stream;base64," + base64.b64encode(self.binary).decode()
        return json.dumps({**self.data, "buffers": [{"byteLength": len(self.binary), "uri": uri}]})

    def separate(self, uri: str = "data.bin") -> str:
        return json.dumps({**self.data, "buffers": [{"byteLength": len(self.binary), "uri": uri}]})


def made(change: Callable[[Gltf], object], shape: Shape | None = None, **options: Any) -> bytes:
    document = Gltf().thing(shape or vase(), **options)
    change(document)
    return document.glb()


def _strip(kind: int) -> bytes:
    """A ribbon around an axis as a strip (5), or a disc of two sides as fans (6)."""
    document = Gltf().thing(vase())
    angle = np.linspace(0, 2 * np.pi, 17)
    if kind == 5:
        rows = np.stack([np.repeat(np.sin(angle), 2), np.tile([1.0, -1.0], 17), np.repeat(np.cos(angle), 2)], axis=1)
        uv = np.stack([np.repeat(angle / 6.3, 2), np.tile([0.1, 0.9], 17)], axis=1)
    else:
        rows = np.stack([np.sin(angle), np.zeros(17), np.cos(angle)], axis=1)
        rows[0] = (0, 0.5, 0)
        uv = np.stack([np.sin(angle), np.cos(angle)], axis=1) / 2 + 0.5
        uv[0] = 0.5
    document.data["meshes"][0]["primitives"][0] = {
        "attributes": {"POSITION": document.add(rows, "VEC3"), "TEXCOORD_0": document.add(uv, "VEC2")},
        "mode": kind,
    }
    return document.glb()


def _quantised(transform: bool) -> bytes:
    """As gltfpack writes: 16-bit positions with the scale in the node, 16-bit UVs with theirs in the material."""
    document = Gltf()
    points, coordinates, normals = vase().corners()
    attributes = {
        "POSITION": document.add(np.pad(np.rint(points * 8191), ((0, 0), (0, 1))), "VEC4", "i2"),
        "NORMAL": document.add(np.pad(np.rint(normals * 127), ((0, 0), (0, 1))), "VEC4", "i1", normalized=True),
        "TEXCOORD_0": document.add(np.rint(coordinates * 4095), "VEC2", "u2", normalized=True),
    }
    for name, stride in (("POSITION", 8), ("NORMAL", 4)):
        accessor = document.data["accessors"][attributes[name]]
        accessor["type"] = "VEC3"
        document.data["bufferViews"][accessor["bufferView"]]["byteStride"] = stride
    low = document.data["accessors"][attributes["POSITION"]]
    low |= {"min": np.rint(points * 8191).min(axis=0).tolist(), "max": np.rint(points * 8191).max(axis=0).tolist()}
    pbr: dict[str, Any] = {}
    document.data |= {
        "materials": [{"pbrMetallicRoughness": pbr}],
        "meshes": [{"primitives": [{"attributes": attributes, "material": 0}]}],
        "nodes": [{"mesh": 0, "scale": [1 / 8191] * 3}],
        "scenes": [{"nodes": [0]}],
    }
    document.textured(picture())
    names = ["KHR_mesh_quantization"]
    if transform:
        pbr["baseColorTexture"]["extensions"] = {"KHR_texture_transform": {"scale": [65535 / 4095] * 2}}
        names.append("KHR_texture_transform")
    return document.uses(*names, required=True).glb()


def _sparse() -> bytes:
    document = Gltf().thing(vase())
    entry = document.data["accessors"][document.primitive["attributes"]["POSITION"]]
    places = document.view(np.array([0, 1], "<u2").tobytes())
    values = document.view(np.array([[0, -2, 0], [0, -2, 0]], "<f4").tobytes())
    entry["sparse"] = {
        "count": 2,
        "indices": {"bufferView": places, "componentType": 5123},
        "values": {"bufferView": values},
    }
    return document.glb()


def _shared_vertices() -> bytes:
    """Two primitives over one vertex buffer: each leaves the other's vertices unused."""
    document = Gltf().thing(vase())
    count = len(vase().corners()[0])
    first = document.primitive
    half = count // 6 * 3
    second = {**first, "indices": document.add(np.arange(half, count), "SCALAR", "u2"), "material": 1}
    first["indices"] = document.add(np.arange(half), "SCALAR", "u2")
    document.data["meshes"][0]["primitives"] = [second, first]
    document.data["materials"].append({"name": "Other"})
    return document.glb()


def _skinned(joint: int = 1) -> bytes:
    document = Gltf().thing(vase())
    count = len(vase().corners()[0])
    document.primitive["attributes"] |= {
        "JOINTS_0": document.add(np.tile([0, joint, 0, 0], (count, 1)), "VEC4", "u1"),
        "WEIGHTS_0": document.add(np.tile([0.5, 0.5, 0, 0], (count, 1)), "VEC4"),
    }
    inverse = document.add(np.tile(np.eye(4).reshape(-1), (2, 1)), "MAT4")
    document.data["nodes"][0]["skin"] = 0
    document.data["nodes"] += [{"name": "Hip", "children": [2]}, {"name": "Knee", "translation": [0, 0.2, 0]}]
    document.data["scenes"][0]["nodes"] = [0, 1]
    document.data["skins"] = [{"joints": [1, 2], "inverseBindMatrices": inverse}]
    times, moves = document.add([[0.0], [1.0]], "SCALAR", min=[0], max=[1]), document.add(np.eye(3)[:2], "VEC3")
    document.data["animations"] = [
        {
            "samplers": [{"input": times, "output": moves}],
            "channels": [{"sampler": 0, "target": {"node": 2, "path": "translation"}}],
        }
    ]
    return document.glb()


def _morphed(short: bool = False) -> bytes:
    document = Gltf().thing(vase())
    points = vase().corners()[0][: 9 if short else None]
    document.primitive["targets"] = [{"POSITION": document.add(points * 0.1, "VEC3")}]
    document.data["meshes"][0] |= {"weights": [0.5], "extras": {"targetNames": ["fat"]}}
    return document.glb()


def _nodes(document: Gltf) -> None:
    document.data["nodes"] = [
        {"name": "Root", "rotation": [0, 0.6, 0, 0.8], "children": [1, 2, 3, 4]},
        {"name": "A", "mesh": 0, "translation": [-3, 0, 0]},
        {"name": "B", "mesh": 0, "translation": [3, 0, 0], "scale": [-1, 1, 1]},
        {"name": "Sun", "extensions": {"KHR_lights_punctual": {"light": 0}}},
        {"name": "Eye", "camera": 0, "translation": [0, 0, 9]},
    ]
    document.data["cameras"] = [{"type": "perspective", "perspective": {"yfov": 0.8, "znear": 0.1}}]
    document.data["extensions"] = {"KHR_lights_punctual": {"lights": [{"type": "directional"}]}}
    document.uses("KHR_lights_punctual")


def _many_parts(document: Gltf) -> None:
    document.data["nodes"] = [
        {"name": f"Part {k}", "mesh": 0, "translation": [k % 4 * 3, 0, k // 4 * 3]} for k in range(12)
    ]
    document.data["scenes"] = [{"nodes": list(range(12))}]


def _tiny_parts(document: Gltf, count: int = 10_000) -> None:
    side = 100
    document.data["nodes"] = [
        {"name": f"Rivet/{k}", "mesh": 0, "translation": [k % side * 3, 0, k // side * 3]} for k in range(count)
    ]
    document.data["scenes"] = [{"nodes": list(range(count))}]


def _gpu_instances(document: Gltf) -> None:
    places = document.add([[0, 0, 0], [3, 0, 0]], "VEC3")
    document.data["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": places}}}
    document.uses("EXT_mesh_gpu_instancing")


def _second_uv_set(document: Gltf) -> None:
    attributes = document.primitive["attributes"]
    attributes["TEXCOORD_1"] = attributes["TEXCOORD_0"]
    attributes["TEXCOORD_0"] = document.add(np.zeros((len(vase().corners()[0]), 2)), "VEC2")
    document.textured(picture())
    document.data["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["texCoord"] = 1


def _webp(document: Gltf) -> None:
    document.textured(picture("WEBP"), "image/webp")
    document.data["textures"] = [{"extensions": {"EXT_texture_webp": {"source": 0}}}]
    document.uses("EXT_texture_webp", required=True)


def _ktx2(fallback: bool) -> Callable[[Gltf], None]:
    """The base colour as a supercompressed KTX 2 picture, beside a PNG for those who cannot read it or alone."""

    def change(document: Gltf) -> None:
        document.textured(picture())
        ktx2 = document.view(b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(80))
        document.data["images"].append({"bufferView": ktx2, "mimeType": "image/ktx2"})
        texture: dict[str, Any] = {"extensions": {"KHR_texture_basisu": {"source": 1}}}
        document.data["textures"] = [{"source": 0, **texture} if fallback else texture]
        document.uses("KHR_texture_basisu", required=not fallback)

    return change


def _draco(document: Gltf, required: bool = True) -> None:
    """As an exporter writes it: accessors without data, which lies compressed in a view of its own."""
    attributes = document.primitive["attributes"]
    for index in (*attributes.values(), document.primitive["indices"]):
        for key in ("bufferView", "byteOffset"):
            document.data["accessors"][index].pop(key, None)
    block = document.view(b"DRACO\x02\x02" + bytes(200))
    document.primitive["extensions"] = {
        "KHR_draco_mesh_compression": {
            "bufferView": block,
            "attributes": {name: k for k, name in enumerate(attributes)},
        }
    }
    document.uses("KHR_draco_mesh_compression", required=required)


def _meshopt(document: Gltf) -> None:
    """As gltfpack -c writes: the plain buffer is not in the file, each view names where its compressed bytes are."""
    view = document.data["bufferViews"][0]
    view["extensions"] = {
        "EXT_meshopt_compression": {
            "buffer": 0, "byteOffset": 0, "byteLength": 64, "byteStride": 12, "mode": "ATTRIBUTES", "count": 9,
        }
    }  # fmt: skip
    document.uses("EXT_meshopt_compression", required=True)


def _with_normals(value: float) -> Callable[[Gltf], None]:
    rows = np.full((len(vase().corners()[0]), 3), value)
    return lambda document: document.primitive["attributes"].update(NORMAL=document.add(rows, "VEC3"))


def _with_uvs(value: float) -> Callable[[Gltf], None]:
    rows = np.full((len(vase().corners()[0]), 2), value)
    return lambda document: document.primitive["attributes"].update(TEXCOORD_0=document.add(rows, "VEC2"))


def _sparse_alone(count: int, place: int = 0) -> bytes:
    """Positions of an accessor that has nothing but replacements: the others are zeros."""
    document = Gltf().thing(vase())
    points = vase().corners()[0]
    rows = np.arange(len(points), dtype="<u4")
    rows[0] = place
    entry = {
        "count": count, "type": "VEC3", "componentType": 5126,
        "min": points.min(axis=0).tolist(), "max": points.max(axis=0).tolist(),
        "sparse": {
            "count": len(points),
            "indices": {"bufferView": document.view(rows.tobytes()), "componentType": 5125},
            "values": {"bufferView": document.view(points.astype("<f4").tobytes())},
        },
    }  # fmt: skip
    document.data["accessors"][document.primitive["attributes"]["POSITION"]] = entry
    return document.glb()


def _interleaved() -> bytes:
    document = Gltf().thing(vase())
    points, coordinates, _ = vase().corners()
    rows = np.concatenate([points, coordinates], axis=1).astype("<f4")
    view = document.view(rows.tobytes(), byteStride=20)
    for name, offset in (("POSITION", 0), ("TEXCOORD_0", 12)):
        document.data["accessors"][document.primitive["attributes"][name]] |= {"bufferView": view, "byteOffset": offset}
    return document.glb()


def _set(*path: Any, to: Any) -> Callable[[Gltf], None]:
    """A change: data[path[0]][path[1]]… = to."""

    def change(document: Gltf) -> None:
        place: Any = document.data
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def gltf_cases() -> list[Case]:
    pbr, material = ("materials", 0, "pbrMetallicRoughness"), ("materials", 0)
    plain = Gltf().thing(vase())
    nested = {"nodes": [{"children": [k + 1]} for k in range(1500)] + [{"mesh": 0}]}
    cases: dict[str, bytes] = {
        "plain": plain.glb(),
        "no_uv": made(lambda d: None, cube(), uv=False),
        "no_normals": made(lambda d: None, normals=False),
        "no_indices": made(lambda d: None, indices=None),
        "indices_u1": made(lambda d: None, cube(), indices="u1"),
        "indices_u4": made(lambda d: None, indices="u4"),
        "strip": _strip(5),
        "fan": _strip(6),
        "sparse": _sparse(),
        "interleaved": _interleaved(),
        "quantised": _quantised(False),
        "gltfpack": _quantised(True),
        "shared_vertices": _shared_vertices(),
        "skinned": _skinned(),
        "morphed": _morphed(),
        "nodes_lights_cameras": made(_nodes),
        "many_parts": made(_many_parts, cube()),
        "gpu_instances": made(_gpu_instances),
        "second_uv_set": made(_second_uv_set),
        "picture": made(lambda d: d.textured(picture("JPEG"), "image/jpeg")),
        "webp": made(_webp),
        "normal_map": made(lambda d: (d.textured(picture()), _set(*material, "normalTexture", to={"index": 0})(d))),
        "metal_map": made(lambda d: d.textured(picture(), slot="metallicRoughnessTexture")),
        "mask": made(lambda d: d.data["materials"][0].update(alphaMode="MASK", alphaCutoff=0.4)),
        "blend": made(lambda d: d.data["materials"][0].update(alphaMode="BLEND")),
        "double_sided": made(_set(*material, "doubleSided", to=True)),
        "unlit": made(
            lambda d: (_set(*material, "extensions", to={"KHR_materials_unlit": {}})(d), d.uses("KHR_materials_unlit"))
        ),
        "transmission": made(
            lambda d: (
                _set(*material, "extensions", to={"KHR_materials_transmission": {"transmissionFactor": 1}})(d),
                d.uses("KHR_materials_transmission"),
            )
        ),
        "variants": made(
            lambda d: (
                d.primitive.update(
                    extensions={"KHR_materials_variants": {"mappings": [{"material": 0, "variants": [0]}]}}
                ),
                d.data.update(extensions={"KHR_materials_variants": {"variants": [{"name": "a"}]}}),
                d.uses("KHR_materials_variants"),
            )
        ),
        "no_material": made(lambda d: (d.primitive.pop("material"), d.data.pop("materials"))),
        "no_scene": made(lambda d: (d.data.pop("scene"), d.data.pop("scenes"))),
        "no_names": made(lambda d: (d.data["nodes"][0].pop("name"), d.data["meshes"][0].pop("name"))),
        "name_300": made(_set("nodes", 0, "name", to="n" * 300)),
        "name_surrogate": made(_set("nodes", 0, "name", to="a\ud83db")),
        "name_slashes": made(_set("nodes", 0, "name", to="../..\\con:*")),
        "material_surrogate": made(_set(*material, "name", to="\udc80")),
        "negative_scale": made(_set("nodes", 0, "scale", to=[-1, 1, 1])),
        "matrix": made(_set("nodes", 0, "matrix", to=[2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 2, 3, 1])),
        "far": made(_set("nodes", 0, "translation", to=[5e5, 0, 5.4e6])),
        "wrong_bounds": made(lambda d: d.data["accessors"][0].update(min=[0, 0, 0], max=[0, 0, 0])),
        "vertex_colours": made(
            lambda d: d.primitive["attributes"].update(
                COLOR_0=d.add(np.full((len(vase().corners()[0]), 4), 200), "VEC4", "u1", normalized=True)
            )
        ),
        "degenerate": made(lambda d: d.primitive.update(indices=d.add([*range(30), 0, 0, 1, 2, 2, 2], "SCALAR", "u2"))),
        "poster": made(lambda d: None, plate()),
        "floor": made(lambda d: None, plate(axis=1)),
        "points_beside": made(
            lambda d: d.data["meshes"][0]["primitives"].append({"mode": 0, "attributes": {"POSITION": 0}})
        ),
        "extras": made(lambda d: d.data.update(extras={"deep": [[[{"a": None}]]]})),
        "ktx2_beside_png": made(_ktx2(True)),
        "ktx2_alone": made(_ktx2(False)),
        "sparse_alone": _sparse_alone(len(vase().corners()[0])),
        "nan_normals": made(_with_normals(np.nan)),
        "zero_normals": made(_with_normals(0.0)),
        "infinite_normals": made(_with_normals(np.inf)),
        "uv_without_area": made(_with_uvs(0.25)),
        "uv_nan": made(_with_uvs(np.nan)),
        "unknown_extension": made(lambda d: d.data["nodes"][0].update(extensions={"ACME_thing": {"x": 1}})),
    }
    refused: dict[str, bytes] = {
        "truncated": plain.glb()[:-50],
        "only_a_head": plain.glb()[:12],
        "noise": b"glTF" + bytes(range(200)),
        "version_1": made(_set("asset", "version", to="1.0")),
        "no_asset": made(lambda d: d.data.pop("asset")),
        "draco": made(lambda d: d.uses("KHR_draco_mesh_compression", required=True)),
        "meshopt": made(lambda d: d.uses("EXT_meshopt_compression", required=True)),
        "draco_blocks": made(_draco),
        "draco_optional": made(lambda d: _draco(d, required=False)),
        "meshopt_views": made(_meshopt),
        "required_unknown": made(lambda d: d.uses("ACME_secret_geometry", required=True)),
        "indices_negative": made(lambda d: d.primitive.update(indices=d.add([0, 1, -1], "SCALAR", "i2"))),
        "index_minus_one": made(lambda d: d.primitive.update(indices=d.add([0, 1, -1], "SCALAR", "u4"))),
        "sparse_outside": _sparse_alone(len(vase().corners()[0]), place=10**9),
        "sparse_zeros_without_end": _sparse_alone(2**31),
        "view_outside": made(lambda d: d.data["bufferViews"][0].update(byteOffset=10**7)),
        "view_negative": made(lambda d: d.data["bufferViews"][0].update(byteOffset=-4)),
        "joints_nowhere": _skinned(joint=9),
        "target_too_short": _morphed(short=True),
        "truncated_json": plain.glb()[: len(plain.glb()) // 6],
        "no_mesh": made(lambda d: (d.data.update(nodes=[{"name": "Empty"}]), d.data.pop("meshes"))),
        "lines_only": made(lambda d: d.primitive.update(mode=1)),
        "index_too_large": made(lambda d: d.primitive.update(indices=d.add([0, 1, 60000], "SCALAR", "u2"))),
        "accessor_too_long": made(lambda d: d.data["accessors"][0].update(count=10**6)),
        "nan": made(
            lambda d: d.primitive["attributes"].update(
                POSITION=d.add(np.full((len(vase().corners()[0]), 3), np.nan), "VEC3")
            )
        ),
        "scale_zero": made(_set("nodes", 0, "scale", to=[0, 0, 0])),
    }
    either: dict[str, bytes] = {
        "nodes_in_a_circle": made(
            lambda d: d.data.update(nodes=[{"mesh": 0, "children": [1]}, {"children": [0]}], scenes=[{"nodes": [0]}])
        ),
        "deep": made(lambda d: (d.data.update(nested), d.data.update(scenes=[{"nodes": [0]}]))),
        "mesh_negative": made(_set("nodes", 0, "mesh", to=-1)),
        "accessor_negative": made(_set("meshes", 0, "primitives", 0, "attributes", "POSITION", to=-1)),
        "gpu_instances_without_end": made(
            lambda d: (
                _gpu_instances(d),
                d.data["accessors"][-1].update(count=2**40),
                d.data["accessors"][-1].pop("bufferView"),
            )
        ),
        "nodes_share_a_child": made(
            lambda d: d.data.update(
                nodes=[{"children": [2]}, {"children": [2]}, {"mesh": 0}], scenes=[{"nodes": [0, 1]}]
            )
        ),
        "stride_odd": made(lambda d: d.data["bufferViews"][0].update(byteStride=13)),
        "nodes_list": made(_set("nodes", to={"0": {"mesh": 0}})),
        "mesh_text": made(_set("nodes", 0, "mesh", to="0")),
        "name_number": made(_set("nodes", 0, "name", to=5)),
        "extensions_text": made(
            lambda d: (d.textured(picture()), _set(*pbr, "baseColorTexture", "extensions", to="KHR")(d))
        ),
        "material_list": made(_set("materials", to=[[]])),
        "attributes_list": made(_set("meshes", 0, "primitives", 0, "attributes", to=[])),
        "translation_text": made(_set("nodes", 0, "translation", to="up")),
        "count_negative": made(lambda d: d.data["accessors"][0].update(count=-3)),
        "texture_missing": made(_set(*pbr, "baseColorTexture", to={"index": 7})),
        "huge_number": made(_set("nodes", 0, "scale", to=[10**400, 1, 1])),
    }
    found = [Case(f"glb_{name}.glb", text(content)) for name, content in cases.items()]
    found += [Case(f"glb_{name}.glb", text(content), "refused") for name, content in refused.items()]
    found += [Case(f"glb_{name}.glb", text(content), "either") for name, content in either.items()]
    found.append(Case("glb_tiny_parts_10000.glb", text(made(_tiny_parts, cube())), "either", large=True))
    outside = Gltf().thing(cube())
    leads_out = with_files(outside.separate("../out.bin"), {"../out.bin": bytes(outside.binary)})
    external = Gltf().thing(vase())
    external.data |= {"images": [{"uri": "a%20b.webp"}], "textures": [{"source": 0}]}
    external.data["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    return [
        *found,
        Case("gltf_embedded.gltf", text(plain.embedded())),
        Case("gltf_separate.gltf", with_files(plain.separate("a%20b.bin"), {"a b.bin": bytes(plain.binary)})),
        Case("gltf_byte_order_mark.gltf", text("\ufeff" + plain.embedded()), "either"),
        Case("gltf_webp_beside.gltf", with_files(external.embedded(), {"a b.webp": picture("WEBP")})),
        Case("gltf_no_buffer.gltf", text(plain.separate()), "refused"),
        Case("gltf_lost_picture.gltf", text(external.embedded()), "refused"),
        Case("gltf_outside.gltf", leads_out, "refused"),
        Case("gltf_not_base64.gltf", text(plain.separate("data:application/octet-stream;base64,!!!")), "refused"),
        Case("gltf_buffers_list.gltf", text('{"asset":{"version":"2.0"},"buffers":[[]]}'), "refused"),
        Case("gltf_list.gltf", text("[]"), "refused"),
        Case("gltf_nesting.gltf", text("[" * 100_000), "refused"),
        Case("gltf_not_json.gltf", text("{"), "refused"),
        Case("gltf_huge_integer.gltf", text('{"asset":{"version":"2.0"},"scene":' + "9" * 5000 + "}"), "refused"),
    ]  # fmt: skip


# --- COLLADA and 3MF --------------------------------------------------------------------------------------------


def collada(shape: Shape, up: str = "Z_UP", nodes: Sequence[str] = ("",), uv: bool = True) -> str:
    """COLLADA as Blender wrote it: one geometry of polygons, a node for each transform in `nodes`."""
    flat = " ".join(f"{value:.9g}" for value in shape.points.reshape(-1))
    places = " ".join(f"{value:.9g}" for value in shape.uvs.reshape(-1))
    order = " ".join(f"{p} {t}" if uv else f"{p}" for face in shape.faces for p, t in face)
    counts = " ".join(str(len(face)) for face in shape.faces)

    def source(name: str, values: str, params: str) -> str:
        listed = "".join(f'<param name="{p}" type="float"/>' for p in params)
        return (
            f'<source id="{name}"><float_array id="{name}-a" count="{len(values.split())}">{values}</float_array>'
            f'<technique_common><accessor source="#{name}-a" count="{len(values.split()) // len(params)}" '
            f'stride="{len(params)}">{listed}</accessor></technique_common></source>'
        )

    bind = '<instance_material symbol="M" target="#M"/>'
    bind = f"<bind_material><technique_common>{bind}</technique_common></bind_material>"
    listed = "".join(
        f'<node id="n{k}" name="Node {k}">{transform}<instance_geometry url="#g">{bind}</instance_geometry></node>'
        for k, transform in enumerate(nodes)
    )
    texcoord = '<input semantic="TEXCOORD" source="#u" offset="1" set="0"/>' if uv else ""
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">'
        f'<asset><unit name="meter" meter="1"/><up_axis>{up}</up_axis></asset>'
        '<library_effects><effect id="E"><profile_COMMON><technique sid="common"><lambert><diffuse><color>0.8 0.2 0.2 1'
        "</color></diffuse></lambert></technique></profile_COMMON></effect></library_effects>"
        '<library_materials><material id="M" name="Paint"><instance_effect url="#E"/></material></library_materials>'
        f'<library_geometries><geometry id="g" name="Thing"><mesh>{source("p", flat, "XYZ")}{source("u", places, "ST")}'
        '<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>'
        f'<polylist material="M" count="{len(shape.faces)}"><input semantic="VERTEX" source="#v" offset="0"/>{texcoord}'
        f"<vcount>{counts}</vcount><p>{order}</p></polylist></mesh></geometry></library_geometries>"
        f'<library_visual_scenes><visual_scene id="s">{listed}</visual_scene></library_visual_scenes>'
        '<scene><instance_visual_scene url="#s"/></scene></COLLADA>'
    )


def three_mf(shape: Shape, transform: str = "1 0 0 0 1 0 0 0 1 0 0 0", items: int = 1) -> bytes:
    points, _ = shape.triangles()
    vertices = "".join('<vertex x="{}" y="{}" z="{}"/>'.format(*point) for point in shape.points)
    faces = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in points)
    built = f'<item objectid="1" transform="{transform}"/>' * items
    model = (
        '<?xml version="1.0"?><model unit="millimeter" xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02">'
        f'<resources><object id="1" name="Thing" type="model"><mesh><vertices>{vertices}</vertices>'
        f"<triangles>{faces}</triangles></mesh></object></resources><build>{built}</build></model>"
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("[Content_Types].xml", '<?xml version="1.0"?><Types/>')
        archive.writestr("3D/3dmodel.model", model)
    return stream.getvalue()


def other_cases() -> list[Case]:
    bomb = (
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
        + "".join(f'<!ENTITY {chr(98 + k)} "{("&" + chr(97 + k) + ";") * 10}">' for k in range(9))
        + "]><COLLADA>&j;</COLLADA>"
    )
    return [
        Case("dae_z_up.dae", text(collada(vase()))),
        Case("dae_y_up.dae", text(collada(vase(), "Y_UP"))),
        Case("dae_no_uv.dae", text(collada(cube(), uv=False))),
        Case("dae_nodes.dae", text(collada(cube(), nodes=("<translate>3 0 0</translate>", "<scale>1 2 1</scale>")))),
        Case("dae_no_scene.dae", text(collada(cube()).replace('<instance_visual_scene url="#s"/>', "")), "refused"),
        Case("dae_broken.dae", text(collada(cube())[:900]), "refused"),
        Case("dae_bomb.dae", text(bomb), "refused"),
        Case("dae_bad_index.dae", text(collada(cube()).replace("<p>0 0", "<p>99 0")), "refused"),
        Case("3mf_plain.3mf", text(three_mf(cube()))),
        Case("3mf_moved.3mf", text(three_mf(cube(), "0 1 0 -1 0 0 0 0 1 5 5 0"))),
        Case("3mf_twice.3mf", text(three_mf(vase(), items=2))),
        Case("3mf_no_zip.3mf", text(b"not a zip"), "refused"),
        Case("3mf_empty_zip.3mf", text(b"PK\x05\x06" + bytes(18)), "refused"),
    ]  # fmt: skip


def cases() -> list[Case]:
    """All of them, in a fixed order; names are unique."""
    return [*obj_cases(), *plain_cases(), *gltf_cases(), *other_cases()]


def write_case(case: Case, folder: Path) -> Path:
    """Write one case into a folder of its own; returns its mesh file."""
    path = folder / case.name
    path.parent.mkdir(parents=True, exist_ok=True)
    case.write(path)
    return path


def write_corpus(folder: Path) -> int:
    """Write all cases and what must come of each; returns how many there are."""
    listed = cases()
    for case in listed:
        write_case(case, folder)
    (folder / EXPECTED).write_text(json.dumps({case.name: case.expected for case in listed}, indent=1))
    return len(listed)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(f"{write_corpus(Path(sys.argv[1]))} mesh files in {sys.argv[1]}")
