"""What tells two versions of one instance apart: their digests, and the attributes that differ."""

import hashlib
import struct
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.tag import BaseTag

from pipeline.elements import UNREADABLE, quiet_pydicom
from pipeline.errors import Rejection
from pipeline.headers import VALID_UID, opened

# A change of any of these files a result under another patient or study.
IDENTITY_KEYWORDS = frozenset(
    {
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
        "StudyInstanceUID",
    }
)


def digest_bytes(transfer_syntax_uid: str, dataset: bytes | bytearray | memoryview) -> str:
    """SHA-256, hexadecimal, of an instance: its transfer syntax and its data set as encoded.

    Parameters
    ----------
    transfer_syntax_uid : str
        As negotiated, or as the file meta information says.
    dataset : bytes-like
        Everything after the file meta information group.
    """
    digest = hashlib.sha256(transfer_syntax_uid.encode("ascii"))
    digest.update(dataset)
    return digest.hexdigest()


def digest_file(path: Path) -> str:
    """`digest_bytes` of a DICOM Part 10 file.

    Raises
    ------
    Rejection
        ``unreadable``: no Part 10 file.
    OSError
        The file cannot be read now.
    """
    with opened(path) as file:
        return digest_content(file.read())


def digest_content(content: bytes) -> str:
    """`digest_bytes` of the content of a DICOM Part 10 file; raises as `digest_file`."""
    transfer_syntax_uid, start = _file_meta(content)
    return digest_bytes(transfer_syntax_uid, memoryview(content)[start:])


def _file_meta(content: bytes) -> tuple[str, int]:
    """Transfer syntax UID and the offset at which the data set starts (PS3.10 7.1).

    The file meta information is in explicit VR little endian, group 0002, always.
    """
    if content[128:132] != b"DICM":
        raise Rejection("unreadable", "no DICOM Part 10 file")
    offset, transfer_syntax_uid = 132, ""
    while content[offset : offset + 2] == b"\x02\x00":
        long_form = content[offset + 4 : offset + 6] in (b"OB", b"OW", b"UN", b"UT", b"SQ")
        head, code = (12, "<L") if long_form else (8, "<H")
        if offset + head > len(content):
            raise Rejection("unreadable", "the file meta information ends early")
        (length,) = struct.unpack_from(code, content, offset + head - struct.calcsize(code))
        start, end = offset + head, offset + head + length
        if content[offset + 2 : offset + 4] == b"\x10\x00":
            transfer_syntax_uid = content[start:end].decode("ascii", "replace").strip(" \0")
        offset = end
    if not VALID_UID.fullmatch(transfer_syntax_uid):
        raise Rejection("unreadable", "the file meta information names no transfer syntax")
    return transfer_syntax_uid, offset


def changed_attributes(old: Path, new: Path) -> tuple[str, ...]:
    """Keywords of the attributes that differ between two versions of an instance, sorted.

    Values are not told. Attributes without a keyword appear as their tag. Pixel data counts.

    Raises
    ------
    Rejection
        ``unreadable``.
    """
    try:
        with quiet_pydicom():
            before, after = _plain(dcmread(old)), _plain(dcmread(new))
    except UNREADABLE as error:
        raise Rejection("unreadable", f"no DICOM data set ({type(error).__name__})") from error
    tags = {tag for tag in before | after if before.get(tag) != after.get(tag)}
    return tuple(sorted(keyword_for_tag(tag) or str(BaseTag(tag)) for tag in tags))


def _plain(dataset: Dataset) -> dict[int, Any]:
    """Comparable content of a data set: encoded values, sequences as lists of the same."""
    content: dict[int, Any] = {}
    for tag in dataset.keys():  # noqa: SIM118 - a Dataset iterates over elements, decoded
        element = dataset.get_item(tag)
        if _representation(tag, element.VR) == "SQ":
            content[tag] = [_plain(item) for item in dataset[tag].value or ()]
        elif isinstance(element.value, bytes):
            content[tag] = element.value.rstrip(b" \0")
        else:
            content[tag] = element.value or b""
    return content


def _representation(tag: BaseTag, stated: str | None) -> str:
    """VR of an element; implicit ones state none (PS3.5 A.1)."""
    return stated or (dictionary_VR(tag) if keyword_for_tag(tag) else "UN")
