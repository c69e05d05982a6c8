"""Which physics makes a generative model: equations as data, whether they are valid, and their exact fields.

Liu, Luo, Xu, Jaakkola, Tegmark, "GenPhys: From Physical Processes to Generative Models" (2023); Xu's thesis, ch. 9. An
equation for φ, started as the data, is read as that of a density p which flows with a velocity v while R is born:
∂p/∂t + ∇·(p v) = R. Followed back from a late time, p leads to the data, if (a) p ≥ 0, a density, and (b) all detail
fades: Im ω(k) < Im ω(0) for all k > 0 on one branch of the dispersion relation (Eq. 9.8). Either alone is not enough.

All is for the plane (N = 2), for one charge at a distance r after a time t; NumPy, for toys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers: TypeAlias = NDArray[np.float64]
Radial: TypeAlias = Callable[[Numbers, float], Numbers]
"""Of distances r [...] at a time t: [...]."""
LIKE_NOTHING = 1e-9
LARGEST_GROWTH = 1.0  # ln, of one step: where a density ends, the rate that births have of it is not bounded


@dataclass(frozen=True)
class Physics:
    """One equation.

    Attributes:
        name, equation: to be shown.
        growth: Im ω(k) of wave numbers k ≥ 0, of the branch that is followed; below 0, they fade.
        density: p of one charge; None where it has no closed form.
        flux: p v of one charge, outward.
        births: R of one charge; None where nothing is born and nothing dies.
        reach: the largest √(r² + t²) that the equation is taken to; detail need not fade beyond it.
        front: whether charges spread at the speed 1 and no faster, with a part of their density on the front.
    """

    name: str
    equation: str
    growth: Callable[[Numbers], Numbers]
    density: Radial | None = None
    flux: Radial | None = None
    births: Radial | None = None
    reach: float = np.inf
    front: bool = False

    def smooths(self) -> bool:
        """Whether Im ω(k) < Im ω(0) for every k > 0 (Eq. 9.8)."""
        k = np.geomspace(1e-3, 1e3, 4001)
        return bool((self.growth(k) < self.growth(np.zeros(1)) - 1e-12).all())

    def negative_share(self, time: float, radius: float = 8.0) -> float | None:
        """How much of ∫|p| is negative at a time, out to a distance; None where p has no closed form."""
        if self.density is None:
            return None
        limit = min(radius, np.sqrt(max(self.reach**2 - time**2, 1e-12)), 0.999 * time if self.front else np.inf)
        r = np.linspace(limit / 20_000, limit, 20_000)
        mass = r * self.density(r, time)
        return float(-mass[mass < 0].sum() / np.abs(mass).sum())

    def verdict(self, times: tuple[float, ...] = (0.5, 1.0, 2.0)) -> str:
        """ "yes", with how far, or why it makes no generative model."""
        if np.isinf(self.reach) and not self.smooths():
            return "no: detail never fades, Im ω(k) is not below Im ω(0)"
        shares = [self.negative_share(time) for time in times if time < self.reach]
        if None in shares:
            return "yes by its dispersion; no closed form"
        worst = max(share for share in shares if share is not None)
        if worst > 0.01:
            return f"no: up to {100 * worst:.0f} % of p is negative"
        return "yes" if np.isinf(self.reach) else f"yes, while √(r² + t²) ≤ {self.reach:.3g}"


def field(physics: Physics, points: Numbers, charges: Numbers, time: float) -> tuple[Numbers, Numbers]:
    """Velocity [K, 2] and rate of birth R / p [K] at points [K, 2], of charges [M, 2] together."""
    assert physics.density is not None and physics.flux is not None
    offset = points[:, None] - charges[None]
    distance = np.linalg.norm(offset, axis=2)
    outward = offset / np.maximum(distance, 1e-12)[..., None]
    p = physics.density(distance, time).sum(1)
    flux = (physics.flux(distance, time)[..., None] * outward).sum(1)
    born = np.zeros(len(points)) if physics.births is None else physics.births(distance, time).sum(1)
    there = p > LIKE_NOTHING
    velocity = flux / np.where(there, p, 1.0)[:, None]
    if physics.front:  # behind every front, or on one: carried along with the nearest
        nearest = outward[np.arange(len(points)), distance.argmin(1)]
        velocity = np.where(there[:, None], velocity, nearest)
    return velocity, np.where(there, born / np.where(there, p, 1.0), 0.0)


def draw_late(physics: Physics, charges: Numbers, count: int, time: float, generator: np.random.Generator) -> Numbers:
    """[count, 2] exact draws of p at a late time: a charge, and a distance from it by the integral of 2πr p."""
    assert physics.density is not None
    limit = min(400 * time, np.sqrt(max(physics.reach**2 - time**2, 0.0)), 0.999 * time if physics.front else np.inf)
    r = np.concatenate([[0.0], np.geomspace(1e-4 * limit, limit, 20_000)])
    mass = np.maximum(r * physics.density(np.maximum(r, 1e-12), time), 0.0)
    total = np.concatenate([[0.0], np.cumsum((mass[1:] + mass[:-1]) / 2 * np.diff(r))])
    distance = np.interp(generator.random(count) * total[-1], total, r)
    angle = 2 * np.pi * generator.random(count)
    around = distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return charges[generator.integers(len(charges), size=count)] + around


def draw_back(
    physics: Physics,
    charges: Numbers,
    count: int,
    times: tuple[float, float],
    steps: int,
    generator: np.random.Generator,
) -> Numbers:
    """Points [K, 2] followed back from a late time to an early one: x' = v, by Heun's steps evenly in log t.

    Where density dies on its way out, points are doubled on their way back, and where it is born they are dropped:
    K / count is what that does to the density's integral. Density that dies fast is made of few points that are
    doubled often: of what lies far out too little comes back, unless the count is large or the late time early.
    """
    levels = np.geomspace(*times, steps + 1)
    points = draw_late(physics, charges, count, times[0], generator)
    for time, after in pairwise(levels.tolist()):
        velocity, rate = field(physics, points, charges, time)
        ahead, rate_ahead = field(physics, points + (after - time) * velocity, charges, after)
        points = points + (after - time) * (velocity + ahead) / 2
        if physics.births is not None:
            growth = np.exp(np.clip((after - time) * (rate + rate_ahead) / 2, -LARGEST_GROWTH, LARGEST_GROWTH))
            copies = np.floor(growth + generator.random(len(points))).astype(np.int64)
            points = np.repeat(points, copies, axis=0)
    return points


# The equations of Table 9.1


def _out_of(potential_slope: Radial) -> tuple[Radial, Radial]:
    """p = −∂φ/∂t and p v = −∂φ/∂r of a φ that depends on R = √(r² + t²) alone: −φ'(R) t / R and −φ'(R) r / R."""
    return (lambda r, t: t * potential_slope(r, t)), (lambda r, t: r * potential_slope(r, t))


def diffusion() -> Physics:
    """φ_t = ∇²φ."""

    def density(r: Numbers, t: float) -> Numbers:
        return np.exp(-(r**2) / (4 * t)) / (4 * np.pi * t)

    return Physics("diffusion", "φ_t = ∇²φ", lambda k: -(k**2), density, lambda r, t: r / (2 * t) * density(r, t))


def poisson() -> Physics:
    """φ_tt + ∇²φ = 0, φ = 1 / 2πR: PFGM."""
    density, flux = _out_of(lambda r, t: 1 / (2 * np.pi * (r**2 + t**2) ** 1.5))
    return Physics("Poisson", "φ_tt + ∇²φ = 0", lambda k: -k, density, flux)


def yukawa(mass: float = 1.0) -> Physics:
    """φ_tt + ∇²φ = m²φ, φ = e^(−mR) / 2πR: density dies by R = −m²φ."""

    def slope(r: Numbers, t: float) -> Numbers:
        distance = np.sqrt(r**2 + t**2)
        return np.exp(-mass * distance) * (1 + mass * distance) / (2 * np.pi * distance**3)

    def births(r: Numbers, t: float) -> Numbers:
        distance = np.sqrt(r**2 + t**2)
        return -(mass**2) * np.exp(-mass * distance) / (2 * np.pi * distance)

    return Physics("Yukawa", "φ_tt + ∇²φ = m²φ", lambda k: -np.sqrt(k**2 + mass**2), *_out_of(slope), births=births)


def helmholtz(wave: float = 1.0) -> Physics:
    """φ_tt + ∇²φ = −k₀²φ, φ = cos(k₀R) / 2πR: a density as far as cos x + x sin x > 0, x = k₀R: to 2.798."""

    def slope(r: Numbers, t: float) -> Numbers:
        phase = wave * (distance := np.sqrt(r**2 + t**2))
        return (np.cos(phase) + phase * np.sin(phase)) / (2 * np.pi * distance**3)

    def births(r: Numbers, t: float) -> Numbers:
        distance = np.sqrt(r**2 + t**2)
        return wave**2 * np.cos(wave * distance) / (2 * np.pi * distance)

    return Physics(
        "Helmholtz", "φ_tt + ∇²φ = −k₀²φ", lambda k: -np.sqrt(np.maximum(k**2 - wave**2, 0)), *_out_of(slope),
        births=births, reach=2.798386 / wave,
    )  # fmt: skip


def damped_wave(damping: float = 40.0) -> Physics:
    """φ_tt + 2εφ_t = ∇²φ, φ = e^(−εt) cosh(εs) / 2πs, s² = t² − r²; p = φ_t + 2εφ, p v = −∇φ."""

    def terms(r: Numbers, t: float) -> tuple[Numbers, Numbers, Numbers]:
        inside = r < t
        s = np.sqrt(np.where(inside, t**2 - r**2, 1.0))
        grown, fallen = np.exp(damping * (s - t)), np.exp(-damping * (s + t))
        return np.where(inside, s, np.inf), (grown + fallen) / 2, (grown - fallen) / 2

    def density(r: Numbers, t: float) -> Numbers:
        s, even, odd = terms(r, t)
        return (damping * even / s + t * (damping * odd - even / s) / s**2) / (2 * np.pi)

    def flux(r: Numbers, t: float) -> Numbers:
        s, even, odd = terms(r, t)
        return r * (damping * odd - even / s) / s**2 / (2 * np.pi)

    def growth(k: Numbers) -> Numbers:
        return -damping + np.sqrt(np.maximum(damping**2 - k**2, 0))

    return Physics("damped wave", "φ_tt + 2εφ_t = ∇²φ", growth, density, flux, front=True)


def wave() -> Physics:
    """φ_tt = ∇²φ: ω = ±k."""
    return Physics("wave", "φ_tt = ∇²φ", np.zeros_like)


def schroedinger() -> Physics:
    """i φ_t = −∇²φ: ω = k²."""
    return Physics("Schrödinger", "iφ_t + ∇²φ = 0", np.zeros_like)


def between(a: float = 1.0, b: float = 1.0) -> Physics:
    """aφ_tt − bφ_t + ∇²φ = 0: Poisson's where b = 0, diffusion's where a = 0."""

    def growth(k: Numbers) -> Numbers:
        return (b - np.sqrt(b**2 + 4 * a * k**2)) / (2 * a)

    return Physics("between", "aφ_tt − bφ_t + ∇²φ = 0", growth)


def biharmonic() -> Physics:
    """φ_t = −∇⁴φ: detail fades, and yet p changes its sign."""
    k, share = np.polynomial.legendre.leggauss(400)

    def density(r: Numbers, t: float) -> Numbers:
        top = (36 / t) ** 0.25  # e^(−36) is left
        waves, weights = top * (k + 1) / 2, top * share / 2
        return special.j0(np.multiply.outer(r, waves)) @ (weights * waves * np.exp(-(waves**4) * t)) / (2 * np.pi)

    return Physics("biharmonic", "φ_t = −∇⁴φ", lambda k: -(k**4), density)


def table() -> tuple[Physics, ...]:
    """All of them."""
    return (
        diffusion(), poisson(), yukawa(), helmholtz(), damped_wave(), between(), biharmonic(), wave(), schroedinger(),
    )  # fmt: skip
