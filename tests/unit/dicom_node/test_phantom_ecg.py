"""The synthetic ECG study: valid DICOM, the same record twice, truth that matches."""

import json
import subprocess

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    EncapsulatedPDFStorage,
    SecondaryCaptureImageStorage,
    TwelveLeadECGWaveformStorage,
)
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.phantom_ecg import write_ecg_study
from models.ecg_leads import LEADS
from models.ecg_sheet import CLASSES, draw_sheet
from models.synthetic.ecg import synthesise_ecg


def write(folder, seed=3, **options):
    truth = write_ecg_study(folder, seed, **options)
    instances = (pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm")))
    return json.loads(truth.read_text()), *instances


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_dciodvfy_reports_no_error(label, tmp_path):
    _, *datasets = write(tmp_path, label=label, pdf=True)
    kinds = ("TwelveLeadECG", "SCImage", "EncapsulatedPDF")
    for dataset, kind in zip(datasets, kinds, strict=True):
        done = subprocess.run(
            ["dciodvfy", "-new", dataset.filename], capture_output=True, text=True, check=False
        )
        report = done.stdout + done.stderr
        assert kind in report
        assert not [line for line in report.splitlines() if line.startswith("Error")], report


def test_both_objects_hold_the_record_of_the_seed(tmp_path):
    truth, waveform, sheet = write(tmp_path, label=2)
    drawn = synthesise_ecg(3, 2)
    assert waveform.SOPClassUID == TwelveLeadECGWaveformStorage
    assert sheet.SOPClassUID == SecondaryCaptureImageStorage
    stored = waveform.waveform_array(0)
    np.testing.assert_allclose(stored.T / 1000, drawn.leads, atol=6e-4)
    labels = [one.ChannelLabel for one in waveform.WaveformSequence[0].ChannelDefinitionSequence]
    assert tuple(labels) == LEADS
    ink = (draw_sheet(drawn.leads, drawn.hz)[220:] != sheet.pixel_array[220:]).mean()
    assert ink < 1e-3
    assert truth["class"] == "infarction"
    assert (truth["wall"], truth["rhythm"]) == (drawn.wall, "sinus")
    assert truth["waveform_sop_instance_uid"] == waveform.SOPInstanceUID
    assert truth["sheet_sop_instance_uid"] == sheet.SOPInstanceUID
    assert truth["study_instance_uid"] == waveform.StudyInstanceUID == sheet.StudyInstanceUID


def test_both_objects_say_that_they_are_synthetic(tmp_path):
    truth, waveform, sheet = write(tmp_path)
    assert truth["synthetic"]
    for dataset in (waveform, sheet):
        assert dataset.PatientName == "SYNTHETIC^HEART"
        assert dataset.Manufacturer == "SYNTHETIC"
        assert dataset.SeriesDescription.startswith("Synthetic")
    assert "not of a person" in sheet.ImageComments
    assert "not of a person" in waveform.WaveformAnnotationSequence[0].UnformattedTextValue
    assert (sheet.pixel_array[:200] != draw_sheet(synthesise_ecg(3).leads, 500)[:200]).any()


def test_the_same_seed_gives_the_same_bytes_and_another_class_another_study(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    other, *_ = write(tmp_path / "c", label=0)
    for one in sorted((tmp_path / "a").iterdir()):
        assert one.read_bytes() == (tmp_path / "b" / one.name).read_bytes()
    truth = json.loads((tmp_path / "a" / "truth.json").read_text())
    assert truth["class"] != other["class"]
    assert truth["study_instance_uid"] != other["study_instance_uid"]


def test_the_document_is_a_pdf_that_calls_itself_an_ecg(tmp_path):
    truth, *_, document = write(tmp_path, label=1, pdf=True)
    assert document.SOPClassUID == EncapsulatedPDFStorage
    assert truth["pdf_sop_instance_uid"] == document.SOPInstanceUID
    assert document.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert document.EncapsulatedDocument.startswith(b"%PDF-1.4")
    assert document.ConceptNameCodeSequence[0].CodeValue == "11524-6"
    assert "Synthetic" in document.DocumentTitle
    again = write(tmp_path / "again", label=1, pdf=True)[-1]
    assert again.EncapsulatedDocument == document.EncapsulatedDocument


def test_header_is_set_in_both(tmp_path):
    _, waveform, sheet = write(tmp_path, header={"PatientID": "X1", "StudyID": None})
    assert waveform.PatientID == sheet.PatientID == "X1"
    assert "StudyID" not in sheet


def test_the_command_writes_what_is_asked_for(tmp_path):
    done = CliRunner().invoke(
        app, ["phantom", "ecg", "--output", str(tmp_path), "--seed", "5", "--shows", "normal"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "truth.json").read_text())["class"] == "normal"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "synthetic-00001.dcm", "synthetic-00002.dcm", "truth.json",
    ]  # fmt: skip
    CliRunner().invoke(app, ["phantom", "ecg", "--output", str(tmp_path), "--pdf"])
    assert (tmp_path / "synthetic-00003.dcm").exists()
