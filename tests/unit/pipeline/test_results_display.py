"""What is written for viewers that show nothing on a cine: key images, and what refers to them."""

from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest

from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY, SEGMENT_LABELS
from pipeline.headers import read_header
from pipeline.results import write_results
from pipeline.results.codes import QUANTITIES
from pipeline.results.display import write_display
from pipeline.results.source import tolerant_headers
from tests.acceptance.studies import sentences
from tests.unit.pipeline.lge_cases import lge_case
from tests.unit.pipeline.result_cases import (
    CONTEXT,
    ED,
    ES,
    SLICES,
    VALUES,
    basis_of,
    conformance_errors,
    disc_labels,
    encoded,
    filled,
    make_case,
    make_regression,
    read,
    saved,
    series_per_slice,
    with_context,
)

PHASES = {"ed": ED, "es": ES}


def make_images(case):
    """The case with images whose values tell them apart."""
    frames = np.zeros_like(case.stack.frames)
    for index in np.ndindex(frames.shape[:2]):
        frames[index] = 100 * index[0] + 10 * index[1]
    frames += np.arange(frames.shape[3], dtype=np.float32)
    return replace(case, stack=replace(case.stack, frames=frames))


def square(case):
    """The case with square pixels; those of the test cases are oblong."""
    return replace(case, stack=replace(case.stack, pixel_spacing_mm=(1.4, 1.4)))


def written(case, context=CONTEXT):
    """What is written on key images, and these; of a case with square pixels."""
    with tolerant_headers():
        return tuple(write_display(basis_of(square(case), context)))


def display(case, context=CONTEXT):
    """The same by role, decoded from its bytes."""
    return {item.role: read(item) for item in written(case, context)}


@pytest.fixture(scope="module")
def objects():
    return display(make_images(make_case()))


def key_images(objects, phase):
    return [objects[f"key_{phase}_{z + 1:02d}"] for z in range(SLICES)]


def groups_of(report):
    report = hd.sr.Comprehensive3DSR.from_dataset(report)
    return report.content.get_planar_roi_measurement_groups()


def image_of(group):
    """SOP Instance UID of the image that a group has its outline on."""
    return group.roi.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID


def test_a_profile_writes_what_it_needs():
    def roles(*profiles):
        return {item.role for item in write_results(make_case(), CONTEXT, profiles)}

    full = {"seg_ed", "seg_es", "sr"}
    copies = {f"key_{phase}_{z + 1:02d}" for phase in PHASES for z in range(SLICES)}
    drawn = {"key_seg_ed", "key_seg_es", "key_sr_ed", "key_sr_es"}
    assert roles("full") == full
    assert roles("legacy") == {*full, "page", "pdf"}
    assert roles("display") == {*full, *copies, *drawn, "pdf"}


@pytest.mark.parametrize("phase", PHASES)
def test_key_images_hold_the_pixels_of_their_phase_and_name_their_source(objects, phase):
    stack = make_images(make_case()).stack
    for z, image in enumerate(key_images(objects, phase)):
        np.testing.assert_array_equal(image.pixel_array, stack.frames[PHASES[phase], z])
        source = stack.sources[PHASES[phase]][z]
        (named,) = image.SourceImageSequence
        assert named.ReferencedSOPInstanceUID == source.sop_instance_uid
        assert named.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        header = stack.headers[source.sop_instance_uid]
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
            assert image[keyword].value == header[keyword].value
        assert image.PixelSpacing == [1.4, 1.4]
        assert image.FrameOfReferenceUID == header.FrameOfReferenceUID
        assert image.ImageType[:2] == ["DERIVED", "PRIMARY"]
        assert float(image.TriggerTime) == source.trigger_time_ms


def test_of_oblong_pixels_the_copies_are_square_and_what_is_drawn_goes_with_them(tmp_path):
    """OHIF takes the sides of a pixel for each other where it draws outlines."""
    case = make_case()
    rows, columns = np.mgrid[: case.stack.frames.shape[2], : case.stack.frames.shape[3]]
    frames = np.broadcast_to(70.0 * rows + columns, case.stack.frames.shape).astype(np.float32)
    case = replace(case, stack=replace(case.stack, frames=frames))
    with tolerant_headers():
        items = write_display(basis_of(case))
        found = {item.role: (item, read(item)) for item in items}
    _, image = found["key_ed_03"]
    down, across = case.stack.pixel_spacing_mm
    assert (down, across) == (1.4, 1.1)
    assert image.PixelSpacing == [1.1, 1.1]
    assert image.DerivationDescription.endswith("interpolated to square pixels")
    first = case.stack.headers[case.stack.sources[ED][2].sop_instance_uid]
    assert image.ImagePositionPatient == first.ImagePositionPatient
    assert image.Rows % 8 == 0
    assert (image.Rows - 1) * 1.1 >= (frames.shape[2] - 1) * 1.4 - 1.1
    assert image.Columns == frames.shape[3]
    at = np.minimum(np.arange(image.Rows) * 1.1 / 1.4, frames.shape[2] - 1)
    expected = 70 * at[:, None] + np.arange(image.Columns)
    np.testing.assert_allclose(image.pixel_array, expected, atol=0.51)

    labels = disc_labels()[ED, 2] == LV_CAVITY
    mm2 = np.count_nonzero(labels) * down * across
    seg = hd.seg.Segmentation.from_dataset(found["key_seg_ed"][1])
    (number,) = seg.get_segment_numbers(segment_label="LV cavity")
    (mask,) = seg.get_pixels_by_source_instance(
        [image.SOPInstanceUID], segment_numbers=[number], assert_missing_frames_are_empty=True
    )[..., 0]
    assert np.count_nonzero(mask) * 1.1 * 1.1 == pytest.approx(mm2, rel=0.1)
    (group,) = [
        one for one in groups_of(found["key_sr_ed"][1])
        if one.tracking_identifier == "LV cavity ED, slice 3"
    ]  # fmt: skip
    inside = filled(group.roi.value, mask.shape)
    assert np.count_nonzero(inside != (mask > 0)) <= 0.05 * np.count_nonzero(mask)
    for item, _ in found.values():
        assert conformance_errors(item, tmp_path) == [], item.role


def test_no_trigger_time_is_stated_that_the_source_does_not_state():
    case = make_case()
    estimated = replace(case, stack=replace(case.stack, times_are_estimates=True))
    for found in (display(estimated)["key_ed_01"], display(lge_case())["key_lge_01"]):
        assert found.TriggerTime is None  # type 2C (PS3.3 C.8.3.1)


def test_each_phase_of_each_result_has_a_series_of_its_own(objects):
    later = display(make_case(), with_context(instance_number=2, settings_digest="e" * 64))
    series = [
        {image.SeriesInstanceUID for image in key_images(found, phase)}
        for found in (objects, later)
        for phase in PHASES
    ]
    assert [len(one) for one in series] == [1, 1, 1, 1]
    assert len(set().union(*series)) == 4
    words = [key_images(found, "ed")[0].SeriesDescription for found in (objects, later)]
    assert words == ["ED key images, cardiac CAD", "Result 2: ED key images, cardiac CAD"]
    for role in ("key_seg_ed", "key_seg_es", "key_sr_ed", "key_sr_es"):
        assert objects[role].SeriesInstanceUID == later[role].SeriesInstanceUID
        assert (objects[role].InstanceNumber, later[role].InstanceNumber) == (1, 2)


def test_the_same_case_gives_the_same_bytes():
    first, second = (written(make_case()) for _ in range(2))
    assert [encoded(item) for item in first] == [encoded(item) for item in second]


def test_the_node_knows_key_images_as_its_own(tmp_path):
    for item in written(make_case()):
        assert read_header(saved(item, tmp_path)).written_by_node, item.role


@pytest.mark.parametrize("phase", PHASES)
def test_masks_lie_on_the_key_images_of_their_phase(objects, phase):
    labels = disc_labels()[PHASES[phase]]
    images = {image.SOPInstanceUID: z for z, image in enumerate(key_images(objects, phase))}
    seg = hd.seg.Segmentation.from_dataset(objects[f"key_seg_{phase}"])
    drawn = [uid for uid, z in images.items() if labels[z].any()]
    assert {uid for _, _, uid in seg.get_source_image_uids()} == {*drawn}
    for number in seg.segment_numbers:
        label = seg.get_segment_description(number).segment_label
        (value,) = [value for value, name in SEGMENT_LABELS.items() if name == label]
        pixels = seg.get_pixels_by_source_instance(
            drawn,
            segment_numbers=[number],
            combine_segments=False,
            assert_missing_frames_are_empty=True,
        )
        for uid, mask in zip(drawn, pixels[..., 0], strict=True):
            np.testing.assert_array_equal(mask > 0, labels[images[uid]] == value)


@pytest.mark.parametrize("phase", PHASES)
def test_every_group_is_an_outline_on_a_key_image(objects, phase):
    report = objects[f"key_sr_{phase}"]
    (measured,) = [
        item for item in report.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    ]  # fmt: skip
    groups = groups_of(report)
    assert len(groups) == len(measured.ContentSequence)
    assert len({group.tracking_uid for group in groups}) == len(groups)
    uids = {image.SOPInstanceUID for image in key_images(objects, phase)}
    for group in groups:
        assert image_of(group) in uids
        assert not group.finding_sites


@pytest.mark.parametrize("phase", PHASES)
def test_outlines_enclose_what_was_drawn(objects, phase):
    labels = disc_labels()[PHASES[phase]]
    images = {image.SOPInstanceUID: z for z, image in enumerate(key_images(objects, phase))}
    inside = {
        "LV cavity": (LV_CAVITY,),
        "LV myocardium": (LV_CAVITY, LV_MYOCARDIUM),
        "RV cavity": (RV_CAVITY,),
    }
    outlined = set()
    for group in groups_of(objects[f"key_sr_{phase}"]):
        z = images[image_of(group)]
        name = group.tracking_identifier
        mask = np.isin(labels[z], inside[name.split(f" {phase.upper()},")[0]])
        assert name.endswith(f"slice {z + 1}")
        points = group.roi.value
        np.testing.assert_array_equal(points[0], points[-1])
        np.testing.assert_array_equal(filled(points, mask.shape), mask)
        outlined.add(name)
    assert len(outlined) == sum(np.unique(labels[z]).size - 1 for z in range(SLICES))


def test_every_number_can_be_read_in_boxes_of_five_on_images_of_their_own(objects):
    found, places = {}, []
    for group in groups_of(objects["key_sr_ed"]):
        numbers = group.get_measurements()
        assert len(numbers) <= 5
        for number in numbers:
            found[number.name.value, number.name.scheme_designator] = number.value
        if numbers:
            places.append(image_of(group))
    expected = {
        (QUANTITIES[name].code.value, QUANTITIES[name].code.scheme_designator): value
        for name, (value, _) in VALUES.items()
    }
    assert found == pytest.approx(expected, abs=0.051)
    drawn = 4
    assert len(set(places[:drawn])) == drawn <= len(places)


def test_the_later_phase_states_its_own_numbers(objects):
    names = [
        number.name.meaning
        for group in groups_of(objects["key_sr_es"])
        for number in group.get_measurements()
    ]
    assert names == ["LV ESV", "RV ESV"]


def test_what_is_withheld_has_its_reason():
    case = make_case(withheld={"lv_ef": "the base is not covered"})
    report = display(case)["key_sr_ed"]
    assert "Not computed: the base is not covered" in sentences(report)
    assert "8811-2" not in {
        number.name.value for one in groups_of(report) for number in one.get_measurements()
    }


def test_what_was_not_drawn_has_no_key_images():
    labels = disc_labels()
    labels[ES] = 0
    roles = {*display(make_case(labels=labels))}
    assert {role for role in roles if "_es" in role} == set()
    assert {"key_ed_01", "key_seg_ed", "key_sr_ed"} <= roles


def test_missing_images_have_no_copy():
    found = display(make_case(holes=frozenset({(ED, 2)})))
    assert "key_ed_03" not in found
    assert "key_es_03" in found


def test_a_phase_drawn_only_where_its_image_is_missing_has_no_key_images():
    labels = disc_labels()
    labels[ES, [1, 3, 4]] = 0
    roles = {*display(make_case(labels=labels, holes=frozenset({(ES, 2)})))}
    assert {role for role in roles if "_es" in role} == set()
    assert {"key_ed_03", "key_seg_ed", "key_sr_ed"} <= roles


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([-700.0, 0.0, 1500.0], id="signed"),
        pytest.param([0.25, 11.5, 900.125], id="fractions"),
        pytest.param([0.0, 70000.0, 65536.0], id="beyond 16 bits"),
        pytest.param([3.5, 3.5, 3.5], id="flat"),
    ],
)
def test_other_values_are_kept_to_a_65535th_of_their_range(values):
    case = make_case()
    frames = np.broadcast_to(
        np.resize(np.array(values, np.float32), case.stack.frames.shape[3]), case.stack.frames.shape
    )
    image = display(replace(case, stack=replace(case.stack, frames=frames)))["key_ed_01"]
    shown = image.pixel_array * float(image.get("RescaleSlope", 1)) + float(
        image.get("RescaleIntercept", 0)
    )
    np.testing.assert_allclose(shown, frames[ED, 0], atol=np.ptp(values) / 65535 + 1e-5)


FORMS = {
    "enhanced": {"enhanced": True},
    "series per slice": {"series_of": series_per_slice},
    "regression": {"regression": make_regression()},
    "bare header": {
        "header": {"FrameOfReferenceUID": None, "Manufacturer": None, "StudyTime": None}
    },
    "odd header": {
        "header": {
            "ImageType": ["ORIGINAL", "PRIMARY", "M", "RETRO"],
            "ScanningSequence": ["GR", "SE"],
            "ScanOptions": ["FS", "PPG"],
            "WindowCenter": ["300", "400"],
            "WindowWidth": ["600", "700"],
            "PhotometricInterpretation": "MONOCHROME2",
            "AcquisitionDate": "20120000",
        }
    },
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_display_objects_conform(form, tmp_path):
    for item in of_each_kind(written(make_case(**form))):
        assert conformance_errors(item, tmp_path) == [], item.role


def test_what_the_source_says_of_its_making_is_taken_over():
    image = display(make_case(header=FORMS["odd header"]["header"]))["key_ed_01"]
    assert image.ImageType == ["DERIVED", "PRIMARY", "M", "RETRO"]
    assert image.ScanningSequence == ["GR", "SE"]
    assert image.ScanOptions == ["FS", "PPG"]
    assert (image.WindowCenter, image.WindowWidth) == (300, 600)
    assert "AcquisitionDate" not in image
    scanner = image.ContributingEquipmentSequence[0]
    assert (scanner.Manufacturer, scanner.ManufacturerModelName) == ("ACME", "Magnet")


def test_late_enhancement_has_key_images_too(tmp_path):
    items = written(lge_case())
    roles = {item.role for item in items}
    assert {"key_seg_lge", "key_sr_lge"} <= roles
    (report,) = [item for item in items if item.role == "key_sr_lge"]
    names = {
        number.name.value
        for group in groups_of(report.dataset)
        for number in group.get_measurements()
    }
    assert "lge_lv_mass" in names
    assert not [name for name in names if name.startswith("transmurality")]
    for item in of_each_kind(items):
        assert conformance_errors(item, tmp_path) == [], item.role


def of_each_kind(items):
    """The objects but for further images of a series."""
    return [item for item in items if not item.role[-1].isdigit() or item.role.endswith("_01")]
