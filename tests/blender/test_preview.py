"""The live preview: which picture is drawn over which object. (That it is drawn: scripts/test_blender_gui.)"""

from __future__ import annotations

from itertools import pairwise

import bpy
import pytest
from conftest import select


@pytest.fixture
def drawn(addon, monkeypatch):
    """What would be drawn, in order: (object, UV map, picture's name, slot)."""
    calls = []
    monkeypatch.setattr(
        addon.viewport_preview,
        "show",
        lambda name, layer, path, slot: calls.append((name, layer, path.name, slot)) or True,
    )
    return calls


def test_a_picture_of_the_views_does_not_hide_the_texture_before_it(addon, cube, pump, drawn):
    """The engine sends both at once; the last one is no texture, and fits no UV map."""
    bpy.context.scene.ddrep.texture.prompt = "a slow crate with views"
    bpy.ops.ddrep.texture()
    (job,) = addon.runtime.current().manager.jobs.values()
    pump(lambda: drawn)
    assert job.progress.preview["kind"] == "views"
    pump()
    assert drawn and all(call[:2] == ("Cube", "UVMap") for call in drawn)
    assert not [name for _, _, name, _ in drawn if "views" in name]


def test_each_object_of_a_job_gets_its_own_picture_one_a_slice(addon, cube, pump, drawn):
    other = cube.copy()
    other.data = cube.data.copy()
    other.name = "Other"
    bpy.context.collection.objects.link(other)
    select(cube, other)
    bpy.context.scene.ddrep.texture.prompt = "a slow crate"
    bpy.ops.ddrep.texture()
    counts = []
    pump(lambda: counts.append(len(drawn)) or {"Cube", "Other"} <= {name for name, *_ in drawn})
    assert max(after - before for before, after in pairwise(counts)) == 1


def test_no_preview_where_it_is_switched_off_or_there_are_no_uvs_yet(addon, cube, pump, drawn):
    bpy.context.scene.ddrep.live_preview = False
    bpy.ops.ddrep.texture()
    pump()
    bpy.context.scene.ddrep.live_preview = True
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    bpy.ops.ddrep.texture()
    pump()
    assert drawn == []
