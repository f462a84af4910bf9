from datetime import timedelta

import pytest

from storage.errors import LeaseLost
from storage.states import StackState

SERIES = "1.2.3.4"


def box(world, name="PACS"):
    return next(item for item in world.storage.overview.outbox() if item.destination == name)


def test_a_delivery_is_due_until_it_is_confirmed(world):
    world.complete("1.1")
    (delivery,) = world.storage.outbox.due("PACS", world.now)
    assert (delivery.attempts, delivery.series_instance_uids) == (0, (SERIES,))
    assert delivery.path.read_bytes() == b"2.25.1"
    assert world.storage.outbox.due("OTHER", world.now) == ()
    world.storage.outbox.mark_sent(delivery, "", world.now)
    assert world.storage.outbox.due("PACS", world.now) == ()
    assert (box(world).sent, box(world).pending) == (1, 0)


def test_a_failed_delivery_comes_back_at_its_time(world):
    world.complete("1.1")
    (delivery,) = world.storage.outbox.due("PACS", world.now)
    world.storage.outbox.mark_failed(delivery, "refused", world.now + timedelta(seconds=10))
    assert world.storage.outbox.due("PACS", world.later(seconds=9)) == ()
    (again,) = world.storage.outbox.due("PACS", world.later(seconds=1))
    assert again.attempts == 1
    shown = box(world)
    assert (shown.pending, shown.last_error) == (1, "refused")
    assert (shown.oldest_pending, shown.next_attempt) == (delivery.created_at, world.now)


def test_a_parked_delivery_is_shown_and_not_due(world):
    world.complete("1.1")
    (delivery,) = world.storage.outbox.due("PACS", world.now)
    world.storage.outbox.park(delivery, "given up", world.now)
    assert world.storage.outbox.due("PACS", world.now) == ()
    assert (box(world).parked, box(world).last_error) == (1, "given up")


def test_what_was_stopped_stays_stopped_unless_it_arrived(world):
    world.complete("1.1")
    (delivery,) = world.storage.outbox.due("PACS", world.now)
    world.store("1.1", "b")
    assert world.storage.outbox.drop_outdated("identity changed", world.now, SERIES) == 1
    assert box(world).dropped_because == {"identity changed": 1}
    world.storage.outbox.mark_failed(delivery, "refused", world.now)
    world.storage.outbox.park(delivery, "given up", world.now)
    assert (box(world).pending, box(world).dropped) == (0, 1)
    world.storage.outbox.mark_sent(delivery, "", world.now)
    assert (box(world).sent, box(world).dropped) == (1, 0)


def test_results_of_an_outdated_identity_are_stopped(world):
    world.complete("1.1")
    world.store("1.1", "b")
    assert world.storage.outbox.drop_outdated("identity changed", world.now, SERIES) == 1
    assert world.storage.outbox.due("PACS", world.now) == ()


def test_a_start_after_a_crash_stops_outdated_results_of_any_series(world):
    world.complete("1.1")
    world.store("1.1", "b")
    assert world.storage.outbox.drop_outdated("newer version", world.now, "1.2.3.999") == 0
    assert world.storage.outbox.drop_outdated("newer version", world.now) == 1


def test_results_of_the_new_identity_are_not_stopped(world):
    world.complete("1.1")
    world.store("1.1", "b")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    world.finish(world.claim(), "PACS")
    assert world.storage.outbox.drop_outdated("identity changed", world.now, SERIES) == 0
    assert len(world.storage.outbox.due("PACS", world.now)) == 1


def test_a_running_job_of_an_outdated_identity_delivers_nothing(world):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    job = world.claim()
    world.store("1.1", "b")
    world.storage.outbox.drop_outdated("identity changed", world.now, SERIES)
    assert world.stack(stack).state is StackState.WAITING
    with pytest.raises(LeaseLost):
        world.finish(job, "PACS")
    assert world.storage.outbox.due("PACS", world.now) == ()


def test_deliveries_come_in_order_and_not_all_at_once(world):
    for number in range(3):
        world.store(f"1.{number}", series=f"5.{number}")
    for stack in world.propose(*(("cine", {f"5.{number}"}) for number in range(3))):
        world.enqueue(stack)
        world.finish(world.claim(), "PACS")
    first = world.storage.outbox.due("PACS", world.now, limit=2)
    assert [item.sop_instance_uid for item in first] == ["2.25.1", "2.25.2"]
