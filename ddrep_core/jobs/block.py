"""What every block of job.json is: strict, frozen, and its fields the command line's options."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ddrep_core.json_text import is_writable_text


def relative_path(value: str) -> str:
    """A path that is spelt from inside the job folder; `JobFolder.resolve` also follows its links."""
    if not value or "\0" in value or not is_writable_text(value):
        raise PydanticCustomError("path", "must be the path of a file inside the job folder")
    if PurePosixPath(value).is_absolute() or PureWindowsPath(value).drive or value[0] in "\\~":
        raise PydanticCustomError("path", "must be relative to the job folder, and is an absolute path")
    if ".." in re.split(r"[\\/]", value):
        raise PydanticCustomError("path", "leaves the job folder; copy the file into its inputs/")
    return value


RelativePath = Annotated[str, AfterValidator(relative_path)]
Prompt = Annotated[str, Field(max_length=20_000)]


@dataclass(frozen=True)
class Later:
    """Marks a key that came after jobs were about: left out of job.json where it has its default. A job that does not
    use it stays the job that it was, with its fingerprint and its results, and older engines read it."""


@dataclass(frozen=True)
class Option:
    """How the command line asks for a key; its help is the field's description, its type and default are the field's.
    A key that is a block of its own is asked for by that block's keys.

    Args:
        panel: the heading that it stands under.
        names: what it is called there, where that is not the key.
        required: a command wants it, although a job may leave it out.
    """

    panel: Literal["Job", "Sampling", "Machine"]
    names: tuple[str, ...] = ()
    required: bool = False


JOB, SAMPLING, MACHINE = Option("Job"), Option("Sampling"), Option("Machine")


class Block(BaseModel):
    """Strict: a number in quotes is text, true is not 1, and a misspelt key is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    takes_cameras: ClassVar[bool] = False  # whether the task's command has --cameras and --controlnet
    keeps_away: ClassVar[bool] = False  # whether it can be told results that it is to be unlike
    of_textures: ClassVar[bool] = False  # whether its source is a textured mesh, whose job may say what it shows
    own_prior: ClassVar[str] = ""  # "module:function" that loads a model of the task's own: one that hears no words
    called: ClassVar[str] = ""  # what the command names a job's folder after, before the prompt; else the task's name

    @classmethod
    def later_defaults(cls) -> dict[str, Any]:
        """{key: default} of what is marked `Later`."""
        fields = cls.model_fields.items()
        return {
            key: field.get_default(call_default_factory=True)
            for key, field in fields
            if any(isinstance(mark, Later) for mark in field.metadata)
        }

    @classmethod
    def may_be_left_out(cls) -> bool:
        """Whether every key has a default."""
        return not any(field.is_required() for field in cls.model_fields.values())
