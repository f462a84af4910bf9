"""Pictures of the page, laid out: those of a cine and those of late enhancement."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    NO_REFLOW,
    RV_CAVITY,
    SCAR,
    SEGMENT_LABELS,
    Biomarker,
    CineCase,
    UInt8,
)
from pipeline.lge_case import LgeCase
from pipeline.results.codes import END_DIASTOLE, END_SYSTOLE
from pipeline.results.common import ResultBasis
from pipeline.results.contents import two_masses
from pipeline.results.page_tables import write_scar
from pipeline.results.panels import colour_of, draw_bullseye, draw_contours, draw_curve
from pipeline.results.pen import FAINT, INK, LEFT, Pen
from pipeline.stages.biomarkers import ED_WALL, ES_WALL, THICKENING
from pipeline.stages.transmurality import TRANSMURALITY
from pipeline.stages.wall import LITTLE_THICKENING_MM, little_thickening

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_IMAGE, _BULLSEYE = 0.17, 0.195  # of the page's height


def draw_cine(pen: Pen, case: CineCase) -> None:
    """Draw the volume curve, a middle slice at ED and at ES, and the wall in three bullseyes."""
    top = pen.y - 0.012
    curve = pen.figure.add_axes((LEFT + 0.02, top - _IMAGE + 0.022, 0.30, _IMAGE - 0.022))
    draw_curve(curve, case)
    for x, phase in ((0.43, END_DIASTOLE), (0.69, END_SYSTOLE)):
        _draw_phase(pen.figure.add_axes((x, top - _IMAGE, 0.24, _IMAGE)), case, phase.name)
    _write_colours(pen, 0.43, top - _IMAGE - 0.001, (LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY))
    top -= _IMAGE + 0.022
    thickening = f"Thickening (mm; < {LITTLE_THICKENING_MM:g} mm in red)"
    for n, (title, names, most_mm, colours, marked) in enumerate(
        (
            ("Wall thickness at ED (mm)", ED_WALL, 16.0, "Blues", ()),
            ("Wall thickness at ES (mm)", ES_WALL, 20.0, "Blues", ()),
            (thickening, THICKENING, 10.0, "Greens", little_thickening(case.biomarkers)),
        )
    ):
        axes = pen.figure.add_axes((LEFT + n * 0.29, top - _BULLSEYE, 0.28, _BULLSEYE))
        known, why = _by_segment(case.biomarkers, names)
        draw_bullseye(axes, known, title, top=most_mm, colours=colours, marked=marked, why_none=why)
    pen.y = top - _BULLSEYE - 0.008


def draw_lge(pen: Pen, basis: ResultBasis, case: LgeCase) -> None:
    """Write the scar by each method beside its transmurality; draw three slices with contours."""
    top = pen.y - 0.006
    axes = pen.figure.add_axes((0.62, top - _BULLSEYE, 0.28, _BULLSEYE - 0.012))
    known, why = _by_segment(case.biomarkers, TRANSMURALITY)
    title = "Scar transmurality (%)"
    draw_bullseye(axes, known, title, top=100.0, colours="Oranges", digits=0, why_none=why)
    write_scar(pen, basis, two_masses(case))
    top -= _BULLSEYE + 0.026
    if case.segmentation is not None:
        labels = case.segmentation.labels[0]
        for n, z in enumerate(_telling_slices(labels)):
            axes = pen.figure.add_axes((LEFT + n * 0.295, top - _IMAGE, 0.27, _IMAGE))
            title = f"slice {z + 1} of {len(labels)}"
            draw_contours(axes, case.stack.frames[0, z], labels[z], case.stack, title)
        drawn = (LV_CAVITY, LV_MYOCARDIUM, SCAR, NO_REFLOW)
        _write_colours(pen, LEFT, top - _IMAGE - 0.001, drawn)
    pen.y = top - _IMAGE - 0.014


def _write_colours(pen: Pen, x: float, y: float, drawn: Sequence[int]) -> None:
    """Say which contour has which colour."""
    for n, value in enumerate(drawn):
        left = x + 0.14 * n
        pen.figure.text(left, y, "■", fontsize=6, color=colour_of(value), va="top")
        pen.figure.text(left + 0.012, y, SEGMENT_LABELS[value], fontsize=6, color=FAINT, va="top")


def _by_segment(
    biomarkers: Sequence[Biomarker], names: Sequence[str]
) -> tuple[dict[int, float], str]:
    """Value of each AHA segment that has one; why the first has none, where none has."""
    found = {one.name: one for one in biomarkers}
    known = {
        segment: one.value
        for segment, name in enumerate(names, start=1)
        if (one := found.get(name)) is not None and one.value is not None
    }
    first = found.get(names[0])
    return known, "" if known or first is None else first.withheld or ""


def _telling_slices(labels: UInt8) -> Sequence[int]:
    """Slice of labels [z, y, x] with the most scar between one nearer to either end of the LV."""
    drawn = np.flatnonzero(labels.any(axis=(1, 2)))
    if len(drawn) < 3:
        return tuple(drawn.tolist())
    scar = np.count_nonzero(np.isin(labels, (SCAR, NO_REFLOW)), axis=(1, 2))[drawn[1:-1]]
    middle = 1 + (int(np.argmax(scar)) if scar.any() else len(scar) // 2)
    chosen = (middle // 2, middle, (middle + len(drawn)) // 2)
    return tuple(drawn[list(chosen)].tolist())


def _draw_phase(axes: "Axes", case: CineCase, name: str) -> None:
    """Draw the middle slice of those that show the cavity in both phases."""
    if case.phases is None or case.segmentation is None:
        axes.set_axis_off()
        return
    phase = case.phases.ed if name == "ed" else case.phases.es
    both = np.all(np.any(case.outlines == LV_CAVITY, axis=(2, 3)), axis=0)
    shown_slices = np.flatnonzero(both)
    if not shown_slices.size:
        axes.set_axis_off()
        axes.set_title(f"{name.upper()}: no cavity found", fontsize=7, color=INK)
        return
    z = int(shown_slices[len(shown_slices) // 2])
    stack = case.stack
    title = (
        f"{name.upper()}: phase {phase + 1} of {len(stack.frames)}, slice {z + 1} of {len(both)}"
    )
    draw_contours(axes, stack.frames[phase, z], case.segmentation.labels[phase, z], stack, title)
