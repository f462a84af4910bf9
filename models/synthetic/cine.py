"""A synthetic bSSFP short-axis cine of a beating heart, drawn from a seed, with exact labels.

Base to apex, atria and great vessels above the mitral plane, lung, liver and chest wall around.
What is drawn is invented; nothing in it comes from a person.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.synthetic.chambers import Look, Painter, draw_look
from models.synthetic.heart import MYOCARDIAL_DENSITY_G_PER_ML, Heart, draw_heart
from models.synthetic.section import Section
from models.synthetic.thorax import Thorax, draw_thorax
from models.synthetic.view import View, texture

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
UInt8 = npt.NDArray[np.uint8]

LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY = 1, 2, 3
_SHORTEST_HEART_MM = 30.0
_BLOOD = 1000.0  # intensity of blood at the heart


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
        that is not positive, or slices that span less than 30 mm besides the two at the ends.
    """
    thickness_mm = 0.8 * slice_spacing_mm if slice_thickness_mm is None else slice_thickness_mm
    _check(phases, ed_phase, (rows, columns, *pixel_spacing_mm, slice_spacing_mm, thickness_mm))
    streams = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(5)]
    for_person, for_image = streams[3:]
    scene = draw_scene(streams[:3], phases, slices, slice_spacing_mm, thickness_mm)
    heart = scene.heart
    frames = np.empty((phases, slices, rows, columns), np.float32)
    labels = np.zeros(frames.shape, np.uint8)
    grain = _Grain(for_image.uniform(0.012, 0.045), for_image.uniform(0.0, 0.15))
    for z, level_mm in enumerate(slice_levels(for_image, heart, slices, slice_spacing_mm)):
        shift_mm = np.asarray(heart_offset_mm) + breath_shift_mm * for_image.standard_normal(2)
        view = View.of((rows, columns), pixel_spacing_mm, shift_mm, scene.look.angle)
        labels[:, z] = scene.label(view, level_mm)
        frames[:, z] = grain(for_image, scene.signal(for_image, view, level_mm))
    heart_rate, height_m, weight_kg = draw_person(for_person)
    cine = SyntheticCine(
        frames=np.roll(frames * np.float32(_BLOOD), ed_phase, axis=0),
        labels=np.roll(labels, ed_phase, axis=0),
        pixel_spacing_mm=pixel_spacing_mm,
        slice_spacing_mm=slice_spacing_mm,
        slice_thickness_mm=thickness_mm,
        trigger_times_ms=np.arange(phases, dtype=np.float64) * (60_000 / heart_rate / phases),
        heart_rate_bpm=heart_rate,
        height_m=height_m,
        weight_kg=weight_kg,
        ed=ed_phase,
        es=(heart.es + ed_phase) % phases,
        truth={},
    )
    return replace(cine, truth=_truth(cine, heart))


@dataclass(frozen=True, slots=True)
class Scene:
    """A heart in its thorax; `overlay` adds to the signal [t, y, x] of a section, by pixel size."""

    heart: Heart
    thorax: Thorax
    look: Look
    thickness_mm: float
    overlay: Callable[[Section, float], Float32] | None = None

    def label(self, view: View, level_mm: float) -> UInt8:
        """Labels of one slice; [t, y, x]."""
        labels = np.zeros((self.heart.phases, *view.shape), np.uint8)
        centre = self.look.centre_at(level_mm)
        window = view.window(centre)
        section = Section.of(self.heart, level_mm, *view.polar(centre, window))
        for phase, label in enumerate(labels):
            edges = section.at(phase)
            inner = label[window]
            inner[edges.rv_mm > 0] = RV_CAVITY
            inner[edges.epi_mm > 0] = LV_MYOCARDIUM
            inner[edges.endo_mm > 0] = LV_CAVITY
        return labels

    def signal(self, random: np.random.Generator, view: View, level_mm: float) -> Float32:
        """Signal of one slice without noise, averaged over its thickness; [t, y, x]."""
        still = self.thorax.paint(random, view, level_mm)
        frames = np.repeat(still[None], self.heart.phases, axis=0)
        centre = self.look.centre_at(level_mm)
        window = view.window(centre)
        radius_mm, angle = view.polar(centre, window)
        layers = np.zeros_like(frames[:, *window])
        for depth_mm in level_mm + self.thickness_mm * np.array([-1 / 3, 0, 1 / 3]):
            section = Section.of(self.heart, float(depth_mm), radius_mm, angle)
            layers += Painter(self.heart, self.look, section, view.width_mm).paint(still[window])
            if self.overlay is not None:
                layers += self.overlay(section, view.width_mm)
        frames[:, *window] = layers / 3
        return frames * (texture(random, view, 0.05) * self.thorax.coil_sensitivity(view))


@dataclass(frozen=True, slots=True)
class _Grain:
    """Receiver noise relative to blood, and the share of a pixel seen by each neighbour."""

    noise: float
    spread: float

    def __call__(self, random: np.random.Generator, signal: Float32) -> Float32:
        """Magnitude image (Rician noise), slightly smooth as after zero filling."""
        real = signal + np.float32(self.noise) * random.standard_normal(signal.shape, np.float32)
        imaginary = np.float32(self.noise) * random.standard_normal(signal.shape, np.float32)
        magnitude = np.sqrt(real * real + imaginary * imaginary)
        return self._smooth(self._smooth(magnitude).swapaxes(-1, -2)).swapaxes(-1, -2)

    def _smooth(self, image: Float32) -> Float32:
        out = image * np.float32(1 - 2 * self.spread)
        out[..., 1:] += np.float32(self.spread) * image[..., :-1]
        out[..., :-1] += np.float32(self.spread) * image[..., 1:]
        return out


def _check(phases: int, ed_phase: int, sizes: tuple[float, ...]) -> None:
    if phases < 2 or not 0 <= ed_phase < phases:
        raise ValueError(f"no cycle of {phases} phases with end diastole at index {ed_phase}")
    if min(sizes) <= 0:
        raise ValueError("rows, columns, spacings and thickness must be positive")


def draw_scene(
    streams: Sequence[np.random.Generator],
    phases: int,
    slices: int,
    spacing_mm: float,
    thickness_mm: float,
) -> Scene:
    """Draw a heart, its thorax and their look, from a stream each, for so many slices.

    Raises
    ------
    ValueError
        The slices, without the two at the ends, are too short for a heart.
    """
    room_mm = (slices - 2) * spacing_mm
    if room_mm < _SHORTEST_HEART_MM:
        raise ValueError(f"{slices} slices {spacing_mm} mm apart are too few for a heart")
    for_heart, for_thorax, for_look = streams
    heart = draw_heart(for_heart, phases, spacing_mm, room_mm)
    thorax = draw_thorax(for_thorax, heart)
    return Scene(heart, thorax, draw_look(for_look, heart, thorax.fat), thickness_mm)


def slice_levels(
    random: np.random.Generator, heart: Heart, slices: int, spacing_mm: float
) -> Sequence[float]:
    """Slice centres along the long axis, mm; the valve plane at ED lies midway between two."""
    with_lv = int(np.ceil(heart.apex_mm / spacing_mm - 0.5))
    above = 1 + int(random.integers(0, max(1, (slices - with_lv) // 2)))
    return [(z - above + 0.5) * spacing_mm for z in range(slices)]


def draw_person(random: np.random.Generator) -> tuple[float, float, float]:
    """Heart rate (1/min), height (m) and weight (kg) of an adult."""
    height_m = round(random.uniform(1.52, 1.95), 2)
    weight_kg = round(random.uniform(19, 34) * height_m**2, 1)
    return float(round(random.uniform(50, 95))), height_m, weight_kg


def _truth(cine: SyntheticCine, heart: Heart) -> dict[str, float]:
    counted = {
        name: np.count_nonzero(cine.labels == label, axis=(1, 2, 3)) * cine.voxel_ml
        for name, label in (("lv", LV_CAVITY), ("rv", RV_CAVITY), ("shell", LV_MYOCARDIUM))
    }
    truth: dict[str, float] = {}
    for side, drawn in (("lv", heart.lv_ml), ("rv", heart.rv_ml)):
        truth |= _stroke(side, "", counted[side][cine.ed], counted[side][cine.es])
        truth |= _stroke(side, "_analytic", drawn[0], drawn[heart.es])
    truth["lv_mass"] = float(counted["shell"][cine.ed]) * MYOCARDIAL_DENSITY_G_PER_ML
    truth["lv_mass_analytic"] = heart.myocardium_ml * MYOCARDIAL_DENSITY_G_PER_ML
    return truth


def _stroke(side: str, suffix: str, edv_ml: float, esv_ml: float) -> dict[str, float]:
    sv_ml = edv_ml - esv_ml
    values = {"edv": edv_ml, "esv": esv_ml, "sv": sv_ml, "ef": 100 * sv_ml / edv_ml}
    return {f"{side}_{name}{suffix}": float(value) for name, value in values.items()}
