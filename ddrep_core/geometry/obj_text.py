"""What OBJ and MTL files have in common: how their bytes become lines, and how their lines name files."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

# Options of a picture and how many words follow each at most; numbers may be fewer.
OPTIONS = {"-o": 3, "-s": 3, "-t": 3, "-mm": 2, "-bm": 1, "-boost": 1, "-texres": 1}
OPTIONS |= {"-blendu": 1, "-blendv": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-type": 1}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def lines(content: bytes) -> Iterator[tuple[int, str]]:
    """Each statement with the number of its line, from 1; a backslash at a line's end joins it to the next.

    UTF-8 or UTF-16 by its mark, else UTF-8, else Latin-1: names in any old code page stay apart from each other.
    """
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if content.startswith(mark):
            text = content.decode(encoding, errors="replace")
            break
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.removeprefix(codecs.BOM_UTF8).decode("latin-1")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    plain = text.split("\n")  # and not at the other separators, which a name may hold
    if "\\\n" not in text:
        yield from enumerate(plain, 1)
        return
    begun, first = "", 0
    for number, line in enumerate(plain, 1):
        first = first or number
        if line.endswith("\\"):
            begun += line[:-1] + " "
            continue
        yield first, begun + line
        begun, first = "", 0
    if begun:
        yield first, begun


def split_statement(line: str) -> tuple[str, str]:
    """The first word of a line, and what follows it without spaces around; a name may have spaces inside."""
    keyword, *rest = line.split(None, 1)[:2] or [""]
    return keyword, rest[0].strip() if rest else ""


def picture_name(words: str) -> str:
    """The file that a texture statement names, behind its options: `-s 2 2 1 -bm 0.5 old wood.png`."""
    rest = words.strip()
    while rest.startswith("-"):
        option, _, following = rest.partition(" ")
        if option.lower() not in OPTIONS:
            break  # a file's own name
        rest = following.lstrip()
        for taken in range(OPTIONS[option.lower()]):
            word, _, following = rest.partition(" ")
            numbers = option.lower() not in ("-blendu", "-blendv", "-cc", "-clamp", "-imfchan", "-type")
            if numbers and (taken or option.lower() != "-texres") and not _NUMBER.fullmatch(word):
                break
            if not following.strip():
                break  # the last word is the file, even if it looks like a number
            rest = following.lstrip()
    return rest


def library_names(words: str, folder: Path) -> list[Path]:
    """The files of an `mtllib` statement: one whose name has spaces, or several with spaces between."""
    if (whole := beside(folder, words)).is_file():
        return [whole]
    quoted = re.findall(r'"([^"]+)"', words)
    return [beside(folder, name) for name in quoted or re.split(r"(?<=\.mtl)\s+", words, flags=re.IGNORECASE) if name]


def beside(folder: Path, name: str) -> Path:
    """Where a file lies that an OBJ or MTL in `folder` names.

    Exporters write quotes, backslashes and whole paths of the machine they ran on: of such a path the file of that name
    in the folder itself is taken. Where nothing is found, the plain path.
    """
    name = name.strip().strip('"')
    plain = folder / name
    for path in (plain, folder / name.replace("\\", "/"), folder / (PureWindowsPath(name).name or name)):
        try:
            if path.is_file():
                return path
        except (OSError, ValueError):  # no name that a file could have
            continue
    return plain
