"""Measure a classifier of disease groups on held-out patients, slice by slice and as a whole."""

from collections.abc import Iterable

from models.disease_classifier import DiseaseClassifier
from models.training.evaluate import Evaluation
from models.training.evaluate_classes import Judged, add_judged
from models.training.hearts import HeartCase
from models.training.metrics import class_figures, wilson_interval


def evaluate_disease(
    evaluation: Evaluation,
    classifier: DiseaseClassifier,
    hearts: Iterable[tuple[HeartCase, bool]],
) -> None:
    """Measure every heart, whether the chain states its group or not.

    Tables beside those of `models.training.evaluate_classes.add_judged`, which are of patients and
    get the 95 % interval of the accuracy (Wilson): `acdc_stated_classes` of those whose group the
    chain states, and `acdc_slices` where the classifier looks at slices.

    Parameters
    ----------
    evaluation : Evaluation
    classifier : DiseaseClassifier
    hearts : iterable of (HeartCase, bool)
        Each with whether the chain states its group.
    """
    judged, stated, slices = [], [], []
    for heart, is_stated in hearts:
        found = classifier.read(heart.view).probabilities
        judged.append(Judged(heart.dataset, heart.patient, heart.label, found))
        stated += [judged[-1]] if is_stated else []
        each = classifier.slices(heart.view)
        slices += [(one, heart.label) for one in each.argmax(dim=1).tolist()]
    add_judged(evaluation, classifier.classes, judged)
    pooled, classes = evaluation.pooled, classifier.classes
    pooled["acdc_stated_classes"] = _figures(stated, classes)
    for name in {f"{one.dataset}_classes" for one in judged}:
        pooled[name] |= _interval(judged)
    if len(slices) > len(judged):
        said, truth = [one for one, _ in slices], [label for _, label in slices]
        pooled["acdc_slices"] = class_figures(said, truth, classes)


def _figures(judged: list[Judged], classes: tuple[str, ...]) -> dict[str, float]:
    figures = class_figures([one.found for one in judged], [one.label for one in judged], classes)
    return figures | _interval(judged)


def _interval(judged: list[Judged]) -> dict[str, float]:
    """Bounds of the accuracy; none of nobody."""
    if not judged:
        return {}
    right = sum(one.found == one.label for one in judged)
    low, high = wilson_interval(right, len(judged))
    return {
        "patients": len(judged),
        "accuracy_ci95_low": round(low, 4),
        "accuracy_ci95_high": round(high, 4),
    }
