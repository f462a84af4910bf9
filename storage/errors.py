"""What storage raises on purpose; see `config.errors` for the whole tree."""

from config.errors import PermanentError, TransientError


class StorageInUse(PermanentError):  # noqa: N818
    """Another process serves this data folder."""


class StorageUnusable(PermanentError):  # noqa: N818
    """The data folder cannot be made or written."""


class StorageMissing(PermanentError):  # noqa: N818
    """Asked only to read, and no node has ever stored anything in this folder."""


class SchemaTooNew(PermanentError):  # noqa: N818
    """The database was written by a newer version of the node."""


class SchemaTooOld(PermanentError):  # noqa: N818
    """Asked only to read a database that the node has not brought up to date yet."""


class StorageReadOnly(PermanentError):  # noqa: N818
    """Asked to write what was opened for reading."""


class OriginalsDeleted(PermanentError):  # noqa: N818
    """An input of a job was deleted by retention, or was never stored."""


class UnknownSeries(PermanentError):  # noqa: N818
    """No image of a series that was asked for is stored."""


class LeaseLost(PermanentError):  # noqa: N818
    """The job was taken back meanwhile: whatever this worker found no longer counts."""


class StorageFull(TransientError):  # noqa: N818
    """No space left for another object."""


class StorageFault(TransientError):  # noqa: N818
    """The database could not be read or written."""
