"""Delivery: the outbox of one destination, attempted until the archive confirms."""

from collections.abc import Sequence
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

        def wanted(path: Path) -> bool:
            allowed = self._storage.outbox.offer(waiting[path], datetime.now(UTC))
            if not allowed:
                del waiting[path]
            return allowed

        def on_result(result: SendResult) -> None:
            self._record(waiting.pop(result.path), result)

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
            self._fail(tuple(waiting.values()), str(error))

    def _record(self, delivery: Delivery, result: SendResult) -> None:
        if not result.sent:
            self._fail((delivery,), result.text)
            return
        remark = "" if result.status == 0 else result.text
        self._storage.outbox.mark_sent(delivery, remark, datetime.now(UTC))
        log.info(
            "delivered",
            destination=self._destination.name,
            role=delivery.role,
            sop_instance_uid=delivery.sop_instance_uid,
            stack_id=delivery.stack_id,
            series_instance_uids=list(delivery.series_instance_uids),
        )

    def _fail(self, deliveries: Sequence[Delivery], error: str) -> None:
        now = datetime.now(UTC)
        destination = self._destination
        patience = timedelta(days=destination.give_up_after_days)
        retried = 0
        for delivery in deliveries:
            gives_up = now - delivery.created_at >= patience
            if gives_up and self._storage.outbox.park(delivery, error, now):
                log.error(
                    "delivery parked for the admin",
                    destination=destination.name,
                    stack_id=delivery.stack_id,
                    series_instance_uids=list(delivery.series_instance_uids),
                    sop_instance_uid=delivery.sop_instance_uid,
                    reason=error,
                )
                continue
            delay = next_delay(
                delivery.attempts + 1, destination.retry_first_s, destination.retry_max_s
            )
            self._storage.outbox.mark_failed(delivery, error, now + timedelta(seconds=delay))
            retried += 1
        if retried:
            log.warning(
                "not delivered, will be tried again",
                destination=destination.name,
                objects=retried,
                reason=error,
            )
