"""NeRFs: is the geometry real, does RePaint help, which grid and which bank of views learn most for the same passes?

On an exact bed: known shapes, the prior of each view is the exact denoiser of their pictures from there, so that the
truth can be compared with, from held-out views too.

    python scripts/experiments/nerf.py --quick              two shapes: geometry of field and mesh
    python scripts/experiments/nerf.py --grids              plain grid against levels, equal passes
    python scripts/experiments/nerf.py --banks              stratified, random and fresh views, equal evaluations
    python scripts/experiments/nerf.py --several            the prior knows five shapes: do all views choose the same?
    python scripts/experiments/nerf.py --repaint            RePaint against plain steps on a real prior, and the cost
    python scripts/experiments/nerf.py --objects            whole objects, as `ddrep generate` makes them, and judged
"""

from __future__ import annotations

import itertools
import math
import resource
import shutil
from typing import Any

import numpy as np
import torch
import trimesh
from fields_common import Stopwatch, change_by_prior, contradiction, parser, psnr, report, sheet
from PIL import Image
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep, finest_grid
from ddrep_core.geometry.raycast import RayCaster
from ddrep_core.geometry.surface import intersection_over_union, mesh_of
from ddrep_core.jobs.checkpoint import read_checkpoint
from ddrep_core.jobs.folder import JobFolder, read_json, write_json
from ddrep_core.jobs.generate import FIELD_GUIDANCE, nerf_mesh, silhouettes
from ddrep_core.jobs.run import run_job
from ddrep_core.sampling import CommonNoise, MixedNoise, NoiseField, ViewNoise, ddim_schedule, repaint_schedule
from ddrep_core.solvers.first_order import WarmStartSolver
from ddrep_core.views import Views
from ddrep_core.views.banks import sphere_bank

SIZE = 16
PROMPTS = [
    "a mushroom", "a red apple", "a wooden chair", "a duck", "a house made of red bricks", "a yellow car",
    "a birthday cake", "a cow",
]  # fmt: skip
LIGHT = np.array([0.4, -0.6, 0.7]) / np.linalg.norm([0.4, -0.6, 0.7])


def shapes() -> list[tuple[trimesh.Trimesh, np.ndarray]]:
    """Five shapes that differ in outline and colour, as large in the bank's frames as priors draw things."""
    two_balls = trimesh.util.concatenate(
        [trimesh.creation.icosphere(3, 0.5), trimesh.creation.icosphere(3, 0.33).apply_translation((0, 0, 0.65))]
    )
    found = [
        (two_balls, (0.6, 0.3, 0.7)),
        (trimesh.creation.box((1, 0.7, 0.8)), (0.85, 0.2, 0.15)),
        (trimesh.creation.cone(0.6, 1.2, sections=48), (0.25, 0.7, 0.3)),
        (trimesh.creation.torus(0.7, 0.28), (0.95, 0.7, 0.15)),
        (trimesh.creation.icosphere(3), (0.2, 0.55, 0.9)),
    ]
    for mesh, _ in found:
        mesh.apply_translation(-mesh.bounds.mean(axis=0))
        mesh.apply_scale(1.55 / np.ptp(mesh.bounds, axis=0).max())
    return [(mesh, np.array(colour)) for mesh, colour in found]


def pictures(
    mesh: trimesh.Trimesh, colour: np.ndarray, views: Views, size: int, rays: int = 4
) -> tuple[Tensor, Tensor]:
    """[V, 3, S, S] shaded on white, in [−1, 1], and [V, S, S] how much of each pixel is covered."""
    caster = RayCaster(mesh_of(np.asarray(mesh.vertices), np.asarray(mesh.faces)))
    images, covers = [], []
    for camera in views:
        pixel, hits = caster.pixel_hits(camera, size, size, rays)
        shade = 0.45 + 0.55 * np.clip(caster.face_normals[hits.face] @ LIGHT, 0, 1)
        drawn = np.where(hits.hit[:, None], shade[:, None] * colour - 1.0, 0.0)  # what differs from white
        image = np.stack([np.bincount(pixel, drawn[:, k], size * size) for k in range(3)]) / rays**2 + 1
        cover = np.bincount(pixel, hits.hit, size * size) / rays**2
        images.append(torch.from_numpy(image.reshape(3, size, size) * 2 - 1).float())
        covers.append(torch.from_numpy(cover.reshape(size, size)).float())
    return torch.stack(images), torch.stack(covers)


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--grids", action="store_true")
    arguments.add_argument("--banks", action="store_true")
    arguments.add_argument("--several", action="store_true")
    arguments.add_argument("--repaint", action="store_true")
    arguments.add_argument("--objects", action="store_true")
    arguments.add_argument("--prompts", nargs="+", default=PROMPTS)
    arguments.add_argument("--steps", type=int, help="of RePaint, or as `ddrep generate` takes it")
    arguments.add_argument("--seed", type=int, default=0, help="of --objects")
    arguments.add_argument("--seeds", type=int, default=5, help="of --several")
    arguments.add_argument("--grid", type=int, default=32)
    arguments.add_argument(
        "--common-noise", nargs="+", type=float, default=[0.0], metavar="SHARE",
        help="of --several and --repaint: how much of the noise is the same in all views; 0 is the paper's",
    )  # fmt: skip
    options = arguments.parse_args()
    if options.grids:
        report("nerf_grids", {"rows": grids(options.grid, 20 if options.quick else 60)}, options.out)
    elif options.banks:
        report("nerf_banks", {"rows": banks(options.grid, 16 if options.quick else 50)}, options.out)
    elif options.objects:
        report("nerf_objects", {"rows": objects(options)}, options.out)
    elif options.several:
        report("nerf_several", {"rows": several(options)}, options.out)
    elif options.repaint:
        report("nerf_repaint", {"rows": repainted(options)}, options.out)
    else:
        report("nerf", geometry(options), options.out)


def geometry(options: Any) -> dict[str, Any]:
    """Sample each shape's exact prior; compare field and mesh with the truth from held-out views."""
    views, held_out = sphere_bank(12, size=SIZE), sphere_bank(16, torch.Generator().manual_seed(7), size=SIZE)
    table, rows = {}, []
    for number, (shape, colour) in enumerate(shapes()[: 2 if options.quick else 5]):
        bank, _ = pictures(shape, colour, views, SIZE)
        truth, cover = pictures(shape, colour, held_out, 48, 2)
        prior = dd.priors.EmpiricalPrior(bank[:, None])
        for name, schedule in schedules(prior, options.quick).items():
            watch = Stopwatch()
            result = dd.sample(
                VoxelNerfDiffrep(views, (3, SIZE, SIZE), options.grid), prior, views, schedule=schedule,
                views_per_step=8, seed=number,
            )  # fmt: skip
            clock = watch.read()
            seen, opacity = result.diffrep.render_views(held_out, 48, 48)
            mesh, likeness = nerf_mesh(result.diffrep, 6000)
            surface = trimesh.Trimesh(mesh.vertices, mesh.parts[0].faces)
            table[f"shape {number}, {name}"] = {
                "nfe": result.nfe,
                "held_out_psnr": round(psnr((seen + 1) / 2, (truth + 1) / 2), 2),
                "field_silhouette_iou": round(overlap(opacity[:, 0], cover), 4),
                "mesh_silhouette_iou": round(
                    intersection_over_union(silhouettes(mesh, held_out), cover.numpy() > 0.5), 4
                ),
                "mesh_against_field_iou": round(likeness, 4),
                "watertight": bool(surface.is_watertight),
                "components": len(surface.split(only_watertight=False)),
                **clock,
            }
            rows += [list((truth[:8] + 1) / 2), list((seen[:8] + 1) / 2), list(opacity[:8].expand(-1, 3, -1, -1))]
            print(name, table[f"shape {number}, {name}"], flush=True)
    sheet(rows, options.out / "nerf.png")
    return {"grid": options.grid, "runs": table}


def schedules(prior: Any, quick: bool) -> dict[str, Any]:
    """RePaint as in the paper, and plain steps of the same number of evaluations."""
    repaint = repaint_schedule(prior.sigmas, 13 if quick else 40, 1, 1, 2)
    return {"plain": ddim_schedule(prior.sigmas, repaint.nfe)} | ({} if quick else {"RePaint": repaint})


def several(options: Any) -> list[dict[str, Any]]:
    """Each view's prior is the exact denoiser of five shapes' pictures from there: do all views choose one shape, and
    another for another seed? Plain steps, deterministic and not, and RePaint, at equal evaluations."""
    views = sphere_bank(16, size=SIZE)
    bank = torch.stack([pictures(shape, colour, views, SIZE)[0] for shape, colour in shapes()], 1)  # [V, K, 3, S, S]
    prior = dd.priors.EmpiricalPrior(bank)
    repaint = repaint_schedule(prior.sigmas, options.steps or (25 if options.quick else 100), 1, 1, 2)
    plain = ddim_schedule(prior.sigmas, repaint.nfe)
    samplers = {"plain, eta 0": (plain, 0.0), "plain, eta 0.75": (plain, 0.75), "RePaint, eta 0.75": (repaint, 0.75)}
    rows, tiles = [], []
    for share, (name, (schedule, eta)) in itertools.product(options.common_noise, samplers.items()):
        found = []
        for seed in range(options.seeds):
            result = dd.sample(
                VoxelNerfDiffrep(views, (3, SIZE, SIZE), options.grid), prior, views, schedule=schedule, eta=eta,
                views_per_step=8, seed=seed,
                noise=noise_field(share, (len(views), 3, SIZE, SIZE)),
            )  # fmt: skip
            with torch.no_grad():
                seen = result.diffrep.render()
            distance = (seen[:, None] - bank).square().mean((2, 3, 4))  # [V, K]
            error, chosen = distance.min(1)
            found.append(
                {
                    "neighbours_alike": float((chosen == chosen.roll(1)).float().mean()),
                    "largest_group": float(chosen.bincount().max()) / len(views),
                    "distance_from_nearest_shape": float(error.mean().sqrt()),
                    "disagreement": float(result.disagreement or 0),
                    "shape": int(chosen.mode().values),
                }
            )
            if seed == 0:
                tiles.append(list((seen + 1) / 2))
        means = {key: round(float(np.mean([run[key] for run in found])), 3) for key in found[0] if key != "shape"}
        means["shapes"] = [run["shape"] for run in found]
        row = {"common_noise": share, "sampler": name, "nfe": schedule.nfe, **means}
        rows.append(row | {"runs": found})
        print(row, flush=True)
    sheet(tiles, options.out / "nerf_several.png", 64)
    return rows


def noise_field(share: float, shape: tuple[int, int, int, int]) -> NoiseField:
    """Noise of which a share is the same in all views."""
    return MixedNoise(CommonNoise(shape), ViewNoise(shape), share)


def repainted(options: Any) -> list[dict[str, Any]]:
    """On a real prior: plain steps and RePaint of the same number of evaluations, `ddrep generate`'s own settings.

    Two judges: the run's own (what of x̂0 the field cannot hold), and the prior looking at views that never painted:
    how far its x̂0 at σ = 0.5 lies from the picture, of the picture's variance. A picture patched together is not one
    that the prior would leave alone.
    """
    prior = dd.load_prior(options.prior, device=options.device)
    steps = options.steps or (16 if options.quick else 100)
    repaint = repaint_schedule(prior.sigmas, steps, 1, 1, 2)
    views, held_out = sphere_bank(16), sphere_bank(16, torch.Generator().manual_seed(7))
    rows, tiles = [], []
    for seed, prompt in enumerate(options.prompts):
        schedules = {"plain": ddim_schedule(prior.sigmas, repaint.nfe), "RePaint": repaint}
        for share, (name, schedule) in itertools.product(options.common_noise, schedules.items()):
            guidance = max(prior.default_guidance_scale, FIELD_GUIDANCE)
            rep = VoxelNerfDiffrep(views, prior.image_shape, options.grid, device=prior.device)
            watch = Stopwatch()
            result = dd.sample(
                rep, prior, views, prompt=prompt, guidance_scale=guidance, schedule=schedule, seed=seed,
                views_per_step=8,
                noise=noise_field(share, (len(views), *prior.image_shape)),
            )  # fmt: skip
            clock = watch.read()
            judged = judge_field(result.diffrep, held_out, prior, prompt)
            rows.append(
                {
                    "prompt": prompt,
                    "common_noise": share,
                    "schedule": name,
                    "nfe": result.nfe,
                    "disagreement": round(float(result.disagreement or 0), 4),
                    "contradiction": contradiction(
                        result.diffrep,
                        WarmStartSolver(12, rep.learning_rate),
                        prior,
                        prompt,
                        views,
                        guidance,
                        range(len(views)),
                    ),
                    **judged,
                    "cost": round(result.seconds["total"] / result.seconds["prior"], 2),
                    "seconds": {part: round(value, 1) for part, value in result.seconds.items()},
                    **clock,
                }
            )
            print(rows[-1], flush=True)
            with torch.no_grad():
                tiles.append(list(prior.decode(result.diffrep.render()).float().cpu()))
            sheet(tiles, options.out / "nerf_repaint.png", 64)
    return rows


def objects(options: Any) -> list[dict[str, Any]]:
    """`ddrep generate` at its defaults, a prompt after the other: the field and the mesh judged from views that never
    painted, and what the whole job costs."""
    prior = dd.load_prior(options.prior, device=options.device)
    rows, pictures = [], []
    for prompt in options.prompts:
        row, contact_sheet = whole_object(prompt, prior, options)
        rows.append(row)
        pictures.append(contact_sheet)
        print(row, flush=True)
        stacked = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), "white")
        for number, picture in enumerate(pictures):
            stacked.paste(picture, (0, sum(p.height for p in pictures[:number])))
        stacked.save(options.out / "nerf_objects.png")
    return rows


def whole_object(prompt: str, prior: Any, options: Any) -> tuple[dict[str, Any], Image.Image]:
    """One job from request to files: what was measured, and its contact sheet."""
    held_out = sphere_bank(16, torch.Generator().manual_seed(7), size=prior.image_size)
    folder = JobFolder(options.out / "objects" / prompt.replace(" ", "_"))
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.path.mkdir(parents=True)
    request = {
        "schema_version": 1, "task": "generate", "prompt": prompt, "seed": options.seed, "steps": options.steps,
        "prior": options.prior, "device": options.device,
    }  # fmt: skip
    write_json(folder.request_file, request)
    judged: dict[str, Any] = {}
    judging: dict[str, float] = {}

    def judge(event: dict[str, Any]) -> None:
        """As soon as the field is sampled: its checkpoint does not outlive the job."""
        if event["event"] == "stage" and event["message"] == "Extracting the surface":
            kept, _ = read_checkpoint(folder.checkpoints / "stages" / "sample_0000_sample")
            assert kept is not None
            field = VoxelNerfDiffrep(sphere_bank(16), prior.image_shape, finest_grid(prior.image_shape))
            field.theta = kept.tensors
            watch = Stopwatch()
            judged.update(judge_field(field, held_out, prior, prompt))
            judging.update(watch.read())

    watch = Stopwatch()
    run_job(folder.path, listeners=(judge,))
    clock = watch.read()
    entry: Any = read_json(folder.result_file)
    entry = entry["samples"][0]
    row = {
        "prompt": prompt,
        "nfe": entry["nfe"],
        "agreement": entry["agreement"],
        **judged,
        "mesh_against_field_iou": entry["silhouette_likeness"],
        "cost": round(entry["seconds"]["total"] / entry["seconds"]["prior"], 2),
        "wall_seconds": round(clock["wall_seconds"] - judging["wall_seconds"], 1),
        "processor_seconds": round(clock["processor_seconds"] - judging["processor_seconds"], 1),
        "load": clock["load"],
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    return row, Image.open(folder.path / entry["files"]["contact_sheet"]).convert("RGB")


def judge_field(field: VoxelNerfDiffrep, held_out: Views, prior: Any, prompt: str) -> dict[str, Any]:
    """The field and its mesh from views that never painted."""
    _, opacity = field.render_views(held_out, 48, 48)
    mesh, _ = nerf_mesh(field, 20_000)
    surface = trimesh.Trimesh(mesh.vertices, mesh.parts[0].faces)
    covered = silhouettes(mesh, held_out)
    return {
        "held_out_changed": held_out_change(field, held_out, prior, prompt),
        "held_out_iou": round(intersection_over_union(covered, opacity[:, 0].numpy() > 0.5), 4),
        "half_transparent": round(float(((opacity > 0.1) & (opacity < 0.9)).float().mean()), 3),
        "watertight": bool(surface.is_watertight),
        "components": len(surface.split(only_watertight=False)),
    }


def held_out_change(field: VoxelNerfDiffrep, held_out: Views, prior: Any, prompt: str) -> float:
    """How far the prior's x̂0 at σ = 0.5 lies from what views that never painted see, of the pictures' variance."""
    seen, _ = field.render_views(held_out, *prior.image_shape[1:])
    return change_by_prior(seen, prior, prompt, held_out, prior.default_guidance_scale)


def grids(grid: int, passes: int) -> list[dict[str, Any]]:
    """The plain voxel grid and sums of levels, fitted to the same pictures by the same descent."""
    views, held_out = sphere_bank(12, size=SIZE), sphere_bank(8, torch.Generator().manual_seed(7), size=SIZE)
    (shape, colour), *_ = shapes()
    bank, _ = pictures(shape, colour, views, SIZE)
    truth, cover = pictures(shape, colour, held_out, 48, 2)
    rows = []
    for levels in (1, 2, 3):
        rep = VoxelNerfDiffrep(views, (3, SIZE, SIZE), grid, levels=levels)
        rep.reset(torch.Generator())
        watch = Stopwatch()
        WarmStartSolver(passes, rep.learning_rate).fit(rep, bank, torch.arange(12), torch.ones(12, 1, SIZE, SIZE))
        seen, opacity = rep.render_views(held_out, 48, 48)
        rows.append(
            {
                "levels": levels,
                "passes": passes,
                "held_out_psnr": round(psnr((seen + 1) / 2, (truth + 1) / 2), 2),
                "silhouette_iou": round(overlap(opacity[:, 0], cover), 4),
                **watch.read(),
            }
        )
        print(rows[-1], flush=True)
    return rows


def banks(grid: int, steps: int) -> list[dict[str, Any]]:
    """Where the views of a run stand: in strata or anywhere, few or many, at equal evaluations (8 views each)."""
    held_out = sphere_bank(8, torch.Generator().manual_seed(7), size=SIZE)
    (shape, colour), *_ = shapes()
    truth, cover = pictures(shape, colour, held_out, 48, 2)
    rows = []
    for name, views in {
        "stratified, 8": sphere_bank(8, size=SIZE),
        "stratified, 16": sphere_bank(16, size=SIZE),
        "stratified, 32": sphere_bank(32, size=SIZE),
        "random, 16": random_bank(16),
        "random, new each step (the paper)": random_bank(8 * steps),
    }.items():
        bank, _ = pictures(shape, colour, views, SIZE)
        prior = dd.priors.EmpiricalPrior(bank[:, None])
        rep = VoxelNerfDiffrep(views, (3, SIZE, SIZE), grid)
        watch = Stopwatch()
        result = dd.sample(
            rep, prior, views, schedule=ddim_schedule(prior.sigmas, steps), views_per_step=8,
        )  # fmt: skip
        seen, opacity = result.diffrep.render_views(held_out, 48, 48)
        rows.append(
            {
                "bank": name,
                "nfe": result.nfe,
                "held_out_psnr": round(psnr((seen + 1) / 2, (truth + 1) / 2), 2),
                "silhouette_iou": round(overlap(opacity[:, 0], cover), 4),
                "disagreement": round(float(result.disagreement or 0), 4),
                **watch.read(),
            }
        )
        print(rows[-1], flush=True)
    return rows


def random_bank(count: int) -> Views:
    """Cameras anywhere on the same part of the sphere, with any of the same fields of view."""
    generator = torch.Generator().manual_seed(3)
    cameras = []
    for _ in range(count):
        turn, rise, wide = torch.rand(3, generator=generator).tolist()
        low, high = math.sin(math.radians(-10)), math.sin(math.radians(45))
        elevation = math.degrees(math.asin(low + (high - low) * rise))
        ring = dd.orbit_views(
            1, (elevation,), distance=1.5, fov_degrees=40 + 10 * wide, width=SIZE, height=SIZE, start_degrees=360 * turn
        )
        cameras.append(ring[0])
    return Views(tuple(cameras))


def overlap(opacity: Tensor, cover: Tensor) -> float:
    """Intersection over union of what is more than half covered."""
    return intersection_over_union(opacity.numpy() > 0.5, cover.numpy() > 0.5)


if __name__ == "__main__":
    main()
