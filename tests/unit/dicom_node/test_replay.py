"""What `dicom-node replay` says, beside a node that takes the request up."""

import threading
from pathlib import Path

from config.schema import Settings, StorageSettings
from dicom_node.replay import replay
from storage import open_storage
from tests.unit.storage.conftest import SERIES, World


def test_a_series_of_a_study_that_could_not_be_assessed_is_no_success(tmp_path: Path) -> None:
    settings = Settings(storage=StorageSettings(folder=tmp_path / "data", refuse_free_mb=0))
    said: list[str] = []
    with open_storage(settings.storage) as storage:
        World(storage, settings.storage).store("1.1")

        def take_up() -> None:
            while not storage.replays.requested():
                pass
            storage.replays.end(SERIES)

        node = threading.Thread(target=take_up)
        node.start()
        assert not replay(SERIES, settings, said.append)
        node.join()
    assert said == ["Nothing was computed: no stack holds the series, see `dicom-node status`."]
