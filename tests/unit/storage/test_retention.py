import os
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.schema import StorageSettings
from storage import open_storage
from storage.errors import StorageFault
from storage.instances import StoreKind
from storage.retention import Retention
from storage.states import StackState

SERIES = "1.2.3.4"
STUDY = "1.2.3"


def originals(world):
    return [item.path for item in world.storage.instances.current(STUDY) if item.path is not None]


def test_originals_and_results_go_a_set_time_after_delivery_and_not_before(world):
    world.complete("1.1", "1.2")
    world.deliver()
    (result,) = (world.settings.folder / "results").rglob("*.dcm")
    files = originals(world)
    assert world.storage.retention.delete(world.later(days=6.9)) == 0
    assert set(world.storage.retention.candidates(world.later(days=0.2))) == {
        *files,
        result.resolve(),
    }
    assert world.storage.retention.delete(world.now) == 3
    assert not any(path.exists() for path in (*files, result))
    assert originals(world) == []
    assert len(world.storage.instances.current(STUDY)) == 2
    assert world.storage.retention.delete(world.now) == 0


def test_what_is_not_delivered_stays(world):
    world.complete("1.1")
    assert world.storage.retention.delete(world.later(days=999)) == 0
    (delivery,) = world.storage.outbox.due("PACS", world.now)
    world.storage.outbox.park(delivery, "given up", world.now)
    assert world.storage.retention.delete(world.later(days=999)) == 0


def test_what_has_no_destination_stays(world):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    world.finish(world.claim())
    assert world.storage.retention.delete(world.later(days=999)) == 0


def test_what_no_destination_wants_goes_with_what_was_delivered(world):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    job = world.claim()
    world.finish(job, "PACS", beside=[world.result(job, "2.25.77", destinations=())])
    assert world.storage.retention.delete(world.later(days=999)) == 0
    world.deliver()
    assert world.storage.retention.delete(world.later(days=7)) == 3


def test_every_destination_must_have_it(world):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    world.finish(world.claim(), "PACS", "OTHER")
    world.deliver("PACS")
    assert world.storage.retention.delete(world.later(days=999)) == 0
    world.deliver("OTHER")
    assert world.storage.retention.delete(world.later(days=7)) == 2


def test_superseded_results_go_with_the_delivered_ones(world):
    world.complete("1.1")
    world.store("1.2")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    world.finish(world.claim(), "PACS")
    world.deliver()
    assert world.storage.retention.delete(world.later(days=7)) == 4


def test_rejected_and_left_alone_originals_have_a_time_of_their_own(world):
    world.store("1.1")
    world.store("1.2", series="9")
    stack, _ = world.propose(("cine", {SERIES}), (None, {"9"}))
    world.enqueue(stack)
    world.storage.jobs.reject(world.claim(), "mixed", world.now)
    assert world.storage.retention.delete(world.later(days=29)) == 0
    assert world.storage.retention.delete(world.later(days=1)) == 2


def test_the_first_image_of_a_study_that_still_arrives_stays_however_short_the_time(world):
    impatient = world.settings.model_copy(
        update={"delete_delivered_after_days": 0, "delete_unused_after_days": 0}
    )
    retention = Retention(world.storage.database, world.storage.folder, impatient)
    world.store("1.1")
    world.propose((None, {SERIES}))
    assert retention.delete(world.later(hours=23)) == 0
    assert retention.delete(world.later(hours=1)) == 1


def test_what_waits_for_an_archive_keeps_a_stack_that_was_rejected_later(world):
    world.complete("1.1")
    world.store("1.2")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    world.storage.jobs.reject(world.claim(), "mixed", world.now)
    assert world.storage.retention.delete(world.later(days=999)) == 0
    assert world.deliver() == 1
    assert world.storage.retention.delete(world.now) == 3


def test_what_a_running_job_reads_stays_even_when_its_stack_has_lost_it(world):
    world.store("1.1")
    needed = world.store("1.2").path
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    job = world.claim(lease_s=1e9)
    world.store("1.2", "b", series="9")
    world.propose(("cine", {SERIES}), (None, {"9"}))
    world.storage.retention.delete(world.later(days=31))
    assert needed.exists()
    world.storage.jobs.park(job, "too long", world.now)
    world.storage.retention.delete(world.now)
    assert not needed.exists()


@pytest.mark.parametrize(
    "state", [StackState.WAITING, StackState.QUEUED, StackState.RUNNING, StackState.PARKED]
)
def test_what_is_under_way_or_parked_stays(world, state):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    world.storage.stacks.set_state(stack.id, state, "", world.now)
    assert world.storage.retention.delete(world.later(days=999)) == 0


def test_nothing_goes_while_a_job_of_the_stack_is_open(world):
    stack = world.complete("1.1")
    world.deliver()
    world.enqueue(stack)
    world.storage.stacks.set_state(stack.id, StackState.COMPLETED, "", world.now)
    assert world.storage.retention.delete(world.later(days=999)) == 0


def test_nothing_goes_while_something_new_was_not_looked_at(world):
    world.complete("1.1")
    world.deliver()
    world.later(days=999)
    world.store("1.2")
    assert world.storage.retention.delete(world.now) == 0


def test_older_versions_go_with_the_current_one(world):
    world.store("1.1", "old")
    world.complete("1.1", "1.2")
    world.deliver()
    assert world.storage.retention.delete(world.later(days=7)) == 4


def test_an_instance_goes_when_all_its_stacks_allow_it(world):
    stack = world.complete("1.1")
    world.deliver()
    with world.storage.database.write() as connection:  # no routing makes this today
        connection.exec_driver_sql(
            "INSERT INTO stacks SELECT 99, study_instance_uid, 'other', source_ae_titles,"
            " 'waiting', '', input_digest, NULL, NULL, NULL, NULL, 0, created_at, changed_at"
            f" FROM stacks WHERE id = {stack.id}"
        )
        connection.exec_driver_sql("INSERT INTO stack_instances VALUES (99, 1)")
    world.later(days=7)
    assert originals(world)[0] not in world.storage.retention.candidates(world.now)
    world.storage.stacks.set_state(99, StackState.REJECTED, "", world.now - timedelta(days=30))
    assert originals(world)[0] in world.storage.retention.candidates(world.now)


def test_a_deleted_instance_that_comes_again_is_stored_again_and_kept_a_while(world):
    world.complete("1.1")
    world.deliver()
    (path,) = originals(world)
    world.storage.retention.delete(world.later(days=7))
    assert world.store("1.1").kind is StoreKind.DUPLICATE
    assert originals(world) == [path]
    assert path.read_bytes() == b"1.1|a|1.2.3.4|1.2.3"
    world.propose(("cine", {SERIES}))
    assert world.storage.retention.delete(world.later(days=6)) == 0
    assert world.storage.retention.delete(world.later(days=1)) == 1


def test_a_crash_between_file_and_record_is_made_good(world):
    world.complete("1.1")
    world.deliver()
    (path,) = originals(world)
    path.unlink()
    assert world.storage.retention.delete(world.later(days=7)) == 2
    assert originals(world) == []


def test_files_without_a_record_go_when_they_are_old(world):
    stray = world.storage.folder.instance_path("ab" * 32)
    stray.write_bytes(b"stray")
    kept = world.store("1.1").path
    for path, days in ((stray, 29), (kept, 99)):
        then = (world.now - timedelta(days=days)).timestamp()
        os.utime(path, (then, then))
    assert world.storage.retention.delete(world.now) == 0
    assert world.storage.retention.delete(world.later(days=1)) == 1
    assert not stray.exists()
    assert kept.exists()


def test_a_file_that_cannot_be_deleted_is_told_and_tried_again(world):
    world.complete("1.1", "1.2")
    world.deliver()
    path = originals(world)[0]
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageFault, match="1 files could not be deleted"):
        world.storage.retention.delete(world.later(days=7))
    assert originals(world) == [path]
    path.rmdir()
    assert world.storage.retention.delete(world.now) == 1


STEPS = st.lists(
    st.sampled_from(
        ["store", "assess", "enqueue", "claim", "finish", "reject", "send", "fail", "park", "wait"]
    ),
    min_size=5,
    max_size=25,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_whatever_happens_nothing_undelivered_is_deleted(tmp_path_factory, make_world, steps):
    """Random histories of one stack; retention runs after each step with no patience at all."""
    config = StorageSettings(
        folder=tmp_path_factory.mktemp("history") / "data",
        refuse_free_mb=0,
        delete_delivered_after_days=0,
        delete_unused_after_days=0,
    )
    with open_storage(config) as storage:
        history = History(make_world(storage, config))
        for step in steps:
            getattr(history, step)()
            storage.retention.delete(history.world.later(seconds=1))
            history.check()


class History:
    """Does what it is told where that is possible, and knows which originals are done with."""

    def __init__(self, world):
        self.world = world
        self.stored = 0
        self.running = []
        self.inputs_of = {}
        self.done_with = set()

    def store(self):
        self.stored += 1
        self.world.store(f"1.{self.stored}")

    def assess(self):
        if self.stored:
            self.world.propose(("cine", {SERIES}))

    def enqueue(self):
        for item in self.world.storage.overview.stacks():
            inputs = self.world.inputs(item.stack)
            if item.stack.state is StackState.WAITING and len(inputs) == self.stored:
                self.world.enqueue(item.stack)

    def claim(self):
        job = self.world.storage.jobs.claim(1e9, self.world.now)
        if job is not None:
            self.running.append(job)

    def finish(self):
        if self.running:
            job = self.running.pop()
            result = self.world.finish(job, "PACS")
            self.inputs_of[result.sop_instance_uid] = uids(job)

    def reject(self):
        if self.running:
            job = self.running.pop(0)
            self.world.storage.jobs.reject(job, "no", self.world.now)
            self.done_with |= uids(job)

    def send(self):
        for item in self.due():
            self.world.storage.outbox.mark_sent(item, "", self.world.now)
            self.done_with |= self.inputs_of[item.sop_instance_uid]

    def fail(self):
        for item in self.due():
            self.world.storage.outbox.mark_failed(item, "no", self.world.now)

    def park(self):
        for item in self.due():
            self.world.storage.outbox.park(item, "no", self.world.now)

    def wait(self):
        self.world.later(days=100)

    def due(self):
        return self.world.storage.outbox.due("PACS", self.world.now)

    def check(self):
        assert all(item.path.exists() for item in self.due())
        for job in self.running:
            assert all(item.path.exists() for item in job.inputs)
        for item in self.world.storage.instances.current(STUDY):
            there = item.path is not None and item.path.exists()
            assert there or item.sop_instance_uid in self.done_with


def uids(job):
    return {item.sop_instance_uid for item in job.inputs}
