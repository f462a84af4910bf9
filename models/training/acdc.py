"""Adapter of ACDC (Bernard et al. 2018, doi:10.1109/TMI.2018.2837502).

Read where it lies below the data folder: as published (`training` and `testing`, also below
`database`) or with all patients in `frames`, each in `acdc`, `ACDC` or the data folder itself. A
whole cine is taken from a patient's own folder or from `cine_cropped`.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.training.cases import CaseError, LabelledCine, LabelledVolume
from models.training.nifti import our_labels, read_nifti
from models.training.slices import LabelledSlice, allowed_bits, slices_of_volume

_OUR_CODES = (0, 3, 2, 1)  # ACDC: 1 RV cavity, 2 myocardium, 3 LV cavity
_UNDECIDED_SLICES = 2
_ROOTS = ("acdc", "ACDC", ".")
_FOLDERS = ("frames", "training", "testing", "database/training", "database/testing")


def is_there(data: Path) -> bool:
    """Whether patients of ACDC lie below a data folder."""
    return any(next(folder.glob("patient*/Info.cfg"), None) for folder in _folders(data))


def official_test_patients(data: Path) -> tuple[str, ...]:
    """Names of the set's own test patients (101 and up), as far as they are there, sorted."""
    found = {path.name for folder in _folders(data) for path in folder.glob("patient1??")}
    return tuple(sorted(found - {"patient100"}))


def _folders(data: Path) -> list[Path]:
    return [data / root / folder for root in _ROOTS for folder in _FOLDERS]


def _find(data: Path, name: str) -> Path:
    """Folder of a patient.

    Raises
    ------
    CaseError
        There is none.
    """
    for folder in _folders(data):
        if (folder / name / "Info.cfg").is_file():
            return folder / name
    raise CaseError("no folder with an Info.cfg was found for it")


def read_info(folder: Path) -> dict[str, str]:
    """Entries of a patient's `Info.cfg`."""
    try:
        lines = (folder / "Info.cfg").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError(f"Info.cfg cannot be read: {error}") from error
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _frame(info: dict[str, str], phase: str) -> int:
    """One-based frame of ED or ES."""
    text = info.get(phase.upper(), "")
    if not text.isdigit() or int(text) < 1:
        raise CaseError(f"Info.cfg does not say which frame {phase.upper()} is")
    return int(text)


def read_volume(folder: Path, phase: str) -> LabelledVolume:
    """Read the ED or ES volume of the patient folder, axes turned to [z, y, x].

    Raises
    ------
    CaseError
        The folder lacks the image, the labels or `Info.cfg`, or one of them is of no use.
    """
    info = read_info(folder)
    stem = f"{folder.name}_frame{_frame(info, phase):02d}"
    image = read_nifti(folder / f"{stem}.nii.gz", 3)
    truth = read_nifti(folder / f"{stem}_gt.nii.gz", 3)
    if truth.values.shape != image.values.shape:
        raise CaseError(f"{stem}: image and labels differ in shape")
    return LabelledVolume(
        images=image.values.astype(np.float32),
        labels=our_labels(truth, _OUR_CODES, f"{stem}_gt.nii.gz"),
        pixel_spacing_mm=image.pixel_spacing_mm,
        slice_spacing_mm=image.slice_spacing_mm,
        patient=folder.name,
        phase=phase,
        group=info.get("Group", ""),
    )


def read_patient(data: Path, patient: str) -> tuple[LabelledVolume, LabelledVolume]:
    """ED and ES volumes of a patient below the data folder.

    Raises
    ------
    CaseError
        The patient is not there or cannot be used.
    """
    folder = _find(data, patient)
    return read_volume(folder, "ed"), read_volume(folder, "es")


def read_cine(data: Path, patient: str) -> LabelledCine:
    """Read the whole cine of a patient.

    Raises
    ------
    CaseError
        There is none, or it cannot be used.
    """
    name = f"{patient}/{patient}_4d.nii.gz"
    parents = [*_folders(data), *(data / root / "cine_cropped" for root in _ROOTS)]
    path = next((parent / name for parent in parents if (parent / name).is_file()), None)
    if path is None:
        raise CaseError("its whole cine is not there")
    image, info = read_nifti(path, 4), read_info(path.parent)
    ed, es = (_frame(info, phase) - 1 for phase in ("ed", "es"))
    if max(ed, es) >= len(image.values):
        raise CaseError(f"{path.name} has {len(image.values)} frames, Info.cfg names later ones")
    return LabelledCine(
        frames=image.values.astype(np.float32),
        pixel_spacing_mm=image.pixel_spacing_mm,
        slice_spacing_mm=image.slice_spacing_mm,
        ed=ed,
        es=es,
        patient=patient,
        group=info.get("Group", ""),
    )


def acdc_slices(data: Path, names: tuple[str, ...]) -> Iterator[LabelledSlice]:
    """Every slice of ED and ES of the patients, those without a label included.

    At ES the experts of ACDC end the LV a slice or two further down than those of other sets. The
    slices that they left out next to the base may show LV or not; they show no RV.
    """
    for patient in names:
        for volume in read_patient(data, patient):
            slices = tuple(slices_of_volume(volume, "acdc"))
            yield from _undecided_base(slices) if volume.phase == "es" else slices


def _undecided_base(slices: tuple[LabelledSlice, ...]) -> Iterator[LabelledSlice]:
    """Slices of one volume, base first; the two before the first that shows the LV may show it."""
    first = next(entry.position for entry in slices if entry.shows_lv)
    for entry in slices:
        if 0 < first - entry.position <= _UNDECIDED_SLICES:
            background = entry.allowed == allowed_bits(0)
            allowed = np.where(background, np.uint8(allowed_bits(0, 1, 2)), entry.allowed)
            yield replace(entry, allowed=allowed)
        else:
            yield entry
