"""An image that is sent again, unchanged: whatever has no result gets another chance."""

from datetime import timedelta

import pytest

from storage.record import SENT_AGAIN
from storage.stacks import Stack
from storage.states import StackState

SERIES = "1.2.3.4"
STUDY = "1.2.3"


@pytest.fixture
def queued(world) -> Stack:
    world.store("1.1")
    world.store("1.2")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    return stack


def to_assess(world) -> list[str]:
    return [study.study_instance_uid for study in world.storage.instances.studies_to_assess()]


def test_a_parked_stack_is_computed_again_with_all_its_attempts(world, queued):
    world.storage.jobs.park(world.claim(), "out of memory", world.now)
    assert to_assess(world) == []
    world.store("1.2")
    woken = world.stack(queued)
    assert (woken.state, woken.reason) == (StackState.WAITING, SENT_AGAIN)
    assert to_assess(world) == [STUDY]
    world.enqueue(woken)
    job = world.claim()
    assert (job.attempts, len(job.inputs)) == (1, 2)
    world.finish(job, "PACS")
    assert world.stack(queued).state is StackState.COMPLETED


def test_a_rejected_stack_is_computed_again(world, queued):
    world.storage.jobs.reject(world.claim(), "mixed orientation", world.now)
    world.store("1.1")
    assert world.stack(queued).state is StackState.WAITING


@pytest.mark.parametrize("other", ["another image", "another study"])
def test_nothing_else_wakes_a_parked_stack(other, world, queued):
    world.storage.jobs.park(world.claim(), "out of memory", world.now)
    if other == "another study":
        world.store("9.9", series="9", study="9.0")
        world.store("9.9", series="9", study="9.0")
    assert world.stack(queued).state is StackState.PARKED


def test_a_measured_stack_stays_measured(world):
    stack = world.complete("1.1")
    world.store("1.1")
    assert world.stack(stack).state is StackState.COMPLETED
    assert to_assess(world) == []


def test_a_parked_delivery_is_attempted_again_as_a_new_one(world):
    world.complete("1.1")
    (delivery,) = world.storage.outbox.due("PACS", world.now)
    world.storage.outbox.mark_failed(delivery, "no connection", world.now)
    world.storage.outbox.park(delivery, "no connection", world.now)
    world.now += timedelta(days=8)
    world.store("9.9", series="9", study="9.0")
    world.store("9.9", series="9", study="9.0")
    assert world.storage.outbox.due("PACS", world.now) == ()
    world.store("1.1")
    (again,) = world.storage.outbox.due("PACS", world.now)
    assert (again.id, again.attempts, again.created_at) == (delivery.id, 0, world.now)


def test_a_push_during_the_last_attempt_is_not_in_vain(world):
    world.complete("1.1")
    (delivery,) = world.storage.outbox.due("PACS", world.now)
    world.now += timedelta(days=8)
    world.store("1.1")
    assert not world.storage.outbox.park(delivery, "no connection", world.now)
    (again,) = world.storage.outbox.due("PACS", world.now)
    assert (again.attempts, again.created_at) == (0, world.now)


def test_a_stack_under_way_goes_on(world, queued):
    job = world.claim()
    world.store("1.1")
    assert world.stack(queued).state is StackState.RUNNING
    world.finish(job, "PACS")
    assert world.stack(queued).state is StackState.COMPLETED


def test_what_no_pipeline_took_is_looked_at_again(world):
    world.store("1.1")
    world.propose((None, {SERIES}))
    assert to_assess(world) == []
    world.store("1.1")
    assert to_assess(world) == [STUDY]
    (stack,) = world.propose(("cine", {SERIES}))  # the route was put right meanwhile
    assert stack.state is StackState.WAITING


def test_a_study_that_could_not_be_assessed_is_looked_at_again(world):
    world.store("1.1")
    (study,) = world.storage.instances.studies_to_assess()
    world.storage.instances.note_fault(study, "ValueError: a fault")
    world.store("1.1")
    (again,) = world.storage.instances.studies_to_assess()
    assert again.changes > study.changes
