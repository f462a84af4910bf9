"""Requests that no proper sender makes: damaged data sets, UIDs other than those announced."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode, split_dataset
from pynetdicom.presentation import build_context

from dicom_node.encoded import InstanceUids, file_header
from dicom_node.peer import OutgoingAssociation, PeerAddress, open_association
from tests.integration.peers import uids_of


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
