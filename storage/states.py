"""The states that rows of the database go through."""

from enum import StrEnum


class AssociationState(StrEnum):
    """How an association stands; an abort, a lost connection or a crash is not a release."""

    OPEN = "open"
    RELEASED = "released"
    ABORTED = "aborted"


class StackState(StrEnum):
    """Where a stack is on its way; the stack's `reason` says why in words."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    REJECTED = "rejected"
    UNROUTED = "unrouted"
    PARKED = "parked"


UNFINISHED_STACK_STATES = (StackState.WAITING, StackState.QUEUED, StackState.RUNNING)


class JobState(StrEnum):
    """Where a job is; QUEUED and RUNNING are open, the rest is final."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    REJECTED = "rejected"
    DEFERRED = "deferred"
    PARKED = "parked"
    REPLACED = "replaced"


OPEN_JOB_STATES = (JobState.QUEUED, JobState.RUNNING)


class ResultState(StrEnum):
    """Whether a result is the latest of its stack."""

    CURRENT = "current"
    SUPERSEDED = "superseded"


class DeliveryState(StrEnum):
    """Where one result object is on its way to one destination."""

    PENDING = "pending"
    SENT = "sent"
    PARKED = "parked"
    DROPPED = "dropped"


UNSETTLED_DELIVERY_STATES = (DeliveryState.PENDING, DeliveryState.PARKED)
