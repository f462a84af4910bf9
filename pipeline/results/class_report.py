"""The report of a picture: what a network says it shows (PS3.16 TID 1500)."""

from collections.abc import Iterator

from highdicom.sr import (
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    RelationshipTypeValues,
)
from pydicom import Dataset

from pipeline.case import FrameSource
from pipeline.pictures import ECG_WAVEFORMS, ENCAPSULATED_PDF
from pipeline.results.class_codes import SOURCE_OF_MEASUREMENT, SUBJECTS
from pipeline.results.codes import COMMENT, FINDING, QUALITATIVE_EVALUATIONS
from pipeline.results.common import Basis, ResultObject, describe_model, identify, models_of
from pipeline.results.measurements import classification_groups
from pipeline.results.series import UNVERIFIED
from pipeline.results.source import evidence_of, header_notes, is_citable
from pipeline.results.sr import document, finished_report
from pipeline.results.statements import doubts, passed, stack_notes, text_item

_SERIES_NUMBER = 9041
_CONTAINS = RelationshipTypeValues.CONTAINS
_KINDS = {**dict.fromkeys(ECG_WAVEFORMS, "WAVEFORM"), ENCAPSULATED_PDF: "COMPOSITE"}


def write_class_report(basis: Basis) -> ResultObject:
    """State the class and the probability of each, or why they are withheld.

    Raises
    ------
    ValueError
        Nothing was classified.
    """
    told = basis.case.classification
    if told is None:
        raise ValueError("a report of a picture comes after its classification")
    subject = SUBJECTS[told.subject]
    (group,) = classification_groups(basis)
    group[0].ContentSequence.extend(_sources(basis))
    said = ContainerContentItem(QUALITATIVE_EVALUATIONS, relationship_type=_CONTAINS)
    said.ContentSequence = ContentSequence([*_said(basis)])
    report = finished_report(
        basis,
        identify("sr", basis),
        document(basis, subject.procedure, [group], said),
        evidence_of(basis.case.stack),
        series=(_SERIES_NUMBER, f"{subject.title}, research only, {UNVERIFIED}"),
        incomplete="The class is withheld; the reason is stated" if told.withheld else "",
    )
    _call_by_kind(report.dataset)
    return report


def _sources(basis: Basis) -> Iterator[ContentItem]:
    """Name the instances that were looked at, but for those whose UID no content item may hold."""
    for row in basis.case.stack.sources:
        for cell in row:
            if cell is not None and is_citable(cell.sop_instance_uid):
                yield _source(cell)


def _source(cell: FrameSource) -> ContentItem:
    return ImageContentItem(
        SOURCE_OF_MEASUREMENT,
        cell.sop_class_uid,
        cell.sop_instance_uid,
        relationship_type=_CONTAINS,
    )


def _call_by_kind(item: Dataset) -> None:
    """Turn references to what is no image, built as images, to items of their kind.

    WAVEFORM (PS3.3 C.18.5) or COMPOSITE (C.18.3). highdicom makes such items, but not a report that
    holds one.
    """
    for child in item.get("ContentSequence", ()):
        if child.ValueType == "IMAGE":
            (referenced,) = child.ReferencedSOPSequence
            child.ValueType = _KINDS.get(referenced.ReferencedSOPClassUID, "IMAGE")
        _call_by_kind(child)


def _said(basis: Basis) -> Iterator[ContentItem]:
    case = basis.case
    if basis.context.replaces:
        yield text_item(COMMENT, basis.context.replaces)
    for doubt in doubts(case):
        yield text_item(FINDING, doubt)
    for sentence in (*passed(case.quality), *stack_notes(case)):
        yield text_item(COMMENT, sentence)
    for note in header_notes(case.stack):
        yield text_item(COMMENT, f"Source headers: {note}.")
    for model in models_of(case):
        yield text_item(COMMENT, describe_model(model))
