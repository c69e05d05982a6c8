"""The house's walls: imports run one way, and no module meets itself again."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENGINE = "ddrep_core"

LAYERS = (
    {"errors", "pictures", "sparse", "features", "process", "__init__"},
    {"training"},
    {"views"},
    {"geometry"},
    {"noise"},
    {"diffreps", "priors"},  # beside each other: neither knows the other
    {"solvers"},
    {"schedules"},
    {"sampling"},
    {"distillation"},
    {"report"},
    {"jobs"},
    {"cli", "__main__"},
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def modules(package: Path) -> dict[str, Path]:
    """Every module by its full name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


def imported(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The full names of all that a module imports, wherever in it: in functions and for type checkers, too.

    `from a import b` is the module a.b where there is one, and a otherwise.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in known else base)
    return found


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One way from a module back to itself, or nothing."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph[name]):
            if found := visit(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


ENGINE_MODULES = modules(ROOT / ENGINE)
ENGINE_IMPORTS = {name: imported(name, path, ENGINE_MODULES) for name, path in ENGINE_MODULES.items()}


def test_there_is_no_circle_in_the_engine() -> None:
    # The front door names everything, lazily and for type checkers; nothing behind it may come back through it.
    inside = {
        name: {other for other in others if other in ENGINE_MODULES and other != ENGINE}
        for name, others in ENGINE_IMPORTS.items()
        if name != ENGINE
    }
    assert circle(inside) == []


def test_imports_run_one_way() -> None:
    def room(name: str) -> str:
        return (name.split(".") + ["__init__"])[1]

    wrong = [
        f"{name} imports {other}"
        for name, others in ENGINE_IMPORTS.items()
        for other in others
        if name != ENGINE
        and other.split(".")[0] == ENGINE
        and room(name) != room(other)
        and (LEVEL[room(other)] > LEVEL[room(name)] or {room(name), room(other)} == {"diffreps", "priors"})
    ]
    assert wrong == []


def test_every_room_has_a_level() -> None:
    assert {(name.split(".") + ["__init__"])[1] for name in ENGINE_MODULES} == set(LEVEL)


@pytest.mark.parametrize("foreign", ["bpy", "blender_addon"])
def test_the_engine_knows_nothing_of_blender(foreign: str) -> None:
    assert [name for name, others in ENGINE_IMPORTS.items() if any(o.split(".")[0] == foreign for o in others)] == []


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"a": "import b", "b": "from c import x", "c": "def f():\n    import a"}, ["a", "b", "c", "a"]),
        ({"a": "import b", "b": "", "c": "import a"}, []),
    ],
)
def test_a_circle_would_be_found(sources: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    known = {name: tmp_path / f"{name}.py" for name in sources}
    for name, path in known.items():
        path.write_text(sources[name])
    assert circle({name: imported(name, path, known) for name, path in known.items()}) == expected
