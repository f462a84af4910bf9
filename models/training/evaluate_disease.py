"""Measure a classifier of disease groups on held-out patients, slice by slice and as a whole."""

from collections.abc import Iterable, Sequence

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
    judged, stated = [], []
    slices: list[tuple[int, int]] = []
    for heart, is_stated in hearts:
        found = classifier.read(heart.view).probabilities
        judged.append(Judged(heart.dataset, heart.patient, heart.label, found))
        stated += [judged[-1]] if is_stated else []
        each = classifier.slices(heart.view)
        slices += [(one, heart.label) for one in each.argmax(dim=1).tolist()]
    add_judged(evaluation, classifier.classes, judged)
    pooled, classes = evaluation.pooled, classifier.classes
    pooled["acdc_classes"] = _figures(judged, classes)
    pooled["acdc_stated_classes"] = _figures(stated, classes)
    if len(slices) > len(judged):
        said, truth = [one for one, _ in slices], [label for _, label in slices]
        pooled["acdc_slices"] = class_figures(said, truth, classes)


def _figures(judged: Sequence[Judged], classes: Sequence[str]) -> dict[str, float]:
    """Confusion of patients, and the bounds of the accuracy where there is anybody."""
    found, truth = [one.found for one in judged], [one.label for one in judged]
    figures: dict[str, float] = {"patients": len(judged)}
    figures |= class_figures(found, truth, classes)
    if judged:
        right = sum(one == true for one, true in zip(found, truth, strict=True))
        low, high = wilson_interval(right, len(judged))
        figures |= {"accuracy_ci95_low": round(low, 4), "accuracy_ci95_high": round(high, 4)}
    return figures
