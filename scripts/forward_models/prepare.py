"""Pictures of parametric objects from the rig's cameras, with their silhouettes: `objects/part_NNN.npz`, made once.

Each object is lit from one side of its own, so that all its views show the same colours. `held_out.npz` has objects of
kinds that no part has, `fresh.npz` unseen objects of kinds that the parts have.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.path[:0] = [str(REPOSITORY), str(HERE.parent / "prior")]

from work import work_folder  # noqa: E402

from captions import Facts  # noqa: E402, F401 - the sister scripts import each other by name
from ddrep_core.forward_models.rig import DISTANCE, FIELD_OF_VIEW, PLACES, SHOWN  # noqa: E402
from pictures import choose_material  # noqa: E402
from rendering import Camera, cast, paint  # noqa: E402
from shapes import KINDS, Geometry, build_geometry  # noqa: E402

Array = np.ndarray
Random = np.random.Generator
HELD_OUT = ("teapot", "pig", "truck", "stool", "rocket")
FINE = 2  # rays along a pixel's side
FILL = 0.85  # of half a frame: how far an object reaches in the views from around it, at most
PART = 100


def posed(geometry: Geometry, random: Random) -> Geometry:
    """Turned about the vertical, and as large as the views from around it allow."""
    angle = random.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    points = geometry.vertices @ turn.T
    points = points - (points.min(0) + points.max(0)) / 2
    points = points / np.linalg.norm(points, axis=1).max()
    half = np.tan(np.deg2rad(FIELD_OF_VIEW) / 2)
    reach = 0.0
    for _, azimuth, elevation in PLACES[:SHOWN]:
        a, e = np.deg2rad([azimuth, elevation])
        out = np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
        right = np.array([np.cos(a), np.sin(a), 0.0])
        up = np.cross(out, right)
        seen = points @ np.stack([right, up, out], 1)
        reach = max(reach, float((np.abs(seen[:, :2]).max(1) / (half * (DISTANCE - seen[:, 2]))).max()))
    return replace(geometry, vertices=points * min(1.0, FILL / reach), corner_normals=geometry.corner_normals @ turn.T)


def dressed(kind: str, geometry: Geometry, random: Random) -> tuple[str | None, bool]:
    """A material, and whether it covers all; mostly as in nature."""
    spec = KINDS[kind]
    if random.random() < 0.6 and (spec.natural or "body" not in geometry.roles):
        return (str(random.choice(list(spec.natural))) if spec.natural else None), False
    material = choose_material(random)
    return material, "body" not in geometry.roles or random.random() < 0.5


def object_views(kind: str, size: int, random: Random) -> Array:
    """[V, 4, size, size] bytes: colours on black (sRGB) and coverage."""
    geometry = posed(build_geometry(kind, random), random)
    material, overpaint = dressed(kind, geometry, random)
    intersector = RayMeshIntersector(trimesh.Trimesh(geometry.vertices, geometry.faces, process=False))
    seed, lamp = int(random.integers(2**31)), random.uniform(0, 2 * np.pi)
    found = []
    for _, azimuth, elevation in PLACES:
        seen = cast(geometry, intersector, Camera(azimuth, elevation, FIELD_OF_VIEW, 1.0), FINE * size, DISTANCE)
        lit = replace(seen, forward=np.array([0.0, 0.0, -1.0]), right=np.array([np.cos(lamp), np.sin(lamp), 0.0]))
        colours = paint(lit, geometry, material, overpaint, np.random.default_rng(seed), "black", size)
        covered = seen.mask.reshape(size, FINE, size, FINE).mean((1, 3))
        found.append(np.concatenate([np.clip(colours, 0, 1).transpose(2, 0, 1), covered[None]]))
    return np.rint(255 * np.stack(found)).astype(np.uint8)


def objects(kinds: list[str], count: int, size: int, stream: int, first: int = 0) -> tuple[Array, list[str]]:
    """[count, V, 4, size, size] objects number `first` on, and their kinds, by how common each is."""
    weights = np.array([KINDS[kind].weight for kind in kinds])
    pictures, names = [], []
    for number in range(first, first + count):
        random = np.random.default_rng([stream, number])
        name = kinds[int(random.choice(len(kinds), p=weights / weights.sum()))]
        pictures.append(object_views(name, size, random))
        names.append(name)
    return np.stack(pictures), names


def write(path: Path, made: tuple[Array, list[str]]) -> None:
    unfinished = path.with_suffix(".unfinished.npz")
    np.savez(unfinished, pictures=made[0], kinds=np.array(made[1]))
    unfinished.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=3000)
    parser.add_argument("--size", type=int, default=32)
    arguments = parser.parse_args()
    folder = work_folder() / f"objects_{arguments.size}"
    folder.mkdir(exist_ok=True)
    known = [kind for kind in KINDS if kind not in HELD_OUT]
    for part in range(-(-arguments.objects // PART)):
        path = folder / f"part_{part:03d}.npz"
        if not path.exists():
            begun = time.monotonic()
            write(path, objects(known, PART, arguments.size, 1, part * PART))
            print(f"{path.name}: {time.monotonic() - begun:.0f} s", flush=True)
    for name, kinds, stream in (("held_out", list(HELD_OUT), 2), ("fresh", known, 3)):
        if not (folder / f"{name}.npz").exists():
            write(folder / f"{name}.npz", objects(kinds, 60, arguments.size, stream))


if __name__ == "__main__":
    main()
