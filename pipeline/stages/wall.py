"""Thickness of the LV wall at ED and ES, and how much it thickens, per AHA segment.

Segments are numbered from the insertions of the right ventricle at ED; the same directions in
patient coordinates count at ES, and each phase is cut into thirds of its own length.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from pipeline.aha import (
    APEX_NOT_SHOWN,
    NO_INSERTION,
    Insertion,
    Septum,
    insertion_angles,
    lv_levels,
    segment_numbers,
    septa,
)
from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    Biomarker,
    CineCase,
    Mask,
    ModelUse,
)
from pipeline.stages.biomarkers import ED_WALL, ES_WALL, THICKENING
from pipeline.stages.coverage import UNKNOWN_ENDS, apex_is_last
from pipeline.wall import wall_chords

# Share of a segment's chords in a slice that may find no wall; else the slice does not count there.
MAX_OPEN_SHARE = 0.1
# A segment that thickens by less is marked.
LITTLE_THICKENING_MM = 2.0

_APEX = 17


@dataclass(frozen=True, slots=True)
class _Found:
    """Mean thickness in mm of the segments of a phase, and those whose wall is open."""

    thickness_mm: Mapping[int, float]
    open: frozenset[int]


class MeasureWall:
    """Mean wall thickness per segment, see `pipeline.wall`."""

    name = "wall"
    models: tuple[ModelUse, ...] = ()

    def __call__(self, case: CineCase) -> CineCase:
        """Return the case with its wall biomarkers; needs phases and label maps."""
        ed, es = case.outlines
        known, reason = _septa(case)
        apex_last = bool(apex_is_last(case))
        measured = []
        for labels in (ed, es):
            cavity, wall = labels == LV_CAVITY, labels == LV_MYOCARDIUM
            places = insertion_angles(known, cavity, case.stack.affine)
            levels = lv_levels(cavity, wall, apex_last=apex_last)
            measured.append(_measure(cavity, wall, places, levels, case.stack.pixel_spacing_mm))
        thickness = [
            [
                _biomarker(name, segment, found, reason)
                for segment, name in enumerate(names, start=1)
            ]
            for names, found in zip((ED_WALL, ES_WALL), measured, strict=True)
        ]
        thickening = map(_thickening, THICKENING, *thickness)
        return replace(case, biomarkers=(*case.biomarkers, *chain(*thickness), *thickening))


def _septa(case: CineCase) -> tuple[Sequence[Septum | None], str]:
    """The septum slice by slice at ED, or why it is nowhere known."""
    apex_last, ed = apex_is_last(case), case.outlines[0]
    if apex_last is None:
        return (), UNKNOWN_ENDS
    ventricles = ed == LV_CAVITY, ed == LV_MYOCARDIUM, ed == RV_CAVITY
    known = septa(*ventricles, case.stack.affine, apex_last=apex_last)
    return known, "" if any(known) else f"{NO_INSERTION}: the images do not show them"


def _measure(
    cavity: Mask,
    wall: Mask,
    places: Sequence[Insertion | None],
    levels: Sequence[int],
    pixel_spacing_mm: tuple[float, float],
) -> _Found:
    """Measure one phase from masks [z, y, x]."""
    lengths: defaultdict[int, list[float]] = defaultdict(list)
    is_open: set[int] = set()
    for z, (place, level) in enumerate(zip(places, levels, strict=True)):
        chords = wall_chords(cavity[z], wall[z], pixel_spacing_mm) if place and level else None
        if chords is None or place is None:
            continue
        segments = segment_numbers(chords.angle, place, level)
        for segment in np.unique(segments).tolist():
            here = segments == segment
            if 1 - chords.closed[here].mean() > MAX_OPEN_SHARE:
                is_open.add(segment)
            else:
                lengths[segment] += chords.thickness_mm[here & chords.closed].tolist()
    means = {segment: float(np.mean(found)) for segment, found in lengths.items()}
    return _Found(means, frozenset(is_open - means.keys()))


def _biomarker(name: str, segment: int, found: _Found, reason: str) -> Biomarker:
    """State one segment, or why it has no thickness."""
    if segment == _APEX:
        return Biomarker(name, None, "mm", APEX_NOT_SHOWN)
    if segment in found.thickness_mm:
        return Biomarker(name, found.thickness_mm[segment], "mm")
    if segment in found.open:
        reason = f"the wall of segment {segment} is open in the images"
    return Biomarker(name, None, "mm", reason or f"the images show no wall of segment {segment}")


def _thickening(name: str, ed: Biomarker, es: Biomarker) -> Biomarker:
    """Thickness at ES less that at ED."""
    if ed.value is None or es.value is None:
        return Biomarker(name, None, "mm", ed.withheld or es.withheld)
    return Biomarker(name, es.value - ed.value, "mm")


def little_thickening(biomarkers: Sequence[Biomarker]) -> tuple[int, ...]:
    """Segments known to thicken by less than `LITTLE_THICKENING_MM`."""
    found = {one.name: one.value for one in biomarkers}
    return tuple(
        segment
        for segment, name in enumerate(THICKENING, start=1)
        if (value := found.get(name)) is not None and value < LITTLE_THICKENING_MM
    )
