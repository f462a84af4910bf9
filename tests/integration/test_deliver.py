"""Delivery to a peer while the outbox changes under it."""

import time
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from config.errors import TransientError
from config.schema import DestinationSettings, NodeSettings, StorageSettings
from dicom_node.deliver import Deliverer
from dicom_node.peer import PeerAddress
from dicom_node.receive import ReceivedInstance
from storage import open_storage
from storage.results import NewResult
from tests.integration.peers import MemorySink, mr_files
from tests.unit.storage.conftest import SERIES, STUDY, World


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


def deliver(world: World, node: PeerAddress, **patience: float) -> list[MutableMapping[str, Any]]:
    """Attempt what is due; the lines of the log that an admin sees."""
    peer = DestinationSettings(
        name="PACS", ae_title=node.ae_title, host=node.host, port=node.port, **patience
    )
    with capture_logs() as logs:
        Deliverer(world.storage, peer, NodeSettings()).deliver()
    return [line for line in logs if line["log_level"] != "debug" and "destination" in line]


def test_results_of_a_stack_are_one_line_of_the_log(
    world: World, node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    three_results(world, tmp_path)

    def refuse(_: ReceivedInstance) -> None:
        raise TransientError("disk full")

    sink.on_store = refuse
    (retried,) = deliver(world, node, retry_first_s=0.001)
    assert (retried["log_level"], retried["objects"]) == ("warning", 3)
    time.sleep(0.01)
    (parked,) = deliver(world, node, give_up_after_days=1e-9)
    assert (parked["log_level"], parked["objects"]) == ("error", 3)
    assert "0xA700" in parked["reason"]
    assert (parked["study_instance_uid"], parked["series_instance_uids"]) == (STUDY, [SERIES])
    (stack,) = world.storage.overview.stacks()
    assert parked["stack_id"] == stack.stack.id

    world.store("1.1")  # pushed again
    sink.on_store = lambda _: None
    (delivered,) = deliver(world, node)
    assert (delivered["log_level"], delivered["objects"]) == ("info", 3)
    assert "reason" not in delivered


def test_results_stopped_in_the_middle_of_a_transfer_do_not_follow(
    world: World, node: PeerAddress, sink: MemorySink, tmp_path: Path
) -> None:
    three_results(world, tmp_path)

    def correct_the_patient(_: ReceivedInstance) -> None:
        if not sink.instances:
            world.store("1.1", "b")
            world.storage.outbox.drop_outdated("identity changed", world.now, SERIES)

    sink.on_store = correct_the_patient
    deliver(world, node)
    assert len(sink.instances) == 1
    (box,) = world.storage.overview.outbox()
    assert (box.sent, box.pending, box.dropped) == (1, 0, 2)
