import sqlite3
import subprocess
import sys
import threading

import pytest

from config.schema import StorageSettings
from storage import StorageInUse, open_storage
from storage.errors import (
    SchemaTooNew,
    SchemaTooOld,
    StorageFault,
    StorageMissing,
    StorageReadOnly,
    StorageUnusable,
)
from storage.folder import DataFolder
from storage.states import StackState

SERIES = "1.2.3.4"
STUDY = "1.2.3"

OPEN = """
import sys
from config.schema import StorageSettings
from storage import StorageInUse, open_storage
try:
    open_storage(StorageSettings(folder=sys.argv[1]))
except StorageInUse:
    sys.exit(7)
"""

ASK = """
import sys
from config.schema import StorageSettings
from storage.folder import DataFolder
folder = DataFolder(StorageSettings(folder=sys.argv[1]), read_only=True)
while True:
    folder.is_served
"""


def open_elsewhere(settings):
    return subprocess.run([sys.executable, "-c", OPEN, settings.folder], check=False).returncode


def test_a_second_process_is_refused_until_the_first_ends(world):
    assert open_elsewhere(world.settings) == 7
    world.storage.close()
    assert open_elsewhere(world.settings) == 0


def test_whether_a_node_serves_is_asked_without_keeping_one_from_starting(world):
    folder = DataFolder(world.settings, read_only=True)
    assert folder.is_served
    world.storage.close()
    assert not folder.is_served
    asking = subprocess.Popen([sys.executable, "-c", ASK, world.settings.folder])
    try:
        for _ in range(50):
            DataFolder(world.settings).close()
    finally:
        asking.kill()
        asking.wait()


def test_a_second_storage_in_the_same_process_is_refused(world):
    with pytest.raises(StorageInUse, match="another process"):
        open_storage(world.settings)


def test_reading_beside_a_writer(world):
    stack = world.complete("1.1")
    failures = []

    def write():
        try:
            for number in range(30):
                world.store(f"1.9.{number}")
        except Exception as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    with open_storage(world.settings, read_only=True) as reader:
        while thread.is_alive():
            (shown,) = reader.overview.stacks()
            assert shown.stack.id == stack.id
        assert reader.overview.outbox()[0].pending == 1
        assert len(reader.instances.current(STUDY)) == 31
    thread.join()
    assert not failures


def test_reading_changes_nothing(world):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    temporary = world.settings.folder / "instances" / "00" / ".now.tmp"
    temporary.write_bytes(b"being written")
    with open_storage(world.settings, read_only=True) as reader:
        with pytest.raises(StorageReadOnly):
            reader.stacks.set_state(1, StackState.PARKED, "", world.now)
        with pytest.raises(StorageReadOnly):
            reader.instances.close_lost_associations(world.now)
    assert temporary.exists()
    assert world.storage.instances.carriage(stack.id).still_open


def test_reading_after_the_writer_has_ended(world):
    world.complete("1.1")
    world.storage.close()
    with open_storage(world.settings, read_only=True) as reader:
        assert len(reader.overview.stacks()) == 1
    assert open_elsewhere(world.settings) == 0


def test_reading_what_never_was(tmp_path):
    with pytest.raises(StorageMissing):
        open_storage(StorageSettings(folder=tmp_path / "none"), read_only=True)
    assert not (tmp_path / "none").exists()


def test_reading_what_has_lost_its_database(world):
    world.store("1.1")
    world.storage.close()
    for file in world.settings.folder.glob("node.sqlite*"):
        file.unlink()
    with pytest.raises(StorageUnusable, match="is gone"):
        open_storage(world.settings, read_only=True)


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path):
    folder = tmp_path / ("x" * 300)  # a name too long stands for a folder of another user
    with pytest.raises(StorageUnusable, match="xxx: File name too long"):
        open_storage(StorageSettings(folder=folder), read_only=True)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_folder_that_is_a_link_to_itself_is_named(tmp_path, read_only):
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises((StorageUnusable, StorageMissing), match="round"):
        open_storage(StorageSettings(folder=tmp_path / "round"), read_only=read_only)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_newer_database_is_refused_and_left_alone(world, read_only):
    path = world.storage.folder.database
    world.storage.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SchemaTooNew, match="layout 99"):
        open_storage(world.settings, read_only=read_only)
    assert open_elsewhere(world.settings) != 7


def test_an_older_database_is_brought_up_to_date_and_keeps_what_it_had(world, make_world):
    world.complete("1.1")
    path = world.storage.folder.database
    world.storage.close()
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE studies DROP COLUMN fault")
    connection.execute("ALTER TABLE jobs DROP COLUMN supersedes")
    connection.execute("ALTER TABLE outbox DROP COLUMN offered_at")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(SchemaTooOld, match="serve"):
        open_storage(world.settings, read_only=True)
    with open_storage(world.settings) as storage:
        assert len(storage.overview.stacks()) == 1
        assert storage.overview.faults() == ()
        later = make_world(storage, world.settings, world.now)
        later.store("1.2")
        (stack,) = later.propose(("cine", {SERIES}))
        later.enqueue(stack)
        job = later.claim()  # whether the pending one had been sent, the older layout did not tell
        assert [one.sop_instance_uid for one in job.supersedes] == ["2.25.1"]
        assert job.standing.supersedes == ()
    with open_storage(world.settings, read_only=True) as storage:
        assert storage.overview.faults() == ()


def test_the_database_keeps_what_it_promises(world):
    with world.storage.database.write() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "user_version")
        }
    assert pragma == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "user_version": 3,
    }


def test_errors_of_the_database_hold_no_values(world):
    secret = "DOE^JOHN"

    def insert_twice():
        with world.storage.database.write() as connection:
            for _ in range(2):
                connection.exec_driver_sql(
                    "INSERT INTO studies VALUES (?, '', 0, 0, NULL)", (secret,)
                )

    with pytest.raises(Exception, match="UNIQUE") as caught:
        insert_twice()
    assert secret not in str(caught.value)


def test_the_folder_can_be_moved(world):
    world.complete("1.1")
    world.storage.close()
    target = world.settings.folder.with_name("moved")
    world.settings.folder.rename(target)
    settings = StorageSettings(folder=target, refuse_free_mb=0)
    with open_storage(settings) as storage:
        (current,) = storage.instances.current(STUDY)
        assert current.path.is_relative_to(target)
        assert current.path.exists()
        assert storage.outbox.due("PACS", world.now)[0].path.exists()


def test_scratch_of_a_crash_is_cleared(world, reopened):
    (world.storage.folder.work / "job-1").mkdir()
    after = reopened(world)
    assert list(after.storage.folder.work.iterdir()) == []
    after.storage.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(StorageUnusable, match="file/data"):
        open_storage(StorageSettings(folder=blocked / "data"))


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_no_database_is_named(tmp_path, read_only):
    settings = StorageSettings(folder=tmp_path)
    open_storage(settings).close()
    (tmp_path / "node.sqlite").write_bytes(b"of another kind " * 100)
    with pytest.raises(StorageFault, match="not a database"):
        open_storage(settings, read_only=read_only)


@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_stored_in_a_database_whose_file_is_gone(world, replaced):
    world.store("1.1")
    path = world.storage.folder.database
    aside = path.rename(path.with_name("aside"))
    if replaced:
        path.write_bytes(aside.read_bytes())
    with pytest.raises(StorageFault, match=r"node\.sqlite was removed or replaced"):
        world.store("1.2")
    aside.rename(path)
    world.store("1.3")
    current = world.storage.instances.current(STUDY)
    assert [item.sop_instance_uid for item in current] == ["1.1", "1.3"]


@pytest.mark.parametrize("emptied", [False, True])
def test_images_whose_database_is_gone_are_not_forgotten(world, emptied):
    world.store("1.1")
    database = world.storage.folder.database
    world.storage.close()
    whole = database.read_bytes()
    database.unlink()
    if emptied:
        database.touch()
    with pytest.raises(StorageUnusable, match="put it back from a backup"):
        open_storage(world.settings)
    database.write_bytes(whole)
    with open_storage(world.settings) as storage:
        assert len(storage.instances.current(STUDY)) == 1
