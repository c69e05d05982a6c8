"""Pictures of results: the right colours in the right places, and the same bytes each time."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import geometry_shapes as shapes
import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from ddrep_core.errors import RunError
from ddrep_core.geometry import load_mesh
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.pictures import to_linear, to_srgb
from ddrep_core.report import Renderer, contact_sheet, renderer, result_page, turntable
from ddrep_core.views import Camera, look_at


@pytest.fixture
def grid(tmp_path: Path) -> Mesh:
    return load_mesh(shapes.grid_obj(tmp_path / "grid.obj"))


def ramp() -> torch.Tensor:
    """Red grows with u, green with v."""
    centres = (torch.arange(64) + 0.5) / 64
    return torch.stack([centres.expand(64, 64), (1 - centres)[:, None].expand(64, 64), torch.zeros(64, 64)])


def test_flat_pictures_show_the_texture_where_it_belongs(grid: Mesh) -> None:
    camera = Camera("above", look_at((0, 0, 5), (0, 0, 0)), np.diag([0.8, 0.8, -0.02, 1.0]), 20, 20)
    image = Renderer(grid, {"Grid": ramp()}).flat(camera, 20, 20, background=0.25)
    assert np.allclose(image[0, 0], 0.25)
    # The grid spans pixels 2..18; u = 0.1 + 0.4 (x + 1), and the camera's up is +Y.
    x = (np.arange(2, 18) + 0.5 - 10) / 10 / 0.8
    assert np.abs(image[10, 2:18, 0] - (0.1 + 0.4 * (x + 1))).max() < 5e-3
    assert np.abs(image[2:18, 10, 1] - (0.1 + 0.4 * (-x + 1))).max() < 5e-3


def test_lit_pictures_have_light_shade_and_shadow(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    renderer = Renderer(mesh, {"Cube": torch.full((3, 16, 16), 0.6)})
    camera = shapes.cameras([(3, -6, 4)], 96, 40.0)[0]
    image = renderer.lit(camera, 96, 96)
    assert image.shape == (96, 96, 3) and image.min() >= 0 and image.max() <= 1
    pixels, _ = camera.project(np.array([[0, 0, 1], [1, 0, 0.0], [0, -1, 0]]))
    top, right, front = (image[int(y), int(x)].mean() for x, y in pixels)
    assert top > right + 0.03 and top > 0.3 and abs(front - right) > 0.01
    corner = image[2, 2].mean()
    ((x, y),), _ = camera.project(np.array([[-1.5, -1.2, -1.0]]))
    assert image[int(y), int(x)].mean() < corner - 0.01  # the ground beside the cube is darker
    assert np.array_equal(image, renderer.lit(camera, 96, 96))


def test_colour_spaces_are_inverse() -> None:
    values = np.linspace(0, 1, 101, dtype=np.float32)
    assert np.allclose(to_srgb(to_linear(values)), values, atol=1e-5)
    assert np.isclose(to_linear(np.float32(0.5)), 0.21404, atol=1e-4)


def test_contact_sheet_shows_pictures_over_texture(grid: Mesh, tmp_path: Path) -> None:
    views = shapes.cameras([(0, -0.01, 4), (0.5, -1, 4), (1, 1, 4)], 16)
    pictures = torch.zeros(3, 3, 16, 16)
    pictures[:, 0] = 1  # pure red
    contact_sheet(grid, {"Grid": ramp()}, views, pictures, tmp_path / "sheet.png", tile=64, columns=2)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    red = (np.abs(sheet - [255, 0, 0]).sum(axis=2) == 0).sum()
    assert red == 3 * 64 * 64


def test_turntable_is_a_film_of_the_right_length_and_the_same_twice(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    textures = {"Cube": torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))}
    for name in ("a", "b"):
        turntable(mesh, textures, tmp_path / f"{name}.mp4", tmp_path / f"{name}.png", frames=5, size=64)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "a.mp4"))[0] == 5
    assert Image.open(tmp_path / "a.png").size == (128, 128)


TETRAHEDRON = ["v 0 0 0", "v 1 0 0", "v 0 1 0", "v 0 0 1"]
TETRAHEDRON_FACES = ["f 1 3 2", "f 1 2 4", "f 1 4 3", "f 2 3 4"]


@pytest.mark.parametrize("loose", ["-1 -1 -1", "0.5 0.5 0.5", "2 2 2", "-1e9 0 0", "nan nan nan", "inf 0 -inf"])
def test_vertices_that_no_face_uses_change_no_picture(loose: str, tmp_path: Path) -> None:
    pictures = []
    for name, extra in (("plain", []), ("loose", [f"v {loose}"])):
        path = tmp_path / f"{name}.obj"
        path.write_text("\n".join(["o T", *TETRAHEDRON, *extra, *TETRAHEDRON_FACES]))
        mesh = load_mesh(path)
        renderer = Renderer(mesh, {"T": ramp()})
        pictures.append(renderer.lit(shapes.cameras([(3, -6, 4)], 48)[0], 48, 48))
        assert mesh.textured_parts[0].unwrapped
    assert np.ptp(pictures[0]) > 0.1
    assert np.array_equal(*pictures)


@pytest.mark.parametrize("normal", ["nan nan nan", "inf 0 0", "0 0 0"])
def test_normals_that_point_nowhere_are_the_faces_own(normal: str, tmp_path: Path) -> None:
    path = tmp_path / "mesh.obj"
    faces = [" ".join(["f", *(f"{v}//1" for v in line.split()[1:])]) for line in TETRAHEDRON_FACES]
    path.write_text("\n".join([*TETRAHEDRON, f"vn {normal}", *faces]))
    part = load_mesh(path).parts[0]
    assert part.normals is not None
    edges = part.triangles[:, 1:] - part.triangles[:, :1]
    expected = np.cross(edges[:, 0], edges[:, 1])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(part.normals, expected[:, None])


def test_a_turntable_without_an_encoder_leaves_the_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    for name, encoder in (("missing", tmp_path / "no-ffmpeg"), ("broken", Path("/bin/false"))):
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(encoder))
        with pytest.raises(RunError, match="turntable"):
            turntable(mesh, {"Cube": ramp()}, tmp_path / "film.mp4", tmp_path / f"{name}.png", frames=3, size=64)
        assert Image.open(tmp_path / f"{name}.png").size == (128, 128)


def test_a_mesh_too_thin_to_be_seen_still_has_a_film(tmp_path: Path) -> None:
    path = tmp_path / "needle.obj"
    path.write_text("v 0 0 0\nv 1e-7 0 0\nv 0 1 0\nv 0 0 1e-7\n" + "\n".join(TETRAHEDRON_FACES))
    mesh = load_mesh(path)
    turntable(mesh, {"needle": ramp()}, tmp_path / "film.mp4", tmp_path / "still.png", frames=2, size=64)
    assert imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "film.mp4"))[0] == 2


class Outline(HTMLParser):
    """Tags that were opened and not closed, addresses, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value for name, value in attrs if name in ("src", "href", "poster") and value]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_every_file_and_takes_words_as_words() -> None:
    files = {
        "texture_A b": "outputs/sample_0000/texture_A b.png",
        "mesh": "outputs/sample_0000/mesh.glb",
        "turntable": "outputs/sample_0000/turntable.mp4",
        "turntable_still": "outputs/sample_0000/turntable.png",
    }
    sample = {"seed": 7, "files": files, "nfe": 49, "agreement": 0.9714, "coverage_share": 0.9, "not_agreed": ["left"]}
    request = {"prompt": "<script>a & b</script>", "seed": 7, "eta": None, "texture": {"resolution": 512}}
    result = {"task": "texture", "request": request, "versions": {"torch": "2"}, "nfe": 49, "samples": [sample]}
    outline = Outline(result_page(result))
    assert not outline.open
    assert "script" not in outline.open and "<script>a & b</script>" in outline.text
    addresses = ["texture_A%20b.png", "mesh.glb", "turntable.mp4", "turntable.png"]
    assert set(outline.addresses) == {f"sample_0000/{name}" for name in addresses}
    assert all(words in outline.text for words in ("Seed 7", "97.1 %", "left", "512", "49"))
    assert "eta" not in outline.text.split("How it was made")[1]


def test_what_is_looked_up_column_by_column_is_what_rows_give() -> None:
    """To the last bit: the renderer's fast ways beside the obvious ones."""
    random = np.random.default_rng(0)
    face, weights = random.integers(0, 50, 4000), random.random((4000, 3)).astype(np.float32)
    for values in (random.random((50, 3, 2)), random.random((50, 3, 3)).astype(np.float32)):
        found = renderer.within(np.ascontiguousarray(values.transpose(1, 2, 0)), face, weights)
        assert found.dtype == values.dtype
        assert np.array_equal(found.T, np.einsum("nk,nkj->nj", weights, values[face]))

    def bilinear(image: np.ndarray, uv: np.ndarray, page: np.ndarray) -> np.ndarray:
        height, width = image.shape[1:3]
        x, y = uv[:, 0] * width - 0.5, (1 - uv[:, 1]) * height - 0.5
        left, up = np.floor(x).astype(int), np.floor(y).astype(int)
        right, down = (x - left).astype(np.float32)[:, None], (y - up).astype(np.float32)[:, None]
        corner = [[image[page, (up + dy) % height, (left + dx) % width] for dx in (0, 1)] for dy in (0, 1)]
        top, bottom = (row[0] * (1 - right) + row[1] * right for row in corner)
        found = top * (1 - down) + bottom * down
        return found / np.float32(255) if image.dtype == np.uint8 else found

    uv, page = random.uniform(-3, 3, (5000, 2)), random.integers(0, 3, 5000)
    for height, width in ((16, 32), (12, 20), (1, 1)):
        for image in (
            random.random((3, height, width, 3)).astype(np.float32),
            random.integers(0, 256, (3, height, width, 3)).astype(np.uint8),
        ):
            found = renderer._bilinear(image, np.ascontiguousarray(uv.T), page)
            assert np.array_equal(found.T, bilinear(image, uv, page))
