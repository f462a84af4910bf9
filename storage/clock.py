"""Times that lie in the future, since the clock was set back after they were recorded."""

from datetime import datetime

from sqlalchemy import Connection, update

from storage.schema import UtcDateTime, jobs, metadata, outbox, studies

_PLANNED = {jobs.c.not_before, outbox.c.next_attempt_at}


def pull_back(connection: Connection, now: datetime) -> int:
    """Bring every recorded time after `now` back to `now`.

    Otherwise quiet times, retries and retention would wait until the clock has caught up. What
    waits for a retry is due at once: nobody can tell how long it had to wait, and it costs no more
    than an early attempt. Studies concerned count as changed, so that whoever remembers their
    instances reads them again. The lease of a running job stays: its worker, which goes by the
    monotonic clock, soon sets it anew.

    Parameters
    ----------
    connection : Connection
        Of a writing transaction.
    now : datetime
        Aware.

    Returns
    -------
    int
        How many times of what has happened lay in the future; retries lie there by right.
    """
    count = 0
    for table in metadata.tables.values():
        for column in table.c:
            if isinstance(column.type, UtcDateTime) and column is not jobs.c.lease_expires_at:
                statement = update(table).where(column > now).values({column: now})
                if table is studies:
                    statement = statement.values(changes=studies.c.changes + 1)
                changed = connection.execute(statement).rowcount
                count += 0 if column in _PLANNED else changed
    return count
