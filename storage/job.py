"""A job and what it is computed from."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class JobInput:
    """One instance of the stack that a job computes."""

    sop_instance_uid: str
    digest: str
    path: Path


@dataclass(frozen=True, slots=True)
class EarlierResult:
    """A result object of a stack that may lie in an archive, and the time of its content.

    What a node of before that was noted had offered has no time.
    """

    role: str
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The result that a stack has: its objects, and what identified them as in `Job`."""

    sop_instance_uids: tuple[str, ...]
    result_seed: str
    generation: int
    created_at: datetime
    supersedes: tuple[EarlierResult, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A job.

    Attributes
    ----------
    stack_id, study_instance_uid, series_instance_uids, pipeline, source_ae_titles
        The stack that is computed.
    inputs : tuple of JobInput
        What it is computed from.
    trigger : str
        Why it was started.
    early : bool
        It was started before it was certain that nothing more comes.
    result_seed, generation, created_at
        Fixed when the job was queued, so that another attempt makes the same bytes: what decides
        the result series, the InstanceNumber (1, 2, ...) and the content time.
    attempts : int
        How often it was started, this time included.
    supersedes : tuple of EarlierResult
        What may lie in an archive already; fixed when it was started, since what is not sent by
        then is not sent while it runs (`Outbox.offer`).
    standing : Standing or None
        What stands until this job ends, and stays if it comes to the same.
    lease : str or None
        Names this claim: only who holds it may end the job. None while it is queued.
    """

    id: int
    stack_id: int
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    pipeline: str
    source_ae_titles: tuple[str, ...]
    inputs: tuple[JobInput, ...]
    trigger: str
    early: bool
    result_seed: str
    generation: int
    created_at: datetime
    attempts: int
    lease: str | None
    supersedes: tuple[EarlierResult, ...] = ()
    standing: Standing | None = None
