"""How far through the wall scar reaches in each AHA segment, where the septum is known.

Late enhancement images are segmented without the right ventricle; where its insertions lie is
taken from the cine of the same study.
"""

from collections.abc import Mapping
from dataclasses import replace

from pipeline.aha import (
    APEX_NOT_SHOWN,
    NO_INSERTION,
    aha_segments,
    insertion_angles,
    lv_levels,
    transmurality,
)
from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, Biomarker, ModelUse
from pipeline.lge_case import LgeCase
from pipeline.results.source import frame_of_reference_uid
from pipeline.stages.coverage import UNKNOWN_ENDS, apex_is_last

TRANSMURALITY = tuple(f"transmurality_{number}" for number in range(1, 18))


class MeasureTransmurality:
    """Mean transmurality of the network's scar per segment, in percent of the wall's depth."""

    name = "transmurality"
    models: tuple[ModelUse, ...] = ()

    def __call__(self, case: LgeCase) -> LgeCase:
        """Return the case with its transmuralities; needs label map and scars."""
        reason = _why_not(case)
        shares = {} if reason else _shares(case)
        reason = reason or ("" if shares else f"{NO_INSERTION}: the cine shows them elsewhere")
        found = tuple(
            _biomarker(name, shares.get(number), reason)
            for number, name in enumerate(TRANSMURALITY, start=1)
        )
        return replace(case, biomarkers=(*case.biomarkers, *found))


def _why_not(case: LgeCase) -> str:
    """Why segments cannot be told; empty where they can."""
    if apex_is_last(case) is None:
        return UNKNOWN_ENDS
    if case.companion is None:
        return f"{NO_INSERTION}: no cine of the same study is measured"
    if not case.companion.septa:
        return f"{NO_INSERTION}: the cine of the study does not show them"
    if case.companion.frame_of_reference_uid != frame_of_reference_uid(case.stack):
        return f"{NO_INSERTION}: the cine of the study has another frame of reference"
    return ""


def _shares(case: LgeCase) -> Mapping[int, float]:
    """Scarred share of the wall's depth by segment."""
    (labels,) = case.outlines
    cavity, myocardium = labels == LV_CAVITY, labels == LV_MYOCARDIUM
    septa = case.companion.septa if case.companion else ()
    insertions = insertion_angles(septa, cavity, case.stack.affine)
    levels = lv_levels(cavity, myocardium, apex_last=bool(apex_is_last(case)))
    segments = aha_segments(cavity, myocardium, insertions, levels, case.stack.pixel_spacing_mm)
    return transmurality(case.scars["network"].mask, myocardium, cavity, segments)


def _biomarker(name: str, share: float | None, reason: str) -> Biomarker:
    if share is not None:
        return Biomarker(name, 100 * share, "%")
    if name == TRANSMURALITY[-1]:
        return Biomarker(name, None, "%", APEX_NOT_SHOWN)
    return Biomarker(name, None, "%", reason or "the stack shows no wall of this segment")
