"""Finding, checking and setting up the engine."""

from __future__ import annotations

import base64
import hashlib
import time
import zipfile
from pathlib import Path

import bpy
import pytest
from conftest import HERE


def engine_wheel(folder: Path, version: str = "0.1.0") -> Path:
    """The fake engine as a wheel, made by hand: nothing is fetched for it."""
    path = folder / f"ddrep-{version}-py3-none-any.whl"
    files = {
        f"ddrep_core/{source.name}": source.read_bytes() for source in (HERE / "fake_engine/ddrep_core").glob("*.py")
    }
    information = f"ddrep-{version}.dist-info"
    files[f"{information}/METADATA"] = f"Metadata-Version: 2.1\nName: ddrep\nVersion: {version}\n".encode()
    files[f"{information}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = ""
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    files[f"{information}/RECORD"] = (record + f"{information}/RECORD,,\n").encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def online(monkeypatch):
    """Online access, as the preferences allow it."""
    system = bpy.context.preferences.system
    before = system.use_online_access
    system.use_online_access = True
    yield
    system.use_online_access = before


def test_check_tells_what_the_doctor_says(addon, pump):
    assert bpy.ops.ddrep.check_engine() == {"FINISHED"}
    window = bpy.context.window_manager.ddrep
    pump()
    assert window.engine_words == "Engine 0.1.0 is ready, on cpu." and not window.engine_problem


def test_set_up_needs_online_access(addon):
    bpy.context.preferences.system.use_online_access = False
    assert not bpy.app.online_access
    assert not bpy.ops.ddrep.set_up_engine.poll()


@pytest.mark.once
def test_one_button_sets_the_engine_up(addon, cube, pump, online, tmp_path, run_texture):
    preferences = addon.preferences.preferences()
    preferences.engine = ""
    preferences.engine_folder = str(tmp_path / "engine")
    preferences.engine_source = str(engine_wheel(tmp_path))
    assert bpy.ops.ddrep.set_up_engine() == {"FINISHED"}
    window = bpy.context.window_manager.ddrep
    fractions = []
    pump(lambda: fractions.append(window.setup_fraction) or addon.runtime.current().set_up is None, seconds=240)
    assert Path(preferences.engine) == tmp_path / "engine", window.setup_words
    assert max(fractions) > 0.1
    pump()
    assert "is ready" in window.engine_words
    from bl_ext.user_default.ddrep.operators.engine import set_up_log

    assert "Making a private environment" in set_up_log().read_text()
    assert run_texture().imported


def test_a_set_up_that_fails_says_so_and_keeps_the_log(addon, pump, online, tmp_path):
    preferences = addon.preferences.preferences()
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "mine.txt").write_text("precious")
    preferences.engine_folder, preferences.engine_source = str(tmp_path / "engine"), str(engine_wheel(tmp_path))
    before = preferences.engine
    bpy.ops.ddrep.set_up_engine()
    pump(lambda: addon.runtime.current().set_up is None, seconds=60)
    assert "holds other files" in bpy.context.window_manager.ddrep.setup_words
    assert preferences.engine == before and (tmp_path / "engine" / "mine.txt").exists()


def test_set_up_can_be_stopped(addon, pump, online, tmp_path):
    preferences = addon.preferences.preferences()
    preferences.engine_folder, preferences.engine_source = str(tmp_path / "engine"), str(engine_wheel(tmp_path))
    bpy.ops.ddrep.set_up_engine()
    time.sleep(0.1)
    bpy.ops.ddrep.cancel_set_up()
    pump(lambda: addon.runtime.current().set_up is None, seconds=60)
    assert "cancelled" in bpy.context.window_manager.ddrep.setup_words


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("", "Say where the engine comes from"),
        ("--index-url=elsewhere", "begins with a dash"),
        ("nowhere/ddrep.whl", "There is nothing at"),
        ("ddrep-9.whl", "There is nothing at"),
        ("FOLDER", "no pyproject.toml"),
        ("FOLDER/notes.txt", "is no wheel"),
    ],
)
def test_an_engine_source_that_is_none_is_refused(addon, online, tmp_path, asked, words):
    (tmp_path / "notes.txt").write_text("")
    addon.preferences.preferences().engine_source = asked.replace("FOLDER", str(tmp_path))
    with pytest.raises(RuntimeError, match=words):
        bpy.ops.ddrep.set_up_engine()


def test_an_engine_source_may_be_a_package_a_wheel_a_checkout_or_an_address(addon, tmp_path):
    from bl_ext.user_default.ddrep.engine.environment import ENGINE_VERSION, engine_source
    from bl_ext.user_default.ddrep.engine.set_up_worker import install_command

    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("pyproject.toml", "constraints.txt"):
        (checkout / name).write_text("")
    wheel = engine_wheel(tmp_path)
    default = addon.preferences.preferences().bl_rna.properties["engine_source"].default
    assert default == f"ddrep=={ENGINE_VERSION}.*"
    for asked in (default, str(wheel), str(checkout), "https://example.org/ddrep-0.1.0-py3-none-any.whl"):
        source = engine_source(f" {asked} ")
        command = install_command(Path("python"), source, "https://example.org/simple")
        assert command[-2:] == ["--", asked] and command[command.index("--extra-index-url") + 1].endswith("/simple")
        assert ("--constraint" in command) == (asked == str(checkout))


def test_find_takes_the_engine_that_is_there(addon, fake_python, monkeypatch):
    addon.preferences.preferences().engine = ""
    monkeypatch.setenv("DDREP_ENGINE", str(fake_python.parent.parent))
    assert bpy.ops.ddrep.find_engine() == {"FINISHED"}
    assert Path(addon.preferences.preferences().engine) == fake_python


def test_the_engine_may_be_named_by_its_folder(addon, fake_python, cube, run_texture):
    addon.preferences.preferences().engine = str(fake_python.parent.parent)
    assert run_texture().imported


def test_what_came_along_is_what_is_set_up_at_first(addon, tmp_path, monkeypatch):
    """A released extension carries its engine's wheel; only what is there at first means it."""
    from bl_ext.user_default.ddrep.engine import environment

    default = addon.preferences.preferences().bl_rna.properties["engine_source"].default
    assert environment.engine_source(default) == default == environment.DEFAULT_SOURCE  # none came along
    monkeypatch.setattr(environment, "CARRIED", tmp_path)
    wheel = engine_wheel(tmp_path)
    assert environment.engine_source(default) == str(wheel)
    assert environment.engine_source("ddrep") == "ddrep"
