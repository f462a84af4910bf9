"""What the quality checks look at, in the words they share."""

import numpy as np

from pipeline.case import (
    LV_CAVITY,
    Biomarker,
    Case,
    CineCase,
    Phases,
    QualityFinding,
    Segmentation,
    UInt8,
    Verdict,
)
from pipeline.stages.biomarkers import volume_curve_ml
from pipeline.stages.relevance import middle_slices


def unchecked(check: str, reason: str | None) -> QualityFinding:
    """What could not be judged is not taken for good."""
    return QualityFinding(check, Verdict.REVIEW, f"not checked: {reason}")


def judged(  # noqa: PLR0917 - read as a sentence
    check: str,
    value: float,
    doubtful: bool,
    bad: str,
    good: str,
    concerns: tuple[str, ...] = (),
) -> QualityFinding:
    """Review with one reason where a value is doubtful, else ok with the other."""
    finite = value if np.isfinite(value) else None
    if doubtful:
        return QualityFinding(check, Verdict.REVIEW, bad, finite, concerns=concerns)
    return QualityFinding(check, Verdict.OK, good, finite)


def biomarker(case: Case, name: str) -> Biomarker:
    """The biomarker of a name."""
    return next(one for one in case.biomarkers if one.name == name)


def phases_of(case: CineCase) -> Phases:
    """ED and ES; ValueError before detection."""
    if case.phases is None:
        raise ValueError("quality comes after detection")
    return case.phases


def segmentation_of(case: Case) -> Segmentation:
    """The label maps; ValueError before segmentation."""
    if case.segmentation is None:
        raise ValueError("quality comes after segmentation")
    return case.segmentation


def ed_and_es_ml(case: CineCase, code: int) -> tuple[float, float]:
    """Volume of one structure at ED and at ES."""
    ed, es = volume_curve_ml(case.outlines, code, case.stack)
    return float(ed), float(es)


def stated_lv_ml(case: CineCase) -> tuple[float, float]:
    """LV volume at ED and at ES by the method whose volumes are stated."""
    if case.regression is None:
        return ed_and_es_ml(case, LV_CAVITY)
    return case.regression.edv_ml, case.regression.esv_ml


def middle_labels(case: Case) -> UInt8:
    """Label maps of the middle slices, of a cine at ED and at ES, [n, y, x]."""
    if case.relevance is None:
        raise ValueError("quality comes after relevance")
    middle = case.outlines[:, middle_slices(case.relevance)]
    return middle.reshape(-1, *middle.shape[2:])
