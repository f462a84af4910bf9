"""Delivery: the outbox of one destination, attempted until the archive confirms."""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from config.schema import DestinationSettings, NodeSettings
from dicom_node.errors import PeerUnavailable
from dicom_node.peer import PeerAddress
from dicom_node.send import SendResult, next_delay, send_files
from storage import Storage
from storage.outbox import Delivery

log = structlog.get_logger()

_LEVELS = {
    "delivered": logging.INFO,
    "delivered with a warning": logging.WARNING,
    "delivery parked for the admin": logging.ERROR,
}


@dataclass(frozen=True, slots=True)
class _Told:
    """What came of the objects of one batch: one line of the log per stack and reason.

    `ended` holds what is sent or given up, by event, stack and reason; `retried` counts the rest.
    """

    destination: str
    ended: defaultdict[tuple[str, int, str], list[Delivery]] = field(
        default_factory=lambda: defaultdict(list)
    )
    retried: Counter[str] = field(default_factory=Counter)

    def note(self, event: str, delivery: Delivery, reason: str) -> None:
        """Note that a delivery has ended; the object itself is told to who debugs."""
        self.ended[event, delivery.stack_id, reason].append(delivery)
        log.debug(
            "object of a delivery",
            outcome=event,
            destination=self.destination,
            role=delivery.role,
            sop_instance_uid=delivery.sop_instance_uid,
            stack_id=delivery.stack_id,
        )

    def log(self) -> None:
        """Tell it."""
        for (event, stack_id, reason), some in self.ended.items():
            log.log(
                _LEVELS[event],
                event,
                destination=self.destination,
                objects=len(some),
                stack_id=stack_id,
                study_instance_uid=some[0].study_instance_uid,
                series_instance_uids=list(some[0].series_instance_uids),
                **({"reason": reason} if reason else {}),
            )
        for reason, objects in self.retried.items():
            log.warning(
                "not delivered, will be tried again",
                destination=self.destination,
                objects=objects,
                reason=reason,
            )


class Deliverer:
    """Sends what is due at one destination.

    Parameters
    ----------
    storage : Storage
        The outbox.
    destination : DestinationSettings
        Where to, and how patiently.
    node : NodeSettings
        How the node presents itself, and time-outs.
    """

    def __init__(
        self, storage: Storage, destination: DestinationSettings, node: NodeSettings
    ) -> None:
        self._storage = storage
        self._destination = destination
        self._node = node

    def deliver(self) -> None:
        """Send what is due, over one association; what is not confirmed is tried again later.

        What is stopped while others are sent stays here.
        """
        due = self._storage.outbox.due(self._destination.name, datetime.now(UTC))
        if not due:
            return
        destination = self._destination
        waiting = {delivery.path: delivery for delivery in due}
        told = _Told(destination.name)

        def wanted(path: Path) -> bool:
            allowed = self._storage.outbox.offer(waiting[path], datetime.now(UTC))
            if not allowed:
                del waiting[path]
            return allowed

        def on_result(result: SendResult) -> None:
            self._record(waiting.pop(result.path), result, told)

        try:
            send_files(
                PeerAddress(destination.ae_title, destination.host, destination.port),
                [delivery.path for delivery in due],
                on_result,
                calling_ae_title=destination.calling_ae_title or self._node.ae_title,
                settings=self._node,
                wanted=wanted,
            )
        except PeerUnavailable as error:
            self._fail(tuple(waiting.values()), str(error), told)
        finally:
            told.log()

    def _record(self, delivery: Delivery, result: SendResult, told: _Told) -> None:
        if not result.sent:
            self._fail((delivery,), result.text, told)
            return
        remark = "" if result.status == 0 else result.text
        self._storage.outbox.mark_sent(delivery, remark, datetime.now(UTC))
        told.note("delivered with a warning" if remark else "delivered", delivery, remark)

    def _fail(self, deliveries: Sequence[Delivery], error: str, told: _Told) -> None:
        now = datetime.now(UTC)
        destination = self._destination
        patience = timedelta(days=destination.give_up_after_days)
        for delivery in deliveries:
            gives_up = now - delivery.created_at >= patience
            if gives_up and self._storage.outbox.park(delivery, error, now):
                told.note("delivery parked for the admin", delivery, error)
                continue
            delay = next_delay(
                delivery.attempts + 1, destination.retry_first_s, destination.retry_max_s
            )
            self._storage.outbox.mark_failed(delivery, error, now + timedelta(seconds=delay))
            told.retried[error] += 1
