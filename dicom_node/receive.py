"""The node as Storage SCP: takes instances by C-STORE and hands them, as received, to a sink."""

import socketserver
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Protocol, cast

import structlog
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.transport import ThreadedAssociationServer

from config.schema import NodeSettings, PeerSettings
from dicom_node.associations import Associations, Session
from dicom_node.dimse import (
    CANNOT_UNDERSTAND,
    DATA_SET_MISMATCH,
    OUT_OF_RESOURCES,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
    StoreRefused,
    refusal_of,
    response,
)
from dicom_node.encoded import InstanceUids, file_header, printable_uid, read_uids
from dicom_node.errors import CannotListen
from dicom_node.network import (
    IMPLEMENTATION_VERSION_NAME,
    STORED_SOP_CLASSES,
    application_entity,
    stored_contexts,
    tune_socket,
)
from dicom_node.policy import AssociationPolicy
from pipeline.results.common import IMPLEMENTATION_CLASS_UID

log = structlog.get_logger()

_MAX_UID = 64


@dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """One instance as it came.

    Attributes
    ----------
    association_id : int
        What `InstanceSink.open_association` returned for the association that carried it.
    calling_ae_title : str
        The peer that sent it.
    uids : InstanceUids
        SOP class, instance, study and series; each of 1 to 64 digits and dots.
    transfer_syntax_uid : str
        How `data_set` is encoded.
    data_set : bytes
        The encoded data set as received, without file meta information.
    received_at : datetime
        Aware UTC.
    """

    association_id: int
    calling_ae_title: str
    uids: InstanceUids
    transfer_syntax_uid: str
    data_set: bytes
    received_at: datetime

    def file_bytes(self) -> bytes:
        """Return a DICOM file (PS3.10): file meta information before the unchanged data set."""
        header = file_header(
            self.uids,
            self.transfer_syntax_uid,
            self.calling_ae_title,
            IMPLEMENTATION_CLASS_UID,
            IMPLEMENTATION_VERSION_NAME,
        )
        return header + self.data_set


class InstanceSink(Protocol):
    """Where received instances go. Called from several threads, for one association from one."""

    def open_association(self, calling_ae_title: str, address: str) -> int:
        """Record an association, when its first instance is received; returns its id."""

    def close_association(self, association_id: int, released: bool) -> None:
        """Record, once, that it ended: by release, or by abort or loss of the connection."""

    def store(self, instance: ReceivedInstance) -> bool:
        """Return only when the instance would survive a power cut; False if it was there before.

        Raises
        ------
        TransientError, OSError
            No room or a failing disk: answered as out of resources.
        PermanentError
            The instance cannot be accepted: answered as not understood.
        """


class _Server(ThreadedAssociationServer):
    """The listening socket: room for many calls at once, and a regular look for lost threads."""

    request_queue_size = 128
    daemon_threads = True
    sweep: Callable[[], None]

    def service_actions(self) -> None:
        super().service_actions()
        self.sweep()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        log.exception("connection failed", address=str(client_address))

    def close(self) -> None:
        """Stop listening; associations go on."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()


class Receiver:
    """Storage and Verification SCP on one address and port.

    Parameters
    ----------
    settings : NodeSettings
        AE title, address, limits and time-outs.
    peers : sequence of PeerSettings
        The allow-list, see `AssociationPolicy`.
    sink : InstanceSink
        Where instances go; success is answered only after `sink.store` returned.
    sop_classes : sequence of str, optional
        Storage SOP classes to accept.
    """

    def __init__(
        self,
        settings: NodeSettings,
        peers: Sequence[PeerSettings],
        sink: InstanceSink,
        sop_classes: Sequence[str] = STORED_SOP_CLASSES,
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._contexts = stored_contexts(sop_classes)
        self._associations = Associations(
            AssociationPolicy(settings, peers),
            sink.close_association,
            settings.max_instance_mb << 20,
        )
        self._server: _Server | None = None

    def start(self) -> None:
        """Listen, in threads of its own.

        Raises
        ------
        CannotListen
            The address is not one of this host, or the port is taken or needs privileges.
        """
        host, port = self._settings.host, self._settings.port
        entity = application_entity(self._settings.ae_title, self._settings)
        entity.maximum_associations = 2**31 - 1  # the policy counts, and leaves port scanners out
        try:
            server = entity.make_server(
                (host, port),
                contexts=self._contexts,
                evt_handlers=self._handlers(),
                server_class=_Server,
            )
        except OSError as error:
            raise CannotListen(f"{host}:{port}: {error.strerror or error}") from error
        self._server = cast(_Server, server)
        self._server.sweep = self._associations.end_lost
        threading.Thread(target=server.serve_forever, name="dicom listener", daemon=True).start()
        log.info("listening", ae_title=self._settings.ae_title, host=host, port=port)

    def stop(self, drain_s: float = 15.0) -> None:
        """Stop listening, let senders finish, abort those who are idle.

        Parameters
        ----------
        drain_s : float
            How long associations that are in use may go on; then further instances are refused
            and associations aborted. A store that takes seconds longer still is left to the end
            of the process.
        """
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self._associations.drain(drain_s)
        log.info("stopped listening", left_in_mid_store=len(self._associations))

    def _handlers(self) -> list[evt.EventHandlerType]:
        return [
            (evt.EVT_CONN_OPEN, tune_socket),
            (evt.EVT_DIMSE_RECV, self._on_message),
            (evt.EVT_C_STORE, self._on_store),
            *self._associations.handlers(),
        ]

    def _on_message(self, event: evt.Event) -> None:
        """See to requests that pynetdicom would leave without an answer.

        Those without a UID it ignores, so they are answered here. Those with a UID of more than
        64 characters make it abort; cut, they come to `_on_store` and match no data set.
        """
        message = event.message
        if not isinstance(message, C_STORE_RQ):
            return
        command = message.command_set
        needed = ("AffectedSOPClassUID", "AffectedSOPInstanceUID", "Priority")
        missing = [name for name in needed if name not in command or command[name].is_empty]
        if missing:
            answer = C_STORE()
            answer.MessageIDBeingRespondedTo = command.get("MessageID", 0)
            answer.Status = CANNOT_UNDERSTAND
            answer.AffectedSOPClassUID = command.get("AffectedSOPClassUID") or None
            event.assoc.dimse.send_msg(answer, cast(int, message.context_id))
            reason = f"request lacks {', '.join(missing)}"
            self._note_refusal(StoreRefused(CANNOT_UNDERSTAND, reason), event.assoc, "")
        elif len(str(command.AffectedSOPInstanceUID)) > _MAX_UID:
            command["AffectedSOPInstanceUID"].value = str(command.AffectedSOPInstanceUID)[:_MAX_UID]

    def _on_store(self, event: evt.Event) -> Dataset:
        try:
            session = self._associations[event.assoc]
            with session.store_in_progress():
                self._store(event, session)
        except Exception as error:  # whatever comes, the peer gets an answer
            refusal = refusal_of(error)
            if refusal.is_fault:
                log.exception("storing failed", exc_info=error)
            uid = cast(C_STORE, event.request).AffectedSOPInstanceUID
            self._note_refusal(refusal, event.assoc, uid)
            return response(refusal.status, refusal.reason)
        return response(SUCCESS)

    def _store(self, event: evt.Event, session: Session) -> None:
        if self._associations.refusing:
            raise StoreRefused(OUT_OF_RESOURCES, "the node is stopping")
        data_set = event.encoded_dataset(include_meta=False)
        uids = _check(event, data_set)
        caller = session.caller
        if session.record_id is None:
            session.record_id = self._sink.open_association(caller.calling_ae_title, caller.address)
        instance = ReceivedInstance(
            association_id=session.record_id,
            calling_ae_title=caller.calling_ae_title,
            uids=uids,
            transfer_syntax_uid=event.context.transfer_syntax,
            data_set=data_set,
            received_at=datetime.now(UTC),
        )
        is_news = self._sink.store(instance)
        session.stored += 1
        session.unchanged += not is_news

    def _note_refusal(self, refusal: StoreRefused, association: Association, uid: object) -> None:
        session = self._associations[association]
        session.refused += 1
        log.warning(
            "instance refused",
            sop_instance_uid=printable_uid(uid),
            status=f"0x{refusal.status:04X}",
            reason=refusal.reason,
            **asdict(session.caller),
        )


def _check(event: evt.Event, data_set: bytes) -> InstanceUids:
    """Read the UIDs of the data set and compare them with those of the command."""
    request = cast(C_STORE, event.request)
    if request.AffectedSOPClassUID != event.context.abstract_syntax:
        raise StoreRefused(SOP_CLASS_NOT_SUPPORTED, "SOP class is not that of the context")
    uids = read_uids(data_set, event.context.transfer_syntax)
    if uids.sop_class_uid != request.AffectedSOPClassUID:
        raise StoreRefused(DATA_SET_MISMATCH, "SOP Class UID is not that of the command")
    if uids.sop_instance_uid != request.AffectedSOPInstanceUID:
        raise StoreRefused(DATA_SET_MISMATCH, "SOP Instance UID is not that of the command")
    return uids
