"""Cine and late enhancement of one study: whichever comes last, one report holds both.

The report of late enhancement takes in what the cine analysis found. A stack whose report lacks
it, holds an older one, or one that turned out to be of somebody else, waits for its analysis again.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from pipeline.companion import companion_of
from pipeline.findings import SeriesFindings, read_series_findings
from pipeline.headers import InstanceHeader
from storage import Storage
from storage.stacks import Stack
from storage.states import StackState

_MEASURED = "the cine of its study was measured meanwhile"
_FOREIGN = "the cine in its report is not of this patient and study any more"


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

    A report that took in a cine which was corrected to another patient or study is not delivered
    any more. Where retention has deleted images, the report that there is stays.

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
        reason = _outdated(stack, stacks, patients)
        if reason == _FOREIGN:
            storage.outbox.drop_stack(stack.id, reason, now)
        if reason:
            storage.stacks.set_state(stack.id, StackState.WAITING, reason, now)
            woken.append(stack.id)
    return tuple(woken)


def _outdated(stack: Stack, stacks: tuple[Stack, ...], patients: Mapping[str, str]) -> str:
    """Say why the report of a late enhancement stack has to be made again; empty if it stands."""
    found = read_series_findings(stack.findings_json)
    if found is None:
        return ""
    if not _patients_of(found.joined_series_instance_uids, patients) <= _patients_of(
        stack.series_instance_uids, patients
    ):
        return _FOREIGN
    companion = companion_of(_beside(stacks, stack.id, patients))
    return _MEASURED if companion and found.joined_report_uid != companion.report_uid else ""


def _beside(
    stacks: tuple[Stack, ...], stack_id: int, patients: Mapping[str, str]
) -> tuple[SeriesFindings, ...]:
    own = {
        patient
        for one in stacks
        if one.id == stack_id
        for patient in _patients_of(one.series_instance_uids, patients)
    }
    found = (
        read_series_findings(one.findings_json)
        for one in stacks
        if one.id != stack_id and _patients_of(one.series_instance_uids, patients) == own
    )
    return tuple(one for one in found if one is not None)


def _patients_of(series: Iterable[str], patients: Mapping[str, str]) -> set[str | None]:
    return {patients.get(uid) for uid in series}


def _patients(storage: Storage, study_instance_uid: str) -> dict[str, str]:
    """PatientID of each series."""
    return {
        item.series_instance_uid: InstanceHeader.from_json(item.header_json).patient_id
        for item in storage.instances.current(study_instance_uid)
    }
