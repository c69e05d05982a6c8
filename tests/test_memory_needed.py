"""What will not fit is refused before any work is done for it, with the figure that it would need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import geometry_shapes as shapes
import pytest

from ddrep_core import memory
from ddrep_core.errors import RequestError
from ddrep_core.geometry import load_mesh
from ddrep_core.geometry.bake import baking_bytes
from ddrep_core.progress import counted, portion

MEMINFO = "MemTotal:  8000 kB\nMemAvailable:  5000 kB\n"


def system(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    monkeypatch.setattr(memory, "_read", lambda path: files.get(path, ""))


def test_the_tightest_of_what_the_system_says_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    group = {"memory.max": "3000000\n", "memory.current": "2000000\n", "memory.stat": "anon 5\ninactive_file 400000\n"}
    files = {"/proc/meminfo": MEMINFO}
    system(monkeypatch, files)
    assert memory.available_bytes() == 5000 * 1024
    files |= {f"/sys/fs/cgroup/{name}": text for name, text in group.items()}
    assert memory.available_bytes() == 1_400_000
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert memory.available_bytes() == 5000 * 1024


@pytest.mark.parametrize(
    ("table", "root", "names"),
    [
        ("0::/user.slice/ddrep.scope\n", "/sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")),
        (
            "5:cpu:/\n4:memory:/user.slice/ddrep.scope\n0::/\n",
            "/sys/fs/cgroup/memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
)
@pytest.mark.parametrize("limited", ["", "/user.slice", "/user.slice/ddrep.scope"])
def test_a_limit_of_any_group_around_the_process_counts(
    monkeypatch: pytest.MonkeyPatch, table: str, root: str, names: tuple[str, str, str], limited: str
) -> None:
    most, used, cache = names
    files = {"/proc/meminfo": MEMINFO, "/proc/self/cgroup": table}
    system(monkeypatch, files)
    assert memory.available_bytes() == 5000 * 1024
    files |= {f"{root}{limited}/{most}": "3000000\n", f"{root}{limited}/{used}": "2000000\n"}
    files[f"{root}{limited}/memory.stat"] = f"{cache} 400000\n"
    assert memory.available_bytes() == 1_400_000


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell what a process has taken")
def test_a_limit_on_addresses_counts() -> None:
    program = "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 29,) * 2)\n"
    program += "from ddrep_core.memory import available_bytes; print(available_bytes())"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 0 < int(ended.stdout) < 3 << 29


def test_a_system_that_says_nothing_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    system(monkeypatch, {})
    assert memory.available_bytes() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.delattr(os, "sysconf")
    assert memory.available_bytes() is None
    memory.require_bytes(1e30, "All of it", "")


def test_too_much_is_refused_with_both_figures_and_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    system(monkeypatch, {"/proc/meminfo": MEMINFO.replace("5000 kB", "5000000 kB")})
    memory.require_bytes(4.8e9, "Baking", "Less.")
    with pytest.raises(RequestError, match=r"Baking needs about 7.0 GB of memory, and 5.1 GB are free") as caught:
        memory.require_bytes(7e9, "Baking", "Less.")
    assert caught.value.fix == "Less."


def test_finer_textures_more_pictures_and_more_objects_need_more(tmp_path: Path) -> None:
    mesh = load_mesh(shapes.cube_obj(tmp_path / "cube.obj"))
    needs = [baking_bytes(mesh, size, 8, (64, 64)) for size in (256, 1024, 4096, 8192)]
    assert needs == sorted(needs) and needs[-1] < 6e9
    assert baking_bytes(mesh, 1024, 64, (512, 512)) > baking_bytes(mesh, 1024, 8, (512, 512))


def test_shares_of_parts_are_shares_of_the_whole() -> None:
    told: list[float] = []
    assert list(counted("abcd", portion(told.append, 0.5, 1))) == list("abcd")
    assert told == [0.5, 0.625, 0.75, 0.875]
