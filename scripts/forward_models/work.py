"""Where data and training states live: git-ignored."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def work_folder() -> Path:
    """The folder, made where it is not."""
    folder = REPOSITORY / ".work" / "forward_models"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
