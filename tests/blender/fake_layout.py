"""A layout that records what a panel draws, for there is no window to draw in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Layout:
    """Takes every call a panel makes of a UILayout."""

    def __init__(self, record: list | None = None) -> None:
        object.__setattr__(self, "record", [] if record is None else record)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.record.append((name, arguments, options))
            if name == "operator":
                import bpy

                group, function = arguments[0].split(".")
                rna = getattr(getattr(bpy.ops, group), function).get_rna_type()
                return SimpleNamespace(bl_rna=rna)
            if name in {"row", "column", "box", "split", "grid_flow"}:
                return Layout(self.record)
            if name == "prop":
                assert arguments[1] in arguments[0].bl_rna.properties, arguments[1]
            return None

        return call

    def operators(self) -> list[str]:
        return [arguments[0] for name, arguments, _ in self.record if name == "operator"]

    def words(self) -> str:
        """All text that stands there."""
        return " ".join(str(options.get("text", "")) for _, _, options in self.record)
