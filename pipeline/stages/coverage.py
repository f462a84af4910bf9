"""Does the stack hold the whole ventricle? Judged from its ends and from its proportions."""

import numpy as np
import numpy.typing as npt

from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    Case,
    Float64,
    QualityFinding,
    Verdict,
)
from pipeline.stages.biomarkers import VOLUMETRIC

# Median over the 100 ACDC patients at ED of LV length, base to apex, over its largest epicardial
# diameter (5th to 95th percentile 0.88 to 1.34).
LENGTH_PER_DIAMETER = 1.12
# From this share on the volumes are withheld. On the same patients, with slices taken away at one
# end, this and the next rule together withhold 1 % of whole ventricles, 8 % where less than a
# third is gone, 66 % where 33 to 45 % are gone, and 95 % or more beyond that.
WITHHELD_SHARE = 1 / 3
# A ventricle that really ends near the end of the stack has tapered: there the cavity has less
# than this share of its largest area (apex: in 99 of 100 patients).
TAPERED_SHARE = 0.5


def check_coverage(case: Case) -> tuple[QualityFinding, QualityFinding]:
    """Check both ends of the stack: `coverage_base` and `coverage_apex`.

    An end slice with LV cavity at ED asks for review. The volumes are withheld when, besides, a
    third or more of the ventricle is evidently missing: the covered length falls short by a third
    of what the diameter lets expect, and the cavity at that end has not tapered.
    """
    cavity = np.count_nonzero(case.outlines[0] == LV_CAVITY, axis=(1, 2))
    largest = max(1, cavity.max())
    share = missing_share(case)
    base, apex = (0, -1) if apex_is_last(case) else (-1, 0)
    return (
        _end("base", cavity[base] / largest, share),
        _end("apex", cavity[apex] / largest, share),
    )


def _end(where: str, taper: float, share: float) -> QualityFinding:
    """Judge one end by its cavity area over the largest (`taper`) and the missing share."""
    check = f"coverage_{where}"
    if not taper:
        return QualityFinding(check, Verdict.OK, f"the stack reaches beyond the {where}")
    inside = f"the stack stops inside the ventricle at the {where}"
    if share >= WITHHELD_SHARE and taper >= TAPERED_SHARE:
        reason = f"{inside}; by its proportions about {share:.0%} of the ventricle is missing"
        return QualityFinding(check, Verdict.WITHHELD, reason, share, VOLUMETRIC)
    return QualityFinding(check, Verdict.REVIEW, inside, share)


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


def apex_is_last(case: Case) -> bool:
    """Whether the slices run from base to apex: the ventricles are wider towards the base."""
    run = _relevant(case)
    labels = case.outlines[0, run]
    area: Float64 = np.isin(labels, (LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY)).sum((1, 2)) * 1.0
    return bool(area @ (run - run.mean()) <= 0)


def _relevant(case: Case) -> npt.NDArray[np.intp]:
    """Indices of the slices that show the LV."""
    if case.relevance is None:
        raise ValueError("quality comes after relevance")
    return np.flatnonzero(case.relevance.relevant)
