"""A kind of job: what its samples share, made once, and what becomes of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ddrep_core.jobs.pace import StageProgress
from ddrep_core.jobs.recipe import Procedure
from ddrep_core.jobs.session import MakePreviews, Session, agreement
from ddrep_core.sampling.sample import Result


@dataclass(frozen=True)
class Illustration:
    """A picture of a result, drawn when the result itself is safe.

    Attributes:
        what: as a person calls it, "the turntable".
        files: {name in result.json: path}.
        draw: writes the files; told where to report what share of the work is done.
    """

    what: str
    files: dict[str, Path]
    draw: Callable[[StageProgress], None]


@dataclass(frozen=True)
class Made:
    """What a sample became.

    Attributes:
        files: {what: path}, written.
        told: what else result.json says of the sample. "nfe", "seconds" and "agreement" (0..1, of the first stage) are
            known without being told.
        illustrations: pictures of it that are still to be drawn. A sample may be finished again for these alone.
    """

    files: dict[str, Path]
    told: dict[str, Any] = field(default_factory=dict)
    illustrations: tuple[Illustration, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One run on the way to a sample, and what follows it.

    Attributes:
        recipe: what is run.
        finish: makes of its result the sample (bakes, writes files), or the next stage.
        previews: small pictures of a step.
        name: among the stages of one sample; checkpoints are kept under it.
    """

    recipe: Procedure
    finish: Finish
    previews: MakePreviews | None = None
    name: str = "sample"


Finish: TypeAlias = "Callable[[Session, Result], Stage | Made]"
Start: TypeAlias = Callable[[Session], Stage]
"""What `TASKS` names: reads and checks all that the samples share, before anything of an earlier run is removed; and
returns the stage that every sample begins with."""


def make(first: Stage, session: Session) -> tuple[dict[str, Any], tuple[Illustration, ...]]:
    """The session's current sample, its files on disk: its entry for result.json, and what is to be drawn of it."""
    results: list[Result] = []
    stage: Stage | Made = first
    while isinstance(stage, Stage):
        together = stage is first and stage.recipe.together
        results.append(session.sample(stage.recipe, stage.name, stage.previews, together))
        stage = stage.finish(session, results[-1])
    parts = results[0].seconds
    record = {
        "seed": session.seed,
        "files": {what: session.folder.relative(path) for what, path in stage.files.items()},
        "nfe": sum(result.nfe for result in results),
        "seconds": {part: sum(result.seconds[part] for result in results) for part in parts},
        "agreement": agreement(results[0].disagreement),
        **stage.told,
    }
    return record, stage.illustrations
