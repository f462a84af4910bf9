"""Requests that no proper sender makes: damaged data sets, UIDs other than those announced."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode, split_dataset
from pynetdicom.presentation import build_context

from dicom_node.encoded import InstanceUids, file_header
from dicom_node.peer import OutgoingAssociation, PeerAddress, open_association
from tests.integration.peers import uids_of

MR = str(MRImageStorage)


def write_raw(
    folder: Path,
    dataset: Dataset,
    *,
    uids: InstanceUids | None = None,
    cut: int = 0,
    replace: tuple[bytes, bytes] = (b"", b""),
) -> Path:
    """Write a file whose data set does not fit its file meta information, or is damaged."""
    content = (encode(dataset, False, True) or b"").replace(*replace)
    header = file_header(
        uids or uids_of(dataset), ExplicitVRLittleEndian, "SENDER", "1.2.3", "TEST"
    )
    path = folder / "raw.dcm"
    path.write_bytes(header + content[: len(content) - cut])
    return path


def request_of(path: Path) -> C_STORE:
    meta, offset = split_dataset(path)
    request = C_STORE()
    request.MessageID = 9
    request.Priority = 0
    request.AffectedSOPClassUID = meta.MediaStorageSOPClassUID
    request.AffectedSOPInstanceUID = str(meta["MediaStorageSOPInstanceUID"].repval).strip("'")
    request.DataSet = BytesIO(path.read_bytes()[offset:])
    return request


@contextmanager
def calling(
    node: PeerAddress, transfer_syntax: str = ExplicitVRLittleEndian
) -> Iterator[OutgoingAssociation]:
    with open_association(
        node, "SENDER", [build_context(MRImageStorage, transfer_syntax)]
    ) as association:
        yield association


def ask(association: OutgoingAssociation, path: Path) -> int:
    """Store what `send_files` would not send; returns the status."""
    return list(association.ask(request_of(path), 1))[-1].status


def store(node: PeerAddress, path: Path, transfer_syntax: str = ExplicitVRLittleEndian) -> int:
    with calling(node, transfer_syntax) as association:
        return ask(association, path)


def library(association: OutgoingAssociation) -> Association:
    assert association._association is not None
    return association._association


def wire(association: OutgoingAssociation) -> socket.socket:
    return library(association).dul.socket.socket  # type: ignore[union-attr,return-value]


def element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return (
        (0).to_bytes(2, "little")
        + number.to_bytes(2, "little")
        + len(value).to_bytes(4, "little")
        + value
    )


def store_request(uid: bytes | None, data_set: bytes) -> bytes:
    """Write a C-STORE request as bytes, past the checks of pynetdicom as a sender."""
    command = element(0x0002, MR.encode()) + element(0x0100, b"\1\0") + element(0x0110, b"\7\0")
    command += element(0x0700, b"\0\0") + element(0x0800, b"\1\0")
    if uid is not None:
        command += element(0x1000, uid)
    command = element(0x0000, len(command).to_bytes(4, "little")) + command
    return p_data(3, command) + p_data(2, data_set)


def p_data(control: int, fragment: bytes) -> bytes:
    pdv = (len(fragment) + 2).to_bytes(4, "big") + bytes([1, control]) + fragment
    return b"\4\0" + len(pdv).to_bytes(4, "big") + pdv


def item(kind: int, content: bytes) -> bytes:
    """An item of an A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    return bytes([kind, 0]) + len(content).to_bytes(2, "big") + content


ABSTRACT = item(0x30, MR.encode())
TRANSFER = item(0x40, str(ExplicitVRLittleEndian).encode())


def associate_request(
    node: PeerAddress, syntaxes: bytes = ABSTRACT + TRANSFER, ids: bytes = b"\1"
) -> bytes:
    """Write an A-ASSOCIATE-RQ with a presentation context of these syntaxes for each id."""
    user = item(0x51, (16384).to_bytes(4, "big")) + item(0x52, b"1.2.3")
    titles = node.ae_title.ljust(16).encode() + b"RAW".ljust(16)
    content = b"\0\1\0\0" + titles + bytes(32) + item(0x10, b"1.2.840.10008.3.1.1.1")
    content += b"".join(item(0x20, bytes([one, 0, 0, 0]) + syntaxes) for one in ids)
    content += item(0x50, user)
    return b"\1\0" + len(content).to_bytes(4, "big") + content
