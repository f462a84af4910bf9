"""Third stage: end diastole and end systole.

A network over time finds them where the configuration names one. Else the area of the LV cavity in
the middle slices tells them (`extremes`). The basal slices, where the ventricle moves in and out
of the plane, and the apical ones, where it vanishes in systole, would only add noise.
"""

from dataclasses import replace

import numpy as np

from pipeline.case import (
    LV_CAVITY,
    CineCase,
    CineStack,
    Float64,
    ModelUse,
    Phases,
    Relevance,
)
from pipeline.stages import Detector, model_use
from pipeline.stages.relevance import middle_slices

_ED_SHARE = 0.05
_ES_SHARE = 0.10


class DetectPhases:
    """Find ED and ES by a network over time, or from the LV area curve.

    Parameters
    ----------
    min_phases : int
        With fewer phases ED and ES are the extremes of the curve, which is not smoothed.
    detector : Detector, optional
        Finds ED and ES where there are phases enough; the area curve does it without.
    """

    name = "detection"

    def __init__(self, min_phases: int, detector: Detector | None = None) -> None:
        self._min_phases = min_phases
        self._detector = detector
        self.models: tuple[ModelUse, ...] = () if detector is None else (model_use(detector.card),)

    def __call__(self, case: CineCase) -> CineCase:
        """Return the case with its phases; needs its relevance and segmentation."""
        if case.relevance is None or case.segmentation is None:
            raise ValueError("detection comes after relevance and segmentation")
        stack, relevance = case.stack, case.relevance
        if self._detector is not None and len(stack.frames) >= self._min_phases:
            return replace(case, phases=_detected(self._detector, stack, relevance))
        labels = case.segmentation.labels[:, middle_slices(relevance)]
        area = np.count_nonzero(labels == LV_CAVITY, axis=(1, 2, 3)).astype(np.float64)
        return replace(case, phases=extremes(area, self._min_phases))


def _detected(detector: Detector, stack: CineStack, relevance: Relevance) -> Phases:
    relevant = np.flatnonzero(relevance.relevant)
    found = detector(stack.frames[:, relevant], stack.pixel_spacing_mm, relevance.centre_yx)
    unsure = tuple(
        name for name, reading in zip(("ED", "ES"), found, strict=True) if not reading.sure
    )
    return Phases(ed=found[0].frame, es=found[1].frame, unsure=unsure)


def extremes(curve: Float64, min_phases: int) -> Phases:
    """Find ED and ES of a cyclic volume or area curve [t].

    With `min_phases` phases or more, ED is where the contraction sets in: the last of the phases
    about the peak that lie within 5 % of the curve's range of it. ES is the middle of the phases
    about the trough within 10 %; where there are only two, the trough is no plateau, and ES is the
    lower. Readers mark them so, by the R wave and by the turn of the motion, where the curve is
    nearly flat and its extreme is a matter of chance: on 51 cines of ACDC, all but test patients,
    the extremes themselves were 1.2 and 1.3 phases off on average, these are 0.6 and 1.0.
    """
    if len(curve) < min_phases:
        return Phases(ed=int(np.argmax(curve)), es=int(np.argmin(curve)))
    _, ed = _plateau(curve, _ED_SHARE)
    return Phases(ed=ed % len(curve), es=_turn(*_plateau(-curve, _ES_SHARE), curve))


def _turn(first: int, last: int, curve: Float64) -> int:
    """Where the motion turns between two phases of a trough."""
    if last == first + 1:
        return min(first % len(curve), last % len(curve), key=curve.__getitem__)
    return (first + last) // 2 % len(curve)


def _plateau(curve: Float64, share: float) -> tuple[int, int]:
    """First and last phase of the plateau about the peak of a cyclic curve.

    The plateau ends where the curve lies more than a `share` of its range below the peak. Phases
    are numbered on beyond the ends of the curve.
    """
    count, peak, trough = len(curve), _peak(curve), _peak(-curve)
    level = curve[peak] - share * (curve[peak] - curve[trough])
    first = last = peak
    while last - first < count - 1 and curve[(last + 1) % count] >= level:
        last += 1
    while last - first < count - 1 and curve[(first - 1) % count] >= level:
        first -= 1
    return first, last


def _peak(curve: Float64) -> int:
    """Find the highest phase of a cyclic curve next to the peak of its smoothed form.

    One bad phase elsewhere does not count.
    """
    top = int(np.argmax(smoothed(curve)))
    near = [top, (top - 1) % len(curve), (top + 1) % len(curve)]
    return near[int(np.argmax(curve[near]))]


def smoothed(curve: Float64) -> Float64:
    """Smooth a cyclic curve [t] with binomial weights 1 2 1: the last phase precedes the first."""
    return np.asarray((np.roll(curve, 1) + 2 * curve + np.roll(curve, -1)) / 4, dtype=np.float64)


def cyclic_distance(first: int, second: int, n_phases: int) -> int:
    """Count the phases between two phases of a cycle, the shorter way round."""
    direct = abs(first - second) % n_phases
    return min(direct, n_phases - direct)
