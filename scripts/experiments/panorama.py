"""Does RePaint earn its keep? Panoramas with and without it, at equal evaluations; agreement of windows, seams, cost.

python scripts/experiments/panorama.py --quick
python scripts/experiments/panorama.py --kind cylinder --noise own shared     with each window's own noise, too
python scripts/experiments/panorama.py --kind siren        the paper's own representation, on a cylinder
python scripts/experiments/panorama.py --repaint 25,5,5,3 --prompts "desert" "the sea at night"

`disagreement`: what of the windows' last x̂0 the canvas cannot hold, of what unrelated pictures would leave.
`contradiction`: the same at σ = 0.5 and for new noise of their own: schedules end at different noise.
`held_out_changed`: windows that never painted, each half-way between two that did, get noise of σ = 0.5; how much of
them the prior's x̂0 then changes, of their variance. A picture that the prior finds likely is changed little.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import trimesh
from fields_common import Stopwatch, change_by_prior, contradiction, parser, report, sheet
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps.panorama import (
    CylinderDiffrep,
    SphereDiffrep,
    camera_directions,
    cylinder_coordinates,
    cylinder_points,
)
from ddrep_core.diffreps.panorama_picture import decode_cylinder, decode_sphere
from ddrep_core.diffreps.siren import SirenDiffrep
from ddrep_core.sampling import ViewNoise, ddim_schedule, repaint_schedule
from ddrep_core.solvers.choose import choose_solver
from ddrep_core.views import Views


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--kind", choices=("sphere", "cylinder", "siren"), default="sphere")
    arguments.add_argument("--prompts", nargs="+", default=["mountain landscape"])
    arguments.add_argument("--seeds", type=int, default=1)
    arguments.add_argument("--guidance-scale", type=float, default=3.0)
    arguments.add_argument(
        "--noise", nargs="+", choices=("own", "shared"), default=["shared"],
        help="each window's own, as the paper draws it, or the canvas's, shared where windows overlap (the default)",
    )  # fmt: skip
    arguments.add_argument("--repaint", metavar="STEPS,INTERVAL,LENGTH,VISITS", help="the paper's is 100,10,10,5")
    options = arguments.parse_args()
    prior = dd.load_prior(options.prior, device=options.device)
    numbers = options.repaint or ("16,1,1,2" if options.quick else "100,10,10,5")
    repaint = repaint_schedule(prior.sigmas, *(int(number) for number in numbers.split(",")))
    schedules = {f"RePaint ({numbers})": repaint, "plain": ddim_schedule(prior.sigmas, repaint.nfe)}
    rows, table = [], {}
    for noise, (name, schedule) in itertools.product(options.noise, schedules.items()):
        runs = []
        for prompt in options.prompts:
            for seed in range(options.seeds):
                rep, arguments_of_kind = representation(options.kind, prior, noise)
                watch = Stopwatch()
                result = dd.sample(
                    rep, prior, prompt=prompt, guidance_scale=options.guidance_scale, schedule=schedule, seed=seed,
                    **arguments_of_kind,
                )  # fmt: skip
                picture = draw(result.diffrep, prior)
                runs.append(
                    {
                        "prompt": prompt,
                        "seed": seed,
                        "nfe": result.nfe,
                        "disagreement": round(float(result.disagreement or 0), 4),
                        "contradiction": contradiction(
                            result.diffrep,
                            arguments_of_kind.get("solver") or choose_solver(result.diffrep),
                            prior,
                            prompt,
                            arguments_of_kind.get("views"),
                            options.guidance_scale,
                            range(result.diffrep.view_count),
                        ),
                        "held_out_changed": changed(result.diffrep, prior, prompt, options.guidance_scale),
                        "seam": round(seam(picture), 3),
                        "cost": round(result.seconds["total"] / result.seconds["prior"], 3),
                        **watch.read(),
                    }
                )
                rows.append([picture])
                print(noise, name, runs[-1], flush=True)
        means = {
            key: round(float(np.mean([run[key] for run in runs if run[key] is not None] or [np.nan])), 4)
            for key in ("nfe", "disagreement", "contradiction", "held_out_changed", "seam", "cost")
        }
        table[f"{noise} noise, {name}"] = means | {"runs": runs}
        print(noise, name, means, flush=True)
    sheet(rows, options.out / f"panorama_{options.kind}.png", 256 if options.kind == "sphere" else 64)
    report(f"panorama_{options.kind}", {"guidance_scale": options.guidance_scale, "schedules": table}, options.out)


def changed(rep: Any, prior: Any, prompt: str, guidance_scale: float) -> float | None:
    """What the prior would change of windows that never painted, of their variance; None for a SIREN."""
    channels, height, width = prior.image_shape
    views = None
    if isinstance(rep, SphereDiffrep):
        around = (len(rep.cameras) - 2) // 3  # three rings and the poles
        half_way = trimesh.transformations.rotation_matrix(math.pi / around, (0, 0, 1))
        views = Views(tuple(replace(c, matrix_world=half_way @ c.matrix_world) for c in rep.cameras))
        seen = [rep.values_at(torch.from_numpy(camera_directions(c, height, width).reshape(-1, 3))) for c in views]
        pictures = torch.stack(seen).reshape(len(views), height, width, channels).permute(0, 3, 1, 2)
    elif isinstance(rep, CylinderDiffrep):
        offsets = [round((number + 0.5) * width / 2) for number in range(16)]
        pictures = torch.stack([rep.canvas().roll(-offset, dims=2)[:, :, :width] for offset in offsets])
    else:
        return None
    return change_by_prior(pictures.to(prior.device, prior.dtype), prior, prompt, views, guidance_scale)


def representation(kind: str, prior: Any, noise: str) -> tuple[Any, dict[str, Any]]:
    """A panorama of a kind, and what `sample` needs for it: a SIREN's windows share the cylinder's noise."""
    if kind == "siren":
        channels, height, width = prior.image_shape
        siren = SirenDiffrep(cylinder_coordinates(height, width), channels, pixel_pitch=1 / height)
        return siren, {"noise": CylinderDiffrep(prior.image_shape).noise if noise == "shared" else None}
    rep = (SphereDiffrep if kind == "sphere" else CylinderDiffrep)(prior.image_shape, device=prior.device)
    views = {"views": rep.cameras} if isinstance(rep, SphereDiffrep) else {}
    shape = (rep.view_count, *rep.image_shape)
    return rep, views | {"noise": rep.noise if noise == "shared" else ViewNoise(shape)}


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
