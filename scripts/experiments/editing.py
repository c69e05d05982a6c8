"""Editing: the methods side by side, on beds of exact objects and on pictures of the bundled prior.

    python scripts/experiments/editing.py beds
    python scripts/experiments/editing.py pictures

Meshes, drawings, panoramas and fields: `editing_kinds.py`.

On beds, each of six objects (strips of 48 texels, seen through eight windows that overlap by a half) has a counterpart
under other words; what differs is common to all of them, or each object's own, or both. An edit should end at exactly
its own object's counterpart.

On the bundled prior, what is measured of the decoded pictures:

- fidelity: the mean cosine, in EfficientNet-Lite features, to pictures that were sampled with the new words; gain: less
  the same of the source, what the edit added.
- distance: `PerceptualDistance` to the source (features at three depths), and the rms in RGB.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fields_common import OwnNoise, PixelDiffrep, PixelSolver, Stopwatch, features, sheet
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.distillation import (
    DELTA_DENOISING,
    POSTERIOR_DISTILLATION,
    SCORE_DISTILLATION,
    ModeSeeker,
    distill,
    posterior_distillation,
)
from ddrep_core.features import PerceptualDistance
from ddrep_core.priors import EmpiricalPrior
from ddrep_core.sampling import Schedule, Segment, ddim_schedule, karras_levels, lower_levels, sample

# Beds

VIEWS, WIDTH, TEXELS, OBJECTS = 8, 12, 48, 6


class Strips(MatrixDiffrep):
    """Strips side by side in the channels: that many edits at once."""

    def __init__(self, copies: int) -> None:
        matrix = torch.zeros(VIEWS * WIDTH, TEXELS)
        pixel = torch.arange(VIEWS * WIDTH)
        matrix[pixel, (pixel // WIDTH * WIDTH // 2 + pixel % WIDTH) % TEXELS] = 1
        super().__init__(matrix, (3 * copies, 1, WIDTH), columns=3 * copies)


class Many:
    """An exact prior applied to pictures that lie one behind the other in the channels."""

    def __init__(self, prior: EmpiricalPrior, copies: int) -> None:
        self.prior, self.copies, self.sigmas, self.channels = prior, copies, prior.sigmas, 3 * copies

    def condition(self, *arguments: Any, **options: Any) -> Any:
        return self.prior.condition(*arguments, **options)

    def predict_noise(self, x: Tensor, sigma: float, conditioning: Any) -> Tensor:
        views, _, height, width = x.shape
        each = conditioning[torch.arange(views).repeat_interleave(self.copies)]
        return self.prior.predict_noise(x.reshape(-1, 3, height, width), sigma, each).reshape(x.shape)

    def decode(self, latents: Tensor) -> Tensor:
        return latents


@dataclass
class Bed:
    """Objects [6, 48, 3] and their counterparts; ten edits of each at once."""

    before: Tensor
    after: Tensor
    repeats: int = 10

    @classmethod
    def of(cls, common: float, own: float, seed: int) -> Bed:
        before = _strips(OBJECTS, seed)
        return cls(before, before + common * _strips(1, seed + 100) + own * _strips(OBJECTS, seed + 200))

    def start(self) -> Strips:
        rep = Strips(OBJECTS * self.repeats)
        rep.theta.copy_(self.before.repeat(self.repeats, 1, 1).permute(1, 0, 2).reshape(TEXELS, -1))
        return rep

    def prior(self) -> Any:
        one = Strips(1)
        seen = []
        for strip in torch.cat([self.before, self.after]):
            one.theta.copy_(strip)
            seen.append(one.render())
        captions = ["before"] * OBJECTS + ["after"] * OBJECTS
        return Many(EmpiricalPrior(torch.stack(seen, 1), captions), OBJECTS * self.repeats)

    def judge(self, theta: Tensor) -> dict[str, float]:
        """Shares of edits that are nearest to their own counterpart, and that are it; the mean rms to it."""
        found = theta.reshape(TEXELS, -1, 3).permute(1, 0, 2)
        away = (found[:, None] - self.after[None]).square().mean((2, 3)).sqrt()
        own = torch.arange(OBJECTS).repeat(self.repeats)
        mine = away.gather(1, own[:, None])
        return {
            "own": float((away.argmin(1) == own).double().mean()),
            "exact": float((mine < 0.01).double().mean()),
            "rms": float(mine.mean()),
        }


def _strips(count: int, seed: int) -> Tensor:
    """[K, 48, 3] a random base colour each, and a pattern that closes on itself."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(count, 1, 3, generator=generator) * 2 - 1
    coarse = torch.randn(count, 3, 8, generator=generator)
    around = torch.cat([coarse[..., -2:], coarse, coarse[..., :2]], -1)
    return base + 0.5 * torch.nn.functional.interpolate(around, size=72, mode="linear")[..., 12:60].permute(0, 2, 1)


def annealed(steps: int, jumps: int, high: float, eta: float, low: float = 0.05, start: float = 40.0) -> Schedule:
    """A descent, then jumps up from `low` whose height falls from `high` to a tenth, five steps down each."""
    down = [Segment((*karras_levels(float(top), low, 6)[:-1], low), eta=eta) for top in np.geomspace(high, 0.1, jumps)]
    return Schedule((Segment(karras_levels(start, low, steps)), *down, Segment((low, 0.0))))


def beds(options: argparse.Namespace) -> None:
    def plain(start: float, steps: int = 49) -> Schedule:
        return Schedule((Segment((*karras_levels(start, 0.02, steps), 0.0)),))

    def difference(schedule: Schedule, eta: float) -> Callable[[Bed, int], Any]:
        return lambda bed, seed: sample(
            bed.start(), bed.prior(), prompt="after", source_prompt="before", schedule=schedule, eta=eta,
            guidance_scale=1.0, seed=seed,
        )  # fmt: skip

    def sdedit(start: float) -> Callable[[Bed, int], Any]:
        return lambda bed, seed: sample(
            bed.start(), bed.prior(), prompt="after", from_scratch=False, schedule=plain(start), eta=0.0,
            guidance_scale=1.0, seed=seed,
        )  # fmt: skip

    def sought(method: ModeSeeker, steps: int) -> Callable[[Bed, int], Any]:
        brief = method.with_settings(steps=steps, learning_rate=0.02 if options.quick else 0.01)
        return lambda bed, seed: distill(
            bed.start(), bed.prior(), method=brief, prompt="after", source_prompt="before", guidance_scale=1.0,
            seed=seed, from_scratch=False,
        )  # fmt: skip

    descent = 600 if options.quick else 3000
    methods = {
        **{f"difference, η = {eta:g}": difference(plain(40.0), eta) for eta in (0.0, 0.3, 0.75, 1.0)},
        "difference from σ = 5, η = 1": difference(plain(5.0), 1.0),
        "difference, twice the steps, η = 1": difference(plain(40.0, 98), 1.0),
        **{
            f"difference, η = 1, {jumps} jumps from σ = {high:g}, η = {eta:g}": difference(
                annealed(49, jumps, high, eta), 1.0
            )
            for jumps, high, eta in ((10, 2.0, 1.0), (20, 4.0, 0.0), (20, 4.0, 1.0), (40, 4.0, 1.0))
        },
        **{f"SDEdit from σ = {start:g}": sdedit(start) for start in (1.0, 2.0, 5.0)},
        "DDS": sought(DELTA_DENOISING, descent),
        "PDS": sought(POSTERIOR_DISTILLATION, descent),
        "SDS": sought(SCORE_DISTILLATION, descent),
    }
    kinds = {"the same in all": (1.0, 0.0), "half as much its own, too": (1.0, 0.5), "as much its own, too": (1.0, 1.0)}
    table: dict[str, Any] = {}
    for kind, (common, own) in kinds.items():
        print(
            f"\nWhat changes: {kind}\n| method | evaluations | own counterpart | exactly | rms |\n|---|---|---|---|---|"
        )
        for name, edit in methods.items():
            found, nfe = [], 0.0
            for seed in range(3):
                bed = Bed.of(common, own, seed)
                result = edit(bed, seed)
                found.append(bed.judge(result.diffrep.theta))
                nfe = result.nfe
            mean = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
            table[f"{kind}: {name}"] = {**mean, "nfe": nfe}
            print(f"| {name} | {nfe:g} | {mean['own']:.2f} | {mean['exact']:.2f} | {mean['rms']:.3f} |", flush=True)
    _keep("beds", table, options)


# Pictures of the bundled prior

EDITS = (
    ("a wooden chair", "a golden chair"), ("a red apple", "a green apple"), ("a red heart", "a blue heart"),
    ("a brown dog", "a white dog"), ("a yellow duck", "a pink duck"), ("a house", "a house covered in snow"),
)  # fmt: skip

Edit = Callable[[Any, Any, dict[str, Any], dict[str, Any], int], Any]
"""Of (representation, prior, what all methods are told, what samplers are told, seed)."""


def edit_by_difference(strength: float, eta: float, steps: int = 30) -> Edit:
    return lambda rep, prior, told, sampling, seed: sample(
        rep,
        prior,
        schedule=ddim_schedule(lower_levels(prior.sigmas, strength), steps),
        eta=eta,
        seed=seed,
        **told,
        **sampling,
    )


def edit_by_sdedit(strength: float, steps: int = 50) -> Edit:
    def edit(rep: Any, prior: Any, told: dict[str, Any], sampling: dict[str, Any], seed: int) -> Any:
        asked = {key: value for key, value in told.items() if key != "source_prompt"}
        schedule = ddim_schedule(lower_levels(prior.sigmas, strength), steps)
        return sample(rep, prior, schedule=schedule, seed=seed, from_scratch=False, **asked, **sampling)

    return edit


def edit_by_descent(method: ModeSeeker, steps: int, rate: float) -> Edit:
    brief = method.with_settings(steps=steps, learning_rate=rate)
    return lambda rep, prior, told, sampling, seed: distill(
        rep, prior, method=brief, seed=seed, from_scratch=False, **told
    )


def methods(quick: bool) -> dict[str, Edit]:
    steps = 100 if quick else 300
    found = {
        "difference, η = 0": edit_by_difference(1.0, 0.0),
        "difference, η = 1": edit_by_difference(1.0, 1.0),
        "SDS": edit_by_descent(SCORE_DISTILLATION, steps, 0.05),
        "DDS": edit_by_descent(DELTA_DENOISING, steps, 0.05),
        "PDS": edit_by_descent(POSTERIOR_DISTILLATION, steps, 0.05),
        "SDEdit 0.7": edit_by_sdedit(0.7),
    }
    if not quick:
        found |= {
            "difference, strength 0.8": edit_by_difference(0.8, 1.0),
            "difference, strength 0.6": edit_by_difference(0.6, 1.0),
            "SDEdit 0.85": edit_by_sdedit(0.85),
            "PDS, a tenth of its identity": edit_by_descent(posterior_distillation("released", 0.1), steps, 0.05),
            "PDS as printed": edit_by_descent(posterior_distillation("printed"), steps, 0.05),
        }
    return found


class Judge:
    """Of edited pictures [V, 3, H, W] in [0, 1]."""

    def __init__(self, before: Tensor, wanted: Tensor) -> None:
        self.before, self.wanted, self.distance = before, features(wanted), PerceptualDistance()
        self.base = self._cosine(before)

    def _cosine(self, pictures: Tensor) -> float:
        return float((features(pictures) @ self.wanted.T).mean())

    def __call__(self, after: Tensor) -> dict[str, float]:
        with torch.no_grad():
            away = float(self.distance(2 * after - 1, 2 * self.before - 1))
        rms = float((after - self.before).square().mean().sqrt())
        fidelity = self._cosine(after)
        return {"fidelity": fidelity, "gain": fidelity - self.base, "distance": away, "rms": rms}


def pictures(options: argparse.Namespace) -> None:
    prior = dd.load_prior(options.prior, device=options.device)
    guidance, count = options.guidance_scale, 2 if options.quick else 4

    def made(prompt: str, number: int, seed: int) -> Any:
        rep = PixelDiffrep(number, prior.image_shape)
        return sample(
            rep, prior, prompt=prompt, guidance_scale=guidance, schedule=ddim_schedule(prior.sigmas, 30),
            noise=OwnNoise((number, *prior.image_shape), seed), solver=PixelSolver(),
        ).diffrep  # fmt: skip

    def decoded(rep: Any) -> Tensor:
        with torch.no_grad():
            return prior.decode(rep.render()).float().cpu().clamp(0, 1)

    records: list[dict[str, Any]] = []
    for source_prompt, prompt in EDITS[: options.edits]:
        source = made(source_prompt, count, 1)
        before = decoded(source)
        judge = Judge(before, decoded(made(prompt, 4, 2)))
        rows = [list(before)]
        for name, edit in methods(options.quick).items():
            watch = Stopwatch()
            told = {"prompt": prompt, "source_prompt": source_prompt, "guidance_scale": guidance}
            result = edit(source, prior, told, {"solver": PixelSolver()}, 3)
            after = decoded(result.diffrep)
            rows.append(list(after))
            told = {"edit": f"{source_prompt} → {prompt}", "method": name, "nfe": result.nfe, **watch.read()}
            records.append({**told, **judge(after)})
            print(json.dumps(records[-1]), flush=True)
        sheet(rows, options.out / f"pictures {prompt}.png", 96)
    _table(records)
    _keep("pictures", records, options)


def _table(records: list[dict[str, Any]]) -> None:
    print("\n| method | evaluations | gain | distance | of SDS's | rms |\n|---|---|---|---|---|---|")
    names = list(dict.fromkeys(record["method"] for record in records))
    mean = {
        name: {key: float(np.mean([r[key] for r in records if r["method"] == name])) for key in
               ("nfe", "gain", "distance", "rms")}
        for name in names
    }  # fmt: skip
    for name, one in mean.items():
        share = one["distance"] / mean["SDS"]["distance"] if "SDS" in mean else float("nan")
        print(
            f"| {name} | {one['nfe']:g} | {one['gain']:+.4f} | {one['distance']:.4f} | {share:.0%} | {one['rms']:.3f} |"
        )


def _keep(name: str, found: Any, options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"editing_{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["beds", "pictures"])
    parser.add_argument("--quick", action="store_true", help="fewer seeds and steps of descent")
    parser.add_argument("--edits", type=int, default=len(EDITS))
    parser.add_argument("--guidance-scale", type=float, default=2.5)
    parser.add_argument("--prior", default="bundled")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("out/experiments"))
    options = parser.parse_args()
    {"beds": beds, "pictures": pictures}[options.what](options)


if __name__ == "__main__":
    main()
