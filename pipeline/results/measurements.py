"""Measurement groups of the report: one per segmented structure, and those of derived quantities.

A quantity that was withheld is stated as text with its reason, never as a number. One that a
quality check names for review has the reason beside it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    ContentSequence,
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.sr.coding import Code
from pydicom.valuerep import DS

from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY, Biomarker, FrameSource, Verdict
from pipeline.results.codes import (
    AI_FAMILY,
    ANATOMICAL_STRUCTURE,
    BODY_SURFACE_AREA,
    CARDIAC_CYCLE_PHASE,
    COMMENT,
    END_DIASTOLE,
    END_SYSTOLE,
    INDEX,
    LEFT_VENTRICLE,
    LV_EXPLANATION,
    PAPILLARY_INCLUDED,
    PAPILLARY_MUSCLES,
    QUANTITIES,
    RIGHT_VENTRICLE,
    STRUCTURES,
    UNITS,
    KeyPhase,
    Quantity,
    in_report,
)
from pipeline.results.common import ResultBasis, model_of
from pipeline.results.seg import WrittenSegmentation, subject
from pipeline.results.source import is_citable
from pipeline.results.uids import tracking_uid

Group = MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations

_STRUCTURE_GROUPS = (
    (END_DIASTOLE, LV_CAVITY, "lv_edv"),
    (END_SYSTOLE, LV_CAVITY, "lv_esv"),
    (END_DIASTOLE, LV_MYOCARDIUM, "lv_mass"),
    (END_DIASTOLE, RV_CAVITY, "rv_edv"),
    (END_SYSTOLE, RV_CAVITY, "rv_esv"),
)
_DERIVED_GROUPS: tuple[tuple[str, Code | None, tuple[str, ...]], ...] = (
    (
        "LV function",
        LEFT_VENTRICLE,
        (
            *("lv_ef", "lv_sv", "cardiac_output", "cardiac_output_index", "lv_sv_index"),
            *("lv_edv_index", "lv_esv_index", "lv_mass_index"),
        ),
    ),
    (
        "RV function",
        RIGHT_VENTRICLE,
        ("rv_ef", "rv_sv", "rv_sv_index", "rv_edv_index", "rv_esv_index"),
    ),
    ("Heart rate and body surface area", None, ("heart_rate", "bsa")),
)


def measurement_groups(basis: ResultBasis, written: Sequence[WrittenSegmentation]) -> list[Group]:
    """State every biomarker of the case once.

    Returns
    -------
    list of Group
        TID 1411 groups that reference a segment; TID 1501 groups for derived quantities, and for a
        structure whose mask is spread over several SEGs or is missing.
    """
    found = {biomarker.name: biomarker for biomarker in basis.case.biomarkers}
    return [
        *_structure_groups(basis, written, found),
        *_derived_groups(basis, found),
    ]


def _structure_groups(
    basis: ResultBasis,
    written: Sequence[WrittenSegmentation],
    found: Mapping[str, Biomarker],
) -> Iterator[Group]:
    for phase, structure, name in _STRUCTURE_GROUPS:
        is_regressed = structure == LV_CAVITY and basis.case.regression is not None
        value = LV_EXPLANATION if is_regressed else structure
        holders = [seg for seg in written if seg.phase is phase and value in seg.segments]
        biomarkers = [found[name]] if name in found else []
        if holders or biomarkers:
            about = {
                **_about_structure(phase, value, basis),
                "measurements": _measurements(biomarkers),
            }
            yield _with_texts(_located(holders, value, about), biomarkers, basis)


def _about_structure(phase: KeyPhase, value: int, basis: ResultBasis) -> dict[str, Any]:
    structure = STRUCTURES[value]
    model = model_of("regression" if value == LV_EXPLANATION else "segmentation", basis)
    evaluations = [QualitativeEvaluation(CARDIAC_CYCLE_PHASE, phase.code)]
    if value != RV_CAVITY:
        evaluations.append(QualitativeEvaluation(PAPILLARY_MUSCLES, PAPILLARY_INCLUDED))
    return {
        "tracking_identifier": _tracking(basis, subject(phase, value)),
        "finding_category": ANATOMICAL_STRUCTURE,
        "finding_type": structure.code,
        "finding_sites": [FindingSite(structure.code)],
        "algorithm_id": AlgorithmIdentification(
            model.name,
            model.version,
            parameters=[f"weights SHA-256 {model.weights_sha256}", f"licence {model.licence}"],
            family=AI_FAMILY,
        ),
        "qualitative_evaluations": evaluations,
    }


def _located(holders: Sequence[WrittenSegmentation], value: int, about: Mapping[str, Any]) -> Group:
    """Group that says on which images its structure was drawn.

    TID 1411 takes one segment and at least one source image; else TID 1501 names the images.
    """
    cited = [*_cited(source for seg in holders for source in seg.segments[value].sources)]
    if len(holders) != 1 or not cited:
        sources = [SourceImageForMeasurementGroup(*image) for image in cited]
        return MeasurementsAndQualitativeEvaluations(source_images=sources, **about)
    seg = holders[0]
    segment = ReferencedSegment(
        seg.result.sop_class_uid,
        seg.result.sop_instance_uid,
        seg.segments[value].number,
        source_images=[SourceImageForSegmentation(*image) for image in cited],
    )
    return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **about)


def _cited(sources: Iterable[FrameSource]) -> Iterator[tuple[str, str, list[int] | None]]:
    """Class, instance and frames of each source image that a content item may name."""
    for source in sources:
        if is_citable(source.sop_instance_uid):
            frames = None if source.frame_number is None else [source.frame_number]
            yield source.sop_class_uid, source.sop_instance_uid, frames


def _derived_groups(basis: ResultBasis, found: Mapping[str, Biomarker]) -> Iterator[Group]:
    for title, site, names in _DERIVED_GROUPS:
        biomarkers = [found[name] for name in names if name in found]
        if not biomarkers:
            continue
        group = MeasurementsAndQualitativeEvaluations(
            tracking_identifier=_tracking(basis, title),
            finding_sites=[FindingSite(site)] if site else None,
            measurements=_measurements(biomarkers),
        )
        yield _with_texts(group, biomarkers, basis)


def _tracking(basis: ResultBasis, what: str) -> TrackingIdentifier:
    return TrackingIdentifier(uid=tracking_uid(basis.context.series_seed, what), identifier=what)


def _measurements(biomarkers: Sequence[Biomarker]) -> list[Measurement]:
    return [
        _measurement(QUANTITIES[biomarker.name], biomarker.value, biomarker.unit)
        for biomarker in biomarkers
        if biomarker.value is not None
    ]


def _measurement(quantity: Quantity, value: float, unit: str) -> Measurement:
    """A number that a reader sees as it is written: no second one of more digits (PS3.3 C.18.1)."""
    measurement = Measurement(
        name=quantity.code, value=float(value), unit=UNITS[unit], method=quantity.method
    )
    (measured,) = measurement[0].MeasuredValueSequence
    measured.NumericValue = DS(in_report(value, unit))
    del measured.FloatingPointValue
    _modify(measurement[0], quantity)
    return measurement


def _with_texts(group: Group, biomarkers: Sequence[Biomarker], basis: ResultBasis) -> Group:
    """Add why a quantity has no number, and why one that has is to be reviewed."""
    measured = {biomarker.name for biomarker in biomarkers if biomarker.value is not None}
    for finding in basis.case.quality:
        if finding.verdict is Verdict.REVIEW and measured & set(finding.concerns):
            text = f"To be reviewed: {finding.reason}."
            item = TextContentItem(COMMENT, text, RelationshipTypeValues.CONTAINS)
            group[0].ContentSequence.append(item)
    for biomarker in biomarkers:
        if biomarker.withheld is not None:
            quantity = QUANTITIES[biomarker.name]
            item = TextContentItem(
                quantity.code,
                f"Not computed: {biomarker.withheld}",
                RelationshipTypeValues.CONTAINS,
            )
            _modify(item, quantity)
            group[0].ContentSequence.append(item)
    return group


def _modify(item: Any, quantity: Quantity) -> None:
    """State that a quantity is indexed to body surface area (PS3.16 CID 3455)."""
    if not quantity.indexed:
        return
    modifier = CodeContentItem(INDEX, BODY_SURFACE_AREA, RelationshipTypeValues.HAS_CONCEPT_MOD)
    item.ContentSequence = ContentSequence([*item.get("ContentSequence", ()), modifier])
