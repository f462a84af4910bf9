"""`dicom-node status`: series with state, reason and dates, and the outbox per destination."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape

from config.errors import ConfigError
from config.schema import Settings
from pipeline.case import Verdict
from pipeline.findings import SeriesFindings, read_series_findings
from storage import open_storage
from storage.errors import StorageMissing
from storage.overview import OutboxOverview, StackOverview, StudyFault
from storage.states import UNFINISHED_STACK_STATES, StackState

_INDENT = " " * 13
_TIME = "%Y-%m-%d %H:%M:%S %Z"
_LONGEST_SENT = 64  # an accession number has 16 characters at most (PS3.5 6.2)
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_COLOURS = {
    StackState.PARKED: "red",
    StackState.REJECTED: "yellow",
    StackState.COMPLETED: "green",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `status` is to show: a study, what changed since, stacks in one of these states.

    What is empty or None restricts nothing.
    """

    study: str = ""
    since: datetime | None = None
    states: tuple[StackState, ...] = ()

    @classmethod
    def read(
        cls, study: str, since: str, states: Collection[str], timezone: str, now: datetime
    ) -> Self:
        """Read what a person typed: `since` as 7d, 12h, 2w, or as a date (and time) of the site.

        Raises
        ------
        ConfigError
            No UID, no such state, or no time; the message says what is allowed.
        """
        if not re.fullmatch(r"[0-9.]*", study, re.ASCII):
            raise ConfigError(f"--study {study!a}: a Study Instance UID has digits and dots alone")
        states = ["running" if state == "interrupted" else state for state in states]
        known = [str(state) for state in StackState]
        for state in states:
            if state not in known:
                raise ConfigError(
                    f"--state {state}: the states are {', '.join(known)}, interrupted"
                )
        chosen = tuple(StackState(state) for state in states)
        return cls(study, _time(since, timezone, now) if since else None, chosen)

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self == _EVERYTHING


_EVERYTHING = Wanted()


def _time(text: str, timezone: str, now: datetime) -> datetime:
    back = re.fullmatch(r"(\d{1,4})([hdw])", text)
    if back:
        return now - timedelta(**{_UNITS[back[2]]: int(back[1])})
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        allowed = "7d, 12h, 2w, or a date such as 2026-03-31"
        raise ConfigError(f"--since {text}: a time is given as {allowed}") from error
    try:
        return (given if given.tzinfo else given.replace(tzinfo=ZoneInfo(timezone))).astimezone(UTC)
    except OverflowError as error:
        raise ConfigError(f"--since {text}: this time is out of range") from error


class StackStatus(BaseModel):
    """One stack as `status --json` shows it; ages in seconds.

    `interrupted`: its job was running, and no node runs; the next start runs it again.
    """

    id: int
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    pipeline: str | None
    state: StackState
    interrupted: bool
    reason: str
    accession_number: str
    received_at: datetime
    changed_at: datetime
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
    """Everything `status --json` shows.

    `has_data` is false before the first `serve`; `node_runs` says whether one serves the folder
    now, else all stands as the last one left it.
    """

    folder: Path
    has_data: bool = True
    node_runs: bool = False
    faults: tuple[FaultStatus, ...] = ()
    stacks: tuple[StackStatus, ...] = ()
    outbox: tuple[OutboxStatus, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether nothing is under way: no stack, no delivery."""
        return all(stack.state not in UNFINISHED_STACK_STATES for stack in self.stacks) and not any(
            box.pending for box in self.outbox
        )


def read_status(settings: Settings, wanted: Wanted = _EVERYTHING) -> NodeStatus:
    """Read the state of the node beside a running `serve`, changing nothing.

    Parameters
    ----------
    settings : Settings
        Those of the node.
    wanted : Wanted, optional
        What of the studies is of interest; the outbox is always whole.
    """
    folder = settings.storage.folder.absolute()
    try:
        storage = open_storage(settings.storage, read_only=True)
    except StorageMissing:
        return NodeStatus(folder=folder, has_data=False)
    now = datetime.now(UTC)
    study, since = wanted.study, wanted.since
    try:
        stacks = storage.overview.stacks(study=study, since=since, states=wanted.states)
        faults = storage.overview.faults(study=study, since=since)
        runs = storage.folder.is_served
        return NodeStatus(
            folder=folder,
            node_runs=runs,
            faults=tuple(_fault(item, now) for item in faults),
            stacks=tuple(_stack(item, now, runs) for item in stacks),
            outbox=tuple(_outbox(item, now) for item in storage.overview.outbox()),
        )
    finally:
        storage.close()


def print_status(
    settings: Settings,
    *,
    as_json: bool,
    study: str = "",
    since: str = "",
    states: Collection[str] = (),
) -> None:
    """Print the state of the node, for people or as JSON; filters as those of `Wanted.read`.

    Raises
    ------
    ConfigError
        A filter is not understood.
    """
    timezone = settings.site.timezone
    wanted = Wanted.read(study, since, states, timezone, datetime.now(UTC))
    status = read_status(settings, wanted)
    if as_json:
        typer.echo(status.model_dump_json(indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)  # a UID stays whole, to copy and to search
    for line in _lines(status, ZoneInfo(timezone), everything=wanted.everything):
        console.print(line)


def _lines(status: NodeStatus, zone: ZoneInfo, *, everything: bool) -> Iterator[str]:
    if not status.has_data:
        yield f"No data folder yet at {escape(str(status.folder))}: `serve` makes it."
        return
    for study_uid, stacks in _by_study(status.stacks).items():
        yield f"[bold]Study {study_uid}[/bold]{_accession_numbers(stacks)}"
        for stack in stacks:
            yield from _stack_lines(stack, zone)
        yield ""
    if status.faults:
        yield "[bold red]Studies that could not be assessed[/bold red] (the log has the fault)"
        for fault in status.faults:
            yield f"  {fault.study_instance_uid}\n{_INDENT}{escape(fault.fault)}"
        yield ""
    for box in status.outbox:
        yield from _outbox_lines(box, node_runs=status.node_runs)
    counts = Counter(_state(stack) for stack in status.stacks)
    yield f"Stacks: {_counted(counts) or ('none yet' if everything else 'none of these')}"
    if status.node_runs:
        yield f"A node runs on {escape(str(status.folder))}"
    else:
        yield (
            f"[bold red]No node runs on {escape(str(status.folder))}[/bold red]: all stands as the"
            " last one left it until `serve` starts"
        )


def _accession_numbers(stacks: Iterable[StackStatus]) -> str:
    numbers = sorted({_printable(stack.accession_number) for stack in stacks} - {""})
    return f", accession number {escape(', '.join(numbers))}" if numbers else ""


def _printable(sent: str) -> str:
    """What a sender wrote, without what would steer the terminal or fill it."""
    text = "".join(letter if letter.isprintable() else "?" for letter in sent)
    return text if len(text) <= _LONGEST_SENT else f"{text[:_LONGEST_SENT]}..."


def _state(stack: StackStatus) -> str:
    return "interrupted" if stack.interrupted else str(stack.state)


def _by_study(stacks: Iterable[StackStatus]) -> dict[str, list[StackStatus]]:
    """Stacks by study; the study that changed last at the end, where a terminal shows it."""
    studies: dict[str, list[StackStatus]] = {}
    for stack in stacks:
        uid = stack.study_instance_uid
        studies[uid] = [*studies.pop(uid, []), stack]
    return studies


def _stack_lines(stack: StackStatus, zone: ZoneInfo) -> Iterator[str]:
    colour = _COLOURS.get(stack.state, "default")
    attempt = f", attempt {stack.attempts}" if stack.attempts > 1 else ""
    state = f"  {_state(stack)} ".ljust(len(_INDENT))
    yield (
        f"[{colour}]{state}[/{colour}]for {_duration(stack.in_state_s)},"
        f" {stack.pipeline or 'no pipeline'}, {stack.instances} images{attempt}"
    )
    received, changed = (
        at.astimezone(zone).strftime(_TIME) for at in (stack.received_at, stack.changed_at)
    )
    yield f"{_INDENT}stack {stack.id}, received {received}, last change {changed}"
    for uid in stack.series_instance_uids:
        yield f"{_INDENT}series {uid}"
    if stack.interrupted:
        yield f"{_INDENT}runs again when the node starts"
        return
    completed = stack.state is StackState.COMPLETED
    yield f"{_INDENT}{'started: ' if completed else ''}{escape(stack.reason)}"
    if not completed or stack.findings is None:
        return
    told = stack.findings.classification
    if told is not None and told.found is not None:
        yield f"{_INDENT}research only: {told.found}, probability {told.confidence:.2f}"
    for check in stack.findings.quality:
        if check.verdict is not Verdict.OK:
            yield f"{_INDENT}{check.verdict}: {escape(check.reason)}"


def _outbox_lines(box: OutboxStatus, *, node_runs: bool) -> Iterator[str]:
    oldest = ""
    if box.oldest_pending_s is not None:
        follows = (
            f"in {_duration(box.next_attempt_in_s or 0)}" if node_runs else "at the next start"
        )
        oldest = f" (oldest {_duration(box.oldest_pending_s)}, next attempt {follows})"
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


def _stack(item: StackOverview, now: datetime, node_runs: bool) -> StackStatus:
    stack = item.stack
    header = json.loads(item.header_json or "{}")  # older versions did not keep all of it
    return StackStatus(
        id=stack.id,
        study_instance_uid=stack.study_instance_uid,
        series_instance_uids=stack.series_instance_uids,
        pipeline=stack.pipeline,
        state=stack.state,
        interrupted=stack.state is StackState.RUNNING and not node_runs,
        reason=stack.reason,
        accession_number=header.get("accession_number", ""),
        received_at=item.received_at,
        changed_at=stack.changed_at,
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
