"""The synthetic perfusion study: valid DICOM, labelled, the same again, with its truth."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import NuclearMedicineImageStorage
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.phantom_spect import write_spect_study
from models.synthetic.spect import synthesise_spect


def write(folder: Path, **options: Any) -> tuple[dict[str, Any], list[pydicom.Dataset]]:
    truth = write_spect_study(folder, 7, **options)
    datasets = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    return json.loads(truth.read_text()), datasets


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[pydicom.Dataset]]:
    return write(tmp_path_factory.mktemp("spect"), kind="ischemia")


def test_dciodvfy_reports_nothing(study: tuple[dict[str, Any], list[pydicom.Dataset]]) -> None:
    for dataset in study[1]:
        done = subprocess.run(
            ["dciodvfy", "-new", dataset.filename], capture_output=True, text=True, check=False
        )
        assert (done.stdout + done.stderr).split() == ["NMImage"]


def test_stress_and_rest_are_series_of_one_study_and_say_that_they_are_synthetic(
    study: tuple[dict[str, Any], list[pydicom.Dataset]],
) -> None:
    truth, datasets = study
    assert {d.SOPClassUID for d in datasets} == {NuclearMedicineImageStorage}
    assert {d.StudyInstanceUID for d in datasets} == {truth["study_instance_uid"]}
    assert len({d.SeriesInstanceUID for d in datasets}) == 2
    assert [d.ImageID for d in datasets] == ["ReconStress", "ReconRest"]
    for dataset, view in zip(datasets, ("stress", "rest"), strict=True):
        assert truth["series"][view]["sop_instance_uid"] == dataset.SOPInstanceUID
        assert dataset.PatientName == "SYNTHETIC^HEART"
        assert "not of a person" in dataset.ImageComments
        assert "Synthetic" in dataset.SeriesDescription
        assert list(dataset.ImageType) == ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]


def test_pixels_and_geometry_are_those_of_the_drawn_tomogram(
    study: tuple[dict[str, Any], list[pydicom.Dataset]],
) -> None:
    truth, datasets = study
    drawn = synthesise_spect(7, "ischemia")
    assert truth["class"] == "ischemia"
    assert truth["territory"] == drawn.truth["territory"]
    for dataset, tomogram in zip(datasets, (drawn.stress, drawn.rest), strict=True):
        np.testing.assert_array_equal(dataset.pixel_array, tomogram.counts)
        assert list(dataset.SliceVector) == list(range(1, len(tomogram.counts) + 1))
        assert float(dataset.SpacingBetweenSlices) == tomogram.affine[2, 2]
        place = dataset.DetectorInformationSequence[0].ImagePositionPatient
        np.testing.assert_allclose(np.array(place, float), tomogram.affine[:3, 3], atol=1e-4)
    np.testing.assert_allclose(
        truth["series"]["rest"]["left_ventricle"]["base_mm"],
        drawn.ventricles["rest"].base_mm,
        atol=1e-3,
    )


def test_the_same_seed_gives_the_same_files_and_a_header_may_be_changed(tmp_path: Path) -> None:
    for name in ("one", "same"):
        write(tmp_path / name, views=("rest",), kind="normal")
    one, same = ((tmp_path / name / "synthetic-00001.dcm").read_bytes() for name in ("one", "same"))
    assert one == same
    _, datasets = write(tmp_path / "other", kind="normal", header={"ImageID": "?"})
    assert [d.ImageID for d in datasets] == ["?", "?"]
    assert (
        datasets[1].SOPInstanceUID
        != pydicom.dcmread(tmp_path / "one" / "synthetic-00001.dcm").SOPInstanceUID
    )


def test_the_command_writes_a_study_and_can_leave_stress_out(tmp_path: Path) -> None:
    arguments = ["phantom", "spect", "--output", str(tmp_path), "--seed", "3"]
    result = CliRunner().invoke(app, [*arguments, "--shows", "infarction", "--rest-only"])
    assert result.exit_code == 0, result.output
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert truth["class"] == "infarction"
    assert list(truth["series"]) == ["rest"]
    (path,) = tmp_path.glob("*.dcm")
    assert pydicom.dcmread(path).ImageID == "ReconRest"
