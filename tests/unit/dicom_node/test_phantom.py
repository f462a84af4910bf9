"""The synthetic study: valid DICOM, exact geometry and time, truth that matches the pixels."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from dicom_node.phantom import write_cine_study, write_study
from dicom_node.phantom_stack import SHORT_AXIS, StudyForm
from models.synthetic.cine import LV_CAVITY, SyntheticCine, synthesise_cine

SMALL: dict[str, Any] = {"slices": 8, "phases": 4, "rows": 96, "columns": 80}
SMALL["pixel_spacing_mm"] = (2.5, 3.0)
SEED = 7


@pytest.fixture(scope="module")
def small() -> SyntheticCine:
    return synthesise_cine(SEED, **SMALL)


def write(folder: Path, small: SyntheticCine, **form: Any) -> tuple[dict[str, Any], list]:
    truth = write_study(folder, small, SEED, StudyForm(**form))
    datasets = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    return json.loads(truth.read_text()), datasets


def normal_of(dataset: pydicom.Dataset) -> np.ndarray:
    cosines = np.array(dataset.ImageOrientationPatient, dtype=float)
    return np.cross(cosines[:3], cosines[3:])


def assembled(datasets: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels [t, z, y, x] by geometry and trigger time alone; positions [z, 3], times [t, z]."""
    along = [float(np.dot(np.array(d.ImagePositionPatient, float), normal_of(d))) for d in datasets]
    order = sorted(
        range(len(datasets)), key=lambda i: (round(along[i], 2), float(datasets[i].TriggerTime))
    )
    slices = len({round(value, 2) for value in along})
    grid = np.array(order).reshape(slices, -1)
    pixels = np.array([[datasets[i].pixel_array for i in row] for row in grid]).swapaxes(0, 1)
    times = np.array([[float(datasets[i].TriggerTime) for i in row] for row in grid]).T
    positions = np.array([datasets[row[0]].ImagePositionPatient for row in grid], dtype=float)
    return pixels, positions, times


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("series_per_slice", [False, True])
@pytest.mark.parametrize("rr_jitter", [0.0, 0.05])
def test_dciodvfy_reports_no_error(
    tmp_path: Path, small: SyntheticCine, enhanced: bool, series_per_slice: bool, rr_jitter: float
) -> None:
    form = {"series_per_slice": series_per_slice, "rr_jitter": rr_jitter}
    _, datasets = write(tmp_path, small, enhanced=enhanced, **form)
    for path in (Path(datasets[0].filename), Path(datasets[-1].filename)):
        done = subprocess.run(
            ["dciodvfy", "-new", path], capture_output=True, text=True, check=False
        )
        report = done.stdout + done.stderr
        assert ("EnhancedMRImage" if enhanced else "MRImage") in report
        assert not [line for line in report.splitlines() if line.startswith("Error")], report


@pytest.mark.parametrize("enhanced", [False, True])
def test_the_same_seed_gives_the_same_files_byte_for_byte(tmp_path: Path, enhanced: bool) -> None:
    for name in ("first", "second"):
        write_cine_study(tmp_path / name, SEED, enhanced=enhanced, **SMALL)
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert len(files) == (3 if enhanced else 34)
    for name in files:
        first, second = ((tmp_path / run / name).read_bytes() for run in ("first", "second"))
        assert first == second, name


@pytest.mark.parametrize(
    "other",
    [
        {"form": {"enhanced": True}},
        {"form": {"series_per_slice": True}},
        {"form": {"mirrored": True}},
        {"form": {"rr_jitter": 0.02}},
        {"form": {"header": {"SeriesDescription": "other"}}},
        {"seed": SEED + 1},
        {"shape": {"slice_spacing_mm": 11.0}},
    ],
)
def test_no_uid_is_shared_with_another_study(
    tmp_path: Path, small: SyntheticCine, other: dict[str, Any]
) -> None:
    _, first = write(tmp_path / "first", small)
    cine = synthesise_cine(SEED, **SMALL | other.get("shape", {}))
    write_study(
        tmp_path / "second", cine, other.get("seed", SEED), StudyForm(**other.get("form", {}))
    )
    second = [pydicom.dcmread(path) for path in sorted((tmp_path / "second").glob("*.dcm"))]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        ours, theirs = ({dataset[keyword].value for dataset in run} for run in (first, second))
        assert not ours & theirs
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in ours)


def test_every_object_says_that_it_is_synthetic(tmp_path: Path, small: SyntheticCine) -> None:
    truth, datasets = write(tmp_path, small)
    assert truth["synthetic"] is True
    for dataset in datasets:
        assert dataset.PatientName == "SYNTHETIC^HEART"
        assert dataset.PatientID == f"SYNTHETIC-{SEED}"
        assert dataset.SeriesDescription == "Synthetic cine SAX"
        assert dataset.Manufacturer == "SYNTHETIC"
        assert "not of a person" in dataset.ImageComments


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"mirrored": True},
        {"apex_first": True},
        {"rr_jitter": 0.05},
        {"orientation": (1.0, 0.0, 0.0, 0.0, 0.6, -0.8)},
        {"series_per_slice": True},
    ],
)
def test_classic_study_assembles_to_the_labelled_grid(
    tmp_path: Path, small: SyntheticCine, form: dict[str, Any]
) -> None:
    truth, datasets = write(tmp_path, small, **form)
    assert {d.SOPClassUID for d in datasets} == {MRImageStorage}
    assert len(datasets) == 32
    pixels, positions, times = assembled(datasets)
    labels = np.load(tmp_path / "truth_labels.npz")["labels"]
    assert pixels.shape == labels.shape == (4, 8, 96, 80)
    np.testing.assert_allclose(positions, [s["position_mm"] for s in truth["slices"]], atol=1e-5)
    np.testing.assert_allclose(np.median(times, axis=1), truth["trigger_times_ms"], atol=0.01)
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(positions, axis=0), axis=1), truth["slice_spacing_mm"], atol=1e-4
    )
    bright = np.median(pixels[labels == LV_CAVITY])
    assert bright > 2 * np.median(pixels[labels == 2])
    row_mm, column_mm = datasets[0].PixelSpacing
    voxel_ml = row_mm * column_mm * datasets[0].SpacingBetweenSlices / 1000
    edv = np.count_nonzero(labels[truth["ed"]] == LV_CAVITY) * voxel_ml
    assert truth["biomarkers"]["lv_edv"] == pytest.approx(edv)
    for index, facts in enumerate(truth["slices"]):
        assert facts["lv_present"] == bool(np.isin(labels[:, index], (1, 2)).any())
    uids = [uid for facts in truth["slices"] for uid in facts["sop_instance_uids"]]
    assert sorted(uids) == sorted(d.SOPInstanceUID for d in datasets)


def test_mirroring_turns_the_normal_and_keeps_the_heart_in_the_patient(
    tmp_path: Path, small: SyntheticCine
) -> None:
    """The LV's centre of mass in patient coordinates must not move by more than rounding."""
    centres, normals = [], []
    for name, mirrored in (("plain", False), ("mirrored", True)):
        _, datasets = write(tmp_path / name, small, mirrored=mirrored)
        labels = np.load(tmp_path / name / "truth_labels.npz")["labels"]
        _, positions, _ = assembled(datasets)
        cosines = np.array(datasets[0].ImageOrientationPatient, dtype=float)
        row_mm, column_mm = datasets[0].PixelSpacing
        z, y, x = (axis.mean() for axis in np.nonzero(labels[0] == LV_CAVITY))
        step = positions[1] - positions[0]
        centres.append(
            positions[0] + z * step + x * column_mm * cosines[:3] + y * row_mm * cosines[3:]
        )
        normals.append(normal_of(datasets[0]))
    np.testing.assert_allclose(centres[0], centres[1], atol=1e-3)
    np.testing.assert_allclose(normals[0], -normals[1], atol=1e-6)


def test_the_stack_keeps_its_middle_whatever_its_pixels(
    tmp_path: Path, small: SyntheticCine
) -> None:
    middles = []
    for name, spacing_mm in (("plain", (2.5, 3.0)), ("other", (1.5, 4.0))):
        _, datasets = write(tmp_path / name, replace(small, pixel_spacing_mm=spacing_mm))
        cosines = np.array(datasets[0].ImageOrientationPatient, dtype=float)
        to_middle = cosines[:3] * spacing_mm[1] * 79 / 2 + cosines[3:] * spacing_mm[0] * 95 / 2
        corners = [np.array(d.ImagePositionPatient, dtype=float) for d in datasets]
        middles.append(np.mean(corners, axis=0) + to_middle)
    np.testing.assert_allclose(middles[0], middles[1], atol=1e-3)


def test_the_usual_orientation_is_an_oblique_short_axis(small: SyntheticCine) -> None:
    right, down = np.array(SHORT_AXIS[:3]), np.array(SHORT_AXIS[3:])
    assert right @ right == pytest.approx(1)
    assert down @ down == pytest.approx(1)
    assert right @ down == pytest.approx(0, abs=1e-8)
    apex = -np.cross(right, down)
    assert apex[0] > 0.4
    assert apex[1] < -0.4
    assert apex[2] < -0.3
    assert right[0] > 0.3
    assert down[2] < -0.5


def test_numbering_follows_the_acquisition(tmp_path: Path, small: SyntheticCine) -> None:
    bases = {}
    for apex_first in (False, True):
        _, datasets = write(tmp_path, small, apex_first=apex_first)
        first = min(datasets, key=lambda d: d.InstanceNumber)
        bases[apex_first] = float(
            np.dot(np.array(first.ImagePositionPatient, float), normal_of(first))
        )
        assert sorted(d.InstanceNumber for d in datasets) == list(range(1, 33))
    assert bases[False] > bases[True]


def test_one_series_for_each_slice(tmp_path: Path, small: SyntheticCine) -> None:
    _, datasets = write(tmp_path, small, series_per_slice=True)
    positions: dict[str, set[tuple[float, ...]]] = {}
    for dataset in datasets:
        place = tuple(dataset.ImagePositionPatient)
        positions.setdefault(dataset.SeriesInstanceUID, set()).add(place)
    assert len(positions) == 8
    assert all(len(places) == 1 for places in positions.values())
    assert len({d.SeriesNumber for d in datasets}) == 8
    assert len({d.StudyInstanceUID for d in datasets}) == 1
    assert len({d.FrameOfReferenceUID for d in datasets}) == 1


def test_cardiac_timing_differs_between_slices_only_when_asked(
    tmp_path: Path, small: SyntheticCine
) -> None:
    for name, jitter in (("steady", 0.0), ("uneven", 0.05)):
        truth, datasets = write(tmp_path / name, small, rr_jitter=jitter)
        _, _, times = assembled(datasets)
        assert (np.ptp(times[-1]) > 10) == (jitter > 0)
        for dataset in datasets:
            assert dataset.HeartRate == round(60_000 / dataset.NominalInterval)
            assert 0 <= dataset.TriggerTime < dataset.NominalInterval
            assert dataset.CardiacNumberOfImages == 4
        rates = [float(d.HeartRate) for d in datasets]
        assert truth["biomarkers"]["heart_rate"] == np.median(rates)


@pytest.mark.parametrize("series_per_slice", [False, True])
def test_enhanced_frames_hold_the_labelled_grid(
    tmp_path: Path, small: SyntheticCine, series_per_slice: bool
) -> None:
    truth, datasets = write(tmp_path, small, enhanced=True, series_per_slice=series_per_slice)
    assert len(datasets) == (8 if series_per_slice else 1)
    _, classic = write(tmp_path / "classic", small)
    pixels, positions, _ = assembled(classic)
    for dataset in datasets:
        assert dataset.SOPClassUID == EnhancedMRImageStorage
        assert dataset.NumberOfFrames == (4 if series_per_slice else 32)
        shared = dataset.SharedFunctionalGroupsSequence[0]
        assert shared.PixelMeasuresSequence[0].PixelSpacing == [2.5, 3.0]
        for frame, image in zip(
            dataset.PerFrameFunctionalGroupsSequence, dataset.pixel_array, strict=True
        ):
            place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
            z = int(np.linalg.norm(positions - place, axis=1).argmin())
            content = frame.FrameContentSequence[0]
            t = content.TemporalPositionIndex - 1
            assert list(content.DimensionIndexValues) == [1, content.InStackPositionNumber, t + 1]
            delay = frame.CardiacSynchronizationSequence[0].NominalCardiacTriggerDelayTime
            assert delay == pytest.approx(truth["trigger_times_ms"][t])
            np.testing.assert_array_equal(image, pixels[t, z])
            assert dataset.SOPInstanceUID in truth["slices"][z]["sop_instance_uids"]


def test_header_attributes_can_be_set_and_taken_away(tmp_path: Path, small: SyntheticCine) -> None:
    header = {
        "HeartRate": None,
        "PatientSize": 172.0,
        "ImagesInAcquisition": 32,
        "Laterality": None,
    }
    for name, enhanced in (("classic", False), ("enhanced", True)):
        _, datasets = write(tmp_path / name, small, enhanced=enhanced, header=header)
        for dataset in datasets:
            assert "HeartRate" not in dataset
            assert dataset.PatientSize == 172
            assert dataset.ImagesInAcquisition == 32


def test_truth_gives_the_numbers_of_the_findings(tmp_path: Path, small: SyntheticCine) -> None:
    truth, datasets = write(tmp_path, small)
    values = truth["biomarkers"]
    size, weight = float(datasets[0].PatientSize), float(datasets[0].PatientWeight)
    assert values["bsa"] == pytest.approx(np.sqrt(size * 100 * weight / 3600))
    assert values["lv_sv"] == pytest.approx(values["lv_edv"] - values["lv_esv"])
    assert values["lv_ef"] == pytest.approx(100 * values["lv_sv"] / values["lv_edv"])
    assert values["cardiac_output"] == pytest.approx(values["lv_sv"] * values["heart_rate"] / 1000)
    assert values["lv_mass_index"] == pytest.approx(values["lv_mass"] / values["bsa"])
    curve = truth["volume_curve_ml"]["lv"]
    assert (np.argmax(curve), np.argmin(curve)) == (truth["ed"], truth["es"])
    assert curve[truth["ed"]] == pytest.approx(values["lv_edv"])
    assert truth["analytic"]["lv_edv"] == pytest.approx(values["lv_edv"], rel=0.03)
    assert datasets[0].PatientSex in ("F", "M")


def test_a_smaller_study_replaces_a_larger_one(tmp_path: Path, small: SyntheticCine) -> None:
    write(tmp_path / "study", small)
    other = tmp_path / "study" / "mine.dcm"
    other.write_bytes(b"left alone")
    write_cine_study(tmp_path / "study", 3, **SMALL | {"phases": 2})
    assert len(list((tmp_path / "study").glob("synthetic-*.dcm"))) == 16
    assert other.read_bytes() == b"left alone"
