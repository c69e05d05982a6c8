"""What a batch is written in: CSV, JSON Lines, JSON or YAML, each row a job's options by their names."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ddrep_core.confined import is_file, named
from ddrep_core.errors import RequestError
from ddrep_core.json_text import parse_json

LARGEST_TABLE_BYTES = 64 * 2**20
MOST_JOBS = 100_000
KINDS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".yaml", ".yml")


@dataclass(frozen=True)
class Row:
    """One job as its table has it.

    Attributes:
        where: "line 3", to speak of it.
        values: options by name; from a CSV all are `Cell`s, and none is empty.
    """

    where: str
    values: dict[str, Any]


class Cell(str):
    """Text that has yet to become a number, a list or what else its key holds."""


def read_table(path: Path) -> list[Row]:
    """The rows of a table, in its order.

    A YAML or JSON file is a list of jobs, or has "jobs", "defaults" (what each job has unless it says otherwise) and
    "sweep" (lists of values, of which every combination is a job, the last key's values running fastest).

    Raises:
        RequestError: no such file, another kind of file, or one that cannot be read as what it claims to be.
    """
    if not is_file(path):
        raise RequestError(f"There is no batch file {path}.", "Check the path.")
    suffix = path.suffix.lower()
    try:
        if path.stat().st_size > LARGEST_TABLE_BYTES:
            raise RequestError(f"{path} is too large to be a list of jobs.")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is not UTF-8 text.", "Save it as UTF-8.") from error
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    if suffix in (".csv", ".tsv"):
        rows = _csv_rows(text, "\t" if suffix == ".tsv" else None, path)
    elif suffix in (".jsonl", ".ndjson"):
        rows = _json_lines(text, path)
    elif suffix in (".json", ".yaml", ".yml"):
        rows = _document_rows(_document(text, suffix, path), path)
    else:
        raise RequestError(f"{path} is no table that a batch is read from.", f"Use one of {', '.join(KINDS)}.")
    if not rows:
        raise RequestError(f"{path} holds no jobs.")
    return rows


def sweep_rows(values: Mapping[str, Sequence[Any]], base: Path) -> list[Row]:
    """Every combination of these values, the last key's running fastest; a mesh may be a pattern ("props/*.glb").

    Raises:
        RequestError: a key without values, a pattern that no file matches, more jobs than a batch may have.
    """
    lists = []
    for key, listed in values.items():
        found = [each for value in listed for each in (_matching(value, base) if key == "mesh" else [value])]
        if not found:
            raise RequestError(f"The sweep has no values for '{key}'.")
        lists.append(found)
    count = 1
    for listed in lists:
        count *= len(listed)
    if count > MOST_JOBS:
        raise RequestError(f"The sweep makes {count:,} jobs; a batch has {MOST_JOBS:,} at most.")
    combined = itertools.product(*lists)
    return [
        Row(f"job {number} of the sweep", dict(zip(values, chosen, strict=True)))
        for number, chosen in enumerate(combined, 1)
    ]


def _matching(value: Any, base: Path) -> list[Any]:
    """The files that a pattern stands for, sorted; the value itself where it is none."""
    if not isinstance(value, str) or not any(sign in value for sign in "*?["):
        return [value]
    if is_file(base / value):
        return [value]
    pattern = named(value)
    root = Path(pattern.anchor) if pattern.is_absolute() else base
    found = sorted(root.glob(str(pattern.relative_to(pattern.anchor) if pattern.is_absolute() else pattern)))
    files = [str(path) for path in found if path.is_file()]
    if not files:
        raise RequestError(f"No file matches {value} in {base}.", "Check the pattern.")
    return files


def _csv_rows(text: str, delimiter: str | None, path: Path) -> list[Row]:
    if delimiter is None:
        head = text.split("\n", 1)[0]
        delimiter = ";" if head.count(";") > head.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    try:
        names = [name.strip() for name in next(reader, [])]
        if len(set(names)) < len(names) or not all(names):
            raise RequestError(f"{path}: every column needs a name of its own in the first line.")
        for cells in reader:
            where = f"line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(names):
                raise RequestError(
                    f"{path}, {where}: there are {len(cells)} cells under {len(names)} columns.",
                    'Put text with commas into "quotes".',
                )
            values = {name: Cell(cell.strip()) for name, cell in zip(names, cells, strict=False) if cell.strip()}
            rows.append(Row(where, values))
            _refuse_too_many(rows, path)
    except csv.Error as error:
        raise RequestError(f"{path}, line {reader.line_num}: {error}.", "Correct the file.") from error
    return rows


def _json_lines(text: str, path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            rows.append(Row(f"line {number}", _object(_json(line, f"{path}, line {number}"), f"{path}, line {number}")))
            _refuse_too_many(rows, path)
    return rows


def _document(text: str, suffix: str, path: Path) -> Any:
    if suffix == ".json":
        return _json(text, str(path))
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RequestError(f"{path} is not YAML: {' '.join(str(error).split())}.", "Correct the file.") from error


def _document_rows(document: Any, path: Path) -> list[Row]:
    if isinstance(document, list):
        document = {"jobs": document}
    document = _object(document, str(path))
    unknown = set(document) - {"jobs", "defaults", "sweep"}
    if unknown:
        raise RequestError(
            f"{path}: unknown key '{min(unknown, key=str)}'.",
            'A batch is a list of jobs, or has "jobs", "defaults" and "sweep".',
        )
    defaults = _object(document.get("defaults") or {}, f"{path}: 'defaults'")
    jobs, sweep = document.get("jobs") or [], _object(document.get("sweep") or {}, f"{path}: 'sweep'")
    if not isinstance(jobs, list):
        raise RequestError(f"{path}: 'jobs' must be a list.")
    rows = [Row(f"job {number}", _object(job, f"{path}, job {number}")) for number, job in enumerate(jobs, 1)]
    if sweep:
        if not all(isinstance(listed, list) for listed in sweep.values()):
            raise RequestError(f"{path}: every key of 'sweep' needs a list of values.")
        rows += sweep_rows(sweep, path.parent)
    _refuse_too_many(rows, path)
    return [Row(row.where, {**defaults, **row.values}) for row in rows]


def _json(text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise RequestError(f"{where} is not JSON: {error}.", "Correct the file.") from error


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise RequestError(f'{where} must hold names and values, like {{"mesh": "duck.glb", "prompt": "bricks"}}.')
    return value


def _refuse_too_many(rows: Sequence[Row], path: Path) -> None:
    if len(rows) > MOST_JOBS:
        raise RequestError(f"{path} holds more than {MOST_JOBS:,} jobs.", "Divide it into several batches.")
