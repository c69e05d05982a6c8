"""What a step asks of a graphics card beside the network, counted on a make-believe one: waits, launches, copies."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "experiments"))

from launches import count
from make_believe import CARD, card

from ddrep_core.solvers.linear import LOOK_INTERVAL, _ConjugateGradient
from ddrep_core.sparse import identity

CELLS, STEPS = 16, 4


def waits(counts: Mapping[str, float]) -> float:
    return sum(number for name, number in counts.items() if name.startswith("waits"))


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
def test_a_step_waits_twice_and_carries_what_it_must(kind: str) -> None:
    """For the residual that goes to the factor, and for what is told of the step, all in one."""
    median = count(kind, STEPS, CELLS)["median"]
    assert waits(median) == 2 and median["launches"] <= 95
    views = 8 if kind == "texture" else 16
    residual = 8 * views * 4 * CELLS**2  # in float64, to the factor
    assert median["bytes here"] <= residual + 64
    assert median["bytes there"] <= 3 * residual


def test_more_views_are_not_more_launches() -> None:
    few, many = (count("texture", STEPS, CELLS, views)["median"] for views in (3, 9))
    for name in ("launches", "waits: numbers", "waits: copies", "copies there"):
        assert few.get(name) == many.get(name), name


def test_views_that_meet_in_rgb_wait_no_oftener() -> None:
    median = count("meeting", STEPS, CELLS)["median"]
    assert waits(median) == 2 and median["launches"] <= 100


def test_conjugate_gradient_asks_rarely_and_says_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(60, 40, generator=generator, dtype=torch.float64)
    weights = torch.ones(60, 1, dtype=torch.float64)
    right_sides = torch.randn(3, 60, 2, generator=generator, dtype=torch.float64)
    here = _ConjugateGradient(matrix, weights, 1e-8, 500)
    with card() as counts:
        there = _ConjugateGradient(matrix.to(CARD), weights.to(CARD), 1e-8, 500)
        for number, right in enumerate(right_sides):
            counts.clear()
            found, passes = there.solve(right.to(CARD))
            assert passes >= 40 and waits(counts) <= (passes // LOOK_INTERVAL + 1 if number == 0 else 3)
            assert torch.equal(found.cpu(), here.solve(right)[0])
