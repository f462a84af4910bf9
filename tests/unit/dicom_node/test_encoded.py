"""Checking and wrapping encoded data sets without decoding them."""

import zlib
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from pynetdicom.dsutils import encode

from dicom_node.encoded import (
    DEFLATED,
    InstanceUids,
    file_header,
    is_valid_uid,
    printable_uid,
    read_uids,
)
from dicom_node.errors import MalformedDataSet

UIDS = InstanceUids("1.2.840.10008.5.1.4.1.1.4", "1.2.3", "1.2.4", "1.2.5")


def data_set(*, undefined: bool = False) -> Dataset:
    """An instance with nested sequences, of defined or undefined length."""
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "1.9.9"
    inner.SOPInstanceUID = "1.9.8"
    inner.is_undefined_length_sequence_item = undefined
    outer = Dataset()
    outer.ReferencedInstanceSequence = [inner, inner]
    outer["ReferencedInstanceSequence"].is_undefined_length = undefined
    outer.is_undefined_length_sequence_item = undefined
    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID = UIDS.sop_class_uid, UIDS.sop_instance_uid
    found.ReferencedStudySequence = [outer]
    found["ReferencedStudySequence"].is_undefined_length = undefined
    found.StudyInstanceUID, found.SeriesInstanceUID = (
        UIDS.study_instance_uid,
        UIDS.series_instance_uid,
    )
    found.add_new(0x00091010, "UN", b"private")
    found.add_new(0x7FE00010, "OW", bytes(range(256)))
    return found


def encoded(transfer_syntax: str, *, undefined: bool = False) -> bytes:
    implicit = transfer_syntax == ImplicitVRLittleEndian
    content = encode(data_set(undefined=undefined), implicit, True) or b""
    if transfer_syntax == DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return deflater.compress(content) + deflater.flush()
    return content


SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DEFLATED]


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_reads_uids_of_the_top_level_only(syntax: str, undefined: bool) -> None:
    assert read_uids(encoded(syntax, undefined=undefined), syntax) == UIDS


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_cut_is_noticed_or_lies_between_two_elements(syntax: str, undefined: bool) -> None:
    content = encoded(syntax, undefined=undefined)
    whole = []
    for size in range(len(content)):
        try:
            read_uids(content[:size], syntax)
        except MalformedDataSet:
            continue
        whole.append(size)
    # Only behind the series UID: deflated data end with their stream.
    assert len(whole) == (0 if syntax == DEFLATED else 1)


def encapsulated(*fragments: bytes, end: bytes = b"\xfe\xff\xdd\xe0\0\0\0\0") -> bytes:
    items = b"".join(
        b"\xfe\xff\x00\xe0" + len(fragment).to_bytes(4, "little") + fragment
        for fragment in (b"", *fragments)
    )
    return b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + items + end


def test_encapsulated_pixel_data() -> None:
    head = encoded(ExplicitVRLittleEndian)[: -(256 + 12)]
    # A fragment may hold what looks like a delimiter.
    assert read_uids(head + encapsulated(b"\xfe\xff\xdd\xe0\0\0\0\0ab"), RLELossless) == UIDS
    for broken in (encapsulated(b"abcd", end=b""), encapsulated(b"abcd")[:-9]):
        with pytest.raises(MalformedDataSet):
            read_uids(head + broken, RLELossless)


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("SOPInstanceUID", None, "SOP Instance UID is missing"),
        ("StudyInstanceUID", "", "Study Instance UID is missing"),
        ("SeriesInstanceUID", "1.2/../x", "Series Instance UID has other characters"),
        ("SOPInstanceUID", "1" * 65, "over 64"),
        ("SOPInstanceUID", "1.2\\1.3", "other characters"),
    ],
)
def test_uids_must_be_there_and_valid(keyword: str, value: str | None, message: str) -> None:
    broken = data_set()
    if value is None:
        delattr(broken, keyword)
    else:
        broken[keyword].validation_mode = 0
        broken[keyword].value = value
    with pytest.raises(MalformedDataSet, match=message):
        read_uids(encode(broken, False, True) or b"", ExplicitVRLittleEndian)


def test_leading_zeros_pass() -> None:
    content = encoded(ExplicitVRLittleEndian).replace(b"1.2.3\0", b"1.0203")
    assert read_uids(content, ExplicitVRLittleEndian).sop_instance_uid == "1.0203"


def test_padding_behind_the_last_element_passes() -> None:
    content = encoded(ExplicitVRLittleEndian)
    assert read_uids(content + bytes(5), ExplicitVRLittleEndian) == UIDS
    with pytest.raises(MalformedDataSet):
        read_uids(content + bytes(5) + b"\1", ExplicitVRLittleEndian)


@pytest.mark.parametrize("group", [b"\0\0", b"\2\0", b"\xfe\xff"])
def test_elements_that_have_no_place_in_a_data_set(group: bytes) -> None:
    stray = group + b"\x10\x00UI\x02\x001\0"
    with pytest.raises(MalformedDataSet, match="no place"):
        read_uids(stray + encoded(ExplicitVRLittleEndian), ExplicitVRLittleEndian)


def test_nesting_without_end() -> None:
    nested = (
        b"\x40\x00\x75\xa0SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    ) * 5000
    with pytest.raises(MalformedDataSet, match="nested deeper"):
        read_uids(nested, ExplicitVRLittleEndian)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(SYNTAXES))
def test_noise_is_malformed(noise: bytes, syntax: str) -> None:
    with pytest.raises(MalformedDataSet):
        read_uids(noise, syntax)


def test_file_header_reads_back() -> None:
    content = encoded(ExplicitVRLittleEndian)
    header = file_header(UIDS, ExplicitVRLittleEndian, "SCANNER", "1.2.3.4", "NODE_1")
    read = dcmread(BytesIO(header + content))
    meta = read.file_meta
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.FileMetaInformationGroupLength == len(header) - 144
    assert meta.MediaStorageSOPClassUID == UIDS.sop_class_uid
    assert meta.MediaStorageSOPInstanceUID == UIDS.sop_instance_uid
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.ImplementationClassUID == "1.2.3.4"
    assert meta.ImplementationVersionName == "NODE_1"
    assert meta.SourceApplicationEntityTitle == "SCANNER"
    assert read.SeriesInstanceUID == UIDS.series_instance_uid


def test_uids_for_the_log() -> None:
    assert printable_uid("1.2.3") == "1.2.3"
    assert printable_uid("../Doe^John\n") == "..??????????"
    assert len(printable_uid("1" * 300)) == 64
    assert is_valid_uid("1" * 64)
    assert not is_valid_uid("1" * 65)
    assert not is_valid_uid("1.2\n")
    assert not is_valid_uid("")
