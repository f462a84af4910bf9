"""Jobs: queued, claimed with a lease, finished in one transaction with what they made."""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from storage.database import Database
from storage.folder import DataFolder
from storage.job import EarlierResult, Job, JobInput, Standing
from storage.record import assess_again
from storage.results import (
    NewResult,
    look_at_files,
    offered_results,
    queue_deliveries,
    record_results,
    supersede,
)
from storage.schema import instances, job_inputs, jobs, results, stacks, studies
from storage.stacks import input_digest, read_stack, series_of
from storage.states import JobState, ResultState, StackState
from storage.transitions import (
    end,
    held_row,
    insert_job,
    job_row,
    newer_ended,
    park,
    requeue,
    same_open_job,
    set_job,
    show,
)

UNCHANGED = "; it came to the same results as before"
_SHOWN = {JobState.QUEUED: StackState.QUEUED, JobState.RUNNING: StackState.RUNNING}


class Jobs:
    """The queue."""

    def __init__(self, database: Database, folder: DataFolder) -> None:
        self._database = database
        self._folder = folder

    def enqueue(
        self,
        stack_id: int,
        inputs: Sequence[JobInput],
        *,
        trigger: str,
        early: bool = False,
        now: datetime,
    ) -> Job:
        """Queue a stack.

        A queued job of older inputs is replaced. One that runs goes on; when the newer one ends
        first, what the older one finds is recorded as superseded. The same inputs again are the
        same job.

        Raises
        ------
        OriginalsDeleted
            An input was deleted by retention, or was never stored.
        """
        digest = input_digest(item.digest for item in inputs)
        with self._database.write() as connection:
            row = same_open_job(connection, stack_id, digest, early=early)
            if row is None:
                facts = {"input_digest": digest, "trigger": trigger, "early": early}
                stack = read_stack(connection, stack_id)
                digests = [item.digest for item in inputs]
                row = job_row(connection, insert_job(connection, stack, digests, facts, now))
            show(connection, row, _SHOWN[row.state], trigger, now)
            return self._read(connection, row.id)

    def claim(self, lease_s: float, now: datetime, owner: str = "") -> Job | None:
        """Take the oldest job that is due; None when there is none.

        Parameters
        ----------
        lease_s : float
            Seconds until the claim expires unless `extend` is called.
        now : datetime
            Aware.
        owner : str
            Who claims, for the record.
        """
        query = (
            select(jobs.c.id)
            .where(jobs.c.state == JobState.QUEUED, jobs.c.not_before <= now)
            .order_by(jobs.c.not_before, jobs.c.id)
            .limit(1)
        )
        with self._database.read() as connection:
            if connection.execute(query).first() is None:
                return None
        with self._database.write() as connection:
            job_id = connection.execute(query).scalar()
            if job_id is None:
                return None
            earlier = offered_results(connection, job_row(connection, job_id).stack_id)
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(
                    state=JobState.RUNNING,
                    attempts=jobs.c.attempts + 1,
                    lease=uuid.uuid4().hex,
                    lease_owner=owner,
                    lease_expires_at=now + timedelta(seconds=lease_s),
                    supersedes=_as_text(earlier),
                )
            )
            row = job_row(connection, job_id)
            show(connection, row, StackState.RUNNING, row.trigger, now)
            return self._read(connection, job_id)

    def extend(self, job: Job, lease_s: float, now: datetime) -> None:
        """Keep a claim for another `lease_s` seconds.

        Raises
        ------
        LeaseLost
            The job is no longer this worker's.
        """
        with self._database.write() as connection:
            held_row(connection, job)
            expires = now + timedelta(seconds=lease_s)
            set_job(connection, job.id, lease_expires_at=expires)

    def finish(
        self,
        job: Job,
        new: Sequence[NewResult],
        destinations: Sequence[str],
        summary_json: str,
        now: datetime,
    ) -> None:
        """Record results, their deliveries and the end of the job in one transaction.

        Older results of the stack are superseded, and stopped where they are not delivered yet.
        If a newer job of the stack has ended already, these results are the superseded ones.
        Results with the UIDs of those that stand are these once more: they are delivered again, as
        they were made first. The study is looked at again, since reports of its other stacks may
        take in what was found.

        Parameters
        ----------
        job : Job
            As claimed.
        new : sequence of NewResult
            Their files were written by `DataFolder.persist_result`.
        destinations : sequence of str
            Who gets them, in this order, but for what a result says of itself.
        summary_json : str
            Findings; opaque here.
        now : datetime
            Aware.

        Raises
        ------
        LeaseLost
            The job is no longer this worker's; nothing is recorded.
        """
        files = look_at_files(self._folder, new)
        with self._database.write() as connection:
            row = held_row(connection, job)
            late = newer_ended(connection, row)
            same = not late and _take_over_identity(connection, job, new)
            state = ResultState.SUPERSEDED if late else ResultState.CURRENT
            if not late:
                supersede(connection, row.stack_id, now)
            facts = {"job_id": row.id, "stack_id": row.stack_id, "state": state, "created_at": now}
            ids = record_results(connection, new, files, facts)
            end(connection, row, JobState.COMPLETED, now, summary_json=summary_json)
            if not late:
                queue_deliveries(connection, zip(ids, new, strict=True), destinations, now)
                done = {"computed_input_digest": row.input_digest, "completed_job_id": row.id}
                reason = row.trigger + UNCHANGED if same else row.trigger
                show(connection, row, StackState.COMPLETED, reason, now, **done)
                study = select(stacks.c.study_instance_uid).where(stacks.c.id == row.stack_id)
                assess_again(connection, studies.c.study_instance_uid == study.scalar_subquery())

    def reject(self, job: Job, reason: str, now: datetime, *, code: str = "") -> None:
        """End a job whose input is at fault.

        Results of older inputs stay as they are.

        Raises
        ------
        LeaseLost
            The job is no longer this worker's.
        """
        with self._database.write() as connection:
            row = held_row(connection, job)
            end(connection, row, JobState.REJECTED, now, error=reason, rejection_code=code)
            if not newer_ended(connection, row):
                done = {"computed_input_digest": row.input_digest, "completed_job_id": None}
                show(connection, row, StackState.REJECTED, reason, now, **done)

    def defer(self, job: Job, reason: str, now: datetime) -> None:
        """End a job that was started too early: the stack waits again, and remembers for what.

        Raises
        ------
        LeaseLost
            The job is no longer this worker's.
        """
        with self._database.write() as connection:
            row = held_row(connection, job)
            end(connection, row, JobState.DEFERRED, now, error=reason)
            deferred = {"deferred_input_digest": row.input_digest}
            show(connection, row, StackState.WAITING, reason, now, **deferred)

    def retry(self, job: Job, error: str, not_before: datetime, now: datetime) -> None:
        """Put a job back after a failure that may pass; a newer job of the stack replaces it.

        Raises
        ------
        LeaseLost
            The job is no longer this worker's.
        """
        with self._database.write() as connection:
            requeue(connection, held_row(connection, job), error, not_before, now)

    def release(self, job: Job, now: datetime) -> None:
        """Put a job back because its worker stops; that costs no attempt.

        Raises
        ------
        LeaseLost
            The job is no longer this worker's.
        """
        with self._database.write() as connection:
            row = held_row(connection, job)
            set_job(connection, job.id, attempts=jobs.c.attempts - 1)
            requeue(connection, row, "its worker stopped", row.not_before, now)

    def park(self, job: Job, error: str, now: datetime) -> None:
        """Leave a job that failed too often to the admin, who sends the study again (`record`).

        Raises
        ------
        LeaseLost
            The job is no longer this worker's.
        """
        with self._database.write() as connection:
            park(connection, held_row(connection, job), error, now)

    def release_expired(self, now: datetime, *, all_running: bool = False) -> int:
        """Put back the jobs whose claim expired; that counts as an attempt.

        Parameters
        ----------
        now : datetime
            Aware.
        all_running : bool
            Put back all that run: their process is gone.

        Returns
        -------
        int
            How many.
        """
        query = select(jobs).where(jobs.c.state == JobState.RUNNING)
        if not all_running:
            query = query.where(jobs.c.lease_expires_at < now)
        with self._database.write() as connection:
            rows = connection.execute(query).all()
            for row in rows:
                requeue(connection, row, "its worker was lost", row.not_before, now)
        return len(rows)

    def recover(self, max_attempts: int, now: datetime, *, all_running: bool) -> int:
        """Put back the jobs whose worker was lost, and park those that lose one each time.

        Parameters
        ----------
        max_attempts : int
            A job that was started so often is parked.
        now : datetime
            Aware.
        all_running : bool
            Put back all that run, not only where the claim expired.

        Returns
        -------
        int
            How many were put back or parked.
        """
        count = self.release_expired(now, all_running=all_running)
        used_up = select(jobs).where(
            jobs.c.state == JobState.QUEUED, jobs.c.attempts >= max_attempts
        )
        with self._database.write() as connection:
            rows = connection.execute(used_up).all()
            for row in rows:
                park(connection, row, row.error or "its worker was lost", now)
        return max(count, len(rows))

    def _read(self, connection: Connection, job_id: int) -> Job:
        row = job_row(connection, job_id)
        stack = connection.execute(select(stacks).where(stacks.c.id == row.stack_id)).one()
        return Job(
            id=row.id,
            stack_id=row.stack_id,
            study_instance_uid=stack.study_instance_uid,
            series_instance_uids=tuple(sorted(series_of(connection, [stack.id])[stack.id])),
            pipeline=stack.pipeline,
            source_ae_titles=tuple(json.loads(stack.source_ae_titles)),
            inputs=self._inputs(connection, job_id),
            trigger=row.trigger,
            early=row.early,
            result_seed=row.result_seed,
            generation=row.generation,
            created_at=row.created_at,
            attempts=row.attempts,
            lease=row.lease,
            supersedes=_earlier(row),
            standing=_standing(connection, row.stack_id),
        )

    def _inputs(self, connection: Connection, job_id: int) -> tuple[JobInput, ...]:
        query = (
            select(instances.c.sop_instance_uid, instances.c.digest, instances.c.path)
            .join(job_inputs, job_inputs.c.instance_id == instances.c.id)
            .where(job_inputs.c.job_id == job_id)
            .order_by(instances.c.sop_instance_uid)
        )
        return tuple(
            JobInput(uid, digest, self._folder.absolute(path))
            for uid, digest, path in connection.execute(query)
        )


def _earlier(row: Row[Any]) -> tuple[EarlierResult, ...]:
    """What a job superseded when it was started; jobs of older layouts tell of nothing."""
    found = json.loads(row.supersedes or "[]")
    times = [
        datetime.fromisoformat(text) if (text := one.get("created_at")) else None for one in found
    ]
    return tuple(
        EarlierResult(**{**one, "created_at": time}) for one, time in zip(found, times, strict=True)
    )


def _as_text(earlier: Iterable[EarlierResult]) -> str:
    """What `_earlier` reads; times in ISO 8601."""
    return json.dumps([asdict(one) for one in earlier], default=datetime.isoformat)


def _standing(connection: Connection, stack_id: int) -> Standing | None:
    """Return the current result of a stack; of several that were joined, the latest."""
    rows = connection.execute(
        select(results.c.sop_instance_uid, results.c.job_id)
        .where(results.c.stack_id == stack_id, results.c.state == ResultState.CURRENT)
        .order_by(results.c.id)
    ).all()
    if not rows:
        return None
    made = job_row(connection, rows[-1].job_id)
    return Standing(
        sop_instance_uids=tuple(row.sop_instance_uid for row in rows if row.job_id == made.id),
        result_seed=made.result_seed,
        generation=made.generation,
        created_at=made.created_at,
        supersedes=_earlier(made),
    )


def _take_over_identity(connection: Connection, job: Job, new: Sequence[NewResult]) -> bool:
    """Give a job that came to the standing result what identified it; False for another result."""
    standing = _standing(connection, job.stack_id)
    uids = {result.sop_instance_uid for result in new}
    if standing is None or uids.isdisjoint(standing.sop_instance_uids):
        return False
    identity = {"result_seed": standing.result_seed, "generation": standing.generation}
    earlier = _as_text(standing.supersedes)
    set_job(connection, job.id, **identity, created_at=standing.created_at, supersedes=earlier)
    connection.execute(update(stacks).where(stacks.c.id == job.stack_id).values(identity))
    return True
