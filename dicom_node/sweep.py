"""The completion sweep: from received instances to jobs.

For each study that changed or still waits: route what is there, bring the recorded stacks in line,
and queue a job for every stack that is complete and was not computed from the same instances yet.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from config.errors import TransientError
from config.schema import Settings
from dicom_node.completion import Arrival, decide
from pipeline.errors import Rejection
from pipeline.grid import Grid, build_grid
from pipeline.headers import InstanceHeader
from pipeline.routing import Proposal, propose
from storage import Storage
from storage.instances import ChangedStudy, StoredInstance
from storage.job import JobInput
from storage.stacks import Stack, StackProposal
from storage.states import StackState

log = structlog.get_logger()

CountInArchive = Callable[[str, str], int | None]


@dataclass(frozen=True, slots=True)
class _Routed:
    """A proposal, its grid (None when none can be built) and its instances."""

    proposal: Proposal
    grid: Grid | None
    instances: tuple[StoredInstance, ...]


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
    """

    def __init__(
        self, storage: Storage, settings: Settings, count_in_archive: CountInArchive
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._count_in_archive = count_in_archive
        self._routed: dict[str, tuple[int, tuple[_Routed, ...]]] = {}
        self._counted: dict[str, tuple[str, int | None]] = {}
        self._failed: set[ChangedStudy] = set()

    def sweep(self, now: datetime) -> None:
        """Look at every study that changed or waits."""
        studies = self._storage.instances.studies_to_assess()
        for gone in self._routed.keys() - {study.study_instance_uid for study in studies}:
            del self._routed[gone]
        for study in studies:
            if study in self._failed:
                continue
            try:
                self._assess(study, now)
                self._storage.instances.mark_assessed(study)
            except TransientError as error:
                log.warning(
                    "study not assessed now; the next sweep looks again",
                    study_instance_uid=study.study_instance_uid,
                    reason=str(error),
                )
            except Exception:
                self._failed.add(study)  # one study must not hold up the others
                log.exception(
                    "study not assessed; looked at again when it changes",
                    study_instance_uid=study.study_instance_uid,
                )

    def _assess(self, study: ChangedStudy, now: datetime) -> None:
        routed = self._route(study)
        proposals = [_for_storage(item) for item in routed]
        stacks = self._storage.stacks.reconcile(study.study_instance_uid, proposals, now)
        for stack, item in zip(stacks, routed, strict=True):
            if stack.created_at == now:
                log.info(
                    "series arriving",
                    stack_id=stack.id,
                    series_instance_uids=list(stack.series_instance_uids),
                    pipeline=stack.pipeline,
                    reason=stack.reason,
                )
            if stack.state is StackState.WAITING:
                self._start_if_complete(stack, item, now)

    def _route(self, study: ChangedStudy) -> tuple[_Routed, ...]:
        """Route a study; what did not change since the last sweep is not routed again."""
        known = self._routed.get(study.study_instance_uid)
        if known is not None and known[0] == study.changes:
            return known[1]
        instances = {
            item.sop_instance_uid: item
            for item in self._storage.instances.current(study.study_instance_uid)
        }
        headers = [InstanceHeader.from_json(item.header_json) for item in instances.values()]
        callers = {uid: item.calling_ae_title for uid, item in instances.items()}
        routed = tuple(
            _routed(proposal, instances)
            for proposal in propose(headers, self._settings.active_routes, callers)
        )
        self._routed[study.study_instance_uid] = (study.changes, routed)
        return routed

    def _start_if_complete(self, stack: Stack, routed: _Routed, now: datetime) -> None:
        arrival = self._arrival(stack, routed)
        decision = decide(routed.grid, arrival, now, self._settings.completion)
        if not decision.ready:
            reason = f"waits for {decision.trigger}"
            if stack.reason != reason:
                self._storage.stacks.set_reason(stack.id, reason)
            return
        if decision.early and stack.deferred_input_digest == stack.input_digest:
            return  # the same instances were looked at: the stack ends inside the ventricle
        deleted = [item.sop_instance_uid for item in routed.instances if item.path is None]
        if deleted:
            self._reject(stack, deleted, now)
            return
        inputs = [
            JobInput(item.sop_instance_uid, item.digest, item.path)
            for item in routed.instances
            if item.path is not None
        ]
        self._storage.jobs.enqueue(
            stack.id, inputs, trigger=decision.trigger, early=decision.early, now=now
        )
        log.info(
            "job queued",
            stack_id=stack.id,
            series_instance_uids=list(stack.series_instance_uids),
            pipeline=stack.pipeline,
            instances=len(inputs),
            because=decision.trigger,
        )

    def _reject(self, stack: Stack, deleted: list[str], now: datetime) -> None:
        """Reject a stack that grew after retention deleted its first images."""
        reason = (
            f"{len(deleted)} earlier images were deleted by retention; send the whole series again"
        )
        self._storage.stacks.reject(stack.id, reason, now)
        log.warning("stack rejected", stack_id=stack.id, reason=reason)

    def _arrival(self, stack: Stack, routed: _Routed) -> Arrival:
        carriage = self._storage.instances.carriage(stack.series_instance_uids)
        return Arrival(
            instances=len(routed.instances),
            associations=carriage.associations,
            still_open=carriage.still_open,
            aborted=carriage.aborted,
            last_received=max(item.received_at for item in routed.instances),
            last_released=carriage.last_released,
            archive_count=self._count(stack, carriage.still_open),
        )

    def _count(self, stack: Stack, still_open: bool) -> int | None:
        """Ask the archive, once for each set of instances and not in mid-transfer."""
        if still_open or len(stack.series_instance_uids) != 1:
            return None
        series = stack.series_instance_uids[0]
        known = self._counted.get(series)
        if known is None or known[0] != stack.input_digest:
            count = self._count_in_archive(stack.study_instance_uid, series)
            known = (stack.input_digest, count)
            self._counted[series] = known
        return known[1]


def _routed(proposal: Proposal, instances: Mapping[str, StoredInstance]) -> _Routed:
    grid = None
    if proposal.pipeline is not None:
        try:
            grid = build_grid(proposal.headers)
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
