"""What is for research, pushed to the running node: its answer in Orthanc, or why there is none.

The networks are made here and know nothing: what is tested is the way of a study.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import EncapsulatedPDFStorage, generate_uid

from dicom_node.phantom_ecg import write_ecg_study
from dicom_node.phantom_spect import write_spect_study
from dicom_node.status import NodeStatus, StackStatus
from pipeline.results.class_codes import coded_class
from pipeline.results.page import set_document
from storage.states import UNFINISHED_STACK_STATES, StackState
from tests.acceptance.node import RunningNode, destination, storescu
from tests.acceptance.studies import SR, of_class, returned, sentences, small_study, values
from tests.integration.peers import Orthanc
from tests.unit.pipeline.pdfs import ecg_pdf, encrypted_pdf, joined, letter_pdf
from tests.unit.pipeline.picture_cases import write_network
from tests.unit.pipeline.result_cases import errors_of_file

QUIET_S = 6.0


@pytest.fixture(scope="module")
def node(archive: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    folder = tmp_path_factory.mktemp("node")
    write_network(folder / "weights", "ecg_dual_branch", says=3)
    write_network(folder / "weights", "spect_mobilenet", says=2)
    write_network(folder / "weights", "cine_disease_biomarkers", says=2)
    running = RunningNode(
        folder,
        [destination(archive.address, "archive")],
        allow_research_models=True,
        completion={"quiet_s": QUIET_S},
        pipelines={
            "ecg": {"enabled": True},
            "spect": {"enabled": True},
            "cine": {"disease_classifier": "cine_disease_biomarkers"},
        },
        worker={"weights_folder": "weights"},
    )
    running.start()
    yield running
    assert running.stop() == 0, running.log_tail()


def stacks(status: NodeStatus, study: str) -> list[StackStatus]:
    return [one for one in status.stacks if one.study_instance_uid == study]


def settled(node: RunningNode, study: str, count: int) -> list[StackStatus]:
    """The cases of a study, once nothing of it is under way."""

    def done(status: NodeStatus) -> bool:
        found = stacks(status, study)
        under_way = any(one.state in UNFINISHED_STACK_STATES for one in found)
        return len(found) == count and not under_way and not any(b.pending for b in status.outbox)

    return stacks(node.wait_for(done, 180), study)


def send(node: RunningNode, truth: Path) -> str:
    storescu(sorted(truth.parent.glob("*.dcm")), node.address)
    uid: str = json.loads(truth.read_text())["study_instance_uid"]
    return uid


def finding(report: Dataset) -> str:
    (container,) = [
        item
        for item in report.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurements"
    ]
    (group,) = container.ContentSequence
    (found,) = [
        item
        for item in group.ContentSequence
        if item.ValueType == "CODE" and item.ConceptNameCodeSequence[0].CodeValue == "121071"
    ]
    value: str = found.ConceptCodeSequence[0].CodeValue
    return value


def without_errors(reports: list[Dataset], folder: Path) -> None:
    for number, report in enumerate(reports):
        path = folder / f"{number}.dcm"
        report.save_as(path, enforce_file_format=True)
        assert errors_of_file(path) == []


def test_waveform_sheet_and_pdf_of_an_ecg_come_back_as_reports(node, archive, tmp_path):
    uid = send(node, write_ecg_study(tmp_path / "ecg", 5, pdf=True))
    found = settled(node, uid, 3)
    assert {one.state for one in found} == {StackState.COMPLETED}
    assert {one.reason for one in found} == {"the transfer ended and nothing is missing"}
    reports = of_class(returned(archive, uid), SR)
    expected = coded_class("ecg", "history_of_infarction").code.value
    assert [finding(report) for report in reports] == [expected] * 3
    assert all("Not validated" in one.ContentSequence[0].TextValue for one in reports)
    without_errors(reports, tmp_path)
    cited = {
        one.ReferencedSOPClassUID
        for report in reports
        for series in report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert EncapsulatedPDFStorage in cited
    assert len(cited) == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (letter_pdf(), "does not look like an ECG sheet"),
        (joined([letter_pdf(), letter_pdf()]), "no page looks like an ECG sheet"),
        (encrypted_pdf(), "opens with a password alone"),
        (ecg_pdf()[:9000], "its PDF has no end"),
    ],
    ids=["letter", "two pages", "encrypted", "cut"],
)
def test_a_pdf_of_no_use_that_calls_itself_an_ecg_is_refused(
    content, words, node, archive, tmp_path
):
    path = pdf_alone(tmp_path)
    document = dcmread(path)
    document.StudyInstanceUID, document.SOPInstanceUID = generate_uid(), generate_uid()
    document.file_meta.MediaStorageSOPInstanceUID = document.SOPInstanceUID
    set_document(document, content)
    document.save_as(path)
    storescu([path], node.address)
    (found,) = settled(node, document.StudyInstanceUID, 1)
    assert found.state is StackState.REJECTED
    assert words in found.reason
    assert returned(archive, document.StudyInstanceUID) == []


def test_a_pdf_that_is_called_a_letter_is_left_alone(node, archive, tmp_path):
    letter = {"Modality": "DOC", "SeriesDescription": "Letter", "DocumentTitle": "Discharge"}
    path = pdf_alone(tmp_path, {**letter, "ConceptNameCodeSequence": []})
    storescu([path], node.address)
    (found,) = settled(node, dcmread(path).StudyInstanceUID, 1)
    assert found.state is StackState.UNROUTED
    assert "title and code of the document do not match the ecg route" in found.reason


def pdf_alone(folder: Path, header: dict[str, object] | None = None) -> Path:
    """The document of a phantom, without the rest of its study."""
    write_ecg_study(folder / "ecg", 9, pdf=True, header=header)
    return folder / "ecg" / "synthetic-00003.dcm"


def test_stress_and_rest_come_back_as_one_report_without_waiting_for_quiet(node, archive, tmp_path):
    truth = write_spect_study(tmp_path / "spect", 5)
    uid = json.loads(truth.read_text())["study_instance_uid"]
    stress, rest = sorted(truth.parent.glob("*.dcm"))
    for path in (rest, stress):  # each by an association of its own
        storescu([path], node.address)
    (found,) = settled(node, uid, 1)
    assert found.state is StackState.COMPLETED
    assert found.reason == "the transfer ended and nothing is missing"
    assert len(found.series_instance_uids) == 2
    (report,) = of_class(returned(archive, uid), SR)
    assert finding(report) == coded_class("spect", "infarction").code.value
    without_errors([report], tmp_path)


def test_rest_alone_is_withheld_after_the_quiet_time_until_stress_comes(node, archive, tmp_path):
    truth = write_spect_study(tmp_path / "spect", 6)
    uid = json.loads(truth.read_text())["study_instance_uid"]
    stress, rest = sorted(truth.parent.glob("*.dcm"))
    storescu([rest], node.address)
    (alone,) = settled(node, uid, 1)
    assert alone.reason.startswith("nothing more came for ")
    assert alone.findings.classification.withheld == "no stress series"
    (report,) = of_class(returned(archive, uid), SR)
    assert report.CompletionFlag == "PARTIAL"
    without_errors([report], tmp_path)
    storescu([stress], node.address)
    both = node.wait_for(lambda now: stacks(now, uid)[0].generation == 2, 60)
    assert stacks(both, uid)[0].id == alone.id
    (whole,) = settled(node, uid, 1)
    assert whole.findings.classification.found == "infarction"
    first, second = of_class(returned(archive, uid), SR)
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    earlier = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert earlier.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID


def test_the_report_of_a_cine_tells_its_disease_group_or_why_not(node, archive, tmp_path):
    study = small_study(tmp_path / "cine", 3)
    storescu(study.files, node.address)
    (found,) = settled(node, study.uid, 1)
    told = found.findings.classification
    assert told.subject == "disease_group"
    (report,) = of_class(returned(archive, study.uid), SR)
    assert report.ContentSequence[0].TextValue.startswith(told.training)
    said = sentences(report)
    if told.withheld:
        assert f"Withheld: {told.withheld}" in said
    else:
        assert told.found == "dilated_cardiomyopathy"
    assert "lv_edv" in values(found.findings)  # which research leaves as they are
    without_errors([report], tmp_path)


def test_a_decoy_that_calls_itself_an_ecg_is_refused(node, archive, tmp_path):
    write_ecg_study(tmp_path / "ecg", 7)
    sheet = dcmread(tmp_path / "ecg" / "synthetic-00002.dcm")
    sheet.StudyInstanceUID, sheet.SOPInstanceUID = generate_uid(), generate_uid()
    sheet.file_meta.MediaStorageSOPInstanceUID = sheet.SOPInstanceUID
    noise = np.random.default_rng(0).integers(0, 256, (sheet.Rows, sheet.Columns, 3), np.uint8)
    sheet.PixelData = noise.tobytes() + b"\0" * (noise.size % 2)
    sheet.save_as(tmp_path / "decoy.dcm")
    storescu([tmp_path / "decoy.dcm"], node.address)
    (found,) = settled(node, sheet.StudyInstanceUID, 1)
    assert found.state is StackState.REJECTED
    assert "does not look like an ECG sheet" in found.reason
    assert returned(archive, sheet.StudyInstanceUID) == []


def test_a_chest_x_ray_as_secondary_capture_is_left_alone(node, archive, tmp_path):
    write_ecg_study(tmp_path / "ecg", 8, header={"Modality": "OT", "SeriesDescription": "Chest PA"})
    capture = tmp_path / "ecg" / "synthetic-00002.dcm"
    storescu([capture], node.address)
    uid = dcmread(capture, stop_before_pixels=True).StudyInstanceUID
    (found,) = settled(node, uid, 1)
    assert found.state is StackState.UNROUTED
    assert "do not match the ecg route" in found.reason
