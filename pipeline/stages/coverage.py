"""Does the stack hold the whole ventricle? Judged from its ends and from its proportions."""

import numpy as np
import numpy.typing as npt

from config.quality import StackQualitySettings
from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    Case,
    QualityFinding,
    Verdict,
)
from pipeline.stages.biomarkers import VOLUMETRIC

# Median over the 100 ACDC patients at ED of LV length, base to apex, over its largest epicardial
# diameter (5th to 95th percentile 0.88 to 1.34).
LENGTH_PER_DIAMETER = 1.12
# From which on the order of the areas tells base from apex: in 80 ACDC patients, all but test
# patients, tau is 0.47 to 1, always with the right sign.
_TAPERS = 0.3
_FEWEST_SLICES = 3
UNKNOWN_ENDS = "the images do not show which end of the stack is the apex"


def check_coverage(
    case: Case, limits: StackQualitySettings
) -> tuple[QualityFinding, QualityFinding]:
    """Check both ends of the stack: `coverage_base` and `coverage_apex`.

    Stacks often end with the last slice of the ventricle. Where cavity reaches the end at ED,
    review is asked for when the covered length falls short of what the diameter lets expect
    (`uncovered_review`), or when the apex has not tapered. The volumes are withheld when it falls
    short by `uncovered_withheld` and the cavity at that end has not tapered.
    """
    cavity = np.count_nonzero(case.outlines[0] == LV_CAVITY, axis=(1, 2))
    largest = max(1, cavity.max())
    share = missing_share(case)
    base, apex = (-1, 0) if apex_is_last(case) is False else (0, -1)
    return (
        _end("base", cavity[base] / largest, share, limits),
        _end("apex", cavity[apex] / largest, share, limits),
    )


def _end(where: str, taper: float, share: float, limits: StackQualitySettings) -> QualityFinding:
    """Judge one end by its cavity area over the largest (`taper`) and the missing share."""
    check = f"coverage_{where}"
    if not taper:
        return QualityFinding(check, Verdict.OK, f"the stack reaches beyond the {where}")
    inside = f"the stack stops inside the ventricle at the {where}"
    if share >= limits.uncovered_withheld and taper >= limits.tapered:
        reason = f"{inside}; by its proportions about {share:.0%} of the ventricle is missing"
        return QualityFinding(check, Verdict.WITHHELD, reason, share, VOLUMETRIC)
    if share >= limits.uncovered_review or (where == "apex" and taper >= limits.tapered):
        return QualityFinding(check, Verdict.REVIEW, inside, share)
    reason = f"the stack ends with the ventricle at the {where}, by its proportions"
    return QualityFinding(check, Verdict.OK, reason, share)


def missing_share(case: Case) -> float:
    """Share of the LV length that the stack lacks, by its length and diameter at ED; 0 at least.

    The expected length is `LENGTH_PER_DIAMETER` times the largest epicardial diameter (of the
    circle of the same area).
    """
    length_mm, diameter_mm = length_and_diameter_mm(case)
    if not diameter_mm:
        return 0.0
    return max(0.0, 1 - length_mm / (LENGTH_PER_DIAMETER * diameter_mm))


def length_and_diameter_mm(case: Case) -> tuple[float, float]:
    """LV length by the slices that show it, and its largest epicardial diameter at ED."""
    row_mm, column_mm = case.stack.pixel_spacing_mm
    labels = case.outlines[0]
    left = (labels == LV_CAVITY) | (labels == LV_MYOCARDIUM)
    area_mm2 = np.count_nonzero(left, axis=(1, 2)).max() * row_mm * column_mm
    length_mm = case.stack.slice_extent_mm[_relevant(case)].sum()
    return float(length_mm), float(2 * np.sqrt(area_mm2 / np.pi))


def apex_is_last(case: Case) -> bool | None:
    """Whether the slices run from base to apex: the LV is wider towards the base.

    Only slices count in which cavity and wall are drawn: beyond the base a slice may be taken for
    one that shows the LV. None where too few are drawn, or hardly more pairs of slices say one than
    the other (Kendall's tau of area and place).
    """
    labels = case.outlines[0]
    cavity, wall = ((labels == code).sum((1, 2)) for code in (LV_CAVITY, LV_MYOCARDIUM))
    area = (cavity + wall)[(cavity > 0) & (wall > 0)]
    if len(area) < _FEWEST_SLICES:
        return None
    earlier, later = np.triu_indices(len(area), k=1)
    tau = float(np.sign(area[later].astype(int) - area[earlier]).mean())
    return tau < 0 if abs(tau) >= _TAPERS else None


def _relevant(case: Case) -> npt.NDArray[np.intp]:
    """Indices of the slices that show the LV."""
    if case.relevance is None:
        raise ValueError("quality comes after relevance")
    return np.flatnonzero(case.relevance.relevant)
