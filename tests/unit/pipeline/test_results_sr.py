"""The report: numbers, what is withheld, references, origin and conformance."""

import io
import re
from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from pipeline.aha import APEX_NOT_SHOWN
from pipeline.case import Biomarker, QualityFinding, Verdict
from pipeline.results import NODE_MANUFACTURER, write_results
from pipeline.results.codes import AHA_SEGMENTS, PRIVATE_SCHEME, QUANTITIES, in_report
from pipeline.results.source import tolerant_headers
from pipeline.results.statements import CHECK_TITLES
from pipeline.stages.biomarkers import WALL
from tests.unit.pipeline.cine_cases import OracleRegressor, drawn_case
from tests.unit.pipeline.lge_cases import lge_case
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
    read,
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
OF_PATIENT = {"age": (59, "a"), "height": (1.7, "m"), "weight": (74, "kg")}
TID_3602 = {"8302-2": "Patient Height", "29463-7": "Patient Weight"}  # in no dictionary of pydicom
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
    expected = VALUES | OF_PATIENT
    assert {name: (item.value, item.unit.value) for name, item in numbers.items()} == {
        name: (float(in_report(value, unit)), unit) for name, (value, unit) in expected.items()
    }
    all_numbers = [i for group in groups(sr) for i in group.ContentSequence if i.ValueType == "NUM"]
    assert len(all_numbers) == len(expected)


def test_numbers_are_stated_as_precisely_as_they_are_meant(tmp_path):
    item = report(make_case())
    written = {
        name: str(number.MeasuredValueSequence[0].NumericValue)
        for name, number in stated(reread(item), "NUM").items()
    }
    expected = {
        "lv_edv": "151.2",
        "lv_ef": "60.0",
        "lv_mass": "101.5",
        "heart_rate": "61.0",
        "lv_mass_index": "54.2",
        "cardiac_output": "5.50",
        "bsa": "1.87",
        "cardiac_output_index": "2.94",
    }
    assert {name: written[name] for name in expected} == expected
    for number in stated(reread(item), "NUM").values():
        assert "FloatingPointValue" not in number.MeasuredValueSequence[0]
    assert any('="5.50" (l/min' in line for line in tool_output("dsrdump", saved(item, tmp_path)))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(-0.04, "ml", "0.0"), (-3.26, "%", "-3.3"), (12.0, "mm", "12.0"), (0.996, "m2", "1.00")],
)
def test_rounding_is_that_of_the_unit(value, unit, text):
    assert in_report(value, unit) == text


def test_codes_are_those_of_the_dictionaries():
    for name, quantity in QUANTITIES.items():
        code = quantity.code
        if code.scheme_designator == PRIVATE_SCHEME:
            parts = zip(code.value.split("_"), name.split("_"), strict=True)
            assert all(whole.startswith(part) for part, whole in parts)
            continue
        if code.value in TID_3602:
            assert code == Code(code.value, "LN", TID_3602[code.value])
            continue
        scheme = getattr(codes, code.scheme_designator)
        known = [getattr(scheme, keyword) for keyword in scheme.dir()]
        assert [c.meaning for c in known if c == code][:1] == [code.meaning], code


def test_sites_of_segments_are_those_of_the_context_group():
    group = [getattr(codes.cid3717, keyword) for keyword in codes.cid3717.dir()]
    stated = {code.value: code.meaning for code in AHA_SEGMENTS.values()}
    assert stated == {code.value: code.meaning for code in group}


def test_no_two_quantities_share_a_code_or_a_name():
    """But wall thickness, which site and group tell apart."""
    told = [q for q in QUANTITIES.values() if q.code != codes.DCM.WallThickness]
    assert len(told) == len(QUANTITIES) - 2 * 17
    assert len({q.code.value for q in told}) == len(told)
    assert len({q.code.meaning for q in told}) == len(told)


def wall_biomarkers():
    """Thickness n mm at ED, 1.5 n at ES; the wall of segment 5 is open, 17 is not assessed."""
    for name in WALL:
        segment = int(name.split("_")[-1])
        share = {"ed": 1, "es": 1.5, "wall": 0.5}[name.split("_")[0]]
        reason = {5: "the wall of segment 5 is open", 17: APEX_NOT_SHOWN}.get(segment)
        yield Biomarker(name, None if reason else share * segment, "mm", reason)


def test_wall_thickness_is_stated_by_phase_and_segment(tmp_path):
    case = make_case()
    item = report(replace(case, biomarkers=(*case.biomarkers, *wall_biomarkers())))
    sr = reread(item)
    by_title = {tracking(group): group for group in groups(sr)}
    sites = {code.value: number for number, code in AHA_SEGMENTS.items()}
    for title, code, share, phase in (
        ("Wall thickness ED", "122445", 1, "416190007"),
        ("Wall thickness ES", "122445", 1.5, "416430001"),
        ("Wall thickening", None, 0.5, None),
    ):
        items = by_title[title].ContentSequence
        numbers = [i for i in items if i.ValueType == "NUM"]
        found = {
            sites[child.value.value]: number.value
            for number in numbers
            for child in number.ContentSequence
            if child.name == codes.SCT.FindingSite
        }
        assert found == {n: pytest.approx(share * n, abs=0.06) for n in range(1, 17) if n != 5}
        assert {number.name.value for number in numbers} == {code} or code is None
        assert {number.unit.value for number in numbers} == {"mm"}
        phases = [i.value.value for i in items if i.name.value == "246092007"]
        assert phases == ([phase] if phase else [])
        reasons = [i.value for i in items if i.ValueType == "TEXT" and "Not computed" in i.value]
        assert reasons == [
            "Not computed: the wall of segment 5 is open",
            f"Not computed: {APEX_NOT_SHOWN}",
        ]
    little = (
        "AHA segments that thicken by less than 2 mm from end diastole to end systole: 1, 2, 3."
    )
    assert little in statements(sr)
    assert conformance_errors(item, tmp_path) == []


def test_what_is_indexed_is_named_so_in_any_viewer(tmp_path):
    item = report(make_case())
    path = saved(item, tmp_path)
    page = [re.sub(r"<[^>]*>", "", line).strip() for line in tool_output("dsr2html", path)]
    dump = tool_output("dsrdump", path)
    for name in VALUES:
        meaning = QUANTITIES[name].code.meaning
        assert meaning.endswith("Index") == name.endswith("_index"), name
        assert page.count(meaning + ":") == 1, name
        assert sum(f'"{meaning}")=' in line for line in dump) == 1, name
    (scheme,) = item.dataset.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == PRIVATE_SCHEME


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
    assert len(stated(sr, "NUM")) == len(VALUES | OF_PATIENT) - 3


def test_report_is_partial_exactly_when_something_is_withheld_or_missing():
    assert report(make_case()).dataset.CompletionFlag == "COMPLETE"
    partial = report(make_case(withheld={"bsa": "no height"})).dataset
    assert partial.CompletionFlag == "PARTIAL"
    assert "withheld" in partial.CompletionFlagDescription
    apex = Biomarker("wall_thickening_17", None, "mm", APEX_NOT_SHOWN)  # of no stack
    whole = replace(make_case(), biomarkers=(*make_case().biomarkers, apex))
    assert report(whole).dataset.CompletionFlag == "COMPLETE"
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


def test_the_first_text_is_the_disclaimer(tmp_path):
    item = report(make_case())
    texts = [i for i in walk(reread(item).content[0]) if i.ValueType == "TEXT"]
    assert texts[0].value == "Automatic measurement, unverified, not a medical device."
    path = saved(item, tmp_path)
    for tool in ("dsr2html", "dsrdump"):
        shown = "\n".join(tool_output(tool, path))
        assert 0 < shown.index("Automatic measurement") < shown.index("Image Library"), tool
    assert "unverified" in item.dataset.SeriesDescription


def test_says_how_it_came_about():
    said = statements(reread(report(make_case())))
    for words in (
        ("cine_unet", "2.1.0", "b" * 64, "CC BY-NC-SA 4.0"),
        ("heart_localiser", "1.0.0", "a" * 64),
        ("End diastole", "phase 5 of 5", "172 ms after the R wave"),
        ("End systole", "phase 2 of 5", "52 ms after the R wave"),
        ("measured: 2, 3, 4, 5 of 6",),
        ("LV volume curve", "60.0 at 12 ms, 82.5 at 52 ms", "150.0 at 172 ms."),
        ("Basal coverage, to be reviewed: the stack may stop inside the LV",),
        ("passed: number of cardiac phases",),
    ):
        assert any(all(word in sentence for word in words) for sentence in said), words


def test_times_that_no_image_states_are_called_estimates():
    case = make_case()
    case = replace(case, stack=replace(case.stack, times_are_estimates=True))
    said = " ".join(statements(reread(report(case))))
    assert "phase 5 of 5, 172 ms by an estimate" in said
    assert "LV volume curve, in ml over an estimated time: 60.0 at 12 ms" in said
    assert "R wave" not in said


def test_names_what_is_missing_and_what_is_wrong_in_the_headers():
    with tolerant_headers():
        case = make_case(holes=frozenset({(3, 2)}), header={"StudyDate": "20120000"})
    said = " ".join(statements(reread(report(case))))
    assert "Image stack: slice 2: phase 3." in said
    assert "StudyDate" in said


def test_texts_are_sentences_in_plain_words():
    withheld = QualityFinding("rv_ef_range", Verdict.WITHHELD, "no ejection fraction")
    newer = QualityFinding("some_new_check", Verdict.REVIEW, "seen")
    case = make_case()
    case = replace(case, quality=(*case.quality, withheld, newer))
    said = statements(reread(report(case)))
    assert "RV ejection fraction, numbers withheld: no ejection fraction." in said
    assert "Some new check, to be reviewed: seen." in said
    assert all(sentence.endswith(".") for sentence in said)
    checks = [finding.check for finding in case.quality]
    assert not [sentence for sentence in said if any(check in sentence for check in checks)]


def test_every_check_of_the_chain_has_a_title():
    cases = (drawn_case(OracleRegressor()), lge_case())
    checks = {finding.check for case in cases for finding in case.quality}
    only_where_it_is_so = {"blank_images", "body_agreement", "ecg_page"}
    assert checks | only_where_it_is_so == CHECK_TITLES.keys()


def test_a_number_known_to_be_biased_says_so_beside_it(tmp_path):
    reason = "on average measured 14 ml too high"
    known = QualityFinding(
        "rv_known_error", Verdict.REVIEW, reason, concerns=("rv_esv", "rv_esv_index")
    )
    item = report(replace(make_case(withheld={"rv_esv_index": "no height"}), quality=(known,)))
    beside = {
        tracking(group)
        for group in groups(reread(item))
        for child in group.ContentSequence
        if child.ValueType == "TEXT" and child.value == f"To be reviewed: {reason}."
    }
    assert beside == {"RV cavity ES"}  # the index has no number
    assert f"RV, error of the network on test patients, to be reviewed: {reason}." in statements(
        reread(item)
    )
    assert conformance_errors(item, tmp_path) == []


def test_a_missing_image_is_named_once():
    case = make_case(holes=frozenset({(3, 2)}))
    missing = QualityFinding("missing_images", Verdict.REVIEW, f"missing: {case.stack.missing[0]}")
    said = statements(reread(report(replace(case, quality=(missing,)))))
    assert sum(case.stack.missing[0] in sentence for sentence in said) == 1


def test_what_a_passed_check_notes_of_the_stack_is_no_finding_against_the_numbers():
    case = make_case(holes=frozenset({(3, 2)}))
    note = case.stack.missing[0]
    whole = QualityFinding("missing_images", Verdict.OK, f"the grid is whole; noted: {note}")
    for quality, name in (((whole,), "comment"), ((), "finding")):
        items = walk(reread(report(replace(case, quality=quality))).content[0])
        told = [i.name.meaning.lower() for i in items if note in str(getattr(i, "value", ""))]
        assert told == [name]


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


def with_header(**header):
    return reread(report(make_case(header=header)))


def properties(item):
    """Normality, limits, description and authority beside a number."""
    return {child.name.value: child for child in item.get("ContentSequence", ())}


def test_numbers_stand_beside_the_normal_range_of_the_sex_with_its_authority():
    numbers = stated(reread(report(make_case())), "NUM")  # a woman of 59
    beside = properties(numbers["lv_edv"])
    assert (beside["385524004"].value, beside["371933006"].value) == (80, 175)
    assert beside["385524004"].unit.value == "ml"
    assert beside["121408"].value == "Petersen 2017, JCMR 19:18"
    assert "women of 45 to 74 years, papillary muscles in cavity" in beside["121407"].value
    normality = {name: properties(item).get("121402") for name, item in numbers.items()}
    flags = {name: item.value.meaning for name, item in normality.items() if item is not None}
    assert flags["lv_edv"] == "Normal"
    assert flags["lv_ef"] == "Normal"
    assert flags.keys().isdisjoint({"lv_mass", "rv_ef", "bsa", "age"})
    men = stated(with_header(PatientSex="M"), "NUM")
    assert properties(men["lv_edv"])["371933006"].value == 232


def test_numbers_outside_the_normal_range_are_coded_so():
    case = make_case()
    changed = {"lv_edv": 175.06, "lv_esv": 24.9, "lv_sv": 110.04}
    biomarkers = tuple(
        replace(one, value=changed.get(one.name, one.value)) for one in case.biomarkers
    )
    numbers = stated(reread(report(replace(case, biomarkers=biomarkers))), "NUM")
    normality = {name: properties(numbers[name])["121402"].value for name in changed}
    assert normality == {
        "lv_edv": codes.SCT.AbnormallyHigh,
        "lv_esv": codes.SCT.AbnormallyLow,
        "lv_sv": codes.SCT.Normal,  # 110.0 as the report states it
    }


@pytest.mark.parametrize(
    ("header", "range_shown", "reason"),
    [
        ({"PatientSex": "O"}, False, "the images state neither male nor female"),
        ({"PatientSex": None}, False, "the images state neither male nor female"),
        ({"PatientBirthDate": ""}, False, "the images state neither birth date nor age"),
        ({"PatientAge": "030Y"}, False, "contradict each other"),
        ({"PatientBirthDate": "20200101"}, False, "those of adults"),
        ({"PatientBirthDate": "19900101"}, True, "the range is that of healthy women of 45 to 74"),
    ],
)
def test_who_does_not_fit_a_range_gets_no_flag_and_the_reason(header, range_shown, reason):
    sr = with_header(**header)
    beside = properties(stated(sr, "NUM")["lv_edv"])
    assert ("385524004" in beside) == range_shown
    assert "121402" not in beside
    (said,) = [text for text in statements(sr) if reason in text and "Not judged" in text]
    assert "Left Ventricular ED Volume" in said


def test_demographics_are_stated_with_what_is_unknown():
    sr = reread(report(make_case()))
    assert (
        "Demographics used: sex female; age 59 years; height 1.70 m; weight 74 kg."
        in statements(sr)
    )
    (sex,) = [
        i.value for g in groups(sr) for i in g.ContentSequence if i.name == codes.DCM.SubjectSex
    ]
    assert sex == codes.DCM.Female
    unknown = with_header(PatientSex="O", PatientSize=None)
    assert any(
        "sex unknown (the images state neither male nor female); age 59 years; "
        "height unknown (the images state no height)" in text
        for text in statements(unknown)
    )
    assert not [i for g in groups(unknown) for i in g.ContentSequence if i.name.value == "121032"]


def test_without_any_mask_the_report_still_states_what_was_found():
    withheld = {name: "no LV was found" for name in VALUES if name not in ("heart_rate", "bsa")}
    (item,) = write_results(
        make_case(labels=np.zeros_like(disc_labels()), withheld=withheld), CONTEXT
    )
    sr = reread(item)
    assert stated(sr, "NUM").keys() == {"heart_rate", "bsa", *OF_PATIENT}
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
    dataset = read(report(make_case(), context))
    assert "StationName" not in dataset
    assert dataset.DeviceSerialNumber == "unnamed"
