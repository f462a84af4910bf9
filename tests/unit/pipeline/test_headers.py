"""Reading of headers: real traps, hostile bytes, digests and versions."""

import contextlib
import json
import struct
import threading
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from pipeline.errors import Rejection
from pipeline.headers import (
    InstanceHeader,
    read_header,
)
from pipeline.results import NODE_MANUFACTURER
from pipeline.versions import (
    IDENTITY_KEYWORDS,
    changed_attributes,
    digest_bytes,
    digest_content,
    digest_file,
)
from tests.unit.pipeline.dicom_cases import dataset, enhanced_dataset, item, save


def content(data: Dataset) -> bytes:
    buffer = BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def raw_element(group: int, element: int, representation: bytes, value: bytes) -> bytes:
    padded = value + b" " * (len(value) % 2)
    return struct.pack("<HH2sH", group, element, representation, len(padded)) + padded


def replaced(original: bytes, tag: tuple[int, int], representation: bytes, value: bytes) -> bytes:
    """The content with the value of one short explicit element replaced, valid or not."""
    start = original.index(struct.pack("<HH2s", *tag, representation), 132)
    (length,) = struct.unpack_from("<H", original, start + 6)
    element = raw_element(*tag, representation, value)
    return original[:start] + element + original[start + 8 + length :]


def test_classic_instance() -> None:
    data = dataset("1.2.3.4.7", 16.0, 43.5)
    data.CardiacNumberOfImages, data.ImagesInAcquisition = 20, 240
    data.SeriesNumber, data.NominalInterval, data.AccessionNumber = 3, 812, "A-17"
    header = read_header(content(data))
    assert header.sop_instance_uid == "1.2.3.4.7"
    assert header.sop_class_uid == data.SOPClassUID
    assert header.series_instance_uid == data.SeriesInstanceUID
    assert header.study_instance_uid == data.StudyInstanceUID
    assert header.frame_of_reference_uid == data.FrameOfReferenceUID
    assert (header.patient_id, header.accession_number, header.modality) == ("P1", "A-17", "MR")
    assert header.image_type == ("ORIGINAL", "PRIMARY", "M")
    assert (header.rows, header.columns, header.samples_per_pixel) == (4, 5, 1)
    assert (header.cardiac_images, header.images_in_acquisition) == (20, 240)
    assert (header.series_number, header.nominal_interval_ms) == (3, 812.0)
    assert header.pixel_spacing_mm == (1.5, 1.25)
    assert header.acquired_at == "20200101100000.5"
    (frame,) = header.frames
    np.testing.assert_allclose(frame.position_mm, data.ImagePositionPatient)
    np.testing.assert_allclose(frame.orientation, data.ImageOrientationPatient)
    assert (frame.trigger_time_ms, frame.frame_number) == (43.5, None)
    assert frame.clock_ms == 36_000_500.0


def test_delay_time_counts_where_a_classic_instance_has_no_trigger_time() -> None:
    data = dataset(time_ms=None)
    data.NominalCardiacTriggerDelayTime = 77.5
    assert read_header(content(data)).frames[0].trigger_time_ms == 77.5


def test_inversion_time_and_component() -> None:
    data = dataset()
    data.InversionTime, data.ComplexImageComponent = 280, "REAL"
    data.InstanceNumber, data.MRAcquisitionType = 17, "3D"
    header = read_header(content(data))
    (frame,) = header.frames
    assert (frame.inversion_time_ms, frame.component) == (280.0, "REAL")
    assert (header.instance_number, header.acquisition_type) == (17, "3D")
    data.InversionTime = 0
    assert read_header(content(data)).frames[0].inversion_time_ms is None


def test_inversion_time_and_component_of_frames() -> None:
    data = enhanced_dataset(1, 2, np.zeros((2, 1, 4, 5), np.uint16))
    data.ComplexImageComponent = "MIXED"
    first, _ = data.PerFrameFunctionalGroupsSequence
    first.MRModifierSequence = [item(InversionTimes=[300.0, 600.0])]
    first.MRImageFrameTypeSequence = [item(ComplexImageComponent="PHASE")]
    frames = read_header(content(data)).frames
    assert [frame.inversion_time_ms for frame in frames] == [300.0, None]
    assert [frame.component for frame in frames] == ["PHASE", "MIXED"]


def test_headers_stored_before_these_attributes_were_read() -> None:
    header = read_header(content(dataset()))
    stored = json.loads(header.to_json())
    for name in ("instance_number", "acquisition_type"):
        del stored[name]
    stored["frames"] = [frame[:-2] for frame in stored["frames"]]
    assert InstanceHeader.from_json(json.dumps(stored)).frames == header.frames


def test_heart_rate_stands_in_for_the_interval() -> None:
    data = dataset()
    data.HeartRate = 75
    assert read_header(content(data)).nominal_interval_ms == 800.0
    data.HeartRate = 0
    assert read_header(content(data)).nominal_interval_ms is None


def test_enhanced_instance() -> None:
    data = enhanced_dataset(3, 2, np.zeros((2, 3, 4, 5), np.uint16))
    header = read_header(content(data))
    assert [frame.frame_number for frame in header.frames] == [1, 2, 3, 4, 5, 6]
    assert [frame.trigger_time_ms for frame in header.frames] == [0, 40, 0, 40, 0, 40]
    assert [frame.temporal_position for frame in header.frames] == [1, 2, 1, 2, 1, 2]
    assert {frame.pixel_spacing_mm for frame in header.frames} == {(1.5, 1.25)}
    assert len({frame.position_mm for frame in header.frames}) == 3
    assert all(frame.orientation is not None for frame in header.frames)


def test_own_group_of_a_frame_comes_before_the_shared_one() -> None:
    data = enhanced_dataset(1, 2, np.zeros((2, 1, 4, 5), np.uint16))
    data.PerFrameFunctionalGroupsSequence[1].PixelMeasuresSequence = [item(PixelSpacing=[2, 3])]
    header = read_header(content(data))
    assert [frame.pixel_spacing_mm for frame in header.frames] == [(1.5, 1.25), (2.0, 3.0)]


def test_empty_functional_group_in_a_classic_instance() -> None:
    data = dataset(time_ms=12.0)
    data.PerFrameFunctionalGroupsSequence = [Dataset()]
    (frame,) = read_header(content(data)).frames
    assert (frame.frame_number, frame.trigger_time_ms) == (None, 12.0)


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_every_encoding_gives_the_same_header(syntax: str) -> None:
    data = dataset()
    expected = read_header(content(data))
    data.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        data["PixelData"].VR = "OW"
    assert read_header(content(data)) == expected


def test_path_and_bytes_likes_agree(tmp_path: Path) -> None:
    path = save(dataset(), tmp_path / "a.dcm")
    held = path.read_bytes()
    headers = [read_header(path), *(read_header(kind(held)) for kind in (bytearray, memoryview))]
    assert headers == [read_header(held)] * 3


def test_json_round_trip() -> None:
    for data in (dataset(), enhanced_dataset(2, 2, np.zeros((2, 2, 4, 5), np.uint16))):
        header = read_header(content(data))
        assert InstanceHeader.from_json(header.to_json()) == header
    nothing = read_header(content(bare()))
    assert nothing.frames == ()
    assert InstanceHeader.from_json(nothing.to_json()) == nothing


def bare() -> Dataset:
    """Instance with UIDs and nothing else."""
    full = dataset()
    data = Dataset()
    data.file_meta = full.file_meta
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(data, keyword, full[keyword].value)
    return data


def test_description_in_its_character_set() -> None:
    data = dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SeriesDescription = "Kurzachse Ärzte"
    assert read_header(content(data)).series_description == "Kurzachse Ärzte"


@pytest.mark.parametrize(
    ("tag", "representation", "value"),
    [
        ((0x0008, 0x0018), b"UI", b"1.2.003.00004"),
        ((0x0008, 0x0005), b"CS", b"NO SUCH SET"),
        ((0x0008, 0x0022), b"DA", b"20120000"),
        ((0x0008, 0x0032), b"TM", b"later"),
        ((0x0020, 0x0032), b"DS", b"1.0000000000000000001\\2\\3"),
    ],
)
def test_values_that_break_their_representation_pass_in_silence(
    tag: tuple[int, int], representation: bytes, value: bytes
) -> None:
    data = dataset()
    data.SpecificCharacterSet = "ISO_IR 100"
    broken = replaced(content(data), tag, representation, value)
    assert value in broken
    header = read_header(broken)
    if tag == (0x0008, 0x0018):
        assert header.sop_instance_uid == "1.2.003.00004"
    if tag == (0x0020, 0x0032):
        assert header.frames[0].position_mm == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("value", [b"abc", b"1\\2", b"nan\\1\\2", b"1\\2\\3\\4"])
def test_unusable_geometry_is_absent(value: bytes) -> None:
    header = read_header(replaced(content(dataset()), (0x0020, 0x0032), b"DS", value))
    assert header.frames[0].position_mm is None


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_missing_uid(keyword: str) -> None:
    data = dataset()
    delattr(data, keyword)
    with pytest.raises(Rejection, match=keyword) as caught:
        read_header(content(data))
    assert caught.value.code == "missing_uid"


@pytest.mark.parametrize("value", [b"../../etc/passwd", b"1.2.x", b"1" * 65, b"1 2", b"1.2\n.3"])
def test_invalid_uid(value: bytes) -> None:
    with pytest.raises(Rejection) as caught:
        read_header(replaced(content(dataset()), (0x0020, 0x000E), b"UI", value))
    assert caught.value.code == "invalid_uid"
    assert value.decode() not in str(caught.value)


@pytest.mark.parametrize("held", [b"", b"DICM", b"\0" * 400, b"\0" * 128 + b"DICM"])
def test_no_dicom(held: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(held)
    for source in (held, path):
        with pytest.raises(Rejection) as caught:
            read_header(source)
        assert caught.value.code in ("unreadable", "missing_uid")


def test_absent_file(tmp_path: Path) -> None:
    for call in (read_header, digest_file):
        with pytest.raises(Rejection) as caught:
            call(tmp_path / "absent")
        assert caught.value.code == "unreadable"


@given(data=st.data())
def test_damaged_bytes_give_a_header_or_a_rejection(data: st.DataObject) -> None:
    whole = bytearray(content(enhanced_dataset(2, 2, np.zeros((2, 2, 4, 5), np.uint16))))
    for _ in range(data.draw(st.integers(0, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    held = whole[: data.draw(st.integers(0, len(whole)))]
    with contextlib.suppress(Rejection):
        header = read_header(held)
        assert InstanceHeader.from_json(header.to_json()) == header


def test_own_results_are_known() -> None:
    assert not read_header(content(dataset())).written_by_node
    result = dataset()
    result.Manufacturer = NODE_MANUFACTURER
    result.SOPClassUID = SegmentationStorage
    assert read_header(content(result)).written_by_node
    derived = dataset()
    derived.SOPClassUID = SecondaryCaptureImageStorage
    derived.ContributingEquipmentSequence = [item(Manufacturer=NODE_MANUFACTURER)]
    assert read_header(content(derived)).written_by_node


def test_digest_covers_transfer_syntax_and_data_set_alone(tmp_path: Path) -> None:
    data = dataset()
    held = content(data)
    start = 132 + 12 + dataset_meta_length(held)
    expected = digest_bytes(ExplicitVRLittleEndian, held[start:])
    path = tmp_path / "a.dcm"
    path.write_bytes(held)
    assert digest_file(path) == digest_content(held) == expected
    data.file_meta.ImplementationVersionName = "ANOTHER"
    data.preamble = b"x" * 128
    assert digest_content(content(data)) == expected
    assert digest_bytes(ImplicitVRLittleEndian, held[start:]) != expected
    assert digest_content(held[:-1] + b"\xff") != expected


def test_digest_of_a_file_with_private_meta_of_long_form() -> None:
    held = content(dataset())
    start = 132 + 12 + dataset_meta_length(held)
    private = struct.pack("<HH2sHL", 2, 0x0102, b"OB", 0, 4) + b"abcd"
    assert digest_content(held[:start] + private + held[start:]) == digest_content(held)


def dataset_meta_length(held: bytes) -> int:
    return struct.unpack_from("<L", held, 140)[0]


@pytest.mark.parametrize("cut", [0, 100, 132, 150, 171])
def test_digest_refuses_what_is_no_part_10_file(cut: int) -> None:
    with pytest.raises(Rejection) as caught:
        digest_content(content(dataset())[:cut])
    assert caught.value.code == "unreadable"


def test_changed_attributes(tmp_path: Path) -> None:
    data = dataset()
    data.SharedFunctionalGroupsSequence = [item(PatientID="inner")]
    old = save(data, tmp_path / "old.dcm")
    assert changed_attributes(old, old) == ()
    data.PatientName = "Somebody"
    data.SeriesDescription = "new"
    data.SharedFunctionalGroupsSequence[0].PatientID = "other"
    data.PixelData = data.PixelData[::-1]
    data.private_block(0x0009, "CREATOR", create=True).add_new(1, "LO", "x")
    new = save(data, tmp_path / "new.dcm")
    changed = changed_attributes(old, new)
    assert changed == (
        "(0009,0010)",
        "(0009,1001)",
        "PatientName",
        "PixelData",
        "SeriesDescription",
        "SharedFunctionalGroupsSequence",
    )
    assert set(changed) & IDENTITY_KEYWORDS == {"PatientName"}


def test_another_encoding_is_no_change_of_attributes(tmp_path: Path) -> None:
    data = dataset()
    data.SharedFunctionalGroupsSequence = [item(PatientID="inner")]
    old = save(data, tmp_path / "old.dcm")
    again = dcmread(old)
    again.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert changed_attributes(old, save(again, tmp_path / "new.dcm")) == ()


def test_warning_filters_survive_threads() -> None:
    held = replaced(content(dataset()), (0x0008, 0x0018), b"UI", b"1.2.003.00004")
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [read_header(held) for _ in range(20)]) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_real_headers(real_data: Path) -> None:
    folders = ("sunnybrook/dicom", "other")
    paths = [path for folder in folders for path in (real_data / folder).rglob("*.dcm")]
    headers = [read_header(path) for path in paths]
    assert len(headers) == 545
    assert all(header.frames for header in headers)
    assert {len(header.frames) for header in headers} == {1, 6, 64}
    for header in headers[::25]:
        assert InstanceHeader.from_json(header.to_json()) == header
