"""SEG of ED and ES: voxels, geometry, references, identity and conformance."""

import io
import logging
import time
from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY, SEGMENT_LABELS
from pipeline.results import NODE_MANUFACTURER, write_results
from pipeline.results.source import header_notes, tolerant_headers
from tests.unit.pipeline.result_cases import (
    CONTEXT,
    ED,
    ES,
    OBLIQUE,
    PATIENT,
    PIXEL_SPACING_MM,
    SLICES,
    conformance_errors,
    disc_labels,
    encoded,
    make_case,
    read,
    series_per_slice,
    with_context,
)

VARIANTS = {
    "classic": {},
    "enhanced": {"enhanced": True},
    "series per slice": {"series_of": series_per_slice},
    "missing cells": {"holes": frozenset({(ED, 2), (ES, 4)})},
}
by_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)


def segmentations(case, context=CONTEXT):
    return [item for item in write_results(case, context) if item.role.startswith("seg")]


def reread(item):
    return hd.seg.segread(io.BytesIO(encoded(item)))


def numbers_by_label(seg):
    return {
        seg.get_segment_description(number).segment_label: number for number in seg.segment_numbers
    }


def read_mask(seg, source, label):
    """Mask [y, x] of a segment on a source image; zero where the SEG does not name it."""
    number = numbers_by_label(seg).get(label)
    if number is None:
        return np.zeros((seg.Rows, seg.Columns), bool)
    lookup = {"segment_numbers": [number], "assert_missing_frames_are_empty": True}
    if source.frame_number is None:
        pixels = seg.get_pixels_by_source_instance(
            [source.sop_instance_uid], ignore_spatial_locations=False, **lookup
        )
    else:
        pixels = seg.get_pixels_by_source_frame(
            source.sop_instance_uid, [source.frame_number], **lookup
        )
    return pixels[0, :, :, 0] > 0


def named_sources(seg):
    """Source instance and frame that each SEG frame names."""
    for item in seg.PerFrameFunctionalGroupsSequence:
        (derivation,) = item.DerivationImageSequence
        (source,) = derivation.SourceImageSequence
        yield source.ReferencedSOPInstanceUID, source.get("ReferencedFrameNumber")


@by_variant
def test_every_voxel_lies_on_the_source_image_it_was_drawn_on(variant):
    case = make_case(**variant)
    checked = 0
    for phase, index in (("ed", ED), ("es", ES)):
        segs = [reread(s) for s in segmentations(case) if s.role.startswith(f"seg_{phase}")]
        for z in range(SLICES):
            source = case.stack.sources[index][z]
            if source is None:
                continue
            holders = [seg for seg in segs if named(seg, source)]
            for value, label in SEGMENT_LABELS.items():
                expected = case.segmentation.labels[index, z] == value
                if not holders:
                    assert not case.segmentation.labels[index, z].any()
                    continue
                np.testing.assert_array_equal(read_mask(holders[0], source, label), expected)
                checked += int(expected.sum())
    assert checked > 300


def named(seg, source):
    return (source.sop_instance_uid, source.frame_number) in set(named_sources(seg))


@by_variant
def test_frames_exist_only_where_a_source_image_has_a_mask(variant):
    case = make_case(**variant)
    for phase, index in (("ed", ED), ("es", ES)):
        labels, sources = case.segmentation.labels[index], case.stack.sources[index]
        expected = sorted(
            (sources[z].sop_instance_uid, sources[z].frame_number or 0)
            for z in range(SLICES)
            for value in SEGMENT_LABELS
            if sources[z] and np.any(labels[z] == value)
        )
        found = sorted(
            (uid, frame or 0)
            for item in segmentations(case)
            if item.role.startswith(f"seg_{phase}")
            for uid, frame in named_sources(item.dataset)
        )
        assert found == expected


@by_variant
def test_geometry_of_each_frame_is_that_of_its_source(variant):
    case = make_case(**variant)
    for item in segmentations(case):
        seg = item.dataset
        (shared,) = seg.SharedFunctionalGroupsSequence
        orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        np.testing.assert_allclose(orientation, OBLIQUE.ravel(), atol=1e-9)
        spacing = shared.PixelMeasuresSequence[0].PixelSpacing
        assert tuple(map(float, spacing)) == PIXEL_SPACING_MM
        at = {
            (cell.sop_instance_uid, cell.frame_number): case.stack.positions_mm[z]
            for row in case.stack.sources
            for z, cell in enumerate(row)
            if cell
        }
        frames = zip(seg.PerFrameFunctionalGroupsSequence, named_sources(seg), strict=True)
        for frame, source in frames:
            position = frame.PlanePositionSequence[0].ImagePositionPatient
            np.testing.assert_allclose(np.array(position, float), at[source], atol=1e-5)


def test_position_is_copied_from_the_source_to_the_last_digit():
    case = make_case()
    seg = segmentations(case)[0].dataset
    frames = zip(seg.PerFrameFunctionalGroupsSequence, named_sources(seg), strict=True)
    for frame, (uid, _) in frames:
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert list(map(str, position)) == list(
            map(str, case.stack.headers[uid].ImagePositionPatient)
        )


def test_enhanced_source_is_named_once_per_instance_with_its_own_class():
    seg = segmentations(make_case(enhanced=True))[0].dataset
    (series,) = seg.ReferencedSeriesSequence
    (instance,) = series.ReferencedInstanceSequence
    assert instance.ReferencedSOPClassUID == pydicom.uid.EnhancedMRImageStorage
    assert {s.ReferencedSOPInstanceUID for s in seg.SourceImageSequence} == {
        instance.ReferencedSOPInstanceUID
    }
    frames = [source.ReferencedFrameNumber for source in seg.SourceImageSequence]
    assert sorted(frames) == [ED * SLICES + n for n in (2, 3, 4, 5)]


def test_segments_are_coded_coloured_and_name_their_algorithm():
    seg = segmentations(make_case())[0].dataset
    described = {s.SegmentLabel: s for s in seg.SegmentSequence}
    types = {
        "LV cavity": codes.SCT.LeftVentricle,
        "LV myocardium": codes.SCT.LeftVentricleMyocardium,
        "RV cavity": codes.SCT.RightVentricle,
    }
    assert list(described) == list(types)
    for label, segment in described.items():
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == types[label].value
        assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"
        assert segment.AnatomicRegionSequence[0].CodeValue == "80891009"
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        assert segment.SegmentAlgorithmName == "cine_unet"
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        assert algorithm.AlgorithmVersion == "2.1.0"
        assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"
        assert "b" * 64 in algorithm.AlgorithmParameters
    colours = {tuple(s.RecommendedDisplayCIELabValue) for s in described.values()}
    assert len(colours) == 3
    assert seg.SegmentationType == "BINARY"


def test_a_structure_without_a_voxel_has_no_segment():
    labels = disc_labels()
    labels[ED][labels[ED] == LV_MYOCARDIUM] = 0
    case = make_case(labels=labels)
    ed, es = segmentations(case)
    assert ed.segments == ("LV cavity", "RV cavity")
    assert es.segments == ("LV cavity", "LV myocardium", "RV cavity")
    assert numbers_by_label(reread(ed)) == {"LV cavity": 1, "RV cavity": 2}
    source = case.stack.sources[ED][2]
    np.testing.assert_array_equal(
        read_mask(reread(ed), source, "RV cavity"), labels[ED, 2] == RV_CAVITY
    )


def test_a_phase_without_a_mask_has_no_segmentation():
    labels = disc_labels()
    labels[ES] = 0
    assert [item.role for item in write_results(make_case(labels=labels), CONTEXT)] == [
        "seg_ed",
        "sr",
    ]


def test_a_case_that_was_not_segmented_has_none_either():
    case = replace(make_case(), segmentation=None, phases=None)
    assert [item.role for item in write_results(case, CONTEXT)] == ["sr"]


def test_a_mask_of_one_voxel_survives():
    labels = np.zeros_like(disc_labels())
    labels[ED, 3, 31, 0] = LV_CAVITY
    case = make_case(labels=labels)
    (seg,) = segmentations(case)
    mask = read_mask(reread(seg), case.stack.sources[ED][3], "LV cavity")
    assert np.argwhere(mask).tolist() == [[31, 0]]


def test_split_stack_has_one_segmentation_per_source_series():
    case = make_case(series_of=series_per_slice)
    context = with_context(series_seed=series_per_slice(2))
    items = segmentations(case, context)
    assert len(items) == 8
    assert len({item.role for item in items}) == 8
    assert len({item.series_instance_uid for item in items}) == 8
    for item in items:
        (series,) = item.dataset.ReferencedSeriesSequence
        plain = series.SeriesInstanceUID == context.series_seed
        assert (item.role in ("seg_ed", "seg_es")) == plain
    assert sum(item.role == "seg_ed" for item in items) == 1


def test_roles_of_one_series_are_plain_whatever_seeded_the_stack():
    items = segmentations(make_case(), with_context(series_seed="1.2.3.99"))
    assert [item.role for item in items] == ["seg_ed", "seg_es"]


def test_a_slice_that_arrives_later_leaves_the_other_roles_alone():
    early = make_case(
        series_of=series_per_slice, holes=frozenset((t, 1) for t in range(ES, ED + 1)) | {(0, 1)}
    )
    roles = {item.role for item in segmentations(early)}
    assert roles < {item.role for item in segmentations(make_case(series_of=series_per_slice))}


def test_lies_in_the_study_of_the_source_under_the_name_of_the_node():
    for item in write_results(make_case(), CONTEXT):
        dataset = read(item)
        for keyword in PATIENT.keys() - {"Manufacturer", "ManufacturerModelName"}:
            if keyword == "FrameOfReferenceUID" and item.role == "sr":
                continue
            assert str(dataset[keyword].value) == PATIENT[keyword], keyword
        assert dataset.Manufacturer == NODE_MANUFACTURER
        assert dataset.SoftwareVersions == "0.1.0"
        assert dataset.DeviceSerialNumber == "CAD1"
        assert dataset.StationName == "CAD1"
        assert dataset.InstitutionName == "Test Hospital"
        assert dataset.InstanceNumber == 1
        assert dataset.SOPInstanceUID == item.sop_instance_uid
        assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
        assert dataset.SeriesInstanceUID == item.series_instance_uid
        assert dataset.SOPClassUID == item.sop_class_uid


def test_series_are_told_apart_by_description_and_number():
    described = {
        (str(item.dataset.SeriesDescription), int(item.dataset.SeriesNumber))
        for item in write_results(make_case(), CONTEXT)
    }
    assert described == {
        ("Cardiac CAD report, cine, automatic, unverified", 9001),
        ("Cardiac CAD ED segmentation", 9002),
        ("Cardiac CAD ES segmentation", 9003),
    }


def test_times_are_those_of_the_context_in_the_zone_of_the_site():
    for item in write_results(make_case(), CONTEXT):
        dataset = item.dataset
        assert dataset.TimezoneOffsetFromUTC == "+0200"
        for event in ("Content", "InstanceCreation"):
            assert str(dataset[f"{event}Date"].value) == "20310705"
            assert str(dataset[f"{event}Time"].value) == "003015.250000"
        stamps = {
            str(equipment.ContributionDateTime)
            for equipment in dataset.ContributingEquipmentSequence
            if "ContributionDateTime" in equipment
        }
        assert stamps == {"20310705003015.250000+0200"}


def test_contributing_equipment_names_scanner_networks_and_node():
    (seg, _) = segmentations(make_case())
    named_equipment = [
        (item.Manufacturer, item.ManufacturerModelName, item.get("SoftwareVersions"))
        for item in seg.dataset.ContributingEquipmentSequence
    ]
    assert named_equipment[0] == ("ACME", "Magnet", None)
    assert (NODE_MANUFACTURER, "heart_localiser", "1.0.0") in named_equipment
    assert (NODE_MANUFACTURER, "cine_unet", "2.1.0") in named_equipment
    assert named_equipment[-1] == (NODE_MANUFACTURER, "Cine short-axis analysis", "0.1.0")


@by_variant
def test_equal_input_gives_equal_bytes_at_any_time(variant):
    first = [encoded(item) for item in write_results(make_case(**variant), CONTEXT)]
    time.sleep(1.1)
    second = [encoded(item) for item in write_results(make_case(**variant), CONTEXT)]
    assert first == second


NAMES = {
    "UTF-8": ("ISO_IR 192", "Müller^Zoë", None),
    "Latin-1": ("ISO_IR 100", "Müller^Zoë", None),
    "Greek": ("ISO_IR 126", "Διονυσιος", None),
    "Japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", None),
    "Chinese": (
        ["", "ISO 2022 IR 58"],
        "Zhang^XiaoDong=张^小东",
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab",
    ),
    "undeclared Latin-1": (None, "Müller^Zoë", "Müller^Zoë".encode("latin-1")),
    "undeclared UTF-8": (None, "Müller^Zoë", "Müller^Zoë".encode()),
    "ASCII": (None, "Doe^Jane", None),
}


@pytest.mark.parametrize(("declared", "name", "raw"), NAMES.values(), ids=NAMES)
def test_patient_name_survives_in_any_character_set(declared, name, raw):
    case = make_case(header={"SpecificCharacterSet": declared, "PatientName": raw or name})
    for item in write_results(case, CONTEXT):
        dataset = read(item)
        assert dataset.SpecificCharacterSet == "ISO_IR 192"
        assert str(dataset.PatientName) == name


BROKEN = {
    "PatientBirthDate": "00000000",
    "StudyDate": "20120000",
    "StudyTime": "9:15",
    "PatientSex": "FEMALE",
    "StudyID": "x" * 17,
    "PatientAge": "45",
    "StudyDescription": "a\nb",
}


def test_invalid_values_are_left_empty_and_named_and_the_header_is_not_touched():
    with tolerant_headers():
        case = make_case(header=BROKEN)
        before = [header.to_json() for header in case.stack.headers.values()]
    for item in write_results(case, CONTEXT):
        for keyword in BROKEN:
            assert item.dataset.get(keyword, "") in ("", None), keyword
    (note,) = header_notes(case.stack)
    assert all(keyword in note for keyword in BROKEN)
    assert "FEMALE" not in note
    with tolerant_headers():
        assert [header.to_json() for header in case.stack.headers.values()] == before


def test_identity_is_copied_verbatim_even_when_it_breaks_a_rule():
    odd = {"PatientID": "I" * 70, "PatientName": "Doe Jane", "AccessionNumber": "A" * 20}
    with tolerant_headers():
        case = make_case(header=odd)
    for item in write_results(case, CONTEXT):
        assert {keyword: str(item.dataset[keyword].value) for keyword in odd} == odd


OPTIONAL = (
    *("PatientBirthDate", "PatientSex", "PatientSize", "PatientWeight", "StudyDate", "StudyTime"),
    *("StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription"),
    *("Manufacturer", "ManufacturerModelName"),
)


def test_a_header_with_the_least_is_enough(tmp_path):
    case = make_case(header=dict.fromkeys(OPTIONAL))
    assert header_notes(case.stack) == ()
    for item in write_results(case, CONTEXT):
        assert conformance_errors(item, tmp_path) == []


def test_no_patient_data_reach_the_log(caplog):
    with caplog.at_level(logging.DEBUG):
        write_results(make_case(header={"PatientName": "Identifiable"}), CONTEXT)
    assert "Identifiable" not in caplog.text
    assert PATIENT["PatientID"] not in caplog.text


def test_uids_with_leading_zeros_are_copied_verbatim():
    odd = {"StudyInstanceUID": "1.2.099.1", "FrameOfReferenceUID": "1.2.09"}
    with tolerant_headers():
        case = make_case(header=odd, series_of=lambda _: "1.2.0034.1")
    for item in segmentations(case, with_context(series_seed="1.2.0034.1")):
        with tolerant_headers():
            dataset = read(item)
            str(dataset)
        assert dataset.StudyInstanceUID == odd["StudyInstanceUID"]
        assert dataset.FrameOfReferenceUID == odd["FrameOfReferenceUID"]
        assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.0034.1"
        assert all(uid.startswith("1.2.0034.1.") for uid, _ in named_sources(dataset))


def test_another_frame_of_reference_per_image_is_noted_and_the_first_kept():
    case = make_case()
    for number, header in enumerate(case.stack.headers.values()):
        header.FrameOfReferenceUID = f"1.2.3.{number + 1}"
    (note,) = header_notes(case.stack)
    assert "frame of reference" in note
    assert {item.dataset.FrameOfReferenceUID for item in segmentations(case)} == {"1.2.3.1"}


def test_sources_without_a_frame_of_reference_get_one_for_the_stack(tmp_path):
    case = make_case(header={"FrameOfReferenceUID": None})
    *segs, report = write_results(case, CONTEXT)
    (uid,) = {item.dataset.FrameOfReferenceUID for item in segs}
    assert uid.startswith("2.25.")
    for item in (*segs, report):
        assert conformance_errors(item, tmp_path) == []


def test_a_jitter_of_orientation_is_no_obstacle():
    case = make_case()
    source = case.stack.sources[ED][2]
    jittered = [*OBLIQUE[0], *(OBLIQUE[1] + 1e-7)]
    case.stack.headers[source.sop_instance_uid].ImageOrientationPatient = [
        f"{cosine:.8f}" for cosine in jittered
    ]
    assert len(segmentations(case)) == 2


@by_variant
def test_conforms_to_the_standard(variant, tmp_path):
    for item in segmentations(make_case(**variant)):
        assert conformance_errors(item, tmp_path) == [], item.role
