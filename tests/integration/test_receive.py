"""Receiving from real peers: DCMTK, pynetdicom, raw sockets."""

import errno
import os
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from structlog.testing import capture_logs

from config.errors import PermanentError, TransientError
from config.schema import PeerSettings
from dicom_node.encoded import file_header
from dicom_node.errors import CannotListen, PeerUnavailable
from dicom_node.network import STORED_SOP_CLASSES
from dicom_node.peer import OutgoingAssociation, PeerAddress, echo, open_association
from dicom_node.receive import Receiver
from dicom_node.send import SendResult, send_files
from tests.integration.conftest import StartReceiver
from tests.integration.peers import (
    ENCODINGS,
    ENVIRONMENT,
    MemorySink,
    data_set_bytes,
    dcmtk,
    free_port,
    listens,
    mr_files,
    mr_instance,
    new_uid,
    save,
    uids_of,
    wait_until,
)
from tests.integration.raw import ask, calling, request_of, store, write_raw

MR = "1.2.840.10008.5.1.4.1.1.4"


def storescu(
    node: PeerAddress, *arguments: object, check: bool = True
) -> subprocess.CompletedProcess[str]:
    to = ("-aec", node.ae_title, node.host, node.port)
    return dcmtk("storescu", *to, *arguments, check=check)


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


def library(association: OutgoingAssociation) -> Association:
    assert association._association is not None
    return association._association


def wire(association: OutgoingAssociation) -> socket.socket:
    return library(association).dul.socket.socket  # type: ignore[union-attr,return-value]


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


def element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return (
        (0).to_bytes(2, "little")
        + number.to_bytes(2, "little")
        + len(value).to_bytes(4, "little")
        + value
    )


def store_request(uid: bytes | None, data_set: bytes) -> bytes:
    """Write a C-STORE request as bytes, past the checks of pynetdicom as a sender."""
    command = element(0x0002, MR.encode()) + element(0x0100, b"\1\0") + element(0x0110, b"\7\0")
    command += element(0x0700, b"\0\0") + element(0x0800, b"\1\0")
    if uid is not None:
        command += element(0x1000, uid)
    command = element(0x0000, len(command).to_bytes(4, "little")) + command
    return p_data(3, command) + p_data(2, data_set)


def p_data(control: int, fragment: bytes) -> bytes:
    pdv = (len(fragment) + 2).to_bytes(4, "big") + bytes([1, control]) + fragment
    return b"\4\0" + len(pdv).to_bytes(4, "big") + pdv


def item(kind: int, content: bytes) -> bytes:
    """An item of an A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    return bytes([kind, 0]) + len(content).to_bytes(2, "big") + content


ABSTRACT = item(0x30, MR.encode())
TRANSFER = item(0x40, str(ExplicitVRLittleEndian).encode())


def associate_request(node: PeerAddress, syntaxes: bytes = ABSTRACT + TRANSFER) -> bytes:
    user = item(0x51, (16384).to_bytes(4, "big")) + item(0x52, b"1.2.3")
    titles = node.ae_title.ljust(16).encode() + b"RAW".ljust(16)
    content = b"\0\1\0\0" + titles + bytes(32) + item(0x10, b"1.2.840.10008.3.1.1.1")
    content += item(0x20, b"\1\0\0\0" + syntaxes) + item(0x50, user)
    return b"\1\0" + len(content).to_bytes(4, "big") + content


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


# Who is admitted


def rejection(node: PeerAddress, calling: str) -> str:
    result = dcmtk(
        "echoscu", "-aet", calling, "-aec", node.ae_title, node.host, node.port, check=False
    )
    assert result.returncode != 0
    return result.stdout + result.stderr


def test_allow_list(start_receiver: StartReceiver, tmp_path: Path) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    peers = [
        PeerSettings(ae_title="SCANNER", addresses=("127.0.0.0/8",)),
        PeerSettings(ae_title="ELSEWHERE", addresses=("10.1.2.0/24",)),
    ]
    start_receiver(address, peers, accept_unknown_peers=False)
    assert echo(address, "SCANNER").status == 0
    with capture_logs() as logs:
        assert "Calling AE Title Not Recognized" in rejection(address, "STRANGER")
        assert "Calling AE Title Not Recognized" in rejection(address, "ELSEWHERE")
        other = PeerAddress("OTHER", address.host, address.port)
        assert "Called AE Title Not Recognized" in rejection(other, "SCANNER")
    assert [
        line["calling_ae_title"] for line in logs if line["event"] == "association rejected"
    ] == [
        "STRANGER",
        "ELSEWHERE",
        "SCANNER",
    ]


def test_a_hundred_associations_at_once(
    start_receiver: StartReceiver, sink: MemorySink, tmp_path: Path
) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    start_receiver(address, max_associations=25)
    files = mr_files(tmp_path, 101)
    held = threading.Event()
    sink.on_store = lambda _: held.wait(20)
    outcomes: list[str] = []

    def send(path: Path) -> None:
        try:
            send_files(
                address, [path], lambda result: outcomes.append(str(result.status)),
                calling_ae_title="SENDER",
            )  # fmt: skip
        except PeerUnavailable as error:
            outcomes.append(str(error).split(": ", 1)[1])

    with ThreadPoolExecutor(max_workers=100) as pool:
        waiting = [pool.submit(send, path) for path in files[:100]]
        wait_until(lambda: len(outcomes) == 75, 60)
        held.set()
        for done in waiting:
            done.result(timeout=60)
    assert outcomes.count("0") == 25
    rejected = [text for text in outcomes if text != "0"]
    assert len(rejected) == 75
    assert all("Rejected Transient" in text and "Local limit" in text for text in rejected), (
        rejected
    )
    assert len(sink.instances) == 25
    wait_until(lambda: len(sink.closed) == 25)
    send(files[100])
    assert outcomes[-1] == "0"


def test_idle_connections_take_no_place(
    start_receiver: StartReceiver, sink: MemorySink, tmp_path: Path
) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    start_receiver(address, max_associations=2)
    with capture_logs() as logs:
        scanners = [socket.create_connection((address.host, address.port)) for _ in range(20)]
        try:
            assert store(address, mr_files(tmp_path, 1)[0]) == 0
        finally:
            for scanner in scanners:
                scanner.close()
        closed = "connection closed without an association"
        wait_until(lambda: [line["event"] for line in logs].count(closed) == 20)
    assert len(sink.opened) == 1


def test_an_idle_association_loses_its_place(
    start_receiver: StartReceiver, sink: MemorySink, tmp_path: Path
) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    start_receiver(address, max_associations=1, network_timeout_s=1)
    first, second = mr_files(tmp_path, 2)
    with calling(address) as idle:
        assert ask(idle, first) == 0
        wait_until(lambda: sink.closed == [(1, False)])
        assert store(address, second) == 0


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\1\0\xff\xff\xff\xff", bytes(64)]
)
def test_noise_harms_nobody(
    noise: bytes, node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    with socket.create_connection((node.host, node.port)) as scanner:
        scanner.sendall(noise)
        assert store(node, mr_files(tmp_path, 1)[0]) == 0
    assert len(sink.opened) == 1


def test_peer_that_stalls_within_a_pdu_is_dropped(start_receiver: StartReceiver) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    start_receiver(address, network_timeout_s=1, acse_timeout_s=1)
    with socket.create_connection((address.host, address.port), timeout=15) as peer:
        peer.sendall(b"\1\0\0\0\1\0")
        assert peer.recv(100) in (b"", b"\7\0\0\0\0\4\0\0\2\0")


def test_peer_that_drips_a_pdu_is_dropped(start_receiver: StartReceiver) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    start_receiver(address, network_timeout_s=1, acse_timeout_s=10)
    with socket.create_connection((address.host, address.port), timeout=0.2) as peer:
        peer.sendall(b"\1\0\0\0\1\0")
        wait_until(lambda: not drip(peer))


def drip(peer: socket.socket) -> bool:
    """Send one byte more; whether the other side is still there after a while."""
    try:
        peer.sendall(b"\0")
        return bool(peer.recv(10))
    except TimeoutError:
        return True
    except OSError:
        return False


def test_overlong_pdu_ends_the_connection(node: PeerAddress) -> None:
    with (
        socket.create_connection((node.host, node.port), timeout=5) as peer,
        capture_logs() as logs,
    ):
        peer.sendall(b"\1\0\xff\xff\xff\xf0")
        assert peer.recv(10) == b""
    assert logs[0]["announced_bytes"] == 0xFFFFFFF0


def test_overlong_instance_aborts_the_association(
    start_receiver: StartReceiver, sink: MemorySink, tmp_path: Path
) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    start_receiver(address, max_instance_mb=1)
    request = store_request(b"1.2.3", b"")[: -len(p_data(2, b""))]
    with capture_logs() as logs, calling(address) as peer:
        wire(peer).sendall(request + 13 * p_data(0, bytes(100_000)))
        wait_until(lambda: not library(peer).is_established)
    assert [line["received_mb"] for line in logs if "received_mb" in line] == [1]
    assert store(address, mr_files(tmp_path, 1)[0]) == 0
    assert len(sink.instances) == 1


# How associations end


def test_release_is_told_from_abort(node: PeerAddress, sink: MemorySink, tmp_path: Path) -> None:
    paths = mr_files(tmp_path, 4)
    storescu(node, paths[0])
    wait_until(lambda: sink.closed)
    storescu(node, "--abort", paths[1])
    wait_until(lambda: len(sink.closed) == 2)
    with calling(node) as association:
        ask(association, paths[2])
        wire(association).shutdown(socket.SHUT_RDWR)
        wait_until(lambda: len(sink.closed) == 3)
    assert sink.closed == [(1, True), (2, False), (3, False)]
    assert sink.opened[0] == ("STORESCU", "127.0.0.1")


def test_killed_sender_is_an_abort(node: PeerAddress, sink: MemorySink, tmp_path: Path) -> None:
    paths = mr_files(tmp_path, 50)
    sink.on_store = lambda _: time.sleep(0.05)
    with subprocess.Popen(
        ["storescu", "-aec", node.ae_title, node.host, str(node.port), *paths], env=ENVIRONMENT
    ) as sender:
        wait_until(lambda: len(sink.instances) >= 5)
        sender.kill()
    wait_until(lambda: sink.closed)
    assert sink.closed == [(1, False)]
    assert len(sink.instances) < 50


def test_each_end_is_recorded_once(node: PeerAddress, sink: MemorySink, tmp_path: Path) -> None:
    files = mr_files(tmp_path, 30)

    def send(number: int) -> None:
        storescu(node, *(["--abort"] if number % 3 == 0 else []), files[number], check=False)

    with ThreadPoolExecutor(max_workers=6) as pool:
        list(pool.map(send, range(30)))
    wait_until(lambda: len(sink.closed) >= 30)
    time.sleep(0.3)
    assert sorted(number for number, _ in sink.closed) == list(range(1, 31))
    assert sum(released for _, released in sink.closed) == 20


# Stopping


def test_stop_lets_a_sender_finish(
    node: PeerAddress, sink: MemorySink, start_receiver: StartReceiver, tmp_path: Path
) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    receiver: Receiver = start_receiver(address)
    paths = mr_files(tmp_path, 20)
    sink.on_store = lambda _: time.sleep(0.05)
    with subprocess.Popen(
        ["storescu", "-aec", address.ae_title, address.host, str(address.port), *paths],
        env=ENVIRONMENT,
    ) as sender:
        wait_until(lambda: len(sink.instances) >= 2)
        receiver.stop(drain_s=10)
        assert not listens(address.port)
        assert sender.wait(timeout=5) == 0
    assert len(sink.instances) == 20
    assert sink.closed == [(1, True)]


def test_stop_cuts_no_store_even_when_time_is_up(
    sink: MemorySink, start_receiver: StartReceiver, tmp_path: Path
) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    receiver: Receiver = start_receiver(address)
    sink.on_store = lambda _: time.sleep(0.2)
    confirmed: list[str] = []
    paths = mr_files(tmp_path, 200)

    def note(result: SendResult) -> None:
        if result.sent:
            confirmed.append(result.sop_instance_uid)

    def send() -> None:
        with pytest.raises(PeerUnavailable):
            send_files(address, paths, note, calling_ae_title="SENDER")

    with ThreadPoolExecutor() as pool:
        sending = pool.submit(send)
        wait_until(lambda: len(sink.instances) >= 3)
        began = time.monotonic()
        receiver.stop(drain_s=1)
        assert time.monotonic() - began < 6
        stored = list(sink.uids)
        sending.result(timeout=10)
    assert stored == sink.uids == confirmed
    assert sink.closed == [(1, False)]


def test_stop_waits_for_a_slow_store(
    sink: MemorySink, start_receiver: StartReceiver, tmp_path: Path
) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    receiver: Receiver = start_receiver(address)
    storing = threading.Event()

    def slowly(_: object) -> None:
        storing.set()
        time.sleep(1.5)

    sink.on_store = slowly
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(store, address, mr_files(tmp_path, 1)[0])
        storing.wait(10)
        receiver.stop(drain_s=10)
        assert answer.result(timeout=5) == 0
    assert sink.closed == [(1, True)]


def test_stop_waits_for_a_slow_sender_and_admits_nobody(
    sink: MemorySink, start_receiver: StartReceiver, tmp_path: Path
) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    receiver: Receiver = start_receiver(address)
    (path,) = mr_files(tmp_path, 1)
    data_set = data_set_bytes(path.read_bytes())
    command = store_request(path.stem.encode(), b"")[: -len(p_data(2, b""))]
    answers: list[int] = []
    late = socket.create_connection((address.host, address.port))
    with late, calling(address) as slow, ThreadPoolExecutor() as pool:
        library(slow).bind(
            evt.EVT_DIMSE_RECV, lambda e: answers.append(e.message.command_set.Status)
        )
        wire(slow).sendall(command + p_data(0, data_set[:1000]))
        stopping = pool.submit(receiver.stop, 10)
        wait_until(lambda: not listens(address.port))
        time.sleep(1.2)
        late.sendall(associate_request(address))
        assert late.recv(10) == b"\3\0\0\0\0\4\0\2\3\1"
        wire(slow).sendall(p_data(2, data_set[1000:]))
        wait_until(lambda: answers)
        stopping.result(timeout=10)
    assert answers == [0]
    assert sink.uids == [path.stem]


def test_stop_aborts_idle_associations(
    sink: MemorySink, start_receiver: StartReceiver, tmp_path: Path
) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    receiver: Receiver = start_receiver(address)
    (path,) = mr_files(tmp_path, 1)
    with calling(address) as idle:
        assert ask(idle, path) == 0
        began = time.monotonic()
        receiver.stop(drain_s=20)
        assert time.monotonic() - began < 5
        wait_until(lambda: not library(idle).is_established)
    assert sink.closed == [(1, False)]


def test_stop_leaves_no_thread_at_a_half_sent_pdu(start_receiver: StartReceiver) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    receiver = start_receiver(address)
    before = set(threading.enumerate())

    def holding() -> list[threading.Thread]:  # the end of the process waits for these
        return [t for t in threading.enumerate() if t not in before and not t.daemon]

    with socket.create_connection((address.host, address.port), timeout=5) as peer:
        peer.sendall(associate_request(address)[:20])
        wait_until(holding)
        time.sleep(0.2)
        receiver.stop(drain_s=1)
        wait_until(lambda: not holding())


def test_port_in_use(node: PeerAddress, start_receiver: StartReceiver) -> None:
    with pytest.raises(CannotListen, match=f"127.0.0.1:{node.port}: Address already in use"):
        start_receiver(node)


def test_stored_fast_without_delay_of_acknowledgements(
    node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    """Forty milliseconds per instance would be the sign of a missing TCP_NODELAY."""
    paths = mr_files(tmp_path, 100)
    began = time.monotonic()
    send_files(node, paths, lambda _: None, calling_ae_title="SENDER")
    assert len(sink.instances) == 100
    assert time.monotonic() - began < 100 * 0.03
    assert os.environ.get("TCP_NODELAY") is None


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"CARDIACCAD".ljust(16) + b"SCAN\1NER".ljust(16), "its calling AE title is not made"),
        (b"CARDIAC\7".ljust(16) + b"SCANNER".ljust(16), "its called AE title is not made"),
        (b"CARDIACCAD".ljust(16) + b"SCANNER".ljust(16), "it cannot be decoded"),
    ],
)
def test_the_log_says_why_a_request_cannot_be_read(
    head: bytes, reason: str, node: PeerAddress
) -> None:
    no_uid = b"\x20\0\0\x0a\1\0\0\0\x30\0\0\2\xff\xfe"  # as abstract syntax of a context
    body = b"\0\1\0\0" + head + bytes(32) + no_uid
    with (
        capture_logs() as logs,
        socket.create_connection((node.host, node.port)) as sender,
    ):
        sender.sendall(b"\1\0" + len(body).to_bytes(4, "big") + body)
        wait_until(lambda: "association request refused" in [line["event"] for line in logs])
    (line,) = [line for line in logs if line["event"] == "association request refused"]
    assert str(line["reason"]).startswith(reason)


@pytest.mark.parametrize("syntaxes", [ABSTRACT, TRANSFER], ids=["no transfer", "no abstract"])
def test_a_request_with_half_a_context_is_rejected(syntaxes: bytes, node: PeerAddress) -> None:
    with (
        capture_logs() as logs,
        socket.create_connection((node.host, node.port), timeout=5) as sender,
    ):
        sender.sendall(associate_request(node, syntaxes))
        assert sender.recv(10) == b"\3\0\0\0\0\4\0\1\1\1"
    (line,) = [line for line in logs if line["event"] == "association rejected"]
    assert line["reason"] == "a presentation context lacks its abstract or transfer syntax"


def test_the_log_names_a_few_of_many_refused_classes(node: PeerAddress) -> None:
    refused = [
        f"1.2.840.10008.5.1.4.1.1.{number}"
        for number in ("2", "20", "128", "481.1", "481.2", "481.3")
    ]
    proposed = [build_context(uid) for uid in (MR, *refused, "1.2.840.10008.5.1.4.1.1.6.1")]
    with capture_logs() as logs, open_association(node, "SENDER", proposed):
        pass
    (line,) = [line for line in logs if line["event"] == "association accepted"]
    assert len(line["sop_classes_refused"]) == 6
    assert line["sop_classes_refused"][-1] == "and 2 more"
