"""What the report says besides numbers: quality, coverage and origin, as coded or plain text.

What a reader must know to judge the numbers stands first, what traces them last.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom import Dataset
from pydicom.sr.coding import Code

from pipeline.case import BaseCase, Case, CineCase, QualityFinding, Verdict
from pipeline.classification import Classification
from pipeline.lge_case import LgeCase
from pipeline.results.codes import (
    COMMENT,
    FINDING,
    PAPILLARY_INCLUDED,
    PAPILLARY_MUSCLES,
    QUALITATIVE_EVALUATIONS,
    QUANTITIES,
    in_report,
)
from pipeline.results.common import (
    DISCLAIMER,
    ResultBasis,
    describe_model,
    models_beside,
    models_of,
)
from pipeline.results.contents import Contents
from pipeline.results.source import header_notes
from pipeline.stages.biomarkers import FUNCTION
from pipeline.stages.coverage import apex_is_last

CHECK_TITLES: Mapping[str, str] = {
    "coverage_base": "Basal coverage",
    "coverage_apex": "Apical coverage",
    "phases_count": "Number of cardiac phases",
    "missing_images": "Completeness of the images",
    "blank_images": "Content of the images",
    "left_ventricle": "Left ventricle",
    "remote_myocardium": "Remote myocardium",
    "scar_agreement": "Scar by different methods",
    "body_agreement": "Body surface of cine and late enhancement",
    "scar_known_error": "Scar, error of the network on test patients",
    "slice_spacing": "Distance of the slices",
    "volume_plausibility": "Ventricular volumes",
    "short_axis_plane": "Short-axis plane",
    "myocardium_ring": "Ring of myocardium",
    "image_contrast": "Contrast of blood and myocardium",
    "image_noise": "Noise of the images",
    "image_sharpness": "Sharpness of the images",
    "image_ghosting": "Images beside the heart",
    "rv_blood": "RV at end systole",
    "lv_pieces": "LV pieces",
    "rv_pieces": "RV pieces",
    "slice_alignment": "Alignment of the slices",
    "lv_slice_areas": "LV from slice to slice",
    "rv_slice_areas": "RV from slice to slice",
    "slice_contraction": "Contraction from slice to slice",
    "phase_areas": "LV from phase to phase",
    "lv_variation": "LV at a second look",
    "rv_variation": "RV at a second look",
    "curve_range": "LV contraction",
    "detection_agreement": "End diastole and end systole",
    "detection_confidence": "Detection of end diastole and end systole",
    "lv_ef_range": "LV ejection fraction",
    "rv_ef_range": "RV ejection fraction",
    "stroke_volume_agreement": "LV and RV stroke volumes",
    "mass_plausibility": "LV mass",
    "mass_conservation": "Myocardium at end diastole and end systole",
    "lv_volume_agreement": "LV volumes by regression and by segmentation",
    "ecg_page": "Page of the document",
    "lv_known_error": "LV, error of the network on test patients",
    "lv_mass_known_error": "LV mass, error of the network on test patients",
    "rv_known_error": "RV, error of the network on test patients",
}
_VERDICTS: Mapping[Verdict, str] = {
    Verdict.REVIEW: "to be reviewed",
    Verdict.WITHHELD: "numbers withheld",
}


def put_disclaimer_first(report: Dataset, classification: Classification | None) -> None:
    """Insert what the report is as its very first content item, what a classifier knows before it.

    TID 1500 has no place for it. Its order is significant but it is extensible, and then items of
    one's own may stand wherever they make sense (PS3.16 6.2.5): here before the observer, whose
    names are text too, and the image library, which fills pages.
    """
    training = () if classification is None else (classification.training,)
    sentence = " ".join((*training, DISCLAIMER))
    report.ContentSequence.insert(0, text_item(COMMENT, sentence))


def statements(basis: ResultBasis) -> ContainerContentItem:
    """Build the qualitative evaluations of TID 1500."""
    container = ContainerContentItem(
        QUALITATIVE_EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS
    )
    container.ContentSequence = ContentSequence([*_statements(basis)])
    return container


def _statements(basis: ResultBasis) -> Iterator[ContentItem]:
    case, contents = basis.case, basis.contents
    if basis.context.replaces:
        yield text_item(COMMENT, basis.context.replaces)
    for sentence in contents.findings:
        yield text_item(FINDING, sentence)
    for doubt in doubts(case):
        yield text_item(FINDING, doubt)
    told = (
        *passed(case.quality),
        *stack_notes(case),
        *contents.comments,
        *measured_slices(case),
        *_curve(case),
        *range_notes(contents),
    )
    for sentence in (f"Demographics used: {contents.demographics}.", *told):
        yield text_item(COMMENT, sentence)
    yield CodeContentItem(PAPILLARY_MUSCLES, PAPILLARY_INCLUDED, RelationshipTypeValues.CONTAINS)
    for note in header_notes(case.stack):
        yield text_item(COMMENT, f"Source headers: {note}.")
    for model in models_of(case):
        yield text_item(COMMENT, describe_model(model))
    for model in models_beside(case):
        yield text_item(COMMENT, f"Of the cine: {describe_model(model)}")


def _curve(case: Case) -> Iterator[str]:
    if isinstance(case, CineCase) and case.volume_curve_ml is not None:
        times, volumes = case.stack.trigger_times_ms, case.volume_curve_ml["lv"]
        points = (
            f"{in_report(ml, 'ml')} at {ms:.0f} ms" for ms, ml in zip(times, volumes, strict=True)
        )
        over = (
            "an estimated time" if case.stack.times_are_estimates else "the time after the R wave"
        )
        yield f"LV volume curve, in ml over {over}: {', '.join(points)}."


def text_item(name: Code, sentence: str) -> TextContentItem:
    """A sentence in a container."""
    return TextContentItem(name, sentence, RelationshipTypeValues.CONTAINS)


def measured_slices(case: Case) -> Iterator[str]:
    """Which slices were measured, where they begin, and whether the LV may go on beyond them."""
    if case.relevance is None:
        return
    relevant = case.relevance.relevant
    chosen = ", ".join(str(z + 1) for z in np.flatnonzero(relevant))
    of = "Late enhancement slices" if isinstance(case, LgeCase) else "Slices"
    begins = f"; slice 1 is at the {first}" if (first := _first_end(case)) else ""
    said = f"taken to show the left ventricle, and measured: {chosen} of {len(relevant)}"
    yield f"{of} {said}{begins}."
    base = next((one for one in case.quality if one.check == "coverage_base"), None)
    if base is not None and base.verdict is Verdict.OK and base.value is not None:
        yield "No slice lies beyond the base: a stack cut short there would look the same."


def _first_end(case: Case) -> str:
    """At which end of the LV the first slice lies; empty where that does not show."""
    if case.segmentation is None or (isinstance(case, CineCase) and case.phases is None):
        return ""
    return {True: "base", False: "apex", None: ""}[apex_is_last(case)]


def range_notes(contents: Contents, *, named: bool = True) -> Iterator[str]:
    """Whose normal ranges are given, and why numbers are not judged by one; which, if `named`."""
    shown = [one.range for one in contents.assessments.values() if one.range is not None]
    for of in dict.fromkeys((one.people, one.convention, one.source) for one in shown):
        yield f"Normal ranges are those of {of[0]}, {of[1]} ({of[2]})."
    unjudged: dict[str, list[str]] = {}
    for one in contents.biomarkers:
        judged = contents.assessments[one.name]
        reason = judged.why_unjudged if named else judged.unjudged
        if one.name in FUNCTION and one.value is not None and reason:
            unjudged.setdefault(reason, []).append(QUANTITIES[one.name].code.meaning)
    for reason, names in unjudged.items():
        if named:
            yield f"Not judged by a normal range, because {reason}: {', '.join(names)}."
        else:
            yield f"Not judged: {reason}."


def doubts(case: BaseCase) -> list[str]:
    """What the checks say against the numbers, and what is missing from the stack."""
    said = [
        f"{_title(finding)}, {_VERDICTS[finding.verdict]}: {finding.reason}."
        for finding in case.quality
        if finding.verdict is not Verdict.OK
    ]
    told = [finding.reason for finding in case.quality]
    return [*said, *_of_stack(case, (note for note in case.stack.missing if not _in(note, told)))]


def stack_notes(case: BaseCase) -> list[str]:
    """What is noted of the stack and no check takes for a fault, such as other counts declared."""
    passed = [one.reason for one in case.quality if one.verdict is Verdict.OK]
    return _of_stack(case, (note for note in case.stack.missing if _in(note, passed)))


def _in(note: str, reasons: Sequence[str]) -> bool:
    return any(note in reason for reason in reasons)


def _of_stack(case: BaseCase, notes: Iterable[str]) -> list[str]:
    of = "Image stack" if isinstance(case, Case) else "Source"
    return [f"{of}: {note}." for note in notes]


def passed(findings: tuple[QualityFinding, ...]) -> Iterator[str]:
    """Which checks found nothing against the numbers."""
    titles = [_title(finding) for finding in findings if finding.verdict is Verdict.OK]
    if titles:
        listed = "; ".join(_within_sentence(title) for title in titles)
        yield f"Quality checks passed: {listed}."


def _within_sentence(title: str) -> str:
    """A title without its capital; abbreviations (LV) keep theirs."""
    return title if title[:2].isupper() else title[0].lower() + title[1:]


def _title(finding: QualityFinding) -> str:
    """Name of a check for people; its internal name stands in the findings alone."""
    return CHECK_TITLES.get(finding.check) or finding.check.replace("_", " ").capitalize()
