"""The synthetic late enhancement study: valid DICOM, its odd shapes, truth that matches."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.phantom import write_cine_study
from dicom_node.phantom_lge import MAGNITUDE_DESCRIPTION, PSIR_DESCRIPTION, write_lge_study
from models.synthetic.lge import synthesise_lge

SMALL: dict[str, Any] = {"rows": 96, "columns": 80, "pixel_spacing_mm": (1.5, 1.8)}
SEED = 7


def write(folder: Path, **options: Any) -> tuple[dict[str, Any], list[pydicom.Dataset]]:
    truth = write_lge_study(folder, SEED, **SMALL | options)
    datasets = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    return json.loads(truth.read_text()), datasets


@pytest.mark.parametrize(
    "options",
    [
        {"psir": True},
        {"averages": 2, "doubled_slices": True},
        {"series_per_slice": True},
        {"enhanced": True, "psir": True},
        {"enhanced": True, "series_per_slice": True},
    ],
)
def test_dciodvfy_reports_no_error(tmp_path: Path, options: dict[str, Any]) -> None:
    _, datasets = write(tmp_path, **options)
    for path in (datasets[0].filename, datasets[-1].filename):
        done = subprocess.run(
            ["dciodvfy", "-new", path], capture_output=True, text=True, check=False
        )
        report = done.stdout + done.stderr
        assert ("EnhancedMRImage" if options.get("enhanced") else "MRImage") in report
        assert not [line for line in report.splitlines() if line.startswith("Error")], report


def test_one_instance_per_slice_in_one_series(tmp_path: Path) -> None:
    truth, datasets = write(tmp_path)
    assert {d.SOPClassUID for d in datasets} == {MRImageStorage}
    assert len(datasets) == len(truth["slices"]) == 12
    assert len({d.SeriesInstanceUID for d in datasets}) == 1
    assert {d.SeriesDescription for d in datasets} == {MAGNITUDE_DESCRIPTION}
    assert {float(d.InversionTime) for d in datasets} == {truth["inversion_time_ms"]}
    assert {tuple(d.ScanningSequence) for d in datasets} == {("GR", "IR")}
    assert len({float(d.TriggerTime) for d in datasets}) == 1
    for dataset in datasets:
        assert dataset.PatientName == "SYNTHETIC^HEART"
        assert "not of a person" in dataset.ImageComments


@pytest.mark.parametrize("form", [{}, {"mirrored": True}, {"apex_first": True}])
def test_slices_assemble_to_the_labelled_stack(tmp_path: Path, form: dict[str, Any]) -> None:
    truth, datasets = write(tmp_path, **form)
    by_uid = {d.SOPInstanceUID: d for d in datasets}
    labels = np.load(tmp_path / "truth_labels.npz")["labels"]
    image = synthesise_lge(SEED, **SMALL).acquire()[0]
    image = image[:, :, ::-1] if form.get("mirrored") else image[::-1]
    for z, facts in enumerate(truth["slices"]):
        (uid,) = facts["sop_instance_uids"]
        assert facts["replaced_sop_instance_uids"] == []
        np.testing.assert_array_equal(by_uid[uid].pixel_array, np.rint(image[z]))
        np.testing.assert_allclose(
            np.array(by_uid[uid].ImagePositionPatient, float), facts["position_mm"], atol=1e-5
        )
        assert facts["lv_present"] == bool(np.isin(labels[z], (1, 2, 5, 6)).any())
    grams = 1.5 * 1.8 * 10 / 1000 * 1.055
    scar = np.isin(labels, (5, 6)).sum() * grams
    assert truth["biomarkers"]["scar_mass"] == pytest.approx(scar)
    assert set(truth["transmurality"]) == {str(segment) for segment in range(1, 17)}


def test_phase_sensitive_images_stand_beside_the_magnitudes(tmp_path: Path) -> None:
    truth, datasets = write(tmp_path, psir=True)
    assert len(datasets) == 24
    assert len({d.StudyInstanceUID for d in datasets}) == 1
    assert len({d.FrameOfReferenceUID for d in datasets}) == 1
    assert {d.SeriesDescription for d in datasets} == {MAGNITUDE_DESCRIPTION, PSIR_DESCRIPTION}
    assert len({(d.SeriesInstanceUID, d.SeriesNumber, d.SeriesDescription) for d in datasets}) == 2
    magnitude, real = synthesise_lge(SEED, **SMALL).acquire()
    by_uid = {d.SOPInstanceUID: d for d in datasets}
    for z, facts in enumerate(truth["slices"]):
        first, second = (by_uid[uid] for uid in facts["sop_instance_uids"])
        assert "R_IR" in second.ImageType
        values = second.pixel_array * float(second.RescaleSlope) + float(second.RescaleIntercept)
        np.testing.assert_allclose(values, real[::-1][z], atol=0.51)
        assert "M_IR" in first.ImageType
        np.testing.assert_array_equal(first.pixel_array, np.rint(magnitude[::-1][z]))


def test_averages_are_images_of_the_same_slice_one_after_another(tmp_path: Path) -> None:
    truth, datasets = write(tmp_path, averages=3)
    assert len(datasets) == 36
    by_uid = {d.SOPInstanceUID: d for d in datasets}
    for facts in truth["slices"]:
        images = [by_uid[uid] for uid in facts["sop_instance_uids"]]
        assert len({tuple(d.ImagePositionPatient) for d in images}) == 1
        assert len({d.AcquisitionTime for d in images}) == 3
        assert not np.array_equal(images[0].pixel_array, images[1].pixel_array)


def test_doubled_slices_are_taken_again_later(tmp_path: Path) -> None:
    truth, datasets = write(tmp_path, doubled_slices=True)
    assert len(datasets) == 14
    by_uid = {d.SOPInstanceUID: d for d in datasets}
    doubled = [facts for facts in truth["slices"] if facts["replaced_sop_instance_uids"]]
    assert len(doubled) == 2
    for facts in doubled:
        assert facts["lv_present"]
        (good,), (failed,) = facts["sop_instance_uids"], facts["replaced_sop_instance_uids"]
        assert by_uid[good].AcquisitionTime > by_uid[failed].AcquisitionTime
        assert by_uid[good].InstanceNumber > by_uid[failed].InstanceNumber
        assert by_uid[good].ImagePositionPatient == by_uid[failed].ImagePositionPatient
        assert not np.array_equal(by_uid[good].pixel_array, by_uid[failed].pixel_array)


def test_enhanced_holds_all_slices_and_says_how_they_were_inverted(tmp_path: Path) -> None:
    truth, (dataset,) = write(tmp_path, enhanced=True)
    assert dataset.SOPClassUID == EnhancedMRImageStorage
    assert dataset.NumberOfFrames == 12
    assert dataset.ComplexImageComponent == "MAGNITUDE"
    modifier = dataset.SharedFunctionalGroupsSequence[0].MRModifierSequence[0]
    assert modifier.InversionRecovery == "YES"
    assert modifier.InversionTimes == truth["inversion_time_ms"]
    with pytest.raises(ValueError, match="repeats no slice"):
        write_lge_study(tmp_path, SEED, enhanced=True, averages=2)


def test_the_heart_lies_where_that_of_the_cine_lies(tmp_path: Path) -> None:
    lge, _ = write(tmp_path / "lge")
    cine = json.loads(write_cine_study(tmp_path / "cine", SEED, rows=96, columns=80).read_text())
    assert lge["image_orientation_patient"] == cine["image_orientation_patient"]
    first, second = ([facts["lv_present"] for facts in truth["slices"]] for truth in (lge, cine))
    assert np.count_nonzero(np.array(first) != np.array(second)) <= 1


def test_header_attributes_can_be_set_and_taken_away(tmp_path: Path) -> None:
    header = {"InversionTime": None, "SeriesDescription": "DE_PSIR", "StudyInstanceUID": "1.2.3"}
    for options in ({}, {"enhanced": True}, {"psir": True}):
        _, datasets = write(tmp_path / str(options), header=header, **options)
        for dataset in datasets:
            assert "InversionTime" not in dataset
            assert dataset.SeriesDescription == "DE_PSIR"
            assert dataset.StudyInstanceUID == "1.2.3"


def test_the_command_writes_the_same_files_each_time(tmp_path: Path) -> None:
    for name in ("first", "second"):
        arguments = ["phantom", "lge", "--output", str(tmp_path / name), "--seed", "3", "--no-scar"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert len(files) == 14
    for name in files:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    truth = json.loads((tmp_path / "first" / "truth.json").read_text())
    assert truth["biomarkers"]["scar_mass"] == 0


def test_the_command_refuses_what_enhanced_cannot_hold(tmp_path: Path) -> None:
    arguments = ["phantom", "lge", "--output", str(tmp_path), "--enhanced", "--averages", "2"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "--enhanced" in done.output


def test_it_can_lie_in_the_study_of_a_cine(tmp_path: Path) -> None:
    cine, lge = tmp_path / "cine", tmp_path / "lge"
    write_cine_study(cine, SEED, phases=4, **SMALL)
    ask = ["phantom", "lge", "--output", str(lge), "--study-of"]
    done = CliRunner().invoke(app, [*ask, str(cine)])
    assert done.exit_code == 0, done.output
    one, other = (pydicom.dcmread(min(folder.glob("*.dcm"))) for folder in (cine, lge))
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "StudyDate", "StudyTime"):
        assert one[name].value == other[name].value, name
    assert one.SeriesInstanceUID != other.SeriesInstanceUID
    truth = json.loads((lge / "truth.json").read_text())
    assert (truth["seed"], truth["study_instance_uid"]) == (SEED, one.StudyInstanceUID)
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    for damaged in (min(cine.glob("*.dcm")).name, "truth.json"):
        (tmp_path / "damaged" / damaged).write_text("[]")
    for wrong in (lge, tmp_path / "empty", tmp_path / "damaged"):
        assert CliRunner().invoke(app, [*ask, str(wrong)]).exit_code == 2
