"""Source headers as a writer can rely on them: complete, valid, in one character set.

highdicom wants headers that hold everything a standard-conforming image holds; real ones do not.
No header is changed here: what a result needs is copied out, and what is not valid is left empty
and named.
"""

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.config import RAISE, disable_value_validation
from pydicom.datadict import dictionary_VR
from pydicom.multival import MultiValue
from pydicom.uid import RE_VALID_UID, MRImageStorage
from pydicom.valuerep import DA, TM, format_number_as_ds, validate_value

from pipeline.case import FrameSource, ShortAxisStack, Sources
from pipeline.results.uids import hashed_uid

# Identity is copied as it stands, even where it breaks a rule of its value representation: an
# archive would file an altered one under another patient or study.
_VERBATIM = ("PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID")
# Type 2 in the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): empty when not valid.
_TYPE_2 = (
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "ReferringPhysicianName",
)
# Type 3: left out when empty or not valid.
_TYPE_3 = (
    "IssuerOfPatientID",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyDescription",
)
_SEXES = ("M", "F", "O")
# Code extensions (PS3.5 6.1.2.5), such as pydicom leaves in text of ISO 2022 IR 58 that it decodes.
_ESCAPE = re.compile(r"\x1b[$()-]{1,2}[@-Z]")


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A cell of the stack and a classic MR header of it alone.

    The header of an Enhanced MR frame has an alias for its SOP Instance UID, because highdicom
    takes several images of one phase only as single-frame ones; `restore_references` turns it back.
    """

    cell: FrameSource
    header: Dataset


@contextmanager
def tolerant_headers() -> Iterator[None]:
    """Read and copy source values as they stand.

    pydicom would warn of each; UIDs with leading zeros, for one, occur and must not be changed.
    """
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def patient_study(stack: Sources) -> tuple[Dataset, tuple[str, ...]]:
    """Copy patient and study out of the first source header.

    Returns
    -------
    dataset : Dataset
        Attributes of the Patient, General Study and Patient Study modules; text is decoded.
    invalid : tuple of str
        Keywords whose value is not valid in the source and not taken over.
    """
    header = _first(stack)[1]
    copied, invalid = Dataset(), []
    for keyword in _VERBATIM:
        setattr(copied, keyword, _text(header, keyword))
    for keyword in (*_TYPE_2, *_TYPE_3):
        value = _text(header, keyword)
        if not _is_valid(keyword, value):
            invalid.append(keyword)
            value = ""
        if value or keyword in _TYPE_2:
            setattr(copied, keyword, value)
    return copied, tuple(invalid)


def header_notes(stack: Sources) -> tuple[str, ...]:
    """State what results cannot take over from the source headers, without values."""
    with tolerant_headers():
        invalid = patient_study(stack)[1]
        frames_of_reference = {h.get("FrameOfReferenceUID") for h in stack.headers.values()}
    notes = []
    if invalid:
        notes.append(f"not valid in the source and left empty: {', '.join(invalid)}")
    if len(frames_of_reference) > 1:
        notes.append("each source image states another frame of reference; the first is kept")
    if uncitable := sum(not is_citable(uid) for uid in stack.headers):
        notes.append(
            f"{uncitable} of {len(stack.headers)} source instances have a UID that is not valid; "
            "the report names them in its evidence only"
        )
    return tuple(notes)


def is_citable(uid: str) -> bool:
    """Whether a UID obeys PS3.5 9.1, so that a content item of a report may hold it.

    Source UIDs are kept as they are, and most readers only warn of one that breaks the rule (a
    component with a leading zero). In a content item it makes DCMTK refuse the whole report.
    """
    return len(uid) <= 64 and re.fullmatch(RE_VALID_UID, uid) is not None


def study_instance_uid(stack: Sources) -> str:
    """StudyInstanceUID of the source, and so of every result."""
    with tolerant_headers():
        return str(_first(stack)[1].StudyInstanceUID)


def frame_of_reference_uid(stack: ShortAxisStack) -> str:
    """FrameOfReferenceUID of the first source image, which stands for the stack.

    Where the source states none, the stack gets one of its own, because a SEG needs it.
    """
    stated = _first(stack)[1].get("FrameOfReferenceUID")
    return str(stated or hashed_uid("frame of reference", *stack.series_instance_uids))


def source_images(
    stack: ShortAxisStack, phase: int, slices: Iterable[int]
) -> tuple[SourceImage, ...]:
    """Source images of the given slices in one phase; cells without an image are left out."""
    shared = _shared_header(stack)
    cells = (stack.sources[phase][z] for z in slices)
    return tuple(_source_image(stack, cell, shared) for cell in cells if cell is not None)


def restore_references(dataset: Dataset, images: Iterable[SourceImage]) -> None:
    """Name the true instance and frame wherever the alias of an Enhanced MR frame stands."""
    enhanced = {
        image.header.SOPInstanceUID: image.cell
        for image in images
        if image.cell.frame_number is not None
    }

    def restore(item: Dataset, element: DataElement) -> None:
        if element.keyword == "ReferencedSOPInstanceUID" and element.value in enhanced:
            item.update(reference(enhanced[element.value]))

    dataset.walk(restore)


def reference(cell: FrameSource) -> Dataset:
    """Image SOP Instance Reference Macro item of a cell (PS3.3 10.3)."""
    (item,) = instance_references([cell])
    if cell.frame_number is not None:
        item.ReferencedFrameNumber = cell.frame_number
    return item


def instance_references(cells: Iterable[FrameSource]) -> list[Dataset]:
    """Reference each instance of some cells once, as a whole (PS3.3 10.8)."""
    items = []
    for uid, sop_class in {cell.sop_instance_uid: cell.sop_class_uid for cell in cells}.items():
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = uid
        items.append(item)
    return items


def evidence_header(image: SourceImage) -> Dataset:
    """Header that names the true instance, for the evidence of a report."""
    header = deepcopy(image.header)
    header.SOPClassUID = image.cell.sop_class_uid
    header.SOPInstanceUID = image.cell.sop_instance_uid
    return header


def evidence_of(stack: Sources) -> list[Dataset]:
    """Headers that name the instances of a case, for the evidence of a report."""
    study, found = _first(stack)[1].StudyInstanceUID, []
    for cell in (cell for row in stack.sources for cell in row if cell is not None):
        header = _without_patient(study)
        header.SOPClassUID, header.SOPInstanceUID = cell.sop_class_uid, cell.sop_instance_uid
        header.SeriesInstanceUID = cell.series_instance_uid
        found.append(header)
    return found


def _first(stack: Sources) -> tuple[FrameSource, Dataset]:
    cell = next(cell for row in stack.sources for cell in row if cell is not None)
    return cell, stack.headers[cell.sop_instance_uid]


def _shared_header(stack: ShortAxisStack) -> Dataset:
    """Make what all images of the stack have in common."""
    first, source = _first(stack)
    header = _without_patient(source.StudyInstanceUID)
    header.SOPClassUID = MRImageStorage
    header.Modality = "MR"
    for keyword in ("Manufacturer", "ManufacturerModelName"):
        value = _text(source, keyword)
        if value and _is_valid(keyword, value):
            setattr(header, keyword, value)
    header.Rows, header.Columns = stack.frames.shape[2:]
    header.PixelSpacing = [format_number_as_ds(mm) for mm in stack.pixel_spacing_mm]
    header.ImageOrientationPatient = frame_value(
        source, first, "PlaneOrientationSequence", "ImageOrientationPatient"
    )
    return header


def _without_patient(study_instance_uid: str) -> Dataset:
    """Begin a header without patient data: highdicom would name the patient in a warning."""
    header = Dataset()
    for keyword in ("PatientID", "AccessionNumber", "PositionReferenceIndicator", *_TYPE_2):
        setattr(header, keyword, "")
    header.PatientName = None
    header.StudyInstanceUID = study_instance_uid
    return header


def _source_image(stack: ShortAxisStack, cell: FrameSource, shared: Dataset) -> SourceImage:
    source = stack.headers[cell.sop_instance_uid]
    header = deepcopy(shared)
    uid, frame = cell.sop_instance_uid, cell.frame_number
    header.SOPInstanceUID = uid if frame is None else f"{uid}.{frame}"
    header.SeriesInstanceUID = cell.series_instance_uid
    header.FrameOfReferenceUID = source.get("FrameOfReferenceUID") or ""
    header.ImagePositionPatient = frame_value(
        source, cell, "PlanePositionSequence", "ImagePositionPatient"
    )
    thickness = frame_value(source, cell, "PixelMeasuresSequence", "SliceThickness")
    header.SliceThickness = thickness or format_number_as_ds(stack.slice_spacing_mm)
    return SourceImage(cell, header)


def valid_text(header: Dataset, keyword: str) -> str:
    """Values of an attribute, separated by backslashes; empty where one is not valid."""
    text = _text(header, keyword)
    return text if all(_is_valid(keyword, value) for value in text.split("\\")) else ""


def frame_value(source: Dataset, cell: FrameSource, functional_group: str, keyword: str) -> Any:
    """Value for one frame: of its functional group in Enhanced MR, else of the data set."""
    if cell.frame_number is None:
        return source.get(keyword)
    own = source.PerFrameFunctionalGroupsSequence[cell.frame_number - 1]
    for groups in (own, *source.get("SharedFunctionalGroupsSequence", ())):
        if groups.get(functional_group):
            return groups[functional_group][0].get(keyword)
    return None


def as_text(value: Any) -> str:
    """Value of an attribute as one text; several, as of an ID with a backslash, divided by it."""
    several = value if isinstance(value, MultiValue) else [value]
    return "\\".join("" if part is None else str(part) for part in several)


def _text(header: Dataset, keyword: str) -> str:
    text = as_text(header.get(keyword))
    if header.get("SpecificCharacterSet"):
        return _ESCAPE.sub("", text)
    return _undeclared(text)


def _undeclared(text: str) -> str:
    """Text of a header that names no character set, which pydicom reads as Latin-1.

    What is valid UTF-8 beyond ASCII is hardly ever meant to be anything else.
    """
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _is_valid(keyword: str, value: str) -> bool:
    """Whether a value obeys its value representation (PS3.5 6.2), or is empty."""
    if not value:
        return True
    if keyword == "PatientSex" and value not in _SEXES:
        return False
    representation = dictionary_VR(keyword)
    try:
        validate_value(representation, value, RAISE)
        if representation in ("DA", "TM"):
            (DA if representation == "DA" else TM)(value)
    except ValueError:
        return False
    return value.isprintable() and "\\" not in value
