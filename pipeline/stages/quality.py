"""Last stage: what speaks against believing the result.

Every check leaves its verdict, the good ones too. A failed check names the biomarkers it takes
back, or that a person should look at; `withhold` is the one place where they are taken. The
thresholds are settings (`config.quality`).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from config.quality import CineQualitySettings, StackQualitySettings
from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    Case,
    CineCase,
    ModelUse,
    QualityFinding,
    Verdict,
)
from pipeline.stages import AnyCase
from pipeline.stages.agreement import (
    check_detection,
    check_detector,
    check_methods,
    check_stroke_volumes,
    check_variation,
)
from pipeline.stages.biomarkers import LV, LV_STROKE, RV_STROKE, VOLUMETRIC, volume_curve_ml
from pipeline.stages.checked import (
    biomarker,
    ed_and_es_ml,
    segmentation_of,
    stated_lv_ml,
    unchecked,
)
from pipeline.stages.coverage import check_coverage
from pipeline.stages.curve import missing_times
from pipeline.stages.image_quality import check_ghosting, check_images, check_rv_blood
from pipeline.stages.known_error import MASS, VOLUMES, check_known_error
from pipeline.stages.outline import check_pieces, check_plane, check_ring
from pipeline.stages.plausibility import check_blank_images, check_slice_spacing, check_volumes
from pipeline.stages.smoothness import (
    check_alignment,
    check_contraction,
    check_phase_areas,
    check_slice_areas,
)

if TYPE_CHECKING:
    from models.registry import Card

_OF_A_BEAT = 8  # phases from which on a cine shows the beat; fewer may be ED and ES alone


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
    limits : CineQualitySettings, optional
        The thresholds of the checks.
    """

    name = "quality"
    models: tuple[ModelUse, ...] = ()

    def __init__(
        self,
        min_phases: int,
        card: "Card",
        regressor_card: "Card | None" = None,
        limits: CineQualitySettings | None = None,
    ) -> None:
        self._min_phases = min_phases
        self._card = card
        self._regressor_card = regressor_card
        self._limits = limits or CineQualitySettings()

    def __call__(self, case: CineCase) -> CineCase:
        """Return the case with its findings, and its biomarkers as far as they stand."""
        limits = self._limits
        findings = (
            *check_coverage(case, limits),
            self._check_phases(case),
            check_missing_images(case, limits),
            *check_images(case, limits),
            check_ghosting(case, limits),
            check_rv_blood(case, limits),
            check_left_ventricle(case),
            check_slice_spacing(case, limits),
            check_volumes(case, limits),
            check_plane(case, limits),
            check_ring(case, limits),
            check_pieces(case, limits, (LV_CAVITY, LV_MYOCARDIUM)),
            check_pieces(case, limits, (RV_CAVITY,)),
            check_alignment(case, limits),
            check_slice_areas(case, limits),
            check_slice_areas(case, limits, RV_CAVITY),
            check_contraction(case, limits),
            check_phase_areas(case, limits),
            check_amplitude(case, limits),
            check_detection(case, limits, self._min_phases),
            check_detector(case),
            *check_variation(case, limits),
            check_ef(case, limits, "lv_ef", LV_STROKE),
            check_ef(case, limits, "rv_ef", RV_STROKE),
            check_stroke_volumes(case, limits),
            check_mass(case, limits),
            check_mass_conservation(case, limits),
            *check_methods(case, limits),
            *check_blank_images(case),
            *self._check_known_errors(),
        )
        return withhold(replace(case, quality=findings))

    def _check_known_errors(self) -> Iterator[QualityFinding]:
        """Judge each number by the network that it comes from."""
        if self._regressor_card is None:
            yield check_known_error("lv", self._card, limits=self._limits)
        else:
            yield check_known_error("lv", self._regressor_card, VOLUMES, limits=self._limits)
            yield check_known_error("lv", self._card, MASS, limits=self._limits)
        yield check_known_error("rv", self._card, limits=self._limits)

    def _check_phases(self, case: CineCase) -> QualityFinding:
        n_phases = len(case.stack.frames)
        if n_phases < self._min_phases:
            reason = f"only {n_phases} cardiac phases: ED and ES are the extremes among them"
            return QualityFinding("phases_count", Verdict.REVIEW, reason, n_phases)
        if gaps := missing_times(case.stack):
            reason = f"no cardiac phase lies {gaps}: ED or ES may be missing"
            return QualityFinding("phases_count", Verdict.REVIEW, reason, n_phases)
        curve = volume_curve_ml(segmentation_of(case).labels, LV_CAVITY, case.stack)
        if n_phases >= _OF_A_BEAT and int(np.argmin(curve)) in (0, n_phases - 1):
            reason = "the LV is smallest in the first or last cardiac phase: ES may be missing"
            return QualityFinding("phases_count", Verdict.REVIEW, reason, n_phases)
        reason = f"{n_phases} cardiac phases"
        return QualityFinding("phases_count", Verdict.OK, reason, n_phases)


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


def check_missing_images(case: Case, limits: StackQualitySettings) -> QualityFinding:
    """`missing_images`: what is absent from the stack, named."""
    check, share = "missing_images", case.stack.missing_fraction
    if not case.stack.missing:
        return QualityFinding(check, Verdict.OK, "no image is missing", share)
    named = "; ".join(case.stack.missing)
    if share == 0:  # headers may declare what was never acquired: that alone is no verdict
        return QualityFinding(check, Verdict.OK, f"the grid is whole; noted: {named}", share)
    reason = f"missing: {named}"
    if share >= limits.missing_images_withheld:
        return QualityFinding(check, Verdict.WITHHELD, reason, share, VOLUMETRIC)
    return QualityFinding(check, Verdict.REVIEW, reason, share)


def check_left_ventricle(case: CineCase) -> QualityFinding:
    """`left_ventricle`: without a cavity at ED and at ES nothing can be measured."""
    for name, volume in zip(("diastole", "systole"), ed_and_es_ml(case, LV_CAVITY), strict=True):
        if volume <= 0:
            reason = f"no LV cavity was found at end {name}"
            return QualityFinding("left_ventricle", Verdict.WITHHELD, reason, 0.0, VOLUMETRIC)
    return QualityFinding("left_ventricle", Verdict.OK, "LV cavity found at ED and ES")


def check_amplitude(case: CineCase, limits: CineQualitySettings) -> QualityFinding:
    """`curve_range`: the LV volume changes over the cycle."""
    ed_ml, es_ml = stated_lv_ml(case)
    if ed_ml <= 0:
        return unchecked("curve_range", "no LV cavity was found at end diastole")
    share = (ed_ml - es_ml) / ed_ml
    reason = f"the LV volume changes by only {share:.0%} from ED to ES"
    if abs(share) < limits.volume_change_withheld:
        strokes = (*LV_STROKE, *RV_STROKE)
        return QualityFinding("curve_range", Verdict.WITHHELD, reason, share, strokes)
    if share < limits.volume_change_review:
        return QualityFinding("curve_range", Verdict.REVIEW, reason, share, concerns=LV_STROKE)
    return QualityFinding("curve_range", Verdict.OK, "the LV contracts from ED to ES", share)


def check_ef(
    case: CineCase, limits: CineQualitySettings, name: str, withholds: tuple[str, ...]
) -> QualityFinding:
    """`lv_ef_range`, `rv_ef_range`: no volume grows from the LV's ED to its ES."""
    check, ef = f"{name}_range", biomarker(case, name)
    if ef.value is None:
        return unchecked(check, ef.withheld)
    if not 0 <= ef.value <= 100:
        reason = f"{ef.value:.0f} % is no ejection fraction: the ES volume exceeds the ED volume"
        return QualityFinding(check, Verdict.WITHHELD, reason, ef.value, withholds)
    if ef.value > limits.ef_review_percent:
        reason = f"{ef.value:.0f} % is more than hearts eject"
        return QualityFinding(check, Verdict.REVIEW, reason, ef.value, concerns=withholds)
    return QualityFinding(check, Verdict.OK, "within 0 to 100 %", ef.value)


def check_mass(case: Case, limits: StackQualitySettings, name: str = "lv_mass") -> QualityFinding:
    """`mass_plausibility`: the LV mass is a heart's; of any other, outline or spacing is wrong."""
    check, mass = "mass_plausibility", biomarker(case, name)
    if mass.value is None:
        return QualityFinding(check, Verdict.WITHHELD, str(mass.withheld), 0.0, VOLUMETRIC)
    low, high = limits.mass_range_g
    if not low <= mass.value <= high:
        reason = f"LV mass {mass.value:.0f} g is not within {low:g} to {high:g} g"
        return QualityFinding(check, Verdict.WITHHELD, reason, mass.value, VOLUMETRIC)
    return QualityFinding(check, Verdict.OK, "the LV mass is plausible", mass.value)


def check_mass_conservation(case: CineCase, limits: CineQualitySettings) -> QualityFinding:
    """`mass_conservation`: the myocardium is about the same at ED and ES."""
    ed_ml, es_ml = ed_and_es_ml(case, LV_MYOCARDIUM)
    if ed_ml <= 0:
        return unchecked("mass_conservation", "no LV myocardium was found at end diastole")
    change = abs(ed_ml - es_ml) / ed_ml
    if change > limits.mass_change_review:
        reason = f"the myocardium differs by {change:.0%} between ED and ES"
        return QualityFinding("mass_conservation", Verdict.REVIEW, reason, change, concerns=LV)
    reason = "the myocardium is about the same at ED and ES"
    return QualityFinding("mass_conservation", Verdict.OK, reason, change)
