"""Statuses of C-STORE: what the node answers, and what it makes of the answers of others.

PS3.4 B.2.3 and PS3.7 9.1.1.1.9 and annex C.
"""

import errno

from pydicom.dataset import Dataset
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS, code_to_category

from config.errors import PermanentError, TransientError

SUCCESS = 0x0000
SOP_CLASS_NOT_SUPPORTED = 0x0122
OUT_OF_RESOURCES = 0xA700
DATA_SET_MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000


class StoreRefused(Exception):  # noqa: N818 - an answer, not a fault
    """A C-STORE request that is answered with a failure.

    Parameters
    ----------
    status : int
        The DIMSE status.
    reason : str
        For the log and the peer; without patient identity.
    is_fault : bool
        The node is at fault, not the request.
    """

    def __init__(self, status: int, reason: str, *, is_fault: bool = False) -> None:
        self.status = status
        self.reason = reason
        self.is_fault = is_fault
        super().__init__(reason)


def refusal_of(error: Exception) -> StoreRefused:
    """Translate what went wrong with a C-STORE request into the answer to it."""
    match error:
        case StoreRefused():
            return error
        case TransientError():
            return StoreRefused(OUT_OF_RESOURCES, str(error))
        case PermanentError():
            return StoreRefused(CANNOT_UNDERSTAND, str(error))
        case OSError():
            name = errno.errorcode.get(error.errno or 0, type(error).__name__)
            return StoreRefused(OUT_OF_RESOURCES, f"storage failed: {name}")
        case _:
            return StoreRefused(CANNOT_UNDERSTAND, "a fault in the node", is_fault=True)


def response(status: int, comment: str = "") -> Dataset:
    """Return a status as pynetdicom takes it; the comment is cut to what an LO value holds."""
    answer = Dataset()
    answer.Status = status
    if comment:
        answer.ErrorComment = comment.encode("ascii", "replace").decode()[:64].replace("\\", "/")
    return answer


def is_stored(status: int) -> bool:
    """Whether a peer keeps the object: success, or a warning 0xBxxx."""
    return status == SUCCESS or is_warning(status)


def is_warning(status: int) -> bool:
    """Whether a peer keeps the object, but changed it or complains."""
    return 0xB000 <= status <= 0xBFFF


def status_text(status: int) -> str:
    """Say what a C-STORE status means.

    The peer's own ErrorComment is left out: some archives name the patient in it.
    """
    _, meaning = STORAGE_SERVICE_CLASS_STATUS.get(status, ("", "not in the Standard's list"))
    return f"0x{status:04X} {code_to_category(status)}: {meaning}".removesuffix(": ")
