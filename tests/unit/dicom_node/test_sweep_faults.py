from datetime import UTC, datetime

import pytest

from config.schema import Settings
from dicom_node.sweep import Sweeper
from storage.errors import StorageFault
from storage.instances import ChangedStudy

STUDY = ChangedStudy("1.2.3", datetime.now(UTC), 1)


class FaultyInstances:
    """One study that waits, and a database that fails while it is looked at."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault
        self.looks = 0

    def studies_to_assess(self) -> tuple[ChangedStudy, ...]:
        return (STUDY,)

    def current(self, study_instance_uid: str) -> tuple[()]:
        assert study_instance_uid == STUDY.study_instance_uid
        self.looks += 1
        raise self.fault


class FaultyStorage:
    def __init__(self, fault: Exception) -> None:
        self.instances = FaultyInstances(fault)


@pytest.mark.parametrize(
    ("fault", "looks"), [(StorageFault("database is locked"), 2), (ValueError("a fault"), 1)]
)
def test_only_a_passing_fault_lets_the_next_sweep_look_again(fault: Exception, looks: int) -> None:
    storage = FaultyStorage(fault)
    sweeper = Sweeper(storage, Settings(), lambda *_: None)  # type: ignore[arg-type]
    for _ in range(2):
        sweeper.sweep(datetime.now(UTC))
    assert storage.instances.looks == looks
