"""Pictures between tensors, bytes and files: sRGB in [0, 1], 8 bits, PNG, linear light."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike, NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ddrep_core.errors import RequestError

LARGEST_PICTURE = 100_000_000  # pixels


class Decoder(Protocol):
    """What makes pictures of latents: a prior."""

    @property
    def device(self) -> torch.device: ...

    def decode(self, latents: Tensor) -> Tensor: ...


def decode(prior: Decoder, latents: Tensor) -> Tensor:
    """[B, 3, H, W] sRGB in [0, 1] on the CPU, of latents [B, C, h, w]; without a graph."""
    with torch.no_grad():
        pictures = prior.decode(latents.to(prior.device)).float().cpu().clamp(0, 1)
    settle(prior)
    return pictures


def settle(prior: object) -> None:
    """Hear what a prior found out about its pictures while nobody waited for it, where it says so.

    Raises:
        RunError: some were not finite.
    """
    if (wait := getattr(prior, "settle", None)) is not None:
        wait()


def read_picture(path: Path) -> Tensor:
    """[3, H, W] sRGB in [0, 1] of a picture file; what is transparent lies on white.

    Raises:
        RequestError: no picture that can be read, or one of more than 100 million pixels.
    """
    try:
        with Image.open(path) as file:
            if file.width * file.height > LARGEST_PICTURE:
                raise RequestError(f"{path.name} is too large a picture.", "Make it smaller.")
            picture = file.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RequestError(f"{path.name} is no picture that can be read.", "Save it as PNG or JPEG.") from error
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return torch.from_numpy(np.asarray(flat).copy()).permute(2, 0, 1).float() / 255


def middle_square(picture: Tensor, size: int = 512) -> Tensor:
    """[3, size, size] the middle of a picture [3, H, W], sRGB in [0, 1]."""
    short = min(picture.shape[-2:])
    top, left = ((side - short) // 2 for side in picture.shape[-2:])
    square = picture[None, :, top : top + short, left : left + short]
    return functional.interpolate(square, (size, size), mode="bicubic", antialias=True).clamp(0, 1)[0]


def to_picture(image: Tensor) -> Image.Image:
    """An 8-bit picture of [3, H, W] sRGB in [0, 1]; one channel becomes grey."""
    shown = image.expand(3, -1, -1) if image.shape[0] == 1 else image[:3]
    return Image.fromarray((shown * 255 + 0.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy())


def to_uint8(image: Tensor | ArrayLike) -> NDArray[np.uint8]:
    """[C, H, W] or [H, W] in [0, 1] -> [H, W, C] or [H, W] bytes; what is not a number is black."""
    values = image.detach().to("cpu", torch.float32).numpy() if isinstance(image, Tensor) else np.asarray(image)
    values = to_bytes(np.nan_to_num(values))
    return values if values.ndim == 2 else np.ascontiguousarray(values.transpose(1, 2, 0))


def to_bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers in [0, 1] -> bytes, of any shape."""
    return np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)


def png_bytes(picture: Image.Image) -> bytes:
    """A PNG without dates or names inside: the same picture, the same bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def quick_png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of [H, W, 3] or [H, W] bytes in a fifth of the time: rows as differences, little searching for repeats.

    For smooth pictures, which are hardly larger for it.
    """
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    lines = np.empty((height, rows.shape[1] + 1), np.uint8)
    lines[:, 0] = 2  # the filter "Up"
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.data, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
        for kind, data in chunks
    )


def to_linear(srgb: ArrayLike, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """sRGB -> linear light."""
    values = np.asarray(srgb, dtype)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(dtype)


def to_srgb(linear: ArrayLike, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Linear light -> sRGB in [0, 1]."""
    values = np.clip(np.asarray(linear, dtype), 0.0, 1.0)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055).astype(dtype)
