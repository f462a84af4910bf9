import hashlib
import os
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from config.schema import StorageSettings
from storage import StorageFull, open_storage
from storage.instances import StoreKind
from storage.states import StackState

SERIES = "1.2.3.4"
STUDY = "1.2.3"


def test_a_stored_instance_is_on_disk_and_current(world):
    stored = world.store("1.1")
    assert stored.kind is StoreKind.NEW
    assert stored.path.read_bytes() == b"1.1|a|1.2.3.4|1.2.3"
    (current,) = world.storage.instances.current(STUDY)
    assert (current.path, current.received_at) == (stored.path, world.now)
    assert current.association_id == world.association


def test_the_path_says_nothing_of_the_instance(world):
    stored = world.store("1.2.840.99", series="9.9.9")
    relative = str(stored.path.relative_to(world.settings.folder.resolve()))
    assert "840" not in relative
    assert "9.9.9" not in relative


def test_the_same_again_is_a_duplicate_and_changes_nothing(world):
    first = world.store("1.1")
    world.propose(("cine", {SERIES}))
    (before,) = world.storage.instances.current(STUDY)
    world.storage.stacks.set_state(1, StackState.COMPLETED, "", world.now)
    again = world.store("1.1")
    assert (again.kind, again.path) == (StoreKind.DUPLICATE, first.path)
    assert world.storage.instances.current(STUDY) == (before,)
    assert world.storage.instances.studies_to_assess() == ()


def test_other_content_is_a_new_version_and_both_files_stay(world):
    first = world.store("1.1", "a")
    second = world.store("1.1", "b")
    assert (second.kind, second.previous_path) == (StoreKind.NEW_VERSION, first.path)
    assert first.path.exists()
    assert [item.path for item in world.storage.instances.current(STUDY)] == [second.path]


def test_an_older_version_that_comes_again_is_current_again(world):
    first, second = world.store("1.1", "a"), world.store("1.1", "b")
    third = world.store("1.1", "a")
    assert (third.kind, third.previous_path) == (StoreKind.NEW_VERSION, second.path)
    assert [item.path for item in world.storage.instances.current(STUDY)] == [first.path]


def test_a_version_with_another_study_changes_both_studies(world):
    world.store("1.1", "a", study="1.2.3")
    for study in world.storage.instances.studies_to_assess():
        world.storage.instances.mark_assessed(study)
    world.store("1.1", "b", study="4.5.6")
    changed = {item.study_instance_uid for item in world.storage.instances.studies_to_assess()}
    assert changed == {"1.2.3", "4.5.6"}
    assert world.storage.instances.current("1.2.3") == ()


def test_a_duplicate_whose_file_is_gone_is_written_again_and_the_study_looked_at(world):
    stored = world.store("1.1")
    world.propose()
    stored.path.unlink()
    again = world.store("1.1")
    assert again.kind is StoreKind.DUPLICATE
    assert stored.path.read_bytes() == b"1.1|a|1.2.3.4|1.2.3"
    assert len(world.storage.instances.studies_to_assess()) == 1


def test_a_returning_image_wakes_a_stack_that_was_rejected_for_lack_of_it(world):
    stored = world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    stored.path.unlink()
    world.storage.stacks.reject(stack.id, "its images were deleted", world.now)
    world.store("1.1")
    assert world.stack(stack).state is StackState.WAITING


def test_a_store_during_an_assessment_brings_the_study_up_again(world):
    world.store("1.1")
    (seen,) = world.storage.instances.studies_to_assess()
    world.store("1.2")  # at the very same time: only a count tells the two apart
    world.storage.instances.mark_assessed(seen)
    (again,) = world.storage.instances.studies_to_assess()
    assert again.changes > seen.changes
    world.storage.instances.mark_assessed(again)
    assert world.storage.instances.studies_to_assess() == ()


def test_a_study_with_a_waiting_stack_stays_up(world):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    assert len(world.storage.instances.studies_to_assess()) == 1
    world.storage.stacks.set_state(stack.id, StackState.PARKED, "", world.now)
    assert world.storage.instances.studies_to_assess() == ()


def test_how_instances_were_carried(world):
    instances = world.storage.instances
    first = world.associate()
    world.store("1.1")
    second = world.associate()
    world.store("1.2")
    world.later(seconds=5)
    world.store("1.1")  # a duplicate over another association counts as carried by both
    (stack,) = world.propose(("cine", {SERIES}))
    both = instances.carriage(stack.id)
    assert (both.associations, both.still_open, both.aborted) == (2, True, False)
    assert both.last_received == world.now
    assert both.last_released is None
    instances.close_association(first, released=True, now=world.later(seconds=1))
    released = world.now
    instances.close_association(second, released=False, now=world.later(seconds=1))
    both = instances.carriage(stack.id)
    assert (both.still_open, both.aborted, both.last_released) == (False, True, released)
    assert instances.carriage(stack.id + 1).associations == 0
    assert instances.carriage(stack.id + 1).last_received is None


def test_an_association_ends_only_once(world):
    number = world.associate()
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    world.storage.instances.close_association(number, released=True, now=world.now)
    world.storage.instances.close_association(number, released=False, now=world.now)
    assert not world.storage.instances.carriage(stack.id).aborted


def test_a_crash_leaves_associations_aborted(world, reopened):
    world.associate()
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    after = reopened(world)
    carriage = after.storage.instances.carriage(stack.id)
    assert (carriage.still_open, carriage.aborted) == (False, True)
    after.storage.close()


def test_temporary_files_of_a_crash_are_removed_and_others_adopted(world, reopened):
    stored = world.store("1.1")
    temporary = stored.path.with_name(".half.tmp")
    temporary.write_bytes(b"half")
    content = b"1.9|a|1.2.3.4|1.2.3"
    unrecorded = world.storage.folder.instance_path(hashlib.sha256(content).hexdigest())
    unrecorded.write_bytes(content)
    after = reopened(world)
    assert not temporary.exists()
    assert after.store("1.9").kind is StoreKind.NEW
    assert unrecorded.read_bytes() == content
    after.storage.close()


def test_below_the_watermark_instances_are_refused_and_leave_no_trace(tmp_path, make_world):
    settings = StorageSettings(folder=tmp_path / "data", refuse_free_mb=1e12)
    with open_storage(settings) as storage:
        with pytest.raises(StorageFull, match="refuse_free_mb"):
            make_world(storage, settings).store("1.1")
        assert storage.instances.current(STUDY) == ()
        assert list(storage.folder.files()) == []


def test_a_write_that_fails_half_way_leaves_no_half_file(world):
    path = world.storage.folder.instance_path("0" * 64)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limit[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            world.storage.folder.write(path, b"x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(world.storage.folder.files()) == []


def test_threads_that_store_the_same_and_different_instances(world):
    world.associate()

    def work(number: int) -> list[StoreKind]:
        uids = [f"1.{owner}.{index}" for index in range(25) for owner in (number, 0)]
        return [world.store(uid).kind for uid in uids]

    with ThreadPoolExecutor(4) as pool:
        kinds = [kind for part in pool.map(work, range(1, 5)) for kind in part]
    current = world.storage.instances.current(STUDY)
    assert len(current) == 4 * 25 + 25
    assert kinds.count(StoreKind.NEW) == 125
    assert kinds.count(StoreKind.DUPLICATE) == 75
    for item in current:
        assert item.path.read_bytes() == f"{item.sop_instance_uid}|a|1.2.3.4|1.2.3".encode()


def test_a_file_deleted_while_its_duplicate_is_stored_is_written_again(world):
    stored = world.store("1.1")
    with ThreadPoolExecutor(1) as pool:
        with world.storage.database.write():  # as retention does
            duplicate = pool.submit(world.store, "1.1")
            time.sleep(0.3)  # the other thread has seen the file and waits for the database
            stored.path.unlink()
        assert duplicate.result().kind is StoreKind.DUPLICATE
    assert stored.path.read_bytes() == b"1.1|a|1.2.3.4|1.2.3"


def test_a_digest_that_is_no_digest_never_becomes_a_path(world):
    for bad in ("../../etc/passwd", "AB" * 32, "", "0" * 63):
        with pytest.raises(ValueError, match="hexadecimal"):
            world.storage.folder.instance_path(bad)


def test_files_are_private(world):
    stored = world.store("1.1")
    assert os.stat(stored.path).st_mode & 0o077 == 0
    assert os.stat(world.settings.folder).st_mode & 0o077 == 0
