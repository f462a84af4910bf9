"""Adapter of ACDC (Bernard et al. 2018, doi:10.1109/TMI.2018.2837502): ED and ES volumes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.training.slices import LabelledSlice, UInt8

_OUR_CODES = np.array([0, 3, 2, 1], dtype=np.uint8)  # ACDC: 1 RV cavity, 2 myocardium, 3 LV cavity


@dataclass(frozen=True, slots=True)
class LabelledVolume:
    """ED or ES volume of one patient.

    Attributes
    ----------
    images : float32 [z, y, x]
    labels : uint8 [z, y, x]
        0 background, 1 LV cavity, 2 LV myocardium, 3 RV cavity.
    pixel_spacing_mm : (row_mm, column_mm)
    slice_spacing_mm : float
    patient, phase : str
        Phase is "ed" or "es".
    """

    images: npt.NDArray[np.float32]
    labels: UInt8
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    patient: str
    phase: str


def read_info(folder: Path) -> dict[str, str]:
    """Entries of a patient's `Info.cfg`."""
    lines = (folder / "Info.cfg").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def read_volume(folder: Path, phase: str) -> LabelledVolume:
    """Read the ED or ES volume of the patient folder, axes turned to [z, y, x].

    Raises
    ------
    FileNotFoundError
        The folder lacks the image, the labels or `Info.cfg`.
    """
    from nibabel.nifti1 import Nifti1Image

    frame = int(read_info(folder)[phase.upper()])
    stem = folder / f"{folder.name}_frame{frame:02d}"
    image = Nifti1Image.from_filename(f"{stem}.nii.gz")
    labels = Nifti1Image.from_filename(f"{stem}_gt.nii.gz")
    column_mm, row_mm, slice_mm = (float(value) for value in image.header["pixdim"][1:4])
    return LabelledVolume(
        images=np.ascontiguousarray(np.asarray(image.dataobj).T, dtype=np.float32),
        labels=_OUR_CODES[np.ascontiguousarray(np.asarray(labels.dataobj).T).astype(np.intp)],
        pixel_spacing_mm=(row_mm, column_mm),
        slice_spacing_mm=slice_mm,
        patient=folder.name,
        phase=phase,
    )


def read_patient(data: Path, patient: str) -> tuple[LabelledVolume, LabelledVolume]:
    """ED and ES volumes of a patient below the data folder."""
    folder = data / "acdc" / "frames" / patient
    return read_volume(folder, "ed"), read_volume(folder, "es")


def acdc_slices(data: Path, names: tuple[str, ...]) -> Iterator[LabelledSlice]:
    """Every slice of ED and ES of the patients, those without a label included."""
    for patient in names:
        for volume in read_patient(data, patient):
            yield from slices_of_volume(volume, "acdc")


def slices_of_volume(volume: LabelledVolume, dataset: str) -> Iterator[LabelledSlice]:
    """Slices of a fully labelled volume, 8 bits, with the LV centre of the volume."""
    scale = 255 / max(float(volume.images.max()), 1.0)
    _, rows, columns = np.nonzero((volume.labels == 1) | (volume.labels == 2))
    for image, labels in zip(volume.images, volume.labels, strict=True):
        yield LabelledSlice(
            image=np.clip(image * scale, 0, 255).astype(np.uint8),
            allowed=np.left_shift(np.uint8(1), labels),
            pixel_spacing_mm=volume.pixel_spacing_mm,
            centre_yx=(float(rows.mean()), float(columns.mean())),
            dataset=dataset,
            patient=volume.patient,
            phase=volume.phase,
        )
