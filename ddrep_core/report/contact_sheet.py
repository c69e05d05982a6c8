"""What each view saw: the pictures the model sampled, above the finished texture from the same cameras."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ddrep_core.geometry.bake import BakedTexture
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.pictures import to_bytes
from ddrep_core.report.renderer import Renderer
from ddrep_core.views import Views

PAPER, INK, FAINT = (250, 250, 248), (40, 40, 44), (120, 120, 126)
GAP = 8


def contact_sheet(
    mesh: Mesh,
    textures: Mapping[str, BakedTexture | Tensor],
    views: Views,
    pictures: Tensor,
    path: str | Path,
    *,
    tile: int = 192,
    columns: int = 8,
    progress: Callable[[float], object] = lambda share: None,
) -> None:
    """Write a PNG: for each camera the sampled picture, and below it the baked texture seen from there.

    Args:
        textures: by part name.
        pictures: [V, 3, H, W] sRGB in [0, 1], what was sampled, decoded.
        tile: width of a picture on the sheet in pixels; columns: cameras in a row.
        progress: told from time to time what share is done, 0 to 1.
    """
    renderer = Renderer(mesh, textures)
    shape = (max(1, round(tile * pictures.shape[2] / pictures.shape[3])), tile)
    sampled = [tile_image(picture, shape) for picture in pictures]
    corner = pictures[:, :, 0, 0].mean().item()  # the sampled backgrounds' own brightness, to compare like with like
    seen = []
    for camera in views:
        progress(len(seen) / len(views))
        picture = renderer.flat(camera, shape[1], shape[0], background=float(np.clip(corner, 0, 1)))
        seen.append(Image.fromarray(to_bytes(picture)))
    titles = [f"{camera.name}" + (f" · {camera.prompt}" if camera.prompt else "") for camera in views]
    image_sheet({"sampled": sampled, "texture": seen}, titles, columns).save(path, format="PNG")


def tile_image(picture: Tensor, shape: tuple[int, int]) -> Image.Image:
    """[3, H, W] in [0, 1] as a picture of (height, width): enlarged in whole squares, reduced smoothly."""
    array = to_bytes(picture.detach().to("cpu", torch.float32).permute(1, 2, 0).numpy())
    enlarge = shape[1] >= 2 * array.shape[1]
    resample = Image.Resampling.NEAREST if enlarge else Image.Resampling.LANCZOS
    return Image.fromarray(array).resize((shape[1], shape[0]), resample)


def image_sheet(rows: Mapping[str, Sequence[Image.Image]], titles: Sequence[str], columns: int = 8) -> Image.Image:
    """Pictures in columns under their titles; each kind of picture (by name) is one line of a block.

    Args:
        rows: kind -> one picture per title, all of one size.
        titles: one a column.
    """
    first = next(iter(rows.values()))[0]
    columns = min(columns, len(titles))
    label = max(14, first.height // 12)
    font = ImageFont.load_default(label * 0.8)
    margin = int(max(font.getlength(kind) for kind in rows)) + 2 * GAP
    block = label + GAP + len(rows) * (first.height + GAP)
    blocks = -(-len(titles) // columns)
    sheet = Image.new("RGB", (margin + columns * (first.width + GAP), GAP + blocks * (block + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, title in enumerate(titles):
        x, y = margin + number % columns * (first.width + GAP), GAP + number // columns * (block + GAP)
        draw.text((x, y), shortened(title, font, first.width), INK, font)
        for line, (kind, pictures) in enumerate(rows.items()):
            top = y + label + GAP + line * (first.height + GAP)
            sheet.paste(pictures[number], (x, top))
            if number % columns == 0:
                draw.text((GAP, top + first.height // 2 - label // 2), kind, FAINT, font)
    return sheet


def shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
