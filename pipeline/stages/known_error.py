"""What is known to be wrong with a network: the mean errors that its own card states.

A single error says little of the next patient, a mean one does: it shifts every number. The check
reads the card alone, so that weights with a better card end it by themselves.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from config.quality import CineQualitySettings, LgeQualitySettings
from pipeline.case import QualityFinding, Verdict
from pipeline.stages.biomarkers import VOLUMETRIC

if TYPE_CHECKING:
    from models.registry import Card

_WORDS: Mapping[str, tuple[str, str]] = {
    "edv": ("end-diastolic volume", "ml"),
    "esv": ("end-systolic volume", "ml"),
    "sv": ("stroke volume", "ml"),
    "ef": ("ejection fraction", "points"),
    "mass": ("mass", "g"),
}
MASS = ("mass",)
SCAR_OF_NETWORK = ("scar_mass_network", "scar_percent_network", "infarct_probability")
VOLUMES = tuple(quantity for quantity in _WORDS if quantity not in MASS)
# Hearts that the product draws itself are no patients.
_NO_PATIENTS = "test_synthetic"


def check_known_error(
    side: Literal["lv", "rv"],
    card: "Card",
    quantities: tuple[str, ...] = (*VOLUMES, *MASS),
    *,
    limits: CineQualitySettings,
) -> QualityFinding:
    """`lv_known_error`, `rv_known_error`: mean errors of a network on its test patients.

    `lv_mass_known_error` where the mass comes from another network than the volumes. The card
    states them as `metrics.test_<set>.<side>_edv_error_ml_mean` and the like; that of the stroke
    volume follows from EDV and ESV.
    """
    subject = f"{side}_mass" if quantities == MASS else side
    check, name = f"{subject}_known_error", side.upper()
    errors, patients = _mean_errors(side, card)
    known = {quantity: errors[quantity] for quantity in quantities if quantity in errors}
    if not known:
        reason = f"not checked: no {name} errors on test patients are known of network {card.name}"
        concerns = _biomarkers(side, quantities)
        return QualityFinding(check, Verdict.REVIEW, reason, concerns=concerns)
    large = _large(known, limits)
    if not large:
        return QualityFinding(check, Verdict.OK, f"no large mean error of the {name} is known")
    reason = f"in {patients} the network measured on average {_told(name, large)}"
    return QualityFinding(check, Verdict.REVIEW, reason, concerns=_biomarkers(side, large))


def check_known_scar_error(card: "Card", limits: LgeQualitySettings) -> QualityFinding:
    """`scar_known_error`: mean error of the scar fraction on sets of test patients.

    The card states it as `metrics.test_<set>.scar_percent_error_mean`.
    """
    check = "scar_known_error"
    errors = {
        of: float(error)
        for of, figures in _sets(card)
        if isinstance(error := figures.get("scar_percent_error_mean"), int | float)
    }
    if not errors:
        reason = f"not checked: no scar errors on test patients are known of network {card.name}"
        return QualityFinding(check, Verdict.REVIEW, reason, concerns=SCAR_OF_NETWORK)
    large = {
        of: error for of, error in errors.items() if abs(error) > limits.known_error_review_percent
    }
    if not large:
        return QualityFinding(check, Verdict.OK, "no large mean error of the scar is known")
    reason = "; ".join(
        f"in {of} the network measured on average {abs(error):.1f} % of the LV mass too "
        f"{'much' if error > 0 else 'little'} scar"
        for of, error in large.items()
    )
    return QualityFinding(check, Verdict.REVIEW, reason, concerns=SCAR_OF_NETWORK)


def _sets(card: "Card") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each set of test patients in words, with the figures measured on it."""
    for name, figures in card.metrics.items():
        if _is_of_patients(name) and isinstance(figures, Mapping):
            patients = f"{figures.get('patients', 'the')} test patients"
            yield f"{patients} (data set {name.removeprefix('test_')})", figures


def _is_of_patients(name: str) -> bool:
    return name.startswith("test_") and not name.startswith(_NO_PATIENTS)


def _mean_errors(side: str, card: "Card") -> tuple[dict[str, float], str]:
    """Mean errors by quantity over the patients of all sets that state them; those sets in words.

    Readers of one set draw other contours than those of another, so that the mean of one set says
    as much of its readers as of the network.
    """
    stated: dict[str, list[tuple[float, float]]] = {}
    said = []
    for words, figures in _sets(card):
        errors = _errors(side, figures)
        said += [words] if errors else []
        for quantity, error in errors.items():
            stated.setdefault(quantity, []).append((error, float(figures.get("patients", 1))))
    means = {
        quantity: sum(error * count for error, count in found) / sum(count for _, count in found)
        for quantity, found in stated.items()
    }
    return means, " and ".join(said)


def _errors(side: str, figures: Mapping[str, Any]) -> dict[str, float]:
    """Mean errors by quantity, as far as they are stated."""
    keys = {"edv": "edv_error_ml", "esv": "esv_error_ml", "ef": "ef_error", "mass": "mass_error_g"}
    errors = {
        quantity: float(error)
        for quantity, key in keys.items()
        if isinstance(error := figures.get(f"{side}_{key}_mean"), int | float)
    }
    if {"edv", "esv"} <= errors.keys():
        errors["sv"] = errors["edv"] - errors["esv"]
    return errors


def _large(errors: Mapping[str, float], limits: CineQualitySettings) -> dict[str, float]:
    """Those beyond what their unit allows, in the order of a report."""
    allowed = {
        "ml": limits.known_error_review_ml,
        "g": limits.known_error_review_g,
        "points": limits.known_error_review_points,
    }
    return {
        quantity: errors[quantity]
        for quantity, (_, unit) in _WORDS.items()
        if abs(errors.get(quantity, 0)) > allowed[unit]
    }


def _told(side: str, errors: Mapping[str, float]) -> str:
    said = []
    for quantity, error in errors.items():
        words, unit = _WORDS[quantity]
        way = "high" if error > 0 else "low"
        said.append(f"{side} {words} {abs(error):.1f} {unit} too {way}")
    return ", ".join(said)


def _biomarkers(side: str, quantities: Collection[str]) -> tuple[str, ...]:
    """The biomarkers that come from some quantities of one ventricle."""
    measured = {f"{side}_{quantity}" for quantity in quantities}
    return tuple(one for one in VOLUMETRIC if _quantity(one) in measured)


def _quantity(biomarker: str) -> str:
    """The measured quantity that a biomarker comes from: output from stroke volume."""
    return biomarker.removesuffix("_index").replace("cardiac_output", "lv_sv")
