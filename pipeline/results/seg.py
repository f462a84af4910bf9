"""Segmentation objects of the key phases (PS3.3 A.51): what was drawn on which source image.

What explains a volume by regression is written in the same way, as objects of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from pydicom import Dataset

from pipeline.case import CineCase, FrameSource, UInt8
from pipeline.results.codes import (
    AI_FAMILY,
    ANATOMICAL_STRUCTURE,
    END_DIASTOLE,
    END_SYSTOLE,
    HEART,
    LV_EXPLANATION,
    STRUCTURES,
    KeyPhase,
)
from pipeline.results.common import (
    DISCLAIMER,
    ObjectIdentity,
    ResultBasis,
    ResultObject,
    equipment,
    finished,
    identify,
    model_of,
)
from pipeline.results.source import (
    SourceImage,
    frame_of_reference_uid,
    reference,
    restore_references,
    source_images,
)
from pipeline.results.uids import hashed_uid, tracking_uid


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the masks of an object are: words of its series, and the stage that drew them."""

    role: str
    series_numbers: Mapping[str, int]
    words: str
    stage: str


_SEGMENTATION = _Kind("seg", {"ed": 9002, "es": 9003}, "segmentation", "segmentation")
_EXPLANATION = _Kind("explanation", {"ed": 9004, "es": 9005}, "explanation", "regression")


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a written SEG: its number, and the source images it was drawn on."""

    number: int
    sources: tuple[FrameSource, ...]


@dataclass(frozen=True, slots=True)
class WrittenSegmentation:
    """A SEG and its segments by label value."""

    result: ResultObject
    phase: KeyPhase
    segments: Mapping[int, Segment]


@dataclass(frozen=True, slots=True)
class _Drawing:
    """Masks of one phase on the images of one source series; labels uint8 [n, y, x]."""

    kind: _Kind
    phase: KeyPhase
    images: tuple[SourceImage, ...]
    labels: UInt8

    @property
    def values(self) -> tuple[int, ...]:
        """Label values that have at least one voxel."""
        return tuple(value for value in STRUCTURES if np.any(self.labels == value))


def write_segmentations(
    basis: ResultBasis,
) -> tuple[WrittenSegmentation, ...]:
    """Write ED and ES, one SEG of each kind for each source series that has a mask."""
    return tuple(
        _write(drawing, role, basis)
        for kind, labels in _label_maps(basis.case)
        for phase, index in key_phases(basis.case)
        for role, drawing in _drawings(basis, kind, phase, index, labels[phase.name])
    )


def _label_maps(case: CineCase) -> Iterator[tuple[_Kind, Mapping[str, UInt8]]]:
    """Label maps [z, y, x] of ED and ES by their names, of each kind there is."""
    if case.phases is not None and case.segmentation is not None:
        labels = case.segmentation.labels
        yield _SEGMENTATION, {"ed": labels[case.phases.ed], "es": labels[case.phases.es]}
    if case.regression is not None:
        masks = {"ed": case.regression.explanation_ed, "es": case.regression.explanation_es}
        marked = {name: np.uint8(LV_EXPLANATION) * mask for name, mask in masks.items()}
        yield _EXPLANATION, marked


def key_phases(case: CineCase) -> tuple[tuple[KeyPhase, int], ...]:
    """ED and ES with their phase indices; empty when they were not found."""
    if case.phases is None:
        return ()
    return ((END_DIASTOLE, case.phases.ed), (END_SYSTOLE, case.phases.es))


def subject(phase: KeyPhase, value: int) -> str:
    """Tracking identifier of a structure in a phase."""
    return f"{STRUCTURES[value].label} {phase.short}"


def _drawings(
    basis: ResultBasis, kind: _Kind, phase: KeyPhase, index: int, labels: UInt8
) -> Iterator[tuple[str, _Drawing]]:
    """Role and masks per source series.

    The series that gave the stack its seed has the plain role, so that a stack that turns out to be
    split keeps its first result series.
    """
    stack = basis.case.stack
    drawn = [z for z in range(len(labels)) if labels[z].any() and stack.sources[index][z]]
    images = source_images(stack, index, drawn)
    for series in dict.fromkeys(image.cell.series_instance_uid for image in images):
        chosen = [i for i, image in enumerate(images) if image.cell.series_instance_uid == series]
        is_plain = len(stack.series_instance_uids) == 1 or series == basis.context.series_seed
        suffix = "" if is_plain else f".{int(hashed_uid(series)[5:]) % 10**8:08d}"
        yield (
            f"{kind.role}_{phase.name}{suffix}",
            _Drawing(
                kind,
                phase,
                tuple(images[i] for i in chosen),
                labels[[drawn[i] for i in chosen]],
            ),
        )


def _write(drawing: _Drawing, role: str, basis: ResultBasis) -> WrittenSegmentation:
    identity = identify(role, basis)
    built = _build(drawing, identity, basis)
    _name_sources(built, drawing.images)
    _fix_dimension_uid(built, identity)
    segments = {
        value: Segment(number, _drawn_on(drawing, value))
        for number, value in enumerate(drawing.values, start=1)
    }
    labels = tuple(STRUCTURES[value].label for value in segments)
    result = finished(built, identity, basis, labels)
    return WrittenSegmentation(result, drawing.phase, segments)


def _build(drawing: _Drawing, identity: ObjectIdentity, basis: ResultBasis) -> Dataset:
    return hd.seg.Segmentation(
        source_images=_in_one_frame(drawing, frame_of_reference_uid(basis.case.stack)),
        pixel_array=_numbered(drawing),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=_descriptions(drawing, basis),
        series_instance_uid=identity.series_instance_uid,
        series_number=drawing.kind.series_numbers[drawing.phase.name],
        sop_instance_uid=identity.sop_instance_uid,
        instance_number=basis.context.instance_number,
        content_label=f"{drawing.phase.short}_{drawing.kind.words.upper()}",
        content_description=DISCLAIMER,
        series_description=f"Cardiac CAD {drawing.phase.short} {drawing.kind.words}",
        **equipment(basis.context),
    )


def _in_one_frame(drawing: _Drawing, frame_of_reference_uid: str) -> list[Dataset]:
    """Headers with one Frame of Reference UID: anonymisers are known to give each image its own."""
    headers = [deepcopy(image.header) for image in drawing.images]
    for header in headers:
        header.FrameOfReferenceUID = frame_of_reference_uid
    return headers


def _numbered(drawing: _Drawing) -> UInt8:
    """Label values replaced by consecutive segment numbers."""
    lookup = np.zeros(256, dtype=np.uint8)
    for number, value in enumerate(drawing.values, start=1):
        lookup[value] = number
    return lookup[drawing.labels]


def _descriptions(drawing: _Drawing, basis: ResultBasis) -> Sequence[SegmentDescription]:
    model = model_of(drawing.kind.stage, basis)
    algorithm = hd.AlgorithmIdentificationSequence(
        name=model.name,
        family=AI_FAMILY,
        version=model.version,
        parameters={"weights_sha256": model.weights_sha256},
    )
    return [
        SegmentDescription(
            segment_number=number,
            segment_label=STRUCTURES[value].label,
            segmented_property_category=ANATOMICAL_STRUCTURE,
            segmented_property_type=STRUCTURES[value].code,
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            tracking_id=subject(drawing.phase, value),
            tracking_uid=tracking_uid(basis.context.series_seed, subject(drawing.phase, value)),
            anatomic_regions=[HEART],
            display_color=CIELabColor.from_rgb(*STRUCTURES[value].colour),
        )
        for number, value in enumerate(drawing.values, start=1)
    ]


def _drawn_on(drawing: _Drawing, value: int) -> tuple[FrameSource, ...]:
    present = np.any(drawing.labels == value, axis=(1, 2))
    return tuple(image.cell for image, has in zip(drawing.images, present, strict=True) if has)


def _name_sources(built: Dataset, images: Sequence[SourceImage]) -> None:
    """Name the true source instance and frame of every SEG frame (PS3.3 C.7.6.16.2.6)."""
    built.SourceImageSequence = [reference(image.cell) for image in images]
    instances = {image.cell.sop_instance_uid: image.cell.sop_class_uid for image in images}
    built.ReferencedSeriesSequence[0].ReferencedInstanceSequence = [
        _instance_reference(uid, sop_class) for uid, sop_class in instances.items()
    ]
    restore_references(built, images)


def _instance_reference(sop_instance_uid: str, sop_class_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def _fix_dimension_uid(built: Dataset, identity: ObjectIdentity) -> None:
    """Replace the random Dimension Organization UID by one that the identity decides."""
    uid = hashed_uid("dimensions", identity.sop_instance_uid)
    for item in (*built.DimensionOrganizationSequence, *built.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
