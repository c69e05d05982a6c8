"""Another seed is another object: a field's views that share their noise choose one shape together, by that noise."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts" / "experiments"))

from nerf import pictures, shapes

import ddrep_core as dd
from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep
from ddrep_core.sampling import CommonNoise, ddim_schedule
from ddrep_core.solvers.first_order import WarmStartSolver
from ddrep_core.views.banks import sphere_bank

VIEWS, SIZE = 8, 12


def test_seeds_draw_different_shapes_and_all_views_the_same_one() -> None:
    """With noise of each view's own, the average decides, and most seeds draw the shape nearest to it."""
    views = sphere_bank(VIEWS, size=SIZE)
    bank = torch.stack([pictures(shape, colour, views, SIZE)[0] for shape, colour in shapes()], 1)  # [V, 5, 3, S, S]
    prior = dd.priors.EmpiricalPrior(bank)
    drawn = []
    for seed in (0, 2, 3):
        result = dd.sample(
            VoxelNerfDiffrep(views, (3, SIZE, SIZE), 24, levels=1), prior, views, seed=seed,
            schedule=ddim_schedule(prior.sigmas, 20), solver=WarmStartSolver(3, VoxelNerfDiffrep.learning_rate),
            noise=CommonNoise((VIEWS, 3, SIZE, SIZE)),
        )  # fmt: skip
        with torch.no_grad():
            seen = result.diffrep.render()
        chosen = (seen[:, None] - bank).square().mean((2, 3, 4)).argmin(1)
        assert (chosen == chosen[0]).all()
        drawn.append(int(chosen[0]))
    assert len(set(drawn)) == 3
