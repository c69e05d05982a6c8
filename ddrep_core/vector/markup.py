"""An SVG file as elements that know where in the text they stand, so that the rest of the file stays as it is.

The parser is expat, which reads no other file by itself. Here it is also told to refuse whatever would make it define
or fetch something: entities, and styles in other files. Attributes are changed in the text itself: comments, metadata,
what is not drawn and the order of things are kept to the byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from ddrep_core.errors import RequestError

MOST_BYTES = 16 * 2**20
MOST_ELEMENTS = 50_000
MOST_NESTED = 100
SVG = "http://www.w3.org/2000/svg"
_ATTRIBUTE = re.compile(rb"""\s([^\s=<>"'/]+)\s*=\s*("[^"]*"|'[^']*')""")
_DECLARATION = re.compile(r"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*\?>""")


@dataclass
class Element:
    """One element of a file.

    Attributes:
        tag: its local name where it is SVG's, else None.
        attributes: by local name; SVG's own win over another namespace's of the same name.
        start, end: of its start tag, in bytes of the text.
        text: what stands between its tags, without its children's.
    """

    number: int
    tag: str | None
    attributes: dict[str, str]
    start: int
    parent: Element | None = None
    end: int = 0
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def below(self) -> Iterator[Element]:
        """Itself and all elements below it, in the file's order."""
        waiting: list[Element] = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting.extend(reversed(element.children))

    @property
    def name(self) -> str:
        """What a person would call it."""
        identity = self.attributes.get("id")
        return f"<{self.tag}>" if not identity else f"<{self.tag} id={identity[:40]!r}>"


@dataclass(frozen=True)
class Markup:
    """A whole file: its UTF-8 text, and its elements in order."""

    text: bytes
    elements: tuple[Element, ...]

    @property
    def root(self) -> Element:
        return self.elements[0]

    def changed(self, changes: Mapping[int, Mapping[str, str]]) -> bytes:
        """The text with other values of attributes: {element's number: {attribute: value}}; all else is kept."""
        pieces, position = [], 0
        for number in sorted(changes, key=lambda each: self.elements[each].start):
            element = self.elements[number]
            pieces += [
                self.text[position : element.start],
                _changed_tag(self.text[element.start : element.end], changes[number]),
            ]
            position = element.end
        return b"".join([*pieces, self.text[position:]])


def parse_markup(data: bytes) -> Markup:
    """The elements of an SVG file.

    Raises:
        RequestError: it is no XML or no SVG, defines entities, or is larger or nested deeper than we read.
    """
    if len(data) > MOST_BYTES:
        raise RequestError(f"The SVG has {len(data) / 2**20:.0f} MiB; at most {MOST_BYTES // 2**20} are read.")
    if data[:2] == b"\x1f\x8b":
        raise RequestError("The SVG is compressed (.svgz).", "Unpack it: gunzip -c drawing.svgz > drawing.svg")
    text = _as_utf8(data)
    elements: list[Element] = []
    open_elements: list[Element] = []
    parser = expat.ParserCreate("utf-8", namespace_separator="}")
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition("}")
        if len(elements) >= MOST_ELEMENTS:
            raise RequestError(f"The SVG has more than {MOST_ELEMENTS} elements.", "Simplify it.")
        if len(open_elements) >= MOST_NESTED:
            raise RequestError(f"The SVG's elements are nested more than {MOST_NESTED} deep.", "Simplify it.")
        if not elements and (local != "svg" or space not in ("", SVG)):
            raise RequestError(f"The file's first element is <{local[:40]}>, not <svg>.", "Give an SVG file.")
        local_attributes = {key.rpartition("}")[2]: value for key, value in attributes.items() if "}" in key}
        local_attributes |= {key: value for key, value in attributes.items() if "}" not in key}
        parent = open_elements[-1] if open_elements else None
        element = Element(
            len(elements), local if space in ("", SVG) else None, local_attributes, parser.CurrentByteIndex, parent
        )
        element.end = _end_of_tag(text, element.start)
        elements.append(element)
        if parent:
            parent.children.append(element)
        open_elements.append(element)

    def end(_: str) -> None:
        open_elements.pop()

    def characters(piece: str) -> None:
        if open_elements and open_elements[-1].tag == "style":
            open_elements[-1].text += piece

    def refuse_entity(name: str, *_: object) -> None:
        raise RequestError(
            f"The SVG defines an entity ('{name[:40]}'), which is not read: entities can grow without end or lead to "
            "other files.",
            "Save it as plain SVG.",
        )

    def refuse_reference(*_: object) -> int:
        raise RequestError("The SVG's text leads to another file, which is not read.", "Save it as plain SVG.")

    def instruction(name: str, content: str) -> None:
        if name == "xml-stylesheet":
            raise RequestError(
                f"The SVG takes its style from another file ({content[:80]}), which is not fetched.",
                "Save the drawing with its style inside.",
            )

    parser.ProcessingInstructionHandler = instruction
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = characters
    parser.EntityDeclHandler = refuse_entity
    parser.ExternalEntityRefHandler = refuse_reference
    parser.SkippedEntityHandler = refuse_entity
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise RequestError(f"The file is no SVG: it is not XML ({error}).", "Give an SVG file.") from error
    return Markup(text, tuple(elements))


def _as_utf8(data: bytes) -> bytes:
    """The text in UTF-8, without a byte order mark; a declaration of another encoding is put right."""
    marks = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
    marked = next(((mark, name) for mark, name in marks if data.startswith(mark)), None)
    head = _DECLARATION.match(data[:200].decode("latin-1"))
    encoding = marked[1] if marked else head[1] if head else "utf-8"
    try:
        text = data[len(marked[0]) if marked else 0 :].decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise RequestError(
            f"The SVG's text cannot be read as {encoding[:40]}: {error}.", "Save it as UTF-8."
        ) from error
    found = _DECLARATION.match(text)
    if found and found[1].lower() not in ("utf-8", "us-ascii"):
        text = f"{text[: found.start(1)]}UTF-8{text[found.end(1) :]}"
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RequestError(f"The SVG's text cannot be read: {error}.", "Save it as UTF-8.") from error


def _end_of_tag(text: bytes, start: int) -> int:
    """One after the '>' that ends the start tag at `start`."""
    position, quote = start, b""
    for found in re.compile(rb"""["'>]""").finditer(text, start):
        mark, position = found[0], found.end()
        if quote:
            quote = b"" if mark == quote else quote
        elif mark == b">":
            break
        else:
            quote = mark
    return position


def _changed_tag(tag: bytes, changes: Mapping[str, str]) -> bytes:
    left = {name.encode(): quoteattr(value).encode() for name, value in changes.items()}

    def replaced(found: re.Match[bytes]) -> bytes:
        value = left.pop(found[1], None)
        return found[0] if value is None else found[0][: found.start(2) - found.start()] + value

    tag = _ATTRIBUTE.sub(replaced, tag)
    close = len(tag) - (2 if tag.endswith(b"/>") else 1)
    added = b"".join(b" " + name + b"=" + value for name, value in left.items())
    return tag[:close].rstrip() + added + tag[close:] if added else tag
