"""Result objects, and what becomes of their deliveries."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, exists, insert, select, update

from storage.database import insert_row, listed
from storage.folder import DataFolder
from storage.job import EarlierResult
from storage.schema import jobs, outbox, results
from storage.states import UNSETTLED_DELIVERY_STATES, DeliveryState, ResultState


@dataclass(frozen=True, slots=True)
class NewResult:
    """A result object.

    Attributes
    ----------
    path : Path
        What `DataFolder.persist_result` returned for it.
    destinations : tuple of str or None
        Those of the job's destinations that get it; None: all.
    """

    role: str
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    path: Path
    destinations: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ResultFile:
    """Where the bytes of a result lie, relative to the data folder, and their SHA-256."""

    path: str
    sha256: str


def look_at_files(folder: DataFolder, new: Iterable[NewResult]) -> dict[str, ResultFile]:
    """Return the file of each result by its UID.

    Raises
    ------
    OSError
        A file is not there.
    """
    return {
        result.sop_instance_uid: ResultFile(
            folder.relative(result.path), hashlib.sha256(result.path.read_bytes()).hexdigest()
        )
        for result in new
    }


def record_results(
    connection: Connection,
    new: Sequence[NewResult],
    files: Mapping[str, ResultFile],
    facts: Mapping[str, object],
) -> list[int]:
    """Insert results, each with these `facts`; returns their ids in the same order.

    A UID stands for the same bytes for ever: when the same input is computed again, the file
    recorded first is the result.
    """
    files = {**files, **_recorded_files(connection, files)}
    ids = []
    for result in new:
        file = files[result.sop_instance_uid]
        row = asdict(result) | asdict(file) | dict(facts)
        del row["destinations"]
        ids.append(insert_row(connection, results, row))
    return ids


def queue_deliveries(
    connection: Connection,
    recorded: Iterable[tuple[int, NewResult]],
    destinations: Sequence[str],
    now: datetime,
) -> None:
    """Queue each result, given with its id, for each destination that gets it."""
    rows = [
        {
            "result_id": result_id,
            "destination": destination,
            "state": DeliveryState.PENDING,
            "attempts": 0,
            "created_at": now,
            "next_attempt_at": now,
        }
        for result_id, result in recorded
        for destination in destinations
        if result.destinations is None or destination in result.destinations
    ]
    if rows:
        connection.execute(insert(outbox), rows)


def supersede(connection: Connection, stack_id: int, now: datetime) -> None:
    """Supersede all results of a stack and stop those not delivered yet."""
    drop_deliveries(connection, results.c.stack_id == stack_id, "superseded", now)
    connection.execute(
        update(results)
        .where(results.c.stack_id == stack_id, results.c.state == ResultState.CURRENT)
        .values(state=ResultState.SUPERSEDED)
    )


def offered_results(connection: Connection, stack_id: int) -> Iterator[EarlierResult]:
    """Results of a stack that some destination was sent, confirmed or not; the oldest first."""
    sent = (outbox.c.state == DeliveryState.SENT) | outbox.c.offered_at.is_not(None)
    own = (one.name for one in fields(EarlierResult) if one.name != "created_at")
    rows = connection.execute(
        select(*(results.c[name] for name in own), jobs.c.created_at)
        .join(jobs, jobs.c.id == results.c.job_id)
        .where(
            results.c.stack_id == stack_id, exists().where(outbox.c.result_id == results.c.id, sent)
        )
        .order_by(results.c.id)
    )
    return (EarlierResult(*row) for row in dict.fromkeys(tuple(row) for row in rows))


def drop_deliveries(
    connection: Connection, which: ColumnElement[bool], reason: str, now: datetime
) -> int:
    """Stop what is not delivered yet of the results that fulfil `which`; returns how many."""
    return connection.execute(
        update(outbox)
        .where(
            outbox.c.result_id.in_(select(results.c.id).where(which)),
            outbox.c.state.in_(UNSETTLED_DELIVERY_STATES),
        )
        .values(state=DeliveryState.DROPPED, settled_at=now, remark=reason)
    ).rowcount


def _recorded_files(
    connection: Connection, files: Mapping[str, ResultFile]
) -> dict[str, ResultFile]:
    rows = connection.execute(
        select(results.c.sop_instance_uid, results.c.path, results.c.sha256)
        .where(
            results.c.sop_instance_uid.in_(listed(files.keys())),
            results.c.file_deleted_at.is_(None),
        )
        .order_by(results.c.id.desc())
    )
    return {uid: ResultFile(path, sha256) for uid, path, sha256 in rows}
