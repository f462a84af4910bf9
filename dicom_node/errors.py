"""Errors of the DICOM network; see `config.errors` for the whole tree."""

from config.errors import PermanentError, TransientError


class PeerUnavailable(TransientError):  # noqa: N818 - what it says, not that it is an error
    """A DICOM peer does not answer, refuses the association or drops it."""


class InvalidAddress(PermanentError):  # noqa: N818
    """A peer address that is not of the form AET@HOST:PORT."""


class CannotListen(PermanentError):  # noqa: N818
    """The address or port of the node is taken or not allowed."""


class MalformedDataSet(PermanentError):  # noqa: N818
    """An encoded data set that is truncated, unreadable or lacks valid UIDs."""
