"""DICOM peers as the node calls them: addresses, associations it opens, C-ECHO."""

import queue
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_ECHO, C_FIND, C_STORE
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from config.schema import AETitle, Host, NodeSettings, Port
from dicom_node.errors import InvalidAddress, PeerUnavailable
from dicom_node.network import STORED_SOP_CLASSES, application_entity, tune_socket

_DEFAULTS = NodeSettings()
_AE_TITLE: TypeAdapter[str] = TypeAdapter(AETitle)
_PORT: TypeAdapter[int] = TypeAdapter(Port)
_HOST: TypeAdapter[str] = TypeAdapter(Host)


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """AE title, host name or address, and port of a peer."""

    ae_title: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.ae_title}@{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A DIMSE response: to which request, its status, and the encoded data set, if any."""

    message_id: int
    status: int
    data_set: bytes

    @property
    def is_pending(self) -> bool:
        """Whether more answers to the same request follow."""
        return self.status in (0xFF00, 0xFF01)


@dataclass(frozen=True, slots=True)
class EchoResult:
    """What a peer said to C-ECHO and to the storage classes that were proposed.

    Attributes
    ----------
    status : int or None
        DIMSE status of C-ECHO; None when the peer does not offer verification.
    accepted, refused : tuple of str
        Storage SOP Class UIDs, accepted and refused in Explicit VR Little Endian.
    """

    status: int | None
    accepted: tuple[str, ...]
    refused: tuple[str, ...]


def parse_address(text: str) -> PeerAddress:
    """Read ``AET@HOST:PORT``; an IPv6 address stands in brackets.

    Raises
    ------
    InvalidAddress
        A part is missing or not allowed; the message says which.
    """
    ae_title, _, place = text.rpartition("@")
    host, _, port = place.rpartition(":")
    if not (ae_title and host and port):
        raise InvalidAddress(f"'{text}': a peer is given as AET@HOST:PORT, e.g. PACS@10.0.0.5:104")
    try:
        title = _AE_TITLE.validate_python(ae_title)
    except ValidationError as error:
        raise InvalidAddress(
            f"'{text}': an AE title has 1 to 16 printable ASCII characters and no backslash"
        ) from error
    try:
        number = _PORT.validate_python(port)
    except ValidationError as error:
        raise InvalidAddress(f"'{text}': the port is a number from 1 to 65535") from error
    try:
        name = _HOST.validate_python(host.strip("[]"))
    except ValidationError as error:
        raise InvalidAddress(f"'{text}': '{host}' is not a host name or address") from error
    return PeerAddress(title, name, number)


class OutgoingAssociation:
    """An association that the node opened: asks, and waits for the answers.

    The library's own `send_c_store` and its like share what is received with a thread of the
    library, which at times takes an answer away and drops it (pynetdicom issues 435 and 875), so
    that the caller waits in vain. Here answers are taken by an event, as they arrive.
    """

    def __init__(self, peer: PeerAddress) -> None:
        self._peer = peer
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._association: Association | None = None
        self._socket: socket.socket | None = None
        self._connected = False
        self._rejection: A_ASSOCIATE | None = None

    def open(
        self, calling_ae_title: str, contexts: Sequence[PresentationContext], settings: NodeSettings
    ) -> None:
        """Open it; see `open_association`."""
        peer = self._peer
        try:
            association = application_entity(calling_ae_title, settings).associate(
                peer.host,
                peer.port,
                contexts=list(contexts),
                ae_title=peer.ae_title,
                max_pdu=settings.max_pdu_bytes,
                evt_handlers=[
                    (evt.EVT_ACSE_SENT, self._on_request_sent),
                    (evt.EVT_CONN_OPEN, self._on_connected),
                    (evt.EVT_PDU_RECV, self._on_pdu),
                    (evt.EVT_DIMSE_RECV, self._on_message),
                    (evt.EVT_ABORTED, self._on_end),
                    (evt.EVT_RELEASED, self._on_end),
                ],
            )
        except OSError as error:
            raise PeerUnavailable(f"{peer}: {error.strerror or error}") from error
        if not association.is_established:
            if self._socket is not None:
                self._socket.close()  # which pynetdicom forgets when there is no connection
            raise PeerUnavailable(f"{peer}: {self._why_not(association, calling_ae_title)}")
        self._association = association

    @property
    def accepted(self) -> dict[tuple[str, str], int]:
        """Ids of the accepted contexts, by SOP class and transfer syntax."""
        return {
            (str(context.abstract_syntax), str(context.transfer_syntax[0])): context.context_id or 0
            for context in self._opened.accepted_contexts
        }

    def ask(self, request: C_ECHO | C_FIND | C_STORE, context_id: int) -> Iterator[Answer]:
        """Send a request and yield its answers; the last one is not pending.

        Raises
        ------
        PeerUnavailable
            The association was lost, or there was no answer in time and it was aborted.
        """
        association = self._opened
        association.dimse.send_msg(request, context_id)
        while True:
            try:
                answer = self._answers.get(timeout=association.dimse_timeout)
            except queue.Empty:
                association.abort()
                raise PeerUnavailable(f"{self._peer}: no answer in time") from None
            if answer is None:
                raise PeerUnavailable(f"{self._peer}: the association was lost")
            if answer.message_id == request.MessageID:
                yield answer
                if not answer.is_pending:
                    return

    def close(self) -> None:
        """Release it, if it is still there."""
        if self._association and self._association.is_established:
            self._association.release()

    @property
    def _opened(self) -> Association:
        if self._association is None or not self._association.is_established:
            raise PeerUnavailable(f"{self._peer}: the association was lost")
        return self._association

    def _why_not(self, association: Association, calling_ae_title: str) -> str:
        """Say why an association is not established."""
        if not self._connected:
            return "no connection"
        if self._rejection is not None:
            reason = f"{self._rejection.result_str}, {self._rejection.reason_str}"
            return f"association rejected: {reason} (the calling AE title was {calling_ae_title})"
        if association.rejected_contexts:
            proposed = {str(context.abstract_syntax) for context in association.rejected_contexts}
            names = ", ".join(sorted(UID(uid).name for uid in proposed))
            return f"none of the proposed SOP classes and transfer syntaxes is accepted: {names}"
        return "association aborted by the peer, or no answer in time"

    def _on_request_sent(self, event: evt.Event) -> None:
        wrapper = event.assoc.dul.socket
        if self._socket is None and wrapper is not None:
            self._socket = wrapper.socket

    def _on_connected(self, event: evt.Event) -> None:
        self._connected = True
        tune_socket(event)

    def _on_pdu(self, event: evt.Event) -> None:
        """Keep a rejection: the library loses it when the peer closes the connection at once."""
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            self._rejection = event.pdu.to_primitive()

    def _on_message(self, event: evt.Event) -> None:
        command, data_set = event.message.command_set, event.message.data_set
        if "Status" in command:
            number = command.get("MessageIDBeingRespondedTo", 0)
            content = data_set.getvalue() if data_set else b""
            self._answers.put(Answer(number, command.Status, content))

    def _on_end(self, event: evt.Event) -> None:  # noqa: ARG002
        self._answers.put(None)


@contextmanager
def open_association(
    peer: PeerAddress,
    calling_ae_title: str,
    contexts: Sequence[PresentationContext],
    settings: NodeSettings = _DEFAULTS,
) -> Iterator[OutgoingAssociation]:
    """Open an association for the length of a `with` block, then release it.

    Parameters
    ----------
    peer : PeerAddress
        Whom to call.
    calling_ae_title : str
        How the node presents itself.
    contexts : sequence of PresentationContext
        At most 128.
    settings : NodeSettings, optional
        Time-outs and largest PDU.

    Raises
    ------
    PeerUnavailable
        No connection, a rejection, an abort, or none of the contexts was accepted.
    """
    association = OutgoingAssociation(peer)
    association.open(calling_ae_title, contexts, settings)
    try:
        yield association
    finally:
        association.close()


def echo(
    peer: PeerAddress,
    calling_ae_title: str,
    sop_classes: Sequence[str] = STORED_SOP_CLASSES,
    settings: NodeSettings = _DEFAULTS,
) -> EchoResult:
    """Verify a peer by C-ECHO, and ask which storage SOP classes it accepts.

    Raises
    ------
    PeerUnavailable
        No association, or no answer to C-ECHO.
    """
    contexts = [build_context(uid, ExplicitVRLittleEndian) for uid in (Verification, *sop_classes)]
    with open_association(peer, calling_ae_title, contexts, settings) as association:
        offered = association.accepted
        status = None
        verification = offered.get((Verification, ExplicitVRLittleEndian))
        if verification is not None:
            request = C_ECHO()
            request.MessageID = 1
            request.AffectedSOPClassUID = Verification
            status = [answer.status for answer in association.ask(request, verification)][-1]
    accepted = tuple(uid for uid in sop_classes if (uid, ExplicitVRLittleEndian) in offered)
    return EchoResult(status, accepted, tuple(uid for uid in sop_classes if uid not in accepted))
