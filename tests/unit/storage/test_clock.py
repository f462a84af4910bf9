"""A clock that is set back an hour after everything was recorded."""

from datetime import timedelta

from storage.states import StackState

SERIES = "1.2.3.4"
STUDY = "1.2.3"
HOUR = timedelta(hours=1)


def set_back(world):
    world.now -= HOUR
    return world.storage.pull_back(world.now)


def test_nothing_is_touched_while_the_clock_goes_on(world):
    world.complete("1.1")
    assert world.storage.pull_back(world.now) == 0


def test_a_retry_that_waits_says_nothing_of_the_clock(world):
    world.complete("1.1")
    (delivery,) = world.storage.outbox.due("PACS", world.now)
    world.storage.outbox.mark_failed(delivery, "refused", world.now + HOUR)
    assert world.storage.pull_back(world.now) == 0
    assert len(world.storage.outbox.due("PACS", world.now)) == 1  # tried again after a restart


def test_quiet_time_runs_from_now(world):
    number = world.associate()
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    world.storage.instances.close_association(number, released=True, now=world.now)
    (before,) = world.storage.instances.studies_to_assess()
    assert set_back(world) > 0
    (instance,) = world.storage.instances.current(STUDY)
    carriage = world.storage.instances.carriage(stack.id)
    assert instance.received_at == world.now
    assert (carriage.last_received, carriage.last_released) == (world.now, world.now)
    (after,) = world.storage.instances.studies_to_assess()
    assert after.changes > before.changes  # what the sweep remembers of it is read again


def test_a_retry_is_due_at_once(world):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    world.storage.jobs.retry(world.claim(), "failed", world.now, world.now)
    set_back(world)
    assert world.claim().attempts == 2


def test_a_running_job_keeps_its_lease(world):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    job = world.claim()
    set_back(world)
    world.later(seconds=1)
    assert world.storage.jobs.release_expired(world.now) == 0
    world.storage.jobs.extend(job, 60, world.now)
    assert world.storage.jobs.release_expired(world.later(seconds=61)) == 1  # not an hour later
    assert world.stack(stack).state is StackState.QUEUED


def test_a_delivery_is_tried_at_once(world):
    world.complete("1.1")
    (delivery,) = world.storage.outbox.due("PACS", world.now)
    world.storage.outbox.mark_failed(delivery, "refused", world.now + timedelta(seconds=10))
    set_back(world)
    assert len(world.storage.outbox.due("PACS", world.now)) == 1


def test_retention_counts_from_now(world):
    world.complete("1.1")
    world.deliver()
    set_back(world)
    days = world.settings.delete_delivered_after_days
    world.propose(("cine", {SERIES}))
    assert world.storage.retention.candidates(world.later(days=days)) != ()
