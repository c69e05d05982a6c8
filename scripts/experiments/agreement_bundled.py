"""Do the views agree where the prior is learned? Schedules on meshes and prompts, compared in decoded RGB.

    python scripts/experiments/agreement_bundled.py --meshes duck FILE... --prompts "…" … --out FOLDER

"rgb+" before a schedule: the views meet in RGB (`ImageTextureDiffrep`) and share the noise of the surface, as in
`ddrep texture` by default; else each has its own, as in the paper.

Every run is a line of FOLDER/runs.jsonl (a run that is there is not made again) and a row of pictures in FOLDER. What
is measured, on the decoded views at the prior's own size:

- rms: the root mean square difference in RGB between two views' colours of one point of the surface, over all pairs of
  views that both see it from within 66 degrees. `apart` is the same where every view is sampled by itself, the printed
  `floor` where one smooth RGB texture went through the autoencoder view by view.
- fidelity: the mean cosine, in EfficientNet-Lite features, between each view and the same view sampled by itself with
  the same prompt, less the same with the other prompts' (0: the prompt cannot be told).
- variety: the mean distance between the features of two seeds' views. `apart` tells how far the prior's own are.

Fidelity and variety are of the object alone, on white, and told twice: of the views as they were decoded, and of one
texture that is fitted to them, seen from the same cameras. The second is what a person gets: views that contradict
each other differ from seed to seed in what no texture can hold.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fields_common import features, sheet
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps import LinearDiffrep
from ddrep_core.geometry.raycast import RayCaster, depth_maps
from ddrep_core.jobs.texture import TEXELS_PER_PIXEL
from ddrep_core.jobs.views import sampled_views
from ddrep_core.sampling import ddim_schedule, parse_schedule, sample
from ddrep_core.solvers.linear import LinearSolver

MEETING = "rgb+"
LEAST_COSINE = 0.4
"""Between a surface's normal and the way to the camera, for its colour to count."""


class Scene:
    """A mesh under its views, its texture in the prior's space, and which pixels of two views see the same point."""

    def __init__(self, name: str, prior: Any, count: int) -> None:
        path = dd.demo_mesh_path() if name == "duck" else Path(name)
        self.name = "duck" if name == "duck" else path.stem
        mesh = dd.load_mesh(path)
        self.size = prior.image_size
        self.views = sampled_views(count, mesh, self.size)
        shape = tuple(prior.image_shape)
        self.rep = dd.TextureDiffrep(
            mesh, self.views, 1024, shape[0], view_size=(shape[1], shape[2]), texels_per_pixel=TEXELS_PER_PIXEL
        )
        self.meeting = dd.ImageTextureDiffrep(mesh, self.views, prior, texels_per_pixel=TEXELS_PER_PIXEL)
        self.mesh = mesh
        self.depth = depth_maps(mesh, self.views, self.size, self.size, subsamples=2)
        self.covered = torch.as_tensor(self.depth).reshape(count, 1, self.size, self.size) > 0
        rows = count * shape[0] * shape[1] * shape[2]  # nothing in common: what the prior does by itself
        index = torch.arange(rows)
        eye = torch.sparse_coo_tensor(torch.stack([index, index]), torch.ones(rows), (rows, rows))
        self.apart = LinearDiffrep(eye, image_shape=shape)
        self.solver = LinearSolver(remembered=3 * count)
        self.texture_solver = LinearSolver(damping=dd.TextureDiffrep.damping)
        self.pairs = list(self._pairs(mesh))

    def _pairs(self, mesh: Any) -> Iterator[tuple[int, int, Tensor, Tensor]]:
        """View, other view, [n] pixels of the view, [n, 2] where the other sees the same points (-1 to 1)."""
        caster = RayCaster(mesh)
        for view, camera in enumerate(self.views):
            pixel, hits = caster.pixel_hits(camera, self.size, self.size)
            good = hits.cosine > LEAST_COSINE
            face = hits.face[good]
            points = (mesh.triangles[face] * hits.barycentric[good][:, :, None]).sum(1)
            for other, camera_there in enumerate(self.views):
                if other != view:
                    seen = caster.visible(camera_there, points, caster.face_normals[face], LEAST_COSINE)
                    place = camera_there.project(points[seen])[0] * 2 / self.size - 1
                    yield view, other, torch.from_numpy(pixel[good][seen]), torch.from_numpy(place).float()

    def rms(self, pictures: Tensor) -> float:
        """Of decoded views [V, 3, H, W] in [0, 1]: how far two views' colours of one point are apart."""
        squares, count = 0.0, 0
        for view, other, pixel, place in self.pairs:
            there = torch.nn.functional.grid_sample(pictures[other][None], place[None, None], align_corners=False)
            squares += float((pictures[view].flatten(1)[:, pixel] - there[0, :, 0]).square().sum())
            count += 3 * len(pixel)
        return (squares / count) ** 0.5

    def as_one_texture(self, pictures: Tensor) -> Tensor:
        """Decoded views [V, 3, H, W] in [0, 1], as the one texture that fits them best shows them, on white."""
        texture = self.meeting.picture.copy()
        texture.theta.fill_(0.5)
        weights = texture.pixel_weights()
        assert weights is not None
        self.texture_solver.fit(texture, pictures, torch.arange(len(pictures)), weights)
        return torch.where(self.covered, texture.render().clamp(0, 1), 1.0)

    def floor(self, prior: Any) -> tuple[float, float]:
        """The rms of views that are coloured smoothly by place, and of the same through the autoencoder."""
        low, high = self.mesh.bounds
        pictures = torch.ones(len(self.views), 3, self.size * self.size)
        caster = RayCaster(self.mesh)
        for view, camera in enumerate(self.views):
            pixel, hits = caster.pixel_hits(camera, self.size, self.size)
            points = (self.mesh.triangles[hits.face[hits.hit]] * hits.barycentric[hits.hit][:, :, None]).sum(1)
            waves = 0.5 + 0.4 * np.sin(6 * np.pi * (points - low) / (high - low).max())
            pictures[view, :, torch.from_numpy(pixel[hits.hit])] = torch.from_numpy(waves.T).float()
        pictures = pictures.reshape(-1, 3, self.size, self.size)
        return self.rms(pictures), self.rms(prior.decode(prior.encode(pictures)).clamp(0, 1))


def run(
    scene: Scene, prior: Any, prompt: str, schedule: str, seed: int, steps: int, guidance_scale: float
) -> tuple[dict[str, Any], Tensor]:
    """What was measured of one sample, and [2, V, 3, H, W] its views and their one texture.

    "apart" samples every view by itself, and after "rgb+" the views meet in RGB.
    """
    meets, words = schedule.startswith(MEETING), schedule.removeprefix(MEETING)
    rep: Any = scene.apart if schedule == "apart" else scene.meeting if meets else scene.rep
    plan = ddim_schedule(prior.sigmas, steps) if schedule == "apart" else parse_schedule(words, prior.sigmas, steps)
    result = sample(
        rep, prior, scene.views, prompt=prompt, guidance_scale=guidance_scale, schedule=plan,
        seed=seed, controls={"depth": scene.depth}, solver="auto" if meets else scene.solver,
        noise=scene.meeting.noise if meets else None,
    )  # fmt: skip
    with torch.no_grad():
        pictures = prior.decode(result.diffrep.render()).clamp(0, 1)
        textured = scene.as_one_texture(pictures)

    def described(images: Tensor) -> list[list[float]]:
        return [[round(float(number), 4) for number in view] for view in features(images)]

    record = {
        "nfe": round(result.nfe, 2), "rms": scene.rms(pictures), "not_agreed": result.not_agreed,
        "latent_disagreement": result.disagreement, "seconds": round(result.seconds["total"], 1),
        "features": described(torch.where(scene.covered, pictures, 1.0)), "texture_features": described(textured),
    }  # fmt: skip
    return record, torch.stack([pictures, textured])


def compare(records: list[dict[str, Any]]) -> str:
    """The table: a line a schedule, and another of its views as one texture."""
    lines = [
        "| schedule | runs | evaluations | rms in RGB | fidelity | variety | runs with views left out |",
        "|---|---|---|---|---|---|---|",
    ]
    for schedule, group in itertools.groupby(sorted(records, key=lambda r: r["schedule"]), lambda r: r["schedule"]):
        mine = list(group)
        cost = f"{len(mine)} | {np.mean([r['nfe'] for r in mine]):.1f} | {mean([r['rms'] for r in mine], 4)}"
        left_out = sum(bool(r["not_agreed"]) for r in mine)
        for key, name in (("features", schedule), ("texture_features", f"{schedule}, as one texture")):
            told = "–" if schedule == "apart" else mean(fidelity(mine, records, key))
            lines.append(f"| {name} | {cost} | {told} | {mean(variety(mine, key))} | {left_out} |")
    return "\n".join(lines)


def fidelity(mine: list[dict[str, Any]], records: list[dict[str, Any]], key: str) -> list[float]:
    """Of each run: how much nearer its views are to their own prompt's, sampled by themselves, than to others'."""
    alone: dict[str, dict[str, list[Any]]] = {}
    for record in records:
        if record["schedule"] == "apart":
            alone.setdefault(record["mesh"], {}).setdefault(record["prompt"], []).append(np.array(record["features"]))
    found = []
    for record in mine:
        here = np.array(record[key])
        cosine = {
            prompt: float(np.mean([(here * views).sum(1).mean() for views in seeds]))
            for prompt, seeds in alone.get(record["mesh"], {}).items()
        }
        own = cosine.pop(record["prompt"], None)
        if own is not None and cosine:
            found.append(own - float(np.mean(list(cosine.values()))))
    return found


def variety(mine: list[dict[str, Any]], key: str) -> list[float]:
    """Of each two seeds of one mesh and prompt: the mean distance of their views' features."""
    return [
        float(np.linalg.norm(np.array(one[key]) - np.array(two[key]), axis=1).mean())
        for one, two in itertools.combinations(mine, 2)
        if one["mesh"] == two["mesh"] and one["prompt"] == two["prompt"]
    ]


def mean(values: list[float], digits: int = 3) -> str:
    """With its standard error."""
    if not values:
        return "–"
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{np.mean(values):.{digits}f} ± {error:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meshes", nargs="+", default=["duck"], help="'duck' (it comes with ddrep) or files")
    parser.add_argument("--prompts", nargs="+", default=["a wooden toy", "a toy made of red bricks"])
    parser.add_argument("--schedules", nargs="+", default=["apart", "repaint:1,1,2", "rgb+repaint:1,1,2"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--prior", default="bundled")
    parser.add_argument("--guidance-scale", type=float, help="the prior's own by default")
    parser.add_argument("--out", type=Path, default=Path("agreement_bundled"))
    settings = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    settings.out.mkdir(parents=True, exist_ok=True)
    path = settings.out / "runs.jsonl"
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    prior = dd.load_prior(settings.prior)
    guidance = prior.default_guidance_scale if settings.guidance_scale is None else settings.guidance_scale
    for name in settings.meshes:
        scene = Scene(name, prior, settings.views)
        with torch.no_grad():
            print(f"{scene.name}: rms %.4f of one texture, %.4f through the autoencoder" % scene.floor(prior))
        for prompt, seed, schedule in itertools.product(settings.prompts, range(settings.seeds), settings.schedules):
            same = {
                "mesh": scene.name, "prompt": prompt, "schedule": schedule, "seed": seed, "steps": settings.steps,
                "guidance_scale": guidance,
            }  # fmt: skip
            if any(all(r[key] == value for key, value in same.items()) for r in records):
                continue
            found, pictures = run(scene, prior, prompt, schedule, seed, settings.steps, guidance)
            record = same | found
            records.append(record)
            with path.open("a") as out:
                out.write(json.dumps(record) + "\n")
            shown = {key: value for key, value in record.items() if not key.endswith("features")}
            print(json.dumps(shown), flush=True)
            words = "_".join([scene.name, *prompt.split(), schedule.split(":")[0], str(seed)])
            sheet([list(row) for row in pictures], settings.out / f"{words}.png", scene.size)
    print(compare(records))


if __name__ == "__main__":
    main()
