"""Vector drawings: coverage against closed forms, every derivative against finite differences, files written again."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.vector import parse_svg
from ddrep_core.vector.coverage import coverage, mean_winding
from ddrep_core.vector.render import Numbers, Renderer
from ddrep_core.vector.writer import write_svg

EVERYTHING = """<?xml version="1.0"?>
<!-- kept -->
<svg viewBox="0 0 24 24" xmlns="http://www.w3.org/2000/svg" xmlns:ink="urn:ink">
  <metadata><ink:note keep="this">too</ink:note></metadata>
  <style>.dark { fill: #204060; stroke-width: .8 }</style>
  <defs>
    <linearGradient id="line" x2="1" y2=".8"><stop offset=".1" stop-color="#c31"/>
      <stop offset=".9" style="stop-color:#31c;stop-opacity:.4"/></linearGradient>
    <radialGradient id="ring" gradientUnits="userSpaceOnUse" cx="12" cy="12" r="9" fx="10">
      <stop offset="0" stop-color="#ff0"/><stop offset="1" stop-color="#080"/></radialGradient>
    <clipPath id="cut"><circle cx="9" cy="17" r="4.2"/></clipPath>
  </defs>
  <rect x="2.3" y="3.1" width="12" height="9" rx="2" fill="url(#line)" transform="rotate(10 5 5)"/>
  <circle cx="14" cy="14" r="6" fill="url(#ring)" stroke="#123" stroke-width="1.7"/>
  <path d="M3 20 C 5 3 8 30 20 4 Q 22 12 17 20 z" fill="#a3f" fill-opacity=".6" stroke="#e22"/>
  <path fill="none" stroke="#111" stroke-width="2.2" stroke-linecap="round" stroke-linejoin="round"
        d="M4 4 L 12 9 L 5 14 l9 4 a3 3 0 1 1 2 3 v-2 h1 t2,3 s 1 -2 2 -9"/>
  <g opacity=".5"><polyline points="1,1 20,3 19,18" stroke="#00f" fill="none" stroke-linecap="square"/>
    <ellipse class="dark" cx="10" cy="6" rx="3.3" ry="2" stroke="#eee"/></g>
  <polygon clip-path="url(#cut)" points="4,13 16,14 15,22 5,20" fill="#5a3" fill-rule="evenodd"/>
  <line x1="2" y1="23" x2="21" y2="21" stroke="#777" stroke-linejoin="bevel"/>
</svg>"""


def polygon(points: list[tuple[float, float]]) -> Tensor:
    start = torch.tensor(points, dtype=torch.float64)
    return torch.cat([start, start.roll(-1, 0)], dim=1)


def covered(points: list[tuple[float, float]], size: int, rule: str = "nonzero", subsamples: int = 4) -> Tensor:
    edges = polygon(points)
    area = torch.zeros(len(edges), dtype=torch.long)
    return coverage(edges, area, torch.tensor([rule == "evenodd"]), (size, size), subsamples)[0]


def drawn(text: str, size: int = 24) -> Tensor:
    drawing, _ = parse_svg(text)
    return Renderer(drawing, size, size, dtype=torch.float64).over(Numbers.of(drawing, torch.float64))


def shaken(numbers: Numbers) -> Numbers:
    """Off all borders of pixels and all limits."""
    torch.manual_seed(0)
    moved = numbers.coordinates + 0.01 * torch.randn_like(numbers.coordinates)
    return Numbers(moved, numbers.colours * 0.8 + 0.1, numbers.opacities * 0.8 + 0.1, numbers.widths * 1.013)


def test_a_pixel_is_covered_by_the_exact_area_of_a_polygon() -> None:
    found = covered([(1.25, 1.5), (3.75, 1.5), (3.75, 2.25), (1.25, 2.25)], 5)
    across, down = torch.zeros(5), torch.zeros(5)
    across[1:4], down[1:3] = torch.tensor([0.75, 1, 0.75]), torch.tensor([0.5, 0.25])
    assert torch.allclose(found, (down[:, None] * across[None]).double(), atol=1e-12)
    triangle = covered([(0, 0), (4, 0), (0, 4)], 4)
    assert torch.allclose(triangle.flip(0).diagonal(), torch.full((4,), 0.5, dtype=torch.float64))
    assert triangle.sum() == pytest.approx(8.0)


def test_areas_that_leave_the_picture_are_cut_at_its_borders() -> None:
    everything = covered([(-50, -9), (70, -9), (70, 40), (-50, 40)], 6)
    assert torch.allclose(everything, torch.ones(6, 6, dtype=torch.float64))
    half = covered([(-50, -9), (2.5, -9), (2.5, 40), (-50, 40)], 6)
    assert torch.allclose(half.sum(), torch.tensor(15.0, dtype=torch.float64))
    assert covered([(9, 1), (12, 1), (12, 4)], 6).abs().max() < 1e-12


def test_fill_rules_differ_where_an_area_laps_over_itself_and_edges_stay_soft() -> None:
    twice = [(1.5, 1.5), (6.5, 1.5), (6.5, 6.5), (1.5, 6.5)] * 2
    assert torch.allclose(covered(twice, 8), covered(twice[:4], 8), atol=1e-9)  # not 1 at half-covered pixels
    assert covered(twice, 8, "evenodd").abs().max() < 1e-9
    star = [(4 + 3.7 * math.sin(4 * math.pi * k / 5), 4 - 3.7 * math.cos(4 * math.pi * k / 5)) for k in range(5)]
    assert covered(star, 8)[4, 4] == pytest.approx(1) and covered(star, 8, "evenodd")[4, 4] < 0.1


def test_circles_and_strokes_have_the_areas_that_they_should() -> None:
    def ink(body: str) -> float:
        text = f'<svg viewBox="0 0 40 40" xmlns="http://www.w3.org/2000/svg">{body}</svg>'
        return float((1 - drawn(text, 40)).sum() / 3)

    assert ink('<circle cx="20.3" cy="19.6" r="15"/>') == pytest.approx(math.pi * 225, rel=2e-3)
    ring = '<circle cx="20" cy="20" r="12" fill="none" stroke="black" stroke-width="3"/>'
    assert ink(ring) == pytest.approx(2 * math.pi * 36, rel=2e-3)
    wide = '<circle cx="20" cy="20" r="2" fill="none" stroke="black" stroke-width="10"/>'  # no hole in the middle
    assert ink(wide) == pytest.approx(math.pi * 49, rel=5e-3)
    line = '<path d="M10.2 15.1 H 30.2" stroke="black" stroke-width="4" stroke-linecap="{}"/>'
    assert ink(line.format("butt")) == pytest.approx(80, rel=1e-6)
    assert ink(line.format("square")) == pytest.approx(96, rel=1e-6)
    assert ink(line.format("round")) == pytest.approx(80 + 4 * math.pi, rel=2e-3)
    corner = '<path d="M8.5 30 V 10.5 H 30" fill="none" stroke="black" stroke-width="4" stroke-linejoin="{}"/>'
    assert ink(corner.format("miter")) == pytest.approx(4 * (19.5 + 21.5), rel=1e-6)
    assert ink(corner.format("bevel")) == pytest.approx(4 * (19.5 + 21.5) - 2, rel=1e-6)
    assert ink(corner.format("round")) == pytest.approx(4 * (19.5 + 21.5) - 4 + math.pi, rel=2e-3)
    assert ink('<path d="M9 9 h0" stroke="black" stroke-width="6" stroke-linecap="round"/>') == pytest.approx(
        9 * math.pi, rel=1e-2
    )


@pytest.mark.parametrize("subsamples", [1, 4])
@pytest.mark.parametrize("kind", [field.name for field in fields(Numbers)])
def test_every_derivative_is_that_of_finite_differences(kind, subsamples) -> None:
    drawing, _ = parse_svg(EVERYTHING)
    assert drawing.not_drawn == []
    renderer = Renderer(drawing, 24, 24, dtype=torch.float64, subsamples=subsamples)
    numbers = shaken(Numbers.of(drawing, torch.float64))
    wanted = torch.randn(3, 24, 24, dtype=torch.float64)
    values = getattr(numbers, kind)

    def loss(at: Tensor) -> Tensor:
        return (renderer.over(replace(numbers, **{kind: at})) * wanted).sum()

    leaf = values.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    assert (gradient != 0).float().mean() > 0.5
    for _ in range(2):
        direction, small = torch.randn_like(values), 1e-6
        with torch.no_grad():
            measured = (loss(values + small * direction) - loss(values - small * direction)) / (2 * small)
        assert float((gradient * direction).sum()) == pytest.approx(float(measured), rel=1e-4)


def test_a_level_edge_on_a_pixels_middle_hears_where_it_should_go() -> None:
    edges = polygon([(1, 1.5), (4, 1.5), (4, 3.5), (1, 3.5)]).requires_grad_(True)
    winding = mean_winding(edges, torch.zeros(4, dtype=torch.long), 1, 5, 5)
    (gradient,) = torch.autograd.grad(winding.sum().abs(), edges)
    assert gradient[0, [1, 3]].tolist() == pytest.approx([-1.5, -1.5])  # three pixels wide: down shrinks it by three


def test_colours_beyond_their_range_come_back() -> None:
    drawing, _ = parse_svg('<svg viewBox="0 0 4 4"><rect width="4" height="4" fill="#fff"/></svg>')
    renderer, numbers = Renderer(drawing, 4, 4), Numbers.of(drawing)
    colours = (numbers.colours + 0.5).requires_grad_(True)
    picture = renderer.over(replace(numbers, colours=colours))
    assert picture.max() == 1
    assert torch.autograd.grad(picture.sum(), colours, retain_graph=True)[0].abs().sum() > 0  # darker would be better
    assert torch.autograd.grad(-picture.sum(), colours)[0].abs().sum() == 0  # brighter is not to be had


def test_a_file_that_did_not_move_is_kept_to_the_byte_and_one_that_did_is_drawn_as_it_moved() -> None:
    drawing, markup = parse_svg(EVERYTHING)
    numbers = Numbers.of(drawing)
    assert write_svg(drawing, markup, numbers) == EVERYTHING.encode()
    moved = Numbers(
        numbers.coordinates + 0.1 * torch.randn(len(numbers.coordinates), generator=torch.Generator().manual_seed(1)),
        numbers.colours * 0.9 + 0.03,
        numbers.opacities * 0.9,
        numbers.widths * 1.1,
    )
    text = write_svg(drawing, markup, moved)
    for kept in (b"<!-- kept -->", b'<ink:note keep="this">too</ink:note>', b".dark {", b'clip-path="url(#cut)"'):
        assert kept in text
    again, _ = parse_svg(text)
    pictures = [Renderer(each, 48, 48).over(n) for each, n in ((drawing, moved), (again, Numbers.of(again)))]
    assert (pictures[0] - pictures[1]).abs().max() < 0.5 / 255


def test_sizes_below_zero_are_drawn_and_written_as_none() -> None:
    body = '<circle cx="2" cy="2" r="1"/><rect x="5" y="5" width="6" height="4" rx="2" ry="1.5"/>'
    drawing, markup = parse_svg(f'<svg viewBox="0 0 12 12">{body}</svg>')
    numbers = Numbers.of(drawing)
    moved = replace(numbers, coordinates=torch.tensor([2.0, 2, -1, 5, 5, 3, 4, 2, 3]))
    again, _ = parse_svg(write_svg(drawing, markup, moved))
    assert len(again.coordinates) == 6 and again.coordinates[4:] == [1.5, 2]
    pictures = [Renderer(each, 24, 24).over(n) for each, n in ((drawing, moved), (again, Numbers.of(again)))]
    assert torch.allclose(*pictures, atol=1e-5)
    assert pictures[0][0, 4, 4] == 1


def test_a_picture_that_is_too_large_is_refused() -> None:
    drawing, _ = parse_svg('<svg viewBox="0 0 4 4"><rect width="4" height="4"/></svg>')
    for size in ((100_000, 10), (0, 10), (8192, 8193)):
        with pytest.raises(RequestError, match="cannot be drawn"):
            Renderer(drawing, *size)
