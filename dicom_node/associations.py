"""Associations that peers opened to the node: admitted, watched, and ended exactly once."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import cast
from weakref import WeakKeyDictionary, WeakSet

import structlog
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_node.encoded import is_valid_uid, printable_uid
from dicom_node.policy import (
    EVEN_CONTEXT_ID,
    FAULT,
    INCOMPLETE_CONTEXT,
    STOPPING,
    AssociationPolicy,
    AssociationRequest,
    Refusal,
)

log = structlog.get_logger()

# A sender leaves a few milliseconds between two instances; one that is silent for longer is idle.
_IDLE_S = 0.5
_ABORT_S = 2.0
_REFUSED_NAMED = 5  # an archive proposes all the classes there are
_REQUEST_HEAD = 42  # bytes of an A-ASSOCIATE-RQ up to the end of the calling AE title


@dataclass(frozen=True, slots=True)
class Caller:
    """Who opened an association, and from where."""

    calling_ae_title: str
    address: str


@dataclass(eq=False, slots=True)
class Session:
    """One admitted association. Its thread writes here; `stop` of the receiver looks on.

    Attributes
    ----------
    record_id : int or None
        Id under which the sink knows the association; None until its first instance.
    stored, unchanged, refused : int
        Instances answered with success, those among them that were there before, and the others.
    storing : bool
        An instance is being stored.
    touched : float
        When something was last received or stored, monotonic seconds.
    """

    caller: Caller
    record_id: int | None = None
    stored: int = 0
    unchanged: int = 0
    refused: int = 0
    storing: bool = False
    aborting: bool = False
    touched: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def store_in_progress(self) -> Iterator[None]:
        """Hold off the end of the session, and every abort, while an instance is stored."""
        self.storing = True
        try:
            with self.lock:
                yield
        finally:
            self.touched = time.monotonic()
            self.storing = False


class Associations:
    """The open associations of one receiver.

    Parameters
    ----------
    policy : AssociationPolicy
        Decides who is admitted.
    record_end : callable
        Called once per association that has a record, with its id and whether it was released.
    longest_message : int
        Most bytes of one message; an association that sends more is aborted.

    Attributes
    ----------
    refusing : bool
        The time to drain is up: instances are refused from now on.
    """

    def __init__(
        self,
        policy: AssociationPolicy,
        record_end: Callable[[int, bool], None],
        longest_message: int,
    ) -> None:
        self._policy = policy
        self._record_end = record_end
        self._longest_message = longest_message
        self._connected: WeakSet[Association] = WeakSet()
        self._first_pdu: WeakKeyDictionary[Association, bytes] = WeakKeyDictionary()
        self._even: WeakSet[Association] = WeakSet()
        self._sessions: dict[Association, Session] = {}
        self._lock = threading.Lock()
        self._closing = False
        self.refusing = False

    def __len__(self) -> int:
        return len(self._sessions)

    def __getitem__(self, association: Association) -> Session:
        return self._sessions[association]

    def handlers(self) -> list[evt.EventHandlerType]:
        """Event handlers to bind to the server."""
        return [
            (evt.EVT_CONN_OPEN, self._on_connected),
            (evt.EVT_DATA_RECV, self._on_data),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_PDU_RECV, self._on_pdu),
            (evt.EVT_RELEASED, self._on_released),
            (evt.EVT_ABORTED, self._on_aborted),
            (evt.EVT_CONN_CLOSE, self._on_connection_closed),
        ]

    def end_lost(self) -> None:
        """End the sessions of associations whose thread ended without a word."""
        for association in list(self._sessions):
            if not association.is_alive():
                self._end(association, released=association.is_released)

    def drain(self, drain_s: float) -> None:
        """Admit nobody more; let those in use go on for `drain_s`, abort the idle ones, then all.

        None is aborted while an instance is stored; one whose store takes much longer than
        `drain_s` is left to the end of the process.
        """
        with self._lock:
            self._closing = True
            ending = [cast(threading.Thread, association) for association in self._sessions]
        ending += self._abort_until_empty(_is_idle, drain_s)
        self.refusing = True
        ending += self._abort_until_empty(lambda _, session: not session.storing, _ABORT_S)
        last = time.monotonic() + _ABORT_S
        for thread in ending:
            thread.join(max(0.0, last - time.monotonic()))
        self._cut()

    def _cut(self) -> None:
        """End the connections that an abort did not end; their threads would keep the process."""
        with self._lock:
            left = [
                association for association in self._connected if association not in self._sessions
            ]
        for association in left:
            association.dul.kill_dul()
            wrapper = association.dul.socket
            connection = wrapper.socket if wrapper else None
            if connection is not None:
                with suppress(OSError):  # closed in the meantime
                    connection.shutdown(socket.SHUT_RDWR)

    def _abort_until_empty(
        self, condition: Callable[[Association, Session], bool], time_s: float
    ) -> list[threading.Thread]:
        """Abort those that meet the condition, as soon as they do; returns the threads at it."""
        threads = []
        deadline = time.monotonic() + time_s
        while self._sessions and time.monotonic() < deadline:
            for association, session in list(self._sessions.items()):
                if not session.aborting and condition(association, session):
                    threads.append(_abort(association, session))
            time.sleep(0.02)
        return threads

    def _on_connected(self, event: evt.Event) -> None:
        with self._lock:
            self._connected.add(event.assoc)

    def _on_data(self, event: evt.Event) -> None:
        """Keep the head of the first PDU, until it turns out to be a request that can be read."""
        if event.assoc.requestor.primitive is None:
            self._first_pdu.setdefault(event.assoc, event.data[:_REQUEST_HEAD])

    def _on_requested(self, event: evt.Event) -> None:
        try:
            refusal = self._admit(event.assoc)
        except Exception:  # pynetdicom would go on and accept
            log.exception("association request failed")
            refusal = FAULT
        if refusal:
            caller = asdict(caller_of(event.assoc))
            log.warning("association rejected", reason=refusal.reason, **caller)
            event.assoc.acse.send_reject(refusal.result, refusal.source, refusal.diagnostic)
            event.assoc.kill()  # waits for the peer to take it; else the socket is closed before

    def _admit(self, association: Association) -> Refusal | None:
        caller = caller_of(association)
        request = cast(A_ASSOCIATE, association.requestor.primitive)
        contexts = request.presentation_context_definition_list
        if not all(context.abstract_syntax and context.transfer_syntax for context in contexts):
            return INCOMPLETE_CONTEXT
        if association in self._even:
            return EVEN_CONTEXT_ID
        with self._lock:
            if self._closing:
                return STOPPING
            refusal = self._policy.decide(
                AssociationRequest(
                    calling_ae_title=caller.calling_ae_title,
                    called_ae_title=(request.called_ae_title or "").strip(),
                    address=caller.address,
                    open_associations=len(self._sessions),
                )
            )
            if refusal is None:
                self._sessions[association] = Session(caller)
        return refusal

    def _on_established(self, event: evt.Event) -> None:
        log.info(
            "association accepted",
            contexts=len(event.assoc.accepted_contexts),
            sop_classes_refused=_refused_sop_classes(event.assoc),
            **asdict(caller_of(event.assoc)),
        )

    def _on_pdu(self, event: evt.Event) -> None:
        if isinstance(event.pdu, A_ASSOCIATE_RQ):
            self._mend(event.assoc, event.pdu)
        session = self._sessions.get(event.assoc)
        if session is None:
            return
        session.touched = time.monotonic()
        received = _unfinished_bytes(event.assoc)
        if received > self._longest_message and not session.aborting:
            log.warning(
                "message refused: longer than node.max_instance_mb",
                received_mb=received >> 20,
                **asdict(session.caller),
            )
            _abort(event.assoc, session)

    def _mend(self, association: Association, request: A_ASSOCIATE_RQ) -> None:
        """Make even context ids odd, at which pynetdicom loses its thread; it is rejected later."""
        for context in request.presentation_context:
            context_id = context.presentation_context_id or 0
            if context_id % 2 == 0:
                context.presentation_context_id = context_id + 1
                self._even.add(association)

    def _on_released(self, event: evt.Event) -> None:
        self._end(event.assoc, released=True)

    def _on_aborted(self, event: evt.Event) -> None:
        self._end(event.assoc, released=False)

    def _on_connection_closed(self, event: evt.Event) -> None:
        # What was established ends by the two events above, after all that was still queued.
        first = self._first_pdu.pop(event.assoc, b"")
        if event.assoc.requestor.primitive is not None:
            return
        address = event.assoc.requestor.address
        if first[:1] == b"\1":
            log.warning("association request refused", reason=_unreadable(first), address=address)
        else:
            log.info("connection closed without an association", address=address)

    def _end(self, association: Association, *, released: bool) -> None:
        with self._lock:
            session = self._sessions.pop(association, None)
        if session is None:
            return
        with session.lock:
            try:
                if session.record_id is not None:
                    self._record_end(session.record_id, released)
            except Exception:  # the listener's thread comes here too and must go on
                log.exception("end of association not recorded")
        tell = log.info if released else log.warning
        tell(
            "association released" if released else "association aborted",
            stored=session.stored,
            unchanged=session.unchanged,
            refused=session.refused,
            **asdict(session.caller),
        )


def _abort(association: Association, session: Session) -> threading.Thread:
    """Abort in a thread, since an abort waits for the peer to close the connection."""
    session.aborting = True
    thread = threading.Thread(target=association.abort, daemon=True)
    thread.start()
    return thread


def _unreadable(request: bytes) -> str:
    """Say why a first PDU was not read as an A-ASSOCIATE-RQ (PS3.8 9.3.2), without quoting it."""
    for name, title in (("called", request[10:26]), ("calling", request[26:42])):
        if not re.fullmatch(rb"[\x20-\x5b\x5d-\x7e]{16}", title) or not title.strip():
            return f"its {name} AE title is not made of 1 to 16 printable ASCII characters"
    return "it cannot be decoded"


def caller_of(association: Association) -> Caller:
    """Tell who opened an association that was requested."""
    requestor = association.requestor
    title = cast(A_ASSOCIATE, requestor.primitive).calling_ae_title or ""
    return Caller(title.strip(), requestor.address)


def _refused_sop_classes(association: Association) -> list[str]:
    """Name the SOP classes that were proposed and are accepted in no transfer syntax."""
    accepted = {context.abstract_syntax for context in association.accepted_contexts}
    proposed = {context.abstract_syntax for context in association.rejected_contexts}
    names = sorted(_sop_class_name(str(uid)) for uid in proposed - accepted)
    more = len(names) - _REFUSED_NAMED
    return names if more <= 1 else [*names[:_REFUSED_NAMED], f"and {more} more"]


def _sop_class_name(uid: str) -> str:
    return UID(uid).name if is_valid_uid(uid) else printable_uid(uid)


def _unfinished_bytes(association: Association) -> int:
    message = association.dimse.message
    if message is None:
        return 0
    parts = (message.encoded_command_set, message.data_set)
    return sum(part.tell() for part in parts if part)


def _is_idle(association: Association, session: Session) -> bool:
    """Whether nothing came for a while and nothing is half received, in store or unanswered."""
    quiet_s = time.monotonic() - session.touched
    return quiet_s > _IDLE_S and not session.storing and association.dimse.message is None
