"""Retention: originals and results are deleted a set time after delivery, never before.

A stack allows it when none of its jobs is open, none of its deliveries is still to be made, and
either all its current results were confirmed everywhere long enough ago, or it was rejected or
left alone long enough ago, at least a day. An instance goes when all stacks that have it, in
whatever version, allow it. What has no destination was never delivered, and stays; so does what is
parked.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, exists, or_, select, update

from config.schema import StorageSettings
from storage.database import Database, listed
from storage.errors import StorageFault
from storage.folder import DataFolder
from storage.schema import (
    instances,
    job_inputs,
    jobs,
    outbox,
    results,
    stack_instances,
    stacks,
    studies,
)
from storage.states import (
    OPEN_JOB_STATES,
    UNSETTLED_DELIVERY_STATES,
    DeliveryState,
    ResultState,
    StackState,
)

_BATCH = 200
# However short the configuration makes it: a study that still arrives looks unused at first.
_LEAST_UNUSED_AGE = timedelta(days=1)


class Retention:
    """Deletes files that are done with; their records stay."""

    def __init__(self, database: Database, folder: DataFolder, settings: StorageSettings) -> None:
        self._database = database
        self._folder = folder
        self._delivered = timedelta(days=settings.delete_delivered_after_days)
        unused = timedelta(days=settings.delete_unused_after_days)
        self._unused = max(unused, _LEAST_UNUSED_AGE)

    def candidates(self, now: datetime) -> tuple[Path, ...]:
        """Return the recorded files that may be deleted now."""
        with self._database.read() as connection:
            rows = [
                row
                for table in (instances, results)
                for row in connection.execute(self._query(table, now))
            ]
        return tuple(self._folder.absolute(row.path) for row in rows)

    def delete(self, now: datetime) -> int:
        """Delete what may go, and files that no record knows; returns the number of files.

        Files go in small batches, each inside the transaction that marks its records. After a
        crash in between, a record may name a file that is gone: the next run marks it, and a
        store of the same instance writes it again.

        Raises
        ------
        StorageFault
            Files that could not be deleted; they are tried again next time.
        """
        failed: list[Path] = []
        count = self._delete_strays(now, failed)
        for table in (instances, results):
            with self._database.read() as connection:
                ids = [row.id for row in connection.execute(self._query(table, now))]
            for start in range(0, len(ids), _BATCH):
                count += self._delete_batch(table, ids[start : start + _BATCH], now, failed)
        if failed:
            raise StorageFault(f"{len(failed)} files could not be deleted, first {failed[0]}")
        return count

    def _delete_batch(
        self, table: Table, ids: Sequence[int], now: datetime, failed: list[Path]
    ) -> int:
        with self._database.write() as connection:
            rows = connection.execute(
                self._query(table, now).where(table.c.id.in_(listed(ids)))
            ).all()
            gone = [row.id for row in rows if self._unlink(row.path, failed)]
            connection.execute(
                update(table).where(table.c.id.in_(listed(gone))).values(file_deleted_at=now)
            )
        return len(gone)

    def _delete_strays(self, now: datetime, failed: list[Path]) -> int:
        """Delete files that a crash left without a record, once they are old enough."""
        before = (now - self._unused).timestamp()
        old = [path for path in self._folder.files() if path.stat().st_mtime <= before]
        paths = [self._folder.relative(path) for path in old]
        count = 0
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            with self._database.write() as connection:
                strays = set(batch) - _recorded(connection, batch)
                count += sum(self._unlink(path, failed) for path in sorted(strays))
        return count

    def _unlink(self, relative: str, failed: list[Path]) -> bool:
        path = self._folder.absolute(relative)
        try:
            path.unlink(missing_ok=True)
        except OSError:
            failed.append(path)
            return False
        return True

    def _query(self, table: Table, now: datetime) -> Select[tuple[int, str]]:
        allowing = select(stacks.c.id).where(_allows(now, self._delivered, self._unused))
        may_go = (
            _instance_may_go(allowing, now, self._delivered, self._unused)
            if table is instances
            else _result_may_go(allowing)
        )
        return (
            select(table.c.id, table.c.path)
            .where(table.c.file_deleted_at.is_(None), may_go)
            .order_by(table.c.id)
        )


def _allows(now: datetime, delivered: timedelta, unused: timedelta) -> ColumnElement[bool]:
    """Whether a stack allows that its files are deleted."""
    of_stack = results.c.stack_id == stacks.c.id
    current = and_(of_stack, results.c.state == ResultState.CURRENT)
    delivery = outbox.c.result_id == results.c.id
    sent = outbox.c.state == DeliveryState.SENT
    confirmed = and_(
        stacks.c.state == StackState.COMPLETED,
        exists().where(current, delivery, sent),
        ~exists().where(current, delivery, or_(~sent, outbox.c.settled_at > now - delivered)),
    )
    done_with = and_(
        stacks.c.state.in_((StackState.UNROUTED, StackState.REJECTED)),
        stacks.c.changed_at <= now - unused,
    )
    return and_(
        _assessed(stacks),
        ~exists().where(jobs.c.stack_id == stacks.c.id, jobs.c.state.in_(OPEN_JOB_STATES)),
        ~exists().where(of_stack, delivery, outbox.c.state.in_(UNSETTLED_DELIVERY_STATES)),
        or_(confirmed, done_with),
    )


def _assessed(table: Table) -> ColumnElement[bool]:
    """Whether nothing was stored in the study since it was last looked at."""
    return exists().where(
        studies.c.study_instance_uid == table.c.study_instance_uid,
        studies.c.changes <= studies.c.assessed_changes,
    )


def _instance_may_go(
    allowing: Select[tuple[int]], now: datetime, delivered: timedelta, unused: timedelta
) -> ColumnElement[bool]:
    version = instances.alias()
    member = and_(
        version.c.sop_instance_uid == instances.c.sop_instance_uid,
        stack_instances.c.instance_id == version.c.id,
    )
    needed = and_(
        job_inputs.c.instance_id == instances.c.id,
        jobs.c.id == job_inputs.c.job_id,
        jobs.c.state.in_(OPEN_JOB_STATES),
    )
    return and_(
        _assessed(instances),
        instances.c.written_at <= now - delivered,
        ~exists().where(needed),
        ~exists().where(member, stack_instances.c.stack_id.not_in(allowing)),
        or_(exists().where(member), instances.c.written_at <= now - unused),
    )


def _result_may_go(allowing: Select[tuple[int]]) -> ColumnElement[bool]:
    """Whether a result of an allowing stack was superseded, or its job's results were sent.

    Some of these may be nobody's: no destination has their profile.
    """
    same_file = results.alias()
    shared = and_(same_file.c.path == results.c.path, same_file.c.stack_id.not_in(allowing))
    sibling = results.alias()
    settled = exists().where(
        sibling.c.job_id == results.c.job_id, outbox.c.result_id == sibling.c.id
    )
    return and_(
        results.c.stack_id.in_(allowing),
        ~exists().where(shared),
        or_(results.c.state == ResultState.SUPERSEDED, settled),
    )


def _recorded(connection: Connection, paths: Sequence[str]) -> set[str]:
    return {
        path
        for table in (instances, results)
        for path in connection.execute(
            select(table.c.path).where(
                table.c.path.in_(listed(paths)), table.c.file_deleted_at.is_(None)
            )
        ).scalars()
    }
