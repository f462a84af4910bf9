"""Volumes whose LV volume is known, as the regression U-net learns from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from models.split import Part, patients, refuse_unfit
from models.training import acdc, studies
from models.training.case_file import read_cases, write_cases
from models.training.cases import LabelledVolume, logged, usable
from models.training.slices import LV, UInt8, centre_of, eight_bits


@dataclass(frozen=True, slots=True)
class VolumeCase:
    """ED or ES of one patient, and how much blood the LV holds.

    Attributes
    ----------
    images : uint8 [z, y, x]
    volume_ml : float
        Of the LV cavity.
    pixel_spacing_mm : (row_mm, column_mm)
    slice_spacing_mm : float
        Centre to centre.
    centre_yx : (float, float)
        Where the heart lies, in pixels, as the localiser finds it in service.
    dataset, patient, phase : str
        Phase is "ed" or "es".
    cavity : uint8 [z, y, x] or None
        1 in the LV cavity, to measure the map with; nothing is fitted to it. None where no
        contour is known.
    """

    images: UInt8
    volume_ml: float
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    centre_yx: tuple[float, float]
    dataset: str
    patient: str
    phase: str
    cavity: UInt8 | None = None


def case_of_volume(volume: LabelledVolume, dataset: str) -> VolumeCase:
    """What is left of a labelled volume when only its LV volume is told."""
    cavity = (volume.labels == 1).astype(np.uint8)
    row_mm, column_mm = volume.pixel_spacing_mm
    return VolumeCase(
        images=eight_bits(volume.images),
        volume_ml=int(cavity.sum()) * row_mm * column_mm * volume.slice_spacing_mm / 1000,
        pixel_spacing_mm=volume.pixel_spacing_mm,
        slice_spacing_mm=volume.slice_spacing_mm,
        centre_yx=centre_of(np.isin(volume.labels, LV)),
        dataset=dataset,
        patient=volume.patient,
        phase=volume.phase,
        cavity=cavity,
    )


def study_volumes(data: Path, part: Part) -> Iterator[VolumeCase]:
    """ED and ES of the institution's own studies of a part, with the volumes it reported."""
    reader = partial(studies.read_study, data)
    for study in usable(studies.names(data, part), reader, logged("studies")):
        for images, phase in zip(study.images, ("ed", "es"), strict=True):
            yield VolumeCase(
                images=images,
                volume_ml=study.volumes_ml[f"lv_{phase}v_ml"],
                pixel_spacing_mm=study.pixel_spacing_mm,
                slice_spacing_mm=study.slice_spacing_mm,
                centre_yx=study.centre_yx,
                dataset="studies",
                patient=study.name,
                phase=phase,
            )


def fitting_volumes(data: Path, part: Part) -> Iterator[VolumeCase]:
    """ED and ES of the patients of ACDC for fitting.

    Raises
    ------
    SplitError
        A test patient or one that is never fitted would take part.
    """
    names = patients("acdc", part)
    refuse_unfit("acdc", names)
    for volumes in usable(names, partial(acdc.read_patient, data), logged("acdc")):
        yield from (case_of_volume(volume, "acdc") for volume in volumes)


def prepare_volumes(
    data: Path, output: Path, part: Part, sets: tuple[str, ...]
) -> tuple[VolumeCase, ...]:
    """Volumes of one part, through array files `<set>-<part>-volumes.npz` that are kept.

    ACDC and the institution's own studies are read from `data`, the latter each time anew: more
    may have come. Another set takes part where its file is there already.
    """
    path = output / f"acdc-{part}-volumes.npz"
    if "acdc" in sets and acdc.is_there(data) and not path.is_file():
        write_cases(path, fitting_volumes(data, part))
    if "studies" in sets and studies.is_there(data):
        write_cases(output / f"studies-{part}-volumes.npz", study_volumes(data, part))
    files = (output / f"{name}-{part}-volumes.npz" for name in sets)
    return tuple(case for file in files if file.is_file() for case in read_cases(file, VolumeCase))
