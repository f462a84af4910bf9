"""Can a heart be that large, and slices that far apart? Wrong spacings show here."""

from collections.abc import Iterator
from statistics import median

import numpy as np

from config.quality import CineQualitySettings, StackQualitySettings
from pipeline.case import Case, CineCase, QualityFinding, Verdict
from pipeline.patient import numbers
from pipeline.stages.biomarkers import RV, VOLUMETRIC
from pipeline.stages.coverage import length_and_diameter_mm


def check_volumes(case: CineCase, limits: CineQualitySettings) -> QualityFinding:
    """`volume_plausibility`: both ventricles have volumes that hearts have.

    A volume too large puts all of them in doubt, for both ventricles share the spacings; an RV
    too small only its own.
    """
    check, (low, high) = "volume_plausibility", limits.edv_range_ml
    stated = {one.name: one.value for one in case.biomarkers if one.value is not None}
    volumes = {name: stated[name] for name in ("lv_edv", "rv_edv") if name in stated}
    for name, value in volumes.items():
        if not low <= value <= high:
            words = f"{name[:2].upper()} end-diastolic volume"
            reason = f"{words} {value:.3g} ml is not within {low:g} to {high:g} ml"
            taken_back = RV if name == "rv_edv" and value < low else VOLUMETRIC
            return QualityFinding(check, Verdict.WITHHELD, reason, value, taken_back)
    if not volumes:
        reason = "not checked: no ventricle was found at end diastole"
        return QualityFinding(check, Verdict.REVIEW, reason)
    return QualityFinding(check, Verdict.OK, "the volumes are plausible", max(volumes.values()))


def check_blank_images(case: CineCase) -> Iterator[QualityFinding]:
    """`blank_images`: within the LV every image shows something; only said where one does not."""
    frames = case.stack.frames
    blank = frames.min(axis=(2, 3)) == frames.max(axis=(2, 3))
    relevant = np.flatnonzero(case.relevance.relevant) if case.relevance else np.array([], int)
    if not relevant.size:
        return
    first, end = relevant.min(), relevant.max() + 1
    slices = first + np.flatnonzero(blank[:, first:end].any(axis=0))
    if slices.size:
        named = ", ".join(str(z + 1) for z in slices)
        reason = f"images of one grey value alone, which show nothing, in slices {named}"
        number = float(blank[:, first:end].sum())
        yield QualityFinding("blank_images", Verdict.WITHHELD, reason, number, VOLUMETRIC)


def check_slice_spacing(case: Case, limits: StackQualitySettings) -> QualityFinding:
    """`slice_spacing`: the distance of the slices agrees with their thickness and with the LV."""
    check, spacing = "slice_spacing", case.stack.slice_spacing_mm
    length, diameter = length_and_diameter_mm(case)
    if length > limits.length_per_diameter_withheld * diameter > 0:
        reason = (
            f"the LV is {length:.0f} mm long and {diameter:.0f} mm wide with slices {spacing:.3g} "
            "mm apart: a spacing must be wrong"
        )
        return QualityFinding(check, Verdict.WITHHELD, reason, spacing, VOLUMETRIC)
    stated = [
        *numbers(case.stack.headers.values(), "SliceThickness", group="PixelMeasuresSequence")
    ]
    thickness = median(stated) if stated else 0.0
    if spacing > limits.spacing_per_thickness_review * thickness > 0:
        reason = f"slices of {thickness:.3g} mm thickness are {spacing:.3g} mm apart"
        return QualityFinding(check, Verdict.REVIEW, reason, spacing)
    if spacing >= limits.slice_spacing_review_mm:
        reason = f"slices are {spacing:.3g} mm apart"
        return QualityFinding(check, Verdict.REVIEW, reason, spacing)
    return QualityFinding(check, Verdict.OK, f"slices are {spacing:.3g} mm apart", spacing)
