"""The node as Storage SCU: sends DICOM files by C-STORE, byte for byte as they lie."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import structlog
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import split_dataset
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import MediaStorageDirectoryStorage  # type: ignore[attr-defined]

from config.schema import NodeSettings
from dicom_node.dimse import is_stored, is_warning, status_text
from dicom_node.encoded import is_valid_uid
from dicom_node.files import printable_name, walk
from dicom_node.peer import OutgoingAssociation, PeerAddress, open_association, parse_address

log = structlog.get_logger()

_DEFAULTS = NodeSettings()
_MAX_CONTEXTS = 128  # PS3.8 9.3.2.2: context ids are odd and fit a byte
_MEDIUM_PRIORITY = 0
_PIPE = "a named pipe"
_NOT_DICOM = "not a DICOM file"
_DICOMDIR = "a DICOMDIR, which is not sent"
_NO_OBJECT = (_PIPE, _NOT_DICOM, _DICOMDIR)


@dataclass(frozen=True, slots=True)
class FileObject:
    """A DICOM file and what its file meta information says of it."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set_offset: int

    @property
    def context(self) -> tuple[str, str]:
        """SOP class and transfer syntax, which a peer accepts or refuses together."""
        return self.sop_class_uid, self.transfer_syntax_uid


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one file.

    Attributes
    ----------
    path : Path
        The file.
    sop_instance_uid : str
        Its object; empty when the file is not DICOM.
    status : int or None
        DIMSE status of the peer's answer; None when the object could not be offered.
    text : str
        What the status means, or why there is none.
    """

    path: Path
    sop_instance_uid: str
    status: int | None
    text: str

    @property
    def sent(self) -> bool:
        """Whether the peer confirmed that it keeps the object: 0x0000, or a warning 0xBxxx."""
        return self.status is not None and is_stored(self.status)


def next_delay(attempt: int, first_s: float, max_s: float) -> float:
    """Return how long to wait after the `attempt`-th failure (1, 2, …): doubling, up to `max_s`."""
    return min(max_s, first_s * 2.0 ** min(attempt - 1, 64))


def send_files(
    peer: PeerAddress,
    files: Sequence[Path],
    on_result: Callable[[SendResult], None],
    *,
    calling_ae_title: str,
    settings: NodeSettings = _DEFAULTS,
    wanted: Callable[[Path], bool] = lambda _: True,
) -> None:
    """Send files over one association, in their order.

    Exactly the SOP classes and transfer syntaxes of the files are proposed, and the encoded data
    sets are sent unchanged. More than 128 different ones take more than one association.

    Parameters
    ----------
    peer : PeerAddress
        Where to.
    files : sequence of Path
        DICOM files (PS3.10).
    on_result : callable
        Called after each file, before the next is sent.
    calling_ae_title : str
        How the node presents itself.
    settings : NodeSettings, optional
        Time-outs and largest PDU.
    wanted : callable, optional
        Asked right before a file is sent: one wanted no more is passed over, without a result.

    Raises
    ------
    PeerUnavailable
        No association, or it was lost. Files without a result were not confirmed.
    """
    objects = []
    for path in files:
        found = read_object(path)
        if isinstance(found, SendResult):
            on_result(found)
        else:
            objects.append(found)
    for batch in _batches(objects):
        _send_batch(peer, batch, on_result, calling_ae_title, settings, wanted=wanted)


def read_object(path: Path) -> FileObject | SendResult:
    """Read the file meta information; a result without status says why the file cannot be sent."""
    try:
        meta, offset = split_dataset(path)
        found = FileObject(
            path, str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID),
            str(meta.TransferSyntaxUID), offset,
        )  # fmt: skip
    except InvalidDicomError:
        return SendResult(path, "", None, _NOT_DICOM)
    except AttributeError as error:
        return SendResult(path, "", None, f"incomplete file meta information: {error.name}")
    except Exception as error:  # noqa: BLE001 - files hold anything, and pydicom raises anything
        return SendResult(path, "", None, f"cannot be read: {type(error).__name__}")
    if not all(is_valid_uid(uid) for uid in (*found.context, found.sop_instance_uid)):
        return SendResult(path, "", None, "a UID in the file meta information is not one")
    if found.sop_class_uid == MediaStorageDirectoryStorage:
        return SendResult(path, "", None, _DICOMDIR)
    return found


def _batches(objects: Iterable[FileObject]) -> Iterator[list[FileObject]]:
    batch: list[FileObject] = []
    contexts: set[tuple[str, str]] = set()
    for item in objects:
        if len(contexts | {item.context}) > _MAX_CONTEXTS:
            yield batch
            batch, contexts = [], set()
        batch.append(item)
        contexts.add(item.context)
    if batch:
        yield batch


def _send_batch(
    peer: PeerAddress,
    batch: Sequence[FileObject],
    on_result: Callable[[SendResult], None],
    calling_ae_title: str,
    settings: NodeSettings,
    *,
    wanted: Callable[[Path], bool],
) -> None:
    proposed = [build_context(*context) for context in dict.fromkeys(o.context for o in batch)]
    with open_association(peer, calling_ae_title, proposed, settings) as association:
        accepted = association.accepted
        for number, item in enumerate(batch):
            context_id = accepted.get(item.context)
            if context_id is None:
                on_result(SendResult(item.path, item.sop_instance_uid, None, _not_accepted(item)))
            elif wanted(item.path):
                on_result(_store(association, item, context_id, number % 65535 + 1))


def _store(
    association: OutgoingAssociation, item: FileObject, context_id: int, message_id: int
) -> SendResult:
    try:
        data_set = item.path.read_bytes()[item.data_set_offset :]
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        return SendResult(item.path, item.sop_instance_uid, None, text)
    request = C_STORE()
    request.MessageID = message_id
    request.AffectedSOPClassUID = UID(item.sop_class_uid)
    request.AffectedSOPInstanceUID = UID(item.sop_instance_uid)
    request.Priority = _MEDIUM_PRIORITY
    # A deflated data set may have been written with an odd length; fragments are even (PS3.5 A.5).
    request.DataSet = BytesIO(data_set + bytes(len(data_set) % 2))
    status = [answer.status for answer in association.ask(request, context_id)][-1]
    return SendResult(item.path, item.sop_instance_uid, status, status_text(status))


def _not_accepted(item: FileObject) -> str:
    sop_class, transfer_syntax = (UID(uid).name for uid in item.context)
    return f"the peer does not accept {sop_class} in {transfer_syntax}"


def send_paths(
    paths: Iterable[Path],
    to: str,
    calling_ae_title: str,
    *,
    associations: int = 1,
    one_per_instance: bool = False,
) -> bool:
    """Send files and folders of any storage SOP class, and log what is not sent.

    Parameters
    ----------
    paths : iterable of Path
        Files, and folders searched in depth; what cannot be read or is not DICOM is named and
        skipped.
    to : str
        ``AET@HOST:PORT``.
    calling_ae_title : str
        How the node presents itself.
    associations : int, optional
        How many associations at the same time share the files.
    one_per_instance : bool, optional
        Whether each file gets an association of its own.

    Returns
    -------
    bool
        Whether there was something to send, and the peer confirmed all of it. False also where a
        file or folder could not be read, which may hold an object; what is no DICOM does not count.

    Raises
    ------
    InvalidAddress
        `to` is malformed.
    PeerUnavailable
        No association, or one was lost.
    """
    peer = parse_address(to)
    objects = []
    unreadable = 0
    for path in walk(paths):
        pipe = path.is_fifo()  # opening it would wait for a writer
        found = SendResult(path, "", None, _PIPE) if pipe else read_object(path)
        if isinstance(found, SendResult):
            log.warning("file skipped", file=printable_name(path), reason=found.text)
            unreadable += found.text not in _NO_OBJECT
        else:
            objects.append(path)
    results: list[SendResult] = []
    shares = [[path] for path in objects] if one_per_instance else _shares(objects, associations)
    with ThreadPoolExecutor(max_workers=associations) as pool:
        waiting = [
            pool.submit(send_files, peer, share, results.append, calling_ae_title=calling_ae_title)
            for share in shares
        ]
    for share_done in waiting:
        share_done.result()
    failed = [result for result in results if not result.sent]
    for result in failed:
        log.error("not sent", sop_instance_uid=result.sop_instance_uid, reason=result.text)
    for text, number in _warnings(results).items():
        log.warning("stored with a warning", status=text, objects=number)
    log.info(
        "sending finished",
        peer=to,
        sent=len(results) - len(failed),
        failed=len(failed),
        unreadable=unreadable,
    )
    return bool(results) and not failed and not unreadable


def _warnings(results: Iterable[SendResult]) -> Counter[str]:
    return Counter(
        result.text for result in results if result.status is not None and is_warning(result.status)
    )


def _shares(files: Sequence[Path], number: int) -> list[Sequence[Path]]:
    return [files[first::number] for first in range(min(number, len(files)))]
