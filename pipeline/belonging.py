"""Which images belong together, and in which slice each one lies."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

from pipeline.case import Float64
from pipeline.errors import Rejection
from pipeline.headers import InstanceHeader
from pipeline.phases import Cell
from pipeline.planes import (
    ORIENTATION_TOLERANCE_DEG,
    common_axes,
    deviation_deg,
    normal_of,
    slice_numbers,
    unit_axes,
)

# Two statements of one pixel spacing differ by rounding only.
PIXEL_SPACING_TOLERANCE = 1e-3
# Outside of this no heart can be seen; resampling such pixels would need any amount of memory.
PIXEL_SPACING_RANGE_MM = (0.05, 20.0)
# Cine has pixels of 0.7 to 1.9 mm (ACDC); of coarser ones than this no wall can be outlined.
MAX_PIXEL_SPACING_MM = 4.0


def images(headers: Iterable[InstanceHeader]) -> list[Cell]:
    """Every image of the headers, in an order that does not depend on theirs."""
    cells = [Cell(header, frame) for header in headers for frame in header.frames]
    return sorted(cells, key=lambda cell: cell.acquisition)


def checked_axes(cells: Sequence[Cell]) -> Float64:
    """Row and column axis [2, 3] of images that belong together.

    Raises
    ------
    Rejection
        As `pipeline.grid.build_grid`, but for times and places within a slice.
    """
    if not cells:
        raise Rejection("no_images", "no instance holds an image")
    _refuse_mixture(cells)
    return _common_orientation(cells)


def _refuse_mixture(cells: Sequence[Cell]) -> None:
    """Refuse images that do not belong together, or that lie nowhere."""
    _same(cells, "patient", lambda cell: cell.instance.patient_id)
    _same(cells, "study", lambda cell: cell.instance.study_instance_uid)
    if not frames_of_reference_say_nothing([cell.instance for cell in cells]):
        _same(cells, "frame_of_reference", lambda cell: cell.instance.frame_of_reference_uid)
    _same(cells, "matrix", lambda cell: (cell.instance.rows, cell.instance.columns))
    for cell in cells:
        if not cell.instance.frame_of_reference_uid:
            raise at_fault(cell, "no_frame_of_reference", "it names no frame of reference")
        if not lies_somewhere(cell):
            raise at_fault(
                cell, "no_geometry", "position, orientation or pixel spacing absent or impossible"
            )
    spacings = np.array([cell.frame.pixel_spacing_mm for cell in cells], dtype=np.float64)
    usual = np.median(spacings, axis=0)
    if usual.max() > MAX_PIXEL_SPACING_MM:
        reason = f"its pixels of {usual.max():.3g} mm are too coarse for a heart, or misstated"
        raise at_fault(cells[0], "implausible_pixel_spacing", reason)
    off = np.abs(spacings / usual - 1).max(axis=1)
    if off.max() > PIXEL_SPACING_TOLERANCE:
        odd = cells[int(np.argmax(off))]
        raise at_fault(odd, "mixed_pixel_spacing", "its pixel spacing differs from the others'")


def lies_somewhere(cell: Cell) -> bool:
    """Whether an image has a matrix, a position, a plane and a pixel spacing."""
    header, frame = cell.instance, cell.frame
    spacing = frame.pixel_spacing_mm
    return (
        bool(header.rows and header.columns)
        and frame.position_mm is not None
        and unit_axes(frame.orientation) is not None
        and spacing is not None
        and min(spacing) >= PIXEL_SPACING_RANGE_MM[0]
        and max(spacing) <= PIXEL_SPACING_RANGE_MM[1]
    )


def frames_of_reference_say_nothing(headers: Sequence[InstanceHeader]) -> bool:
    """Whether every instance has a frame of reference of its own.

    Some de-identification replaces the UID in each instance by another one; that images of a
    series share no frame at all cannot have been meant.
    """
    stated = {header.sop_instance_uid: header.frame_of_reference_uid for header in headers}
    return len(stated) > 1 and len(set(stated.values())) == len(stated)


def _same(cells: Sequence[Cell], what: str, value: Callable[[Cell], Hashable]) -> None:
    tally = Counter(value(cell) for cell in cells)
    if len(tally) > 1:
        usual = tally.most_common(1)[0][0]
        odd = next(cell for cell in cells if value(cell) != usual)
        words = what.replace("_", " ")
        raise at_fault(odd, f"mixed_{what}", f"its {words} differs from the others'")


def at_fault(cell: Cell, code: str, reason: str) -> Rejection:
    """Make the rejection that names the instance of an image."""
    return Rejection(code, reason, cell.instance.sop_instance_uid)


def _common_orientation(cells: Sequence[Cell]) -> Float64:
    axes = np.stack([_axes(cell) for cell in cells])
    common = common_axes(axes)
    tilt_deg = deviation_deg(axes, common)
    worst = int(np.argmax(tilt_deg))
    if tilt_deg[worst] > ORIENTATION_TOLERANCE_DEG:
        raise at_fault(
            cells[worst],
            "mixed_orientation",
            f"its plane is turned by {tilt_deg[worst]:.1f} degrees from the others'",
        )
    return common


def _axes(cell: Cell) -> Float64:
    axes = unit_axes(cell.frame.orientation)
    if axes is None:
        raise at_fault(cell, "no_geometry", "its orientation is absent or no plane")
    return axes


def slices_along(cells: Sequence[Cell], axes: Float64) -> tuple[list[list[Cell]], Float64]:
    """Images by slice along the normal, and the distance [z] of each slice along it."""
    positions = np.array([cell.frame.position_mm for cell in cells], dtype=np.float64)
    along = positions @ normal_of(axes)
    numbers = np.array(slice_numbers(along))
    count = int(numbers.max()) + 1
    slices = [[cells[int(i)] for i in np.flatnonzero(numbers == z)] for z in range(count)]
    return slices, np.array([np.median(along[numbers == z]) for z in range(count)])
