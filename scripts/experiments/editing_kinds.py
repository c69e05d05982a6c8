"""Editing meshes, drawings, panoramas and radiance fields: `ddrep edit`'s sampler and what it is compared with.

    npm pack openmoji                                                    (unpacked outside of the repository)
    python scripts/experiments/editing_kinds.py meshes --meshes spot.obj teapot.obj --guidances 1 1.25 --baselines
    python scripts/experiments/editing_kinds.py drawings --icons OPENMOJI/color/svg
    python scripts/experiments/editing_kinds.py panoramas
    python scripts/experiments/editing_kinds.py fields --guidance-scale 7.5 --guidances 1 1.25 1.5

Measured as in `editing.py`: fidelity, the mean cosine to pictures that were sampled with the new words, and gain, what
of it the edit added; distance, of features at three depths, to the source; rms in sRGB. Told: how sure the prior itself
is that the pictures are the new words' and not the old ones'. Sheets: before, and after. What was finished is kept in
OUT/editing_KIND.jsonl, and not made again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from editing import Judge
from fields_common import OwnNoise, PixelDiffrep, PixelSolver, Stopwatch, certainty, sheet
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps.encoded import EncodedDiffrep
from ddrep_core.diffreps.field_colours import FieldColours
from ddrep_core.diffreps.panorama import CylinderDiffrep
from ddrep_core.diffreps.vector import VectorDiffrep
from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep
from ddrep_core.distillation import DELTA_DENOISING, POSTERIOR_DISTILLATION, SCORE_DISTILLATION, ModeSeeker, distill
from ddrep_core.geometry.raycast import depth_maps
from ddrep_core.jobs.edit_procedure import DESCENT_RATE, DIFFERENCE_ETA, STRENGTH
from ddrep_core.jobs.edit_vector import DESCENT_RATE as DRAWING_RATE
from ddrep_core.jobs.edit_vector import JOINT_BELOW, MOVING
from ddrep_core.jobs.generate import FIELD_GUIDANCE
from ddrep_core.jobs.views import sampled_views
from ddrep_core.sampling import ddim_schedule, lower_levels, sample
from ddrep_core.vector import read_svg
from ddrep_core.views import Views
from ddrep_core.views.banks import sphere_bank

MATERIALS = ("golden", "zebra striped", "made of red bricks", "green")
NAMES = {"spot": "cow", "stanford-bunny": "bunny", "teapot": "teapot"}
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
    """What there is before one edit.

    Attributes:
        rep: shows the source; views: of cameras, where it has any.
        sampled: what of it samplers move; all of it when not given.
        joint_below: σ below which a difference samples the target alone.
        views_per_step: of descent, and of the sampler where there are cameras.
        rate: of descent.
        seen: pictures [B, 3, H, W] to judge a representation by.
        wanted: pictures that were sampled with the new words.
        controls: of the prior.
    """

    rep: Any
    views: Views | None
    views_per_step: int | None
    rate: float | None
    seen: Callable[[Any], Tensor]
    wanted: Tensor
    controls: dict[str, Tensor] = field(default_factory=dict)
    sampled: Any = None
    joint_below: float = 0.0


Words = tuple[str, str]
Prepare = Callable[[], Case]


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


def meshes(prior: Any, options: argparse.Namespace) -> Iterator[tuple[Words, Prepare]]:
    """Each mesh, first sampled as wooden, by four other words; judged as what is delivered, on white."""

    @cache
    def bare(path: Path) -> tuple[Any, Views, Tensor]:
        mesh, (channels, height, width) = dd.load_mesh(path), prior.image_shape
        views = sampled_views(4, mesh, prior.image_size)
        rep = dd.TextureDiffrep(mesh, views, 1024, channels, view_size=(height, width), texels_per_pixel=0.25)
        depth = torch.as_tensor(depth_maps(mesh, views, prior.image_size, prior.image_size, subsamples=2))
        return rep, views, depth

    @cache
    def textured(path: Path, prompt: str, seed: int) -> Any:
        rep, views, depth = bare(path)
        return sample(
            rep, prior, views, prompt=prompt, guidance_scale=options.guidance_scale, controls={"depth": depth},
            seed=seed, schedule=ddim_schedule(prior.sigmas, 15),
        ).diffrep  # fmt: skip

    def prepare(path: Path, words: Words) -> Case:
        _, views, depth = bare(path)

        def seen(rep: Any) -> Tensor:
            return torch.where(depth > 0, decoded(prior, rep), 1.0)

        wanted = seen(textured(path, words[1], 7))
        return Case(textured(path, words[0], 0), views, None, DESCENT_RATE, seen, wanted, {"depth": depth})

    for path in options.meshes:
        name = NAMES.get(path.stem, path.stem)
        for material in MATERIALS[: options.count]:
            after = f"a {name} {material}" if material.startswith("made") else f"a {material} {name}"
            words = f"a wooden {name}", after
            yield words, partial(prepare, path, words)


def drawings(prior: Any, options: argparse.Namespace) -> Iterator[tuple[Words, Prepare]]:
    def seen(rep: Any) -> Tensor:
        with torch.no_grad():
            return rep.pictures.render().float().cpu().clamp(0, 1)

    def prepare(name: str, words: Words) -> Case:
        drawing, markup = read_svg(options.icons / f"{name}.svg")
        rep = EncodedDiffrep(VectorDiffrep(drawing, markup, prior.image_size, prior.image_size, moving=MOVING), prior)
        wanted = pictures_of(prior, words[1], options.guidance_scale, 8)
        joint = JOINT_BELOW if options.joint_below is None else options.joint_below
        return Case(rep.edited(), None, None, DRAWING_RATE, seen, wanted, joint_below=joint)

    for name, words in list(DRAWINGS.items())[: options.count]:
        yield words, partial(prepare, name, words)


def panoramas(prior: Any, options: argparse.Namespace) -> Iterator[tuple[Words, Prepare]]:
    def prepare(words: Words) -> Case:
        made = []
        for prompt, seed in zip(words, (1, 7), strict=True):
            rep = CylinderDiffrep(prior.image_shape)
            plan = ddim_schedule(prior.sigmas, 12)
            told = {"prompt": prompt, "guidance_scale": options.guidance_scale, "schedule": plan, "seed": seed}
            made.append(sample(rep, prior, **told).diffrep)
        seen = partial(decoded, prior, indices=torch.arange(0, made[0].view_count, 2))
        return Case(made[0], None, 8, DESCENT_RATE, seen, seen(made[1]))

    for words in PANORAMAS[: options.count]:
        yield words, partial(prepare, words)


def fields(prior: Any, options: argparse.Namespace) -> Iterator[tuple[Words, Prepare]]:
    def prepare(words: Words) -> Case:
        views = sphere_bank(8, size=prior.image_size)
        rep = VoxelNerfDiffrep(views, prior.image_shape, 40)
        plan = ddim_schedule(prior.sigmas, 20)
        told = {"guidance_scale": FIELD_GUIDANCE, "schedule": plan, "views_per_step": 4}
        source = sample(rep, prior, views, prompt=words[0], **told).diffrep
        wanted = pictures_of(prior, words[1], options.guidance_scale, 20)
        colours = None if options.shape_too else FieldColours(source)
        beyond = sphere_bank(20, size=prior.image_size)[[3, 7, 11, 15, 18]]

        def seen(rep: Any) -> Tensor:
            if not options.beyond:
                return decoded(prior, rep)
            whole = rep.field() if isinstance(rep, FieldColours) else rep
            return prior.decode(whole.render_views(beyond, *prior.image_shape[1:])[0]).float().cpu().clamp(0, 1)

        return Case(source, views, 4, None, seen, wanted, sampled=colours)

    for words in FIELDS[: options.count]:
        yield words, partial(prepare, words)


KINDS = {"meshes": meshes, "drawings": drawings, "panoramas": panoramas, "fields": fields}


@dataclass(frozen=True)
class Asked:
    """What every method is told."""

    prior: Any
    words: Words
    seed: int


def by_sampler(
    case: Case, asked: Asked, guidance: float, steps: int, strength: float, eta: float, from_source: bool
) -> Any:
    """As `ddrep edit` does it: the difference, or SDEdit where there are no words for the source."""
    batch = case.views_per_step if case.views is not None and case.sampled is None else None
    return sample(
        case.sampled or case.rep, asked.prior, case.views, prompt=asked.words[1], guidance_scale=guidance,
        controls=case.controls, source_prompt=asked.words[0] if from_source else None, from_scratch=False, eta=eta,
        seed=asked.seed, schedule=ddim_schedule(lower_levels(asked.prior.sigmas, strength), steps),
        views_per_step=batch, joint_below=case.joint_below,
    )  # fmt: skip


def by_descent(case: Case, asked: Asked, method: ModeSeeker, guidance: float, steps: int, rate: float | None) -> Any:
    return distill(
        case.rep, asked.prior, case.views, prompt=asked.words[1], guidance_scale=guidance, controls=case.controls,
        method=method.with_settings(steps=steps, learning_rate=rate or case.rate), from_scratch=False, seed=asked.seed,
        source_prompt=None if method is SCORE_DISTILLATION else asked.words[0], views_per_step=case.views_per_step,
    )  # fmt: skip


def methods(options: argparse.Namespace) -> dict[str, Callable[[Case, Asked], Any]]:
    steps, descent, usual, rate = options.steps, options.descent, options.guidance_scale, options.descent_rate
    found: dict[str, Callable[[Case, Asked], Any]] = {}
    for guidance in options.guidances or [usual]:
        for strength in options.strength or [STRENGTH["difference"]]:
            joint = options.joint_below if options.what == "drawings" else None
            of = "" if joint is None else f", joint below {joint:g}"
            of += " of colours" if options.what == "fields" and not options.shape_too else ""
            name = f"difference{of}, guidance {guidance:g}, strength {strength:g}, {steps} steps, η = {options.eta:g}"
            found[name] = partial(
                by_sampler, guidance=guidance, steps=steps, strength=strength, eta=options.eta, from_source=True
            )
    for guidance in options.descent_guidances or [usual]:
        found[f"SDS, guidance {guidance:g}, {descent} steps"] = partial(
            by_descent, method=SCORE_DISTILLATION, guidance=guidance, steps=descent, rate=rate
        )
    if options.baselines:
        half = descent // 2  # two evaluations each
        found[f"DDS, {half} steps"] = partial(by_descent, method=DELTA_DENOISING, guidance=usual, steps=half, rate=rate)
        found[f"PDS, guidance 100, {half} steps"] = partial(
            by_descent, method=POSTERIOR_DISTILLATION, guidance=100.0, steps=half, rate=rate
        )
        found[f"SDEdit 0.7, {steps} steps"] = partial(
            by_sampler, guidance=usual, steps=steps, strength=STRENGTH["sdedit"], eta=0.75, from_source=False
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=tuple(KINDS))
    parser.add_argument("--meshes", type=Path, nargs="*", default=[])
    parser.add_argument("--icons", type=Path, help="a folder of OpenMoji's SVG files")
    parser.add_argument("--count", type=int, default=20, help="edits, at most (of each mesh)")
    parser.add_argument("--steps", type=int, default=15, help="of samplers")
    parser.add_argument("--descent", type=int, default=60, help="steps of mode-seekers")
    parser.add_argument("--descent-rate", type=float, help="of mode-seekers; a job's by default")
    parser.add_argument("--strength", type=float, nargs="*", help="of the difference; a job's by default")
    parser.add_argument("--eta", type=float, default=DIFFERENCE_ETA)
    parser.add_argument("--guidance-scale", type=float, default=2.5, help="the prior's usual one")
    parser.add_argument("--guidances", type=float, nargs="*", help="of the difference; the usual one by default")
    parser.add_argument("--descent-guidances", type=float, nargs="*", help="of SDS; the usual one by default")
    parser.add_argument("--joint-below", type=float, help="of drawings, σ; a job's by default")
    parser.add_argument("--beyond", action="store_true", help="judge fields from cameras that no view of the bank has")
    parser.add_argument("--shape-too", action="store_true", help="samplers move a field's densities, too")
    parser.add_argument("--baselines", action="store_true", help="DDS, PDS and SDEdit, too")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3])
    parser.add_argument("--prior", default="bundled")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("out/experiments"))
    options = parser.parse_args()
    prior = dd.load_prior(options.prior, device=options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    log = options.out / f"editing_{options.what}.jsonl"
    records = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(each["edit"], each["method"], each["seed"]) for each in records}
    for words, prepare in KINDS[options.what](prior, options):
        edit, case, judge = " → ".join(words), None, None
        for name, method in methods(options).items():
            for seed in options.seeds:
                if (edit, name, seed) in done:
                    continue
                if case is None or judge is None:
                    case = prepare()
                    judge = Judge(case.seen(case.rep), case.wanted)
                watch = Stopwatch()
                result = method(case, Asked(prior, words, seed))
                spent, after = watch.read()["processor_seconds"], case.seen(result.diffrep)
                picture = options.out / f"{options.what} {words[1]} {name} {seed}.png"
                sheet([list(judge.before), list(after)], picture, 96)
                with torch.no_grad():
                    told = certainty(prior.encode(after.to(prior.device)).cpu(), words[1], words[:1], prior)[1]
                about = {"edit": edit, "method": name, "seed": seed, "nfe": result.nfe, "processor_seconds": spent}
                records.append({**about, **judge(after), "told": told})
                with log.open("a") as file:
                    file.write(json.dumps(records[-1]) + "\n")
                print(json.dumps(records[-1]), flush=True)
    table(records)


def table(records: list[dict[str, Any]]) -> None:
    columns = ("nfe", "processor_seconds", "fidelity", "gain", "told", "distance", "rms")
    print(f"| method | edits | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 2)}")
    for name in dict.fromkeys(each["method"] for each in records):
        own = [each for each in records if each["method"] == name]
        mean = {key: float(np.mean([each[key] for each in own])) for key in columns}
        print(f"| {name} | {len(own)} | {' | '.join(f'{mean[key]:.4g}' for key in columns)} |")


if __name__ == "__main__":
    main()
