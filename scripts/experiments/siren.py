"""SIREN images against image-space samples of the same noise and prompt (the paper's Table 1), by solver and passes.

python scripts/experiments/siren.py --quick                 the table and the solver curve
python scripts/experiments/siren.py --frequencies           how fast features should oscillate, on synthetic targets
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from fields_common import (
    DESCENT_SPREAD,
    PROMPTS,
    OwnNoise,
    PixelDiffrep,
    PixelSolver,
    Stopwatch,
    parser,
    psnr,
    report,
    sheet,
    ssim,
)
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps.siren import OUTPUT_SPREAD, SirenDiffrep, grid_coordinates, image_siren
from ddrep_core.sampling import ddim_schedule
from ddrep_core.solvers.first_order import AdamSolver, WarmStartSolver
from ddrep_core.solvers.gauss_newton import GaussNewtonSolver

PAPER = {"0": 29.7, "3": 29.9, "10": 27.6, "30": 23.5, "100": 13.6}
SOLVERS = {
    "Gauss-Newton, 2e-2": partial(GaussNewtonSolver, tolerance=2e-2),
    "Gauss-Newton, the default": GaussNewtonSolver,
    "Gauss-Newton, 1e-3": partial(GaussNewtonSolver, tolerance=1e-3, slack=0.0),
    "Gauss-Newton by K-FAC": partial(GaussNewtonSolver, dual_rows=0),
    "Adam kept, 10": partial(WarmStartSolver, steps=10),
    "Adam kept, 20": partial(WarmStartSolver, steps=20),
    "Adam kept, 40": partial(WarmStartSolver, steps=40),
    "Adam, 40": partial(AdamSolver, steps=40),
    "Adam, 200 (the paper)": AdamSolver,
}


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--frequencies", action="store_true")
    arguments.add_argument("--prompts", type=int)
    arguments.add_argument("--steps", type=int)
    arguments.add_argument("--guidance-scale", type=float, nargs="+", default=[0.0, 3.0, 10.0, 30.0, 100.0])
    arguments.add_argument("--no-curve", action="store_true", help="the table only")
    options = arguments.parse_args()
    if options.frequencies:
        report("siren_frequencies", {"rows": frequencies()}, options.out)
        return
    prior = dd.load_prior(options.prior, device=options.device)
    steps = options.steps or (20 if options.quick else 50)
    prompts = PROMPTS[: options.prompts or (2 if options.quick else 20)]
    table: dict[str, Any] = {}
    rows: list[list[Tensor]] = []
    for guidance in options.guidance_scale:
        runs = [
            compare(prior, prompt, guidance, seed, steps, GaussNewtonSolver()) for seed, prompt in enumerate(prompts)
        ]
        table[f"{guidance:g}"] = summary(runs) | {"paper_psnr": PAPER.get(f"{guidance:g}")}
        rows += [[run["reference"] for run in runs], [run["picture"] for run in runs]]
        print(guidance, table[f"{guidance:g}"], flush=True)
    sheet(rows, options.out / "siren.png")
    curve = {}
    for name, make in {} if options.no_curve else SOLVERS.items():
        runs = [
            compare(prior, prompt, 3.0, seed, steps, make())
            for seed, prompt in enumerate(prompts[: 1 if options.quick else 3])
        ]
        curve[name] = summary(runs)
        print(name, curve[name], flush=True)
    report("siren", {"steps": steps, "prompts": len(prompts), "table": table, "solvers": curve}, options.out)


def compare(prior: Any, prompt: str, guidance: float, seed: int, steps: int, solver: Any) -> dict[str, Any]:
    """One sample in image space and one as a SIREN, from the same noise."""
    settings = {"prompt": prompt, "guidance_scale": guidance, "schedule": ddim_schedule(prior.sigmas, steps)}
    shape = (1, *prior.image_shape)

    def run(rep: Any, solver: Any) -> Any:
        return dd.sample(rep, prior, noise=OwnNoise(shape, seed), seed=seed, solver=solver, **settings)

    reference = run(PixelDiffrep(1, prior.image_shape), PixelSolver())
    spread = DESCENT_SPREAD if isinstance(solver, AdamSolver) else OUTPUT_SPREAD
    watch = Stopwatch()
    result = run(image_siren(prior.image_shape, device=prior.device, output_spread=spread), solver)
    clock = watch.read()
    with torch.no_grad():
        expected, found = (
            prior.decode(rep.render()).float().cpu().clamp(0, 1)[0] for rep in (reference.diffrep, result.diffrep)
        )
    return {
        "reference": expected,
        "picture": found,
        "psnr": psnr(found, expected),
        "ssim": ssim(found, expected),
        "passes": result.passes / result.nfe,
        "cost": result.seconds["total"] / max(result.seconds["prior"], 1e-9),
        "processor_seconds": clock["processor_seconds"],
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Means over runs, and the spread of the PSNR."""
    found = {key: round(float(np.mean([run[key] for run in runs])), 4) for key in ("psnr", "ssim", "passes", "cost")}
    return found | {"psnr_std": round(float(np.std([run["psnr"] for run in runs])), 2)}


def frequencies() -> list[dict[str, float]]:
    """Latents with a 1/f spectrum that grow from nothing in 20 steps: the error on the grid, and between its points."""
    rows = []
    for size in (16, 32):
        target = one_over_f(size)
        finer = torch.nn.functional.interpolate(target, scale_factor=4, mode="bicubic")[0]
        for radians in (0.3, 0.5, 0.7, 1.0, 1.4, 2.0):
            rep = SirenDiffrep(grid_coordinates(size, size)[None], 4, radians_per_pixel=radians)
            rep.reset(torch.Generator().manual_seed(0))
            solver = GaussNewtonSolver()
            passes = sum(
                solver.fit(rep, target * step / 20, torch.arange(1), torch.ones(1, 1, size, size))
                for step in range(1, 21)
            )
            between = rep.render_at(grid_coordinates(4 * size, 4 * size)).movedim(-1, 0)
            inner = (slice(None), slice(8, -8), slice(8, -8))
            row = {
                "size": size,
                "radians_per_pixel": radians,
                "passes": passes / 20,
                "grid_error": float((rep.render() - target).std() / target.std()),
                "between_against_bicubic": float((between - finer)[inner].std() / target.std()),
            }
            rows.append({key: round(value, 5) for key, value in row.items()})
            print(rows[-1], flush=True)
    return rows


def one_over_f(size: int) -> Tensor:
    """[1, 4, size, size] Gaussian latents, power falling as 1/f^1.6 above a floor, unit variance."""
    frequency = torch.fft.fftfreq(size) * size
    radius = (frequency[:, None] ** 2 + frequency[None] ** 2).sqrt().clamp_min(1)
    spectrum = (radius**-1.6 / (radius**-1.6).mean() + 0.05).sqrt()
    noise = torch.randn(1, 4, size, size, generator=torch.Generator().manual_seed(0))
    field = torch.fft.ifft2(torch.fft.fft2(noise) * spectrum).real
    return field / field.std()


if __name__ == "__main__":
    main()
