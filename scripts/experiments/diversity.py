"""Samples that differ: particle guidance against independent draws, on the bundled prior.

Prints, for images or textures, the mean cosine of EfficientNet-Lite features within each four (lower: more different),
how well the prior itself tells the prompt from the others' (a diffusion classifier: the share of samples, and its
certainty), and processor seconds; writes pictures side by side.

    python scripts/experiments/diversity.py images --weights 0 2.5 --least-sigma 4 --bandwidth 1 --eta 1
    python scripts/experiments/diversity.py textures --mesh spot.obj --prompt "a cow" --weights 0 0.25 --mean 0.4
    python scripts/experiments/diversity.py nerfs --weights 0 2.5 --least-sigma 4 --steps 12
    python scripts/experiments/diversity.py seekers --steps 300
    python scripts/experiments/diversity.py restore --damage upscale:4 --gammas 0 20
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fields_common import PixelDiffrep, PixelSolver, Stopwatch, parser, psnr, report, sheet
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps.latent_pictures import LatentPictures
from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep
from ddrep_core.distillation import SCORE_DISTILLATION, distill, repulsive, variational
from ddrep_core.distillation.adapter_score import AdapterScore
from ddrep_core.distillation.restore import RESTORATION, Measurement, blurred, masked, restore, smaller
from ddrep_core.features import PictureEmbedding
from ddrep_core.sampling import ParticleGuidance, RadialKernel, ddim_schedule, repaint_schedule
from ddrep_core.views.banks import sphere_bank

PROMPTS = ("a duck", "a red car", "a house", "a mushroom")
JUDGED_AT = (1.0, 2.0, 4.0)
SAMPLES = 4


def similarity(pictures: Tensor, embedding: PictureEmbedding) -> float:
    """The mean cosine of features over pairs of samples; [N, V, 3, H, W], view by view."""
    with torch.no_grad():
        points = embedding(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2]).transpose(0, 1)
    count = points.shape[1]
    within = points @ points.mT
    return float(((within.sum((1, 2)) - count) / (count * (count - 1))).mean())


def certainty(latents: Tensor, prompt: str, others: Sequence[str], prior: Any) -> tuple[float, float]:
    """How often latents [N, C, h, w] are told as the prompt's among all prompts, and with what probability.

    The same noise for all prompts, so that what remains is what the words explain.
    """
    errors = []
    for words in (prompt, *(each for each in others if each != prompt)):
        told, total = prior.condition(words, "", None, 1.0), torch.zeros(len(latents))
        for sigma in JUDGED_AT:
            noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
            found = prior.predict_noise(latents + sigma * noise, sigma, told)
            total += (found - noise).square().flatten(1).sum(1).cpu()
        errors.append(total)
    odds = (-0.5 * torch.stack(errors)).softmax(0)
    return float((odds.argmax(0) == 0).double().mean()), float(odds[0].mean())


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
    """On white, as a mesh is shown that wears them: what a view has around it is nobody's texture."""
    size = prior.image_size
    mesh = dd.load_mesh(options.mesh)
    views = dd.orbit_views(count=options.views, target=mesh, width=size, height=size)
    rep = dd.ImageTextureDiffrep(mesh, views, prior, texels_per_pixel=0.25)
    depth = dd.geometry.depth_maps(mesh, views, size, size, subsamples=2)
    shown = (depth > 0).to(torch.float32)
    schedule = ddim_schedule(prior.sigmas, options.steps)
    if options.repaint:
        schedule = repaint_schedule(prior.sigmas, options.steps, 1, 1, 2)
    others = ("a golden thing", "a zebra", "a house")
    rows, table = [], {}
    for name, guides, together in ways(options, embedding):
        watch = Stopwatch()
        made = dd.sample(
            rep, prior, views, prompt=options.prompt, guidance_scale=5.0, schedule=schedule, samples=SAMPLES,
            together=together, guides=guides, controls={"depth": depth}, seed=options.seed, eta=options.eta,
        ).samples  # fmt: skip
        seconds = watch.read()["processor_seconds"]
        with torch.no_grad():
            latents = torch.stack([one.diffrep.render() for one in made])
            pictures = prior.decode(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
            pictures = pictures * shown + (1 - shown)
            told = certainty(prior.encode(pictures.flatten(0, 1)), options.prompt, others, prior)
        rows += [list(one[:4]) for one in pictures]
        table[name] = entry([similarity(pictures, embedding)], [told], seconds)
        table[name]["distance"] = round(float((pictures.std(0) * shown).sum() / shown.sum() / 3), 4)
        table[name]["agreement"] = round(sum(one.agreement or 0.0 for one in made) / SAMPLES, 3)
        print(name, table[name], flush=True)
        sheet(rows, options.out / f"diversity_{Path(options.mesh).stem}.png", 64)
    return table


def nerfs(options: Any, prior: Any, embedding: PictureEmbedding) -> dict[str, Any]:
    """Small fields, seen in a bank of twice as many views as a step draws; judged from the bank."""
    views = sphere_bank(2 * options.views, size=prior.image_size)
    rep = VoxelNerfDiffrep(views, prior.image_shape, options.grid, levels=1)
    schedule = ddim_schedule(prior.sigmas, options.steps)
    rows, table = [], {}
    for name, guides, together in ways(options, embedding):
        watch = Stopwatch()
        made = dd.sample(
            rep, prior, views, prompt=options.prompt, guidance_scale=7.5, schedule=schedule, samples=SAMPLES,
            together=together, guides=guides, seed=options.seed, eta=options.eta, views_per_step=options.views,
        ).samples  # fmt: skip
        seconds = watch.read()["processor_seconds"]
        with torch.no_grad():
            latents = torch.stack([one.diffrep.render() for one in made])
            pictures = prior.decode(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
        others = [each for each in PROMPTS if each != options.prompt]
        told = certainty(latents.flatten(0, 1), options.prompt, others, prior)
        rows.append([one[view] for one in pictures for view in range(min(4, len(views)))])
        table[name] = entry([similarity(pictures, embedding)], [told], seconds)
        print(name, table[name], flush=True)
        sheet(rows, options.out / "diversity_nerfs.png", 64)
    return table


def seekers(options: Any, prior: Any, embedding: PictureEmbedding) -> dict[str, Any]:
    """Four pictures by mode-seekers: SDS at its guidance and at VSD's, repelled, and VSD with its learned score."""
    rate, gentle = options.learning_rate, replace(SCORE_DISTILLATION, guidance_scale=7.5)
    methods = {
        "SDS": SCORE_DISTILLATION,
        "SDS, guidance 7.5": gentle,
        **{f"RSD of it, gamma {gamma:g}": repulsive(gentle, gamma) for gamma in options.gammas if gamma},
        "VSD": variational(partial(AdapterScore, learning_rate=options.adapter_rate)),
    }
    rows, table = [], {}
    for name, method in methods.items():
        watch = Stopwatch()
        made = distill(
            LatentPictures(1, prior.image_shape), prior, prompt=options.prompt, samples=SAMPLES, seed=options.seed,
            method=method.with_settings(steps=options.steps, learning_rate=rate),
        ).samples  # fmt: skip
        seconds = watch.read()["processor_seconds"]
        latents = torch.cat([one.diffrep.render() for one in made]).detach()
        with torch.no_grad():
            pictures = prior.decode(latents).clamp(0, 1)
        told = certainty(latents, options.prompt, PROMPTS, prior)
        table[name] = entry([similarity(pictures[:, None], embedding)], [told], seconds)
        table[name]["spread_of_latents"] = round(float(latents.std()), 3)  # 1 is the data's
        table[name]["saturation"] = round(float((pictures.amax(1) - pictures.amin(1)).mean()), 3)
        print(name, table[name], flush=True)
        rows.append(list(pictures))
        sheet(rows, options.out / "diversity_seekers.png", 96)
    return table


def restorations(options: Any, prior: Any, embedding: PictureEmbedding) -> dict[str, Any]:
    """A picture of which half is known, or a small or a blurred one of it; found four times."""
    prompt = "a red car"
    drawn = dd.sample(
        PixelDiffrep(1, prior.image_shape), prior, prompt=prompt, guidance_scale=5.0, solver=PixelSolver(), seed=3,
        schedule=ddim_schedule(prior.sigmas, 25),
    )  # fmt: skip
    with torch.no_grad():
        picture = prior.decode(drawn.diffrep.theta)
    side = picture.shape[-1]
    known = torch.ones(1, *picture.shape[-2:])
    known[..., side // 2 :] = 0
    kind, _, number = options.damage.partition(":")
    operator = {
        "inpaint": lambda: masked(known),
        "upscale": lambda: smaller(side // int(number), side // int(number)),
        "deblur": lambda: blurred(float(number)),
    }[kind]()
    given = operator(picture)
    rows, table = [[picture[0], given[0]]], {}
    for gamma in options.gammas:
        watch = Stopwatch()
        method = RESTORATION.with_settings(steps=options.steps, learning_rate=0.1)
        answers = restore(
            prior, Measurement(operator, given), prior.image_shape, prompt=prompt, guidance_scale=3.0,
            samples=SAMPLES, gamma=gamma, method=method, seed=options.seed,
        )  # fmt: skip
        found = answers.pictures[:, 0]
        with torch.no_grad():
            decoded = prior.decode(answers.latents[:, 0])
        free = slice(side // 2, None) if kind == "inpaint" else slice(None)
        table[f"gamma {gamma:g}"] = {
            "psnr_of_what_is_known": round(psnr(operator(found), given.expand(SAMPLES, *given.shape[1:])), 1),
            "psnr_of_it_decoded": round(psnr(operator(decoded), given.expand(SAMPLES, *given.shape[1:])), 1),
            "psnr_of_the_picture": round(psnr(found, picture.expand_as(found)), 1),
            "similarity": round(similarity(answers.pictures, embedding), 3),
            "spread_of_the_rest": round(float(found[..., free].std(0).mean()), 4),
            **watch.read(),
        }
        print(gamma, table[f"gamma {gamma:g}"], flush=True)
        rows.append([*found, *decoded])
        sheet(rows, options.out / f"diversity_{kind}.png", 96)
    return table


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
    arguments.add_argument("--damage", default="inpaint", help="inpaint, upscale:K or deblur:K, as `ddrep restore`")
    arguments.add_argument("--features", action="store_true", help="repel EfficientNet's features, not x̂0")
    arguments.add_argument("--least-sigma", type=float, default=1.0)
    arguments.add_argument("--bandwidth", type=float, help="h; median²/log n when not given")
    arguments.add_argument("--turned", action="store_true", help="an object that is another one turned is alike")
    arguments.add_argument("--pooled", action=argparse.BooleanOptionalAction, default=True, help="one kernel an object")
    arguments.add_argument("--eta", type=float, default=0.75)
    arguments.add_argument("--steps", type=int, default=25)
    arguments.add_argument("--repaint", action="store_true", help="textures: as the command does it, twice as long")
    arguments.add_argument("--count", type=int, default=len(PROMPTS), help="of prompts")
    arguments.add_argument("--mesh", default=str(dd.demo_mesh_path()))
    arguments.add_argument("--prompt", default="a duck")
    arguments.add_argument("--views", type=int, default=4)
    arguments.add_argument("--grid", type=int, default=16)
    arguments.add_argument("--learning-rate", type=float, default=0.03, help="of mode-seekers")
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
