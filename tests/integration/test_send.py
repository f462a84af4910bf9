"""Sending to real peers: Orthanc, DCMTK storescp, the product's own archive."""

import os
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom.acse import ACSE
from structlog.testing import capture_logs

from config.schema import NodeSettings
from dicom_node.archive import Archive
from dicom_node.encoded import DEFLATED
from dicom_node.errors import InvalidAddress, PeerUnavailable
from dicom_node.network import STORED_SOP_CLASSES
from dicom_node.peer import PeerAddress, echo
from dicom_node.receive import ReceivedInstance
from dicom_node.send import SendResult, send_files, send_paths
from tests.integration.conftest import StartReceiver
from tests.integration.peers import (
    ENCODINGS,
    ENVIRONMENT,
    MemorySink,
    Orthanc,
    data_set_bytes,
    dcmtk,
    free_port,
    listens,
    mr_files,
    mr_instance,
    save,
    wait_until,
)


def send(peer: PeerAddress, files: list[Path], **options: object) -> list[SendResult]:
    results: list[SendResult] = []
    send_files(peer, files, results.append, calling_ae_title="SENDER", **options)  # type: ignore[arg-type]
    return results


@pytest.mark.parametrize("transfer_syntax", ENCODINGS)
def test_bytes_reach_the_archive_unchanged(
    transfer_syntax: str, encoded_files: dict[str, Path], orthanc: Orthanc
) -> None:
    path = encoded_files[transfer_syntax]
    (result,) = send(orthanc.address, [path])
    assert result.sent
    assert result.status == 0
    sent = data_set_bytes(path.read_bytes())
    kept = data_set_bytes(orthanc.instance_file(result.sop_instance_uid))
    if transfer_syntax == DEFLATED:  # Orthanc deflates anew
        sent, kept = (zlib.decompressobj(-zlib.MAX_WBITS).decompress(b) for b in (sent, kept))
    assert kept == sent


def test_odd_length_is_padded(
    encoded_files: dict[str, Path], orthanc: Orthanc, tmp_path: Path
) -> None:
    """Tools write deflated files of odd length; DCMTK as a receiver drops odd fragments."""
    odd = tmp_path / "odd.dcm"
    content = encoded_files[DEFLATED].read_bytes()
    uid = str(dcmread(encoded_files[DEFLATED]).SOPInstanceUID)
    odd.write_bytes(content + bytes(1 - len(content) % 2))
    assert [result.status for result in send(orthanc.address, [odd])] == [0]
    assert orthanc.instance_file(uid)


def test_mixed_files_over_one_association(
    encoded_files: dict[str, Path], node: PeerAddress, sink: MemorySink
) -> None:
    files = list(encoded_files.values())
    results = send(node, files)
    assert [result.path for result in results] == files
    assert all(result.sent for result in results)
    assert len(sink.opened) == 1
    assert [instance.data_set for instance in sink.instances] == [
        data_set_bytes(path.read_bytes()) for path in files
    ]


def test_echo_of_an_archive(orthanc: Orthanc) -> None:
    result = echo(orthanc.address, "SENDER")
    assert result.status == 0
    assert set(STORED_SOP_CLASSES) == {*result.accepted, *result.refused}
    assert result.accepted


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[PeerAddress]:
    port = free_port()
    folder = tmp_path / "storescp"
    folder.mkdir()
    with subprocess.Popen(
        ["storescp", "-aet", "STORESCP", "+xa", "-od", folder, str(port)], env=ENVIRONMENT
    ) as process:
        wait_until(lambda: listens(port))
        yield PeerAddress("STORESCP", "127.0.0.1", port)
        process.kill()


def test_dcmtk_receives_what_was_sent(storescp: PeerAddress, tmp_path: Path) -> None:
    files = mr_files(tmp_path, 20)
    assert [result.status for result in send(storescp, files)] == [0] * 20
    kept = {data_set_bytes(p.read_bytes()) for p in (tmp_path / "storescp").iterdir()}
    assert kept == {data_set_bytes(path.read_bytes()) for path in files}


# What is not sent


def test_refused_and_accepted_objects_in_one_batch(node: PeerAddress, tmp_path: Path) -> None:
    good = mr_files(tmp_path, 2)
    ct = save(mr_instance(SOPClassUID=CTImageStorage), tmp_path)
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(good[1].read_bytes()[:-100])
    text = tmp_path / "notes.txt"
    text.write_text("not DICOM")
    results = {result.path: result for result in send(node, [good[0], ct, bad, text])}
    assert results[good[0]].sent
    assert not results[ct].sent
    assert results[ct].status is None
    assert "CT Image Storage in Explicit VR Little Endian" in results[ct].text
    assert results[bad].status == 0xC000
    assert not results[bad].sent
    assert results[text].text == "not a DICOM file"


def test_a_failure_of_storage_is_not_sent(
    node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    files = mr_files(tmp_path, 3)

    def full(instance: ReceivedInstance) -> None:
        if instance.uids.sop_instance_uid in files[1].name:
            raise OSError(28, "No space left on device")

    sink.on_store = full
    assert [result.status for result in send(node, files)] == [0, 0xA700, 0]


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(PeerUnavailable, match="no connection"):
        send(PeerAddress("NOBODY", "127.0.0.1", free_port()), mr_files(tmp_path, 1))


def test_host_without_an_address(tmp_path: Path) -> None:
    with pytest.raises(PeerUnavailable, match=r"no\.such\.host\.invalid"):
        send(PeerAddress("NOBODY", "no.such.host.invalid", 104), mr_files(tmp_path, 1))


def test_rejected_association(start_receiver: StartReceiver, tmp_path: Path) -> None:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    start_receiver(address, accept_unknown_peers=False)
    with pytest.raises(PeerUnavailable, match=r"not recognised \(the calling AE title was"):
        send(address, mr_files(tmp_path, 1))


def test_a_rejection_is_told_when_the_connection_is_closed_before_it_is_looked_for(
    start_receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ask = ACSE.send_request

    def slow(acse: ACSE) -> None:
        ask(acse)
        time.sleep(0.5)

    monkeypatch.setattr(ACSE, "send_request", slow)
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    start_receiver(address, accept_unknown_peers=False)
    with pytest.raises(PeerUnavailable, match=r"not recognised \(the calling AE title was"):
        send(address, mr_files(tmp_path, 1))


def test_peer_that_accepts_connections_and_says_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        peer = PeerAddress("MUTE", "127.0.0.1", mute.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(PeerUnavailable, match="no answer in time"):
            send(peer, mr_files(tmp_path, 1), settings=NodeSettings(acse_timeout_s=1))
        assert time.monotonic() - began < 5


def test_peer_that_does_not_answer_a_store(
    node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    released = threading.Event()
    sink.on_store = lambda _: released.wait(20)
    with pytest.raises(PeerUnavailable, match="no answer in time"):
        send(node, mr_files(tmp_path, 1), settings=NodeSettings(dimse_timeout_s=1))
    released.set()


def test_peer_that_dies_in_the_middle(
    storescp: PeerAddress, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    archive = Orthanc(tmp_path / "orthanc")
    archive.start()
    request.addfinalizer(archive.stop)
    files = mr_files(tmp_path, 40)
    confirmed: list[SendResult] = []

    def note(result: SendResult) -> None:
        confirmed.append(result)
        if len(confirmed) == 10:
            process = archive._process
            assert process is not None
            process.kill()
            process.wait()

    with pytest.raises(PeerUnavailable, match="the association was lost"):
        send_files(archive.address, files, note, calling_ae_title="SENDER")
    assert 10 <= len(confirmed) < 40
    assert all(result.sent for result in confirmed)
    archive.start()
    assert all(result.sent for result in send(archive.address, files))
    for result in confirmed:
        assert archive.instance_file(result.sop_instance_uid)


def test_warning_counts_as_sent_and_is_logged(tmp_path: Path) -> None:
    from pynetdicom import AE, evt

    entity = AE("WARNER")
    entity.add_supported_context("1.2.840.10008.5.1.4.1.1.4", ExplicitVRLittleEndian)
    port = free_port()
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0xB000)]
    )
    assert server is not None
    peer = PeerAddress("WARNER", "127.0.0.1", port)
    files = mr_files(tmp_path, 2)
    (result, _) = send(peer, files)
    with capture_logs() as logs:
        assert send_paths(files, str(peer), "SENDER")
    server.shutdown()
    assert result.sent
    assert result.status == 0xB000
    (line,) = [line for line in logs if line["event"] == "stored with a warning"]
    assert line["objects"] == 2
    assert "0xB000" in line["status"]


# `dicom-node send`


def test_folders_with_other_files(node: PeerAddress, sink: MemorySink, tmp_path: Path) -> None:
    files = mr_files(tmp_path / "study" / "series", 3)
    (tmp_path / "study" / "readme.txt").write_text("no DICOM")
    (tmp_path / "study" / "empty.dcm").touch()
    (tmp_path / "study" / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\0\x10\0UY")
    (tmp_path / "study" / "closed").mkdir(mode=0)
    (tmp_path / "study" / "link").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "study" / "pipe")
    with capture_logs() as logs:
        assert not send_paths([tmp_path / "study"], str(node), "SENDER")
    assert sorted(sink.uids) == sorted(path.stem for path in files)
    skipped = {line["file"] for line in logs if line["event"] == "file skipped"}
    closed = {"closed"} if os.geteuid() else set()  # nothing is closed to root
    assert skipped == {"readme.txt", "empty.dcm", "broken.dcm", "link", "pipe"} | closed
    for name in ("broken.dcm", "link"):
        (tmp_path / "study" / name).unlink()
    (tmp_path / "study" / "closed").rmdir()
    assert send_paths([tmp_path / "study"], str(node), "SENDER")  # what is no DICOM is no loss


def test_dicomdir_is_left_out(node: PeerAddress, sink: MemorySink, tmp_path: Path) -> None:
    (path,) = mr_files(tmp_path, 1)
    dcmtk("dcmmkdir", "-Pgp", "+D", tmp_path / "DICOMDIR", "--input-directory", tmp_path,
          "-nxc", "+I", path.name, check=False)  # fmt: skip
    directory = tmp_path / "DICOMDIR"
    if not directory.exists():
        meta = dcmread(path)
        meta.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
        meta.save_as(directory)
    assert send_paths([tmp_path], str(node), "SENDER")
    assert sink.uids == [path.stem]


def test_success_needs_every_object(node: PeerAddress, tmp_path: Path) -> None:
    assert not send_paths([tmp_path], str(node), "SENDER")
    mr_files(tmp_path, 1)
    save(mr_instance(SOPClassUID=CTImageStorage), tmp_path)
    with capture_logs() as logs:
        assert not send_paths([tmp_path], str(node), "SENDER")
    assert [line["log_level"] for line in logs if line["event"] == "not sent"] == ["error"]
    with pytest.raises(InvalidAddress):
        send_paths([tmp_path], "nowhere", "SENDER")


@pytest.mark.parametrize(
    ("options", "associations"),
    [({"associations": 4}, 4), ({"one_per_instance": True}, 10), ({"associations": 99}, 10)],
)
def test_several_associations(
    options: dict[str, int], associations: int, node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    files = mr_files(tmp_path, 10)
    assert send_paths([tmp_path], str(node), "SENDER", **options)  # type: ignore[arg-type]
    assert sorted(sink.uids) == sorted(path.stem for path in files)
    assert len(sink.opened) == associations


def test_more_contexts_than_one_association_holds(tmp_path: Path, storescp: PeerAddress) -> None:
    """What storescp does not know it refuses; all contexts are proposed all the same."""
    (good,) = mr_files(tmp_path, 1)
    template = dcmread(good)
    files = []
    for _ in range(300):
        template.SOPClassUID = generate_uid()
        template.SOPInstanceUID = generate_uid()
        files.append(save(template, tmp_path / "many"))
    files[40:40] = files[200:200] = [good]
    files.append(good)
    results = send(storescp, files)
    assert [result.path for result in results] == files
    assert [result.path for result in results if result.sent] == [good] * 3


# The product's own archive


def test_archive_keeps_and_forwards(
    node: PeerAddress, sink: MemorySink, encoded_files: dict[str, Path], tmp_path: Path
) -> None:
    port = free_port()
    archive = Archive("ARCHIVE", port, tmp_path / "archive", forward_to=node)
    archive.start()
    address = PeerAddress("WHATEVER", "127.0.0.1", port)
    try:
        dcmtk("echoscu", address.host, port)
        results = send(address, list(encoded_files.values()))
        assert all(result.sent for result in results)
        wait_until(lambda: len(sink.instances) == len(encoded_files))
    finally:
        archive.stop()
    assert not listens(port)
    for path, result in zip(encoded_files.values(), results, strict=True):
        kept = (tmp_path / "archive" / f"{result.sop_instance_uid}.dcm").read_bytes()
        assert data_set_bytes(kept) == data_set_bytes(path.read_bytes())
    assert {instance.calling_ae_title for instance in sink.instances} == {"ARCHIVE"}
