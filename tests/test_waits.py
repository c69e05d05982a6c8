"""What a step asks of a graphics card beside the network, counted on a make-believe one: waits, launches, copies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "experiments"))

from launches import count
from make_believe import CARD, card

from ddrep_core.sparse import identity

CELLS, STEPS = 16, 4


def test_the_card_counts_what_waits_and_computes_as_the_processor_does() -> None:
    here = torch.arange(12.0).reshape(3, 4)
    with torch.no_grad(), card() as counts:
        there = here.to(CARD)
        assert there.is_cuda and counts == {"copies there": 1, "bytes there": 48}
        assert float((there * 2).sum()) == 132 and counts["waits: numbers"] == 1 and counts["launches"] == 2
        assert there[there > 5].shape == (6,) and counts["waits: sizes"] == 1
        assert bool((there > -1).all()) and counts["waits: numbers"] == 2
        there[[0, 2]] = there[1] + 0
        assert there.cpu().tolist() == [[4, 5, 6, 7]] * 3 and counts["waits: copies"] == 1
        assert counts["bytes here"] == 48
        matrix = identity(3, torch.float32, "cpu").to(CARD)
        assert torch.equal((matrix @ there).cpu(), torch.tensor([[4.0, 5, 6, 7]] * 3))


@pytest.mark.parametrize("kind", ["texture", "cylinder"])
def test_a_step_waits_four_times_and_carries_what_it_must(kind: str) -> None:
    """Is the answer finite, how strong was it, what does the factor say of the residual, how far do the views agree."""
    median = count(kind, STEPS, CELLS)["median"]
    assert median["waits: numbers"] <= 2 and median["waits: copies"] <= 2 and "waits: sizes" not in median
    assert median["launches"] <= 90
    views = 8 if kind == "texture" else 16
    residual = 8 * views * 4 * CELLS**2  # in float64, to the factor
    assert median["bytes here"] <= residual + 64
    assert median["bytes there"] <= 3 * residual


def test_more_views_are_not_more_launches() -> None:
    few, many = (count("texture", STEPS, CELLS, views)["median"] for views in (3, 9))
    for name in ("launches", "waits: numbers", "waits: copies", "copies there"):
        assert few[name] == many[name], name


def test_views_that_meet_in_rgb_wait_no_oftener() -> None:
    median = count("meeting", STEPS, CELLS)["median"]
    assert median["waits: numbers"] <= 3 and median["waits: copies"] <= 3 and median["launches"] <= 100
