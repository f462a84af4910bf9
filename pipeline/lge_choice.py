"""Which image of each slice a late enhancement stack is made of, from headers alone.

Scanners and readers leave several images of a slice. The rules, in this order:

====  =====================================  ====================================================
 no   where a slice has                      counts
====  =====================================  ====================================================
 1    phase maps, imaginary images           none of them
 2    phase-sensitive (PSIR) and magnitude   the phase-sensitive ones, unless magnitude images are
      images                                 there of more slices; a stack never mixes the two
 3    several inversion times, in at least   the one that most slices have, the longer of a tie; in
      half of the slices                     a slice without it the nearest
 4    repeats: averages, a breath-hold       the one acquired last (date and time of the instance,
      taken again, a series taken again      then of the frame), then the higher SeriesNumber, then
                                             the higher InstanceNumber
====  =====================================  ====================================================

Where few slices have a second inversion time rule 4 decides: the operator took them again.
Series of another matrix, pixel size, orientation, 2-D or 3-D acquisition, or with slices at other
places never meet here; they are stacks of their own (`pipeline.routing`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.belonging import checked_axes, images, slices_along
from pipeline.grid import Grid, arranged_grid
from pipeline.headers import InstanceHeader
from pipeline.lge_case import LeftOut
from pipeline.phases import Cell, TimedCell


class Kind(StrEnum):
    """What the pixels of an image are."""

    PHASE_SENSITIVE = "phase-sensitive image"
    MAGNITUDE = "magnitude image"
    NO_CONTRAST = "phase or imaginary image"


# ComplexImageComponent (PS3.3 C.8.13.3.1.1), and what vendors write to ImageType for it.
_REAL = frozenset({"REAL", "R", "CR", "R_IR", "PSIR"})  # CR: corrected real
_MAGNITUDE = frozenset({"MAGNITUDE", "M_IR", "M_FFE", "M_TFE"})
_NO_CONTRAST = frozenset({"PHASE", "PHASE MAP", "IMAGINARY", "I", "VELOCITY", "VELOCITY MAP"})
# A sequence named phase-sensitive may call its result "M" or "P", and its magnitude image "MAG".
_UNSURE = frozenset({"P"})
_PSIR_NAME = re.compile(r"(?i)psir|phase.?sens")
_MAGNITUDE_NAME = re.compile(r"(?i)(?<![a-z])mag")


@dataclass(frozen=True, slots=True)
class LgeChoice:
    """The images that count, and those that do not with the reason.

    Attributes
    ----------
    grid : Grid
        Of a single phase.
    phase_sensitive : bool
    left_out : tuple of LeftOut
    """

    grid: Grid
    phase_sensitive: bool
    left_out: tuple[LeftOut, ...]


def kind_of(header: InstanceHeader, component: str = "") -> Kind:
    """Tell the kind of an image by its ComplexImageComponent or ImageType, else by its name."""
    stated = {component.upper()} if component else {kind.upper() for kind in header.image_type}
    name = f"{header.series_description} {header.protocol_name}"
    if stated & _REAL:
        return Kind.PHASE_SENSITIVE
    if stated & _NO_CONTRAST:
        return Kind.NO_CONTRAST
    if stated & _MAGNITUDE or _MAGNITUDE_NAME.search(header.series_description):
        return Kind.MAGNITUDE
    if _PSIR_NAME.search(name):
        return Kind.PHASE_SENSITIVE
    return Kind.NO_CONTRAST if stated & _UNSURE else Kind.MAGNITUDE


def choose(headers: Iterable[InstanceHeader]) -> LgeChoice:
    """Choose one image per slice by the rules above.

    Raises
    ------
    Rejection
        As `pipeline.belonging.checked_axes`; ``no_images``, too, when all are phase maps.
    """
    cells = images(headers)
    kinds = {id(cell): kind_of(cell.instance, cell.frame.component) for cell in cells}
    with_contrast = [cell for cell in cells if kinds[id(cell)] is not Kind.NO_CONTRAST]
    axes = checked_axes(with_contrast)
    slices, _ = slices_along(with_contrast, axes)
    kind = _kind_that_counts([{kinds[id(cell)] for cell in row} for row in slices])
    left_out = [
        (cell, _why_other_kind(kinds[id(cell)], kind)) for cell in cells if kinds[id(cell)] != kind
    ]
    rows = [row for z in slices if (row := [cell for cell in z if kinds[id(cell)] is kind])]
    usual_ms = _usual_inversion_time_ms(rows)
    chosen = []
    for row in rows:
        best = max(row, key=lambda cell: _preference(cell, usual_ms))
        chosen.append(TimedCell(best.frame.trigger_time_ms or 0.0, best))
        left_out += [(cell, _why_not(cell, best, usual_ms)) for cell in row if cell is not best]
    grid = arranged_grid(
        (tuple(chosen),), axes, None, notes=(), left_out=[cell for cell, _ in left_out]
    )
    return LgeChoice(
        grid,
        kind is Kind.PHASE_SENSITIVE,
        tuple(
            LeftOut(
                cell.instance.sop_instance_uid,
                cell.instance.series_instance_uid,
                cell.frame.frame_number,
                why,
            )
            for cell, why in left_out
        ),
    )


def _kind_that_counts(slices: Sequence[set[Kind]]) -> Kind:
    """Kind that most slices [z] have, phase-sensitive of a tie."""
    tally = Counter(kind for kinds in slices for kind in kinds)
    if tally[Kind.PHASE_SENSITIVE] >= tally[Kind.MAGNITUDE]:
        return Kind.PHASE_SENSITIVE
    return Kind.MAGNITUDE


def _why_other_kind(kind: Kind, counting: Kind) -> str:
    if kind is Kind.NO_CONTRAST:
        return f"{kind}: it does not show late enhancement"
    return f"{kind}: the stack is made of {counting}s, which have no fewer slices"


def _usual_inversion_time_ms(rows: Sequence[Sequence[Cell]]) -> int | None:
    """Inversion time of most slices, where at least half have several; None where not."""
    times = [{_inversion_time(cell) for cell in row} - {None} for row in rows]
    if 2 * sum(len(row) > 1 for row in times) < max(1, len(rows)):
        return None
    tally = Counter(time for row in times for time in row if time is not None)
    return max(tally, key=lambda time: (tally[time], time))


def _inversion_time(cell: Cell) -> int | None:
    time_ms = cell.frame.inversion_time_ms
    return None if time_ms is None else round(time_ms)


def _preference(cell: Cell, usual_ms: int | None) -> tuple[object, ...]:
    """Sorts the images of one slice, the one that counts last."""
    time_ms = _inversion_time(cell)
    apart = 0 if usual_ms is None or time_ms is None else abs(time_ms - usual_ms)
    header = cell.instance
    return (
        -apart,
        header.acquired_at,
        -1.0 if cell.frame.clock_ms is None else cell.frame.clock_ms,
        header.series_number or 0,
        header.instance_number or 0,
        header.sop_instance_uid,
        cell.frame.frame_number or 0,
    )


def _why_not(cell: Cell, best: Cell, usual_ms: int | None) -> str:
    own, other = _inversion_time(cell), _inversion_time(best)
    if usual_ms is not None and own != other:
        return f"inversion time {own} ms: of this slice that of {other} ms counts"
    return "a later image of the same slice counts"
