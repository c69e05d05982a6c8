"""Two of the test beds of docs/agreement.md: thin parts, and a panorama."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "experiments"))

from agreement_bed import Bed, make_bed  # pyright: ignore[reportMissingImports]

from ddrep_core.sampling import parse_schedule, sample
from ddrep_core.sampling.disagreement import unrelated_share
from ddrep_core.solvers.linear import LinearSolver


def left_by_a_neighbour(bed: Bed) -> float:
    """The share of an unrelated picture that one other view keeps out."""
    rep, pair = bed.representation(), torch.tensor([0, 1])
    return float(unrelated_share(rep, LinearSolver(), pair, rep.pixel_weights()[pair], 1)[0])


def agreeing(bed: Bed, seeds: int) -> list[bool]:
    prior, solver = bed.prior(), LinearSolver(remembered=2 * bed.view_count)
    found = []
    for seed in range(seeds):
        plan = parse_schedule("auto", prior.sigmas, 20)
        result = sample(bed.representation(), prior, bed.views, schedule=plan, seed=seed, solver=solver)
        judged = bed.judge(result.diffrep.theta)
        found.append(len(judged["label"].unique()) == 1 and float(judged["error"].max()) < 1e-3)
    return found


def test_thin_parts_can_disagree_where_texels_are_no_finer_than_pixels() -> None:
    fine = make_bed("branched", objects=3, texels_per_pixel=0.0)
    bed = make_bed("branched", objects=3)
    assert torch.equal(bed.pictures, fine.pictures)  # the same objects are looked for
    assert 5 * left_by_a_neighbour(fine) < left_by_a_neighbour(bed)
    assert all(agreeing(bed, 2))


def test_a_panorama_shows_one_strip_all_around() -> None:
    bed = make_bed("panorama", views=16, objects=4, size=8)
    assert all(agreeing(bed, 2))
