"""Facts of the patient that the headers of a stack state: body size and heart rate.

A fact that is absent, contradicted or implausible is withheld with the reason; nothing is guessed
or rescaled.
"""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from statistics import median

from pydicom import Dataset

from pipeline.case import Biomarker

HEIGHT_RANGE_M = (0.3, 2.5)
WEIGHT_RANGE_KG = (1.0, 350.0)
HEART_RATE_RANGE_BPM = (20.0, 220.0)
_SYNCHRONISATION = "CardiacSynchronizationSequence"


def body_surface_area(headers: Mapping[str, Dataset]) -> Biomarker:
    """Body surface area (m2) after Mosteller, from PatientSize (m) and PatientWeight (kg).

    Mosteller RD. Simplified calculation of body-surface area. N Engl J Med 1987;317:1098:
    the root of height (cm) times weight (kg) over 3600. Withheld outside 0.3 to 2.5 m or 1 to
    350 kg.
    """
    height = _one_value(headers.values(), "PatientSize", "m", HEIGHT_RANGE_M)
    weight = _one_value(headers.values(), "PatientWeight", "kg", WEIGHT_RANGE_KG)
    if isinstance(height, str) or isinstance(weight, str):
        reasons = [fact for fact in (height, weight) if isinstance(fact, str)]
        return Biomarker("bsa", None, "m2", "; ".join(reasons))
    return Biomarker("bsa", math.sqrt(100 * height * weight / 3600), "m2")


def heart_rate(headers: Mapping[str, Dataset]) -> Biomarker:
    """Heart rate (/min): median HeartRate, else 60000 over the median NominalInterval (ms).

    Enhanced MR states both in its Cardiac Synchronization functional group (PS3.3 C.7.6.16.2.7),
    the interval as RRIntervalTimeNominal. Withheld where neither gives 20 to 220 /min.
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
    for rate in candidates:
        if low <= rate <= high:
            return Biomarker("heart_rate", float(rate), "/min")
    reason = (
        f"neither HeartRate nor NominalInterval gives {low:g} to {high:g} /min"
        if rates or intervals
        else "HeartRate and NominalInterval are absent"
    )
    return Biomarker("heart_rate", None, "/min", reason)


def _one_value(
    headers: Iterable[Dataset], keyword: str, unit: str, allowed: tuple[float, float]
) -> float | str:
    """The value all headers agree on, or why it cannot be used."""
    values = {value for header in headers if (value := _number(header, keyword)) is not None}
    low, high = allowed
    if not values:
        return f"{keyword} is absent"
    if len(values) > 1:
        return f"{keyword} differs between the images"
    value = values.pop()
    if not low <= value <= high:
        return f"{keyword} {value:g} is not within {low:g} to {high:g} {unit}"
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
