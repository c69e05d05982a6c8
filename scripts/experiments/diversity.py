"""Samples that differ: particle guidance against independent draws, on the bundled prior.

Prints, for images or textures, the mean cosine of EfficientNet-Lite features within each four (lower: more different),
how well the prior itself tells the prompt from the others' (a diffusion classifier: the share of samples, and its
certainty), and processor seconds; writes pictures side by side.

    python scripts/experiments/diversity.py images --weights 0 2.5 --least-sigma 4 --bandwidth 1 --eta 1
    python scripts/experiments/diversity.py textures --mesh spot.obj --prompt "a cow" --weights 0 0.25 --mean 0.4
    python scripts/experiments/diversity.py nerfs --weights 0 2.5 --least-sigma 4 --steps 12
    python scripts/experiments/diversity.py seekers --steps 300
    python scripts/experiments/diversity.py seekers --on texture --methods gentle gamma --gammas 20
    python scripts/experiments/diversity.py restore --damage upscale:4 --gammas 0 20 --on siren
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fields_common import (
    DESCENT_SPREAD,
    PixelDiffrep,
    PixelSolver,
    Stopwatch,
    certainty,
    parser,
    psnr,
    report,
    sheet,
)
from torch import Tensor
from torch.nn import functional

import ddrep_core as dd
from ddrep_core.diffreps.latent_pictures import LatentPictures
from ddrep_core.diffreps.siren import image_siren
from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep
from ddrep_core.distillation import SCORE_DISTILLATION, distill, repulsive, variational
from ddrep_core.distillation.adapter_score import AdapterScore
from ddrep_core.distillation.restore import RESTORATION, Measurement, Operator, blurred, masked, restore, smaller
from ddrep_core.features import PictureEmbedding
from ddrep_core.jobs.restore import COUPLING
from ddrep_core.sampling import ParticleGuidance, RadialKernel, ddim_schedule, repaint_schedule
from ddrep_core.views import Views
from ddrep_core.views.banks import sphere_bank

PROMPTS = ("a duck", "a red car", "a house", "a mushroom")
SAMPLES = 4


def similarity(pictures: Tensor, embedding: PictureEmbedding) -> float:
    """The mean cosine of features over pairs of samples; [N, V, 3, H, W], view by view."""
    with torch.no_grad():
        points = embedding(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2]).transpose(0, 1)
    count = points.shape[1]
    within = points @ points.mT
    return float(((within.sum((1, 2)) - count) / (count * (count - 1))).mean())


def images(options: Any, prior: Any, embedding: PictureEmbedding) -> dict[str, Any]:
    schedule = ddim_schedule(prior.sigmas, options.steps)
    rows: dict[str, list[Tensor]] = {}
    table = {}
    for name, guides, together in ways(options, embedding):
        found, told, seconds = [], [], 0.0
        for prompt in PROMPTS[: options.count]:
            watch = Stopwatch()
            made = dd.sample(
                PixelDiffrep(1, prior.image_shape), prior, prompt=prompt, guidance_scale=5.0, schedule=schedule,
                samples=SAMPLES, together=together, guides=guides, solver=PixelSolver(), seed=options.seed,
                eta=options.eta,
            ).samples  # fmt: skip
            seconds += watch.read()["processor_seconds"]
            latents = torch.cat([one.diffrep.theta for one in made])
            with torch.no_grad():
                pictures = prior.decode(latents)
            rows.setdefault(name, []).extend(pictures)
            found.append(similarity(pictures[:, None], embedding))
            told.append(certainty(latents, prompt, PROMPTS, prior))
        table[name] = entry(found, told, seconds)
        print(name, table[name], flush=True)
        sheet(list(rows.values()), options.out / "diversity_images.png", 64)
    return table


def textures(options: Any, prior: Any, embedding: PictureEmbedding) -> dict[str, Any]:
    """Each mesh with its prompt, and the means over them all. Rows that OUT has are not made again."""
    kept = Kept(options.out / "diversity_textures.jsonl")
    for pair in options.pairs or [(options.mesh, options.prompt)]:
        textures_of(options, prior, embedding, pair, kept)
    return kept.table()


def textures_of(options: Any, prior: Any, embedding: PictureEmbedding, pair: tuple[str, str], kept: Kept) -> None:
    """On white, as a mesh is shown that wears them: what a view has around it is nobody's texture."""
    size, prompt = prior.image_size, pair[1]
    missing = [way for way in ways(options, embedding) if (*pair, way[0]) not in kept.rows]
    if not missing:
        return
    mesh = dd.load_mesh(mesh_file(pair[0], options.out))
    views = dd.orbit_views(count=options.views, target=mesh, width=size, height=size)
    rep = dd.ImageTextureDiffrep(mesh, views, prior, texels_per_pixel=0.25)
    depth = dd.geometry.depth_maps(mesh, views, size, size, subsamples=2)
    shown = (depth > 0).to(torch.float32)
    schedule = ddim_schedule(prior.sigmas, options.steps)
    if options.repaint:
        schedule = repaint_schedule(prior.sigmas, options.steps, 1, 1, 2)
    rows = []
    for name, guides, together in missing:
        watch = Stopwatch()
        made = dd.sample(
            rep, prior, views, prompt=prompt, guidance_scale=options.guidance or 5.0, schedule=schedule,
            samples=SAMPLES, together=together, guides=guides, controls={"depth": depth}, seed=options.seed,
            eta=options.eta,
        ).samples  # fmt: skip
        seconds = watch.read()["processor_seconds"]
        with torch.no_grad():
            latents = torch.stack([one.diffrep.render() for one in made])
            pictures = prior.decode(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
            pictures = pictures * shown + (1 - shown)
            told = certainty(prior.encode(pictures.flatten(0, 1)), prompt, unlike(prompt), prior)
        rows.append([view for one in pictures for view in one[:: max(1, options.views // 4)]])
        row = entry([similarity(pictures, embedding)], [told], seconds)
        row["distance"] = spread(pictures, shown)
        for ground, changed in grounds(pictures, shown).items():
            row[f"similarity_{ground}"] = round(similarity(changed, embedding), 4)
        row["agreement"] = round(sum(one.agreement or 0.0 for one in made) / SAMPLES, 3)
        kept.add((*pair, name), row)
        print(*pair, name, row, flush=True)
        sheet(rows, options.out / f"diversity_{Path(pair[0]).stem}_{prompt.replace(' ', '_')}.png", 64)


@dataclass
class Kept:
    """Rows of a table, in a file that a run which was cut off goes on with."""

    path: Path
    rows: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                name, row = json.loads(line)
                self.rows[(name[0], name[1], name[2])] = row

    def add(self, name: tuple[str, str, str], row: dict[str, Any]) -> None:
        self.rows[name] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps([name, row]) + "\n")

    def table(self) -> dict[str, dict[str, Any]]:
        """By name, and for each way the means of all that it was tried on."""
        found = {": ".join(name): row for name, row in self.rows.items()}
        for way in dict.fromkeys(name[2] for name in self.rows):
            rows = [row for name, row in self.rows.items() if name[2] == way]
            found[f"mean: {way}"] = {key: round(sum(row[key] for row in rows) / len(rows), 4) for key in rows[0]}
        return found


def mesh_file(what: str, out: Path) -> Path:
    """A file, or one object of a kind that the bundled prior was taught (`scripts/prior/shapes.py`)."""
    if Path(what).exists():
        return Path(what)
    sys.path.append(str(Path(__file__).resolve().parents[1] / "prior"))
    from shapes import build_geometry

    made, file = build_geometry(what, np.random.default_rng(0)), out / "meshes" / f"{what}.obj"
    file.parent.mkdir(parents=True, exist_ok=True)
    points = [f"v {x:.6f} {z:.6f} {-y:.6f}\n" for x, y, z in made.vertices]  # OBJ's y is up
    file.write_text("".join(points + [f"f {a} {b} {c}\n" for a, b, c in made.faces + 1]))
    return file


def unlike(prompt: str) -> list[str]:
    """What a texture is told from: the same thing in other looks, where the prompt says a look; else other things."""
    looks, words = ("golden", "wooden", "green", "white"), prompt.split()
    if len(words) < 3:
        return ["a golden thing", "a zebra", "a house"]
    return [f"a {look} {words[-1]}" for look in looks if look not in words]


def grounds(pictures: Tensor, shown: Tensor) -> dict[str, Tensor]:
    """Pictures [N, V, 3, H, W] with less around the mesh that is the same in all: on grey, and cut to its frame."""
    grey, side = torch.where(shown > 0, pictures, 0.5), pictures.shape[-1]
    cut = torch.zeros_like(pictures)
    for view, mask in enumerate(shown[:, 0] > 0):
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        frame = grey[:, view, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        cut[:, view] = functional.interpolate(frame, (side, side), mode="bilinear", antialias=True)
    return {"on_grey": grey, "cut_out": cut}


def nerfs(options: Any, prior: Any, embedding: PictureEmbedding) -> dict[str, Any]:
    """Small fields, seen in a bank of twice as many views as a step draws; judged from the bank."""
    views = sphere_bank(2 * options.views, size=prior.image_size)
    rep = VoxelNerfDiffrep(views, prior.image_shape, options.grid, levels=1)
    schedule = ddim_schedule(prior.sigmas, options.steps)
    kept, rows = Kept(options.out / "diversity_nerfs.jsonl"), []
    for prompt in options.prompts or [options.prompt]:
        for name, guides, together in ways(options, embedding):
            if ("field", prompt, name) in kept.rows:
                continue
            watch = Stopwatch()
            made = dd.sample(
                rep, prior, views, prompt=prompt, guidance_scale=options.guidance or 7.5, schedule=schedule,
                samples=SAMPLES, together=together, guides=guides, seed=options.seed, eta=options.eta,
                views_per_step=options.views,
            ).samples  # fmt: skip
            seconds = watch.read()["processor_seconds"]
            with torch.no_grad():
                latents = torch.stack([one.diffrep.render() for one in made])
                pictures = prior.decode(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
            others = [each for each in PROMPTS if each != prompt]
            told = certainty(latents.flatten(0, 1), prompt, others, prior)
            row = entry([similarity(pictures, embedding)], [told], seconds)
            row["distance"] = spread(pictures, None)
            kept.add(("field", prompt, name), row)
            print(prompt, name, row, flush=True)
            rows.append([one[view] for one in pictures for view in range(min(4, len(views)))])
            sheet(rows, options.out / "diversity_nerfs.png", 64)
    return kept.table()


@dataclass(frozen=True)
class Sought:
    """What mode-seekers move.

    Attributes:
        rep: to be copied; views: of its cameras.
        rate: of descent, where the options name none; None: the representation's own.
        shown: [V, 1, H, W] 1 where a picture shows it; what lies beside is white.
    """

    rep: Any
    views: Views | None
    rate: float | None
    shown: Tensor | None = None
    controls: dict[str, Tensor] = field(default_factory=dict)


def sought(options: Any, prior: Any) -> Sought:
    shape, size = prior.image_shape, prior.image_size
    if options.on == "pictures":
        return Sought(LatentPictures(1, shape), None, 0.03)
    if options.on == "siren":
        return Sought(image_siren(shape, output_spread=DESCENT_SPREAD), None, 1e-3)
    if options.on == "field":
        views = sphere_bank(options.views, size=size)
        return Sought(VoxelNerfDiffrep(views, shape, options.grid, levels=1), views, None)
    mesh = dd.load_mesh(options.mesh)
    views = dd.orbit_views(count=options.views, target=mesh, width=size, height=size)
    depth = dd.geometry.depth_maps(mesh, views, size, size, subsamples=2)
    rep = dd.TextureDiffrep(mesh, views, 1024, shape[0], view_size=shape[1:], texels_per_pixel=0.25)
    return Sought(rep, views, 0.05, (depth > 0).to(torch.float32), {"depth": depth})


def seen(what: Sought, latents: Tensor, prior: Any) -> Tensor:
    """[N, V, 3, H, W] what is delivered of renders [N, V, C, h, w]."""
    with torch.no_grad():
        pictures = prior.decode(latents.flatten(0, 1)).clamp(0, 1).unflatten(0, latents.shape[:2])
    return pictures if what.shown is None else pictures * what.shown + (1 - what.shown)


def seekers(options: Any, prior: Any, embedding: PictureEmbedding) -> dict[str, Any]:
    """Four of a kind by mode-seekers: SDS at its guidance and at VSD's, repelled, and VSD with its learned score."""
    gentle, what = replace(SCORE_DISTILLATION, guidance_scale=7.5), sought(options, prior)
    kernel = RadialKernel(options.bandwidth, pooled=what.rep.view_count > 1, least=options.least_apart)
    vsd = variational(partial(AdapterScore, learning_rate=options.adapter_rate))
    gammas = [gamma for gamma in options.gammas if gamma]
    methods = {
        "SDS": SCORE_DISTILLATION,
        "SDS, guidance 7.5": gentle,
        **{f"RSD of it, gamma {gamma:g}": repulsive(gentle, gamma, kernel) for gamma in gammas},
        "VSD": vsd,
        **{f"RSD of VSD, gamma {gamma:g}": repulsive(vsd, gamma, kernel) for gamma in gammas},
    }
    rows, table = [], {}
    for name in options.methods or list(methods)[:-1]:
        chosen = [each for each in methods if each == name or (name.endswith("*") and each.startswith(name[:-1]))]
        for name, method in ((each, methods[each]) for each in chosen):
            watch = Stopwatch()
            made = distill(
                what.rep, prior, what.views, prompt=options.prompt, samples=SAMPLES, seed=options.seed,
                method=replace(
                    method.with_settings(steps=options.steps, learning_rate=options.learning_rate or what.rate),
                    falling=options.falling,
                ),
                controls=what.controls,
            ).samples  # fmt: skip
            seconds = watch.read()["processor_seconds"]
            with torch.no_grad():
                latents = torch.stack([one.diffrep.render() for one in made])
                pictures = seen(what, latents, prior)
                told = certainty(prior.encode(pictures.flatten(0, 1)), options.prompt, PROMPTS, prior)
            table[name] = entry([similarity(pictures, embedding)], [told], seconds)
            table[name]["distance"] = spread(pictures, what.shown)
            table[name]["spread_of_latents"] = round(float(latents.std()), 3)  # 1 is the data's
            table[name]["saturation"] = round(float((pictures.amax(2) - pictures.amin(2)).mean()), 3)
            print(name, table[name], flush=True)
            rows.append([view for one in pictures for view in one[:4]])
            sheet(rows, options.out / f"diversity_seekers_{options.on}.png", 96 if what.rep.view_count == 1 else 64)
    return table


def damage(options: Any, side: int) -> tuple[Operator, Tensor]:
    """H, and [H, W] what of a picture is to be found."""
    kind, _, number = options.damage.partition(":")
    free = torch.ones(side, side)
    if kind == "upscale":
        return smaller(side // int(number), side // int(number)), free
    if kind == "deblur":
        return blurred(float(number)), free
    if kind == "inpaint":
        free[:, : side // 2] = 0
    else:
        free = scribbled(side, options.seed)
    return masked((1 - free)[None]), free


def of_surface(operator: Operator, shown: Tensor) -> Operator:
    """H of what is on the mesh [V, 1, H, W], all views in their order: of the ground, a texture can show nothing."""
    return lambda pictures: operator(pictures * shown.repeat(len(pictures) // len(shown), 1, 1, 1))


def scribbled(side: int, seed: int) -> Tensor:
    """[H, W] a free-form hole: strokes as a hand draws them, an eighth of a side wide, over about a third."""
    generator, hole, width = torch.Generator().manual_seed(seed), torch.zeros(side, side), side / 16
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    while hole.mean() < 1 / 3:
        place, way = torch.rand(2, generator=generator) * side, float(torch.rand(1, generator=generator)) * 6.28
        for _ in range(12):
            hole[(rows - place[0]).square() + (columns - place[1]).square() < width**2] = 1
            way += float(torch.randn(1, generator=generator)) * 0.6
            place = (place + width * torch.tensor([math.sin(way), math.cos(way)])).clamp(0, side)
    return hole


def restorations(options: Any, prior: Any, embedding: PictureEmbedding) -> dict[str, Any]:
    """A picture of which a part is known, or a small or a blurred one of it; found four times.

    On a texture, what is known is of every view of one that was sampled before, where it shows the mesh.
    """
    prompt, what = options.prompt, sought(options, prior)
    told = {"prompt": prompt, "guidance_scale": 5.0, "seed": 3}
    if what.views is None:
        plan = ddim_schedule(prior.sigmas, 25)
        rep = PixelDiffrep(1, prior.image_shape)
        drawn = dd.sample(rep, prior, solver=PixelSolver(), schedule=plan, **told)
    else:
        plan = ddim_schedule(prior.sigmas, 10)
        drawn = dd.sample(what.rep, prior, what.views, controls=what.controls, schedule=plan, **told)
    picture = seen(what, drawn.diffrep.render()[None], prior)[0]
    operator, free = damage(options, picture.shape[-1])
    if what.shown is not None:
        operator = of_surface(operator, what.shown)
    given = operator(picture)
    hole = free[None, None] if options.damage.startswith(("inpaint", "freeform")) else None
    covered = free if what.shown is None else free * what.shown
    rows, table = [[*picture, *given]], {}
    for gamma in options.gammas:
        watch = Stopwatch()
        method = RESTORATION.with_settings(steps=options.steps, learning_rate=options.learning_rate or what.rate or 0.1)
        guide = (
            ParticleGuidance(gamma, RadialKernel(pooled=True), least_sigma=1.0) if options.guided and gamma else None
        )
        answers = restore(
            prior, Measurement(operator, given, hole), prior.image_shape, rep=what.rep, prompt=prompt,
            guidance_scale=3.0, samples=SAMPLES, gamma=0.0 if options.guided else gamma, guide=guide, method=method,
            seed=options.seed, coupling=options.coupling, views=what.views, controls=what.controls,
        )  # fmt: skip
        found, decoded = answers.pictures, seen(what, answers.latents, prior)
        known = given.expand(SAMPLES, *given.shape).flatten(0, 1)
        table[f"gamma {gamma:g}"] = {
            "psnr_of_what_is_known": round(psnr(operator(found.flatten(0, 1)), known), 1),
            "psnr_of_it_decoded": round(psnr(operator(decoded.flatten(0, 1)), known), 1),
            "psnr_of_the_picture": round(psnr(found, picture.expand_as(found)), 1),
            "similarity": round(similarity(decoded if what.views is not None else found, embedding), 3),
            "spread_of_the_rest": spread(decoded if what.views is not None else found, covered),
            **watch.read(),
        }
        print(gamma, table[f"gamma {gamma:g}"], flush=True)
        rows += [[*one] for one in decoded] if what.views is not None else [[*found.flatten(0, 1), *decoded[:, 0]]]
        sheet(rows, options.out / f"diversity_{options.on}_{options.damage.partition(':')[0]}.png", 96)
    return table


def spread(pictures: Tensor, shown: Tensor | None) -> float:
    """The standard deviation of [N, V, 3, H, W] over N, where they show what counts."""
    away = pictures.std(0)
    return round(float(away.mean() if shown is None else (away * shown).sum() / shown.expand_as(away).sum()), 4)


def ways(options: Any, embedding: PictureEmbedding) -> list[tuple[str, tuple[ParticleGuidance, ...], bool]]:
    """Independent draws one after another, and together with each weight."""
    space: Any = embedding if options.features else "clean"
    found: list[tuple[str, tuple[ParticleGuidance, ...], bool]] = []
    for weight in options.weights:
        kernel = RadialKernel(options.bandwidth, options.turned, options.pooled)
        guide = ParticleGuidance(weight, kernel, space=space, least_sigma=options.least_sigma)
        guides = (guide,) if weight else ()
        if weight and options.mean:
            guides = (replace(guide, weight=options.mean, space="mean"), guide)
        found.append((f"weight {weight:g}", guides, bool(weight)))
    return found


def entry(similar: list[float], told: list[tuple[float, float]], seconds: float) -> dict[str, Any]:
    right, sure = zip(*told, strict=True)
    return {
        "similarity": round(sum(similar) / len(similar), 4),
        "told_right": round(sum(right) / len(right), 3),
        "certainty": round(sum(sure) / len(sure), 3),
        "processor_seconds": round(seconds, 1),
    }


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("what", choices=tuple(EXPERIMENTS))
    arguments.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    arguments.add_argument("--mean", type=float, default=0.0, help="besides: weight of what repels the views' mean")
    arguments.add_argument("--gammas", type=float, nargs="+", default=[0.0, 20.0])
    arguments.add_argument("--damage", default="inpaint", help="inpaint, freeform, upscale:K or deblur:K")
    arguments.add_argument("--features", action="store_true", help="repel EfficientNet's features, not x̂0")
    arguments.add_argument("--least-sigma", type=float, default=1.0)
    arguments.add_argument("--bandwidth", type=float, help="h; median²/log n when not given")
    arguments.add_argument("--least-apart", type=float, default=0.0, help="seekers: `RadialKernel.least`")
    arguments.add_argument("--turned", action="store_true", help="an object that is another one turned is alike")
    arguments.add_argument("--pooled", action=argparse.BooleanOptionalAction, default=True, help="one kernel an object")
    arguments.add_argument("--eta", type=float, default=0.75)
    arguments.add_argument("--steps", type=int, default=25)
    arguments.add_argument("--repaint", action="store_true", help="textures: as the command does it, twice as long")
    arguments.add_argument("--count", type=int, default=len(PROMPTS), help="of prompts")
    arguments.add_argument("--mesh", default=str(dd.demo_mesh_path()))
    arguments.add_argument(
        "--pairs", type=lambda told: tuple(told.split(":", 1)), nargs="+", metavar="MESH:PROMPT",
        help="textures: of these; a mesh is a file or a kind of scripts/prior/shapes.py",
    )  # fmt: skip
    arguments.add_argument("--prompts", nargs="+", help="nerfs: of each of these")
    arguments.add_argument("--guidance", type=float, help="how much words count; a job's own by default")
    arguments.add_argument("--falling", action="store_true", help="seekers: levels fall once instead of being drawn")
    arguments.add_argument("--prompt", default="a duck")
    arguments.add_argument("--views", type=int, default=4)
    arguments.add_argument("--grid", type=int, default=16)
    arguments.add_argument("--on", choices=("pictures", "siren", "texture", "field"), default="pictures")
    arguments.add_argument("--methods", nargs="*", help="of mode-seekers, by name; NAME* for all that begin with it")
    arguments.add_argument("--guided", action="store_true", help="restore: gammas are weights of the guide on x̂0")
    arguments.add_argument("--coupling", type=float, default=COUPLING, help="restore: rho")
    arguments.add_argument("--learning-rate", type=float, help="of mode-seekers; what suits --on by default")
    arguments.add_argument("--adapter-rate", type=float, default=1e-3, help="of VSD's adapter")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    prior, embedding = dd.load_prior(options.prior, device=options.device), PictureEmbedding()
    made = EXPERIMENTS[options.what](options, prior, embedding)
    named = {key: value for key, value in vars(options).items() if key not in ("out", "quick", "device")}
    report(f"diversity_{options.what}", {"settings": named, "table": made}, options.out)


EXPERIMENTS = {
    "images": images,
    "textures": textures,
    "nerfs": nerfs,
    "seekers": seekers,
    "restore": restorations,
}


if __name__ == "__main__":
    main()
