"""A small archive for demonstration and tests: Storage SCP into a folder. Not for patient data."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import structlog

from config.schema import NodeSettings
from dicom_node.errors import PeerUnavailable
from dicom_node.peer import PeerAddress
from dicom_node.receive import ReceivedInstance, Receiver
from dicom_node.send import send_files

log = structlog.get_logger()


class Archive:
    """Answers C-ECHO, keeps what it gets by C-STORE as ``<SOP Instance UID>.dcm``, takes anybody.

    Parameters
    ----------
    ae_title, port, host
        Where it listens.
    folder : Path
        Where files go; made when absent.
    forward_to : PeerAddress, optional
        A peer that gets everything of an association as soon as that is released, as some
        archives are set up to do.
    """

    def __init__(
        self,
        ae_title: str,
        port: int,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        forward_to: PeerAddress | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        settings = NodeSettings(
            ae_title=ae_title, host=host, port=port, accept_unknown_peers=True,
            check_called_ae_title=False,
        )  # fmt: skip
        self._sink = _FolderSink(folder, ae_title, forward_to)
        self._receiver = Receiver(settings, (), self._sink)

    def start(self) -> None:
        """Listen; see `Receiver.start`."""
        self._receiver.start()

    def stop(self) -> None:
        """Stop listening and finish forwarding."""
        self._receiver.stop(drain_s=5)
        self._sink.finish()


class _FolderSink:
    def __init__(self, folder: Path, ae_title: str, forward_to: PeerAddress | None) -> None:
        self._folder = folder
        self._ae_title = ae_title
        self._forward_to = forward_to
        self._forwarder = ThreadPoolExecutor(max_workers=1)
        self._ids = count(1)
        self._received: dict[int, list[Path]] = {}

    def open_association(self, calling_ae_title: str, address: str) -> int:  # noqa: ARG002
        association_id = next(self._ids)
        self._received[association_id] = []
        return association_id

    def store(self, instance: ReceivedInstance) -> bool:
        path = self._folder / f"{instance.uids.sop_instance_uid}.dcm"
        is_news = not path.exists()
        partial = path.with_suffix(f".part{instance.association_id}")
        partial.write_bytes(instance.file_bytes())
        partial.replace(path)
        self._received[instance.association_id].append(path)
        return is_news

    def close_association(self, association_id: int, released: bool) -> None:
        files = self._received.pop(association_id)
        if released and self._forward_to:
            self._forwarder.submit(self._forward, self._forward_to, files)

    def finish(self) -> None:
        self._forwarder.shutdown()

    def _forward(self, peer: PeerAddress, files: Sequence[Path]) -> None:
        try:
            send_files(peer, files, lambda _: None, calling_ae_title=self._ae_title)
        except PeerUnavailable as error:
            log.warning("not forwarded", reason=str(error))
