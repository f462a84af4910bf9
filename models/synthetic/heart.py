"""Geometry and motion of the synthetic heart: lengths, radii and volumes per cardiac phase.

The left ventricle is a prolate ellipsoid cut at the mitral plane inside a shell of constant
volume; the right ventricle is a crescent on the septal side of the shell. Levels are measured in
mm along the long axis from the mitral plane at end diastole (0) towards the apex (positive);
angles in the short-axis plane in radians from the mid-septum (0) towards anterior (positive).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

MYOCARDIAL_DENSITY_G_PER_ML = 1.055
_WIDEST = 0.2  # share of the length below the base at which the ellipsoid is widest
_ROUNDEST_ML = 450.0  # no larger cavity in a heart of 95 mm; smaller hearts in proportion
_RV_REACH = 0.9  # the RV ends at this share of the epicardial length


def _disc_integral() -> float:
    """Integral of the squared ellipsoid profile over the normalised length."""
    cut = _WIDEST / (1 - _WIDEST)
    return (1 - _WIDEST) * ((1 + cut) - (1 + cut**3) / 3)


_ELLIPSOID_FACTOR = np.pi * _disc_integral()


def profile(share: Float64) -> Float64:
    """Relative radius at a share (0 base, 1 apex) of the length; 0 below the apex."""
    inside = 1 - ((share - _WIDEST) / (1 - _WIDEST)) ** 2
    return np.asarray(np.sqrt(np.clip(inside, 0, None)), dtype=np.float64)


def rv_profile(share: float) -> float:
    """Relative depth of the RV crescent at a share of its length."""
    inside = max(1 - max((share - 0.1) / 0.9, 0.0) ** 2, 0.0)
    return float(inside**0.65)


@dataclass(frozen=True, slots=True)
class Outline:
    """Cross-section of a wall: a circle with second and third harmonic, of the circle's area."""

    second: float
    second_angle: float
    third: float
    third_angle: float

    def __call__(self, angle: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Relative radius at an angle; its mean square is one, so areas stay exact."""
        wave = (
            1
            + self.second * np.cos(2 * (angle - self.second_angle))
            + self.third * np.cos(3 * (angle - self.third_angle))
        )
        return np.asarray(wave / np.sqrt(1 + (self.second**2 + self.third**2) / 2))


@dataclass(frozen=True, slots=True)
class Crescent:
    """Shape of the RV free wall over the septum: half opening angle and lean towards anterior."""

    half_angle: float
    lean: float

    def __call__(self, angle: npt.NDArray[np.floating], share: float) -> npt.NDArray[np.floating]:
        """Relative depth of the cavity at an angle, at a share of the RV length."""
        reach = self.half_angle * (1 - 0.3 * float(np.clip(share, 0, 1)))
        offset = np.clip(angle / reach, -1, 1)
        square = offset * offset
        depth = (1 - square) * (1 + 0.5 * square) * (1 + self.lean * offset)
        return np.asarray(depth * rv_profile(share))


@dataclass(frozen=True, slots=True)
class Heart:
    """One heart through its cycle; arrays have one value per cardiac phase.

    Attributes
    ----------
    contraction : float64 [t]
        0 at end diastole, 1 at end systole.
    lv_ml, rv_ml : float64 [t]
        Cavity volumes.
    myocardium_ml : float
        Volume of the LV shell, the same in every phase.
    base_mm : float64 [t]
        Level of the valve plane, mitral and tricuspid.
    endo_length_mm, epi_length_mm : float64 [t]
        Mitral plane to the apex of the cavity and of the shell.
    endo_radius_mm, epi_radius_mm, rv_depth_mm : float64 [t]
        Greatest radii of cavity and shell and greatest depth of the RV crescent.
    endo, epi : Outline
    crescent : Crescent
    """

    contraction: Float64
    lv_ml: Float64
    rv_ml: Float64
    myocardium_ml: float
    base_mm: Float64
    endo_length_mm: Float64
    epi_length_mm: Float64
    endo_radius_mm: Float64
    epi_radius_mm: Float64
    rv_depth_mm: Float64
    endo: Outline
    epi: Outline
    crescent: Crescent

    @property
    def phases(self) -> int:
        """Number of cardiac phases; ED is phase 0."""
        return len(self.contraction)

    @property
    def es(self) -> int:
        """Phase of end systole."""
        return int(np.argmax(self.contraction))

    @property
    def apex_mm(self) -> float:
        """Level of the epicardial apex, which does not move."""
        return float(self.base_mm[0] + self.epi_length_mm[0])

    @property
    def rv_apex_mm(self) -> float:
        """Level of the RV apex, which does not move."""
        return _RV_REACH * self.apex_mm

    def endo_radius_at(self, level_mm: float) -> Float64:
        """Radius of the cavity at a level, in mm; [t], 0 where there is none."""
        return self._radius_at(level_mm, self.endo_radius_mm, self.endo_length_mm)

    def epi_radius_at(self, level_mm: float) -> Float64:
        """Radius of the shell at a level, in mm; [t], 0 where there is none."""
        return self._radius_at(level_mm, self.epi_radius_mm, self.epi_length_mm)

    def rv_share_at(self, level_mm: float) -> Float64:
        """Share of the RV length at a level; [t], below 0 above the valve plane."""
        return (level_mm - self.base_mm) / (self.rv_apex_mm - self.base_mm)

    def _radius_at(self, level_mm: float, radius_mm: Float64, length_mm: Float64) -> Float64:
        share = (level_mm - self.base_mm) / length_mm
        return np.where(share >= 0, radius_mm * profile(share), 0.0)


def contraction_curve(phases: int, es: int, atrial_share: float) -> Float64:
    """Share of the stroke that is out of the ventricle, per phase; ED is phase 0.

    Ejection until `es`, early filling over a quarter of the cycle, diastasis, atrial filling.

    Parameters
    ----------
    phases, es : int
        Number of phases and index of end systole.
    atrial_share : float
        Share of the stroke volume that enters with the atrial contraction.

    Returns
    -------
    float64 [t]
        0 at ED, 1 at ES.
    """
    time = np.arange(phases) / phases
    end_systole = es / phases
    early = _step((time - end_systole) / 0.27)
    late = _step((time - 0.82) / 0.18)
    filling = (1 - atrial_share) * early + atrial_share * late
    return np.where(time <= end_systole, _step(time / end_systole), 1 - filling)


def draw_heart(
    random: np.random.Generator, phases: int, slice_spacing_mm: float, longest_mm: float
) -> Heart:
    """Draw an adult heart.

    The valve planes of ED and ES lie a whole number of slice spacings apart, so that a sum of
    discs meets the volumes at both.

    Parameters
    ----------
    random : numpy Generator
    phases : int
    slice_spacing_mm : float
    longest_mm : float
        The heart is at most this long at end diastole, base to epicardial apex; where that is too
        short for the cavity drawn, the heart is smaller.
    """
    ejection = random.uniform(0.20, 0.70)
    edv = random.uniform(80, 200) if ejection >= 0.45 else random.uniform(120, 260)
    edv = min(edv, _ROUNDEST_ML * (longest_mm / 95) ** 3)
    wall = random.uniform(7, 14) if ejection >= 0.45 else random.uniform(7, 11)
    es = max(1, round(random.uniform(0.30, 0.45) * phases))
    contraction = contraction_curve(phases, es, random.uniform(0.12, 0.30))
    apex_wall = 0.65 * wall
    length = min(86 * np.cbrt(edv / 150) * random.uniform(0.94, 1.06) + apex_wall, longest_mm)
    shortening = _whole(8 + 9 * (ejection - 0.2) / 0.5, slice_spacing_mm)
    lv_ml = edv * (1 - ejection * contraction)
    rv_edv = edv * random.uniform(0.95, 1.3) if ejection >= 0.45 else edv * random.uniform(0.65, 1)
    stroke = min(edv * ejection * random.uniform(0.93, 1.05), 0.75 * rv_edv)
    epi_length = length - shortening * contraction
    endo_length = epi_length - apex_wall * (1 + 0.3 * contraction)
    endo_radius = _radius(lv_ml, endo_length)
    shell_ml = _ELLIPSOID_FACTOR * (endo_radius[0] + wall) ** 2 * length / 1000 - edv
    second, second_angle = random.uniform(0, 0.05), random.uniform(0, np.pi)
    third, third_angle = random.uniform(0, 0.025), random.uniform(0, np.pi)
    rv_ml = rv_edv - stroke * contraction
    heart = Heart(
        contraction=contraction,
        lv_ml=lv_ml,
        rv_ml=rv_ml,
        myocardium_ml=float(shell_ml),
        base_mm=shortening * contraction,
        endo_length_mm=endo_length,
        epi_length_mm=epi_length,
        endo_radius_mm=endo_radius,
        epi_radius_mm=_radius(lv_ml + shell_ml, epi_length),
        rv_depth_mm=np.zeros(phases),
        endo=Outline(second, second_angle, third, third_angle),
        epi=Outline(0.6 * second, second_angle, 0.6 * third, third_angle),
        crescent=Crescent(np.radians(random.uniform(68, 84)), random.uniform(-0.3, 0.1)),
    )
    return _with_rv(heart)


def rv_quadrature(heart: Heart) -> tuple[Float64, Float64]:
    """Coefficients a, b [t] of the RV volume `a * depth + b * depth**2` (ml, depth in mm).

    The crescent lies between the shell at radius r and r + depth * q, so its cross-section is
    the integral over the angle of r * q * depth + (q * depth)**2 / 2.
    """
    shares = (np.arange(96) + 0.5) / 96
    angles = (np.arange(256) + 0.5) / 256 * 2 * np.pi - np.pi
    crescent = np.stack([heart.crescent(angles, share) for share in shares])
    outline = heart.epi(angles)
    length = heart.rv_apex_mm - heart.base_mm
    levels = heart.base_mm + np.outer(shares, length)
    below_base = (levels - heart.base_mm) / heart.epi_length_mm
    radius = heart.epi_radius_mm * profile(below_base)
    step = 2 * np.pi / len(angles) / len(shares) * length / 1000
    linear = (radius * (crescent @ outline)[:, None]).sum(0) * step
    return linear, np.full_like(length, (crescent**2).sum() / 2) * step


def _with_rv(heart: Heart) -> Heart:
    linear, square = rv_quadrature(heart)
    depth = (np.sqrt(linear**2 + 4 * square * heart.rv_ml) - linear) / (2 * square)
    return replace(heart, rv_depth_mm=depth)


def _radius(volume_ml: Float64, length_mm: Float64) -> Float64:
    """Greatest radius of the cut ellipsoid of this volume and length, in mm."""
    return np.sqrt(volume_ml * 1000 / (_ELLIPSOID_FACTOR * length_mm))


def _step(share: Float64) -> Float64:
    """Smooth step from 0 at 0 to 1 at 1."""
    share = np.clip(share, 0, 1)
    return share**2 * (3 - 2 * share)


def _whole(length_mm: float, spacing_mm: float) -> float:
    """Nearest whole number of spacings, at least one."""
    return max(1, round(length_mm / spacing_mm)) * spacing_mm
