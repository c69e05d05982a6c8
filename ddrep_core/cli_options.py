"""The options of a command, made of the fields of a request: each is described in its block (`jobs/blocks.py`), once.

Bounds are the request's to check: it names everything that is wrong at once, in the same words for a job folder.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from enum import Enum, StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from ddrep_core.jobs.block import Block, Option


def option_parameters(block: type[Block], keys: Iterable[str] | None = None) -> list[inspect.Parameter]:
    """Typer's parameters for those keys of a block that are options; for all, in the block's order, without `keys`."""
    fields = block.model_fields
    found = []
    for key in fields if keys is None else keys:
        marks = [mark for mark in fields[key].metadata if isinstance(mark, Option)]
        if not marks:
            continue
        kind = _said(fields[key].annotation)
        if isinstance(kind, type) and issubclass(kind, Block):
            found += _block_parameters(kind)
        else:
            found.append(_parameter(key, fields[key], marks[0]))
    return found


def takes(*parameters: inspect.Parameter) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these parameters, in place of its own of the same names, else after them."""

    def told(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        kept = {
            name: each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, each in own.items()
            if each.kind is not inspect.Parameter.VAR_KEYWORD
        }
        together = [*(kept | {each.name: each for each in parameters}).values()]
        command.__signature__ = inspect.Signature(together)  # pyright: ignore[reportFunctionMemberAccess]
        command.__annotations__ = {each.name: each.annotation for each in together} | {"return": None}
        return command

    return told


def parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A command's parameter that is given by name."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def plain(value: Any) -> Any:
    """What a person chose, as job.json holds it."""
    return value.value if isinstance(value, Enum) else value


def _block_parameters(block: type[Block]) -> list[inspect.Parameter]:
    """Of a block that may be left out: each of its options may be, and has the name that it is said by."""
    found = []
    for key, field in block.model_fields.items():
        for option in (mark for mark in field.metadata if isinstance(mark, Option)):
            key = option.names[0].removeprefix("--").replace("-", "_") if option.names else key
            whole = _parameter(key, field, option)
            kind, told = get_args(whole.annotation)
            found.append(parameter(key, Annotated[kind | None, told], None))
    return found


def _parameter(key: str, field: FieldInfo, option: Option) -> inspect.Parameter:
    kind: Any = field.annotation
    default = inspect.Parameter.empty if option.required else field.get_default(call_default_factory=True)
    flag = "--" + key.replace("_", "-")
    names = option.names or ((f"{flag}/--no-{flag[2:]}",) if kind is bool and default else (flag,))
    kind = _said(kind)
    if get_origin(kind) is Literal:
        kind = StrEnum(key.title().replace("_", ""), {value: value for value in get_args(kind)})
        default = None if default is None else kind(default)
    elif get_origin(kind) is list:
        kind, default = list[str], None
    if default is None:
        kind = kind | None
    told = typer.Option(*names, help=field.description, rich_help_panel=option.panel)
    return parameter(key, Annotated[kind, told], default)


def _said(annotation: Any) -> Any:
    """What a field holds where it holds something."""
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(each for each in get_args(annotation) if each is not NoneType)
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
