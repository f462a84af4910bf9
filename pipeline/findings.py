"""The `findings.json` contract: what was found in each series, as data other programs can read.

`deploy/findings.md` explains it in words, `deploy/findings.schema.json` is generated from here.
"""

import json
import platform
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from config.version import SOFTWARE_VERSION
from pipeline.aha import septa
from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    Case,
    CineCase,
    LgeCase,
    LgeStack,
    ShortAxisStack,
    Verdict,
)
from pipeline.results import ResultObject
from pipeline.results.common import models_of
from pipeline.results.source import (
    frame_of_reference_uid,
    header_notes,
    study_instance_uid,
)
from pipeline.stages.coverage import apex_is_last

if TYPE_CHECKING:
    from pipeline.routing import Proposal

SCHEMA_VERSION = "1.2"
_JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_LIBRARIES = ("highdicom", "numpy", "pydicom", "SimpleITK", "torch")

Status = Literal["completed", "rejected", "unrouted"]
Probability = Annotated[FiniteFloat, Field(ge=0, le=1)]


class _Finding(BaseModel):
    model_config = ConfigDict(frozen=True)


class PhaseFinding(_Finding):
    """A key phase of the cardiac cycle."""

    index: int = Field(ge=0, description="Zero-based index of the phase in the stack.")
    trigger_time_ms: FiniteFloat = Field(
        description="Time after the R wave, median over the slices, in ms."
    )


class PhasesFinding(_Finding):
    """End diastole and end systole."""

    ed: PhaseFinding = Field(description="End diastole.")
    es: PhaseFinding = Field(description="End systole.")


class VolumeCurve(_Finding):
    """Volumes over the cardiac cycle, one value per phase, in ml."""

    lv: tuple[FiniteFloat, ...] = Field(description="LV cavity, papillary muscles included.")
    rv: tuple[FiniteFloat, ...] = Field(description="RV cavity.")


class SliceFinding(_Finding):
    """A slice position of the stack."""

    sop_instance_uids: tuple[str, ...] = Field(
        description="Source instances at this position, in the order of the phases."
    )
    relevant: bool = Field(description="Whether the slice shows the LV and was measured.")
    probability: Probability = Field(description="Probability that the slice shows the LV.")


class LeftOutFinding(_Finding):
    """An image that was not used because another one of the same slice was."""

    sop_instance_uid: str
    series_instance_uid: str
    frame_number: int | None = Field(
        description="Frame of an Enhanced instance, from 1; else null."
    )
    reason: str


Vector = tuple[FiniteFloat, FiniteFloat, FiniteFloat]


class SeptumSlice(_Finding):
    """Where the right ventricle meets the left in one slice of a cine at ED (LPS, mm)."""

    centre_mm: Vector = Field(description="Centre of the LV cavity.")
    directions: tuple[Vector, Vector, Vector] = Field(
        description="From there to the anterior insertion, the middle of the septum, the inferior."
    )


class SeptumFinding(_Finding):
    """Where the septum lies; numbers the segments of a late enhancement stack of the study."""

    frame_of_reference_uid: str
    slices: tuple[SeptumSlice, ...] = Field(description="Those that show both insertions.")


class BiomarkerFinding(_Finding):
    """A measured quantity, or why it is not stated."""

    name: str = Field(description="Stable name; the table in findings.md lists all.")
    value: FiniteFloat | None = Field(description="The value; null exactly when withheld.")
    unit: str = Field(description="Unit in UCUM notation.")
    withheld: str | None = Field(description="Why there is no value; null when there is one.")

    @model_validator(mode="after")
    def _has_value_or_reason(self) -> Self:
        if (self.value is None) != bool(self.withheld):
            raise ValueError(f"{self.name}: either a value or the reason why it is withheld")
        return self


class QualityCheck(_Finding):
    """A quality check of the result."""

    check: str = Field(description="Stable name of the check.")
    verdict: Verdict = Field(
        description="ok; review: a person should look; withheld: biomarkers were taken back."
    )
    reason: str = Field(description="What was seen, in words.")
    value: FiniteFloat | None = Field(description="The number that was judged, if it is one.")
    biomarkers: tuple[str, ...] = Field(
        default=(),
        description="Which were taken back, or are to be reviewed; empty: none in particular.",
    )


class ModelFinding(_Finding):
    """A network that took part."""

    name: str
    version: str
    weights_sha256: str = Field(description="SHA-256 of the weights file.")
    licence: str = Field(description="Licence of the weights.")


class Provenance(_Finding):
    """How a result came about."""

    models: tuple[ModelFinding, ...] = Field(description="Networks, in the order of the stages.")
    versions: dict[str, str] = Field(description="The product, Python, and the main libraries.")
    seconds: dict[str, FiniteFloat] = Field(description="Time taken by each stage.")
    device: str = Field(description="Where the networks ran; empty when none did.")
    numeric_backend: str = Field(description="Arithmetic that decides the last digits.")


class ObjectFinding(_Finding):
    """A DICOM object that was written."""

    path: str | None = Field(description="File relative to this one; null when sent, not saved.")
    sop_class_uid: str
    sop_instance_uid: str
    role: str = Field(
        description="sr, seg_ed, seg_es, seg_lge, explanation_ed or explanation_es; "
        "a suffix where the source slices have a series each."
    )
    segments: tuple[str, ...] = Field(description="Labels of the segments; empty for a report.")


class _Measured(_Finding):
    """What a completed stack has; null or empty for any other."""

    phases: PhasesFinding | None = Field(default=None, description="ED and ES.")
    volume_curve_ml: VolumeCurve | None = Field(default=None, description="Volumes over time.")
    slices: tuple[SliceFinding, ...] = Field(
        default=(), description="Slice positions, along the normal of the slices."
    )
    inversion_times_ms: tuple[FiniteFloat | None, ...] = Field(
        default=(), description="Of each slice of a late enhancement stack, as stated."
    )
    images_left_out: tuple[LeftOutFinding, ...] = Field(
        default=(), description="Images of a late enhancement stack that others replace."
    )
    septum: SeptumFinding | None = Field(default=None, description="Where a cine shows it.")
    joined_series_instance_uids: tuple[str, ...] = Field(
        default=(), description="Cine series whose findings the late enhancement report took in."
    )
    joined_report_uid: str | None = Field(
        default=None, description="SOP Instance UID of the report of these."
    )
    biomarkers: tuple[BiomarkerFinding, ...] = Field(default=(), description="Each name once.")
    quality: tuple[QualityCheck, ...] = Field(default=(), description="All checks, passed or not.")
    provenance: Provenance | None = Field(default=None, description="How the result came about.")
    objects: tuple[ObjectFinding, ...] = Field(default=(), description="DICOM objects written.")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [biomarker.name for biomarker in self.biomarkers]
        if len(names) != len(set(names)):
            raise ValueError("each biomarker stands once")
        return self


class _SeriesHead(_Finding):
    series_instance_uids: tuple[str, ...] = Field(description="Source series, sorted.")
    study_instance_uid: str
    pipeline: str | None = Field(description="Which pipeline took it; null when none did.")
    status: Status = Field(
        description="completed; rejected: a pipeline took it and could not measure it; unrouted."
    )
    reason: str | None = Field(description="Why it was rejected or left alone; else null.")
    code: str | None = Field(default=None, description="Stable code of a rejection; else null.")


# pydantic puts the fields of the last base first: the head of each JSON object.
class SeriesFindings(_Measured, _SeriesHead):
    """What was found in one stack, or why a series was not measured."""

    def with_paths(self, paths: Sequence[str]) -> Self:
        """Return a copy that says where each object was saved; `paths` in the order of objects."""
        placed = tuple(
            item.model_copy(update={"path": path})
            for item, path in zip(self.objects, paths, strict=True)
        )
        return self.model_copy(update={"objects": placed})


class _RunHead(_Finding):
    schema_version: str = Field(
        default=SCHEMA_VERSION, description="Of this contract: major.minor; minor only adds."
    )
    software_version: str = Field(
        default_factory=lambda: SOFTWARE_VERSION, description="Of the product."
    )
    files_left_out: tuple[str, ...] = Field(
        default=(), description="Files that were not used, each with the reason."
    )
    series: tuple[SeriesFindings, ...] = Field(
        description="One entry per stack, and per series that was left alone."
    )


class Findings(_Measured, _RunHead):
    """Findings of one run over files.

    The fields of a measured stack stand here once more when exactly one stack was completed; with
    none or several they are null or empty.
    """

    @classmethod
    def of(cls, series: Iterable[SeriesFindings], files_left_out: Iterable[str] = ()) -> Self:
        """Collect the findings of a run."""
        entries = tuple(series)
        completed = [entry for entry in entries if entry.status == "completed"]
        measured = completed[0] if len(completed) == 1 else _Measured()
        return cls(
            series=entries,
            files_left_out=tuple(files_left_out),
            **{name: getattr(measured, name) for name in _Measured.model_fields},
        )


def completed_findings(
    case: Case, objects: Iterable[ResultObject], *, pipeline: str, numeric_backend: str
) -> SeriesFindings:
    """State what a pipeline found in a case, and the objects written from it."""
    stack = case.stack
    return SeriesFindings(
        series_instance_uids=_series(stack),
        study_instance_uid=study_instance_uid(stack),
        pipeline=pipeline,
        status="completed",
        reason=None,
        slices=_slices(case),
        **_of_kind(case),
        biomarkers=tuple(
            BiomarkerFinding(name=b.name, value=b.value, unit=b.unit, withheld=b.withheld)
            for b in case.biomarkers
        ),
        quality=(*_quality(case), *_source_header_check(stack)),
        provenance=_provenance(case, numeric_backend),
        objects=tuple(_object(item) for item in objects),
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


def write_findings(path: Path, findings: Findings) -> None:
    """Write findings as JSON in UTF-8."""
    path.write_text(findings.model_dump_json(indent=2) + "\n", encoding="utf-8")


def findings_schema() -> str:
    """JSON Schema of the contract, as `deploy/findings.schema.json` holds it."""
    schema = Findings.model_json_schema(mode="serialization")
    return json.dumps({"$schema": _JSON_SCHEMA, **schema}, indent=2) + "\n"


def _series(stack: ShortAxisStack) -> tuple[str, ...]:
    """All series of a stack, those without an image that counts, too."""
    left_out = stack.left_out if isinstance(stack, LgeStack) else ()
    return tuple(
        sorted({*stack.series_instance_uids, *(one.series_instance_uid for one in left_out)})
    )


def _of_kind(case: Case) -> dict[str, Any]:
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
    """Where the septum lies at ED; None where nothing is segmented."""
    if case.phases is None or case.segmentation is None:
        return None
    labels = case.outlines[0]
    found = septa(
        labels == LV_CAVITY,
        labels == LV_MYOCARDIUM,
        labels == RV_CAVITY,
        case.stack.affine,
        apex_last=apex_is_last(case),
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


def _quality(case: Case) -> Iterator[QualityCheck]:
    for finding in case.quality:
        yield QualityCheck(
            check=finding.check,
            verdict=finding.verdict,
            reason=finding.reason,
            value=finding.value,
            biomarkers=(*finding.withholds, *finding.concerns),
        )


def _source_header_check(stack: ShortAxisStack) -> Iterator[QualityCheck]:
    """Note what results could not take over from the source headers; no verdict on the numbers."""
    notes = header_notes(stack)
    if notes:
        yield QualityCheck(
            check="source_headers", verdict=Verdict.OK, reason="; ".join(notes), value=None
        )


def _provenance(case: Case, numeric_backend: str) -> Provenance:
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
