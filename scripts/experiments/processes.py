#!/usr/bin/env python3
"""Other processes and training targets, in toys of known answer: the tables of docs/processes.md.

    scripts/experiments/processes.py fields | learnt | representations | codes | views | trained | capacity | robust |
        targets | latents | paths

Each takes minutes on one core. `paths` draws a picture of what D does.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from nerf import pictures, shapes

import ddrep_core as dd
from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.diffreps.siren import image_siren
from ddrep_core.diffreps.texture import TextureDiffrep
from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep
from ddrep_core.priors import EmpiricalPrior
from ddrep_core.priors.learned import CODE, LearnedPrior
from ddrep_core.process import Diffusion, Poisson, Process
from ddrep_core.process.levels import karras_levels
from ddrep_core.sampling import CommonNoise, Schedule, Segment, sample
from ddrep_core.solvers.first_order import WarmStartSolver
from ddrep_core.training.codes import Codes, colours, forms, train_law, train_with_codes
from ddrep_core.training.denoiser import Denoiser, Lesson, ResidualNetwork, started, train
from ddrep_core.training.stable_target import target_variance
from ddrep_core.views.banks import sphere_bank

DIMENSIONS = (1.0, 2.0, 8.0, 64.0, 2048.0, math.inf)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def of(dimensions: float) -> Process:
    return Diffusion() if math.isinf(dimensions) else Poisson(dimensions)


def heun(
    clean: Callable[[Tensor, float], Tensor],
    start: Tensor,
    levels: tuple[float, ...],
    path: list[Tensor] | None = None,
    jolt: Callable[[Tensor, float], Tensor] | None = None,
) -> Tensor:
    """x at the last of descending levels, from x at the first; dx/dσ = (x − x̂0) / σ; jolted before each step."""
    x = start
    for sigma, after in pairwise(levels):
        if path is not None:
            path.append(x)
        if jolt is not None:
            x = jolt(x, sigma)
        slope = (x - clean(x, sigma)) / sigma
        ahead = x + (after - sigma) * slope
        if after > 0:
            slope = (slope + (ahead - clean(ahead, after)) / after) / 2
        x = x + (after - sigma) * slope
    return x


def ring(count: int, source: torch.Generator, radius: float = 1.0, spread: float = 0.05) -> tuple[Tensor, Tensor]:
    """Eight Gaussians on a circle, and which."""
    mode = torch.randint(8, (count,), generator=source)
    angle = mode * (math.pi / 4)
    return radius * torch.stack([angle.cos(), angle.sin()], 1) + spread * torch.randn(count, 2, generator=source), mode


def starts(process: Process, count: int, size: int, sigma: float, source: torch.Generator) -> Tensor:
    return process.perturb(torch.zeros(count, size), torch.full((count,), sigma), source)[0]


def shares(drawn: Tensor) -> Tensor:
    mode = (torch.atan2(drawn[:, 1], drawn[:, 0]) / (math.pi / 4)).round().long() % 8
    return mode.bincount(minlength=8) / len(drawn)


def exact(data: Tensor, process: Process) -> Callable[[Tensor, float], Tensor]:
    prior = EmpiricalPrior(data.reshape(len(data), 1, 1, -1), process=process)
    told = prior.condition()
    return lambda x, sigma: prior.predict_clean(x.reshape(len(x), 1, 1, -1), sigma, told).reshape(x.shape)


def wasserstein(a: Tensor, b: Tensor) -> float:
    """W₂ of two sets of the same size, by matching."""
    cost = torch.cdist(a.double(), b.double()).square().numpy()
    rows, columns = linear_sum_assignment(cost)
    return float(np.sqrt(cost[rows, columns].mean()))


# Exact fields


def fields() -> None:
    print("V8: eight Gaussians, 2000 points, 1000 draws by 18 Heun steps of the exact field, σ 80 to .002")
    print("| D | least share | largest | off the ring, median | 98 % |\n| --- | --- | --- | --- | --- |")
    data, _ = ring(2000, generator(0))
    levels = (*karras_levels(80.0, 0.002, 18), 0.0)
    for dimensions in DIMENSIONS:
        process = of(dimensions)
        drawn = heun(exact(data, process), starts(process, 1000, 2, 80.0, generator(1)), levels)
        each, off = shares(drawn), (drawn.norm(dim=1) - 1).abs()
        print(
            f"| {dimensions:g} | {each.min():.3f} | {each.max():.3f} | {off.median():.3f} | {off.quantile(0.98):.3f} |"
        )


def learnt() -> None:
    print("PFGM's field, learnt: the same eight Gaussians, width 64, 4000 steps; 1000 draws by 40 Heun steps from σ 80")
    print("| D | | least share | largest | off the ring, median | 98 % |")
    print("| --- | --- | --- | --- | --- | --- |")
    levels = (*karras_levels(80.0, 0.002, 40), 0.0)
    for dimensions in (1.0, 128.0, math.inf):
        for by_strength in (False, True):
            process, told = of(dimensions), 2 if by_strength else 1
            network = started(lambda told=told: ResidualNetwork(2, 2, told), generator(0))
            denoiser = Denoiser(network, 0.7, by_strength)
            lesson = Lesson(steps=4000, batch=512, learning_rate=2e-3, level=(0.0, 1.8))
            train(denoiser, lambda count, source: ring(count, source)[0], lesson, generator(1), process)
            clean = torch.no_grad()(lambda x, sigma, d=denoiser: d(x, torch.full((len(x),), sigma)))
            drawn = heun(clean, starts(process, 1000, 2, 80.0, generator(2)), levels)
            each, off = shares(drawn), (drawn.norm(dim=1) - 1).abs()
            print(
                f"| {dimensions:g} | {'by strength' if by_strength else ''} | {each.min():.3f} | {each.max():.3f} | "
                f"{off.median():.3f} | {off.quantile(0.98):.3f} |", flush=True
            )  # fmt: skip


def paths(out: Path) -> None:
    from PIL import Image, ImageDraw

    data, _ = ring(500, generator(0))
    side, tiles = 360, []
    for dimensions in (1.0, 8.0, 2048.0):
        process, path = of(dimensions), []
        first = starts(process, 60, 2, 3.0, generator(3))
        path.append(heun(exact(data, process), first, (*karras_levels(3.0, 0.01, 60), 0.0), path))
        tile = Image.new("RGB", (side, side), "white")
        draw = ImageDraw.Draw(tile)
        place = lambda x: tuple(side / 2 + side / 8 * x.numpy() * np.array([1, -1]))  # noqa: E731
        for one in range(60):
            draw.line([place(x[one]) for x in path], fill=(120, 150, 200), width=1)
            end = place(path[-1][one])
            draw.ellipse([end[0] - 2, end[1] - 2, end[0] + 2, end[1] + 2], fill=(200, 60, 40))
        draw.text((8, 8), f"D = {dimensions:g}", fill="black")
        tiles.append(tile)
    sheet = Image.new("RGB", (side * len(tiles), side))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (side * number, 0))
    out.mkdir(parents=True, exist_ok=True)
    sheet.save(out / "processes.png")
    print(out / "processes.png")


def representations(seeds: int = 4) -> None:
    """Textures, SIRENs and NeRFs, exact priors of five objects: is one drawn, and is it the same in all views?"""
    print("| | D | one object in all views | different of draws | rms from it |\n| --- | --- | --- | --- | --- |")
    for name, make, bank, noise, solver, schedule in beds():
        for dimensions in DIMENSIONS:
            prior = EmpiricalPrior(bank, process=of(dimensions))
            chosen, off, agreed = set(), [], 0
            for seed in range(seeds):
                drawn = dd.sample(
                    make(), prior, seed=seed, schedule=dd.parse_schedule(schedule, prior.sigmas, 20), noise=noise,
                    solver=solver(), guidance_scale=1.0,
                ).diffrep  # fmt: skip
                with torch.no_grad():
                    far = (drawn.render()[:, None] - bank).square().mean((2, 3, 4))
                nearest = far.argmin(1)
                agreed += bool((nearest == nearest[0]).all())
                chosen.add(int(nearest.mode().values))
                off.append(float(far.min(1).values.mean().sqrt()))
            print(f"| {name} | {dimensions:g} | {agreed}/{seeds} | {len(chosen)} | {np.mean(off):.4f} |", flush=True)


def beds() -> Iterator[tuple[str, Callable[[], Any], Tensor, Any, Callable[[], Any], str]]:
    """Name, representation, pictures [V, 5, 3, h, w] of five objects, noise, solver, schedule."""
    size = 16
    mesh = dd.load_mesh(dd.demo_mesh_path())
    views = dd.orbit_views(6, target=mesh, width=size, height=size)
    texture = TextureDiffrep(mesh, views, 32, 3, view_size=(size, size))
    with torch.no_grad():
        bank = []
        for number in range(5):
            colour = torch.randn(1, 3, generator=generator(number))
            texture.theta.copy_(colour + 0.5 * torch.randn(texture.theta.shape, generator=generator(number)))
            bank.append(texture.render())
    yield "texture, 6 views, grown", texture.copy, torch.stack(bank, 1), None, lambda: "auto", "grown"
    flat = torch.nn.functional.interpolate(torch.rand(5, 3, 4, 4, generator=generator(9)), (16, 16), mode="bicubic")
    yield "SIREN", lambda: image_siren((3, 16, 16)), 2 * flat[None] - 1, None, lambda: "auto", "plain"
    size = 12
    looks = sphere_bank(8, size=size)
    seen = torch.stack([pictures(shape, colour, looks, size)[0] for shape, colour in shapes()], 1)
    yield (
        "NeRF, 8 views", lambda: VoxelNerfDiffrep(looks, (3, size, size), 24, levels=1), seen,
        CommonNoise((8, 3, size, size)), lambda: WarmStartSolver(3, VoxelNerfDiffrep.learning_rate), "plain",
    )  # fmt: skip


# Training


def codes() -> None:
    print("V10: eight Gaussians of radius 3, spread .2; a denoiser of width 64 with and without one code of eight")

    def draw(count: int, source: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        x, _ = ring(count, source, 3.0, 0.2)
        return x, x, torch.zeros(count, 0)

    lesson = Lesson(steps=4000, batch=512)
    plain = Denoiser(started(lambda: ResidualNetwork(2, 2, 1), generator(0)), 2.1)
    train(plain, lambda count, source: draw(count, source)[0], lesson, generator(1))
    told = Denoiser(started(lambda: ResidualNetwork(2, 2, 9), generator(0)), 2.1)
    book = started(lambda: Codes(2, 1, 8), generator(2))
    train_with_codes(told, book, draw, lesson, generator(1))
    train_law(book, draw, Lesson(steps=800, batch=512), generator(3))
    truth, where = ring(2000, generator(9), 3.0, 0.2)
    again, _ = ring(2000, generator(10), 3.0, 0.2)
    levels = (*karras_levels(80.0, 0.002, 50), 0.0)
    first = 80 * torch.randn(2000, 2, generator=generator(4))
    code = book.one_hot(book.draw(2000, generator(5)))
    read = book.read(truth)[:, 0]
    print(
        f"codes in use: {len(read.unique())}; modes a code has: "
        f"{[int((where[read == one].bincount(minlength=8) > 10).sum()) for one in read.unique()]}"
    )
    print(f"two draws of the data: W₂ {wasserstein(truth, again):.3f}")
    print("| | W₂ | W₂ within modes | curvature | Jacobian² at σ = 1 |\n| --- | --- | --- | --- | --- |")
    for name, denoiser, condition in (("no code", plain, None), ("code", told, code)):

        @torch.no_grad()
        def clean(
            x: Tensor, sigma: float, denoiser: Denoiser = denoiser, condition: Tensor | None = condition
        ) -> Tensor:
            return denoiser(x, torch.full((len(x),), sigma), condition)

        path: list[Tensor] = []
        drawn = heun(clean, first, levels, path)
        own = (torch.atan2(drawn[:, 1], drawn[:, 0]) / (math.pi / 4)).round().long() % 8
        within = [
            wasserstein(drawn[own == mode][:n], truth[where == mode][:n])
            for mode in range(8)
            if (n := min(int((own == mode).sum()), int((where == mode).sum()))) > 10
        ]
        slopes = [
            nn.functional.normalize((x - clean(x, sigma)) / sigma, dim=1)
            for x, sigma in zip(path, levels, strict=False)
        ]
        bend = sum(float((b - a).norm(dim=1).mean()) for a, b in pairwise(slopes))
        x = truth[:300] + torch.randn(300, 2, generator=generator(6))
        at = None if condition is None else book.one_hot(book.read(truth[:300]))
        jacobian = torch.autograd.functional.jacobian(
            lambda x, denoiser=denoiser, at=at: denoiser(x, torch.ones(len(x)), at).sum(0), x
        )
        print(
            f"| {name} | {wasserstein(drawn, truth):.3f} | {np.mean(within):.3f} | {bend:.2f} | "
            f"{float(jacobian.square().sum() / 300):.3f} |"
        )


LAYOUTS, PAIRS = 8, 6


def strips(count: int, source: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """[count, 3, 24] bands that close, the layout of each (1 to 4 waves, two ways round) and its pair of colours."""
    colours_of = torch.tensor(
        [[[1, 0, 0], [1, 1, 0]], [[0, 0, 1], [0, 1, 1]], [[0, 0.5, 0], [0.8, 1, 0.4]],
         [[0.1, 0.1, 0.1], [0.9, 0.9, 0.9]], [[0.6, 0, 0.6], [1, 0.6, 0.8]], [[0.5, 0.3, 0.1], [0.9, 0.7, 0.5]]]
    )  # fmt: skip
    pair = torch.randint(PAIRS, (count,), generator=source)
    layout = torch.randint(LAYOUTS, (count,), generator=source)
    waves, phase = 1.0 + layout // 2, (layout % 2) / 2 + 0.04 * torch.randn(count, generator=source)
    place, colour = torch.arange(24) / 24, colours_of[pair]
    share = 0.5 + 0.5 * torch.tanh(3 * torch.sin(2 * math.pi * (waves[:, None] * place + phase[:, None])))
    band = (colour[:, 0, :, None] * (1 - share[:, None]) + colour[:, 1, :, None] * share[:, None]).float()
    return band, layout, pair


OFFSETS = torch.arange(0, 24, 3)
"""Where the eight views of a band begin; each is twelve wide."""


def seen_once(count: int, source: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """One view of each band, the whole of it for the encoder, and which view it is."""
    band, view = strips(count, source)[0], torch.randint(len(OFFSETS), (count,), generator=source)
    place = (OFFSETS[view, None] + torch.arange(12)) % 24
    window = band.gather(2, place[:, None].expand(-1, 3, -1)).flatten(1)
    return window, band.flatten(1), torch.eye(len(OFFSETS))[view]


BAND_LESSON = Lesson(steps=5000, batch=256, learning_rate=3e-3, level=(0.2, 1.6))


def uncoded(process: Process | None = None) -> Denoiser:
    """A denoiser of single views, told which one it is."""
    denoiser = Denoiser(started(lambda: ResidualNetwork(36, 36, 1 + len(OFFSETS), 128), generator(0)), 0.5)
    train_with_codes(denoiser, None, seen_once, BAND_LESSON, generator(1), process)
    return denoiser


def coded(process: Process | None = None) -> tuple[Denoiser, Codes]:
    """The same, told a code for the layout and one for the colours, too."""
    looks = [lambda seen: forms(seen.reshape(-1, 3, 24)), lambda seen: colours(seen.reshape(-1, 3, 24))]
    book = started(lambda: Codes(72, 2, 8, looks=looks), generator(2))
    denoiser = Denoiser(started(lambda: ResidualNetwork(36, 36, 1 + book.size + len(OFFSETS), 128), generator(0)), 0.5)
    train_with_codes(denoiser, book, seen_once, BAND_LESSON, generator(1), process)
    train_law(book, seen_once, Lesson(steps=1500), generator(3))
    return denoiser, book


def band_in_views() -> LinearDiffrep:
    rows = [
        channel * 24 + (int(offset) + column) % 24 for offset in OFFSETS for channel in range(3) for column in range(12)
    ]
    matrix = torch.zeros(len(rows), 72)
    matrix[torch.arange(len(rows)), torch.tensor(rows)] = 1
    return LinearDiffrep(matrix, image_shape=(3, 1, 12))


def band_drawn(
    denoiser: Denoiser, steps: int, seed: int, code: Tensor | None, process: Process | None = None
) -> tuple[Tensor, float, list[tuple[float, float]]]:
    """A band [72], the views' agreement, and their disagreement at every level; a one-hot code [1 or V, m k]."""
    heard = torch.eye(len(OFFSETS))
    if code is not None:
        heard = torch.cat([code.expand(len(OFFSETS), -1), heard], 1)
    prior = LearnedPrior(
        denoiser, (3, 1, 12), code_size=heard.shape[1], sigmas=tuple(np.geomspace(40, 0.02, 400)), process=process
    )
    seen: list[tuple[float, float]] = []
    result = sample(
        band_in_views(), prior, schedule=Schedule((Segment((*karras_levels(40.0, 0.02, steps), 0.0)),)), eta=0.75,
        seed=seed, guidance_scale=1.0, controls={CODE: heard},
        callback=lambda step: seen.append((step.sigma, min(1.0, step.disagreement or 0.0))),
    )  # fmt: skip
    return result.diffrep.theta.detach().flatten(), float(result.agreement or 0.0), seen


def nearest_band(band: Tensor) -> tuple[int, int, float]:
    """Layout and colours of the band that is nearest, and how far that is."""
    everything, layout, pair = strips(3000, generator(6))
    far = (everything.flatten(1) - band).square().mean(1)
    return int(layout[far.argmin()]), int(pair[far.argmin()]), float(far.min().sqrt())


def band_row(
    denoiser: Denoiser, steps: int, code: Callable[[int], Tensor | None], process: Process | None = None
) -> str:
    """Agreement at high and middle noise and at the end, and distance from the nearest band, of 24 draws."""
    high, middle, final, near = [], [], [], []
    for seed in range(24):
        band, agreement, seen = band_drawn(denoiser, steps, seed, code(seed), process)
        high.append(np.mean([1 - each for sigma, each in seen if sigma > 5]))
        middle.append(np.mean([1 - each for sigma, each in seen if 1 < sigma <= 5]))
        final.append(agreement)
        near.append(nearest_band(band)[2])
    return " | ".join(f"{np.mean(each):.3f}" for each in (high, middle, final, near))


def views() -> None:
    print("One code for all views of a band: eight windows of 12 of 24; a denoiser of single windows, told which it is")
    plain, (told, book) = uncoded(), coded()
    everything, layout, pair = strips(3000, generator(6))
    read = book.read(everything.flatten(1))
    print(f"pairs of codes in use: {len(read.unique(dim=0))} of 64, for {LAYOUTS * PAIRS} kinds; nats that code 1 says "
          f"of the layout {known(read[:, 0], layout):.2f} of {math.log(LAYOUTS):.2f}, of the colours "
          f"{known(read[:, 0], pair):.2f}; code 2 {known(read[:, 1], layout):.2f}, and {known(read[:, 1], pair):.2f} "
          f"of {math.log(PAIRS):.2f}")  # fmt: skip
    window, whole, which = seen_once(4000, generator(7))
    code = book.one_hot(book.read(whole))
    print("error of x̂0 of one view, rms, at σ = .3, 1, 3, 10:")
    for name, denoiser, heard in (("no code", plain, which), ("code", told, torch.cat([code, which], 1))):
        row = []
        for sigma in (0.3, 1.0, 3.0, 10.0):
            x = window + sigma * torch.randn(window.shape, generator=generator(8))
            with torch.no_grad():
                row.append(float((denoiser(x, torch.full((len(x),), sigma), heard) - window).square().mean().sqrt()))
        print(f"  {name}: " + ", ".join(f"{each:.3f}" for each in row))

    def shared(seed: int, count: int = 1) -> Tensor:
        return book.one_hot(book.draw(count, generator(100 + seed)))

    print("| | steps | views agree at σ > 5 | at 1 to 5 | at the end | from the nearest band |")
    print("| --- | --- | --- | --- | --- | --- |")
    for steps in (8, 15, 40):
        print(f"| no code | {steps} | {band_row(plain, steps, lambda seed: None)} |")
        print(f"| code | {steps} | {band_row(told, steps, shared)} |")
        apart = band_row(told, steps, lambda seed: shared(seed, len(OFFSETS)))
        print(f"| another code for each view | {steps} | {apart} |")
    kept, painted = 0, 0
    for seed in range(24):
        codes = book.draw(1, generator(200 + seed))
        others = book.draw(64, generator(300 + seed), fixed=codes[0, :1])
        other = others[others[:, 1] != codes[0, 1]][:1]
        first, second = (nearest_band(band_drawn(told, 15, seed, book.one_hot(each))[0]) for each in (codes, other))
        kept += first[0] == second[0]
        painted += first[1] != second[1]
    print(
        f"the layout's code kept, the colours' drawn anew, 15 steps: {kept} of 24 layouts stay, {painted} are repainted"
    )


def trained() -> None:
    print("Denoisers of a band's views trained under each process, pulled back through it; 15 steps, 24 draws")
    print("| D | | views agree at σ > 5 | at 1 to 5 | at the end | from the nearest band |")
    print("| --- | --- | --- | --- | --- | --- |")
    for dimensions in (128.0, 2048.0, math.inf):
        process = of(dimensions)
        plain = uncoded(process)
        print(f"| {dimensions:g} | no code | {band_row(plain, 15, lambda seed: None, process)} |", flush=True)
        told, book = coded(process)
        row = band_row(told, 15, lambda seed, book=book: book.one_hot(book.draw(1, generator(100 + seed))), process)
        print(f"| {dimensions:g} | code | {row} |", flush=True)


def known(code: Tensor, kind: Tensor) -> float:
    """Mutual information in nats of two lists of numbers."""
    joint = torch.zeros(int(code.max()) + 1, int(kind.max()) + 1)
    joint.index_put_((code, kind), torch.ones(len(code)), accumulate=True)
    joint = joint / joint.sum()
    apart = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return float((joint * ((joint + 1e-12) / (apart + 1e-12)).log()).sum())


def capacity() -> None:
    print("V9: y ~ ½N(±1, .04 I) in 10-D, 2,000 points seen in 1000-D; MMD of 2,000 draws (five kernels)")
    lift = torch.randn(1000, 10, generator=generator(0))

    def made(count: int, source: torch.Generator) -> Tensor:
        sign = 2.0 * torch.randint(2, (count, 1), generator=source) - 1
        y = (sign + 0.2 * torch.randn(count, 10, generator=source)) / math.sqrt(1.04)
        return y @ lift.T + 0.01 * torch.randn(count, 1000, generator=source)

    data, truth = made(2000, generator(1)), made(2000, generator(5))

    def draw(count: int, source: torch.Generator) -> Tensor:
        return data[torch.randint(len(data), (count,), generator=source)]

    print(f"two draws of the data: {mmd(data, truth):.4f}")
    print("| width | " + " | ".join(f"D = {each:g}" for each in (100, 1000, 10_000, math.inf)) + " |")
    print("| --- " * 5 + "|")
    for width in (8, 32):
        row = []
        for dimensions in (100.0, 1000.0, 10_000.0, math.inf):
            process = of(dimensions)
            network = started(lambda width=width: ResidualNetwork(1000, 1000, 1, width, 4), generator(2))
            denoiser = Denoiser(network, 1.0)
            train(denoiser, draw, Lesson(steps=3000, batch=128), generator(3), process)
            clean = torch.no_grad()(lambda x, sigma, d=denoiser: d(x, torch.full((len(x),), sigma)))
            first = starts(process, 2000, 1000, 50.0, generator(4))
            row.append(mmd(heun(clean, first, (*karras_levels(50.0, 0.001, 50), 0.0)), truth))
        print(f"| {width} | " + " | ".join(f"{each:.3f}" for each in row) + " |")


def mmd(a: Tensor, b: Tensor) -> float:
    both = torch.cat([a, b])
    squared = torch.cdist(both, both).square()
    width = squared.sum() / (len(both) ** 2 - len(both))
    kernel = sum((-squared / (width * 2.0**power)).exp() for power in range(-2, 3))
    assert isinstance(kernel, Tensor)
    n = len(a)
    return float(kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean())


def robust() -> None:
    print("Robustness: 32-D ring (eight modes in a random plane); noise of the wrong strength, and coarse weights")
    source = generator(0)
    plane = torch.linalg.qr(torch.randn(32, 2, generator=source))[0]

    def draw(count: int, source: torch.Generator) -> Tensor:
        return ring(count, source, 4.0, 0.2)[0] @ plane.T + 0.05 * torch.randn(count, 32, generator=source)

    truth = draw(1500, generator(1))
    levels = (*karras_levels(80.0, 0.01, 30), 0.0)
    print("| D | as trained | + .1 σ noise a step | + .2 σ | weights in fp8 | int8 | 6 bits | 5 bits |")
    print("| --- " * 8 + "|")
    for dimensions in (8.0, 64.0, 2048.0, math.inf):
        process = of(dimensions)
        denoiser = Denoiser(started(lambda: ResidualNetwork(32, 32, 1, 64), generator(2)), 0.75)
        train(denoiser, draw, Lesson(steps=4000, batch=256, level=(-0.5, 1.5)), generator(3), process)
        row = []
        for share, bits in ((0.0, 0), (0.1, 0), (0.2, 0), (0.0, FP8), (0.0, 8), (0.0, 6), (0.0, 5)):
            told = quantised(denoiser, bits) if bits else denoiser
            clean = torch.no_grad()(lambda x, sigma, told=told: told(x, torch.full((len(x),), sigma)))
            extra = generator(5)

            def jolt(x: Tensor, sigma: float, share: float = share, extra: torch.Generator = extra) -> Tensor:
                return x + share * sigma * torch.randn(x.shape, generator=extra)

            drawn = heun(clean, starts(process, 1500, 32, 80.0, generator(4)), levels, jolt=jolt if share else None)
            row.append(wasserstein(drawn, truth))
        print(f"| {dimensions:g} | " + " | ".join(f"{each:.3f}" for each in row) + " |")
    print(f"two draws of the data: {wasserstein(truth, draw(1500, generator(7))):.3f}")


FP8 = -8


def quantised(denoiser: Denoiser, bits: int) -> Denoiser:
    """Each weight matrix rounded to that many bits; `FP8`: to eight with four of exponent, after scaling to 1."""
    import copy

    coarse = copy.deepcopy(denoiser)
    with torch.no_grad():
        for weights in coarse.parameters():
            if weights.ndim == 2 and bits == FP8:
                scale = weights.abs().max()
                weights.copy_((weights / scale).to(torch.float8_e4m3fn).to(weights) * scale)
            elif weights.ndim == 2:
                step = weights.abs().max() / (2 ** (bits - 1) - 1)
                weights.copy_((weights / step).round() * step)
    return coarse


def targets() -> None:
    print("V3: V of the target, ½N(±.1·1, 1e-8 I) in 64-D")
    print("| σ | one source | n = 17 | ratio | 1 / (n − 1) |\n| --- | --- | --- | --- | --- |")
    signs = torch.tensor([-0.1, 0.1]).double().repeat_interleave(200)[:, None]
    data = signs * torch.ones(64, dtype=torch.float64)
    data = data + 1e-4 * torch.randn(data.shape, generator=generator(0), dtype=torch.float64)
    for sigma in (0.1, 0.2, 0.3, 0.44, 0.6, 1.0, 2.0):
        one, many = (target_variance(data, sigma, n, Diffusion(), 400, generator(1)) for n in (1, 17))
        print(f"| {sigma} | {one:.4f} | {many:.4f} | {many / max(one, 1e-30):.3f} | .0625 |")
    print("\nTraining on the ring of 32 numbers, four seeds: W₂ of 1000 draws, and the spread of the last losses")
    plane = torch.linalg.qr(torch.randn(32, 2, generator=generator(0)))[0]

    def draw(count: int, source: torch.Generator) -> Tensor:
        return ring(count, source, 4.0, 0.2)[0] @ plane.T + 0.05 * torch.randn(count, 32, generator=source)

    truth, levels = draw(1000, generator(1)), (*karras_levels(80.0, 0.01, 30), 0.0)
    print("| reference | steps | W₂ | ± over seeds | loss, its deviation from step to step |\n" + "| --- " * 5 + "|")
    for steps in (500, 2000):
        for reference in (0, 256, 1024):
            found, last = [], []
            for seed in range(4):
                denoiser = Denoiser(started(lambda: ResidualNetwork(32, 32, 1, 64), generator(seed)), 0.75)
                lesson = Lesson(steps=steps, batch=64, reference=reference, level=(-0.5, 1.5))
                losses = train(denoiser, draw, lesson, generator(10 + seed))
                clean = torch.no_grad()(lambda x, sigma, d=denoiser: d(x, torch.full((len(x),), sigma)))
                drawn = heun(clean, starts(Diffusion(), 1000, 32, 80.0, generator(4)), levels)
                found.append(wasserstein(drawn, truth))
                last.append(np.std(losses[-steps // 4 :]))
            print(f"| {reference} | {steps} | {np.mean(found):.3f} | {np.std(found):.3f} | {np.mean(last):.4f} |")


def latents(pictures: int = 256) -> None:
    """What stable targets would be worth to the bundled prior: the variance of what its U-Net is told, of its own data.

    A condition is a kind of object, `pictures` renders of each as `scripts/prior` draws them, in the prior's latents.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "prior"))
    from rendering import render_samples
    from shapes import build_geometry

    prior, process, reference = dd.load_prior("bundled", device="cpu"), Diffusion(), 64
    levels = (0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0)
    totals = {sigma: [0.0, 0.0] for sigma in levels}
    for kind in ("mushroom", "car", "chair", "house"):
        random, drawn = np.random.default_rng(0), []
        while len(drawn) < pictures:
            found = render_samples(kind, build_geometry(kind, random), 2, 2, prior.image_size, random)
            drawn += [torch.from_numpy(each[0]).permute(2, 0, 1).float() for each in found]
        with torch.no_grad():
            data = torch.cat([prior.encode(some) for some in torch.stack(drawn).split(32)]).flatten(1)
        for sigma in levels:
            for which, count in enumerate((1, reference)):
                variance = target_variance(data, sigma, count, process, 48, generator(0))
                totals[sigma][which] += variance * sigma**4 / data.shape[1] / 4
    print(
        "| σ | timesteps above | variance of x̂0's target, one source | of 64 | ratio |\n| --- | --- | --- | --- | --- |"
    )
    for sigma, (alone, many) in totals.items():
        above = float((prior.sigmas > sigma).double().mean())
        print(f"| {sigma:g} | {above:.0%} | {alone:.4f} | {many:.4f} | {many / max(alone, 1e-12):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what",
        choices=(
            "fields",
            "learnt",
            "representations",
            "codes",
            "views",
            "trained",
            "capacity",
            "robust",
            "targets",
            "latents",
            "paths",
        ),
    )
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    torch.manual_seed(0)
    if arguments.what == "paths":
        paths(arguments.out)
    else:
        globals()[arguments.what]()


if __name__ == "__main__":
    main()
