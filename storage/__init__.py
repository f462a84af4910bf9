"""Storage: the instance store, stacks, jobs, results and the outbox."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from config.schema import StorageSettings
from storage.clock import pull_back
from storage.database import Database
from storage.errors import StorageFull, StorageInUse, StorageMissing
from storage.folder import DataFolder
from storage.instances import Instances
from storage.jobs import Jobs
from storage.outbox import Outbox
from storage.overview import Overview
from storage.replays import Replays
from storage.retention import Retention
from storage.stacks import Stacks

__all__ = ["Storage", "StorageFull", "StorageInUse", "open_storage"]


@dataclass(frozen=True, slots=True)
class Storage:
    """Everything the node remembers; `jobs_lost` ran when the last process ended without a stop."""

    folder: DataFolder
    database: Database
    instances: Instances
    stacks: Stacks
    jobs: Jobs
    outbox: Outbox
    retention: Retention
    overview: Overview
    replays: Replays
    jobs_lost: int = 0

    def pull_back(self, now: datetime) -> int:
        """Bring times that lie in the future back to `now`; see `storage.clock`."""
        with self.database.write() as connection:
            return pull_back(connection, now)

    def close(self) -> None:
        """Close the database and let another process serve the folder."""
        self.database.close()
        self.folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_storage(settings: StorageSettings, *, read_only: bool = False) -> Storage:
    """Open the node's storage.

    Opened for writing, it first repairs what a crash left: temporary files are removed,
    associations still open are closed as aborted, and jobs that ran go back to the queue (the
    attempt counts).

    Parameters
    ----------
    settings : StorageSettings
        Folder, watermarks, retention.
    read_only : bool
        Look on beside the process that serves the folder: no lock, no change.

    Raises
    ------
    StorageInUse
        Another process serves the folder (not with `read_only`).
    StorageMissing
        Nothing was ever stored here (only with `read_only`).
    SchemaTooNew
        The database was written by a newer version of the node.
    SchemaTooOld
        It was written by an older one (only with `read_only`; else it is brought up to date).
    StorageUnusable
        The folder cannot be made, written, or (with `read_only`) looked into; or it holds images
        whose database is gone.
    """
    folder = DataFolder(settings, read_only=read_only)
    try:
        if not read_only:
            folder.require_database_of_files()
        database = Database(folder.database, read_only=read_only)
    except StorageMissing:
        if (folder.root / "instances").is_dir():
            folder.require_database_of_files()
        raise
    except BaseException:
        folder.close()
        raise
    storage = Storage(
        folder=folder,
        database=database,
        instances=Instances(database, folder),
        stacks=Stacks(database),
        jobs=Jobs(database, folder),
        outbox=Outbox(database, folder),
        retention=Retention(database, folder, settings),
        overview=Overview(database),
        replays=Replays(database, folder),
    )
    if not read_only:
        now = datetime.now(UTC)
        storage.instances.close_lost_associations(now)
        lost = storage.jobs.release_expired(now, all_running=True)
        return replace(storage, jobs_lost=lost)
    return storage
