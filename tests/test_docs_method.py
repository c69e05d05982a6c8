"""Every piece of code in docs/method.md runs, by itself, as it stands; and every module that docs name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "method.md"
BLOCKS = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


@pytest.mark.parametrize(("title", "code"), BLOCKS, ids=[title for title, _ in BLOCKS])
def test_the_example_runs(title: str, code: str) -> None:
    exec(compile(code, f"{PAGE.name}: {title}", "exec", dont_inherit=True), {"__name__": "example"})


def test_every_piece_of_code_is_among_them() -> None:
    assert len(BLOCKS) == PAGE.read_text().count("```python") >= 7


PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_that_a_page_names_is_there(page: Path) -> None:
    named = set(re.findall(r"`([\w/]+/\w+\.py)\b", page.read_text()))
    rooms = (ROOT, ROOT / "ddrep_core", ROOT / "blender_addon")
    assert {name for name in named if not any((room / name).is_file() for room in rooms)} == set()
