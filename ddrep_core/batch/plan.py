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

from ddrep_core.batch.table import Cell, Row
from ddrep_core.errors import DdrepError, RequestError
from ddrep_core.geometry.load import load_mesh
from ddrep_core.jobs.create import create_job, existing_file
from ddrep_core.jobs.folder import JobFolder
from ddrep_core.jobs.request import SCHEMA_VERSION, TASKS, Request, parse_request
from ddrep_core.priors.adapters.lora import parse_lora
from ddrep_core.schedules.parse import check_schedule
from ddrep_core.views import Views

MOST_COMPLAINTS = 20
LONGEST_SLUG = 48
ALSO = {"object": "objects", "lora": "loras", "front": "front_degrees"}
"""What the command line calls a key, where that is another name."""


@dataclass(frozen=True)
class PlannedJob:
    """One job of a batch.

    Attributes:
        name: its folder's.
        where: its place in the table, in words.
        request: as `create_job` takes it.
        mesh, cameras: files to copy into it.
    """

    name: str
    where: str
    request: dict[str, Any]
    mesh: Path | None = None
    cameras: Path | None = None

    @property
    def model(self) -> str:
        """Jobs of one model follow one another, so that it is loaded once."""
        keys = ("prior", "controlnet", "loras", "precision", "device", "max_batch")
        return repr([self.request.get(key) for key in keys])

    def write(self, folder: Path, overwrite: bool = False) -> JobFolder:
        """Its job folder below `folder`.

        Raises:
            RequestError: there are the results of another request.
            RunError: it cannot be written.
        """
        return create_job(folder / self.name, self.request, mesh=self.mesh, cameras=self.cameras, overwrite=overwrite)


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
    known = fields | dict(block.model_fields)
    for key in values:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1)
            raise RequestError(f"unknown key '{key}'" + (f" (did you mean '{nearest[0]}'?)." if nearest else "."))
    values = {key: _from_text(known[key], value) if isinstance(value, Cell) else value for key, value in values.items()}
    mesh, cameras = _file(values.pop("mesh", None), base), None
    if "mesh" in block.model_fields and mesh is None:
        raise RequestError("it names no mesh.")
    if isinstance(values.get("cameras"), str) and not re.fullmatch("orbit(:.*)?", values["cameras"]):
        cameras = _file(values.pop("cameras"), base)
    for key in ("prior", "controlnet"):
        if isinstance(values.get(key), str) and values[key] != "bundled" and (base / values[key]).exists():
            values[key] = str(_file(values[key], base))
    if "loras" in values:
        values["loras"] = _loras(values["loras"], base)
    own = {key: value for key, value in values.items() if key in block.model_fields}
    request = {"task": task, **{key: value for key, value in values.items() if key in fields}, task: own}
    checked = dict(own, mesh="inputs/" + mesh.name) if mesh else own
    parsed = parse_request({"schema_version": SCHEMA_VERSION, **request, task: checked}, "the job")
    check_schedule(parsed.schedule)
    name = _safe(name, number) if name is not None else _name(number, count, mesh, block.called or task, parsed)
    return PlannedJob(name, row.where, request, mesh, cameras)


def _from_text(field: FieldInfo, cell: Cell) -> Any:
    """A cell as the key's own type, lists divided by ";"; as it stands where it is none: `parse_request` says so."""
    if "list" in repr(field.annotation):
        return [each.strip() for each in cell.split(";") if each.strip()]
    try:
        return TypeAdapter(field.annotation or str).validate_strings(str(cell))
    except ValidationError:
        return str(cell)


def _file(path: Any, base: Path) -> Path | None:
    if path is None:
        return None
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise RequestError(f"{path!r} is no path.")
    return (base / Path(path.strip()).expanduser()).resolve()


def _loras(value: Any, base: Path) -> Any:
    """Written "FILE:WEIGHT", or as job.json has it."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        return value
    found = []
    for each in texts:
        if not isinstance(each, str):
            found.append(each)
            continue
        absolute = each if Path(each).expanduser().is_absolute() else str(base / each)
        lora = parse_lora(absolute)
        found.append({"file": str(lora.file.resolve()), "weight": lora.weight})
    return found


def _safe(name: Any, number: int) -> str:
    if not isinstance(name, str | int) or not re.fullmatch(r"\w[\w .+-]{0,99}", str(name)) or str(name).endswith("."):
        raise RequestError(f"{name!r} is no name for a folder.", "Use letters, digits, - and _.")
    return str(name)


def _name(number: int, count: int, mesh: Path | None, called: str, request: Request) -> str:
    """ "007-duck-red-bricks": in the table's order wherever folders are listed."""
    words = f"{mesh.stem if mesh else called} {request.prompt}"
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:LONGEST_SLUG].rstrip("-")
    return f"{number:0{max(3, len(str(count)))}d}-{slug or called}"


def _check_files(job: PlannedJob, readable: dict[Any, str | None]) -> None:
    """Read every mesh and camera file once."""
    if job.cameras is not None:
        _once(readable, job.cameras, lambda: Views.load(existing_file(job.cameras or "", "camera file")))
    if job.mesh is not None:
        own = job.request[job.request["task"]]
        up, objects = own.get("mesh_up", "auto"), own.get("objects")
        path = existing_file(job.mesh, "mesh")
        _once(readable, (path, up, tuple(objects or ())), lambda: load_mesh(path, up, objects=objects))


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
