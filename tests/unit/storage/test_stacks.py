import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.matching import Known, Wanted, match
from storage.stacks import StackProposal, input_digest
from storage.states import StackState

SERIES = "1.2.3.4"
STUDY = "1.2.3"


def test_a_new_stack_waits_and_what_is_left_alone_does_not(world):
    world.store("1.1")
    world.store("1.2", series="9")
    cine, other = world.propose(("cine", {SERIES}), (None, {"9"}))
    assert (cine.state, cine.pipeline, cine.reason) == (StackState.WAITING, "cine", "proposed")
    assert (other.state, other.pipeline) == (StackState.UNROUTED, None)
    assert cine.series_instance_uids == (SERIES,)
    assert cine.source_ae_titles == ("SCANNER",)


def test_nothing_changes_when_nothing_changed(world):
    world.store("1.1")
    (first,) = world.propose(("cine", {SERIES}))
    world.storage.stacks.set_reason(first.id, "more instances")
    world.later(seconds=5)
    (again,) = world.propose(("cine", {SERIES}))
    assert (again.id, again.reason, again.changed_at) == (
        first.id,
        "more instances",
        first.changed_at,
    )


def test_what_is_left_alone_says_why_by_the_rules_of_today(world):
    world.store("1.1")
    (stack,) = world.propose((None, {SERIES}))
    (item,) = world.storage.instances.current(stack.study_instance_uid)
    other = StackProposal(None, (SERIES,), ("SCANNER",), (item.digest,), "another route")
    world.later(seconds=1)
    (again,) = world.storage.stacks.reconcile(stack.study_instance_uid, [other], world.now)
    assert (again.reason, again.changed_at) == ("another route", stack.changed_at)


def test_a_stack_that_grows_keeps_its_identity_and_waits_again(world):
    stack = world.complete("1.1")
    assert (stack.state, stack.findings_json) == (StackState.COMPLETED, '{"ef": 60}')
    world.store("1.2")
    (grown,) = world.propose(("cine", {SERIES}))
    assert (grown.id, grown.state) == (stack.id, StackState.WAITING)
    assert grown.input_digest != grown.computed_input_digest == stack.input_digest


def test_a_queued_job_of_older_instances_is_withdrawn(world):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    world.store("1.2")
    world.propose(("cine", {SERIES}))
    assert world.storage.jobs.claim(60, world.now) is None


def test_a_stack_left_alone_later_fences_its_running_job(world):
    world.store("1.1")
    (stack,) = world.propose(("cine", {SERIES}))
    world.enqueue(stack)
    job = world.claim()
    (alone,) = world.propose((None, {SERIES}))
    assert (alone.id, alone.state) == (stack.id, StackState.UNROUTED)
    with pytest.raises(Exception, match="taken back"):
        world.storage.jobs.extend(job, 60, world.now)


def test_stacks_that_join_keep_the_computed_one_and_its_results(world):
    for number in (1, 2, 3):
        world.store(f"1.{number}", series=f"5.{number}")
    groups = [("cine", {f"5.{number}"}) for number in (1, 2, 3)]
    _, second, _ = world.propose(*groups)
    world.enqueue(second)
    world.finish(world.claim(), "PACS")
    world.store("1.4", series="5.3")
    (joined,) = world.propose(("cine", {"5.1", "5.2", "5.3"}))
    assert joined.id == second.id
    assert joined.state is StackState.WAITING
    assert {item.stack.id for item in world.storage.overview.stacks()} == {second.id}
    job = world.enqueue(joined)
    assert (job.generation, job.result_seed) == (2, "5.2")


def test_two_computed_stacks_that_join_leave_one_current_set(world):
    world.store("1.1", series="5.1")
    world.store("1.2", series="5.2")
    first, second = world.propose(("cine", {"5.1"}), ("cine", {"5.2"}))
    for stack in (first, second):
        world.enqueue(stack)
        world.finish(world.claim(), "PACS")
    (joined,) = world.propose(("cine", {"5.1", "5.2"}))
    assert joined.state is StackState.WAITING
    world.enqueue(joined)
    result = world.finish(world.claim(), "PACS")
    due = world.storage.outbox.due("PACS", world.now)
    assert [item.sop_instance_uid for item in due] == [result.sop_instance_uid]


def test_a_stack_that_splits_goes_on_in_the_larger_part(world):
    for number in range(3):
        world.store(f"1.{number}", series="5.1")
    world.store("1.9", series="5.2")
    (whole,) = world.propose(("cine", {"5.1", "5.2"}))
    world.enqueue(whole)
    small, large = world.propose(("cine", {"5.2"}), ("cine", {"5.1"}))
    assert large.id == whole.id
    assert small.id != whole.id


def test_a_stack_goes_on_with_the_newer_version_of_its_instance_not_with_a_new_one(world):
    stack = world.complete("1.5")
    world.store("1.5", "b")
    world.store("1.1")
    current = {one.sop_instance_uid: one.digest for one in world.storage.instances.current(STUDY)}
    each = [
        StackProposal("cine", (SERIES,), ("SCANNER",), (current[uid],), "by itself")
        for uid in ("1.1", "1.5")
    ]
    new, newer = world.storage.stacks.reconcile(STUDY, each, world.now)
    assert newer.id == stack.id
    assert new.id != stack.id


def test_a_computed_stack_whose_instances_went_elsewhere_is_closed(world):
    stack = world.complete("1.1")
    world.store("1.1", "b", series="7")
    world.propose(("cine", {"7"}))
    closed = world.stack(stack)
    assert closed.state is StackState.UNROUTED
    assert world.storage.outbox.due("PACS", world.now) == ()
    (box,) = world.storage.overview.outbox()
    assert box.dropped == 1


def test_a_closed_stack_is_revived_by_its_series(world):
    stack = world.complete("1.1")
    world.store("1.1", "b", series="7")
    world.propose(("cine", {"7"}))
    world.store("1.1", "a")
    (back,) = world.propose(("cine", {SERIES}))
    assert (back.id, back.state) == (stack.id, StackState.WAITING)


def test_a_proposal_of_unknown_instances_is_refused(world):
    world.store("1.1")
    proposal = StackProposal("cine", (SERIES,), (), ("0" * 64,), "")
    with pytest.raises(ValueError, match="never stored"):
        world.storage.stacks.reconcile(STUDY, [proposal], world.now)


def test_a_reason_is_not_written_over_another_state(world):
    stack = world.complete("1.1")
    world.storage.stacks.set_reason(stack.id, "waits")
    assert world.stack(stack).reason == stack.reason


def test_an_unknown_stack_is_named(world):
    with pytest.raises(KeyError):
        world.storage.stacks.get(99)


@given(st.permutations(["a" * 64, "b" * 64, "c" * 64]))
def test_the_input_digest_ignores_order_and_repetition(digests):
    assert input_digest([*digests, digests[0]]) == input_digest(["a" * 64, "b" * 64, "c" * 64])


_SERIES = st.frozensets(st.sampled_from("abcdef"), min_size=1)
_PIPELINES = st.sampled_from(["cine", None])
_WANTED = st.lists(st.builds(Wanted, _PIPELINES, _SERIES, st.just(frozenset())), max_size=4)
_KNOWN = st.lists(
    st.builds(Known, st.integers(1, 9), _PIPELINES, _SERIES, st.just(frozenset()), st.booleans()),
    max_size=4,
    unique_by=lambda stack: stack.id,
)


@given(_KNOWN, _WANTED)
def test_every_stack_has_exactly_one_fate_and_shares_a_series_with_what_continues_it(known, wanted):
    decision = match(known, wanted)
    series = {stack.id: stack.series for stack in known}
    continued = [stack_id for stack_id in decision.continued if stack_id is not None]
    fates = [*continued, *(stack_id for stack_id, _ in decision.joined), *decision.left]
    assert sorted(fates) == sorted(series)
    assert len(decision.continued) == len(wanted)
    for index, stack_id in enumerate(decision.continued):
        assert stack_id is None or series[stack_id] & wanted[index].series
    for stack_id, index in decision.joined:
        assert series[stack_id] & wanted[index].series
    for stack_id in decision.left:
        assert not any(series[stack_id] & proposal.series for proposal in wanted)
