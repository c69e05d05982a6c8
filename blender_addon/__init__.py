# SPDX-License-Identifier: GPL-3.0-or-later
"""The ddrep extension: textures, objects and panoramas from an image diffusion model, for the scene's own cameras.

Pure Python: Blender's modules, the standard library and the numpy that Blender has. The engine that samples is another
program (`engine/process.py`), in its own environment; the two share a job folder and nothing else.
"""

from . import cli, operators, preferences, properties, runtime, viewport_preview
from .results import gallery
from .ui import lists, panels, presets

MODULES = (properties, preferences, runtime, gallery, viewport_preview, operators, presets, lists, panels, cli)


def register() -> None:
    for module in MODULES:
        module.register()


def unregister() -> None:
    for module in reversed(MODULES):
        module.unregister()
