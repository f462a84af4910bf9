"""Quality: the ventricle changes smoothly from slice to slice, and from phase to phase.

What jumps is a slice taken in another breath-hold or beat, or a label that was lost.
"""

import numpy as np
import numpy.typing as npt

from config.quality import CineQualitySettings
from pipeline.case import (
    LV_CAVITY,
    CineCase,
    Float64,
    QualityFinding,
    UInt8,
)
from pipeline.stages.biomarkers import LV, RV
from pipeline.stages.checked import judged, segmentation_of

# Of the largest slice: with less cavity than this its centre and its contraction say little.
_LARGE_SHARE = 0.3


def check_alignment(case: CineCase, limits: CineQualitySettings) -> QualityFinding:
    """`slice_alignment`: centres of the LV cavity at ED lie on a smooth long axis."""
    check, offset = "slice_alignment", axis_offset_mm(case.outlines[0], case.stack.pixel_spacing_mm)
    return judged(
        check, offset, offset > limits.axis_offset_review_mm,
        f"a slice lies {offset:.0f} mm beside the line through its neighbours: breath-holds may "
        "differ, or outlines be wrong",
        "the slices lie on one long axis",
    )  # fmt: skip


def axis_offset_mm(labels: UInt8, pixel_spacing_mm: tuple[float, float]) -> float:
    """Largest distance of an LV centre from the middle of its two neighbours'; 0 below three.

    Parameters
    ----------
    labels : uint8 [z, y, x]
        Of one phase. Slices with little cavity do not count.
    pixel_spacing_mm : (row_mm, column_mm)
    """
    cavity = labels == LV_CAVITY
    area = np.count_nonzero(cavity, axis=(1, 2))
    large = np.flatnonzero(area >= max(1.0, _LARGE_SHARE * area.max(initial=0)))
    centres = [np.argwhere(cavity[z]).mean(axis=0) * pixel_spacing_mm for z in large]
    return float(np.max(np.linalg.norm(_bend(np.array(centres)), axis=-1), initial=0.0))


def check_slice_areas(
    case: CineCase, limits: CineQualitySettings, code: int = LV_CAVITY
) -> QualityFinding:
    """`lv_slice_areas`, `rv_slice_areas`: the cavity changes smoothly from slice to slice."""
    side, concerns = ("LV", LV) if code == LV_CAVITY else ("RV", RV)
    check = f"{side.lower()}_slice_areas"
    allowed = limits.lv_slice_area_review if code == LV_CAVITY else limits.rv_slice_area_review
    jump = max(area_jump(areas) for areas in np.count_nonzero(case.outlines == code, axis=(2, 3)))
    return judged(
        check, jump, jump > allowed,
        f"the area of the {side} cavity jumps between slices, by {jump:.0%} of its largest: a "
        "label may be lost, or a slice of another phase",
        f"the area of the {side} cavity changes smoothly from slice to slice",
        concerns,
    )  # fmt: skip


def area_jump(areas: npt.NDArray[np.intp]) -> float:
    """Largest distance of a slice's area from the mean of its neighbours', over the largest area.

    `areas` [z]; the first and the last slice with any are judged by what lies beside them.
    """
    shown = np.flatnonzero(areas)
    if len(shown) < 3:
        return 0.0
    run = areas[shown[0] : shown[-1] + 1].astype(np.float64)
    return float(np.abs(_bend(run)).max() / run.max())


def _bend(values: Float64) -> Float64:
    """How far each inner value lies from the middle of its neighbours, along the first axis."""
    return values[1:-1] - (values[:-2] + values[2:]) / 2


def check_contraction(case: CineCase, limits: CineQualitySettings) -> QualityFinding:
    """`slice_contraction`: neighbouring slices contract alike, being of one beat."""
    check, step = "slice_contraction", contraction_step(*case.outlines)
    return judged(
        check, step, step > limits.contraction_step_review,
        f"a slice keeps {step:.0%} more of its area at ES than its neighbour: it may be of another "
        "phase, or its outline wrong",
        "neighbouring slices contract alike",
        LV,
    )  # fmt: skip


def contraction_step(ed: UInt8, es: UInt8) -> float:
    """Largest difference between neighbouring slices in the share of LV area left at ES.

    Parameters
    ----------
    ed, es : uint8 [z, y, x]
        Slices with little cavity at ED do not count. At the base and at the apex the cavity may
        leave slices: where it is gone they do not count, and the next only where it contracts
        less.
    """
    before, after = (np.count_nonzero(labels == LV_CAVITY, axis=(1, 2)) for labels in (ed, es))
    large = before >= max(1.0, _LARGE_SHARE * before.max(initial=0))
    shown = np.flatnonzero(large & (after > 0))
    run = slice(shown[0], shown[-1] + 1) if shown.size else slice(0)
    left = after[run] / np.maximum(before[run], 1)
    inner = np.abs(np.diff(left[1:-1]))
    ends = [left[0] - left[1], left[-1] - left[-2]] if len(left) > 1 else []
    return float(max([0.0, *inner, *ends]))


def check_phase_areas(case: CineCase, limits: CineQualitySettings) -> QualityFinding:
    """`phase_areas`: in no slice the LV cavity jumps at one phase and back at the next."""
    check, jump = "phase_areas", phase_jump(segmentation_of(case).labels)
    return judged(
        check, jump, jump > limits.phase_area_review,
        f"the LV cavity of a slice jumps at one phase by {jump:.0%} of the largest slice: its "
        "label may be lost there",
        "the labels follow the beat smoothly",
        LV,
    )  # fmt: skip


def phase_jump(labels: UInt8) -> float:
    """How far the area of a slice lies outside those of the phases before and after, at most.

    Parameters
    ----------
    labels : uint8 [t, z, y, x]
        A whole cycle; with fewer than five phases neighbours tell nothing and it is 0.

    Returns
    -------
    float
        Over the largest area of any slice and phase.
    """
    area = np.count_nonzero(labels == LV_CAVITY, axis=(2, 3)).astype(np.float64)
    if len(area) < 5 or not area.any():
        return 0.0
    beside = np.stack([np.roll(area, step, axis=0) for step in (-1, 1)])
    outside = np.maximum(area - beside.max(axis=0), beside.min(axis=0) - area)
    return float(outside.max() / area.max())
