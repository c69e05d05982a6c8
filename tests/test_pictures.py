"""The one door through which picture files come in."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ddrep_core.errors import RequestError
from ddrep_core.jobs.present import mask_of
from ddrep_core.pictures import NoPicture, on_white, open_picture, png_bytes, read_picture, read_picture_file

GREY = np.linspace(0, 1, 256).reshape(16, 16)


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        pytest.param(np.rint(GREY * 255).astype(np.uint8), "png", id="8 bits"),
        pytest.param(np.rint(GREY * 65535).astype(np.uint16), "png", id="16 bits"),
        pytest.param(np.rint(GREY * 65535).astype(np.int32), "tif", id="32-bit whole numbers"),
        pytest.param(GREY.astype(np.float32), "tif", id="floating point"),
    ],
)
def test_greys_of_any_depth_are_the_same_picture(values: np.ndarray, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"grey.{suffix}"
    Image.fromarray(values).save(path)
    assert np.array_equal(np.asarray(open_picture(path).convert("L")), np.arange(256).reshape(16, 16))


def test_a_deep_mask_keeps_what_is_white_and_not_all_that_is_not_black(tmp_path: Path) -> None:
    Image.fromarray(np.rint(GREY * 65535).astype(np.uint16)).save(tmp_path / "mask.png")
    assert np.array_equal(mask_of(tmp_path / "mask.png"), GREY > 0.5)


def test_a_photograph_stands_upright(tmp_path: Path) -> None:
    photo = Image.new("RGB", (20, 10), "black")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    photo.save(tmp_path / "photo.jpg", exif=exif)
    assert read_picture_file(tmp_path / "photo.jpg").size == (10, 20)
    assert read_picture(tmp_path / "photo.jpg").shape == (3, 20, 10)


def test_what_is_transparent_lies_on_white() -> None:
    assert on_white(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("content", [b"", b"no picture", png_bytes(Image.new("RGB", (64, 64), "red"))[:60]])
def test_what_is_no_picture_is_told_by_its_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=r"The mask broken\.png cannot be read as a picture"):
        read_picture_file(path, "mask")
    with pytest.raises(RequestError, match="cannot be read as a picture"):
        read_picture_file(tmp_path)
    with pytest.raises(RequestError, match=r"nothing\.png"):
        read_picture_file(tmp_path / "nothing.png")


def test_sides_that_are_too_small_or_too_large_are_told(tmp_path: Path) -> None:
    Image.new("L", (4, 40)).save(tmp_path / "thin.png")
    with pytest.raises(RequestError, match="4 x 40 pixels, and 8 to 30 a side will do"):
        read_picture_file(tmp_path / "thin.png", smallest=8, largest=30)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_broken_bytes_are_a_picture_or_are_told(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"]))
    buffer = io.BytesIO()
    Image.fromarray(np.arange(768, dtype=np.uint16).astype(np.uint8).reshape(16, 16, 3)).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert open_picture(bytes(content[: data.draw(st.integers(1, len(content)))])).mode in (
            "1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV",
        )  # fmt: skip
    except NoPicture:
        pass
