# ruff: noqa: RUF005 - arrays are added, not joined
"""Animals: four-legged ones by a table of proportions, the others each by hand. The front is towards -Y."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh

from assembly import Random, Shape

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Animal:
    """Four legs, a body, a neck, a head with eyes looking to -Y; of several words one is drawn each time."""

    body: Triple
    """Half-widths (x, y, z)."""
    leg: float
    thick: float
    neck: Triple
    """Forward, up, radius."""
    head: Triple
    snout: Triple
    ears: tuple[str, ...]
    tail: str
    fur: tuple[str, ...] = ("body",)
    muzzle: str = "body"

    def __call__(self, shape: Shape, random: Random) -> None:
        ears, fur = (str(random.choice(words)) if len(words) > 1 else words[0] for words in (self.ears, self.fur))
        u = random.uniform
        wide, long, tall = (value * u(0.88, 1.12) for value in self.body)
        leg = self.leg * u(0.85, 1.15)
        thick, head, snout, muzzle, tail = self.thick, self.head, self.snout, self.muzzle, self.tail
        middle = leg + tall * 0.8
        shape.ball((0, 0, middle), (wide, long, tall), fur)
        shape.ball((0, -long * 0.45, middle + 0.02), (wide * 0.95, long * 0.55, tall * 0.98), fur)
        shape.ball((0, long * 0.45, middle), (wide * 0.97, long * 0.52, tall), fur)
        stride = u(-0.1, 0.1)
        for x in (-1, 1):
            for y, sign in ((-0.62, 1), (0.66, -1)):
                hip = (x * wide * 0.6, y * long, middle - tall * 0.3)
                foot = (x * wide * 0.6, y * long + stride * x * sign, thick * 0.6)
                shape.limb(hip, foot, thick * 1.15, "body", thick * 0.85)
        forward, up, radius = self.neck
        shoulder = np.array([0, -long * 0.75, middle + tall * 0.35])
        centre = shoulder + (0, -forward * u(0.9, 1.1), up * u(0.9, 1.1))
        shape.limb(tuple(shoulder), tuple(centre), radius * 1.25, "body", radius)
        shape.ball(tuple(centre), head)
        nose = centre + (0, -head[1] * 0.8 - snout[1] * 0.3, -head[2] * 0.25)
        shape.ball(tuple(nose), snout, muzzle)
        for x in (-1, 1):
            eye = centre + (x * head[0] * 0.72, -head[1] * 0.68, head[2] * 0.28)
            shape.ball(tuple(eye), head[0] * 0.17, "dark")
            nostril = nose + (x * snout[0] * 0.4, -snout[1] * 0.93, snout[2] * 0.2)
            shape.ball(tuple(nostril), snout[0] * 0.15, "dark")
            side = centre + (x * head[0] * 0.8, head[1] * 0.2, head[2] * 0.7)
            if ears == "floppy":
                shape.ball(tuple(side + (x * 0.07, 0, -0.12)), (0.07, 0.1, 0.2), turn=0.4 * x, axis=(0, 1, 0))
            elif ears == "pointed":
                shape.rod(tuple(side - (x * 0.06, 0, 0.05)), tuple(side + (x * 0.02, 0, 0.26)), 0.12, "body", 0.01)
            elif ears == "long":
                shape.ball(tuple(side + (-x * 0.1, 0, 0.35)), (0.08, 0.06, 0.42))
            elif ears == "round":
                shape.ball(tuple(side + (0, 0, 0.05)), (0.13, 0.06, 0.13))
            elif ears == "huge":
                shape.ball(tuple(side + (x * 0.2, 0.05, -0.15)), (0.3, 0.06, 0.36))
            elif ears in ("cow", "giraffe"):
                shape.ball(tuple(side + (x * 0.12, 0, -0.08)), (0.16, 0.05, 0.08))
                if ears == "cow":
                    shape.limb(tuple(side + (-x * 0.08, 0, 0.02)), tuple(side + (x * 0.06, 0, 0.2)), 0.05, "horn", 0.02)
                else:
                    shape.limb(tuple(side + (-x * 0.1, 0, 0)), tuple(side + (-x * 0.1, 0, 0.16)), 0.03, "horn", 0.045)
        rump = np.array([0, long * 0.95, middle + tall * 0.35])
        if tail == "long":
            shape.limb(tuple(rump), tuple(rump + (0, 0.16, -0.5)), 0.04, "body", 0.03)
            shape.ball(tuple(rump + (0, 0.17, -0.56)), (0.06, 0.06, 0.12), "dark" if random.random() < 0.3 else "body")
        elif tail == "up":
            shape.limb(tuple(rump), tuple(rump + (0, 0.2, u(0.3, 0.6))), 0.06, "body", 0.04)
        elif tail == "bushy":
            shape.ball(tuple(rump + (0, 0.2, -0.2)), (0.12, 0.16, 0.4), turn=0.4)
        else:
            shape.ball(tuple(rump + (0, 0.05, 0)), 0.12)


cow = Animal(
    body=(0.42, 0.8, 0.42),
    leg=0.5,
    thick=0.12,
    neck=(0.3, 0.25, 0.2),
    head=(0.22, 0.27, 0.24),
    snout=(0.18, 0.17, 0.15),
    ears=("cow",),
    tail="long",
    muzzle="pink",
)
horse = Animal(
    body=(0.33, 0.78, 0.36),
    leg=0.8,
    thick=0.09,
    neck=(0.42, 0.6, 0.16),
    head=(0.15, 0.24, 0.18),
    snout=(0.12, 0.22, 0.12),
    ears=("pointed",),
    tail="bushy",
)
dog = Animal(
    body=(0.28, 0.6, 0.3),
    leg=0.45,
    thick=0.09,
    neck=(0.2, 0.35, 0.16),
    head=(0.25, 0.26, 0.25),
    snout=(0.13, 0.2, 0.12),
    ears=("floppy", "pointed"),
    tail="up",
)
cat = Animal(
    body=(0.23, 0.52, 0.24),
    leg=0.4,
    thick=0.07,
    neck=(0.16, 0.28, 0.12),
    head=(0.27, 0.23, 0.23),
    snout=(0.1, 0.08, 0.08),
    ears=("pointed",),
    tail="up",
)
pig = Animal(
    body=(0.46, 0.72, 0.45),
    leg=0.28,
    thick=0.12,
    neck=(0.2, 0.1, 0.26),
    head=(0.3, 0.28, 0.28),
    snout=(0.14, 0.12, 0.12),
    ears=("pointed",),
    tail="short",
    muzzle="pink",
)
sheep = Animal(
    body=(0.48, 0.68, 0.48),
    leg=0.4,
    thick=0.08,
    neck=(0.22, 0.2, 0.2),
    head=(0.19, 0.25, 0.21),
    snout=(0.13, 0.13, 0.12),
    ears=("floppy",),
    tail="short",
    fur=("body", "fleece"),
)
four_legs_of_elephant = Animal(
    body=(0.56, 0.78, 0.56),
    leg=0.5,
    thick=0.19,
    neck=(0.25, 0.2, 0.3),
    head=(0.34, 0.34, 0.36),
    snout=(0.15, 0.16, 0.16),
    ears=("huge",),
    tail="long",
)
giraffe = Animal(
    body=(0.3, 0.58, 0.34),
    leg=0.9,
    thick=0.085,
    neck=(0.35, 1.15, 0.12),
    head=(0.14, 0.2, 0.15),
    snout=(0.1, 0.16, 0.1),
    ears=("giraffe",),
    tail="long",
)
rabbit = Animal(
    body=(0.32, 0.45, 0.34),
    leg=0.15,
    thick=0.11,
    neck=(0.12, 0.26, 0.2),
    head=(0.26, 0.26, 0.25),
    snout=(0.11, 0.09, 0.09),
    ears=("long",),
    tail="short",
)
bear = Animal(
    body=(0.5, 0.72, 0.5),
    leg=0.38,
    thick=0.17,
    neck=(0.26, 0.2, 0.26),
    head=(0.31, 0.3, 0.3),
    snout=(0.15, 0.17, 0.13),
    ears=("round",),
    tail="short",
)


def elephant(shape: Shape, random: Random) -> None:
    four_legs_of_elephant(shape, random)
    ball = shape.parts[3][0].bounds  # the trunk hangs before everything else
    front = float(min(mesh.bounds[0][1] for mesh, _, _ in shape.parts))
    shape.limb((0, front + 0.1, 1.15), (0, front - 0.08, 0.65), 0.13, "body", 0.1)
    shape.limb((0, front - 0.08, 0.65), (0, front - 0.1, max(0.3, float(ball[0][2]))), 0.1, "body", 0.08)


def duck(shape: Shape, random: Random) -> None:
    u = random.uniform
    shape.ball((0, 0.1, 0.5), (0.48, u(0.7, 0.85), 0.45))
    shape.ball((0, 0.85, 0.72), (0.2, 0.25, 0.12), turn=0.5)
    up = u(1.05, 1.3)
    shape.limb((0, -0.45, 0.7), (0, -0.5, up), 0.22)
    shape.ball((0, -0.5, up), u(0.28, 0.34))
    shape.ball((0, -0.85, up - 0.03), (0.15, 0.2, 0.06), "orange")
    for x in (-1, 1):
        shape.ball((x * 0.2, -0.72, up + 0.1), 0.055, "dark")
        shape.ball((x * 0.45, 0.15, 0.58), (0.1, 0.5, 0.28))


def bird(shape: Shape, random: Random) -> None:
    u = random.uniform
    shape.ball((0, 0, 0.75), (0.36, 0.55, 0.4), turn=0.35)
    shape.ball((0, -0.42, 1.15), u(0.25, 0.3))
    shape.rod((0, -0.65, 1.13), (0, -0.92, 1.08), 0.09, "yellow", 0.01)
    shape.box((0, 0.72, 0.5), (0.26, 0.55, 0.06), turn=-0.45)
    for x in (-1, 1):
        shape.ball((x * 0.17, -0.58, 1.23), 0.05, "dark")
        shape.ball((x * 0.34, 0.12, 0.78), (0.08, 0.45, 0.24), turn=0.45)
        shape.rod((x * 0.13, 0, 0.45), (x * 0.13, -0.02, 0.0), 0.03, "orange")
        shape.box((x * 0.13, -0.1, 0.02), (0.14, 0.26, 0.04), "orange")


def fish(shape: Shape, random: Random) -> None:
    u = random.uniform
    tall = u(0.4, 0.6)
    shape.ball((0, 0, 0.7), (0.26, u(0.75, 0.95), tall))
    tail = np.array([(x, y, 0.7 + z) for x in (-0.03, 0.03) for y, z in ((0.7, 0.0), (1.25, 0.42), (1.25, -0.42))])
    shape.add(trimesh.convex.convex_hull(tail), "orange" if random.random() < 0.3 else "body", False)
    fin = np.array(
        [(x, y, 0.7 + z) for x in (-0.02, 0.02) for y, z in ((-0.3, tall * 0.8), (0.4, tall * 0.7), (0.3, tall + 0.28))]
    )
    shape.add(trimesh.convex.convex_hull(fin), "body", False)
    for x in (-1, 1):
        shape.ball((x * 0.17, -0.58, 0.82), 0.1, "white")
        shape.ball((x * 0.2, -0.64, 0.82), 0.065, "dark")


def turtle(shape: Shape, random: Random) -> None:
    u = random.uniform
    angles = np.linspace(0, np.pi / 2, 7)
    shape.lathe([(0.85 * np.cos(a), 0.25 + u(0.6, 0.65) * np.sin(a)) for a in angles[:-1]] + [(0, 0.87)])
    shape.ball((0, 0, 0.26), (0.8, 0.85, 0.12), "horn")
    shape.limb((0, -0.7, 0.35), (0, -1.0, 0.5), 0.15, "green")
    shape.ball((0, -1.1, 0.54), (0.2, 0.25, 0.19), "green")
    for x in (-1, 1):
        shape.ball((x * 0.13, -1.25, 0.62), 0.045, "dark")
        for y in (-0.55, 0.55):
            shape.ball((x * 0.65, y, 0.16), (0.22, 0.2, 0.15), "green")
