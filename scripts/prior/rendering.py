"""Pictures and depth of parametric objects: rays by Embree, solid materials, one soft lamp beside the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from assembly import ROLES
from captions import Facts
from materials import MATERIALS, Surface, shade
from pictures import BACKGROUNDS, choose_material, random_background
from shapes import KINDS, Geometry

Array = np.ndarray


@dataclass(frozen=True)
class Camera:
    """Looking at the origin; azimuth 0 is the object's front, at -Y. Degrees, counter-clockwise as seen from above."""

    azimuth: float
    elevation: float
    fov: float
    fill: float
    """How much of the picture's half-width the object reaches."""
    roll: float = 0.0


def view_words(camera: Camera, has_front: bool) -> str | None:
    """The words for a direction, by sectors of 90 degrees; objects without a front only know above and below."""
    if camera.elevation > 60:
        return "overhead view"
    if camera.elevation < -50:
        return "bottom view"
    if not has_front:
        return None
    turned = abs((camera.azimuth + 180) % 360 - 180)
    return "front view" if turned <= 45 else "side view" if turned < 135 else "back view"


def random_camera(random: np.random.Generator) -> Camera:
    """Mostly from around and a little above; one in eight from above, some from below."""
    choice = random.random()
    elevation = (
        random.uniform(62, 89)
        if choice < 0.12
        else random.uniform(-75, -52)
        if choice < 0.15
        else random.uniform(-12, 48)
    )
    # Most cameras look straight at a side, where the words are plainest.
    azimuth = (
        random.choice([0, 0, 90, 180, 270]) + random.normal(0, 12) if random.random() < 0.7 else random.uniform(0, 360)
    )
    return Camera(
        float(azimuth),
        float(elevation),
        float(random.uniform(20, 55)),
        float(random.uniform(0.7, 0.98)),
        float(random.normal(0, 1.5)),
    )


@dataclass(frozen=True)
class Visible:
    """What the rays met on a grid of side S: mask [S, S]; the rest is of the N hits, in row order, [N, 3] or [N]."""

    mask: Array
    points: Array
    normals: Array
    towards_eye: Array
    roles: Array
    distance: Array
    right: Array
    forward: Array


def cast(
    geometry: Geometry, intersector: RayMeshIntersector, camera: Camera, side: int, distance: float | None = None
) -> Visible:
    """Nearest hits of one ray a grid point, from so far away that the object fills its frame, or from `distance`."""
    azimuth, elevation, roll = np.deg2rad([camera.azimuth, camera.elevation, camera.roll])
    outwards = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    half = np.tan(np.deg2rad(camera.fov) / 2)
    right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    up = np.cross(outwards, right)
    right, up = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right
    if distance is None:
        seen = geometry.vertices @ np.stack([right, up, outwards], 1)
        distance = float((np.abs(seen[:, :2]).max(1) / (half * camera.fill) + seen[:, 2]).max())
    eye = outwards * distance
    grid = ((np.arange(side) + 0.5) / side * 2 - 1) * half
    directions = (-outwards + grid[None, :, None] * right - grid[:, None, None] * up).reshape(-1, 3)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    triangles = intersector.intersects_first(np.broadcast_to(eye, directions.shape), directions)
    hit = triangles >= 0
    triangles, directions = triangles[hit], directions[hit]
    corners = geometry.vertices[geometry.faces[triangles]]
    first, edge_1, edge_2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    plane = np.cross(edge_1, edge_2)
    along = ((first - eye) * plane).sum(1) / ((directions * plane).sum(1) + 1e-12)
    points = eye + along[:, None] * directions
    area = (plane * plane).sum(1) + 1e-20
    offset = points - first
    second = (np.cross(offset, edge_2) * plane).sum(1) / area
    third = (np.cross(edge_1, offset) * plane).sum(1) / area
    weights = np.clip(np.stack([1 - second - third, second, third], 1), 0, 1)
    normals = (geometry.corner_normals[triangles] * weights[..., None]).sum(1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    normals *= np.where((normals * directions).sum(1, keepdims=True) > 0, -1.0, 1.0)
    return Visible(
        hit.reshape(side, side),
        points,
        normals,
        -directions,
        geometry.face_roles[triangles],
        along * (directions @ -outwards),
        right,
        -outwards,
    )


def paint(
    visible: Visible,
    geometry: Geometry,
    material: str | None,
    overpaint: bool,
    random: np.random.Generator,
    background: str,
    size: int,
) -> Array:
    """The picture [size, size, 3], sRGB. `material` covers the body, or with `overpaint` all; None: natural colours."""
    forward = visible.forward
    level = np.array([forward[0], forward[1], 0.0])
    level = level / (np.linalg.norm(level) + 1e-6) if np.linalg.norm(level) > 0.2 else np.zeros(3)
    light = -0.55 * level + 0.3 * random.uniform(-1, 1) * visible.right + np.array([0, 0, 0.85])
    light /= np.linalg.norm(light)
    colours = np.zeros_like(visible.points)
    for index, role in enumerate(geometry.roles):
        chosen = visible.roles == index
        if not chosen.any():
            continue
        points, normals, towards = visible.points[chosen], visible.normals[chosen], visible.towards_eye[chosen]
        if material is not None and (role == "body" or overpaint):
            surface = MATERIALS[material].surface(points * 1.15, normals, random)
        else:
            base = np.clip(np.array(ROLES.get(role, (0.6, 0.6, 0.6))) + random.normal(0, 0.025, 3), 0, 1)
            surface = Surface(np.broadcast_to(base, points.shape), 0.3 if role in ("glass", "lamp", "metal") else 0.1)
        colours[chosen] = shade(surface, normals, towards, light)
    side = visible.mask.shape[0]
    picture = np.broadcast_to(np.array(BACKGROUNDS[background]), (side, side, 3)).copy()
    picture[visible.mask] = colours
    fine = side // size
    return picture.reshape(size, fine, size, fine, 3).mean((1, 3))


def depth_picture(visible: Visible, size: int, random: np.random.Generator) -> Array:
    """Relative inverse depth [size, size] in [0, 1]: the nearest point 1, the furthest a little above 0, else 0."""
    side = visible.mask.shape[0]
    inverse = np.zeros((side, side))
    if len(visible.distance):
        value = 1.0 / visible.distance
        low, high = value.min(), value.max()
        floor = random.choice([0.1, random.uniform(0.05, 0.6)])
        inverse[visible.mask] = floor + (1 - floor) * (value - low) / (high - low + 1e-9)
    fine = side // size
    return inverse.reshape(size, fine, size, fine).mean((1, 3))


def render_samples(kind: str, geometry: Geometry, views: int, materials: int, size: int, random: np.random.Generator):
    """Pictures, depths and facts of one object from several cameras, each in several materials."""
    spec = KINDS[kind]
    mesh = trimesh.Trimesh(geometry.vertices, geometry.faces, process=False)
    intersector = RayMeshIntersector(mesh)
    for _ in range(views):
        camera = random_camera(random)
        visible = cast(geometry, intersector, camera, 2 * size)
        words = view_words(camera, spec.has_front)
        depth = depth_picture(visible, size, random)
        for _ in range(materials):
            background = random_background(random)
            natural = random.random() < 0.4 and (spec.natural or "body" not in geometry.roles)
            if natural:
                material = str(random.choice(list(spec.natural))) if spec.natural else None
                plain_colour = material is not None and MATERIALS[material].weight == 0.6
                adjectives = (
                    MATERIALS[material].adjectives if material and plain_colour and random.random() < 0.5 else ()
                )
                nouns = MATERIALS[material].nouns if material and adjectives else ()
                overpaint = False
            else:
                material = choose_material(random)
                adjectives, nouns = MATERIALS[material].adjectives, MATERIALS[material].nouns
                # Paint leaves windows and tyres alone; what is carved of marble is marble all over, mostly.
                overpaint = "body" not in geometry.roles or random.random() < (
                    0.25 if MATERIALS[material].weight == 0.6 else 0.75
                )
            picture = paint(visible, geometry, material, overpaint, random, background, size)
            details = {
                "azimuth": round(camera.azimuth % 360, 1),
                "elevation": round(camera.elevation, 1),
                "overpainted": bool(overpaint),
            }
            yield (
                picture,
                depth,
                Facts(
                    "render", spec.names, adjectives, nouns, words, background, kind, material or "", details=details
                ),
            )
