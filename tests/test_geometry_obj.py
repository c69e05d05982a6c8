"""OBJ as exporters write it, and as nobody should: a mesh or words, never a traceback."""

from __future__ import annotations

import warnings
from pathlib import Path

import geometry_shapes as shapes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ddrep_core.errors import RequestError
from ddrep_core.geometry import load_mesh
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.obj_text import picture_name
from ddrep_core.jobs.create import side_files

CUBE = shapes.cube_obj


@pytest.fixture
def cube(tmp_path: Path) -> str:
    return CUBE(tmp_path / "plain.obj").read_text()


def load(folder: Path, content: str | bytes, name: str = "mesh.obj") -> Mesh:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return load_mesh(folder / name)


def absolute(text: str) -> str:
    """Faces with indices that count back from the end, as of a file that ends with its faces."""
    counts = {"v": text.count("\nv "), "vt": text.count("\nvt ")}
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("f "):
            pairs = (word.split("/") for word in line.split()[1:])
            lines[number] = "f " + " ".join(f"{int(v) - counts['v'] - 1}/{int(t) - counts['vt'] - 1}" for v, t in pairs)
    return "\n".join(lines)


HABITS = {
    "tabs": lambda text: text.replace(" ", "\t"),
    "many spaces": lambda text: text.replace(" ", "   ").replace("\n", "  \n   "),
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "old mac": lambda text: text.replace("\n", "\r"),
    "byte order mark": lambda text: "\ufeff" + text,
    "continued": lambda text: text.replace("/2 ", "/2 \\\n"),
    "continued, crlf": lambda text: text.replace("/2 ", "/2 \\\n").replace("\n", "\r\n"),
    "relative": absolute,
    "faces first": lambda text: "\n".join(sorted(text.splitlines(), key=lambda line: not line.startswith("f "))),
    "vertex colours": lambda text: text.replace(" -1\n", " -1 0.5 0.5 0.5\n").replace(" 1\n", " 1 1 0 0\n"),
    "weights": lambda text: text.replace(" -1\n", " -1 1.0\n"),
    "three texture coordinates": lambda text: "\n".join(x + " 0" if x[:2] == "vt" else x for x in text.split("\n")),
    "slash at the end": lambda text: "\n".join(
        x.replace(" ", "/ ")[2:].join(["f ", "/"]) if x[:2] == "f " else x for x in text.split("\n")
    ),
    "comments": lambda text: text.replace("\n", " # here\n"),
    "groups": lambda text: text.replace("\nf ", "\ng some group\ns off\nf "),
    "lines and points": lambda text: text + "l 1 2\np 3\nf 1 2\ncurv 0 1 1 2\n",
    "utf-16": lambda text: text.encode("utf-16"),
    "no newline at the end": lambda text: text.rstrip(),
}


@pytest.mark.parametrize("habit", HABITS)
def test_exporters_habits_change_nothing(habit: str, cube: str, tmp_path: Path) -> None:
    plain = load(tmp_path, cube)
    other = load(tmp_path, HABITS[habit](cube), "other.obj")
    assert len(other.parts) == 1
    first, second = plain.parts[0], other.parts[0]
    if habit != "comments":  # a name may hold a hash
        assert second.object_name == "Cube" if habit != "faces first" else True
    assert np.array_equal(first.triangles, second.triangles)
    assert first.uv is not None and second.uv is not None and np.array_equal(first.uv, second.uv)
    assert np.array_equal(first.corners, second.corners)


def test_faces_of_mixed_forms_have_what_all_of_them_have(cube: str, tmp_path: Path) -> None:
    text = cube.replace("f 1/1 2/2", "vn 0 0 1\nf 1/1/1 2/2/1").replace("f 5/5 ", "f 5 ")
    part = load(tmp_path, text).parts[0]
    assert part.normals is None and part.unwrapped  # one corner has no UV
    assert len(part.faces) == 12


def test_normals_that_are_not_there_are_none(cube: str, tmp_path: Path) -> None:
    text = "\n".join(
        "f " + " ".join(f"{word}/7" for word in line.split()[1:]) if line.startswith("f ") else line
        for line in cube.splitlines()
    )
    assert load(tmp_path, text).parts[0].normals is None


@pytest.mark.parametrize("word", ["1.#QNAN", "-1.#IND", "nan(ind)", "-nan(ind)", "NaN"])
def test_numbers_that_are_none_cost_nothing_where_no_face_uses_them(word: str, cube: str, tmp_path: Path) -> None:
    assert len(load(tmp_path, cube + f"v {word} 0 0\n").parts[0].faces) == 12
    with pytest.raises(RequestError, match="NaN"):
        load(tmp_path, cube.replace("v 1 1 1", f"v {word} 1 1"))


def test_names_in_an_old_code_page_stay_apart(cube: str, tmp_path: Path) -> None:
    half = cube.index("f 5/5")
    text = cube[:half].replace("o Cube", "o Wände\nusemtl grün") + "o Wünde\nusemtl gran\n" + cube[half:]
    assert load(tmp_path, text.encode("latin-1")).object_names == ("Wände", "Wünde")
    text = text.replace("Wünde", "壁  with\u2028room")
    assert load(tmp_path, text).object_names == ("Wände", "壁  with\u2028room")


PICTURES = {
    "wood.png": "wood.png",
    "old wood.png": "old wood.png",
    "-s 2 2 1 old wood.png": "old wood.png",
    "-s 2 2 -o 0.5 wood.png": "wood.png",
    "-o 1 -bm 0.2 -clamp on -imfchan r wood 2.png": "wood 2.png",
    "-mm 0 1.5 -blendu off 7.png": "7.png",
    "-texres 512 wood.png": "wood.png",
    "-s 1 1 1 7": "7",
    "-wood.png": "-wood.png",
    "": "",
}


@pytest.mark.parametrize("words", PICTURES)
def test_the_picture_stands_behind_its_options(words: str) -> None:
    assert picture_name(words) == PICTURES[words]


@pytest.mark.parametrize(
    ("library", "picture"),
    [
        ("look.mtl", "wood.png"),
        ("my look.mtl", "old wood.png"),
        ('"my look.mtl"', '"old wood.png"'),
        ("first.mtl look.mtl", "wood.png"),
        ("maps\\look.mtl", "wood.png"),
        ("look.mtl", "maps\\wood.png"),
        ("look.mtl", "C:\\Users\\Ann\\My Pictures\\wood.png"),
        ("/home/ann/look.mtl", "/home/ann/wood.png"),
        ("look.mtl", "-s 2 2 1 -bm 0.5 -clamp on wood.png"),
    ],
)
def test_libraries_and_pictures_are_found_and_copied(library: str, picture: str, cube: str, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    for place in (".", "maps"):
        for name in ("wood.png", "old wood.png"):
            Image.new("RGB", (2, 2), "brown").save(tmp_path / place / name)
        for name in ("look.mtl", "my look.mtl"):
            (tmp_path / place / name).write_text(f"newmtl Old  oak\nKd .5 .5 .5\nmap_Kd\t{picture}\n")
    mesh = load(tmp_path, cube.replace("o Cube", f"mtllib\t{library}\no Cube\nusemtl Old  oak"))
    image = mesh.materials["Old  oak"].image
    assert mesh.parts[0].material == "Old  oak"
    assert image is not None and image.is_file() and "wood" in image.name
    copied = side_files(tmp_path / "mesh.obj")
    assert image in {path.resolve() for path in copied.values()}
    assert {path.suffix for path in map(Path, copied)} == {".obj", ".mtl", ".png"}


WORDS = """v 0 0 0|v 1 0 0|v 0 1 0|v 0 0 1|v 1e30 0 0|v nan 0 0|v 1 2|vt 0 0|vt .5|vt 1 1 0|vt nan 1|vn 0 0 1|vn 0 0 0
|vn 1|f 1 2 3|f 1/1 2/2 3/3|f 1//1 2//1 3//1|f 1/1/1 2/2/1 3/3/1|f -1 -2 -3|f 1 2 3 4|f 4 3 2 1 2|f 1 1 1|f 0 1 2|f 1
|f|v|o|o a b|g x|usemtl|usemtl m n|mtllib no.mtl|mtllib|s off|# no|l 1 2|\\|f 1 2 \\|3|f 9 9 9|f 1/9 2/9 3/9|\0|f x y"""
STATEMENTS = st.sampled_from(WORDS.split("|"))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STATEMENTS, max_size=24), st.sampled_from(["\n", "\r\n", "\r", "\n\n", " \n"]), st.booleans())
def test_any_statements_give_a_mesh_or_words(tmp_path: Path, statements: list[str], newline: str, tabs: bool) -> None:
    text = newline.join(statements)
    read_or_refused(tmp_path, text.replace(" ", "\t") if tabs else text)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.binary(max_size=4), st.integers(0, 40))
def test_any_bytes_in_a_cube_give_a_mesh_or_words(tmp_path: Path, place: int, content: bytes, cut: int) -> None:
    whole = CUBE(tmp_path / "plain.obj").read_bytes()
    place %= len(whole)
    read_or_refused(tmp_path, whole[:place] + content + whole[place + cut :])


def read_or_refused(folder: Path, content: str | bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            mesh = load(folder, content)
        except RequestError as error:
            assert error.message.strip()
            return
    for part in mesh.parts:
        assert np.isfinite(part.triangles).all() and part.uv is not None and np.isfinite(part.uv).all()
        assert part.normals is None or np.isfinite(part.normals).all()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n"), min_size=1, max_size=400))
def test_any_name_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    name = f"<{name}>"  # spaces around it are no part of a name, and a backslash at its end joins lines
    text = CUBE(tmp_path / "plain.obj").read_text().replace("o Cube", f"o {name}\nusemtl {name}")
    part = load(tmp_path, text).parts[0]
    assert part.object_name == name and part.material == name


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(6)), st.integers(0, 3))
def test_the_order_of_faces_and_corners_changes_no_surface(tmp_path: Path, order: list[int], turn: int) -> None:
    lines = CUBE(tmp_path / "plain.obj").read_text().splitlines()
    faces = [line.split()[1:] for line in lines if line.startswith("f ")]
    turned = ["f " + " ".join(faces[k][turn:] + faces[k][:turn]) for k in order]
    part = load(tmp_path, "\n".join([line for line in lines if line[:2] != "f "] + turned)).parts[0]
    edges = part.triangles[:, 1:] - part.triangles[:, :1]
    normals = np.cross(edges[:, 0], edges[:, 1])
    assert np.allclose(np.linalg.norm(normals, axis=1) / 2, 2)
    assert np.einsum("ij,ij->i", normals, part.triangles.mean(axis=1)).min() > 0  # outwards
