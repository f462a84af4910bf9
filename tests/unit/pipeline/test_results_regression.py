"""Volumes by regression in the results: explanation segments, and what the report says of them."""

import io
from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest

from pipeline.results import write_results
from pipeline.stated import completed_findings
from tests.unit.pipeline.result_cases import (
    CONTEXT,
    ED,
    ES,
    MODELS,
    REGRESSOR,
    conformance_errors,
    disc_labels,
    encoded,
    make_case,
    make_regression,
    read,
    saved,
    series_per_slice,
    tool_output,
)

LABEL = "LV cavity, explanation"
VARIANTS = {
    "classic": {},
    "enhanced": {"enhanced": True},
    "series per slice": {"series_of": series_per_slice},
    "missing cells": {"holes": frozenset({(ED, 2), (ES, 4)})},
    "no segmentation mask": {"labels": np.zeros_like(disc_labels())},
}
by_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)


def results(regression=None, **variant):
    return write_results(make_case(regression=regression or make_regression(), **variant), CONTEXT)


def masks_by_source(dataset):
    """Masks of a SEG of one segment by the source instance and frame that they lie on."""
    pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    for frame, mask in zip(dataset.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        yield (source.ReferencedSOPInstanceUID, source.get("ReferencedFrameNumber")), mask > 0


@by_variant
def test_explanations_are_written_where_they_lie(variant):
    case = make_case(regression=make_regression(), **variant)
    items = write_results(case, CONTEXT)
    parts = (("ed", ED, case.regression.explanation_ed), ("es", ES, case.regression.explanation_es))
    for name, index, expected in parts:
        found = {}
        for item in items:
            if item.role.startswith(f"explanation_{name}"):
                assert item.segments == (LABEL,)
                found |= dict(masks_by_source(read(item)))
        cells = case.stack.sources[index]
        drawn = {
            (cell.sop_instance_uid, cell.frame_number): expected[z]
            for z, cell in enumerate(cells)
            if cell is not None and expected[z].any()
        }
        assert found.keys() == drawn.keys()
        for source, mask in drawn.items():
            np.testing.assert_array_equal(found[source], mask)


def test_explanations_have_series_of_their_own_and_name_their_network():
    items = {item.role: item for item in results()}
    assert list(items) == ["seg_ed", "seg_es", "explanation_ed", "explanation_es", "sr"]
    assert len({item.series_instance_uid for item in items.values()}) == 5
    described = {
        role: (str(items[role].dataset.SeriesDescription), int(items[role].dataset.SeriesNumber))
        for role in ("explanation_ed", "explanation_es")
    }
    assert described == {
        "explanation_ed": ("Cardiac CAD ED explanation", 9004),
        "explanation_es": ("Cardiac CAD ES explanation", 9005),
    }
    (segment,) = items["explanation_ed"].dataset.SegmentSequence
    assert segment.SegmentLabel == LABEL
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (
        REGRESSOR.name,
        REGRESSOR.version,
    )
    (drawn, *_) = items["seg_ed"].dataset.SegmentSequence
    (algorithm,) = drawn.SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == MODELS[1].name
    assert drawn.TrackingUID != segment.TrackingUID


def test_an_explanation_without_a_voxel_is_left_out(tmp_path):
    regression = make_regression()
    nothing = np.zeros_like(regression.explanation_es)
    items = results(replace(regression, explanation_es=nothing))
    assert [item.role for item in items] == ["seg_ed", "seg_es", "explanation_ed", "sr"]
    assert conformance_errors(items[-1], tmp_path) == []
    assert set(volume_groups(items)) == {"8821-1", "18087-7", "8822-9", "8824-5"}


def volume_groups(items):
    """TID 1411 groups of the report by the code of their number."""
    sr = hd.sr.srread(io.BytesIO(encoded(items[-1])))
    return {
        group.get_measurements()[0].name.value: group
        for group in sr.content.get_volumetric_roi_measurement_groups()
    }


def test_lv_volumes_refer_to_their_explanation_and_the_others_to_their_segment():
    items = results()
    by_uid = {item.sop_instance_uid: item for item in items}
    found = {}
    for code, group in volume_groups(items).items():
        reference = group.referenced_segment[0]
        item = by_uid[reference.referenced_sop_instance_uid]
        (number,) = reference.referenced_segment_numbers
        segment = item.dataset.SegmentSequence[number - 1]
        assert segment.TrackingUID == group.tracking_uid
        algorithm = next(i.value for i in group[0].ContentSequence if i.name.value == "111001")
        found[code] = (item.role, segment.SegmentLabel, algorithm)
    segmenter = MODELS[1].name
    assert found == {
        "8821-1": ("explanation_ed", LABEL, REGRESSOR.name),
        "8823-7": ("explanation_es", LABEL, REGRESSOR.name),
        "18087-7": ("seg_ed", "LV myocardium", segmenter),
        "8822-9": ("seg_ed", "RV cavity", segmenter),
        "8824-5": ("seg_es", "RV cavity", segmenter),
    }


def test_the_report_says_how_lv_volumes_were_measured():
    regressed, plain = (
        read(items[-1]).to_json() for items in (results(), write_results(make_case(), CONTEXT))
    )
    for words in ("measured by regression", f"Network {REGRESSOR.name} {REGRESSOR.version}"):
        assert words in regressed
        assert words not in plain


@by_variant
def test_conforms_to_the_standard(variant, tmp_path):
    for item in results(**variant):
        assert conformance_errors(item, tmp_path) == [], item.role
    lines = tool_output("dsrdump", saved(item, tmp_path))
    assert not [line for line in lines if line.startswith(("E:", "F:"))]


def test_equal_input_gives_equal_bytes():
    assert [encoded(item) for item in results()] == [encoded(item) for item in results()]


def test_findings_list_the_explanations_and_the_network():
    case = make_case(regression=make_regression())
    items = write_results(case, CONTEXT)
    found = completed_findings(case, items, pipeline="cine", numeric_backend="test")
    assert [(one.role, one.segments) for one in found.objects[2:4]] == [
        ("explanation_ed", (LABEL,)),
        ("explanation_es", (LABEL,)),
    ]
    assert REGRESSOR.name in [model.name for model in found.provenance.models]
