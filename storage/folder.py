"""The data folder: where files lie, that one process serves it, and that what is written stays.

::

    serve.lock                   held while a process serves the folder
    node.sqlite                  the database
    instances/3f/<digest>.dcm    as received; the name says nothing of the patient
    results/17/<name>.<hash>.dcm result objects of job 17
    requests/<series UID>        a series that an admin wants computed again
    work/                        scratch of running jobs; emptied at start
"""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import struct
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from config.schema import StorageSettings
from storage.errors import StorageFull, StorageInUse, StorageUnusable
from storage.job import Job

MEGABYTE = 1_000_000
TEMPORARY_SUFFIX = ".tmp"
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of fcntl(2): type, whence, start, length, pid
_WHOLE_FILE = (os.SEEK_SET, 0, 0, 0)


class DataFolder:
    """Files of one node.

    Parameters
    ----------
    settings : StorageSettings
        Where the folder lies, and how much space stays free.
    read_only : bool
        Change nothing and take no lock.

    Raises
    ------
    StorageInUse
        Another process serves the folder.
    StorageUnusable
        The folder cannot be made or written.
    """

    def __init__(self, settings: StorageSettings, *, read_only: bool = False) -> None:
        self.root = Path(os.path.realpath(settings.folder))  # links that go round stay as they are
        self._refuse_mb = settings.refuse_free_mb
        self._lock: int | None = None
        if not read_only:
            try:
                self._prepare()
            except OSError as error:
                raise StorageUnusable(f"{self.root}: {error.strerror}") from error

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "node.sqlite"

    @property
    def work(self) -> Path:
        """Folder for what a job needs while it runs."""
        return self.root / "work"

    @property
    def requests(self) -> Path:
        """Folder of what is asked of the process that serves this one."""
        return self.root / "requests"

    @property
    def is_served(self) -> bool:
        """Whether a process serves the folder; asks for its lock without ever taking it."""
        try:
            descriptor = os.open(self.root / "serve.lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageUnusable(f"{self.root}: {error.strerror}") from error
        try:
            asked = _FLOCK.pack(fcntl.F_WRLCK, *_WHOLE_FILE)
            answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
        finally:
            os.close(descriptor)
        return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)

    def free_mb(self) -> float:
        """Space that is free to this process."""
        disk = os.statvfs(self.root)
        return disk.f_bavail * disk.f_frsize / MEGABYTE

    def require_room(self) -> None:
        """Refuse another instance below the watermark.

        Raises
        ------
        StorageFull
            Less is free than `refuse_free_mb`. Results are still written then: it is for them,
            and for the database, that this room is kept.
        """
        free_mb = self.free_mb()
        if free_mb < self._refuse_mb:
            raise StorageFull(
                f"{free_mb:.0f} MB free, fewer than the {self._refuse_mb:.0f} MB to keep free"
                " (storage.refuse_free_mb)"
            )

    def require_database_of_files(self) -> None:
        """Refuse a folder that holds images or results, but no database that knows them.

        Raises
        ------
        StorageUnusable
            It is such a folder.
        """
        database = self.database
        if (not database.exists() or not database.stat().st_size) and any(self.files()):
            raise StorageUnusable(
                f"{database} is gone, and {self.root} holds images or results that it knew: put it"
                ' back from a backup, or move the whole folder away (runbook, "The database is'
                ' gone")'
            )

    def instance_path(self, digest: str) -> Path:
        """Where an instance of this digest lies.

        Raises
        ------
        ValueError
            The digest is not 64 hexadecimal digits.
        """
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError("a digest is 64 lower-case hexadecimal digits (SHA-256)")
        return self.root / "instances" / digest[:2] / f"{digest}.dcm"

    def persist_result(self, job: Job, name: str, content: bytes) -> Path:
        """Write one result object so that it survives a power cut.

        Parameters
        ----------
        job : Job
            The job that made it.
        name : str
            A plain word such as ``"seg_ed"``.
        content : bytes
            The DICOM file. Other bytes under the same name get a path of their own, so that a
            late worker never touches what is being sent.

        Raises
        ------
        StorageFull
            The disk is full.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
            raise ValueError(f"not a plain name for a result file: {name!r}")
        folder = self.root / "results" / str(job.id)
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)
        path = folder / f"{name}.{hashlib.sha256(content).hexdigest()[:16]}.dcm"
        self.write(path, content)
        return path

    def write(self, path: Path, content: bytes) -> None:
        """Write a file whole or not at all; on return it survives a power cut.

        Raises
        ------
        StorageFull
            The disk is full.
        OSError
            The disk fails otherwise.
        """
        temporary = path.with_name(f".{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
        try:
            _write_synced(temporary, content)
            temporary.rename(path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull("no space left on the disk") from error
            raise
        sync_folder(path.parent)

    def relative(self, path: Path) -> str:
        """Path as the database keeps it, so that the whole folder can be moved."""
        return path.relative_to(self.root).as_posix()

    def absolute(self, relative: str) -> Path:
        """Path of a file that the database names."""
        return self.root / relative

    def files(self) -> Iterator[Path]:
        """Every instance and result file."""
        for kind in ("instances", "results"):
            for folder in sorted((self.root / kind).iterdir()):
                yield from folder.iterdir()

    def close(self) -> None:
        """Let another process serve the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _prepare(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _exclusive_lock(self.root / "serve.lock")
        shards = [self.root / "instances" / f"{shard:02x}" for shard in range(256)]
        shutil.rmtree(self.work, ignore_errors=True)
        kinds = (self.root / "results", self.root / "instances", self.requests)
        for folder in (self.work, *kinds, *shards):
            folder.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.root / "instances", self.root, self.root.parent):
            sync_folder(folder)
        for path in self.files():
            if path.suffix == TEMPORARY_SUFFIX:
                path.unlink()


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exclusive_lock(path: Path) -> int:
    """Take the lock of the folder; the kernel lets go of it however this process ends.

    It is two: flock, which earlier versions take alone, and one that others can ask for without
    taking it (F_OFD_GETLK), so that no look at the folder keeps a node from starting.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, *_WHOLE_FILE))
    except BlockingIOError:
        os.close(descriptor)
        raise StorageInUse(f"another process serves {path.parent}") from None
    return descriptor
