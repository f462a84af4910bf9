"""Typed reasons why a study is not measured; see `config.errors` for the whole tree."""

from config.errors import PermanentError, TransientError


class Rejection(PermanentError):  # noqa: N818 - the field term
    """A stack that cannot be measured.

    Parameters
    ----------
    code : str
        Stable machine-readable reason, e.g. ``"mixed_orientation"``.
    reason : str
        What is wrong, in words, without patient identity.
    sop_instance_uid : str, optional
        The instance at fault, when it is one.
    """

    def __init__(self, code: str, reason: str, sop_instance_uid: str | None = None) -> None:
        self.code = code
        self.reason = reason
        self.sop_instance_uid = sop_instance_uid
        where = f" (instance {sop_instance_uid})" if sop_instance_uid else ""
        super().__init__(f"{code}: {reason}{where}")


class NotYetCovered(TransientError):  # noqa: N818
    """An early start found an end slice with LV on it: more slices are probably on their way."""
