"""Small finished cases for the tests of the result writers."""

import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Polygon
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    Biomarker,
    CineCase,
    CineStack,
    FrameSource,
    ModelUse,
    Phases,
    QualityFinding,
    Regression,
    Relevance,
    Segmentation,
    StageRecord,
    Verdict,
)
from pipeline.lge_case import LgeCase
from pipeline.results import ResultContext, ResultObject
from pipeline.results.common import EarlierObject, ResultBasis
from pipeline.results.source import patient_study, tolerant_headers

SLICES, PHASES, ROWS, COLUMNS = 6, 5, 32, 40
ED, ES = 4, 1
PIXEL_SPACING_MM = (1.4, 1.1)
SLICE_SPACING_MM = 9.0
SERIES = "1.2.3.4.1"
STUDY = "1.2.3.4"
OBLIQUE = np.array([[0.6, 0.0, -0.8], [0.64, 0.6, 0.48]])

CONTEXT = ResultContext(
    series_seed=SERIES,
    instance_number=1,
    created_at=datetime(2031, 7, 4, 22, 30, 15, 250_000, tzinfo=UTC),
    timezone="Europe/Berlin",
    institution="Test Hospital",
    station_name="CAD1",
    software_version="0.1.0",
    settings_digest="c" * 64,
    numeric_backend="test-fp32",
)
MODELS = (
    ModelUse("heart_localiser", "1.0.0", "a" * 64, "CC BY-NC-SA 4.0"),
    ModelUse("cine_unet", "2.1.0", "b" * 64, "CC BY-NC-SA 4.0"),
)
REGRESSOR = ModelUse("cine_volume_regression", "3.0.0", "d" * 64, "CC BY-NC-SA 4.0")
VALUES = {
    "lv_edv": (151.25, "ml"),
    "lv_esv": (60.5, "ml"),
    "lv_sv": (90.75, "ml"),
    "lv_ef": (60.0, "%"),
    "lv_mass": (101.5, "g"),
    "rv_edv": (161.25, "ml"),
    "rv_esv": (70.5, "ml"),
    "rv_sv": (90.5, "ml"),
    "rv_ef": (56.25, "%"),
    "cardiac_output": (5.5, "l/min"),
    "lv_peak_ejection_rate": (480.25, "ml/s"),
    "lv_peak_filling_rate": (390.5, "ml/s"),
    "heart_rate": (61.0, "/min"),
    "bsa": (1.87, "m2"),
    "lv_edv_index": (80.75, "ml/m2"),
    "lv_esv_index": (32.25, "ml/m2"),
    "lv_sv_index": (48.5, "ml/m2"),
    "lv_mass_index": (54.25, "g/m2"),
    "rv_edv_index": (86.125, "ml/m2"),
    "rv_esv_index": (37.625, "ml/m2"),
    "rv_sv_index": (48.375, "ml/m2"),
    "cardiac_output_index": (2.9375, "l/min/m2"),
}
PATIENT = {
    "PatientName": "Doe^Jane",
    "PatientID": "ID-1",
    "PatientBirthDate": "19700102",
    "PatientSex": "F",
    "PatientSize": "1.7",
    "PatientWeight": "74",
    "StudyInstanceUID": STUDY,
    "StudyDate": "20300101",
    "StudyTime": "101112",
    "StudyID": "7",
    "AccessionNumber": "A-1",
    "ReferringPhysicianName": "Ref^Doc",
    "StudyDescription": "Cardiac MR",
    "FrameOfReferenceUID": "1.2.3.4.9",
    "Manufacturer": "ACME",
    "ManufacturerModelName": "Magnet",
}


def one_series(_z: int) -> str:
    return SERIES


def series_per_slice(z: int) -> str:
    return f"{SERIES}.{z + 1}"


def make_case(
    *,
    enhanced: bool = False,
    series_of: Callable[[int], str] = one_series,
    holes: frozenset[tuple[int, int]] = frozenset(),
    header: Mapping[str, Any] | None = None,
    labels: np.ndarray | None = None,
    withheld: Mapping[str, str] | None = None,
    regression: Regression | None = None,
) -> CineCase:
    """Build a case of concentric discs; `holes` are (phase, slice) cells without an image."""
    attributes = {**PATIENT, **(header or {})}
    stack = make_stack(attributes, enhanced=enhanced, series_of=series_of, holes=holes)
    relevant = tuple(1 <= z <= 4 for z in range(SLICES))
    return CineCase(
        stack=stack,
        relevance=Relevance(np.where(relevant, 0.9, 0.1), relevant, (16.0, 20.0)),
        phases=Phases(ED, ES),
        segmentation=Segmentation(disc_labels() if labels is None else labels),
        regression=regression,
        volume_curve_ml={"lv": np.linspace(60, 150, PHASES), "rv": np.linspace(70, 160, PHASES)},
        biomarkers=make_biomarkers(withheld or {}),
        quality=(
            QualityFinding("phases_count", Verdict.OK, "20 phases"),
            QualityFinding("coverage_base", Verdict.REVIEW, "the stack may stop inside the LV"),
        ),
        provenance=(
            StageRecord("relevance", 0.5, "cpu", MODELS[:1]),
            StageRecord("segmentation", 1.5, "cpu", MODELS[1:]),
            *([StageRecord("regression", 0.5, "cpu", (REGRESSOR,))] if regression else []),
            StageRecord("biomarkers", 0.1, "cpu"),
        ),
    )


def make_biomarkers(withheld: Mapping[str, str]) -> tuple[Biomarker, ...]:
    return tuple(
        Biomarker(name, None if name in withheld else value, unit, withheld.get(name))
        for name, (value, unit) in VALUES.items()
    )


def make_regression() -> Regression:
    """What explains it: rings, which are in no label map, on slices 1 to 3 at ED and 2 at ES."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    ring = np.abs(np.hypot(y - 16, x - 22) - 6) < 2
    ed, es = np.zeros((2, SLICES, ROWS, COLUMNS), bool)
    ed[1:4], es[2] = ring, ring
    return Regression(*(VALUES[name][0] for name in ("lv_edv", "lv_esv")), ed, es)


def disc_labels() -> np.ndarray:
    """Label maps [t, z, y, x]: discs that differ in every phase and slice; z 0 and 5 are empty."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    labels = np.zeros((PHASES, SLICES, ROWS, COLUMNS), np.uint8)
    for t in range(PHASES):
        for z in range(1, SLICES - 1):
            radius = np.hypot(y - 16, x - 22 - z)
            labels[t, z][radius < 7] = LV_MYOCARDIUM
            labels[t, z][radius < 2 + t / 2 + z / 4] = LV_CAVITY
            labels[t, z][np.hypot(y - 14, x - 8) < 2 + t / 2] = RV_CAVITY if z > 1 else 0
    return labels


def case_without_es() -> CineCase:
    """The same case, but nothing is drawn at ES."""
    labels = disc_labels()
    labels[ES] = 0
    return make_case(labels=labels)


def make_stack(
    attributes: Mapping[str, Any],
    *,
    enhanced: bool,
    series_of: Callable[[int], str],
    holes: frozenset[tuple[int, int]] = frozenset(),
) -> CineStack:
    normal = np.cross(*OBLIQUE)
    positions = np.array([[-120.5, 30.25, 80.125]]) + np.arange(SLICES)[:, None] * 9.0 * normal
    cells = [
        [
            None if (t, z) in holes else _cell(t, z, series_of(z), enhanced=enhanced)
            for z in range(SLICES)
        ]
        for t in range(PHASES)
    ]
    with tolerant_headers():
        if enhanced:
            headers = {f"{STUDY}.7": _enhanced_header(positions, attributes)}
        else:
            headers = {
                cell.sop_instance_uid: _classic_header(cell, positions[z], attributes)
                for row in cells
                for z, cell in enumerate(row)
                if cell
            }
    return CineStack(
        frames=np.zeros((PHASES, SLICES, ROWS, COLUMNS), np.float32),
        sources=tuple(tuple(row) for row in cells),
        positions_mm=positions,
        row_cosines=OBLIQUE[0],
        column_cosines=OBLIQUE[1],
        pixel_spacing_mm=PIXEL_SPACING_MM,
        slice_spacing_mm=SLICE_SPACING_MM,
        slice_extent_mm=np.full(SLICES, SLICE_SPACING_MM),
        trigger_times_ms=np.arange(PHASES) * 40.0 + 12.5,
        missing=("slice 2: phase 3",) if holes else (),
        missing_fraction=len(holes) / (PHASES * SLICES),
        headers=headers,
        digests={uid: f"{i:064x}" for i, uid in enumerate(headers)},
    )


def _cell(t: int, z: int, series: str, *, enhanced: bool) -> FrameSource:
    if enhanced:
        # Frames lie phase by phase in reversed slice order: nothing may rely on their order.
        frame = t * SLICES + (SLICES - 1 - z) + 1
        return FrameSource(f"{STUDY}.7", EnhancedMRImageStorage, series, frame, t * 40.0)
    return FrameSource(f"{series}.{t}.{z}", MRImageStorage, series, None, t * 40.0)


def _identity(attributes: Mapping[str, Any], sop_class: str, uid: str, series: str) -> Dataset:
    header = Dataset()
    for keyword, value in attributes.items():
        if value is not None:
            setattr(header, keyword, value)
    header.SOPClassUID, header.SOPInstanceUID, header.SeriesInstanceUID = sop_class, uid, series
    header.Modality = "MR"
    header.Rows, header.Columns = ROWS, COLUMNS
    return header


def _decimals(values: Any) -> list[str]:
    return [f"{value:.8g}" for value in np.ravel(values)]


def _classic_header(
    cell: FrameSource, position: np.ndarray, attributes: Mapping[str, Any]
) -> Dataset:
    header = _identity(attributes, MRImageStorage, cell.sop_instance_uid, cell.series_instance_uid)
    header.PixelSpacing = _decimals(PIXEL_SPACING_MM)
    header.ImagePositionPatient = _decimals(position)
    header.ImageOrientationPatient = _decimals(OBLIQUE)
    return as_received(header)


def _enhanced_header(positions: np.ndarray, attributes: Mapping[str, Any]) -> Dataset:
    header = _identity(attributes, EnhancedMRImageStorage, f"{STUDY}.7", SERIES)
    header.NumberOfFrames = PHASES * SLICES
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = _decimals(PIXEL_SPACING_MM)
    measures.SliceThickness = "8"
    plane.ImageOrientationPatient = _decimals(OBLIQUE)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    header.SharedFunctionalGroupsSequence = [shared]
    header.PerFrameFunctionalGroupsSequence = [
        _frame_item(positions[z]) for _ in range(PHASES) for z in reversed(range(SLICES))
    ]
    return as_received(header)


def _frame_item(position: np.ndarray) -> Dataset:
    item, plane = Dataset(), Dataset()
    plane.ImagePositionPatient = _decimals(position)
    item.PlanePositionSequence = [plane]
    return item


def as_received(header: Dataset) -> Dataset:
    """Encode and decode, so that values are as undigested as those of a received instance."""
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = io.BytesIO()
    pydicom.dcmwrite(content, header, enforce_file_format=False)
    content.seek(0)
    return pydicom.dcmread(content, force=True)


def with_context(**changes: Any) -> ResultContext:
    return replace(CONTEXT, **changes)


def superseding(items: Iterable[ResultObject], **changes: Any) -> ResultContext:
    """Context of a result that takes the place of an earlier one, of half an hour later."""
    values = {
        "supersedes": tuple(
            EarlierObject(
                one.role,
                one.sop_instance_uid,
                one.sop_class_uid,
                one.series_instance_uid,
                CONTEXT.created_at,
            )
            for one in items
        ),
        "instance_number": 2,
        "created_at": CONTEXT.created_at + timedelta(minutes=30),
    }
    return with_context(**(values | changes))


def encoded(item: ResultObject) -> bytes:
    content = io.BytesIO()
    item.dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def read(item: ResultObject) -> Dataset:
    """The object as somebody reads it who gets it."""
    return pydicom.dcmread(io.BytesIO(encoded(item)))


def basis_of(case: CineCase | LgeCase, context: ResultContext = CONTEXT) -> ResultBasis:
    """What the writers of the page and of key images start from."""
    with tolerant_headers():
        return ResultBasis(case, context, patient_study(case.stack)[0])


def saved(item: ResultObject, folder: Path) -> Path:
    path = folder / f"{item.role}.dcm"
    path.write_bytes(encoded(item))
    return path


def tool_output(tool: str, path: Path) -> list[str]:
    """Lines that a DICOM checker prints; its absence skips by name, and fails under CI."""
    if shutil.which(tool) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{tool} is not installed")
        pytest.skip(f"{tool} is not installed")
    run = subprocess.run([tool, str(path)], capture_output=True, text=True, check=False)
    return [*run.stderr.splitlines(), *run.stdout.splitlines()]


_KINDS = ("Segmentation", "Comprehensive3DSR", "MRImage", "SCImage", "EncapsulatedPDF")


def conformance_errors(item: ResultObject, folder: Path) -> list[str]:
    return errors_of_file(saved(item, folder))


def errors_of_file(path: Path) -> list[str]:
    """Errors of `dciodvfy`; it must have known what it checked."""
    lines = tool_output("dciodvfy", path)
    assert any(line in _KINDS for line in lines), lines
    return [line for line in lines if line.startswith(("Error", "Abort"))]


def filled(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels whose centre lies inside a polygon of columns and rows (PS3.3 C.18.6.1.1)."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = Polygon(points).contains_points(np.c_[x.ravel(), y.ravel()])
    return np.asarray(inside.reshape(shape))
