"""`dicom-node status`: series with state, reason and age, and the outbox per destination."""

from datetime import UTC, datetime, timedelta

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from config.schema import Settings
from pipeline.findings import SeriesFindings
from storage import open_storage
from storage.errors import StorageMissing
from storage.overview import OutboxOverview, StackOverview
from storage.states import StackState

_UNDER_WAY = (StackState.WAITING, StackState.QUEUED, StackState.RUNNING)


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
    """Deliveries to one destination as `status --json` shows them."""

    destination: str
    pending: int
    sent: int
    parked: int
    dropped: int
    oldest_pending_s: float | None
    last_error: str


class NodeStatus(BaseModel):
    """Everything `status --json` shows."""

    stacks: tuple[StackStatus, ...]
    outbox: tuple[OutboxStatus, ...]

    @property
    def settled(self) -> bool:
        """Whether nothing is under way: no stack, no delivery."""
        return all(stack.state not in _UNDER_WAY for stack in self.stacks) and not any(
            box.pending for box in self.outbox
        )


def read_status(settings: Settings) -> NodeStatus:
    """Read the state of the node beside a running `serve`, changing nothing.

    Parameters
    ----------
    settings : Settings
        Those of the node.
    """
    try:
        storage = open_storage(settings.storage, read_only=True)
    except StorageMissing:
        return NodeStatus(stacks=(), outbox=())
    now = datetime.now(UTC)
    try:
        return NodeStatus(
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
    console = Console()
    stacks = Table("id", "pipeline", "state", "for", "images", title="Stacks")
    stacks.add_column("series", overflow="fold")
    stacks.add_column("reason", overflow="fold")
    for stack in status.stacks:
        stacks.add_row(
            str(stack.id),
            stack.pipeline or "-",
            stack.state,
            _duration(stack.in_state_s),
            str(stack.instances),
            "\n".join(stack.series_instance_uids),
            escape(stack.reason),
        )
    console.print(stacks)
    outbox = Table("destination", "pending", "sent", "parked", "oldest", "error", title="Outbox")
    for box in status.outbox:
        oldest = "" if box.oldest_pending_s is None else _duration(box.oldest_pending_s)
        outbox.add_row(
            box.destination,
            str(box.pending),
            str(box.sent),
            str(box.parked),
            oldest,
            escape(box.last_error),
        )
    console.print(outbox)


def _stack(item: StackOverview, now: datetime) -> StackStatus:
    stack = item.stack
    findings = stack.findings_json
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
        findings=SeriesFindings.model_validate_json(findings) if findings else None,
    )


def _outbox(item: OutboxOverview, now: datetime) -> OutboxStatus:
    oldest = item.oldest_pending
    return OutboxStatus(
        destination=item.destination,
        pending=item.pending,
        sent=item.sent,
        parked=item.parked,
        dropped=item.dropped,
        oldest_pending_s=None if oldest is None else (now - oldest).total_seconds(),
        last_error=item.last_error,
    )


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
