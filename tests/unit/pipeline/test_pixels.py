"""Pixel values of an instance: every transfer syntax, rescaling, damage."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from pipeline.errors import Rejection
from pipeline.pixels import DecodedInstance, decode_instance
from pipeline.versions import digest_file
from tests.unit.pipeline.dicom_cases import dataset, enhanced_dataset, item, save, set_pixels

STORED = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48) % 4000


def decoded(data: Dataset, folder: Path) -> DecodedInstance:
    return decode_instance(save(data, folder / "a.dcm"), "1.2.3")


def image() -> Dataset:
    data = dataset()
    set_pixels(data, STORED)
    return data


def refused(path: Path, code: str = "unreadable_pixels") -> None:
    with pytest.raises(Rejection) as caught:
        decode_instance(path, "1.2.3")
    assert (caught.value.code, caught.value.sop_instance_uid) == (code, "1.2.3")


def jpeg_lossless(folder: Path) -> Path:
    """JPEG Lossless by DCMTK, for which pydicom has no encoder."""
    tool = shutil.which("dcmcjpeg")
    if tool is None:
        message = "dcmcjpeg (DCMTK) is not at hand"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    source, target = save(image(), folder / "plain.dcm"), folder / "jpeg.dcm"
    subprocess.run([tool, source, target], check=True, capture_output=True)
    return target


def compressed(syntax: UID, folder: Path) -> Path:
    if syntax == "1.2.840.10008.1.2.4.70":
        return jpeg_lossless(folder)
    data = image()
    data.compress(syntax, generate_instance_uid=False)
    return save(data, folder / "compressed.dcm")


COMPRESSED = [
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    UID("1.2.840.10008.1.2.4.70"),
]


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_uncompressed(syntax: UID, tmp_path: Path) -> None:
    data = image()
    data.file_meta.TransferSyntaxUID = syntax
    data["PixelData"].VR = "OW"
    if syntax == ExplicitVRBigEndian:
        data.PixelData = STORED.byteswap().tobytes()
    result = decoded(data, tmp_path)
    assert result.images.dtype == np.float32
    np.testing.assert_array_equal(result.images, STORED[None])


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
def test_compressed(syntax: UID, tmp_path: Path) -> None:
    path = compressed(syntax, tmp_path)
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(decode_instance(path, "1.2.3").images, STORED[None])


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_cut_codestream_is_refused(syntax: UID, kept: float, tmp_path: Path) -> None:
    """The encapsulation is whole; the frame within it ends early."""
    data = dcmread(compressed(syntax, tmp_path))
    (frame,) = generate_frames(data.PixelData, number_of_frames=1)
    data.PixelData = encapsulate([frame[: int(kept * len(frame))]])
    refused(save(data, tmp_path / "cut.dcm"))


def test_no_second_decoder_makes_up_what_the_first_refused(tmp_path: Path) -> None:
    data = dcmread(compressed(JPEGLSLossless, tmp_path))
    (frame,) = generate_frames(data.PixelData, number_of_frames=1)
    data.PixelData = encapsulate([frame[: len(frame) // 2] + b"\xff\xd9"])
    refused(save(data, tmp_path / "cut.dcm"))


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
def test_cut_compressed_file_is_refused(syntax: UID, tmp_path: Path) -> None:
    path = compressed(syntax, tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    refused(path)


@pytest.mark.parametrize("lost", [1, 2, 1000, 64 * 48 * 2])
def test_cut_file_is_refused(lost: int, tmp_path: Path) -> None:
    path = save(image(), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:-lost])
    refused(path)


def test_pixels_shorter_than_announced_are_refused(tmp_path: Path) -> None:
    data = image()
    data.PixelData = data.PixelData[:-2]
    refused(save(data, tmp_path / "a.dcm"))


def test_absent_pixels_and_unknown_syntax_are_refused(tmp_path: Path) -> None:
    data = image()
    del data.PixelData
    refused(save(data, tmp_path / "a.dcm"))
    for syntax in (MPEG2MPML, HTJ2KLossless, UID("1.2.3.4")):
        video = image()
        video.PixelData = encapsulate([b"\xff\xd8 no such thing \xff\xd9"])
        video.file_meta.TransferSyntaxUID = syntax
        video["PixelData"].VR = "OB"
        video["PixelData"].is_undefined_length = True
        path = tmp_path / "b.dcm"
        video.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=True)
        refused(path)


def test_no_part_10_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(b"nothing")
    refused(path, "unreadable")


def test_a_file_that_is_gone_is_no_fault_of_the_input(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode_instance(tmp_path / "gone", "1.2.3")


def test_rescale(tmp_path: Path) -> None:
    data = image()
    data.RescaleSlope, data.RescaleIntercept = "2.5", "-7"
    np.testing.assert_allclose(decoded(data, tmp_path).images[0], STORED * 2.5 - 7)


@pytest.mark.parametrize("slope", ["0", "-1", "inf", "nan", "1e38"])
def test_rescale_that_leaves_no_image_is_refused_by_name(slope: str, tmp_path: Path) -> None:
    data = image()
    data.RescaleSlope, data.RescaleIntercept = "1.0", "0"
    path = save(data, tmp_path / "a.dcm")
    held = path.read_bytes()
    assert held.count(b"1.0 ") == 1
    path.write_bytes(held.replace(b"1.0 ", slope.ljust(4).encode()))
    refused(path)


def test_rescale_of_each_enhanced_frame(tmp_path: Path) -> None:
    stored = np.arange(3 * 2 * 20, dtype=np.uint16).reshape(3, 2, 4, 5)
    data = enhanced_dataset(2, 3, stored)
    data.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [
        item(RescaleSlope=2, RescaleIntercept=1)
    ]
    data.PerFrameFunctionalGroupsSequence[4].PixelValueTransformationSequence = [
        item(RescaleSlope=3, RescaleIntercept=0)
    ]
    images = decoded(data, tmp_path).images
    frames = data.pixel_array
    assert images.shape == (6, 4, 5)
    np.testing.assert_array_equal(images[0], frames[0] * 2 + 1)
    np.testing.assert_array_equal(images[4], frames[4] * 3)


def test_signed_pixels(tmp_path: Path) -> None:
    data = image()
    data.PixelRepresentation = 1
    signed = STORED.astype(np.int16) - 2000
    data.PixelData = signed.tobytes()
    np.testing.assert_array_equal(decoded(data, tmp_path).images[0], signed)


def test_unused_high_bits_are_ignored(tmp_path: Path) -> None:
    data = image()
    data.PixelData = (STORED | 0xF000).tobytes()
    np.testing.assert_array_equal(decoded(data, tmp_path).images[0], STORED)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    data = image()
    data.PhotometricInterpretation = "MONOCHROME1"
    np.testing.assert_array_equal(decoded(data, tmp_path).images[0], 4095.0 - STORED)
    data.PixelRepresentation = 1
    signed = STORED.astype(np.int16) - 2000
    data.PixelData = signed.tobytes()
    np.testing.assert_array_equal(decoded(data, tmp_path).images[0], -1.0 - signed)


def test_colour_is_refused(tmp_path: Path) -> None:
    data = image()
    data.SamplesPerPixel, data.PhotometricInterpretation = 3, "RGB"
    refused(save(data, tmp_path / "a.dcm"), "not_greyscale")
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "PALETTE COLOR"
    refused(save(data, tmp_path / "a.dcm"), "not_greyscale")


def test_header_is_what_was_received_without_pixels(tmp_path: Path) -> None:
    data = image()
    data.private_block(0x0009, "CREATOR", create=True).add_new(1, "LO", "kept")
    path = save(data, tmp_path / "a.dcm")
    result = decode_instance(path, "1.2.3")
    expected = dcmread(path)
    del expected.PixelData
    assert result.header == expected
    assert "PixelData" not in result.header
    assert result.header.buffer is None
    assert result.digest == digest_file(path)


def test_real_uid_with_leading_zeros_passes_in_silence(real_data: Path) -> None:
    path = real_data / "sunnybrook" / "dicom" / "SCD0000101" / "77.dcm"
    result = decode_instance(path, "1.2.3")
    assert result.images.shape == (1, 256, 256)
    assert result.images.max() > 100
