"""What is given away: the same bytes for the same files, an index that Blender reads, pins, licences."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLENDER = sorted(
    ROOT.glob(".venv-blender-*/lib/python3.*/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
)


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return script("build_release")


def script(name: str) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / "scripts" / name))
    specification = importlib.util.spec_from_loader(name, loader)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    loader.exec_module(module)
    return module


def test_a_wheel_s_bytes_are_its_files(release: ModuleType, tmp_path: Path) -> None:
    """Whatever the order, the dates and the rights that a build backend gave them."""
    files = {"b/two.py": b"2" * 1000, "a.py": b"1", "x-1.dist-info/RECORD": b"r", "x-1.dist-info/METADATA": b"m"}
    made = []
    for number, names in enumerate((list(files), list(reversed(files)))):
        path = tmp_path / f"{number}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                entry = zipfile.ZipInfo(name, (2001 + number, 2, 3, 4, 5, 6))
                entry.external_attr = (0o100600 + number) << 16
                archive.writestr(entry, files[name])
        made.append(release.normal_zip(path, tmp_path / f"{number}-normal.whl"))
    assert made[0].read_bytes() == made[1].read_bytes()
    with zipfile.ZipFile(made[0]) as archive:
        assert archive.namelist()[-1].endswith("RECORD")  # as the format recommends
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_the_extension_s_bytes_are_its_files(release: ModuleType, tmp_path: Path) -> None:
    extension = script("build_extension")
    first, again = extension.build(tmp_path / "one"), extension.build(tmp_path / "two")
    assert first.read_bytes() == again.read_bytes()
    wheel = tmp_path / "ddrep-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    with zipfile.ZipFile(extension.build(tmp_path / "with", wheel)) as archive:
        assert archive.read("engine_wheel/ddrep-0.1.0-py3-none-any.whl") == b"wheel"


def test_only_what_git_knows_is_built(release: ModuleType) -> None:
    known = {path.as_posix() for path in release.known_files()}
    assert {"pyproject.toml", "README.md", "ddrep_core/cli.py", "ddrep_core/LICENSE"} <= known
    assert not any("__pycache__" in path or path.startswith("tests") for path in known)


def test_the_index_is_the_one_that_blender_makes(release: ModuleType, tmp_path: Path) -> None:
    script("build_extension").build(tmp_path)
    ours = json.loads(release.write_index(tmp_path).read_text())
    (entry,) = ours["data"]
    assert entry["archive_url"] == "./ddrep-0.1.0.zip" and entry["archive_hash"].startswith("sha256:")
    if not BLENDER:
        pytest.skip("no Blender here to compare with (scripts/test_blender_matrix)")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    shutil.copy(tmp_path / "ddrep-0.1.0.zip", theirs)
    subprocess.run(
        [sys.executable, str(BLENDER[-1]), "server-generate", f"--repo-dir={theirs}"], check=True, capture_output=True
    )
    assert json.loads((theirs / "index.json").read_text()) == ours


def test_everything_that_is_needed_is_pinned_with_hashes_and_has_a_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", lock)
    pinned = {}
    for entry in filter(str.strip, entries):
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", entry)
        assert match is not None and "--hash=sha256:" in entry, entry[:80]
        pinned[match[1].lower()] = match[2]
    needed = [re.split(r"[<>=~!;\[ ]", each)[0].lower() for each in project["dependencies"]]
    assert [name for name in needed if name not in pinned] == []
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if "==" in line:
            name, version = line.split("==")
            assert pinned[name] == version
    rows = re.findall(r"(?m)^\| ([\w.-]+) \| ([\w.+]+) \| (\S.*) \|$", (ROOT / "docs/licences.md").read_text())
    assert {name: version for name, version, _ in rows if name in pinned} == pinned  # scripts/licences


def test_another_build_of_torch_leaves_all_other_pins_and_hashes() -> None:
    """`pip --require-hashes` would not take a torch for CPUs, whose hash the index does not know."""
    asked = subprocess.run([str(ROOT / "scripts/lock"), "--without-torch"], capture_output=True, text=True, check=True)
    whole = re.split(r"(?m)^(?=[A-Za-z0-9])", (ROOT / "requirements.lock").read_text())
    rest = re.split(r"(?m)^(?=[A-Za-z0-9])", asked.stdout)
    gone = {entry.split("==")[0] for entry in whole} - {entry.split("==")[0] for entry in rest}
    assert "torch" in gone and all(name.startswith(("torch", "triton", "nvidia-", "cuda-")) for name in gone)
    assert rest == [entry for entry in whole if entry.split("==")[0] not in gone]
