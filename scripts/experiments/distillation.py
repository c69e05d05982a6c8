"""Sampling, not mode-seeking: one prompt, many seeds, in image space, as SIRENs, by SJC and by SDS.

Prints the mean pairwise distance of features and the KID against a second set of image-space samples.

    python scripts/experiments/distillation.py --quick
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from fields_common import (
    DESCENT_SPREAD,
    OwnNoise,
    PixelDiffrep,
    PixelSolver,
    Stopwatch,
    features,
    kernel_inception_distance,
    mean_pairwise_distance,
    parser,
    report,
    sheet,
)
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps.siren import image_siren
from ddrep_core.distillation import SCORE_DISTILLATION, SCORE_JACOBIAN_CHAINING, distill
from ddrep_core.sampling import ddim_schedule


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--prompt", default="a red apple")
    arguments.add_argument("--seeds", type=int)
    arguments.add_argument("--guidance-scale", type=float, default=3.0, help="of the samplers")
    arguments.add_argument("--distillation-guidance", type=float, help="each method's published one by default")
    arguments.add_argument("--distillation-steps", type=int)
    options = arguments.parse_args()
    prior = dd.load_prior(options.prior, device=options.device)
    seeds = options.seeds or (6 if options.quick else 16)
    steps = 20 if options.quick else 50
    budget = options.distillation_steps or (150 if options.quick else 3000)
    asked = {"prompt": options.prompt, "guidance_scale": options.guidance_scale}
    schedule, shape = ddim_schedule(prior.sigmas, steps), (1, *prior.image_shape)

    def decoded(rep: Any) -> Tensor:
        with torch.no_grad():
            return prior.decode(rep.render()).float().cpu().clamp(0, 1)[0]

    def reference(seed: int) -> Tensor:
        rep, noise = PixelDiffrep(1, prior.image_shape), OwnNoise(shape, seed)
        return decoded(dd.sample(rep, prior, schedule=schedule, noise=noise, solver=PixelSolver(), **asked).diffrep)

    def sampled(seed: int) -> Tensor:
        rep = image_siren(prior.image_shape, device=prior.device)
        return decoded(dd.sample(rep, prior, schedule=schedule, noise=OwnNoise(shape, seed), **asked).diffrep)

    def sought(method: Any) -> Callable[[int], Tensor]:
        # The published rates are for voxels; this one brings a SIREN to rest within the budget.
        brief = method.with_settings(steps=budget, learning_rate=3e-4)
        return lambda seed: decoded(
            distill(
                image_siren(prior.image_shape, device=prior.device, output_spread=DESCENT_SPREAD), prior, method=brief,
                seed=seed,
                prompt=options.prompt, guidance_scale=options.distillation_guidance,
            ).diffrep
        )  # fmt: skip

    methods: dict[str, Callable[[int], Tensor]] = {
        "image space": reference,
        "SIREN, sampled": sampled,
        "SIREN, SJC": sought(SCORE_JACOBIAN_CHAINING),
        "SIREN, SDS": sought(SCORE_DISTILLATION),
    }
    against = features(torch.stack([reference(1000 + seed) for seed in range(seeds)]))
    rows, table = [], {}
    for name, make in methods.items():
        watch = Stopwatch()
        pictures = torch.stack([make(seed) for seed in range(seeds)])
        found = features(pictures)
        table[name] = {
            "pairwise_distance": round(mean_pairwise_distance(found), 4),
            "kid": round(kernel_inception_distance(found, against), 5),
            **watch.read(),
        }
        rows.append(list(pictures[:8]))
        print(name, table[name], flush=True)
    base = table["image space"]["pairwise_distance"]
    for entry in table.values():
        entry["share_of_the_reference's_diversity"] = round(entry["pairwise_distance"] / base, 3)
    sheet(rows, options.out / "distillation.png")
    report(
        "distillation",
        {
            "seeds": seeds,
            "steps": steps,
            "distillation_steps": budget,
            "guidance_scale": options.guidance_scale,
            "distillation_guidance": options.distillation_guidance or SCORE_DISTILLATION.guidance_scale,
            "methods": table,
        },
        options.out,
    )


if __name__ == "__main__":
    main()
