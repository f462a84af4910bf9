"""`dicom-node status`: series with state, reason and age, and the outbox per destination."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape

from config.schema import Settings
from pipeline.case import Verdict
from pipeline.findings import SeriesFindings, read_series_findings
from storage import open_storage
from storage.errors import StorageMissing
from storage.overview import OutboxOverview, StackOverview, StudyFault
from storage.states import UNFINISHED_STACK_STATES, StackState

_INDENT = " " * 13
_COLOURS = {
    StackState.PARKED: "red",
    StackState.REJECTED: "yellow",
    StackState.COMPLETED: "green",
}


class StackStatus(BaseModel):
    """One stack as `status --json` shows it; ages in seconds."""

    id: int
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    pipeline: str | None
    state: StackState
    reason: str
    instances: int
    attempts: int
    generation: int
    age_s: float
    in_state_s: float
    findings: SeriesFindings | None


class OutboxStatus(BaseModel):
    """Deliveries to one destination as `status --json` shows them; `dropped` ones by reason."""

    destination: str
    pending: int
    sent: int
    parked: int
    dropped: int
    pending_studies: tuple[str, ...] = ()
    parked_studies: tuple[str, ...] = ()
    dropped_because: dict[str, int] = {}
    oldest_pending_s: float | None
    next_attempt_in_s: float | None = None
    last_error: str


class FaultStatus(BaseModel):
    """A study that could not be assessed, as `status --json` shows it."""

    study_instance_uid: str
    age_s: float
    fault: str


class NodeStatus(BaseModel):
    """Everything `status --json` shows; `has_data` is false before the first `serve`."""

    folder: Path
    has_data: bool = True
    faults: tuple[FaultStatus, ...] = ()
    stacks: tuple[StackStatus, ...] = ()
    outbox: tuple[OutboxStatus, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether nothing is under way: no stack, no delivery."""
        return all(stack.state not in UNFINISHED_STACK_STATES for stack in self.stacks) and not any(
            box.pending for box in self.outbox
        )


def read_status(settings: Settings) -> NodeStatus:
    """Read the state of the node beside a running `serve`, changing nothing.

    Parameters
    ----------
    settings : Settings
        Those of the node.
    """
    folder = settings.storage.folder.absolute()
    try:
        storage = open_storage(settings.storage, read_only=True)
    except StorageMissing:
        return NodeStatus(folder=folder, has_data=False)
    now = datetime.now(UTC)
    try:
        return NodeStatus(
            folder=folder,
            faults=tuple(_fault(item, now) for item in storage.overview.faults()),
            stacks=tuple(_stack(item, now) for item in storage.overview.stacks()),
            outbox=tuple(_outbox(item, now) for item in storage.overview.outbox()),
        )
    finally:
        storage.close()


def print_status(settings: Settings, *, as_json: bool) -> None:
    """Print the state of the node, for people or as JSON."""
    status = read_status(settings)
    if as_json:
        typer.echo(status.model_dump_json(indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)  # a UID stays whole, to copy and to search
    for line in _lines(status):
        console.print(line)


def _lines(status: NodeStatus) -> Iterator[str]:
    if not status.has_data:
        yield f"No data folder yet at {escape(str(status.folder))}: `serve` makes it."
        return
    for study_uid, stacks in _by_study(status.stacks).items():
        yield f"[bold]Study {study_uid}[/bold]"
        for stack in stacks:
            yield from _stack_lines(stack)
        yield ""
    if status.faults:
        yield "[bold red]Studies that could not be assessed[/bold red] (the log has the fault)"
        for fault in status.faults:
            yield f"  {fault.study_instance_uid}\n{_INDENT}{escape(fault.fault)}"
        yield ""
    for box in status.outbox:
        yield from _outbox_lines(box)
    counts = Counter(str(stack.state) for stack in status.stacks)
    yield f"Stacks: {_counted(counts) or 'none yet'}"


def _by_study(stacks: Iterable[StackStatus]) -> dict[str, list[StackStatus]]:
    """Stacks by study; the study that changed last at the end, where a terminal shows it."""
    studies: dict[str, list[StackStatus]] = {}
    for stack in stacks:
        uid = stack.study_instance_uid
        studies[uid] = [*studies.pop(uid, []), stack]
    return studies


def _stack_lines(stack: StackStatus) -> Iterator[str]:
    colour = _COLOURS.get(stack.state, "default")
    attempt = f", attempt {stack.attempts}" if stack.attempts > 1 else ""
    state = f"  {stack.state}".ljust(len(_INDENT))
    yield (
        f"[{colour}]{state}[/{colour}]for {_duration(stack.in_state_s)},"
        f" {stack.pipeline or 'no pipeline'}, {stack.instances} images{attempt}"
    )
    for uid in stack.series_instance_uids:
        yield f"{_INDENT}series {uid}"
    completed = stack.state is StackState.COMPLETED
    yield f"{_INDENT}{'started when ' if completed else ''}{escape(stack.reason)}"
    if not completed or stack.findings is None:
        return
    told = stack.findings.classification
    if told is not None and told.found is not None:
        yield f"{_INDENT}research only: {told.found}, probability {told.confidence:.2f}"
    for check in stack.findings.quality:
        if check.verdict is not Verdict.OK:
            yield f"{_INDENT}{check.verdict}: {escape(check.reason)}"


def _outbox_lines(box: OutboxStatus) -> Iterator[str]:
    oldest = ""
    if box.oldest_pending_s is not None:
        next_attempt = _duration(box.next_attempt_in_s or 0)
        oldest = f" (oldest {_duration(box.oldest_pending_s)}, next attempt in {next_attempt})"
    because = f" ({_counted(box.dropped_because)})" if box.dropped_because else ""
    yield (
        f"[bold]Outbox to {escape(box.destination)}[/bold]: {box.pending} pending{oldest},"
        f" {box.sent} sent, {box.parked} parked, {box.dropped} dropped{because}"
    )
    if box.last_error:
        yield f"{_INDENT}{escape(box.last_error)}"
    for uid in box.pending_studies:
        yield f"{_INDENT}not all delivered yet: study {uid}"
    for uid in box.parked_studies:
        yield f"{_INDENT}parked until it is pushed again: study {uid}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {escape(name)}" for name, number in counts.items())


def _stack(item: StackOverview, now: datetime) -> StackStatus:
    stack = item.stack
    return StackStatus(
        id=stack.id,
        study_instance_uid=stack.study_instance_uid,
        series_instance_uids=stack.series_instance_uids,
        pipeline=stack.pipeline,
        state=stack.state,
        reason=stack.reason,
        instances=item.instances,
        attempts=item.attempts,
        generation=stack.generation,
        age_s=(now - stack.created_at).total_seconds(),
        in_state_s=(now - stack.changed_at).total_seconds(),
        findings=read_series_findings(stack.findings_json),
    )


def _fault(item: StudyFault, now: datetime) -> FaultStatus:
    return FaultStatus(
        study_instance_uid=item.study_instance_uid,
        age_s=(now - item.changed_at).total_seconds(),
        fault=item.fault,
    )


def _outbox(item: OutboxOverview, now: datetime) -> OutboxStatus:
    oldest, following = item.oldest_pending, item.next_attempt
    return OutboxStatus(
        destination=item.destination,
        pending=item.pending,
        sent=item.sent,
        parked=item.parked,
        dropped=item.dropped,
        pending_studies=item.pending_studies,
        parked_studies=item.parked_studies,
        dropped_because=dict(item.dropped_because),
        oldest_pending_s=None if oldest is None else (now - oldest).total_seconds(),
        next_attempt_in_s=None if following is None else (following - now).total_seconds(),
        last_error=item.last_error,
    )


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=max(0, round(seconds))))
