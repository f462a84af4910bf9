"""What is stated in the findings of a case, or of a series that was not measured."""

import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from config.version import SOFTWARE_VERSION
from pipeline.aha import septa
from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    BaseCase,
    Case,
    CineCase,
    ShortAxisStack,
    Sources,
    Verdict,
)
from pipeline.findings import (
    BiomarkerFinding,
    ClassificationFinding,
    LeftOutFinding,
    ModelFinding,
    NormalRangeFinding,
    ObjectFinding,
    PhaseFinding,
    PhasesFinding,
    Provenance,
    QualityCheck,
    SeptumFinding,
    SeptumSlice,
    SeriesFindings,
    SliceFinding,
    Status,
    VolumeCurve,
)
from pipeline.lge_case import LgeCase, LgeStack
from pipeline.patient import demographics
from pipeline.results import ResultObject
from pipeline.results.common import models_of
from pipeline.results.normal_ranges import assess
from pipeline.results.source import (
    frame_of_reference_uid,
    header_notes,
    study_instance_uid,
)
from pipeline.stages.coverage import apex_is_last
from pipeline.verdicts import verdict_of

if TYPE_CHECKING:
    from pipeline.routing import Proposal

_LIBRARIES = ("highdicom", "numpy", "pydicom", "SimpleITK", "torch")


def completed_findings(
    case: BaseCase, objects: Iterable[ResultObject], *, pipeline: str, numeric_backend: str
) -> SeriesFindings:
    """State what a pipeline found in a case, and the objects written from it."""
    stack = case.stack
    return SeriesFindings(
        series_instance_uids=_series(stack),
        study_instance_uid=study_instance_uid(stack),
        pipeline=pipeline,
        status="completed",
        reason=None,
        slices=_slices(case) if isinstance(case, Case) else (),
        **_of_kind(case),
        classification=_classification(case),
        biomarkers=tuple(_biomarkers(case)),
        quality=(*_quality(case), *_source_header_check(stack)),
        provenance=_provenance(case, numeric_backend),
        objects=tuple(_object(item) for item in objects),
    )


def _biomarkers(case: BaseCase) -> Iterator[BiomarkerFinding]:
    """State each biomarker beside its normal range, and what the checks say of it."""
    of = demographics(case.stack.headers)
    for one in case.biomarkers:
        assessed, found = assess(one, of), verdict_of(one, case.quality)
        limits = assessed.range
        yield BiomarkerFinding(
            name=one.name,
            value=one.value,
            unit=one.unit,
            withheld=one.withheld,
            normal_range=None
            if limits is None
            else NormalRangeFinding(
                lower=limits.lower,
                upper=limits.upper,
                people=limits.people,
                papillary_muscles=limits.papillary_muscles,
                authority=limits.source,
            ),
            flag=assessed.flag,
            unjudged=assessed.why_unjudged,
            verdict=found.verdict,
            reasons=found.reasons,
        )


def uncompleted_findings(
    proposal: "Proposal", *, status: Status, code: str | None, reason: str
) -> SeriesFindings:
    """State why a series was rejected or left alone."""
    return SeriesFindings(
        series_instance_uids=proposal.series_instance_uids,
        study_instance_uid=proposal.headers[0].study_instance_uid,
        pipeline=proposal.pipeline,
        status=status,
        reason=reason,
        code=code,
    )


def _series(stack: Sources) -> tuple[str, ...]:
    """All series of a stack, those without an image that counts, too."""
    left_out = stack.left_out if isinstance(stack, LgeStack) else ()
    return tuple(
        sorted({*stack.series_instance_uids, *(one.series_instance_uid for one in left_out)})
    )


def _of_kind(case: BaseCase) -> dict[str, Any]:
    """What only a case of this kind has."""
    if isinstance(case, CineCase):
        return {
            "phases": _phases(case),
            "volume_curve_ml": _volume_curve(case),
            "septum": _septum(case),
        }
    if isinstance(case, LgeCase):
        return {
            "inversion_times_ms": case.stack.inversion_times_ms,
            "images_left_out": tuple(
                LeftOutFinding(
                    sop_instance_uid=one.sop_instance_uid,
                    series_instance_uid=one.series_instance_uid,
                    frame_number=one.frame_number,
                    reason=one.reason,
                )
                for one in case.stack.left_out
            ),
            "joined_series_instance_uids": (
                case.companion.series_instance_uids if case.companion else ()
            ),
            "joined_report_uid": case.companion.report_uid if case.companion else None,
        }
    return {}


def _septum(case: CineCase) -> SeptumFinding | None:
    """Where the septum lies at ED; None without label maps, or where the apex is not known."""
    if case.phases is None or case.segmentation is None:
        return None
    labels, apex_last = case.outlines[0], apex_is_last(case)
    if apex_last is None:
        return None
    found = septa(
        labels == LV_CAVITY,
        labels == LV_MYOCARDIUM,
        labels == RV_CAVITY,
        case.stack.affine,
        apex_last=apex_last,
    )
    return SeptumFinding(
        frame_of_reference_uid=frame_of_reference_uid(case.stack),
        slices=tuple(
            SeptumSlice(centre_mm=one.centre_mm.tolist(), directions=one.directions.tolist())
            for one in found
            if one is not None
        ),
    )


def _phases(case: CineCase) -> PhasesFinding | None:
    if case.phases is None:
        return None
    times = case.stack.trigger_times_ms
    ed, es = (
        PhaseFinding(index=index, trigger_time_ms=float(times[index]))
        for index in (case.phases.ed, case.phases.es)
    )
    return PhasesFinding(ed=ed, es=es)


def _volume_curve(case: CineCase) -> VolumeCurve | None:
    if case.volume_curve_ml is None:
        return None
    lv, rv = (tuple(case.volume_curve_ml[side].tolist()) for side in ("lv", "rv"))
    return VolumeCurve(lv=lv, rv=rv)


def _slices(case: Case) -> tuple[SliceFinding, ...]:
    if case.relevance is None:
        return ()
    return tuple(
        SliceFinding(
            sop_instance_uids=_instances(case.stack, z),
            relevant=relevant,
            probability=float(probability),
        )
        for z, (relevant, probability) in enumerate(
            zip(case.relevance.relevant, case.relevance.probability, strict=True)
        )
    )


def _instances(stack: ShortAxisStack, z: int) -> tuple[str, ...]:
    cells = (row[z] for row in stack.sources)
    return tuple(dict.fromkeys(cell.sop_instance_uid for cell in cells if cell is not None))


def _classification(case: BaseCase) -> ClassificationFinding | None:
    told = case.classification
    if told is None:
        return None
    return ClassificationFinding(
        subject=told.subject,
        found=told.found,
        confidence=told.confidence,
        probabilities=dict(told.probabilities),
        withheld=told.withheld,
        training=told.training,
    )


def _quality(case: BaseCase) -> Iterator[QualityCheck]:
    for finding in case.quality:
        yield QualityCheck(
            check=finding.check,
            verdict=finding.verdict,
            reason=finding.reason,
            value=finding.value,
            biomarkers=(*finding.withholds, *finding.concerns),
        )


def _source_header_check(stack: Sources) -> Iterator[QualityCheck]:
    """Note what results could not take over from the source headers; no verdict on the numbers."""
    notes = header_notes(stack)
    if notes:
        yield QualityCheck(
            check="source_headers", verdict=Verdict.OK, reason="; ".join(notes), value=None
        )


def _provenance(case: BaseCase, numeric_backend: str) -> Provenance:
    models = [
        ModelFinding(
            name=model.name,
            version=model.version,
            weights_sha256=model.weights_sha256,
            licence=model.licence,
        )
        for model in models_of(case)
    ]
    devices = [stage.device for stage in case.provenance if stage.models]
    return Provenance(
        models=tuple(models),
        versions=_versions(),
        seconds={stage.stage: stage.seconds for stage in case.provenance},
        device=devices[-1] if devices else "",
        numeric_backend=numeric_backend,
    )


def _versions() -> dict[str, str]:
    return {
        "dicom-node": SOFTWARE_VERSION,
        "python": platform.python_version(),
        **{library: version(library) for library in _LIBRARIES},
    }


def _object(item: ResultObject) -> ObjectFinding:
    return ObjectFinding(
        path=None,
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=item.sop_instance_uid,
        role=item.role,
        segments=item.segments,
    )
