"""A worker whose scratch folder cannot be used."""

import time

from config.schema import Settings, StorageSettings, WorkerSettings
from dicom_node.worker import Worker
from storage import open_storage
from storage.states import StackState
from tests.unit.storage.conftest import SERIES, World


def test_a_job_without_scratch_folder_is_parked_with_the_reason(tmp_path):
    settings = Settings(
        storage=StorageSettings(folder=tmp_path / "data", refuse_free_mb=0),
        worker=WorkerSettings(max_attempts=1),
    )
    with open_storage(settings.storage) as storage:
        world = World(storage, settings.storage)
        world.store("1.1")
        (stack,) = world.propose(("cine", {SERIES}))
        world.enqueue(stack)
        storage.folder.work.rmdir()
        storage.folder.work.touch()
        worker = Worker(storage, settings, "worker")
        worker.start()
        deadline = time.monotonic() + 20
        while world.stack(stack).state is not StackState.PARKED and time.monotonic() < deadline:
            time.sleep(0.05)
        worker.stop()
        shown = world.stack(stack)
    assert shown.state is StackState.PARKED
    assert "NotADirectoryError" in shown.reason
