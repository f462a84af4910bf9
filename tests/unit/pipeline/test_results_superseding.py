"""A result that takes the place of earlier ones: what it names, and what tells it from them."""

import io
from dataclasses import replace

import highdicom as hd
import pytest

from pipeline.results import write_results
from pipeline.results.common import EarlierObject, result_uid
from pipeline.results.source import tolerant_headers
from tests.unit.pipeline.result_cases import (
    CONTEXT,
    STUDY,
    conformance_errors,
    encoded,
    make_case,
    with_context,
)


def earlier_objects(items):
    return tuple(
        EarlierObject(
            item.role, item.sop_instance_uid, item.sop_class_uid, item.series_instance_uid
        )
        for item in items
    )


@pytest.fixture(scope="module")
def first():
    return write_results(make_case(), CONTEXT)


@pytest.fixture(scope="module")
def second(first):
    context = with_context(
        supersedes=earlier_objects(first),
        instance_number=2,
        created_at=CONTEXT.created_at.replace(hour=23),
    )
    return write_results(make_case(), context)


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
        with_context(supersedes=(*earlier_objects(first), *earlier_objects(second))),
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
    left = tuple(one for one in earlier_objects(first) if one.role == "seg_ed")
    items = write_results(make_case(), with_context(supersedes=left))
    assert not {one.sop_instance_uid for one in items} & {one.sop_instance_uid for one in first}
    assert predecessors(items[-1]) == []


def test_the_order_of_what_is_superseded_decides_nothing(first):
    earlier = earlier_objects(first)
    uids = {
        result_uid("sr", make_case(), replace(CONTEXT, supersedes=order))
        for order in (earlier, earlier[::-1])
    }
    assert len(uids) == 1


def test_superseding_objects_conform(second, tmp_path):
    for item in second:
        assert conformance_errors(item, tmp_path) == [], item.role
