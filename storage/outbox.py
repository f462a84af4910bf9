"""The outbox: each result object's way to each destination, in the order they were made."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, exists, select, update

from storage.database import Database
from storage.folder import DataFolder
from storage.results import drop_deliveries
from storage.schema import instances, job_inputs, jobs, outbox, results, stacks
from storage.stacks import series_of
from storage.states import OPEN_JOB_STATES, DeliveryState, JobState, StackState


@dataclass(frozen=True, slots=True)
class Delivery:
    """One object that is due at one destination; `attempts` were made before.

    The file at `path` has the SHA-256 `sha256`.
    """

    id: int
    stack_id: int
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    destination: str
    role: str
    sop_instance_uid: str
    sop_class_uid: str
    path: Path
    sha256: str
    attempts: int
    created_at: datetime


class Outbox:
    """Deliveries of one data folder."""

    def __init__(self, database: Database, folder: DataFolder) -> None:
        self._database = database
        self._folder = folder

    def due(self, destination: str, now: datetime, limit: int = 50) -> tuple[Delivery, ...]:
        """Return what to attempt now, the oldest first; see `offer`."""
        query = (
            select(outbox, results, stacks.c.study_instance_uid)
            .join(results, results.c.id == outbox.c.result_id)
            .join(stacks, stacks.c.id == results.c.stack_id)
            .where(
                outbox.c.destination == destination,
                outbox.c.state == DeliveryState.PENDING,
                outbox.c.next_attempt_at <= now,
                ~_being_replaced(),
            )
            .order_by(outbox.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
            series = series_of(connection, {row[results.c.stack_id] for row in rows})
        return tuple(
            Delivery(
                id=row[outbox.c.id],
                stack_id=row[results.c.stack_id],
                study_instance_uid=row[stacks.c.study_instance_uid],
                series_instance_uids=tuple(sorted(series[row[results.c.stack_id]])),
                destination=destination,
                role=row[results.c.role],
                sop_instance_uid=row[results.c.sop_instance_uid],
                sop_class_uid=row[results.c.sop_class_uid],
                path=self._folder.absolute(row[results.c.path]),
                sha256=row[results.c.sha256],
                attempts=row[outbox.c.attempts],
                created_at=row[outbox.c.created_at],
            )
            for row in rows
        )

    def offer(self, delivery: Delivery, now: datetime) -> bool:
        """Note that an object is about to be sent; whatever happens then, it may have arrived.

        Returns
        -------
        bool
            False when it must not be sent: it was stopped meanwhile, or a newer job of its stack
            runs, whose results will name those that they supersede in an archive.
        """
        allowed = exists().where(results.c.id == outbox.c.result_id, ~_being_replaced())
        with self._database.write() as connection:
            offered = connection.execute(
                update(outbox)
                .where(outbox.c.id == delivery.id, outbox.c.state == DeliveryState.PENDING, allowed)
                .values(offered_at=now)
            )
        return offered.rowcount == 1

    def mark_sent(self, delivery: Delivery, remark: str, now: datetime) -> None:
        """Record that the destination confirmed the object, even if it was stopped meanwhile.

        `remark` holds the destination's warning; empty when it had none.
        """
        self._record(delivery, state=DeliveryState.SENT, settled_at=now, remark=remark)

    def mark_failed(self, delivery: Delivery, error: str, next_attempt_at: datetime) -> None:
        """Record a failed attempt; a delivery stopped meanwhile stays stopped."""
        pending = outbox.c.state == DeliveryState.PENDING
        self._record(delivery, pending, next_attempt_at=next_attempt_at, remark=error)

    def park(self, delivery: Delivery, error: str, now: datetime) -> bool:
        """Give up until the admin looks; False when it was stopped or begun anew meanwhile."""
        return self._record(
            delivery,
            outbox.c.state == DeliveryState.PENDING,
            outbox.c.created_at == delivery.created_at,
            state=DeliveryState.PARKED,
            settled_at=now,
            remark=error,
        )

    def drop_outdated(
        self, reason: str, now: datetime, series_instance_uid: str | None = None
    ) -> int:
        """Stop what was computed from versions of instances that count no more.

        Open jobs of such versions are taken back too, so that nothing of theirs follows later.

        Parameters
        ----------
        reason : str
            What the deliveries say of it.
        now : datetime
            Aware UTC.
        series_instance_uid : str, optional
            Of this series alone; without it of all, as at a start after a crash.

        Returns
        -------
        int
            How many deliveries were stopped.
        """
        concerned = select(instances.c.sop_instance_uid)
        if series_instance_uid is not None:
            concerned = concerned.where(instances.c.series_instance_uid == series_instance_uid)
        outdated = (
            select(job_inputs.c.job_id)
            .join(instances, instances.c.id == job_inputs.c.instance_id)
            .where(~instances.c.is_current, instances.c.sop_instance_uid.in_(concerned))
        )
        taken_back = (
            update(jobs)
            .where(jobs.c.id.in_(outdated), jobs.c.state.in_(OPEN_JOB_STATES))
            .values(state=JobState.REPLACED, lease=None, error=reason, finished_at=now)
            .returning(jobs.c.stack_id)
        )
        with self._database.write() as connection:
            stack_ids = set(connection.execute(taken_back).scalars())
            open_job = exists().where(
                jobs.c.stack_id == stacks.c.id, jobs.c.state.in_(OPEN_JOB_STATES)
            )
            connection.execute(
                update(stacks)
                .where(
                    stacks.c.id.in_(stack_ids),
                    stacks.c.state.in_((StackState.QUEUED, StackState.RUNNING)),
                    ~open_job,
                )
                .values(state=StackState.WAITING, reason=reason, changed_at=now)
            )
            return drop_deliveries(connection, results.c.job_id.in_(outdated), reason, now)

    def drop_stack(self, stack_id: int, reason: str, now: datetime) -> int:
        """Stop what is not delivered yet of a stack's results; returns how many."""
        with self._database.write() as connection:
            return drop_deliveries(connection, results.c.stack_id == stack_id, reason, now)

    def _record(self, delivery: Delivery, *which: ColumnElement[bool], **values: object) -> bool:
        """Count an attempt and record what came of it, if the delivery fulfils `which`."""
        with self._database.write() as connection:
            recorded = connection.execute(
                update(outbox)
                .where(outbox.c.id == delivery.id, *which)
                .values(attempts=outbox.c.attempts + 1, **values)
            )
        return recorded.rowcount == 1


def _being_replaced() -> ColumnElement[bool]:
    """Whether a job runs that will supersede the result."""
    return exists().where(
        jobs.c.stack_id == results.c.stack_id,
        jobs.c.state == JobState.RUNNING,
        jobs.c.id > results.c.job_id,
    )
