"""Write a synthetic late enhancement heart as a DICOM study, with its truth beside it.

The heart and its place in the patient are those of `phantom cine` with the same seed. Every object
says that it is synthetic; the same seed and options give the same files, byte for byte.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Unpack

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.phantom import TRUTH_NAME, placed_truth, save_study
from dicom_node.phantom_instances import (
    START,
    classic_instance,
    enhanced_instance,
    set_attributes,
)
from dicom_node.phantom_stack import (
    SHORT_AXIS,
    Orientation,
    PlacedCine,
    StackGeometry,
    StudyForm,
    place,
)
from models.synthetic.cine import LV_CAVITY, LV_MYOCARDIUM, Float32, SyntheticCine
from models.synthetic.lge import NO_REFLOW, SCAR, SyntheticLge, synthesise_lge

MAGNITUDE_DESCRIPTION = "Synthetic LGE SAX"
PSIR_DESCRIPTION = "Synthetic LGE SAX PSIR"

_PSIR_OFFSET = 1024  # stored value of no signal
_BETWEEN_IMAGES = timedelta(seconds=10)
_FLIP_DEG = 25.0
_BREATH_SHIFT_MM = 8.0
_DOUBLED = 2  # slices whose first breath-hold failed

Cell = tuple[int, int]  # acquisition and slice position


class LgeGeometry(StackGeometry, total=False):
    """What `synthesise_lge` takes besides the seed."""

    scar: bool
    no_reflow: bool | None
    contrast_to_noise: float | None


def write_lge_study(
    folder: Path,
    seed: int,
    *,
    averages: int = 1,
    doubled_slices: bool = False,
    psir: bool = False,
    enhanced: bool = False,
    series_per_slice: bool = False,
    orientation: Orientation = SHORT_AXIS,
    mirrored: bool = False,
    apex_first: bool = False,
    header: Mapping[str, object] | None = None,
    **geometry: Unpack[LgeGeometry],
) -> Path:
    """Draw the heart of a seed after contrast and write it as a study.

    Parameters
    ----------
    folder : Path
        Made if absent; a synthetic study that lies there is replaced.
    seed : int
    averages : int
        Images of each slice, each with its own noise.
    doubled_slices : bool
        Two slices were taken while the patient breathed, and again at the end.
    psir : bool
        A series of phase-sensitive images beside that of magnitudes.
    enhanced, series_per_slice, orientation, mirrored, apex_first, header
        See `dicom_node.phantom_stack.StudyForm`.
    **geometry
        Passed to `models.synthetic.lge.synthesise_lge`.

    Returns
    -------
    Path
        The truth (JSON): `biomarkers`, `transmurality` per AHA segment and, per slice, whether it
        shows the LV, its instances that count, and those that a later breath-hold replaces. The
        labels beside it are uint8 [z, y, x] in the order in which the stack is assembled.

    Raises
    ------
    ValueError
        When the geometry holds no heart, or an Enhanced instance is asked to repeat slices.
    """
    if averages < 1 or (enhanced and (averages > 1 or doubled_slices)):
        raise ValueError("averages are at least 1; an Enhanced instance repeats no slice")
    lge = synthesise_lge(seed, **geometry)
    form = StudyForm(
        enhanced=enhanced,
        series_per_slice=series_per_slice,
        orientation=orientation,
        mirrored=mirrored,
        apex_first=apex_first,
        header=header or {},
    )
    images = [lge.acquire(repeat) for repeat in range(averages)]
    if doubled_slices:
        images.append(_displaced(lge, averages))
    magnitude = _placed(lge, [pair[0] for pair in images], form)
    series = [magnitude]
    if psir:
        series.append(_phase_sensitive(lge, [pair[1] for pair in images], magnitude))
    cells = _cells(magnitude, averages, doubled_slices)
    instances = (
        instance
        for placed, signed in zip(series, (False, True), strict=False)
        for instance in _instances(placed, lge, cells, signed=signed)
    )
    truth = placed_truth(magnitude) | _truth(lge, series, cells, averages)
    return save_study(folder, instances, magnitude.labels[0], truth)


def study_of(folder: Path) -> tuple[int, Mapping[str, object]]:
    """Seed of a study of `phantom cine`, and the attributes that put other series into it.

    Raises
    ------
    ValueError
        No such study lies there.
    """
    images = sorted(folder.glob("synthetic-*.dcm"))
    if not images or not (folder / TRUTH_NAME).is_file():
        raise ValueError(f"no synthetic study lies in {folder}")
    same = ("StudyInstanceUID", "FrameOfReferenceUID")
    try:
        seed = int(json.loads((folder / TRUTH_NAME).read_text(encoding="utf-8"))["seed"])
        header = dcmread(images[0], stop_before_pixels=True)
        return seed, {name: str(header[name].value) for name in same}
    except (KeyError, TypeError, ValueError, InvalidDicomError) as error:
        raise ValueError(f"the synthetic study in {folder} is damaged: {error!r}") from error


def _placed(lge: SyntheticLge, images: list[Float32], form: StudyForm) -> PlacedCine:
    """Place acquisitions [z, y, x] in the patient, as a cine would be in which nothing moves."""
    still = SyntheticCine(
        frames=np.stack(images),
        labels=lge.labels[None],
        pixel_spacing_mm=lge.pixel_spacing_mm,
        slice_spacing_mm=lge.slice_spacing_mm,
        slice_thickness_mm=lge.slice_thickness_mm,
        trigger_times_ms=np.full(len(images), lge.trigger_delay_ms),
        heart_rate_bpm=lge.heart_rate_bpm,
        height_m=lge.height_m,
        weight_kg=lge.weight_kg,
        ed=0,
        es=0,
        truth={},
    )
    return place(still, lge.seed, form)


def _phase_sensitive(lge: SyntheticLge, images: list[Float32], magnitude: PlacedCine) -> PlacedCine:
    """Place the signed images of the same acquisitions beside the magnitudes."""
    same = {
        "StudyInstanceUID": magnitude.uid("study"),
        "FrameOfReferenceUID": magnitude.uid("frame of reference"),
    }
    form = replace(magnitude.form, header={**same, **magnitude.form.header})
    return _placed(lge, [image + np.float32(_PSIR_OFFSET) for image in images], form)


def _displaced(lge: SyntheticLge, repeat: int) -> tuple[Float32, Float32]:
    """An acquisition of a heart that lies where another depth of breath puts it."""
    rows = round(_BREATH_SHIFT_MM / lge.pixel_spacing_mm[0])
    magnitude, real = lge.acquire(repeat)
    return np.roll(magnitude, rows, axis=1), np.roll(real, rows, axis=1)


def _cells(placed: PlacedCine, averages: int, doubled: bool) -> tuple[Cell, ...]:
    """Acquisitions in the order they are taken in; number `averages` is the one that failed."""
    wall = (placed.labels[0] == LV_MYOCARDIUM).sum(axis=(1, 2))
    failed = set(np.argsort(-wall, kind="stable")[:_DOUBLED].tolist()) if doubled else set()
    order = placed.acquisition_order
    first = [
        (repeat, position)
        for position in order
        for repeat in ([averages] if position in failed else range(averages))
    ]
    again = [(r, position) for position in order if position in failed for r in range(averages)]
    return (*first, *again)


def _instances(
    placed: PlacedCine, lge: SyntheticLge, cells: tuple[Cell, ...], *, signed: bool
) -> Iterator[Dataset]:
    """Data sets of one series in the order of acquisition."""
    if placed.form.enhanced:
        for positions in placed.enhanced_groups:
            dataset = enhanced_instance(placed, positions)
            _describe(dataset, 1, signed=signed)
            _describe_enhanced(dataset, lge, signed=signed)
            set_attributes(dataset, placed.form.header)
            yield dataset
        return
    for number, cell in enumerate(cells, start=1):
        dataset = classic_instance(placed, *cell)
        _describe(dataset, number, signed=signed)
        _describe_classic(dataset, lge, signed=signed)
        set_attributes(dataset, placed.form.header)
        yield dataset


def _describe(dataset: Dataset, number: int, *, signed: bool) -> None:
    """Say what classic and Enhanced instances say alike; it is the `number`-th taken."""
    started = START + (number - 1) * _BETWEEN_IMAGES
    dataset.SeriesDescription = PSIR_DESCRIPTION if signed else MAGNITUDE_DESCRIPTION
    dataset.ProtocolName = dataset.SeriesDescription
    dataset.SeriesNumber += 50 if signed else 40
    dataset.ManufacturerModelName = "Synthetic LGE heart"
    dataset.AcquisitionNumber = dataset.InstanceNumber = number
    dataset.ContentTime = f"{started:%H%M%S}"


def _describe_classic(dataset: Dataset, lge: SyntheticLge, *, signed: bool) -> None:
    """Inversion recovery gradient echo, one image per slice."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER", "R_IR" if signed else "M_IR"]
    dataset.ScanningSequence = ["GR", "IR"]
    dataset.SequenceVariant = ["SK", "SP", "MP"]
    dataset.RepetitionTime = lge.repetition_time_ms
    dataset.InversionTime = lge.inversion_time_ms
    dataset.FlipAngle = _FLIP_DEG
    dataset.CardiacNumberOfImages = 1
    dataset.AcquisitionTime = dataset.ContentTime
    if signed:
        dataset.RescaleIntercept, dataset.RescaleSlope = -_PSIR_OFFSET, 1
        dataset.RescaleType = "US"
        dataset.WindowCenter -= _PSIR_OFFSET


def _describe_enhanced(dataset: Dataset, lge: SyntheticLge, *, signed: bool) -> None:
    """The same in the functional groups (PS3.3 C.8.13.5)."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    timing = shared.MRTimingAndRelatedParametersSequence[0]
    timing.RepetitionTime, timing.FlipAngle = lge.repetition_time_ms, _FLIP_DEG
    modifier = shared.MRModifierSequence[0]
    modifier.InversionRecovery = "YES"
    modifier.InversionTimes = [lge.inversion_time_ms]
    dataset.CardiacSynchronizationTechnique = "PROSPECTIVE"
    for part in (dataset, shared.MRImageFrameTypeSequence[0]):
        part.ComplexImageComponent = "REAL" if signed else "MAGNITUDE"
        part.AcquisitionContrast = "T1"
    if signed:
        shared.PixelValueTransformationSequence[0].RescaleIntercept = -_PSIR_OFFSET
        shared.FrameVOILUTSequence[0].WindowCenter -= _PSIR_OFFSET


def _truth(
    lge: SyntheticLge, series: list[PlacedCine], cells: tuple[Cell, ...], averages: int
) -> dict[str, object]:
    analytic = lge.truth["scar_mass_analytic"]
    return {
        "inversion_time_ms": lge.inversion_time_ms,
        "biomarkers": {name: lge.truth[name] for name in lge.truth if "analytic" not in name},
        "analytic": {"scar_mass": analytic},
        "transmurality": {str(segment): share for segment, share in lge.transmurality.items()},
        "slices": [
            _slice_truth(series, position, cells, averages) for position in range(series[0].slices)
        ],
    }


def _slice_truth(
    series: list[PlacedCine], position: int, cells: tuple[Cell, ...], averages: int
) -> dict[str, object]:
    taken = [repeat for repeat, place in cells if place == position]
    magnitude = series[0]
    lv = np.isin(magnitude.labels[0, position], (LV_CAVITY, LV_MYOCARDIUM, SCAR, NO_REFLOW))

    def uids(repeats: list[int]) -> list[str]:
        found = [placed.instance_uid(repeat, position) for placed in series for repeat in repeats]
        return list(dict.fromkeys(found))

    return {
        "position_mm": magnitude.positions_mm[position].tolist(),
        "sop_instance_uids": uids([repeat for repeat in taken if repeat < averages]),
        "replaced_sop_instance_uids": uids([repeat for repeat in taken if repeat >= averages]),
        "lv_present": bool(lv.any()),
    }
