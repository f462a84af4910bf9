"""Input no one should send: nothing crashes, the log says what and why, the next study works."""

import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
)
from pynetdicom.presentation import build_context

from dicom_node.errors import PeerUnavailable
from dicom_node.peer import PeerAddress, open_association
from dicom_node.send import SendResult, send_files
from dicom_node.status import StackStatus
from pipeline.results.source import tolerant_headers
from storage.states import StackState
from tests.acceptance.bad_studies import REFUSED, REJECTED, assert_no_patient, good_study, mr
from tests.acceptance.conftest import StartNode
from tests.acceptance.node import SCANNER, RunningNode, storescu
from tests.acceptance.studies import Study, returned
from tests.integration.peers import (
    ENVIRONMENT,
    Orthanc,
    new_uid,
    save,
    wait_until,
)
from tests.integration.raw import request_of

UNDER_WAY = (StackState.WAITING, StackState.QUEUED, StackState.RUNNING)


@pytest.fixture(scope="module")
def node(archive: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    running = RunningNode(
        tmp_path_factory.mktemp("node"),
        [archive.address],
        completion={"quiet_s": 5.0},
        node={"acse_timeout_s": 10},
        worker={"threads": 1},
    )
    running.start()
    yield running
    code = running.stop()
    assert code == 0, running.log_tail()


@pytest.fixture
def goes_on(node: RunningNode, archive: Orthanc, tmp_path: Path) -> Iterator[None]:
    """After the test: the same process, no fault and no patient in its log, and it works."""
    pid = node.pid
    yield
    assert_works(node, archive, good_study(tmp_path / "next"))
    assert node.is_running()
    assert node.pid == pid
    assert_clean_log(node)


def assert_works(node: RunningNode, archive: Orthanc, study: Study) -> None:
    storescu(study.files, node.address)
    node.wait_settled(study.uid)
    assert len(returned(archive, study.uid)) == 3


def assert_clean_log(node: RunningNode) -> None:
    faults = [line for line in node.log() if line.get("level") in ("error", "critical", None)]
    assert faults == []
    assert_no_patient(node.log_path.read_text())


# Refused on the wire


@pytest.mark.usefixtures("goes_on")
def test_refused_objects_leave_the_study_between_them_whole(
    node: RunningNode, archive: Orthanc, tmp_path: Path
) -> None:
    study = good_study(tmp_path / "study")
    before = len(node.log("instance refused"))
    statuses: dict[str, int] = {}
    expected: dict[str, tuple[int, str]] = {}
    context = build_context(MRImageStorage, ExplicitVRLittleEndian)
    with open_association(node.address, SCANNER, [context]) as association:
        share = len(study.files) // len(REFUSED) + 1
        for number, (name, make) in enumerate(REFUSED.items()):
            for path in study.files[number * share : (number + 1) * share]:
                assert [answer.status for answer in association.ask(request_of(path), 1)] == [0]
            (tmp_path / name).mkdir()
            path, status, reason = make(tmp_path / name)
            expected[name] = status, reason
            (answer,) = association.ask(request_of(path), 1)
            statuses[name] = answer.status
    assert statuses == {name: status for name, (status, _) in expected.items()}

    lines = node.log("instance refused")[before:]
    assert len(lines) == len(REFUSED)
    for line, (status, reason) in zip(lines, expected.values(), strict=True):
        assert line["status"] == f"0x{status:04X}"
        assert reason in str(line["reason"])
        assert line["sop_instance_uid"]
        assert set(str(line["sop_instance_uid"])) <= set("0123456789.?")
        assert line["calling_ae_title"] == SCANNER
    stack = node.wait_settled(study.uid)
    assert stack.instances == len(study.files)
    assert len(returned(archive, study.uid)) == 3


@pytest.mark.usefixtures("goes_on")
def test_a_sop_class_that_is_not_stored_is_named(node: RunningNode, tmp_path: Path) -> None:
    path = save(mr(SOPClassUID=CTImageStorage, Modality="CT"), tmp_path)
    run = storescu([path], node.address, calling="CT-SCANNER", check=False)
    assert run.returncode != 0
    (line,) = [
        line
        for line in node.log("association accepted")
        if line["calling_ae_title"] == "CT-SCANNER"
    ]
    assert line["sop_classes_refused"] == ["CT Image Storage"]


# Stored, and left alone or rejected


def left_alone(node: RunningNode, study_uid: str, instances: int = 1) -> list[StackStatus]:
    """Wait until all instances of a study are judged; none of them may have been measured."""

    def of_study(stacks: Sequence[StackStatus]) -> list[StackStatus]:
        return [stack for stack in stacks if stack.study_instance_uid == study_uid]

    def is_judged(stacks: list[StackStatus]) -> bool:
        under_way = any(stack.state in UNDER_WAY for stack in stacks)
        return not under_way and sum(stack.instances for stack in stacks) == instances

    stacks = of_study(node.wait_for(lambda status: is_judged(of_study(status.stacks))).stacks)
    assert {stack.state for stack in stacks} <= {StackState.UNROUTED, StackState.REJECTED}
    return stacks


def reasons_logged(node: RunningNode, stack: StackStatus) -> list[str]:
    """What the log says, once it is final, why a stack, known by its series, is not measured."""
    rejected = stack.state is StackState.REJECTED
    told, why = ("series arriving", "stack rejected") if rejected else ("series left alone",) * 2

    def of_stack(event: str) -> list[dict[str, object]]:
        return [line for line in node.log(event) if line.get("stack_id") == stack.id]

    wait_until(lambda: of_stack(why))
    assert list(stack.series_instance_uids) in [
        line["series_instance_uids"] for line in of_stack(told)
    ]
    return [str(line["reason"]) for line in of_stack(why)]


@pytest.mark.usefixtures("goes_on")
def test_documents_are_left_alone(node: RunningNode, tmp_path: Path) -> None:
    for sop_class in (Comprehensive3DSRStorage, EncapsulatedPDFStorage):
        dataset = mr(SOPClassUID=sop_class, PixelData=None, Modality="OT")
        storescu([save(dataset, tmp_path)], node.address)
        (stack,) = left_alone(node, dataset.StudyInstanceUID)
        assert stack.reason == "left alone: no image of a kind the node measures"
        assert stack.reason in reasons_logged(node, stack)


@pytest.mark.usefixtures("goes_on")
@pytest.mark.parametrize("reason", REJECTED)
def test_a_stack_that_cannot_be_measured_is_rejected_by_name(
    reason: str, node: RunningNode, archive: Orthanc, tmp_path: Path
) -> None:
    study = good_study(tmp_path / "study")
    files = REJECTED[reason](study, tmp_path / "bad")
    storescu(files, node.address)
    (stack,) = left_alone(node, study.uid, len(files))
    assert stack.state is StackState.REJECTED
    assert stack.reason.startswith(reason)
    assert stack.reason in reasons_logged(node, stack)
    if "missing" not in reason:
        uids = [str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files]
        assert any(f"(instance {uid})" in stack.reason for uid in uids)
    assert returned(archive, study.uid) == []


@pytest.mark.usefixtures("goes_on")
def test_one_missing_image_is_named_and_the_rest_measured(
    node: RunningNode, archive: Orthanc, tmp_path: Path
) -> None:
    study = good_study(tmp_path / "study")
    storescu([*study.files[:13], *study.files[14:]], node.address)
    findings = node.wait_settled(study.uid).findings
    assert findings is not None
    (check,) = [check for check in findings.quality if check.check == "missing_images"]
    assert check.verdict == "review"
    assert "phase 2 missing" in check.reason
    assert len(returned(archive, study.uid)) == 3


@pytest.mark.usefixtures("goes_on")
@pytest.mark.parametrize("folder", ["long_axis_cine", "enhanced_mr"])
def test_real_images_of_something_else_are_left_alone(
    folder: str, real_data: Path, node: RunningNode
) -> None:
    files = sorted((real_data / "other" / folder).glob("*.dcm"))
    with tolerant_headers():
        headers = [dcmread(path, stop_before_pixels=True) for path in files]
    results: list[SendResult] = []
    send_files(node.address, files, results.append, calling_ae_title=SCANNER)
    assert [result.status for result in results] == [0] * len(files)
    for study_uid in {str(item.StudyInstanceUID) for item in headers}:
        members = {item.SOPInstanceUID for item in headers if item.StudyInstanceUID == study_uid}
        for stack in left_alone(node, study_uid, len(members)):
            assert stack.pipeline is None
            assert stack.reason.startswith("left alone: ")
            assert stack.reason in reasons_logged(node, stack)
    names = {str(item.get(key, "")) for item in headers for key in ("PatientName", "PatientID")}
    assert_no_patient(node.log_path.read_text(), [name for name in names if len(name) > 4])


# Connections


@pytest.mark.usefixtures("goes_on")
def test_a_hundred_associations_at_once(node: RunningNode, tmp_path: Path) -> None:
    study, series = new_uid(), new_uid()
    files = [
        save(mr(StudyInstanceUID=study, SeriesInstanceUID=series), tmp_path) for _ in range(100)
    ]
    answered = threading.Semaphore(0)
    everybody = threading.Event()
    stored: list[int] = []
    rejected: list[str] = []

    def call(path: Path) -> None:
        context = build_context(MRImageStorage, ExplicitVRLittleEndian)
        try:
            with open_association(node.address, "CROWD", [context]) as association:
                answered.release()
                everybody.wait(60)
                stored.extend(item.status for item in association.ask(request_of(path), 1))
        except PeerUnavailable as error:
            rejected.append(str(error))
            answered.release()

    with ThreadPoolExecutor(max_workers=100) as pool:
        calls = [pool.submit(call, path) for path in files]
        for _ in files:
            assert answered.acquire(timeout=60)
        everybody.set()
        for one in calls:
            one.result(timeout=60)
    limit = node.settings.node.max_associations
    assert stored == [0] * limit
    assert len(rejected) == 100 - limit
    assert [text for text in rejected if "Local limit" not in text] == []

    of_crowd = [line for line in node.log() if line.get("calling_ae_title") == "CROWD"]
    turned_away = [line for line in of_crowd if line["event"] == "association rejected"]
    assert len(turned_away) == 100 - limit
    assert {line["reason"] for line in turned_away} == {"too many associations are open"}
    assert sum(line["event"] == "association accepted" for line in of_crowd) == limit
    left_alone(node, study, limit)


@pytest.mark.usefixtures("goes_on")
def test_port_scanner(node: RunningNode) -> None:
    def closed() -> int:
        return len(node.log("connection closed without an association"))

    before = closed()
    address = (node.address.host, node.address.port)
    noises = [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\1\0\xff\xff\xff\xff", bytes(64)] * 8
    for noise in noises:
        with socket.create_connection(address) as scanner:
            scanner.sendall(noise)
    for _ in range(8):  # an abrupt end: RST
        with socket.create_connection(address) as scanner:
            scanner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    silent = [socket.create_connection(address) for _ in range(30)]
    try:
        wait_until(lambda: closed() >= before + len(noises) + 8)
        assert echo_succeeds(node.address)
    finally:
        for scanner in silent:
            scanner.close()
    wait_until(lambda: closed() == before + len(noises) + 8 + len(silent))
    lines = node.log("connection closed without an association")[before:]
    assert {line["address"] for line in lines} == {"127.0.0.1"}


def echo_succeeds(address: PeerAddress) -> bool:
    command = ["echoscu", "-aec", address.ae_title, address.host, str(address.port)]
    return subprocess.run(command, env=ENVIRONMENT, check=False, timeout=60).returncode == 0


def test_full_disk_refuses_and_forgets_nothing(
    archive: Orthanc, start_node: StartNode, tmp_path: Path
) -> None:
    study = good_study(tmp_path / "study")
    node = start_node(storage={"refuse_free_mb": 1e9, "warn_free_mb": 1e9})
    results: list[SendResult] = []
    send_files(node.address, study.files[:5], results.append, calling_ae_title=SCANNER)
    assert [result.status for result in results] == [0xA700] * 5
    lines = node.log("instance refused")
    assert [line["sop_instance_uid"] for line in lines] == [
        result.sop_instance_uid for result in results
    ]
    assert {line["status"] for line in lines} == {"0xA700"}
    assert all("free" in str(line["reason"]) for line in lines)
    assert node.log("disk full: new instances are refused")
    assert node.status().stacks == ()
    assert not list(node.settings.storage.folder.rglob("*.dcm"))
    assert node.stop() == 0

    node = start_node([archive.address], completion={"quiet_s": 5.0}, worker={"threads": 1})
    assert_works(node, archive, study)
    assert_no_patient(node.log_path.read_text())
