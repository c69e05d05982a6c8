"""Tests of the extension in a real Blender (the `bpy` module), installed from the built zip into a clean profile.

Run them with scripts/test_blender_matrix. Where there is no bpy they are not collected.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HAS_BLENDER = importlib.util.find_spec("bpy") is not None

if not HAS_BLENDER:
    collect_ignore_glob = ["test_*.py"]
else:
    PROFILE = tempfile.mkdtemp(prefix="ddrep-profile-")
    os.environ["BLENDER_USER_RESOURCES"] = PROFILE  # before bpy is imported: nothing of the user's is touched
    import bpy

    sys.path.insert(0, str(HERE))

import pytest  # noqa: E402

MODULE = "bl_ext.user_default.ddrep"
ENGINE = Path(os.environ.get("DDREP_ENGINE_PYTHON", ROOT / ".venv/bin/python"))
needs_engine = pytest.mark.skipif(not ENGINE.is_file(), reason="the engine's environment .venv is not made yet")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "once: takes long, and is the same in every Blender (scripts/test_blender)")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Blender 4.2 and 4.5 crash or hang when Python tears the bpy module down: leave before it does."""
    if HAS_BLENDER:
        import shutil

        shutil.rmtree(PROFILE, ignore_errors=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(getattr(config, "ddrep_status", 1))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.ddrep_status = int(exitstatus)  # type: ignore[attr-defined]


def make_environment(folder: Path, version: str = "0.1.0", with_engine: bool = True) -> Path:
    """An environment with the fake engine in it. Returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    site = next((folder / "lib").glob("python3.*")) / "site-packages"
    if with_engine:
        (site / "fake.pth").write_text(str(HERE / "fake_engine") + "\n")
        information = site / f"ddrep-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ddrep\nVersion: {version}\n")
    return python


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built zip."""
    output = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, str(ROOT / "scripts/build_extension"), "--output-dir", str(output)], check=True)
    return next(output.glob("*.zip"))


@pytest.fixture(scope="session")
def fake_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of the fake engine."""
    return make_environment(tmp_path_factory.mktemp("engine") / "environment")


@pytest.fixture(scope="session")
def installed(package: Path) -> ModuleType:
    """The extension, installed from the zip and enabled."""
    status = bpy.ops.extensions.package_install_files(
        filepath=str(package), repo="user_default", enable_on_install=True
    )
    assert status == {"FINISHED"}
    return sys.modules[MODULE]


@pytest.fixture
def addon(installed: ModuleType, fake_python: Path, tmp_path: Path) -> Iterator[ModuleType]:
    """The enabled extension with the fake engine, an empty jobs folder and a fresh scene: a cube and a camera."""
    import bl_ext.user_default.ddrep as ddrep

    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False)
    if not hasattr(bpy.types.Scene, "ddrep"):
        bpy.ops.preferences.addon_enable(module=MODULE)
    preferences = ddrep.preferences.preferences()
    preferences.engine = str(fake_python)
    preferences.jobs_folder = str(tmp_path / "jobs")
    window = bpy.context.window_manager.ddrep
    window.problem = window.warnings = ""
    state = ddrep.runtime.current()
    state.manager.jobs.clear()
    state.samples.clear()
    state.discarded.clear()
    state.engine_problem = None
    state.fitting.clear()
    ddrep.runtime.pump()
    yield ddrep
    for job in list(ddrep.runtime.current().manager.jobs.values() if ddrep.runtime.enabled() else ()):
        if job.handle is not None and job.handle.poll() is None:
            job.handle.kill()
            job.handle.wait()


@pytest.fixture
def cube(addon: ModuleType) -> Any:
    """The cube of the factory scene, selected, with words to texture it by."""
    thing = bpy.data.objects["Cube"]
    select(thing)
    settings = bpy.context.scene.ddrep.texture
    settings.prompt = "a wooden crate"
    settings.resolution = "128"
    settings.seed_locked = True
    settings.seed = 7
    return thing


def select(*things: Any) -> None:
    """Select these objects and no others."""
    for each in bpy.context.view_layer.objects:
        each.select_set(each in things)
    bpy.context.view_layer.objects.active = things[0] if things else None


@pytest.fixture
def pump(addon: ModuleType) -> Callable[..., Any]:
    """Pump as Blender's timer would, until a condition holds (default: all is quiet)."""

    def pump_until(condition: Callable[[], Any] | None = None, seconds: float = 60.0) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            again = addon.runtime.pump()
            value = condition() if condition is not None else again is None
            if value:
                return value
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.01)

    return pump_until


@pytest.fixture
def run_texture(addon: ModuleType, pump: Callable[..., Any]) -> Callable[[], Any]:
    """Press Texture and wait for the end. Returns the job."""

    def run() -> Any:
        before = set(addon.runtime.current().manager.jobs)
        assert bpy.ops.ddrep.texture() == {"FINISHED"}
        (name,) = set(addon.runtime.current().manager.jobs) - before
        pump()
        return addon.runtime.current().manager.jobs[name]

    return run
