"""The completion sweep: from received instances to jobs.

For each study that changed: route what is there and bring the recorded stacks in line. For each
that changed or still waits: queue a job for every stack that is complete.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from config.errors import TransientError
from config.schema import CompletionSettings, Settings
from dicom_node.completion import (
    Arrival,
    Decision,
    decide,
    decide_case,
    quiet_from,
    waiting_for,
)
from dicom_node.joining import wake_unjoined
from pipeline.assemble import grid_of
from pipeline.errors import Rejection
from pipeline.grid import Grid
from pipeline.headers import InstanceHeader
from pipeline.pictures import PICTURE_PIPELINES, is_whole
from pipeline.routing import Proposal, propose
from storage import Storage
from storage.errors import OriginalsDeleted, UnknownSeries
from storage.instances import ChangedStudy, StoredInstance
from storage.job import JobInput
from storage.record import SENT_AGAIN
from storage.replays import ASKED_AGAIN
from storage.stacks import Stack, StackProposal
from storage.states import StackState

log = structlog.get_logger()

_ALWAYS = datetime.min.replace(tzinfo=UTC)
_MORE_SLICES = "more slices (the first or the last shows the left ventricle)"

CountInArchive = Callable[[str, str], int | None]


@dataclass(frozen=True, slots=True)
class _Routed:
    """A proposal, its grid (None when none can be built) and its instances."""

    proposal: Proposal
    grid: Grid | None
    instances: tuple[StoredInstance, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """A study as it was routed at so many `changes`, by the ids of its stacks.

    `counted` holds for which instances of a series (their digest) the archive was asked, and what
    it said.
    """

    changes: int
    routed: Mapping[int, _Routed]
    counted: dict[str, tuple[str, int | None]]


class Sweeper:
    """Looks at studies and queues jobs.

    Parameters
    ----------
    storage : Storage
        The node's storage.
    settings : Settings
        Routes and completion.
    count_in_archive : callable
        ``(study_instance_uid, series_instance_uid) -> int or None``: how many instances the
        archive has; None where nobody can be asked.
    listening_since : datetime, optional
        Since when the node can be sent anything (aware UTC): while it could not, no silence meant
        that nothing more comes.
    """

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        count_in_archive: CountInArchive,
        *,
        listening_since: datetime = _ALWAYS,
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._count_in_archive = count_in_archive
        self._listening_since = listening_since
        self._known: dict[str, _Known] = {}
        self._failed: set[ChangedStudy] = set()
        self._put_off: dict[str, str] = {}
        self._left_alone: dict[str, tuple[Stack, ...]] = {}

    def sweep(self, now: datetime) -> None:
        """Look at every study that changed, waits or is asked for again."""
        self._listening_since = min(self._listening_since, now)  # the clock may be set back
        self._begin_replays(now)
        waiting: defaultdict[str, list[Stack]] = defaultdict(list)
        for stack in self._storage.stacks.waiting():
            waiting[stack.study_instance_uid].append(stack)
        studies = self._storage.instances.studies_to_assess()
        uids = {study.study_instance_uid for study in studies}
        for noted in (self._known, self._put_off):
            for gone in noted.keys() - uids:
                del noted[gone]
        self._failed.intersection_update(studies)
        for study in studies:
            if study in self._failed:
                continue
            try:
                self._look_at(study, waiting[study.study_instance_uid], now)
                self._put_off.pop(study.study_instance_uid, None)
            except TransientError as error:
                self._note_put_off(study.study_instance_uid, str(error))
            except Exception as error:
                self._failed.add(study)  # one study must not hold up the others
                log.exception(
                    "study not assessed; looked at again when it changes or is sent again",
                    study_instance_uid=study.study_instance_uid,
                )
                self._storage.instances.note_fault(study, f"{type(error).__name__}: {error}")
        self._tell_left_alone(now)

    def _begin_replays(self, now: datetime) -> None:
        for series in self._storage.replays.requested():
            try:
                stack_ids = self._storage.replays.begin(series, now)
                log.info("series asked for again", series_instance_uid=series, stack_ids=stack_ids)
            except (UnknownSeries, OriginalsDeleted) as error:
                log.warning("series asked for again not computed", reason=str(error))
            self._storage.replays.end(series)

    def _note_put_off(self, study_uid: str, reason: str) -> None:
        """Log why a study waits for a later sweep, once for each reason."""
        if self._put_off.get(study_uid) != reason:
            log.warning(
                "study not assessed now; the next sweep looks again",
                study_instance_uid=study_uid,
                reason=reason,
            )
        self._put_off[study_uid] = reason

    def _look_at(self, study: ChangedStudy, waiting: Iterable[Stack], now: datetime) -> None:
        """Start what is complete; what did not change since the last sweep is not routed again."""
        known = self._known.get(study.study_instance_uid)
        if known is None or known.changes != study.changes:
            known, waiting = self._assess(study, known.counted if known else {}, now)
        # Cine before late enhancement, whose report takes it in.
        for stack in sorted(waiting, key=lambda stack: stack.pipeline == "lge"):
            self._start_if_complete(stack, known, now)

    def _assess(
        self, study: ChangedStudy, counted: dict[str, tuple[str, int | None]], now: datetime
    ) -> tuple[_Known, list[Stack]]:
        """Bring the stacks of a study in line with what is there; return those that wait."""
        uid = study.study_instance_uid
        routed = self._route(study)
        proposals = [_for_storage(item) for item in routed]
        stacks = self._storage.stacks.reconcile(uid, proposals, now)
        for stack_id in wake_unjoined(self._storage, uid, now):
            log.info(
                "report to be joined with that of the cine",
                study_instance_uid=uid,
                stack_id=stack_id,
            )
        self._storage.instances.mark_assessed(study)
        self._note_arrival(uid, stacks, now)
        by_stack = {stack.id: item for stack, item in zip(stacks, routed, strict=True)}
        known = self._known[uid] = _Known(study.changes, by_stack, counted)
        return known, [stack for stack in stacks if stack.state is StackState.WAITING]

    def _note_arrival(self, study_uid: str, stacks: Sequence[Stack], now: datetime) -> None:
        """Log what a pipeline takes at once; note what none takes until no more of it comes.

        The first images of a stack look like something else: one slice, one phase.
        """
        noted = {stack.id for stack in self._left_alone.pop(study_uid, ())}
        unrouted = [stack for stack in stacks if stack.state is StackState.UNROUTED]
        self._left_alone[study_uid] = tuple(
            stack for stack in unrouted if stack.changed_at == now or stack.id in noted
        )
        for stack in stacks:
            if stack.pipeline is not None and (stack.created_at == now or stack.id in noted):
                log.info(
                    "series arriving", pipeline=stack.pipeline, reason=stack.reason, **_ids(stack)
                )

    def _tell_left_alone(self, now: datetime) -> None:
        quiet = timedelta(seconds=self._settings.completion.quiet_s)
        for uid, stacks in list(self._left_alone.items()):
            if all(stack.changed_at + quiet <= now for stack in stacks):
                del self._left_alone[uid]
                for stack in stacks:
                    log.info("series left alone", reason=stack.reason, **_ids(stack))

    def _route(self, study: ChangedStudy) -> tuple[_Routed, ...]:
        instances = {
            item.sop_instance_uid: item
            for item in self._storage.instances.current(study.study_instance_uid)
        }
        headers = [InstanceHeader.from_json(item.header_json) for item in instances.values()]
        callers = {uid: item.calling_ae_title for uid, item in instances.items()}
        return tuple(
            _routed(proposal, instances)
            for proposal in propose(headers, self._settings.active_routes, callers)
        )

    def _start_if_complete(self, stack: Stack, known: _Known, now: datetime) -> None:
        routed = known.routed[stack.id]
        arrival = self._arrival(stack, known)
        if arrival.still_open and stack.reason == SENT_AGAIN:
            return
        decision = _decided(routed, arrival, now, self._settings.completion)
        if not decision.ready:
            self._note_wait(stack, decision.trigger)
            return
        if decision.early and stack.deferred_input_digest == stack.input_digest:
            # The same instances were looked at: the stack ends inside the ventricle.
            quiet = quiet_from(arrival, self._settings.completion)
            self._note_wait(stack, waiting_for(_MORE_SLICES, quiet))
            return
        deleted = [item.sop_instance_uid for item in routed.instances if item.path is None]
        if deleted:
            self._reject(stack, deleted, now)
            return
        inputs = [
            JobInput(item.sop_instance_uid, item.digest, item.path)
            for item in routed.instances
            if item.path is not None
        ]
        trigger = ASKED_AGAIN if stack.reason == ASKED_AGAIN else decision.trigger
        self._storage.jobs.enqueue(stack.id, inputs, trigger=trigger, early=decision.early, now=now)
        log.info(
            "job queued",
            pipeline=stack.pipeline,
            instances=len(inputs),
            because=trigger,
            **_ids(stack),
        )

    def _note_wait(self, stack: Stack, what: str) -> None:
        reason = f"waits for {what}"
        if stack.reason != reason:
            self._storage.stacks.set_reason(stack.id, reason)

    def _reject(self, stack: Stack, deleted: list[str], now: datetime) -> None:
        """Reject a stack that grew after retention deleted its first images."""
        reason = (
            f"{len(deleted)} earlier images were deleted by retention; send the whole series again"
        )
        self._storage.stacks.reject(stack.id, reason, now)
        log.warning("stack rejected", reason=reason, **_ids(stack))

    def _arrival(self, stack: Stack, known: _Known) -> Arrival:
        routed = known.routed[stack.id]
        carriage = self._storage.instances.carriage(stack.id)
        return Arrival(
            instances=len(routed.instances),
            associations=carriage.associations,
            still_open=carriage.still_open,
            aborted=carriage.aborted,
            last_received=max(
                self._listening_since, *(item.received_at for item in routed.instances)
            ),
            last_released=carriage.last_released,
            archive_count=None if carriage.still_open else self._count(stack, known),
        )

    def _count(self, stack: Stack, known: _Known) -> int | None:
        """Ask the archive, once for each set of instances."""
        if len(stack.series_instance_uids) != 1:
            return None
        (series,) = stack.series_instance_uids
        digest, count = known.counted.get(series, ("", None))
        if digest != stack.input_digest:
            count = self._count_in_archive(stack.study_instance_uid, series)
            known.counted[series] = stack.input_digest, count
        return count


def _ids(stack: Stack) -> dict[str, object]:
    """How the log names a stack."""
    return {
        "stack_id": stack.id,
        "study_instance_uid": stack.study_instance_uid,
        "series_instance_uids": list(stack.series_instance_uids),
    }


def _decided(
    routed: _Routed, arrival: Arrival, now: datetime, settings: CompletionSettings
) -> Decision:
    if routed.proposal.pipeline in PICTURE_PIPELINES:
        return decide_case(arrival, now, settings, whole=is_whole(routed.proposal.headers))
    return decide(routed.grid, arrival, now, settings)


def _routed(proposal: Proposal, instances: Mapping[str, StoredInstance]) -> _Routed:
    grid = None
    if proposal.pipeline is not None and proposal.pipeline not in PICTURE_PIPELINES:
        try:
            grid = grid_of(proposal)
        except Rejection as rejection:
            log.debug("no grid yet", reason=str(rejection))
    members = tuple(instances[header.sop_instance_uid] for header in proposal.headers)
    return _Routed(proposal, grid, members)


def _for_storage(routed: _Routed) -> StackProposal:
    return StackProposal(
        pipeline=routed.proposal.pipeline,
        series_instance_uids=routed.proposal.series_instance_uids,
        source_ae_titles=tuple(sorted({item.calling_ae_title for item in routed.instances})),
        digests=tuple(item.digest for item in routed.instances),
        reason=routed.proposal.reason,
    )
