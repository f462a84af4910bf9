"""The connection to SQLite: one writer at a time, readers beside it, every commit on disk.

WAL lets readers go on while one writes; `synchronous=FULL` puts each commit on the disk before it
returns (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

import json
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Select,
    Table,
    create_engine,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.exc import DBAPIError

from storage import schema
from storage.errors import (
    SchemaTooOld,
    StorageFault,
    StorageFull,
    StorageMissing,
    StorageReadOnly,
    StorageUnusable,
)

BUSY_TIMEOUT_S = 30


class Database:
    """The database of one data folder.

    Parameters
    ----------
    path : Path
        The SQLite file; made when it does not exist, unless `read_only`.
    read_only : bool
        Never write, and take no lock: for a look beside a running node.

    Raises
    ------
    StorageMissing
        `read_only`, and there is no database.
    SchemaTooNew
        The database was written by a newer version of the node.
    SchemaTooOld
        `read_only`, and the database was written by an older version.
    StorageUnusable
        `read_only`, and the folder may not be looked into.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        if read_only:
            _require(path)
        self._lock = threading.Lock()
        self._writer = None if read_only else _engine(path, "rwc", "BEGIN IMMEDIATE")
        if self._writer is not None:
            with _typed_errors(), self._writer.begin() as connection:
                schema.create(connection)
        self._path, self._file = path, path.stat()
        self._reader = _engine(path, "ro", "BEGIN")
        with self.read() as connection:
            version = schema.check_version(connection)
        if version < schema.SCHEMA_VERSION:
            raise SchemaTooOld(f"{path}: layout {version} is older; serve brings it up to date")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write; committed and synced when the block ends well.

        Raises
        ------
        StorageFull
            The disk is full.
        StorageFault
            The database cannot be written, or its file was removed or replaced meanwhile: SQLite
            would go on writing to one that nobody can open again.
        StorageReadOnly
            It was opened for reading.
        """
        if self._writer is None:
            raise StorageReadOnly("storage was opened for reading only")
        with _typed_errors(), self._lock, self._writer.begin() as connection:
            self._require_same_file()
            yield connection
            self._require_same_file()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that sees one moment of the database and cannot write."""
        with _typed_errors(), self._reader.begin() as connection:
            yield connection

    def _require_same_file(self) -> None:
        with suppress(OSError):
            if os.path.samestat(self._path.stat(), self._file):
                return
        raise StorageFault(
            f"{self._path.name} was removed or replaced while the node runs: stop it"
        )

    def close(self) -> None:
        """Close every connection; the last one empties the write-ahead log."""
        self._reader.dispose()
        if self._writer is not None:
            self._writer.dispose()


def listed(values: Collection[str] | Collection[int]) -> Select[Any]:
    """Return a list of any length as a subquery, to stand on the right of `in_`."""
    return select(func.json_each(json.dumps(list(values))).table_valued("value").c.value)


def insert_row(connection: Connection, table: Table, row: Mapping[str, Any]) -> int:
    """Insert one row; returns its id."""
    key = connection.execute(insert(table), row).inserted_primary_key
    if key is None:
        raise StorageFault(f"no id for a row of {table.name}")
    return int(key[0])


def _require(path: Path) -> None:
    try:
        if path.is_file():
            return
    except OSError as error:
        raise StorageUnusable(f"{path.parent}: {error.strerror}") from error
    raise StorageMissing(f"nothing was ever stored in {path.parent}")


def _engine(path: Path, mode: str, begin: str) -> Engine:
    # Parameters stay out of error messages: headers hold the patient's identity.
    engine = create_engine(
        URL.create(
            "sqlite",
            database=f"file:{quote(str(path.resolve()))}",
            query={"mode": mode, "uri": "true"},
        ),
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says so
        if mode != "ro":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


@contextmanager
def _typed_errors() -> Iterator[None]:
    """Turn errors of the driver into the node's own; a programming error stays what it is."""
    try:
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_FULL:
            raise StorageFull("no space left for the database") from error
        damaged = code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
        if damaged or isinstance(error.orig, sqlite3.OperationalError):
            raise StorageFault(f"database: {error.orig}") from error
        raise
