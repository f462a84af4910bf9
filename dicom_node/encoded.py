"""Data sets as they come off the wire, never decoded: checked, named by UID, wrapped as a file.

The walk goes from element to element by tag and length (PS3.5 section 7), jumps over values, and
enters sequences of undefined length only to find their end.
"""

import re
import zlib
from struct import Struct
from struct import error as StructError  # noqa: N812 - a class with the name of a function
from typing import NamedTuple

from dicom_node.errors import MalformedDataSet

DEFLATED = "1.2.840.10008.1.2.1.99"
IMPLICIT_VR = "1.2.840.10008.1.2"

_VALID_UID = re.compile(r"[0-9.]{1,64}")
_NOT_IN_UID = re.compile(r"[^0-9.]")
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_MAX_DEPTH = 64
_MAX_INFLATED_BYTES = 2**31
_TAG = Struct("<HH")
_LENGTH_16 = Struct("<H")
_LENGTH_32 = Struct("<L")


class InstanceUids(NamedTuple):
    """The UIDs by which one instance is filed."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str


_UIDS = {
    0x00080016: "SOP Class UID",
    0x00080018: "SOP Instance UID",
    0x0020000D: "Study Instance UID",
    0x0020000E: "Series Instance UID",
}


class _Element(NamedTuple):
    tag: int
    explicit: bool  # whether items within are in explicit VR
    value: int  # offset of the value
    length: int


def is_valid_uid(uid: str) -> bool:
    """Whether a UID has 1 to 64 digits and dots; components with leading zeros occur and pass."""
    return _VALID_UID.fullmatch(uid) is not None


def printable_uid(uid: object) -> str:
    """Return a UID that is safe to log: what is neither digit nor dot becomes a question mark."""
    return _NOT_IN_UID.sub("?", str(uid))[:64]


def read_uids(data_set: bytes, transfer_syntax_uid: str) -> InstanceUids:
    """Check that an encoded data set is whole, and read the UIDs it is filed by.

    Parameters
    ----------
    data_set : bytes
        The encoded data set without file meta information.
    transfer_syntax_uid : str
        Any little endian transfer syntax of PS3.5 annex A; deflated data are inflated.

    Raises
    ------
    MalformedDataSet
        It ends within an element, is no data set, or one of the UIDs is missing or holds anything
        but digits and dots.
    """
    if transfer_syntax_uid == DEFLATED:
        data_set = _inflate(data_set)
    try:
        found = _walk_top_level(data_set, explicit=transfer_syntax_uid != IMPLICIT_VR)
    except StructError as error:
        raise MalformedDataSet("the data set ends within an element header") from error
    return InstanceUids(*(_uid(name, found.get(tag, b"")) for tag, name in _UIDS.items()))


def file_header(
    uids: InstanceUids,
    transfer_syntax_uid: str,
    source_ae_title: str,
    implementation_class_uid: str,
    implementation_version_name: str,
) -> bytes:
    """Return preamble and file meta information to stand before a data set (PS3.10 section 7.1)."""
    meta = b"".join(
        (
            b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01",  # version 1
            _meta_element(0x0002, b"UI", uids.sop_class_uid),
            _meta_element(0x0003, b"UI", uids.sop_instance_uid),
            _meta_element(0x0010, b"UI", transfer_syntax_uid),
            _meta_element(0x0012, b"UI", implementation_class_uid),
            _meta_element(0x0013, b"SH", implementation_version_name),
            _meta_element(0x0016, b"AE", source_ae_title),
        )
    )
    group_length = b"\x02\x00\x00\x00UL\x04\x00" + _LENGTH_32.pack(len(meta))
    return bytes(128) + b"DICM" + group_length + meta


def _meta_element(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return _TAG.pack(0x0002, number) + vr + _LENGTH_16.pack(len(value)) + value


def _uid(name: str, value: bytes) -> str:
    uid = value.rstrip(b"\0 ").decode("ascii", "replace")
    if not uid:
        raise MalformedDataSet(f"{name} is missing")
    if not is_valid_uid(uid):
        raise MalformedDataSet(f"{name} has other characters than digits and dots, or over 64")
    return uid


def _inflate(data_set: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data_set, _MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise MalformedDataSet("the deflated data set cannot be inflated") from error
    if not inflater.eof:
        raise MalformedDataSet("the deflated data set is truncated, or larger than 2 GiB inflated")
    return inflated


def _walk_top_level(data: bytes, *, explicit: bool) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        if not data[position : position + 8].strip(b"\0") and not data[position:].strip(b"\0"):
            break  # padding, which some senders leave behind the last element
        element = _read_header(data, position, explicit)
        if element.tag >> 16 in (0x0000, 0x0002, 0xFFFE):
            raise MalformedDataSet(f"element {_name(element.tag)} has no place in a data set")
        position = _end_of(data, element, 0)
        if element.tag in _UIDS:
            found.setdefault(element.tag, data[element.value : position])
    return found


def _read_header(data: bytes, position: int, explicit: bool) -> _Element:
    group, number = _TAG.unpack_from(data, position)
    tag = group << 16 | number
    vr = data[position + 4 : position + 6]
    # Some writers encode single elements or whole items in implicit VR where explicit is due.
    if not explicit or group == 0xFFFE or not (vr.isalpha() and vr.isupper()):
        return _Element(tag, explicit, position + 8, _LENGTH_32.unpack_from(data, position + 4)[0])
    if vr in _LONG_VRS:
        length = _LENGTH_32.unpack_from(data, position + 8)[0]
        return _Element(tag, vr != b"UN", position + 12, length)
    return _Element(tag, explicit, position + 8, _LENGTH_16.unpack_from(data, position + 6)[0])


def _end_of(data: bytes, element: _Element, depth: int) -> int:
    if element.length == _UNDEFINED:
        return _end_of_sequence(data, element, depth + 1)
    end = element.value + element.length
    if end > len(data):
        raise MalformedDataSet(
            f"element {_name(element.tag)} is cut: {len(data) - element.value} of"
            f" {element.length} bytes"
        )
    return end


def _end_of_sequence(data: bytes, sequence: _Element, depth: int) -> int:
    """Offset behind the delimiter of a sequence, or of encapsulated pixel data."""
    if depth > _MAX_DEPTH:
        raise MalformedDataSet(f"sequences are nested deeper than {_MAX_DEPTH}")
    position = sequence.value
    while True:
        item = _read_header(data, position, sequence.explicit)
        if item.tag == _SEQUENCE_END:
            return item.value
        if item.tag != _ITEM:
            raise MalformedDataSet(f"sequence {_name(sequence.tag)} holds something but items")
        if item.length == _UNDEFINED:
            position = _end_of_item(data, item, depth)
        else:
            position = _end_of(data, item, depth)


def _end_of_item(data: bytes, item: _Element, depth: int) -> int:
    position = item.value
    while True:
        element = _read_header(data, position, item.explicit)
        if element.tag == _ITEM_END:
            return element.value
        position = _end_of(data, element, depth)


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
