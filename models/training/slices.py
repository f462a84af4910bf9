"""Labelled slices as training sees them, cut from volumes, and the one file they are kept in."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.training.cases import CaseError, LabelledVolume

UInt8 = npt.NDArray[np.uint8]

HEART: Mapping[int, str] = {1: "lv", 2: "myo", 3: "rv"}
"""Classes of the cine sets above the background."""
LV = (1, 2)
"""Those of the LV: cavity and myocardium."""


def allowed_bits(*classes: int) -> int:
    """Bit set of the classes a pixel may belong to, as `LabelledSlice.allowed` holds it."""
    return sum(1 << label for label in classes)


@dataclass(frozen=True, slots=True)
class LabelledSlice:
    """One image with what is known of its pixels.

    Attributes
    ----------
    image : uint8 [y, x]
        Intensities, scaled to 8 bits.
    allowed : uint8 [y, x]
        Bit `c` is set where the pixel may be class `c` (0 background, 1 LV cavity, 2 LV
        myocardium, 3 RV cavity; of LGE as the adapter says): one bit where the label is known,
        several where the set does not label the difference.
    pixel_spacing_mm : (row_mm, column_mm)
    centre_yx : (float, float)
        Centre of the LV of the whole stack, in pixels.
    dataset, patient, phase : str
        Name of the set, of the patient, and "ed", "es" or another name of the phase.
    spacing_is_known : bool
        False where the set states no pixel spacing and one is assumed.
    position : int
        Index of the slice in its stack; slices of one set, patient and phase whose positions
        differ by one are neighbours.
    label_shift_px : float
        The labels lie so many pixels too far down and to the right of what they label.
    """

    image: UInt8
    allowed: UInt8
    pixel_spacing_mm: tuple[float, float]
    centre_yx: tuple[float, float]
    dataset: str
    patient: str
    phase: str
    spacing_is_known: bool = True
    position: int = 0
    label_shift_px: float = 0.0

    @property
    def stack(self) -> tuple[str, str, str]:
        """Set, patient and phase, which the slices of one stack share."""
        return self.dataset, self.patient, self.phase

    @property
    def shows_lv(self) -> bool:
        """Whether a pixel is known to be LV cavity or LV myocardium."""
        return bool(np.isin(self.allowed, (allowed_bits(1), allowed_bits(2))).any())


def eight_bits(images: npt.NDArray[np.float32]) -> UInt8:
    """Images of any shape, scaled together so that the brightest pixel is 255."""
    scale = 255 / max(float(images.max()), 1.0)
    return np.asarray(np.clip(images * scale, 0, 255), dtype=np.uint8)


def centre_of(mask: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Mean row and column, in pixels, of the voxels of a mask [z, y, x]."""
    _, rows, columns = np.nonzero(mask)
    return float(rows.mean()), float(columns.mean())


def slices_of_volume(
    volume: LabelledVolume, dataset: str, lv: tuple[int, ...] = LV
) -> Iterator[LabelledSlice]:
    """Slices of a fully labelled volume, 8 bits, with the centre of the volume's LV labels.

    Raises
    ------
    CaseError
        No pixel is labelled LV.
    """
    shown = np.isin(volume.labels, lv)
    if not shown.any():
        raise CaseError(f"nothing is labelled as LV at {volume.phase.upper()}")
    centre = centre_of(shown)
    pairs = zip(eight_bits(volume.images), volume.labels, strict=True)
    for position, (image, labels) in enumerate(pairs):
        yield LabelledSlice(
            image=image,
            allowed=np.left_shift(np.uint8(1), labels),
            pixel_spacing_mm=volume.pixel_spacing_mm,
            centre_yx=centre,
            dataset=dataset,
            patient=volume.patient,
            phase=volume.phase,
            spacing_is_known=volume.spacing_is_known,
            position=position,
        )


def write_slices(path: Path, slices: Iterable[LabelledSlice]) -> None:
    """Write slices to one array file (npz without pickle)."""
    kept = list(slices)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        pixels=np.concatenate([entry.image.ravel() for entry in kept]),
        allowed=np.concatenate([entry.allowed.ravel() for entry in kept]),
        shapes=np.array([entry.image.shape for entry in kept], dtype=np.int32),
        spacings=np.array([entry.pixel_spacing_mm for entry in kept]),
        centres=np.array([entry.centre_yx for entry in kept]),
        names=np.array([(entry.dataset, entry.patient, entry.phase) for entry in kept]),
        spacing_is_known=np.array([entry.spacing_is_known for entry in kept]),
        positions=np.array([entry.position for entry in kept], dtype=np.int32),
        label_shifts=np.array([entry.label_shift_px for entry in kept]),
    )


def read_slices(path: Path) -> tuple[LabelledSlice, ...]:
    """Read back what `write_slices` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    ends = np.cumsum(arrays["shapes"].prod(axis=1))
    starts = ends - arrays["shapes"].prod(axis=1)
    return tuple(
        LabelledSlice(
            image=arrays["pixels"][start:end].reshape(shape),
            allowed=arrays["allowed"][start:end].reshape(shape),
            pixel_spacing_mm=(float(spacing[0]), float(spacing[1])),
            centre_yx=(float(centre[0]), float(centre[1])),
            dataset=str(names[0]),
            patient=str(names[1]),
            phase=str(names[2]),
            spacing_is_known=bool(known),
            position=int(position),
            label_shift_px=float(shift),
        )
        for start, end, shape, spacing, centre, names, known, position, shift in zip(
            starts,
            ends,
            arrays["shapes"],
            arrays["spacings"],
            arrays["centres"],
            arrays["names"],
            arrays["spacing_is_known"],
            arrays["positions"],
            arrays["label_shifts"],
            strict=True,
        )
    )
