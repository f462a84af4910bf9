"""Stacks: what is measured together, where it stands, and what it was last computed from."""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, exists, insert, select, update

from storage.database import Database, insert_row, listed
from storage.matching import Known, Matching, Wanted, match
from storage.results import drop_deliveries
from storage.schema import instances, jobs, results, stack_instances, stack_series, stacks
from storage.states import OPEN_JOB_STATES, JobState, StackState


@dataclass(frozen=True, slots=True)
class StackProposal:
    """A stack as routing sees it now.

    Attributes
    ----------
    pipeline : str or None
        None for what is left alone.
    series_instance_uids, source_ae_titles : tuple of str
        The series it is made of, and who sent them.
    digests : tuple of str
        Digest of each instance: it tells the instance and its version.
    reason : str
        Why it was routed so.
    """

    pipeline: str | None
    series_instance_uids: tuple[str, ...]
    source_ae_titles: tuple[str, ...]
    digests: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as recorded.

    Attributes
    ----------
    input_digest : str
        Stands for the instances it has now.
    computed_input_digest, deferred_input_digest : str or None
        The instances it was last completed or rejected with, and those that were too few.
    result_seed : str or None
        Decides the series of its results; fixed with the first job that runs.
    generation : int
        Of its latest job; 0 before the first.
    findings_json : str or None
        What the job said whose results are current.
    changed_at : datetime
        When its instances or its state changed last.
    """

    id: int
    study_instance_uid: str
    pipeline: str | None
    series_instance_uids: tuple[str, ...]
    source_ae_titles: tuple[str, ...]
    state: StackState
    reason: str
    input_digest: str
    computed_input_digest: str | None
    deferred_input_digest: str | None
    result_seed: str | None
    generation: int
    findings_json: str | None
    created_at: datetime
    changed_at: datetime


class Stacks:
    """The stacks of all studies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reconcile(
        self, study_instance_uid: str, proposals: Sequence[StackProposal], now: datetime
    ) -> tuple[Stack, ...]:
        """Bring the recorded stacks of a study in line with what routing proposes.

        A proposal continues the recorded stack it shares a series with (`storage.matching`), with
        its jobs and results. When its instances changed it waits again, whatever it was before,
        and a job that still waits for a worker is withdrawn. A stack that goes into another
        takes its results along, to be superseded together; one without jobs is just removed.

        Returns
        -------
        tuple of Stack
            In the order of the proposals.

        Raises
        ------
        ValueError
            A proposal names a digest that was never stored in this study.
        """
        with self._database.write() as connection:
            known = _known(connection, study_instance_uid)
            members = _members(connection, study_instance_uid, proposals)
            wanted = [
                Wanted(item.pipeline, frozenset(item.series_instance_uids), ids)
                for item, ids in zip(proposals, members, strict=True)
            ]
            decision = match(known, wanted)
            new = {"study_instance_uid": study_instance_uid, "generation": 0, "created_at": now}
            ids = []
            for continued, proposal, target in zip(
                decision.continued, proposals, wanted, strict=True
            ):
                stack_id, changed = _continue(connection, continued, proposal, new)
                if changed:
                    _set_members(connection, stack_id, target)
                ids.append(stack_id)
            _clear(connection, known, decision, ids, now)
            found = read_stacks(connection, stacks.c.id.in_(listed(ids)))
            by_id = {stack.id: stack for stack in found}
            return tuple(by_id[stack_id] for stack_id in ids)

    def get(self, stack_id: int) -> Stack:
        """Return one stack; `KeyError` when there is none of this id."""
        with self._database.read() as connection:
            return read_stack(connection, stack_id)

    def of_study(self, study_instance_uid: str) -> tuple[Stack, ...]:
        """Return the stacks of a study."""
        with self._database.read() as connection:
            return tuple(read_stacks(connection, stacks.c.study_instance_uid == study_instance_uid))

    def waiting(self) -> tuple[Stack, ...]:
        """Return the stacks that wait until they are complete."""
        with self._database.read() as connection:
            return tuple(read_stacks(connection, stacks.c.state == StackState.WAITING))

    def set_state(self, stack_id: int, state: StackState, reason: str, now: datetime) -> None:
        """Record where a stack stands; nothing is written when it stands there already."""
        with self._database.write() as connection:
            connection.execute(
                update(stacks)
                .where(
                    stacks.c.id == stack_id,
                    (stacks.c.state != state) | (stacks.c.reason != reason),
                )
                .values(state=state, reason=reason, changed_at=now)
            )

    def reject(self, stack_id: int, reason: str, now: datetime) -> None:
        """Turn a stack down without a job; an instance that changes or comes back wakes it."""
        self.set_state(stack_id, StackState.REJECTED, reason, now)

    def set_reason(self, stack_id: int, reason: str) -> None:
        """Record what a stack waits for; ignored when it no longer waits."""
        with self._database.write() as connection:
            connection.execute(
                update(stacks)
                .where(
                    stacks.c.id == stack_id,
                    stacks.c.state == StackState.WAITING,
                    stacks.c.reason != reason,
                )
                .values(reason=reason)
            )


def input_digest(digests: Iterable[str]) -> str:
    """SHA-256 that stands for a set of instances, whatever their order."""
    return hashlib.sha256("\n".join(sorted(set(digests))).encode()).hexdigest()


def series_of(connection: Connection, stack_ids: Collection[int]) -> dict[int, list[str]]:
    """Return the series of each stack."""
    series: dict[int, list[str]] = {stack_id: [] for stack_id in stack_ids}
    query = select(stack_series.c.stack_id, stack_series.c.series_instance_uid).where(
        stack_series.c.stack_id.in_(listed(stack_ids))
    )
    for stack_id, uid in connection.execute(query):
        series[stack_id].append(uid)
    return series


def read_stack(connection: Connection, stack_id: int) -> Stack:
    """Return one stack; `KeyError` when there is none of this id."""
    for stack in read_stacks(connection, stacks.c.id == stack_id):
        return stack
    raise KeyError(stack_id)


def read_stacks(connection: Connection, *which: ColumnElement[bool]) -> list[Stack]:
    """Return the stacks that fulfil `which`, the one that changed last at the end."""
    query = (
        select(stacks, jobs.c.summary_json)
        .outerjoin(jobs, jobs.c.id == stacks.c.completed_job_id)
        .where(*which)
        .order_by(stacks.c.changed_at, stacks.c.id)
    )
    rows = connection.execute(query).all()
    series = series_of(connection, [row.id for row in rows])
    return [_as_stack(row, series[row.id]) for row in rows]


def _as_stack(row: Row[Any], series: Iterable[str]) -> Stack:
    return Stack(
        id=row.id,
        study_instance_uid=row.study_instance_uid,
        pipeline=row.pipeline,
        series_instance_uids=tuple(sorted(series)),
        source_ae_titles=tuple(json.loads(row.source_ae_titles)),
        state=row.state,
        reason=row.reason,
        input_digest=row.input_digest,
        computed_input_digest=row.computed_input_digest,
        deferred_input_digest=row.deferred_input_digest,
        result_seed=row.result_seed,
        generation=row.generation,
        findings_json=row.summary_json,
        created_at=row.created_at,
        changed_at=row.changed_at,
    )


def _known(connection: Connection, study_instance_uid: str) -> list[Known]:
    computed = exists().where(jobs.c.stack_id == stacks.c.id)
    rows = connection.execute(
        select(stacks.c.id, stacks.c.pipeline, computed).where(
            stacks.c.study_instance_uid == study_instance_uid
        )
    ).all()
    series = series_of(connection, [row.id for row in rows])
    members: dict[int, set[int]] = {row.id: set() for row in rows}
    stored, now = instances.alias(), instances.alias()
    of = select(stack_instances.c.stack_id, now.c.id).where(
        stack_instances.c.stack_id.in_(listed(members)),
        stored.c.id == stack_instances.c.instance_id,
        now.c.sop_instance_uid == stored.c.sop_instance_uid,
        now.c.is_current,
    )
    for stack_id, instance_id in connection.execute(of):
        members[stack_id].add(instance_id)
    return [
        Known(stack_id, pipeline, frozenset(series[stack_id]), frozenset(members[stack_id]), had)
        for stack_id, pipeline, had in rows
    ]


def _members(
    connection: Connection, study_instance_uid: str, proposals: Sequence[StackProposal]
) -> list[frozenset[int]]:
    """Ids of the instances of each proposal."""
    rows = connection.execute(
        select(instances.c.digest, instances.c.id).where(
            instances.c.study_instance_uid == study_instance_uid
        )
    )
    ids = {row.digest: row.id for row in rows}
    unknown = {digest for item in proposals for digest in item.digests} - ids.keys()
    if unknown:
        raise ValueError(f"{len(unknown)} instances of a proposal were never stored in its study")
    return [frozenset(ids[digest] for digest in item.digests) for item in proposals]


def _continue(
    connection: Connection, stack_id: int | None, proposal: StackProposal, new: dict[str, Any]
) -> tuple[int, bool]:
    """Write a proposal into the stack it continues, or into one that starts as `new`.

    Returns
    -------
    (int, bool)
        Id of the stack, and whether its instances may have changed.
    """
    facts: dict[str, Any] = {
        "pipeline": proposal.pipeline,
        "source_ae_titles": json.dumps(sorted(proposal.source_ae_titles)),
        "input_digest": input_digest(proposal.digests),
    }
    if proposal.pipeline is None:
        facts["reason"] = proposal.reason  # other rules may leave it alone now
    state = {
        "state": StackState.UNROUTED if proposal.pipeline is None else StackState.WAITING,
        "reason": proposal.reason,
        "changed_at": new["created_at"],
    }
    if stack_id is None:
        return insert_row(connection, stacks, new | facts | state), True
    row = connection.execute(select(stacks).where(stacks.c.id == stack_id)).one()
    if all(getattr(row, name) == value for name, value in facts.items()):
        return stack_id, False
    if (row.pipeline, row.input_digest) != (facts["pipeline"], facts["input_digest"]):
        withdraw_jobs(connection, stack_id, running=row.pipeline != proposal.pipeline)
        facts |= state
    connection.execute(update(stacks).where(stacks.c.id == stack_id).values(facts))
    return stack_id, True


def withdraw_jobs(connection: Connection, stack_id: int, *, running: bool) -> None:
    """Withdraw the job that waits for a worker; with `running`, also fence one that runs."""
    states = OPEN_JOB_STATES if running else (JobState.QUEUED,)
    connection.execute(
        update(jobs)
        .where(jobs.c.stack_id == stack_id, jobs.c.state.in_(states))
        .values(state=JobState.REPLACED, lease=None)
    )


def _clear(
    connection: Connection,
    known: Collection[Known],
    decision: Matching,
    ids: Sequence[int],
    now: datetime,
) -> None:
    """Remove, join or close the recorded stacks that no proposal continues."""
    computed = {stack.id for stack in known if stack.computed}
    for stack_id, index in decision.joined:
        if stack_id in computed:
            _join(connection, stack_id, ids[index], now)
    for stack_id in decision.left:
        if stack_id in computed:
            _close(connection, stack_id, now)
    gone = {stack_id for stack_id, _ in decision.joined} | set(decision.left) - computed
    if gone:
        connection.execute(delete(stacks).where(stacks.c.id.in_(listed(gone))))


def _join(connection: Connection, stack_id: int, into: int, now: datetime) -> None:
    """Hand jobs and results over; they are superseded by the next result of the joined stack."""
    withdraw_jobs(connection, stack_id, running=True)
    for table in (jobs, results):
        connection.execute(update(table).where(table.c.stack_id == stack_id).values(stack_id=into))
    connection.execute(
        update(stacks)
        .where(stacks.c.id == into, stacks.c.pipeline.is_not(None))
        .values(state=StackState.WAITING, reason="joined with another stack", changed_at=now)
    )


def _close(connection: Connection, stack_id: int, now: datetime) -> None:
    """Leave a stack without instances as a record of what was computed."""
    withdraw_jobs(connection, stack_id, running=True)
    reason = "its instances now belong elsewhere"
    drop_deliveries(connection, results.c.stack_id == stack_id, reason, now)
    connection.execute(delete(stack_instances).where(stack_instances.c.stack_id == stack_id))
    connection.execute(
        update(stacks)
        .where(stacks.c.id == stack_id, stacks.c.input_digest != input_digest(()))
        .values(
            state=StackState.UNROUTED,
            reason=reason,
            input_digest=input_digest(()),
            changed_at=now,
        )
    )


def _set_members(connection: Connection, stack_id: int, wanted: Wanted) -> None:
    connection.execute(delete(stack_series).where(stack_series.c.stack_id == stack_id))
    connection.execute(delete(stack_instances).where(stack_instances.c.stack_id == stack_id))
    series = [{"stack_id": stack_id, "series_instance_uid": uid} for uid in wanted.series]
    members = [{"stack_id": stack_id, "instance_id": number} for number in wanted.instances]
    if series:
        connection.execute(insert(stack_series), series)
    if members:
        connection.execute(insert(stack_instances), members)
