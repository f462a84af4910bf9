"""Receiving from real peers: DCMTK, pynetdicom, raw sockets."""

import errno
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.presentation import build_context
from structlog.testing import capture_logs

from config.errors import PermanentError, TransientError
from dicom_node.encoded import file_header
from dicom_node.errors import PeerUnavailable
from dicom_node.network import STORED_SOP_CLASSES
from dicom_node.peer import PeerAddress, echo, open_association
from dicom_node.send import send_files
from tests.integration.peers import (
    ENCODINGS,
    MemorySink,
    data_set_bytes,
    dcmtk,
    mr_files,
    mr_instance,
    new_uid,
    save,
    storescu,
    uids_of,
    wait_until,
)
from tests.integration.raw import (
    MR,
    ask,
    calling,
    library,
    request_of,
    store,
    store_request,
    wire,
    write_raw,
)

# What is received


@pytest.mark.parametrize("transfer_syntax", ENCODINGS)
def test_stores_bytes_as_received(
    transfer_syntax: str, encoded_files: dict[str, Path], node: PeerAddress, sink: MemorySink
) -> None:
    path = encoded_files[transfer_syntax]
    option = ENCODINGS[transfer_syntax][1]
    if option:
        storescu(node, option, path)
    else:
        send_files(node, [path], lambda _: None, calling_ae_title="SENDER")
    (instance,) = sink.instances
    sent = dcmread(path)
    assert instance.transfer_syntax_uid == sent.file_meta.TransferSyntaxUID == transfer_syntax
    assert instance.uids == uids_of(sent)
    kept = dcmread(BytesIO(instance.file_bytes()))
    assert kept.file_meta.SourceApplicationEntityTitle == instance.calling_ae_title
    assert kept.file_meta.TransferSyntaxUID == transfer_syntax
    assert kept.file_meta.MediaStorageSOPInstanceUID == kept.SOPInstanceUID
    assert (kept.pixel_array == sent.pixel_array).all()
    if not option:
        assert instance.data_set == data_set_bytes(path.read_bytes())


def test_wrapped_file_is_valid_for_others(
    node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    storescu(node, *mr_files(tmp_path / "in", 1))
    path = tmp_path / "kept.dcm"
    path.write_bytes(sink.instances[0].file_bytes())
    dump = dcmtk("dcmdump", "+L", path)
    assert "error" not in dump.stderr.lower()
    assert "(0002,0016) AE [STORESCU]" in dump.stdout
    assert sink.instances[0].file_bytes().endswith(sink.instances[0].data_set)


def test_prefers_explicit_little_endian(node: PeerAddress) -> None:
    offered = [
        build_context(MR, ["1.2.840.10008.1.2.5", ImplicitVRLittleEndian, ExplicitVRLittleEndian])
    ]
    with open_association(node, "SENDER", offered) as association:
        assert list(association.accepted) == [(MR, ExplicitVRLittleEndian)]


def test_echo(node: PeerAddress) -> None:
    dcmtk("echoscu", "-aec", node.ae_title, node.host, node.port)
    result = echo(node, "SENDER", (*STORED_SOP_CLASSES, CTImageStorage))
    assert result.status == 0
    assert result.accepted == STORED_SOP_CLASSES
    assert result.refused == (CTImageStorage,)


def test_echo_alone_leaves_no_record(node: PeerAddress, sink: MemorySink) -> None:
    echo(node, "SENDER")
    assert sink.opened == []
    assert sink.closed == []


def test_the_log_tells_how_much_was_there_before(
    node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    first, second = mr_files(tmp_path, 2)
    with capture_logs() as logs:
        storescu(node, first)
        storescu(node, first, second)
        wait_until(lambda: len(sink.closed) == 2)
        wait_until(lambda: len([x for x in logs if x["event"] == "association released"]) == 2)
    told = [line for line in logs if line["event"] == "association released"]
    assert [(line["stored"], line["unchanged"]) for line in told] == [(1, 0), (2, 1)]


def test_uids_with_leading_zeros_are_taken(
    node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    path = write_raw(tmp_path, mr_instance(), uids=None)
    content = path.read_bytes()
    old = dcmread(path).SOPInstanceUID
    new = "1.2.0" + old[5:]
    path.write_bytes(content.replace(old.encode(), new.encode()))
    storescu(node, path)
    assert sink.uids == [new]


# Statuses


def refusals(logs: list[dict[str, object]]) -> list[dict[str, object]]:
    return [line for line in logs if line["event"] == "instance refused"]


@pytest.mark.parametrize("cut", [1, 64 * 64, 64 * 64 * 2 + 5])
def test_truncated_data_set(cut: int, node: PeerAddress, sink: MemorySink, tmp_path: Path) -> None:
    path = write_raw(tmp_path, mr_instance(), cut=cut)
    with capture_logs() as logs:
        assert store(node, path) == 0xC000
    assert sink.instances == []
    (line,) = refusals(logs)
    assert line["calling_ae_title"] == "SENDER"
    assert (
        line["sop_instance_uid"] == dcmread(path, force=True).file_meta.MediaStorageSOPInstanceUID
    )
    assert "Phantom" not in str(logs)


def test_truncated_deflated_data_set(
    encoded_files: dict[str, Path], node: PeerAddress, tmp_path: Path
) -> None:
    deflated = "1.2.840.10008.1.2.1.99"
    path = tmp_path / "cut.dcm"
    path.write_bytes(encoded_files[deflated].read_bytes()[:-40])
    assert store(node, path, deflated) == 0xC000


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_missing_uid(keyword: str, node: PeerAddress, sink: MemorySink, tmp_path: Path) -> None:
    dataset = mr_instance()
    uids = uids_of(dataset)
    delattr(dataset, keyword)
    path = write_raw(tmp_path, dataset, uids=uids)
    with capture_logs() as logs:
        assert store(node, path) == 0xC000
    assert "is missing" in str(refusals(logs)[0]["reason"])
    assert sink.instances == []


@pytest.mark.parametrize("hostile", ["../../../etc/passwd", "1.2.3;rm -rf", "1.2.3\\4", "Doe^John"])
def test_hostile_uid(hostile: str, node: PeerAddress, sink: MemorySink, tmp_path: Path) -> None:
    dataset = mr_instance()
    old = str(dataset.SOPInstanceUID)
    swap = (old.encode(), hostile.ljust(len(old), "\0").encode())
    uids = uids_of(dataset)._replace(sop_instance_uid=hostile)
    path = write_raw(tmp_path, dataset, uids=uids, replace=swap)
    with capture_logs() as logs:
        assert store(node, path) == 0xC000
    (line,) = refusals(logs)
    assert set(str(line["sop_instance_uid"])) <= set("0123456789.?")
    assert sink.instances == []


def test_hostile_study_uid(node: PeerAddress, sink: MemorySink, tmp_path: Path) -> None:
    dataset = mr_instance()
    old = str(dataset.StudyInstanceUID)
    path = write_raw(tmp_path, dataset, replace=(old.encode(), b"../../x".ljust(len(old), b"\0")))
    assert store(node, path) == 0xC000
    assert sink.instances == []


@pytest.mark.parametrize("field", ["sop_class_uid", "sop_instance_uid"])
def test_command_and_data_set_disagree(
    field: str, node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    dataset = mr_instance()
    if field == "sop_class_uid":
        dataset.SOPClassUID = CTImageStorage
        uids = uids_of(dataset)._replace(sop_class_uid=MR)
    else:
        uids = uids_of(dataset)._replace(sop_instance_uid=new_uid())
    assert store(node, write_raw(tmp_path, dataset, uids=uids)) == 0xA900
    assert sink.instances == []


def test_class_of_another_context(node: PeerAddress, sink: MemorySink, tmp_path: Path) -> None:
    request = request_of(save(mr_instance(SOPClassUID=CTImageStorage), tmp_path))
    with calling(node) as association:
        assert [answer.status for answer in association.ask(request, 1)] == [0x0122]
    assert sink.instances == []


def test_class_that_is_not_stored_is_not_accepted(node: PeerAddress, tmp_path: Path) -> None:
    path = save(mr_instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.481.5"), tmp_path)
    with pytest.raises(PeerUnavailable, match="none of the proposed"):
        send_files(node, [path], lambda _: None, calling_ae_title="SENDER")


@pytest.mark.parametrize("explicit", [False, True])
def test_wrong_value_representation(
    explicit: bool, node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    """Explicit VR sent as implicit, and the other way round."""
    sent, said = ExplicitVRLittleEndian, ImplicitVRLittleEndian
    if not explicit:
        sent, said = said, sent
    path = save(mr_instance(), tmp_path, sent)
    header = file_header(uids_of(dcmread(path)), said, "SENDER", "1.2.3", "T")
    path.write_bytes(header + data_set_bytes(path.read_bytes()))
    status = store(node, path, said)
    if explicit:
        assert status == 0xC000
    else:  # single elements may be in implicit VR, so all of them may
        assert status == 0
        assert len(sink.instances) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TransientError("full"), 0xA700),
        (OSError(errno.ENOSPC, "No space left on device"), 0xA700),
        (OSError(errno.EIO, "Input/output error"), 0xA700),
        (PermanentError("cannot be read"), 0xC000),
        (ValueError("a fault"), 0xC000),
    ],
)
def test_failing_storage(
    error: Exception, status: int, node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    def fail(_: object) -> None:
        raise error

    first, second = mr_files(tmp_path, 2)
    sink.on_store = fail
    with capture_logs() as logs:
        assert store(node, first) == status
    reason = str(refusals(logs)[0]["reason"])
    if isinstance(error, OSError):
        assert errno.errorcode[error.errno or 0] in reason
    sink.on_store = lambda _: None
    assert store(node, second) == 0


def test_success_is_answered_only_after_storing(
    node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    stored = threading.Event()
    sink.on_store = lambda _: stored.wait(10)
    (path,) = mr_files(tmp_path, 1)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(store, node, path)
        time.sleep(0.5)
        assert not answer.done()
        stored.set()
        assert answer.result(timeout=10) == 0


# Requests that pynetdicom would not send


@pytest.mark.parametrize("uid", [None, b""])
def test_request_without_uid_is_answered(
    uid: bytes | None, node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    data_set = data_set_bytes(mr_files(tmp_path, 1)[0].read_bytes())
    answers: list[int] = []
    with capture_logs() as logs, calling(node) as peer:
        library(peer).bind(
            evt.EVT_DIMSE_RECV, lambda e: answers.append(e.message.command_set.Status)
        )
        wire(peer).sendall(store_request(uid, data_set))
        wait_until(lambda: answers)
    assert answers == [0xC000]
    assert len(refusals(logs)) == 1
    assert sink.instances == []


@pytest.mark.parametrize("same", [True, False])
def test_overlong_uid(same: bool, node: PeerAddress, sink: MemorySink, tmp_path: Path) -> None:
    paths = mr_files(tmp_path, 2)
    data_set = data_set_bytes(paths[0].read_bytes())
    overlong = b"1." * 60
    if same:
        old = dcmread(paths[0])["SOPInstanceUID"]
        size = len(old.value) + len(old.value) % 2
        begin = data_set.index(b"\x08\x00\x18\x00UI")
        new = data_set[begin : begin + 6] + len(overlong).to_bytes(2, "little") + overlong
        data_set = data_set[:begin] + new + data_set[begin + 8 + size :]
    answers: list[int] = []
    with capture_logs() as logs, calling(node) as peer:
        library(peer).bind(
            evt.EVT_DIMSE_RECV, lambda e: answers.append(e.message.command_set.Status)
        )
        wire(peer).sendall(store_request(overlong, data_set))
        wait_until(lambda: answers)
        assert ask(peer, paths[1]) == 0
    assert answers[0] == (0xC000 if same else 0xA900)
    assert len(refusals(logs)) == 1
    assert len(sink.instances) == 1
