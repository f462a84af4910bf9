"""What an admin wants to see: stacks with state, reason and age, and the outbox."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, select, true

from storage.database import Database, listed
from storage.schema import instances, jobs, outbox, results, stack_instances, stacks, studies
from storage.stacks import Stack, read_stacks
from storage.states import UNSETTLED_DELIVERY_STATES, DeliveryState, StackState


@dataclass(frozen=True, slots=True)
class StackOverview:
    """A stack as an admin looks at it.

    Attributes
    ----------
    instances, attempts : int
        How many instances it has, and how often its last job was started.
    received_at : datetime
        When the first of its instances came (aware UTC).
    header_json : str
        Header summary of that instance, as it was stored; empty where the stack has none any more.
    """

    stack: Stack
    instances: int
    attempts: int
    received_at: datetime
    header_json: str


@dataclass(frozen=True, slots=True)
class OutboxOverview:
    """Deliveries to one destination.

    Attributes
    ----------
    pending, sent, parked, dropped : int
        Number of deliveries in each state.
    pending_studies, parked_studies : tuple of str
        Study Instance UIDs of the pending and of the parked ones.
    dropped_because : mapping of str to int
        The dropped ones by reason: a newer result, another identity of the patient.
    oldest_pending, next_attempt : datetime or None
        When the oldest result of the pending ones was made, and when one is tried next (aware UTC).
    last_error : str
        Of the latest delivery that is not settled; empty when there is none.
    """

    destination: str
    pending: int
    sent: int
    parked: int
    dropped: int
    pending_studies: tuple[str, ...]
    parked_studies: tuple[str, ...]
    dropped_because: Mapping[str, int]
    oldest_pending: datetime | None
    next_attempt: datetime | None
    last_error: str


@dataclass(frozen=True, slots=True)
class StudyFault:
    """A study that could not be assessed, since when it is as it is, and why."""

    study_instance_uid: str
    changed_at: datetime
    fault: str


class Overview:
    """Reads that change nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stacks(
        self,
        *,
        study: str = "",
        since: datetime | None = None,
        states: Collection[StackState] = (),
    ) -> tuple[StackOverview, ...]:
        """Return every stack, the one that changed last at the end.

        Parameters
        ----------
        study : str, optional
            Only those of the study of this UID.
        since : datetime, optional
            Only those that changed since (aware).
        states : collection of StackState, optional
            Only those that stand in one of these.
        """
        which = _of(stacks.c.study_instance_uid, stacks.c.changed_at, study, since)
        if states:
            which &= stacks.c.state.in_(states)
        last = select(jobs.c.stack_id, jobs.c.attempts).where(
            jobs.c.id.in_(select(func.max(jobs.c.id)).group_by(jobs.c.stack_id))
        )
        with self._database.read() as connection:
            found = read_stacks(connection, which)
            first = _first_instances(connection, [stack.id for stack in found])
            attempts = dict(map(tuple, connection.execute(last)))
            return tuple(
                StackOverview(
                    stack, size, attempts.get(stack.id, 0), received or stack.created_at, header
                )
                for stack in found
                for size, received, header in [first.get(stack.id, (0, None, ""))]
            )

    def faults(self, *, study: str = "", since: datetime | None = None) -> tuple[StudyFault, ...]:
        """Return the studies that could not be assessed; parameters as those of `stacks`."""
        which = _of(studies.c.study_instance_uid, studies.c.changed_at, study, since)
        query = (
            select(studies.c.study_instance_uid, studies.c.changed_at, studies.c.fault)
            .where(studies.c.fault.is_not(None), which)
            .order_by(studies.c.changed_at)
        )
        with self._database.read() as connection:
            return tuple(StudyFault(*row) for row in connection.execute(query))

    def outbox(self) -> tuple[OutboxOverview, ...]:
        """Return every destination that ever got a delivery."""
        with self._database.read() as connection:
            pending = _studies(connection, DeliveryState.PENDING)
            parked = _studies(connection, DeliveryState.PARKED)
            dropped = _dropped_because(connection)
            return tuple(
                OutboxOverview(
                    destination=row.destination,
                    pending=row.pending,
                    sent=row.sent,
                    parked=row.parked,
                    dropped=row.dropped,
                    pending_studies=tuple(pending[row.destination]),
                    parked_studies=tuple(parked[row.destination]),
                    dropped_because=dropped[row.destination],
                    oldest_pending=row.oldest_pending,
                    next_attempt=row.next_attempt,
                    last_error=row.remark or "",
                )
                for row in connection.execute(_deliveries())
            )


def _of(
    uid: ColumnElement[str], changed: ColumnElement[datetime], study: str, since: datetime | None
) -> ColumnElement[bool]:
    """Whether a row is of a study (empty: of any), and changed since (None: at any time)."""
    of_study = uid == study if study else true()
    return of_study & (changed >= since) if since else of_study


def _first_instances(
    connection: Connection, stack_ids: Collection[int]
) -> Mapping[int, tuple[int, datetime | None, str]]:
    """How many instances each stack has; when the first came, and its header summary."""
    sizes = (
        select(
            stack_instances.c.stack_id,
            func.count().label("size"),
            func.min(stack_instances.c.instance_id).label("first"),
        )
        .where(stack_instances.c.stack_id.in_(listed(stack_ids)))
        .group_by(stack_instances.c.stack_id)
        .subquery()
    )
    query = select(
        sizes.c.stack_id, sizes.c.size, instances.c.received_at, instances.c.header_json
    ).join(instances, instances.c.id == sizes.c.first)
    return {
        stack_id: (size, at, header) for stack_id, size, at, header in connection.execute(query)
    }


def _deliveries() -> Select[Any]:
    """Deliveries per destination and state, and the remark of the latest that is not settled."""
    pending = outbox.c.state == DeliveryState.PENDING
    unsettled = outbox.c.state.in_(UNSETTLED_DELIVERY_STATES) & outbox.c.remark.is_not(None)
    counts = (
        select(
            outbox.c.destination,
            func.count().filter(pending).label("pending"),
            func.count().filter(outbox.c.state == DeliveryState.SENT).label("sent"),
            func.count().filter(outbox.c.state == DeliveryState.PARKED).label("parked"),
            func.count().filter(outbox.c.state == DeliveryState.DROPPED).label("dropped"),
            func.min(results.c.created_at).filter(pending).label("oldest_pending"),
            func.min(outbox.c.next_attempt_at).filter(pending).label("next_attempt"),
            func.max(case((unsettled, outbox.c.id))).label("latest"),
        )
        .join(results, results.c.id == outbox.c.result_id)
        .group_by(outbox.c.destination)
        .subquery()
    )
    return (
        select(counts, outbox.c.remark)
        .outerjoin(outbox, outbox.c.id == counts.c.latest)
        .order_by(counts.c.destination)
    )


def _studies(connection: Connection, state: DeliveryState) -> Mapping[str, list[str]]:
    """Study Instance UIDs of the deliveries in a state per destination, sorted."""
    query = (
        select(outbox.c.destination, stacks.c.study_instance_uid)
        .join(results, results.c.id == outbox.c.result_id)
        .join(stacks, stacks.c.id == results.c.stack_id)
        .where(outbox.c.state == state)
        .distinct()
        .order_by(stacks.c.study_instance_uid)
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for destination, study_instance_uid in connection.execute(query):
        found[destination].append(study_instance_uid)
    return found


def _dropped_because(connection: Connection) -> Mapping[str, dict[str, int]]:
    """Dropped deliveries per destination, counted by reason."""
    query = (
        select(outbox.c.destination, outbox.c.remark, func.count())
        .where(outbox.c.state == DeliveryState.DROPPED)
        .group_by(outbox.c.destination, outbox.c.remark)
    )
    dropped: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for destination, reason, number in connection.execute(query):
        dropped[destination][reason] = number
    return dropped
