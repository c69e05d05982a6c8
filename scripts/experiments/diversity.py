"""Samples that differ: particle guidance against independent draws, on the bundled prior.

Prints, for images or textures, the mean cosine of EfficientNet-Lite features within each four (lower: more different),
how well the prior itself tells the prompt from the others' (a diffusion classifier: the share of samples, and its
certainty), and processor seconds; writes pictures side by side.

    python scripts/experiments/diversity.py images --weights 0 0.5 1
    python scripts/experiments/diversity.py textures --mesh spot.obj --prompt "a wooden cow" --weights 0 1
    python scripts/experiments/diversity.py restore --gammas 0 20
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fields_common import PixelDiffrep, PixelSolver, Stopwatch, parser, psnr, report, sheet
from torch import Tensor

import ddrep_core as dd
from ddrep_core.distillation.restore import RESTORATION, Measurement, masked, restore
from ddrep_core.features import PictureEmbedding
from ddrep_core.sampling import ParticleGuidance, ddim_schedule, repaint_schedule

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
    size = prior.image_size
    mesh = dd.load_mesh(options.mesh)
    views = dd.orbit_views(count=options.views, target=mesh, width=size, height=size)
    rep = dd.ImageTextureDiffrep(mesh, views, prior, texels_per_pixel=0.25)
    depth = dd.geometry.depth_maps(mesh, views, size, size, subsamples=2)
    schedule = repaint_schedule(prior.sigmas, options.steps, 1, 1, 2)
    others = [options.prompt.replace(options.material, word) for word in ("golden thing", "zebra", "house")]
    rows, table = [], {}
    for name, guides, together in ways(options, embedding):
        watch = Stopwatch()
        made = dd.sample(
            rep, prior, views, prompt=options.prompt, guidance_scale=5.0, schedule=schedule, samples=SAMPLES,
            together=together, guides=guides, controls={"depth": depth}, seed=options.seed,
        ).samples  # fmt: skip
        seconds = watch.read()["processor_seconds"]
        with torch.no_grad():
            latents = torch.stack([one.diffrep.render() for one in made])
            pictures = prior.decode(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
        rows += [list(one[:4]) for one in pictures]
        told = certainty(latents.flatten(0, 1), options.prompt, others, prior)
        table[name] = entry([similarity(pictures, embedding)], [told], seconds)
        table[name]["agreement"] = round(sum(one.agreement or 0.0 for one in made) / SAMPLES, 3)
        print(name, table[name], flush=True)
        sheet(rows, options.out / f"diversity_{Path(options.mesh).stem}.png", 64)
    return table


def restorations(options: Any, prior: Any, embedding: PictureEmbedding) -> dict[str, Any]:
    """Half of a picture is known; the other half is found four times."""
    prompt = "a red car"
    drawn = dd.sample(
        PixelDiffrep(1, prior.image_shape), prior, prompt=prompt, guidance_scale=5.0, solver=PixelSolver(), seed=3,
        schedule=ddim_schedule(prior.sigmas, 25),
    )  # fmt: skip
    with torch.no_grad():
        picture = prior.decode(drawn.diffrep.theta)
    known = torch.ones(1, *picture.shape[-2:])
    known[..., picture.shape[-1] // 2 :] = 0
    operator = masked(known)
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
        table[f"gamma {gamma:g}"] = {
            "psnr_of_what_is_known": round(psnr(found * known, given.expand_as(found)), 1),
            "psnr_of_it_decoded": round(psnr(decoded * known, given.expand_as(decoded)), 1),
            "similarity": round(similarity(answers.pictures, embedding), 3),
            "spread_of_the_rest": round(float(found[..., picture.shape[-1] // 2 :].std(0).mean()), 4),
            **watch.read(),
        }
        print(gamma, table[f"gamma {gamma:g}"], flush=True)
        rows.append([*found, *decoded])
        sheet(rows, options.out / "diversity_restore.png", 96)
    return table


def ways(options: Any, embedding: PictureEmbedding) -> list[tuple[str, tuple[ParticleGuidance, ...], bool]]:
    """Independent draws one after another, and together with each weight."""
    space: Any = embedding if options.features else "clean"
    found: list[tuple[str, tuple[ParticleGuidance, ...], bool]] = []
    for weight in options.weights:
        guide = ParticleGuidance(weight, space=space, least_sigma=options.least_sigma)
        found.append((f"weight {weight:g}", (guide,) if weight else (), bool(weight)))
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
    arguments.add_argument("what", choices=("images", "textures", "restore"))
    arguments.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    arguments.add_argument("--gammas", type=float, nargs="+", default=[0.0, 20.0])
    arguments.add_argument("--features", action="store_true", help="repel EfficientNet's features, not x̂0")
    arguments.add_argument("--least-sigma", type=float, default=1.0)
    arguments.add_argument("--steps", type=int, default=25)
    arguments.add_argument("--count", type=int, default=len(PROMPTS), help="of prompts")
    arguments.add_argument("--mesh", default=str(dd.demo_mesh_path()))
    arguments.add_argument("--prompt", default="a wooden duck")
    arguments.add_argument("--material", default="wooden", help="the word of it that others take the place of")
    arguments.add_argument("--views", type=int, default=6)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    prior, embedding = dd.load_prior(options.prior, device=options.device), PictureEmbedding()
    made = {"images": images, "textures": textures, "restore": restorations}[options.what](options, prior, embedding)
    named = {key: value for key, value in vars(options).items() if key not in ("out", "quick", "device")}
    report(f"diversity_{options.what}", {"settings": named, "table": made}, options.out)


if __name__ == "__main__":
    main()
