# SPDX-License-Identifier: GPL-3.0-or-later
"""Thumbnails of results and of pictures on their way, for the panels."""

from pathlib import Path

import bpy.utils.previews

_pictures: bpy.utils.previews.ImagePreviewCollection | None = None


def register() -> None:
    global _pictures
    _pictures = bpy.utils.previews.new()


def unregister() -> None:
    global _pictures
    if _pictures is not None:
        bpy.utils.previews.remove(_pictures)
    _pictures = None


def icon(path: Path | None) -> int:
    """The icon number of a picture, 0 where there is none. Loaded once for each version of the file."""
    if _pictures is None or path is None:
        return 0
    try:
        key = f"{path}:{path.stat().st_mtime_ns}"
    except OSError:
        return 0
    if key not in _pictures:
        for old in [each for each in _pictures if each.startswith(f"{path}:")]:
            del _pictures[old]
        _pictures.load(key, str(path), "IMAGE")
    return _pictures[key].icon_id
