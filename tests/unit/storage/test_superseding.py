"""What a newer result takes the place of in an archive, and what it keeps from getting there."""

import pytest

from storage.states import StackState

SERIES = "1.2.3.4"


def grow(world, uid="1.2"):
    world.store(uid)
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    return stack


def due(world):
    return world.storage.outbox.due("PACS", world.now)


def superseded(job):
    return [one.sop_instance_uid for one in job.supersedes]


def test_a_first_result_supersedes_nothing(world):
    grow(world, "1.1")
    job = world.claim()
    assert (job.supersedes, job.standing) == ((), None)


def test_a_delivered_result_is_superseded_and_known_in_full(world):
    world.complete("1.1")
    made = world.now
    world.deliver()
    world.later(minutes=5)
    grow(world)
    (earlier,) = world.claim().supersedes
    assert earlier.created_at == made
    assert (earlier.role, earlier.sop_instance_uid, earlier.series_instance_uid) == (
        "sr",
        "2.25.1",
        "2.25.99",
    )
    assert earlier.sop_class_uid == "1.2.840.10008.5.1.4.1.1.88.34"


def test_what_never_left_is_dropped_and_not_named(world):
    world.complete("1.1")
    grow(world)
    job = world.claim()
    assert superseded(job) == []
    newer = world.finish(job, "PACS")
    assert [one.sop_instance_uid for one in due(world)] == [newer.sop_instance_uid]
    (box,) = world.storage.overview.outbox()
    assert box.dropped_because == {"superseded": 1}


def test_what_was_offered_may_have_arrived_whatever_the_answer_was(world, reopened):
    """As after a crash, or a connection that was lost before the answer."""
    world.complete("1.1")
    (delivery,) = due(world)
    assert world.storage.outbox.offer(delivery, world.now)
    world = reopened(world)
    grow(world)
    assert superseded(world.claim()) == ["2.25.1"]
    world.storage.close()


def test_an_attempt_without_an_association_offers_nothing(world):
    world.complete("1.1")
    (delivery,) = due(world)
    world.storage.outbox.mark_failed(delivery, "no connection", world.now)
    grow(world)
    assert superseded(world.claim()) == []


def test_while_its_successor_is_computed_nothing_more_is_sent(world):
    world.complete("1.1")
    (delivery,) = due(world)
    grow(world)
    assert due(world) == (delivery,)  # queued only
    job = world.claim()
    assert due(world) == ()
    assert not world.storage.outbox.offer(delivery, world.now)
    world.storage.jobs.reject(job, "mixed orientation", world.now)
    assert due(world) == (delivery,)  # the newer images give nothing better
    assert world.storage.outbox.offer(delivery, world.now)


def test_what_was_stopped_is_not_sent_any_more(world):
    world.complete("1.1")
    (delivery,) = due(world)
    world.store("1.1", "b")
    world.storage.outbox.drop_outdated("identity changed", world.now, SERIES)
    assert not world.storage.outbox.offer(delivery, world.now)


def test_all_that_were_delivered_are_named_in_their_order(world):
    world.complete("1.1")
    for uid in ("1.2", "1.3"):
        world.deliver()
        grow(world, uid)
        job = world.claim()
        world.finish(job, "PACS", "OTHER")
    assert superseded(job) == ["2.25.1", "2.25.2"]


def test_what_was_superseded_is_fixed_when_the_job_is_started(world):
    world.complete("1.1")
    world.deliver()
    grow(world)
    started = world.claim()
    world.storage.jobs.release(started, world.now)
    again = world.claim()
    assert again.supersedes == started.supersedes
    world.finish(again, "PACS")
    world.deliver()
    grow(world, "1.3")
    standing = world.claim().standing
    assert standing.supersedes == started.supersedes
    assert standing.sop_instance_uids == ("2.25.2",)


def test_the_same_result_again_keeps_its_identity_and_is_delivered_again(world):
    stack = world.complete("1.1")
    world.deliver()
    first = (stack.generation, stack.result_seed)
    world.later(minutes=5)
    world.enqueue(stack)
    job = world.claim()
    assert (job.generation, job.standing.generation) == (2, 1)
    same = world.result(job, "2.25.1", b"of another time")
    world.storage.jobs.finish(job, [same], ["PACS"], '{"ef": 60}', world.now)
    after = world.stack(stack)
    assert (after.generation, after.result_seed) == first
    assert after.state is StackState.COMPLETED
    assert after.reason == "quiet; it came to the same results as before"
    (delivery,) = due(world)
    assert delivery.path.read_bytes() == b"2.25.1"
    world.deliver()
    world.enqueue(stack)
    third = world.claim()
    assert third.standing == job.standing
    assert superseded(third) == ["2.25.1"]


@pytest.mark.parametrize("sent", [True, False])
def test_another_result_of_the_same_images_supersedes(sent, world):
    stack = world.complete("1.1")
    if sent:
        world.deliver()
    world.enqueue(stack)
    job = world.claim()
    world.finish(job, "PACS")
    assert superseded(job) == (["2.25.1"] if sent else [])
    after = world.stack(stack)
    assert (after.generation, after.reason) == (2, "quiet")
