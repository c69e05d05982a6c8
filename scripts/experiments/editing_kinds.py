"""Editing what is no texture: drawings, panoramas and radiance fields, by `ddrep edit`'s sampler and by SDS.

    npm pack openmoji                                                    (unpacked outside of the repository)
    python scripts/experiments/editing_kinds.py drawings --icons OPENMOJI/color/svg
    python scripts/experiments/editing_kinds.py panoramas
    python scripts/experiments/editing_kinds.py fields

Measured as in `editing.py`: gain, of the mean cosine to pictures that were sampled with the new words; distance, of
features at three depths, to the source. Rows of the sheets: before, each method. What was finished is kept in
OUT/editing_KIND.jsonl, and not made again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from editing import Judge
from fields_common import OwnNoise, PixelDiffrep, PixelSolver, Stopwatch, sheet
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps.encoded import EncodedDiffrep
from ddrep_core.diffreps.panorama import CylinderDiffrep
from ddrep_core.diffreps.vector import VectorDiffrep
from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep
from ddrep_core.distillation import SCORE_DISTILLATION, distill
from ddrep_core.jobs.edit_procedure import STRENGTH
from ddrep_core.jobs.edit_vector import DESCENT_RATE, MOVING
from ddrep_core.jobs.generate import FIELD_GUIDANCE
from ddrep_core.sampling import ddim_schedule, lower_levels, sample
from ddrep_core.vector import read_svg
from ddrep_core.views import Views
from ddrep_core.views.banks import sphere_bank

DRAWINGS = {
    "1F34E": ("a red apple", "a green apple"),
    "1F697": ("a red car", "a blue car"),
    "2764": ("a red heart", "a blue heart"),
    "1F33B": ("a yellow flower", "a red flower"),
    "1F436": ("a brown dog", "a white dog"),
    "1F431": ("an orange cat", "a black cat"),
    "1F333": ("a green tree", "an orange tree"),
    "1F344": ("a red mushroom", "a brown mushroom"),
    "2B50": ("a gold star", "a red star"),
    "1F302": ("a purple umbrella", "a red umbrella"),
    "1F4D5": ("a red book", "a green book"),
    "1F455": ("a blue shirt", "a red shirt"),
    "1F388": ("a red balloon", "a blue balloon"),
    "1F426": ("a blue bird", "a red bird"),
    "1F41F": ("a blue fish", "an orange fish"),
    "1F347": ("purple grapes", "green grapes"),
    "1F34B": ("a yellow lemon", "a green lime"),
    "1F345": ("a red tomato", "a green tomato"),
    "1F411": ("a white sheep", "a black sheep"),
    "1F339": ("a red rose", "a yellow rose"),
}
PANORAMAS = (
    ("green hills under a blue sky", "snowy hills under a blue sky"), ("a blue sea", "a sea at sunset"),
    ("a sandy desert", "a green meadow"), ("a green forest", "an autumn forest"),
)  # fmt: skip
FIELDS = (
    ("a yellow duck", "a pink duck"), ("a red apple", "a green apple"), ("a brown mushroom", "a red mushroom"),
    ("a red car", "a blue car"),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One edit.

    Attributes:
        rep: shows the source; views: of cameras, where it has any.
        rate: of descent; descent: its evaluations, each of `views_per_step` views.
        seen: pictures [B, 3, H, W] to judge a representation by.
        wanted: pictures that were sampled with the new words.
    """

    words: tuple[str, str]
    rep: Any
    views: Views | None
    views_per_step: int | None
    rate: float | None
    seen: Callable[[Any], Tensor]
    wanted: Tensor


def pictures_of(prior: Any, prompt: str, guidance: float, steps: int, count: int = 4) -> Tensor:
    """[count, 3, H, W] sampled on their own."""
    shape = (count, *prior.image_shape)
    made = sample(
        PixelDiffrep(count, prior.image_shape), prior, prompt=prompt, guidance_scale=guidance,
        schedule=ddim_schedule(prior.sigmas, steps), noise=OwnNoise(shape, 2), solver=PixelSolver(),
    )  # fmt: skip
    return decoded(prior, made.diffrep)


def decoded(prior: Any, rep: Any, indices: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return prior.decode(rep.render(indices)).float().cpu().clamp(0, 1)


def drawings(prior: Any, options: argparse.Namespace) -> Iterator[Case]:
    for name, words in list(DRAWINGS.items())[: options.count]:
        drawing, markup = read_svg(options.icons / f"{name}.svg")
        rep = EncodedDiffrep(VectorDiffrep(drawing, markup, prior.image_size, prior.image_size, moving=MOVING), prior)

        def seen(rep: Any) -> Tensor:
            with torch.no_grad():
                return rep.pictures.render().float().cpu().clamp(0, 1)

        wanted = pictures_of(prior, words[1], options.guidance_scale, options.steps)
        yield Case(words, rep.edited(), None, None, DESCENT_RATE, seen, wanted)


def panoramas(prior: Any, options: argparse.Namespace) -> Iterator[Case]:
    for words in PANORAMAS[: options.count]:
        made = []
        for prompt, seed in zip(words, (1, 7), strict=True):
            rep = CylinderDiffrep(prior.image_shape)
            plan = ddim_schedule(prior.sigmas, options.steps)
            told = {"prompt": prompt, "guidance_scale": options.guidance_scale, "schedule": plan, "seed": seed}
            made.append(sample(rep, prior, **told).diffrep)
        seen = partial(decoded, prior, indices=torch.arange(0, made[0].view_count, 2))
        yield Case(words, made[0], None, 8, 0.05, seen, seen(made[1]))


def fields(prior: Any, options: argparse.Namespace) -> Iterator[Case]:
    for words in FIELDS[: options.count]:
        views = sphere_bank(8, size=prior.image_size)
        rep = VoxelNerfDiffrep(views, prior.image_shape, 40)
        plan = ddim_schedule(prior.sigmas, 20)
        told = {"guidance_scale": FIELD_GUIDANCE, "schedule": plan, "views_per_step": 4}
        source = sample(rep, prior, views, prompt=words[0], **told).diffrep
        wanted = pictures_of(prior, words[1], options.guidance_scale, options.steps)
        yield Case(words, source, views, 4, None, partial(decoded, prior), wanted)


def by_difference(case: Case, prior: Any, guidance: float, steps: int, eta: float, strength: float) -> Any:
    """As `ddrep edit` does it."""
    return sample(
        case.rep, prior, case.views, prompt=case.words[1], source_prompt=case.words[0], guidance_scale=guidance,
        schedule=ddim_schedule(lower_levels(prior.sigmas, strength), steps), eta=eta, seed=3,
        views_per_step=case.views_per_step if case.views is not None else None,
    )  # fmt: skip


def by_descent(case: Case, prior: Any, guidance: float, steps: int) -> Any:
    return distill(
        case.rep, prior, case.views, prompt=case.words[1], guidance_scale=guidance, from_scratch=False, seed=3,
        method=SCORE_DISTILLATION.with_settings(steps=steps, learning_rate=case.rate),
        views_per_step=case.views_per_step,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["drawings", "panoramas", "fields"])
    parser.add_argument("--icons", type=Path, help="a folder of OpenMoji's SVG files")
    parser.add_argument("--count", type=int, default=20, help="edits, at most")
    parser.add_argument("--steps", type=int, default=15, help="of the difference, two evaluations each")
    parser.add_argument("--descent", type=int, default=60, help="steps of SDS")
    parser.add_argument("--strength", type=float, default=STRENGTH["difference"])
    parser.add_argument("--eta", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--guidance-scale", type=float, default=2.5)
    parser.add_argument("--prior", default="bundled")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("out/experiments"))
    options = parser.parse_args()
    prior, guidance = dd.load_prior(options.prior, device=options.device), options.guidance_scale
    methods: dict[str, Callable[[Case], Any]] = {
        f"difference, η = {eta:g}": partial(
            by_difference, prior=prior, guidance=guidance, steps=options.steps, eta=eta, strength=options.strength
        )
        for eta in options.eta
    }
    methods["SDS"] = partial(by_descent, prior=prior, guidance=guidance, steps=options.descent)
    options.out.mkdir(parents=True, exist_ok=True)
    log = options.out / f"editing_{options.what}.jsonl"
    records = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    for case in {"drawings": drawings, "panoramas": panoramas, "fields": fields}[options.what](prior, options):
        edit = " → ".join(case.words)
        before, rows = case.seen(case.rep), []
        for name, method in methods.items():
            picture = options.out / f"{options.what} {case.words[1]} {name}.png"
            if any((each["edit"], each["method"]) == (edit, name) for each in records):
                continue
            watch = Stopwatch()
            result = method(case)
            after, about = case.seen(result.diffrep), {"edit": edit, "method": name, "nfe": result.nfe, **watch.read()}
            rows = [list(before), list(after)]
            sheet(rows, picture, 96)
            records.append({**about, **Judge(before, case.wanted)(after)})
            with log.open("a") as file:
                file.write(json.dumps(records[-1]) + "\n")
            print(json.dumps(records[-1]), flush=True)
    table(records, list(methods))


def table(records: list[dict[str, Any]], names: list[str]) -> None:
    print("| method | edits | evaluations | gain | distance | rms |\n|---|---|---|---|---|---|")
    for name in names:
        own = [each for each in records if each["method"] == name]
        mean = {key: float(np.mean([each[key] for each in own])) for key in ("nfe", "gain", "distance", "rms")}
        gain, distance = f"{mean['gain']:+.3f}", f"{mean['distance']:.3f}"
        print(f"| {name} | {len(own)} | {mean['nfe']:g} | {gain} | {distance} | {mean['rms']:.3f} |")


if __name__ == "__main__":
    main()
