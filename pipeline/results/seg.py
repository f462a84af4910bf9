"""Segmentation objects (PS3.3 A.51): what was drawn on which source image."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from pydicom import Dataset

from pipeline.case import FrameSource, ModelUse, UInt8
from pipeline.results.codes import AI_FAMILY, HEART, NOTHING_DRAWN, STRUCTURES, KeyPhase
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
from pipeline.results.contents import Drawing
from pipeline.results.key_images import KeyPhaseImages
from pipeline.results.profiles import KEY_ROLE
from pipeline.results.series import series_of, series_suffix
from pipeline.results.source import (
    SourceImage,
    frame_of_reference_uid,
    instance_references,
    reference,
    restore_references,
    source_images,
)
from pipeline.results.uids import hashed_uid, tracking_uid

_CONTENT_LABELS: Mapping[str, str] = {"seg": "SEGMENTATION", "explanation": "EXPLANATION"}


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
class _Part:
    """The part of a drawing on the images of one series; `labels` are uint8 [n, y, x]."""

    drawing: Drawing
    images: tuple[SourceImage, ...]
    labels: UInt8

    @property
    def values(self) -> tuple[int, ...]:
        """Label values that have at least one voxel."""
        return tuple(value for value in STRUCTURES if np.any(self.labels == value))


def write_segmentations(
    basis: ResultBasis,
) -> tuple[WrittenSegmentation, ...]:
    """Write each drawing of the case, one SEG for each source series that has a mask."""
    indices = dict(basis.contents.phases)
    return tuple(
        _write(part, role, basis)
        for drawing in basis.contents.drawings
        for role, part in _parts(basis, drawing, indices[drawing.phase])
    )


def write_key_segmentations(
    basis: ResultBasis, copies: Iterable[KeyPhaseImages]
) -> Iterator[ResultObject]:
    """Write each drawing once more, on the copies of its images."""
    images_of = {one.phase: one.images for one in copies}
    for drawing in basis.contents.drawings:
        images = images_of.get(drawing.phase, {})
        drawn = [z for z in images if drawing.labels[z].any()]
        if drawn:
            part = _Part(drawing, tuple(images[z] for z in drawn), drawing.labels[drawn])
            yield _write(part, f"{KEY_ROLE}_{drawing.role}_{drawing.phase.name}", basis).result


def subject(phase: KeyPhase, value: int) -> str:
    """Tracking identifier of a structure in a phase."""
    return f"{STRUCTURES[value].label} {phase.short}"


def _parts(basis: ResultBasis, drawing: Drawing, index: int) -> Iterator[tuple[str, _Part]]:
    """Role and masks per source series.

    The series that gave the stack its seed has the plain role, so that a stack that turns out to be
    split keeps its first result series.
    """
    stack, labels = basis.case.stack, drawing.labels
    drawn = [z for z in range(len(labels)) if labels[z].any() and stack.sources[index][z]]
    images = source_images(stack, index, drawn)
    for series in dict.fromkeys(image.cell.series_instance_uid for image in images):
        chosen = [i for i, image in enumerate(images) if image.cell.series_instance_uid == series]
        is_plain = len(stack.series_instance_uids) == 1 or series == basis.context.series_seed
        suffix = "" if is_plain else series_suffix(series)
        chosen_labels = labels[[drawn[i] for i in chosen]]
        part = _Part(drawing, tuple(images[i] for i in chosen), chosen_labels)
        yield f"{drawing.role}_{drawing.phase.name}{suffix}", part


def _write(part: _Part, role: str, basis: ResultBasis) -> WrittenSegmentation:
    drawing = part.drawing
    result = _object(
        basis,
        identify(role, basis),
        images=part.images,
        pixels=_numbered(part),
        segments=_descriptions(part, basis),
        content_label=f"{drawing.phase.short}_{_CONTENT_LABELS[drawing.role]}",
    )
    segments = {
        value: Segment(number, _drawn_on(part, value))
        for number, value in enumerate(part.values, start=1)
    }
    return WrittenSegmentation(result, drawing.phase, segments)


def write_withdrawn_segmentation(basis: ResultBasis, identity: ObjectIdentity) -> ResultObject:
    """Write a SEG that marks nothing, on an image of the series that the role is of."""
    stack = basis.case.stack
    there = [z for z, cell in enumerate(stack.sources[0]) if cell is not None]
    images = source_images(stack, 0, there)
    own = (
        image
        for image in images
        if identity.role.endswith(series_suffix(image.cell.series_instance_uid))
    )
    nothing = np.zeros((1, *stack.frames.shape[2:]), np.uint8)
    segment = SegmentDescription(
        segment_number=1,
        segment_label=NOTHING_DRAWN.label,
        segmented_property_category=NOTHING_DRAWN.category,
        segmented_property_type=NOTHING_DRAWN.code,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=_algorithm(model_of("segmentation", basis)),
        display_color=CIELabColor.from_rgb(*NOTHING_DRAWN.colour),
    )
    return _object(
        basis,
        identity,
        images=[next(own, images[0])],
        pixels=nothing,
        segments=[segment],
        content_label="WITHDRAWN",
    )


def _object(
    basis: ResultBasis,
    identity: ObjectIdentity,
    *,
    images: Sequence[SourceImage],
    pixels: UInt8,
    segments: Sequence[SegmentDescription],
    content_label: str,
) -> ResultObject:
    """Make a SEG of pixels [n, y, x] that hold numbers of segments, on as many images."""
    series_number, series_description = series_of(identity.role, basis.contents)
    built = hd.seg.Segmentation(
        source_images=_in_one_frame(images, frame_of_reference_uid(basis.case.stack)),
        pixel_array=pixels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=identity.series_instance_uid,
        series_number=series_number,
        sop_instance_uid=identity.sop_instance_uid,
        instance_number=basis.context.instance_number,
        content_label=content_label,
        content_description=DISCLAIMER,
        series_description=series_description,
        omit_empty_frames=bool(pixels.any()),
        **equipment(basis),
    )
    _name_sources(built, images)
    _fix_dimension_uid(built, identity)
    return finished(built, identity, basis, tuple(one.segment_label for one in segments))


def _in_one_frame(images: Sequence[SourceImage], frame_of_reference_uid: str) -> list[Dataset]:
    """Headers with one Frame of Reference UID: anonymisers are known to give each image its own."""
    headers = [deepcopy(image.header) for image in images]
    for header in headers:
        header.FrameOfReferenceUID = frame_of_reference_uid
    return headers


def _numbered(part: _Part) -> UInt8:
    """Label values replaced by consecutive segment numbers."""
    lookup = np.zeros(256, dtype=np.uint8)
    for number, value in enumerate(part.values, start=1):
        lookup[value] = number
    return lookup[part.labels]


def _descriptions(part: _Part, basis: ResultBasis) -> Sequence[SegmentDescription]:
    phase = part.drawing.phase
    algorithm = _algorithm(model_of(part.drawing.stage, basis))
    return [
        SegmentDescription(
            segment_number=number,
            segment_label=STRUCTURES[value].label,
            segmented_property_category=STRUCTURES[value].category,
            segmented_property_type=STRUCTURES[value].code,
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            tracking_id=subject(phase, value),
            tracking_uid=tracking_uid(basis.context.series_seed, subject(phase, value)),
            anatomic_regions=[HEART],
            display_color=CIELabColor.from_rgb(*STRUCTURES[value].colour),
        )
        for number, value in enumerate(part.values, start=1)
    ]


def _algorithm(model: ModelUse) -> hd.AlgorithmIdentificationSequence:
    return hd.AlgorithmIdentificationSequence(
        name=model.name,
        family=AI_FAMILY,
        version=model.version,
        parameters={"weights_sha256": model.weights_sha256},
    )


def _drawn_on(part: _Part, value: int) -> tuple[FrameSource, ...]:
    present = np.any(part.labels == value, axis=(1, 2))
    return tuple(image.cell for image, has in zip(part.images, present, strict=True) if has)


def _name_sources(built: Dataset, images: Sequence[SourceImage]) -> None:
    """Name the true source instance and frame of every SEG frame (PS3.3 C.7.6.16.2.6)."""
    built.SourceImageSequence = [reference(image.cell) for image in images]
    cells = [image.cell for image in images]
    built.ReferencedSeriesSequence[0].ReferencedInstanceSequence = instance_references(cells)
    restore_references(built, images)


def _fix_dimension_uid(built: Dataset, identity: ObjectIdentity) -> None:
    """Replace the random Dimension Organization UID by one that the identity decides."""
    uid = hashed_uid("dimensions", identity.sop_instance_uid)
    for item in (*built.DimensionOrganizationSequence, *built.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
