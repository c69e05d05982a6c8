"""RePaint earns its keep: panoramas with and without it, at equal evaluations; agreement of windows, seams, cost.

python scripts/experiments/panorama.py --quick
python scripts/experiments/panorama.py --kind siren        the paper's own representation, on a cylinder
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from fields_common import Stopwatch, parser, report, sheet
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps.panorama import (
    CylinderDiffrep,
    SphereDiffrep,
    cylinder_coordinates,
    cylinder_points,
)
from ddrep_core.diffreps.panorama_picture import decode_cylinder, decode_sphere
from ddrep_core.diffreps.siren import SirenDiffrep
from ddrep_core.sampling import ddim_schedule, repaint_schedule
from ddrep_core.sampling.linear import LinearSolver


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--kind", choices=("sphere", "cylinder", "siren"), default="sphere")
    arguments.add_argument("--prompt", default="a mountain landscape")
    arguments.add_argument("--guidance-scale", type=float, nargs="+", default=[3.0])
    options = arguments.parse_args()
    prior = dd.load_prior(options.prior, device=options.device)
    repaint = (
        repaint_schedule(prior.sigmas, 16, 1, 1, 2) if options.quick else repaint_schedule(prior.sigmas, 100, 10, 10, 5)
    )
    schedules = {"RePaint": repaint, "plain": ddim_schedule(prior.sigmas, repaint.nfe)}
    rows, table = [], {}
    for guidance in options.guidance_scale:
        for name, schedule in schedules.items():
            rep, arguments_of_kind = representation(options.kind, prior)
            watch = Stopwatch()
            result = dd.sample(
                rep, prior, prompt=options.prompt, guidance_scale=guidance, schedule=schedule, **arguments_of_kind
            )
            picture = draw(result.diffrep, prior)
            table[f"{name}, guidance {guidance:g}"] = {
                "nfe": result.nfe,
                "disagreement": round(float(result.disagreement or 0), 4),
                "seam": round(seam(picture), 3),
                "cost": round(result.seconds["total"] / result.seconds["prior"], 3),
                **watch.read(),
            }
            rows.append([picture])
            print(name, table[f"{name}, guidance {guidance:g}"], flush=True)
    sheet(rows, options.out / f"panorama_{options.kind}.png", 256 if options.kind == "sphere" else 64)
    report(f"panorama_{options.kind}", {"prompt": options.prompt, "runs": table}, options.out)


def representation(kind: str, prior: Any) -> tuple[Any, dict[str, Any]]:
    """A panorama of a kind, and what `sample` needs for it."""
    if kind == "siren":
        channels, height, width = prior.image_shape
        # Windows share the cylinder's noise here too.
        noise = CylinderDiffrep(prior.image_shape).noise
        return SirenDiffrep(cylinder_coordinates(height, width), channels, pixel_pitch=1 / height), {"noise": noise}
    rep = (SphereDiffrep if kind == "sphere" else CylinderDiffrep)(prior.image_shape, device=prior.device)
    views = {"views": rep.cameras} if isinstance(rep, SphereDiffrep) else {}
    return rep, views | {"noise": rep.noise, "solver": LinearSolver(tolerance=1e-3, iterations=60)}


def draw(rep: Any, prior: Any) -> Tensor:
    """[3, H, W] the panorama, blended from windows."""

    def decode(latents: Tensor) -> Tensor:
        with torch.no_grad():
            return prior.decode(latents.to(prior.device)).float().cpu().clamp(0, 1)

    if isinstance(rep, SphereDiffrep):
        return decode_sphere(rep.values_at, rep.image_shape, decode, 512)
    _, height, width = rep.image_shape
    if isinstance(rep, CylinderDiffrep):
        return decode_cylinder(rep.canvas(), width, decode)
    turn = (torch.arange(8 * width) + 0.5) / (8 * width)
    down = (torch.arange(height) + 0.5) / height
    canvas = rep.render_at(cylinder_points(turn[None], down[:, None])).movedim(-1, 0)
    return decode_cylinder(canvas, width, partial(decode))


def seam(picture: Tensor) -> float:
    """The step across the wrap over the mean step between neighbouring columns: 1 where there is no seam."""
    steps = (picture - picture.roll(1, dims=2)).abs().mean((0, 1))
    return float(steps[0] / steps[1:].mean())


if __name__ == "__main__":
    main()
