"""A synthetic late gadolinium enhancement short axis: the heart of a cine seed, with a scar.

Inversion recovery with nulled remote myocardium (Kellman P et al., MRM 2002;47:372): a tissue of
relaxation time T1 has the longitudinal magnetisation 1 - 2 exp(-TI/T1) + exp(-TR/T1) when it is
read. T1 are drawn about those met 10 to 15 minutes after contrast at 1.5 T (Biglands JD et al.,
JCMR 2012;14:66). A pixel sums the signed signals of what it holds; noise comes on both channels, so
that the magnitude is Rician and the phase-sensitive image Gaussian. What is drawn is invented;
nothing in it comes from a person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from models.synthetic.cine import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    Float32,
    Float64,
    Scene,
    UInt8,
    draw_person,
    draw_scene,
    slice_levels,
)
from models.synthetic.heart import MYOCARDIAL_DENSITY_G_PER_ML, Heart
from models.synthetic.lesion import Lesion, draw_lesion
from models.synthetic.section import Section
from models.synthetic.thorax import Organ, Thorax
from models.synthetic.view import View, cover

SCAR, NO_REFLOW = 5, 6
_PHASES, _DIASTASIS = 20, 15  # the cine of the same seed, and its phase that is imaged
_SCAR_INTENSITY = 1000.0
_COIL = 0.3  # what the scanner's normalisation leaves of the coils' unevenness
_T1_MS: Mapping[str, tuple[float, float]] = {
    "remote": (400, 500),
    "scar": (250, 300),
    "blood": (300, 345),
    "no_reflow": (430, 520),
    "fat": (240, 270),
    "muscle": (450, 520),
}


@dataclass(frozen=True, slots=True)
class SyntheticLge:
    """One synthetic stack of late enhancement and everything that is true of it.

    Attributes
    ----------
    signal : float32 [z, y, x]
        Signed signal without noise; slices run from the base (0) towards the apex.
    labels : uint8 [z, y, x]
        At each voxel centre: 0 background, 1 LV cavity, 2 myocardium without scar, 3 RV cavity,
        5 scar, 6 no-reflow.
    noise : float
        Standard deviation of the noise of each channel.
    pixel_spacing_mm : (row_mm, column_mm)
    slice_spacing_mm, slice_thickness_mm : float
        Centre to centre, and the slab that each slice averages over.
    inversion_time_ms, repetition_time_ms, trigger_delay_ms : float
    heart_rate_bpm, height_m, weight_kg : float
    truth : mapping of str to float
        `lge_lv_mass`, `scar_mass` (no-reflow included), `no_reflow_mass` (g) and `scar_percent`
        from the labels, and `scar_mass_analytic` from the geometry.
    transmurality : mapping of int to float
        Mean share of the wall that is scar, from the geometry, for each AHA segment that the
        slices show.
    seed : int
    """

    signal: Float32
    labels: UInt8
    noise: float
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    slice_thickness_mm: float
    inversion_time_ms: float
    repetition_time_ms: float
    trigger_delay_ms: float
    heart_rate_bpm: float
    height_m: float
    weight_kg: float
    truth: Mapping[str, float]
    transmurality: Mapping[int, float]
    seed: int

    @property
    def voxel_ml(self) -> float:
        """Volume one voxel stands for, slice gap included."""
        row_mm, column_mm = self.pixel_spacing_mm
        return row_mm * column_mm * self.slice_spacing_mm / 1000

    def acquire(self, repeat: int = 0) -> tuple[Float32, Float32]:
        """Magnitude and phase-sensitive image [z, y, x] of one acquisition, with its own noise."""
        random = np.random.default_rng([self.seed, 0x16E, repeat])
        noise = self.noise * random.standard_normal((2, *self.signal.shape), np.float32)
        real = np.asarray(self.signal + noise[0], dtype=np.float32)
        return np.hypot(real, noise[1]).astype(np.float32), real


def synthesise_lge(
    seed: int,
    *,
    slices: int = 12,
    rows: int = 224,
    columns: int = 224,
    pixel_spacing_mm: tuple[float, float] = (1.4, 1.4),
    slice_spacing_mm: float = 10.0,
    slice_thickness_mm: float = 5.0,
    scar: bool = True,
    no_reflow: bool | None = None,
    contrast_to_noise: float | None = None,
) -> SyntheticLge:
    """Draw the heart that `synthesise_cine` draws for a seed, in diastasis and after contrast.

    Parameters
    ----------
    seed : int
        The same seed and parameters give the same arrays.
    slices, rows, columns, pixel_spacing_mm, slice_spacing_mm, slice_thickness_mm
        As of `synthesise_cine`; with its slices and spacing the heart lies at the same place.
    scar : bool
        Without, the heart is healthy.
    no_reflow : bool, optional
        Whether the scar has a dark core; default: drawn.
    contrast_to_noise : float, optional
        Signal of scar over remote myocardium, relative to the noise of a channel; default: drawn
        between 7 and 8.

    Raises
    ------
    ValueError
        When the slices do not hold a heart.
    """
    streams = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(7)]
    for_person, for_image, for_lesion, for_physics = streams[3:]
    cine = draw_scene(streams[:3], _PHASES, slices, slice_spacing_mm, slice_thickness_mm)
    heart_rate, height_m, weight_kg = draw_person(for_person)
    for_image.random(2)  # the cine's grain comes before its slices
    levels = slice_levels(for_image, cine.heart, slices, slice_spacing_mm)

    heart = _at_phase(cine.heart, _DIASTASIS)
    lesion = draw_lesion(for_lesion, heart, no_reflow) if scar else None
    repetition_ms = round(2 * 60_000 / heart_rate, 1)
    inversion_ms, signals = _draw_signals(for_physics, repetition_ms)
    scene = _enhanced(replace(cine, heart=heart), lesion, signals)
    view = View.of((rows, columns), pixel_spacing_mm, np.zeros(2), scene.look.angle)
    signal, labels = _painted(for_image, scene, lesion, view, levels)
    ratio = contrast_to_noise or float(for_physics.uniform(7, 8))
    lge = SyntheticLge(
        signal=signal * np.float32(_SCAR_INTENSITY),
        labels=labels,
        noise=_SCAR_INTENSITY * (1 - signals["remote"]) / ratio,
        pixel_spacing_mm=pixel_spacing_mm,
        slice_spacing_mm=slice_spacing_mm,
        slice_thickness_mm=slice_thickness_mm,
        inversion_time_ms=inversion_ms,
        repetition_time_ms=repetition_ms,
        trigger_delay_ms=round(60_000 / heart_rate * _DIASTASIS / _PHASES, 1),
        heart_rate_bpm=heart_rate,
        height_m=height_m,
        weight_kg=weight_kg,
        truth={},
        transmurality={} if lesion is None else lesion.transmurality(heart, _shown(labels, levels)),
        seed=seed,
    )
    return replace(lge, truth=_truth(lge, heart, lesion))


def _painted(
    random: np.random.Generator,
    scene: Scene,
    lesion: Lesion | None,
    view: View,
    levels: Sequence[float],
) -> tuple[Float32, UInt8]:
    """Signal and labels [z, y, x] of the slices at some levels."""
    signal = np.empty((len(levels), *view.shape), np.float32)
    labels = np.zeros(signal.shape, np.uint8)
    for z, level_mm in enumerate(levels):
        signal[z] = scene.signal(random, view, level_mm)[0]
        labels[z] = scene.label(view, level_mm)[0]
        if lesion is not None:
            _label_lesion(labels[z], lesion, scene, view, level_mm)
    return signal, labels


@dataclass(frozen=True, slots=True)
class _Overlay:
    """Turns remote myocardium into scar, and scar into its dark core, in a signal."""

    lesion: Lesion
    signals: Mapping[str, float]

    def __call__(self, section: Section, width_mm: float) -> Float32:
        """What to add to the signal of a section; [1, y, x]."""
        if not section.has_lv(0):
            return np.zeros((1, *section.radius_mm.shape), np.float32)
        endo, start, end, outer = self.lesion.edges_mm(section)
        scar = cover(outer, width_mm) - cover(endo, width_mm)
        core = cover(end, width_mm) - cover(start, width_mm)
        signals = self.signals
        added = scar * (signals["scar"] - signals["remote"])
        added += core * (signals["no_reflow"] - signals["scar"])
        return added[None].astype(np.float32)


def _label_lesion(labels: UInt8, lesion: Lesion, scene: Scene, view: View, level_mm: float) -> None:
    """Mark scar and core in the labels of a slice [y, x], in place."""
    centre = scene.look.centre_at(level_mm)
    window = view.window(centre)
    section = Section.of(scene.heart, level_mm, *view.polar(centre, window))
    if not section.has_lv(0):
        return
    _, start, end, outer = lesion.edges_mm(section)
    inner = labels[window]
    wall = inner == LV_MYOCARDIUM
    inner[wall & (outer > 0)] = SCAR
    inner[wall & (start <= 0) & (end > 0)] = NO_REFLOW


def _at_phase(heart: Heart, phase: int) -> Heart:
    """The heart held still in one phase of its cycle."""
    moving = [field.name for field in fields(Heart) if np.ndim(getattr(heart, field.name))]
    return replace(heart, **{name: getattr(heart, name)[[phase]] for name in moving})


def _draw_signals(
    random: np.random.Generator, repetition_ms: float
) -> tuple[float, Mapping[str, float]]:
    """Inversion time that nulls remote myocardium or is a little long, and signals; scar is 1."""
    t1_ms = {name: random.uniform(*limits) for name, limits in _T1_MS.items()}
    t1_ms["no_reflow"] = max(t1_ms["no_reflow"], t1_ms["remote"])
    remote = t1_ms["remote"]
    null_ms = remote * (np.log(2) - np.log1p(np.exp(-repetition_ms / remote)))
    inversion_ms = float(np.rint(null_ms * random.uniform(1.0, 1.05)))
    signals = {
        name: 1 - 2 * np.exp(-inversion_ms / t1) + np.exp(-repetition_ms / t1)
        for name, t1 in t1_ms.items()
    }
    return inversion_ms, {name: float(s / signals["scar"]) for name, s in signals.items()}


def _enhanced(scene: Scene, lesion: Lesion | None, signals: Mapping[str, float]) -> Scene:
    """Give a scene the signals after contrast, and its lesion."""
    blood, muscle = signals["blood"], signals["remote"]
    return replace(
        scene,
        thorax=_enhanced_thorax(scene.thorax, signals),
        look=replace(scene.look, blood=blood, rv_blood=blood, muscle=muscle, fat=signals["fat"]),
        overlay=None if lesion is None else _Overlay(lesion, signals),
    )


def _enhanced_thorax(thorax: Thorax, signals: Mapping[str, float]) -> Thorax:
    fat = signals["fat"]

    def enhanced(organs: tuple[Organ, ...], factor: float) -> tuple[Organ, ...]:
        return tuple(replace(organ, signal=factor * organ.signal) for organ in organs)

    return replace(
        thorax,
        muscle=signals["muscle"],
        fat=fat,
        lung=0.1 * signals["muscle"],
        pads=enhanced(thorax.pads, fat / thorax.fat),
        organs=enhanced(thorax.organs, signals["blood"]),
        vessels=enhanced(thorax.vessels, signals["blood"]),
        coils=tuple((x, y, reach, _COIL * gain) for x, y, reach, gain in thorax.coils),
    )


def _shown(labels: UInt8, levels: Sequence[float]) -> Float64:
    """Levels of the slices that show the cavity."""
    shown = (labels == LV_CAVITY).any(axis=(1, 2))
    return np.array([level for level, shows in zip(levels, shown, strict=True) if shows])


def _truth(lge: SyntheticLge, heart: Heart, lesion: Lesion | None) -> dict[str, float]:
    grams = lge.voxel_ml * MYOCARDIAL_DENSITY_G_PER_ML
    muscle, scar, core = (
        np.count_nonzero(lge.labels == label) for label in (LV_MYOCARDIUM, SCAR, NO_REFLOW)
    )
    return {
        "lge_lv_mass": float((muscle + scar + core) * grams),
        "scar_mass": float((scar + core) * grams),
        "no_reflow_mass": float(core * grams),
        "scar_percent": float(100 * (scar + core) / (muscle + scar + core)),
        "scar_mass_analytic": 0.0 if lesion is None else lesion.mass_g(heart),
    }
