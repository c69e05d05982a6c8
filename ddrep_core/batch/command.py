"""What the shell's `ddrep batch` was told, and what it answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ddrep_core.batch.batch import Summary
from ddrep_core.batch.state import State
from ddrep_core.batch.table import KINDS, Cell, Row, read_table, sweep_rows
from ddrep_core.errors import RequestError


def rows_and_base(table: Path | None, meshes: list[str], sets: list[str]) -> tuple[list[Row], Path, dict[str, Any]]:
    """The rows, the folder that their files are named from, and what all have.

    With a table, `sets` are for all of its rows. Without, every combination of meshes and values is a job.

    Raises:
        RequestError: neither a table nor values, or both meshes and a table.
    """
    values: dict[str, list[Cell]] = {}
    if meshes:
        values["mesh"] = [Cell(mesh) for mesh in meshes]
    for each in sets:
        key, sign, value = each.partition("=")
        if not sign or not key.strip():
            raise RequestError(f"--set {each} is not KEY=VALUE.", 'For instance: --set prompt="red bricks"')
        values.setdefault(key.strip(), []).append(Cell(value))
    if table is None:
        if not values:
            raise RequestError("There is nothing to run.", "Give a table, or --mesh and --set prompt=...")
        return sweep_rows(values, Path.cwd()), Path.cwd(), {}
    if meshes and table.suffix.lower() not in KINDS:
        raise RequestError(
            f"{table} is no table.", 'A pattern wants quotes, or the shell makes files of it: --mesh "props/*.glb"'
        )
    several = [key for key, listed in values.items() if len(listed) > 1]
    if meshes or several:
        raise RequestError(
            f"The table names the jobs, and {'--mesh' if meshes else several[0]} would make others.",
            'For every combination of values, leave the table out, or write "sweep" in a YAML file.',
        )
    return read_table(table), table.resolve().parent, {key: listed[0] for key, listed in values.items()}


def tell_summary(summary: Summary, events: bool) -> int:
    """Print where everything is; the exit status: 1 where a job failed or was not sent."""
    failed = summary.count(State.FAILED)
    for complaint in summary.unsent:
        print(f"not sent: {complaint}", file=sys.stderr)
    if summary.unsent:
        print("The results are here all the same; the same command tries again.", file=sys.stderr)
    if not events:
        print(f"{summary.count(State.DONE)} done, {failed} failed")
        for name, now in summary.standings.items():
            if now.state is State.FAILED:
                print(f"  {name}: {now.reason}")
        print(f"page             {summary.page}")
    return 1 if failed or summary.unsent else 0
