"""Which value of a property an element has: its own, a style sheet's, or its parent's (as much of CSS as SVG needs)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ddrep_core.errors import RequestError
from ddrep_core.vector.markup import Element, Markup

INHERITED = {
    "color": "black",
    "fill": "black",
    "fill-rule": "nonzero",
    "fill-opacity": "1",
    "stroke": "none",
    "stroke-width": "1",
    "stroke-linecap": "butt",
    "stroke-linejoin": "miter",
    "stroke-miterlimit": "4",
    "stroke-opacity": "1",
    "stroke-dasharray": "none",
    "clip-rule": "nonzero",
    "visibility": "visible",
    "paint-order": "normal",
    "marker-start": "none",
    "marker-mid": "none",
    "marker-end": "none",
    "font-size": "16",
}
OWN = {
    "opacity": "1",
    "display": "inline",
    "clip-path": "none",
    "mask": "none",
    "filter": "none",
    "mix-blend-mode": "normal",
    "stop-color": "black",
    "stop-opacity": "1",
    "transform": "",
}
_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_RULE = re.compile(r"([^{}]*)\{([^{}]*)\}")
_SIMPLE = re.compile(r"([A-Za-z][\w-]*|\*)?((?:[.#][\w-]+)*)\Z")
_FETCHED = re.compile(r"""@import|url\(\s*["']?\s*(?!#|["'\s]|data:)([^)"']*)""", re.I)
MOST_RULES = 5_000


@dataclass(frozen=True)
class Rule:
    """What a style sheet says of elements that match a simple selector."""

    tag: str | None
    identity: frozenset[str]
    classes: frozenset[str]
    declared: Mapping[str, str]

    def matches(self, element: Element, classes: frozenset[str]) -> bool:
        return (
            (self.tag is None or self.tag == element.tag)
            and self.classes <= classes
            and self.identity <= {element.attributes.get("id", "")}
        )

    @property
    def weight(self) -> tuple[int, int, int]:
        return len(self.identity), len(self.classes), int(self.tag is not None)


@dataclass(frozen=True)
class Style:
    """The properties of one element.

    Attributes:
        values: every property that we know.
        declared: those that were said of the element itself, and where: "attribute", "style" or "sheet".
    """

    values: Mapping[str, str]
    declared: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.values[name]


ROOT = Style(INHERITED | OWN, {})


class Sheet:
    """The style sheets of a file; selectors of a tag, an id and classes are known, others are named."""

    def __init__(self, markup: Markup) -> None:
        self.rules: list[Rule] = []
        self.unknown: list[str] = []
        for element in markup.elements:
            if element.tag == "style":
                refuse_fetching(element.text)
                self._read(_COMMENT.sub("", element.text))
        self.rules.sort(key=lambda rule: rule.weight)

    def _read(self, text: str) -> None:
        for selectors, body in _RULE.findall(text):
            if selectors.strip().startswith("@"):
                self.unknown.append(selectors.strip())
                continue
            declared = declarations(body)
            for selector in selectors.split(","):
                found = _SIMPLE.match(selector.strip())
                if not found or not selector.strip() or len(self.rules) >= MOST_RULES:
                    self.unknown.append(selector.strip())
                    continue
                parts = re.findall(r"([.#])([\w-]+)", found[2])
                named = [frozenset(name for mark, name in parts if mark == kind) for kind in "#."]
                self.rules.append(Rule(None if found[1] in (None, "*") else found[1], named[0], named[1], declared))

    def style(self, element: Element, parent: Style) -> Style:
        """What the element looks like inside of something that looks like `parent`."""
        values = {name: parent.values[name] for name in INHERITED} | OWN
        declared: dict[str, str] = {}
        own = {name: value for name, value in element.attributes.items() if name in values}
        layers = [("attribute", own)]
        if self.rules:
            classes = frozenset(element.attributes.get("class", "").split())
            layers += [("sheet", rule.declared) for rule in self.rules if rule.matches(element, classes)]
        layers.append(("style", declarations(element.attributes.get("style", ""))))
        for where, found in layers:
            for name, value in found.items():
                if name not in values:
                    continue
                if name == "transform" and where != "attribute":
                    continue  # CSS writes transforms in another way
                if value == "inherit":
                    values[name] = parent.values[name]
                else:
                    values[name], declared[name] = value, where
        return Style(values, declared)


def declarations(text: str) -> dict[str, str]:
    """{property: value} of `style="..."`."""
    found = {}
    for each in _COMMENT.sub("", text).split(";"):
        name, colon, value = each.partition(":")
        if colon:
            found[name.strip().lower()] = re.sub(r"\s*!\s*important\s*$", "", value).strip()
    return found


def with_declaration(text: str, name: str, value: str) -> str:
    """`style="..."` with another value of one property, the rest as it was."""
    kept = [each.strip() for each in text.split(";") if each.strip()]
    kept = [each for each in kept if each.partition(":")[0].strip().lower() != name]
    return ";".join([*kept, f"{name}:{value}"])


def refuse_fetching(text: str) -> None:
    """Raises RequestError where a style would have something else fetched."""
    found = _FETCHED.search(text)
    if found:
        what = (found[1] or found[0]).strip()
        raise RequestError(
            f"The SVG refers to something outside of itself ('{what[:80]}'), which is not fetched.",
            "Remove the reference, or save the drawing with everything inside.",
        )
