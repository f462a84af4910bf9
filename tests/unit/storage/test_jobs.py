from datetime import timedelta

import pytest

from storage.errors import LeaseLost, OriginalsDeleted
from storage.states import StackState

SERIES = "1.2.3.4"


@pytest.fixture
def stack(world):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    return stack


def grow(world, uid="1.2"):
    world.store(uid)
    (stack,) = world.propose(("cine", {SERIES}))
    return stack


def due(world):
    return [item.sop_instance_uid for item in world.storage.outbox.due("PACS", world.now)]


def test_a_job_holds_all_that_decides_its_result(world, stack):
    queued = world.enqueue(stack, early=True)
    world.later(seconds=3)
    job = world.claim()
    assert (job.id, job.stack_id, job.pipeline, job.attempts) == (queued.id, stack.id, "cine", 1)
    assert (job.result_seed, job.generation, job.created_at) == (SERIES, 1, queued.created_at)
    assert job.early
    assert [(item.sop_instance_uid, item.path.read_bytes()) for item in job.inputs] == [
        ("1.1", b"1.1|a|1.2.3.4|1.2.3")
    ]
    assert world.stack(stack).state is StackState.RUNNING


def test_a_job_is_claimed_once_and_in_order(world):
    for number in range(3):
        world.store(f"1.{number}", series=f"5.{number}")
    stacks = world.propose(*(("cine", {f"5.{number}"}) for number in range(3)))
    queued = [world.enqueue(stack).id for stack in stacks]
    assert [world.claim().id for _ in stacks] == queued
    assert world.storage.jobs.claim(60, world.now) is None


def test_the_same_inputs_are_the_same_job(world, stack):
    assert world.enqueue(stack).id == world.enqueue(stack).id


def test_a_finished_job_queues_its_results_in_order(world, stack):
    world.enqueue(stack)
    job = world.claim()
    results = [world.result(job, f"2.25.{number}", bytes([number])) for number in range(3)]
    world.storage.jobs.finish(job, results, ["PACS", "OTHER"], "{}", world.now)
    assert due(world) == ["2.25.0", "2.25.1", "2.25.2"]
    assert len(world.storage.outbox.due("OTHER", world.now)) == 3
    after = world.stack(stack)
    assert (after.state, after.computed_input_digest) == (StackState.COMPLETED, after.input_digest)


def test_a_result_goes_only_where_it_is_wanted(world, stack):
    world.enqueue(stack)
    job = world.claim()
    wanted = {"2.25.1": None, "2.25.2": ("OTHER",), "2.25.3": ()}
    results = [world.result(job, uid, uid.encode(), where) for uid, where in wanted.items()]
    world.storage.jobs.finish(job, results, ["PACS", "OTHER"], "{}", world.now)
    assert due(world) == ["2.25.1"]
    assert [one.sop_instance_uid for one in world.storage.outbox.due("OTHER", world.now)] == [
        "2.25.1",
        "2.25.2",
    ]


def test_a_job_ends_only_once(world, stack):
    world.enqueue(stack)
    job = world.claim()
    world.finish(job, "PACS")
    with pytest.raises(LeaseLost):
        world.finish(job, "PACS")
    assert len(due(world)) == 1


def test_nothing_is_recorded_when_a_file_is_missing(world, stack):
    world.enqueue(stack)
    job = world.claim()
    result = world.result(job)
    result.path.unlink()
    with pytest.raises(FileNotFoundError):
        world.storage.jobs.finish(job, [result], ["PACS"], "{}", world.now)
    assert world.stack(stack).state is StackState.RUNNING


def test_an_expired_lease_goes_back_and_fences_the_late_worker(world, stack):
    world.enqueue(stack)
    late = world.claim(lease_s=10)
    world.later(seconds=5)
    world.storage.jobs.extend(late, 10, world.now)
    world.later(seconds=8)
    assert world.storage.jobs.release_expired(world.now) == 0
    world.later(seconds=3)
    assert world.storage.jobs.release_expired(world.now) == 1
    assert world.stack(stack).state is StackState.QUEUED
    second = world.claim()
    assert (second.id, second.attempts) == (late.id, 2)
    identity = (late.result_seed, late.generation, late.created_at)
    assert (second.result_seed, second.generation, second.created_at) == identity
    for act in (
        lambda: world.finish(late, "PACS"),
        lambda: world.storage.jobs.extend(late, 60, world.now),
        lambda: world.storage.jobs.reject(late, "", world.now),
        lambda: world.storage.jobs.park(late, "", world.now),
        lambda: world.storage.jobs.defer(late, "", world.now),
        lambda: world.storage.jobs.retry(late, "", world.now, world.now),
        lambda: world.storage.jobs.release(late, world.now),
    ):
        with pytest.raises(LeaseLost):
            act()
    world.finish(second, "PACS")
    assert len(due(world)) == 1


def test_a_late_worker_of_older_inputs_cannot_overwrite_a_newer_result(world, stack):
    world.enqueue(stack)
    older = world.claim()
    newer = world.enqueue(grow(world))
    assert (newer.generation, newer.result_seed) == (2, SERIES)
    newer = world.claim()
    delivered = world.finish(newer, "PACS")
    world.finish(older, "PACS")
    assert due(world) == [delivered.sop_instance_uid]
    after = world.stack(stack)
    assert (after.state, after.computed_input_digest) == (StackState.COMPLETED, after.input_digest)
    assert after.generation == 2


def test_a_newer_result_supersedes_and_stops_the_older(world, stack):
    world.enqueue(stack)
    world.finish(world.claim(), "PACS")
    world.enqueue(grow(world))
    newer = world.finish(world.claim(), "PACS")
    assert due(world) == [newer.sop_instance_uid]


def test_an_older_job_that_ends_first_leaves_the_stack_to_the_newer(world, stack):
    world.enqueue(stack)
    older = world.claim()
    world.enqueue(grow(world))
    world.finish(older, "PACS")
    assert world.stack(stack).state is StackState.QUEUED
    world.finish(world.claim(), "PACS")
    assert world.stack(stack).state is StackState.COMPLETED


def test_a_stack_that_grew_while_it_was_computed_goes_on_waiting(world, stack):
    world.enqueue(stack)
    job = world.claim()
    grow(world)
    world.finish(job, "PACS")
    after = world.stack(stack)
    assert after.state is StackState.WAITING
    assert after.computed_input_digest != after.input_digest


def test_a_failed_job_of_older_inputs_is_not_tried_again(world, stack):
    world.enqueue(stack)
    job = world.claim()
    grow(world)
    world.storage.jobs.retry(job, "failed", world.now, world.now)
    assert world.storage.jobs.claim(60, world.now) is None
    assert world.stack(stack).state is StackState.WAITING


def test_a_deferred_stack_waits_and_remembers_for_what(world, stack):
    world.enqueue(stack, early=True)
    world.storage.jobs.defer(world.claim(), "ends inside the ventricle", world.now)
    after = world.stack(stack)
    assert (after.state, after.deferred_input_digest) == (StackState.WAITING, after.input_digest)
    assert after.reason == "ends inside the ventricle"
    again = world.enqueue(stack)
    assert (again.generation, again.attempts) == (1, 0)


def test_the_series_of_the_results_is_fixed_by_the_first_that_counts(world):
    world.store("1.5", series="5.5")
    (stack,) = world.propose(("cine", {"5.5"}))
    world.enqueue(stack, early=True)
    world.storage.jobs.defer(world.claim(), "too early", world.now)
    world.store("1.1", series="5.1")
    (stack,) = world.propose(("cine", {"5.1", "5.5"}))
    world.enqueue(stack)
    job = world.claim()
    assert job.result_seed == "5.1"
    world.finish(job, "PACS")
    world.store("1.0", series="5.0")
    (stack,) = world.propose(("cine", {"5.0", "5.1", "5.5"}))
    assert world.enqueue(stack).result_seed == "5.1"


def test_a_rejection_keeps_its_reason_and_the_inputs_it_is_about(world, stack):
    world.enqueue(stack)
    world.storage.jobs.reject(world.claim(), "mixed orientation", world.now, code="mixed")
    after = world.stack(stack)
    assert (after.state, after.reason) == (StackState.REJECTED, "mixed orientation")
    assert after.computed_input_digest == after.input_digest


def test_a_retry_waits_for_its_time(world, stack):
    world.enqueue(stack)
    later = world.now + timedelta(seconds=30)
    world.storage.jobs.retry(world.claim(), "failed", later, world.now)
    assert world.storage.jobs.claim(60, world.later(seconds=29)) is None
    assert world.storage.jobs.claim(60, world.later(seconds=1)).attempts == 2


def test_a_released_job_costs_no_attempt(world, stack):
    world.enqueue(stack)
    world.storage.jobs.release(world.claim(), world.now)
    assert world.claim().attempts == 1


def test_a_parked_job_parks_its_stack(world, stack):
    world.enqueue(stack)
    world.storage.jobs.park(world.claim(), "out of memory", world.now)
    assert world.stack(stack).state is StackState.PARKED
    assert world.storage.jobs.claim(60, world.now) is None
    (shown,) = world.storage.overview.stacks()
    assert (shown.attempts, shown.stack.reason, shown.instances) == (1, "out of memory", 1)


def test_after_a_crash_running_jobs_go_back_at_once_and_the_attempt_counts(world, stack, reopened):
    world.enqueue(stack)
    world.claim()
    after = reopened(world)
    assert after.storage.jobs_lost == 1
    assert after.stack(stack).state is StackState.QUEUED
    assert after.claim().attempts == 2
    after.storage.close()


def test_a_job_that_takes_the_node_down_each_time_is_parked(world, stack, reopened):
    world.enqueue(stack)
    for _ in range(3):
        assert world.storage.jobs.recover(3, world.now, all_running=True) == 0
        world.claim()
        world = reopened(world)
    assert world.storage.jobs.recover(3, world.now, all_running=True) == 1
    assert world.stack(stack).state is StackState.PARKED
    world.storage.close()


def test_a_job_needs_its_files(world, stack):
    inputs = world.inputs(stack)
    unknown = [type(inputs[0])("1.1", "f" * 64, inputs[0].path)]
    with pytest.raises(OriginalsDeleted):
        world.storage.jobs.enqueue(stack.id, unknown, trigger="", now=world.now)
    assert world.stack(stack).state is StackState.WAITING


def test_one_uid_stands_for_the_same_bytes_for_ever(world, stack):
    world.enqueue(stack)
    job = world.claim()
    first = world.result(job, "2.25.7", b"first")
    world.storage.jobs.finish(job, [first], ["PACS"], "{}", world.now)
    world.enqueue(grow(world))
    world.finish(world.claim(), "PACS")
    world.enqueue(stack)
    job = world.claim()
    second = world.result(job, "2.25.7", b"other content time")
    world.storage.jobs.finish(job, [second], ["PACS"], "{}", world.now)
    (delivery,) = world.storage.outbox.due("PACS", world.now)
    assert delivery.path.read_bytes() == b"first"


def test_a_result_file_has_a_plain_name(world, stack):
    world.enqueue(stack)
    job = world.claim()
    for bad in ("../sr", "", ".hidden", "a/b"):
        with pytest.raises(ValueError, match="plain name"):
            world.storage.folder.persist_result(job, bad, b"")


def test_times_without_a_zone_are_refused(world, stack):
    world.enqueue(stack)
    with pytest.raises(Exception, match="aware"):
        world.storage.jobs.claim(60, world.now.replace(tzinfo=None))
