"""What has become of a job so far, read from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from ddrep_core.errors import DdrepError
from ddrep_core.jobs.events import last_event
from ddrep_core.jobs.folder import JobFolder, read_json
from ddrep_core.jobs.identity import is_finished

SHOWN = ("turntable_still", "image", "panorama", "contact_sheet")


class State(StrEnum):
    """Of one job."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True)
class Standing:
    """Where a job stands.

    Attributes:
        reason: why it failed, and what to do.
        seconds: that its last finished run took.
        picture: of the result, or of what there is of it; relative to the job folder.
    """

    state: State
    reason: str = ""
    seconds: float | None = None
    picture: str | None = None


def standing(path: Path) -> Standing:
    """Where the job in this folder stands; nothing is changed or locked."""
    folder = JobFolder(path)
    try:
        if not path.is_dir():
            return Standing(State.WAITING)
        request = folder.load_request()
        if is_finished(folder, request):
            return finished(folder)
        event = last_event(folder)
    except DdrepError as error:
        return Standing(State.FAILED, " ".join(filter(None, (error.message, error.fix))))
    picture = _picture(folder, read_json(folder.result_file)) or _preview(folder)
    match event.get("event"):
        case None:
            return Standing(State.WAITING)
        case "error":
            words = [event.get("message"), event.get("fix")]
            return Standing(State.FAILED, " ".join(str(each) for each in words if each), None, picture)
        case _:  # cancelled, killed, or pictures of the result are missing
            return Standing(State.STOPPED, "", None, picture)


def finished(folder: JobFolder) -> Standing:
    """Where a job stands whose run has just said that it is done."""
    result = read_json(folder.result_file)
    return Standing(State.DONE, "", _seconds(result), _picture(folder, result))


def _seconds(result: Any) -> float | None:
    seconds = result.get("seconds", {}).get("job") if isinstance(result, dict) else None
    return float(seconds) if isinstance(seconds, int | float) else None


def _picture(folder: JobFolder, result: Any) -> str | None:
    """What shows the first sample best."""
    samples = result.get("samples") if isinstance(result, dict) else None
    files = samples[0].get("files") if isinstance(samples, list) and samples and isinstance(samples[0], dict) else None
    if not isinstance(files, dict):
        return None
    names = sorted(files, key=lambda name: next((i for i, kind in enumerate(SHOWN) if name == kind), len(SHOWN)))
    for name in names:
        path = files[name]
        if isinstance(path, str) and PurePosixPath(path).suffix in (".png", ".jpg") and folder.holds({name: path}):
            return path
    return None


def _preview(folder: JobFolder) -> str | None:
    previews = folder.previews
    found = sorted(previews.glob("*.png")) if previews.is_dir() else []
    return folder.relative(found[-1]) if found else None
