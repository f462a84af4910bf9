"""When is a stack complete? A pure decision over its grid and how it arrived."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from config.schema import CompletionSettings
from pipeline.grid import Grid


@dataclass(frozen=True, slots=True)
class Arrival:
    """How the instances of a stack came in.

    Attributes
    ----------
    instances, associations : int
        How many instances, over how many associations.
    still_open, aborted : bool
        Whether any of these associations is open, or ended without a release.
    last_received, last_released : datetime
        Aware UTC; `last_received` is at least since when the node listens, `last_released` None
        while none was released.
    archive_count : int or None
        Instances the archive says these series have (C-FIND); None when nobody was asked.
    """

    instances: int
    associations: int
    still_open: bool
    aborted: bool
    last_received: datetime
    last_released: datetime | None
    archive_count: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to start, why (`trigger`), or what the stack still waits for."""

    ready: bool
    trigger: str
    early: bool = False


def decide(
    grid: Grid | None, arrival: Arrival, now: datetime, settings: CompletionSettings
) -> Decision:
    """Decide whether a stack is complete.

    A stack is complete when what was declared has arrived; or early, when every association that
    carried it was released and its grid of slice and phase has no hole; or at the latest after
    `quiet_s` without a new instance. An early start is provisional (`early`): the pipeline still
    has to see that both end slices lie beyond the ventricle.

    Parameters
    ----------
    grid : Grid or None
        Slice and phase grid of what is there; None when it cannot be built (so only quiet counts).
    arrival : Arrival
        How it came in.
    now : datetime
        Aware UTC.
    settings : CompletionSettings
        Quiet and settle times, fewest slices.
    """
    if grid is not None and _as_declared(grid, arrival):
        return Decision(True, "as many images came as were declared")
    quiet_until = quiet_from(arrival, settings)
    if now >= quiet_until:
        return Decision(True, _quiet(settings))
    if grid is not None and settings.early_start and _evidently_whole(grid, arrival, settings):
        settled = arrival.last_released
        if settled is not None and now >= settled + timedelta(seconds=settings.settle_s):
            return Decision(True, "the transfer ended and no slice or phase is missing", early=True)
    return Decision(False, waiting_for("more images", quiet_until))


def decide_case(
    arrival: Arrival, now: datetime, settings: CompletionSettings, *, whole: bool
) -> Decision:
    """Decide whether a case that is no stack is complete; parameters as those of `decide`.

    Parameters
    ----------
    whole : bool
        Nothing more can be expected of it: then it starts soon after its release, else it waits
        until it stayed quiet.
    """
    quiet_until = quiet_from(arrival, settings)
    if now >= quiet_until:
        return Decision(True, _quiet(settings))
    released = arrival.last_released
    if whole and settings.early_start and released is not None:
        settled = now >= released + timedelta(seconds=settings.settle_s)
        if settled and not (arrival.still_open or arrival.aborted):
            return Decision(True, "the transfer ended and nothing is missing")
    return Decision(False, waiting_for("more images", quiet_until))


def quiet_from(arrival: Arrival, settings: CompletionSettings) -> datetime:
    """When a stack has been quiet for long enough, if nothing more comes."""
    return arrival.last_received + timedelta(seconds=settings.quiet_s)


def waiting_for(what: str, quiet_until: datetime) -> str:
    """Say what a stack waits for, and until when at the latest."""
    return f"{what}, or until nothing came by {quiet_until:%H:%M:%S} UTC"


def _quiet(settings: CompletionSettings) -> str:
    return f"nothing more came for {settings.quiet_s:g} s"


def _as_declared(grid: Grid, arrival: Arrival) -> bool:
    """Whether exactly the declared number of images is there, in a grid without holes."""
    if grid.n_slices < 3 or grid.holes:
        return False
    if arrival.archive_count is not None:
        return arrival.instances == arrival.archive_count
    return arrival.instances == grid.declared_instances


def _evidently_whole(grid: Grid, arrival: Arrival, settings: CompletionSettings) -> bool:
    if arrival.still_open or arrival.aborted or grid.holes or grid.missing_slices:
        return False
    if grid.declared_phases is not None and grid.n_phases < grid.declared_phases:
        return False
    # A sender that opens one association per instance leaves no end to see between two of them.
    one_by_one = arrival.associations * 2 > arrival.instances and arrival.instances > 1
    return not one_by_one and grid.evenly_spaced and grid.n_slices >= settings.min_slices
