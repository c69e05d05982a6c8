"""SVG files: what they may say, and what is refused in words."""

from __future__ import annotations

import gzip

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.vector import parse_svg, read_svg, reader
from ddrep_core.vector.path_data import parse_path
from ddrep_core.vector.render import Numbers, Renderer
from ddrep_core.vector.values import colour, transform
from ddrep_core.vector.writer import write_svg


def svg(body: str, attributes: str = 'viewBox="0 0 20 20"') -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {attributes}>{body}</svg>'
    )


def drawn(body: str, attributes: str = 'viewBox="0 0 20 20"') -> Tensor:
    drawing, _ = parse_svg(svg(body, attributes))
    assert drawing.not_drawn == []
    return Renderer(drawing, 20, 20).over(Numbers.of(drawing))


SQUARE = "M3 4 H 15 V 17 H 3 Z"


@pytest.mark.parametrize(
    "body",
    [
        '<path d="m3,4 12,0 0,13 -12,0z" fill="#0a0"/>',
        '<path d="M3 4h12v13H3z" fill="rgb(0,170,0)"/>',
        '<path d="M3 4L15 4 15 17 3 17" style="fill: rgb(0%, 66.667%, 0%) !important"/>',
        '<path d="M3,4C3,4 15,4 15,4S15 17 15 17Q9 17 3 17L3 4" fill="hsl(120, 100%, 33.333%)"/>',
        '<rect x="15%" y="4" width="12px" height="13" fill="#00aa00"/>',
        '<polygon points="3 4 15,4 15-0 15 17 3 17" fill="#00aa00ff"/>',
        '<g fill="#0a0"><g><rect x="3" y="4" width="12" height="13"/></g></g>',
        '<g color="#0a0"><rect x="3" y="4" width="12" height="13" fill="currentColor"/></g>',
        '<g transform="translate(3 4) scale(2,1)" fill="red"><rect width="6" height="13" fill="#0a0"/></g>',
        '<g transform="matrix(0 1 -1 0 15 4)"><rect width="13" height="12" fill="#0a0"/></g>',
        '<rect x="3" y="4" width="12" height="13" fill="#0a0" transform="rotate(90,9,9),rotate(-90 9 9)"/>',
        "<style>rect{fill:red}.a.b{fill:#0a0}/* #x{} */</style><rect class='b a' x='3' y='4' width='12' height='13'/>",
        '<defs><rect id="r" width="12" height="13"/></defs><use href="#r" x="3" y="4" fill="#0a0"/>',
        '<symbol id="s" viewBox="0 0 6 6.5"><rect width="6" height="6.5" fill="#0a0"/></symbol>'
        '<use xlink:href="#s" x="3" y="4" width="12" height="13"/>',
        '<svg x="3" y="4" width="12" height="13" viewBox="0 0 1 1" preserveAspectRatio="none">'
        '<rect width="1" height="1" fill="#0a0"/></svg>',
        '<linearGradient id="g"><stop stop-color="#0a0"/></linearGradient>'
        '<rect x="3" y="4" width="12" height="13" fill="url(#g)"/>',
        '<linearGradient id="h" href="#g"/><linearGradient id="g"><stop stop-color="#0a0"/><stop offset="1" '
        'stop-color="#0a0"/></linearGradient><rect x="3" y="4" width="12" height="13" fill="url(#h) red"/>',
        '<clipPath id="c"><rect x="3" y="4" width="12" height="13"/></clipPath>'
        '<rect width="20" height="20" fill="#0a0" clip-path="url(#c)"/>',
        '<rect x="3" y="4" width="12" height="13" fill="#0a0"/><rect width="9" height="9" display="none"/>'
        '<rect width="9" height="9" visibility="hidden"/><rect width="9" height="9" fill="none"/>',
        '<line x1="9" x2="9" y1="4" y2="17" stroke="#0a0" stroke-width="12"/>',
    ],
)
def test_one_picture_said_in_many_ways(body) -> None:
    wanted = drawn(f'<path d="{SQUARE}" fill="#0a0"/>')
    assert wanted[:, 8, 8].tolist() == pytest.approx([0, 170 / 255, 0])
    assert (drawn(body) - wanted).abs().max() < 2e-3


def test_opacities_multiply_and_a_group_fades_as_a_whole() -> None:
    two = '<rect width="12" height="20"/><rect x="8" width="12" height="20"/>'
    assert drawn(f'<g opacity=".5">{two}</g>')[0, 5, [2, 10, 18]].tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert drawn(f'<g fill-opacity=".5">{two}</g>')[0, 5, [2, 10, 18]].tolist() == pytest.approx([0.5, 0.25, 0.5])
    assert drawn('<rect width="20" height="20" fill="#0008" opacity="50%"/>')[0, 5, 5] == pytest.approx(1 - 4 / 15)


def test_gradients_have_the_colours_that_they_say_where_they_say() -> None:
    line = (
        '<linearGradient id="g" gradientUnits="userSpaceOnUse" x1="5" x2="15" spreadMethod="{}">'
        '<stop stop-color="#fff"/><stop offset="1" stop-color="#000"/></linearGradient>'
        '<rect width="20" height="20" fill="url(#g)"/>'
    )
    at = torch.tensor([2, 7, 12, 17])
    assert drawn(line.format("pad"))[0, 3, at].tolist() == pytest.approx([1, 0.75, 0.25, 0], abs=1e-5)
    assert drawn(line.format("reflect"))[0, 3, at].tolist() == pytest.approx([0.75, 0.75, 0.25, 0.25], abs=1e-5)
    assert drawn(line.format("repeat"))[0, 3, at].tolist() == pytest.approx([0.25, 0.75, 0.25, 0.75], abs=1e-5)
    disc = (
        '<radialGradient id="g"><stop stop-color="#fff"/><stop offset="1" stop-color="#000"/></radialGradient>'
        '<rect width="20" height="20" fill="url(#g)"/>'
    )
    expected = max(0.0, 1 - ((4.5 - 10) ** 2 + (9.5 - 10) ** 2) ** 0.5 / 10)
    assert drawn(disc)[0, 9, 4] == pytest.approx(expected, abs=1e-5)


def test_a_view_box_of_another_aspect_lies_as_it_is_told_to() -> None:
    box = '<rect width="10" height="20"/>'
    assert drawn(box, 'viewBox="0 0 10 20"')[0, 9, [4, 9, 15]].tolist() == [1, 0, 1]
    assert drawn(box, 'viewBox="0 0 10 20" preserveAspectRatio="xMinYMid"')[0, 9, [4, 9, 15]].tolist() == [0, 0, 1]
    assert drawn(box, 'viewBox="0 0 10 20" preserveAspectRatio="none"')[0, 9, [4, 9, 15]].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('<text x="2" y="9">words</text>', "<text> is not drawn"),
        ('<image id="pic" href="data:image/png;base64,AAAA"/>', "<image id='pic'> is not drawn"),
        ('<mask id="m"/><rect width="9" height="9" mask="url(#m)"/>', "without its mask"),
        ('<rect width="9" height="9" fill="url(#none)"/>', "refers to nothing"),
        ('<rect width="9" height="9" fill="grue"/>', "not a colour"),
        ('<line x2="9" y2="9" stroke="red" stroke-dasharray="1 2"/>', "unbroken"),
        ('<path d="M1 1 L 9 9 5 oops"/>', "up to a fault"),
        ('<rect width="9" height="9" transform="spin(4)"/>', "cannot be read"),
        ('<use href="#gone"/>', "refers to nothing"),
        ("<style>g > rect {fill: red} @media print {}</style><rect width='9' height='9'/>", "g > rect"),
        ('<g id="a"><use href="#a"/></g>', "refers to nothing"),
        ("", "no shape"),
    ],
)
def test_what_cannot_be_drawn_is_named_and_kept(body, named) -> None:
    drawing, markup = parse_svg(svg(body))
    assert any(named in words for words in drawing.not_drawn)
    numbers = Numbers.of(drawing)
    moved = Numbers(numbers.coordinates + 1, numbers.colours, numbers.opacities, numbers.widths)
    text = write_svg(drawing, markup, moved).decode()
    for element in markup.elements:
        assert text.count(f"<{element.tag}") == svg(body).count(f"<{element.tag}")
    Renderer(drawing, 9, 9).over(numbers)


BOMB = "".join(f'<g id="g{k}">' + f'<use href="#g{k - 1}"/>' * 10 + "</g>" if k else '<g id="g0"/>' for k in range(9))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("no xml at all", "not XML"),
        ("<svg><g></svg>", "not XML"),
        ("", "not XML"),
        (b"\xff\xff\xff", "cannot be read as"),
        ('<?xml version="1.0" encoding="klingon"?><svg/>', "cannot be read as klingon"),
        ("<html/>", "not <svg>"),
        (gzip.compress(b"<svg/>", mtime=0), "gunzip"),
        ('<!DOCTYPE svg [<!ENTITY a "b">]><svg width="9" height="9">&a;</svg>', "entity"),
        ('<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>', "entity"),
        ('<!DOCTYPE svg [<!ENTITY % a SYSTEM "http://example.com/x.dtd"> %a;]><svg/>', "entity"),
        ('<?xml-stylesheet href="http://example.com/a.css"?><svg width="9" height="9"/>', "not fetched"),
        (svg('<image href="http://example.com/a.png"/>'), "not fetched"),
        (svg('<image xlink:href="../secret.png"/>'), "not fetched"),
        (svg('<use href="other.svg#a"/>'), "not fetched"),
        (svg('<rect width="9" height="9" fill="url(http://example.com/a.svg#g)"/>'), "not fetched"),
        (svg("<style>@import 'a.css';</style>"), "not fetched"),
        (svg("<style>rect{fill:url('//example.com/x')}</style>"), "not fetched"),
        (svg("", 'viewBox="0 0 0 9"'), "no rectangle"),
        (svg("", 'viewBox="0 0 -5 9"'), "no rectangle"),
        (svg("", 'viewBox="1 2"'), "no rectangle"),
        (svg("", 'width="0" height="9"'), "no size"),
        (svg("<g>" * 200 + "</g>" * 200), "nested"),
        (svg("<g/>" * 50_001), "elements"),
        (svg(BOMB + '<use href="#g8"/>'), "through <use>"),
        ("<svg>" + " " * (16 * 2**20) + "</svg>", "MiB"),
    ],
)
def test_what_is_refused_is_refused_in_words(data, words, monkeypatch) -> None:
    monkeypatch.setattr(reader, "MOST_VISITED", 2_000)
    with pytest.raises(RequestError, match=words):
        parse_svg(data)


def test_a_file_that_is_not_there_or_no_file_is_refused(tmp_path) -> None:
    for path in (tmp_path / "none.svg", tmp_path):
        with pytest.raises(RequestError, match="cannot be read"):
            read_svg(path)


def test_other_encodings_are_read_and_written_as_utf_8(tmp_path) -> None:
    text = svg('<title>Größe</title><rect width="9" height="9"/>')
    for encoding, head in (("utf-16", "utf-16"), ("iso-8859-1", "iso-8859-1"), ("utf-8-sig", "utf-8")):
        path = tmp_path / "a.svg"
        path.write_bytes(f'<?xml version="1.0" encoding="{head}"?>{text}'.encode(encoding))
        drawing, markup = read_svg(path)
        numbers = Numbers.of(drawing)
        moved = Numbers(numbers.coordinates + 1, numbers.colours, numbers.opacities, numbers.widths)
        written = write_svg(drawing, markup, moved)
        assert "Größe" in written.decode("utf-8")
        assert parse_svg(written)[0].coordinates == [1, 1, 10, 10]


def test_huge_numbers_neither_hang_nor_spread() -> None:
    body = '<path d="M-1e300 5 L 1e300 5 1e99 1e99 C nan 4"/><circle r="1e30"/><rect width="1e9" height="2" rx="1e8"/>'
    drawing, _ = parse_svg(svg(body + '<path d="M0 0 L 9e5 9e5" stroke="red" stroke-width="1e5"/>'))
    assert Renderer(drawing, 20, 20).over(Numbers.of(drawing)).isfinite().all()


def test_what_use_shows_twice_moves_together_and_what_it_inherits_stays() -> None:
    body = '<g fill="red"><rect id="r" width="4" height="4"/></g><use href="#r" x="9" fill="blue"/>'
    drawing, markup = parse_svg(svg(body))
    assert len(drawing.coordinates) == 4 and drawing.still["colours"] == {0, 1}
    numbers = Numbers.of(drawing)
    moved = Numbers(numbers.coordinates + 1, numbers.colours * 0.5, numbers.opacities, numbers.widths)
    again, _ = parse_svg(write_svg(drawing, markup, moved))
    assert again.coordinates == [1, 1, 5, 5] and again.colours == drawing.colours


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="MmLlHhVvCcSsQqTtAaZz0123456789.,-+eE \n", max_size=60))
def test_any_path_is_read_or_ended_at_its_fault(text) -> None:
    for subpath in parse_path(text)[0]:
        assert all(len(piece) in (1, 2, 3) for piece in subpath.pieces)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="rgbhsla(),.%#0123456789 efntranslcp", max_size=30))
def test_any_colour_and_transform_is_read_or_is_none(text) -> None:
    found = colour(text)
    assert found is None or all(0 <= each <= 1 for each in (*found[0], found[1]))
    transform(text)
