"""A result that takes the place of earlier ones: what it names, and what tells it from them."""

import io

import highdicom as hd
import numpy as np
import pytest
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage

from config.schema import PROFILES
from pipeline.results import write_results
from pipeline.results.common import result_uid
from pipeline.results.source import tolerant_headers
from tests.unit.pipeline.result_cases import (
    CONTEXT,
    STUDY,
    case_without_es,
    conformance_errors,
    encoded,
    make_case,
    series_per_slice,
    superseding,
    with_context,
)
from tests.unit.pipeline.test_results_sr import groups, reread, statements


@pytest.fixture(scope="module")
def first():
    return write_results(make_case(), CONTEXT)


@pytest.fixture(scope="module")
def second(first):
    return write_results(make_case(), superseding(first))


def predecessors(item):
    return [
        (study.StudyInstanceUID, series.SeriesInstanceUID, one.ReferencedSOPInstanceUID)
        for study in item.dataset.get("PredecessorDocumentsSequence", ())
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]


def test_a_report_names_the_reports_it_supersedes_and_nothing_else(first, second):
    report = first[-1]
    assert predecessors(report) == []
    assert predecessors(second[-1]) == [
        (STUDY, report.series_instance_uid, report.sop_instance_uid)
    ]
    third = write_results(
        make_case(),
        superseding((*first, *second)),
    )
    assert [uid for _, _, uid in predecessors(third[-1])] == [
        report.sop_instance_uid,
        second[-1].sop_instance_uid,
    ]


def test_every_object_is_new_and_stands_in_the_series_it_always_had(first, second):
    assert [one.role for one in second] == [one.role for one in first]
    for older, newer in zip(first, second, strict=True):
        assert newer.sop_instance_uid != older.sop_instance_uid
        assert newer.series_instance_uid == older.series_instance_uid
        assert newer.dataset.InstanceNumber > older.dataset.InstanceNumber
        moments = [(o.dataset.ContentDate, o.dataset.ContentTime) for o in (older, newer)]
        assert moments == sorted(set(moments))


def test_the_new_report_rests_on_the_new_segmentations(first, second):
    with tolerant_headers():
        report = hd.sr.srread(io.BytesIO(encoded(second[-1])))
    groups = report.content.get_volumetric_roi_measurement_groups()
    segments = {group.referenced_segment.referenced_sop_instance_uid for group in groups}
    assert segments == {item.sop_instance_uid for item in second[:-1]}
    content = encoded(second[-1])
    assert not [item for item in first[:-1] if item.sop_instance_uid.encode() in content]


def test_what_a_segmentation_had_left_alone_counts_too(first):
    """A report that never left is not named, but the segmentation beside the new one is newer."""
    left = [one for one in first if one.role == "seg_ed"]
    items = write_results(make_case(), superseding(left))
    assert not {one.sop_instance_uid for one in items} & {one.sop_instance_uid for one in first}
    assert predecessors(items[-1]) == []


def test_the_order_of_what_is_superseded_decides_nothing(first):
    uids = {result_uid("sr", make_case(), superseding(order)) for order in (first, first[::-1])}
    assert len(uids) == 1


def test_a_report_says_which_result_it_replaces(first, second):
    assert "Replaces the result of 2031-07-05 00:30:15 CEST." in statements(reread(second[-1]))
    assert not any(text.startswith("Replaces") for text in statements(reread(first[-1])))


@pytest.fixture(scope="module")
def whole():
    return write_results(make_case(), CONTEXT, PROFILES)


@pytest.fixture(scope="module")
def withdrawing(whole):
    return write_results(case_without_es(), superseding(whole), PROFILES)


def test_the_newest_of_each_series_of_masks_and_numbers_is_of_the_newest_result(whole, withdrawing):
    newest = {one.series_instance_uid: one for one in (*whole, *withdrawing)}
    for item in whole:
        if item.sop_class_uid in (SegmentationStorage, Comprehensive3DSRStorage):
            successor = newest[item.series_instance_uid]
            assert successor in withdrawing
            for keyword in ("Modality", "SeriesNumber", "SeriesDescription"):
                assert successor.dataset[keyword] == item.dataset[keyword]
    ended = [one.role for one in withdrawing[-3:]]
    assert sorted(ended) == ["key_seg_es", "key_sr_es", "seg_es"]


def test_a_segmentation_that_ends_a_series_marks_nothing_and_says_so(withdrawing):
    (item,) = (one for one in withdrawing if one.role == "seg_es")
    assert item.segments == ("Withdrawn",)
    seg = hd.seg.segread(io.BytesIO(encoded(item)))
    (segment,) = seg.SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "125040"
    assert seg.pixel_array.any() == np.False_
    (source,) = {uid for _, _, uid in seg.get_source_image_uids()}
    assert source in make_case().stack.headers


def test_a_report_that_ends_a_series_has_no_number_and_names_what_it_ends(whole, withdrawing):
    (item,) = (one for one in withdrawing if one.role == "key_sr_es")
    (ended,) = (one for one in whole if one.role == "key_sr_es")
    assert [uid for _, _, uid in predecessors(item)] == [ended.sop_instance_uid]
    (group,) = groups(reread(item))
    said = {child.value for child in group.ContentSequence if child.ValueType == "TEXT"}
    assert {"Withdrawn: the result that replaces this one has nothing in its place."} < said
    assert not [child for child in group.ContentSequence if child.ValueType == "NUM"]
    assert ended.sop_instance_uid not in {one.sop_instance_uid for one in withdrawing}


def test_a_series_goes_on_when_its_masks_come_back(whole, withdrawing):
    third = write_results(
        make_case(), superseding((*whole, *withdrawing), instance_number=3), PROFILES
    )
    assert sorted(one.role for one in third) == sorted(one.role for one in whole)


def test_a_profile_that_nobody_gets_any_more_ends_nothing(whole):
    assert [one.role for one in write_results(make_case(), superseding(whole))] == [
        "seg_ed",
        "seg_es",
        "sr",
    ]


def test_series_of_a_stack_that_was_joined_with_this_one_end(first):
    """Each half of a cine that came as two stacks had a report of its own."""
    other = write_results(make_case(), with_context(series_seed="1.2.3.4.5"))
    items = write_results(make_case(), superseding((*first, *other)))
    ended = {one.series_instance_uid: one for one in items[3:]}
    assert ended.keys() == {one.series_instance_uid for one in other}
    assert len({one.role for one in items}) == len(items)
    report = ended[other[-1].series_instance_uid]
    assert [uid for _, _, uid in predecessors(report)] == [other[-1].sop_instance_uid]
    again = write_results(make_case(), superseding((*first, *other, *items), instance_number=3))
    assert [one.role for one in again] == [one.role for one in items]


def test_slices_with_a_series_each_lose_theirs_alone():
    first = write_results(make_case(series_of=series_per_slice), CONTEXT)
    labels = make_case().segmentation.labels.copy()
    labels[:, 4] = 0
    items = write_results(make_case(series_of=series_per_slice, labels=labels), superseding(first))
    ended = [one for one in items if one.segments == ("Withdrawn",)]
    assert len(ended) == 2
    for one in ended:
        (source,) = one.dataset.ReferencedSeriesSequence
        assert source.SeriesInstanceUID == series_per_slice(4)


def test_superseding_objects_conform(second, withdrawing, tmp_path):
    for item in (*second, *withdrawing[-3:]):
        assert conformance_errors(item, tmp_path) == [], item.role
