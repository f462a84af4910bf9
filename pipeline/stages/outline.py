"""Quality: what was labelled looks like a ventricle cut across."""

import numpy as np

from config.quality import CineQualitySettings, StackQualitySettings
from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    Case,
    CineCase,
    Mask,
    QualityFinding,
    Verdict,
)
from pipeline.stages.biomarkers import LV, RV, VOLUMETRIC
from pipeline.stages.checked import judged, middle_labels, segmentation_of, unchecked
from pipeline.stages.masks import elongation, open_ring_share


def check_plane(case: Case, limits: StackQualitySettings) -> QualityFinding:
    """`short_axis_plane`: in a short-axis plane the LV is round."""
    check, spacing = "short_axis_plane", case.stack.pixel_spacing_mm
    left = [np.isin(labels, (LV_CAVITY, LV_MYOCARDIUM)) for labels in middle_labels(case)]
    ratios = [elongation(mask, spacing) for mask in left if mask.any()]
    if not ratios:
        return unchecked(check, "no LV was found in the middle slices")
    ratio = float(np.median(ratios))
    if ratio >= limits.elongation_withheld:
        reason = f"the LV is {ratio:.1f} times as long as wide: not a short-axis plane"
        return QualityFinding(check, Verdict.WITHHELD, reason, ratio, VOLUMETRIC)
    if ratio >= limits.elongation_review:
        reason = f"the LV is {ratio:.1f} times as long as wide: the plane may be oblique to it"
        return QualityFinding(check, Verdict.REVIEW, reason, ratio)
    return QualityFinding(check, Verdict.OK, "the LV is round in the middle slices", ratio)


def check_ring(case: Case, limits: StackQualitySettings) -> QualityFinding:
    """`myocardium_ring`: in the middle slices myocardium surrounds the cavity."""
    worst = max(open_ring_share(labels) for labels in middle_labels(case))
    reason = f"the myocardium leaves {worst:.0%} of the cavity open in a middle slice"
    if worst > limits.open_ring_withheld:
        return QualityFinding("myocardium_ring", Verdict.WITHHELD, reason, worst, VOLUMETRIC)
    if worst > limits.open_ring_review:
        return QualityFinding("myocardium_ring", Verdict.REVIEW, reason, worst, concerns=LV)
    reason = "myocardium surrounds the cavity in the middle slices"
    return QualityFinding("myocardium_ring", Verdict.OK, reason, worst)


def check_pieces(
    case: CineCase, limits: CineQualitySettings, codes: tuple[int, ...]
) -> QualityFinding:
    """`lv_pieces`, `rv_pieces`: what was labelled at ED and ES is one body without holes.

    Islands are taken away and holes filled before anything is measured; where that is much, the
    labels are in doubt.
    """
    side, concerns = ("RV", RV) if codes == (RV_CAVITY,) else ("LV", LV)
    check, uncleaned = f"{side.lower()}_pieces", segmentation_of(case).uncleaned
    if uncleaned is None:
        return unchecked(check, "what the network labelled was not kept")
    share = max(
        changed_share(*(np.isin(labels, codes) for labels in pair))
        for pair in zip(uncleaned, case.outlines, strict=True)
    )
    return judged(
        check, share, share > limits.pieces_review,
        f"the {side} was labelled in pieces or with holes ({share:.0%} of it was corrected)",
        f"the {side} was labelled as one body",
        concerns,
    )  # fmt: skip


def changed_share(before: Mask, after: Mask) -> float:
    """Pixels in one of two masks alone, over those of the second; 1 at most."""
    changed, kept = int(np.count_nonzero(before ^ after)), int(np.count_nonzero(after))
    return min(1.0, changed / max(kept, 1))
