"""Studies broken on purpose: what goes wrong at the scanner, in steps, on hearts of known truth.

A breakage takes the images of ED and ES and gives what would have come in their place. What is
random in it comes from the patient's name, so that a repeated study sees the same images. The true
ejection fraction stays that of the whole heart.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - its own usual name

from models.training.cases import LabelledVolume

Float32 = npt.NDArray[np.float32]
Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Frames:
    """ED and ES of a patient as one stack, base first.

    Attributes
    ----------
    images : float32 [2, z, y, x]
        LV blood is about 1.
    left : bool [z, y, x]
        Where LV cavity or wall is labelled at ED.
    pixel_spacing_mm : (row_mm, column_mm)
    slice_spacing_mm : float
    """

    images: Float32
    left: npt.NDArray[np.bool_]
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float


Breakage = Callable[[Frames, float, Generator], Frames]


def _noise(frames: Frames, level: float, generator: Generator) -> Frames:
    """Rician noise, its SD in units of LV blood."""
    real, imaginary = generator.normal(0, level, (2, *frames.images.shape))
    return _with(frames, np.hypot(frames.images + real, imaginary))


def _low_contrast(frames: Frames, kept: float, generator: Generator) -> Frames:
    """Keep a share of what differs from the surroundings (15 mm), under a noise of 2 %."""
    around = _blurred(frames.images, frames.pixel_spacing_mm, 15.0)
    flat = around + kept * (frames.images - around)
    return _with(frames, np.abs(flat + generator.normal(0, 0.02, flat.shape)))


def _ghosting(frames: Frames, level: float, generator: Generator) -> Frames:
    """Breathing: lines of k-space change strength and phase with a period of three to five."""
    rows = frames.images.shape[2]
    ghosted = np.empty_like(frames.images)
    for index in np.ndindex(frames.images.shape[:2]):
        turn = 2 * np.pi * (np.arange(rows) / generator.uniform(3, 5) + generator.uniform())
        lines = (1 + level * np.sin(turn)) * np.exp(1j * level * np.pi / 2 * np.cos(turn))
        spectrum = np.fft.fft2(frames.images[index]) * lines[:, None]
        ghosted[index] = np.abs(np.fft.ifft2(spectrum))
    return _with(frames, ghosted)


def _breath_holds(frames: Frames, far_mm: float, generator: Generator) -> Frames:
    """Each slice lies as far off, somewhere in its plane, as its breath-hold left it."""
    moved = np.empty_like(frames.images)
    for z in range(moved.shape[1]):
        angle, length = generator.uniform(0, 2 * np.pi), far_mm * generator.uniform(0.5, 1.5)
        step = [
            round(length * part / spacing)
            for part, spacing in zip(
                (np.sin(angle), np.cos(angle)), frames.pixel_spacing_mm, strict=True
            )
        ]
        moved[:, z] = np.roll(frames.images[:, z], step, axis=(1, 2))
    return _with(frames, moved)


def _gating(frames: Frames, share: float, generator: Generator) -> Frames:
    """Irregular beats: in a share of the slices both phases show the heart at ED."""
    shows = np.flatnonzero(frames.left.any(axis=(1, 2)))
    chosen = generator.permutation(shows)[: round(share * len(shows))]
    images = frames.images.copy()
    images[1, chosen] = images[0, chosen]
    return _with(frames, images)


def _base_missing(frames: Frames, share: float, __: Generator) -> Frames:
    """The stack begins below the base, a share of the LV's slices too low."""
    first, _, gone = _lv_slices(frames, share)
    return _from_slice(frames, first + gone, None)


def _apex_missing(frames: Frames, share: float, __: Generator) -> Frames:
    """The stack ends above the apex."""
    _, end, gone = _lv_slices(frames, share)
    return _from_slice(frames, 0, end - gone)


def _signal_loss(frames: Frames, radius_mm: float, generator: Generator) -> Frames:
    """Metal beside the LV: no signal around a point of its wall, in every slice."""
    _, rows, columns = np.nonzero(frames.left)
    angle, reach = generator.uniform(0, 2 * np.pi), 25.0
    row_mm, column_mm = frames.pixel_spacing_mm
    y, x = np.ogrid[: frames.images.shape[2], : frames.images.shape[3]]
    far = np.hypot(
        (y - rows.mean()) * row_mm - reach * np.sin(angle),
        (x - columns.mean()) * column_mm - reach * np.cos(angle),
    )
    return _with(frames, frames.images * (1 / (1 + np.exp((radius_mm - far) / 2))))


def _blur(frames: Frames, sigma_mm: float, _: Generator) -> Frames:
    """The heart moved while a slice was taken."""
    return _with(frames, _blurred(frames.images, frames.pixel_spacing_mm, sigma_mm))


def _oblique(frames: Frames, degrees: float, _: Generator) -> Frames:
    """The stack lies at an angle to the short axis, about the columns through the heart."""
    z, rows, columns = np.nonzero(frames.left)
    row_mm, column_mm = frames.pixel_spacing_mm
    spacing = column_mm, row_mm, frames.slice_spacing_mm
    centre = columns.mean() * column_mm, rows.mean() * row_mm, z.mean() * frames.slice_spacing_mm
    turn = sitk.Euler3DTransform(centre, np.radians(degrees), 0.0, 0.0)  # type: ignore[no-untyped-call]
    turned = np.empty_like(frames.images)
    for phase, volume in enumerate(frames.images):
        image = sitk.GetImageFromArray(volume)
        image.SetSpacing(spacing)  # type: ignore[no-untyped-call]
        moved = sitk.Resample(image, turn, sitk.sitkLinear, 0.0)
        turned[phase] = sitk.GetArrayFromImage(moved)
    return _with(frames, turned)


BREAKAGES: Mapping[str, tuple[Breakage, tuple[float, ...]]] = {
    "noise": (_noise, (0.25, 0.5)),
    "low contrast": (_low_contrast, (0.2, 0.08)),
    "ghosting": (_ghosting, (0.5, 0.9)),
    "slices shifted": (_breath_holds, (8.0, 20.0)),
    "slices at another phase": (_gating, (0.3, 0.6)),
    "base missing": (_base_missing, (0.3, 0.5)),
    "apex missing": (_apex_missing, (0.3, 0.5)),
    "signal loss": (_signal_loss, (25.0, 40.0)),
    "blur": (_blur, (4.0, 8.0)),
    "oblique plane": (_oblique, (40.0, 80.0)),
}
"""Each with its degrees, the milder first."""


def broken(
    name: str, degree: float, ed: LabelledVolume, es: LabelledVolume
) -> tuple[Float32, tuple[float, float], float]:
    """Break ED and ES of a patient.

    Parameters
    ----------
    name : str
        One of `BREAKAGES`.
    degree : float
        As the breakage understands it.
    ed, es : LabelledVolume
        Base first.

    Returns
    -------
    frames : float32 [2, z, y, x]
    pixel_spacing_mm : (row_mm, column_mm)
    slice_spacing_mm : float
    """
    generator = np.random.default_rng(zlib.crc32(f"{name}/{ed.patient}".encode()))
    images = np.stack([ed.images, es.images])
    blood = float(np.mean([volume.images[volume.labels == 1].mean() for volume in (ed, es)]))
    left = np.isin(ed.labels, (1, 2))
    frames = Frames(images / np.float32(blood), left, ed.pixel_spacing_mm, ed.slice_spacing_mm)
    breakage, _ = BREAKAGES[name]
    after = breakage(frames, degree, generator)
    stored = np.rint(after.images * blood).astype(np.float32)
    return stored, after.pixel_spacing_mm, after.slice_spacing_mm


def _with(frames: Frames, images: npt.NDArray[np.floating]) -> Frames:
    return replace(frames, images=images.astype(np.float32))


def _from_slice(frames: Frames, first: int, end: int | None) -> Frames:
    kept = slice(first, end)
    return replace(frames, images=frames.images[:, kept], left=frames.left[kept])


def _lv_slices(frames: Frames, share: float) -> tuple[int, int, int]:
    """First and end of the slices that show the LV, and how many of them are a share."""
    shows = np.flatnonzero(frames.left.any(axis=(1, 2)))
    return int(shows[0]), int(shows[-1]) + 1, max(1, round(share * len(shows)))


def _blurred(images: Float32, spacing_mm: tuple[float, float], sigma_mm: float) -> Float32:
    """Gaussian blur in the plane of images [t, z, y, x]."""
    rows, columns = (
        np.fft.fftfreq(size, step) for size, step in zip(images.shape[2:], spacing_mm, strict=True)
    )
    damping = np.exp(-2 * (np.pi * sigma_mm) ** 2 * (rows[:, None] ** 2 + columns**2))
    return np.asarray(np.fft.ifft2(np.fft.fft2(images) * damping).real, dtype=np.float32)
