"""Requests to compute a series again: who may ask, and what comes of it."""

from datetime import timedelta

import pytest

from storage import open_storage
from storage.errors import OriginalsDeleted, UnknownSeries
from storage.replays import ASKED_AGAIN
from storage.states import StackState

SERIES = "1.2.3.4"


def studies(world):
    return [item.study_instance_uid for item in world.storage.instances.studies_to_assess()]


def test_a_request_beside_the_running_node_reaches_it(world):
    stack = world.complete("1.1")
    assert studies(world) == []
    with open_storage(world.settings, read_only=True) as beside:
        beside.replays.request(SERIES)
        beside.replays.request(SERIES)
    assert world.storage.replays.requested() == (SERIES,)
    assert world.storage.replays.begin(SERIES, world.now) == (stack.id,)
    world.storage.replays.end(SERIES)
    assert world.storage.replays.requested() == ()
    after = world.stack(stack)
    assert (after.state, after.reason) == (StackState.WAITING, ASKED_AGAIN)
    assert studies(world) == ["1.2.3"]


def test_a_request_waits_for_the_next_start(world, reopened):
    world.complete("1.1")
    world.storage.close()
    with open_storage(world.settings, read_only=True) as beside:
        beside.replays.request(SERIES)
    after = reopened(world)
    assert after.storage.replays.requested() == (SERIES,)
    after.storage.close()


@pytest.mark.parametrize("series", ["9.9", "../../etc/passwd", ""])
def test_a_series_that_was_never_stored_is_not_asked_for(series, world):
    world.complete("1.1")
    with pytest.raises(UnknownSeries, match="was ever stored"):
        world.storage.replays.request(series)
    assert world.storage.replays.requested() == ()


def test_a_stack_whose_images_were_deleted_is_left_as_it_is(world):
    stack = world.complete("1.1", "1.2")
    world.deliver()
    world.later(days=8)
    assert world.storage.retention.delete(world.now) > 0
    for act in (
        lambda: world.storage.replays.request(SERIES),
        lambda: world.storage.replays.begin(SERIES, world.now),
    ):
        with pytest.raises(OriginalsDeleted, match=r"2 images.*send the whole study again"):
            act()
    assert world.stack(stack).state is StackState.COMPLETED
    world.associate()
    world.store("1.1")
    with pytest.raises(OriginalsDeleted, match="1 images"):
        world.storage.replays.request(SERIES)
    world.store("1.2")
    world.storage.replays.request(SERIES)


def test_images_of_another_series_of_the_stack_count_too(world):
    world.store("1.1")
    world.store("1.2", series="1.2.3.5")
    (stack,) = world.propose(("cine", {SERIES, "1.2.3.5"}))
    world.enqueue(stack)
    world.finish(world.claim(), "PACS")
    world.deliver()
    world.later(days=8)
    world.storage.retention.delete(world.now)
    world.associate()
    world.store("1.1")
    with pytest.raises(OriginalsDeleted):
        world.storage.replays.request(SERIES)


@pytest.mark.parametrize("end", ["reject", "park"])
def test_what_failed_is_tried_again(end, world):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    getattr(world.storage.jobs, end)(world.claim(), "failed", world.now)
    world.storage.replays.begin(SERIES, world.now)
    assert world.stack(stack).state is StackState.WAITING


def test_what_is_under_way_goes_on(world):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    queued = world.enqueue(stack)
    world.storage.replays.begin(SERIES, world.now)
    assert world.stack(stack).state is StackState.QUEUED
    assert world.claim().id == queued.id


def test_what_no_pipeline_took_is_looked_at_again(world):
    world.store("1.1")
    (stack,) = world.propose((None, {SERIES}))
    assert studies(world) == []
    world.storage.replays.begin(SERIES, world.now)
    assert world.stack(stack).state is StackState.UNROUTED
    assert studies(world) == ["1.2.3"]


def test_nothing_is_deleted_of_what_is_asked_for(world):
    world.complete("1.1")
    world.deliver()
    world.storage.replays.begin(SERIES, world.now)
    assert world.storage.retention.candidates(world.now + timedelta(days=99)) == ()
