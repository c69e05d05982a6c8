# SPDX-License-Identifier: GPL-3.0-or-later
"""Which results are kept in the file, whether anything shows them or not."""

import bpy

from .textures import MARK


def kept(task: str, job: str, number: int) -> bool:
    """Whether a sample of a job (its folder's name) is kept in the file."""
    prefix = f"{job}/{number}/"
    blocks = {"panorama": bpy.data.worlds, "generate": bpy.data.objects}.get(task, bpy.data.materials)
    return any(block.use_fake_user for block in blocks if str(block.get(MARK, "")).startswith(prefix))
