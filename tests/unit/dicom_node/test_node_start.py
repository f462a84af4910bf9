"""What the log says when a node starts again."""

from pathlib import Path

from structlog.testing import capture_logs

from config.schema import NodeSettings, Settings, StorageSettings, WorkerSettings
from dicom_node.demo_archive import free_port
from dicom_node.serve import Node
from storage import open_storage
from tests.unit.storage.conftest import SERIES, World


def test_after_a_crash_the_log_counts_the_jobs_that_ran(tmp_path: Path) -> None:
    settings = Settings(
        node=NodeSettings(host="127.0.0.1", port=free_port()),
        storage=StorageSettings(folder=tmp_path / "data", refuse_free_mb=0),
        worker=WorkerSettings(max_attempts=1),  # parked, so that nothing is computed here
    )
    with open_storage(settings.storage) as storage:
        world = World(storage, settings.storage)
        world.store("1.1")
        (stack,) = world.propose(("cine", {SERIES}))
        world.enqueue(stack)
        world.claim()
    with open_storage(settings.storage) as storage, capture_logs() as logs:
        node = Node(settings, storage)
        node.start()
        node.stop()
    (line,) = [line for line in logs if line["event"] == "node starts"]
    assert line["jobs_recovered"] == 1
