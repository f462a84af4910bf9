"""Perfusion of the wall of a synthetic left ventricle: defects, unevenness, segments.

Places of the wall are an angle about the axis (0 lateral, pi / 2 anterior, pi septal) and a polar
coordinate from the apex (0) to the base (1), see `models.spect_axis.LeftVentricle.wall`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.tomogram import Float64

Kind = Literal["normal", "ischemia", "infarction"]
KINDS: tuple[Kind, ...] = ("normal", "ischemia", "infarction")
VIEWS = ("stress", "rest")


@dataclass(frozen=True, slots=True)
class Defect:
    """Where the wall takes up less tracer, and how much less.

    Attributes
    ----------
    territory : {"LAD", "LCX", "RCA"}
    angle, polar : float
        Its middle, see above.
    half_angle, half_polar : float
        From there to where half of the reduction is left.
    severity : float
        Share of the uptake that is gone at stress, in the middle of the defect.
    reversibility : float
        Share of that which comes back at rest.
    """

    territory: str
    angle: float
    polar: float
    half_angle: float
    half_polar: float
    severity: float
    reversibility: float

    def reduction(self, angle: Float64, polar: Float64, view: str) -> Float64:
        """Share of the uptake that is gone at places of the wall."""
        turn = (angle - self.angle + np.pi) % (2 * np.pi) - np.pi
        # Near the apex all angles meet: what is close in space is close to the defect.
        across = turn * np.sin(np.minimum(polar, 1) * np.pi / 2)
        reach = self.half_angle * np.sin(min(self.polar, 1) * np.pi / 2)
        distance = np.hypot(across / reach, (polar - self.polar) / self.half_polar)
        severity = self.severity * (1 if view == "stress" else 1 - self.reversibility)
        return np.asarray(severity / (1 + np.exp((distance - 1) / 0.12)), dtype=np.float64)


def draw_defect(random: np.random.Generator, kind: Kind) -> Defect:
    """A defect of ischemia or infarction."""
    territory = ("LAD", "LCX", "RCA")[int(random.choice(3, p=(0.42, 0.25, 0.33)))]
    middle_deg = {"LAD": (85, 150), "LCX": (-35, 25), "RCA": (235, 290)}[territory]
    lowest = 0.3 if territory == "LAD" else 0.45
    reversible = kind == "ischemia"
    return Defect(
        territory=territory,
        angle=float(np.radians(random.uniform(*middle_deg))),
        polar=float(random.uniform(lowest, 0.7)),
        half_angle=float(np.radians(random.uniform(32, 70))),
        half_polar=float(random.uniform(0.25, 0.45)),
        severity=float(random.uniform(0.35, 0.8) if reversible else random.uniform(0.4, 0.9)),
        reversibility=float(random.uniform(0.7, 1.0) if reversible else random.uniform(0.0, 0.15)),
    )


@dataclass(frozen=True, slots=True)
class Unevenness:
    """Slow waves of uptake over the wall, about 1."""

    weights: Float64
    phases: Float64

    def __call__(self, angle: Float64, polar: Float64) -> Float64:
        """Factor at places of the wall."""
        uneven = np.ones_like(angle)
        for (around, along), weight in np.ndenumerate(self.weights):
            fade = np.clip(polar / 0.5, 0, 1) if around else 1.0  # all angles meet at the apex
            wave = np.cos(around * angle + np.pi * along * polar + self.phases[around, along])
            uneven += weight * fade * wave
        return np.asarray(np.clip(uneven, 0.3, None))


def draw_unevenness(random: np.random.Generator, sd: float) -> Unevenness:
    """Waves whose weights have this standard deviation."""
    return Unevenness(random.normal(0, sd, (4, 3)), random.uniform(0, 2 * np.pi, (4, 3)))


def segment_of(angle: Float64, polar: Float64) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    """AHA segment, 1 to 17, of places of the wall; see above."""
    sixth = np.floor(((angle - np.pi / 3) % (2 * np.pi)) / (np.pi / 3)).astype(int)
    quarter = np.floor(((angle - np.pi / 4) % (2 * np.pi)) / (np.pi / 2)).astype(int)
    basal, apical = sixth + 1, quarter + 13
    levels = (0.16, 0.44, 0.72)
    numbers = np.where(polar < levels[2], basal + 6, basal)
    numbers = np.where(polar < levels[1], apical, numbers)
    return np.asarray(np.where(polar < levels[0], 17, numbers), dtype=np.int8)
