"""Instances as received, which association brought them, and which studies have changed."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row, func, or_, select, union, update

from storage.database import Database, insert_row
from storage.folder import DataFolder, sync_folder
from storage.record import NewInstance, Recorded, StoreKind, record
from storage.schema import associations, carried, instances, stack_instances, stacks, studies
from storage.states import AssociationState, StackState

__all__ = [
    "Carriage",
    "ChangedStudy",
    "Instances",
    "NewInstance",
    "StoreKind",
    "Stored",
    "StoredInstance",
]


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of an instance.

    Attributes
    ----------
    kind : StoreKind
        NEW; DUPLICATE: the current version again; NEW_VERSION: another content is current now,
        either never seen before or an older one that came again.
    path : Path
        The file.
    previous_path : Path or None
        With NEW_VERSION, the file of the version that was current, unless it was deleted.
    """

    kind: StoreKind
    path: Path
    previous_path: Path | None = None


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """The current version of an instance; `path` is None once retention has deleted its file."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    digest: str
    header_json: str
    path: Path | None
    association_id: int
    calling_ae_title: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class ChangedStudy:
    """A study to look at; `changes` counts what was stored of it so far."""

    study_instance_uid: str
    changed_at: datetime
    changes: int


@dataclass(frozen=True, slots=True)
class Carriage:
    """How the instances of a stack came in.

    Attributes
    ----------
    associations : int
        Number of associations that carried any of them, duplicates included.
    still_open, aborted : bool
        Whether one of these is still open, or ended without a release.
    last_released, last_received : datetime or None
        Aware UTC; None while there is none.
    """

    associations: int
    still_open: bool
    aborted: bool
    last_released: datetime | None
    last_received: datetime | None


class Instances:
    """The instance store of one data folder."""

    def __init__(self, database: Database, folder: DataFolder) -> None:
        self._database = database
        self._folder = folder

    def open_association(self, calling_ae_title: str, address: str, now: datetime) -> int:
        """Record an association that carries instances; returns its id."""
        row = {
            "calling_ae_title": calling_ae_title,
            "address": address,
            "state": AssociationState.OPEN,
            "opened_at": now,
        }
        with self._database.write() as connection:
            return insert_row(connection, associations, row)

    def close_association(self, association_id: int, *, released: bool, now: datetime) -> None:
        """Record how an association ended; an abort or a lost connection is not a release."""
        state = AssociationState.RELEASED if released else AssociationState.ABORTED
        with self._database.write() as connection:
            connection.execute(
                update(associations)
                .where(
                    associations.c.id == association_id,
                    associations.c.state == AssociationState.OPEN,
                )
                .values(state=state, closed_at=now)
            )

    def close_lost_associations(self, now: datetime) -> int:
        """Close as aborted what a crash left open; returns how many."""
        with self._database.write() as connection:
            return connection.execute(
                update(associations)
                .where(associations.c.state == AssociationState.OPEN)
                .values(state=AssociationState.ABORTED, closed_at=now)
            ).rowcount

    def store(self, new: NewInstance, content: bytes) -> Stored:
        """Store one instance; on return its file and its record would survive a power cut.

        Parameters
        ----------
        new : NewInstance
            What is known of it.
        content : bytes
            The DICOM file (PS3.10).

        Raises
        ------
        StorageFull
            Less than the watermark is free, or the disk is full.
        StorageFault
            The database cannot be written.
        OSError
            The disk fails otherwise.
        """
        self._folder.require_room()
        path = self._folder.instance_path(new.digest)
        relative = self._folder.relative(path)
        while True:
            written = not path.exists()
            if written:
                self._folder.write(path, content)
            else:
                sync_folder(path.parent)  # another thread, or one before a crash, may not have
            with self._database.write() as connection:
                # Retention deletes inside a transaction of its own, so this look is the last word.
                if path.exists():
                    return self._stored(record(connection, new, relative, written=written), path)

    def current(self, study_instance_uid: str) -> tuple[StoredInstance, ...]:
        """Return the current version of each instance of a study, in order of arrival."""
        query = (
            select(instances)
            .where(instances.c.study_instance_uid == study_instance_uid, instances.c.is_current)
            .order_by(instances.c.id)
        )
        with self._database.read() as connection:
            return tuple(self._instance(row) for row in connection.execute(query))

    def studies_to_assess(self) -> tuple[ChangedStudy, ...]:
        """Return the studies that changed since they were assessed, or have a waiting stack."""
        changed = select(studies.c.study_instance_uid).where(
            studies.c.changes > studies.c.assessed_changes
        )
        waiting = select(stacks.c.study_instance_uid).where(stacks.c.state == StackState.WAITING)
        query = (
            select(studies.c.study_instance_uid, studies.c.changed_at, studies.c.changes)
            .where(studies.c.study_instance_uid.in_(union(changed, waiting)))
            .order_by(studies.c.changed_at)
        )
        with self._database.read() as connection:
            return tuple(ChangedStudy(*row) for row in connection.execute(query))

    def mark_assessed(self, study: ChangedStudy) -> None:
        """Record that a study was assessed as it was when `studies_to_assess` returned it.

        What was stored since then has a higher count and brings the study up again.
        """
        with self._database.write() as connection:
            connection.execute(
                update(studies)
                .where(
                    studies.c.study_instance_uid == study.study_instance_uid,
                    or_(studies.c.assessed_changes < study.changes, studies.c.fault.is_not(None)),
                )
                .values(assessed_changes=study.changes, fault=None)
            )

    def note_fault(self, study: ChangedStudy, fault: str) -> None:
        """Record why a study could not be assessed; kept until it is."""
        with self._database.write() as connection:
            connection.execute(
                update(studies)
                .where(studies.c.study_instance_uid == study.study_instance_uid)
                .values(fault=fault)
            )

    def carriage(self, stack_id: int) -> Carriage:
        """Tell how the instances of a stack came in, and how the associations ended."""
        state = associations.c.state
        query = (
            select(
                func.count(carried.c.association_id.distinct()),
                func.coalesce(func.max(state == AssociationState.OPEN), 0),
                func.coalesce(func.max(state == AssociationState.ABORTED), 0),
                func.max(associations.c.closed_at).filter(state == AssociationState.RELEASED),
                func.max(carried.c.received_at),
            )
            .select_from(stack_instances)
            .join(carried, carried.c.instance_id == stack_instances.c.instance_id)
            .join(associations, associations.c.id == carried.c.association_id)
            .where(stack_instances.c.stack_id == stack_id)
        )
        with self._database.read() as connection:
            count, still_open, aborted, released, received = connection.execute(query).one()
        return Carriage(count, bool(still_open), bool(aborted), released, received)

    def _stored(self, recorded: Recorded, path: Path) -> Stored:
        previous = recorded.previous_path and self._folder.absolute(recorded.previous_path)
        return Stored(recorded.kind, path, previous if previous and previous.exists() else None)

    def _instance(self, row: Row[Any]) -> StoredInstance:
        return StoredInstance(
            row.sop_instance_uid,
            row.sop_class_uid,
            row.series_instance_uid,
            row.study_instance_uid,
            row.transfer_syntax_uid,
            row.digest,
            row.header_json,
            None if row.file_deleted_at else self._folder.absolute(row.path),
            row.association_id,
            row.calling_ae_title,
            row.received_at,
        )
