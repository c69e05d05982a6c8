"""From rows to jobs: every option known, every file readable, before anything is written or run."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from ddrep_core.batch.run import MODEL_KEYS
from ddrep_core.batch.table import Cell, Row
from ddrep_core.errors import DdrepError, RequestError
from ddrep_core.jobs.create import create_job
from ddrep_core.jobs.edit_source import PICTURES
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.request import SCHEMA_VERSION, TASKS, Request, parse_request
from ddrep_core.jobs.wish import BESIDE_REFERENCE, Wish, wish_of

MOST_COMPLAINTS = 20
LONGEST_SLUG = 48
ALSO = {
    "object": "objects", "lora": "loras", "controlnet": "controlnets", "front": "front_degrees", "pin": "pins",
}  # fmt: skip
"""What the command line calls a key, where that is another name."""


@dataclass(frozen=True)
class PlannedJob:
    """One job of a batch.

    Attributes:
        name: its folder's.
        where: its place in the table, in words.
        wish: what to write into it.
    """

    name: str
    where: str
    wish: Wish

    @property
    def request(self) -> dict[str, Any]:
        """As `create_job` takes it."""
        return self.wish.request

    @property
    def model(self) -> str:
        """Jobs of one model follow one another, so that it is loaded once."""
        return repr([self.request.get(key) for key in MODEL_KEYS])

    def write(self, folder: Path, overwrite: bool = False) -> JobFolder:
        """Its job folder below `folder`.

        Raises:
            RequestError: there are the results of another request.
            RunError: it cannot be written.
        """
        return create_job(folder / self.name, self.request, copies=self.wish.copies, overwrite=overwrite)


def plan_jobs(rows: Sequence[Row], base: Path, common: dict[str, Any] | None = None) -> list[PlannedJob]:
    """The jobs of a table, checked.

    Args:
        rows: options by their names, as the command line has them; "task" where it is not a mesh's texture; "name" for
            the job's folder.
        base: the folder that files are named from.
        common: what each row has, whatever it says itself.

    Raises:
        RequestError: anything that is wrong with any row. The message lists what is wrong with all of them.
    """
    jobs: list[PlannedJob] = []
    complaints: list[str] = []
    taken: dict[str, str] = {}
    readable: dict[Any, str | None] = {}
    for number, row in enumerate(rows, 1):
        try:
            job = _planned(Row(row.where, {**row.values, **(common or {})}), number, len(rows), base)
            if (other := taken.setdefault(job.name.casefold(), row.where)) != row.where:
                raise RequestError(f"it has the name '{job.name}', as {other} has.")
            _check_files(job, readable)
            jobs.append(job)
        except DdrepError as error:
            complaints.append(f"{row.where}: {' '.join(filter(None, (error.message, error.fix)))}")
    if complaints:
        more = len(complaints) - MOST_COMPLAINTS
        shown = complaints[:MOST_COMPLAINTS] + ([f"... and {more} more."] if more > 0 else [])
        raise RequestError(
            f"{len(complaints)} of {len(rows)} jobs cannot be run as they are:\n" + "\n".join(shown),
            "Nothing was started. Correct these and begin again.",
        )
    models = {job.model: number for number, job in reversed(list(enumerate(jobs)))}
    return sorted(jobs, key=lambda job: models[job.model])  # stable: else in the table's order


def _planned(row: Row, number: int, count: int, base: Path) -> PlannedJob:
    values = {ALSO.get(key.replace("-", "_"), key.replace("-", "_")): value for key, value in row.values.items()}
    name, task = values.pop("name", None), values.pop("task", "texture" if "mesh" in values else None)
    if task not in TASKS:
        raise RequestError(
            f"there is no task '{task}'." if task else "it names neither a mesh nor a task.",
            f"Tasks are {', '.join(TASKS)}; a row with a mesh and no task is a texture.",
        )
    block, _ = TASKS[task]
    fields = {key: field for key, field in Request.model_fields.items() if key not in ("schema_version", "task")}
    known = [*fields, *block.model_fields, *BESIDE_REFERENCE]
    for key in values:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1)
            raise RequestError(f"unknown key '{key}'" + (f" (did you mean '{nearest[0]}'?)." if nearest else "."))
    fields |= block.model_fields
    values = {
        key: _from_text(fields.get(key), value) if isinstance(value, Cell) else value for key, value in values.items()
    }
    for key, field in block.model_fields.items():
        if field.is_required() and values.get(key) is None:
            raise RequestError(f"it names no {key}.")
    wish = wish_of(task, values, base)
    parsed = parse_request({"schema_version": SCHEMA_VERSION, **wish.request}, "the job")
    if parsed.schedule != Request.model_fields["schedule"].default:
        from ddrep_core.schedules.parse import check_schedule  # torch comes with it

        check_schedule(parsed.schedule)
    name = _safe(name, number) if name is not None else _name(number, count, wish.called, parsed)
    return PlannedJob(name, row.where, wish)


def _from_text(field: FieldInfo | None, cell: Cell) -> Any:
    """A cell as the key's own type, lists divided by ";"; as it stands where it is none: `parse_request` says so."""
    if field is None:
        return str(cell)
    if "list" in repr(field.annotation):
        return [each.strip() for each in cell.split(";") if each.strip()]
    try:
        return TypeAdapter(field.annotation or str).validate_strings(str(cell))
    except ValidationError:
        return str(cell)


def _safe(name: Any, number: int) -> str:
    if not isinstance(name, str | int) or not re.fullmatch(r"\w[\w .+-]{0,99}", str(name)) or str(name).endswith("."):
        raise RequestError(f"{name!r} is no name for a folder.", "Use letters, digits, - and _.")
    return str(name)


def _name(number: int, count: int, called: str, request: Request) -> str:
    """ "007-duck-red-bricks": in the table's order wherever folders are listed."""
    slug = re.sub(r"[^a-z0-9]+", "-", f"{called} {request.prompt}".lower()).strip("-")[:LONGEST_SLUG].rstrip("-")
    return f"{number:0{max(3, len(str(count)))}d}-{slug or request.task}"


def _check_files(job: PlannedJob, readable: dict[Any, str | None]) -> None:
    """Read every mesh and camera file once."""
    own = job.request[job.request["task"]]
    files = {f"inputs/{place}": path for place, path in job.wish.copies.items()}
    if (cameras := files.get(job.request.get("cameras", ""))) is not None:
        from ddrep_core.views import Views

        _once(readable, cameras, lambda: Views.load(cameras))
    if (mesh := files.get(own.get("mesh", own.get("source", "")))) is not None and mesh.suffix.lower() not in PICTURES:
        from ddrep_core.geometry.load import load_mesh  # here: a table of pictures need not wait for it

        up, objects = own.get("mesh_up", "auto"), own.get("objects")
        _once(readable, (mesh, up, tuple(objects or ())), lambda: load_mesh(mesh, up, objects=objects))


def _once(readable: dict[Any, str | None], key: Any, read: Callable[[], object]) -> None:
    if key not in readable:
        readable[key] = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read()
        except DdrepError as error:
            readable[key] = " ".join(filter(None, (error.message, error.fix)))
    if (reason := readable[key]) is not None:
        raise RequestError(reason)
