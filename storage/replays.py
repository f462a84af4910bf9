"""Replays: a series computed again from the store, because an admin asked for it.

Only the process that serves the folder writes the database, so a request is a file, which that
process takes up when it next looks, or when it next starts.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select, update

from storage.database import Database
from storage.errors import OriginalsDeleted, UnknownSeries
from storage.folder import DataFolder
from storage.record import assess_again
from storage.schema import instances, stack_instances, stack_series, stacks, studies
from storage.stacks import Stack, read_stacks
from storage.states import StackState

ASKED_AGAIN = "asked for again"
_ENDED = (StackState.COMPLETED, StackState.REJECTED, StackState.PARKED)


class Replays:
    """Requests to compute series again."""

    def __init__(self, database: Database, folder: DataFolder) -> None:
        self._database = database
        self._folder = folder

    def request(self, series_instance_uid: str) -> None:
        """Ask the process that serves the folder; also possible when storage is read-only.

        Raises
        ------
        UnknownSeries
            No image of the series was ever stored.
        OriginalsDeleted
            Retention has deleted images that one of its stacks needs.
        OSError
            The folder cannot be written.
        """
        with self._database.read() as connection:
            _require(connection, series_instance_uid)
        self._folder.write(self._folder.requests / series_instance_uid, b"")

    def requested(self) -> tuple[str, ...]:
        """Return the series that are asked for."""
        names = (path.name for path in self._folder.requests.iterdir())
        return tuple(sorted(name for name in names if not name.startswith(".")))

    def begin(self, series_instance_uid: str, now: datetime) -> tuple[int, ...]:
        """Let the stacks of a series be routed and computed again; returns their ids.

        What is queued or runs goes on as it is.

        Raises
        ------
        UnknownSeries, OriginalsDeleted
            As `request`; nothing is changed.
        """
        with self._database.write() as connection:
            found = _require(connection, series_instance_uid)
            ended = [stack.id for stack in found if stack.state in _ENDED]
            connection.execute(
                update(stacks)
                .where(stacks.c.id.in_(ended))
                .values(state=StackState.WAITING, reason=ASKED_AGAIN, changed_at=now)
            )
            concerned = select(instances.c.study_instance_uid).where(_current(series_instance_uid))
            assess_again(connection, studies.c.study_instance_uid.in_(concerned))
        return tuple(stack.id for stack in found)

    def end(self, series_instance_uid: str) -> None:
        """Forget a request that was taken up."""
        (self._folder.requests / series_instance_uid).unlink(missing_ok=True)


def _current(series_instance_uid: str) -> ColumnElement[bool]:
    return (instances.c.series_instance_uid == series_instance_uid) & instances.c.is_current


def _require(connection: Connection, series_instance_uid: str) -> tuple[Stack, ...]:
    """Return the stacks of a series; raises as `Replays.request`."""
    images = select(func.count()).select_from(instances).where(_current(series_instance_uid))
    if not connection.execute(images).scalar_one():
        raise UnknownSeries(f"no image of series {series_instance_uid} was ever stored here")
    having = select(stack_series.c.stack_id).where(
        stack_series.c.series_instance_uid == series_instance_uid
    )
    deleted = connection.execute(
        select(func.count(instances.c.id.distinct()))
        .outerjoin(stack_instances, stack_instances.c.instance_id == instances.c.id)
        .where(
            instances.c.file_deleted_at.is_not(None),
            _current(series_instance_uid) | stack_instances.c.stack_id.in_(having),
        )
    ).scalar_one()
    if deleted:
        raise OriginalsDeleted(
            f"{deleted} images that series {series_instance_uid} needs were deleted by retention; "
            "send the whole study again, then ask again"
        )
    return tuple(read_stacks(connection, stacks.c.id.in_(having)))
