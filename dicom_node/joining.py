"""Cine and late enhancement of one study: whichever comes last, one report holds both.

The report of late enhancement takes in what the cine analysis found. A stack whose report lacks
it, or holds an older one, waits for its analysis again.
"""

from collections.abc import Mapping
from datetime import datetime

from pipeline.companion import companion_of
from pipeline.findings import SeriesFindings
from pipeline.headers import InstanceHeader
from storage import Storage
from storage.stacks import Stack
from storage.states import StackState

_REASON = "the cine of its study was measured meanwhile"


def findings_beside(
    storage: Storage, study_instance_uid: str, stack_id: int
) -> tuple[SeriesFindings, ...]:
    """Return what is currently said of the other stacks of the same study and patient."""
    stacks = storage.stacks.of_study(study_instance_uid)
    if all(one.id == stack_id or one.findings_json is None for one in stacks):
        return ()
    return _beside(stacks, stack_id, _patients(storage, study_instance_uid))


def wake_unjoined(storage: Storage, study_instance_uid: str, now: datetime) -> tuple[int, ...]:
    """Let late enhancement stacks wait again whose report does not hold what the cine now says.

    Not so where retention has deleted images: the report that there is stays.

    Returns
    -------
    tuple of int
        Their ids.
    """
    stacks = storage.stacks.of_study(study_instance_uid)
    done = [one for one in stacks if one.pipeline == "lge" and one.state is StackState.COMPLETED]
    if not done:
        return ()
    patients = _patients(storage, study_instance_uid)
    images = storage.instances.current(study_instance_uid)
    deleted = {image.series_instance_uid for image in images if image.path is None}
    woken = []
    for stack in done:
        if deleted & set(stack.series_instance_uids):
            continue
        companion = companion_of(_beside(stacks, stack.id, patients))
        if companion and _findings(stack).joined_report_uid != companion.report_uid:
            storage.stacks.set_state(stack.id, StackState.WAITING, _REASON, now)
            woken.append(stack.id)
    return tuple(woken)


def _beside(
    stacks: tuple[Stack, ...], stack_id: int, patients: Mapping[str, str]
) -> tuple[SeriesFindings, ...]:
    own = {
        patients.get(s) for one in stacks if one.id == stack_id for s in one.series_instance_uids
    }
    return tuple(
        _findings(one)
        for one in stacks
        if one.id != stack_id
        and one.findings_json is not None
        and {patients.get(series) for series in one.series_instance_uids} == own
    )


def _patients(storage: Storage, study_instance_uid: str) -> dict[str, str]:
    """PatientID of each series."""
    return {
        item.series_instance_uid: InstanceHeader.from_json(item.header_json).patient_id
        for item in storage.instances.current(study_instance_uid)
    }


def _findings(stack: Stack) -> SeriesFindings:
    return SeriesFindings.model_validate_json(stack.findings_json or "")
