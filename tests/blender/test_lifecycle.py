"""Install, enable, disable, uninstall; and what Blender's own validator and the manual ask for."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import bpy
from conftest import MODULE, ROOT


def blender_scripts() -> Path:
    return Path(bpy.utils.resource_path("LOCAL")) / "scripts"


def test_the_zip_passes_blenders_validator(package):
    program = blender_scripts() / "addons_core/bl_pkg/cli/blender_ext.py"
    tags = blender_scripts() / "modules/_bpy_internal/extensions/tags.py"
    command = [sys.executable, str(program), "validate", f"--valid-tags={tags}", str(package)]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_the_zip_is_pure_python_opens_no_port_and_never_imports_the_engine(package):
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        sources = {name: archive.read(name).decode() for name in names if name.endswith(".py")}
    assert {Path(name).suffix for name in names} <= {".py", ".toml", ""}
    for name, source in sources.items():
        for line in source.splitlines():
            assert not line.strip().startswith(
                ("import torch", "from torch", "import ddrep_core", "from ddrep_core")
            ), name
            assert "shell=True" not in line, name
            assert not re.match(r"\s*(import|from) (socket|http|urllib|asyncio|multiprocessing|pickle)", line), name


def test_the_same_files_give_the_same_zip(package, tmp_path):
    subprocess.run([sys.executable, str(ROOT / "scripts/build_extension"), "--output-dir", str(tmp_path)], check=True)
    assert next(tmp_path.glob("*.zip")).read_bytes() == package.read_bytes()


def our_classes():
    import bl_ext.user_default.ddrep as ddrep

    modules = [
        ddrep.properties,
        ddrep.preferences,
        ddrep.lists,
        ddrep.panels,
        ddrep.presets,
        *ddrep.operators.MODULES,
    ]
    return [cls for module in modules for cls in module.CLASSES]


def test_every_property_and_operator_says_what_it_is_for(addon):
    silent = []
    for cls in our_classes():
        rna = getattr(bpy.types, cls.__name__, cls).bl_rna
        if issubclass(cls, bpy.types.Operator):
            group, name = cls.bl_idname.split(".")
            if not getattr(getattr(bpy.ops, group), name).get_rna_type().description:
                silent.append(cls.__name__)
        own = {name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})}
        for name in own & set(rna.properties.keys()):
            found = rna.properties[name]
            if not found.description and not name.startswith("filter_") and "preset" not in cls.__name__:
                silent.append(f"{cls.__name__}.{name}")
            if found.type == "ENUM":
                silent += [
                    f"{cls.__name__}.{name}.{item.identifier}" for item in found.enum_items if not item.description
                ]
    assert not silent


def test_classes_follow_the_naming_convention(addon):
    for cls in our_classes():
        assert cls.__name__.startswith("DDREP_"), cls
        if issubclass(cls, bpy.types.Operator):
            assert cls.bl_idname.startswith("ddrep."), cls


def test_disable_leaves_nothing_and_enable_brings_it_back(addon, cube):
    bpy.ops.preferences.addon_disable(module=MODULE)
    assert not hasattr(bpy.types.Scene, "ddrep") and not hasattr(bpy.types.Object, "ddrep")
    assert not [name for name in dir(bpy.types) if name.startswith("DDREP_")]
    handlers = [*bpy.app.handlers.load_post, *bpy.app.handlers.depsgraph_update_post]
    assert not [each for each in handlers if "ddrep" in each.__module__]
    bpy.ops.preferences.addon_enable(module=MODULE)
    assert bpy.context.scene.ddrep.texture.prompt == "a wooden crate"


def test_disable_while_a_job_runs_leaves_the_job_running(addon, cube, pump):
    bpy.context.scene.ddrep.texture.prompt = "a slow crate"
    bpy.ops.ddrep.texture()
    manager = addon.runtime.current().manager
    (job,) = manager.jobs.values()
    pump(lambda: job.progress.index > 0)
    handle, name = job.handle, job.name
    bpy.ops.preferences.addon_disable(module=MODULE)
    assert handle.poll() is None
    bpy.ops.preferences.addon_enable(module=MODULE)
    addon.preferences.preferences().jobs_folder = str(job.folder.path.parent)  # Blender forgets them on disabling
    addon.runtime.find_jobs()
    pump(lambda: name in addon.runtime.current().manager.jobs)
    found = addon.runtime.current().manager.jobs[name]
    assert found.state == "running"
    handle.wait(timeout=30)
    pump(lambda: found.state == "done", seconds=30)


def test_zz_uninstall(package, addon):
    index = [repository.module for repository in bpy.context.preferences.extensions.repos].index("user_default")
    assert bpy.ops.extensions.package_uninstall(repo_index=index, pkg_id="ddrep") == {"FINISHED"}
    assert MODULE not in bpy.context.preferences.addons
    assert not hasattr(bpy.types.Scene, "ddrep")
    assert not (Path(bpy.utils.user_resource("EXTENSIONS")) / "user_default/ddrep").exists()
    status = bpy.ops.extensions.package_install_files(
        filepath=str(package), repo="user_default", enable_on_install=True
    )
    assert status == {"FINISHED"}
