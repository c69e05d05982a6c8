"""What all tests share."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from pathlib import Path

import pytest

with contextlib.suppress(ImportError):  # Blender's own tests know nothing of it
    from hypothesis import settings

    # The same examples each time: a fault that was always there must not fail somebody else's change. Set DDREP_HUNT=1
    # to draw others.
    settings.register_profile("ddrep", derandomize="DDREP_HUNT" not in os.environ)
    settings.load_profile("ddrep")

# Verdicts on tiny models belong into nobody's cache; programs that tests start inherit it.
CACHE = tempfile.TemporaryDirectory(prefix="ddrep-tests-")
os.environ.setdefault("DDREP_CACHE", CACHE.name)


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Stable Diffusion model, built once a process: read it, and copy it to spoil it."""
    import tiny_models  # takes seconds, and most tests need no model

    return tiny_models.build_sd(tmp_path_factory.mktemp("models") / "sd")


@pytest.fixture
def short_film(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turntables of two small frames: whole ones take most of a small job's time. test_report draws one."""
    from ddrep_core.jobs import texture

    monkeypatch.setattr(texture, "turntable", functools.partial(texture.turntable, frames=2, size=32))
