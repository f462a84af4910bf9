"""What the objects of a case hold: the one place where the kinds of cases differ.

The writers of this package know masks, groups and sentences; which of them a cine has and which a
late enhancement study has is told here.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydicom.sr.coding import Code

from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    NO_REFLOW,
    RV_CAVITY,
    SCAR,
    Biomarker,
    Case,
    CineCase,
    QualityFinding,
    UInt8,
    Verdict,
)
from pipeline.lge_case import LgeCase
from pipeline.patient import Demographics, demographics
from pipeline.results.codes import (
    END_DIASTOLE,
    END_SYSTOLE,
    HEART,
    LATE_ENHANCEMENT,
    LEFT_VENTRICLE,
    LV_EXPLANATION,
    LV_MYOCARDIUM_SITE,
    RIGHT_VENTRICLE,
    SCAR_METHODS,
    KeyPhase,
    in_report,
)
from pipeline.results.normal_ranges import Assessment, assess
from pipeline.results.source import valid_text
from pipeline.stages.biomarkers import ED_WALL, ES_WALL, THICKENING
from pipeline.stages.curve import PEAK_RATES
from pipeline.stages.wall import LITTLE_THICKENING_MM, little_thickening

_CINE = "Cine short-axis analysis"
_LGE = "Late enhancement short-axis analysis"
LIKELY = 0.5
"""An exam shows an infarct from this probability on; its accuracy is measured there."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Masks to be written, and the stage that drew them.

    Attributes
    ----------
    role : str
        Of its objects, before the name of the phase.
    stage : str
        Whose network drew it.
    phase : KeyPhase
    labels : uint8 [z, y, x]
        Label map on the images of that phase.
    """

    role: str
    stage: str
    phase: KeyPhase
    labels: UInt8


@dataclass(frozen=True, slots=True)
class StructureGroup:
    """A structure in a phase, its biomarkers, and the stage that drew it."""

    phase: KeyPhase
    value: int
    biomarkers: tuple[str, ...]
    stage: str = "segmentation"


@dataclass(frozen=True, slots=True)
class DerivedGroup:
    """Quantities that stand in a group without a mask; `of_patient` those of the demographics.

    Those of one cardiac phase name it.
    """

    title: str
    site: Code | None
    biomarkers: tuple[str, ...]
    of_patient: bool = False
    phase: KeyPhase | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """What the writers of this package write of a case.

    Attributes
    ----------
    analysis : str
        What the node did, in place of the model of a device.
    subject : str
        Of what the report is, in the descriptions of its series.
    report_number : int
        SeriesNumber of the report.
    page_number : int
        SeriesNumber of the report as an image; that as a PDF is the next.
    phases : tuple of (KeyPhase, int)
        Phases that are looked at, with their index in the stack.
    drawings : tuple of Drawing
    structures : tuple of StructureGroup
    derived : tuple of DerivedGroup
    findings, comments : tuple of str
        What a reader must know first; how the numbers came about.
    biomarkers : tuple of Biomarker
        All that is stated, and what another analysis of the study found.
    quality : tuple of QualityFinding
        What may ask to review them.
    demographics : Demographics
        Of the patient, as the source states them.
    assessments : mapping of str to Assessment
        Each biomarker beside its normal range.
    """

    analysis: str
    subject: str
    report_number: int
    page_number: int
    phases: tuple[tuple[KeyPhase, int], ...]
    drawings: tuple[Drawing, ...]
    structures: tuple[StructureGroup, ...]
    derived: tuple[DerivedGroup, ...]
    findings: tuple[str, ...]
    comments: tuple[str, ...]
    biomarkers: tuple[Biomarker, ...]
    quality: tuple[QualityFinding, ...]
    demographics: Demographics
    assessments: Mapping[str, Assessment] = field(init=False)

    def __post_init__(self) -> None:
        judged = {one.name: assess(one, self.demographics) for one in self.biomarkers}
        object.__setattr__(self, "assessments", judged)


def contents_of(case: Case) -> Contents:
    """Tell what the objects of a case hold.

    Raises
    ------
    TypeError
        The case is of no known kind.
    """
    if isinstance(case, CineCase):
        return _cine(case)
    if isinstance(case, LgeCase):
        return _lge(case)
    raise TypeError(f"no results are known of a {type(case).__name__}")


def _cine(case: CineCase) -> Contents:
    phases: tuple[tuple[KeyPhase, int], ...] = ()
    if case.phases is not None:
        phases = ((END_DIASTOLE, case.phases.ed), (END_SYSTOLE, case.phases.es))
    lv, lv_stage = LV_CAVITY, "segmentation"
    if case.regression is not None:
        lv, lv_stage = LV_EXPLANATION, "regression"
    return Contents(
        analysis=_CINE,
        subject="cine",
        report_number=9001,
        page_number=9010,
        phases=phases,
        drawings=(*_cine_drawings(case, phases), *_explanations(case, phases)),
        structures=(
            StructureGroup(END_DIASTOLE, lv, ("lv_edv",), lv_stage),
            StructureGroup(END_SYSTOLE, lv, ("lv_esv",), lv_stage),
            StructureGroup(END_DIASTOLE, LV_MYOCARDIUM, ("lv_mass",)),
            StructureGroup(END_DIASTOLE, RV_CAVITY, ("rv_edv",)),
            StructureGroup(END_SYSTOLE, RV_CAVITY, ("rv_esv",)),
        ),
        derived=(*CINE_DERIVED, PATIENT),
        findings=(*_little_thickening(case.biomarkers),),
        comments=(*_series(case), *_cine_method(case), *_cine_phases(case, phases)),
        biomarkers=case.biomarkers,
        quality=case.quality,
        demographics=demographics(case.stack.headers),
    )


def _series(case: Case) -> Iterator[str]:
    """Which series was measured, by the numbers under which viewers list them."""
    stated = (valid_text(header, "SeriesNumber") for header in case.stack.headers.values())
    numbers = sorted({int(number) for number in stated if number.isdecimal()})
    if numbers:
        yield f"Measured in series {', '.join(map(str, numbers))} of the study."


CINE_DERIVED = (
    DerivedGroup(
        "LV function",
        LEFT_VENTRICLE,
        (
            *("lv_ef", "lv_sv", "cardiac_output", "cardiac_output_index", "lv_sv_index"),
            *("lv_edv_index", "lv_esv_index", "lv_mass_index"),
            *PEAK_RATES,
        ),
    ),
    DerivedGroup(
        "RV function",
        RIGHT_VENTRICLE,
        ("rv_ef", "rv_sv", "rv_sv_index", "rv_edv_index", "rv_esv_index"),
    ),
    DerivedGroup("Wall thickness ED", LV_MYOCARDIUM_SITE, ED_WALL, phase=END_DIASTOLE),
    DerivedGroup("Wall thickness ES", LV_MYOCARDIUM_SITE, ES_WALL, phase=END_SYSTOLE),
    DerivedGroup("Wall thickening", LV_MYOCARDIUM_SITE, THICKENING),
)
PATIENT = DerivedGroup(
    "Heart rate and body surface area",
    None,
    ("heart_rate", "bsa", "age", "height", "weight"),
    of_patient=True,
)


def _little_thickening(biomarkers: Sequence[Biomarker]) -> Iterator[str]:
    little = [str(segment) for segment in little_thickening(biomarkers)]
    if little:
        yield (
            f"AHA segments that thicken by less than {LITTLE_THICKENING_MM:g} mm from end diastole "
            f"to end systole: {', '.join(little)}."
        )


def _cine_method(case: CineCase) -> Iterator[str]:
    if case.regression is not None:
        yield (
            "LV volumes, and what derives from them, were measured by regression: a network that "
            "learned from volumes alone. Its explanation segments show where it saw the volume, "
            "not a contour. Mass and RV were segmented."
        )


def _cine_phases(case: CineCase, phases: tuple[tuple[KeyPhase, int], ...]) -> Iterator[str]:
    times = case.stack.trigger_times_ms
    told = "by an estimate" if case.stack.times_are_estimates else "after the R wave"
    for phase, index in phases:
        yield (
            f"{phase.words.capitalize()} is phase {index + 1} of {len(times)}, "
            f"{times[index]:.0f} ms {told}."
        )


def _cine_drawings(case: CineCase, phases: tuple[tuple[KeyPhase, int], ...]) -> Iterator[Drawing]:
    if case.segmentation is not None:
        for phase, index in phases:
            yield Drawing("seg", "segmentation", phase, case.segmentation.labels[index])


def _explanations(case: CineCase, phases: tuple[tuple[KeyPhase, int], ...]) -> Iterator[Drawing]:
    if case.regression is not None:
        masks = (case.regression.explanation_ed, case.regression.explanation_es)
        for (phase, _), mask in zip(phases, masks, strict=False):
            labels = np.uint8(LV_EXPLANATION) * mask
            yield Drawing("explanation", "regression", phase, labels)


def _lge(case: LgeCase) -> Contents:
    drawn, beside = case.segmentation, case.companion
    return Contents(
        analysis=_LGE,
        subject="late enhancement",
        report_number=9006,
        page_number=9012,
        phases=((LATE_ENHANCEMENT, 0),),
        drawings=()
        if drawn is None
        else (Drawing("seg", "segmentation", LATE_ENHANCEMENT, drawn.labels[0]),),
        structures=(
            StructureGroup(LATE_ENHANCEMENT, LV_CAVITY, ()),
            StructureGroup(LATE_ENHANCEMENT, LV_MYOCARDIUM, ("lge_lv_mass",)),
            StructureGroup(LATE_ENHANCEMENT, SCAR, ("scar_mass_network", "scar_percent_network")),
            StructureGroup(LATE_ENHANCEMENT, NO_REFLOW, ("no_reflow_mass",)),
        ),
        derived=(*LGE_DERIVED, *(() if beside is None else _OF_CINE), PATIENT),
        findings=(
            *_no_scar(case),
            *_infarct(case),
            *_little_thickening(beside.biomarkers if beside else ()),
            *_cine_doubts(case),
        ),
        comments=(
            *_series(case),
            *_lge_images(case),
            *_cine_report(case),
            *two_masses(case),
        ),
        biomarkers=case.biomarkers if beside is None else (*case.biomarkers, *beside.biomarkers),
        quality=case.quality if beside is None else (*case.quality, *beside.quality),
        demographics=demographics(case.stack.headers),
    )


def _no_scar(case: LgeCase) -> Iterator[str]:
    masses = [one.value for one in case.biomarkers if one.name == "scar_mass_network"]
    if masses == [0.0]:
        yield "No scar found."


def _infarct(case: LgeCase) -> Iterator[str]:
    """Exam level: infarct or not, by its probability."""
    for one in case.biomarkers:
        if one.name == "infarct_probability" and one.value is not None:
            verdict = "likely" if one.value >= LIKELY else "unlikely"
            yield f"Infarct {verdict}, probability {in_report(one.value, one.unit)}."


def _lge_images(case: LgeCase) -> Iterator[str]:
    stack = case.stack
    kind = "phase-sensitive images" if stack.phase_sensitive else "magnitude images"
    times = [time for time in stack.inversion_times_ms if time is not None]
    span = list(dict.fromkeys(f"{limit(times):.0f}" for limit in (min, max))) if times else []
    stated = f", inversion time {' to '.join(span)} ms" if span else ""
    yield (
        f"Measured on {kind}{stated}. The mass of the scar includes no-reflow, that of the LV "
        "both; each has a segment of its own."
    )
    for reason, number in Counter(one.reason for one in stack.left_out).items():
        yield f"Left out: {number} image{'s' if number > 1 else ''}, {reason}."
    for how in dict.fromkeys(scar.how for scar in case.scars.values() if scar.how):
        methods = [
            SCAR_METHODS[name].meaning for name, scar in case.scars.items() if scar.how == how
        ]
        yield f"Scar by {', '.join(methods)}: {how}."


def _cine_doubts(case: LgeCase) -> Iterator[str]:
    """What the cine analysis said against its own numbers."""
    for finding in case.companion.quality if case.companion else ():
        if finding.verdict is not Verdict.OK:
            yield f"Of the cine: {finding.reason}."


def _cine_report(case: LgeCase) -> Iterator[str]:
    if case.companion is not None:
        yield (
            "Volumes and function are those of the cine series of the same study, from its report "
            f"{case.companion.report_uid}."
        )


def two_masses(case: LgeCase) -> Iterator[str]:
    """Say of the mass of the LV, where it is stated twice, why the two differ."""
    beside = case.companion.biomarkers if case.companion else ()
    stated = {one.name for one in (*case.biomarkers, *beside) if one.value is not None}
    if {"lv_mass", "lge_lv_mass"} <= stated:
        yield (
            "LV mass is stated twice: of the cine at end diastole, and of the late enhancement "
            "images. Other images and other networks: the two need not agree. The share of scar "
            "refers to the second."
        )


LGE_DERIVED = (
    DerivedGroup(
        "Scar by signal intensity",
        LV_MYOCARDIUM_SITE,
        tuple(
            f"scar_{quantity}_{method}"
            for method in SCAR_METHODS
            if method != "network"
            for quantity in ("mass", "percent")
        ),
    ),
    DerivedGroup("Infarct", LV_MYOCARDIUM_SITE, ("infarct_probability",)),
    DerivedGroup(
        "Scar transmurality", LV_MYOCARDIUM_SITE, tuple(f"transmurality_{n}" for n in range(1, 18))
    ),
)
_OF_CINE = (
    DerivedGroup(
        "Volumes and mass by cine", HEART, ("lv_edv", "lv_esv", "lv_mass", "rv_edv", "rv_esv")
    ),
    *CINE_DERIVED,
)
