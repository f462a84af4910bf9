"""Key phase images: copies of the source images of one phase, in a series of their own.

A viewer that takes a cine for one volume over time draws no segmentation on it, and nothing that
refers to its images; on a series of one phase it does (decision 11).
"""

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.coding import Code
from pydicom.uid import MRImageStorage
from pydicom.valuerep import format_number_as_ds

from pipeline.case import CineStack, Float32, FrameSource, ShortAxisStack
from pipeline.lge_case import LgeStack
from pipeline.results.codes import ACQUISITION_EQUIPMENT, KeyPhase
from pipeline.results.common import (
    ObjectIdentity,
    ResultBasis,
    ResultObject,
    begun,
    coded,
    finished,
    identify,
)
from pipeline.results.profiles import KEY_ROLE
from pipeline.results.series import series_of
from pipeline.results.source import (
    SourceImage,
    frame_of_reference_uid,
    frame_value,
    reference,
    source_images,
    valid_text,
)
from pipeline.results.uids import hashed_uid

_SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
# MR Image module (PS3.3 C.8.3.1): what is type 1 has a value even where the source states none.
_TYPE_1 = {"ScanningSequence": "RM", "SequenceVariant": "NONE"}
_TYPE_2 = (
    "MRAcquisitionType",
    "RepetitionTime",
    "EchoTime",
    "EchoTrainLength",
    "PatientPosition",
)
_TYPE_3 = (
    "InversionTime",
    "NominalInterval",
    "SpacingBetweenSlices",
    "AcquisitionDate",
    "AcquisitionTime",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
# One of these stands among the scan options of an image that has a TriggerTime.
_GATED = frozenset({"CG", "PPG"})
_LARGEST = 2**16 - 1


@dataclass(frozen=True, slots=True)
class KeyPhaseImages:
    """The copies of one phase.

    Attributes
    ----------
    phase : KeyPhase
    objects : tuple of ResultObject
        One per slice that has an image, in the order of the slices.
    images : mapping of slice index to SourceImage
        The copies as what is drawn on them names them.
    """

    phase: KeyPhase
    objects: tuple[ResultObject, ...]
    images: dict[int, SourceImage]


@dataclass(frozen=True, slots=True)
class _Scaling:
    """How values are stored in 16 bits: value = slope * stored + intercept (PS3.3 C.11.1)."""

    slope: float
    intercept: float

    def stored(self, values: Float32) -> bytes:
        """Pixel data of an image [y, x]."""
        scaled = (values.astype(np.float64) - self.intercept) / self.slope
        return np.clip(np.rint(scaled), 0, _LARGEST).astype("<u2").tobytes()


def write_key_images(basis: ResultBasis, how: str = "") -> tuple[KeyPhaseImages, ...]:
    """Copy the images of each phase in which something is drawn on an image.

    `how` tells what was done to them before.
    The series is a new one for each result, because two images at one place would be a cine again.
    """
    phases = [one for one in basis.contents.phases if _is_drawn(basis, *one)]
    return tuple(_copy_phase(basis, phase, index, how) for phase, index in phases)


def _is_drawn(basis: ResultBasis, phase: KeyPhase, index: int) -> bool:
    """Whether something is drawn on an image that is there: between others it may be missing."""
    there = [cell is not None for cell in basis.case.stack.sources[index]]
    drawings = (one for one in basis.contents.drawings if one.phase is phase)
    return any(one.labels[there].any() for one in drawings)


def _copy_phase(basis: ResultBasis, phase: KeyPhase, index: int, how: str) -> KeyPhaseImages:
    stack, kind = basis.case.stack, f"{KEY_ROLE}_{phase.name}"
    series = hashed_uid("series", identify(kind, basis).sop_instance_uid)
    number, words = series_of(kind, basis.contents)
    scaling = _scaling(stack.frames[index])
    generation = basis.context.instance_number
    later = f"Result {generation}: " if generation > 1 else ""
    slices = [z for z, cell in enumerate(stack.sources[index]) if cell is not None]
    objects, images = [], {}
    for z, source in zip(slices, source_images(stack, index, slices), strict=True):
        identity = replace(identify(f"{kind}_{z + 1:02d}", basis), series_instance_uid=series)
        image = _renamed(source, identity, frame_of_reference_uid(stack))
        dataset = _dataset(basis, identity, image)
        _take_over(dataset, stack, source.cell)
        dataset.SeriesNumber, dataset.SeriesDescription = number, f"{later}{words}"
        dataset.InstanceNumber = z + 1
        dataset.DerivationDescription = f"Copy of the image of {phase.words}{how}"
        _put_pixels(dataset, stack.frames[index, z], scaling)
        objects.append(finished(dataset, identity, basis))
        images[z] = image
    return KeyPhaseImages(phase, tuple(objects), images)


def _renamed(source: SourceImage, identity: ObjectIdentity, frame_of_reference: str) -> SourceImage:
    """The copy as a source of what is drawn on it."""
    header = deepcopy(source.header)
    header.SOPInstanceUID = identity.sop_instance_uid
    header.SeriesInstanceUID = identity.series_instance_uid
    header.FrameOfReferenceUID = frame_of_reference
    cell = FrameSource(
        identity.sop_instance_uid,
        MRImageStorage,
        identity.series_instance_uid,
        None,
        source.cell.trigger_time_ms,
    )
    return SourceImage(cell, header)


def _dataset(basis: ResultBasis, identity: ObjectIdentity, image: SourceImage) -> Dataset:
    """MR Image of a copy, but for its place in the series, its source and its pixels."""
    dataset = deepcopy(image.header)
    scanner = _scanner(dataset)
    opened = begun(identity, MRImageStorage, basis)
    dataset.update(opened)
    dataset.file_meta = opened.file_meta
    dataset.ContributingEquipmentSequence = [scanner]
    return dataset


def _scanner(header: Dataset) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [coded(ACQUISITION_EQUIPMENT)]
    item.Manufacturer = header.get("Manufacturer") or "unknown"
    if "ManufacturerModelName" in header:
        item.ManufacturerModelName = header.ManufacturerModelName
    return item


def _take_over(dataset: Dataset, stack: ShortAxisStack, cell: FrameSource) -> None:
    """Name the source, and say how it was made and is to be shown, as far as it says so."""
    source, copied = stack.headers[cell.sop_instance_uid], reference(cell)
    copied.PurposeOfReferenceCodeSequence = [coded(_SOURCE_IMAGE)]
    dataset.SourceImageSequence = [copied]
    dataset.TriggerTime = _trigger_time(stack, cell)
    for keyword in (*_TYPE_1, *_TYPE_2, *_TYPE_3):
        value = valid_text(source, keyword) or _TYPE_1.get(keyword, "")
        if value or keyword in _TYPE_2:
            setattr(dataset, keyword, value)
    dataset.BodyPartExamined = "HEART"
    kind = valid_text(source, "ImageType").split("\\")[2:]
    dataset.ImageType = ["DERIVED", "PRIMARY", *(kind or ["OTHER"])]
    options = [option for option in valid_text(source, "ScanOptions").split("\\") if option]
    dataset.ScanOptions = options if _GATED & {*options} else [*options, "CG"]
    if source.get("PhotometricInterpretation") == "MONOCHROME2":
        for keyword in ("WindowCenter", "WindowWidth"):
            if (number := _first_number(source, cell, keyword)) is not None:
                setattr(dataset, keyword, format_number_as_ds(number))


def _trigger_time(stack: ShortAxisStack, cell: FrameSource) -> str:
    """TriggerTime (type 2C) of a copy; empty where the source states none."""
    estimated = isinstance(stack, CineStack) and stack.times_are_estimates
    absent = isinstance(stack, LgeStack) and cell.trigger_time_ms == 0
    return "" if estimated or absent else format_number_as_ds(cell.trigger_time_ms)


def _first_number(source: Dataset, cell: FrameSource, keyword: str) -> float | None:
    """First value of the window of a frame; None where there is none."""
    try:
        value = frame_value(source, cell, "FrameVOILUTSequence", keyword)
        number = float(value[0] if isinstance(value, MultiValue) else value)
    except (IndexError, TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _scaling(frames: Float32) -> _Scaling:
    """Values as they are where 16 bits hold them, else their range spread over 16 bits."""
    low, high = float(frames.min()), float(frames.max())
    base = 0.0 if low >= 0 and high <= _LARGEST else low
    if high - base <= _LARGEST and np.array_equal(frames, np.rint(frames)):
        return _Scaling(1.0, base)
    slope = float(format_number_as_ds(max(high - low, 1e-6) / _LARGEST))
    return _Scaling(slope, float(format_number_as_ds(low)))


def _put_pixels(dataset: Dataset, values: Float32, scaling: _Scaling) -> None:
    """Image Pixel (PS3.3 C.7.6.3) and Modality LUT (C.11.1) modules of an image [y, x]."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    if scaling != _Scaling(1.0, 0.0):
        dataset.RescaleSlope = format_number_as_ds(scaling.slope)
        dataset.RescaleIntercept = format_number_as_ds(scaling.intercept)
        dataset.RescaleType = "US"
    dataset.PixelData = scaling.stored(values)
