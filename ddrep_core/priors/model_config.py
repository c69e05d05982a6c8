"""Configurations of a model's parts: every value of the kind that its class says, and within reason."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any, Union

from ddrep_core.errors import RequestError

LARGEST_NUMBER = 1e6
"""No width, count or size of any image model comes near; what does would fill memory before its weights are missed."""

MOST_LAYERS = 512
"""Of one kind in a row."""


def checked_config(config: Mapping[str, Any], kind: type, part: str, name: str) -> dict[str, Any]:
    """What a class will be made with: the settings that it knows, of the types that it declares.

    null stands for the class's own default, as in files of all ages; what a class does not know is left out, as its
    own library does.

    Args:
        config: a configuration as read.
        kind: a network of diffusers, or a configuration of transformers.
        part, name: of the model, for messages.

    Raises:
        RequestError: text where a number belongs, a list where a name does, numbers beyond reason, ….
    """
    hints = _hints(kind)
    known = {key: value for key, value in config.items() if key in hints and not key.startswith("_")}
    for key, value in known.items():
        if not _is(value, hints[key]):
            raise _wrong(key, value, part, name)
        most = MOST_LAYERS if "layers" in key or "num_heads" in key else LARGEST_NUMBER
        if any(abs(number) > most for number in _numbers(value)):
            raise _wrong(key, value, part, name)
    return known


def checked_number(
    config: Mapping[str, Any],
    key: str,
    default: float | None,
    part: str,
    name: str,
    above: float = 0.0,
    most: float = LARGEST_NUMBER,
) -> float | None:
    """A number of a configuration, above `above` and at most `most`; the default where it is absent or null.

    Raises:
        RequestError: anything else.
    """
    value = config.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not above < value <= most:
        raise _wrong(key, value, part, name)
    return value


def _wrong(key: str, value: object, part: str, name: str) -> RequestError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}…"
    return RequestError(
        f"The configuration of '{part}' of the model '{name}' has {key} = {shown}, which cannot be.",
        "Download the model again, or choose another copy of it.",
    )


def _hints(kind: type) -> dict[str, Any]:
    """What a class is made with, {name: type}."""
    if "__annotations__" in vars(kind) and hasattr(kind, "__dataclass_fields__"):
        return {key: Any if isinstance(hint, str) else hint for key, hint in vars(kind)["__annotations__"].items()}
    initialiser = inspect.unwrap(kind.__init__)
    parameters = inspect.signature(initialiser).parameters.values()
    hints = typing.get_type_hints(initialiser)
    return {
        p.name: hints.get(p.name, Any) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"
    }


def _is(value: object, hint: Any) -> bool:
    """Whether a JSON value is of a type, as Python's annotations write it. Tuples are lists of any length in JSON."""
    origin = typing.get_origin(hint)
    if value is None or hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_is(value, one) for one in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hint in (tuple, list) or origin in (tuple, list):
        inner = [one for one in typing.get_args(hint) if one is not Ellipsis]
        return isinstance(value, list) and all(not inner or any(_is(item, one) for one in inner) for item in value)
    if hint is bool:
        return isinstance(value, bool)
    if hint in (int, float):
        return isinstance(value, int | float) and not isinstance(value, bool) and (hint is float or value == int(value))
    return isinstance(value, hint) if isinstance(hint, type) else True


def _numbers(value: object) -> list[float]:
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []
