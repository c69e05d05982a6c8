"""The benchmark of a large model, on a small one: every kind of representation is sampled and told with its cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

VIEWS = {"image": 1, "nerf": 8}
"""Of two kinds: each costs a network of its own, and textures take longest to build."""
SCRIPT = Path(__file__).parent.parent / "scripts" / "benchmark_large_model"


def test_kinds_are_measured_over_their_views() -> None:
    sizes = ["--width", "32", "--size", "64", "--steps", "2", "--device", "cpu", "--kinds", *VIEWS]
    ended = subprocess.run([sys.executable, str(SCRIPT), *sizes], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    for kind, views in VIEWS.items():
        found = report[kind]
        assert found["views"] == views and found["evaluations"] == 2
        assert 0 < found["prior_seconds_an_evaluation"] < found["seconds_an_evaluation"]
        assert found["loop_over_prior"] > 1


@pytest.mark.parametrize("wrong", [["--size", "100"], ["--steps", "0"], ["--device", "gpu7"]])
def test_what_is_typed_wrong_is_told(wrong: list[str]) -> None:
    ended = subprocess.run([sys.executable, str(SCRIPT), *wrong], capture_output=True, text=True)
    assert ended.returncode == 2 and "error:" in ended.stderr and "Traceback" not in ended.stderr
