"""Every piece of code in docs/method.md runs, by itself, as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "method.md"
BLOCKS = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


@pytest.mark.parametrize(("title", "code"), BLOCKS, ids=[title for title, _ in BLOCKS])
def test_the_example_runs(title: str, code: str) -> None:
    exec(compile(code, f"{PAGE.name}: {title}", "exec", dont_inherit=True), {"__name__": "example"})


def test_every_piece_of_code_is_among_them() -> None:
    assert len(BLOCKS) == PAGE.read_text().count("```python") >= 7
