"""The slice x phase grid of a stack, from headers alone: what completion and assembly agree on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.belonging import at_fault, checked_axes, images, slices_along
from pipeline.case import Float64
from pipeline.declared import declared_instances, declared_phases
from pipeline.errors import Rejection
from pipeline.headers import InstanceHeader
from pipeline.phases import (
    TRIGGER_TIME,
    Cell,
    TimedCell,
    align,
    stray,
    timed,
    usual_count,
    without_repeats,
)
from pipeline.planes import (
    SAME_PLACE_MM,
    nominal_spacing_mm,
    normal_of,
    slice_extent_mm,
    spacing_faults,
)


@dataclass(frozen=True, slots=True)
class Grid:
    """Which image stands at which cardiac phase and slice position.

    Attributes
    ----------
    cells : tuple[t] of tuple[z] of TimedCell or None
        None where an image is missing. Slices run along `+normal`, phases by time.
    positions_mm : float64 [z, 3]
        ImagePositionPatient of each slice (LPS).
    row_cosines, column_cosines : float64 [3]
        Mean over the images, perpendicular.
    pixel_spacing_mm : (row_mm, column_mm)
    rows, columns : int
    slice_spacing_mm : float
        Median distance between neighbours along the normal; 0 for a single slice.
    slice_extent_mm : float64 [z]
        As in `pipeline.case.CineStack`.
    trigger_times_ms : float64 [t]
        Median over the slices.
    missing : tuple of str
        Everything that is missing or uneven, in words.
    missing_slices : int
        Slices that are evidently missing between others.
    evenly_spaced : bool
        No gap differs from the others.
    declared_instances : int or None
        Instances the headers say the series have; None where they do not, or count otherwise.
    declared_phases : int or None
        Cardiac phases the headers say a slice has.
    left_out : tuple of str
        SOP Instance UIDs of images that another one of the same phase replaces.
    times_are_estimates : bool
        The images state no trigger times.
    """

    cells: tuple[tuple[TimedCell | None, ...], ...]
    positions_mm: Float64
    row_cosines: Float64
    column_cosines: Float64
    pixel_spacing_mm: tuple[float, float]
    rows: int
    columns: int
    slice_spacing_mm: float
    slice_extent_mm: Float64
    trigger_times_ms: Float64
    missing: tuple[str, ...]
    missing_slices: int
    evenly_spaced: bool
    declared_instances: int | None
    declared_phases: int | None
    left_out: tuple[str, ...]
    times_are_estimates: bool = False

    @property
    def n_phases(self) -> int:
        """Number of cardiac phases."""
        return len(self.cells)

    @property
    def n_slices(self) -> int:
        """Number of slice positions that have an image."""
        return len(self.cells[0])

    @property
    def holes(self) -> int:
        """Cells without an image."""
        return sum(cell is None for row in self.cells for cell in row)

    @property
    def hole_fraction(self) -> float:
        """Share of the grid of the slices that are there that has no image."""
        return self.holes / (self.n_slices * self.n_phases)

    @property
    def missing_fraction(self) -> float:
        """Share of the grid, evident missing slices included, that has no image."""
        absent = self.holes + self.missing_slices * self.n_phases
        return absent / ((self.n_slices + self.missing_slices) * self.n_phases)

    @property
    def normal(self) -> Float64:
        """Unit normal [3], the direction of rising slice index."""
        return np.asarray(np.cross(self.row_cosines, self.column_cosines), dtype=np.float64)


def build_grid(headers: Iterable[InstanceHeader]) -> Grid:
    """Arrange the images of one stack.

    Order comes from position and time alone; the order of the headers, InstanceNumber and names
    do not count.

    Parameters
    ----------
    headers : iterable of InstanceHeader
        Of one stack; classic or Enhanced.

    Returns
    -------
    Grid
        Of one slice or more and two phases or more.

    Raises
    ------
    Rejection
        ``no_images``, ``mixed_patient``, ``mixed_study``, ``mixed_frame_of_reference``,
        ``no_frame_of_reference``, ``mixed_matrix``, ``no_geometry``,
        ``implausible_pixel_spacing``, ``mixed_pixel_spacing``, ``mixed_orientation``,
        ``mixed_position``, ``stray_time`` or ``no_times``. The instance at fault is named; where
        images differ, one of the minority.
    """
    cells = images(headers)
    axes = checked_axes(cells)
    slices, _ = slices_along(cells, axes)
    found = timed(slices)
    if found is None:
        raise _no_times(cells)
    source, rows = found
    declared = declared_phases(cells, len(slices))
    expected = usual_count([_distinct_times(row) for row in rows], declared)
    split = [without_repeats(row, expected) for row in rows]
    left_out = [item.cell for _, repeats in split for item in repeats]
    for counting, _ in split:
        _refuse_shift([item.cell for item in counting], normal_of(axes))
    if source == TRIGGER_TIME:
        _refuse_stray_time([counting for counting, _ in split])
    grid = arranged_grid(
        _arranged([counting for counting, _ in split]),
        axes,
        declared,
        notes=(*_note_on_times(source), *_note_on_repeats(left_out)),
        left_out=left_out,
    )
    return replace(grid, times_are_estimates=source != TRIGGER_TIME)


def arranged_grid(
    arranged: tuple[tuple[TimedCell | None, ...], ...],
    axes: Float64,
    declared_phases: int | None,
    *,
    notes: tuple[str, ...],
    left_out: Sequence[Cell],
) -> Grid:
    """State the grid of arranged images.

    Parameters
    ----------
    arranged : tuple[t] of tuple[z] of TimedCell or None
        As in `Grid`.
    axes : float64 [2, 3]
        As `checked_axes`.
    declared_phases : int or None
        Cardiac phases the headers say a slice has.
    notes : tuple of str
        What else there is to say of the images, after what is missing.
    left_out : sequence of Cell
        Images that other ones replace.
    """
    counting = [item.cell for row in arranged for item in row if item is not None]
    counting.sort(key=lambda cell: cell.acquisition)
    slices, distances_mm = slices_along(counting, axes)
    missing_slices, uneven = spacing_faults(distances_mm)
    there = [*counting, *left_out]
    instances = declared_instances(there, len(slices))
    first = counting[0]
    return Grid(
        cells=arranged,
        positions_mm=np.array(
            [_position(row, axes, at) for row, at in zip(slices, distances_mm, strict=True)]
        ),
        row_cosines=axes[0],
        column_cosines=axes[1],
        pixel_spacing_mm=first.frame.pixel_spacing_mm or (0.0, 0.0),
        rows=first.instance.rows or 0,
        columns=first.instance.columns or 0,
        slice_spacing_mm=nominal_spacing_mm(distances_mm),
        slice_extent_mm=slice_extent_mm(distances_mm),
        trigger_times_ms=_median_times(arranged),
        missing=(
            *_absent_phases(arranged),
            *_absent_cells(arranged),
            *uneven,
            *_shortfall("phases", declared_phases, len(arranged)),
            *_shortfall(
                "images", instances, len({cell.instance.sop_instance_uid for cell in there})
            ),
            *notes,
        ),
        missing_slices=missing_slices,
        evenly_spaced=not uneven,
        declared_instances=instances,
        declared_phases=declared_phases,
        left_out=tuple(sorted({cell.instance.sop_instance_uid for cell in left_out})),
    )


def _no_times(cells: Sequence[Cell]) -> Rejection:
    timeless = [cell for cell in cells if cell.frame.trigger_time_ms is None]
    if timeless and len(timeless) < len(cells):
        return at_fault(timeless[0], "no_times", "it has no trigger time, unlike the others")
    return Rejection("no_times", "no time tells the cardiac phases apart")


def _distinct_times(row: Sequence[TimedCell]) -> int:
    return len({item.time_ms for item in row})


def _refuse_shift(row: Sequence[Cell], normal: Float64) -> None:
    """Refuse a slice whose images do not lie on each other."""
    positions = np.array([cell.frame.position_mm for cell in row], dtype=np.float64)
    shift = positions - np.median(positions, axis=0)
    shift -= np.outer(shift @ normal, normal)
    shift_mm = np.linalg.norm(shift, axis=1)
    worst = int(np.argmax(shift_mm))
    if shift_mm[worst] > SAME_PLACE_MM:
        raise at_fault(
            row[worst],
            "mixed_position",
            f"it is shifted in its plane by {shift_mm[worst]:.1f} mm from its slice",
        )


def _refuse_stray_time(rows: Sequence[Sequence[TimedCell]]) -> None:
    found = stray(rows)
    if found is not None:
        words = f"its trigger time of {found.time_ms:.3g} ms lies outside the beat of its slice"
        raise at_fault(found.cell, "stray_time", words)


def _position(row: Sequence[Cell], axes: Float64, distance_mm: float) -> Float64:
    """ImagePositionPatient of a slice: median over its images, on its plane."""
    positions = np.array([cell.frame.position_mm for cell in row], dtype=np.float64)
    middle = np.median(positions, axis=0)
    normal = normal_of(axes)
    return np.asarray(middle + (distance_mm - middle @ normal) * normal, dtype=np.float64)


def _arranged(rows: Sequence[Sequence[TimedCell]]) -> tuple[tuple[TimedCell | None, ...], ...]:
    """Cells [t][z] of slices [z], each by rising time and without repeats."""
    indices, n_phases = align(rows)
    placed = [
        dict(zip(phases, row, strict=True)) for phases, row in zip(indices, rows, strict=True)
    ]
    return tuple(tuple(column.get(phase) for column in placed) for phase in range(n_phases))


def _median_times(cells: Sequence[Sequence[TimedCell | None]]) -> Float64:
    """Median over the slices [t]; a phase no slice has lies between its neighbours."""
    times = [[item.time_ms for item in row if item is not None] for row in cells]
    known = [t for t, row in enumerate(times) if row]
    medians = [float(np.median(times[t])) for t in known]
    rising = np.maximum.accumulate(np.array(medians))
    return np.asarray(np.interp(np.arange(len(times)), known, rising), dtype=np.float64)


def _absent_phases(cells: Sequence[Sequence[TimedCell | None]]) -> list[str]:
    """Phases that no slice has, in words."""
    absent = [phase for phase, row in enumerate(cells, start=1) if not any(row)]
    return [f"all slices: {_phases_missing(absent)}"] if absent else []


def _absent_cells(cells: Sequence[Sequence[TimedCell | None]]) -> list[str]:
    """Missing phases of each slice that others have, in words; slices and phases count from 1."""
    words = []
    there = [phase for phase, row in enumerate(cells, start=1) if any(row)]
    for number, column in enumerate(zip(*cells, strict=True), start=1):
        absent = [phase for phase in there if column[phase - 1] is None]
        if absent:
            words.append(f"slice {number}: {_phases_missing(absent)}")
    return words


def _phases_missing(numbers: Sequence[int]) -> str:
    return f"phase{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))} missing"


def _shortfall(what: str, declared: int | None, there: int) -> list[str]:
    if declared is None or declared <= there:
        return []
    return [f"declared: {declared} {what}, there: {there}"]


def _note_on_times(source: str) -> list[str]:
    return (
        []
        if source == TRIGGER_TIME
        else [f"trigger times; phases are ordered by {source}, and stated times are estimates"]
    )


def _note_on_repeats(left_out: Sequence[Cell]) -> list[str]:
    return [
        f"image left out for a later one of the same slice and phase: "
        f"{cell.instance.sop_instance_uid}"
        + (f" frame {cell.frame.frame_number}" if cell.frame.frame_number else "")
        for cell in left_out
    ]
