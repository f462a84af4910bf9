"""Measure a classifier of perfusion pictures on held-out pictures and synthetic studies."""

from models.perfusion_classifier import PerfusionClassifier
from models.training.evaluate import Evaluation
from models.training.evaluate_classes import Judged, add_judged
from models.training.spect_sets import SPECT_SETS, spect_cases


def evaluate_spect(evaluation: Evaluation, classifier: PerfusionClassifier) -> None:
    """Measure on every set that is there; what was drawn is never counted with what was measured.

    See `models.training.evaluate_classes.add_judged`.
    """
    judged = []
    for dataset in SPECT_SETS:
        note = evaluation.noting(dataset)
        for case in spect_cases(evaluation.data, dataset, evaluation.part, note):
            (probabilities,) = classifier([case.picture])
            judged.append(Judged(dataset, case.patient, case.label, tuple(probabilities.tolist())))
    add_judged(evaluation, classifier.classes, judged)
