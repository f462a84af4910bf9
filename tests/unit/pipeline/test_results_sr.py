"""The report: numbers, what is withheld, references, origin and conformance."""

import io
from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from pipeline.case import QualityFinding, Verdict
from pipeline.results import NODE_MANUFACTURER, write_results
from pipeline.results.codes import QUANTITIES
from pipeline.results.source import tolerant_headers
from tests.unit.pipeline.result_cases import (
    CONTEXT,
    ED,
    ES,
    SERIES,
    VALUES,
    conformance_errors,
    disc_labels,
    encoded,
    make_case,
    saved,
    series_per_slice,
    tool_output,
    with_context,
)

VARIANTS = {
    "classic": {},
    "enhanced": {"enhanced": True},
    "series per slice": {"series_of": series_per_slice},
    "withheld": {"withheld": {"lv_edv": "no LV", "bsa": "no height", "lv_mass_index": "no height"}},
    "no mask": {"labels": np.zeros_like(disc_labels())},
}
by_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
MODIFIER = Code("121425", "DCM", "Index")


def report(case, context=CONTEXT):
    item = write_results(case, context)[-1]
    assert item.role == "sr"
    return item


def reread(item):
    return hd.sr.srread(io.BytesIO(encoded(item)))


def groups(sr):
    (measurements,) = [i for i in sr.content[0].ContentSequence if i.name.value == "126010"]
    return list(measurements.ContentSequence)


def is_indexed(item):
    return any(child.name == MODIFIER for child in item.get("ContentSequence", ()))


def stated(sr, value_type):
    """Items of a value type in all groups, by quantity."""
    names = {(q.code.value, q.indexed): name for name, q in QUANTITIES.items()}
    return {
        names[item.name.value, is_indexed(item)]: item
        for group in groups(sr)
        for item in group.ContentSequence
        if item.ValueType == value_type and (item.name.value, is_indexed(item)) in names
    }


def statements(sr):
    (container,) = [i for i in sr.content[0].ContentSequence if i.name.value == "C0034375"]
    return [item.value for item in container.ContentSequence if item.ValueType == "TEXT"]


def test_every_biomarker_is_stated_once_under_its_code_with_its_unit():
    sr = reread(report(make_case()))
    numbers = stated(sr, "NUM")
    assert {name: (item.value, item.unit.value) for name, item in numbers.items()} == VALUES
    all_numbers = [i for group in groups(sr) for i in group.ContentSequence if i.ValueType == "NUM"]
    assert len(all_numbers) == len(VALUES)


def test_codes_are_those_of_the_dictionaries():
    for quantity in QUANTITIES.values():
        code = quantity.code
        scheme = {"LN": codes.LN, "SCT": codes.SCT}[code.scheme_designator]
        known = [getattr(scheme, keyword) for keyword in scheme.dir()]
        assert [c.meaning for c in known if c == code][:1] == [code.meaning], code


def test_no_two_quantities_share_a_code():
    assert len({(q.code.value, q.indexed) for q in QUANTITIES.values()}) == len(QUANTITIES)


def test_a_withheld_quantity_is_stated_with_its_reason_and_without_a_number():
    withheld = {
        "lv_edv": "the stack ends inside the ventricle, Δ",
        "lv_edv_index": "no height",
        "bsa": "no height",
    }
    item = report(make_case(withheld=withheld))
    sr = reread(item)
    assert not withheld.keys() & stated(sr, "NUM").keys()
    texts = {name: text.value for name, text in stated(sr, "TEXT").items()}
    assert texts == {name: f"Not computed: {reason}" for name, reason in withheld.items()}
    assert len(stated(sr, "NUM")) == len(VALUES) - 3


def test_report_is_partial_exactly_when_something_is_withheld_or_missing():
    assert report(make_case()).dataset.CompletionFlag == "COMPLETE"
    partial = report(make_case(withheld={"bsa": "no height"})).dataset
    assert partial.CompletionFlag == "PARTIAL"
    assert "withheld" in partial.CompletionFlagDescription
    holes = report(make_case(holes=frozenset({(2, 3)}))).dataset
    assert holes.CompletionFlag == "PARTIAL"
    assert "missing" in holes.CompletionFlagDescription


def test_is_unverified_and_preliminary():
    dataset = report(make_case()).dataset
    assert dataset.VerificationFlag == "UNVERIFIED"
    assert dataset.PreliminaryFlag == "PRELIMINARY"
    assert "VerifyingObserverSequence" not in dataset


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
def test_volumes_reference_their_segment_and_its_source_images(enhanced):
    case = make_case(enhanced=enhanced)
    *segs, item = write_results(case, CONTEXT)
    by_uid = {seg.sop_instance_uid: seg for seg in segs}
    found = {}
    volumetric = reread(item).content.get_volumetric_roi_measurement_groups()
    for group in volumetric:
        reference = group.referenced_segment[0]
        seg = by_uid[reference.referenced_sop_instance_uid]
        (number,) = reference.referenced_segment_numbers
        (described,) = [s for s in seg.dataset.SegmentSequence if s.SegmentNumber == number]
        measurement = group.get_measurements()[0]
        found[measurement.name.value] = (seg.role, described.SegmentLabel)
        assert described.TrackingUID == group.tracking_uid
        sources = {
            (image.referenced_sop_instance_uid, tuple(image.referenced_frame_numbers or ()))
            for image in reference_sources(group)
        }
        index = ED if seg.role == "seg_ed" else ES
        value = {"LV cavity": 1, "LV myocardium": 2, "RV cavity": 3}[described.SegmentLabel]
        assert sources == {
            (cell.sop_instance_uid, (cell.frame_number,) if cell.frame_number else ())
            for z, cell in enumerate(case.stack.sources[index])
            if np.any(case.segmentation.labels[index, z] == value)
        }
    assert found == {
        "8821-1": ("seg_ed", "LV cavity"),
        "8823-7": ("seg_es", "LV cavity"),
        "18087-7": ("seg_ed", "LV myocardium"),
        "8822-9": ("seg_ed", "RV cavity"),
        "8824-5": ("seg_es", "RV cavity"),
    }


def reference_sources(group):
    return [
        hd.sr.ImageContentItem.from_dataset(item)
        for item in group[0].ContentSequence
        if item.name == codes.DCM.SourceImageForSegmentation
    ]


def test_a_mask_spread_over_several_segmentations_names_its_source_images():
    case = make_case(series_of=series_per_slice)
    item = report(case)
    assert reread(item).content.get_volumetric_roi_measurement_groups() == []
    edv = next(g for g in groups(reread(item)) if tracking(g) == "LV cavity ED")
    sources = {
        i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for i in edv.ContentSequence
        if i.ValueType == "IMAGE"
    }
    assert sources == {case.stack.sources[ED][z].sop_instance_uid for z in (1, 2, 3, 4)}


def tracking(group):
    (identifier,) = [i.value for i in group.ContentSequence if i.name.value == "112039"]
    return identifier


@by_variant
def test_each_group_has_its_own_tracking_uid(variant):
    sr = reread(report(make_case(**variant)))
    uids = [
        item.value
        for group in groups(sr)
        for item in group.ContentSequence
        if item.name.value == "112040"
    ]
    assert len(uids) == len(set(uids)) == len(groups(sr)) == 8


@by_variant
def test_evidence_holds_what_is_referenced_and_every_segmentation(variant):
    *segs, item = write_results(make_case(**variant), CONTEXT)
    sr = reread(item)
    evidence = {uid for _, _, uid, _ in sr.get_evidence()}
    referenced = {
        i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for i in walk(sr.content[0])
        if i.ValueType == "IMAGE"
    }
    assert evidence == referenced | {seg.sop_instance_uid for seg in segs}
    assert {study for study, *_ in sr.get_evidence()} == {"1.2.3.4"}


def walk(item):
    yield item
    for child in item.get("ContentSequence", ()):
        yield from walk(child)


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
def test_image_library_lists_the_measured_slices_of_both_phases(enhanced):
    case = make_case(enhanced=enhanced)
    sr = reread(report(case))
    (library,) = [i for i in sr.content[0].ContentSequence if i.name.value == "111028"]
    listed = {
        (reference.ReferencedSOPInstanceUID, reference.get("ReferencedFrameNumber"))
        for item in walk(library)
        if item.ValueType == "IMAGE"
        for reference in item.ReferencedSOPSequence
    }
    assert listed == {
        (cell.sop_instance_uid, cell.frame_number)
        for index in (ED, ES)
        for cell in case.stack.sources[index][1:5]
    }


ODD_SERIES = "1.2.0034.1"


def mixed(z):
    """Slices 2 and 4 have valid UIDs, the others a component with a leading zero."""
    return SERIES if z in (2, 4) else f"{ODD_SERIES}.{z + 1}"


@pytest.mark.parametrize("series_of", [lambda _: ODD_SERIES, mixed], ids=["all", "some"])
def test_source_uids_that_break_the_rule_leave_the_report_readable(series_of, tmp_path):
    with tolerant_headers():
        case = make_case(series_of=series_of, header={"FrameOfReferenceUID": "1.2.09"})
        item = report(case, with_context(series_seed=ODD_SERIES))
        sr = reread(item)
        evidence = {uid for _, _, uid, _ in sr.get_evidence()}
    lines = tool_output("dsrdump", saved(item, tmp_path))
    assert not [line for line in lines if line.startswith(("E:", "F:"))]
    assert any("Left Ventricular ED Volume" in line for line in lines)
    used = {
        case.stack.sources[index][z].sop_instance_uid for index in (ED, ES) for z in (1, 2, 3, 4)
    }
    assert used <= evidence
    cited = {
        reference.ReferencedSOPInstanceUID
        for i in walk(sr.content[0])
        if i.ValueType == "IMAGE"
        for reference in i.ReferencedSOPSequence
        if reference.ReferencedSOPClassUID == pydicom.uid.MRImageStorage
    }
    assert cited == {uid for uid in used if "0034" not in uid}
    assert any("evidence only" in sentence for sentence in statements(sr))


def test_dciodvfy_objects_to_nothing_but_source_uids_that_break_the_rule(tmp_path):
    with tolerant_headers():
        case = make_case(series_of=lambda _: ODD_SERIES)
        items = write_results(case, with_context(series_seed=ODD_SERIES))
    for item in items:
        *errors, summary = conformance_errors(item, tmp_path)
        assert "invalid data values" in summary
        assert all("Leading zeroes" in error and f"<{ODD_SERIES}" in error for error in errors)


def test_says_what_it_is_and_how_it_came_about():
    said = statements(reread(report(make_case())))
    assert "Automatic, unverified, not a medical device." in said
    for words in (
        ("cine_unet", "2.1.0", "b" * 64, "CC BY-NC-SA 4.0"),
        ("heart_localiser", "1.0.0", "a" * 64),
        ("End diastole", "phase 5 of 5", "index 4", "172.5 ms"),
        ("End systole", "phase 2 of 5", "index 1", "52.5 ms"),
        ("measured: 2, 3, 4, 5 of 6",),
        ("0.10, 0.90, 0.90, 0.90, 0.90, 0.10",),
        ("review", "coverage_base", "the stack may stop inside the LV"),
        ("passed", "phases_count"),
    ):
        assert any(all(word in sentence for word in words) for sentence in said), words


def test_names_what_is_missing_and_what_is_wrong_in_the_headers():
    with tolerant_headers():
        case = make_case(holes=frozenset({(3, 2)}), header={"StudyDate": "20120000"})
    said = " ".join(statements(reread(report(case))))
    assert "Stack: slice 2: phase 3" in said
    assert "StudyDate" in said


def test_text_beyond_ascii_survives():
    finding = QualityFinding("slice_motion", Verdict.REVIEW, "Δ ≈ 4 mm, «groß»")
    case = replace(make_case(), quality=(finding,))
    assert any("Δ ≈ 4 mm, «groß»" in sentence for sentence in statements(reread(report(case))))


def test_papillary_muscles_are_said_to_count_to_the_cavity():
    sr = reread(report(make_case()))
    about = [i for i in walk(sr.content[0]) if i.name.value == "122670"]
    assert {i.value.value for i in about} == {"122621"}
    assert len(about) == 4


def test_key_phases_are_coded_in_their_groups():
    phases = {
        tracking(group): [
            i.value.value for i in group.ContentSequence if i.name.value == "246092007"
        ]
        for group in groups(reread(report(make_case())))
    }
    assert phases["LV cavity ED"] == phases["RV cavity ED"] == ["416190007"]
    assert phases["LV cavity ES"] == phases["RV cavity ES"] == ["416430001"]
    assert phases["LV function"] == []


def test_the_node_is_the_observer():
    (observer,) = reread(report(make_case())).content.get_observer_contexts()
    attributes = observer.observer_identifying_attributes
    assert observer.observer_type == codes.DCM.Device
    assert attributes.manufacturer_name == NODE_MANUFACTURER
    assert attributes.serial_number == attributes.name == "CAD1"
    assert attributes.physical_location == "Test Hospital"


def test_root_is_an_english_measurement_report_of_a_cardiac_mr():
    root = reread(report(make_case())).content[0]
    assert root.name == Code("126000", "DCM", "Imaging Measurement Report")
    assert root.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    modifiers = {i.name.value: i.value.value for i in root.ContentSequence if i.ValueType == "CODE"}
    assert modifiers["121049"] == "en"
    assert modifiers["121058"] == "241620005"


def test_body_surface_area_names_its_formula():
    item = stated(reread(report(make_case())), "NUM")["bsa"]
    assert [child.value.value for child in item.ContentSequence] == ["122244"]


def test_without_any_mask_the_report_still_states_what_was_found():
    withheld = {name: "no LV was found" for name in VALUES if name not in ("heart_rate", "bsa")}
    (item,) = write_results(
        make_case(labels=np.zeros_like(disc_labels()), withheld=withheld), CONTEXT
    )
    sr = reread(item)
    assert stated(sr, "NUM").keys() == {"heart_rate", "bsa"}
    assert stated(sr, "TEXT").keys() == withheld.keys()


def test_a_case_without_phases_and_slices_has_a_report():
    case = replace(make_case(), phases=None, segmentation=None, relevance=None)
    assert report(case).dataset.CompletionFlag == "COMPLETE"


@by_variant
def test_conforms_to_the_standard_and_can_be_dumped(variant, tmp_path):
    item = report(make_case(**variant))
    assert conformance_errors(item, tmp_path) == []
    lines = tool_output("dsrdump", saved(item, tmp_path))
    assert not [line for line in lines if line.startswith(("E:", "F:"))]
    assert any("Imaging Measurement Report" in line for line in lines)


def test_values_fit_their_representation():
    context = with_context(station_name="", institution="")
    dataset = pydicom.dcmread(io.BytesIO(encoded(report(make_case(), context))))
    assert "StationName" not in dataset
    assert dataset.DeviceSerialNumber == "unnamed"
