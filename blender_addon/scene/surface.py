# SPDX-License-Identifier: GPL-3.0-or-later
"""What a texture job says of symmetry, palettes and material maps, as the scene's settings have it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from ..problems import Problem
from .keep import picture_pieces

PALETTE = "inputs/palette.png"


def surface_block(settings: Any) -> tuple[dict[str, Any], dict[str, Iterator[bytes]]]:
    """Keys of the job's texture block, those that are not as without them; and the files that they name.

    Raises:
        Problem: a wish that another one of the scene's stands against, or a folder that is not there.
    """
    block: dict[str, Any] = {}
    files: dict[str, Iterator[bytes]] = {}
    if settings.symmetry != "NONE":
        if settings.keep != "NONE":
            raise Problem("What is kept on one side would have to be worn on the other. Turn Keep or Symmetry off.")
        block["symmetry"] = settings.symmetry.lower()
    if settings.palette_image is not None:
        if settings.palette_image.source == "TILED" or not min(settings.palette_image.size):
            raise Problem(f"'{settings.palette_image.name}' is no plain picture, so it has no palette. Choose another.")
        block["palette"] = PALETTE
        files[PALETTE] = picture_pieces(settings.palette_image)
        if settings.palette_amount < 1:
            block["palette_amount"] = round(settings.palette_amount, 4)
    for key, what in (("intrinsics", "intrinsic-image"), ("normals_model", "normals")):
        text = getattr(settings, key).strip()
        if not text:
            continue
        folder = Path(bpy.path.abspath(text))
        if not (folder / "model_index.json").is_file():
            raise Problem(f"There is no {what} model in {folder}. Choose the folder that holds model_index.json.")
        block[key] = str(folder.resolve())
    if "normals_model" in block and "symmetry" in block:
        raise Problem("A normal map can't be made of a mirrored mesh. Leave the normals model or the symmetry out.")
    if settings.delight and "intrinsics" in block:
        block["delight"] = True
    return block, files
