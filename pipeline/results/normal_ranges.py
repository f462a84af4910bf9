"""Normal ranges, and where a number lies in that of the patient's sex and age.

`normal_ranges.csv` holds limits of healthy adults as published, each with its source, the ages and
whether papillary muscles count to the cavity, as they do in what this product measures. No range
is taken from anywhere else: where none fits, a number is not judged, and the reason is said.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from pipeline.case import Biomarker
from pipeline.patient import Demographics
from pipeline.results.codes import in_report

RANGES_FILE = Path(__file__).with_name("normal_ranges.csv")
PAPILLARY_CONVENTION = "in cavity"
ADULT_YEARS = 18

_WHO = {"M": "men", "F": "women"}


class Flag(StrEnum):
    """Where a number lies; the limits themselves are normal."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


_SIDES = {Flag.LOW: "below", Flag.HIGH: "above"}


@dataclass(frozen=True, slots=True)
class NormalRange:
    """Limits of a biomarker in healthy people of one sex, of ages `youngest` to `oldest`."""

    biomarker: str
    sex: str
    lower: float
    upper: float
    unit: str
    youngest: int
    oldest: int
    papillary_muscles: str
    source: str

    @property
    def people(self) -> str:
        """Of whom the limits are."""
        return f"healthy {_WHO[self.sex]} of {self.youngest} to {self.oldest} years"

    @property
    def convention(self) -> str:
        """What the limits count to the cavity."""
        return f"papillary muscles {self.papillary_muscles}"


@dataclass(frozen=True, slots=True)
class Assessment:
    """A biomarker beside its normal range.

    Attributes
    ----------
    range : NormalRange or None
        That of the patient's sex, where it may be shown.
    flag : Flag or None
        None where the number is not judged.
    unjudged : str or None
        Why not.
    outside : Flag or None
        Of a number that is not judged: on which side of the range of adults of other ages it lies,
        or of those of both sexes where the sex is unknown; None where it lies on neither.
    """

    range: NormalRange | None
    flag: Flag | None
    unjudged: str | None
    outside: Flag | None = None

    @property
    def why_unjudged(self) -> str | None:
        """Why the number is not judged, and where it lies all the same."""
        if self.outside is None:
            return self.unjudged
        of = "it" if self.range else "the ranges of both sexes"
        return f"{self.unjudged}; the number lies {_SIDES[self.outside]} {of}"


@cache
def normal_ranges() -> tuple[NormalRange, ...]:
    """Read the table of ranges."""
    with RANGES_FILE.open(encoding="utf-8", newline="") as lines:
        return tuple(_read(row) for row in csv.DictReader(lines))


def assess(
    biomarker: Biomarker, of: Demographics, ranges: Sequence[NormalRange] | None = None
) -> Assessment:
    """Compare a number, as precisely as the report states it, with its normal range.

    Parameters
    ----------
    biomarker : Biomarker
    of : Demographics
        The patient. An adult of another age than the range is of sees it, without a flag.
    ranges : sequence of NormalRange, optional
        Default: those of the product.
    """
    of_name = [
        one
        for one in (normal_ranges() if ranges is None else ranges)
        if (one.biomarker, one.unit) == (biomarker.name, biomarker.unit)
    ]
    fitting = [one for one in of_name if one.papillary_muscles == PAPILLARY_CONVENTION]
    unjudged = _why_no_range(of_name, fitting, of)
    if unjudged:
        either = fitting if of.sex is None and (of.age.value or 0) >= ADULT_YEARS else []
        return _unjudged(biomarker, None, either, unjudged)
    found = next(one for one in fitting if one.sex == of.sex)
    if biomarker.value is None:
        return Assessment(found, None, biomarker.withheld)
    if not found.youngest <= (of.age.value or 0) <= found.oldest:
        return _unjudged(biomarker, found, [found], f"the range is that of {found.people}")
    return Assessment(found, _flag(biomarker.value, found), None)


def _unjudged(
    biomarker: Biomarker, shown: NormalRange | None, near: Sequence[NormalRange], reason: str
) -> Assessment:
    """No judgement, but the side on which a number lies of all ranges near the patient's own."""
    sides = set() if biomarker.value is None else {_flag(biomarker.value, one) for one in near}
    outside = None if len(sides) != 1 or Flag.NORMAL in sides else sides.pop()
    return Assessment(shown, None, reason, outside)


def _why_no_range(
    of_name: Sequence[NormalRange], fitting: Sequence[NormalRange], of: Demographics
) -> str | None:
    if not of_name:
        return "no normal range is known to the product"
    if not fitting:
        return f"the normal range is not one with papillary muscles {PAPILLARY_CONVENTION}"
    unknown = of.sex_unknown or of.age.withheld
    if of.sex is None or of.age.value is None:
        return f"sex or age is unknown: {unknown}"
    if of.age.value < ADULT_YEARS:
        return "the normal ranges are those of adults"
    if of.sex not in {one.sex for one in fitting}:
        return f"no normal range of {_WHO[of.sex]} is known to the product"
    return None


def _flag(value: float, limits: NormalRange) -> Flag:
    shown = float(in_report(value, limits.unit))
    if shown < limits.lower:
        return Flag.LOW
    return Flag.HIGH if shown > limits.upper else Flag.NORMAL


def _read(row: dict[str, str]) -> NormalRange:
    youngest, oldest = row["age_years"].split("-")
    return NormalRange(
        biomarker=row["biomarker"],
        sex=row["sex"],
        lower=float(row["lower"]),
        upper=float(row["upper"]),
        unit=row["unit"],
        youngest=int(youngest),
        oldest=int(oldest),
        papillary_muscles=row["papillary_muscles"],
        source=row["source"],
    )
