# SPDX-License-Identifier: GPL-3.0-or-later
"""A prompt for each of several objects: {name} is the object's, {anything} its custom property of that name."""

import re

import bpy

from ..problems import Problem

PLACE = re.compile(r"\{([^{}]*)\}")
COPY_NUMBER = re.compile(r"\.\d{3,}$")


def words_for(thing: bpy.types.Object, prompt: str) -> str:
    """A prompt with what it says in braces filled in for this object.

    Raises:
        Problem: the object has no such custom property, or nothing is left of the prompt.
    """

    def fill(place: re.Match[str]) -> str:
        key = place[1].strip()
        value = thing.get(key)
        if value is None and thing.data is not None:
            value = thing.data.get(key)
        if value is None and key == "name":
            value = COPY_NUMBER.sub("", thing.name)
        if isinstance(value, str | int | float):
            return f"{value:g}" if isinstance(value, float) else str(value)
        raise Problem(f"'{thing.name}' has no custom property '{key}', which the prompt asks for in braces.")

    words = PLACE.sub(fill, prompt).strip()
    if not words:
        raise Problem(f"The prompt is empty for '{thing.name}'. Say what it should look like.")
    return words
