"""What the metric does (the paper's Fig. 1, right): one SIREN and seed under three pull-backs.

(a) the whole: (JᵀJ)⁻¹ Jᵀ;  (b) without the metric: Jᵀ;  (c) Jᵀ scaled by the factor that serves it best.

    python scripts/experiments/ablation.py --quick
"""

from __future__ import annotations

from typing import Any

import torch
from fields_common import DESCENT_SPREAD, OwnNoise, PixelDiffrep, PixelSolver, parser, psnr, report, sheet
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps.siren import image_siren
from ddrep_core.sampling import ddim_schedule
from ddrep_core.solvers.gauss_newton import GaussNewtonSolver
from ddrep_core.solvers.protocol import Solver


class CovectorSolver(Solver):
    """θ ← θ + scale · Jᵀ (f' − f): the chain rule alone, as in SDS and SJC."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def fit(
        self,
        rep: Any,
        targets: Tensor,
        indices: Tensor,
        weights: Tensor,
        sigma: float = 0.0,
        render: Tensor | None = None,
    ) -> int:
        linear = rep.linearize(indices)
        change = linear.pull(weights * (targets - linear.render))
        rep.apply(tuple((self.scale * piece).nan_to_num(0, 1e3, -1e3).clamp(-1e3, 1e3) for piece in change))
        return 1

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        pass


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--prompt", default="a red apple")
    options = arguments.parse_args()
    prior = dd.load_prior(options.prior, device=options.device)
    steps = 20 if options.quick else 50
    scales = (1e-3, 1e-4, 1e-5) if options.quick else (1e-2, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6)

    def picture(rep: Any, solver: Any) -> Tensor:
        result = dd.sample(
            rep, prior, prompt=options.prompt, guidance_scale=3.0, schedule=ddim_schedule(prior.sigmas, steps),
            noise=OwnNoise((1, *prior.image_shape), 0), solver=solver,
        )  # fmt: skip
        with torch.no_grad():
            return prior.decode(result.diffrep.render()).float().cpu().clamp(0, 1)[0]

    def siren(solver: Any) -> Tensor:
        return picture(image_siren(prior.image_shape, device=prior.device, output_spread=DESCENT_SPREAD), solver)

    reference = picture(PixelDiffrep(1, prior.image_shape), PixelSolver())
    full, unscaled = siren(GaussNewtonSolver()), siren(CovectorSolver(1.0))
    scaled = {scale: siren(CovectorSolver(scale)) for scale in scales}
    best = max(scaled, key=lambda scale: psnr(scaled[scale], reference))
    sheet([[reference, full, unscaled, scaled[best]]], options.out / "ablation.png", 192)
    report(
        "ablation",
        {
            "steps": steps,
            "psnr": {
                "with the metric": round(psnr(full, reference), 2),
                "without": round(psnr(unscaled, reference), 2),
                "scaled": {f"{scale:g}": round(psnr(found, reference), 2) for scale, found in scaled.items()},
            },
            "columns of ablation.png": ["image space", "with", "without", f"scaled by {best:g}"],
        },
        options.out,
    )


if __name__ == "__main__":
    main()
