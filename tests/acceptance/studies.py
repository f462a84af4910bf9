"""Small synthetic studies to send, and results as an archive has them."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.coding import Code

from dicom_node.phantom import write_cine_study
from pipeline.findings import SeriesFindings
from pipeline.results.codes import (
    CARDIAC_CYCLE_PHASE,
    END_DIASTOLE,
    END_SYSTOLE,
    INDEX,
    QUANTITIES,
    in_report,
)
from pipeline.results.source import tolerant_headers
from tests.integration.peers import Orthanc

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
SR = "1.2.840.10008.5.1.4.1.1.88.34"
# Small for speed, and as whole as a real stack: end slices without LV, enough phases to detect.
SMALL = {"rows": 96, "columns": 96, "pixel_spacing_mm": (2.6, 2.6), "phases": 8, "slices": 9}
# Smaller still, for tests that look at the way of a study rather than at its numbers.
TINY = {"rows": 128, "columns": 128, "pixel_spacing_mm": (1.6, 1.6), "phases": 4, "slices": 8}


@dataclass(frozen=True, slots=True)
class Study:
    """A study on disk: its files in the order of acquisition, slice after slice."""

    uid: str
    files: tuple[Path, ...]
    slices: int = SMALL["slices"]

    def of_slices(self, first: int, end: int) -> tuple[Path, ...]:
        """Files of the slices `first` to `end` - 1, of a classic study."""
        phases = len(self.files) // self.slices
        return self.files[first * phases : end * phases]


def small_study(folder: Path, seed: int, **form: object) -> Study:
    """Write a synthetic study; `form` as in `write_cine_study`."""
    truth = write_cine_study(folder, seed, **{**SMALL, **form})  # type: ignore[arg-type]
    facts = json.loads(truth.read_text())
    files = tuple(sorted(folder.glob("synthetic-*.dcm")))
    return Study(facts["study_instance_uid"], files, len(facts["slices"]))


def rewritten(files: Sequence[Path], folder: Path, **changes: object) -> tuple[Path, ...]:
    """Write copies in which attributes are changed."""
    folder.mkdir(parents=True)
    for path in files:
        dataset = dcmread(path)
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / path.name)
    return tuple(folder / path.name for path in files)


def returned(archive: Orthanc, study_instance_uid: str) -> list[Dataset]:
    """Every object that an archive has of a study, as it came back."""
    identifiers = archive.find("Instance", StudyInstanceUID=study_instance_uid)
    with tolerant_headers():
        return [
            dcmread(io.BytesIO(archive.download(f"/instances/{identifier}/file")))
            for identifier in identifiers
        ]


def forget(archive: Orthanc, study_instance_uid: str) -> None:
    """Delete a study from an archive."""
    found = archive.find("Study", StudyInstanceUID=study_instance_uid)
    if found:
        archive.download("/tools/bulk-delete", {"Resources": found})


def of_class(objects: Sequence[Dataset], sop_class_uid: str) -> list[Dataset]:
    """Objects of a SOP class, oldest first."""
    return sorted(
        (item for item in objects if item.SOPClassUID == sop_class_uid),
        key=lambda item: int(item.InstanceNumber),
    )


def uids(objects: Sequence[Dataset]) -> set[str]:
    """Their SOP Instance UIDs."""
    return {str(item.SOPInstanceUID) for item in objects}


def values(findings: SeriesFindings) -> dict[str, float]:
    """Biomarkers that have a number, by name."""
    return {item.name: item.value for item in findings.biomarkers if item.value is not None}


def as_reported(findings: SeriesFindings) -> dict[str, float]:
    """Numbers of the findings with the decimals that a report states."""
    return {
        item.name: float(in_report(item.value, item.unit))
        for item in findings.biomarkers
        if item.value is not None
    }


def reported(report: Dataset) -> dict[str, float]:
    """Numbers of a report by the names of the findings, read with highdicom.

    Age, height and weight are the patient's, and stand in the report alone.
    """
    content = hd.sr.Comprehensive3DSR.from_dataset(report).content
    groups = [
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ]
    found: dict[str, float] = {}
    for group in groups:
        phase = _phase(group)
        for measurement in group.get_measurements():
            is_indexed = any(item.name == _INDEX for item in _children(measurement[0]))
            (name,) = (
                name
                for name, item in QUANTITIES.items()
                if (item.code.value, item.indexed) == (measurement.name.value, is_indexed)
                and (item.site is None or _is_at(item.site, measurement))
                and (item.code != _THICKNESS or name.startswith(phase))
            )
            assert name not in found, f"{name} is stated twice"
            found[name] = measurement.value
    return {name: value for name, value in found.items() if name not in _OF_PATIENT}


def _phase(group: hd.sr.MeasurementsAndQualitativeEvaluations) -> str:
    """Name of the cardiac phase of a measurement group, if it is of one."""
    codes = {item.value for item in group.get_qualitative_evaluations(CARDIAC_CYCLE_PHASE)}
    return next((phase.name for phase in (END_DIASTOLE, END_SYSTOLE) if phase.code in codes), "-")


def _is_at(site: Code, measurement: hd.sr.Measurement) -> bool:
    return site.value in {found.value.value for found in measurement.finding_sites}


def sentences(report: Dataset) -> str:
    """All text items of a report, one per line."""
    found: list[str] = []

    def collect(item: Dataset) -> None:
        if item.get("ValueType") == "TEXT":
            found.append(item.TextValue)
        for child in _children(item):
            collect(child)

    collect(report)
    return "\n".join(found)


def same_numbers(found: Mapping[str, float], expected: Mapping[str, float]) -> bool:
    """Whether the same quantities have the same values."""
    return found == pytest.approx(dict(expected), abs=1e-4)


_OF_PATIENT = ("age", "height", "weight")
_THICKNESS = QUANTITIES["ed_wall_thickness_1"].code
_INDEX = Code(INDEX.value, INDEX.scheme_designator, INDEX.meaning)


def _children(item: Dataset) -> Sequence[Dataset]:
    return list(item.get("ContentSequence", ()))
