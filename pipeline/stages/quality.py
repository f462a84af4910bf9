"""Last stage: what speaks against believing the result.

Every check leaves its verdict, the good ones too. A failed check names the biomarkers it takes
back; `withhold` is the one place where they are taken. Where a threshold cites ACDC it was
measured on the expert labels of its patients 001-100 at ED and ES.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    Biomarker,
    Case,
    CineCase,
    ModelUse,
    Phases,
    QualityFinding,
    UInt8,
    Verdict,
)
from pipeline.stages import AnyCase
from pipeline.stages.biomarkers import (
    LV_STROKE,
    RV_STROKE,
    VOLUMETRIC,
    volume_curve_ml,
)
from pipeline.stages.coverage import check_coverage
from pipeline.stages.detection import cyclic_distance, extremes
from pipeline.stages.known_error import MASS, VOLUMES, check_known_error
from pipeline.stages.masks import elongation, open_ring_share
from pipeline.stages.plausibility import check_blank_images, check_slice_spacing, check_volumes
from pipeline.stages.relevance import middle_slices

if TYPE_CHECKING:
    from models.registry import Card

# A third of the slice x phase grid: what is left no longer describes the ventricle.
MISSING_SHARE_WITHHELD = 1 / 3
# Every ventricle alive moves: the lowest EF among the ACDC patients is 10 %.
MIN_AMPLITUDE_SHARE = 0.05
# Less than this is no beat: the phases show one picture, or the cavity found is none.
MOTIONLESS_SHARE = 0.01
# The highest EF is 82 % of an LV and 86 % of an RV (ACDC).
EF_REVIEW = 90.0
# Phases that ED or ES may lie apart from the extremes of the full curve.
MAX_PHASES_APART = 2
# Nearer in volume than this, phases far apart lie on one plateau (diastasis) and agree.
PLATEAU_SHARE = 0.03
# Both ventricles pump the same blood. Valve disease and shunts break this, so it asks for review.
MAX_STROKE_DIFFERENCE_SHARE = 0.35
MAX_STROKE_DIFFERENCE_ML = 20.0
# Two ways to measure one volume; that by regression errs by some 10 ml on average.
MAX_METHODS_DIFFERENCE_SHARE = 0.2
MAX_METHODS_DIFFERENCE_ML = 20.0
# Wide enough for children and for extreme hypertrophy (ACDC: 34 to 273 g).
MASS_RANGE_G = (15.0, 500.0)
# Myocardium hardly changes its mass in a beat; of experts' labels none differs more (ACDC: 0.47).
MAX_MASS_CHANGE_SHARE = 0.5
# Middle slices of experts' labels have no gap at all; a network's pixels may leave a small one.
MAX_OPEN_RING_SHARE = 0.1
# What myocardium does not even half surround is no LV cavity.
OPEN_RING_WITHHELD = 0.5
# Long over short axis of the epicardium in the middle, median (ACDC: 99 % below 1.31, highest
# 1.47); a long-axis plane cuts the LV at about 2.
ELONGATION_REVIEW = 1.4
ELONGATION_WITHHELD = 1.7


class CheckQuality:
    """Run every check and take back the numbers that a failed one names.

    Parameters
    ----------
    min_phases : int
        Fewer cardiac phases than this ask for review.
    card : Card
        Of the network that segments; its known errors ask for review.
    regressor_card : Card, optional
        Of the network that measures LV volumes in place of the segmentation.
    """

    name = "quality"
    models: tuple[ModelUse, ...] = ()

    def __init__(self, min_phases: int, card: "Card", regressor_card: "Card | None" = None) -> None:
        self._min_phases = min_phases
        self._card = card
        self._regressor_card = regressor_card

    def __call__(self, case: CineCase) -> CineCase:
        """Return the case with its findings, and its biomarkers as far as they stand."""
        checks: tuple[Callable[[CineCase], QualityFinding], ...] = (
            self._check_phases,
            check_missing_images,
            check_left_ventricle,
            check_slice_spacing,
            check_volumes,
            check_plane,
            check_ring,
            check_amplitude,
            self._check_detection,
            check_detector,
            check_lv_ef,
            check_rv_ef,
            check_stroke_volumes,
            check_mass,
            check_mass_conservation,
        )
        findings = (
            *check_coverage(case),
            *(check(case) for check in checks),
            *check_methods(case),
            *check_blank_images(case),
            *self._check_known_errors(),
        )
        return withhold(replace(case, quality=findings))

    def _check_known_errors(self) -> Iterator[QualityFinding]:
        """Judge each number by the network that it comes from."""
        if self._regressor_card is None:
            yield check_known_error("lv", self._card)
        else:
            yield check_known_error("lv", self._regressor_card, VOLUMES)
            yield check_known_error("lv", self._card, MASS)
        yield check_known_error("rv", self._card)

    def _check_phases(self, case: CineCase) -> QualityFinding:
        n_phases = len(case.stack.frames)
        if n_phases < self._min_phases:
            reason = f"only {n_phases} cardiac phases: ED and ES are the extremes among them"
            return QualityFinding("phases_count", Verdict.REVIEW, reason, n_phases)
        reason = f"{n_phases} cardiac phases"
        return QualityFinding("phases_count", Verdict.OK, reason, n_phases)

    def _check_detection(self, case: CineCase) -> QualityFinding:
        """Compare the detected phases with the extremes of the full LV volume curve."""
        curve = volume_curve_ml(_labels(case), LV_CAVITY, case.stack)
        found, whole = _phases(case), extremes(curve, self._min_phases)
        apart = [
            cyclic_distance(one, other, len(curve))
            for one, other in ((found.ed, whole.ed), (found.es, whole.es))
            if abs(curve[one] - curve[other]) > PLATEAU_SHARE * curve.max()
        ]
        worst = max(apart, default=0)
        if worst > MAX_PHASES_APART:
            reason = f"ED or ES lies {worst} phases from the extreme of the LV volume curve"
            return QualityFinding("detection_agreement", Verdict.REVIEW, reason, worst)
        reason = "ED and ES agree with the LV volume curve"
        return QualityFinding("detection_agreement", Verdict.OK, reason, worst)


def check_detector(case: CineCase) -> QualityFinding:
    """Ask for review where the detector of ED and ES was not sure."""
    unsure = _phases(case).unsure
    if unsure:
        reason = f"no phase is clearly {' or '.join(unsure)}; the likeliest one was taken"
        return QualityFinding("detection_confidence", Verdict.REVIEW, reason)
    return QualityFinding("detection_confidence", Verdict.OK, "ED and ES are clear")


def withhold(case: AnyCase) -> AnyCase:
    """Take back every biomarker that a finding of the case withholds, with the first reason."""
    reasons: dict[str, str] = {}
    for finding in case.quality:
        for name in finding.withholds:
            reasons.setdefault(name, finding.reason)
    return replace(
        case,
        biomarkers=tuple(
            replace(one, value=None, withheld=reasons[one.name])
            if one.name in reasons and one.withheld is None
            else one
            for one in case.biomarkers
        ),
    )


def check_missing_images(case: Case) -> QualityFinding:
    """`missing_images`: what is absent from the stack, named."""
    check, share = "missing_images", case.stack.missing_fraction
    if not case.stack.missing:
        return QualityFinding(check, Verdict.OK, "no image is missing", share)
    named = "; ".join(case.stack.missing)
    if share == 0:  # headers may declare what was never acquired: that alone is no verdict
        return QualityFinding(check, Verdict.OK, f"the grid is whole; noted: {named}", share)
    reason = f"missing: {named}"
    if share >= MISSING_SHARE_WITHHELD:
        return QualityFinding(check, Verdict.WITHHELD, reason, share, VOLUMETRIC)
    return QualityFinding(check, Verdict.REVIEW, reason, share)


def check_left_ventricle(case: CineCase) -> QualityFinding:
    """`left_ventricle`: without a cavity at ED and at ES nothing can be measured."""
    for name, volume in zip(("diastole", "systole"), _ed_and_es_ml(case, LV_CAVITY), strict=True):
        if volume <= 0:
            reason = f"no LV cavity was found at end {name}"
            return QualityFinding("left_ventricle", Verdict.WITHHELD, reason, 0.0, VOLUMETRIC)
    return QualityFinding("left_ventricle", Verdict.OK, "LV cavity found at ED and ES")


def check_plane(case: Case) -> QualityFinding:
    """`short_axis_plane`: in a short-axis plane the LV is round."""
    check, spacing = "short_axis_plane", case.stack.pixel_spacing_mm
    left = [np.isin(labels, (LV_CAVITY, LV_MYOCARDIUM)) for labels in _middle_labels(case)]
    ratios = [elongation(mask, spacing) for mask in left if mask.any()]
    if not ratios:
        return _unchecked(check, "no LV was found in the middle slices")
    ratio = float(np.median(ratios))
    if ratio >= ELONGATION_WITHHELD:
        reason = f"the LV is {ratio:.1f} times as long as wide: not a short-axis plane"
        return QualityFinding(check, Verdict.WITHHELD, reason, ratio, VOLUMETRIC)
    if ratio >= ELONGATION_REVIEW:
        reason = f"the LV is {ratio:.1f} times as long as wide: the plane may be oblique to it"
        return QualityFinding(check, Verdict.REVIEW, reason, ratio)
    return QualityFinding(check, Verdict.OK, "the LV is round in the middle slices", ratio)


def check_ring(case: Case) -> QualityFinding:
    """`myocardium_ring`: in the middle slices myocardium surrounds the cavity."""
    worst = max(open_ring_share(labels) for labels in _middle_labels(case))
    reason = f"the myocardium leaves {worst:.0%} of the cavity open in a middle slice"
    if worst > OPEN_RING_WITHHELD:
        return QualityFinding("myocardium_ring", Verdict.WITHHELD, reason, worst, VOLUMETRIC)
    if worst > MAX_OPEN_RING_SHARE:
        return QualityFinding("myocardium_ring", Verdict.REVIEW, reason, worst)
    reason = "myocardium surrounds the cavity in the middle slices"
    return QualityFinding("myocardium_ring", Verdict.OK, reason, worst)


def check_amplitude(case: CineCase) -> QualityFinding:
    """`curve_range`: the LV volume changes over the cycle."""
    ed_ml, es_ml = _stated_lv_ml(case)
    if ed_ml <= 0:
        return _unchecked("curve_range", "no LV cavity was found at end diastole")
    share = (ed_ml - es_ml) / ed_ml
    reason = f"the LV volume changes by only {share:.0%} from ED to ES"
    if abs(share) < MOTIONLESS_SHARE:
        strokes = (*LV_STROKE, *RV_STROKE)
        return QualityFinding("curve_range", Verdict.WITHHELD, reason, share, strokes)
    if share < MIN_AMPLITUDE_SHARE:
        return QualityFinding("curve_range", Verdict.REVIEW, reason, share)
    return QualityFinding("curve_range", Verdict.OK, "the LV contracts from ED to ES", share)


def check_lv_ef(case: CineCase) -> QualityFinding:
    """`lv_ef_range`: a volume cannot grow from ED to ES."""
    return _check_ef(case, "lv_ef", LV_STROKE)


def check_rv_ef(case: CineCase) -> QualityFinding:
    """`rv_ef_range`: likewise for the RV, at the LV's ED and ES."""
    return _check_ef(case, "rv_ef", RV_STROKE)


def _check_ef(case: CineCase, name: str, withholds: tuple[str, ...]) -> QualityFinding:
    check, ef = f"{name}_range", _biomarker(case, name)
    if ef.value is None:
        return _unchecked(check, ef.withheld)
    if not 0 <= ef.value <= 100:
        reason = f"{ef.value:.0f} % is no ejection fraction: the ES volume exceeds the ED volume"
        return QualityFinding(check, Verdict.WITHHELD, reason, ef.value, withholds)
    if ef.value > EF_REVIEW:
        reason = f"{ef.value:.0f} % is more than hearts eject"
        return QualityFinding(check, Verdict.REVIEW, reason, ef.value)
    return QualityFinding(check, Verdict.OK, "within 0 to 100 %", ef.value)


def check_stroke_volumes(case: CineCase) -> QualityFinding:
    """`stroke_volume_agreement`: both ventricles eject about the same volume."""
    check = "stroke_volume_agreement"
    left, right = _biomarker(case, "lv_sv"), _biomarker(case, "rv_sv")
    if left.value is None or right.value is None:
        return _unchecked(check, left.withheld or right.withheld)
    difference = abs(left.value - right.value)
    allowed = MAX_STROKE_DIFFERENCE_SHARE * (abs(left.value) + abs(right.value)) / 2
    if difference > max(allowed, MAX_STROKE_DIFFERENCE_ML):
        reason = f"LV and RV stroke volumes differ by {difference:.0f} ml"
        return QualityFinding(check, Verdict.REVIEW, reason, difference)
    return QualityFinding(check, Verdict.OK, "LV and RV stroke volumes agree", difference)


def check_methods(case: CineCase) -> Iterator[QualityFinding]:
    """`lv_volume_agreement`: regressed LV volumes are explained, and like the segmented."""
    regression = case.regression
    if regression is None:
        return
    check, doubts, concerns, apart = "lv_volume_agreement", [], [], 0.0
    stated, segmented = _stated_lv_ml(case), _ed_and_es_ml(case, LV_CAVITY)
    shown = regression.explanation_ed, regression.explanation_es
    for phase, one_ml, other_ml, mask in zip(("ed", "es"), stated, segmented, shown, strict=True):
        apart = max(apart, abs(one_ml - other_ml))
        said = [*_doubts(phase.upper(), one_ml, other_ml, explained=bool(mask.any()))]
        doubts += said
        concerns += [f"lv_{phase}v", f"lv_{phase}v_index"] if said else []
    if doubts:
        named = (*concerns, *LV_STROKE)
        yield QualityFinding(check, Verdict.REVIEW, "; ".join(doubts), apart, concerns=named)
    else:
        reason = "LV volumes by regression and by segmentation agree"
        yield QualityFinding(check, Verdict.OK, reason, apart)


def _doubts(phase: str, regressed: float, segmented: float, *, explained: bool) -> Iterator[str]:
    """What speaks against a volume by regression, in ml."""
    if not explained:
        yield f"nothing in the images explains the {phase} volume"
    allowed = MAX_METHODS_DIFFERENCE_SHARE * (regressed + segmented) / 2
    if abs(regressed - segmented) > max(allowed, MAX_METHODS_DIFFERENCE_ML):
        yield (
            f"the {phase} volume is {regressed:.0f} ml by regression and {segmented:.0f} ml by "
            "segmentation"
        )


def check_mass(case: Case, name: str = "lv_mass") -> QualityFinding:
    """`mass_plausibility`: the LV mass is a heart's; of any other, outline or spacing is wrong."""
    check, mass = "mass_plausibility", _biomarker(case, name)
    if mass.value is None:
        return QualityFinding(check, Verdict.WITHHELD, str(mass.withheld), 0.0, VOLUMETRIC)
    low, high = MASS_RANGE_G
    if not low <= mass.value <= high:
        reason = f"LV mass {mass.value:.0f} g is not within {low:g} to {high:g} g"
        return QualityFinding(check, Verdict.WITHHELD, reason, mass.value, VOLUMETRIC)
    return QualityFinding(check, Verdict.OK, "the LV mass is plausible", mass.value)


def check_mass_conservation(case: CineCase) -> QualityFinding:
    """`mass_conservation`: the myocardium is about the same at ED and ES."""
    ed_ml, es_ml = _ed_and_es_ml(case, LV_MYOCARDIUM)
    if ed_ml <= 0:
        return _unchecked("mass_conservation", "no LV myocardium was found at end diastole")
    change = abs(ed_ml - es_ml) / ed_ml
    if change > MAX_MASS_CHANGE_SHARE:
        reason = f"the myocardium differs by {change:.0%} between ED and ES"
        return QualityFinding("mass_conservation", Verdict.REVIEW, reason, change)
    reason = "the myocardium is about the same at ED and ES"
    return QualityFinding("mass_conservation", Verdict.OK, reason, change)


def _unchecked(check: str, reason: str | None) -> QualityFinding:
    return QualityFinding(check, Verdict.REVIEW, f"not checked: {reason}")


def _biomarker(case: Case, name: str) -> Biomarker:
    return next(one for one in case.biomarkers if one.name == name)


def _phases(case: CineCase) -> Phases:
    if case.phases is None:
        raise ValueError("quality comes after detection")
    return case.phases


def _labels(case: CineCase) -> UInt8:
    if case.segmentation is None:
        raise ValueError("quality comes after segmentation")
    return case.segmentation.labels


def _ed_and_es_ml(case: CineCase, code: int) -> tuple[float, float]:
    """Volume of one structure at ED and at ES."""
    ed, es = volume_curve_ml(_labels(case)[[_phases(case).ed, _phases(case).es]], code, case.stack)
    return float(ed), float(es)


def _stated_lv_ml(case: CineCase) -> tuple[float, float]:
    """LV volume at ED and at ES by the method whose volumes are stated."""
    if case.regression is None:
        return _ed_and_es_ml(case, LV_CAVITY)
    return case.regression.edv_ml, case.regression.esv_ml


def _middle_labels(case: Case) -> UInt8:
    """Label maps of the middle slices, of a cine at ED and at ES, [n, y, x]."""
    if case.relevance is None:
        raise ValueError("quality comes after relevance")
    middle = case.outlines[:, middle_slices(case.relevance)]
    return middle.reshape(-1, *middle.shape[2:])
