"""Delivery to a peer while the outbox changes under it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from config.schema import DestinationSettings, NodeSettings, StorageSettings
from dicom_node.deliver import Deliverer
from dicom_node.peer import PeerAddress
from dicom_node.receive import ReceivedInstance
from storage import open_storage
from storage.results import NewResult
from tests.integration.peers import MemorySink, mr_files
from tests.unit.storage.conftest import SERIES, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    settings = StorageSettings(folder=tmp_path / "data", refuse_free_mb=0)
    with open_storage(settings) as storage:
        yield World(storage, settings, now=datetime.now(UTC))


def three_results(world: World, folder: Path) -> None:
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    job = world.claim()
    new = [
        NewResult(
            role,
            file.stem,
            "1.2.840.10008.5.1.4.1.1.4",
            "2.25.9",
            world.storage.folder.persist_result(job, role, file.read_bytes()),
        )
        for role, file in zip(("seg_ed", "seg_es", "sr"), mr_files(folder, 3), strict=True)
    ]
    world.storage.jobs.finish(job, new, ["PACS"], "{}", world.now)


def test_results_stopped_in_the_middle_of_a_transfer_do_not_follow(
    world: World, node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    three_results(world, tmp_path)

    def correct_the_patient(_: ReceivedInstance) -> None:
        if not sink.instances:
            world.store("1.1", "b")
            world.storage.outbox.drop_outdated("identity changed", world.now, SERIES)

    sink.on_store = correct_the_patient
    peer = DestinationSettings(name="PACS", ae_title=node.ae_title, host=node.host, port=node.port)
    Deliverer(world.storage, peer, NodeSettings()).deliver()
    assert len(sink.instances) == 1
    (box,) = world.storage.overview.outbox()
    assert (box.sent, box.pending, box.dropped) == (1, 0, 2)
