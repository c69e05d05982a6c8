"""Runs in Blender: what of ours the open .blend holds, into the JSON file named after `--`."""

import json
import sys
from pathlib import Path

import bpy

MARK = "ddrep_result"


def marked(blocks):
    """Names of the datablocks that are results."""
    return sorted(block.name for block in blocks if MARK in block)


told = {
    "version": bpy.app.version_string,
    "materials": marked(bpy.data.materials),
    "worlds": marked(bpy.data.worlds),
    "objects": marked(bpy.data.objects),
    "unpacked": sorted(image.name for image in bpy.data.images if MARK in image and image.packed_file is None),
    "slots": {
        thing.name: [slot.material.name for slot in thing.material_slots if slot.material and MARK in slot.material]
        for thing in bpy.context.scene.objects
        if thing.type == "MESH"
    },
    "world": bpy.context.scene.world.name,
    "prompt": bpy.context.scene.ddrep.texture.prompt,
    "sizes": {thing.name: [round(each, 3) for each in thing.dimensions] for thing in bpy.data.objects if MARK in thing},
}
Path(sys.argv[sys.argv.index("--") + 1]).write_text(json.dumps(told, indent=1))
