# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of single views of results, which the artist paints over."""

from collections.abc import Iterator
from pathlib import Path

import bpy

PAINTED = "ddrep_painting"
"""Custom property of a picture: JOB/SAMPLE/CAMERA, the view of the result that it is of."""


def painting_of(job: str, sample: int, camera: str, file: Path) -> bpy.types.Image:
    """A drawn view as a picture of this file, packed; another one each time."""
    image = bpy.data.images.load(str(file), check_existing=False)
    image.name = f"{camera} of {job}"
    image[PAINTED] = f"{job}/{sample}/{camera}"
    image.alpha_mode = "STRAIGHT"
    image.use_fake_user = True  # a picture that nothing shows is not saved
    image.pack()
    image.filepath_raw = f"//{image.name}.png"  # not the temporary file, which goes
    for packed in image.packed_files:
        packed.filepath = f"//{image.name}.png"
    return image


def paintings() -> Iterator[tuple[bpy.types.Image, str, int, str]]:
    """All pictures of views in this file, each with its job, its sample and its camera."""
    for image in bpy.data.images:
        job, _, rest = str(image.get(PAINTED, "")).partition("/")
        sample, _, camera = rest.partition("/")
        if job and sample.isdecimal() and camera:
            yield image, job, int(sample), camera


def show(context: bpy.types.Context, image: bpy.types.Image) -> bool:
    """Show a picture in the largest Image Editor that is open, ready to paint on. Returns whether there is one."""
    areas = [area for window in context.window_manager.windows for area in window.screen.areas]
    editors = [area for area in areas if area.type == "IMAGE_EDITOR"]
    if not editors:
        return False
    area = max(editors, key=lambda each: each.width * each.height)
    space = area.spaces.active
    space.image = image
    space.ui_mode = "PAINT"
    area.tag_redraw()
    return True


def open_editor(context: bpy.types.Context, image: bpy.types.Image) -> bool:
    """Show a picture in a new window. Returns whether one could be opened."""
    if bpy.app.background or context.window is None:
        return False
    bpy.ops.wm.window_new()
    window = context.window_manager.windows[-1]
    area = max(window.screen.areas, key=lambda each: each.width * each.height)
    area.type = "IMAGE_EDITOR"
    return show(context, image)
