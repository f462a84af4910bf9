"""ECG and perfusion from files to findings and report, by networks that nobody trained."""

import json
import shutil
from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread

from config.schema import Settings
from dicom_node.phantom_ecg import write_ecg_study
from dicom_node.phantom_spect import write_spect_study
from dicom_node.process import process_files
from models.registry import Card, card
from pipeline.classification import Classification
from pipeline.picture_case import PictureCase
from pipeline.pictures import ECG_WAVEFORMS, ENCAPSULATED_PDF, NM_IMAGE, SECONDARY_CAPTURES
from pipeline.results import write_results
from pipeline.results.class_codes import SUBJECTS, coded_class
from pipeline.results.common import DISCLAIMER
from pipeline.results.page import set_document
from pipeline.stages.classification import ClassifyPicture, training_of
from pipeline.stated import completed_findings
from tests.unit.pipeline.pdfs import joined, letter_pdf
from tests.unit.pipeline.picture_cases import write_network
from tests.unit.pipeline.result_cases import CONTEXT, errors_of_file, make_case
from tests.unit.pipeline.test_picture_plausibility import NOWHERE


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    write_network(folder, "ecg_dual_branch", says=2)
    write_network(folder, "spect_mobilenet", says=1)
    pipelines = {"ecg": {"enabled": True}, "spect": {"enabled": True}}
    return Settings.model_validate(
        {
            "allow_research_models": True,
            "pipelines": pipelines,
            "worker": {"weights_folder": folder, "device": "cpu"},
        }
    )


@pytest.fixture(scope="module")
def ecg(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ecg")
    write_ecg_study(folder / "study", 3, pdf=True)
    return process_files([folder / "study"], folder / "out", settings), folder


@pytest.fixture(scope="module")
def spect(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spect")
    write_spect_study(folder / "study", 3)
    return process_files([folder / "study"], folder / "out", settings), folder


def reports(run):
    findings, folder = run
    return [(one, dcmread(folder / "out" / one.objects[0].path)) for one in findings.series]


def items(report, value_type):
    found = []

    def collect(item):
        for child in item.get("ContentSequence", ()):
            found.extend([child] if child.ValueType == value_type else [])
            collect(child)

    collect(report)
    return found


def test_waveform_sheet_and_document_are_results_in_series_of_their_own(ecg):
    found = reports(ecg)
    assert [one.classification.found for one, _ in found] == ["infarction"] * 3
    assert len({report.SeriesInstanceUID for _, report in found}) == 3
    assert len({report.SOPInstanceUID for _, report in found}) == 3


def test_ecgs_of_one_series_have_result_series_of_their_own(settings, tmp_path):
    one = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"}
    write_ecg_study(tmp_path / "study", 3, header=one)
    found = process_files([tmp_path / "study"], tmp_path / "out", settings)
    (_, first), (_, second) = reports((found, tmp_path))
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_stress_and_rest_are_one_result(spect):
    ((found, report),) = reports(spect)
    assert found.classification.found == "ischemia"
    assert len(found.series_instance_uids) == 2
    cited = items(report, "IMAGE")
    assert {item.ReferencedSOPSequence[0].ReferencedSOPClassUID for item in cited} == {NM_IMAGE}
    assert len(cited) == 2


def test_of_two_rest_series_one_counts_and_the_other_is_named(settings, spect, tmp_path):
    study = tmp_path / "study"
    shutil.copytree(spect[1] / "study", study)
    again = dcmread(study / "synthetic-00002.dcm")
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = "2.25.99"
    again.SeriesInstanceUID = "2.25.98"
    again.save_as(study / "again.dcm")
    ((found, report),) = reports((process_files([study], tmp_path / "out", settings), tmp_path))
    assert found.status == "completed"
    assert len(items(report, "IMAGE")) == 2
    said = [item.TextValue for item in items(report, "TEXT")]
    assert "Source: 1 more tomograms were left out." in said


def test_an_ecg_names_its_source_as_what_it_is(ecg):
    cited = {
        (kind, item.ReferencedSOPSequence[0].ReferencedSOPClassUID)
        for _, report in reports(ecg)
        for kind in ("IMAGE", "WAVEFORM", "COMPOSITE")
        for item in items(report, kind)
    }
    assert cited == {
        ("WAVEFORM", ECG_WAVEFORMS[0]),
        ("IMAGE", SECONDARY_CAPTURES[0]),
        ("COMPOSITE", ENCAPSULATED_PDF),
    }


def test_a_report_on_one_page_of_a_document_names_the_page_and_cites_the_document(
    settings, tmp_path
):
    write_ecg_study(tmp_path / "study", 3, pdf=True)
    for other in ("synthetic-00001.dcm", "synthetic-00002.dcm"):
        (tmp_path / "study" / other).unlink()
    document = dcmread(tmp_path / "study" / "synthetic-00003.dcm")
    set_document(document, joined([letter_pdf(), document.EncapsulatedDocument]))
    document.save_as(tmp_path / "study" / "synthetic-00003.dcm")
    run = process_files([tmp_path / "study"], tmp_path / "out", settings), tmp_path
    ((found, report),) = reports(run)
    said = [item.TextValue for item in items(report, "TEXT")]
    words = "page 2 of 2, the only one that looks like an ECG sheet, was taken"
    assert f"Source: {words}." in said
    assert words in [check.reason for check in found.quality]
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = evidence.ReferencedSeriesSequence
    (cited,) = series.ReferencedSOPSequence
    assert cited.ReferencedSOPInstanceUID == document.SOPInstanceUID
    assert cited.ReferencedSOPClassUID == ENCAPSULATED_PDF
    assert errors_of_file(tmp_path / "out" / found.objects[0].path) == []


def test_the_first_line_says_what_the_network_learned_and_that_nobody_validated_it(ecg, spect):
    for run in (ecg, spect):
        for found, report in reports(run):
            first = report.ContentSequence[0].TextValue
            assert first == f"{found.classification.training} {DISCLAIMER}"
            assert "trained on: Nothing at all; Synthetic noise. Not validated" in first


def test_class_certainty_and_every_probability_stand_in_the_report(ecg, spect):
    for run in (ecg, spect):
        for found, report in reports(run):
            told = found.classification
            (finding,) = [
                item
                for item in items(report, "CODE")
                if item.ConceptNameCodeSequence[0].CodeValue == "121071"
            ]
            code = coded_class(told.subject, told.found).code
            assert finding.ConceptCodeSequence[0].CodeValue == code.value
            numbers = {
                item.ConceptNameCodeSequence[0].CodeValue: float(
                    item.MeasuredValueSequence[0].NumericValue
                )
                for item in items(report, "NUM")
            }
            assert numbers.pop("111012") == pytest.approx(100 * told.confidence, abs=0.05)
            assert numbers == {
                coded_class(told.subject, name).probability.value: pytest.approx(value, abs=0.005)
                for name, value in told.probabilities.items()
            }
            assert sum(told.probabilities.values()) == pytest.approx(1)


def test_reports_are_valid(ecg, spect):
    for findings, folder in (ecg, spect):
        for one in findings.series:
            assert errors_of_file(folder / "out" / one.objects[0].path) == []


def test_the_same_study_gives_the_same_objects(spect, settings, tmp_path):
    findings, folder = spect
    again = process_files([folder / "study"], tmp_path, settings)
    assert [one.objects[0].sop_instance_uid for one in again.series] == [
        one.objects[0].sop_instance_uid for one in findings.series
    ]


def test_rest_alone_is_withheld(settings, tmp_path):
    write_spect_study(tmp_path / "study", 3, views=("rest",))
    (found,) = process_files([tmp_path / "study"], tmp_path / "out", settings).series
    assert found.status == "completed"
    assert found.classification.withheld == "no stress series"
    assert (found.classification.found, found.classification.probabilities) == (None, {})
    report = dcmread(tmp_path / "out" / found.objects[0].path)
    assert items(report, "NUM") == []
    assert report.CompletionFlag == "PARTIAL"
    assert "Withheld: no stress series" in [item.TextValue for item in items(report, "TEXT")]
    assert errors_of_file(tmp_path / "out" / found.objects[0].path) == []


def test_a_class_of_low_confidence_is_withheld(settings, ecg, tmp_path):
    sure = settings.model_dump() | {
        "pipelines": {"ecg": {"enabled": True, "min_confidence": 0.999}}
    }
    found = process_files([ecg[1] / "study"], tmp_path, Settings.model_validate(sure)).series
    assert {one.classification.found for one in found} == {None}
    assert "less than 0.999 (min_confidence)" in found[0].classification.withheld
    (check,) = [one for one in found[0].quality if one.check == "classification"]
    assert check.verdict == "withheld"


def test_a_capture_that_is_no_sheet_is_rejected_with_a_reason(settings, tmp_path):
    write_ecg_study(tmp_path / "study", 3)
    sheet = dcmread(tmp_path / "study" / "synthetic-00002.dcm")
    sheet.PixelData = np.full((sheet.Rows, sheet.Columns, 3), 250, np.uint8).tobytes()
    sheet.save_as(tmp_path / "study" / "synthetic-00002.dcm")
    found = process_files([tmp_path / "study"], tmp_path / "out", settings).series
    (rejected,) = [one for one in found if one.status == "rejected"]
    assert rejected.code == "not_an_ecg_sheet"
    assert rejected.objects == ()


def test_a_network_for_another_task_is_refused(settings, ecg, tmp_path):
    named = settings.model_dump() | {
        "pipelines": {"ecg": {"enabled": True, "network": "cine_unet"}}
    }
    with pytest.raises(Exception, match="is for segmentation, not for ecg_classification"):
        process_files([ecg[1] / "study"], tmp_path, Settings.model_validate(named))


def test_training_names_each_set_once_by_its_first_words():
    shipped = card("cine_unet")
    told = training_of(Card(**{**vars_of(shipped), "data": ("A (b), c", "A, d", "E f, g")}))
    assert "trained on: A; E f. Not validated" in told


def vars_of(one):
    return {name: getattr(one, name) for name in one.__slots__}


def test_every_class_has_codes_that_fit():
    codes = [one for subject in SUBJECTS.values() for one in subject.classes.values()]
    codes.append(coded_class("ecg", "a_class_of_somebody_elses_network"))
    for one in codes:
        for code in (one.code, one.probability):
            assert len(code.value) <= 16
            assert len(code.meaning) <= 64
    assert len({one.probability.value for one in codes}) == len(codes)


def test_what_cannot_be_shown_is_not_shown_to_the_network():
    class Never:
        card = card("cine_unet")
        classes = ("a", "b")

        def read(self, picture):
            raise AssertionError("the network was asked")

    case = PictureCase(NOWHERE, subject="spect", unshown="no stress series")
    told = ClassifyPicture(Never(), 0.5)(case).classification
    assert told.withheld == "no stress series"


def test_a_picture_unlike_what_the_network_learned_from_is_withheld(settings, ecg, tmp_path):
    weights = tmp_path / "weights"
    write_network(weights, "ecg_dual_branch", says=2, least_familiarity=6.5)
    strange = settings.model_dump()
    strange["pipelines"]["spect"]["enabled"] = False
    strange["worker"]["weights_folder"] = weights
    chosen = Settings.model_validate(strange)
    found = process_files([ecg[1] / "study"], tmp_path / "out", chosen).series
    assert {one.classification.found for one in found} == {None}
    assert "unlike those the network learned from" in found[0].classification.withheld


def test_findings_say_what_the_report_says(ecg):
    _, folder = ecg
    first = json.loads((folder / "out" / "findings.json").read_text())["series"][0]
    assert first["classification"]["subject"] == "ecg"
    assert first["provenance"]["models"][0]["licence"] == "Apache-2.0"
    assert {"plausibility", "classification"} <= first["provenance"]["seconds"].keys()


def test_highdicom_reads_the_report_of_a_tomogram(spect):
    ((_, report),) = reports(spect)
    read = hd.sr.Comprehensive3DSR.from_dataset(report)
    assert len(read.content.get_image_measurement_groups()) == 1


def test_a_stack_may_carry_what_a_network_says_of_it_too(tmp_path):
    told = Classification("spect", "Trained on nothing. Not validated.", {"normal": 0.7, "b": 0.3})
    case = replace(make_case(), classification=told)
    (report,) = [one for one in write_results(case, CONTEXT) if one.role == "sr"]
    assert report.dataset.ContentSequence[0].TextValue.startswith("Trained on nothing.")
    certainties = [
        float(item.MeasuredValueSequence[0].NumericValue)
        for item in items(report.dataset, "NUM")
        if item.ConceptNameCodeSequence[0].CodeValue == "111012"
    ]
    assert certainties == [70.0]
    report.dataset.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    assert errors_of_file(tmp_path / "sr.dcm") == []
    stated = completed_findings(case, [report], pipeline="cine", numeric_backend="test")
    assert stated.classification.found == "normal"
