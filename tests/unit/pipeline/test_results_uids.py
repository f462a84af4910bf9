"""UIDs of results: what decides them, and nothing else."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.case import StageRecord
from pipeline.results import write_results
from pipeline.results.uids import hashed_uid, instance_uid, series_uid, tracking_uid
from tests.unit.pipeline.result_cases import CONTEXT, MODELS, make_case, with_context

DECIDES = {
    "input_digests": ("a", "b"),
    "weights_sha256": ("w",),
    "software_version": "1.0",
    "settings_digest": "s",
    "numeric_backend": "cpu",
}


def roles_and_uids(case, context):
    return {item.role: item.sop_instance_uid for item in write_results(case, context)}


def test_is_a_valid_uid_below_2_25():
    uid = hashed_uid("a")
    assert re.fullmatch(r"2\.25\.(0|[1-9]\d{0,38})", uid)
    assert int(uid[5:]) < 2**128


def test_a_list_of_texts_is_not_their_concatenation():
    assert hashed_uid("ab", "c") != hashed_uid("a", "bc")


def test_order_of_inputs_and_weights_does_not_count():
    shuffled = {**DECIDES, "input_digests": ("b", "a")}
    assert instance_uid("sr", **shuffled) == instance_uid("sr", **DECIDES)


@pytest.mark.parametrize(
    "change",
    [
        {"input_digests": ("a", "c")},
        {"input_digests": ("a",)},
        {"input_digests": ("a", "b", "b")},
        {"weights_sha256": ("x",)},
        {"software_version": "1.1"},
        {"settings_digest": "t"},
        {"numeric_backend": "cuda"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_that_decides_the_content_decides_the_uid(change):
    assert instance_uid("sr", **{**DECIDES, **change}) != instance_uid("sr", **DECIDES)


def test_a_digest_does_not_pass_for_weights():
    moved = {**DECIDES, "input_digests": ("a",), "weights_sha256": ("b", "w")}
    assert instance_uid("sr", **moved) != instance_uid("sr", **DECIDES)


def test_series_and_tracking_uids_depend_on_seed_and_subject():
    uids = {
        series_uid("1.2", "sr"),
        series_uid("1.2", "seg_ed"),
        series_uid("1.3", "sr"),
        tracking_uid("1.2", "sr"),
    }
    assert len(uids) == 4


def test_time_and_generation_leave_the_uids_alone():
    case = make_case()
    later = with_context(created_at=CONTEXT.created_at + timedelta(hours=1), instance_number=2)
    assert roles_and_uids(case, later) == roles_and_uids(case, CONTEXT)


def test_another_input_gives_other_instances_in_the_same_series():
    case = make_case()
    digests = {uid: digest.replace("0", "f") for uid, digest in case.stack.digests.items()}
    other = replace(case, stack=replace(case.stack, digests=digests))
    before, after = write_results(case, CONTEXT), write_results(other, CONTEXT)
    assert not {i.sop_instance_uid for i in before} & {i.sop_instance_uid for i in after}
    assert [i.series_instance_uid for i in before] == [i.series_instance_uid for i in after]


def test_other_weights_give_other_instances():
    case = make_case()
    retrained = replace(MODELS[1], weights_sha256="d" * 64)
    other = replace(case, provenance=(StageRecord("segmentation", 1, "cpu", (retrained,)),))
    assert roles_and_uids(other, CONTEXT)["sr"] != roles_and_uids(case, CONTEXT)["sr"]


def test_each_role_has_its_own_instance_and_series():
    items = write_results(make_case(), CONTEXT)
    assert len({item.sop_instance_uid for item in items}) == len(items) == 3
    assert len({item.series_instance_uid for item in items}) == 3
