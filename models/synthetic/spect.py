"""Synthetic stress and rest tomograms of myocardial perfusion, and all that is true of them.

A tracer fills the wall of the left ventricle, an ellipsoid shell that is cut at the base, in
proportion to perfusion: a defect takes part of it away in the territory of a coronary artery
(Cerqueira MD et al., Circulation 2002;105:539), at stress alone (ischemia) or at rest as well
(infarction). Blood, the right ventricle, lungs, liver, spleen, stomach and gut take up their share.
The scanner blurs it to a full width at half maximum of 12 to 14 mm in all, part of it before the
counts are drawn from a Poisson distribution and part after, as a reconstruction with its filter
does; photons scattered in the body lay a wide veil over it, and the diaphragm or the breast
attenuates the inferior or the anterior wall, alike at stress and rest. What is drawn is invented;
nothing in it comes from a person. Ranges were chosen by the literature and by the look of four
real tomograms, from which no value was fitted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from models.spect_axis import SUPERIOR, TOWARDS_APEX, LeftVentricle, oriented
from models.synthetic.heart import Outline
from models.synthetic.perfusion import (
    KINDS,
    VIEWS,
    Defect,
    Kind,
    Unevenness,
    draw_defect,
    draw_unevenness,
    segment_of,
)
from models.tomogram import Float64, Tomogram, blurred

_POLAR_PARTS, _ANGLE_PARTS = 18, 36
_HIGHEST_STORED = 32767
_ISOCENTRE_MM = np.array([20.0, -20.0, 0.0])  # about the heart (LPS)


@dataclass(frozen=True, slots=True)
class Blob:
    """An organ: an ellipsoid with an uptake relative to that of healthy myocardium."""

    centre_mm: Float64
    half_mm: Float64
    uptake: float


@dataclass(frozen=True, slots=True)
class SyntheticSpect:
    """Stress and rest of one patient.

    Attributes
    ----------
    stress, rest : Tomogram
        Transaxial, counts scaled to 0 to 32767 of whole numbers, each by itself.
    ventricles : mapping of view to LeftVentricle
        Where the wall lies, in the coordinates of the tomograms.
    wall_mm : float
        Thickness of the wall.
    kind : {"normal", "ischemia", "infarction"}
    defect : Defect or None
    truth : mapping
        Numbers and names that are true of it, see `synthesise_spect`.
    seed : int
    """

    stress: Tomogram
    rest: Tomogram
    ventricles: Mapping[str, LeftVentricle]
    wall_mm: float
    kind: Kind
    defect: Defect | None
    truth: Mapping[str, object]
    seed: int


def synthesise_spect(
    seed: int,
    kind: Kind | None = None,
    *,
    voxel_mm: float | None = None,
    apart: bool = True,
) -> SyntheticSpect:
    """Draw a patient and take both tomograms.

    Parameters
    ----------
    seed : int
        The same seed and parameters give the same arrays.
    kind : {"normal", "ischemia", "infarction"}, optional
        Default: drawn, two in five normal, the others alike.
    voxel_mm : float, optional
        Default: drawn, 4 to 6.4.
    apart : bool
        The patient lies a little differently in the second tomogram.

    Returns
    -------
    SyntheticSpect
        Its truth holds `class`, `territory`, `extent` (share of the wall that loses at least half
        of the severity at stress), `severity`, `reversibility`, `attenuated_wall`, and the true
        uptake at stress and rest of the 17 AHA segments.
    """
    random = np.random.default_rng([seed, 0x5BEC7])
    drawn = KINDS[int(random.choice(3, p=(0.4, 0.3, 0.3)))]
    chosen = kind or drawn
    ventricle = _draw_ventricle(random)
    wall_mm = float(random.uniform(10.0, 14.5))
    defect = None if chosen == "normal" else draw_defect(random, chosen)
    attenuated = ("inferior", "anterior", "none")[int(random.choice(3, p=(0.5, 0.3, 0.2)))]
    body = _Body(
        wall_mm=wall_mm,
        defect=defect,
        attenuated=attenuated,
        attenuation=float(random.uniform(0.05, 0.25)),
        thinning=float(random.uniform(0.0, 0.25)),
        outline=Outline(
            random.uniform(0, 0.08),
            random.uniform(0, np.pi),
            random.uniform(0, 0.04),
            random.uniform(0, np.pi),
        ),
        unevenness={
            "both": draw_unevenness(random, 0.045),
            "stress": draw_unevenness(random, 0.012),
            "rest": draw_unevenness(random, 0.012),
        },
        fwhm_mm=float(random.uniform(12, 14)),
        veil=float(random.uniform(0.05, 0.2)),
        soft=float(random.uniform(0.08, 0.24)),
        blood=float(random.uniform(0.06, 0.16)),
        right=float(random.uniform(0.15, 0.45)),
    )
    grid = _grid(voxel_mm or float(random.choice((4.0, 4.8, 5.4, 6.4))))
    tomograms, ventricles = {}, {}
    for view in VIEWS:
        placed = _shifted(ventricle, random) if apart and view == "rest" else ventricle
        organs = _draw_organs(random, placed)
        density = float(random.uniform(8, 40) if view == "stress" else random.uniform(6, 30))
        tomograms[view] = _taken(
            grid, body, view, placed, organs=organs, density=density, random=random
        )
        ventricles[view] = replace(placed, base_mm=placed.base_mm + _ISOCENTRE_MM)
    return SyntheticSpect(
        stress=tomograms["stress"],
        rest=tomograms["rest"],
        ventricles=ventricles,
        wall_mm=wall_mm,
        kind=chosen,
        defect=defect,
        truth=_truth(chosen, defect, attenuated, body),
        seed=seed,
    )


@dataclass(frozen=True, slots=True)
class _Body:
    """What stays the same between stress and rest, and the scanner."""

    wall_mm: float
    defect: Defect | None
    attenuated: str
    attenuation: float
    thinning: float
    outline: Outline
    unevenness: Mapping[str, Unevenness]
    fwhm_mm: float
    veil: float
    soft: float
    blood: float
    right: float

    def uptake(self, angle: Float64, polar: Float64, view: str) -> Float64:
        """True uptake of the wall, 1 where it is healthy; without attenuation."""
        lost = 0.0 if self.defect is None else self.defect.reduction(angle, polar, view)
        uneven = self.unevenness["both"](angle, polar) * self.unevenness[view](angle, polar)
        return np.asarray(uneven * (1 - lost), dtype=np.float64)

    def passed(self, angle: Float64, polar: Float64) -> Float64:
        """Share of the photons of the wall that the body lets through."""
        if self.attenuated == "none":
            return np.ones_like(angle)
        middle = -np.pi / 2 if self.attenuated == "inferior" else np.pi / 2
        turn = (angle - middle + np.pi) % (2 * np.pi) - np.pi
        towards = 0.5 + 0.5 * np.cos(np.clip(turn, -np.pi, np.pi))
        share = towards**2 * np.clip(polar / 0.5, 0, 1)
        return np.asarray(1 - self.attenuation * share, dtype=np.float64)


def _draw_ventricle(random: np.random.Generator) -> LeftVentricle:
    usual = oriented(np.zeros(3), TOWARDS_APEX, SUPERIOR)
    sideways, upwards = np.clip(random.normal(0, 0.22, 2), -0.5, 0.5)
    axis = usual.axis + sideways * usual.right + upwards * usual.up
    radius_mm = float(random.uniform(21, 34))
    length_mm = radius_mm * float(random.uniform(2.3, 2.9))
    lv = oriented(random.normal(0, 12, 3), axis, SUPERIOR)
    base = lv.base_mm - 0.45 * length_mm * lv.axis
    return replace(lv, base_mm=base, radius_mm=radius_mm, length_mm=length_mm)


def _shifted(lv: LeftVentricle, random: np.random.Generator) -> LeftVentricle:
    """The same heart after the patient has got up and lain down again."""
    turned = oriented(lv.base_mm, lv.axis + random.normal(0, 0.05, 3), SUPERIOR)
    moved = lv.base_mm + random.normal(0, 4, 3)
    return replace(lv, base_mm=moved, axis=turned.axis, up=turned.up)


def _draw_organs(random: np.random.Generator, lv: LeftVentricle) -> tuple[Blob, ...]:
    """Liver, spleen, stomach and gut below the heart; their uptake differs between tomograms."""
    middle = lv.base_mm + 0.45 * lv.length_mm * lv.axis
    below = middle - np.array([0, 0, lv.radius_mm + 20])

    def blob(place: tuple[float, float, float], half: tuple[float, float], uptake: float) -> Blob:
        size = random.uniform(*half) * random.uniform(0.8, 1.2, 3)
        return Blob(below + place + random.normal(0, 8, 3), size, uptake)

    organs = [
        blob((-80, 0, -45), (55, 75), random.uniform(0.3, 1.1)),
        blob((65, 55, -50), (28, 38), random.uniform(0.2, 0.8)),
        blob((35, 5, -38), (22, 34), random.uniform(0.05, 0.5)),
    ]
    for _ in range(random.integers(0, 4)):
        place = tuple(random.uniform((-50, -30, -60), (60, 30, -22)))
        organs.append(blob(place, (9, 18), random.uniform(0.3, 1.6)))
    return tuple(organs)


def _grid(voxel_mm: float) -> Tomogram:
    """An empty transaxial volume about the heart, slices from head to foot."""
    across, slices = int(280 / voxel_mm), int(200 / voxel_mm)
    affine = np.diag([voxel_mm, voxel_mm, -voxel_mm, 1.0])
    reach = voxel_mm * (np.array([across, across, slices]) - 1) / 2
    affine[:3, 3] = reach * (-1, -1, 1)
    return Tomogram(np.zeros((slices, across, across), np.float32), affine)


def _taken(
    grid: Tomogram,
    body: _Body,
    view: str,
    lv: LeftVentricle,
    *,
    organs: tuple[Blob, ...],
    density: float,
    random: np.random.Generator,
) -> Tomogram:
    """The tomogram as it is stored; `density` is the counts of healthy wall per 64 cubic mm."""
    activity = _activity(grid, body, view, lv, organs)
    spacing = grid.spacing_mm
    collimated = blurred(activity, 0.7 * body.fwhm_mm, spacing)
    veil = body.veil * blurred(activity, 70.0, spacing)
    mean = np.clip(collimated + veil, 0, None) * density * float(np.prod(spacing)) / 64
    counts = random.poisson(mean).astype(np.float64)
    filtered = np.clip(blurred(counts, np.sqrt(1 - 0.7**2) * body.fwhm_mm, spacing), 0, None)
    across = grid.positions_mm()[..., :2]
    seen = (across**2).sum(axis=-1) <= (0.5 * 280 - 6) ** 2
    stored = np.rint(filtered * seen * (_HIGHEST_STORED / (filtered * seen).max()))
    affine = grid.affine.copy()
    affine[:3, 3] += _ISOCENTRE_MM
    return Tomogram(stored.astype(np.float32), affine)


def _activity(
    grid: Tomogram, body: _Body, view: str, lv: LeftVentricle, organs: tuple[Blob, ...]
) -> Float64:
    """Tracer concentration as far as it is seen, relative to healthy myocardium; [z, y, x]."""
    points, voxel_mm = grid.positions_mm(), grid.spacing_mm[0]
    trunk = np.hypot(points[..., 0] / 175, (points[..., 1] - 25) / 120)
    lung = points[..., 2] > lv.base_mm[2] - 20
    activity = np.where(trunk < 1, np.where(lung, 0.6 * body.soft, body.soft), 0.0)
    for organ in organs:
        distance = np.sqrt((((points - organ.centre_mm) / organ.half_mm) ** 2).sum(axis=-1))
        depth = np.clip(0.5 + (1 - distance) * organ.half_mm.mean() / voxel_mm, 0, 1)
        activity += depth * (organ.uptake - activity)
    angle, polar, offset, along = _about(points, lv, body.outline)
    closed = np.clip(0.5 + (1 - polar) * lv.length_mm / 2 / voxel_mm, 0, 1) * (along > -0.5)
    septal = np.clip(-np.cos(angle), 0, 1)
    closed *= np.clip(0.5 + (1 - 0.12 * septal - polar) * lv.length_mm / 2 / voxel_mm, 0, 1)
    thin = body.wall_mm * (1 - body.thinning * np.clip(1 - polar / 0.3, 0, 1))
    right = _cover(_right_offset(points, lv), 4.0, voxel_mm) * (offset > body.wall_mm / 2)
    activity = activity + right * (polar < 1) * (body.right - activity)
    inside = np.clip(0.5 - offset / voxel_mm, 0, 1) * (along > 0)
    activity = activity + inside * (body.blood - activity)
    wall = _cover(offset, thin, voxel_mm) * closed
    seen = body.uptake(angle, polar, view) * body.passed(angle, polar)
    return np.asarray(activity + wall * (seen - activity), dtype=np.float64)


def _cover(offset_mm: Float64, thickness_mm: Float64 | float, voxel_mm: float) -> Float64:
    """Share of voxels that a layer about an offset of 0 fills."""
    return np.asarray(np.clip(0.5 + (thickness_mm / 2 - np.abs(offset_mm)) / voxel_mm, 0, 1))


def _about(
    points: Float64, lv: LeftVentricle, outline: Outline
) -> tuple[Float64, Float64, Float64, Float64]:
    """Angle, polar, distance in mm from the middle of the wall, and share of the length."""
    half_mm, equator_mm = lv.half_mm, lv.length_mm - lv.half_mm
    away = points - lv.base_mm
    along = away @ lv.axis
    right, up = away @ lv.right, away @ lv.up
    angle = np.arctan2(up, right)
    across = np.hypot(right, up) / outline(angle)
    tilt = np.arctan2(across / lv.radius_mm, (along - equator_mm) / half_mm)
    stretched = np.hypot(across / lv.radius_mm, (along - equator_mm) / half_mm)
    slope = np.hypot(across / lv.radius_mm**2, (along - equator_mm) / half_mm**2)
    offset = (stretched - 1) * stretched / np.maximum(slope, 1e-9)
    return angle, tilt / lv.widest, offset, along / lv.length_mm


def _right_offset(points: Float64, lv: LeftVentricle) -> Float64:
    """Distance from the free wall of the right ventricle, in mm."""
    middle = lv.base_mm + 0.35 * lv.length_mm * lv.axis - 1.15 * lv.radius_mm * lv.right
    away = points - middle
    parts = (away @ lv.axis / (0.6 * lv.length_mm), away @ lv.right / (0.95 * lv.radius_mm),
             away @ lv.up / (1.05 * lv.radius_mm))  # fmt: skip
    return np.asarray((np.sqrt(sum(part**2 for part in parts)) - 1) * lv.radius_mm)


def _truth(kind: Kind, defect: Defect | None, attenuated: str, body: _Body) -> Mapping[str, object]:
    polar, angle = np.meshgrid(
        (np.arange(_POLAR_PARTS) + 0.5) / _POLAR_PARTS,
        (np.arange(_ANGLE_PARTS) + 0.5) * 2 * np.pi / _ANGLE_PARTS,
        indexing="ij",
    )
    area = np.sin(polar * np.pi / 2)
    segment = segment_of(angle, polar)
    truth: dict[str, object] = {"class": kind, "attenuated_wall": attenuated}
    if defect is not None:
        lost = defect.reduction(angle, polar, "stress") >= defect.severity / 2
        truth |= {
            "territory": defect.territory,
            "extent": round(float((area * lost).sum() / area.sum()), 4),
            "severity": round(defect.severity, 4),
            "reversibility": round(defect.reversibility, 4),
        }
    for view in VIEWS:
        uptake = body.uptake(angle, polar, view)
        truth[f"uptake_{view}"] = {
            str(number): round(
                float(np.average(uptake[segment == number], weights=area[segment == number])), 4
            )
            for number in range(1, 18)
        }
    return truth
