"""Cardiac phases: which time of an image counts, repeated images, and which phase is missing."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np

from pipeline.case import Float64
from pipeline.headers import FrameHeader, InstanceHeader

# Images of a slice nearer in time than this are one phase taken twice.
SAME_TIME_MS = 1.0
# Intervals between phases of two slices of a stack differ by less than this factor.
LONGEST_INTERVAL = 1.5
# An image further from the middle of its slice's times than this many beats belongs to another one.
STRAY_BEATS = 1.5
# A gap is looked at as fewer than this many intervals.
MOST_PARTS = 5
# R-R interval at 60 beats a minute; times made with it are said to be estimates.
USUAL_BEAT_MS = 1000.0
# Deviation from a whole number of intervals within which the phases of a slice are evenly spaced.
EVEN_INTERVAL = 0.25


@dataclass(frozen=True, slots=True)
class Cell:
    """One image of a stack: an instance, and the frame of it."""

    instance: InstanceHeader
    frame: FrameHeader

    @property
    def acquisition(self) -> tuple[str, int, str, int]:
        """Sorts by when the image was taken, then by names that never tie."""
        return (
            self.instance.acquired_at,
            self.instance.series_number or 0,
            self.instance.sop_instance_uid,
            self.frame.frame_number or 0,
        )


@dataclass(frozen=True, slots=True)
class TimedCell:
    """A cell and its time in ms (after the R wave, where the headers state that)."""

    time_ms: float
    cell: Cell


TRIGGER_TIME = "trigger time"
_TEMPORAL_POSITION = "temporal position"
_ACQUISITION_TIME = "acquisition time"
Clock = Callable[[Cell], float | None]
# In the order of preference. InstanceNumber is none: it is an accident of the sender.
_CLOCKS: tuple[tuple[str, Clock], ...] = (
    (TRIGGER_TIME, lambda cell: cell.frame.trigger_time_ms),
    (_TEMPORAL_POSITION, lambda cell: cell.frame.temporal_position),
    (_ACQUISITION_TIME, lambda cell: cell.frame.clock_ms),
)


def timed(slices: Sequence[Sequence[Cell]]) -> tuple[str, list[list[TimedCell]]] | None:
    """Give each image a time from the first source that every image has and that tells them apart.

    Parameters
    ----------
    slices : sequence [z] of sequence of Cell

    Returns
    -------
    source : str
        Which time was taken.
    slices : list [z] of list of TimedCell
        Each slice by rising time. Temporal positions are spread over the R-R interval, or over
        a usual one where the headers do not state it; clock times count from the first image of
        their slice.
    None when there is no such time.
    """
    for name, clock in _CLOCKS:
        times = [[clock(cell) for cell in cells] for cells in slices]
        known = [[time for time in row if time is not None] for row in times]
        if known == times and any(len(set(row)) > 1 for row in known):
            step_ms = _temporal_step_ms([cell for cells in slices for cell in cells])
            return name, [
                _ordered(cells, _in_ms(name, row, step_ms))
                for cells, row in zip(slices, known, strict=True)
            ]
    return None


def _in_ms(source: str, times: Sequence[float], step_ms: float) -> list[float]:
    if source == _ACQUISITION_TIME:
        return [time - min(times) for time in times]
    if source == _TEMPORAL_POSITION:
        return [(time - 1) * step_ms for time in times]
    return list(times)


def _temporal_step_ms(cells: Sequence[Cell]) -> float:
    """Estimated duration of a temporal position: the R-R interval over their number."""
    intervals = [cell.instance.nominal_interval_ms or 0.0 for cell in cells]
    stated = [interval for interval in intervals if interval > 0]
    counts = [cell.instance.temporal_positions or cell.instance.cardiac_images for cell in cells]
    positions = [cell.frame.temporal_position for cell in cells]
    number = max((count for count in (*counts, *positions) if count), default=1)
    return (float(np.median(stated)) if stated else USUAL_BEAT_MS) / number


def _ordered(cells: Sequence[Cell], times: Sequence[float]) -> list[TimedCell]:
    both = [TimedCell(time, cell) for time, cell in zip(times, cells, strict=True)]
    return sorted(both, key=lambda item: (item.time_ms, item.cell.acquisition))


def usual_span_ms(rows: Sequence[Sequence[TimedCell]]) -> float:
    """Time from the first phase to the last, as most slices have it that have most of the phases.

    By the median interval of each slice, so that one wrong time counts for nothing.
    """
    times = [np.unique([item.time_ms for item in row]) for row in rows]
    fullest = max(len(row) for row in times)
    spans = [_interval_ms(row) * (len(row) - 1) for row in times if 2 * len(row) >= fullest]
    return float(np.median(spans))


def stray(rows: Sequence[Sequence[TimedCell]]) -> TimedCell | None:
    """Return the image whose time lies furthest outside the beat of its slice; None without one.

    Of two that are the only ones of their slice, the one further from the middle of the stack.
    """
    middles = [float(np.median([item.time_ms for item in row])) for row in rows]
    middle_ms = float(np.median([item.time_ms for row in rows for item in row]))
    distance_ms, _, item = max(
        (
            (abs(item.time_ms - middle), abs(item.time_ms - middle_ms), item)
            for row, middle in zip(rows, middles, strict=True)
            for item in row
        ),
        key=lambda found: found[:2],
    )
    # Where most images are absent, intervals are longer than they seem.
    seen_ms = median_low([row[-1].time_ms - row[0].time_ms for row in rows])
    return item if distance_ms > STRAY_BEATS * max(usual_span_ms(rows), seen_ms) else None


def without_repeats(
    row: Sequence[TimedCell], expected: int
) -> tuple[list[TimedCell], list[TimedCell]]:
    """Split the images of one slice into those that count and repeats of a phase.

    Of the images of one time the one taken last counts. Where more than `expected` remain and a
    single series, or a single acquisition, has as many, the slice was taken again at another heart
    rate: the last whole one counts.

    Returns
    -------
    counting, left_out : list of TimedCell
        Both by rising time.
    """
    counting = _latest_of_each_time(row)
    for name in (_series, _acquired_at):
        if len(counting) > expected:
            counting = _latest_whole(counting, expected, name)
    return counting, [item for item in row if item not in counting]


def _latest_of_each_time(row: Sequence[TimedCell]) -> list[TimedCell]:
    counting: list[TimedCell] = []
    for item in row:
        if not counting or item.time_ms - counting[-1].time_ms >= SAME_TIME_MS:
            counting.append(item)
        elif item.cell.acquisition > counting[-1].cell.acquisition:
            counting[-1] = item
    return counting


def _series(cell: Cell) -> str:
    return cell.instance.series_instance_uid


def _acquired_at(cell: Cell) -> str:
    return cell.instance.acquired_at


def _latest_whole(
    row: list[TimedCell], expected: int, name: Callable[[Cell], str]
) -> list[TimedCell]:
    """Images of the last acquisition that alone has `expected`; all where there is none."""
    acquisitions: defaultdict[str, list[TimedCell]] = defaultdict(list)
    for item in row:
        acquisitions[name(item.cell)].append(item)
    whole = [items for items in acquisitions.values() if len(items) >= expected]
    return max(whole, key=lambda items: max(i.cell.acquisition for i in items), default=row)


def usual_count(counts: Sequence[int], declared: int | None) -> int:
    """Phases most slices have (the larger of a tie), or as declared where that is less."""
    tally = Counter(counts)
    usual = max(tally, key=lambda count: (tally[count], count))
    return min(usual, declared) if declared and declared > 1 else usual


def align(rows: Sequence[Sequence[TimedCell]]) -> tuple[list[list[int]], int]:
    """Phase index of each image, and the number of phases.

    There are as many phases as the longest slice has images, or as half of the slices show by the
    gaps between theirs. An image of a slice with fewer gets the phase whose time, in units of the
    slice's own interval between phases, is nearest, in rising order.

    Parameters
    ----------
    rows : sequence [z] of sequence of TimedCell
        By rising time, no phase twice.

    Returns
    -------
    indices : list [z] of list of int
        From 0, rising within a slice.
    n_phases : int
    """
    times = [np.array([item.time_ms for item in row]) for row in rows]
    spans = sorted(int(_steps(row)[-1]) + 1 for row in times)
    n_phases = max(*(len(row) for row in rows), spans[(len(spans) - 1) // 2])
    steps = [np.arange(n_phases) if len(row) == n_phases else _steps(row) for row in times]
    whole = [z for z, row in enumerate(steps) if row[-1] + 1 == n_phases]
    usual_ms = float(np.median([_interval_ms(times[z]) for z in whole])) or 1.0
    reference = np.median(
        [
            np.interp(np.arange(n_phases), steps[z], times[z] / (_interval_ms(times[z]) or 1.0))
            for z in whole
        ],
        axis=0,
    )
    return [
        list(range(n_phases))
        if len(row) == n_phases
        else min(
            _nearest_rising(row / interval_ms, reference)
            for interval_ms in _own_intervals_ms(row, usual_ms)
        )[1]
        for row in times
    ], n_phases


def _steps(times: Float64) -> Float64:
    """Phases from the first image to each, counted by the slice's own interval.

    A gap of about two or three intervals is one or two missing phases. Where the intervals are
    no such multiples, or most would be missing, nothing is read from them.
    """
    counted = _counted(np.diff(times), _interval_ms(times))
    return np.arange(len(times), dtype=np.float64) if counted is None else counted


def _counted(gaps: Float64, interval_ms: float) -> Float64 | None:
    """Steps from the first image to each; None where the gaps are no multiples of the interval."""
    intervals = gaps / (interval_ms or 1.0)
    multiples = np.round(intervals)
    steps = np.concatenate([[0.0], np.cumsum(multiples)])
    even = np.all(np.abs(intervals - multiples) <= EVEN_INTERVAL) and np.all(multiples >= 1)
    return steps if even and steps[-1] < 2 * len(steps) else None


def _interval_ms(times: Float64) -> float:
    """The usual gap; the least where that alone divides all, as after loss of every third image."""
    gaps = np.diff(times)
    if not gaps.size:
        return 0.0
    usual, least = float(np.median(gaps)), float(gaps.min())
    return least if _counted(gaps, usual) is None and _counted(gaps, least) is not None else usual


def _own_intervals_ms(times: Float64, usual_ms: float) -> list[float]:
    """What the interval of a slice that lacks phases may be: the usual one, or its own.

    Its own is a gap between its images, or a part of one where phases are missing, that its heart
    rate makes likely.
    """
    gaps = np.diff(times)
    own = [
        float(gap) / parts for gap in (*gaps, _interval_ms(times)) for parts in range(1, MOST_PARTS)
    ]
    near = {ms for ms in own if 1 / LONGEST_INTERVAL < ms / usual_ms < LONGEST_INTERVAL}
    return [usual_ms, *sorted(near)]


def _nearest_rising(times: Float64, reference: Float64) -> tuple[float, list[int]]:
    """Rising choice of reference times with the least summed distance, by dynamic programming.

    Parameters
    ----------
    times : float64 [m]
    reference : float64 [n], n >= m

    Returns
    -------
    distance : float
        The summed distance.
    indices : list [m] of int
        Into `reference`.
    """
    cost = np.abs(times[:, None] - reference[None, :])
    best = np.full((len(times) + 1, len(reference) + 1), np.inf)
    best[0] = 0
    for i in range(len(times)):
        best[i + 1, 1:] = np.minimum.accumulate(best[i, :-1] + cost[i])
    chosen, end = [], len(reference)
    for i in reversed(range(len(times))):
        end = int(np.argmin(best[i + 1, : end + 1])) - 1
        chosen.append(end)
    return float(best[-1, -1]), chosen[::-1]
