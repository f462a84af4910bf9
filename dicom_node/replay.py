"""`dicom-node replay`: a series computed again from the store by the node that serves it."""

import time
from collections.abc import Callable, Sequence

from config.schema import Settings
from dicom_node.status import StackStatus, read_status
from storage import open_storage
from storage.states import UNFINISHED_STACK_STATES, StackState

_TAKEN_UP_WITHIN_S = 15.0
_POLL_S = 0.2


def replay(series_instance_uid: str, settings: Settings, say: Callable[[str], None]) -> bool:
    """Ask for a series, wait while a running node computes it, and tell what came of it.

    A node that does not run takes the request up at its next start.

    Parameters
    ----------
    series_instance_uid : str
        Of the images.
    settings : Settings
        Those of the node.
    say : callable
        Takes one line.

    Returns
    -------
    bool
        False when a stack of the series ended without a result, or none holds it.

    Raises
    ------
    UnknownSeries
        No image of the series was ever stored.
    OriginalsDeleted
        Retention has deleted images that it needs.
    StorageMissing
        The node has never run.
    """
    before = _reports(_stacks(series_instance_uid, settings))
    storage = open_storage(settings.storage, read_only=True)
    try:
        storage.replays.request(series_instance_uid)
        requested = storage.replays.requested
        if not _becomes(lambda: series_instance_uid not in requested(), _TAKEN_UP_WITHIN_S):
            say("No node took the request up: none runs on this folder, and the next start will.")
            return True
    finally:
        storage.close()
    limit_s = settings.worker.job_time_limit_s
    if not _becomes(lambda: _ended(_stacks(series_instance_uid, settings)), limit_s):
        say("Not finished yet; the node goes on, see `dicom-node status`.")
        return True
    stacks = _stacks(series_instance_uid, settings)
    for stack in stacks:
        say(_outcome(stack, before))
    if not stacks:
        say("Nothing was computed: no stack holds the series, see `dicom-node status`.")
    return bool(stacks) and all(stack.state is StackState.COMPLETED for stack in stacks)


def _stacks(series_instance_uid: str, settings: Settings) -> list[StackStatus]:
    """Stacks of the series, those that were closed left out."""
    return [
        stack
        for stack in read_status(settings).stacks
        if series_instance_uid in stack.series_instance_uids and stack.instances
    ]


def _becomes(condition: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _ended(stacks: Sequence[StackStatus]) -> bool:
    return not any(stack.state in UNFINISHED_STACK_STATES for stack in stacks)


def _reports(stacks: Sequence[StackStatus]) -> set[str]:
    """SOP Instance UIDs of the reports that stacks have."""
    return {
        item.sop_instance_uid
        for stack in stacks
        if stack.findings is not None
        for item in stack.findings.objects
        if item.role == "sr"
    }


def _outcome(stack: StackStatus, before: set[str]) -> str:
    if stack.state is not StackState.COMPLETED:
        return f"{stack.state}: {stack.reason}"
    (report,) = _reports([stack])
    if report in before:
        return f"completed: the same results as before, delivered again (report {report})"
    return f"completed: a new result, number {stack.generation} of this stack (report {report})"
