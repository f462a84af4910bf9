"""A scar in the wall of the synthetic heart: a territory whose scar starts at the endocardium."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.synthetic.heart import MYOCARDIAL_DENSITY_G_PER_ML, Heart
from models.synthetic.section import Section
from models.synthetic.view import Float, Float32

Int = npt.NDArray[np.integer]

# Mid-septum is 0, anterior positive: the usual territories of LAD, RCA and circumflex.
_TERRITORIES_DEG = (55.0, -110.0, 180.0)
_ANGLES = np.radians(np.arange(0.25, 360, 0.5) - 180)
# AHA numbers from the anterior insertion over the septum, and from the septum towards inferior.
_SIX, _FOUR = (2, 3, 4, 5, 6, 1), (14, 15, 16, 13)


@dataclass(frozen=True, slots=True)
class Lesion:
    """One scar; angles in rad and levels in mm as in `models.synthetic.heart`.

    Attributes
    ----------
    angle, half_angle : where its middle lies, and how far it reaches to either side
    middle_mm, half_length_mm : the same along the long axis
    depth : share of the wall that is scar at the middle
    core : whether a no-reflow core lies in it
    """

    angle: float
    half_angle: float
    middle_mm: float
    half_length_mm: float
    depth: float
    core: bool

    def reach(self, angle: Float, level_mm: float) -> Float:
        """Share of the wall, from the endocardium, that is scar at an angle and a level."""
        return np.asarray(self.depth * self._profile(angle, level_mm, 1.0))

    def edges_mm(self, section: Section) -> tuple[Float32, Float32, Float32, Float32]:
        """Signed distances [y, x] to endocardium, core start, core end and the scar's outer edge.

        Each is positive towards the cavity.
        """
        edges = section.at(0)
        endo = np.maximum(edges.endo_mm, -section.radius_mm)  # no cavity: from the axis
        wall = edges.epi_mm - endo
        scar = self.reach(section.angle, section.level_mm) * wall
        within = self._profile(section.angle, section.level_mm, 0.6) if self.core else 0.0
        start = (0.35 - 0.2 * within) * scar
        end = (0.35 + 0.2 * within) * scar
        return endo, _shift(endo, start), _shift(endo, end), _shift(endo, scar)

    def mass_g(self, heart: Heart) -> float:
        """Mass of the scar, core included, from the geometry of a heart held still."""
        levels = np.linspace(heart.base_mm[0], heart.apex_mm, 801)
        areas = [self._area_mm2(heart, float(level)) for level in (levels[1:] + levels[:-1]) / 2]
        volume_ml = sum(areas) * float(levels[1] - levels[0]) / 1000
        return volume_ml * MYOCARDIAL_DENSITY_G_PER_ML

    def transmurality(self, heart: Heart, levels_mm: Float) -> dict[int, float]:
        """Mean reach in each AHA segment over slices at these levels, base first."""
        shares: dict[int, list[Float]] = {}
        for place, level in enumerate(levels_mm):
            third = int(3 * (place + 0.5) / len(levels_mm))
            numbers = _segments(_half_septum(heart, float(level)), third)
            reach = self.reach(_ANGLES, float(level))
            for number in np.unique(numbers):
                shares.setdefault(int(number), []).append(reach[numbers == number])
        return {n: float(np.concatenate(shares[n]).mean()) for n in sorted(shares)}

    def _profile(self, angle: Float, level_mm: float, size: float) -> Float:
        """1 at the middle, flat there, 0 from the border of the territory, scaled by `size`, on."""
        across = np.angle(np.exp(1j * (np.asarray(angle) - self.angle))) / self.half_angle
        along = (level_mm - self.middle_mm) / self.half_length_mm
        away = (across**2 + along**2) / size**2
        return np.asarray(np.sqrt(np.clip(1 - away**2, 0, None)))

    def _area_mm2(self, heart: Heart, level_mm: float) -> float:
        endo = heart.endo_radius_at(level_mm)[0] * heart.endo(_ANGLES)
        epi = heart.epi_radius_at(level_mm)[0] * heart.epi(_ANGLES)
        outer = endo + self.reach(_ANGLES, level_mm) * (epi - endo)
        return float(((outer**2 - endo**2) / 2).sum() * 2 * np.pi / len(_ANGLES))


def draw_lesion(random: np.random.Generator, heart: Heart, core: bool | None) -> Lesion:
    """Draw an infarct for a heart; a core needs most of the wall, so it is drawn with it."""
    uniform = random.uniform
    has_core = bool(random.random() < 0.4) if core is None else core
    length_mm = heart.apex_mm - float(heart.base_mm[0])
    territory = _TERRITORIES_DEG[int(random.integers(3))]
    return Lesion(
        angle=float(np.radians(territory + uniform(-15, 15))),
        half_angle=float(np.radians(uniform(50, 70))),
        middle_mm=float(heart.base_mm[0]) + length_mm * uniform(0.4, 0.55),
        half_length_mm=length_mm * uniform(0.33, 0.42),
        depth=uniform(0.85, 1.0) if has_core else uniform(0.7, 1.0),
        core=has_core,
    )


def _shift(endo_mm: Float32, depth_mm: Float) -> Float32:
    return np.asarray(endo_mm + depth_mm, dtype=np.float32)


def _half_septum(heart: Heart, level_mm: float) -> float:
    """Angle from mid-septum to either RV insertion at a level; below the RV that of its end."""
    share = float(np.clip(heart.rv_share_at(level_mm)[0], 0, 1))
    return heart.crescent.half_angle * (1 - 0.3 * share)


def _segments(half_septum: float, third: int) -> Int:
    """AHA segment at each of the angles in a slice of a third (0 base, 2 apex) of the LV."""
    if third == 2:
        quarter = np.floor((-_ANGLES / (np.pi / 2) + 0.5) % 4).astype(int)
        return np.asarray(np.array(_FOUR)[quarter])
    past = (half_septum - _ANGLES) % (2 * np.pi)  # from the anterior insertion over the septum
    free = (past - 2 * half_septum) / ((2 * np.pi - 2 * half_septum) / 4)
    part = np.where(past < 2 * half_septum, past / half_septum, 2 + free)
    return np.asarray(np.array(_SIX)[np.clip(part.astype(int), 0, 5)] + 6 * third)
