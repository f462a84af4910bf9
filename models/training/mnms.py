"""Adapter of M&Ms (Campello et al. 2021, doi:10.1109/TMI.2021.3090082): hearts of four vendors.

Read from `mnms`, `MnMs`, `M&Ms` or the data folder itself, laid out as published: a CSV that gives
ED and ES (zero-based) and the vendor of each `External code`, and `<code>/<code>_sa.nii.gz` with
`_sa_gt` below `Training/Labeled`, `Validation` and `Testing`. These three are its parts: the set
brings its own split.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from models.split import Part
from models.training.cases import CaseError, LabelledCine, LabelledVolume
from models.training.nifti import our_labels, read_nifti
from models.training.slices import LabelledSlice, slices_of_volume

_OUR_CODES = (0, 1, 2, 3)  # as ours
_ROOTS = ("mnms", "MnMs", "M&Ms", ".")
_PARTS: Mapping[Part, str] = {
    "train": "Training/Labeled",
    "validation": "Validation",
    "test": "Testing",
}


def is_there(data: Path) -> bool:
    """Whether the set lies below a data folder."""
    return _root(data) is not None


def patients(data: Path, part: Part) -> tuple[str, ...]:
    """Codes of the patients of a part, sorted; none where the set is not there."""
    root = _root(data)
    folder = root / _PARTS[part] if root else None
    found = folder.iterdir() if folder and folder.is_dir() else ()
    return tuple(sorted(path.name for path in found if path.is_dir()))


def _root(data: Path) -> Path | None:
    roots = (data / root for root in _ROOTS)
    return next((root for root in roots if (root / _PARTS["train"]).is_dir()), None)


def _table(root: Path) -> dict[str, dict[str, str]]:
    """Rows of the set's CSV by External code."""
    for path in sorted(root.glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            if "External code" in (rows.fieldnames or ()):
                return {row["External code"]: row for row in rows}
    raise CaseError("the CSV of the set, with a column 'External code', is not there")


def _find(data: Path, patient: str) -> tuple[Path, dict[str, str]]:
    """Folder of a patient and its row of the CSV."""
    root = _root(data)
    row = _table(root).get(patient) if root else None
    folders = [root / part / patient for part in _PARTS.values()] if root else []
    folder = next((path for path in folders if path.is_dir()), None)
    if row is None or folder is None:
        raise CaseError("the set's CSV or folders do not hold it")
    return folder, row


def _frame(row: Mapping[str, str], phase: str, n_frames: int) -> int:
    text = row.get(phase.upper()) or ""
    if not text.isdigit() or int(text) >= n_frames:
        raise CaseError(f"the CSV does not say which of {n_frames} frames {phase.upper()} is")
    return int(text)


def _vendor(row: Mapping[str, str]) -> str:
    return row.get("VendorName") or row.get("Vendor") or ""


def read_patient(data: Path, patient: str) -> tuple[LabelledVolume, LabelledVolume]:
    """ED and ES volumes of a patient; the group is the vendor.

    Raises
    ------
    CaseError
        The patient is not there or cannot be used.
    """
    folder, row = _find(data, patient)
    image = read_nifti(folder / f"{patient}_sa.nii.gz", 4)
    truth = read_nifti(folder / f"{patient}_sa_gt.nii.gz", 4)
    if truth.values.shape != image.values.shape:
        raise CaseError("image and labels differ in shape")
    labels = our_labels(truth, _OUR_CODES, f"{patient}_sa_gt.nii.gz")

    def volume(phase: str) -> LabelledVolume:
        frame = _frame(row, phase, len(labels))
        if not labels[frame].any():
            raise CaseError(f"the frame of {phase.upper()} has no labels")
        return LabelledVolume(
            images=image.values[frame].astype(np.float32),
            labels=labels[frame],
            pixel_spacing_mm=image.pixel_spacing_mm,
            slice_spacing_mm=image.slice_spacing_mm,
            patient=patient,
            phase=phase,
            group=_vendor(row),
        )

    return volume("ed"), volume("es")


def read_cine(data: Path, patient: str) -> LabelledCine:
    """Read the whole cine of a patient; the group is the vendor.

    Raises
    ------
    CaseError
        The patient is not there or cannot be used.
    """
    folder, row = _find(data, patient)
    image = read_nifti(folder / f"{patient}_sa.nii.gz", 4)
    return LabelledCine(
        frames=image.values.astype(np.float32),
        pixel_spacing_mm=image.pixel_spacing_mm,
        slice_spacing_mm=image.slice_spacing_mm,
        ed=_frame(row, "ed", len(image.values)),
        es=_frame(row, "es", len(image.values)),
        patient=patient,
        group=_vendor(row),
    )


def mnms_slices(data: Path, names: tuple[str, ...]) -> Iterator[LabelledSlice]:
    """Every slice of ED and ES of the patients, those without a label included."""
    for patient in names:
        for volume in read_patient(data, patient):
            yield from slices_of_volume(volume, "mnms")
