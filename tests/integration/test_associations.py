"""Associations with the node: who is admitted, how they end, what harms nobody."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from pynetdicom import evt
from pynetdicom.presentation import build_context
from structlog.testing import capture_logs

from config.schema import PeerSettings
from dicom_node.errors import CannotListen, PeerUnavailable
from dicom_node.peer import PeerAddress, echo, open_association
from dicom_node.receive import Receiver
from dicom_node.send import SendResult, send_files
from tests.integration.conftest import StartReceiver
from tests.integration.peers import (
    ENVIRONMENT,
    MemorySink,
    data_set_bytes,
    dcmtk,
    free_port,
    listens,
    mr_files,
    storescu,
    wait_until,
)
from tests.integration.raw import (
    ABSTRACT,
    MR,
    TRANSFER,
    ask,
    associate_request,
    calling,
    library,
    p_data,
    store,
    store_request,
    wire,
)

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


def no_delay(port: int) -> Iterator[int]:
    """TCP_NODELAY of every connection of this process from or to a port."""
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError), socket.socket(fileno=os.dup(int(descriptor))) as one:
            if one.family == socket.AF_INET and port in (
                one.getsockname()[1],
                one.getpeername()[1],
            ):
                yield one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_no_message_waits_for_a_delayed_acknowledgement(
    node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    found: list[int] = []
    sink.on_store = lambda _: found.extend(no_delay(node.port))
    send_files(node, mr_files(tmp_path, 1), lambda _: None, calling_ae_title="SENDER")
    assert found == [1, 1]


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


@pytest.mark.parametrize("ids", [b"\0", b"\2", b"\1\2", b"\2\3"], ids=str)
def test_a_request_with_an_even_context_id_is_rejected(ids: bytes, node: PeerAddress) -> None:
    request = associate_request(node, ids=ids)
    with (
        capture_logs() as logs,
        socket.create_connection((node.host, node.port), timeout=5) as sender,
    ):
        sender.sendall(request)
        assert sender.recv(10) == b"\3\0\0\0\0\4\0\1\1\1"
    (line,) = [line for line in logs if line["event"] == "association rejected"]
    assert (line["calling_ae_title"], line["address"]) == ("RAW", "127.0.0.1")
    assert "even id" in line["reason"]
    assert "thread ended by a fault" not in [line["event"] for line in logs]


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
