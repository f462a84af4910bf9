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
    MeasurementProperties,
    MeasurementsAndQualitativeEvaluations,
    NormalRangeProperties,
    NumContentItem,
    PlanarROIMeasurementsAndQualitativeEvaluations,
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

from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, Biomarker, FrameSource, ModelUse, Verdict
from pipeline.results.class_codes import CERTAINTY, SUBJECTS, coded_class
from pipeline.results.codes import (
    ABNORMALLY_HIGH,
    ABNORMALLY_LOW,
    AI_FAMILY,
    BODY_SURFACE_AREA,
    CARDIAC_CYCLE_PHASE,
    COMMENT,
    FINDING,
    INDEX,
    LOWER_LIMIT,
    LV_EXPLANATION,
    NORMAL,
    PAPILLARY_INCLUDED,
    PAPILLARY_MUSCLES,
    QUANTITIES,
    SEXES,
    STRUCTURES,
    SUBJECT_SEX,
    UNITS,
    UPPER_LIMIT,
    KeyPhase,
    Quantity,
    in_report,
)
from pipeline.results.common import Basis, ResultBasis, model_of
from pipeline.results.contents import DerivedGroup, StructureGroup
from pipeline.results.normal_ranges import Assessment, Flag
from pipeline.results.seg import WrittenSegmentation, subject
from pipeline.results.source import is_citable
from pipeline.results.statements import text_item
from pipeline.results.uids import tracking_uid

_HAS_PROPERTIES = RelationshipTypeValues.HAS_PROPERTIES
_NORMALITY: Mapping[Flag, Code] = {
    Flag.LOW: ABNORMALLY_LOW,
    Flag.NORMAL: NORMAL,
    Flag.HIGH: ABNORMALLY_HIGH,
}
Group = (
    MeasurementsAndQualitativeEvaluations
    | PlanarROIMeasurementsAndQualitativeEvaluations
    | VolumetricROIMeasurementsAndQualitativeEvaluations
)

_WITH_PAPILLARY_MUSCLES = (LV_CAVITY, LV_EXPLANATION, LV_MYOCARDIUM)


def measurement_groups(basis: ResultBasis, written: Sequence[WrittenSegmentation]) -> list[Group]:
    """State every biomarker of the case once.

    Returns
    -------
    list of Group
        TID 1411 groups that reference a segment; TID 1501 groups for derived quantities, and for a
        structure whose mask is spread over several SEGs or is missing.
    """
    of = basis.contents.demographics
    known = (fact for fact in (of.age, of.height, of.weight) if fact.value is not None)
    found = {one.name: one for one in (*basis.contents.biomarkers, *known)}
    return [
        *_structure_groups(basis, written, found),
        *_derived_groups(basis, found),
        *classification_groups(basis),
    ]


def classification_groups(basis: Basis) -> Iterator[Group]:
    """State what a network says the case shows (TID 1501), or why that is withheld.

    The finding is the class; the probability of each is a number of its own.
    """
    told = basis.case.classification
    if told is None:
        return
    subject = SUBJECTS[told.subject]
    found = None if told.found is None else coded_class(told.subject, told.found).code
    model = model_of("classification", basis)
    numbers = [
        (coded_class(told.subject, name).probability, probability, "1")
        for name, probability in told.probabilities.items()
    ]
    if told.confidence is not None:
        numbers.insert(0, (CERTAINTY, 100 * told.confidence, "%"))
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(basis, subject.title),
        finding_type=found,
        finding_sites=[FindingSite(subject.site)],
        algorithm_id=_algorithm(model),
        measurements=[_measurement(Quantity(code), value, unit) for code, value, unit in numbers],
    )
    if told.withheld is not None:
        group[0].ContentSequence.append(text_item(FINDING, f"Withheld: {told.withheld}"))
    yield group


def _algorithm(model: ModelUse) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        model.name,
        model.version,
        parameters=[f"weights SHA-256 {model.weights_sha256}", f"licence {model.licence}"],
        family=AI_FAMILY,
    )


def region_group(
    basis: ResultBasis,
    what: str,
    phase: KeyPhase,
    biomarkers: Sequence[Biomarker],
    **about: Any,
) -> Group:
    """Build a group on a region of an image (TID 1410) that states these biomarkers.

    `what` identifies the region; `about` goes to the constructor of the group.
    """
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(basis, what),
        measurements=_measurements(biomarkers, basis),
        qualitative_evaluations=[*_phase(phase)],
        **about,
    )
    return _with_texts(group, biomarkers, basis)


def _structure_groups(
    basis: ResultBasis,
    written: Sequence[WrittenSegmentation],
    found: Mapping[str, Biomarker],
) -> Iterator[Group]:
    for group in basis.contents.structures:
        value = group.value
        holders = [seg for seg in written if seg.phase is group.phase and value in seg.segments]
        biomarkers = [found[name] for name in group.biomarkers if name in found]
        if holders or biomarkers:
            about = {
                **_about_structure(group, basis),
                "measurements": _measurements(biomarkers, basis),
            }
            yield _with_texts(_located(holders, value, about), biomarkers, basis)


def _about_structure(group: StructureGroup, basis: ResultBasis) -> dict[str, Any]:
    phase, value = group.phase, group.value
    structure, model = STRUCTURES[value], model_of(group.stage, basis)
    evaluations = [*_phase(phase)]
    if value in _WITH_PAPILLARY_MUSCLES:
        evaluations.append(QualitativeEvaluation(PAPILLARY_MUSCLES, PAPILLARY_INCLUDED))
    return {
        "tracking_identifier": _tracking(basis, subject(phase, value)),
        "finding_category": structure.category,
        "finding_type": structure.code,
        "finding_sites": [FindingSite(structure.site or structure.code)],
        "algorithm_id": _algorithm(model),
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
    for about in basis.contents.derived:
        biomarkers = [found[name] for name in about.biomarkers if name in found]
        if not biomarkers:
            continue
        group = MeasurementsAndQualitativeEvaluations(
            tracking_identifier=_tracking(basis, about.title),
            finding_sites=[FindingSite(about.site)] if about.site else None,
            measurements=_measurements(biomarkers, basis),
            qualitative_evaluations=[*_phase(about.phase), *_sex(basis, about)],
        )
        yield _with_texts(group, biomarkers, basis)


def _tracking(basis: Basis, what: str) -> TrackingIdentifier:
    return TrackingIdentifier(uid=tracking_uid(basis.context.series_seed, what), identifier=what)


def _phase(phase: KeyPhase | None) -> Iterator[QualitativeEvaluation]:
    if phase is not None and phase.code is not None:
        yield QualitativeEvaluation(CARDIAC_CYCLE_PHASE, phase.code)


def _sex(basis: ResultBasis, about: DerivedGroup) -> Iterator[QualitativeEvaluation]:
    sex = basis.contents.demographics.sex
    if about.of_patient and sex:
        yield QualitativeEvaluation(SUBJECT_SEX, SEXES[sex])


def _measurements(biomarkers: Sequence[Biomarker], basis: ResultBasis) -> list[Measurement]:
    return [
        _measurement(
            QUANTITIES[biomarker.name],
            biomarker.value,
            biomarker.unit,
            _properties(basis.contents.assessments.get(biomarker.name)),
        )
        for biomarker in biomarkers
        if biomarker.value is not None
    ]


def _properties(assessment: Assessment | None) -> MeasurementProperties | None:
    """Normal range with its authority, and where the number lies in it (PS3.16 TID 310)."""
    if assessment is None or assessment.range is None:
        return None
    limits, unit = assessment.range, UNITS[assessment.range.unit]
    return MeasurementProperties(
        normality=_NORMALITY[assessment.flag] if assessment.flag else None,
        normal_range_properties=NormalRangeProperties(
            [
                NumContentItem(name, limit, unit, relationship_type=_HAS_PROPERTIES)
                for name, limit in ((LOWER_LIMIT, limits.lower), (UPPER_LIMIT, limits.upper))
            ],
            description=f"{limits.people}, {limits.convention}",
            authority=limits.source,
        ),
    )


def _measurement(
    quantity: Quantity,
    value: float,
    unit: str,
    properties: MeasurementProperties | None = None,
) -> Measurement:
    """A number that a reader sees as it is written: no second one of more digits (PS3.3 C.18.1)."""
    measurement = Measurement(
        name=quantity.code,
        value=float(value),
        unit=UNITS[unit],
        method=quantity.method,
        finding_sites=[FindingSite(quantity.site)] if quantity.site else None,
        properties=properties,
    )
    (measured,) = measurement[0].MeasuredValueSequence
    measured.NumericValue = DS(in_report(value, unit))
    del measured.FloatingPointValue
    _modify(measurement[0], quantity)
    return measurement


def _with_texts(group: Group, biomarkers: Sequence[Biomarker], basis: ResultBasis) -> Group:
    """Add why a quantity has no number, and why one that has is to be reviewed."""
    measured = {biomarker.name for biomarker in biomarkers if biomarker.value is not None}
    for finding in basis.contents.quality:
        if finding.verdict is Verdict.REVIEW and measured & set(finding.concerns):
            text = f"To be reviewed: {finding.reason}."
            item = TextContentItem(COMMENT, text, RelationshipTypeValues.CONTAINS)
            group[0].ContentSequence.append(item)
    for quantity, reason in _withheld(biomarkers):
        text = f"Not computed: {reason}"
        item = TextContentItem(
            quantity.family or quantity.code, text, RelationshipTypeValues.CONTAINS
        )
        _modify(item, quantity)
        group[0].ContentSequence.append(item)
    return group


def _withheld(biomarkers: Sequence[Biomarker]) -> Iterator[tuple[Quantity, str]]:
    """Each quantity that has no number, with the reason; of a family with one reason the first."""
    told = set()
    for biomarker in biomarkers:
        if biomarker.withheld is not None:
            quantity = QUANTITIES[biomarker.name]
            key = (quantity.family or quantity.code, biomarker.withheld)
            if key not in told:
                yield quantity, biomarker.withheld
            told.add(key)


def _modify(item: Any, quantity: Quantity) -> None:
    """State that a quantity is indexed to body surface area (PS3.16 CID 3455)."""
    if not quantity.indexed:
        return
    modifier = CodeContentItem(INDEX, BODY_SURFACE_AREA, RelationshipTypeValues.HAS_CONCEPT_MOD)
    item.ContentSequence = ContentSequence([*item.get("ContentSequence", ()), modifier])
