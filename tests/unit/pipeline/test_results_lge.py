"""SEG and report of late enhancement, alone and joined with the cine of its study."""

import io

import highdicom as hd
import numpy as np
import pytest
from pydicom.sr.coding import Code

from pipeline.companion import companion_of
from pipeline.lge_case import LeftOut
from pipeline.results import write_results
from pipeline.results.codes import AHA_SEGMENTS, PRIVATE_SCHEME, QUANTITIES, SCAR_METHODS, in_report
from tests.unit.pipeline.lge_cases import (
    CAVITY,
    INFARCT,
    MYOCARDIUM,
    NO_REFLOW,
    drawn_truth,
    lge_case,
)
from tests.unit.pipeline.result_cases import (
    CONTEXT,
    conformance_errors,
    encoded,
    saved,
    tool_output,
)
from tests.unit.pipeline.test_lge import cine_findings
from tests.unit.pipeline.test_results_sr import groups, reread, statements

METHOD = Code("370129005", "SCT", "Measurement Method")
LABELS = {"LV cavity": CAVITY, "LV myocardium": MYOCARDIUM, "Scar": INFARCT, "No-reflow": NO_REFLOW}


@pytest.fixture(scope="module")
def written():
    return write_results(lge_case(), CONTEXT)


@pytest.fixture(scope="module")
def joined():
    return lge_case(companion=companion_of([cine_findings()]))


def numbers(report):
    return {
        item.name.value: item
        for group in groups(reread(report))
        for item in group.ContentSequence
        if item.ValueType == "NUM"
    }


def test_the_masks_are_on_their_source_images(written):
    seg = hd.seg.segread(io.BytesIO(encoded(written[0])))
    case = lge_case()
    for number in seg.segment_numbers:
        label = seg.get_segment_description(number).segment_label
        for z, source in enumerate(case.stack.sources[0]):
            pixels = seg.get_pixels_by_source_instance(
                [source.sop_instance_uid],
                ignore_spatial_locations=False,
                segment_numbers=[number],
                assert_missing_frames_are_empty=True,
            )
            np.testing.assert_array_equal(pixels[0, ..., 0] > 0, drawn_truth()[z] == LABELS[label])
    assert written[0].role == "seg_lge"
    assert written[0].segments == tuple(LABELS)


def test_objects_conform(written, joined, tmp_path):
    for item in (*written, *write_results(joined, CONTEXT)):
        assert conformance_errors(item, tmp_path) == []
    assert any("Scar Mass" in line for line in tool_output("dsrdump", saved(written[-1], tmp_path)))


def test_each_number_names_its_method(written):
    found = numbers(written[-1])
    case = lge_case()
    for biomarker in case.biomarkers:
        if biomarker.value is None:
            continue
        item = found[QUANTITIES[biomarker.name].code.value]
        assert item.name.scheme_designator == PRIVATE_SCHEME
        assert item.value == float(in_report(biomarker.value, biomarker.unit))
        method = QUANTITIES[biomarker.name].method
        stated = [child.value for child in item.get("ContentSequence", ()) if child.name == METHOD]
        assert stated == ([method] if method else []), biomarker.name
    assert set(SCAR_METHODS.values()) <= {
        child.value
        for item in found.values()
        for child in item.get("ContentSequence", ())
        if child.name == METHOD
    }


def test_a_heart_without_scar_has_no_scar_segment_and_says_so():
    objects = write_results(lge_case(drawn_truth(scar=False)), CONTEXT)
    assert objects[0].segments == ("LV cavity", "LV myocardium")
    told = ["No scar found.", "Infarct unlikely, probability 0.05."]
    assert statements(reread(objects[-1]))[:2] == told
    assert numbers(objects[-1])["scar_mass_netw"].value == 0


def test_infarct_or_not_is_told_with_its_probability(written):
    assert "Infarct likely, probability 1.00." in statements(reread(written[-1]))


def test_images_and_what_was_left_out_are_told():
    left_out = tuple(
        LeftOut(f"1.9.{n}", "1.9", None, "a later image of it counts") for n in range(2)
    )
    case = lge_case(left_out=left_out, phase_sensitive=True)
    told = " ".join(statements(reread(write_results(case, CONTEXT)[-1])))
    assert "Measured on phase-sensitive images, inversion time 300 ms" in told
    assert "Left out: 2 images, a later image of it counts." in told
    assert "Late enhancement slices taken to show the left ventricle, and measured: 2, 3," in told


def test_withheld_segments_are_told_once(written):
    texts = [
        item.value
        for group in groups(reread(written[-1]))
        for item in group.ContentSequence
        if item.ValueType == "TEXT" and item.name.value == "transmurality"
    ]
    assert len(texts) == 2
    assert "no cine of the same study" in texts[0]


def test_a_joined_report_holds_volumes_and_scar(joined):
    report = write_results(joined, CONTEXT)[-1]
    found = numbers(report)
    beside = {one.name: one.value for one in joined.companion.biomarkers}
    for name in ("lv_edv", "lv_ef", "rv_esv", "lv_mass"):
        code = QUANTITIES[name].code.value
        assert found[code].value == pytest.approx(beside[name], abs=0.06), name
    assert "scar_mass_netw" in found
    sites = {
        name: [child.value for child in item.ContentSequence if child.name.value == "363698007"]
        for name, item in found.items()
        if name.startswith("transmurality")
    }
    assert sites["transmurality_12"] == [AHA_SEGMENTS[12]]
    told = statements(reread(report))
    assert any(joined.companion.report_uid in line for line in told)
    for model in joined.companion.models:
        assert any(line.startswith(f"Of the cine: Network {model.name} ") for line in told)
    assert joined.companion.models
    assert "late enhancement" in report.dataset.SeriesDescription


def test_joining_makes_other_objects_in_the_same_series(written, joined):
    again = write_results(joined, CONTEXT)
    for alone, both in zip(written, again, strict=True):
        assert alone.sop_instance_uid != both.sop_instance_uid
        assert alone.series_instance_uid == both.series_instance_uid


def test_equal_cases_give_equal_bytes(written):
    again = write_results(lge_case(), CONTEXT)
    assert [encoded(one) for one in again] == [encoded(one) for one in written]


def test_code_values_fit_their_attribute():
    assert max(len(quantity.code.value) for quantity in QUANTITIES.values()) <= 16
