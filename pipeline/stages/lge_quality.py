"""What speaks against believing the numbers of a late enhancement study."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from config.quality import LgeQualitySettings
from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, ModelUse, QualityFinding, Verdict
from pipeline.lge_case import LgeCase
from pipeline.patient import body_surface_area
from pipeline.scar import SEED_SHARE
from pipeline.stages.coverage import check_coverage
from pipeline.stages.known_error import check_known_scar_error
from pipeline.stages.outline import check_plane, check_ring
from pipeline.stages.plausibility import check_slice_spacing
from pipeline.stages.quality import check_mass, check_missing_images, withhold
from pipeline.stages.scar_biomarkers import OUTLINED, SCAR
from pipeline.stages.transmurality import TRANSMURALITY

if TYPE_CHECKING:
    from models.registry import Card

# 2 SD includes what is only greyish, by nature, and is not compared.
_ALL = (*OUTLINED, *TRANSMURALITY)
_SAME_BODY_M2 = 0.01  # as precisely as the report states it
_COMPARED = ("network", "5sd", "fwhm")


class CheckScar:
    """Run every check and take back the numbers that a failed one names.

    `card` describes the network that drew the scar; its known error asks for review.
    """

    name = "quality"
    models: tuple[ModelUse, ...] = ()

    def __init__(self, card: "Card", limits: LgeQualitySettings | None = None) -> None:
        self._card = card
        self._limits = limits or LgeQualitySettings()

    def __call__(self, case: LgeCase) -> LgeCase:
        """Return the case with its findings, and its biomarkers as far as they stand."""
        limits = self._limits
        shared = (
            *check_coverage(case, limits),
            check_missing_images(case, limits),
            check_slice_spacing(case, limits),
            check_plane(case, limits),
            check_ring(case, limits),
            check_mass(case, limits, "lge_lv_mass"),
        )
        outlined = tuple(
            replace(finding, withholds=_ALL) if finding.withholds else finding for finding in shared
        )
        findings = (
            check_outlines(case),
            *outlined,
            *check_thresholds(case),
            *check_agreement(case, limits),
            *check_body(case),
            check_known_scar_error(self._card, limits),
        )
        return withhold(replace(case, quality=findings))


def check_outlines(case: LgeCase) -> QualityFinding:
    """`left_ventricle`: without cavity and myocardium nothing can be measured."""
    for code, name in ((LV_CAVITY, "LV cavity"), (LV_MYOCARDIUM, "LV myocardium")):
        if not np.any(case.outlines == code):
            reason = f"no {name} was found"
            return QualityFinding("left_ventricle", Verdict.WITHHELD, reason, 0.0, _ALL)
    return QualityFinding("left_ventricle", Verdict.OK, "LV cavity and myocardium found")


def check_thresholds(case: LgeCase) -> Iterator[QualityFinding]:
    """`remote_myocardium`: thresholds need myocardium without scar to be set by."""
    reasons = dict.fromkeys(scar.withheld for scar in case.scars.values() if scar.withheld)
    if reasons:
        yield QualityFinding("remote_myocardium", Verdict.REVIEW, "; ".join(filter(None, reasons)))
    else:
        reason = "remote myocardium was found"
        yield QualityFinding("remote_myocardium", Verdict.OK, reason)


def check_body(case: LgeCase) -> Iterator[QualityFinding]:
    """`body_agreement`: the cine, whose indexed values the report takes in, states the same body.

    The report states height and weight of these images beside them.
    """
    beside = case.companion.biomarkers if case.companion else ()
    of_cine = next((one.value for one in beside if one.name == "bsa"), None)
    here = body_surface_area(case.stack.headers).value
    if of_cine is None or here is None:
        return
    apart = abs(of_cine - here)
    if apart > _SAME_BODY_M2:
        reason = (
            "height and weight differ between cine and late enhancement: the indexed values are "
            f"those of {of_cine:.2f} m2, these images state {here:.2f} m2"
        )
        indexed = ("bsa", *(one.name for one in beside if one.name.endswith("_index")))
        yield QualityFinding("body_agreement", Verdict.REVIEW, reason, apart, concerns=indexed)
    else:
        reason = "cine and late enhancement state the same body surface"
        yield QualityFinding("body_agreement", Verdict.OK, reason, apart)


def check_agreement(case: LgeCase, limits: LgeQualitySettings) -> Iterator[QualityFinding]:
    """`scar_agreement`: network and thresholds find about the same scar."""
    stated = {one.name: one.value for one in case.biomarkers}
    shares = {
        method: share
        for method in _COMPARED
        if (share := stated.get(f"scar_percent_{method}")) is not None
    }
    if len(shares) < 2:
        return
    least, most = min(shares.values()), max(shares.values())
    apart = most - least
    contradicted = least == 0 and most >= 100 * SEED_SHARE
    if contradicted or apart > limits.methods_difference_review_percent:
        told = ", ".join(f"{method} {share:.0f} %" for method, share in shares.items())
        reason = f"the methods differ in the scar they find: {told} of the LV mass"
        yield QualityFinding("scar_agreement", Verdict.REVIEW, reason, apart, concerns=SCAR)
    else:
        yield QualityFinding("scar_agreement", Verdict.OK, "the methods agree on the scar", apart)
