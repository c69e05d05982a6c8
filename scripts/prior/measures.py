"""What is measured of a prior: fidelity to prompts, variety, directions, depth, guidance, speed; and its grids."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from PIL import Image

import rendering
from captions import article
from configuration import HERE, Configuration
from ddrep_core.features import PictureFeatures
from direction_reader import DIRECTIONS, KINDS_WITH_PLAIN_DIRECTIONS, SIDES, DirectionReader, load_renders
from emoji import load_emoji
from pictures import emoji_picture
from prepare import load_part, packages_folder, parts
from sampling import draw, labelled_grid
from shapes import KINDS, build_geometry

Array = np.ndarray
ASKED = tomllib.loads((HERE / "evaluation.toml").read_text())
STRENGTHS = (2.0, 3.0, 5.0, 7.5)
"""Of guidance, at which fidelity and variety are told beside the configuration's own."""


def unseen(configuration: Configuration) -> int:
    """The first object number that no training part holds."""
    return 100_000


class Gallery:
    """Features of training pictures, with the names of what they show."""

    def __init__(self, configuration: Configuration, features: PictureFeatures) -> None:
        pictures_of_parts, groups = [], []
        for part in [name for name in parts(configuration) if name.startswith(("emoji", "renders"))][:3]:
            pictures, _, facts = load_part(configuration, part)
            seen: dict[str, int] = {}
            natural = []
            for index, fact in enumerate(facts):
                if fact.kind == "render" and fact.adjectives:
                    continue  # of renders, those in their natural colours: a golden duck is near to every golden thing
                seen[fact.group] = seen.get(fact.group, 0) + 1
                if seen[fact.group] <= 12:
                    natural.append(index)
            pictures_of_parts.append(pictures[natural])
            groups.extend(facts[index].group for index in natural)
        self.labels = np.array(groups)
        self.vectors = features(np.concatenate(pictures_of_parts) / 255.0)

    def hits(self, vectors: Array, wanted: list[str]) -> Array:
        """Whether the wanted name is among the five nearest pictures' names."""
        nearest = self.labels[np.argsort(-(vectors @ self.vectors.T), axis=1)[:, :5]]
        return np.array([name in row for name, row in zip(wanted, nearest, strict=True)])

    def spreads(self, vectors: Array, names: list[str], count: int) -> list[float]:
        """Spread within a prompt's `count` pictures over that of its category's training pictures, name by name."""
        ratios = []
        for index, name in enumerate(names):
            category = next((members for members in ASKED["categories"].values() if name in members), None)
            if category is None:
                continue
            others = np.flatnonzero(np.isin(self.labels, category))
            own = np.flatnonzero(self.labels == name)
            random = np.random.default_rng(index)
            pool = np.concatenate([random.choice(own, min(8, len(own)), replace=False), random.choice(others, 24)])
            ratios.append(_spread(vectors[index * count : (index + 1) * count]) / _spread(self.vectors[pool]))
        return ratios


def _spread(vectors: Array) -> float:
    distances = 1.0 - vectors @ vectors.T
    return float(distances[np.triu_indices(len(vectors), 1)].mean())


def fidelity_and_variety(configuration: Configuration, pipeline: StableDiffusionPipeline, count: int) -> dict:
    """Named objects among the five nearest training pictures; spread within a prompt over that within its category.

    Both at the configuration's guidance, for the one is bought with the other; and both again at other strengths.
    """
    features = PictureFeatures()
    gallery = Gallery(configuration, features)
    names = [name for name in ASKED["fidelity_names"] if name in set(gallery.labels)][:60]
    wanted = [name for name in names for _ in range(count)]
    drawn = {
        guidance: features(draw(pipeline, None, [article(name) for name in wanted], guidance=guidance, seed=1))
        for guidance in {configuration.guidance_scale, *STRENGTHS}
    }
    vectors = drawn[configuration.guidance_scale]
    found, ratios = gallery.hits(vectors, wanted), gallery.spreads(vectors, names, count)
    emoji = {item.names[0]: item for item in load_emoji(packages_folder(configuration), 2 * configuration.image_size)}
    fresh, fresh_names = [], []
    for index, name in enumerate(names):
        for copy in range(count):
            random = np.random.default_rng([configuration.seed, 99, index, copy])
            if name in emoji:
                fresh.append(emoji_picture(emoji[name], configuration.image_size, "plain", random)[0])
                fresh_names.append(name)
    per_name = {name: float(found[index * count : (index + 1) * count].mean()) for index, name in enumerate(names)}
    return {
        "fidelity": {
            "guidance": configuration.guidance_scale,
            "top5_share": float(found.mean()),
            "ceiling_augmented_training_pictures": float(gallery.hits(features(np.stack(fresh)), fresh_names).mean()),
            "floor_wrong_prompt": float(gallery.hits(vectors, list(np.roll(wanted, 7 * count))).mean()),
            "names": len(names),
            "pictures_each": count,
            "by_name": per_name,
            "by_guidance": {
                f"{guidance:g}": float(gallery.hits(one, wanted).mean()) for guidance, one in sorted(drawn.items())
            },
        },
        "variety": {
            "guidance": configuration.guidance_scale,
            "spread_within_prompt_over_category": float(np.mean(ratios)),
            "lowest": float(np.min(ratios)),
            "by_guidance": {
                f"{guidance:g}": float(np.mean(gallery.spreads(one, names, count)))
                for guidance, one in sorted(drawn.items())
            },
        },
    }


def directions(configuration: Configuration, pipeline: StableDiffusionPipeline, count: int) -> dict:
    """How often the judges read the asked-for direction from pictures drawn without depth; their own shares first.

    Those are of renders that they never saw, sent through the autoencoder as all drawn pictures are. Sides are asked
    for by the word alone, and by name: then they must be sides, and the right ones.
    """
    reader, side_reader = DirectionReader.kept(configuration), DirectionReader.of_sides(configuration)
    held = load_renders(configuration)[1]
    passed = replace(held, pictures=through_autoencoder(pipeline, held.pictures))
    own = float((reader(passed.pictures) == passed.directions).mean())
    own_sides = float((side_reader(passed.of_sides.pictures) == passed.of_sides.sides).mean())
    asked = [
        (kind, words) for kind in KINDS_WITH_PLAIN_DIRECTIONS for words in (*DIRECTIONS, *SIDES) for _ in range(count)
    ]
    prompts = [f"{article(kind)}, {words}" for kind, words in asked]
    drawn = draw(pipeline, None, prompts, guidance=configuration.guidance_scale, seed=2)
    seen = [
        SIDES[side] if words in SIDES and DIRECTIONS[answer] == "side view" else DIRECTIONS[answer]
        for (_, words), answer, side in zip(asked, reader(drawn), side_reader(drawn), strict=True)
    ]

    def share(words: Sequence[str], kinds: Sequence[str] = KINDS_WITH_PLAIN_DIRECTIONS) -> float:
        right = [
            answer == said for answer, (kind, said) in zip(seen, asked, strict=True) if said in words and kind in kinds
        ]
        return float(np.mean(right))

    return {
        "share_read_as_asked": share(DIRECTIONS),
        "left_and_right_read_as_asked": share(SIDES),
        "classifier_on_held_out_renders": own,
        "side_classifier_on_held_out_renders": own_sides,
        "by_direction": {words: share((words,)) for words in (*DIRECTIONS, *SIDES)},
        "by_kind": {kind: share(DIRECTIONS, (kind,)) for kind in KINDS_WITH_PLAIN_DIRECTIONS},
        "pictures": sum(words in DIRECTIONS for _, words in asked),
        "held_out_renders": len(held.pictures),
    }


@torch.inference_mode()
def through_autoencoder(pipeline: StableDiffusionPipeline, pictures: Array) -> Array:
    """uint8 [N, S, S, 3] encoded and decoded, in [0, 1]."""
    results = []
    for first in range(0, len(pictures), 64):
        values = torch.from_numpy(pictures[first : first + 64]).permute(0, 3, 1, 2).float() / 127.5 - 1
        decoded = pipeline.vae.decode(pipeline.vae.encode(values).latent_dist.mode()).sample
        results.append(decoded.clamp(-1, 1).permute(0, 2, 3, 1).numpy() / 2 + 0.5)
    return np.concatenate(results)


def silhouette(pictures: Array) -> Array:
    """What differs from the colour of the picture's border: [N, S, S, 3] to bool [N, S, S]."""
    border = np.concatenate([pictures[:, 0], pictures[:, -1], pictures[:, :, 0], pictures[:, :, -1]], axis=1)
    ground = np.median(border, axis=1)[:, None, None]
    return np.abs(pictures - ground).max(-1) > 0.1


def depth(
    configuration: Configuration, pipeline: StableDiffusionPipeline, controlnet: ControlNetModel, count: int
) -> dict:
    """Overlap of drawn silhouettes with the given depth's mask, objects never trained on; also of the true renders."""
    first, depths, prompts, renders = unseen(configuration), [], [], []
    kinds = sorted(KINDS)
    for index in range(count):
        kind = kinds[index % len(kinds)]
        random = np.random.default_rng([configuration.seed, 5, index])
        geometry = build_geometry(
            kind, np.random.default_rng([configuration.seed, 3, kinds.index(kind), first + index])
        )
        picture, hint, facts = next(
            iter(rendering.render_samples(kind, geometry, 1, 1, configuration.image_size, random))
        )
        material = str(
            random.choice(["wooden", "red", "blue", "golden", "mossy stone", "red brick", "green", "furry brown"])
        )
        depths.append(hint)
        prompts.append(
            f"a {material} {facts.names[0]}" + (f", {facts.view}" if facts.view else "") + ", on a white background"
        )
        renders.append(picture)
    hints = np.stack(depths)
    drawn = draw(pipeline, controlnet, prompts, hints, guidance=configuration.guidance_scale, seed=3)
    mask = hints > 0.03

    def overlap(pictures: Array) -> Array:
        shown = silhouette(pictures)
        return (shown & mask).sum((1, 2)) / np.maximum((shown | mask).sum((1, 2)), 1)

    values = overlap(drawn)
    return {
        "iou_mean": float(values.mean()),
        "iou_median": float(np.median(values)),
        "iou_of_true_renders": float(overlap(np.stack(renders)).mean()),
        "pictures": count,
    }


def guidance(pipeline: StableDiffusionPipeline) -> dict:
    """Mean and deviation of pictures, and deviation between them, at several strengths of guidance."""
    prompts = [
        "a red car",
        "a wooden chair",
        "a cow",
        "a rose",
        "a golden duck",
        "a brick house",
        "a cat face",
        "a blue mug",
    ]
    result = {}
    for weight in (0.0, 1.0, 3.0, 5.0, 7.5, 10.0):
        pictures = draw(pipeline, None, prompts if weight else [""] * len(prompts), guidance=weight, seed=4)
        result[str(weight)] = {
            "finite": bool(np.isfinite(pictures).all()),
            "mean": round(float(pictures.mean()), 3),
            "deviation": round(float(pictures.std()), 3),
            "deviation_between_pictures": round(float(pictures.std(0).mean()), 3),
        }
    return result


def speed(pipeline: StableDiffusionPipeline, controlnet: ControlNetModel) -> dict:
    """Median seconds of one evaluation of 16 rows (8 views, both branches of guidance), on two threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    size = pipeline.unet.config.sample_size
    noisy, words = (
        torch.randn(16, 4, size, size),
        torch.randn(16, pipeline.tokenizer.model_max_length, pipeline.unet.config.cross_attention_dim),
    )
    hint = torch.rand(16, 3, *(2 * [size * pipeline.vae_scale_factor]))
    plain, controlled = [], []
    with torch.inference_mode():
        for _ in range(8):
            start = time.perf_counter()
            pipeline.unet(noisy, 500, words)
            middle = time.perf_counter()
            down, mid = controlnet(noisy, 500, words, hint, return_dict=False)
            pipeline.unet(noisy, 500, words, down_block_additional_residuals=down, mid_block_additional_residual=mid)
            plain.append(middle - start)
            controlled.append(time.perf_counter() - middle)
    torch.set_num_threads(threads)
    return {
        "seconds_batch_16": float(np.median(plain)),
        "seconds_batch_16_with_depth": float(np.median(controlled)),
        "best_seconds_batch_16": min(plain),
    }


def guidance_grid(pipeline: StableDiffusionPipeline) -> Image.Image:
    """A row for each strength of guidance, the same seeds in all; the first row without words."""
    names = ("a red apple", "a house", "a blue car", "a cat face", "a wooden chair", "a mushroom")
    pictures, labels = [], []
    for weight in (0.0, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0):
        pictures.append(draw(pipeline, None, list(names) if weight else [""] * len(names), guidance=weight, seed=21))
        labels += [f"{weight:g}: {name}" if weight else "0: (no words)" for name in names]
    return labelled_grid(np.concatenate(pictures), labels, len(names))


def grids(
    configuration: Configuration, pipeline: StableDiffusionPipeline, controlnet: ControlNetModel, folder: Path
) -> None:
    """64 prompts without depth; 8 unseen objects with depth in 7 materials each; 6 prompts at 7 strengths."""
    guidance_grid(pipeline).save(folder / "samples_guidance.png", optimize=True)
    prompts, strength = ASKED["grid_prompts"], configuration.guidance_scale
    chosen = draw(pipeline, None, prompts, guidance=strength, seed=11)
    labelled_grid(chosen, prompts, 8).save(folder / "samples.png", optimize=True)
    rows = []
    labels = []
    for index, kind in enumerate(("chair", "cow", "house", "car", "teapot", "rabbit", "blob", "castle")):
        random = np.random.default_rng([configuration.seed, 6, index])
        geometry = build_geometry(kind, np.random.default_rng([configuration.seed, 3, index, unseen(configuration)]))
        _, hint, facts = next(iter(rendering.render_samples(kind, geometry, 1, 1, configuration.image_size, random)))
        materials = (
            "wooden",
            "red",
            "golden",
            "mossy stone",
            "red brick",
            "blue and white striped",
            "black and white spotted",
        )
        prompts = [
            f"a {material} {facts.names[0]}" + (f", {facts.view}" if facts.view else "") for material in materials
        ]
        drawn = draw(pipeline, controlnet, prompts, np.repeat(hint[None], len(prompts), 0), guidance=strength, seed=12)
        rows.append(np.concatenate([np.repeat(hint[None, ..., None], 3, -1), drawn]))
        labels += ["(depth)", *prompts]
    labelled_grid(np.concatenate(rows), labels, 8).save(folder / "samples_depth.png", optimize=True)
