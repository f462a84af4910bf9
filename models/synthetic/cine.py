"""A synthetic bSSFP short-axis cine of a beating heart, drawn from a seed, with exact labels.

Base to apex, atria and great vessels above the mitral plane, lung, liver and chest wall around.
What is drawn is invented; nothing in it comes from a person.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.synthetic.heart import MYOCARDIAL_DENSITY_G_PER_ML, Heart, Section, draw_heart
from models.synthetic.scene import (
    Look,
    View,
    coil_sensitivity,
    draw_look,
    paint_heart,
    paint_thorax,
    texture,
)

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
UInt8 = npt.NDArray[np.uint8]

LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY = 1, 2, 3
_SHORTEST_HEART_MM = 45.0
_PEAK = 1400.0  # intensity of blood near the heart, in stored units


@dataclass(frozen=True, slots=True)
class SyntheticCine:
    """One synthetic short-axis cine stack and everything that is true of it.

    Attributes
    ----------
    frames : float32 [t, z, y, x]
        Intensities of at least 0; slices run from the base (0) towards the apex.
    labels : uint8 [t, z, y, x]
        At each voxel centre: 0 background, 1 LV cavity (papillary muscles included),
        2 LV myocardium, 3 RV cavity.
    pixel_spacing_mm : (row_mm, column_mm)
    slice_spacing_mm, slice_thickness_mm : float
        Centre to centre, and the slab that each slice averages over.
    trigger_times_ms : float64 [t]
    heart_rate_bpm, height_m, weight_kg : float
    ed, es : int
        Zero-based phase indices.
    truth : mapping of str to float
        `lv_edv`, `lv_esv`, `lv_sv` (ml), `lv_ef` (%), `lv_mass` (g), `rv_edv`, `rv_esv`, `rv_sv`,
        `rv_ef` from the labels (voxels x slice spacing), and the same with the suffix
        `_analytic` from the geometry.
    """

    frames: Float32
    labels: UInt8
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    slice_thickness_mm: float
    trigger_times_ms: Float64
    heart_rate_bpm: float
    height_m: float
    weight_kg: float
    ed: int
    es: int
    truth: Mapping[str, float]

    @property
    def voxel_ml(self) -> float:
        """Volume one voxel stands for, slice gap included."""
        row_mm, column_mm = self.pixel_spacing_mm
        return row_mm * column_mm * self.slice_spacing_mm / 1000


def synthesise_cine(
    seed: int,
    *,
    slices: int = 12,
    phases: int = 20,
    rows: int = 192,
    columns: int = 192,
    pixel_spacing_mm: tuple[float, float] = (1.6, 1.6),
    slice_spacing_mm: float = 10.0,
    slice_thickness_mm: float | None = None,
    heart_offset_mm: tuple[float, float] = (0.0, 0.0),
    ed_phase: int = 0,
    breath_shift_mm: float = 0.0,
) -> SyntheticCine:
    """Draw the heart and thorax that belong to a seed, through one cardiac cycle.

    Parameters
    ----------
    seed : int
        The same seed and parameters give the same arrays.
    slices, phases : int
        At least one slice at either end shows no LV at any phase.
    rows, columns : int
    pixel_spacing_mm : (row_mm, column_mm)
        May differ from each other.
    slice_spacing_mm : float
        Centre to centre.
    slice_thickness_mm : float, optional
        Default: 80 % of the spacing.
    heart_offset_mm : (down_mm, right_mm)
        From the image centre to the heart; the whole scene moves.
    ed_phase : int
        Index at which end diastole is to lie; the cycle is rolled.
    breath_shift_mm : float
        Standard deviation of an in-plane shift per slice, as uneven breath-holds give.

    Raises
    ------
    ValueError
        When a heart does not fit: under two phases, an `ed_phase` outside them, a size or spacing
        that is not positive, or slices that span less than 45 mm besides the two at the ends.
    """
    thickness_mm = 0.8 * slice_spacing_mm if slice_thickness_mm is None else slice_thickness_mm
    _check(phases, ed_phase, (rows, columns, *pixel_spacing_mm, slice_spacing_mm, thickness_mm))
    longest_mm = (slices - 2) * slice_spacing_mm
    if longest_mm < _SHORTEST_HEART_MM:
        raise ValueError(f"{slices} slices {slice_spacing_mm} mm apart are too few for a heart")
    random = np.random.default_rng([seed, 0x5A])
    heart = draw_heart(random, phases, slice_spacing_mm, longest_mm)
    levels = _levels(random, heart, slices, slice_spacing_mm)
    look = draw_look(random, heart)
    frames = np.empty((phases, slices, rows, columns), np.float32)
    labels = np.zeros(frames.shape, np.uint8)
    noise_level = random.uniform(0.012, 0.04)
    for z, level in enumerate(levels):
        shift = np.asarray(heart_offset_mm) + breath_shift_mm * random.standard_normal(2)
        view = View.of(rows, columns, pixel_spacing_mm, shift, look.angle)
        labels[:, z] = _label(heart, look.centre_at(level), view, level)
        signal = _signal(random, heart, look, view, level, thickness_mm)
        frames[:, z] = _rician(random, signal * coil_sensitivity(look, view), noise_level)
    frames *= _PEAK
    return _gather(
        random, heart, frames, labels, pixel_spacing_mm, slice_spacing_mm, thickness_mm, ed_phase
    )


def _check(phases: int, ed_phase: int, sizes: tuple[float, ...]) -> None:
    if phases < 2 or not 0 <= ed_phase < phases:
        raise ValueError(f"no cycle of {phases} phases with end diastole at index {ed_phase}")
    if min(sizes) <= 0:
        raise ValueError("rows, columns, spacings and thickness must be positive")


def _levels(random: np.random.Generator, heart: Heart, slices: int, spacing_mm: float) -> Float64:
    """Slice centres along the long axis, mm; the mitral plane at ED lies midway between two."""
    with_lv = int(np.ceil(heart.apex_mm / spacing_mm - 0.5))
    above = 1 + random.integers(0, max(1, (slices - with_lv) // 2))
    return (np.arange(slices) - above + 0.5) * spacing_mm


def _label(heart: Heart, centre: tuple[float, float], view: View, level: float) -> UInt8:
    """Labels of one slice; [t, y, x]."""
    labels = np.zeros((len(heart.contraction), *view.shape), np.uint8)
    window = view.window(centre)
    section = Section.of(heart, level, *view.polar(centre, window))
    for phase, label in enumerate(labels):
        edges = section.at(phase)
        inner = label[window]
        inner[edges.rv_mm > 0] = RV_CAVITY
        inner[edges.epi_mm > 0] = LV_MYOCARDIUM
        inner[edges.endo_mm > 0] = LV_CAVITY
    return labels


def _signal(
    random: np.random.Generator,
    heart: Heart,
    look: Look,
    view: View,
    level: float,
    thickness_mm: float,
) -> Float32:
    """Tissue signal of one slice, averaged over its thickness; [t, y, x]."""
    still = paint_thorax(random, look, view, level)
    centre = look.centre_at(level)
    window = view.window(centre)
    frames = np.repeat(still[None], len(heart.contraction), axis=0)
    around = still[window]
    layers = [
        paint_heart(
            heart,
            look,
            Section.of(heart, depth, *view.polar(centre, window)),
            around,
            view.width_mm,
        )
        for depth in level + thickness_mm * np.array([-1 / 3, 0, 1 / 3])
    ]
    frames[(slice(None), *window)] = np.mean(layers, axis=0)
    return frames * texture(random, view, 0.06)


def _rician(random: np.random.Generator, signal: Float32, noise: float) -> Float32:
    """Magnitude of the signal with complex Gaussian noise."""
    real = signal + noise * random.standard_normal(signal.shape, np.float32)
    imaginary = noise * random.standard_normal(signal.shape, np.float32)
    return np.hypot(real, imaginary)


def _gather(
    random: np.random.Generator,
    heart: Heart,
    frames: Float32,
    labels: UInt8,
    pixel_spacing_mm: tuple[float, float],
    slice_spacing_mm: float,
    slice_thickness_mm: float,
    ed_phase: int,
) -> SyntheticCine:
    phases = len(frames)
    es = int(np.argmax(heart.contraction))
    heart_rate = round(random.uniform(50, 95))
    height_m = round(float(random.uniform(1.52, 1.95)), 2)
    cine = SyntheticCine(
        frames=np.roll(frames, ed_phase, axis=0),
        labels=np.roll(labels, ed_phase, axis=0),
        pixel_spacing_mm=pixel_spacing_mm,
        slice_spacing_mm=slice_spacing_mm,
        slice_thickness_mm=slice_thickness_mm,
        trigger_times_ms=np.arange(phases) * (60_000 / heart_rate / phases),
        heart_rate_bpm=float(heart_rate),
        height_m=height_m,
        weight_kg=round(float(random.uniform(19, 34)) * height_m**2, 1),
        ed=ed_phase,
        es=(es + ed_phase) % phases,
        truth={},
    )
    return replace(cine, truth=_truth(cine, heart, es))


def _truth(cine: SyntheticCine, heart: Heart, es: int) -> dict[str, float]:
    counted = {
        name: np.count_nonzero(cine.labels == label, axis=(1, 2, 3)) * cine.voxel_ml
        for name, label in (("lv", LV_CAVITY), ("rv", RV_CAVITY), ("shell", LV_MYOCARDIUM))
    }
    truth: dict[str, float] = {}
    for side, drawn in (("lv", heart.lv_ml), ("rv", heart.rv_ml)):
        truth |= _stroke(side, "", counted[side][cine.ed], counted[side][cine.es])
        truth |= _stroke(side, "_analytic", drawn[0], drawn[es])
    truth["lv_mass"] = float(counted["shell"][cine.ed]) * MYOCARDIAL_DENSITY_G_PER_ML
    truth["lv_mass_analytic"] = heart.myocardium_ml * MYOCARDIAL_DENSITY_G_PER_ML
    return truth


def _stroke(side: str, suffix: str, edv_ml: float, esv_ml: float) -> dict[str, float]:
    sv_ml = edv_ml - esv_ml
    values = {"edv": edv_ml, "esv": esv_ml, "sv": sv_ml, "ef": 100 * sv_ml / edv_ml}
    return {f"{side}_{name}{suffix}": float(value) for name, value in values.items()}
