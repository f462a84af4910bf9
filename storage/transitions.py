"""How a job goes from state to state, and what its stack shows of it; inside one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from storage.database import insert_row, listed
from storage.errors import LeaseLost, OriginalsDeleted
from storage.job import Job
from storage.schema import instances, job_inputs, jobs, stacks
from storage.stacks import Stack, withdraw_jobs
from storage.states import OPEN_JOB_STATES, JobState, StackState

_ENDED = (JobState.COMPLETED, JobState.REJECTED)
_COUNTING = (*OPEN_JOB_STATES, *_ENDED, JobState.PARKED)


def job_row(connection: Connection, job_id: int) -> Row[Any]:
    """Return the row of a job."""
    return connection.execute(select(jobs).where(jobs.c.id == job_id)).one()


def held_row(connection: Connection, job: Job) -> Row[Any]:
    """Return the row of a job that the caller still holds.

    Raises
    ------
    LeaseLost
        It was taken back, or has ended.
    """
    row = job_row(connection, job.id)
    if row.state is not JobState.RUNNING or row.lease is None or row.lease != job.lease:
        raise LeaseLost(f"job {job.id} was taken back meanwhile (it is {row.state})")
    return row


def same_open_job(
    connection: Connection, stack_id: int, digest: str, *, early: bool
) -> Row[Any] | None:
    """Return the open job of a stack that computes the same inputs in the same way."""
    return connection.execute(
        select(jobs)
        .where(
            jobs.c.stack_id == stack_id,
            jobs.c.state.in_(OPEN_JOB_STATES),
            jobs.c.input_digest == digest,
            jobs.c.early == early,
        )
        .order_by(jobs.c.id.desc())
    ).first()


def insert_job(
    connection: Connection,
    stack: Stack,
    input_digests: Sequence[str],
    facts: dict[str, Any],
    now: datetime,
) -> int:
    """Insert a job in the place of one that is queued; returns its id.

    Seed and generation go on from the last job of the stack that runs or made results.

    Raises
    ------
    OriginalsDeleted
        An input was deleted by retention, or was never stored.
    """
    instance_ids = _instance_ids(connection, input_digests)
    withdraw_jobs(connection, stack.id, running=False)
    last = connection.execute(
        select(jobs.c.generation, jobs.c.result_seed)
        .where(
            jobs.c.stack_id == stack.id,
            jobs.c.state.in_((JobState.RUNNING, JobState.COMPLETED)),
        )
        .order_by(jobs.c.generation.desc(), jobs.c.id.desc())
    ).first()
    identity = {
        "result_seed": last.result_seed if last else min(stack.series_instance_uids),
        "generation": last.generation + 1 if last else 1,
    }
    row = facts | identity | {"stack_id": stack.id, "state": JobState.QUEUED, "attempts": 0}
    row |= {"created_at": now, "not_before": now}
    job_id = insert_row(connection, jobs, row)
    members = [{"job_id": job_id, "instance_id": item} for item in instance_ids]
    connection.execute(insert(job_inputs), members)
    connection.execute(update(stacks).where(stacks.c.id == stack.id).values(identity))
    return job_id


def set_job(connection: Connection, job_id: int, **values: Any) -> None:
    """Change columns of a job."""
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))


def end(
    connection: Connection, row: Row[Any], state: JobState, now: datetime, **values: Any
) -> None:
    """Bring a job to a final state."""
    set_job(connection, row.id, state=state, lease=None, finished_at=now, **values)


def newer_ended(connection: Connection, row: Row[Any]) -> bool:
    """Whether a newer job of the same stack has given its answer."""
    return _newer(connection, row, _ENDED)


def requeue(
    connection: Connection, row: Row[Any], error: str, not_before: datetime, now: datetime
) -> None:
    """Put a running job back, unless newer instances or a newer job made it pointless."""
    stack = connection.execute(select(stacks).where(stacks.c.id == row.stack_id)).one()
    if stack.input_digest != row.input_digest or _newer(connection, row, _COUNTING):
        end(connection, row, JobState.REPLACED, now, error=error)
    else:
        set_job(
            connection,
            row.id,
            state=JobState.QUEUED,
            lease=None,
            not_before=not_before,
            error=error,
        )
    show(connection, row, StackState.QUEUED, error, now)


def park(connection: Connection, row: Row[Any], error: str, now: datetime) -> None:
    """Leave a job to the admin."""
    end(connection, row, JobState.PARKED, now, error=error)
    show(connection, row, StackState.PARKED, error, now)


def show(
    connection: Connection,
    row: Row[Any],
    state: StackState,
    reason: str,
    now: datetime,
    **facts: Any,
) -> None:
    """Let the stack show the state of its job, and record `facts` with it.

    Where a newer job counts, or the stack was closed, it goes on to show that. Where newer
    instances came, it waits for a job of theirs.
    """
    stack = connection.execute(select(stacks).where(stacks.c.id == row.stack_id)).one()
    shown: dict[str, Any] = {}
    if stack.state is not StackState.UNROUTED and not _newer(connection, row, _COUNTING):
        if stack.input_digest == row.input_digest:
            shown = {"state": state, "reason": reason, "changed_at": now}
        elif stack.state in (StackState.QUEUED, StackState.RUNNING):
            waiting = "newer instances came"
            shown = {"state": StackState.WAITING, "reason": waiting, "changed_at": now}
    if facts or shown:
        connection.execute(update(stacks).where(stacks.c.id == stack.id).values(facts | shown))


def _newer(connection: Connection, row: Row[Any], states: Sequence[JobState]) -> bool:
    query = select(jobs.c.id).where(
        jobs.c.stack_id == row.stack_id, jobs.c.id > row.id, jobs.c.state.in_(states)
    )
    return connection.execute(query.limit(1)).first() is not None


def _instance_ids(connection: Connection, digests: Sequence[str]) -> list[int]:
    query = select(instances.c.id).where(
        instances.c.digest.in_(listed(digests)), instances.c.file_deleted_at.is_(None)
    )
    ids = list(connection.execute(query).scalars())
    missing = len(set(digests)) - len(ids)
    if missing:
        raise OriginalsDeleted(f"{missing} instances of the stack were deleted or never stored")
    return ids
