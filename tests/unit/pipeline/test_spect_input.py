"""From NM tomograms to stress and rest: which view, where the heart lies, and what is refused."""

import copy
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, SecondaryCaptureImageStorage

from dicom_node.phantom_spect import write_spect_study
from models.spect_axis import oriented
from models.tomogram import Tomogram
from pipeline.errors import Rejection
from pipeline.pixels import DecodedInstance, decode_instance
from pipeline.spect_input import (
    PerfusionView,
    display_capture,
    perfusion_study,
    perfusion_view,
)


def decoded(path):
    uid = str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)
    return decode_instance(path, uid)


@pytest.fixture(scope="module")
def instances(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spect")
    write_spect_study(folder, 5, kind="normal")
    return [decoded(path) for path in sorted(folder.glob("*.dcm"))]


@pytest.fixture(scope="module")
def views(instances):
    return [perfusion_view(instance) for instance in instances]


def changed(instance, images=None, **attributes):
    """The instance with other attributes; None takes one away."""
    header = copy.deepcopy(instance.header)
    for keyword, value in attributes.items():
        if value is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, value)
    return DecodedInstance(header, "0", instance.images if images is None else images)


def refused(instance):
    with pytest.raises(Rejection) as caught:
        perfusion_view(instance)
    return caught.value.code


def item(**attributes):
    found = Dataset()
    for keyword, value in attributes.items():
        setattr(found, keyword, value)
    return found


def test_both_views_of_the_phantom_are_read(views, instances):
    stress, rest = views
    assert (stress.view, rest.view) == ("stress", "rest")
    assert stress.told_by == "ImageID"
    assert stress.tomogram.counts.shape == instances[0].images.shape
    assert not stress.prone
    assert not stress.corrected
    assert stress.digest == instances[0].digest
    assert perfusion_study(views).picture().shape == (224, 224, 3)


def test_the_heart_lies_where_the_truth_says(tmp_path):
    import json

    truth = json.loads(write_spect_study(tmp_path, 6).read_text())
    for path, view in zip(sorted(tmp_path.glob("*.dcm")), ("stress", "rest"), strict=True):
        found = perfusion_view(decoded(path)).ventricle
        true = truth["series"][view]["left_ventricle"]
        middle = np.array(true["base_mm"]) + 0.5 * true["length_mm"] * np.array(true["axis"])
        apart = found.base_mm + 0.5 * found.length_mm * found.axis - middle
        assert np.linalg.norm(apart) < 8
        assert found.axis @ true["axis"] > np.cos(np.radians(10))


@pytest.mark.parametrize(
    ("attributes", "view"),
    [
        ({"ImageID": "ReconStress pron"}, "stress"),
        ({"ImageID": "ReconRest-1"}, "rest"),
        ({"ImageID": "restored", "SeriesDescription": "MIBI_STRESS_IRAC"}, "stress"),
        ({"ImageID": "STRESS/REST", "SeriesDescription": "Ruhe"}, "rest"),
        ({"ImageID": None, "SeriesDescription": "Esforço"}, "stress"),
        ({"ImageID": None, "SeriesDescription": "x", "ProtocolName": "Treadmill"}, "stress"),
    ],
)
def test_words_tell_the_view(instances, attributes, view):
    assert perfusion_view(changed(instances[0], **attributes)).view == view


def test_a_code_of_the_state_comes_before_words(instances):
    state = item(CodeValue="128975004", CodingSchemeDesignator="SCT", CodeMeaning="Resting State")
    name = item(CodeValue="109054", CodingSchemeDesignator="DCM", CodeMeaning="Patient State")
    context = item(ValueType="CODE", ConceptNameCodeSequence=[name], ConceptCodeSequence=[state])
    found = perfusion_view(changed(instances[0], AcquisitionContextSequence=[context]))
    assert found.view == "rest"
    assert "code" in found.told_by


@pytest.mark.parametrize(
    ("attributes", "corrected"),
    [
        ({"CorrectedImage": ["ATTN", "SCAT"]}, True),
        ({"CorrectedImage": "ATTN"}, True),
        ({"SeriesDescription": "STRESS IRAC"}, True),
        ({"SeriesDescription": "Stress NAC", "CorrectedImage": ["SCAT"]}, False),
    ],
)
def test_corrected_attenuation_is_stated_or_named(instances, attributes, corrected):
    assert perfusion_view(changed(instances[0], **attributes)).corrected is corrected


@pytest.mark.parametrize("description", ["Series 2", "forest", "Stress and rest"])
def test_a_view_that_nothing_tells_is_refused(instances, description):
    instance = changed(instances[0], ImageID="Recon", SeriesDescription=description)
    assert refused(instance) == "unknown_view"


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"SOPClassUID": MRImageStorage}, "not_perfusion"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]}, "not_reconstructed"),
        ({"ImageType": ["ORIGINAL", "PRIMARY"]}, "not_reconstructed"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO", "TRANSMISSION"]}, "not_perfusion"),
        ({"NumberOfEnergyWindows": 2}, "several_windows"),
        ({"SliceVector": None}, "no_geometry"),
        ({"SliceVector": [1, 2, 3]}, "no_geometry"),
        ({"PixelSpacing": None}, "no_geometry"),
        ({"PixelSpacing": [0, 0]}, "no_geometry"),
        ({"DetectorInformationSequence": None}, "no_geometry"),
        ({"DetectorInformationSequence": []}, "no_geometry"),
        ({"SpacingBetweenSlices": None, "SliceThickness": None}, "no_geometry"),
        ({"SeriesDescription": "Stress VLA"}, "long_axis"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(instances, attributes, code):
    assert refused(changed(instances[0], **attributes)) == code


def test_orientation_that_is_none_or_no_number_is_refused(instances):
    for cosines in ([1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 2, 0], [1, 0, 0]):
        detector = item(ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=cosines)
        instance = changed(instances[0], DetectorInformationSequence=[detector])
        assert refused(instance) == "no_geometry"


def test_a_volume_without_a_heart_is_refused(instances):
    noise = np.random.default_rng(0).poisson(20, instances[0].images.shape).astype(np.float32)
    assert refused(changed(instances[0], images=noise)) == "no_left_ventricle"
    empty = np.zeros_like(noise)
    assert refused(changed(instances[0], images=empty)) == "no_left_ventricle"


def test_few_slices_are_refused(instances):
    few = changed(
        instances[0], images=instances[0].images[:5], SliceVector=[1, 2, 3, 4, 5], NumberOfSlices=5
    )
    assert refused(few) == "no_geometry"


def test_slices_are_ordered_by_their_vector_and_stacked_by_the_sign_of_their_spacing(instances):
    first = instances[0]
    number = len(first.images)
    step = abs(float(first.header.SpacingBetweenSlices))
    detector = copy.deepcopy(first.header.DetectorInformationSequence[0])
    x, y, z = (float(value) for value in detector.ImagePositionPatient)
    detector.ImagePositionPatient = [x, y, round(z - step * (number - 1), 4)]
    turned = changed(
        first,
        images=first.images[::-1],
        SpacingBetweenSlices=step,
        DetectorInformationSequence=[detector],
    )
    shuffled = changed(first, images=first.images[::-1], SliceVector=list(range(number, 0, -1)))
    plain = perfusion_view(first)
    for other in (turned, shuffled):
        found = perfusion_view(other)
        np.testing.assert_allclose(found.ventricle.base_mm, plain.ventricle.base_mm, atol=1.5)
        np.testing.assert_allclose(found.ventricle.axis, plain.ventricle.axis, atol=0.06)


def test_time_slots_of_a_gated_tomogram_are_added_up(instances):
    first = instances[0]
    number = len(first.images)
    gated = changed(
        first,
        images=np.concatenate([first.images * 0.25, first.images * 0.75]),
        ImageType=["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"],
        SliceVector=[*range(1, number + 1), *range(1, number + 1)],
    )
    found = perfusion_view(gated)
    assert found.gated
    assert not perfusion_view(first).gated
    np.testing.assert_allclose(found.tomogram.counts, first.images, rtol=1e-5, atol=1e-2)
    ungated = changed(gated, ImageType=["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"])
    assert refused(ungated) == "no_geometry"


def short_axis(instance, plain, apex_first, **attributes):
    """The heart of a view as makers write a short axis: anterior above, septum left."""
    lv, step = plain.ventricle, 5.0
    y, x = np.meshgrid(np.arange(-60, 61, step), np.arange(-60, 61, step), indexing="ij")
    levels = np.arange(-20, 110, step)
    levels = levels[::-1] if apex_first else levels
    images = np.stack(
        [
            plain.tomogram.at(
                lv.base_mm + level * lv.axis + x[..., None] * lv.right - y[..., None] * lv.up
            )
            for level in levels
        ]
    )
    return changed(
        instance,
        images=images,
        **attributes,
        PixelSpacing=[step, step],
        SpacingBetweenSlices=step,
        NumberOfSlices=len(images),
        SliceVector=list(range(1, len(images) + 1)),
    )


@pytest.mark.parametrize("apex_first", [True, False])
def test_a_short_axis_volume_is_read_whichever_end_comes_first(instances, views, apex_first):
    plain = views[0]
    found = perfusion_view(short_axis(instances[0], plain, apex_first, ImageID="SaStress"))
    assert found.view == "stress"
    assert found.short_axis
    np.testing.assert_allclose(found.ventricle.right, [1, 0, 0], atol=0.15)
    one = perfusion_study([found, replace(found, view="rest")]).picture()
    other = perfusion_study([plain, replace(plain, view="rest")]).picture()
    alike = np.corrcoef(one.ravel().astype(float), other.ravel().astype(float))[0, 1]
    assert alike > 0.95


@pytest.mark.parametrize("apex_first", [True, False])
def test_a_short_axis_that_calls_itself_transaxial_is_refused(instances, views, apex_first):
    assert refused(short_axis(instances[0], views[0], apex_first)) in (
        "unclear_orientation",
        "no_left_ventricle",
    )


def test_a_volume_longer_than_a_body_is_wide_is_refused_before_it_is_searched(instances):
    first = instances[0]
    number = 120
    long = changed(
        first,
        images=np.zeros((number, *first.images.shape[1:]), np.float32),
        SpacingBetweenSlices=9,
        NumberOfSlices=number,
        SliceVector=list(range(1, number + 1)),
    )
    assert refused(long) == "no_geometry"


def plain_view(view, uid, **how):
    lv = oriented(np.zeros(3), np.array([0, 0, 1.0]), np.array([0, 1.0, 0]))
    empty = Tomogram(np.zeros((2, 2, 2), np.float32), np.eye(4))
    plainly = {"prone": False, "corrected": False, "short_axis": False, "gated": False}
    return PerfusionView(
        view, "a test", empty, lv, **plainly | how,
        sop_instance_uid=uid, series_instance_uid="1", digest="0",
    )  # fmt: skip


def test_rest_alone_is_withheld_for_there_is_no_stress_series():
    with pytest.raises(Rejection, match="no stress series") as caught:
        perfusion_study([plain_view("rest", "1")])
    assert caught.value.code == "no_stress_series"
    with pytest.raises(Rejection) as caught:
        perfusion_study([plain_view("stress", "1")])
    assert caught.value.code == "no_rest_series"
    with pytest.raises(Rejection, match="no stress"):
        perfusion_study([])


def test_the_pair_that_was_taken_alike_is_compared():
    views = [
        plain_view("stress", "1", prone=True),
        plain_view("stress", "2", corrected=True),
        plain_view("stress", "3"),
        plain_view("rest", "4"),
    ]
    study = perfusion_study(views)
    assert (study.stress.sop_instance_uid, study.rest.sop_instance_uid) == ("3", "4")
    assert study.notes == ("2 more tomograms were left out",)
    assert perfusion_study(reversed(views)) == study
    corrected = perfusion_study([*views, plain_view("rest", "5", corrected=True)])
    assert (corrected.stress.sop_instance_uid, corrected.rest.sop_instance_uid) == ("2", "5")
    prone = perfusion_study([*views[:3], plain_view("rest", "6", prone=True)])
    assert (prone.stress.sop_instance_uid, prone.rest.sop_instance_uid) == ("1", "6")
    unlike = perfusion_study([views[0], views[3]])
    assert "one view was taken prone, the other supine" in unlike.notes
    gated = [plain_view(view, f"0{view}", gated=True) for view in ("stress", "rest")]
    short = [plain_view(view, f"1{view}", short_axis=True) for view in ("stress", "rest")]
    assert perfusion_study([*views[2:], *gated, *short]).stress.sop_instance_uid == "3"
    alike = perfusion_study([views[2], *gated, short[0]])
    assert alike.stress.gated
    assert alike.rest.gated
    mixed = perfusion_study([views[1], views[3]])
    assert "attenuation is corrected in one view only" in mixed.notes


def capture(picture):
    dataset = Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = "1.2.3"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.Rows, dataset.Columns = picture.shape[-3:-1]
    dataset.NumberOfFrames = picture.shape[0] if picture.ndim == 4 else 1
    dataset.PlanarConfiguration = dataset.PixelRepresentation = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = picture.tobytes()
    return dataset


def test_a_capture_gives_its_picture_without_the_letters():
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[10:16, 20:120:4] = 255  # strokes as of letters
    picture[60:160, 50:150] = (250, 120, 0)
    found = display_capture(capture(picture))
    assert found.shape == (100, 100, 3)
    assert (found == (250, 120, 0)).all()
    picture[60:160] = 0
    with pytest.raises(Rejection, match="no picture") as caught:
        display_capture(capture(picture))
    assert caught.value.code == "no_picture"
    with pytest.raises(Rejection, match="2 pictures"):
        display_capture(capture(np.stack([picture, picture])))


def test_the_real_tomograms_are_read(real_data):
    """Three rest studies and one that its Image ID calls prone stress, each of another patient."""
    found = {}
    for path in sorted((real_data / "spect").glob("*.dcm")):
        view = perfusion_view(decoded(path))
        found[str(pydicom.dcmread(path, stop_before_pixels=True).ImageID)] = view
        assert view.ventricle.axis[0] > 0.3  # LPS: to the left
        assert view.ventricle.axis[1] < -0.5  # and forward
        assert view.tomogram.spacing_mm == (4, 4, 4)
    assert {name: view.view for name, view in found.items()} == {
        "ReconRest-1": "rest",
        "ReconRest": "rest",
        "ReconStress pron": "stress",
    }
    assert found["ReconStress pron"].prone
    assert not found["ReconRest"].prone
    rest = [view for view in found.values() if view.view == "rest"]
    with pytest.raises(Rejection, match="no stress series"):
        perfusion_study(rest)
