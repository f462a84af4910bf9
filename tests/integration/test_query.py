"""Asking an archive how many instances a series has."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind
from structlog.testing import capture_logs

from config.schema import NodeSettings, PeerSettings
from dicom_node.query import ArchiveCounts, count_series_instances
from dicom_node.send import send_files
from tests.integration.peers import Orthanc, free_port, mr_files, mr_instance, new_uid, save


def peer_at(port: int, ae_title: str = "ORTHANC") -> PeerSettings:
    return PeerSettings(ae_title=ae_title, query_host="127.0.0.1", query_port=port)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An archive that answers everybody's C-FIND."""
    peer = Orthanc(tmp_path_factory.mktemp("query"), DicomAlwaysAllowFind=True)
    peer.start()
    yield peer
    peer.stop()


def test_counts_as_they_arrive(archive: Orthanc, tmp_path: Path) -> None:
    files = mr_files(tmp_path, 7)
    header = dcmread(files[0])
    asked = (peer_at(archive.port), "NODE", header.StudyInstanceUID, header.SeriesInstanceUID)
    assert count_series_instances(*asked) is None
    send_files(archive.address, files[:4], lambda _: None, calling_ae_title="SENDER")
    assert count_series_instances(*asked) == 4
    send_files(archive.address, files, lambda _: None, calling_ae_title="SENDER")
    assert count_series_instances(*asked) == 7


def test_one_series_among_several(archive: Orthanc, tmp_path: Path) -> None:
    study = new_uid()
    series = [new_uid(), "1.2.0" + new_uid()[5:]]
    files = [
        save(mr_instance(StudyInstanceUID=study, SeriesInstanceUID=uid), tmp_path)
        for uid in (series[0], series[1], series[1])
    ]
    send_files(archive.address, files, lambda _: None, calling_ae_title="SENDER")
    counts = [count_series_instances(peer_at(archive.port), "NODE", study, s) for s in series]
    assert counts == [1, 2]


def test_peer_that_is_not_asked() -> None:
    assert count_series_instances(PeerSettings(ae_title="X"), "NODE", "1.2", "1.3") is None


def test_peer_that_is_away() -> None:
    with capture_logs() as logs:
        assert count_series_instances(peer_at(free_port()), "NODE", "1.2", "1.3") is None
    assert [line["event"] for line in logs] == ["query failed"]


@pytest.mark.parametrize(
    ("answers", "expected", "logged"),
    [
        ([(0xFF00, {"SeriesInstanceUID": "1.3", "NumberOfSeriesRelatedInstances": 5})], 5, 0),
        ([(0xFF01, {"SeriesInstanceUID": "1.3", "NumberOfSeriesRelatedInstances": 5})], 5, 0),
        ([(0xFF00, {"SeriesInstanceUID": "1.3"})], None, 0),
        ([(0xFF00, {"SeriesInstanceUID": "1.3", "NumberOfSeriesRelatedInstances": None})], None, 0),
        ([(0xFF00, {"SeriesInstanceUID": "1.4", "NumberOfSeriesRelatedInstances": 5})], None, 0),
        (
            [(0xFF00, {"SeriesInstanceUID": "1.3", "NumberOfSeriesRelatedInstances": [5, 6]})],
            None,
            1,
        ),
        ([], None, 0),
        ([(0xA700, None)], None, 1),
        ([(0xC000, None)], None, 1),
    ],
)
def test_answers_of_lesser_archives(
    answers: list[tuple[int, dict[str, object] | None]], expected: int | None, logged: int
) -> None:
    def find(_: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        for status, attributes in answers:
            match = None
            if attributes is not None:
                match = Dataset()
                for keyword, value in attributes.items():
                    setattr(match, keyword, value)
            yield status, match

    entity = AE("LESSER")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind, "1.2.840.10008.1.2")
    port = free_port()
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_FIND, find)]
    )
    assert server is not None
    with capture_logs() as logs:
        count = count_series_instances(peer_at(port, "LESSER"), "NODE", "1.2", "1.3")
    server.shutdown()
    assert count == expected
    assert len(logs) == logged


def test_peer_that_never_answers_costs_no_more_than_the_timeout() -> None:
    def find(_: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        time.sleep(3)
        yield 0x0000, None

    entity = AE("SLOW")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    port = free_port()
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_FIND, find)]
    )
    assert server is not None
    began = time.monotonic()
    settings = NodeSettings(dimse_timeout_s=0.5)
    assert count_series_instances(peer_at(port, "SLOW"), "NODE", "1.2", "1.3", settings) is None
    assert time.monotonic() - began < 2.5
    server.shutdown()


def test_a_slow_peer_is_asked_once_and_left_alone() -> None:
    asked = []

    def find(_: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked.append(time.monotonic())
        time.sleep(2.5)
        yield 0x0000, None

    entity = AE("SLOW")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    port = free_port()
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_FIND, find)]
    )
    assert server is not None
    counts = ArchiveCounts([PeerSettings(ae_title="X"), peer_at(port, "SLOW")], NodeSettings())
    assert [counts("1.2", "1.3") for _ in range(3)] == [None, None, None]
    assert len(asked) == 1
    server.shutdown()
