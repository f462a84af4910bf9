"""Facts of the patient that the headers of a stack state: sex, age, body size and heart rate.

A fact that is absent, contradicted or implausible is withheld with the reason; nothing is guessed
or rescaled.
"""

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from statistics import median

from pydicom import Dataset

from pipeline.case import Biomarker

HEIGHT_RANGE_M = (0.3, 2.5)
WEIGHT_RANGE_KG = (1.0, 350.0)
HEART_RATE_RANGE_BPM = (20.0, 220.0)
# Rates of which one is more than this times the other are not of the same beats.
RATES_AGREE = 1.2
OLDEST_YEARS = 120
# What a stated age may differ from that by the dates, as it is rounded in one way or another.
AGE_TOLERANCE_YEARS = 1
_SYNCHRONISATION = "CardiacSynchronizationSequence"
_PER_YEAR: Mapping[str, float] = {"Y": 1, "M": 12, "W": 365.25 / 7, "D": 365.25}
SEXES: Mapping[str, str] = {"M": "male", "F": "female"}


@dataclass(frozen=True, slots=True)
class Demographics:
    """What is known of the patient, or why it is not.

    Attributes
    ----------
    sex : str or None
        ``"M"`` or ``"F"``; None with the reason in `sex_unknown`.
    sex_unknown : str or None
    age, height, weight : Biomarker
        In completed years at the study (``a``), m and kg.
    """

    sex: str | None
    sex_unknown: str | None
    age: Biomarker
    height: Biomarker
    weight: Biomarker

    def __str__(self) -> str:
        """As a report says it."""
        sex = SEXES[self.sex] if self.sex else f"unknown ({self.sex_unknown})"
        facts = zip(("age", "height", "weight"), ("years", "m", "kg"), strict=True)
        said = (_said(name, getattr(self, name), unit) for name, unit in facts)
        return "; ".join([f"sex {sex}", *said])


def _said(name: str, fact: Biomarker, unit: str) -> str:
    if fact.value is None:
        return f"{name} unknown ({fact.withheld})"
    return f"{name} {fact.value:{'.2f' if unit == 'm' else 'g'}} {unit}"


def demographics(headers: Mapping[str, Dataset]) -> Demographics:
    """Read what the headers of a stack agree on.

    From PatientSex, PatientSize, PatientWeight, and PatientBirthDate and StudyDate, or PatientAge.
    """
    sexes = {_text(header, "PatientSex").upper() for header in headers.values()}
    why = "the images state two" if len(sexes) > 1 else "the images state neither male nor female"
    sex = sexes.pop() if len(sexes) == 1 else None
    unknown = None if sex in SEXES else why
    return Demographics(
        sex=None if unknown else sex,
        sex_unknown=unknown,
        age=_fact("age", "a", _age_years(headers)),
        height=_fact("height", "m", _height_m(headers)),
        weight=_fact("weight", "kg", _weight_kg(headers)),
    )


def _fact(name: str, unit: str, found: float | str) -> Biomarker:
    if isinstance(found, str):
        return Biomarker(name, None, unit, found)
    return Biomarker(name, found, unit)


def _age_years(headers: Mapping[str, Dataset]) -> float | str:
    """Completed years at the date of the study; the stated age alone where a date is not known."""
    ages = [(_by_dates(header), _as_stated(header)) for header in headers.values()]
    by_dates = {dated for dated, _ in ages if dated is not None}
    stated = {said for _, said in ages if said is not None}
    found = by_dates or stated
    if not found:
        return "the images state neither birth date nor age"
    if max(by_dates | stated) - min(by_dates | stated) > AGE_TOLERANCE_YEARS or len(found) > 1:
        return "birth date and age in the images contradict each other"
    (age,) = found
    if not 0 <= age <= OLDEST_YEARS:
        return f"{age} years are not within 0 to {OLDEST_YEARS}"
    return age


def _by_dates(header: Dataset) -> int | None:
    born, seen = (_date(header, keyword) for keyword in ("PatientBirthDate", "StudyDate"))
    if born is None or seen is None:
        return None
    return seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))


def _as_stated(header: Dataset) -> int | None:
    """PatientAge (VR AS, PS3.5 6.2) in completed years."""
    stated = re.fullmatch(r"(\d{3})([YMWD])", _text(header, "PatientAge"))
    return int(int(stated[1]) / _PER_YEAR[stated[2]]) if stated else None


def _date(header: Dataset, keyword: str) -> date | None:
    try:
        moment = datetime.strptime(_text(header, keyword), "%Y%m%d")  # noqa: DTZ007 - a date
    except ValueError:
        return None
    return moment.date()


def _text(header: Dataset, keyword: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of values that break their VR
        return str(header.get(keyword) or "").strip()


def body_surface_area(headers: Mapping[str, Dataset]) -> Biomarker:
    """Body surface area (m2) after Mosteller, from PatientSize (m) and PatientWeight (kg).

    Mosteller RD. Simplified calculation of body-surface area. N Engl J Med 1987;317:1098:
    the root of height (cm) times weight (kg) over 3600. Withheld outside 0.3 to 2.5 m or 1 to
    350 kg.
    """
    height, weight = _height_m(headers), _weight_kg(headers)
    if isinstance(height, str) or isinstance(weight, str):
        reasons = [fact for fact in (height, weight) if isinstance(fact, str)]
        return Biomarker("bsa", None, "m2", "; ".join(reasons))
    return Biomarker("bsa", math.sqrt(100 * height * weight / 3600), "m2")


def heart_rate(headers: Mapping[str, Dataset]) -> Biomarker:
    """Heart rate (/min): median HeartRate, else 60000 over the median NominalInterval (ms).

    Enhanced MR states both in its Cardiac Synchronization functional group (PS3.3 C.7.6.16.2.7),
    the interval as RRIntervalTimeNominal. Withheld where neither gives 20 to 220 /min, or where
    both do and contradict each other: nobody knows which one the cardiac output would need.
    """
    rates = list(numbers(headers.values(), "HeartRate", group=_SYNCHRONISATION))
    intervals = list(
        numbers(
            headers.values(), "NominalInterval", "RRIntervalTimeNominal", group=_SYNCHRONISATION
        )
    )
    low, high = HEART_RATE_RANGE_BPM
    candidates = [median(rates)] if rates else []
    if intervals and median(intervals) > 0:
        candidates.append(60000 / median(intervals))
    plausible = [float(rate) for rate in candidates if low <= rate <= high]
    if plausible and max(plausible) <= RATES_AGREE * min(plausible):
        return Biomarker("heart_rate", plausible[0], "/min")
    if plausible:
        reason = "heart rate and length of the beat in the images contradict each other"
    elif rates or intervals:
        reason = f"the heart rate in the images is not within {low:g} to {high:g} /min"
    else:
        reason = "the images state no heart rate"
    return Biomarker("heart_rate", None, "/min", reason)


def _height_m(headers: Mapping[str, Dataset]) -> float | str:
    return _one_value(headers.values(), "PatientSize", ("height", "m"), HEIGHT_RANGE_M)


def _weight_kg(headers: Mapping[str, Dataset]) -> float | str:
    return _one_value(headers.values(), "PatientWeight", ("weight", "kg"), WEIGHT_RANGE_KG)


def _one_value(
    headers: Iterable[Dataset], keyword: str, named: tuple[str, str], allowed: tuple[float, float]
) -> float | str:
    """The value all headers agree on, or why it cannot be used; `named`: in words, and its unit."""
    what, unit = named
    values = {value for header in headers if (value := _number(header, keyword)) is not None}
    low, high = allowed
    if not values:
        return f"the images state no {what}"
    if len(values) > 1:
        return f"the images state more than one {what}"
    value = values.pop()
    if not low <= value <= high:
        return (
            f"the {what} of {value:g} {unit} in the images is not within {low:g} to {high:g} {unit}"
        )
    return value


def numbers(headers: Iterable[Dataset], *keywords: str, group: str) -> Iterator[float]:
    """Each finite number stated, in Enhanced MR in the functional group (sequence) of that name."""
    for header in headers:
        for item in _and_groups(header, group):
            for keyword in keywords:
                value = _number(item, keyword)
                if value is not None:
                    yield value


def _and_groups(header: Dataset, name: str) -> Iterator[Dataset]:
    """The data set itself, or, in an Enhanced one, the named functional group of each frame."""
    yield header
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    for groups in (*shared, *per_frame):
        yield from groups.get(name) or ()


def _number(header: Dataset, keyword: str) -> float | None:
    """A numeric attribute; None where it is absent, empty, several or no finite number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of values that break their VR
        try:
            value = float(header.get(keyword))
        except (TypeError, ValueError, OverflowError):
            return None
    return value if math.isfinite(value) else None
