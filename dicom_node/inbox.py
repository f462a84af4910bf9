"""The sink of the receiver: received instances into storage, one log line per event."""

from datetime import UTC, datetime
from pathlib import Path

import structlog

from dicom_node.receive import ReceivedInstance
from pipeline.errors import Rejection
from pipeline.headers import (
    read_header,
)
from pipeline.versions import IDENTITY_KEYWORDS, changed_attributes, digest_bytes
from storage import Storage
from storage.instances import NewInstance, StoreKind

log = structlog.get_logger()


class Inbox:
    """Stores what the receiver takes in; an `InstanceSink`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def open_association(self, calling_ae_title: str, address: str) -> int:
        """Record an association that carries instances."""
        return self._storage.instances.open_association(
            calling_ae_title, address, datetime.now(UTC)
        )

    def close_association(self, association_id: int, released: bool) -> None:
        """Record that it ended."""
        self._storage.instances.close_association(
            association_id, released=released, now=datetime.now(UTC)
        )

    def store(self, instance: ReceivedInstance) -> bool:
        """Store one instance, synced with its record; False when it was there before.

        Raises
        ------
        Rejection
            The header cannot be read.
        StorageFull
            Less than the refuse watermark is free.
        """
        content = instance.file_bytes()
        stored = self._storage.instances.store(
            NewInstance(
                sop_instance_uid=instance.uids.sop_instance_uid,
                sop_class_uid=instance.uids.sop_class_uid,
                series_instance_uid=instance.uids.series_instance_uid,
                study_instance_uid=instance.uids.study_instance_uid,
                transfer_syntax_uid=instance.transfer_syntax_uid,
                digest=digest_bytes(instance.transfer_syntax_uid, instance.data_set),
                header_json=read_header(content).to_json(),
                association_id=instance.association_id,
                calling_ae_title=instance.calling_ae_title,
                received_at=instance.received_at,
            ),
            content,
        )
        if stored.kind is StoreKind.NEW_VERSION and stored.previous_path is not None:
            self._note_new_version(instance, stored.previous_path, stored.path)
        return stored.kind is not StoreKind.DUPLICATE

    def _note_new_version(self, instance: ReceivedInstance, old: Path, new: Path) -> None:
        """Log what changed, without values; stop results made for another identity."""
        try:
            changed = changed_attributes(old, new)
        except (OSError, Rejection):  # nobody can tell what changed: the worst is assumed
            changed = tuple(sorted(IDENTITY_KEYWORDS))
        log.warning(
            "instance replaced by another version",
            sop_instance_uid=instance.uids.sop_instance_uid,
            series_instance_uid=instance.uids.series_instance_uid,
            changed=list(changed),
        )
        if IDENTITY_KEYWORDS & set(changed):
            stopped = self._storage.outbox.drop_outdated(
                "the patient's identity changed",
                datetime.now(UTC),
                instance.uids.series_instance_uid,
            )
            if stopped:
                log.warning(
                    "patient identity changed: undelivered results stopped",
                    series_instance_uid=instance.uids.series_instance_uid,
                    stopped=stopped,
                )
