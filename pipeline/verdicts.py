"""What the quality checks say of each biomarker."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.case import Biomarker, QualityFinding, Verdict

# These come from the headers: what is wrong with images or outlines does not touch them.
_OF_HEADERS = ("heart_rate", "bsa")


@dataclass(frozen=True, slots=True)
class BiomarkerVerdict:
    """What all checks together say of one biomarker, and the reasons that are not ok."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()


def verdict_of(one: Biomarker, quality: Iterable[QualityFinding]) -> BiomarkerVerdict:
    """Join the findings that touch a biomarker; a review that names none touches all measured."""
    if one.withheld is not None:
        return BiomarkerVerdict(Verdict.WITHHELD, (one.withheld,))
    reasons = tuple(
        finding.reason
        for finding in quality
        if finding.verdict is Verdict.REVIEW
        and (one.name in finding.concerns or not (finding.concerns or one.name in _OF_HEADERS))
    )
    return BiomarkerVerdict(Verdict.REVIEW if reasons else Verdict.OK, reasons)
