"""Quality: two ways to the same thing agree."""

from collections.abc import Iterator

from config.quality import CineQualitySettings
from pipeline.case import LV_CAVITY, RV_CAVITY, SEGMENT_LABELS, CineCase, QualityFinding, Verdict
from pipeline.stages.biomarkers import LV, LV_STROKE, RV, VOLUMETRIC, volume_curve_ml
from pipeline.stages.checked import (
    biomarker,
    ed_and_es_ml,
    judged,
    phases_of,
    segmentation_of,
    stated_lv_ml,
    unchecked,
)
from pipeline.stages.detection import cyclic_distance, extremes


def check_detection(case: CineCase, limits: CineQualitySettings, min_phases: int) -> QualityFinding:
    """Compare the detected phases with the extremes of the full LV volume curve."""
    curve = volume_curve_ml(segmentation_of(case).labels, LV_CAVITY, case.stack)
    found, whole = phases_of(case), extremes(curve, min_phases)
    apart = [
        cyclic_distance(one, other, len(curve))
        for one, other in ((found.ed, whole.ed), (found.es, whole.es))
        if abs(curve[one] - curve[other]) > limits.plateau * curve.max()
    ]
    worst = max(apart, default=0)
    if worst > limits.phases_apart_review:
        reason = f"ED or ES lies {worst} phases from the extreme of the LV volume curve"
        return QualityFinding("detection_agreement", Verdict.REVIEW, reason, worst)
    reason = "ED and ES agree with the LV volume curve"
    return QualityFinding("detection_agreement", Verdict.OK, reason, worst)


def check_detector(case: CineCase) -> QualityFinding:
    """Ask for review where the detector of ED and ES was not sure."""
    unsure = phases_of(case).unsure
    if unsure:
        reason = f"no phase is clearly {' or '.join(unsure)}; the likeliest one was taken"
        return QualityFinding("detection_confidence", Verdict.REVIEW, reason)
    return QualityFinding("detection_confidence", Verdict.OK, "ED and ES are clear")


def check_stroke_volumes(case: CineCase, limits: CineQualitySettings) -> QualityFinding:
    """`stroke_volume_agreement`: both ventricles eject about the same volume."""
    check = "stroke_volume_agreement"
    left, right = biomarker(case, "lv_sv"), biomarker(case, "rv_sv")
    if left.value is None or right.value is None:
        return unchecked(check, left.withheld or right.withheld)
    difference = abs(left.value - right.value)
    share = 2 * difference / max(abs(left.value) + abs(right.value), 1e-6)
    if share > limits.stroke_difference_review and difference > limits.stroke_difference_review_ml:
        reason = f"LV and RV stroke volumes differ by {difference:.0f} ml"
        concerns = VOLUMETRIC if share > limits.stroke_difference_review_lv else RV
        return QualityFinding(check, Verdict.REVIEW, reason, difference, concerns=concerns)
    return QualityFinding(check, Verdict.OK, "LV and RV stroke volumes agree", difference)


def check_methods(case: CineCase, limits: CineQualitySettings) -> Iterator[QualityFinding]:
    """`lv_volume_agreement`: regressed LV volumes are explained, and like the segmented."""
    regression = case.regression
    if regression is None:
        return
    check, doubts, concerns, apart = "lv_volume_agreement", [], [], 0.0
    stated, segmented = stated_lv_ml(case), ed_and_es_ml(case, LV_CAVITY)
    shown = regression.explanation_ed, regression.explanation_es
    for phase, one_ml, other_ml, mask in zip(("ed", "es"), stated, segmented, shown, strict=True):
        apart = max(apart, abs(one_ml - other_ml))
        said = [*_doubts(phase.upper(), one_ml, other_ml, limits, explained=bool(mask.any()))]
        doubts += said
        concerns += [f"lv_{phase}v", f"lv_{phase}v_index"] if said else []
    if doubts:
        named = (*concerns, *LV_STROKE)
        yield QualityFinding(check, Verdict.REVIEW, "; ".join(doubts), apart, concerns=named)
    else:
        reason = "LV volumes by regression and by segmentation agree"
        yield QualityFinding(check, Verdict.OK, reason, apart)


def _doubts(
    phase: str,
    regressed: float,
    segmented: float,
    limits: CineQualitySettings,
    *,
    explained: bool,
) -> Iterator[str]:
    """What speaks against a volume by regression, in ml."""
    if not explained:
        yield f"nothing in the images explains the {phase} volume"
    allowed = limits.methods_difference_review * (regressed + segmented) / 2
    if abs(regressed - segmented) > max(allowed, limits.methods_difference_review_ml):
        yield (
            f"the {phase} volume is {regressed:.0f} ml by regression and {segmented:.0f} ml by "
            "segmentation"
        )


def check_variation(case: CineCase, limits: CineQualitySettings) -> Iterator[QualityFinding]:
    """`lv_variation`, `rv_variation`: a second look at ED and ES, mirror image included, agrees.

    Compared are the labels of every phase, from the image alone, and the more careful ones that
    replace them at ED and ES.
    """
    first = segmentation_of(case).first_look
    for side, code, concerns, allowed in (
        ("LV", LV_CAVITY, LV, limits.lv_variation_review_points),
        ("RV", RV_CAVITY, RV, limits.rv_variation_review_points),
    ):
        check = f"{side.lower()}_variation"
        if first is None:
            yield unchecked(check, "ED and ES were looked at once")
            continue
        volumes = [volume_curve_ml(labels, code, case.stack) for labels in (first, case.outlines)]
        if min(volume[0] for volume in volumes) <= 0:
            yield unchecked(check, f"no {SEGMENT_LABELS[code]} was found at end diastole")
            continue
        one, other = (100 * (ed - es) / ed for ed, es in volumes)
        apart = float(abs(one - other))
        yield judged(
            check, apart, apart > allowed,
            f"a second look at ED and ES changes the {side} ejection fraction by {apart:.1f} "
            "points",
            f"a second look at ED and ES finds the same {side}",
            concerns,
        )  # fmt: skip
