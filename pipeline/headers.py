"""The summary of one instance that routing, completion and assembly decide from; no pixels.

Values are decoded here from the bytes of the few attributes that count, not by pydicom: real
headers break the rules of their value representations, and thousands arrive in a minute.
"""

import errno
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Self

from pydicom import Dataset, dcmread
from pydicom.tag import Tag

from pipeline.elements import (
    UNREADABLE,
    Pair,
    Reader,
    Triple,
    finite,
    pair,
    quiet_pydicom,
    time_of_day_ms,
    triple,
)
from pipeline.errors import Rejection
from pipeline.results.common import NODE_MANUFACTURER
from pipeline.views import TEXTS, told_view

# Segmentation, SRs, Secondary Captures, Encapsulated PDF (PS3.4 B.5): what a node writes.
_RESULT_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.66.",
    "1.2.840.10008.5.1.4.1.1.88.",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.104.1",
)
VALID_UID = re.compile(r"[0-9.]{1,64}")
_HEADER_TAGS = [
    Tag(keyword)
    for keyword in (
        "ImageType",
        "ImageID",
        "PerformedProcedureStepDescription",
        "ProcedureCodeSequence",
        "AcquisitionContextSequence",
        "SOPClassUID",
        "SOPInstanceUID",
        "AcquisitionDate",
        "ContentDate",
        "AcquisitionTime",
        "ContentTime",
        "AcquisitionDateTime",
        "Modality",
        "Manufacturer",
        "SeriesDescription",
        "PatientID",
        "AccessionNumber",
        "TriggerTime",
        "NominalInterval",
        "HeartRate",
        "CardiacNumberOfImages",
        "ProtocolName",
        "ContributingEquipmentSequence",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SeriesNumber",
        "InstanceNumber",
        "MRAcquisitionType",
        "InversionTime",
        "ComplexImageComponent",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "FrameOfReferenceUID",
        "TemporalPositionIdentifier",
        "NumberOfTemporalPositions",
        "ImagesInAcquisition",
        "NominalCardiacTriggerDelayTime",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "Rows",
        "Columns",
        "PixelSpacing",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
        "DocumentTitle",
        "ConceptNameCodeSequence",
    )
]


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """One image: a classic instance, or one frame of an Enhanced one.

    Attributes
    ----------
    position_mm : (x, y, z) or None
        ImagePositionPatient, LPS mm.
    orientation : six floats or None
        ImageOrientationPatient: row cosines, then column cosines.
    pixel_spacing_mm : (row_mm, column_mm) or None
        Distance between rows, between columns.
    trigger_time_ms : float or None
        TriggerTime, or NominalCardiacTriggerDelayTime (PS3.3 C.7.6.16.2.7).
    temporal_position : int or None
        TemporalPositionIdentifier, or TemporalPositionIndex of the frame.
    clock_ms : float or None
        Acquisition (else content) time of day.
    frame_number : int or None
        One-based in an Enhanced instance; None in a classic one.
    inversion_time_ms : float or None
        InversionTime, or the first of InversionTimes (PS3.3 C.8.13.5.6); None when not above 0.
    component : str
        ComplexImageComponent: what of the complex signal a pixel is (PS3.3 C.8.13.3.1.1).
    """

    position_mm: Triple | None
    orientation: tuple[float, ...] | None
    pixel_spacing_mm: Pair | None
    trigger_time_ms: float | None
    temporal_position: int | None
    clock_ms: float | None
    frame_number: int | None
    inversion_time_ms: float | None = None
    component: str = ""


@dataclass(frozen=True, slots=True)
class InstanceHeader:
    """One instance without pixels. Text that is absent is empty, a number that is absent None.

    Attributes
    ----------
    acquired_at : str
        Date and time of acquisition (else of content) as digits; sorts by time.
    nominal_interval_ms : float or None
        NominalInterval, the R-R interval, or that of HeartRate.
    written_by_node : bool
        One of our own results.
    acquisition_type : str
        MRAcquisitionType, "2D" or "3D".
    view : str
        "stress" or "rest" where an image of nuclear medicine says so (`pipeline.views`).
    document_title, document_code : str
        DocumentTitle and the code of what a document is (ConceptNameCodeSequence), such as
        "LN:11524-6".
    """

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uid: str
    patient_id: str
    modality: str
    manufacturer: str
    series_description: str
    protocol_name: str
    image_type: tuple[str, ...]
    photometric_interpretation: str
    acquired_at: str
    rows: int | None
    columns: int | None
    samples_per_pixel: int | None
    series_number: int | None
    images_in_acquisition: int | None
    cardiac_images: int | None
    temporal_positions: int | None
    nominal_interval_ms: float | None
    written_by_node: bool
    frames: tuple[FrameHeader, ...]
    instance_number: int | None = None
    acquisition_type: str = ""
    view: str = ""
    accession_number: str = ""
    document_title: str = ""
    document_code: str = ""

    @property
    def pixel_spacing_mm(self) -> Pair | None:
        """Distance between rows and between columns, of the first frame."""
        return self.frames[0].pixel_spacing_mm if self.frames else None

    def to_json(self) -> str:
        """Serialise; `from_json` gives back an equal header."""
        content = asdict(self)
        content["frames"] = [list(frame.values()) for frame in content["frames"]]
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        content = json.loads(text)
        content["image_type"] = tuple(content["image_type"])
        content["frames"] = tuple(_frame_from_json(frame) for frame in content["frames"])
        return cls(**content)


def _frame_from_json(values: list[Any]) -> FrameHeader:
    return FrameHeader(*(tuple(item) if isinstance(item, list) else item for item in values))  # type: ignore[arg-type]


def read_header(source: Path | bytes | bytearray | memoryview) -> InstanceHeader:
    """Read the summary of one instance.

    Parameters
    ----------
    source : Path or bytes-like
        A DICOM Part 10 file (PS3.10 7), or its content. Pixel data is not read.

    Raises
    ------
    Rejection
        ``unreadable``, ``missing_uid`` or ``invalid_uid``.
    OSError
        The file cannot be opened now (too many are open, the disk fails).
    """
    file = opened(source) if isinstance(source, Path) else BytesIO(source)
    try:
        with file, quiet_pydicom():
            dataset = dcmread(file, stop_before_pixels=True, specific_tags=[*_HEADER_TAGS])
            return _summary(Reader(dataset))
    except UNREADABLE as error:
        raise Rejection("unreadable", f"no DICOM data set ({type(error).__name__})") from error


def opened(path: Path) -> BinaryIO:
    """Open a file to read; raises as `read_header`."""
    try:
        if path.is_fifo():  # opening it would wait for a writer
            raise Rejection("unreadable", "no file to read (a named pipe)")
        return path.open("rb")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise Rejection("unreadable", f"no file to read ({type(error).__name__})") from error
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):  # a link to itself, a socket
            raise
        raise Rejection("unreadable", f"no file to read ({error.strerror})") from error


def _summary(reader: Reader) -> InstanceHeader:
    sop_class_uid = _uid(reader, "SOPClassUID")
    manufacturer = reader.text("Manufacturer")
    return InstanceHeader(
        sop_instance_uid=_uid(reader, "SOPInstanceUID"),
        sop_class_uid=sop_class_uid,
        series_instance_uid=_uid(reader, "SeriesInstanceUID"),
        study_instance_uid=_uid(reader, "StudyInstanceUID"),
        frame_of_reference_uid=reader.text("FrameOfReferenceUID"),
        patient_id=reader.text("PatientID"),
        modality=reader.text("Modality"),
        manufacturer=manufacturer,
        series_description=reader.text("SeriesDescription"),
        protocol_name=reader.text("ProtocolName"),
        image_type=reader.texts("ImageType"),
        photometric_interpretation=reader.text("PhotometricInterpretation"),
        acquired_at=_acquired_at(reader),
        rows=reader.binary("Rows", "H"),
        columns=reader.binary("Columns", "H"),
        samples_per_pixel=reader.binary("SamplesPerPixel", "H"),
        series_number=reader.integer("SeriesNumber"),
        images_in_acquisition=reader.integer("ImagesInAcquisition"),
        cardiac_images=reader.integer("CardiacNumberOfImages"),
        temporal_positions=reader.integer("NumberOfTemporalPositions"),
        nominal_interval_ms=_nominal_interval_ms(reader),
        written_by_node=(
            (manufacturer == NODE_MANUFACTURER and sop_class_uid.startswith(_RESULT_CLASSES))
            or any(
                item.text("Manufacturer") == NODE_MANUFACTURER
                for item in reader.items("ContributingEquipmentSequence")
            )
        ),
        frames=_frames(reader),
        instance_number=reader.integer("InstanceNumber"),
        acquisition_type=reader.text("MRAcquisitionType"),
        view=_view(reader),
        accession_number=reader.text("AccessionNumber"),
        document_title=reader.text("DocumentTitle"),
        document_code=_document_code(reader),
    )


def _document_code(reader: Reader) -> str:
    for code in reader.items("ConceptNameCodeSequence")[:1]:
        return f"{code.text('CodingSchemeDesignator')}:{code.text('CodeValue')}"
    return ""


def _view(reader: Reader) -> str:
    if reader.text("Modality") != "NM":
        return ""
    states = [
        (code.text("CodingSchemeDesignator"), code.text("CodeValue"))
        for item in reader.items("AcquisitionContextSequence")
        for code in item.items("ConceptCodeSequence")
    ]
    procedures = [code.text("CodeMeaning") for code in reader.items("ProcedureCodeSequence")]
    texts = {keyword: reader.text(keyword) for keyword in TEXTS}
    told = told_view(states, {**texts, "ProcedureCodeSequence": " ".join(procedures)})
    return "" if told is None else told[0]


def _uid(reader: Reader, keyword: str) -> str:
    uid = reader.text(keyword)
    if not uid:
        raise Rejection("missing_uid", f"{keyword} is absent or empty")
    if not VALID_UID.fullmatch(uid):
        raise Rejection("invalid_uid", f"{keyword} is not made of 1 to 64 digits and dots")
    return uid


def _nominal_interval_ms(reader: Reader) -> float | None:
    if (interval_ms := reader.decimal("NominalInterval")) is not None:
        return interval_ms
    rate = reader.decimal("HeartRate")
    return 60000 / rate if rate and rate > 0 else None


def _acquired_at(reader: Reader) -> str:
    moment = reader.text("AcquisitionDateTime")
    for kind in ("Acquisition", "Content"):
        moment = moment or reader.text(f"{kind}Date") + reader.text(f"{kind}Time")
    return "".join(character for character in moment if character.isdigit() or character == ".")


def _frames(reader: Reader) -> tuple[FrameHeader, ...]:
    """Frames of an Enhanced instance, the one image of a classic one, or none.

    A classic instance may carry a functional group sequence without content; it stays classic.
    """
    per_frame = reader.items("PerFrameFunctionalGroupsSequence")
    shared = reader.items("SharedFunctionalGroupsSequence")[:1]
    component = reader.text("ComplexImageComponent")
    frames = tuple(
        _enhanced_frame(number, (own, *shared), component)
        for number, own in enumerate(per_frame, start=1)
    )
    if frames and (len(frames) > 1 or frames[0].position_mm is not None):
        return frames
    return (_classic_frame(reader),) if reader.binary("Rows", "H") else ()


def _classic_frame(reader: Reader) -> FrameHeader:
    trigger_ms = reader.decimal("TriggerTime")
    if trigger_ms is None:
        trigger_ms = finite(reader.binary("NominalCardiacTriggerDelayTime", "d"))
    clock_ms = time_of_day_ms(reader.text("AcquisitionTime"))
    if clock_ms is None:
        clock_ms = time_of_day_ms(reader.text("ContentTime"))
    return FrameHeader(
        position_mm=triple(reader.decimals("ImagePositionPatient", 3)),
        orientation=reader.decimals("ImageOrientationPatient", 6),
        pixel_spacing_mm=pair(reader.decimals("PixelSpacing", 2)),
        trigger_time_ms=trigger_ms,
        temporal_position=reader.integer("TemporalPositionIdentifier"),
        clock_ms=clock_ms,
        frame_number=None,
        inversion_time_ms=_above_zero(reader.decimal("InversionTime")),
        component=reader.text("ComplexImageComponent"),
    )


def _enhanced_frame(number: int, groups: Sequence[Reader], component: str) -> FrameHeader:
    def macro(keyword: str) -> Reader:
        """First item of a functional group: the frame's own, else the shared one."""
        for group in groups:
            if items := group.items(keyword):
                return items[0]
        return Reader(Dataset())

    content = macro("FrameContentSequence")
    trigger = macro("CardiacSynchronizationSequence")
    return FrameHeader(
        position_mm=triple(macro("PlanePositionSequence").decimals("ImagePositionPatient", 3)),
        orientation=macro("PlaneOrientationSequence").decimals("ImageOrientationPatient", 6),
        pixel_spacing_mm=pair(macro("PixelMeasuresSequence").decimals("PixelSpacing", 2)),
        trigger_time_ms=finite(trigger.binary("NominalCardiacTriggerDelayTime", "d")),
        temporal_position=content.binary("TemporalPositionIndex", "L"),
        clock_ms=time_of_day_ms(content.text("FrameAcquisitionDateTime")[8:]),
        frame_number=number,
        inversion_time_ms=_above_zero(macro("MRModifierSequence").binary("InversionTimes", "d")),
        component=macro("MRImageFrameTypeSequence").text("ComplexImageComponent") or component,
    )


def _above_zero(number: float | None) -> float | None:
    """Return a finite number above 0, else None: some scanners state 0 for none."""
    return number if number is not None and math.isfinite(number) and number > 0 else None
