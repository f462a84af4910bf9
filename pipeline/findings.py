"""The `findings.json` contract: what was found in each series, as data other programs can read.

`deploy/findings.md` explains it in words, `deploy/findings.schema.json` is generated from here.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    model_validator,
)

from config.version import SOFTWARE_VERSION
from pipeline.case import Verdict
from pipeline.results.normal_ranges import Flag

SCHEMA_VERSION = "1.4"
_JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"

Status = Literal["completed", "rejected", "unrouted"]
Probability = Annotated[FiniteFloat, Field(ge=0, le=1)]


class _Finding(BaseModel):
    model_config = ConfigDict(frozen=True)


class PhaseFinding(_Finding):
    """A key phase of the cardiac cycle."""

    index: int = Field(ge=0, description="Zero-based index of the phase in the stack.")
    trigger_time_ms: FiniteFloat = Field(
        description="Time after the R wave, median over the slices, in ms; where the images state "
        "none, an estimate, which the check `missing_images` notes."
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


class NormalRangeFinding(_Finding):
    """Limits of healthy people of the patient's sex; the limits themselves are normal."""

    lower: FiniteFloat
    upper: FiniteFloat
    people: str = Field(description="Of whom they are.")
    papillary_muscles: str = Field(description="How they count, as in the numbers of the product.")
    authority: str = Field(description="Where they are published.")


class BiomarkerFinding(_Finding):
    """A measured quantity, or why it is not stated."""

    name: str = Field(description="Stable name; the table in findings.md lists all.")
    value: FiniteFloat | None = Field(description="The value; null exactly when withheld.")
    unit: str = Field(description="Unit in UCUM notation.")
    withheld: str | None = Field(description="Why there is no value; null when there is one.")
    normal_range: NormalRangeFinding | None = Field(
        default=None, description="That of the patient's sex, where one is known."
    )
    flag: Flag | None = Field(
        default=None, description="Where the value lies in it; null when it is not judged."
    )
    unjudged: str | None = Field(default=None, description="Why it is not judged.")
    verdict: Verdict = Field(description="What all checks together say of it.")
    reasons: tuple[str, ...] = Field(
        default=(), description="Why it is to be reviewed, or was withheld; empty where it is ok."
    )

    @model_validator(mode="after")
    def _has_value_or_reason(self) -> Self:
        if (self.value is None) != bool(self.withheld):
            raise ValueError(f"{self.name}: either a value or the reason why it is withheld")
        return self


class ClassificationFinding(_Finding):
    """What a network for research says a case shows, or why it is not stated."""

    subject: str = Field(
        description="What was classified: ecg, spect or disease_group (of a cine)."
    )
    found: str | None = Field(
        description="The likeliest class, as the network calls it; null exactly when withheld."
    )
    confidence: Probability | None = Field(description="Its probability; null when withheld.")
    probabilities: dict[str, Probability] = Field(
        description="Of every class, by name; empty when withheld."
    )
    withheld: str | None = Field(description="Why nothing is stated; null when it is.")
    training: str = Field(
        description="What the network was trained on, and that it is not validated."
    )

    @model_validator(mode="after")
    def _has_class_or_reason(self) -> Self:
        if (self.found is None) != bool(self.withheld):
            raise ValueError("either a class or the reason why it is withheld")
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
        description="sr, seg_ed, seg_es, seg_lge, explanation_ed or explanation_es, with a suffix "
        "where the source slices have a series each; page, pdf; what begins with key is for "
        "display: key_ed_01 and so on, key_seg_ed, key_sr_ed."
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
    classification: ClassificationFinding | None = Field(
        default=None, description="What a network for research says, where one took part."
    )
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

    def with_paths(self, paths: Sequence[str | None]) -> Self:
        """Return a copy that says where each object was saved; `paths` in the order of objects."""
        placed = tuple(
            item.model_copy(update={"path": path})
            for item, path in zip(self.objects, paths, strict=True)
        )
        return self.model_copy(update={"objects": placed})

    def with_saved_objects(self) -> Self:
        """Return a copy that names only the objects that were saved."""
        saved = tuple(item for item in self.objects if item.path is not None)
        return self.model_copy(update={"objects": saved})


def read_series_findings(text: str | None) -> SeriesFindings | None:
    """Read what was found in one stack; None where another version said what this one cannot."""
    if text is None:
        return None
    try:
        return SeriesFindings.model_validate_json(text)
    except ValidationError:
        return None


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


def write_findings(path: Path, findings: Findings) -> None:
    """Write findings as JSON in UTF-8."""
    path.write_text(findings.model_dump_json(indent=2) + "\n", encoding="utf-8")


def findings_schema() -> str:
    """JSON Schema of the contract, as `deploy/findings.schema.json` holds it."""
    schema = Findings.model_json_schema(mode="serialization")
    return json.dumps({"$schema": _JSON_SCHEMA, **schema}, indent=2) + "\n"
