"""How modules may import one another, read from the sources: no circle, no room that reaches up."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def modules_of(folder: Path) -> dict[str, Path]:
    """Every module below a package's folder, by its full name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Every module that `name` imports, in full, also inside of functions; not what only type checkers read.

    `from package import thing` is the module `package.thing` where there is one, else `package`; its own dunders
    (`__package__`) are there before it is run, and are no import.
    """
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    for node in _running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                if f"{base}.{alias.name}" in known:
                    yield f"{base}.{alias.name}"
                elif not (alias.name.startswith("__") and base in known):
                    yield base


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield other
                yield from _running(other)
        else:
            yield from _running(node)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Every group of modules that reach each other by imports (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_nodes: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        open_nodes.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in open_nodes:
                lowest[node] = min(lowest[node], order[other])
        if lowest[node] == order[node]:
            group = open_nodes[open_nodes.index(node) :]
            del open_nodes[open_nodes.index(node) :]
            if len(group) > 1 or node in graph[node]:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def graph_of(package: str) -> dict[str, set[str]]:
    """Who imports whom within a package of this repository."""
    known = modules_of(ROOT / package)
    return {name: {other for other in imports_of(name, path, known) if other in known} for name, path in known.items()}


def outside(package: str) -> dict[str, set[str]]:
    """The first name of everything that each module imports."""
    known = modules_of(ROOT / package)
    return {name: {other.split(".")[0] for other in imports_of(name, path, known)} for name, path in known.items()}


@pytest.mark.parametrize("package", ["blender_addon", "ddrep_core"])
def test_nobody_imports_in_a_circle(package):
    assert circles(graph_of(package)) == []


def test_the_extension_shares_nothing_with_the_engine_but_the_job_folder():
    forbidden = {"torch", "ddrep_core", "diffusers", "transformers", "trimesh", "pydantic", "PIL", "scipy"}
    assert {name: found & forbidden for name, found in outside("blender_addon").items() if found & forbidden} == {}


def test_the_rooms_of_the_extension_look_one_way():
    """Settings, scene and engine know nothing of the timer; the timer nothing of buttons; those nothing of panels."""
    rooms = [
        {"problems", "changes", "color_sockets"},
        {"engine"},
        {"scene", "results"},
        {"properties", "preferences", "viewport_preview"},
        {"runtime"},
        {"operators", "cli"},
        {"ui"},
    ]
    level = {room: number for number, group in enumerate(rooms) for room in group}
    wrong = [
        (name, other)
        for name, others in graph_of("blender_addon").items()
        for other in others
        if name.count(".")
        and other.count(".")
        and not other.endswith("ui.widgets")  # small pieces of layout, which the preferences draw with
        and level[name.split(".")[1]] < level[other.split(".")[1]]
    ]
    assert wrong == []


ENGINE_ROOMS = [
    {"errors"},
    {"confined", "json_text", "memory", "progress", "pictures", "sparse", "features", "process"},
    {"training", "palette"},
    {"views", "vector"},
    {"geometry"},
    {"noise"},
    {"diffreps", "priors"},  # beside each other: neither knows the other
    {"solvers"},
    {"schedules"},
    {"sampling"},
    {"distillation", "forward_models"},
    {"report"},
    {"jobs"},
    {"batch", "remote"},
    {"cli_options"},
    {"cli"},
    {"__main__"},
]


def test_the_rooms_of_the_engine_look_one_way():
    """cli → batch → jobs → report → distillation → sampling → schedules → solvers → diffreps → noise → … → views."""
    level = {room: number for number, group in enumerate(ENGINE_ROOMS) for room in group}
    graph = graph_of("ddrep_core")
    assert {name.split(".")[1] for name in graph if name.count(".")} == set(level)
    wrong = [
        (name, other)
        for name, others in graph.items()
        for other in others
        if name.count(".")
        and other.count(".")
        and (room := name.split(".")[1]) != (beside := other.split(".")[1])
        and level[room] <= level[beside]
    ]
    assert wrong == []


def test_the_engine_knows_nothing_of_blender():
    assert {name for name, found in outside("ddrep_core").items() if found & {"bpy", "blender_addon"}} == set()


def test_a_circle_is_seen_wherever_the_import_stands(tmp_path):
    package = tmp_path / "house"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from . import b\nfrom . import __name__ as mine\n")
    (package / "b.py").write_text("def later():\n    from .a import thing\n")
    (package / "c.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .d import thing\n")
    (package / "d.py").write_text("import house.c\n")
    known = modules_of(package)
    graph = {name: {each for each in imports_of(name, path, known) if each in known} for name, path in known.items()}
    assert circles(graph) == [["house.a", "house.b"]]
